/* Which detector a device's metric has, and how many there are. */
#include <string.h>

#include "regional/detect.h"
#include "tests/unit/harness.h"

struct bench {
	struct words words;
	struct windows windows;
	struct devices devices;
	struct detectors detectors;
};

static void bench_init(struct bench *b, uint32_t max)
{
	memset(b, 0, sizeof(*b));
	devices_init(&b->devices, 0, 1);
	detectors_init(&b->detectors, max);
}

static void bench_over(struct bench *b)
{
	detectors_done(&b->detectors);
	devices_done(&b->devices);
	windows_done(&b->windows);
	words_done(&b->words);
}
#define BENCH(max)                        \
	CLEANUP(bench_over) struct bench b; \
	bench_init(&b, max)

static uint32_t device_of(struct bench *b, uint32_t number)
{
	char id[16];
	int n = snprintf(id, sizeof(id), "d%u", number);
	struct slice slice = SLICE(id, (size_t)n);
	uint32_t ret;

	ASSERT_OK(devices_add(&b->devices, &slice, 1, &ret));
	return ret;
}

static uint32_t set_of(struct bench *b, uint32_t n, const char *const *names)
{
	struct slice slices[4];
	struct block_set set = { .n = n, .names = slices };
	uint32_t ret;

	for (uint32_t i = 0; i < n; i++)
		slices[i] = SLICE_STR(names[i]);
	ASSERT_OK(windows_set(&b->windows, &b->words, &set, &ret));
	return ret;
}

static void a_metric_has_one_detector_in_all_sets_of_its_device(void)
{
	static const char *const both[] = { "t", "u" }, *const one[] = { "u" };
	const uint32_t *refs;
	uint32_t t, u;
	BENCH(100);
	uint32_t two = set_of(&b, 2, both), single = set_of(&b, 1, one);

	ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 0), &b.windows, two, &refs));
	t = refs[0];
	u = refs[1];
	CU_ASSERT_NOT_EQUAL(t, u);
	ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 0), &b.windows, single, &refs));
	CU_ASSERT_EQUAL(refs[0], u);
	ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 1), &b.windows, single, &refs));
	CU_ASSERT(refs[0] != t && refs[0] != u);
	ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 0), &b.windows, two, &refs));
	CU_ASSERT(refs[0] == t && refs[1] == u);
	CU_ASSERT(b.detectors.n == 3 && b.detectors.n_watches == 2);
}

static void detectors_stay_where_they_are_when_more_come(void)
{
	enum { N = 3000 };
	static struct watched *at[N];
	static const char *const names[] = { "t" };
	const uint32_t *refs;
	BENCH(N);
	uint32_t set = set_of(&b, 1, names);

	for (uint32_t i = 0; i < N; i++) {
		ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, i), &b.windows, set, &refs));
		at[i] = watched_at(&b.detectors, refs[0]);
		at[i]->anomaly.onset_ns = i;
	}
	for (uint32_t i = 0; i < N; i++) {
		ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, i), &b.windows, set, &refs));
		CU_ASSERT(watched_at(&b.detectors, refs[0]) == at[i] && at[i]->anomaly.onset_ns == i);
	}
}

static void beyond_the_maximum_nothing_is_watched_and_that_is_counted(void)
{
	static const char *const names[] = { "t", "u" };
	const uint32_t *refs;
	BENCH(3);
	uint32_t set = set_of(&b, 2, names);

	for (int again = 0; again < 2; again++) {
		ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 0), &b.windows, set, &refs));
		CU_ASSERT(refs[0] != WATCHED_NONE && refs[1] != WATCHED_NONE);
		ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 1), &b.windows, set, &refs));
		CU_ASSERT(refs[0] != WATCHED_NONE && refs[1] == WATCHED_NONE);
		ASSERT_OK(detectors_of(&b.detectors, &b.devices, device_of(&b, 2), &b.windows, set, &refs));
		CU_ASSERT(refs[0] == WATCHED_NONE && refs[1] == WATCHED_NONE);
	}
	CU_ASSERT(b.detectors.n == 3 && b.detectors.refused == 3);
}

TESTS("regional-detect", T(a_metric_has_one_detector_in_all_sets_of_its_device),
      T(detectors_stay_where_they_are_when_more_come), T(beyond_the_maximum_nothing_is_watched_and_that_is_counted))
