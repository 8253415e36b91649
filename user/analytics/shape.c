#include "analytics/shape.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"

#define PLACE_MOST 8         /* one outlier makes no level */
#define SIDE_LEAST 4         /* values there */
#define SIDE_OTHERS 8        /* of those, one may be on the other side */
#define SIDE_NEW 0xf         /* of the newest of all ... */
#define SIDE_NEW_LEAST 2     /* ... so many are there */
#define GRADUAL_LEAST 4      /* means that tell a ramp from a step */
#define GRADUAL_SHARE 0.9    /* of what a step leaves, a ramp leaves */
#define RAMP_SHARE 0.25      /* likewise, of what no change leaves */
#define PARTIAL_LEAST 8      /* values that a mean is of, and a side before it is told how the level got there */

void shape_see(struct shape *s, double place, bool jump)
{
	s->above = s->above << 1 | (place > 1);
	s->below = s->below << 1 | (place < -1);
	s->jumps = s->jumps << 1 | jump;
	s->sum += (float)CLAMP(place, -PLACE_MOST, PLACE_MOST);
	if (++s->n < SHAPE_BLOCK)
		return;
	if (s->blocks == SHAPE_BLOCKS)
		memmove(s->mean, s->mean + 1, (SHAPE_BLOCKS - 1) * sizeof(*s->mean));
	else
		s->blocks++;
	s->mean[s->blocks - 1] = s->sum / SHAPE_BLOCK;
	s->sum = 0;
	s->n = 0;
}

static bool is_side(uint32_t there, uint32_t elsewhere)
{
	int n = __builtin_popcount(there);

	return n >= SIDE_LEAST && __builtin_popcount(elsewhere) * SIDE_OTHERS <= n &&
	       __builtin_popcount(there & SIDE_NEW) >= SIDE_NEW_LEAST;
}

int8_t shape_side(const struct shape *s)
{
	return is_side(s->above, s->below) ? 1 : is_side(s->below, s->above) ? -1 : 0;
}

int shape_jumps(const struct shape *s)
{
	return __builtin_popcount(s->jumps);
}

bool shape_jumps_now(const struct shape *s)
{
	return (s->jumps & 3) == 1;
}

#define MEANS_MOST (SHAPE_BLOCKS + 1) /* with the one that is growing */

/* y: n means, whose sum is 0; yy: of their squares, what is left by a level that never changes.  Each of these tries every
 * place at once: sums grow by one value from place to place. */

/* What is left by a level that becomes a ramp of k values. */
static double left_by_ramp(const double *y, int n, double yy)
{
	double sum = 0, rising = 0, least = yy;

	for (int k = 1; k < n; k++) {
		double x = k * (k + 1) / 2.0, xx = x * (2 * k + 1) / 3 - x * x / n; /* of 0, ..., 0, 1, ..., k */

		sum += y[n - k];
		rising += sum; /* of y, times 0, ..., 0, 1, ..., k */
		least = MIN(least, yy - rising * rising / xx);
	}
	return least;
}

/* By two levels.  The step falls into a block, whose mean is then anything between, and is left out. */
static double left_by_step(const double *y, int n, double yy)
{
	double before = 0, least = yy;

	for (int at = 0; at < n; at++) {
		double after = -before - y[at];
		double of_levels = before * before / MAX(at, 1) + after * after / MAX(n - 1 - at, 1);

		least = MIN(least, yy - y[at] * y[at] - of_levels);
		before += y[at];
	}
	return least;
}

bool shape_is_gradual(const struct shape *s)
{
	double y[MEANS_MOST], mean = 0, yy = 0;
	int n = s->blocks;

	for (int i = 0; i < n; i++)
		y[i] = (double)s->mean[i];
	if (s->n >= PARTIAL_LEAST)
		y[n++] = (double)s->sum / s->n;
	if (n < GRADUAL_LEAST || __builtin_popcount(s->above | s->below) < PARTIAL_LEAST)
		return false;
	for (int i = 0; i < n; i++)
		mean += y[i] / n;
	for (int i = 0; i < n; i++) {
		y[i] -= mean;
		yy += y[i] * y[i];
	}

	double by_ramp = left_by_ramp(y, n, yy);

	return by_ramp < RAMP_SHARE * yy && by_ramp < GRADUAL_SHARE * left_by_step(y, n, yy);
}
