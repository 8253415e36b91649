/* The region's stages and loop on real embedded streams. */
#include "tests/unit/regional/rig.h"

#define FAST "regional:\n  delta_interval: 100ms\n"
#define SLOW "regional:\n  delta_interval: 60s\n"
#define EVENT "  clock: event\n"

static void rig_over(struct rig *g)
{
	rig_done(g);
}
#define RIG(more)                            \
	CLEANUP(rig_over) struct rig g;      \
	rig_init(&g, more)

static struct reading plain(const char *device, int64_t timestamp_ns)
{
	struct reading r = { .timestamp_ns = timestamp_ns, .arrival_ns = clock_wall_ns(), .value = 20 };

	snprintf(r.device, sizeof(r.device), "%s", device);
	return r;
}

/* An envelope of one reading, in its device's shard. */
static void publish_one(struct rig *g, uint8_t spool, uint64_t ordinal, struct reading r)
{
	struct parcel p = {
		.gateway = "gw", .spool = spool, .shard = device_shard(r.device), .first = ordinal, .clock_ns = r.arrival_ns,
		.readings = &r, .n = 1,
	};

	rig_publish(g, &p);
}

static uint64_t total(const struct rig *g, uint32_t id, uint32_t value)
{
	region_refresh(g->region);
	return metric_total(g->metrics, id, value);
}

/* ------------------------------------------------------------------ the plain way */

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
	RIG(FAST);

	rig_publish(&g, &p);
	rig_open(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_UNIQUE), 2);
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

	const Sluice__V1__Window *w = told_window(&told, shard, minute, "greenhouse", "t");

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT_EQUAL(w->count, 2);
	CU_ASSERT_EQUAL(w->devices, 1);
	CU_ASSERT(window_sum(w) == 41750000000);
	CU_ASSERT_EQUAL(w->min, 20.5);
	CU_ASSERT_EQUAL(w->max, 21.25);
	w = told_window(&told, shard, minute, "greenhouse", "u");
	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT(w->count == 1 && window_sum(w) == 7000000000);
}

static void a_device_that_is_not_registered_is_unknown(void)
{
	LOGGED log;
	RIG(FAST);

	publish_one(&g, 1, 0, plain("stranger", clock_wall_ns()));
	rig_open(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 1);
	CU_ASSERT_STRING_EQUAL(log.list[0].type, "unknown");
	CU_ASSERT_STRING_EQUAL(log.list[0].place, "");
}

/* ------------------------------------------------------------------ once */

static void a_reading_that_comes_twice_has_one_effect(void)
{
	int64_t now_ns = clock_wall_ns();
	struct reading r = plain("d0", now_ns);
	LOGGED log;
	TOLD told;
	RIG(FAST);

	publish_one(&g, 1, 0, r);
	publish_one(&g, 2, 0, r); /* through another gateway's spool */
	r.salt = 1;
	publish_one(&g, 1, 1, r); /* another reading of the same time */
	rig_open(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), 1);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 3);
	CU_ASSERT(log.list[0].flags == 0 && log.list[1].flags == REGION_DUPLICATE && log.list[2].flags == 0);
	told_read(&g, &told);
	CU_ASSERT(told.unique == 2 && told.duplicates == 1);
	CU_ASSERT_EQUAL(told.windows[0]->count, 2);
}

static void a_spool_that_sends_its_ordinals_again_is_recognised(void)
{
	LOGGED log;
	struct reading r[3];
	struct parcel p = { .gateway = "gw", .spool = 1, .shard = device_shard("d0"), .clock_ns = clock_wall_ns(), .readings = r };
	RIG(FAST);

	for (int i = 0; i < 3; i++)
		r[i] = plain("d0", clock_wall_ns() + i);
	p.n = 3;
	rig_publish(&g, &p);
	p.n = 2; /* cut anew, within what was covered */
	rig_publish(&g, &p);
	r[0] = r[2];
	r[1] = plain("d0", clock_wall_ns());
	p.first = 2; /* the third again, and one more: dedup sorts it out */
	rig_publish(&g, &p);
	rig_open(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_REPLAYS, 0), 1);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), 3);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 7);
	CU_ASSERT(!log.list[2].replay && log.list[3].replay && log.list[4].replay && !log.list[5].replay);
	CU_ASSERT(log.list[5].flags == REGION_DUPLICATE && log.list[6].flags == 0);
}

