/* What a series usually does at this time: of the day, of the week, and of a shorter cycle whose period is found.
 *
 * Day.    A profile of DAY_BINS means, offsets from the series' first value.
 * Week.   What the day's profile leaves, less its mean, in WEEK_BINS: a weekend costs no second day's profile, and a level
 *         that the day's profile is slow to follow is no week.
 * Cycle.  Machines have periods of minutes or hours.  The time from one crossing of the slow level, upwards, to the next
 *         is a period; when CYCLE_AGREED of them in a row agree within CYCLE_TOLERANCE, that is the cycle.  Its phase
 *         starts anew at each crossing, so that the profile follows a clock that is not quite constant.
 *
 * A bin that has seen nothing has no expectation (NaN).  Days and weeks are those of UTC: only that they repeat matters.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define DAY_BINS 48
#define WEEK_BINS 56
#define CYCLE_BINS 16

#define CYCLE_AGREED 6
#define CYCLE_TOLERANCE 0.12
#define CYCLE_SIDE 0.5                    /* mean deviations beyond the slow level that make a crossing */
#define CYCLE_LONGEST_NS (NS_PER_DAY / 2) /* the day's profile has the longer ones */
#define CYCLE_INTERVALS_LEAST 8           /* values in a period */

struct cycle {
	int64_t crossed_ns; /* last crossing of the level, upwards; 0: none yet */
	double period_ns;   /* 0: none yet */
	float bin[CYCLE_BINS];
	int8_t side;        /* of the slow level */
	uint8_t agreed;     /* periods in a row; CYCLE_AGREED: there is a cycle */
};

static inline int season_bin(int64_t time_ns, int64_t period_ns, int bins)
{
	int64_t phase_ns = time_ns % period_ns;

	if (phase_ns < 0)
		phase_ns += period_ns;
	return (int)(phase_ns / (period_ns / bins));
}

/* Of a value in its bin: plain means at first, and later so much of each round as is `least`, however many values that are.
 * interval_ns: for as long a value stands; at most for its bin. */
static inline double season_gain(int64_t time_ns, int64_t first_ns, double interval_ns, int64_t period_ns, int bins, double least)
{
	int64_t bin_ns = period_ns / bins, into_ns = time_ns % bin_ns;

	if (into_ns < 0)
		into_ns += bin_ns;

	double a_bin = 1 / (double)bin_ns, share = MIN(interval_ns * a_bin, 1.0);
	double rounds = (double)((time_ns - first_ns) / period_ns) + (double)into_ns * a_bin;

	return share * (least * (rounds + share) < 1 ? 1 / (rounds + share) : least);
}

/* A bin's mean takes what was off it; it sets a bin that has seen nothing.  gain: at most 1. */
static inline void season_learn(float *bin, double off, double gain)
{
	*bin = isnan(*bin) ? (float)off : (float)(*bin + gain * off);
}

static inline bool cycle_is_known(const struct cycle *c)
{
	return c->agreed >= CYCLE_AGREED;
}

/* The bin of a time; only of a known cycle. */
static inline int cycle_bin(const struct cycle *c, int64_t time_ns)
{
	double turns = (double)(time_ns - c->crossed_ns) / c->period_ns;

	return MIN((int)((turns - floor(turns)) * CYCLE_BINS), CYCLE_BINS - 1);
}

/* distance: of the series' fast level from its slow one, in mean deviations. */
void cycle_follow(struct cycle *c, int64_t time_ns, double distance, double interval_ns);
