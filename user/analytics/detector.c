/* Many simple views of one series, each with a tail of its own, and a vote.
 *
 * Aspects.  A look at a value yields some numbers that are never negative and, but for a few, in units of the series'
 * usual deviation: how far the value is off what is expected and off the season; how far the levels of some time are from
 * those of a longer one; how rough the series has been of late; how long the value was in coming.  detector_parameters.def
 * has the table.  Levels and deviations are exponentially weighted, plain averages until their gains are reached.
 *
 * Season.  What is usual at this time is a sum: the day's profile, what the week adds to it where that leaves clearly less,
 * and what a shorter cycle adds to both (season.h).  What is expected of a value is that, and what it was off it of late, or
 * the fast level, whichever has been nearer to values; how far it is off says whether it is a spike.  When the week begins to
 * tell, tails of what is off the season begin anew: what was off it before was that nothing was known of weekends.
 *
 * Tails.  What is much differs from series to series, so of each aspect the tail is learned, and a number in it is
 * evidence, in nats (tails.h).  Aspects of single values have a larger tail than levels, which stay in theirs for a while.
 *
 * Votes.  Real tails are heavier than any that is extrapolated from a few thousand numbers.  So an aspect that is in its
 * tail has a vote, however far it is in, or little more the farther, of single values; those that agree count for more, as
 * votes are added as squares.  Only what is beyond all doubt counts in full.  A value beyond all before it has a vote too,
 * unless it is just as expected, as has roughness beyond all of late; and runs of equal values longer than chance makes
 * them are evidence of their own kind.
 *
 * Gates.  An event is told once: evidence must exceed most of that which was told last, less and less of it as time goes.
 * Single values may be news again sooner than what lasts, and each has a gate of its own.  What is beyond all doubt passes.
 * A level that is on its way back was told when it went, and so was what a value returns from.
 *
 * Score.  R = alarms_at_zero * exp(-evidence) is how often series without anomalies have as much evidence in 2016 values, as
 * measured (docs/anomalies.md); the score is 1 / (1 + R).  After n values votes cannot say of anything that it is rarer
 * than once in some n.
 *
 * Kind.  A vote says how sure one is, not of what: one cause speaks in many aspects.  The kind follows from which aspects
 * speak at all and from what the last values have looked like (shape.h).
 *
 * Robustness.  The slow level and the profiles learn a value with at most `clip` deviations; the fast level does not
 * follow an outlier that stands alone, and the range is that of all values but one on each side.  In a series that hardly
 * ever moves, two steps of its resolution are no news.  After a gap the fast level begins anew.  A counter is taken as the
 * series of its increments, a usual interval each.
 *
 * Silence.  Intervals that are longer than usual have a tail of their own; gaps that have come twice are usual.
 *
 * All of it in operations that IEEE 754 rounds the same way everywhere: the last bit of libm's logarithms differs between
 * versions, and a score decides what is stored.
 *
 * Cost: below 1 KiB a series, most of which is read each time.  Most values have no evidence, and for them nothing is done
 * that only evidence asks for.
 */
#include "analytics/detector.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "analytics/portable_math.h"

#define VALUE_MAX 1e30              /* differences, their multiples and quotients stay finite, also as floats */
#define TIME_MAX_NS (INT64_MAX / 2) /* 2116, and 1823: so that differences are no overflow */
#define STEP_SMALLEST 1e-30
#define LEARN_ALL 20       /* values that are learned as they come */
#define A_WEEK 2016        /* values, of one every five minutes; a series with less is young */
#define STILL 0.5          /* steps: a series that moves by less from value to value ... */
#define STILL_STEPS 2      /* ... may move by so many, which is no news */
#define RUN_LEAST 8        /* values in a row that are no news */
#define RUNS_LEAST 30      /* before runs mean anything */
#define CALM 0.4           /* recent deviations */
#define CALM_STEPS 2       /* of its resolution, that deviation: else it is no news to be near */
#define SEASON_TELLS 0.75  /* of what is without it, a profile leaves less */
#define WEEK_TELLS 0.6     /* likewise the week's, of what the day's leaves */
#define SEASON_BETTER 0.8  /* and of what the fast level leaves, to be what is expected */
#define PLACE_DEVIATIONS 2.0 /* usual ones; few values are farther off */
#define JUMP_DEVIATIONS 2.0 /* recent ones, likewise */
#define AWAY 3.0           /* usual deviations, of a level */
#define RETURNED 0.8       /* times as far and less, of the value: it is back */
#define ROUGH_JUMPS 11     /* of the last values; chance makes a third of that */
#define BAND_NATS 2.0      /* beyond a tail's threshold */
#define DOUBTLESS_TIMES 30.0 /* that threshold: beyond doubt, of the young ... */
#define DOUBTLESS_WEIGHT 4.0 /* ... and units of evidence of each factor e more */
#define COUNTER_RISES 256  /* in a row, from the first value on */
#define NEVER ((1 << 13) - 1)
#define SILENT_LEAST 5.0   /* intervals */
#define SILENT_MOST 1e4    /* likewise */
#define LATE_EXCESS_LEAST 0.25f /* the mean of few excesses is not sure; of exponential intervals it is 0.2 */
#define LATE_EXCESS_MOST 0.7f /* nor is what a few gaps make of it in a rhythm that has no tail */
#define INTERVAL_GAIN 0.01
#define INTERVAL_MOST 4    /* usual ones: a longer one is learned as that */
#define GAPS_WEEKS 2       /* for so long a gap is remembered */
#define GAPS_ALIKE 1.5     /* and one that is so much longer or shorter is like it */
#define COUNTED_GAP 1.5    /* usual intervals: a counter's increment over more is taken as so much a usual one */
#define GAP 20             /* usual intervals: what was just before no longer says what comes now */
#define OUTLIER 10         /* recent deviations and a usual one, off the fast level */
#define OUTLIER_LEARNED 10 /* times that: levels learn no more of one */
#define DENSITY_INTERVAL_NS (5.0 * NS_PER_MIN) /* of a series with 2016 values a week */
#define CACHE_LINE 64
#define AT_FLOOR 1.0005     /* times the floor, and less: what decimals' rounding leaves is no deviation */
#define ABOVE_FLOOR 1.001   /* times the floor: the least that is one */
#define FAR_RATIO 1e6f      /* no deviation counts more than that */
#define ONE_STEP (1 + 1e-5) /* differences of decimals are steps but for their rounding */

