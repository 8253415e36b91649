/* Events of devices, their silence, and what is told of both. */
#include <math.h>

#include "base/rand.h"
#include "tests/unit/regional/rig.h"

#define FAST "regional:\n  false_alarms_per_week: 1\n  delta_interval: 100ms\n"
#define SLOW "regional:\n  false_alarms_per_week: 1\n  delta_interval: 60s\n"
#define EVENT "  clock: event\n"
/* After so many readings each second a detector takes what is usual here for a thing that comes several times a week, and
 * what is 20 times as much for one in a century: both are far from this setting. */
#define BEFORE 400
#define RATE 1.0
#define LATENESS_NS (5 * NS_PER_S)

static void rig_over(struct rig *g)
{
	rig_done(g);
}
#define RIG(more)                            \
	CLEANUP(rig_over) struct rig g;      \
	rig_init(&g, more)

/* ------------------------------------------------------------------ what is sent */

/* A device that reports each second, in hundredths. */
struct story {
	const char *device;
	int64_t base_ns;
	uint64_t random, ordinal;
	uint8_t spool;
	struct detector t, u; /* in step with the region's */
};

static struct story story_of(const char *device, int64_t base_ns)
{
	struct story s = { .device = device, .base_ns = base_ns, .random = 5, .spool = 1 };

	detector_init(&s.t);
	detector_init(&s.u);
	return s;
}

static double about(uint64_t *random, double v)
{
	return v + floor(rand_uniform(random) * 100) / 100;
}

static struct reading reading_of(struct story *s, int second, double t, double u)
{
	struct reading r = { .timestamp_ns = s->base_ns + second * NS_PER_S, .value = t, .second = u, .has_second = true };

	snprintf(r.device, sizeof(r.device), "%s", s->device);
	r.arrival_ns = r.timestamp_ns;
	return r;
}

static void publish(struct rig *g, struct story *s, struct reading *r, uint32_t n, int64_t clock_ns)
{
	struct parcel p = {
		.gateway = "gw", .spool = s->spool, .shard = device_shard(s->device), .first = s->ordinal, .clock_ns = clock_ns,
		.readings = r, .n = n,
	};

	s->ordinal += n;
	rig_publish(g, &p);
}

/* Seconds first..end of the usual, and what the detectors say of it. */
static void usual(struct rig *g, struct story *s, int first, int end, int64_t clock_ns)
{
	struct reading r[BEFORE];
	struct detection d;

	must(end - first <= BEFORE);
	for (int i = first; i < end; i++) {
		r[i - first] = reading_of(s, i, about(&s->random, 20), about(&s->random, 50));
		detector_update(&s->t, r[i - first].timestamp_ns, r[i - first].value, &d);
		detector_update(&s->u, r[i - first].timestamp_ns, r[i - first].second, &d);
	}
	publish(g, s, r, (uint32_t)(end - first), clock_ns);
}

/* A gateway's clock and nothing else. */
static void tick(struct rig *g, struct story *s, int64_t clock_ns)
{
	struct parcel p = { .gateway = "gw", .spool = s->spool, .shard = device_shard(s->device), .first = s->ordinal,
			    .clock_ns = clock_ns };

	rig_publish(g, &p);
}

/* Until the shard has folded all that there is; heartbeats are held back for a while. */
static void fold(struct rig *g, const struct story *s)
{
	const struct shard *shard = g->region->shard_of[device_shard(s->device)];
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;
	uint64_t first, end;

	ASSERT_OK(stream_range(g->edge, shard->number, &first, &end));
	while (shard->covered < end || g->region->n_flying > 0 || !region_idle(g->region)) {
		CU_ASSERT_FATAL(clock_mono_ns() < until_ns);
		rig_step(g);
	}
}

static size_t count(const struct told *t, const char *kind, bool cleared)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_notices; i++)
		n += !strcmp(t->notices[i]->rule, kind) && !t->notices[i]->cleared == !cleared;
	return n;
}

static size_t silences(const struct rig *g)
{
	TOLD told;

	told_read(g, &told);
	return count(&told, "silence", false);
}

/* ------------------------------------------------------------------ events */

