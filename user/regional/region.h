/* A region's process: its streams, its shards, and the loop that drives them.
 *
 * region_run() is the program; region_open(), region_step() and region_close() are its parts, for tests.
 *
 * What fails is closed and opened anew after a pause; only a wrong configuration ends the process.  Two things fail
 * apart: the log with what is read for it (everything is thrown away and folded anew), and the two projections
 * region.deltas and region.alerts (what they missed is sent again: windows are cumulative, notices have ids).
 *
 * Threads: one, but for region_page(), which the admin thread calls.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "observe/admin.h"
#include "observe/metrics.h"
#include "regional/outlet.h"
#include "regional/pages.h"
#include "regional/registry.h"
#include "regional/shard.h"
#include "stream/owned_log.h"
#include "stream/stream.h"

#define METRICS_DEF "regional/regional_metrics.def"
enum regional_metric {
#include "observe/metric_ids.h"
	REGIONAL_METRICS
};
#undef METRICS_DEF

enum regional_result {
	RESULT_UNIQUE,
	RESULT_DUPLICATE,
	RESULT_LATE,
	RESULT_AHEAD,
	RESULT_ANCIENT,
	RESULT_ASIDE,
	RESULTS,
};

#define REGION_FLIGHTS 64             /* records on their way into region.log */
#define REGION_FLIGHT_BYTES (8u << 20)
#define REGION_GATHER_NS (5 * NS_PER_MS) /* envelopes of so long share a flush of the disk */
#define REGION_NOTICES 4096           /* remembered */
#define REGION_NOTICES_SHOWN 50
#define REGION_BUDGET_MINUTES 60
#define REGION_SHARDS_MAX 1024

struct region {
	const struct settings *settings;
	struct metrics *metrics;
	const struct registry *registry;
	struct admin *admin; /* NULL: none */

	struct shard **shards; /* those owned */
	uint32_t n_shards;
	uint32_t partitions;
	struct shard *shard_of[REGION_SHARDS_MAX]; /* by partition; NULL: not ours */

	struct stream *edge;
	struct log_id edge_id;
	struct owned_log *log;
	struct stream *back; /* region.log, for paging in; opened when it is needed */
	struct outlet deltas, alerts;
	struct page_cache pages;
	bool history; /* the claim is folding what is old */

	struct flight *flights, *free;
	struct flight *past; /* scratch: records that are read */
	uint32_t n_flying, n_flying_readings;
	size_t flying_bytes;
	int64_t gather_ns; /* monotonic: until then the first one in the air waits for company */
	struct buf value, memory, payload; /* scratch: a record's value, its parts when read, a reading's bytes */

	int64_t caught_up_ns; /* monotonic: when edge.telemetry last had nothing more */
	bool caught_up;
	int64_t tick_ns;

	struct notice notices[REGION_NOTICES]; /* the last ones: for people, and for region.alerts */
	uint64_t n_notices;                    /* ever */
	uint64_t n_alerted;                    /* of them sent to region.alerts */
	uint64_t alerts_lost;                  /* forgotten before they were */
	struct {
		int64_t minute;
		uint64_t bad, all;
	} budget[REGION_BUDGET_MINUTES];
	uint64_t budget_bad, budget_all; /* totals at the last tick */
	uint64_t page_ins, deltas_sent, errors;

	pthread_mutex_t lock; /* of the page */
	struct buf page, next_page;
	bool idle;
};

int regional_metrics_new(struct metrics **ret);

/* registry, settings and metrics must outlive it. 0 or -ENOMEM. */
int region_new(struct region **ret, const struct settings *settings, const struct registry *registry,
	       struct metrics *metrics);
void region_free(struct region *r);

/* Opens the streams, claims and folds.  0; -EINVAL for a configuration that cannot work; -EBUSY when another process
 * owns region.log; -EINTR when a stop was requested; another negative errno; with a sentence. */
int region_open(struct region *r, struct stream_error *ret_error);
/* Takes what is there, waiting for it until the deadline when nothing is to do. 0 or negative errno: close. */
int region_step(struct region *r, int64_t deadline_ns);
/* Everything readable is folded and emitted. */
bool region_idle(const struct region *r);
/* Confirms and emits what is on its way, until the deadline. */
void region_settle(struct region *r, int64_t deadline_ns);
void region_close(struct region *r);

/* Until stop_requested().  0, or -EINVAL with a sentence logged. */
int region_run(struct region *r);

/* ------------------------------------------------------------------ delta.c */

/* The one place where data leaves the region: sends what has changed in a shard since its last delta.  0, or negative
 * errno of the outlet: it stays changed. */
int delta_send(struct region *r, struct shard *s);
/* Of each shard, what region.deltas has told of this log: told_end.  What cannot be read has not been told. */
void delta_find_told(struct region *r, const struct log_id *log);
/* One line of region.alerts. */
int alert_send(struct region *r, const struct shard *s, const struct notice *n);

/* ------------------------------------------------------------------ page.c */

/* Metrics and page from the state, on the loop's thread. */
void region_refresh(struct region *r);
/* admin_handler of /region.json. */
int region_page(void *context, const char *path, struct buf *body);
