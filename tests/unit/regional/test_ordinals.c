#include "base/clock.h"
#include "base/macros.h"
#include "regional/ordinals.h"
#include "tests/unit/harness.h"

static const uint8_t spool_a[16] = { 1 }, spool_b[16] = { 2 };

static void done(struct ordinals *o)
{
	ordinals_done(o);
}
#define ORDINALS CLEANUP(done) struct ordinals

static void a_range_is_covered_once_it_was_seen_whole(void)
{
	ORDINALS o = { 0 };

	CU_ASSERT_FALSE(ordinals_covered(&o, spool_a, 0, 10));
	ASSERT_OK(ordinals_cover(&o, spool_a, 0, 10, 1));
	CU_ASSERT_TRUE(ordinals_covered(&o, spool_a, 0, 10));
	CU_ASSERT_TRUE(ordinals_covered(&o, spool_a, 3, 4));
	CU_ASSERT_FALSE(ordinals_covered(&o, spool_a, 5, 11));
	CU_ASSERT_FALSE(ordinals_covered(&o, spool_b, 0, 10));
}

static void ranges_that_touch_become_one(void)
{
	ORDINALS o = { 0 };

	ASSERT_OK(ordinals_cover(&o, spool_a, 0, 10, 1));
	ASSERT_OK(ordinals_cover(&o, spool_a, 20, 30, 1));
	ASSERT_OK(ordinals_cover(&o, spool_a, 10, 15, 1));
	CU_ASSERT_EQUAL(o.spools[0].n, 2);
	CU_ASSERT_FALSE(ordinals_covered(&o, spool_a, 0, 30));
	ASSERT_OK(ordinals_cover(&o, spool_a, 12, 25, 1)); /* across the hole */
	CU_ASSERT_EQUAL(o.spools[0].n, 1);
	CU_ASSERT_TRUE(ordinals_covered(&o, spool_a, 0, 30));
}

/* Against a plain array of flags. */
static void any_order_of_ranges_is_answered_like_an_array(void)
{
	enum { N = 400 };
	ORDINALS o = { 0 };
	bool seen[N] = { false };
	uint64_t seed = 9;

	for (int round = 0; round < 3000; round++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;

		uint32_t first = (uint32_t)(seed >> 33) % (N - 12), len = 1 + (uint32_t)(seed >> 57) % 11;
		bool all = true;

		for (uint32_t i = first; i < first + len; i++)
			all &= seen[i];
		CU_ASSERT_EQUAL_FATAL(ordinals_covered(&o, spool_a, first, first + len), all);
		if (round % 3 == 0 || len < 3) {
			ASSERT_OK(ordinals_cover(&o, spool_a, first, first + len, 1));
			for (uint32_t i = first; i < first + len; i++)
				seen[i] = true;
		}
	}
}

/* To forget may only make more work, never claim what was not seen. */
static void too_many_ranges_forget_the_smallest(void)
{
	ORDINALS o = { 0 };

	for (uint64_t i = 0; i < 200; i++)
		ASSERT_OK(ordinals_cover(&o, spool_a, i * 100, i * 100 + 2 + i % 7 * 5, 1));
	CU_ASSERT_EQUAL(o.spools[0].n, ORDINAL_RANGES_MAX);
	for (uint64_t i = 0; i < 200; i++)
		CU_ASSERT_FALSE(ordinals_covered(&o, spool_a, i * 100, i * 100 + 50));
	CU_ASSERT_TRUE(ordinals_covered(&o, spool_a, 19900, 19902 + 199 % 7 * 5));
}

static void only_a_gap_that_stays_is_told_and_once(void)
{
	ORDINALS o = { 0 };
	const struct ordinal_spool *s;

	ASSERT_OK(ordinals_cover(&o, spool_a, 0, 10, 100));
	CU_ASSERT_PTR_NULL(ordinals_gap_old(&o, 1000, 30));
	ASSERT_OK(ordinals_cover(&o, spool_a, 20, 30, 200));
	CU_ASSERT_PTR_NULL(ordinals_gap_old(&o, 230, 30));
	s = ordinals_gap_old(&o, 231, 30);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT(s->ranges[0].end == 10 && s->ranges[1].first == 20);
	CU_ASSERT_PTR_NULL(ordinals_gap_old(&o, 1000, 30));
	ASSERT_OK(ordinals_cover(&o, spool_a, 10, 20, 300)); /* filled; another one begins */
	ASSERT_OK(ordinals_cover(&o, spool_a, 40, 50, 400));
	CU_ASSERT_PTR_NULL(ordinals_gap_old(&o, 430, 30));
	CU_ASSERT_PTR_NOT_NULL(ordinals_gap_old(&o, 431, 30));
}

static void a_spool_that_begins_late_has_no_gap(void)
{
	ORDINALS o = { 0 };

	ASSERT_OK(ordinals_cover(&o, spool_a, 1000, 1010, 1));
	CU_ASSERT_PTR_NULL(ordinals_gap_old(&o, INT64_MAX, 0));
}

static void of_too_many_spools_the_one_silent_for_longest_goes(void)
{
	ORDINALS o = { 0 };

	for (uint32_t i = 0; i < ORDINAL_SPOOLS_MAX + 2; i++) {
		uint8_t id[16] = { 7, (uint8_t)i, (uint8_t)(i >> 8) };

		ASSERT_OK(ordinals_cover(&o, id, 0, 1, 1));
		if (i == 1)
			ASSERT_OK(ordinals_cover(&o, (uint8_t[16]){ 7 }, 1, 2, 1)); /* the first is heard again */
	}
	CU_ASSERT_EQUAL(o.n, ORDINAL_SPOOLS_MAX);
	CU_ASSERT_FALSE(ordinals_covered(&o, (uint8_t[16]){ 7, 1 }, 0, 1));
	CU_ASSERT_FALSE(ordinals_covered(&o, (uint8_t[16]){ 7, 0 }, 0, 1));
	CU_ASSERT_TRUE(ordinals_covered(&o, (uint8_t[16]){ 7, 2 }, 0, 1));
}

TESTS("regional-ordinals", T(a_range_is_covered_once_it_was_seen_whole), T(ranges_that_touch_become_one),
      T(any_order_of_ranges_is_answered_like_an_array), T(too_many_ranges_forget_the_smallest),
      T(only_a_gap_that_stays_is_told_and_once), T(a_spool_that_begins_late_has_no_gap),
      T(of_too_many_spools_the_one_silent_for_longest_goes))
