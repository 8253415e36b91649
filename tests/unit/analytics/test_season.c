/* Bins of the day and the week, and the finder of cycles. */
#include "analytics/season.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

#define PERIOD_MIN 47

static void bins_are_those_of_utc(void)
{
	const int64_t half_hour = NS_PER_DAY / DAY_BINS, three_hours = NS_PER_WEEK / WEEK_BINS;

	CU_ASSERT_EQUAL(season_bin(0, NS_PER_DAY, DAY_BINS), 0);
	CU_ASSERT_EQUAL(season_bin(half_hour - 1, NS_PER_DAY, DAY_BINS), 0);
	CU_ASSERT_EQUAL(season_bin(half_hour, NS_PER_DAY, DAY_BINS), 1);
	CU_ASSERT_EQUAL(season_bin(NS_PER_DAY - 1, NS_PER_DAY, DAY_BINS), DAY_BINS - 1);
	/* 2009-02-13 23:31:30 UTC, a Friday: 1970 began on a Thursday. */
	CU_ASSERT_EQUAL(season_bin(1234567890 * NS_PER_S, NS_PER_DAY, DAY_BINS), 47);
	CU_ASSERT_EQUAL(season_bin(1234567890 * NS_PER_S, NS_PER_WEEK, WEEK_BINS), 8 + 7);
	CU_ASSERT_EQUAL(season_bin(5 * NS_PER_WEEK + three_hours * 55, NS_PER_WEEK, WEEK_BINS), 55);
}

static void bins_before_1970_go_on_the_same_way(void)
{
	CU_ASSERT_EQUAL(season_bin(-1, NS_PER_DAY, DAY_BINS), DAY_BINS - 1);
	CU_ASSERT_EQUAL(season_bin(-NS_PER_DAY, NS_PER_DAY, DAY_BINS), 0);
	CU_ASSERT_EQUAL(season_bin(INT64_MIN, NS_PER_WEEK, WEEK_BINS), /* 1677-09-21 00:12:43, a Tuesday */
			5 * 8);
	for (int64_t t = -3 * NS_PER_WEEK; t < 0; t += 12345 * NS_PER_S)
		CU_ASSERT(season_bin(t, NS_PER_DAY, DAY_BINS) == season_bin(t + 3 * NS_PER_WEEK, NS_PER_DAY, DAY_BINS) &&
			  season_bin(t, NS_PER_WEEK, WEEK_BINS) == season_bin(t + 3 * NS_PER_WEEK, NS_PER_WEEK, WEEK_BINS));
}

static void a_bin_begins_with_what_it_sees_and_then_takes_a_share(void)
{
	float bin = NAN;

	season_learn(&bin, 8, 0.25);
	CU_ASSERT_EQUAL(bin, 8);
	season_learn(&bin, 4, 0.25);
	CU_ASSERT_EQUAL(bin, 9);
	season_learn(&bin, -4, 1);
	CU_ASSERT_EQUAL(bin, 5);
}

#define BIN_NS (NS_PER_DAY / DAY_BINS)

/* A bin of the day, whose values are so much in that round, and 0 in those before. */
static double after_round(int round, int64_t interval_ns, double value, double least)
{
	int64_t first_ns = 1000 * NS_PER_DAY;
	float bin = NAN;

	for (int r = 0; r <= round; r++)
		for (int64_t into_ns = 0; into_ns < BIN_NS; into_ns += interval_ns) {
			double off = (r == round ? value : 0) - (isnan(bin) ? 0 : (double)bin);

			season_learn(&bin, off, season_gain(first_ns + r * NS_PER_DAY + into_ns, first_ns, (double)interval_ns,
							    NS_PER_DAY, DAY_BINS, least));
		}
	return (double)bin;
}

