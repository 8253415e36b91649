/* The commit: natural group commit of readings into the spool, then the durable table, then the answers.
 *
 *     submit() ── fills ──▶ frame A          frame B ── append, fdatasync, mark durable, answer ──▶ empty
 *                 └──────────── swapped when B is empty and A is not ────────────┘
 *
 * While one fdatasync runs, the next frame fills: the busier the gateway, the larger the groups.  A reading whose
 * tag stands in either frame joins its waiters.  A failed fsync is fatal: what the kernel dropped from its cache
 * must never be acknowledged.
 *
 * Threads: submit() from any; one commit thread of its own runs everything else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gateway/submit.h"
#include "journal/journal.h"
#include "observe/metrics.h"

/* The durable table: the XDP program's map, or memory of our own where no program is loaded. */
struct durable_table {
	struct sluice_durable_bucket *buckets;
	uint64_t seed;
	uint32_t shift;
	bool owned; /* free buckets with the table */
};
/* buckets: a power of two. 0 or -ENOMEM. */
int durable_table_init(struct durable_table *ret, uint32_t buckets);
void durable_table_done(struct durable_table *t);

struct commit_options {
	struct journal *spool;       /* exclusive; partition = shard */
	uint32_t shards;
	uint32_t in_flight_max;      /* readings in both frames */
	uint64_t spool_bytes_max;    /* beyond it SUBMIT_FULL */
	struct durable_table durable; /* taken over */
	struct metrics *metrics;
};

/* Starts the commit thread. 0 or negative errno. */
int commit_new(struct commit **ret, const struct commit_options *options);
/* Commits and answers what is in flight, then stops the thread.  Nobody may submit any more; the clock still goes. */
void commit_stop(struct commit *c);
void commit_free(struct commit *c);

/* Wall clock of this position: every reading that arrived before it is durable and visible in the spool (or was
 * refused).  What is in flight holds it back. */
int64_t commit_clock_ns(struct commit *c);

/* Asks the commit thread to delete the segments below these ordinals, one a shard. */
void commit_trim(struct commit *c, const uint64_t *keep_from);

uint32_t commit_in_flight(struct commit *c);
/* Grows while the commit thread lives; the heartbeat is gated on it. */
uint64_t commit_progress(const struct commit *c);
