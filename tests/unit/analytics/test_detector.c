/* What holds for every series: white, autocorrelated, seasonal, counts, coarse, with gaps, a counter, constant. */
#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

#define N 5000
#define INTERVAL_NS (5 * NS_PER_MIN)

static struct generated again(enum series_kind kind)
{
	return generated_of(kind, (struct noise){ 12345 + (uint64_t)kind }, INTERVAL_NS);
}

/* With spikes, a new level, values that are stuck: so that all of the detector has something to say. */
static double eventful(struct generated *g)
{
	double v = generated_next(g);

	if (g->kind == COUNTER)
		return v;
	if (g->i % 700 > 650)
		return 77;
	return v + (g->i > 3000 ? 25 : 0) + (g->i % 500 == 499 ? 300 : 0);
}

static bool same_double(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* ------------------------------------------------------------------ scale and shift */

/* Tails and seasons are floats: 2^-23 of a logarithm up to 14, in mean excesses of which the least is 1/50. */
#define ROUNDING 4e-5

struct change {
	double scale, shift;
};

static bool has_a_side(enum detector_kind kind)
{
	return kind == DETECTOR_SPIKE || kind == DETECTOR_LEVEL_SHIFT || kind == DETECTOR_DRIFT || kind == DETECTOR_SEASONAL;
}

/* least: a score is 0 where there is no evidence, and at least so much where there is: between the two is rounding. */
static double apart(double a, double b, double least)
{
	return fmin(a, b) == 0 && fmax(a, b) < least + ROUNDING ? 0 : fabs(a - b);
}

static double least_score(enum series_kind kind)
{
	struct generated g = again(kind);
	struct detector d;
	struct detection found;
	double least = 1;

	detector_init(&d);
	for (int i = 0; i < N; i++) {
		double v = eventful(&g);

		detector_update(&d, g.time_ns, v, &found);
		if (found.unusual > 0)
			least = fmin(least, found.unusual);
	}
	return least;
}

/* The largest difference of scores; least: 0, or see apart(). */
static double difference_of(enum series_kind kind, struct change c, double least, double *ret_most)
{
	struct generated g = again(kind);
	struct detector plain, changed;
	struct detection a, b;
	double difference = 0;

	*ret_most = 0;
	detector_init(&plain);
	detector_init(&changed);
	for (int i = 0; i < N; i++) {
		double v = eventful(&g);

		detector_update(&plain, g.time_ns, v, &a);
		detector_update(&changed, g.time_ns, v * c.scale + c.shift, &b);
		difference = fmax(difference, fmax(apart(a.score, b.score, least), apart(a.unusual, b.unusual, least)));
		*ret_most = fmax(*ret_most, a.score);
		if (least == 0)
			CU_ASSERT_FATAL(a.kind == b.kind &&
					a.direction == (c.scale < 0 && has_a_side(a.kind) ? -b.direction : b.direction));
	}
	return difference;
}

/* A counter rises from 0 on: only its unit may be another. */
static bool allows(enum series_kind kind, struct change c)
{
	return kind != COUNTER || (c.scale > 0 && c.shift == 0);
}

static void powers_of_two_and_integers_leave_scores_the_same_bit_for_bit(void)
{
	static const struct change changes[] = { { 1024, 0 }, { -0.125, 0 }, { 0x1p-30, 0 }, { 0x1p40, 0 },
						 { 1, 4096 }, { 1, -1000003 }, { -4, 77 } };

	for (int kind = 0; kind < SERIES_KINDS; kind++)
		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			double most, difference = allows(kind, changes[i]) ? difference_of(kind, changes[i], 0, &most) : 0;

			if (difference != 0)
				printf("  %s: x %g + %g: %g\n", series_names[kind], changes[i].scale, changes[i].shift, difference);
			CU_ASSERT_EQUAL(difference, 0);
		}
}

static void other_scales_and_shifts_leave_them_the_same_but_for_rounding(void)
{
	static const struct change changes[] = { { 1.8, 32 }, { 0.001, -7 }, { -1e6 / 3, 1e6 }, { 1e-9, 0 }, { 3600, 0 } };

	for (int kind = 0; kind < SERIES_KINDS; kind++) {
		double least = least_score(kind);

		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			double most = 1, difference = allows(kind, changes[i]) ? difference_of(kind, changes[i], least, &most) : 0;

			if (difference > ROUNDING)
				printf("  %s: x %g + %g: %g\n", series_names[kind], changes[i].scale, changes[i].shift, difference);
			CU_ASSERT(difference <= ROUNDING);
			CU_ASSERT(most > 0.5 || kind == COUNTER); /* there was something to differ in */
		}
	}
}