static void a_bin_is_a_plain_mean_at_first_and_later_takes_a_share_of_each_round(void)
{
	static const int64_t intervals_ns[] = { 30 * NS_PER_S, NS_PER_MIN, 5 * NS_PER_MIN, 30 * NS_PER_MIN, 120 * NS_PER_MIN };

	for (size_t i = 0; i < ARRAY_SIZE(intervals_ns); i++) {
		CU_ASSERT_DOUBLE_EQUAL(after_round(0, intervals_ns[i], 12, 0.2), 12, 1e-5);
		CU_ASSERT_DOUBLE_EQUAL(after_round(1, intervals_ns[i], 12, 0.2), 12 / 2.0, 1e-5);
		CU_ASSERT_DOUBLE_EQUAL(after_round(3, intervals_ns[i], 12, 0.2), 12 / 4.0, 1e-5);
		CU_ASSERT_DOUBLE_EQUAL(after_round(20, intervals_ns[i], 12, 0.2), 12 * 0.19, 12 * 0.011); /* 1 - e^-0.2 = 0.181 */
	}
}

/* Also before 1970. */
static void rounds_are_counted_from_the_first_value(void)
{
	const int64_t first_ns = -3 * NS_PER_WEEK;

	for (int round = 0; round < 6; round++)
		CU_ASSERT_DOUBLE_EQUAL(season_gain(first_ns + round * NS_PER_WEEK, first_ns, (double)NS_PER_WEEK, NS_PER_WEEK, WEEK_BINS, 0),
				       1 / (round + 1.0), 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(season_gain(-BIN_NS / 4, -NS_PER_DAY, (double)BIN_NS / 4, NS_PER_DAY, DAY_BINS, 0), 1 / 4.0, 1e-9);
}

/* ------------------------------------------------------------------ cycles */

struct finder {
	struct cycle c;
	struct noise n;
	int64_t time_ns;
	double phase; /* turns */
};

static struct finder finder_of(struct noise n, int64_t begin_ns)
{
	struct finder f = { .n = n, .time_ns = begin_ns };

	return f;
}

/* A minute of a wave with noise. */
static void minute(struct finder *f, double period_min, double height)
{
	f->phase += 1 / period_min;
	f->time_ns += NS_PER_MIN;
	cycle_follow(&f->c, f->time_ns, height * sin(2 * M_PI * f->phase) + 0.15 * gaussian(&f->n), (double)NS_PER_MIN);
}

static void turns(struct finder *f, int n, double period_min, double height)
{
	for (int i = 0; i < n * (int)period_min; i++)
		minute(f, period_min, height);
}

static void a_period_is_found_in_noise(void)
{
	static const int64_t begins_ns[] = { -3 * NS_PER_DAY, 0, 1700000000 * NS_PER_S };
	struct noise n = seeded();

	for (int round = 0; round < 30; round++) {
		struct finder f = finder_of(n, begins_ns[round % 3]);

		n.state += 77;
		turns(&f, CYCLE_AGREED, PERIOD_MIN, 1.5);
		CU_ASSERT_FALSE(cycle_is_known(&f.c)); /* so many periods have more crossings */
		turns(&f, 4, PERIOD_MIN, 1.5);
		CU_ASSERT(cycle_is_known(&f.c));
		CU_ASSERT_DOUBLE_EQUAL(f.c.period_ns, PERIOD_MIN * (double)NS_PER_MIN, 1.5 * (double)NS_PER_MIN);
	}
}

/* Bins begin with the crossing, and follow a clock that is not quite constant. */
static void a_bin_is_that_of_the_time_since_the_crossing(void)
{
	struct cycle c = { .crossed_ns = 1000, .period_ns = 1600, .agreed = CYCLE_AGREED };

	for (int i = 0; i < CYCLE_BINS; i++) {
		CU_ASSERT_EQUAL(cycle_bin(&c, 1000 + i * 100 + 1), i);
		CU_ASSERT_EQUAL(cycle_bin(&c, 1000 + 7 * 1600 + i * 100 + 99), i);
		CU_ASSERT_EQUAL(cycle_bin(&c, 1000 - 1600 + i * 100 + 50), i);
	}
}

static void one_missing_peak_does_not_end_a_cycle(void)
{
	struct noise n = seeded();

	for (int round = 0; round < 30; round++) {
		struct finder f = finder_of(n, 0);

		n.state += 77;
		turns(&f, 2 * CYCLE_AGREED, PERIOD_MIN, 1.5);
		for (int i = 0; i < CYCLE_BINS; i++)
			f.c.bin[i] = (float)i;
		for (int i = 0; i < PERIOD_MIN; i++) { /* as low as it was */
			f.phase += 1.0 / PERIOD_MIN;
			f.time_ns += NS_PER_MIN;
			cycle_follow(&f.c, f.time_ns, -1, (double)NS_PER_MIN);
		}
		CU_ASSERT(cycle_is_known(&f.c));
		turns(&f, 2, PERIOD_MIN, 1.5);
		CU_ASSERT(cycle_is_known(&f.c));
		CU_ASSERT_DOUBLE_EQUAL(f.c.period_ns, PERIOD_MIN * (double)NS_PER_MIN, 1.5 * (double)NS_PER_MIN);
		CU_ASSERT_EQUAL(f.c.bin[5], 5);
	}
}

static void another_period_takes_the_place_of_the_first(void)
{
	struct noise n = seeded();
	struct finder f = finder_of(n, 0);

	turns(&f, 30, PERIOD_MIN, 1.5);
	f.c.bin[3] = 7;
	turns(&f, CYCLE_AGREED + 3, 80, 1.5);
	CU_ASSERT_FALSE(cycle_is_known(&f.c));
	turns(&f, 3 * CYCLE_AGREED, 80, 1.5);
	CU_ASSERT(cycle_is_known(&f.c));
	CU_ASSERT_DOUBLE_EQUAL(f.c.period_ns, 80 * (double)NS_PER_MIN, 2 * (double)NS_PER_MIN);
	CU_ASSERT(isnan(f.c.bin[3]));
}

/* White, as rough as a wave, and wandering. */
static void there_is_no_cycle_in_noise(void)
{
	for (int wandering = 0; wandering <= 1; wandering++) {
		struct noise n = seeded();
		struct finder f = finder_of(n, 0);
		double x = 0;
		int known = 0;

		for (int i = 0; i < 100000; i++) {
			x = wandering ? 0.9 * x + 0.44 * gaussian(&n) : gaussian(&n);
			f.time_ns += NS_PER_MIN;
			cycle_follow(&f.c, f.time_ns, x, (double)NS_PER_MIN);
			known += cycle_is_known(&f.c);
		}
		CU_ASSERT(known < 1000);
	}
}

static void what_is_too_short_or_too_long_is_no_cycle(void)
{
	struct noise n = seeded();
	struct finder f = finder_of(n, 0);

	turns(&f, 100, CYCLE_INTERVALS_LEAST - 2, 3);
	CU_ASSERT_FALSE(cycle_is_known(&f.c));
	f = finder_of(n, 0);
	turns(&f, 20, 13 * 60, 3); /* the day's profile has it */
	CU_ASSERT_FALSE(cycle_is_known(&f.c));
}

TESTS("season", T(bins_are_those_of_utc), T(bins_before_1970_go_on_the_same_way),
      T(a_bin_begins_with_what_it_sees_and_then_takes_a_share),
      T(a_bin_is_a_plain_mean_at_first_and_later_takes_a_share_of_each_round), T(rounds_are_counted_from_the_first_value),
      T(a_period_is_found_in_noise), T(a_bin_is_that_of_the_time_since_the_crossing), T(one_missing_peak_does_not_end_a_cycle),
      T(another_period_takes_the_place_of_the_first), T(there_is_no_cycle_in_noise),
      T(what_is_too_short_or_too_long_is_no_cycle))