static double evidence(double score)
{
	double r = (1 - fmin(score, 1 - 0x1p-53)) / fmin(score, 1 - 0x1p-53);

	return log1p(1 / r);
}

static void an_anomaly_of_two_metrics_is_one_event_with_shares(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r = reading_of(&s, BEFORE, 500, 50000);
	struct detection t, u;
	TOLD told;
	RIG(EVENT SLOW);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, &r, 1, r.timestamp_ns);
	detector_update(&s.t, r.timestamp_ns, r.value, &t);
	detector_update(&s.u, r.timestamp_ns, r.second, &u);
	CU_ASSERT_FATAL(t.score > detector_threshold(RATE) && u.score > detector_threshold(RATE));
	rig_open(&g);
	rig_run(&g); /* within the minute of the interval */
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 1);

	const Sluice__V1__Notice *n = told.notices[0];
	const struct detection *most = u.score >= t.score ? &u : &t;
	const char *head = most == &u ? "u" : "t";

	CU_ASSERT_STRING_EQUAL(n->rule, detector_kind_name(most->kind));
	CU_ASSERT_STRING_EQUAL(n->device_id, "d0");
	CU_ASSERT_STRING_EQUAL(n->place, "hall");
	CU_ASSERT_STRING_EQUAL(n->metric, head);
	CU_ASSERT(n->onset_ns == r.timestamp_ns && n->event_ns == r.timestamp_ns && !n->cleared && !n->stale);
	CU_ASSERT(n->value == (most == &u ? 50000 : 500) && n->score == most->score && n->direction == most->direction);
	CU_ASSERT(n->expected == most->expected);
	CU_ASSERT(n->low == detector_band(most).low && n->high == detector_band(most).high);
	CU_ASSERT_EQUAL_FATAL(n->n_shares, 2);
	CU_ASSERT_STRING_EQUAL(n->shares[0]->metric, head);
	CU_ASSERT_DOUBLE_EQUAL(n->shares[0]->share + n->shares[1]->share, 1, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(n->shares[0]->share, evidence(most->score) / (evidence(t.score) + evidence(u.score)), 1e-9);
}

static void a_further_metric_is_told_under_the_first_ones_onset_and_all_end_as_one(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r[2] = { reading_of(&s, BEFORE, 500, 50.5), reading_of(&s, BEFORE + 1, 20.5, 9000) };
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, r, 2, r[1].timestamp_ns);
	usual(&g, &s, BEFORE + 2, 2 * BEFORE, s.base_ns);
	usual(&g, &s, 2 * BEFORE, 3 * BEFORE, s.base_ns);
	rig_open(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 3);
	CU_ASSERT_STRING_EQUAL(told.notices[0]->metric, "t");
	CU_ASSERT(told.notices[1]->event_ns == r[1].timestamp_ns && !told.notices[1]->cleared);
	CU_ASSERT_EQUAL_FATAL(told.notices[1]->n_shares, 2);
	CU_ASSERT_DOUBLE_EQUAL(told.notices[1]->shares[0]->share + told.notices[1]->shares[1]->share, 1, 1e-12);
	CU_ASSERT(told.notices[1]->shares[1]->share > 0.1);
	CU_ASSERT(told.notices[2]->cleared && told.notices[2]->event_ns > r[1].timestamp_ns + NS_PER_S);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(told.notices[i]->onset_ns, r[0].timestamp_ns);
	region_refresh(g.region);
	CU_ASSERT_EQUAL(metric_total(g.metrics, RM_NOTICES, 0), 1);
}

