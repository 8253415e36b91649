/* One event for one story: when it begins, what it keeps, when it ends. */
#include "analytics/anomaly.h"
#include "base/macros.h"
#include "tests/unit/harness.h"

#define THRESHOLD detector_threshold(1) /* 0.5 */

struct story {
	struct anomaly a;
	int64_t time_ns;
};

/* A series of 2016 values a week, whose score is that of a week of its own. */
static struct detection found_of(enum detector_kind kind, double score, double unusual)
{
	return (struct detection){ .score = score, .unusual = unusual, .unusual_now = unusual, .density = 1, .kind = kind,
				   .direction = -1 };
}

static enum anomaly_step tell(struct story *s, struct detection found)
{
	s->time_ns += NS_PER_MIN;
	return anomaly_update(&s->a, THRESHOLD, s->time_ns, &found);
}

static enum anomaly_step quiet(struct story *s)
{
	return tell(s, found_of(DETECTOR_NONE, 0, 0));
}

static struct detection lasting(enum detector_kind kind, double score, double unusual)
{
	struct detection found = found_of(kind, score, unusual);

	found.lasts = true;
	return found;
}

static void a_story_is_one_event_however_much_of_it_is_unusual(void)
{
	struct story s = { 0 };

	CU_ASSERT_EQUAL(quiet(&s), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SPIKE, 0.49, 0.49)), ANOMALY_NOTHING);
	CU_ASSERT_FALSE(s.a.active);
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_LEVEL_SHIFT, 0.5, 0.5)), ANOMALY_RAISED);

	int64_t onset_ns = s.time_ns;

	for (int i = 0; i < 100; i++) /* now and then a usual value between */
		CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SPIKE, i == 50 ? 0.9 : 0, i % ANOMALY_QUIET_VALUES ? 0 : 0.8)),
				ANOMALY_NOTHING);
	CU_ASSERT(s.a.active && s.a.onset_ns == onset_ns && s.a.worst == 0.9);
	CU_ASSERT(s.a.kind == DETECTOR_LEVEL_SHIFT && s.a.direction == -1);
}

static void it_ends_after_some_usual_values_in_a_row(void)
{
	struct story s = { 0 };

	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SPIKE, 0.9, 0.9)), ANOMALY_RAISED);

	int64_t onset_ns = s.time_ns;

	for (int i = 1; i < ANOMALY_QUIET_VALUES; i++)
		CU_ASSERT_EQUAL(quiet(&s), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(quiet(&s), ANOMALY_CLEARED);
	CU_ASSERT(!s.a.active && s.a.onset_ns == onset_ns);
	CU_ASSERT_EQUAL(quiet(&s), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_DRIFT, 0.6, 0.6)), ANOMALY_RAISED);
	CU_ASSERT(s.a.onset_ns == s.time_ns && s.a.worst == 0.6 && s.a.kind == DETECTOR_DRIFT && s.a.quiet == 0);
}

/* It stays up to ten times the rate that begins it: R < 10 is 1 / (1 + R) > 1 / 11. */
static void to_last_needs_less_than_to_begin(void)
{
	struct story s = { 0 };

	tell(&s, found_of(DETECTOR_LEVEL_SHIFT, 0.9, 0.9));
	for (int i = 0; i < 2 * ANOMALY_QUIET_VALUES; i++)
		CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_NONE, 0, 1 / 10.9)), ANOMALY_NOTHING);
	for (int i = 1; i < ANOMALY_QUIET_VALUES; i++)
		CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_NONE, 0, 1 / 11.1)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_NONE, 0, 1 / 11.1)), ANOMALY_CLEARED);
}

