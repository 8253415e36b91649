/* Each kind of anomaly, where it is as textbooks have it: found in most of several series, and told as what it is where
 * that is plain. */
#include <stdlib.h>

#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

#define SERIES 20
#define NEARLY_ALL 17
#define MOST 12
#define INTERVAL_NS (5 * NS_PER_MIN)
#define A_DAY 288
#define BEFORE (21 * A_DAY)
#define THRESHOLD detector_threshold(1)
#define DEVIATION 4 /* of white noise, and of what is autocorrelated */

struct watch {
	struct detector d;
	struct anomaly a;
	struct detection found;
	bool raised;
	unsigned told; /* kinds, a bit each, that events have or came to have */
};

static void feed(struct watch *w, int64_t time_ns, double value)
{
	detector_update(&w->d, time_ns, value, &w->found);
	switch (anomaly_update(&w->a, THRESHOLD, time_ns, &w->found)) {
	case ANOMALY_RAISED:
		w->raised = true;
		/* fall through */
	case ANOMALY_RENAMED:
		w->told |= 1u << w->a.kind;
	default:
		break;
	}
}

/* Nothing is told so far. */
static void forget(struct watch *w)
{
	memset(&w->a, 0, sizeof(w->a));
	w->raised = false;
	w->told = 0;
}

static void next(struct watch *w, struct generated *g, double change)
{
	double v = generated_next(g);

	feed(w, g->time_ns, v + change);
}

/* A series that has gone on for so long, and of which nothing is told so far. */
static void settle(struct watch *w, struct generated *g, int values)
{
	memset(w, 0, sizeof(*w));
	detector_init(&w->d);
	for (int i = 0; i < values; i++)
		next(w, g, 0);
	forget(w);
}

static bool is_told_as(const struct watch *w, enum detector_kind kind)
{
	return w->raised && (w->told & 1u << kind);
}

/* The same noise each time, unless SLUICE_TEST_SEED=N asks for another: the bounds are near what chance allows, and with
 * noise drawn anew one run in nine has a test beyond them, most often that of a spike's end. */
static struct noise drawn(void)
{
	const char *seed = getenv("SLUICE_TEST_SEED");

	return (struct noise){ seed ? strtoull(seed, NULL, 0) : 1 };
}

/* SERIES settled series of a kind, one after the other, each of a noise of its own. */
struct rounds {
	struct noise noise;
	int round;
	struct generated g;
	struct watch w;
};

static struct rounds rounds_begin(void)
{
	return (struct rounds){ .noise = drawn() };
}

static bool next_round(struct rounds *r, enum series_kind series, int settled)
{
	if (r->round++ == SERIES)
		return false;
	r->g = generated_of(series, r->noise, INTERVAL_NS);
	r->noise.state += 1000003;
	settle(&r->w, &r->g, settled);
	return true;
}

typedef double change_fn(double v, const struct generated *g, int i);

struct outcome {
	int found, told;
};

/* values: of the case.  Found: there is an event; told: it has this kind. */
static struct outcome outcome_of(enum series_kind series, change_fn *change, int values, enum detector_kind kind)
{
	struct outcome o = { 0 };
	struct rounds r = rounds_begin();

	while (next_round(&r, series, BEFORE)) {
		for (int i = 0; i < values; i++) {
			double v = generated_next(&r.g);

			feed(&r.w, r.g.time_ns, change(v, &r.g, i));
		}
		o.found += r.w.raised;
		o.told += is_told_as(&r.w, kind);
	}
	return o;
}

static bool is_told(enum series_kind series, change_fn *change, int values, enum detector_kind kind)
{
	struct outcome o = outcome_of(series, change, values, kind);

	if (o.told < NEARLY_ALL)
		printf("  %s: found %d, told %d of %d\n", series_names[series], o.found, o.told, SERIES);
	return o.told >= NEARLY_ALL;
}

