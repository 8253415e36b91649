/* A spike detector in 72 bytes a series, of operations that IEEE 754 rounds the same way everywhere.
 *
 * Level and spread.  Exponentially weighted mean (gain 1/8: it follows a slow wave) and mean absolute deviation (gain
 * 1/32), both plain averages until those gains are reached.  Each value is winsorised before it is learned: it counts
 * with at most three deviations (P. Huber, "Robust estimation of a location parameter", 1964), so a spike hardly
 * moves either.  After a shift of the level the deviation still grows by 1/16 a value and the mean follows by 3/8 of a
 * deviation, so that a lasting shift is accepted after some ten values instead of being reported for ever.
 *
 * Floor.  A sensor that reports tenths of a degree may be constant for days, and its deviation goes to zero; one step
 * of its resolution is then no news.  So the deviation is never taken for less than the smallest step between two
 * values that was seen.  While all values were equal there is no scale at all, and the first other value is learned, not
 * reported.
 *
 * Score.  z = |value - mean| / deviation.  How improbable a large z is depends on the series, so its tail is
 * learned as in peaks over threshold (Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory", KDD
 * 2017), in its simplest form, an exponential tail: the share of values with z > 2, and their mean excess over 2.
 *
 *     P(z) = share * exp(-(z - 2) / excess),     score = 1 - sqrt(P)
 *
 * A Gaussian's tail falls faster than an exponential one, so for noise P is an overestimate: score 0.999 is reached
 * at about 6.5 standard deviations.  It begins with excess = 1, which is more cautious than Gaussian noise deserves,
 * and an outlier teaches at most five times the excess known so far; of a run of anomalous values only the first is
 * learned here.
 *
 * An anomaly ends when a value is ten times less remarkable (1 - score) than the threshold demands: without that
 * margin, a score near the threshold would raise and clear with each value.
 *
 * exp() is computed here because the last bit of libm's differs between versions, and a score decides what is stored.
 *
 * Cost: about 20 ns a value.
 */
#include "analytics/detector.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

#define MEAN_GAIN (1.0 / 8)
#define DEVIATION_GAIN (1.0 / 32)
#define DEVIATIONS_MAX 3.0 /* a value is learned with at most so many */
#define FIRST_VALUES 5     /* before so many there is no spread to speak of: nothing is cut */

#define TAIL_FROM 2.0 /* deviations */
#define TAIL_SHARE_GAIN (1.0 / 256)
#define TAIL_EXCESS_GAIN (1.0 / 32)
#define TAIL_EXCESS_MAX 5.0 /* an excess is learned with at most so many times the one known */
#define TAIL_EXCESS_LEAST 0.1
#define TAIL_SHARE_FIRST 0.1
#define TAIL_EXCESS_FIRST 1.0

#define WEEK_NS (7.0 * 24 * 3600 * NS_PER_S)
#define SILENT_INTERVALS 10
#define VALUE_MAX 1e300 /* differences and their multiples stay finite */

_Static_assert(sizeof(struct detector) == 80, "state is stored and copied as bytes");

void detector_init(struct detector *d)
{
	memset(d, 0, sizeof(*d));
	d->tail_share = TAIL_SHARE_FIRST;
	d->tail_excess = TAIL_EXCESS_FIRST;
	d->last_ns = INT64_MIN;
}

/* exp(-x) for x >= 0: Taylor of degree 5 at x / 1024, ten times squared.  Relative error below 1e-9 up to x = 30,
 * where scores are decided. */
static double exp_negative(double x)
{
	if (!(x < 700))
		return 0;

	double t = x / 1024, e = 1 - t * (1 - t / 2 * (1 - t / 3 * (1 - t / 4 * (1 - t / 5))));

	for (int i = 0; i < 10; i++)
		e *= e;
	return e;
}

/* In deviations; 0 while there is no scale. */
static double distance_of(const struct detector *d, double value)
{
	double scale = MAX(d->deviation, d->resolution);

	return scale > 0 ? fabs(value - d->mean) / scale : 0;
}

/* Values a week, from those seen so far. */
static double per_week(const struct detector *d)
{
	double span_ns = (double)(d->last_ns - d->first_ns);

	return span_ns > 0 ? WEEK_NS / span_ns * (d->seen - 1) : WEEK_NS / NS_PER_S;
}