/* "u" becomes anomalous and is never sent again; the device goes on with "t". */
static void a_spike_that_turns_out_to_last_is_told_again_as_what_it_is(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r[20];
	TOLD told;
	RIG(EVENT "regional:\n  false_alarms_per_week: 100\n  delta_interval: 100ms\n"); /* they come each second */

	usual(&g, &s, 0, BEFORE, s.base_ns);
	for (int i = 0; i < 20; i++)
		r[i] = reading_of(&s, BEFORE + i, 500 + i % 3, 50);
	publish(&g, &s, r, 20, r[19].timestamp_ns);
	rig_open(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT_FATAL(told.n_notices >= 2);
	CU_ASSERT_STRING_EQUAL(told.notices[0]->rule, "spike");
	CU_ASSERT_STRING_EQUAL(told.notices[1]->rule, "level-shift");
	CU_ASSERT(!told.notices[1]->cleared && told.notices[1]->direction == 1);
	CU_ASSERT_EQUAL(told.notices[0]->onset_ns, r[0].timestamp_ns);
	CU_ASSERT_EQUAL(told.notices[1]->onset_ns, r[0].timestamp_ns);
}

static void a_metric_that_is_not_sent_any_more_does_not_keep_the_event(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r[400];
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	for (int i = 0; i < 400; i++) {
		r[i] = reading_of(&s, BEFORE + i, about(&s.random, 20), 9000);
		r[i].has_second = i == 0;
	}
	publish(&g, &s, r, 400, r[399].timestamp_ns);
	rig_open(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 2);
	CU_ASSERT_STRING_EQUAL(told.notices[0]->metric, "u");
	CU_ASSERT(told.notices[1]->cleared && told.notices[1]->onset_ns == told.notices[0]->onset_ns);

	struct detection d;

	detector_update(&s.u, r[0].timestamp_ns, r[0].second, &d);
	CU_ASSERT(told.notices[1]->event_ns >= detector_silent_at_ns(&s.u, RATE) &&
		  told.notices[1]->event_ns <= detector_silent_at_ns(&s.u, RATE) + NS_PER_S);
}

static void of_many_metrics_the_largest_shares_are_told(void)
{
	CLEANUP(buf_done) struct buf block = BUF_INIT, value = BUF_INIT, payload = BUF_INIT;
	char names[16][4];
	uint64_t random = 9;
	double scores[16], sum = 0;
	struct detector d[16];
	struct detection found;
	struct envelope e = {
		.gateway_id = SLICE_STR("gw"), .home_region = SLICE_STR("eu"), .shard = device_shard("d0"), .ordinal_end = BEFORE + 1,
		.count = BEFORE + 1, .trace = trace_new(), .block_format = BLOCK_FORMAT,
		.spool_id = { 1 },
	};
	TOLD told;
	RIG(EVENT FAST);

	for (int i = 0; i <= BEFORE; i++) {
		struct telemetry t = { .timestamp_ns = i * NS_PER_S, .has_timestamp = true, .has_hash = true, .integrity_hash = (uint64_t)i,
				       .device_id = SLICE_STR("d0"), .n_metrics = 16 };

		for (int m = 0; m < 16; m++) {
			snprintf(names[m], sizeof(names[m]), "m%02d", m);
			t.metrics[m].name = SLICE_STR(names[m]);
			t.metrics[m].value = about(&random, i < BEFORE ? 20 : 300 + (m * 7) % 16 * 20);
			if (i == 0)
				detector_init(&d[m]);
			detector_update(&d[m], t.timestamp_ns, t.metrics[m].value, &found);
			scores[m] = found.score;
		}
		buf_reset(&payload);
		telemetry_append(&payload, &t);
		ASSERT_OK(block_writer_add(g.writer, buf_slice(&payload), t.timestamp_ns, t.timestamp_ns, false));
	}
	ASSERT_OK(block_writer_finish(g.writer, &block));
	e.block = buf_slice(&block);
	envelope_append(&value, &e);
	rig_publish_bytes(&g, e.shard, buf_slice(&value));
	rig_open(&g);
	rig_run(&g);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 1);
	CU_ASSERT_EQUAL_FATAL(told.notices[0]->n_shares, NOTICE_SHARES_MAX);
	for (int m = 0; m < 16; m++)
		sum += evidence(scores[m]);
	for (size_t i = 0; i < NOTICE_SHARES_MAX; i++) {
		const Sluice__V1__MetricShare *share = told.notices[0]->shares[i];
		int larger = 0;

		for (int m = 0; m < 16; m++)
			larger += evidence(scores[m]) / sum > share->share + 1e-9;
		CU_ASSERT(larger <= (int)i);
		CU_ASSERT_DOUBLE_EQUAL(share->share, evidence(scores[atoi(share->metric + 1)]) / sum, 1e-9);
		CU_ASSERT(i == 0 || share->share <= told.notices[0]->shares[i - 1]->share);
	}
}