/* tests/bench/tune.py builds this file with constants that it can change. */
#ifdef DETECTOR_TUNABLE
#define CONSTANT
#else
#define CONSTANT static const
#endif

struct detector_parameters {
#define PARAMETER(name, value, least, most, what) double name;
#include "analytics/detector_parameters.def"
};

CONSTANT struct detector_parameters detector_p = {
#define PARAMETER(name, value, least, most, what) .name = value,
#include "analytics/detector_parameters.def"
};

CONSTANT float detector_weight[TAILS] = {
#define ASPECT(name, weight, kind, what) [ASPECT_##name] = weight,
#include "analytics/detector_parameters.def"
};

static const uint8_t kind_of_aspect[DETECTOR_ASPECTS] = {
#define ASPECT(name, weight, kind, what) DETECTOR_##kind,
#include "analytics/detector_parameters.def"
};

#define P detector_p

#define EACH_ASPECT_IF(condition, a) \
	if (condition) \
		_Pragma("GCC unroll 16") for (int a = 0; a < DETECTOR_ASPECTS; a++)

/* Of intervals that are longer than usual, for silence: nothing else is made of it. */
#define TAIL_LATE DETECTOR_ASPECTS
/* Vectors of tails: the first is that of the aspects of single values. */
#define BRIEF 0
#define EACH_VECTOR(v) _Pragma("GCC unroll 8") for (int v = 0; v < TAILS_VECTORS; v++)

_Static_assert(ASPECT_RHYTHM < FLOAT4_N && ASPECT_SHIFT == FLOAT4_N, "each vector has a share of its own");
_Static_assert(TAIL_LATE < TAILS, "each has a tail");
_Static_assert(sizeof(struct detector) <= 1024, "a series costs at most 1 KiB");

/* One value on its way through the detector. */
struct look {
	int64_t time_ns;
	double value;     /* less the first one */
	double off;       /* value off the fast level */
	double outlier;   /* so far off it is one */
	double excess;    /* of a gross one, which levels do not learn ... */
	double learned;   /* ... value without that */
	double n;         /* values before it */
	double plain;     /* gain: an average is a plain one until its own is reached */
	double step;      /* what is no news, of a series that hardly ever moves; or 0 */
	double deviation; /* the series' usual one; 0: there is none yet */
	double inverse;
	double most;      /* the slow level and the profiles learn no more than that */
	bool ready;       /* tails are learned */

	float *day, *week, *cycle;            /* bins of this time; cycle: NULL where there is none */
	double off_day, off_week, off_season; /* value off the day; off the week as well; off the cycle as well */
	bool seasonal, season_tells;          /* something is known of that; it is of use */
	double late;                          /* off_season, less most of what that has been of late */
	bool by_season;                       /* that is nearer to values than the fast level */
	double far;                           /* value off the better of them, in usual deviations from it */

	/* Aspects.  off_of: signed, NaN where it is not known; per: 1 / what it is measured in; trend: negative of what is on
	 * its way back. */
	float off_of[TAILS], per[TAILS], trend[TAILS], evidence[TAILS];
	bool any;               /* has evidence */
	double range, roughest; /* votes of a value beyond all before it, and of roughness beyond all of late */
	int8_t range_way;       /* on which side it is */
	double equal, calm;     /* units of evidence, of runs */
	bool longer;            /* one of which has doubled */
};

void detector_init(struct detector *d)
{
	memset(d, 0, sizeof(*d));
	tails_init(&d->tails, (float)P.tail_first);
	for (int i = 0; i < DAY_BINS; i++)
		d->day[i] = NAN;
	for (int i = 0; i < WEEK_BINS; i++)
		d->week[i] = NAN;
	for (int i = 0; i < CYCLE_BINS; i++)
		d->cycle.bin[i] = NAN;
}

/* Of a plain average over n values and one more. */
static inline double plain_gain(double n)
{
	return 1 / (n + 1);
}

static inline int8_t sign_of(float x)
{
	return (int8_t)((x > 0) - (x < 0));
}

static inline void follow(double *level, double value, double gain)
{
	*level += gain * (value - *level);
}

/* off: signed, in the values' unit, and measured in usual deviations if nothing else is said. */
static inline void see(struct look *l, enum detector_aspect a, double off)
{
	if (unlikely(l->step > 0))
		off = copysign(MAX(fabs(off) - l->step, 0.0), off);
	l->off_of[a] = (float)off;
}

/* off: of the value; level: of its level. */
static inline void see_level(struct look *l, enum detector_aspect a, double off, double level)
{
	see(l, a, level);
	l->trend[a] = (float)((off - level) * level);
}

/* A level was away, and the value is not. */
static bool is_return(const struct look *l, double level, double off)
{
	return fabs(level) > AWAY * l->deviation && fabs(off) < RETURNED * fabs(level);
}