/* ------------------------------------------------------------------ causal, and plain bytes */

/* Whatever comes later, also elsewhere: a score is that of a detector that has seen what came before, and nothing else. */
static void what_comes_later_changes_no_earlier_score(void)
{
	static struct detection alone[N];

	for (int kind = 0; kind < SERIES_KINDS; kind++) {
		struct generated g = again(kind), other = again((kind + 1) % SERIES_KINDS);
		struct detector d, e;
		struct detection found;
		int same = 0;

		detector_init(&d);
		for (int i = 0; i < N; i++) {
			double v = eventful(&g);

			detector_update(&d, g.time_ns, v, &alone[i]);
		}
		g = again(kind);
		detector_init(&d);
		detector_init(&e);
		for (int i = 0; i < N - 1000; i++) {
			double v = eventful(&g), w = eventful(&other);

			detector_update(&d, g.time_ns, v, &found);
			same += same_double(found.score, alone[i].score) && same_double(found.unusual, alone[i].unusual) &&
				same_double(found.expected, alone[i].expected) && found.kind == alone[i].kind;
			detector_update(&e, other.time_ns, w, &found);
		}
		CU_ASSERT_EQUAL(same, N - 1000);
	}
}

static void a_copy_of_the_state_has_the_same_future(void)
{
	for (int kind = 0; kind < SERIES_KINDS; kind++) {
		struct generated g = again(kind);
		struct detector d, copy;
		struct detection a, b;
		unsigned char bytes[sizeof(d)];

		detector_init(&d);
		detector_init(&copy);
		for (int i = 0; i < N; i++) {
			double v = eventful(&g);

			if (i < 30 || i % 77 == 0) {
				memcpy(bytes, &d, sizeof(d));
				memset(&copy, 0xa5, sizeof(copy));
				memcpy(&copy, bytes, sizeof(copy));
			}
			detector_update(&d, g.time_ns, v, &a);
			detector_update(&copy, g.time_ns, v, &b);
			CU_ASSERT_FATAL(same_double(a.score, b.score) && a.kind == b.kind && !memcmp(&d, &copy, sizeof(d)));
		}
		CU_ASSERT_EQUAL(detector_silent_at_ns(&d, 1), detector_silent_at_ns(&copy, 1));
	}
}

static void what_is_not_newer_changes_nothing(void)
{
	static const int64_t back_ns[] = { 0, 1, NS_PER_MIN, NS_PER_WEEK, INT64_MAX };

	for (int kind = 0; kind < SERIES_KINDS; kind++) {
		struct generated g = again(kind);
		struct detector d, before;
		struct detection found;

		detector_init(&d);
		for (int i = 0; i < 1000; i++) {
			double v = eventful(&g);
			int64_t last_ns = d.last_ns;

			detector_update(&d, g.time_ns, v, &found);
			CU_ASSERT(kind != GAPPY || g.time_ns > last_ns || found.score == 0);
			before = d;
			detector_update(&d, g.time_ns - back_ns[i % ARRAY_SIZE(back_ns)], i % 2 ? 1e9 : v, &found);
			CU_ASSERT_FATAL(!memcmp(&d, &before, sizeof(d)));
			CU_ASSERT(found.score == 0 && found.unusual == 0 && found.kind == DETECTOR_NONE);
		}
	}
}

/* ------------------------------------------------------------------ devices send anything */

static bool is_finite_or_nothing(const struct detector *d)
{
	double all[] = { d->last, d->fast, d->shorter, d->mid, d->slow, d->longer, d->base, d->interval, d->all.high,
			 d->all.low, d->step, d->deviation_slow, d->deviation_fast, d->deviation_season, d->rough, d->roughest,
			 d->left_by_day, d->left_by_week, d->season_mid, d->season_short, d->brief.told, d->brief.age,
			 d->lasting.told, d->lasting.age, d->counted, d->cycle.period_ns };
	bool fine = true;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fine &= isfinite(all[i]) != 0;
	for (int i = 0; i < TAILS; i++)
		fine &= !isinf(d->tails.u[i]) && isfinite(d->tails.m[i]);
	for (int i = 0; i < DAY_BINS; i++)
		fine &= !isinf(d->day[i]);
	for (int i = 0; i < WEEK_BINS; i++)
		fine &= !isinf(d->week[i]);
	for (int i = 0; i < CYCLE_BINS; i++)
		fine &= !isinf(d->cycle.bin[i]);
	return fine;
}