/* Where what is rare by chance may be told besides, or where it ends. */
static bool is_mostly_told(enum series_kind series, change_fn *change, int values, enum detector_kind kind)
{
	return outcome_of(series, change, values, kind).told >= MOST;
}

/* ------------------------------------------------------------------ values */

#define EXCURSION 12

/* It was told when it began. */
static void the_end_of_an_excursion_is_no_news(void)
{
	struct rounds r = rounds_begin();
	int told = 0, told_again = 0;

	while (next_round(&r, WHITE, BEFORE)) {
		for (int i = 0; i < EXCURSION; i++) {
			next(&r.w, &r.g, 12 * DEVIATION);
			told += i == 0 && detector_weekly(&r.w.found, r.w.found.score) >= THRESHOLD;
		}
		for (int i = 0; i < EXCURSION; i++) {
			next(&r.w, &r.g, 0);
			told_again += r.w.found.score > detector_threshold(3);
		}
	}
	CU_ASSERT(told >= NEARLY_ALL);
	CU_ASSERT_EQUAL(told_again, 0);
}

static double spiked(double v, const struct generated *g, int i)
{
	return i == 0 ? v + 20 * DEVIATION : v;
}

static void a_spike_is_told(void)
{
	static const enum series_kind series[] = { WHITE, CORRELATED, SEASONAL, COUNTS, COARSE, GAPPY };

	for (size_t i = 0; i < ARRAY_SIZE(series); i++)
		CU_ASSERT(is_told(series[i], spiked, 1, DETECTOR_SPIKE));
}

/* Neither the range nor what the day leaves learns it in full. */
static void a_spike_is_told_after_a_far_greater_one(void)
{
	struct rounds r = rounds_begin();
	int told = 0;

	while (next_round(&r, WHITE, A_DAY * 7)) {
		next(&r.w, &r.g, 1e6);
		for (int i = 0; i < A_DAY * 2; i++)
			next(&r.w, &r.g, 0);
		forget(&r.w);
		next(&r.w, &r.g, 10 * DEVIATION);
		told += r.w.told == 1u << DETECTOR_SPIKE;
	}
	CU_ASSERT(told >= NEARLY_ALL);
}

/* The first step of a series that was constant has nothing to be measured with; what is far beyond single steps has. */
static void in_a_series_of_single_steps_a_spike_is_told(void)
{
	static struct watch w;
	int64_t time_ns = 0;

	detector_init(&w.d);
	for (int i = 0; i < BEFORE; i++)
		feed(&w, time_ns += INTERVAL_NS, i % 100 < 98 ? 21.3 : 21.4);
	forget(&w);
	feed(&w, time_ns += INTERVAL_NS, 35);
	CU_ASSERT(w.raised && w.told == 1u << DETECTOR_SPIKE && w.a.direction == 1);
}

static void a_spike_ends_at_once_and_has_its_side(void)
{
	struct rounds r = rounds_begin();
	int ended = 0, sides = 0;

	while (next_round(&r, WHITE, BEFORE)) {
		int side = r.round % 2 ? 1 : -1;

		next(&r.w, &r.g, side * 20 * DEVIATION);
		sides += r.w.raised && r.w.a.direction == side && r.w.found.expected > 40 && r.w.found.expected < 60;
		for (int i = 0; i < 2 * ANOMALY_QUIET_VALUES; i++)
			next(&r.w, &r.g, 0);
		ended += !r.w.a.active;
	}
	CU_ASSERT(ended >= NEARLY_ALL);
	CU_ASSERT(sides >= NEARLY_ALL);
}

/* So little that no value of it stands out. */
static double shifted_a_little(double v, const struct generated *g, int i)
{
	return v + 1.5 * DEVIATION;
}

static double shifted(double v, const struct generated *g, int i)
{
	return v + 8 * DEVIATION;
}

