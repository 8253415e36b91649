/* Which ordinals of which spools a shard's log has covered: the quick way to know a spool's replay.
 *
 * A gateway that starts again publishes what it does not know to be delivered, cut into other batches.  Its ordinals
 * tell: an envelope whose whole range was covered before is a replay, all of it.  One that is covered in part goes
 * through dedup like any other.
 *
 * A spool's ordinals are a short list of disjoint ranges, ascending, neighbours merged: in the steady state one.
 * When there are too many the smallest is forgotten: to forget costs dedup work, never a reading.  A hole between two
 * ranges is filled within seconds (two lanes, a restart) or means that readings are missing: ordinals_gap_old().
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ORDINAL_RANGES_MAX 64
#define ORDINAL_SPOOLS_MAX 4096

struct ordinal_range {
	uint64_t first, end;
};

struct ordinal_spool {
	uint8_t id[16];
	uint32_t n;
	struct ordinal_range *ranges; /* ORDINAL_RANGES_MAX */
	int64_t gap_since_ns;         /* monotonic; 0: there is none */
	bool gap_told;
};

struct ordinals {
	struct ordinal_spool *spools; /* the one heard last stands first */
	uint32_t n;
};

void ordinals_done(struct ordinals *o);
/* first < end */
bool ordinals_covered(const struct ordinals *o, const uint8_t spool_id[16], uint64_t first, uint64_t end);
/* 0 or -ENOMEM. Of more spools than the maximum the one that was silent for longest is forgotten. */
int ordinals_cover(struct ordinals *o, const uint8_t spool_id[16], uint64_t first, uint64_t end, int64_t now_ns);
/* A spool whose gap is older than the limit and was not told yet, or NULL; it counts as told. */
const struct ordinal_spool *ordinals_gap_old(struct ordinals *o, int64_t now_ns, int64_t limit_ns);
