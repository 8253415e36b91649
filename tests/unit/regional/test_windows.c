/* Windows against plain arrays of what was added. */
#include "regional/windows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "codec/decimal.h"
#include "tests/unit/harness.h"

struct both {
	struct windows windows;
	struct words words;
};

static void both_done(struct both *b)
{
	windows_done(&b->windows);
	words_done(&b->words);
}
#define BOTH CLEANUP(both_done) struct both

static uint32_t set_of(struct both *b, const char *const *names, uint32_t n)
{
	struct slice slices[8];
	struct block_set set = { .n = n, .names = slices };
	uint32_t ret = 0;

	for (uint32_t i = 0; i < n; i++)
		slices[i] = SLICE_STR(names[i]);
	ASSERT_OK(windows_set(&b->windows, &b->words, &set, &ret));
	return ret;
}
#define SET(b, ...) \
	set_of(b, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static const struct window *find(const struct both *b, int64_t start_ns, uint32_t type, const char *metric)
{
	for (uint32_t i = 0; i < b->windows.n; i++) {
		const struct window *w = &b->windows.list[i];
		struct slice name = words_get(&b->words, w->metric);

		if (w->start_ns == start_ns && w->type == type && name.len == strlen(metric) && !memcmp(name.data, metric, name.len))
			return w;
	}
	return NULL;
}

static void a_set_is_its_names_in_order(void)
{
	BOTH b = { 0 };
	uint32_t tu = SET(&b, "t", "u");

	CU_ASSERT_EQUAL(SET(&b, "t", "u"), tu);
	CU_ASSERT_NOT_EQUAL(SET(&b, "u", "t"), tu);
	CU_ASSERT_NOT_EQUAL(SET(&b, "t"), tu);
}

static void of_a_repeated_name_the_last_value_counts(void)
{
	BOTH b = { 0 };
	uint32_t set = SET(&b, "t", "u", "t");

	ASSERT_OK(windows_add(&b.windows, 5, 1, set, 0, (double[]){ 1, 2, 3 }, false));
	CU_ASSERT_EQUAL(b.windows.n, 2);
	CU_ASSERT(find(&b, 0, 1, "t")->values.sum == 3000000000);
	CU_ASSERT_EQUAL(find(&b, 0, 1, "t")->values.count, 1);
}

static void a_name_that_no_text_can_carry_has_no_window(void)
{
	BOTH b = { 0 };
	struct slice names[] = { SLICE("t\0x", 3), SLICE_STR("t") };
	struct block_set set = { .n = 2, .names = names };
	uint32_t number;

	ASSERT_OK(windows_set(&b.windows, &b.words, &set, &number));
	ASSERT_OK(windows_add(&b.windows, 5, 1, number, 0, (double[]){ 1, 2 }, false));
	CU_ASSERT_EQUAL(b.windows.n, 1);
	CU_ASSERT(find(&b, 0, 1, "t")->values.sum == 2000000000);
}

static void a_device_counts_once_whatever_sets_it_uses(void)
{
	BOTH b = { 0 };
	uint32_t sets[] = { SET(&b, "t"), SET(&b, "t", "u"), SET(&b, "u", "t", "v") };

	for (uint32_t device = 0; device < 300; device++)
		for (uint32_t i = 0; i < ARRAY_SIZE(sets); i++)
			if (device % (i + 2) == 0)
				ASSERT_OK(windows_add(&b.windows, 5, 1, sets[i], device, (double[]){ 1, 2, 3 }, false));

	uint64_t t = 0, u = 0;

	for (uint32_t device = 0; device < 300; device++) {
		t += device % 2 == 0 || device % 3 == 0 || device % 4 == 0;
		u += device % 3 == 0 || device % 4 == 0;
	}
	CU_ASSERT_EQUAL(windows_devices(&b.windows, find(&b, 0, 1, "t")), t);
	CU_ASSERT_EQUAL(windows_devices(&b.windows, find(&b, 0, 1, "u")), u);
	CU_ASSERT_EQUAL(windows_devices(&b.windows, find(&b, 0, 1, "v")), 75);
}

static void what_cannot_be_summed_is_counted(void)
{
	BOTH b = { 0 };
	uint32_t set = SET(&b, "t");
	static const double values[] = { 1.5, NAN, INFINITY, -INFINITY, 1e18, -2e20, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		ASSERT_OK(windows_add(&b.windows, -1, 1, set, 0, &values[i], i == 0));

	const struct window *w = find(&b, -NS_PER_MIN, 1, "t");

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT(w->values.count == 2 && w->values.not_finite == 3 && w->values.out_of_range == 2 && w->values.late == 1);
}

static void only_what_was_touched_has_changed(void)
{
	BOTH b = { 0 };
	uint32_t t = SET(&b, "t"), u = SET(&b, "u");

	ASSERT_OK(windows_add(&b.windows, 0, 1, t, 0, (double[]){ 1 }, false));
	ASSERT_OK(windows_add(&b.windows, 0, 1, u, 0, (double[]){ 1 }, false));
	CU_ASSERT_EQUAL(b.windows.n_changed, 2);
	windows_mark(&b.windows, false);
	CU_ASSERT_EQUAL(b.windows.n_changed, 0);
	ASSERT_OK(windows_add(&b.windows, 1, 1, u, 0, (double[]){ 1 }, false));
	ASSERT_OK(windows_add(&b.windows, 2, 1, u, 0, (double[]){ 1 }, false));
	CU_ASSERT_EQUAL_FATAL(b.windows.n_changed, 1);
	CU_ASSERT_EQUAL(b.windows.list[b.windows.changed[0]].values.count, 3);
	windows_mark(&b.windows, true);
	CU_ASSERT_EQUAL(b.windows.n_changed, 2);
}

/* Minutes 0..9, three sets, two types: what stays must be as if the rest had never been. */
static void dropping_what_is_old_leaves_the_rest_as_it_was(void)
{
	BOTH b = { 0 };
	uint32_t sets[] = { SET(&b, "t"), SET(&b, "t", "u"), SET(&b, "v") };
	double sums[10][2] = { { 0 } };

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 600; i++) {
			int minute = round == 0 ? i % 10 : 5 + i % 5, type = i / 10 % 2, set = i / 20 % 3;

			ASSERT_OK(windows_add(&b.windows, minute * NS_PER_MIN + i, (uint32_t)type + 100, sets[set], (uint32_t)i,
					      (double[]){ i, i }, false));
			sums[minute][type] += set < 2 ? i : 0;
		}
		if (round > 0)
			break;
		windows_mark(&b.windows, false);
		ASSERT_OK(windows_drop(&b.windows, 5 * NS_PER_MIN - 1));
		CU_ASSERT_PTR_NOT_NULL(find(&b, 4 * NS_PER_MIN, 100, "t")); /* it ends a nanosecond later */
		ASSERT_OK(windows_drop(&b.windows, 5 * NS_PER_MIN));
		CU_ASSERT_PTR_NULL(find(&b, 4 * NS_PER_MIN, 100, "t"));
	}
	CU_ASSERT_EQUAL(b.windows.n, 5 * 2 * 3);
	for (int minute = 5; minute < 10; minute++) {
		for (uint32_t type = 0; type < 2; type++) {
			const struct window *w = find(&b, minute * NS_PER_MIN, 100 + type, "t");
			int128 fixed;

			CU_ASSERT_PTR_NOT_NULL_FATAL(w);
			CU_ASSERT_TRUE(decimal_fixed9(sums[minute][type], &fixed));
			CU_ASSERT(w->values.sum == fixed);
			CU_ASSERT_TRUE(w->changed);
		}
	}
}