static void a_line_of_region_alerts_says_it_all(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r = reading_of(&s, BEFORE, 500, 9000);
	struct stream_options options = { .reader = true };
	struct stream *alerts;
	struct stream_record record;
	char line[1024];
	uint32_t lost;
	static const char *const parts[] = {
		"{\"alert_id\":\"", ",\"kind\":\"", ",\"direction\":1,\"region\":\"eu\",\"device_id\":\"d0\"", "\"type\":\"greenhouse\"",
		"\"place\":\"hall\"", "\"state\":\"raised\",\"stale\":false,\"event_ns\":\"1400000000000\"", "\"onset_ns\":\"1400000000000\"",
		",\"low\":", ",\"high\":", ",\"shares\":{\"",
	};
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, &r, 1, r.timestamp_ns);
	rig_open(&g);
	rig_run(&g);
	ASSERT_OK(stream_open(&alerts, g.settings.streams_region_alerts, &options, NULL));
	ASSERT_OK(stream_seek(alerts, device_shard("d0"), 0));
	CU_ASSERT_EQUAL_FATAL(stream_read(alerts, &record, 1, 0, &lost), 1);
	text_from(line, sizeof(line), record.value);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strstr(line, parts[i])) {
			printf("  no %s in %s\n", parts[i], line);
			CU_FAIL("line");
		}
	stream_close(alerts);
}

/* ------------------------------------------------------------------ silence */

static void a_device_is_silent_in_the_second_after_its_rhythm_allows(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	int64_t last_ns = s.base_ns + (BEFORE - 1) * NS_PER_S, at_ns, second_ns;
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, last_ns);
	at_ns = MAX(detector_silent_at_ns(&s.t, RATE), detector_silent_at_ns(&s.u, RATE));
	CU_ASSERT_FATAL(at_ns > last_ns && at_ns < last_ns + 1000 * NS_PER_S);
	second_ns = (at_ns / NS_PER_S + 1) * NS_PER_S;
	rig_open(&g);
	for (int64_t t = last_ns; t < second_ns; t += NS_PER_S)
		tick(&g, &s, t + LATENESS_NS);
	tick(&g, &s, second_ns - 1 + LATENESS_NS);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 0);
	tick(&g, &s, second_ns + LATENESS_NS);
	fold(&g, &s);
	for (int i = 1; i < 400; i++)
		tick(&g, &s, second_ns + i * NS_PER_S * 60 + LATENESS_NS);
	fold(&g, &s);
	region_refresh(g.region);
	CU_ASSERT_EQUAL(metric_gauge(g.metrics, RM_SILENT), 1);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 1); /* once, and not once a minute */
	CU_ASSERT_STRING_EQUAL(told.notices[0]->rule, "silence");
	CU_ASSERT_STRING_EQUAL(told.notices[0]->metric, "");
	CU_ASSERT_STRING_EQUAL(told.notices[0]->place, "hall");
	CU_ASSERT(told.notices[0]->onset_ns == last_ns && !told.notices[0]->cleared && told.notices[0]->n_shares == 0);
	CU_ASSERT(told.notices[0]->event_ns == second_ns);
}

static void a_silent_device_that_is_heard_again_is_cleared_and_can_be_silent_again(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	int64_t last_ns = s.base_ns + (BEFORE - 1) * NS_PER_S;
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, last_ns);
	tick(&g, &s, s.base_ns + 5000 * NS_PER_S);
	rig_open(&g);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 1);
	usual(&g, &s, 6000, 6001, s.base_ns + 6000 * NS_PER_S);
	tick(&g, &s, s.base_ns + 1000000 * NS_PER_S);
	fold(&g, &s);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(count(&told, "silence", false), 2);
	CU_ASSERT_EQUAL(count(&told, "silence", true), 1);
	for (size_t i = 0, n = 0; i < told.n_notices; i++)
		if (!strcmp(told.notices[i]->rule, "silence"))
			CU_ASSERT_EQUAL(told.notices[i]->onset_ns, n++ < 2 ? last_ns : s.base_ns + 6000 * NS_PER_S);
}

