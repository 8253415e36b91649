/* Where an axis has its ticks, and what stands there. */
#pragma once

#include <stdint.h>

#define AXIS_TICKS_MAX 16
#define AXIS_LABEL_MAX 32

struct axis_tick {
	double at;     /* values */
	int64_t at_ns; /* times */
	char label[AXIS_LABEL_MAX];
	char context[AXIS_LABEL_MAX]; /* times: the day of an hour, the year of a day; "" of a year */
};

/* Multiples of 1, 2 or 5 times a power of ten between low and high, at most `most` of them.  low < high, finite.
 * Large values have a suffix: 1.5M. */
unsigned axis_values(double low, double high, unsigned most, struct axis_tick ret[AXIS_TICKS_MAX]);

/* Beginnings of years, months, weeks, days, hours, ... in UTC, within [from, to]. */
unsigned axis_times(int64_t from_ns, int64_t to_ns, unsigned most, struct axis_tick ret[AXIS_TICKS_MAX]);
