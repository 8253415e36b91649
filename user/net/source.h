/* Packet sources: where datagrams come from and answers go, behind one table of functions.
 *
 * Two tables exist: the UDP socket (source_udp.c: recvmmsg, sendmmsg; works everywhere) and AF_XDP
 * (source_xsk.c: one socket a receive queue, frames that the XDP program has already admitted).  The gateway's
 * worker knows neither.
 *
 * Threads: a source belongs to its worker thread; every call is made there.  Answers that another thread has
 * decided reach the worker through its own queue first.
 * Memory: a datagram's message is the source's and is valid until the next receive() of that source.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "bpf/shared/contract.h"

/* What an answer needs, 64 bytes, kept with every reading in flight.  For AF_XDP the own MAC, address and port
 * come from the service table again (index), for UDP from the socket. */
struct reply_stub {
	uint8_t peer_mac[6]; /* the UDP socket keeps here which of its addresses was asked */
	uint16_t peer_port_be;
	uint8_t peer_ip[16]; /* IPv6, or IPv4 mapped */
	uint32_t scope_id;   /* link-local peers on the UDP socket */
	uint16_t service;    /* index in `services`; UINT16_MAX on the UDP socket */
	uint16_t vlan[2];    /* tags to put back, outer first; 0 = none */
	uint8_t token_len;
	uint8_t type;        /* of the request: COAP_CON or COAP_NON */
	uint16_t mid;
	uint16_t request_len; /* an answer is never larger */
	uint8_t no_response;
	uint8_t flags;       /* the source's own */
	uint8_t token[SLUICE_TOKEN_MAX];
	uint64_t arrival_ns; /* CLOCK_MONOTONIC at the last byte received (or the closest that the source knows) */
};
_Static_assert(sizeof(struct reply_stub) == 64, "one cache line");

struct datagram {
	const uint8_t *message; /* the CoAP message, in SLUICE_MESSAGE_BUF readable bytes */
	uint16_t len;           /* SLUICE_MESSAGE_MAX + 1: it was longer and is cut off here; 4.13 */
	bool admitted;          /* the XDP program has checked shape and hash: meta is valid */
	struct sluice_meta meta;
	struct reply_stub stub; /* what the source knows, request_len too; the CoAP fields are the receiver's */
};

struct source_stats {
	uint64_t received;     /* datagrams handed out by receive() */
	uint64_t bytes;
	uint64_t lost;         /* known to have been dropped before us (sk_drops; gaps in the sequence) */
	uint64_t sent;         /* answers handed to the kernel */
	uint64_t send_failed;
	uint32_t ring_used;    /* how full the receive ring was at the last look, and its size; 0 where unknown */
	uint32_t ring_size;    /* (in frames; in bytes of the UDP socket's buffer) */
	uint64_t multicast;    /* to a group or broadcast: neither handed out nor answered */
};

struct source;

struct source_ops {
	const char *name; /* "udp", "xsk" */

	/* Up to n datagrams (64 at most) without waiting.  Returns their number, 0 when none waits, negative errno when
	 * the source is broken.  Ends the validity of the datagrams handed out before. */
	int (*receive)(struct source *source, struct datagram *ret, unsigned n);

	/* Queues one answer of at most 64 bytes; they are copied.  0; -ENOBUFS when there is no room before the next
	 * flush() (the caller drops it and counts: the device will ask again); -EMSGSIZE; -ENOENT when the address
	 * that was asked is ours no more. */
	int (*reply)(struct source *source, const struct reply_stub *stub, const void *answer, size_t len);

	/* Sends what reply() has queued, without waiting; what the kernel does not take is counted in send_failed.
	 * 0, or negative errno when the source is broken. */
	int (*flush)(struct source *source);

	/* Readable when receive() would give something. */
	int (*fd)(const struct source *source);

	/* Exact once quiet. */
	void (*stats)(const struct source *source, struct source_stats *ret);

	/* Gives everything back; takes NULL. */
	void (*free)(struct source *source);
};

/* Every implementation begins with this. */
struct source {
	const struct source_ops *ops;
};

/* ip: text, "0.0.0.0" for any, "::" for any of both families.  SO_REUSEPORT when shared.  Errors: -EINVAL for what is
 * no address, those of socket(2) and bind(2).
 * fd >= 0 takes over a socket that systemd has opened (ip, port and shared are then ignored); -EPROTOTYPE when it is
 * not a UDP one; after an error it is still the caller's. */
int source_udp_new(struct source **ret, const char *ip, uint16_t port, bool shared, int fd);

struct xdp; /* loader.h */
/* The AF_XDP socket of one receive queue, put into the program's socket map.  Zero copy where the driver can,
 * else copy mode. frames: power of two from 256, frames of 2 KiB of UMEM, half for requests, half for answers (locked
 * memory: CAP_IPC_LOCK or a limit that allows it).  xdp must outlive the source.  -EINVAL, errors of the socket.
 * stats().lost also has what was lost at the end of the run before. */
int source_xsk_new(struct source **ret, struct xdp *xdp, uint32_t queue, uint32_t frames);
