#include "tests/unit/regional/rig.h"

#define FAST "regional:\n  delta_interval: 100ms\n"

static void readings_are_logged_enriched_and_windowed(void)
{
	int64_t now_ns = clock_wall_ns(), minute = window_start_ns(now_ns);
	uint32_t shard = device_shard("d0");
	struct reading r[] = {
		{ .device = "d0", .timestamp_ns = minute + 1, .arrival_ns = now_ns, .value = 20.5, .has_second = true, .second = 7 },
		{ .device = "d0", .timestamp_ns = minute + 2, .arrival_ns = now_ns, .value = 21.25 },
	};
	struct parcel p = { .gateway = "gw", .spool = 1, .shard = shard, .clock_ns = now_ns, .readings = r, .n = 2 };
	LOGGED log;
	TOLD told;
	struct rig g;

	rig_init(&g, FAST);
	rig_publish(&g, &p);
	rig_open(&g);
	rig_run(&g);
	rig_close(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 2);
	CU_ASSERT_EQUAL(log.covered[shard], 1);
	CU_ASSERT_STRING_EQUAL(log.list[0].device, "d0");
	CU_ASSERT_STRING_EQUAL(log.list[0].type, "greenhouse");
	CU_ASSERT_STRING_EQUAL(log.list[0].place, "hall");
	CU_ASSERT_EQUAL(log.list[0].flags, 0);
	CU_ASSERT_EQUAL(log.list[1].timestamp_ns, minute + 2);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.unique, 2);

	const Sluice__V1__Window *w = told_window(&told, minute, "greenhouse", "t");

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT_EQUAL(w->count, 2);
	CU_ASSERT_EQUAL(w->devices, 1);
	CU_ASSERT(window_sum(w) == 41750000000);
	CU_ASSERT_EQUAL(w->min, 20.5);
	CU_ASSERT_EQUAL(w->max, 21.25);
	w = told_window(&told, minute, "greenhouse", "u");
	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT(w->count == 1 && window_sum(w) == 7000000000);
	rig_done(&g);
}

TESTS("regional-region", T(readings_are_logged_enriched_and_windowed))