/* The last reading begins an event, and nothing comes after it for a while; then what comes is as unusual. */
static void silence_takes_the_place_of_what_lasted(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r = reading_of(&s, BEFORE, 500, 50.5), back = reading_of(&s, 6000, 1e9, 50.5);
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, &r, 1, s.base_ns + 5000 * NS_PER_S);
	rig_open(&g);
	fold(&g, &s);
	publish(&g, &s, &back, 1, back.timestamp_ns);
	fold(&g, &s);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 5);
	for (int i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(!told.notices[i]->cleared, i == 0 || i == 2 || i == 4);
	CU_ASSERT_STRING_EQUAL(told.notices[1]->rule, told.notices[0]->rule);
	CU_ASSERT(told.notices[0]->onset_ns == r.timestamp_ns && told.notices[1]->onset_ns == r.timestamp_ns);
	CU_ASSERT_STRING_EQUAL(told.notices[2]->rule, "silence");
	CU_ASSERT(told.notices[2]->onset_ns == r.timestamp_ns + 1 && told.notices[3]->onset_ns == r.timestamp_ns + 1);
	CU_ASSERT_STRING_EQUAL(told.notices[4]->metric, "t");
	CU_ASSERT(told.notices[4]->onset_ns == back.timestamp_ns && told.notices[4]->value == 1e9);
}

/* As before, but what comes is as usual as ever. */
static void what_is_usual_again_after_a_silence_begins_nothing(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct reading r = reading_of(&s, BEFORE, 500, 50.5);
	TOLD told;
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, &r, 1, s.base_ns + 5000 * NS_PER_S);
	rig_open(&g);
	fold(&g, &s);
	usual(&g, &s, 6000, 6000 + BEFORE, s.base_ns + 6000 * NS_PER_S);
	fold(&g, &s);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.n_notices, 4);
	CU_ASSERT_EQUAL(g.region->shard_of[device_shard("d0")]->detectors.n_silent, 0);
}

static void a_device_without_a_rhythm_is_never_silent(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	RIG(EVENT FAST);

	usual(&g, &s, 0, DETECTOR_WARMUP / 2, s.base_ns);
	for (int i = 0; i < 100; i++)
		tick(&g, &s, s.base_ns + i * 3600 * NS_PER_S);
	rig_open(&g);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 0);
	CU_ASSERT_EQUAL(g.region->shard_of[device_shard("d0")]->folded.watermark_ns, s.base_ns + 99 * 3600 * NS_PER_S - LATENESS_NS);
}