static void a_level_shift_is_told(void)
{
	CU_ASSERT(is_mostly_told(WHITE, shifted_a_little, 500, DETECTOR_LEVEL_SHIFT));
	CU_ASSERT(is_told(WHITE, shifted, 200, DETECTOR_LEVEL_SHIFT));
	CU_ASSERT(is_mostly_told(CORRELATED, shifted, 200, DETECTOR_LEVEL_SHIFT));
	CU_ASSERT(is_told(SEASONAL, shifted, 200, DETECTOR_LEVEL_SHIFT));
}

/* It is told, and no event for ever. */
static void a_new_level_is_accepted_and_a_spike_from_it_found(void)
{
	struct rounds r = rounds_begin();
	int accepted = 0, found = 0;

	while (next_round(&r, WHITE, BEFORE)) {
		double v = 0;

		for (int i = 0; i < 2 * BEFORE; i++) {
			v = generated_next(&r.g) + 50 * DEVIATION;
			feed(&r.w, r.g.time_ns, v);
		}
		accepted += !r.w.a.active && fabs(r.w.found.expected - v) < 6 * DEVIATION;
		forget(&r.w);
		next(&r.w, &r.g, 100 * DEVIATION);
		found += r.w.raised;
	}
	CU_ASSERT(accepted >= NEARLY_ALL);
	CU_ASSERT(found >= NEARLY_ALL);
}

static double drifting(double v, const struct generated *g, int i)
{
	return v + 10.0 * DEVIATION * i / 1000;
}

static double drifting_fast(double v, const struct generated *g, int i)
{
	return v + 20.0 * DEVIATION * i / 1000;
}

static void a_drift_is_told(void)
{
	CU_ASSERT(is_mostly_told(WHITE, drifting, 1000, DETECTOR_DRIFT));
	CU_ASSERT(is_mostly_told(WHITE, drifting_fast, 1000, DETECTOR_DRIFT));
	CU_ASSERT(is_mostly_told(CORRELATED, drifting_fast, 1000, DETECTOR_DRIFT));
}

static double rougher(double v, const struct generated *g, int i)
{
	return 50 + 3 * (v - 50);
}

static void a_series_that_becomes_rougher_is_told(void)
{
	CU_ASSERT(is_told(WHITE, rougher, 500, DETECTOR_VARIANCE));
}

static double smoother(double v, const struct generated *g, int i)
{
	return 50 + (v - 50) / 10;
}

static void a_series_that_becomes_smoother_is_told(void)
{
	CU_ASSERT(is_told(WHITE, smoother, 500, DETECTOR_VARIANCE));
}

static double stuck_at;

static double stuck(double v, const struct generated *g, int i)
{
	if (i == 0)
		stuck_at = v;
	return stuck_at;
}

static void a_stuck_series_is_told(void)
{
	static const enum series_kind series[] = { WHITE, CORRELATED, SEASONAL, COUNTS, GAPPY };

	for (size_t i = 0; i < ARRAY_SIZE(series); i++)
		CU_ASSERT(is_told(series[i], stuck, 300, DETECTOR_FLATLINE));
}

/* ------------------------------------------------------------------ seasons */

/* The night's hours by day, and the reverse: no value is one that never was. */
static double at_the_wrong_hour(double v, const struct generated *g, int i)
{
	return v - of_season(g->time_ns) + of_season(g->time_ns + NS_PER_DAY / 2);
}

static void a_day_at_the_wrong_hour_is_told(void)
{
	CU_ASSERT(is_told(SEASONAL, at_the_wrong_hour, A_DAY, DETECTOR_SEASONAL));
}

static double without_its_peak(double v, const struct generated *g, int i)
{
	return v - of_season(g->time_ns);
}

/* No value of it is unusual, and there is no jump. */
static void an_absent_peak_is_told(void)
{
	CU_ASSERT(is_told(SEASONAL, without_its_peak, A_DAY, DETECTOR_SEASONAL));
}