/* A number that is none of deviations, such as a ratio of them; way: its direction. */
static inline void see_number(struct look *l, int tail, double number, double way)
{
	l->off_of[tail] = (float)copysign(MAX(number - P.tail_floor, 0.0), way);
	l->per[tail] = 1;
}

/* The vote of what is so far, in what it is measured in, beyond all before it: half of its weight at 1. */
static double vote_beyond(double weight, double far)
{
	return weight * far / (1 + far);
}

/* Of the distance beyond a range what is news: where that is just what was expected, hardly any. */
static double unexpected(const struct look *l)
{
	double share = l->far * (1 / P.range_near);

	return MIN(share * share, 1.0);
}

/* How far x is beyond a range. */
static void see_beyond(struct look *l, float x, float high, float low)
{
	double beyond = x > high ? (double)x - high : x < low ? (double)x - low : 0;

	if (!l->ready || !(fabs(beyond) > l->step * ONE_STEP))
		return;
	l->range_way = beyond > 0 ? 1 : -1;
	beyond = fabs(beyond) * unexpected(l) / ((double)high - low + P.range_floor * l->deviation);
	l->range = vote_beyond(P.range_weight, P.range_factor * beyond);
}

static void see_extremes(struct look *l, struct extremes *e)
{
	float x = (float)l->value;

	if (x <= e->high_before)
		e->high_before = e->second_high;
	if (x >= e->low_before)
		e->low_before = e->second_low;
	e->high_before += (float)P.gain_short * (e->second_high - e->high_before);
	e->low_before += (float)P.gain_short * (e->second_low - e->low_before);
	if (x > e->second_high || x < e->second_low)
		see_beyond(l, x, e->high_before, e->low_before);
	e->second_high = MAX(e->second_high, MIN(x, e->high));
	e->second_low = MIN(e->second_low, MAX(x, e->low));
	e->high = MAX(e->high, x);
	e->low = MIN(e->low, x);
}

static double clipped(const struct look *l, double off)
{
	return CLAMP(off, -l->most, l->most);
}

/* What it does in the long run is not known yet. */
static bool is_young(const struct look *l)
{
	return l->n < A_WEEK;
}

/* ------------------------------------------------------------------ what the seasons say */

/* A week's profile that is noise would only add to that of the values. */
static bool week_tells(const struct detector *d)
{
	return d->left_by_week < WEEK_TELLS * d->left_by_day;
}

/* What was off a season that knows no weeks says nothing of one that does. */
static void forget_season(struct detector *d)
{
	const enum detector_aspect seasonal[] = { ASPECT_SEASON, ASPECT_SEASON_LOCAL, ASPECT_SEASON_SHIFT };

	for (size_t i = 0; i < ARRAY_SIZE(seasonal); i++)
		tails_forget(&d->tails, seasonal[i], (float)P.tail_first);
	d->has_week = 1;
}

static void look_at_season(struct detector *d, struct look *l)
{
	bool day, week, cycle;

	l->cycle = cycle_is_known(&d->cycle) ? &d->cycle.bin[cycle_bin(&d->cycle, l->time_ns)] : NULL;
	day = !isnan(*l->day);
	week = day && !isnan(*l->week) && week_tells(d);
	if (week && !d->has_week)
		forget_season(d);
	cycle = l->cycle && !isnan(*l->cycle);
	l->off_day = l->value - (day ? (double)*l->day : 0);
	l->off_week = l->off_day - (week ? (double)*l->week : 0);
	l->off_season = l->off_week - (cycle ? (double)*l->cycle : 0);
	l->seasonal = day || cycle;
	if (l->seasonal && d->deviation_season == 0)
		d->deviation_season = d->deviation_slow; /* so that few values do not settle it */
	/* Profiles are no help where they leave as much as they explain. */
	l->season_tells = l->seasonal && l->n > LEARN_ALL && d->deviation_season < SEASON_TELLS * d->deviation_slow;
	l->late = l->off_season - d->season_mid * P.season_follow;
	l->by_season = l->season_tells && d->deviation_season < SEASON_BETTER * d->deviation_fast;
}

/* The usual deviation from the profiles. */
static double season_unit(const struct detector *d, const struct look *l)
{
	return d->deviation_season + P.local * l->deviation;
}

static bool is_back_in_season(const struct detector *d, const struct look *l)
{
	return is_return(l, d->season_mid, l->off_season);
}

static void see_season(struct detector *d, struct look *l)
{
	if (!l->seasonal)
		return;

	double off = l->off_season;

	see(l, ASPECT_SEASON, l->late);
	see(l, ASPECT_SEASON_LOCAL, l->late);
	l->trend[ASPECT_SEASON] = l->trend[ASPECT_SEASON_LOCAL] = is_back_in_season(d, l) ? -1 : 0;
	l->per[ASPECT_SEASON_LOCAL] = (float)(1 / season_unit(d, l));
	/* Of the last third: what was off it when little was known of it is no measure. */
	follow(&d->deviation_season, fabs(l->late - l->excess), MAX(MIN(3 * l->plain, 1.0), P.gain_slow));
	follow(&d->season_mid, off - l->excess, P.gain_mid);
	follow(&d->season_short, off - l->excess, P.gain_short);
	see_level(l, ASPECT_SEASON_SHIFT, off, d->season_short);
}

/* Compared from the second week on: a bin that was begun by the value before says nothing of weeks. */
static void compare_week(struct detector *d, const struct look *l, double by_day, double by_week)
{
	if (l->time_ns - d->first_ns < NS_PER_WEEK)
		return;
	if (d->left_by_day == 0)
		d->left_by_day = d->left_by_week = d->deviation_season; /* so that few values do not settle it */
	follow(&d->left_by_day, fabs(by_day), MAX(l->plain, P.gain_slow));
	follow(&d->left_by_week, fabs(by_week), MAX(l->plain, P.gain_slow));
}