/* The notices of all the log, told once more for streams that know nothing. */
static void told_anew(struct rig *g, struct story *s, struct told *ret)
{
	struct stream_create_options options = { .partitions = RIG_SHARDS, .retention_ms = -1 };
	char path[128];

	rig_close(g);
	snprintf(path, sizeof(path), "%s/deltas", g->dir);
	nftw(path, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
	ASSERT_OK(stream_create(g->settings.streams_region_deltas, &options, NULL));
	rig_open(g);
	fold(g, s);
	told_read(g, ret);
}

static void after_a_restart_the_same_is_silent_and_nothing_is_told_twice(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	TOLD first;
	RIG(EVENT FAST);

	rig_open(&g);
	for (int round = 0; round < 5; round++) {
		int at = round * BEFORE + 600 * ((1 << round) - 1); /* gaps that are not alike: none is usual */

		usual(&g, &s, at, at + BEFORE, s.base_ns + (at + BEFORE) * NS_PER_S);
		tick(&g, &s, s.base_ns + (at + BEFORE) * NS_PER_S + 30 * NS_PER_S);
		fold(&g, &s); /* so that the heartbeat is logged */
		tick(&g, &s, s.base_ns + (at + BEFORE) * NS_PER_S + 200 * NS_PER_S);
		fold(&g, &s);
	}
	told_read(&g, &first);
	CU_ASSERT_FATAL(count(&first, "silence", false) == 5 && count(&first, "silence", true) == 4);
	for (uint64_t sent = g.region->deltas_sent; g.region->deltas_sent < sent + 3 * RIG_SHARDS;) /* two whole cuts */
		rig_step(&g);
	fold(&g, &s);
	rig_close(&g);
	rig_open(&g);
	fold(&g, &s);
	{
		TOLD second;

		told_read(&g, &second);
		CU_ASSERT_EQUAL(second.n_notices, first.n_notices);
	}
	TOLD anew;

	told_anew(&g, &s, &anew);
	CU_ASSERT_EQUAL_FATAL(anew.n_notices, first.n_notices);
	for (size_t i = 0; i < first.n_notices; i++) {
		CU_ASSERT_STRING_EQUAL(anew.notices[i]->rule, first.notices[i]->rule);
		CU_ASSERT(anew.notices[i]->onset_ns == first.notices[i]->onset_ns && anew.notices[i]->event_ns == first.notices[i]->event_ns &&
			  anew.notices[i]->arrival_ns == first.notices[i]->arrival_ns && anew.notices[i]->score == first.notices[i]->score &&
			  anew.notices[i]->cleared == first.notices[i]->cleared);
	}
}

/* Gateway A was cut off and drains its backlog; B is live all the time. */
static void nobody_is_silent_whose_readings_are_still_in_a_backlog(void)
{
	int64_t now_ns = clock_wall_ns();
	struct story s = story_of("d0", now_ns - (BEFORE + 840) * NS_PER_S);
	struct parcel b = { .gateway = "b", .spool = 2, .shard = device_shard("d0") };
	struct reading r[60];
	RIG(FAST);

	usual(&g, &s, 0, BEFORE, s.base_ns + BEFORE * NS_PER_S);
	rig_open(&g);
	for (int minute = 0; minute < 14; minute++) {
		struct parcel a = { .gateway = "gw", .spool = 1, .shard = device_shard("d0"), .first = s.ordinal, .backlog = true,
				    .readings = r, .n = 60 };

		b.clock_ns = now_ns;
		rig_publish(&g, &b);
		fold(&g, &s);
		CU_ASSERT_EQUAL(silences(&g), 0);
		for (int i = 0; i < 60; i++)
			r[i] = reading_of(&s, BEFORE + minute * 60 + i, about(&s.random, 20), about(&s.random, 50));
		a.clock_ns = r[59].timestamp_ns;
		s.ordinal += 60;
		rig_publish(&g, &a);
	}
	tick(&g, &s, now_ns); /* A is live again */
	fold(&g, &s);
	CU_ASSERT_EQUAL(g.region->shard_of[device_shard("d0")]->folded.watermark_ns, now_ns - LATENESS_NS);
	CU_ASSERT_EQUAL(silences(&g), 0);
	region_refresh(g.region);
	CU_ASSERT_EQUAL(metric_total(g.metrics, RM_READINGS, RESULT_LATE), 0);
}

static void after_a_time_without_any_gateway_everybody_has_his_time_once_more(void)
{
	int64_t now_ns = clock_wall_ns() / NS_PER_S * NS_PER_S;
	struct story s = story_of("d0", now_ns - 3000 * NS_PER_S);
	int64_t last_ns = s.base_ns + (BEFORE - 1) * NS_PER_S, allowed_ns, back_ns = now_ns - 2000 * NS_PER_S;
	RIG(FAST);

	usual(&g, &s, 0, BEFORE, last_ns + NS_PER_S);
	allowed_ns = MAX(detector_silent_at_ns(&s.t, RATE), detector_silent_at_ns(&s.u, RATE)) - last_ns;
	CU_ASSERT_FATAL(allowed_ns > 2 * NS_PER_S && allowed_ns < 1000 * NS_PER_S);
	tick(&g, &s, back_ns + LATENESS_NS);
	rig_open(&g);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 0);
	for (int64_t t = back_ns; t < back_ns + allowed_ns; t += 5 * NS_PER_S) {
		tick(&g, &s, t + LATENESS_NS);
		fold(&g, &s); /* else heartbeats are passed over */
	}
	CU_ASSERT_EQUAL(silences(&g), 0);
	tick(&g, &s, back_ns + allowed_ns + NS_PER_S + LATENESS_NS);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 1);
}

