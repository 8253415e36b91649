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
#define PARTIAL_LEAST 8      /* values that a mean is of */

void shape_see(struct shape *s, double place, double jump)
{
	s->above = s->above << 1 | (place > 1);
	s->below = s->below << 1 | (place < -1);
	s->jumps = s->jumps << 1 | (fabs(jump) > 1);
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

/* What the best line through (x, y) leaves of y, squared. */
static double left_by_line(const double *x, const double *y, int n)
{
	double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;

	for (int i = 0; i < n; i++) {
		mx += x[i] / n;
		my += y[i] / n;
	}
	for (int i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		xy += (x[i] - mx) * (y[i] - my);
		yy += (y[i] - my) * (y[i] - my);
	}
	return xx > 0 ? yy - xy * xy / xx : yy;
}

/* Of a constant level that becomes a ramp, wherever it begins. */
static double left_by_ramp(const double *y, int n)
{
	double x[MEANS_MOST], least = INFINITY;

	for (int from = 0; from < n - 1; from++) {
		for (int i = 0; i < n; i++)
			x[i] = MAX(i - from, 0);
		least = fmin(least, left_by_line(x, y, n));
	}
	return least;
}

/* Of two levels.  The step falls into a block, whose mean is then anything between, and is left out. */
static double left_by_step(const double *y, int n)
{
	double x[MEANS_MOST], others[MEANS_MOST], least = INFINITY;

	for (int at = 0; at < n; at++) {
		int m = 0;

		for (int i = 0; i < n; i++)
			if (i != at) {
				others[m] = y[i];
				x[m++] = i > at;
			}
		least = fmin(least, left_by_line(x, others, m));
	}
	return least;
}

static double left_by_nothing(const double *y, int n)
{
	static const double x[MEANS_MOST];

	return left_by_line(x, y, n);
}

bool shape_is_gradual(const struct shape *s)
{
	double y[MEANS_MOST];
	int n = s->blocks;

	for (int i = 0; i < n; i++)
		y[i] = (double)s->mean[i];
	if (s->n >= PARTIAL_LEAST)
		y[n++] = (double)s->sum / s->n;
	if (n < GRADUAL_LEAST)
		return false;

	double by_ramp = left_by_ramp(y, n);

	return by_ramp < GRADUAL_SHARE * left_by_step(y, n) && by_ramp < RAMP_SHARE * left_by_nothing(y, n);
}