static void learn_week(struct detector *d, const struct look *l)
{
	double gain = season_gain(l->time_ns, d->first_ns, d->interval, NS_PER_WEEK, WEEK_BINS, P.gain_week);
	double off = clipped(l, l->off_day - d->off_day_mean), left = off;

	if (!isnan(*l->week)) {
		left = clipped(l, l->off_day - d->off_day_mean - (double)*l->week);
		compare_week(d, l, off, left);
	}
	season_learn(l->week, left, gain);
	follow(&d->off_day_mean, clipped(l, l->off_day), MAX(l->plain, d->interval * (1.0 / NS_PER_WEEK)));
}

/* Each profile learns what it and those before it leave. */
static void learn_season(struct detector *d, const struct look *l)
{
	double gain_day = season_gain(l->time_ns, d->first_ns, d->interval, NS_PER_DAY, DAY_BINS, P.gain_day);

	if (!isnan(*l->day))
		learn_week(d, l);
	season_learn(l->day, clipped(l, l->off_day), gain_day);
	if (l->cycle)
		season_learn(l->cycle, clipped(l, l->off_season), P.gain_cycle);
	cycle_follow(&d->cycle, l->time_ns, (d->fast - d->slow) * l->inverse, d->interval);
}

/* ------------------------------------------------------------------ what the values say */

/* The usual deviation from what is expected. */
static double unit_of(const struct detector *d, const struct look *l)
{
	return l->by_season ? season_unit(d, l) : d->deviation_fast + P.local * l->deviation;
}

/* Where it is expected, after it was away. */
static bool is_back(const struct detector *d, const struct look *l)
{
	return l->by_season ? is_back_in_season(d, l) : is_return(l, d->fast - d->slow, l->value - d->slow);
}

static void see_levels(struct detector *d, struct look *l)
{
	see(l, ASPECT_NOW, l->by_season ? l->late : l->off);
	l->per[ASPECT_NOW] = (float)(1 / unit_of(d, l));
	l->trend[ASPECT_NOW] = is_back(d, l) ? -1 : 0;
	l->far = fabs((double)l->off_of[ASPECT_NOW]) * (double)l->per[ASPECT_NOW];
	follow(&d->shorter, l->learned, MAX(l->plain, P.gain_short));
	follow(&d->mid, l->learned, MAX(l->plain, P.gain_mid));
	see_level(l, ASPECT_SHIFT, l->value - d->slow, d->shorter - d->slow);
	see_level(l, ASPECT_DRIFT, l->value - d->longer, d->mid - d->longer);
}

static void see_roughness(struct detector *d, struct look *l)
{
	follow(&d->rough, fabs(l->learned - d->fast), MAX(l->plain, P.gain_rough));
	see(l, ASPECT_ROUGH, d->rough);

	double floor = P.tail_floor * l->deviation, ratio = (d->rough + floor) / (d->deviation_fast + floor);

	see_number(l, ASPECT_ROUGHER, ratio, 1);
	see_number(l, ASPECT_SMOOTHER, 1 / ratio, -1);
	if (d->rough > d->roughest && l->ready)
		l->roughest = vote_beyond(P.roughest_weight, P.roughest_factor * (d->rough - d->roughest) / (d->roughest + floor));
	d->roughest = MAX(d->rough, d->roughest - P.roughest_fade * (d->roughest - d->rough));
}

/* How far a value is off what is usual at its time; 1: as far as few are.  Before it is learned. */
static double place_of(const struct detector *d, const struct look *l)
{
	bool seasonal = l->season_tells;
	double off = seasonal ? l->off_season : l->value - d->slow;
	double usual = seasonal ? season_unit(d, l) : d->deviation_slow;

	return usual > 0 ? off / (PLACE_DEVIATIONS * usual) : 0;
}

static void run_see(struct run *r, bool goes_on)
{
	uint16_t on = goes_on ? UINT16_MAX : 0; /* which is not foreseen: no branches */

	r->most = MAX(r->most, (uint16_t)(r->now & ~on));
	r->now = (uint16_t)(r->now + (r->now < UINT16_MAX)) & on;
}

/* If runs are as long as chance makes them, the longest of n is ln n mean lengths, and one of k values is as improbable as
 * exp(-k ln n / longest).  Its nats; it is news when the run has doubled. */
static double run_nats(const struct run *r, double n, bool *ret_news)
{
	uint32_t longest = r->most + RUN_LEAST;

	if (n < RUNS_LEAST || r->now < 2 * longest)
		return 0;
	*ret_news = r->now % longest == 0 && __builtin_popcount(r->now / longest) == 1;
	return r->now * portable_ln(n) / longest;
}

/* Values that are equal; and nearer to those before than values are wont to be: smoother, where that is no matter of the
 * resolution. */
static void see_runs(struct detector *d, struct look *l)
{
	bool equal = l->value == d->last;

	run_see(&d->equal, equal);
	if (equal) {
		l->equal = P.stuck * run_nats(&d->equal, d->changes, &l->longer);
		return;
	}
	d->changes += d->changes < UINT16_MAX;
	run_see(&d->calm, (fabs(l->off) <= CALM * d->deviation_fast) & (d->deviation_fast >= CALM_STEPS * d->step));
	l->calm = P.stuck * run_nats(&d->calm, l->n, &l->longer);
}

static void see_shape(struct detector *d, const struct look *l, struct detection *ret)
{
	double place = place_of(d, l), usual = MAX(JUMP_DEVIATIONS * d->deviation_fast, ONE_STEP * d->step);

	shape_see(&d->shape, place, (fabs(l->off) > usual) & (usual > 0));
	ret->away = fabs(place) > 1;
	ret->young = is_young(l);
}

