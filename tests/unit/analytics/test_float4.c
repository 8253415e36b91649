/* Four floats side by side, against one after the other and libm. */
#include <math.h>

#include "analytics/float4.h"
#include "base/macros.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

static float any_float(struct noise *n)
{
	float x = (float)ldexp(1 + uniform(n), (int)(uniform(n) * 253) - 126);

	return uniform(n) < 0.5 ? x : -x;
}

static void logarithms_are_those_of_libm_over_all_of_floats_range(void)
{
	struct noise n = seeded();
	double worst = 0;

	for (int k = 0; k < 30000; k++) {
		float4 x = { any_float(&n), any_float(&n), any_float(&n), any_float(&n) }, y = float4_ln(float4_size(x));

		for (int i = 0; i < FLOAT4_N; i++) {
			double expected = log(fabs((double)x[i]));

			worst = fmax(worst, fabs((double)y[i] - expected) / fmax(fabs(expected), 1));
		}
	}
	CU_ASSERT(worst < 4e-7);
}

static void a_comparison_with_what_is_no_number_takes_the_second(void)
{
	float4 number = { 1, -2, 3, INFINITY }, none = float4_all(NAN);

	for (int i = 0; i < FLOAT4_N; i++) {
		CU_ASSERT_EQUAL(float4_larger(none, number)[i], number[i]);
		CU_ASSERT_EQUAL(float4_smaller(none, number)[i], number[i]);
		CU_ASSERT(isnan(float4_larger(number, none)[i]));
		CU_ASSERT(isnan(float4_smaller(number, none)[i]));
	}
}

static void each_lane_is_on_its_own(void)
{
	struct noise n = seeded();
	bool same = true;

	for (int k = 0; k < 1000; k++) {
		float4 a = { any_float(&n), any_float(&n), any_float(&n), any_float(&n) };
		float4 b = { any_float(&n), any_float(&n), a[2], any_float(&n) };
		float4 where = float4_where(a > b, a), chosen = float4_choose(a > b, a, b);
		bool any = false;

		for (int i = 0; i < FLOAT4_N; i++) {
			same &= float4_larger(a, b)[i] == (a[i] > b[i] ? a[i] : b[i]);
			same &= float4_smaller(a, b)[i] == (a[i] < b[i] ? a[i] : b[i]);
			same &= float4_size(a)[i] == fabsf(a[i]);
			same &= where[i] == (a[i] > b[i] ? a[i] : 0) && chosen[i] == (a[i] > b[i] ? a[i] : b[i]);
			any |= a[i] > b[i];
		}
		same &= float4_any(a > b) == any;
		same &= float4_sum(a) == (a[0] + a[1]) + (a[2] + a[3]);
	}
	CU_ASSERT(same);
}

TESTS("float4", T(logarithms_are_those_of_libm_over_all_of_floats_range),
      T(a_comparison_with_what_is_no_number_takes_the_second), T(each_lane_is_on_its_own))
