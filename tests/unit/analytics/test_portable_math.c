/* ln and exp against libm, whose own error is far below what is allowed here. */
#include "analytics/portable_math.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

#define TIMES 200000

static double ln_error(double x)
{
	return fabs(portable_ln(x) - log(x));
}

/* Below 1e-9, and what rounding makes of the whole part. */
static void ln_is_that_of_libm_over_all_exponents(void)
{
	struct noise n = seeded();
	double worst = 0;

	for (int e = -1022; e <= 1023; e++)
		for (int i = 0; i < 100; i++)
			worst = fmax(worst, ln_error(ldexp(1 + i / 100.0, e)));
	for (int i = 0; i < TIMES; i++)
		worst = fmax(worst, ln_error(ldexp(1 + uniform(&n), (int)(uniform(&n) * 2046) - 1022)));
	CU_ASSERT(worst < 1e-9 + 4e-13);
	CU_ASSERT(ln_error(0x1p-1022) < 1e-9 && ln_error(0x1.fffffffffffffp1023) < 1e-9);
	CU_ASSERT_EQUAL(portable_ln(1), 0);
}

/* Near 1 the error is relative: evidence of little is little. */
static void ln_near_one_keeps_its_digits(void)
{
	for (double off = 0.25; off > 1e-12; off /= 3) {
		CU_ASSERT(ln_error(1 + off) < 1e-8 * off);
		CU_ASSERT(ln_error(1 - off) < 1e-8 * off);
	}
}

static void exp_is_that_of_libm_within_its_range(void)
{
	struct noise n = seeded();
	double worst = 0;

	for (int i = 0; i < TIMES; i++) {
		double x = (uniform(&n) - 0.5) * 1400;

		worst = fmax(worst, fabs(portable_exp(x) / exp(x) - 1));
	}
	for (int k = -1009; k <= 1009; k++) /* where the power of 2 changes */
		for (int side = -1; side <= 1; side++) {
			double x = (k + 0.5) * LN_2 + side * 1e-9;

			worst = fmax(worst, fabs(portable_exp(x) / exp(x) - 1));
		}
	CU_ASSERT(worst < 1e-8);
	CU_ASSERT_EQUAL(portable_exp(0), 1);
}

static void exp_is_bounded_beyond_its_range(void)
{
	CU_ASSERT_EQUAL(portable_exp(-701), 0);
	CU_ASSERT_EQUAL(portable_exp(-1e300), 0);
	CU_ASSERT_EQUAL(portable_exp(-INFINITY), 0);
	CU_ASSERT_EQUAL(portable_exp(NAN), 0);
	CU_ASSERT_EQUAL(portable_exp(INFINITY), portable_exp(700));
	CU_ASSERT(isfinite(portable_exp(1e300)));
}

static void each_is_the_inverse_of_the_other(void)
{
	for (double x = -690; x < 690; x += 0.37)
		CU_ASSERT(fabs(portable_ln(portable_exp(x)) - x) < 2e-8);
}

TESTS("portable-math", T(ln_is_that_of_libm_over_all_exponents), T(ln_near_one_keeps_its_digits),
      T(exp_is_that_of_libm_within_its_range), T(exp_is_bounded_beyond_its_range), T(each_is_the_inverse_of_the_other))