static uint8_t week_of(int64_t time_ns)
{
	return (uint8_t)(time_ns / NS_PER_WEEK);
}

/* A gap of that week, if it still is; else 0. */
static double remembered_ns(float gap_ns, uint8_t week, int64_t now_ns)
{
	return (uint8_t)(week_of(now_ns) - week) <= GAPS_WEEKS ? (double)gap_ns : 0;
}

/* What is longer is not usual; 0: no gap is. */
static double usual_gap_ns(const struct gaps *g, int64_t now_ns)
{
	return GAPS_ALIKE * remembered_ns(g->usual_ns, g->usual_week, now_ns);
}

static bool are_alike(double a_ns, double b_ns)
{
	return a_ns <= GAPS_ALIKE * b_ns && b_ns <= GAPS_ALIKE * a_ns;
}

static void see_gap(struct gaps *g, int64_t time_ns, double gap_ns)
{
	if (gap_ns <= usual_gap_ns(g, time_ns)) {
		if (are_alike(gap_ns, (double)g->usual_ns))
			g->usual_week = week_of(time_ns);
		return;
	}
	if (are_alike(gap_ns, remembered_ns(g->once_ns, g->once_week, time_ns))) {
		g->usual_ns = (float)gap_ns;
		g->usual_week = week_of(time_ns);
	}
	g->once_ns = (float)gap_ns;
	g->once_week = week_of(time_ns);
}

static void see_rhythm(struct detector *d, struct look *l)
{
	double interval = (double)(l->time_ns - d->last_ns);

	if (d->interval == 0) {
		d->interval = interval;
		return;
	}

	bool gap = interval > SILENT_LEAST * d->interval, usual = gap && interval <= usual_gap_ns(&d->gaps, l->time_ns);
	double ratio = MAX(interval, d->interval) / MIN(interval, d->interval);

	if (!usual) {
		/* Above the floor: what was regular to the nanosecond is as sure as can be when it changes. */
		see_number(l, ASPECT_RHYTHM, P.tail_floor * ABOVE_FLOOR + ratio - 1, d->interval - interval);
		see_number(l, TAIL_LATE, P.tail_floor + (interval > d->interval ? ratio - 1 : 0), 1);
	}
	if (gap)
		see_gap(&d->gaps, l->time_ns, interval);
	d->interval += MAX(l->plain, INTERVAL_GAIN) * (MIN(interval, INTERVAL_MOST * d->interval) - d->interval);
}

static void learn(struct detector *d, const struct look *l)
{
	double slow = clipped(l, l->value - d->slow);

	follow(&d->deviation_fast, MIN(fabs(l->off), l->outlier), MAX(l->plain, P.gain_slow));
	/* One outlier is no level: it is followed when the next value is one as well. */
	d->alone = fabs(l->off) > l->outlier && l->n > LEARN_ALL && !d->alone;
	if (!d->alone)
		d->fast += MAX(l->plain, P.gain_fast) * l->off;
	follow(&d->deviation_slow, fabs(slow), MAX(l->plain, P.gain_slow));
	d->slow += MAX(l->plain, P.gain_slow) * slow;
	follow(&d->longer, l->learned, MAX(l->plain, P.gain_long));
	d->last = l->value;
	d->last_ns = l->time_ns;
	d->seen += d->seen < UINT32_MAX;
}

/* ------------------------------------------------------------------ together */

static bool learn_tails(struct detector *d, struct look *l)
{
	const float brief = (float)P.tail_share_brief, lasting = (float)P.tail_share;
	const float ln_brief = (float)portable_ln(P.tail_share_brief), ln_lasting = (float)portable_ln(P.tail_share);
	const struct tails_gains gains = {
		.q = { [BRIEF] = brief, lasting, lasting }, .ln_q = { [BRIEF] = ln_brief, ln_lasting, ln_lasting },
		.gain_u = (float)P.tail_gain_u, .gain_m = (float)P.tail_gain_m, .prior = (float)P.tail_prior,
		.floor = (float)(P.tail_floor * AT_FLOOR), .u_least = (float)P.tail_floor,
		.most = (float)P.tail_most, .far = (float)P.tail_far, .far_share = (float)P.tail_far_share,
	};

	float number[TAILS];

	EACH_VECTOR(v) {
		int i = v * FLOAT4_N;
		float4 units = float4_size(float4_load(l->off_of + i)) * float4_load(l->per + i);

		float4_store(number + i, float4_smaller(float4_all(FAR_RATIO), units) + float4_all((float)P.tail_floor));
	}
	return tails_update(&d->tails, number, &gains, l->evidence);
}

/* What aspects come to together. */
struct votes {
	double all, moment;    /* the latter of those that look at this value alone */
	double brief, lasting; /* what of it is news: levels on their way back are none */
};

/* Of a vector of aspects: weights of those that have evidence, of single values more by P.graded for each nat in the tail. */
static float4 votes_in(const struct look *l, int v)
{
	float4 evidence = float4_load(l->evidence + v * FLOAT4_N), vote = float4_load(detector_weight + v * FLOAT4_N);

	if (v == BRIEF) {
		float4 into = float4_larger(evidence - float4_all(-(float)portable_ln(P.tail_share_brief)), float4_all(0));

		vote *= float4_all(1) + float4_all((float)P.graded) * into;
	}
	return float4_where(evidence > float4_all(0), vote);
}

/* What is beyond all before it is of this moment, and news for as long as what lasts. */
static struct votes votes_of(const struct look *l)
{
	double beyond = l->range * l->range + l->roughest * l->roughest;
	double brief = 0, lasting = 0, fresh_brief = 0, fresh_lasting = 0;

