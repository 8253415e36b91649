/* A unit test program is a file of CUnit tests and one list at its end:
 *
 *     TESTS("journal", T(torn_tail_is_cut), T(offsets_survive_trim))
 *
 * It prints one line a test ("ok NAME", "not ok NAME", "skip NAME: why") that tests/run.py counts, the failed
 * assertions of CUnit before it.  `test_x PATTERN` runs the tests whose names contain PATTERN.
 */
#pragma once

#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct harness_test {
	const char *name;
	void (*run)(void);
};
#define T(function) { #function, function }

static const char *harness_skip_reason;

/* Returns from the test that calls it. */
#define SKIP(why)                           \
	do {                                \
		harness_skip_reason = (why); \
		return;                     \
	} while (0)

#define ASSERT_OK(expression)                                                                      \
	do {                                                                                       \
		long long r_ = (expression);                                                       \
		if (r_ < 0)                                                                        \
			printf("  %s:%d: %s: %s\n", __FILE__, __LINE__, #expression, strerror((int)-r_)); \
		CU_ASSERT_FATAL(r_ >= 0);                                                          \
	} while (0)

static inline void harness_after(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
	for (CU_pFailureRecord f = failures; f; f = f->pNext)
		printf("  %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
	if (failures)
		printf("not ok %s/%s\n", suite->pName, test->pName);
	else if (harness_skip_reason)
		printf("skip %s/%s: %s\n", suite->pName, test->pName, harness_skip_reason);
	else
		printf("ok %s/%s\n", suite->pName, test->pName);
	fflush(stdout);
	harness_skip_reason = NULL;
}

static inline int harness_main(const char *suite_name, const struct harness_test *tests, size_t n, const char *pattern)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 2;

	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);

	for (size_t i = 0; i < n; i++)
		if (!pattern || strstr(tests[i].name, pattern))
			CU_add_test(suite, tests[i].name, tests[i].run);
	CU_set_test_complete_handler(harness_after);
	CU_run_all_tests();

	int failed = CU_get_number_of_tests_failed() > 0;

	CU_cleanup_registry();
	return failed;
}

#define TESTS(suite_name, ...)                                                                              \
	int main(int argc, char **argv)                                                                     \
	{                                                                                                   \
		static const struct harness_test tests[] = { __VA_ARGS__ };                                 \
		return harness_main(suite_name, tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL); \
	}
