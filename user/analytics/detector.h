/* A strictly causal detector of spikes, O(1) memory a series.
 *
 * Each value is compared with what was seen before it: exponentially weighted mean and mean absolute deviation,
 * robust in that a value counts with at most three deviations; the score is the tail of the deviations seen so far.
 * Nothing is reported before `DETECTOR_WARMUP` values.  State is plain bytes: a copy of it gives the same future.
 * Scale and shift of a series change neither scores nor detections.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DETECTOR_WARMUP 20
/* Changes when the same series would give other detections: what is recorded as an alert is recorded with it. */
#define DETECTOR_VERSION 1

struct detector {
	double mean, deviation;
	uint32_t seen;
	uint32_t in_anomaly; /* values in a row above the threshold */
	int64_t last_ns, onset_ns;
	double last;                    /* the newest value */
	double resolution;              /* smallest step between two values so far; 0: all were equal */
	double tail_share, tail_excess; /* of the large deviations, see detector.c */
};

struct detection {
	double score; /* 0..1; 1 - sqrt(P) for a value as improbable as P: 0.999 is once in a million values */
	double expected;
	int8_t direction; /* -1, 0, 1 */
	bool raised;  /* this value begins an anomaly */
	bool cleared; /* this value ends one */
	int64_t onset_ns;
};

void detector_init(struct detector *d);
/* Times must not go back; an older one gives score 0 and changes nothing. value: finite.  threshold_score: 0.5..1. */
void detector_update(struct detector *d, int64_t time_ns, double value, double threshold_score, struct detection *ret);