	if (l->any) {
		float4 square[TAILS_VECTORS], fresh[TAILS_VECTORS];

		EACH_VECTOR(v) {
			float4 vote = votes_in(l, v);

			square[v] = vote * vote;
			fresh[v] = float4_where(float4_load(l->trend + v * FLOAT4_N) >= float4_all(0), square[v]);
		}
		brief = (double)float4_sum(square[BRIEF]);
		lasting = (double)float4_sum(square[1] + square[2]);
		fresh_brief = (double)float4_sum(fresh[BRIEF]);
		fresh_lasting = (double)float4_sum(fresh[1] + fresh[2]);
	}
	return (struct votes){ .all = sqrt(brief + lasting + beyond), .moment = sqrt(brief + beyond),
			       .brief = sqrt(fresh_brief), .lasting = sqrt(fresh_lasting + beyond) };
}

/* What is far out in the tail of the value's own aspect counts in full; in others' a part of it does.  And of a young
 * series, whose tail may be taken for far too heavy, what is so many times as far as that begins. */
static double beyond_doubt(const struct detector *d, const struct look *l)
{
	float other = 0;

	if (!l->any)
		return 0;
	for (int a = ASPECT_NOW + 1; a < DETECTOR_ASPECTS; a++)
		other = MAX(other, l->evidence[a]);

	double now = (double)l->evidence[ASPECT_NOW], nats = MAX(now, P.beyond_other * other) - P.beyond_from;
	double times = now > 0 && is_young(l) ? l->far / (double)d->tails.u[ASPECT_NOW] : 0;

	return MAX(P.beyond * MAX(nats, 0.0), times > DOUBTLESS_TIMES ? DOUBTLESS_WEIGHT * portable_ln(times / DOUBTLESS_TIMES) : 0);
}

/* ------------------------------------------------------------------ which kind it is */

static bool is_in_profile(double x, const float *bins, int n, double margin)
{
	float low = INFINITY, high = -INFINITY;

	for (int i = 0; i < n; i++) {
		low = MIN(bins[i], low); /* NaN is passed over */
		high = MAX(bins[i], high);
	}
	return x >= (double)low - margin && x <= (double)high + margin;
}

/* Usual as a value, at another time of the day or cycle. */
static bool is_of_another_time(const struct detector *d, const struct look *l)
{
	double margin = 2 * PLACE_DEVIATIONS * season_unit(d, l);

	return l->season_tells && (is_in_profile(l->value, d->day, DAY_BINS, margin) ||
				      (l->cycle && is_in_profile(l->off_week, d->cycle.bin, CYCLE_BINS, margin)));
}

static void tell(struct detection *ret, enum detector_kind kind, int8_t direction)
{
	ret->kind = kind;
	ret->direction = direction;
}

/* What speaks loudest, by the weights of the vote. */
static void tell_loudest(const struct look *l, struct detection *ret)
{
	float most = 0;
	int loudest = 0;

	EACH_ASPECT_IF(l->any, a) {
		float vote = l->evidence[a] > 0 ? detector_weight[a] : 0;

		loudest = vote > most ? a : loudest;
		most = MAX(most, vote);
	}
	if (l->range > MAX((double)most, l->roughest))
		tell(ret, DETECTOR_SPIKE, l->range_way);
	else if (l->roughest > (double)most)
		tell(ret, DETECTOR_VARIANCE, 1);
	else if (most > 0)
		tell(ret, kind_of_aspect[loudest], sign_of(l->off_of[loudest]));
}

/* The direction of that kind's aspect with most evidence. */
static int8_t way_of(const struct look *l, enum detector_kind kind)
{
	float most = 0, way = 0;

	for (int a = 0; a < DETECTOR_ASPECTS; a++)
		if (kind_of_aspect[a] == kind && l->evidence[a] > most) {
			most = l->evidence[a];
			way = l->off_of[a];
		}
	return sign_of(way);
}

/* By more than what makes no difference. */
static bool is_off_level(const struct look *l)
{
	return fabs(l->off) > l->step + P.tail_floor * l->deviation;
}

/* Weights say how sure one is; which kind it is follows from what the series has looked like of late.  One cause speaks
 * in many aspects, so what explains the others comes first: a level that is elsewhere is off the day's profile as well,
 * and one spike makes a series rougher than before. */
