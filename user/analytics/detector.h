/* A strictly causal detector of anomalies in one series: O(1) memory and time a value, one configuration for every
 * series.
 *
 *     detector_init(&d);
 *     detector_update(&d, time_ns, value, &found);   for each value, in the order of time
 *
 * Score.  Each value is compared with what was seen before it.  How often a series like this one would show as much by
 * itself is R, in times a week; the score is 1 / (1 + R): 0.5 once a week, 0.98 about once a year.  So a threshold is
 * said as a rate of false alarms, detector_threshold(), and means the same for every series.
 *
 * The score belongs to the beginning: an anomaly that lasts scores high when it begins and hardly afterwards.
 * `unusual` is the same measure without that, and stays up while the anomaly lasts; anomaly.h makes one event of both.
 *
 * Scale and shift of a series change neither.  State is plain bytes: a copy of it gives the same future, bit for bit.
 * Threads: none; one owner a state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Nothing is reported before so many values. */
#define DETECTOR_WARMUP 20
/* Changes when the same series would give other detections: what is recorded as an alert is recorded with it. */
#define DETECTOR_VERSION 2

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
	double unusual; /* 0..1 */
	double expected, low, high; /* what was expected before the value was seen, and the band of what is usual */
	enum detector_kind kind;    /* of the score, or else of what is unusual */
	int8_t direction;           /* -1 below what is usual, 1 above, 0 neither */
};

struct detector {
	double mean, deviation;
	uint32_t seen;
	int64_t first_ns, last_ns;
	double last;                    /* the newest value */
	double resolution;              /* smallest step between two values so far; 0: all were equal */
	double tail_share, tail_excess; /* of the large deviations, see detector.c */
	double before;                  /* what the value before this one was, as `unusual` */
};

void detector_init(struct detector *d);
/* time_ns must not go back: an older value gives score 0 and changes nothing.  value: finite. */
void detector_update(struct detector *d, int64_t time_ns, double value, struct detection *ret);

/* When the series counts as silent if no value comes until then; INT64_MAX while its rhythm is unknown. */
int64_t detector_silent_at_ns(const struct detector *d, double false_alarms_per_week);

/* The score that corresponds to so many false alarms a week and series. */
static inline double detector_threshold(double false_alarms_per_week)
{
	return 1 / (1 + false_alarms_per_week);
}

/* "spike", "level-shift", ...; "none". */
const char *detector_kind_name(enum detector_kind kind);
/* By its name; DETECTOR_KINDS: there is no such kind. */
enum detector_kind detector_kind_named(const char *name);