/* Its roughness of late is slow to forget. */
static void what_is_brief_ends_when_values_are_as_before_and_what_lasts_does_not(void)
{
	static const struct {
		enum detector_kind kind;
		bool brief;
	} kinds[] = {
		{ DETECTOR_SPIKE, true }, { DETECTOR_SEASONAL, true }, { DETECTOR_RHYTHM, true }, { DETECTOR_LEVEL_SHIFT, false },
		{ DETECTOR_DRIFT, false }, { DETECTOR_VARIANCE, false }, { DETECTOR_FLATLINE, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct story s = { 0 };
		struct detection after = found_of(DETECTOR_VARIANCE, 0, 0.9);
		enum anomaly_step step = ANOMALY_NOTHING;

		after.unusual_now = 0;
		tell(&s, found_of(kinds[i].kind, 0.9, 0.9));
		for (int k = 0; k < ANOMALY_QUIET_VALUES; k++)
			step = tell(&s, after);
		CU_ASSERT_EQUAL(step == ANOMALY_CLEARED, kinds[i].brief);
	}
}

static void a_spike_that_lasts_becomes_what_it_is_and_stays_one_event(void)
{
	struct story s = { 0 };
	struct detection down = lasting(DETECTOR_LEVEL_SHIFT, 0, 0.6);

	tell(&s, found_of(DETECTOR_SPIKE, 0.9, 0.9));

	int64_t onset_ns = s.time_ns;

	down.direction = 1;
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SEASONAL, 0, 0.6)), ANOMALY_NOTHING); /* of a moment, as it is */
	CU_ASSERT_EQUAL(tell(&s, down), ANOMALY_RENAMED);
	CU_ASSERT(s.a.active && s.a.onset_ns == onset_ns && s.a.kind == DETECTOR_LEVEL_SHIFT && s.a.direction == 1);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_VARIANCE, 0, 0.6)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0, 0.6)), ANOMALY_RENAMED);
	CU_ASSERT_EQUAL(s.a.kind, DETECTOR_DRIFT);
	CU_ASSERT_EQUAL(tell(&s, down), ANOMALY_NOTHING);
}

static void an_old_level_is_no_drift(void)
{
	struct story s = { 0 };

	tell(&s, lasting(DETECTOR_LEVEL_SHIFT, 0.9, 0.9));
	for (int i = 0; i < ANOMALY_DRIFT_VALUES; i++)
		tell(&s, lasting(DETECTOR_LEVEL_SHIFT, 0, 0.9));
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0, 0.9)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(s.a.kind, DETECTOR_LEVEL_SHIFT);
}

static void a_spike_is_not_over_while_values_have_not_returned(void)
{
	struct story s = { 0 };
	struct detection away = found_of(DETECTOR_NONE, 0, 0);

	away.away = true;
	tell(&s, found_of(DETECTOR_SPIKE, 0.9, 0.9));
	for (int i = 1; i < ANOMALY_AWAY_VALUES; i++)
		CU_ASSERT_EQUAL(tell(&s, away), ANOMALY_NOTHING);
	/* For as long as it lasts, but not for ever. */
	for (int i = 1; i < ANOMALY_QUIET_VALUES; i++)
		CU_ASSERT_EQUAL(tell(&s, away), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, away), ANOMALY_CLEARED);

	tell(&s, found_of(DETECTOR_SPIKE, 0.9, 0.9));
	tell(&s, away);
	quiet(&s); /* here it has returned, and what is away by chance is none of it */
	tell(&s, away);
	CU_ASSERT_EQUAL(tell(&s, away), ANOMALY_CLEARED);
}

/* A third of the rate: R <= 1/3 is 1 / (1 + R) >= 0.75. */
static void what_comes_slowly_begins_without_a_score(void)
{
	struct story s = { 0 };

	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SPIKE, 0, 0.99)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0, 0.74)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0.1, 0.76)), ANOMALY_RAISED);
	CU_ASSERT(s.a.kind == DETECTOR_DRIFT && s.a.onset_ns == s.time_ns && s.a.worst == 0.76);
}

static void after_it_there_is_rest_but_after_a_spike(void)
{
	struct story s = { 0 };

	tell(&s, lasting(DETECTOR_DRIFT, 0, 0.99));
	while (s.a.active)
		quiet(&s);
	for (int i = 1; i < ANOMALY_REST_VALUES; i++)
		CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0, 0.99)), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_DRIFT, 0, 0.99)), ANOMALY_RAISED);
	while (s.a.active)
		quiet(&s);
	CU_ASSERT_EQUAL(tell(&s, found_of(DETECTOR_SPIKE, 0.9, 0.9)), ANOMALY_RAISED); /* a score is told always */
	while (s.a.active)
		quiet(&s);
	CU_ASSERT_EQUAL(tell(&s, lasting(DETECTOR_VARIANCE, 0, 0.99)), ANOMALY_RAISED);
}