/* A job of two hours each day, 20 deviations high; on the last day it runs at this hour, 24: not at all. */
static int jobs_told(int hour)
{
	struct rounds r = rounds_begin();
	int told = 0;

	while (next_round(&r, WHITE, 0)) {
		for (int i = 0; i < BEFORE + A_DAY; i++) {
			double v = 50 + (generated_next(&r.g) - 50) / DEVIATION;
			int64_t into_the_day_ns = r.g.time_ns % NS_PER_DAY, from_ns = (i < BEFORE ? 12 : hour) * 60 * NS_PER_MIN;
			bool runs = into_the_day_ns >= from_ns && into_the_day_ns < from_ns + 120 * NS_PER_MIN;

			if (i == BEFORE)
				r.w.told = 0;
			feed(&r.w, r.g.time_ns, runs ? v + 20 : v);
		}
		told += (r.w.told & 1u << DETECTOR_SEASONAL) != 0;
	}
	return told;
}

static void a_job_that_does_not_run_or_runs_at_another_hour_is_told(void)
{
	CU_ASSERT(jobs_told(24) >= NEARLY_ALL);
	CU_ASSERT(jobs_told(17) >= NEARLY_ALL);
}

/* Five weeks and so many days of an office, and one on which it is open when it should not be, or the reverse. */
static int odd_days_told(int days)
{
	struct rounds r = rounds_begin();
	int told = 0, before = (5 * 7 + days) * A_DAY;

	while (next_round(&r, WHITE, 0)) {
		for (int i = 0; i < before + A_DAY; i++) {
			double noise = (generated_next(&r.g) - 50) / (2 * DEVIATION);

			if (i == before)
				forget(&r.w);
			feed(&r.w, r.g.time_ns, office_hours(r.g.time_ns, is_weekend(r.g.time_ns) == (i >= before)) + noise);
		}
		told += (r.w.told & 1u << DETECTOR_SEASONAL) != 0;
	}
	return told;
}

static void a_holiday_and_work_on_a_weekend_are_told(void)
{
	int days_to_weekend = (int)((7 - SERIES_START_NS / NS_PER_DAY % 7) % 7);

	CU_ASSERT(odd_days_told(days_to_weekend) >= NEARLY_ALL);
	CU_ASSERT(odd_days_told((days_to_weekend + 3) % 7) >= NEARLY_ALL);
}

/* ------------------------------------------------------------------ time */

/* After a while at the usual interval, at ten times or a tenth of it. */
static int rhythms_told(enum series_kind series, int64_t interval_ns)
{
	struct rounds r = rounds_begin();
	int told = 0;

	while (next_round(&r, series, BEFORE)) {
		for (int i = 1; i <= 20; i++)
			feed(&r.w, r.w.d.last_ns + interval_ns, generated_next(&r.g));
		told += is_told_as(&r.w, DETECTOR_RHYTHM);
	}
	return told;
}

static void an_interval_that_changes_tenfold_is_told(void)
{
	static const enum series_kind series[] = { WHITE, SEASONAL, COUNTS }; /* where gaps are usual it is not so sure */

	for (size_t i = 0; i < ARRAY_SIZE(series); i++) {
		CU_ASSERT(rhythms_told(series[i], INTERVAL_NS / 10) >= NEARLY_ALL);
		CU_ASSERT(rhythms_told(series[i], INTERVAL_NS * 10) >= NEARLY_ALL);
	}
}

static void silence_begins_when_the_rhythm_no_longer_allows_it(void)
{
	struct generated g = generated_of(WHITE, (struct noise){ 5 }, INTERVAL_NS);
	static struct watch w;
	int64_t strict_ns, lax_ns;

	detector_init(&w.d);
	CU_ASSERT_EQUAL(detector_silent_at_ns(&w.d, 1), INT64_MAX);
	settle(&w, &g, BEFORE);
	lax_ns = detector_silent_at_ns(&w.d, 100) - w.d.last_ns;
	strict_ns = detector_silent_at_ns(&w.d, 0.001) - w.d.last_ns;
	CU_ASSERT(lax_ns > 2 * INTERVAL_NS && lax_ns <= strict_ns && strict_ns < 100 * INTERVAL_NS);

	/* Intervals that differ by half and more are no silence so soon. */
	struct noise n = { 5 };

	settle(&w, &g, 0);
	for (int i = 0; i < BEFORE; i++)
		feed(&w, w.d.last_ns + 1 + (int64_t)((double)INTERVAL_NS * exp(0.5 * gaussian(&n))), 50 + gaussian(&n));
	CU_ASSERT(detector_silent_at_ns(&w.d, 0.001) - w.d.last_ns > strict_ns * 3 / 2);
	CU_ASSERT(detector_silent_at_ns(&w.d, 0.001) - w.d.last_ns < NS_PER_WEEK);
}

