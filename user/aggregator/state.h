/* What the aggregator knows: a fold of global.log and of nothing else.
 *
 * DATA    each delta: per (window, region, shard) the highest tag (log_id.generation, as_of) wins, whatever the order
 *         of arrival; the same tag with other content is an alarm (tag_conflicts) and changes nothing.
 * DECIDE  a minute becomes early, partial, final or corrected: the windows that it covers are published, with the
 *         record's offset as their version.  It covers those that changed since they were last published, and those
 *         that were last published as less settled than the minute is now.
 * SILENT  windows of a type and metric have ceased: that is an anomaly of theirs.
 * ALERT   a step in the life of an alert is published.
 * SENT    a receiver has taken such a step.
 *
 * Notices of DATA and anomalies of windows go into the book of alerts (alerts/book.h), and ALERT records do.
 *
 * Whoever folds the same records has the same state and publishes the same bytes.  What is published goes to a sink,
 * together with its version; what becomes of it is not the state's concern.
 *
 * A minute is forgotten when a minute more than the correction horizon later has been settled; what comes for it then
 * is counted as too late.  Settled means partial or final, but only final where event time runs faster than the clock
 * by which a region is found dark (streams.clock: event): a pause of seconds would there cost a region its hours.
 * All tables are bounded; what does not fit is counted in `refused`.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "aggregator/delta.h"
#include "alerts/book.h"
#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "analytics/window.h"
#include "base/index.h"
#include "stream/owned_log.h"

#define STATE_REGIONS_MAX 256
#define STATE_SERIES_MAX 16384   /* (type, metric) */
#define STATE_MINUTES_MAX 65536  /* in memory; beyond it the oldest goes */

struct region;

struct shard {
	const struct region *region;
	uint32_t number;
	/* From the delta with the highest tag. */
	struct log_id log;
	uint64_t as_of;
	int64_t watermark_ns, cut_ns;
	double completeness;
	uint64_t unique, duplicates;
};

struct region {
	char name[DELTA_REGION_MAX + 1];
	struct shard **shards; /* by number; NULL: never heard of */
	uint32_t n_shards;
};

/* One shard's share of a window. */
struct part {
	const struct shard *shard;
	struct log_id log;
	uint64_t as_of;
	struct window_values values;
};

enum settled { SETTLED_NOT, SETTLED_PARTIAL, SETTLED_FINAL };

struct series {
	char *type, *metric;
	uint64_t hash;
	struct detector detector;
	struct anomaly anomaly;
	int64_t last_ns; /* start of the newest window that it has seen; INT64_MIN: none */
	int64_t silent_from_ns; /* the decider's own, not part of the fold: the last_ns for which SILENT was appended */
};

struct window {
	uint32_t series;
	bool dirty;              /* changed since it was last published */
	enum settled settled;    /* as it was last published */
	struct part *parts;      /* by region's name, then shard */
	uint32_t n_parts, cap_parts;
};

struct minute {
	int64_t start_ns;
	enum settled settled;
	bool dirty; /* one of its windows is */
	struct window *windows; /* by series */
	uint32_t n_windows, cap_windows;
	/* The decider's own, not part of the fold. */
	bool deciding;  /* a DECIDE has been appended and is not folded yet */
	int64_t due_ns; /* monotonic: not before then is a change published; 0: not set yet */
};

struct publication {
	uint64_t version;
	int64_t start_ns, decided_ns;
	const struct series *series;
	const struct window *window;
	const Sluice__V1__WindowDecision *decision;
};

/* Negative errno ends the fold. */
struct state_sink {
	int (*window)(void *context, const struct publication *p);
	int (*alert)(void *context, const alert_record *r, uint64_t version);
	/* The value of a SENT record; may be NULL. */
	int (*sent)(void *context, struct slice value);
	/* A delta has been folded; may be NULL. */
	void (*delta)(void *context, const struct delta *d);
	void *context;
};

struct state_counts {
	uint64_t deltas, asides, tag_conflicts, too_late, refused, undecodable;
	uint64_t published[4]; /* by WindowDecision.Status */
};

struct state_options {
	int64_t horizon_ns;
	bool event_clock;
	double false_alarms_per_week; /* of the windows of one series */
};

struct state {
	struct state_options options;
	struct state_sink sink;
	struct region **regions; /* by name */
	uint32_t n_regions;
	struct series *series;
	uint32_t n_series, cap_series;
	struct index series_index;
	struct minute **minutes; /* by start */
	uint32_t n_minutes, cap_minutes;
	bool any_settled;
	int64_t settled_ns; /* end of the newest minute that is settled for the horizon's sake */
	struct book *book;
	struct state_counts counts;
};

/* 0 or -ENOMEM. */
int state_init(struct state *s, const struct state_options *options, const struct state_sink *sink);
void state_done(struct state *s);

/* 0; -ENOMEM; what the sink returned. */
int state_fold(struct state *s, const struct owned_record *record);

const struct region *state_region(const struct state *s, const char *name);
/* All shards' parts together, in the order of regions' names and shards. 0 or -ENOMEM. */
int window_merge(struct window_values *ret, const struct window *w);
/* The time that alerts go by: wall_ns, or under an event clock the newest watermark; INT64_MIN: there is none. */
int64_t state_clock_ns(const struct state *s, int64_t wall_ns);
/* Of windows in memory. */
uint64_t state_windows(const struct state *s);

/* ------------------------------------------------------------------ the tables, for fold.c */

/* Found or made.  0; -ENOMEM; -ENOSPC when the table is full. */
int region_get(struct state *s, const char *name, struct region **ret);
int shard_get(struct region *region, uint32_t number, struct shard **ret, bool *ret_new);
int series_get(struct state *s, const char *type, const char *metric, uint32_t *ret);
bool series_find(const struct state *s, const char *type, const char *metric, uint32_t *ret);
int minute_get(struct state *s, int64_t start_ns, struct minute **ret);
int window_get(struct minute *minute, uint32_t series, struct window **ret);
int part_get(struct window *w, const struct shard *shard, struct part **ret, bool *ret_new);

/* NULL: not in memory. */
struct minute *state_minute(const struct state *s, int64_t start_ns);
/* Forgotten, or would be. */
bool state_is_too_late(const struct state *s, int64_t start_ns);
void state_forget_old(struct state *s);