/* Forty minutes of a device, then some of them again and others between them: only the log knows. */
static void what_the_ring_forgot_is_read_back_from_the_log(void)
{
	enum { N = 40 };
	int64_t base_ns = clock_wall_ns() - N * NS_PER_MIN;
	LOGGED log;
	RIG(FAST);

	for (int i = 0; i < N; i++)
		publish_one(&g, 1, (uint64_t)i, plain("d0", base_ns + i * NS_PER_MIN));
	rig_open(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_PAGE_INS, 0), 0);
	for (int i = 0; i < N; i++) { /* from another spool, so that ordinals say nothing */
		publish_one(&g, 2, 2 * (uint64_t)i, plain("d0", base_ns + i * NS_PER_MIN));
		publish_one(&g, 2, 2 * (uint64_t)i + 1, plain("d0", base_ns + i * NS_PER_MIN + 1));
	}
	rig_run(&g);
	CU_ASSERT(total(&g, RM_PAGE_INS, 0) > 10);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), N);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 3 * N);
	for (int i = 0; i < N; i++) {
		CU_ASSERT_EQUAL(log.list[N + 2 * i].flags, REGION_DUPLICATE);
		CU_ASSERT_EQUAL(log.list[N + 2 * i + 1].flags & REGION_DUPLICATE, 0);
	}
}

/* A page that was read stays complete: what is accepted for its minute afterwards is in it too. */
static void a_page_in_memory_learns_what_comes_after_it(void)
{
	enum { N = 40, MORE = 20 };
	int64_t base_ns = window_start_ns(clock_wall_ns() - N * NS_PER_MIN);
	const char *other = "d1";
	uint64_t ordinal = N, pages;
	RIG(FAST);

	CU_ASSERT_EQUAL_FATAL(device_shard("d0"), device_shard(other));
	for (int i = 0; i < N; i++)
		publish_one(&g, 1, (uint64_t)i, plain("d0", base_ns + i * NS_PER_MIN));
	rig_open(&g);
	rig_run(&g);
	for (int i = 1; i <= MORE; i++) /* the first of them pages the minute in */
		publish_one(&g, 1, ordinal++, plain("d0", base_ns + 5 * NS_PER_MIN + i));
	for (int i = 1; i <= MORE; i++) /* new by this device's own state */
		publish_one(&g, 1, ordinal++, plain(other, base_ns + 5 * NS_PER_MIN + i));
	rig_run(&g);
	pages = total(&g, RM_PAGE_INS, 0);
	CU_ASSERT_EQUAL(pages, 1);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), 0);
	publish_one(&g, 2, 0, plain("d0", base_ns + 5 * NS_PER_MIN + 1));
	publish_one(&g, 2, 1, plain(other, base_ns + 5 * NS_PER_MIN + 1));
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), 2);
	CU_ASSERT_EQUAL(total(&g, RM_PAGE_INS, 0), pages);
}

/* All in one read: what is asked for is decided, and not in the log yet. */
static void what_is_on_its_way_into_the_log_is_known_too(void)
{
	enum { N = 20 };
	int64_t base_ns = clock_wall_ns() - N * NS_PER_MIN;
	LOGGED log;
	RIG(FAST);

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < N; i++)
			publish_one(&g, (uint8_t)(1 + round), (uint64_t)i, plain("d0", base_ns + i * NS_PER_MIN));
	rig_open(&g);
	rig_step(&g);
	CU_ASSERT_EQUAL(g.region->shard_of[device_shard("d0")]->next, 2 * N);
	CU_ASSERT(total(&g, RM_PAGE_INS, 0) > 0);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_DUPLICATE), N);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL(log.n, 2 * N);
}

static void readings_without_a_hash_are_told_apart_by_their_bytes(void)
{
	struct reading r = plain("d0", clock_wall_ns());
	LOGGED log;
	RIG(FAST);

	r.block_flags = BLOCK_UNHASHED;
	publish_one(&g, 1, 0, r);
	r.value = 21;
	publish_one(&g, 1, 1, r);
	publish_one(&g, 2, 0, r);
	rig_open(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 3);
	CU_ASSERT(log.list[0].flags == 0 && log.list[1].flags == 0 && log.list[2].flags == REGION_DUPLICATE);
}

/* ------------------------------------------------------------------ time */

