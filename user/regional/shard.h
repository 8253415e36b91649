/* A shard: its state, in two halves, and the stages that work on it.
 *
 *     decode → dedup → enrich → append → (confirmed) → fold → detect → delta
 *
 * Decisions are made before the append, from the first half, which runs ahead of the log: what was decided for an
 * envelope holds for the next one although neither is confirmed.  The second half is a fold of confirmed records and
 * is what leaves the region.  Both are functions of region.log's records: while the log's history is folded each
 * record feeds both, and a record of one's own feeds the first half when it is decided and the second when it is
 * confirmed.  When anything goes wrong with the log, both are thrown away and folded anew.
 *
 * Threads: one owns all shards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/block.h"
#include "codec/envelope.h"
#include "codec/region_data.h"
#include "regional/dedup.h"
#include "regional/detect.h"
#include "regional/devices.h"
#include "regional/gateways.h"
#include "regional/notices.h"
#include "regional/ordinals.h"
#include "regional/pages.h"
#include "regional/windows.h"
#include "regional/words.h"
#include "stream/owned_log.h"

#define REASON_MAX 96

struct region;
struct shard;

/* A record of region.log between its decision and its fold; for a DATA record the envelope, decoded. */
struct flight {
	struct flight *next;
	struct shard *shard;
	uint16_t kind; /* enum owned_kind */
	size_t bytes;

	struct envelope envelope; /* its slices are valid during decode, decide and append only */
	uint32_t gateway;         /* in both halves */
	bool dark;                /* OWNED_DARK */
	struct block block;       /* hash: the identity of each reading, see decode.c */
	bool replay;
	int64_t watermark_ns;     /* that the readings were judged against */
	uint8_t flags[BLOCK_READINGS_MAX];
	/* One entry a device of the block's dictionary. */
	uint32_t device[BLOCK_READINGS_MAX];
	uint32_t type[BLOCK_READINGS_MAX], place[BLOCK_READINGS_MAX], owner[BLOCK_READINGS_MAX];
	uint32_t set[BLOCK_READINGS_MAX]; /* one a set of the block */
};

struct heard { /* a gateway, beside the log */
	int64_t at_ns;     /* monotonic */
	struct buf waiting; /* its last heartbeat, not logged yet */
};

struct shard_totals { /* readings, of the log */
	uint64_t unique, late, ahead, old, duplicates, aside;
	uint64_t envelopes, heartbeats, asides, replays, notices, notices_stale, notices_lost, unwindowed, malformed, gaps;
};

struct shard {
	struct region *region;
	uint32_t number; /* = partition, of every stream */

	/* Decisions. */
	struct words words;
	struct devices devices;
	struct dedup dedup;
	struct ordinals ordinals;
	struct gateways decided;
	struct heard *heard; /* one a gateway */
	uint32_t n_heard;
	struct page_index pages;
	struct flight *first, *last; /* not confirmed yet, in the log's order */
	uint64_t next;               /* of edge.telemetry: read up to here */
	uint64_t end;                /* what edge.telemetry had when it was last asked */
	int64_t flush_ns;            /* when heartbeats are logged */
	uint32_t *local_of;          /* scratch of decide_append() */
	uint32_t cap_local;

	/* The fold. */
	struct gateways folded;
	struct windows windows;
	struct detectors detectors;
	struct shard_totals totals;
	uint64_t covered;    /* of edge.telemetry */
	uint64_t folded_end; /* of region.log: as_of */
	uint64_t told_end;   /* of region.log: what deltas had told before the claim */
	int64_t dropped_until_ns;
	int64_t told_watermark_ns; /* of the last whole cut; WATERMARK_NONE before it */
	int64_t oldest_change_ns; /* wall clock; 0: nothing has changed since the last delta */
	int64_t heard_ns;   /* wall clock of a gateway, when it cut the newest envelope */
	int64_t resumed_ns; /* the watermark after it stood for long; INT64_MIN: it never did */
	struct notices notices;
	bool urgent; /* some of them must not wait */
	uint8_t trace_id[16];
	int64_t delta_ns; /* when the next one is due */
};

int shard_init(struct shard *s, struct region *region, uint32_t number);
void shard_done(struct shard *s);
/* What is older is no longer windowed. */
int64_t shard_floor_ns(const struct shard *s);

/* ------------------------------------------------------------------ decode.c */

/* Reads an envelope of this shard into a flight: gateway and devices are known by their numbers afterwards.  0;
 * -EBADMSG with a reason for people: set it aside; -ENOMEM. */
int decode_envelope(struct shard *s, struct flight *f, struct slice value, char ret_reason[REASON_MAX]);
/* The same for a record of region.log, with what was decided then. */
int decode_data(struct shard *s, struct flight *f, struct slice value, struct buf *memory);
/* A heartbeat: it says that the gateway lives and has read so far, and nothing else. */
static inline bool decode_is_heartbeat(const struct flight *f)
{
	return f->envelope.count == 0 && f->envelope.ordinal_first == f->envelope.ordinal_end;
}

/* ------------------------------------------------------------------ decide.c */

/* Flags of all readings; the first half of the shard takes the envelope as folded. 0 or negative errno. */
int decide(struct shard *s, struct flight *f);
/* The first half's share of a DATA record of the past. */
int decide_history(struct shard *s, struct flight *f);
/* Type, place and owner of the block's devices, from the registry. 0 or negative errno. */
int enrich(struct shard *s, struct flight *f);
/* The value of the DATA record. 0 or -ENOMEM. */
int decide_append(struct shard *s, const struct flight *f, struct slice envelope, int64_t now_ns, struct buf *out);

/* Whether the log has this reading: 1, 0, -ENODATA when nobody can tell any more, another negative errno when
 * region.log cannot be read now. */
int page_ask(struct shard *s, uint32_t device, int64_t timestamp_ns, uint64_t hash);
/* A reading was accepted: pages in memory stay complete. */
int page_note(struct shard *s, uint32_t device, int64_t timestamp_ns, uint64_t hash);

/* ------------------------------------------------------------------ event.c, silence.c */

/* A reading that is new and in time, for the detectors of its device. 0 or -ENOMEM. */
int event_fold(struct shard *s, const struct flight *f, uint32_t i, uint32_t set, int64_t now_ns);
/* A reading of a device that has a watch: ends its silence; whether there was one. */
bool silence_heard(struct shard *s, const struct flight *f, uint32_t i, int64_t now_ns);
/* A reading behind the watermark. */
void silence_heard_late(struct shard *s, const struct flight *f, uint32_t i, int64_t now_ns);
/* The watermark was at before_ns. */
void silence_look(struct shard *s, int64_t before_ns, int64_t now_ns);

/* ------------------------------------------------------------------ fold.c */

/* The owned_fold of a region. */
int fold_record(void *context, const struct owned_record *record);
