/* A strictly causal detector of spikes, O(1) memory a series.
 *
 * Each value is compared with what was seen before it: exponentially weighted mean and mean absolute deviation,
 * robust in that a value counts with at most three deviations; the score is the tail of the deviations seen so far.
 * Nothing is reported before `DETECTOR_WARMUP` values.  State is plain bytes: a copy of it gives the same future.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DETECTOR_WARMUP 20

struct detector {
	double mean, deviation;
	uint32_t seen;
	uint32_t in_anomaly; /* values in a row above the threshold */
	int64_t last_ns, onset_ns;
};

struct detection {
	double score; /* 0..1 */
	double expected;
	int8_t direction; /* -1, 0, 1 */
	bool raised;  /* this value begins an anomaly */
	bool cleared; /* this value ends one */
	int64_t onset_ns;
};

void detector_init(struct detector *d);
/* Times must not go back; an older one gives score 0 and changes nothing. value: finite. */
void detector_update(struct detector *d, int64_t time_ns, double value, double threshold_score, struct detection *ret);