/* So many silences and changes of rhythm are told in the last four of eight weeks. */
static int gaps_told(bool is_sent(int64_t day, int hour), int64_t usual_ns)
{
	struct noise n = drawn();
	static struct watch w;
	int told = 0;

	settle(&w, &(struct generated){ 0 }, 0);
	for (int64_t into_ns = 0; into_ns < 8 * NS_PER_WEEK; into_ns += INTERVAL_NS) {
		int64_t time_ns = SERIES_START_NS + into_ns;

		if (!is_sent(into_ns / NS_PER_DAY, (int)(into_ns % NS_PER_DAY / (60 * NS_PER_MIN))))
			continue;
		told += into_ns > 4 * NS_PER_WEEK && time_ns > detector_silent_at_ns(&w.d, 0.01);
		w.told = 0;
		feed(&w, time_ns, 50 + gaussian(&n));
		told += into_ns > 4 * NS_PER_WEEK && (w.told & 1u << DETECTOR_RHYTHM) != 0;
	}
	/* And what is longer is silence nevertheless. */
	CU_ASSERT(detector_silent_at_ns(&w.d, 0.01) - w.d.last_ns > usual_ns);
	CU_ASSERT(detector_silent_at_ns(&w.d, 0.01) - w.d.last_ns < 2 * usual_ns);
	return told;
}

static bool but_at_night(int64_t day, int hour)
{
	return hour >= 6 && hour < 22;
}

static bool but_at_night_and_weekends(int64_t day, int hour)
{
	return but_at_night(day, hour) && day % 7 < 5;
}

static bool but_for_an_hour(int64_t day, int hour)
{
	return hour != 3;
}

static void gaps_that_come_again_and_again_are_usual(void)
{
	CU_ASSERT_EQUAL(gaps_told(but_at_night, 8 * 60 * NS_PER_MIN), 0);
	CU_ASSERT_EQUAL(gaps_told(but_at_night_and_weekends, 56 * 60 * NS_PER_MIN), 0);
	CU_ASSERT_EQUAL(gaps_told(but_for_an_hour, 60 * NS_PER_MIN), 0);
}

/* Of exponential intervals one in 2016 weeks / 0.01 is ln(2016 / 0.01) = 12.2 mean ones long. */
static void of_arrivals_by_chance_silence_is_rare_and_not_late(void)
{
	struct noise n = drawn();
	static struct watch w;
	int64_t time_ns = SERIES_START_NS;
	int silent = 0;

	settle(&w, &(struct generated){ 0 }, 0);
	for (int i = 0; i < 8 * 2016; i++) {
		time_ns += 1 + (int64_t)(-log(uniform(&n)) * INTERVAL_NS);
		silent += i > 2016 && time_ns > detector_silent_at_ns(&w.d, 0.01);
		feed(&w, time_ns, 50 + gaussian(&n));
	}
	CU_ASSERT(silent <= 1);
	CU_ASSERT(detector_silent_at_ns(&w.d, 0.01) - time_ns < 40 * INTERVAL_NS);
}

/* ------------------------------------------------------------------ counters */

static double counter_at;