static double score_of(const struct detector *d, double distance)
{
	if (d->seen < DETECTOR_WARMUP || distance <= TAIL_FROM)
		return 0;
	return 1 / (1 + per_week(d) * d->tail_share * exp_negative((distance - TAIL_FROM) / d->tail_excess));
}

static void learn_tail(struct detector *d, double distance)
{
	bool beyond = distance > TAIL_FROM;

	d->tail_share += TAIL_SHARE_GAIN * ((beyond ? 1 : 0) - d->tail_share);
	if (!beyond)
		return;

	double excess = MIN(distance - TAIL_FROM, TAIL_EXCESS_MAX * d->tail_excess);

	d->tail_excess = MAX(d->tail_excess + TAIL_EXCESS_GAIN * (excess - d->tail_excess), TAIL_EXCESS_LEAST);
}

static void learn_value(struct detector *d, double value)
{
	double step = fabs(value - d->last), count = d->seen + 1.0;

	if (step > 0 && (d->resolution == 0 || step < d->resolution))
		d->resolution = step;

	double most = DEVIATIONS_MAX * MAX(d->deviation, d->resolution), off = value - d->mean;

	if (d->seen >= FIRST_VALUES)
		off = CLAMP(off, -most, most);
	/* The first value has no deviation, so there is one deviation fewer than there are values. */
	d->deviation += MAX(DEVIATION_GAIN, 1 / (count - 1)) * (fabs(off) - d->deviation);
	d->mean += MAX(MEAN_GAIN, 1 / count) * off;
	d->last = value;
	d->seen += d->seen < UINT32_MAX;
}

void detector_update(struct detector *d, int64_t time_ns, double value, struct detection *ret)
{
	must(isfinite(value));
	*ret = (struct detection){ .expected = d->mean, .low = d->mean, .high = d->mean };
	if (d->seen > 0 && time_ns < d->last_ns)
		return;
	d->last_ns = time_ns;
	value = CLAMP(value, -VALUE_MAX, VALUE_MAX);
	if (d->seen == 0) {
		d->mean = d->last = value;
		d->first_ns = time_ns;
		d->seen = 1;
		ret->expected = ret->low = ret->high = value;
		return;
	}

	double distance = distance_of(d, value), band = 4 * MAX(d->deviation, d->resolution);

	ret->low = d->mean - band;
	ret->high = d->mean + band;
	ret->unusual = score_of(d, distance);
	ret->score = d->before > 0.5 ? 0 : ret->unusual;
	ret->kind = ret->unusual > 0 ? DETECTOR_SPIKE : DETECTOR_NONE;
	ret->direction = (int8_t)((value > d->mean) - (value < d->mean));
	if (d->seen >= DETECTOR_WARMUP && (d->before <= 0.5 || ret->unusual <= 0.5))
		learn_tail(d, distance);
	d->before = ret->unusual;
	learn_value(d, value);
}

int64_t detector_silent_at_ns(const struct detector *d, double false_alarms_per_week)
{
	if (d->seen < DETECTOR_WARMUP)
		return INT64_MAX;
	return d->last_ns + SILENT_INTERVALS * ((d->last_ns - d->first_ns) / (d->seen - 1));
}

static const char *const kinds[DETECTOR_KINDS] = {
	[DETECTOR_NONE] = "none", [DETECTOR_SPIKE] = "spike", [DETECTOR_LEVEL_SHIFT] = "level-shift",
	[DETECTOR_DRIFT] = "drift", [DETECTOR_VARIANCE] = "variance", [DETECTOR_RHYTHM] = "rhythm",
	[DETECTOR_SEASONAL] = "seasonal", [DETECTOR_FLATLINE] = "flatline", [DETECTOR_SILENCE] = "silence",
};

const char *detector_kind_name(enum detector_kind kind)
{
	return kinds[kind];
}

enum detector_kind detector_kind_named(const char *name)
{
	enum detector_kind kind = 0;

	while (kind < DETECTOR_KINDS && strcmp(kinds[kind], name))
		kind++;
	return kind;
}