/* The same score is rarer in a week of 2016 values than in one of 604800, a value a second. */
static void a_threshold_is_a_rate_whatever_the_interval(void)
{
	struct story often = { 0 }, seldom = { 0 };
	struct detection found = found_of(DETECTOR_SPIKE, 0.9, 0.9); /* once in 9 weeks of 2016 values */

	CU_ASSERT_EQUAL(tell(&seldom, found), ANOMALY_RAISED);
	found.density = 300;
	CU_ASSERT_EQUAL(tell(&often, found), ANOMALY_NOTHING);
	found.score = 1 / (1 + 0.9 / 300);
	CU_ASSERT_EQUAL(tell(&often, found), ANOMALY_RAISED);
}

static void silence_is_one_event_until_a_value_comes(void)
{
	struct story s = { 0 };

	CU_ASSERT_EQUAL(anomaly_silent(&s.a, 70), ANOMALY_RAISED);
	CU_ASSERT(s.a.active && s.a.onset_ns == 70 && s.a.kind == DETECTOR_SILENCE && s.a.worst == 1 && s.a.direction == 0);
	CU_ASSERT_EQUAL(anomaly_silent(&s.a, 70), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(anomaly_heard(&s.a), ANOMALY_CLEARED);
	CU_ASSERT_FALSE(s.a.active);
	CU_ASSERT_EQUAL(anomaly_heard(&s.a), ANOMALY_NOTHING);
	CU_ASSERT_EQUAL(anomaly_silent(&s.a, 90), ANOMALY_RAISED);
	CU_ASSERT_EQUAL(s.a.onset_ns, 90);
}

static void silence_takes_the_place_of_another_event_and_a_value_ends_only_silence(void)
{
	struct story s = { 0 };

	tell(&s, found_of(DETECTOR_DRIFT, 0.9, 0.9));
	CU_ASSERT_EQUAL(anomaly_heard(&s.a), ANOMALY_NOTHING);
	CU_ASSERT(s.a.active);
	CU_ASSERT_EQUAL(anomaly_silent(&s.a, s.time_ns), ANOMALY_RAISED);
	CU_ASSERT_EQUAL(s.a.kind, DETECTOR_SILENCE);
	CU_ASSERT_EQUAL(anomaly_heard(&s.a), ANOMALY_CLEARED);
}

static void the_value_that_ends_a_silence_is_late_and_that_is_no_event(void)
{
	struct story s = { 0 };
	struct detection late = found_of(DETECTOR_RHYTHM, 0.99, 0.99), far = found_of(DETECTOR_SPIKE, 0.99, 0.99);

	anomaly_silent(&s.a, 70);
	anomaly_heard(&s.a);
	anomaly_after_silence(&late);
	CU_ASSERT_EQUAL(tell(&s, late), ANOMALY_NOTHING);
	anomaly_silent(&s.a, 90);
	anomaly_heard(&s.a);
	anomaly_after_silence(&far);
	CU_ASSERT_EQUAL(tell(&s, far), ANOMALY_RAISED);
}

TESTS("anomaly", T(a_story_is_one_event_however_much_of_it_is_unusual), T(it_ends_after_some_usual_values_in_a_row),
      T(to_last_needs_less_than_to_begin), T(what_is_brief_ends_when_values_are_as_before_and_what_lasts_does_not),
      T(a_spike_that_lasts_becomes_what_it_is_and_stays_one_event), T(an_old_level_is_no_drift),
      T(a_spike_is_not_over_while_values_have_not_returned), T(what_comes_slowly_begins_without_a_score),
      T(after_it_there_is_rest_but_after_a_spike), T(a_threshold_is_a_rate_whatever_the_interval), T(silence_is_one_event_until_a_value_comes),
      T(silence_takes_the_place_of_another_event_and_a_value_ends_only_silence),
      T(the_value_that_ends_a_silence_is_late_and_that_is_no_event))
