#include "regional/pages.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "tests/unit/harness.h"

static void index_done_(struct page_index *ix)
{
	page_index_done(ix);
}
#define INDEX CLEANUP(index_done_) struct page_index

static void minutes_are_counted_down_from_1970_too(void)
{
	CU_ASSERT_EQUAL(page_minute(0), 0);
	CU_ASSERT_EQUAL(page_minute(NS_PER_MIN - 1), 0);
	CU_ASSERT_EQUAL(page_minute(-1), -1);
	CU_ASSERT_EQUAL(page_minute(-NS_PER_MIN), -1);
	CU_ASSERT_EQUAL(page_minute(-NS_PER_MIN - 1), -2);
	CU_ASSERT_EQUAL(page_minute(INT64_MIN), -153722868);
}

static void a_minute_has_its_offsets_in_order(void)
{
	INDEX ix;
	uint64_t *offsets;
	uint32_t n;

	page_index_init(&ix);
	for (uint64_t offset = 0; offset < 20000; offset++) /* three minutes a record, over 1,000 minutes */
		for (int64_t k = 0; k < 3; k++)
			for (int again = 0; again < 2; again++)
				ASSERT_OK(page_index_add(&ix, (int64_t)(offset * 7 % 1000) - 500 + k * 1000, offset));
	for (int64_t minute = -500; minute < 2500; minute++) {
		ASSERT_OK(page_index_offsets(&ix, minute, &offsets, &n));
		CU_ASSERT_EQUAL_FATAL(n, 20);
		for (uint32_t i = 0; i < n; i++) {
			CU_ASSERT_EQUAL((int64_t)(offsets[i] * 7 % 1000) - 500, minute - (minute + 500) / 1000 * 1000);
			CU_ASSERT(i == 0 || offsets[i] > offsets[i - 1]);
		}
		free(offsets);
	}
}

static void a_raised_floor_gives_back_what_is_older_and_its_memory(void)
{
	INDEX ix;
	uint64_t *offsets;
	uint32_t n, room;

	page_index_init(&ix);
	for (uint64_t round = 0; round < 50; round++) {
		for (int64_t minute = 0; minute < 100; minute++)
			ASSERT_OK(page_index_add(&ix, (int64_t)round * 100 + minute, round));
		page_index_raise(&ix, (int64_t)round * 100 + 50);
		CU_ASSERT_EQUAL(ix.used, 50);
	}
	room = ix.n;
	CU_ASSERT(room <= 150);
	ASSERT_OK(page_index_offsets(&ix, 4949, &offsets, &n));
	CU_ASSERT_EQUAL(n, 0);
	free(offsets);
	ASSERT_OK(page_index_offsets(&ix, 4950, &offsets, &n));
	CU_ASSERT_EQUAL(n, 1);
	free(offsets);
	ASSERT_OK(page_index_add(&ix, 10, 99)); /* below the floor: not kept */
	CU_ASSERT_EQUAL(ix.used, 50);
	page_index_raise(&ix, 10); /* never back */
	CU_ASSERT_EQUAL(ix.floor, 4950);
}

static void when_it_is_full_the_oldest_minutes_go_and_the_floor_says_so(void)
{
	INDEX ix;
	uint64_t *offsets;
	uint32_t n;

	page_index_init(&ix);
	for (uint64_t i = 0; i < PAGES_PAIRS_MAX + 1000; i++)
		ASSERT_OK(page_index_add(&ix, (int64_t)(i % 1000), i));
	CU_ASSERT(ix.floor > 0 && ix.floor < 1000);
	ASSERT_OK(page_index_offsets(&ix, ix.floor, &offsets, &n));
	CU_ASSERT(n > PAGES_PAIRS_MAX / 1000 - 2);
	free(offsets);
}

static void a_page_is_an_exact_set(void)
{
	struct page_cache c = { 0 };
	struct page *p = page_cache_new(&c, 3, 7);

	CU_ASSERT_FALSE(page_has(p, 0, 0, 0));
	for (uint32_t i = 0; i < 5000; i++)
		ASSERT_OK(page_add(p, i % 10, -(int64_t)i, i / 2));
	for (uint32_t i = 0; i < 5000; i++) {
		CU_ASSERT_TRUE(page_has(p, i % 10, -(int64_t)i, i / 2));
		CU_ASSERT_FALSE(page_has(p, i % 10 + 10, -(int64_t)i, i / 2));
		CU_ASSERT_FALSE(page_has(p, i % 10, (int64_t)i + 1, i / 2));
		CU_ASSERT_FALSE(page_has(p, i % 10, -(int64_t)i, i / 2 + 5000));
	}
	ASSERT_OK(page_add(p, 0, 0, 0));
	CU_ASSERT_EQUAL(p->n, 5000);
	page_cache_done(&c);
}

static void the_cache_keeps_what_was_asked_last(void)
{
	struct page_cache c = { 0 };

	for (int64_t minute = 0; minute < PAGES_KEPT; minute++)
		ASSERT_OK(page_add(page_cache_new(&c, 1, minute), 0, minute, 0));
	CU_ASSERT_PTR_NOT_NULL(page_cache_find(&c, 1, 0));
	CU_ASSERT_PTR_NULL(page_cache_find(&c, 2, 0));
	(void)page_cache_new(&c, 2, 0);
	CU_ASSERT_EQUAL(c.n, PAGES_KEPT);
	CU_ASSERT_PTR_NOT_NULL(page_cache_find(&c, 1, 0));
	CU_ASSERT_PTR_NULL(page_cache_find(&c, 1, 1));
	page_cache_done(&c);
	CU_ASSERT_EQUAL(c.n, 0);
}

TESTS("regional-pages", T(minutes_are_counted_down_from_1970_too), T(a_minute_has_its_offsets_in_order),
      T(a_raised_floor_gives_back_what_is_older_and_its_memory), T(when_it_is_full_the_oldest_minutes_go_and_the_floor_says_so),
      T(a_page_is_an_exact_set), T(the_cache_keeps_what_was_asked_last))