static void late_ahead_and_ancient_readings_are_flagged(void)
{
	int64_t now_ns = clock_wall_ns();
	LOGGED log;
	TOLD told;
	RIG(FAST);

	publish_one(&g, 1, 0, plain("d0", now_ns));
	publish_one(&g, 1, 1, plain("d0", now_ns - NS_PER_MIN));                   /* behind clock - 5 s */
	publish_one(&g, 1, 2, plain("d0", clock_wall_ns() + 6 * NS_PER_MIN));      /* beyond arrival + 5 min */
	publish_one(&g, 1, 3, plain("d0", now_ns - 121 * NS_PER_MIN));             /* behind the horizon of 2 h */
	rig_open(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_UNIQUE), 1);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_LATE), 1);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_AHEAD), 1);
	CU_ASSERT_EQUAL(total(&g, RM_READINGS, RESULT_ANCIENT), 1);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 4);
	CU_ASSERT(log.list[0].flags == 0 && log.list[1].flags == REGION_LATE && log.list[2].flags == REGION_AHEAD &&
		  log.list[3].flags == REGION_OLD);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n, 2); /* the minutes of the first two */

	const Sluice__V1__Window *w =
		told_window(&told, device_shard("d0"), window_start_ns(now_ns - NS_PER_MIN), "greenhouse", "t");

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT(w->count == 1 && w->late == 1);
}

static void an_ancient_reading_is_deduplicated_as_all_others(void)
{
	int64_t now_ns = clock_wall_ns(), then_ns = now_ns - 300 * NS_PER_MIN;
	LOGGED log;
	RIG(FAST);

	publish_one(&g, 1, 0, plain("d0", now_ns));
	publish_one(&g, 1, 1, plain("d0", then_ns));
	for (uint64_t i = 0; i < 40; i++) /* out of the ring */
		publish_one(&g, 1, 2 + i, plain("d0", now_ns + (int64_t)i + 1));
	publish_one(&g, 2, 0, plain("d0", then_ns));
	publish_one(&g, 2, 1, plain("d0", then_ns + 1));
	rig_open(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 44);
	CU_ASSERT_EQUAL(log.list[1].flags, REGION_OLD);
	CU_ASSERT_EQUAL(log.list[42].flags, REGION_DUPLICATE);
	CU_ASSERT_EQUAL(log.list[43].flags, REGION_OLD);
}

static void with_event_clocks_nothing_is_ahead_and_history_has_its_windows(void)
{
	LOGGED log;
	TOLD told;
	RIG(EVENT FAST);

	for (int i = 0; i < 20; i++) { /* a day a step, long before 1970 and on */
		struct reading r = plain("d0", (i - 10) * 1440 * NS_PER_MIN);
		struct parcel p = {
			.gateway = "gw", .spool = 1, .shard = device_shard("d0"), .first = (uint64_t)i, .clock_ns = r.timestamp_ns,
			.readings = &r, .n = 1,
		};

		rig_publish(&g, &p);
	}
	rig_open(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 20);
	for (size_t i = 0; i < log.n; i++)
		CU_ASSERT_EQUAL(log.list[i].flags, 0);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.n, 20); /* each was told although its successor put it behind the horizon */
	CU_ASSERT_EQUAL(told.watermark_ns[device_shard("d0")], 9 * 1440 * NS_PER_MIN - 5 * NS_PER_S);
}

/* A minute whose end the watermark has passed is final for the aggregator: what belongs to it must have been told. */
static void a_watermark_is_told_behind_all_windows_that_it_settles(void)
{
	enum { MINUTES = 600 };
	static struct reading readings[MINUTES];
	bool told_later[MINUTES] = { false };
	TOLD told;
	RIG(EVENT FAST);

	for (int i = 0; i < MINUTES; i++)
		readings[i] = plain("d0", i * NS_PER_MIN);

	struct parcel p = {
		.gateway = "gw", .spool = 1, .shard = device_shard("d0"), .first = 0, .clock_ns = MINUTES * NS_PER_MIN,
		.readings = readings, .n = MINUTES,
	};

	rig_publish(&g, &p);
	rig_open(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.n, MINUTES);
	for (size_t i = told.deltas; i-- > 0;) { /* from the last to the first */
		const Sluice__V1__ConsolidatedEnvelope *m = told.messages[i];

		for (int minute = 0; minute < MINUTES; minute++)
			CU_ASSERT_FALSE(told_later[minute] && m->watermark_ns > minute * NS_PER_MIN);
		for (size_t k = 0; k < m->n_windows; k++)
			told_later[m->windows[k]->start_ns / NS_PER_MIN] = true;
	}
}

/* ------------------------------------------------------------------ what cannot be used */