static bool is_sane(const struct detection *f)
{
	struct band band = detector_band(f);

	return f->score >= 0 && f->score <= 1 && f->unusual >= 0 && f->unusual <= 1 && f->unusual_now >= 0 &&
	       f->unusual_now <= 1 && isfinite(f->expected) && isfinite(band.low) && isfinite(band.high) && band.low <= band.high &&
	       isfinite(f->density) && f->kind < DETECTOR_KINDS && f->direction >= -1 && f->direction <= 1;
}

static void extreme_values_do_no_harm(void)
{
	static const double values[] = { 1.7e308, -1.7e308, 0, 5e-324, 1, -1e300, 1e30, -0.0, 1e-30 };
	struct noise n = seeded();

	for (int round = 0; round < 8; round++) {
		struct detector d;
		struct detection found;
		int64_t time_ns = SERIES_START_NS;
		int few = 2 + round; /* values of those above */

		detector_init(&d);
		for (int i = 0; i < N; i++) {
			double v = values[(int)(uniform(&n) * few)];

			time_ns += (int64_t)(exp(uniform(&n) * 30) + 1);
			detector_update(&d, time_ns, i % 1000 < 300 ? (double)i : v, &found);
			CU_ASSERT_FATAL(is_sane(&found) && is_finite_or_nothing(&d));
		}
		for (int i = 0; i < 20; i++) /* and it can still look at others */
			detector_update(&d, time_ns + (1 + i) * NS_PER_MIN, 20 + i % 3, &found);
		CU_ASSERT(found.expected > -1e31 && found.expected < 1e31);
	}
}

static void extreme_times_do_no_harm(void)
{
	static const int64_t times_ns[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, NS_PER_WEEK, SERIES_START_NS, INT64_MAX - 1,
					    INT64_MAX };
	struct detector d;
	struct detection found;

	for (size_t from = 0; from < ARRAY_SIZE(times_ns); from++) {
		detector_init(&d);
		for (int i = 0; i < 100; i++)
			detector_update(&d, from == 0 ? -2 * NS_PER_WEEK + i : times_ns[0] + i, i % 3, &found);
		for (size_t i = from; i < ARRAY_SIZE(times_ns); i++) {
			detector_update(&d, times_ns[i], 5, &found);
			CU_ASSERT(is_sane(&found) && is_finite_or_nothing(&d));
			detector_silent_at_ns(&d, 1e-9);
		}
	}
}

/* ------------------------------------------------------------------ quiet */

static void nothing_is_reported_before_the_warm_up(void)
{
	struct detector d;
	struct detection found;

	detector_init(&d);
	for (int i = 0; i < DETECTOR_WARMUP; i++) {
		detector_update(&d, i * NS_PER_MIN, i == DETECTOR_WARMUP - 1 ? 1e6 : i % 3, &found);
		CU_ASSERT(found.score == 0 && found.unusual == 0);
	}
}

static int events_of(struct generated *g, int values, double a_week, double change(double v, int i))
{
	struct detector d;
	struct detection found;
	struct anomaly a = { 0 };
	int events = 0;

	detector_init(&d);
	for (int i = 0; i < values; i++) {
		double v = generated_next(g);

		detector_update(&d, g->time_ns, change ? change(v, i) : v, &found);
		events += anomaly_update(&a, detector_threshold(a_week), g->time_ns, &found) == ANOMALY_RAISED;
	}
	return events;
}

/* Tenths of a degree, and one step up or down every now and then: decimals have no exact steps. */
static double stepping(double v, int i)
{
	static struct noise n = { 3 };

	return 21.3 + (uniform(&n) < 0.01 ? uniform(&n) < 0.5 ? 0.1 : -0.1 : 0);
}

static void a_series_that_hardly_ever_moves_is_quiet_about_single_steps(void)
{
	struct generated constant = again(CONSTANT);

	CU_ASSERT_EQUAL(events_of(&constant, 5 * 2016, 1, NULL), 0);
	constant = again(CONSTANT);
	CU_ASSERT(events_of(&constant, 5 * 2016, 1, stepping) <= 5);
}