static void a_late_reading_is_a_sign_of_life(void)
{
	struct story s = story_of("d0", 1000 * NS_PER_S);
	int64_t last_ns = s.base_ns + (BEFORE - 1) * NS_PER_S, allowed_ns;
	struct reading r = reading_of(&s, 3000, 20, 50);
	RIG(EVENT FAST);

	usual(&g, &s, 0, BEFORE, last_ns);
	allowed_ns = MAX(detector_silent_at_ns(&s.t, RATE), detector_silent_at_ns(&s.u, RATE)) - last_ns;
	tick(&g, &s, s.base_ns + 2000 * NS_PER_S);
	rig_open(&g);
	fold(&g, &s);
	CU_ASSERT_EQUAL(silences(&g), 1);
	tick(&g, &s, r.timestamp_ns + allowed_ns / 2 + LATENESS_NS); /* behind the watermark then, and not by more than is allowed */
	fold(&g, &s);
	publish(&g, &s, &r, 1, r.timestamp_ns);
	fold(&g, &s);
	{
		TOLD told;

		told_read(&g, &told);
		CU_ASSERT(told.n_notices == 2 && told.notices[1]->cleared && told.notices[1]->onset_ns == last_ns);
		CU_ASSERT_EQUAL(told.notices[1]->event_ns, r.timestamp_ns);
	}
	tick(&g, &s, r.timestamp_ns + allowed_ns + 2 * NS_PER_S + LATENESS_NS);
	fold(&g, &s);
	r = reading_of(&s, 3001, 20, 50); /* too late: it would be silent all the same */
	publish(&g, &s, &r, 1, r.timestamp_ns);
	fold(&g, &s);

	TOLD told;

	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 3);
	CU_ASSERT(!told.notices[2]->cleared && told.notices[2]->onset_ns == s.base_ns + 3000 * NS_PER_S);
}

/* ------------------------------------------------------------------ what is past */

static void an_anomaly_in_an_old_backlog_is_told_as_past_and_in_no_hurry(void)
{
	struct story s = story_of("d0", clock_wall_ns() - (BEFORE + 180) * NS_PER_S);
	struct reading r = reading_of(&s, BEFORE, 500, 50.5);
	const struct shard *shard;
	TOLD told;
	RIG(SLOW);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	publish(&g, &s, &r, 1, s.base_ns);
	rig_open(&g);
	shard = g.region->shard_of[device_shard("d0")];
	while (shard->covered < 2 || g.region->n_flying > 0)
		rig_step(&g);
	CU_ASSERT(notices_unsent(&shard->notices) == 1 && !shard->urgent);
	region_settle(g.region, clock_mono_ns() + PATIENCE_NS);
	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, 1);
	CU_ASSERT(told.notices[0]->stale && told.notices[0]->value == 500 && !told.notices[0]->cleared);
	region_refresh(g.region);
	CU_ASSERT_EQUAL(metric_total(g.metrics, RM_NOTICES_STALE, 0), 1);
}

static void what_is_told_between_two_deltas_is_bounded_and_the_rest_counted(void)
{
	struct notice past = { .arrival_ns = 0, .first = true }, now = { .first = true }, end = { .cleared = true };
	struct shard *s;
	RIG(SLOW);

	rig_open(&g);
	s = g.region->shards[0];
	now.arrival_ns = end.arrival_ns = clock_wall_ns();
	for (int i = 0; i < NOTICES_STALE_MAX + 10; i++)
		notice_tell(s, &past, clock_wall_ns());
	CU_ASSERT_EQUAL(notices_unsent(&s->notices), NOTICES_STALE_MAX);
	CU_ASSERT(s->totals.notices_lost == 10 && s->totals.notices == NOTICES_STALE_MAX + 10 && !s->urgent);
	for (int i = 0; i < NOTICES_MAX; i++)
		notice_tell(s, &now, now.arrival_ns);
	CU_ASSERT(notices_unsent(&s->notices) < NOTICES_MAX && s->urgent);
	notice_tell(s, &end, end.arrival_ns); /* there is room for ends */
	CU_ASSERT(s->notices.list[s->notices.n - 1].cleared);
	for (int i = 0; i < NOTICES_MAX; i++)
		notice_tell(s, &end, end.arrival_ns);
	CU_ASSERT_EQUAL(notices_unsent(&s->notices), NOTICES_MAX);
	notices_done(&s->notices); /* of no device */
	g.region->n_notices = g.region->n_alerted = 0;
}