/* Of 1000 a value, and of so much; reset when it has come to the 150th value. */
static void count_on(struct watch *w, struct generated *g, double a_value, int values, int reset)
{
	for (int i = 0; i < values; i++) {
		counter_at += floor(a_value + 100 * gaussian(&g->noise));
		if (i == reset)
			counter_at = floor(a_value * uniform(&g->noise));
		g->time_ns += INTERVAL_NS;
		feed(w, g->time_ns, counter_at);
	}
}

static void a_counters_reset_is_no_anomaly_and_a_jump_of_its_rate_is(void)
{
	struct rounds r = rounds_begin();
	int quiet = 0, found = 0;

	while (next_round(&r, WHITE, 0)) {
		counter_at = 0;
		count_on(&r.w, &r.g, 1000, BEFORE, -1);
		CU_ASSERT(r.w.d.is_counter);
		forget(&r.w);
		count_on(&r.w, &r.g, 1000, 5, 0);
		CU_ASSERT(r.w.d.is_counter && r.w.found.expected > counter_at - 1000 && r.w.found.expected < counter_at + 1000);
		quiet += !r.w.raised;
		forget(&r.w);
		count_on(&r.w, &r.g, 4000, 5, -1);
		found += r.w.raised;
	}
	CU_ASSERT(quiet >= NEARLY_ALL);
	CU_ASSERT(found >= NEARLY_ALL);
}

static void a_counter_that_was_not_read_for_an_hour_has_counted_on(void)
{
	struct rounds r = rounds_begin();
	int quiet = 0;

	while (next_round(&r, WHITE, 0)) {
		counter_at = 0;
		count_on(&r.w, &r.g, 1000, BEFORE, -1);
		forget(&r.w);
		counter_at += 12 * 1000;
		r.g.time_ns += 60 * NS_PER_MIN;
		count_on(&r.w, &r.g, 1000, 1, -1);
		CU_ASSERT(detector_band(&r.w.found).low < counter_at && detector_band(&r.w.found).high > counter_at);
		quiet += (r.w.told & ~(1u << DETECTOR_RHYTHM)) == 0; /* that it came late is another matter */
	}
	CU_ASSERT(quiet >= NEARLY_ALL);
}

/* A queue's length may rise for long; when it falls it is what it was. */
static void what_falls_by_less_than_half_is_no_counter(void)
{
	struct generated g = generated_of(WHITE, (struct noise){ 7 }, INTERVAL_NS);
	static struct watch w;

	counter_at = 0;
	settle(&w, &g, 0);
	count_on(&w, &g, 1000, 1000, -1);
	CU_ASSERT(w.d.is_counter);
	feed(&w, g.time_ns += INTERVAL_NS, counter_at * 0.7);
	CU_ASSERT_FALSE(w.d.is_counter);
	count_on(&w, &g, 1000, 1000, -1);
	CU_ASSERT_FALSE(w.d.is_counter);
}

TESTS("kinds", T(a_spike_is_told), T(the_end_of_an_excursion_is_no_news),
      T(a_spike_is_told_after_a_far_greater_one),
      T(in_a_series_of_single_steps_a_spike_is_told), T(a_spike_ends_at_once_and_has_its_side), T(a_level_shift_is_told),
      T(a_new_level_is_accepted_and_a_spike_from_it_found), T(a_drift_is_told), T(a_series_that_becomes_rougher_is_told),
      T(a_series_that_becomes_smoother_is_told), T(a_stuck_series_is_told), T(a_day_at_the_wrong_hour_is_told),
      T(an_absent_peak_is_told), T(a_job_that_does_not_run_or_runs_at_another_hour_is_told),
      T(a_holiday_and_work_on_a_weekend_are_told),
      T(an_interval_that_changes_tenfold_is_told), T(silence_begins_when_the_rhythm_no_longer_allows_it),
      T(gaps_that_come_again_and_again_are_usual), T(of_arrivals_by_chance_silence_is_rare_and_not_late),
      T(a_counter_that_was_not_read_for_an_hour_has_counted_on),
      T(a_counters_reset_is_no_anomaly_and_a_jump_of_its_rate_is), T(what_falls_by_less_than_half_is_no_counter))