/* Twenty weeks in several series.  A setting holds for the mean of many kinds of series: of this one fewer are rare. */
static void white_noise_has_as_many_false_alarms_as_the_setting_allows(void)
{
	static const int64_t intervals_ns[] = { NS_PER_MIN, INTERVAL_NS };
	struct noise n = seeded();

	for (size_t k = 0; k < ARRAY_SIZE(intervals_ns); k++) {
		int events = 0;

		for (int i = 0; i < 3; i++) {
			struct generated g = generated_of(WHITE, n, intervals_ns[k]);

			n.state += 1000003;
			events += events_of(&g, (int)(20 * NS_PER_WEEK / intervals_ns[k]), 1, NULL);
		}
		CU_ASSERT(events >= 60 / 60 && events <= 60 * 4);
	}
}

/* ------------------------------------------------------------------ what it expects */

/* Of false alarms, that a measure stands for. */
static double rate(double measure)
{
	return (1 - measure) / measure;
}

/* Of a sensor whose clock is not quite regular. */
static int64_t irregular_ns(struct noise *n, int64_t interval_ns)
{
	return (int64_t)((0.8 + 0.4 * uniform(n)) * (double)interval_ns);
}

/* White noise of 0.5 around 20, so many values.  The time of the last one. */
static int64_t settle_for(struct detector *d, struct noise *n, int values)
{
	struct detection found;
	int64_t time_ns = 0;

	detector_init(d);
	for (int i = 0; i < values; i++)
		detector_update(d, time_ns += INTERVAL_NS, 20 + 0.5 * gaussian(n), &found);
	return time_ns;
}

static int64_t settle(struct detector *d, struct noise *n)
{
	return settle_for(d, n, 3000);
}

/* Alarms in as many values as there were, of which detector_parameters.def has the number: after 30 a value that is beyond
 * all of them may come every 150. */
static void what_is_young_is_not_sure_of_what_is_rare(void)
{
	for (int values = 30; values <= 3000; values *= 10) {
		struct noise n = { 5 };
		struct detector d;
		struct detection found;
		int64_t time_ns = settle_for(&d, &n, values);

		detector_update(&d, time_ns + INTERVAL_NS, 20 + 2.5, &found);

		double a_week = rate(found.score), least = 0.2 * 2016 / values;
		CU_ASSERT(a_week > 0.99 * least && (values > 30 || a_week < 1.01 * least));
	}
}

/* Of a walk in steps of hundredths, a jump of a thousand steps: what the demo shows after that many readings. */
static void of_the_young_what_is_beyond_doubt_is_told(void)
{
	struct noise n = seeded();

	for (int series = 0; series < 300; series++) {
		struct detector d;
		struct detection found;
		int64_t time_ns = 0;
		double v = 20;

		detector_init(&d);
		for (int i = 0; i < 150; i++) {
			v += 0.1 * (uniform(&n) - 0.5);
			detector_update(&d, time_ns += irregular_ns(&n, NS_PER_S / 3), round(100 * v) / 100, &found);
		}
		detector_update(&d, time_ns + NS_PER_S / 3, v + 35, &found);
		CU_ASSERT(detector_weekly(&found, found.score) >= detector_threshold(10));
	}
}

/* What is learned of an outlier is cut: it hides neither the next one nor the level. */
static void a_spike_hardly_moves_what_is_expected(void)
{
	struct noise n = seeded();
	struct detector d;
	struct detection found;
	int64_t time_ns = settle(&d, &n);

	for (int spike = 1; spike <= 3; spike++) {
		detector_update(&d, time_ns += INTERVAL_NS, 20 + 1000 * spike, &found);
		CU_ASSERT(detector_weekly(&found, found.score) >= detector_threshold(1));
		CU_ASSERT(found.direction == 1 && detector_band(&found).high < 40);
		detector_update(&d, time_ns += INTERVAL_NS, 20 + 0.5 * gaussian(&n), &found);
		CU_ASSERT_DOUBLE_EQUAL(found.expected, 20, 2);
		for (int i = 0; i < 20; i++)
			detector_update(&d, time_ns += INTERVAL_NS, 20 + 0.5 * gaussian(&n), &found);
	}
}

