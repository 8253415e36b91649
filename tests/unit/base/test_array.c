#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "tests/unit/harness.h"

static void members_stay_while_it_grows(void)
{
	uint32_t *list = NULL, cap = 0;

	for (uint32_t i = 0; i < 10000; i++) {
		ASSERT_OK(array_reserve(&list, &cap, i + 1, 4, sizeof(*list)));
		CU_ASSERT(cap > i);
		list[i] = i * 3;
	}
	for (uint32_t i = 0; i < 10000; i++)
		CU_ASSERT_EQUAL(list[i], i * 3);
	free(list);
}

static void it_begins_with_the_least_and_doubles(void)
{
	double *list = NULL;
	uint32_t cap = 0;

	ASSERT_OK(array_reserve(&list, &cap, 1, 16, sizeof(*list)));
	CU_ASSERT_EQUAL(cap, 16);
	ASSERT_OK(array_reserve(&list, &cap, 16, 16, sizeof(*list)));
	CU_ASSERT_EQUAL(cap, 16);
	ASSERT_OK(array_reserve(&list, &cap, 17, 16, sizeof(*list)));
	CU_ASSERT_EQUAL(cap, 32);
	ASSERT_OK(array_reserve(&list, &cap, 1000, 16, sizeof(*list)));
	CU_ASSERT_EQUAL(cap, 1000);
	free(list);
}

static void what_cannot_be_had_leaves_it_as_it_was(void)
{
	char *list = NULL, *before;
	uint32_t cap = 0;

	ASSERT_OK(array_reserve(&list, &cap, 8, 8, 1));
	before = list;
	CU_ASSERT_EQUAL(array_reserve(&list, &cap, UINT32_MAX, 8, SIZE_MAX / 2), -ENOMEM);
	CU_ASSERT(list == before && cap == 8);
	free(list);
}

TESTS("array", T(members_stay_while_it_grows), T(it_begins_with_the_least_and_doubles),
      T(what_cannot_be_had_leaves_it_as_it_was))