static void tell_kind(const struct detector *d, const struct look *l, struct detection *ret)
{
	float nats[DETECTOR_KINDS] = { 0 };

	tell_loudest(l, ret);
	EACH_ASPECT_IF(l->any, a)
		nats[kind_of_aspect[a]] = MAX(l->evidence[a], nats[kind_of_aspect[a]]);

	float of_level = MAX(nats[DETECTOR_LEVEL_SHIFT], nats[DETECTOR_DRIFT]);
	float most = MAX(MAX(nats[DETECTOR_SPIKE], nats[DETECTOR_SEASONAL]), MAX(nats[DETECTOR_VARIANCE], of_level));
	bool jump = nats[DETECTOR_SPIKE] > 0 && shape_jumps_now(&d->shape);
	int8_t side = !jump && (of_level > 0 || ret->kind == DETECTOR_LEVEL_SHIFT) ? shape_side(&d->shape) : 0;

	/* What goes on for a while is off the season by its level too; and a jump is a spike. */
	bool off_season = nats[DETECTOR_SEASONAL] > 0 && (side != 0 || nats[DETECTOR_SPIKE] == 0);

	off_season |= side != 0 && l->evidence[ASPECT_SEASON_SHIFT] > 0;
	if (nats[DETECTOR_RHYTHM] > most)
		tell(ret, DETECTOR_RHYTHM, way_of(l, DETECTOR_RHYTHM));
	else if (most > 0 && nats[DETECTOR_VARIANCE] == most && way_of(l, DETECTOR_VARIANCE) < 0)
		tell(ret, DETECTOR_VARIANCE, -1);
	else if (off_season && is_of_another_time(d, l))
		tell(ret, DETECTOR_SEASONAL, way_of(l, nats[DETECTOR_SEASONAL] > 0 ? DETECTOR_SEASONAL : DETECTOR_LEVEL_SHIFT));
	else if (side != 0)
		tell(ret, shape_is_gradual(&d->shape) ? DETECTOR_DRIFT : DETECTOR_LEVEL_SHIFT, side);
	else if (nats[DETECTOR_VARIANCE] > 0 && shape_jumps(&d->shape) >= ROUGH_JUMPS)
		tell(ret, DETECTOR_VARIANCE, 1);
	else if (nats[DETECTOR_SPIKE] > 0)
		tell(ret, DETECTOR_SPIKE, way_of(l, DETECTOR_SPIKE));
	else if (ret->kind != DETECTOR_RHYTHM && !(ret->kind == DETECTOR_VARIANCE && ret->direction < 0))
		tell(ret, DETECTOR_SPIKE, is_off_level(l) ? sign_of(l->off_of[ASPECT_NOW]) : 0); /* or what is left of one */
	ret->lasts = ret->kind == DETECTOR_SEASONAL ? side != 0 : !detector_kind_is_brief(ret->kind);
}

/* A share of what was told last stands in the way of the next: the gate opens with time, within so many values. */
static double through_gate(struct gate *g, double evidence, double share, double values)
{
	double age = g->age * (1 / values), stands = age < 1 ? g->told * (1 - age * age) : 0;

	if (evidence >= stands) {
		g->told = (float)evidence;
		g->age = 0;
	}
	g->age++;
	return MAX(evidence - share * stands, 0.0);
}

/* Of evidence, what is news. */
static double news_of(struct detector *d, double brief, double lasting)
{
	brief = through_gate(&d->brief, brief, P.gate_brief, P.gate_values_brief);
	lasting = through_gate(&d->lasting, lasting, P.gate, P.gate_values);
	return sqrt(brief * brief + lasting * lasting);
}

/* Of evidence that votes come to: after n values it is not known of anything that it is rarer than once in some n. */
static double known(const struct look *l, double evidence)
{
	return MIN(evidence, portable_ln(P.alarms_at_zero * l->n / (P.alarms_so_far * A_WEEK)));
}

/* 1 / (1 + R), R = alarms in A_WEEK values. */
static double score_of(double evidence)
{
	return evidence > 0 ? 1 / (1 + P.alarms_at_zero * portable_exp(-evidence)) : 0;
}

/* What is expected, and within which a value is usual: off by what a share of tail_share_brief / e^BAND_NATS exceeds. */
static void expect(const struct detector *d, const struct look *l, struct detection *ret)
{
	double m = (double)d->tails.m[ASPECT_NOW], u = (double)d->tails.u[ASPECT_NOW];

	ret->expected = d->base + (l->by_season ? l->value - l->late : d->fast);
	ret->unit = isnan(u) ? 0 : unit_of(d, l) * u;
	ret->nats = BAND_NATS * m;
}

static void first_value(struct detector *d, int64_t time_ns, double value, struct detection *ret)
{
	d->first_ns = d->last_ns = time_ns;
	d->base = value; /* and all else, 0, is an offset from it */
	d->seen = 1;
	ret->expected = value;
}

/* Of many series in turn, a state is no longer in the nearest caches. */
static inline void fetch(struct detector *d, struct look *ret, int64_t time_ns)
{
	ret->day = &d->day[season_bin(time_ns, NS_PER_DAY, DAY_BINS)];
	ret->week = &d->week[season_bin(time_ns, NS_PER_WEEK, WEEK_BINS)];
	__builtin_prefetch(ret->day);
	__builtin_prefetch(ret->week);
	_Pragma("GCC unroll 16") for (size_t at = CACHE_LINE; at < offsetof(struct detector, cycle) + CACHE_LINE; at += CACHE_LINE)
		__builtin_prefetch((const char *)d + at);
}

static void look_begin(struct look *ret, struct detector *d, int64_t time_ns, double value)
{
	ret->time_ns = time_ns;
	ret->value = value;
	ret->off = value - d->fast;
	ret->n = d->seen;
	ret->plain = plain_gain(ret->n);
	ret->step = d->deviation_fast < STILL * d->step ? STILL_STEPS * ONE_STEP * d->step : 0;
	ret->deviation = MAX(d->deviation_slow, d->step);
	ret->inverse = ret->deviation > 0 ? 1 / ret->deviation : 0;
	ret->most = d->seen > LEARN_ALL ? P.clip * ret->deviation : INFINITY;
	ret->outlier = OUTLIER * d->deviation_fast + ret->deviation;

	double gross = OUTLIER_LEARNED * ret->outlier;

	ret->excess = d->seen > LEARN_ALL ? ret->off - CLAMP(ret->off, -gross, gross) : 0;
	ret->learned = value - ret->excess;
	ret->ready = d->seen >= DETECTOR_WARMUP && ret->deviation > 0;
	EACH_VECTOR(v) {
		int i = v * FLOAT4_N;

		float4_store(ret->off_of + i, float4_all(NAN));
		float4_store(ret->per + i, float4_all((float)ret->inverse));
		float4_store(ret->trend + i, float4_all(0));
	}
	ret->range = ret->roughest = ret->equal = ret->calm = 0;
	ret->longer = false;
}