static void what_has_changed_is_not_dropped(void)
{
	BOTH b = { 0 };
	uint32_t t = SET(&b, "t");

	for (int minute = 0; minute < 4; minute++)
		ASSERT_OK(windows_add(&b.windows, minute * NS_PER_MIN, 1, t, 0, (double[]){ 1 }, false));
	windows_mark(&b.windows, false);
	ASSERT_OK(windows_add(&b.windows, 2 * NS_PER_MIN, 1, t, 0, (double[]){ 1 }, false));
	ASSERT_OK(windows_drop(&b.windows, 100 * NS_PER_MIN));
	CU_ASSERT_EQUAL(b.windows.n, 2);
	CU_ASSERT_EQUAL(b.windows.n_changed, 1);
	CU_ASSERT_EQUAL(b.windows.list[b.windows.changed[0]].start_ns, 2 * NS_PER_MIN);
}

static void beyond_the_maximum_nothing_is_added(void)
{
	BOTH b = { 0 };
	uint32_t tu = SET(&b, "t", "u");

	for (int64_t minute = 0; minute < WINDOWS_MAX / 2; minute++)
		ASSERT_OK(windows_add(&b.windows, minute * NS_PER_MIN, 1, tu, 0, (double[]){ 1, 2 }, false));
	CU_ASSERT_EQUAL(windows_add(&b.windows, -1, 1, tu, 0, (double[]){ 1, 2 }, false), -ENOSPC);
	CU_ASSERT_EQUAL(b.windows.n, WINDOWS_MAX);
	ASSERT_OK(windows_add(&b.windows, 7, 1, tu, 1, (double[]){ 1, 2 }, false)); /* an open one goes on */
	CU_ASSERT_EQUAL(windows_devices(&b.windows, find(&b, 0, 1, "t")), 2);
}

TESTS("regional-windows", T(a_set_is_its_names_in_order), T(of_a_repeated_name_the_last_value_counts),
      T(a_name_that_no_text_can_carry_has_no_window),
      T(a_device_counts_once_whatever_sets_it_uses), T(what_cannot_be_summed_is_counted), T(only_what_was_touched_has_changed),
      T(dropping_what_is_old_leaves_the_rest_as_it_was), T(what_has_changed_is_not_dropped),
      T(beyond_the_maximum_nothing_is_added))
