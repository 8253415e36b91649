/* Everything that crosses the boundary between the XDP program and user space, in one small file: constants,
 * map keys and values, the metadata in front of AF_XDP frames.  Sizes are asserted; integers are host order
 * unless a name ends in _be.  Nothing else is shared.
 */
#pragma once

#include "bpf/shared/platform.h"

#define SLUICE_COAP_PORT 5683
#define SLUICE_CONTENT_FORMAT 65001
#define SLUICE_PAYLOAD_MAX 1280 /* bytes of Telemetry */
#define SLUICE_DEVICE_MAX 32
#define SLUICE_REGION_MAX 32
#define SLUICE_TOKEN_MAX 8
/* The flat buffer that admit() reads: a whole CoAP message, zero behind its end. */
#define SLUICE_MESSAGE_MAX 1408
#define SLUICE_MESSAGE_BUF 1536
_Static_assert(SLUICE_BUFFER_SIZE >= SLUICE_MESSAGE_BUF, "bpf/shared/platform.h");

#define SLUICE_PIN_ROOT "/sys/fs/bpf/sluice"

/* ------------------------------------------------------------------ the durable table */

/* A cache of what is on disk: tag of a reading -> "it is durable".
 * The bucket is (word1 ^ seed) * 0x9E3779B97F4A7C15 >> shift.  User space alone writes; see bpf/shared/durable.h. */
#define SLUICE_DURABLE_WAYS 4

struct sluice_durable_slot {
	__u64 w0; /* tag word 1 */
	__u64 w1; /* tag word 2, its low 16 bits replaced by CLOCK_MONOTONIC seconds & 0xffff (0 -> 1) */
};

struct sluice_durable_bucket {
	struct sluice_durable_slot slots[SLUICE_DURABLE_WAYS];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct sluice_durable_bucket) == 64, "one cache line");

/* ------------------------------------------------------------------ map values */

/* `services` (hash): what is addressed to us. Index of the value is what metadata and reply stubs carry. */
struct sluice_service_key {
	__u8 ip[16]; /* IPv6, or IPv4 mapped ::ffff:a.b.c.d */
	__u16 port_be;
	__u16 pad;
};
struct sluice_service {
	__u8 mac[6];
	__u16 index;
};

/* `config` (array, one entry, written whole at load and then field by field). */
struct sluice_config {
	__u64 heartbeat_ns;      /* bpf_ktime_get_ns() of the gateway's last sign of life; 0 = none yet */
	__u64 heartbeat_max_ns;  /* older than this: XDP_PASS */
	__u64 limit_rate;        /* packets a second and prefix; 0 = no limit */
	__u64 limit_burst;       /* packets */
	__u64 pass_rate;         /* odd packets passed up, a second and prefix, and apart from them error answers */
	__u64 limit_seed[2];     /* key of the prefix hash */
	__u64 durable_seed;
	__u64 durable_owner;     /* of the spool that the durable table speaks of: part of its id */
	__u32 durable_shift;     /* 64 - log2(buckets) */
	__u16 content_format;
	__u8 auth_keyed;         /* 0: the open key; 1: derived keys */
	__u8 shadow;             /* count what would become of each packet, pass everything */
	__u8 kill;               /* pass everything at once, counted as PASSED_SHADOW */
	__u8 acl_active;         /* `sources` holds something */
	__u8 region_len;         /* own region, for the peek behind device_id */
	__u8 pad[5];
	char region[SLUICE_REGION_MAX];
};
_Static_assert(sizeof(struct sluice_config) == 120, "config is an ABI of pinned maps");

/* `keys` (array; never pinned): master keys by epoch: 0 = current, 1 = previous. */
struct sluice_master_key {
	__u64 k0, k1;
	__u32 present;
	__u32 epoch;
};

/* `limits` (array of SLUICE_LIMITS): token buckets, direct-mapped by keyed hash of source /24 or /48. Times in ns. */
#define SLUICE_LIMITS 65536 /* power of two */
struct sluice_limit {
	__u64 tat_ns;        /* theoretical arrival time (GCRA) of what is accepted */
	__u64 pass_tat_ns;   /* the same for what is passed up */
	__u64 answer_tat_ns; /* and for answers with an error code */
	__u64 reserved;
};
_Static_assert(sizeof(struct sluice_limit) == 32, "never across two cache lines");

/* `sources` (LPM trie; the value is a __u32): the longest prefix decides. IPv4 is mapped: a /24 has 96 + 24. */
enum { SLUICE_SOURCE_ALLOW = 1, SLUICE_SOURCE_DENY = 2 };
struct sluice_source_key {
	__u32 prefix_len;
	__u8 ip[16];
};

/* `verdicts` (per-CPU array) is indexed by enum sluice_verdict; so is `shadowed`, which counts, while shadow is
 * set, what the verdict would have been of those that `verdicts` counts as PASSED_SHADOW.  `received` (per-CPU
 * array, one entry) counts every packet.  `queues` (array of SLUICE_QUEUES_MAX) is indexed by receive queue, as is
 * `xsks` (XSKMAP). */
#define SLUICE_QUEUES_MAX 64
struct sluice_queue {
	__u32 next_seq; /* sequence number of the next frame steered to this queue's socket */
	__u32 seen_seq; /* written by user space: what it expects next; the difference was lost if no socket holds it */
	__u64 steered;  /* frames for which redirect was asked and the socket was there */
};

/* ------------------------------------------------------------------ metadata in front of an AF_XDP frame */

#define SLUICE_META_MAGIC 0x534c /* "SL" */

struct sluice_meta {
	__u64 word2;       /* tag word 2; word 1 is in the payload */
	__u64 arrival_ns;  /* bpf_ktime_get_ns() */
	__u32 seq;         /* per queue; a gap is that many frames lost */
	__u16 magic;
	__u16 service;     /* index in `services` */
	__u16 coap_off;    /* from the start of the frame */
	__u16 coap_len;
	__u16 payload_off; /* from coap_off */
	__u8 key_slot;     /* which master key fitted */
	__u8 ip_off;       /* from the start of the frame: 14, or more with VLAN tags */
};
_Static_assert(sizeof(struct sluice_meta) == 32, "bpf_xdp_adjust_meta takes at most 32 bytes");
