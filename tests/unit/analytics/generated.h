/* Series made up for tests: reproducible noise, and kinds of series that differ in what is usual of them. */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/rand.h"

/* splitmix64, and Box-Muller for Gaussian. */
struct noise {
	uint64_t state;
};

static inline double uniform(struct noise *n)
{
	uint64_t z = n->state += 0x9E3779B97F4A7C15ULL;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static inline double gaussian(struct noise *n)
{
	double radius = sqrt(-2 * log(uniform(n)));

	return radius * cos(2 * M_PI * uniform(n));
}

static inline struct noise seeded(void)
{
	struct noise n = { rand_u64() };

	printf("  seed %016llx\n", (unsigned long long)n.state);
	return n;
}

#define SERIES_START_NS (1700000000 * NS_PER_S / NS_PER_DAY * NS_PER_DAY) /* midnight UTC */

enum series_kind { WHITE, CORRELATED, SEASONAL, COUNTS, COARSE, GAPPY, COUNTER, CONSTANT, STEPS, SERIES_KINDS };

static const char *const series_names[SERIES_KINDS] = { "white", "autocorrelated", "seasonal", "counts",
							"coarse", "with gaps", "counter", "constant", "steps" };

/* On a grid of 1/64, so that integers and powers of 2 change it without rounding. */
static inline double on_grid(double v)
{
	return floor(v * 64) / 64;
}

struct generated {
	enum series_kind kind;
	struct noise noise;
	int64_t interval_ns, time_ns;
	double level; /* of what is autocorrelated, or counts */
	long i;
};

static inline struct generated generated_of(enum series_kind kind, struct noise seed, int64_t interval_ns)
{
	return (struct generated){ .kind = kind, .noise = seed, .interval_ns = interval_ns,
				   .time_ns = SERIES_START_NS - interval_ns };
}

static inline double poisson(struct noise *n, double mean)
{
	double p = exp(-mean), k = 0;

	for (double product = uniform(n); product > p; product *= uniform(n))
		k++;
	return k;
}

static inline bool is_weekend(int64_t time_ns)
{
	return time_ns / NS_PER_DAY % 7 < 2;
}

/* A day from 0 to 10 with its peak at 12:00 UTC, half of that at weekends. */
static inline double of_season(int64_t time_ns)
{
	double day = (double)(time_ns % NS_PER_DAY) / NS_PER_DAY;

	return (5 - 5 * cos(2 * M_PI * day)) * (is_weekend(time_ns) ? 0.5 : 1);
}

/* From 7 to 19 UTC on weekdays. */
static inline double office_hours(int64_t time_ns, bool open)
{
	double hour = (double)(time_ns % NS_PER_DAY) * 24 / NS_PER_DAY;

	return 20 + (open ? 20 * CLAMP(MIN(hour - 7, 19 - hour) / 2, 0.0, 1.0) : 0);
}

/* The next value, at g->time_ns. */
static inline double generated_next(struct generated *g)
{
	struct noise *n = &g->noise;
	long i = g->i++;

	g->time_ns += g->interval_ns;
	switch (g->kind) {
	case CORRELATED:
		g->level = 0.9 * g->level + 0.436 * gaussian(n);
		return on_grid(50 + 4 * g->level);
	case SEASONAL: return on_grid(20 + of_season(g->time_ns) + 0.5 * gaussian(n));
	case COUNTS: return poisson(n, 3);
	case COARSE: return round(20 + 0.7 * gaussian(n));
	case GAPPY: /* sent again, an irregular rhythm, and an hour missing now and then */
		if (i % 50 == 49)
			g->time_ns -= g->interval_ns;
		else if (i % 700 == 699)
			g->time_ns += (60 * NS_PER_MIN);
		else
			g->time_ns += (int64_t)((uniform(n) - 0.5) * 0.5 * (double)g->interval_ns);
		return on_grid(50 + 4 * gaussian(n));
	case COUNTER:
		g->level = i % 3000 == 2999 ? 0 : g->level + floor(1000 + 100 * gaussian(n));
		return g->level;
	case CONSTANT: return 21;
	case STEPS: /* of its resolution, seldom */
		return g->level += uniform(n) < 0.02 ? uniform(n) < 0.5 ? 1 : -1 : 0;
	default: return on_grid(50 + 4 * gaussian(n));
	}
}