static void what_cannot_be_used_is_set_aside_and_stops_nothing(void)
{
	uint32_t shard = device_shard("d0");
	struct reading r = plain("d0", clock_wall_ns());
	struct parcel p = { .gateway = "gw", .spool = 1, .shard = shard, .clock_ns = r.arrival_ns, .readings = &r, .n = 1 };
	CLEANUP(buf_done) struct buf good = BUF_INIT, other = BUF_INIT, damaged = BUF_INIT, stray = BUF_INIT;
	static const char *const reasons[] = { "no TelemetryEnvelope", "of a version", "another shard", "another region",
					       "block cannot be read", "device that belongs to another shard" };
	RIG(FAST);

	parcel_bytes(&g, &p, &good);
	p.region = "us";
	parcel_bytes(&g, &p, &other);
	p.region = NULL;
	buf_append(&damaged, good.data, good.len);
	uint8_t *frame = memmem(damaged.data, damaged.len, "\x28\xb5\x2f\xfd", 4); /* zstd's magic number */

	CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
	frame[0] ^= 1;
	p.shard = 1 - shard;
	parcel_bytes(&g, &p, &stray);

	const struct {
		uint32_t partition;
		struct slice value;
	} inputs[ARRAY_SIZE(reasons)] = {
		{ shard, SLICE_STR("what is this") }, { shard, SLICE("", 0) }, { 1 - shard, buf_slice(&good) },
		{ shard, buf_slice(&other) },         { shard, buf_slice(&damaged) }, { 1 - shard, buf_slice(&stray) },
	};

	rig_open(&g);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		LOGGED log;

		rig_publish_bytes(&g, inputs[i].partition, inputs[i].value);
		while (total(&g, RM_ASIDES, 0) < i + 1)
			rig_step(&g);
		logged_read(&g, &log);
		CU_ASSERT_EQUAL(log.asides, i + 1);
		if (!strstr(log.reason, reasons[i])) {
			printf("  wanted \"%s\", got \"%s\"\n", reasons[i], log.reason);
			CU_FAIL("reason");
		}
	}
	rig_publish_bytes(&g, shard, buf_slice(&good));
	rig_run(&g);

	LOGGED log;

	logged_read(&g, &log);
	CU_ASSERT_EQUAL_FATAL(log.n, 1);
	CU_ASSERT_EQUAL(log.list[0].flags, 0);
	CU_ASSERT(log.covered[shard] == 5 && log.covered[1 - shard] == 2);
}