/* What is expected, and the shape, come before the value is learned by what follows. */
static void look_at(struct detector *d, struct look *l, struct detection *ret)
{
	look_at_season(d, l);
	expect(d, l, ret);
	see_shape(d, l, ret);
	see_runs(d, l);
	see_levels(d, l);
	see_season(d, l);
	see_roughness(d, l);
	see_extremes(l, &d->all);
	see_rhythm(d, l);
}

static bool is_quiet(const struct look *l)
{
	return !l->any && l->range == 0 && l->roughest == 0 && l->equal == 0 && l->calm == 0;
}

static void judge(struct detector *d, struct look *l, struct detection *ret)
{
	if (is_quiet(l)) {
		d->brief.age++;
		d->lasting.age++;
		return;
	}

	struct votes v = votes_of(l);
	double runs = MAX(l->equal, l->calm), beyond = beyond_doubt(d, l);

	if (l->any || l->range > 0 || l->roughest > 0)
		tell_kind(d, l, ret);
	if (runs > v.all + beyond) {
		bool equal = runs == l->equal;

		tell(ret, equal ? DETECTOR_FLATLINE : DETECTOR_VARIANCE, equal ? 0 : -1);
		ret->lasts = true;
	}
	ret->unusual = score_of(known(l, v.all) + MAX(beyond, runs));
	ret->unusual_now = score_of(known(l, v.moment) + beyond);
	if (l->trend[ASPECT_NOW] < 0)
		beyond = 0;
	ret->score = score_of(known(l, news_of(d, v.brief, v.lasting)) + MAX(beyond, l->longer ? runs : 0));
}

static void next_value(struct detector *d, int64_t time_ns, double number, struct detection *ret)
{
	double value = number - d->base, step = fabs(value - d->last);
	struct look l;

	fetch(d, &l, time_ns);
	if (step > STEP_SMALLEST && (d->step == 0 || step < (double)d->step))
		d->step = (float)step;
	if ((double)(time_ns - d->last_ns) > GAP * d->interval && d->seen > LEARN_ALL)
		d->fast = value;
	look_begin(&l, d, time_ns, value);
	look_at(d, &l, ret);
	ret->density = d->interval > 0 ? DENSITY_INTERVAL_NS / d->interval : 1;
	learn_season(d, &l);
	learn(d, &l);
	if (!l.ready)
		return;
	l.any = learn_tails(d, &l);
	judge(d, &l, ret);
}

/* Usual intervals since the last value, where that is a gap. */
static double gap_of(const struct detector *d, int64_t time_ns)
{
	double intervals = d->interval > 0 ? (double)(time_ns - d->last_ns) / d->interval : 1;

	return intervals > COUNTED_GAP ? intervals : 1;
}

/* Something that has only ever risen is a counter, and its increments are the series.  One that falls to less than half
 * was reset: what it had come to before that is gone, so there is no increment (NaN).  One that falls to anything else is
 * none after all.  Whatever it was taken for wrongly is forgotten. */
static double without_counter(struct detector *d, double value, double gap)
{
	double before = d->counted;

	d->counted = value;
	if (d->rises == NEVER && !d->is_counter)
		return value;
	if (value < before && (!d->is_counter || value < 0 || value > before / 2)) {
		if (d->is_counter)
			detector_init(d);
		d->rises = NEVER;
		return value;
	}
	if (value < before)
		return NAN;
	if (!d->is_counter && value > before && d->seen > 0 && ++d->rises == COUNTER_RISES) {
		detector_init(d);
		d->counted = value;
		d->is_counter = 1;
	}
	return d->is_counter ? (value - before) / gap : value;
}

void detector_update(struct detector *d, int64_t time_ns, double value, struct detection *ret)
{
	must(isfinite(value));
	time_ns = CLAMP(time_ns, -TIME_MAX_NS, TIME_MAX_NS);
	*ret = (struct detection){ .expected = d->base + d->fast + (d->is_counter ? d->counted : 0) };
	if (d->seen > 0 && time_ns <= d->last_ns)
		return;
	value = CLAMP(value, -VALUE_MAX, VALUE_MAX);

	double before = d->counted, gap = d->is_counter ? gap_of(d, time_ns) : 1, number = without_counter(d, value, gap);

	if (isnan(number)) {
		d->last_ns = time_ns;
		ret->expected = value;
		return;
	}
	if (d->seen == 0)
		first_value(d, time_ns, number, ret);
	else
		next_value(d, time_ns, number, ret);
	if (d->is_counter) {
		ret->expected = before + gap * ret->expected;
		ret->unit *= gap;
	}
}

/* ------------------------------------------------------------------ for those who decide */

struct band detector_band(const struct detection *found)
{
	double half = found->unit > 0 ? found->unit * portable_exp(found->nats) : 0;

	return (struct band){ found->expected - half, found->expected + half };
}

int64_t detector_silent_at_ns(const struct detector *d, double false_alarms_per_week)
{
	float u = d->tails.u[TAIL_LATE], m = CLAMP(d->tails.m[TAIL_LATE], LATE_EXCESS_LEAST, LATE_EXCESS_MOST);

	if (isnan(u) || d->interval == 0)
		return INT64_MAX;

	double a_week = NS_PER_WEEK / d->interval;
	double nats = portable_ln(MAX(a_week / false_alarms_per_week, 1.0)) + portable_ln(P.tail_share);
	double intervals = 1 + u * portable_exp(m * MAX(nats, 0.0));
	double after_ns = MAX(CLAMP(intervals, SILENT_LEAST, SILENT_MOST) * d->interval, usual_gap_ns(&d->gaps, d->last_ns));

	return after_ns < (double)TIME_MAX_NS ? d->last_ns + (int64_t)after_ns : INT64_MAX;
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