/* Values after which single ones are news again, and what lasts; tests are far from either. */
#define NOT_YET 3
#define BRIEF_AGAIN 60
#define LASTING_AGAIN 400

static int64_t keep_quiet(struct detector *d, int64_t time_ns, int values)
{
	struct detection found;

	for (int i = 0; i < values; i++)
		detector_update(d, time_ns += INTERVAL_NS, 20 + 0.15 * (i * 7 % 11 - 5), &found);
	return time_ns;
}

/* Whether the evidence of a value is news, all but what levels on their way back have, so long after what was told last. */
static bool is_all_news(struct detector d, int64_t time_ns, int after, double value)
{
	struct detection found;

	time_ns = keep_quiet(&d, time_ns, after);
	detector_update(&d, time_ns + INTERVAL_NS, value, &found);
	CU_ASSERT(found.unusual > 0.05);
	return rate(found.score) < 1.3 * rate(found.unusual);
}

/* A value beyond all before it is news for as long as what lasts. */
static void what_was_told_stands_in_the_way_for_a_while(void)
{
	struct noise n = seeded();
	struct detector d;
	struct detection found;
	int64_t time_ns = settle(&d, &n);

	detector_update(&d, time_ns += INTERVAL_NS, 20 + 20, &found);
	CU_ASSERT(found.score > 0.9);
	CU_ASSERT(!is_all_news(d, time_ns, NOT_YET, 20 + 30));
	CU_ASSERT(!is_all_news(d, time_ns, BRIEF_AGAIN, 20 + 30));
	CU_ASSERT(is_all_news(d, time_ns, LASTING_AGAIN, 20 + 30));
}

static void a_single_value_is_news_again_sooner(void)
{
	struct noise n = { 7 }; /* with some others a vote of roughness is news besides */
	struct detector d;
	struct detection found;
	int64_t time_ns = settle(&d, &n);

	/* Far values on both sides, so that none of those below is beyond all before it. */
	for (int i = 0; i < 4; i++)
		detector_update(&d, time_ns += INTERVAL_NS, 20 + (i % 2 ? 12 : -12), &found);
	time_ns = keep_quiet(&d, time_ns, 1000);
	detector_update(&d, time_ns += INTERVAL_NS, 20 + 2.6, &found);
	CU_ASSERT(found.score > 0.05);
	CU_ASSERT(!is_all_news(d, time_ns, NOT_YET, 20 + 2.6));
	CU_ASSERT(is_all_news(d, time_ns, BRIEF_AGAIN, 20 + 2.6));
}

/* Of the rhythm, as nothing but its aspect knows of it. */
static void a_vote_grows_a_little_with_how_far_it_is_out(void)
{
	struct noise n = seeded();
	struct detector d;
	struct detection found;
	int64_t time_ns = 0;
	double before = 0;

	detector_init(&d);
	for (int i = 0; i < 3000; i++) {
		time_ns += irregular_ns(&n, NS_PER_S);
		detector_update(&d, time_ns, 20 + 0.5 * gaussian(&n), &found);
	}
	for (double seconds = 2; seconds <= 16; seconds *= 2) {
		struct detector later = d;

		detector_update(&later, time_ns + (int64_t)(seconds * NS_PER_S), 20, &found);
		CU_ASSERT(found.kind == DETECTOR_RHYTHM && found.unusual_now > before);
		CU_ASSERT(before == 0 || rate(found.unusual_now) > 0.9 * rate(before));
		before = found.unusual_now;
	}
}

/* Nor what the same time of the next days is compared with. */
static void a_spike_hardly_moves_a_days_profile(void)
{
	struct generated g = again(SEASONAL);
	struct detector d;
	struct detection found;

	detector_init(&d);
	for (int day = 0; day < 21; day++) {
		for (int i = 0; i < 288; i++) {
			double v = generated_next(&g);

			detector_update(&d, g.time_ns, day == 19 && i == 144 ? 1e6 : v, &found);
			if (day >= 19 && i >= 144 && i < 150)
				CU_ASSERT_DOUBLE_EQUAL(d.base + d.day[season_bin(g.time_ns, NS_PER_DAY, DAY_BINS)],
						       20 + of_season(g.time_ns), 6);
		}
	}
}

#define WEEKS 6