static void what_was_trimmed_unread_is_said_and_passed_over(void)
{
	struct stream_options options = { .writer = true, .segment_bytes = 64 << 10 };
	uint32_t shard = device_shard("d0");
	uint64_t keep[RIG_SHARDS] = { 0 }, first, end;
	LOGGED log;
	RIG(FAST);

	stream_close(g.edge);
	ASSERT_OK(stream_open(&g.edge, g.settings.streams_edge_telemetry, &options, NULL));
	for (uint64_t i = 0; i < 1000; i++)
		publish_one(&g, 1, i, plain("d0", clock_wall_ns()));
	keep[shard] = 600;
	ASSERT_OK(stream_trim(g.edge, keep));
	ASSERT_OK(stream_range(g.edge, shard, &first, &end));
	CU_ASSERT_FATAL(first > 0 && first <= 600);
	rig_open(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL(log.asides, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(log.reason, "trimmed"));
	CU_ASSERT_EQUAL(log.n, 1000 - first);
	CU_ASSERT_EQUAL(log.covered[shard], 1000);
}

/* ------------------------------------------------------------------ gateways */

static void heartbeats_move_the_clock_and_are_logged_now_and_then(void)
{
	int64_t base_ns = clock_wall_ns();
	struct parcel p = { .gateway = "gw", .spool = 1 };
	LOGGED log;
	TOLD told;
	RIG("regional:\n  delta_interval: 300ms\n");

	rig_open(&g);
	for (int i = 0; i < 200; i++) {
		p.clock_ns = base_ns + i;
		rig_publish(&g, &p);
		if (i % 4 == 0)
			rig_step(&g);
	}

	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;

	while (g.region->shard_of[0]->covered < 200 && clock_mono_ns() < until_ns)
		rig_step(&g);
	for (uint64_t sent = g.region->deltas_sent; g.region->deltas_sent < sent + 2 * RIG_SHARDS;)
		rig_step(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL(log.covered[0], 200);
	CU_ASSERT(log.heartbeats > 0 && log.heartbeats < 100);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.watermark_ns[0], base_ns + 199 - 5 * NS_PER_S);
	CU_ASSERT_EQUAL(told.completeness[0], 1);
}

/* The heartbeats between two envelopes are covered by the second. */
static void an_envelope_covers_the_heartbeats_before_it(void)
{
	uint32_t shard = device_shard("d0");
	struct parcel p = { .gateway = "gw", .spool = 1, .shard = shard, .clock_ns = clock_wall_ns() };
	LOGGED log;
	RIG(SLOW);

	publish_one(&g, 1, 0, plain("d0", clock_wall_ns()));
	for (int i = 0; i < 5; i++)
		rig_publish(&g, &p);
	publish_one(&g, 1, 1, plain("d0", clock_wall_ns()));
	rig_open(&g);
	while (g.region->shard_of[shard]->covered < 7)
		rig_step(&g);
	logged_read(&g, &log);
	CU_ASSERT(log.covered[shard] == 7 && log.data == 2);
}

static void a_silent_gateway_is_declared_dark_and_the_watermark_goes_on(void)
{
	struct parcel a = { .gateway = "a", .spool = 1 }, b = { .gateway = "b", .spool = 2, .clock_ns = clock_wall_ns() - NS_PER_MIN };
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS, before_ns;
	LOGGED log;
	TOLD told;
	RIG("regional:\n  delta_interval: 100ms\n  gateway_dark: 1s\n");

	rig_open(&g);
	rig_publish(&g, &b);
	do {
		a.clock_ns = clock_wall_ns();
		rig_publish(&g, &a);
		before_ns = clock_mono_ns();
		while (clock_mono_ns() < before_ns + 100 * NS_PER_MS)
			rig_step(&g);
		CU_ASSERT_FATAL(clock_mono_ns() < until_ns);
	} while (!g.region->shard_of[0]->folded.list || gateways_live(&g.region->shard_of[0]->folded) == g.region->shard_of[0]->folded.n);
	CU_ASSERT_EQUAL(g.region->shard_of[0]->folded.n, 2);
	for (uint64_t sent = g.region->deltas_sent; g.region->deltas_sent < sent + 2 * RIG_SHARDS;)
		rig_step(&g);
	rig_run(&g);
	logged_read(&g, &log);
	CU_ASSERT_EQUAL(log.darks, 1);
	told_read(&g, &told);
	CU_ASSERT(told.watermark_ns[0] > b.clock_ns);
	region_refresh(g.region);
	CU_ASSERT_EQUAL(metric_gauge(g.metrics, RM_GATEWAYS_DARK), 1);
	rig_publish(&g, &b); /* it is back */
	while (gateways_live(&g.region->shard_of[0]->folded) < 2 && clock_mono_ns() < until_ns)
		rig_step(&g);
	CU_ASSERT_EQUAL(gateways_live(&g.region->shard_of[0]->folded), 2);
}

/* ------------------------------------------------------------------ spikes */

#define ALARMS "  false_alarms_per_week: 1\n" /* see test_event.c */

/* A reading a second, of which the one ten before the last is the spike. */
static void publish_spike(struct rig *g, int64_t arrival_ns)
{
	enum { N = 410 };
	struct reading r[N];
	struct parcel p = { .gateway = "gw", .spool = 1, .shard = device_shard("d0"), .clock_ns = arrival_ns, .readings = r, .n = N };
	uint64_t seed = 4;

	for (int i = 0; i < N; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		r[i] = plain("d0", arrival_ns - (N - i) * NS_PER_S);
		r[i].arrival_ns = arrival_ns;
		r[i].value = i == N - 10 ? 500.5 : 20 + (double)(seed >> 54) / 1000;
	}
	rig_publish(g, &p);
}

static void a_spike_is_told_at_once_and_as_an_alert(void)
{
	struct stream_options options = { .reader = true };
	struct stream *alerts;
	struct stream_record record;
	uint32_t lost, shard = device_shard("d0");
	TOLD told;
	RIG(SLOW ALARMS);

	publish_spike(&g, clock_wall_ns());
	rig_open(&g);
	rig_run(&g); /* within the minute of the interval */
	told_read(&g, &told);
	CU_ASSERT_FATAL(told.n_notices >= 1); /* and perhaps its end */
	CU_ASSERT_STRING_EQUAL(told.notices[0]->device_id, "d0");
	CU_ASSERT_STRING_EQUAL(told.notices[0]->metric, "t");
	CU_ASSERT_STRING_EQUAL(told.notices[0]->place, "hall");
	CU_ASSERT_EQUAL(told.notices[0]->value, 500.5);
	CU_ASSERT(told.notices[0]->score > 0.99 && told.notices[0]->expected > 19 && told.notices[0]->expected < 23);
	ASSERT_OK(stream_open(&alerts, g.settings.streams_region_alerts, &options, NULL));
	ASSERT_OK(stream_seek(alerts, shard, 0));
	CU_ASSERT_EQUAL_FATAL(stream_read(alerts, &record, 1, 0, &lost), 1);

	char line[1024];

	text_from(line, sizeof(line), record.value);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"device_id\":\"d0\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"state\":\"raised\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"value\":500.5"));
	stream_close(alerts);
	CU_ASSERT_EQUAL(total(&g, RM_NOTICES, 0), 1);
}

