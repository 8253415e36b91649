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

static bool covered(const struct page_run *runs, uint32_t n, uint64_t offset)
{
	for (uint32_t i = 0; i < n; i++)
		if (offset >= runs[i].first && offset <= runs[i].last)
			return true;
	return false;
}

static void a_minute_has_its_offsets_in_runs_that_are_apart(void)
{
	INDEX ix;
	struct page_run *runs;
	uint32_t n;

	page_index_init(&ix);
	/* Three minutes a record, over 1,000 minutes, each minute in bursts of ten records. */
	for (uint64_t offset = 0; offset < 20000; offset++)
		for (int64_t k = 0; k < 3; k++)
			for (int again = 0; again < 2; again++)
				ASSERT_OK(page_index_add(&ix, (int64_t)(offset / 10 * 7 % 1000) - 500 + k * 1000, offset));
	for (int64_t minute = -500; minute < 2500; minute++) {
		ASSERT_OK(page_index_runs(&ix, minute, &runs, &n));
		CU_ASSERT_EQUAL_FATAL(n, 2);
		CU_ASSERT(runs[0].last + PAGES_RUN_GAP < runs[1].first);
		for (uint64_t offset = 0; offset < 20000; offset++) {
			bool has = (int64_t)(offset / 10 * 7 % 1000) - 500 == minute - (minute + 500) / 1000 * 1000;

			if (has != covered(runs, n, offset)) {
				CU_FAIL("a run holds what it should not, or the other way round");
				break;
			}
		}
		free(runs);
	}
}

static void a_small_gap_is_read_over_and_a_large_one_is_not(void)
{
	INDEX ix;
	struct page_run *runs;
	uint32_t n;

	page_index_init(&ix);
	ASSERT_OK(page_index_add(&ix, 5, 100));
	ASSERT_OK(page_index_add(&ix, 5, 100 + PAGES_RUN_GAP));
	ASSERT_OK(page_index_add(&ix, 5, 101 + 2 * PAGES_RUN_GAP));
	ASSERT_OK(page_index_runs(&ix, 5, &runs, &n));
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT(runs[0].first == 100 && runs[0].last == 100 + PAGES_RUN_GAP);
	CU_ASSERT(runs[1].first == 101 + 2 * PAGES_RUN_GAP && runs[1].last == runs[1].first);
	free(runs);
}

static void a_raised_floor_gives_back_what_is_older_and_its_memory(void)
{
	INDEX ix;
	struct page_run *runs;
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
	ASSERT_OK(page_index_runs(&ix, 4949, &runs, &n));
	CU_ASSERT_EQUAL(n, 0);
	free(runs);
	ASSERT_OK(page_index_runs(&ix, 4950, &runs, &n));
	CU_ASSERT_EQUAL(n, 1);
	free(runs);
	ASSERT_OK(page_index_add(&ix, 10, 99)); /* below the floor: not kept */
	CU_ASSERT_EQUAL(ix.used, 50);
	page_index_raise(&ix, 10); /* never back */
	CU_ASSERT_EQUAL(ix.floor, 4950);
}

static void when_it_is_full_the_oldest_minutes_go_and_the_floor_says_so(void)
{
	INDEX ix;
	struct page_run *runs;
	uint32_t n;

	page_index_init(&ix);
	for (uint64_t i = 0; i < PAGES_RUNS_MAX + 1000; i++)
		ASSERT_OK(page_index_add(&ix, (int64_t)(i % 1000), i));
	CU_ASSERT(ix.floor > 0 && ix.floor < 1000);
	ASSERT_OK(page_index_runs(&ix, ix.floor, &runs, &n));
	CU_ASSERT(n > PAGES_RUNS_MAX / 1000 - 2);
	free(runs);
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

static void a_void_record_is_in_no_run(void)
{
	INDEX ix;
	struct page_run *runs;
	uint32_t n;

	page_index_init(&ix);
	for (uint64_t offset = 10; offset < 20; offset++) {
		if (offset == 15) /* nobody folds it */
			continue;
		page_index_follow(&ix, offset);
		if (offset != 12) /* folded, but of another minute */
			ASSERT_OK(page_index_add(&ix, 5, offset));
	}
	ASSERT_OK(page_index_runs(&ix, 5, &runs, &n));
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT(runs[0].first == 10 && runs[0].last == 14 && runs[1].first == 16 && runs[1].last == 19);
	free(runs);
}

TESTS("regional-pages", T(minutes_are_counted_down_from_1970_too), T(a_minute_has_its_offsets_in_runs_that_are_apart),
      T(a_small_gap_is_read_over_and_a_large_one_is_not), T(a_void_record_is_in_no_run),
      T(a_raised_floor_gives_back_what_is_older_and_its_memory), T(when_it_is_full_the_oldest_minutes_go_and_the_floor_says_so),
      T(a_page_is_an_exact_set), T(the_cache_keeps_what_was_asked_last))
