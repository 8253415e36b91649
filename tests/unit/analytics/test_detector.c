#include <math.h>

#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "base/macros.h"
#include "base/rand.h"
#include "tests/unit/harness.h"

/* A false alarm in ten weeks; a value a minute. */
#define THRESHOLD detector_threshold(0.1)

/* Reproducible noise: splitmix64, and Box-Muller for Gaussian. */
struct noise {
	uint64_t state;
};

static double uniform(struct noise *n)
{
	uint64_t z = n->state += 0x9E3779B97F4A7C15ULL;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static double gaussian(struct noise *n)
{
	double radius = sqrt(-2 * log(uniform(n)));

	return radius * cos(2 * M_PI * uniform(n));
}

struct series {
	struct detector d;
	struct anomaly a;
	enum anomaly_step step;
	int64_t time_ns;
	struct detection last;
	int raised, cleared;
};

static void begin(struct series *s)
{
	memset(s, 0, sizeof(*s));
	detector_init(&s->d);
}

static void feed(struct series *s, double value)
{
	s->time_ns += NS_PER_MIN;
	detector_update(&s->d, s->time_ns, value, &s->last);
	s->step = anomaly_update(&s->a, THRESHOLD, s->time_ns, &s->last);
	s->raised += s->step == ANOMALY_RAISED;
	s->cleared += s->step == ANOMALY_CLEARED;
}

static struct noise seeded(void)
{
	struct noise n = { rand_u64() };

	printf("  seed %016llx\n", (unsigned long long)n.state);
	return n;
}

/* 10^5 values are ten weeks: one alarm is expected, Poisson says more than 6 once in 10^4 runs. */
static void gaussian_noise_raises_nothing(void)
{
	struct noise n = seeded();
	struct series s;

	begin(&s);
	for (int i = 0; i < 100000; i++)
		feed(&s, 20 + 0.5 * gaussian(&n));
	CU_ASSERT(s.raised <= 6);
}

/* Tenths of a degree, mostly constant: one step of the resolution is no news. */
static void coarse_values_raise_nothing(void)
{
	struct noise n = seeded();
	struct series s;

	begin(&s);
	for (int i = 0; i < 100000; i++)
		feed(&s, round((20 + 0.03 * gaussian(&n)) * 10) / 10);
	CU_ASSERT(s.raised <= 6);
}

static void a_spike_in_noise_is_found_at_once_and_ends_at_once(void)
{
	struct noise n = seeded();

	for (int round = 0; round < 100; round++) {
		struct series s;

		begin(&s);
		for (int i = 0; i < 2000 + 20 * round; i++)
			feed(&s, 20 + 0.5 * gaussian(&n));
		s.raised = s.cleared = 0;
		feed(&s, 20 + (round & 1 ? 10 : -10)); /* 20 standard deviations */
		CU_ASSERT_EQUAL(s.raised, 1);
		CU_ASSERT_EQUAL(s.last.direction, round & 1 ? 1 : -1);
		CU_ASSERT(s.last.score >= THRESHOLD && s.last.score <= 1);
		CU_ASSERT_DOUBLE_EQUAL(s.last.expected, 20, 2);
		CU_ASSERT_EQUAL(s.a.onset_ns, s.time_ns);

		int64_t onset_ns = s.time_ns;

		for (int i = 0; i < 20 * ANOMALY_QUIET_VALUES && s.cleared == 0; i++)
			feed(&s, 20 + 0.5 * gaussian(&n));
		CU_ASSERT_EQUAL(s.cleared, 1);
		CU_ASSERT_EQUAL(s.a.onset_ns, onset_ns);
	}
}

/* What is learned of an outlier is cut: it hides neither the next one nor the level. */
static void a_spike_hardly_moves_what_is_expected(void)
{
	struct noise n = seeded();
	struct series s;

	begin(&s);
	for (int i = 0; i < 5000; i++)
		feed(&s, 20 + 0.5 * gaussian(&n));
	for (int spike = 1; spike <= 3; spike++) {
		s.raised = 0;
		feed(&s, 20 + 500 * spike);
		feed(&s, 20 + 0.5 * gaussian(&n));
		CU_ASSERT_EQUAL(s.raised, 1);
		CU_ASSERT_DOUBLE_EQUAL(s.last.expected, 20, 2);
		for (int i = 0; i < 20; i++)
			feed(&s, 20 + 0.5 * gaussian(&n));
	}
}

static void a_spike_in_a_wave_is_found(void)
{
	struct noise n = seeded();
	struct series s;

	begin(&s);
	for (int i = 0; i < 5000; i++)
		feed(&s, 20 + 8 * sin(2 * M_PI * i / 1440) + 0.1 * gaussian(&n));
	CU_ASSERT_EQUAL(s.raised, 0);
	feed(&s, 20 + 8 * sin(2 * M_PI * 5000 / 1440) + 6);
	CU_ASSERT_EQUAL(s.raised, 1);
}

static void nothing_is_reported_before_the_warm_up(void)
{
	struct series s;

	begin(&s);
	for (int i = 0; i < DETECTOR_WARMUP; i++) {
		feed(&s, i == DETECTOR_WARMUP - 1 ? 1e6 : i % 3);
		CU_ASSERT_EQUAL(s.last.score, 0);
	}
	CU_ASSERT_EQUAL(s.raised, 0);
}

static void a_constant_series_reports_neither_itself_nor_its_first_step(void)
{
	struct series s;

	begin(&s);
	for (int i = 0; i < 1000; i++)
		feed(&s, 21.3);
	feed(&s, 21.4);
	for (int i = 0; i < 1000; i++)
		feed(&s, i % 100 ? 21.3 : 21.4);
	CU_ASSERT_EQUAL(s.raised, 0);
	feed(&s, 35);
	CU_ASSERT_EQUAL(s.raised, 1);
}

static void a_lasting_shift_is_accepted_after_some_values(void)
{
	struct noise n = seeded();
	struct series s;
	int values = 0;

	begin(&s);
	for (int i = 0; i < 1000; i++)
		feed(&s, 20 + 0.5 * gaussian(&n));
	s.raised = s.cleared = 0;
	do
		feed(&s, 60 + 0.5 * gaussian(&n)); /* 80 standard deviations */
	while (s.cleared == 0 && ++values < 200);
	CU_ASSERT_EQUAL(s.raised, 1);
	CU_ASSERT(values >= 2 && values <= 60);
	for (int i = 0; i < 1000; i++)
		feed(&s, 60 + 0.5 * gaussian(&n));
	CU_ASSERT_EQUAL(s.raised, 1);
	CU_ASSERT_DOUBLE_EQUAL(s.last.expected, 60, 1);
	feed(&s, 75); /* and it hears again */
	CU_ASSERT_EQUAL(s.raised, 2);
}

/* A series with noise, spikes and a shift. */
static double eventful(struct noise *n, int i)
{
	double v = floor(64 * gaussian(n)) / 64 + (i > 3000 ? 25 : 0);

	return i % 500 == 499 ? v + 30 : v;
}

static void scale_and_shift_change_nothing(void)
{
	static const struct {
		double scale, shift;
		bool exact; /* no rounding, so the same bits */
	} cases[] = {
		{ 1024, 0, true }, { -0.125, 0, true }, { 1, 4096, false }, { 1.8, 32, false }, { 0.001, -7, false }
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct noise n = { 12345 };
		struct series plain, changed;

		begin(&plain);
		begin(&changed);
		for (int i = 0; i < 5000; i++) {
			double v = eventful(&n, i);

			feed(&plain, v);
			feed(&changed, v * cases[c].scale + cases[c].shift);
			CU_ASSERT_EQUAL(plain.step, changed.step);
			CU_ASSERT(cases[c].exact ? plain.last.score == changed.last.score :
						   fabs(plain.last.score - changed.last.score) < 1e-6);
		}
		CU_ASSERT(plain.raised >= 3);
	}
}

static void a_copy_of_the_state_has_the_same_future(void)
{
	struct noise n = seeded();
	struct series original, copy;
	unsigned char bytes[sizeof(struct detector)];

	begin(&original);
	for (int i = 0; i < 5000; i++) {
		if (i % 777 == 0) {
			memcpy(bytes, &original.d, sizeof(bytes));
			copy = original;
			memset(&copy.d, 0xa5, sizeof(copy.d));
			memcpy(&copy.d, bytes, sizeof(bytes));
		}

		double v = eventful(&n, i);

		feed(&original, v);
		feed(&copy, v);
		CU_ASSERT(!memcmp(&original.d, &copy.d, sizeof(copy.d)));
		CU_ASSERT(original.last.score == copy.last.score && original.step == copy.step);
	}
}

static void an_older_value_changes_nothing(void)
{
	struct series s;

	begin(&s);
	for (int i = 0; i < 100; i++)
		feed(&s, i % 2);

	struct detector before = s.d;

	detector_update(&s.d, s.time_ns - 1, 1000, &s.last);
	CU_ASSERT(!memcmp(&before, &s.d, sizeof(before)));
	CU_ASSERT_EQUAL(s.last.score, 0);
}

/* Devices send anything: state and score stay finite. */
static void extreme_values_do_no_harm(void)
{
	static const double values[] = { 1.7e308, -1.7e308, 0, 5e-324, 1, -1e300 };
	struct series s;

	begin(&s);
	for (int i = 0; i < 20000; i++) {
		feed(&s, values[rand_u64() % ARRAY_SIZE(values)]);
		CU_ASSERT(s.last.score >= 0 && s.last.score <= 1 && isfinite(s.last.expected));
		CU_ASSERT(isfinite(s.last.low) && isfinite(s.last.high) && isfinite(s.last.unusual));
	}
}

TESTS("detector", T(gaussian_noise_raises_nothing), T(coarse_values_raise_nothing),
      T(a_spike_in_noise_is_found_at_once_and_ends_at_once), T(a_spike_hardly_moves_what_is_expected),
      T(a_spike_in_a_wave_is_found),
      T(nothing_is_reported_before_the_warm_up), T(a_constant_series_reports_neither_itself_nor_its_first_step),
      T(a_lasting_shift_is_accepted_after_some_values), T(scale_and_shift_change_nothing),
      T(a_copy_of_the_state_has_the_same_future), T(an_older_value_changes_nothing), T(extreme_values_do_no_harm))
