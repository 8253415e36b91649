/* A strictly causal detector of anomalies in one series: O(1) memory and time a value, one configuration for every
 * series.  docs/anomalies.md explains it with pictures.
 *
 *     detector_init(&d);
 *     detector_update(&d, time_ns, value, &found);   for each value, in the order of time
 *
 * Score.  Each value is compared with what was seen before it.  R is how often a series shows as much by itself in 2016
 * values, a week of one every five minutes; the score is 1 / (1 + R).  So it compares series whatever their interval.
 * detector_weekly() makes it a week of the series' own values, and a threshold there is a rate of false alarms:
 * detector_threshold().
 *
 * The score belongs to the beginning: an anomaly that lasts scores high when it begins and hardly afterwards.
 * `unusual` is the same measure without that, and stays up while the anomaly lasts; anomaly.h makes one event of them.
 *
 * Scale and shift of a series change neither.  State is plain bytes: a copy of it gives the same future, bit for bit.
 * Threads: none; one owner a state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "analytics/season.h"
#include "analytics/shape.h"
#include "analytics/tails.h"

/* Nothing is reported before so many values. */
#define DETECTOR_WARMUP 20
/* Changes when the same series would give other detections: what is recorded as an alert is recorded with it. */
#define DETECTOR_VERSION 8

enum detector_kind {
	DETECTOR_NONE,
	DETECTOR_SPIKE,
	DETECTOR_LEVEL_SHIFT, /* a new level that lasts */
	DETECTOR_DRIFT,       /* slowly away */
	DETECTOR_VARIANCE,    /* rougher or smoother than before */
	DETECTOR_RHYTHM,      /* values come faster or slower than before */
	DETECTOR_SEASONAL,    /* usual as a value, but not at this time of the day or week */
	DETECTOR_FLATLINE,    /* stuck */
	DETECTOR_SILENCE,     /* no values: by time, see detector_silent_at_ns() */
	DETECTOR_KINDS
};

struct detection {
	double score;   /* 0..1 */
	double unusual, unusual_now; /* 0..1; the latter of this value alone, without what is slow to forget */
	double density; /* values of the series a week, in 2016 */
	double expected;       /* before the value was seen */
	double unit, nats;     /* of the band around it, see detector_band() */
	enum detector_kind kind;    /* of the score, or else of what is unusual */
	int8_t direction;           /* -1 below what is usual, 1 above, 0 neither */
	bool young;                 /* what a series does in the long run is not known yet */
	bool away, lasts;           /* this value is where few are; it is not the only one: that kind shows in the last ones */
};

enum detector_aspect {
#define ASPECT(name, weight, kind, what) ASPECT_##name,
#include "analytics/detector_parameters.def"
	DETECTOR_ASPECTS
};

/* The two farthest values on each side: one outlier alone is no range.  And the range as it was before the values left it:
 * what creeps out of it is beyond by all of its way. */
struct extremes {
	float high, second_high, low, second_low;
	float high_before, low_before;
};

/* Values in a row, now and at most so far. */
struct run {
	uint16_t now, most;
};

/* Long intervals that came twice within GAPS_WEEKS are usual: nights, weekends. */
struct gaps {
	uint8_t once_week, usual_week; /* of those, modulo 256 */
	float once_ns, usual_ns;       /* the newest that is not usual; the longest that is */
};

/* Evidence that was told last, and values since: more of them, where there was none. */
struct gate {
	float told, age;
};

/* See detector.c; lengths of time in ns. */
struct detector {
	int64_t first_ns, last_ns;
	double base; /* the first value: all others, and bins, are offsets from it */
	double last, fast, shorter, mid, slow, longer; /* the newest value, and levels from it to a long one */
	double interval;                        /* usual */
	double deviation_slow, deviation_fast, deviation_season, rough;
	double roughest; /* of late: it fades */
	double off_day_mean; /* of a week */
	double left_by_day, left_by_week; /* mean sizes, of values off the profiles */
	double season_mid, season_short;  /* levels of what is off the profiles */
	double counted; /* the value, of a counter, that an increment is from */
	float step; /* smallest between two values so far; 0: all were equal */
	struct extremes all;
	struct gate brief, lasting; /* of single values, and of what lasts */
	uint32_t seen;
	uint16_t changes;
	uint16_t rises : 13, is_counter : 1, alone : 1, has_week : 1;
	struct run equal, calm;
	struct gaps gaps;
	struct shape shape;
	struct tails tails;
	struct cycle cycle;
	float day[DAY_BINS], week[WEEK_BINS];
};

void detector_init(struct detector *d);
/* A value that is not newer than the last one gives score 0 and changes nothing.  value: finite. */
void detector_update(struct detector *d, int64_t time_ns, double value, struct detection *ret);

/* When the series counts as silent if no value comes until then; INT64_MAX while its rhythm is unknown. */
int64_t detector_silent_at_ns(const struct detector *d, double false_alarms_per_week);

/* The weekly score that corresponds to so many false alarms a week and series. */
static inline double detector_threshold(double false_alarms_per_week)
{
	return 1 / (1 + false_alarms_per_week);
}

/* A detection's score, or `unusual`, for a week of its own series. */
static inline double detector_weekly(const struct detection *found, double score)
{
	return score > 0 ? 1 / (1 + (1 - score) / score * found->density) : 0;
}

/* Within which a value is usual; low is high where that is not known. */
struct band {
	double low, high;
};

struct band detector_band(const struct detection *found);

/* Whether such an anomaly is one of single values, and not of what they have been for a while. */
static inline bool detector_kind_is_brief(enum detector_kind kind)
{
	return kind == DETECTOR_SPIKE || kind == DETECTOR_SEASONAL || kind == DETECTOR_RHYTHM;
}

/* "spike", "level-shift", ...; "none". */
const char *detector_kind_name(enum detector_kind kind);
/* By its name; DETECTOR_KINDS: there is no such kind. */
enum detector_kind detector_kind_named(const char *name);
