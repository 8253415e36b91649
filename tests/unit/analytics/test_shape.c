/* What the last values were like. */
#include "analytics/shape.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

static void see(struct shape *s, int n, double place, bool jump)
{
	for (int i = 0; i < n; i++)
		shape_see(s, place, jump);
}

static void a_side_is_many_there_and_few_elsewhere(void)
{
	struct shape s = { 0 };

	CU_ASSERT_EQUAL(shape_side(&s), 0);
	see(&s, 3, 1.5, false);
	CU_ASSERT_EQUAL(shape_side(&s), 0);
	see(&s, 1, 1.5, false);
	CU_ASSERT_EQUAL(shape_side(&s), 1);
	see(&s, 1, 0.5, false);
	CU_ASSERT_EQUAL(shape_side(&s), 1);
	see(&s, 1, -1.5, false); /* one of five is not one of eight */
	CU_ASSERT_EQUAL(shape_side(&s), 0);
	see(&s, 4, 1.5, false);
	CU_ASSERT_EQUAL(shape_side(&s), 1);
	see(&s, 3, 0, false); /* it has returned */
	CU_ASSERT_EQUAL(shape_side(&s), 0);
	see(&s, SHAPE_VALUES, -1.5, false);
	CU_ASSERT_EQUAL(shape_side(&s), -1);
}

static void jumps_of_late_are_counted(void)
{
	struct shape s = { 0 };

	see(&s, 11, 0, true);
	see(&s, 2, 0, false);
	CU_ASSERT_EQUAL(shape_jumps(&s), 11);
	see(&s, SHAPE_VALUES - 8, 0, false);
	CU_ASSERT_EQUAL(shape_jumps(&s), 6);
}

#define ROUNDS 400

/* So many of 100 noisy series, of this slope a value or with one step, that are gradual after so many values. */
static double gradual(double slope, double step, int values)
{
	struct noise n = seeded();
	int found = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct shape s = { 0 };

		for (int i = 0; i < 600; i++)
			shape_see(&s, 0.5 * gaussian(&n), false);
		for (int i = 1; i <= values; i++)
			shape_see(&s, 0.5 * gaussian(&n) + slope * i + step, false);
		found += shape_is_gradual(&s);
	}
	return 100.0 * found / ROUNDS;
}

static void a_ramp_is_gradual_and_a_step_is_not_wherever_it_falls(void)
{
	CU_ASSERT(gradual(0.01, 0, 150) > 80); /* 89 +- 1.6 */
	CU_ASSERT(gradual(0.005, 0, 400) > 80);
	CU_ASSERT(gradual(0.02, 0, 330) > 80);
	for (int values = 4; values < 360; values += 17)
		CU_ASSERT(gradual(0, 2, values) < 20);
	CU_ASSERT(gradual(0, 0, 300) < 20);
}

static void of_few_values_nothing_is_gradual(void)
{
	struct shape s = { 0 };

	CU_ASSERT_FALSE(shape_is_gradual(&s));
	for (int i = 0; i < 2 * SHAPE_BLOCK; i++)
		shape_see(&s, i / 20.0, false);
	CU_ASSERT_FALSE(shape_is_gradual(&s));
}

TESTS("shape", T(a_side_is_many_there_and_few_elsewhere), T(jumps_of_late_are_counted),
      T(a_ramp_is_gradual_and_a_step_is_not_wherever_it_falls), T(of_few_values_nothing_is_gradual))
