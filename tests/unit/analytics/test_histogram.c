#include <float.h>
#include <math.h>

#include "analytics/histogram.h"
#include "base/macros.h"
#include "base/rand.h"
#include "tests/unit/harness.h"

/* A double anywhere in the range of normal ones. */
static double random_normal(void)
{
	double v;

	do {
		uint64_t bits = rand_u64();

		memcpy(&v, &bits, sizeof(v));
	} while (!isnormal(v));
	return v;
}

static void a_midpoint_is_within_a_128th_of_every_value(void)
{
	for (int i = 0; i < 100000; i++) {
		double v = random_normal(), middle = histogram_midpoint(histogram_index(v));

		CU_ASSERT(fabs(middle / v - 1) <= 1.0 / 128);
	}
	CU_ASSERT_EQUAL(histogram_index(DBL_MAX), HISTOGRAM_INDEX_MAX);
	CU_ASSERT_EQUAL(histogram_index(-DBL_MAX), -HISTOGRAM_INDEX_MAX);
	CU_ASSERT(isfinite(histogram_midpoint(HISTOGRAM_INDEX_MAX)));
}

static void indexes_ascend_with_the_values(void)
{
	for (int i = 0; i < 100000; i++) {
		double a = random_normal(), b = random_normal();

		CU_ASSERT(a < b ? histogram_index(a) <= histogram_index(b) : histogram_index(a) >= histogram_index(b));
	}
}

static void an_octave_has_64_buckets_of_one_width(void)
{
	for (int i = 0; i < 64; i++) {
		double low = 1 + i / 64.0, high = nextafter(1 + (i + 1) / 64.0, 0);

		CU_ASSERT_EQUAL(histogram_index(low), histogram_index(1) + i);
		CU_ASSERT_EQUAL(histogram_index(high), histogram_index(1) + i);
		CU_ASSERT_EQUAL(histogram_midpoint(histogram_index(low)), low + 1 / 128.0);
	}
}

static void zero_is_alone(void)
{
	CU_ASSERT_EQUAL(histogram_index(0.0), 0);
	CU_ASSERT_EQUAL(histogram_index(-0.0), 0);
	CU_ASSERT_EQUAL(histogram_midpoint(0), 0);
	CU_ASSERT_EQUAL(histogram_index(DBL_TRUE_MIN), 1);
	CU_ASSERT_EQUAL(histogram_index(-DBL_TRUE_MIN), -1);
}

static void check_sorted(const struct histogram *h, uint64_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < h->n; i++) {
		CU_ASSERT(i == 0 || h->buckets[i - 1].index < h->buckets[i].index);
		CU_ASSERT(h->buckets[i].count > 0);
		sum += h->buckets[i].count;
	}
	CU_ASSERT_EQUAL(sum, count);
	CU_ASSERT_EQUAL(h->count, count);
}

/* What is merged is the same as what is added to one at once, counted plainly in an array. */
static void merging_is_addition(void)
{
	enum { SPREAD = 50 };

	for (int round = 0; round < 500; round++) {
		CLEANUP(histogram_done) struct histogram a = HISTOGRAM_INIT;
		CLEANUP(histogram_done) struct histogram b = HISTOGRAM_INIT;
		uint64_t expected[2 * SPREAD + 1] = { 0 }, total = 0;
		int n = (int)(rand_u64() % 80);

		for (int i = 0; i < n; i++) {
			int32_t index = (int32_t)(rand_u64() % (2 * SPREAD + 1)) - SPREAD;
			uint64_t count = rand_u64() % 3;

			ASSERT_OK(histogram_add(rand_u64() & 1 ? &a : &b, index, count));
			expected[index + SPREAD] += count;
			total += count;
		}
		ASSERT_OK(histogram_merge(&a, &b));
		check_sorted(&a, total);
		for (uint32_t i = 0; i < a.n; i++)
			CU_ASSERT_EQUAL(a.buckets[i].count, expected[a.buckets[i].index + SPREAD]);
	}
}

static void a_quantile_is_the_bucket_at_its_rank(void)
{
	CLEANUP(histogram_done) struct histogram h = HISTOGRAM_INIT;

	CU_ASSERT(isnan(histogram_quantile(&h, 0.5, 0, 0)));
	for (int i = 1; i <= 100; i++)
		ASSERT_OK(histogram_add(&h, i, 1));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 0, -INFINITY, INFINITY), histogram_midpoint(1));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 0.5, -INFINITY, INFINITY), histogram_midpoint(50));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 0.505, -INFINITY, INFINITY), histogram_midpoint(51));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 1, -INFINITY, INFINITY), histogram_midpoint(100));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 0.5, 3, 7), 3);
	ASSERT_OK(histogram_add(&h, 200, UINT64_MAX - 100));
	CU_ASSERT_EQUAL(histogram_quantile(&h, 1, -INFINITY, INFINITY), histogram_midpoint(200));
}

TESTS("histogram", T(a_midpoint_is_within_a_128th_of_every_value), T(indexes_ascend_with_the_values),
      T(an_octave_has_64_buckets_of_one_width), T(zero_is_alone), T(merging_is_addition),
      T(a_quantile_is_the_bucket_at_its_rank))