static void many_notices_go_in_several_deltas_of_one_cut(void)
{
	enum { N = NOTICES_A_DELTA * 2 + 5 };
	struct story s = story_of("d0", 1000 * NS_PER_S);
	struct shard *shard;
	size_t before, with = 0;
	RIG(EVENT SLOW);

	usual(&g, &s, 0, BEFORE, s.base_ns);
	rig_open(&g);
	rig_step(&g);
	shard = g.region->shard_of[device_shard("d0")];
	while (shard->covered < 1)
		rig_step(&g);
	for (int i = 0; i < N; i++)
		notice_tell(shard, &(struct notice){ .metric = NOTICE_NO_METRIC, .kind = DETECTOR_SILENCE, .onset_ns = i }, 0);
	region_settle(g.region, clock_mono_ns() + PATIENCE_NS);

	TOLD told;

	told_read(&g, &told);
	CU_ASSERT_EQUAL_FATAL(told.n_notices, N);
	for (int i = 0; i < N; i++)
		CU_ASSERT_EQUAL(told.notices[i]->onset_ns, i);
	before = told.deltas;
	for (size_t i = 0; i < before; i++)
		with += told.messages[i]->n_notices > 0;
	CU_ASSERT_EQUAL(with, 3);
}

static void what_was_on_its_way_when_deltas_failed_is_sent_again(void)
{
	struct notice one = { .onset_ns = 1 }, two = { .onset_ns = 2, .stale = true };
	struct shard *s;
	RIG(SLOW);

	rig_open(&g);
	s = g.region->shards[0];
	one.arrival_ns = clock_wall_ns();
	notice_tell(s, &one, one.arrival_ns);
	notice_tell(s, &two, one.arrival_ns);
	notices_sent(&s->notices);
	CU_ASSERT_EQUAL(notices_unsent(&s->notices), 0);
	one.onset_ns = 3;
	notice_tell(s, &one, one.arrival_ns);
	notices_again(&s->notices);
	CU_ASSERT_EQUAL_FATAL(notices_unsent(&s->notices), 3);
	CU_ASSERT(s->notices.list[0].onset_ns == 1 && s->notices.list[2].onset_ns == 3 && s->notices.stale == 1);
	notices_sent(&s->notices);
	notice_tell(s, &one, one.arrival_ns);
	notices_confirmed(&s->notices);
	CU_ASSERT(notices_unsent(&s->notices) == 1 && s->notices.n == 1 && s->notices.list[0].onset_ns == 3);
	notices_again(&s->notices);
	CU_ASSERT_EQUAL(notices_unsent(&s->notices), 1);
	notices_done(&s->notices);
	g.region->n_notices = g.region->n_alerted = 0;
}

TESTS("regional-event", T(an_anomaly_of_two_metrics_is_one_event_with_shares),
      T(a_further_metric_is_told_under_the_first_ones_onset_and_all_end_as_one),
      T(a_spike_that_turns_out_to_last_is_told_again_as_what_it_is),
      T(a_metric_that_is_not_sent_any_more_does_not_keep_the_event), T(of_many_metrics_the_largest_shares_are_told),
      T(a_line_of_region_alerts_says_it_all), T(a_device_is_silent_in_the_second_after_its_rhythm_allows),
      T(a_silent_device_that_is_heard_again_is_cleared_and_can_be_silent_again),
      T(silence_takes_the_place_of_what_lasted), T(what_is_usual_again_after_a_silence_begins_nothing),
      T(a_device_without_a_rhythm_is_never_silent),
      T(after_a_restart_the_same_is_silent_and_nothing_is_told_twice),
      T(nobody_is_silent_whose_readings_are_still_in_a_backlog),
      T(after_a_time_without_any_gateway_everybody_has_his_time_once_more), T(a_late_reading_is_a_sign_of_life),
      T(an_anomaly_in_an_old_backlog_is_told_as_past_and_in_no_hurry),
      T(what_is_told_between_two_deltas_is_bounded_and_the_rest_counted), T(many_notices_go_in_several_deltas_of_one_cut),
      T(what_was_on_its_way_when_deltas_failed_is_sent_again))