/* Mean size of what day and week leave of what such a series is without its noise, of the last of so many weeks. */
static double left_by_profiles(struct detector *d, double usual(int64_t time_ns), int64_t interval_ns)
{
	struct noise n = { 3 };
	struct detection found;
	double left = 0;
	int a_week = (int)(NS_PER_WEEK / interval_ns);

	detector_init(d);
	for (int i = 0; i < WEEKS * a_week; i++) {
		int64_t time_ns = SERIES_START_NS + i * interval_ns;
		double day = (double)d->day[season_bin(time_ns, NS_PER_DAY, DAY_BINS)];
		double week = (double)d->week[season_bin(time_ns, NS_PER_WEEK, WEEK_BINS)];

		if (i >= (WEEKS - 1) * a_week)
			left += fabs(usual(time_ns) - (d->base + day + week)) / a_week;
		detector_update(d, time_ns, usual(time_ns) + 0.5 * gaussian(&n), &found);
	}
	return left;
}

static double of_an_office(int64_t time_ns)
{
	return office_hours(time_ns, !is_weekend(time_ns));
}

/* The day's profile alone would leave 5 and more: each of its bins is 14 on a weekday at noon, in place of 20 and 0. */
static void weekends_have_a_profile_of_their_own(void)
{
	static const int64_t intervals_ns[] = { NS_PER_MIN, INTERVAL_NS, 20 * NS_PER_MIN, 60 * NS_PER_MIN };

	for (size_t i = 0; i < ARRAY_SIZE(intervals_ns); i++) {
		struct detector d;
		double left = left_by_profiles(&d, of_an_office, intervals_ns[i]);

		CU_ASSERT(left < 2);
		CU_ASSERT(d.has_week);
		CU_ASSERT(d.deviation_season < 1.5); /* what the day's profile left in the first weeks is forgotten */
	}
}

static double day_of_a_tide(int64_t time_ns)
{
	return of_season(NS_PER_DAY / 2 + time_ns % NS_PER_DAY) + 20 * sin(2 * M_PI * (double)time_ns / (4.6 * NS_PER_WEEK));
}

/* What the day's profile, which is slow to follow, leaves then is no weekday's. */
static void a_level_that_moves_from_week_to_week_is_no_week(void)
{
	struct detector d;

	left_by_profiles(&d, day_of_a_tide, INTERVAL_NS);
	CU_ASSERT(!d.has_week);
}

#define CYCLE_MIN 47

static void a_cycle_has_a_profile_of_its_own(void)
{
	struct noise n = { 4 };
	struct detector d;
	struct detection found;
	double left = 0;

	detector_init(&d);
	for (int i = 0; i < 5 * 1440; i++) {
		int64_t time_ns = SERIES_START_NS + i * NS_PER_MIN;
		double usual = 20 + 5 * sin(2 * M_PI * i / CYCLE_MIN);

		if (i >= 4 * 1440)
			left += fabs(usual - d.base - (double)d.day[season_bin(time_ns, NS_PER_DAY, DAY_BINS)] -
				     (double)d.cycle.bin[cycle_bin(&d.cycle, time_ns)]) / 1440;
		detector_update(&d, time_ns, usual + 0.5 * gaussian(&n), &found);
	}
	CU_ASSERT(left < 1); /* of 3.2 */
}

#define HOUR_NS (60 * NS_PER_MIN)

/* Of a value each hour; between two of them it falls or rises by up to five times the noise. */
static double wave(int hour)
{
	return 10 * sin(2 * M_PI * hour / 24.0);
}

static int64_t see_hours(struct detector *d, struct noise *n, int hours, double trend)
{
	struct detection found;

	detector_init(d);
	for (int i = 0; i < hours; i++)
		detector_update(d, SERIES_START_NS + i * HOUR_NS, wave(i) + trend * i + 0.5 * gaussian(n), &found);
	return SERIES_START_NS + hours * HOUR_NS;
}

/* A value that does not fall when others do is nearer to the last one than they are. */
static void what_is_expected_is_what_is_usual_at_the_hour(void)
{
	struct noise n = seeded();
	struct detector d;
	struct detection found;

	for (int hours = 1000; hours < 1024; hours++) {
		int64_t time_ns = see_hours(&d, &n, hours, 0);
		struct detector unusual = d;

		detector_update(&d, time_ns, wave(hours), &found);
		CU_ASSERT_DOUBLE_EQUAL(found.expected, wave(hours), 1);
		CU_ASSERT(detector_band(&found).high - detector_band(&found).low < 16);
		CU_ASSERT(found.unusual_now < 0.05);
		detector_update(&unusual, time_ns, wave(hours) + 5, &found);
		CU_ASSERT(found.direction == 1 && found.unusual_now > 0.1);
	}
}