/* ------------------------------------------------------------------ owners and projections */

static void a_second_process_stands_by(void)
{
	struct region *second;
	struct stream_error error = { "" };
	RIG(FAST);

	rig_open(&g);
	ASSERT_OK(region_new(&second, &g.settings, g.registry, g.metrics));
	CU_ASSERT_EQUAL(region_open(second, &error), -EBUSY);
	rig_close(&g);
	ASSERT_OK(region_open(second, &error));
	region_free(second);
}

static void streams_of_another_number_of_partitions_are_refused(void)
{
	static const char *const names[] = { "edge", "log", "deltas", "alerts" };
	struct stream_create_options options = { .partitions = RIG_SHARDS + 1, .retention_ms = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct stream_error error = { "" };
		struct region *region;
		char url[160], path[128];
		RIG(FAST);

		snprintf(path, sizeof(path), "%s/%s", g.dir, names[i]);
		stream_close(g.edge);
		g.edge = NULL;
		nftw(path, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
		snprintf(url, sizeof(url), "embedded:%s", path);
		ASSERT_OK(stream_create(url, &options, NULL));
		ASSERT_OK(region_new(&region, &g.settings, g.registry, g.metrics));
		CU_ASSERT_EQUAL(region_open(region, &error), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "has 3 partitions, streams.partitions says 2"));
		region_free(region);
	}
}

static void what_a_missing_projection_did_not_hear_is_told_when_it_is_there(void)
{
	struct stream_create_options options = { .partitions = RIG_SHARDS, .retention_ms = -1 };
	char path[128];
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;
	TOLD told;
	RIG(FAST);

	snprintf(path, sizeof(path), "%s/deltas", g.dir);
	nftw(path, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
	log_setup("test", LOG_ERROR, LOG_LOGFMT);
	publish_one(&g, 1, 0, plain("d0", clock_wall_ns()));
	rig_open(&g);
	while (g.region->shard_of[device_shard("d0")]->covered < 1 || g.region->n_flying > 0)
		rig_step(&g);
	CU_ASSERT_FALSE(region_idle(g.region));
	ASSERT_OK(stream_create(g.settings.streams_region_deltas, &options, NULL));
	while (!g.region->deltas.stream && clock_mono_ns() < until_ns)
		rig_step(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT(told.n == 1 && told.unique == 1);
}

TESTS("regional-region", T(readings_are_logged_enriched_and_windowed), T(a_device_that_is_not_registered_is_unknown),
      T(a_reading_that_comes_twice_has_one_effect), T(a_spool_that_sends_its_ordinals_again_is_recognised),
      T(what_the_ring_forgot_is_read_back_from_the_log), T(a_page_in_memory_learns_what_comes_after_it),
      T(what_is_on_its_way_into_the_log_is_known_too),
      T(readings_without_a_hash_are_told_apart_by_their_bytes), T(late_ahead_and_ancient_readings_are_flagged), T(an_ancient_reading_is_deduplicated_as_all_others),
      T(with_event_clocks_nothing_is_ahead_and_history_has_its_windows),
      T(a_watermark_is_told_behind_all_windows_that_it_settles),
      T(what_cannot_be_used_is_set_aside_and_stops_nothing), T(what_was_trimmed_unread_is_said_and_passed_over),
      T(heartbeats_move_the_clock_and_are_logged_now_and_then), T(an_envelope_covers_the_heartbeats_before_it),
      T(a_silent_gateway_is_declared_dark_and_the_watermark_goes_on), T(a_spike_is_told_at_once_and_as_an_alert),
      T(a_second_process_stands_by),
      T(streams_of_another_number_of_partitions_are_refused),
      T(what_a_missing_projection_did_not_hear_is_told_when_it_is_there))