/* In the second day each bin has one value of the first; of noise it says nothing. */
static void few_values_are_no_season(void)
{
	struct noise n = seeded();
	struct detection found;
	int others = 0;

	for (int series = 0; series < 100; series++) {
		struct detector d;

		detector_init(&d);
		for (int i = 0; i < 3 * 24; i++) {
			double fast = d.base + d.fast;

			detector_update(&d, SERIES_START_NS + i * HOUR_NS, gaussian(&n), &found);
			others += i > 0 && found.expected != fast;
		}
	}
	CU_ASSERT(others < 100);
}

/* Of a wave that sinks, the next trough is the least of all. */
static void what_is_just_as_expected_is_hardly_news(void)
{
	struct noise n = seeded();
	struct detection found;

	for (int series = 0; series < 20; series++) {
		struct detector d;
		int64_t time_ns = see_hours(&d, &n, 42 * 24 + 18, -0.2);
		struct detector expecting = d, deeper = d;

		detector_update(&expecting, time_ns, 0, &found);

		double expected = found.expected;

		detector_update(&d, time_ns, expected, &found);
		CU_ASSERT(found.expected == expected && found.unusual_now < 0.1);
		detector_update(&deeper, time_ns, expected - 6, &found);
		CU_ASSERT(found.unusual_now > 0.4);
	}
}

/* The band has most of what is usual. */
static void what_is_usual_lies_within_the_band(void)
{
	static const enum series_kind kinds[] = { WHITE, CORRELATED, SEASONAL, COUNTS, GAPPY, COUNTER };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct generated g = again(kinds[k]);
		struct detector d;
		struct detection found;
		int within = 0;

		detector_init(&d);
		for (int i = 0; i < N; i++) {
			double v = generated_next(&g);

			detector_update(&d, g.time_ns, v, &found);
			within += i >= N / 2 && v >= detector_band(&found).low && v <= detector_band(&found).high;
		}
		CU_ASSERT(within >= 0.97 * (N / 2.0));
	}
}

static void kinds_have_names(void)
{
	static const char *const names[DETECTOR_KINDS] = { "none", "spike", "level-shift", "drift", "variance", "rhythm",
							   "seasonal", "flatline", "silence" };

	for (int kind = 0; kind < DETECTOR_KINDS; kind++)
		CU_ASSERT_STRING_EQUAL(detector_kind_name((enum detector_kind)kind), names[kind]);
	for (int kind = 0; kind < DETECTOR_KINDS; kind++)
		CU_ASSERT_EQUAL(detector_kind_named(detector_kind_name((enum detector_kind)kind)), (enum detector_kind)kind);
	CU_ASSERT_EQUAL(detector_kind_named("spyke"), DETECTOR_KINDS);
}

TESTS("detector", T(powers_of_two_and_integers_leave_scores_the_same_bit_for_bit),
      T(other_scales_and_shifts_leave_them_the_same_but_for_rounding), T(what_comes_later_changes_no_earlier_score),
      T(a_copy_of_the_state_has_the_same_future), T(what_is_not_newer_changes_nothing), T(extreme_values_do_no_harm),
      T(extreme_times_do_no_harm), T(nothing_is_reported_before_the_warm_up),
      T(a_series_that_hardly_ever_moves_is_quiet_about_single_steps),
      T(white_noise_has_as_many_false_alarms_as_the_setting_allows), T(what_is_young_is_not_sure_of_what_is_rare),
      T(of_the_young_what_is_beyond_doubt_is_told), T(a_spike_hardly_moves_what_is_expected),
      T(what_was_told_stands_in_the_way_for_a_while), T(a_single_value_is_news_again_sooner),
      T(a_vote_grows_a_little_with_how_far_it_is_out), T(a_spike_hardly_moves_a_days_profile),
      T(weekends_have_a_profile_of_their_own), T(a_level_that_moves_from_week_to_week_is_no_week), T(a_cycle_has_a_profile_of_its_own),
      T(what_is_expected_is_what_is_usual_at_the_hour), T(few_values_are_no_season),
      T(what_is_just_as_expected_is_hardly_news), T(what_is_usual_lies_within_the_band), T(kinds_have_names))
