/* The stages together, on real embedded streams: deltas in, windows and alerts out. */
#include "tests/unit/aggregator/world.h"

static void a_window_is_early_while_it_changes_and_final_when_all_regions_have_passed_it(void)
{
	WORLD(w, FAST);
	send_watermarks(&w, "eu", 1, T0);
	send_watermarks(&w, "us", 1, T0);
	send_window(&w, "eu", 0, 2, T0 + 1, (struct test_window)WINDOW(T0, "temperature", 20, 22));
	send_window(&w, "us", 3, 2, T0 + 1, (struct test_window)WINDOW(T0, "temperature", -3));
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "early"));
	send_watermarks(&w, "eu", 5, T0 + MINUTE);
	send_watermarks(&w, "us", 6, T0 + 2 * MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT_EQUAL(json_integer_value(json_object_get(line, "count")), 3);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(line, "devices")), 2);
	CU_ASSERT(has(line, "sum", "39") && has(line, "sum_squares", "893") && has(line, "type", "mote"));
	CU_ASSERT_EQUAL(json_number_value(json_object_get(line, "min")), -3);
	CU_ASSERT_EQUAL(json_number_value(json_object_get(line, "max")), 22);
	CU_ASSERT_EQUAL(json_number_value(json_object_get(line, "completeness")), 1);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(line, "missing")), 0);

	json_t *us = json_object_get(json_object_get(line, "as_of"), "us");

	CU_ASSERT_EQUAL(json_array_size(us), SHARDS);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(json_array_get(us, 3), 0)), 3);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(json_array_get(us, 3), 1)), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_array_get(json_array_get(us, 3), 2)), 6);
	json_decref(line);
}

static void keys_stand_in_their_order_without_blanks(void)
{
	WORLD(w, FAST);
	send_window(&w, "eu", 0, 2, T0, (struct test_window)WINDOW(T0, "a \"b\"", 1));
	send_watermarks(&w, "eu", 3, T0 + MINUTE);
	send_watermarks(&w, "us", 1, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "a \"b\"", "final"));

	CLEANUP(lines_done) struct lines l = read_lines(&w, "global.windows");
	char expected[1024];
	const char *version = strstr(l.text[l.n - 1], "\"version\":\"") + 11,
		   *decided = strstr(l.text[l.n - 1], "\"decided_ns\":\"") + 14;

	snprintf(expected, sizeof(expected),
		 "{\"window_start_ns\":\"%" PRId64
		 "\",\"type\":\"mote\",\"metric\":\"a \\\"b\\\"\",\"version\":\"%llu\",\"status\":\"final\","
		 "\"completeness\":1,\"missing\":[],\"count\":1,\"devices\":1,\"sum\":\"1\",\"sum_squares\":\"1\","
		 "\"min\":1,\"max\":1,"
		 "\"quantiles\":{\"0.5\":1,\"0.9\":1,\"0.95\":1,\"0.99\":1},\"not_finite\":0,\"out_of_range\":0,"
		 "\"late\":0,"
		 "\"as_of\":{\"eu\":[[0,1,3],[1,1,3],[2,1,3],[3,1,3]]},\"decided_ns\":\"%llu\"}",
		 (int64_t)T0, strtoull(version, NULL, 10), strtoull(decided, NULL, 10));
	CU_ASSERT_STRING_EQUAL(l.text[l.n - 1], expected);
}

static void a_silent_region_makes_windows_partial_and_late_data_corrects_them(void)
{
	WORLD(w, FAST);
	send_watermarks(&w, "us", 1, T0);
	send_window(&w, "eu", 0, 2, T0, (struct test_window)WINDOW(T0, "temperature", 20));
	send_watermarks(&w, "eu", 3, T0 + MINUTE);
	/* eu goes on, us does not. */
	int64_t next_ns = 0;
	uint64_t as_of = 4;

	STEP_UNTIL(&w, ({
		if (clock_mono_ns() >= next_ns) {
			send_watermarks(&w, "eu", as_of++, T0 + MINUTE);
			next_ns = clock_mono_ns() + 200 * NS_PER_MS;
		}
		window_is(&w, T0, "temperature", "partial");
	}));

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(json_object_get(line, "missing"), 0)), "us");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(line, "missing")), 1);
	CU_ASSERT_EQUAL(json_number_value(json_object_get(line, "completeness")), 0.5);
	json_decref(line);
	CU_ASSERT_EQUAL(metric_gauge(w.metrics, M_REGIONS_DARK), 1);

	send_window(&w, "us", 1, 7, T0 + 1, (struct test_window)WINDOW(T0, "temperature", 30));
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "corrected"));
	line = window_at(&w, T0, "temperature");
	CU_ASSERT(has(line, "sum", "50"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(json_object_get(line, "missing"), 0)), "us");
	json_decref(line);

	send_watermarks(&w, "us", 9, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));
	line = window_at(&w, T0, "temperature");
	CU_ASSERT(has(line, "sum", "50"));
	CU_ASSERT_EQUAL(json_array_size(json_object_get(line, "missing")), 0);
	CU_ASSERT_EQUAL(json_number_value(json_object_get(line, "completeness")), 1);
	json_decref(line);
}

/* Its watermark is that of its slowest shard. */
static void a_region_is_not_past_a_minute_before_all_of_its_shards_were_heard(void)
{
	WORLD(w, "  early_interval: 100ms\n");
	send_window(&w, "eu", 0, 2, T0, (struct test_window)WINDOW(T0, "temperature", 20));
	send_watermarks(&w, "eu", 3, T0 + MINUTE);
	for (uint32_t shard = 0; shard < SHARDS - 1; shard++)
		send_delta(&w, &(struct test_delta){
				       .region = "us", .shard = shard, .as_of = 1, .watermark_ns = T0 + MINUTE });
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "early"));
	send_window(&w, "eu", 0, 4, T0 + MINUTE, (struct test_window)WINDOW(T0, "temperature", 21));
	STEP_UNTIL(&w, metric_total(w.metrics, M_WINDOWS, 0) == 2);
	CU_ASSERT_EQUAL(metric_total(w.metrics, M_WINDOWS, 2), 0);
	send_delta(&w, &(struct test_delta){
			       .region = "us", .shard = SHARDS - 1, .as_of = 1, .watermark_ns = T0 + MINUTE });
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));
}

static void a_late_fold_corrects_a_final_window_alone(void)
{
	const struct test_window both[] = { WINDOW(T0, "temperature", 20), WINDOW(T0, "light", 5) };

	WORLD(w, FAST);
	send_delta(
		&w,
		&(struct test_delta){
			.region = "eu", .shard = 0, .as_of = 2, .watermark_ns = T0, .windows = both, .n_windows = 2 });
	send_watermarks(&w, "eu", 3, T0 + MINUTE);
	send_watermarks(&w, "us", 3, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final") && window_is(&w, T0, "light", "final"));
	send_window(&w, "eu", 0, 9, T0 + MINUTE, (struct test_window)WINDOW(T0, "temperature", 20, 21));
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "corrected"));
	CU_ASSERT(window_is(&w, T0, "light", "final"));

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT(has(line, "sum", "41"));
	json_decref(line);
	CU_ASSERT_EQUAL(metric_total(w.metrics, M_WINDOWS, 3), 1);
}

static void a_region_whose_stream_is_not_there_holds_nobody_up_and_is_found_later(void)
{
	CLEANUP(close_world) struct world w;

	world_init(&w, eu_us, 2, FAST);
	create(&w, "eu.deltas", SHARDS);
	world_listen(&w);
	ASSERT_OK(world_claim(&w));
	send_window(&w, "eu", 0, 2, T0, (struct test_window)WINDOW(T0, "temperature", 20));
	send_watermarks(&w, "eu", 3, T0 + MINUTE);
	STEP_UNTIL(&w, metric_total(w.metrics, M_WINDOWS, 0) > 0);
	CU_ASSERT(source_stats(w.members[1].source).errors > 0);
	create(&w, "us.deltas", SHARDS);
	send_watermarks(&w, "us", 1, T0 + MINUTE);
	send_watermarks(&w, "eu", 4, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));
}

/* Repeated deltas, older ones and heartbeats change nothing. */
static void the_highest_tag_of_a_shard_wins_whatever_the_order(void)
{
	WORLD(w, FAST);
	send_window(&w, "eu", 0, 9, T0, (struct test_window)WINDOW(T0, "temperature", 1, 2, 3));
	send_window(&w, "eu", 0, 5, T0, (struct test_window)WINDOW(T0, "temperature", 1));
	send_window(&w, "eu", 0, 9, T0, (struct test_window)WINDOW(T0, "temperature", 1, 2, 3));
	send_watermarks(&w, "eu", 10, T0 + MINUTE);
	send_watermarks(&w, "us", 10, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT(has(line, "sum", "6"));
	json_decref(line);
	CU_ASSERT_EQUAL(count_of(&w, M_TAG_CONFLICTS), 0);

	/* A new incarnation of the region's log begins again with low offsets. */
	send_delta(&w, &(struct test_delta){ .region = "eu",
					     .shard = 0,
					     .as_of = 1,
					     .generation = 2,
					     .uuid = "another",
					     .watermark_ns = T0 + MINUTE,
					     .windows = &(struct test_window)WINDOW(T0, "temperature", 100),
					     .n_windows = 1 });
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "corrected"));
	line = window_at(&w, T0, "temperature");
	CU_ASSERT(has(line, "sum", "100"));
	json_decref(line);
}

static void another_content_under_the_same_tag_is_an_alarm_and_changes_nothing(void)
{
	WORLD(w, FAST);
	send_window(&w, "eu", 0, 9, T0, (struct test_window)WINDOW(T0, "temperature", 1));
	send_window(&w, "eu", 0, 9, T0, (struct test_window)WINDOW(T0, "temperature", 2));
	send_delta(&w, &(struct test_delta){ .region = "eu",
					     .shard = 0,
					     .as_of = 99,
					     .uuid = "another",
					     .watermark_ns = T0,
					     .windows = &(struct test_window)WINDOW(T0, "temperature", 3),
					     .n_windows = 1 });
	send_watermarks(&w, "eu", 10, T0 + MINUTE);
	send_watermarks(&w, "us", 10, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));
	STEP_UNTIL(&w, count_of(&w, M_TAG_CONFLICTS) == 2);

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT(has(line, "sum", "1"));
	json_decref(line);
}

static void what_is_no_delta_is_set_aside_and_the_rest_goes_on(void)
{
	CLEANUP(buf_done) struct buf elsewhere = BUF_INIT;

	WORLD(w, FAST);
	put(&w, "eu.deltas", 0, SLICE_STR("not a delta"));
	delta_bytes(&elsewhere, &(struct test_delta){ .region = "us", .shard = 0, .as_of = 1 });
	put(&w, "eu.deltas", 0, buf_slice(&elsewhere));
	put(&w, "eu.deltas", 0, SLICE("", 0));
	send_window(&w, "eu", 0, 1, T0, (struct test_window)WINDOW(T0, "temperature", 1));
	send_watermarks(&w, "eu", 10, T0 + MINUTE);
	send_watermarks(&w, "us", 10, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));
	STEP_UNTIL(&w, count_of(&w, M_ASIDES) == 3);

	/* They are covered: a restart does not meet them again. */
	world_leave(&w);
	ASSERT_OK(world_claim(&w));
	send_window(&w, "eu", 0, 11, T0, (struct test_window)WINDOW(T0, "temperature", 2));
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "corrected"));
	CU_ASSERT_EQUAL(count_of(&w, M_ASIDES), 3);
}

static void windows_beyond_the_correction_horizon_are_counted_as_too_late(void)
{
	WORLD(w, FAST "  correction_horizon: 2min\n");
	for (int i = 0; i < 5; i++)
		send_window(&w, "eu", 0, 2 + (uint64_t)i, T0,
			    (struct test_window)WINDOW(T0 + i * MINUTE, "temperature", i));
	send_watermarks(&w, "eu", 10, T0 + 5 * MINUTE);
	send_watermarks(&w, "us", 10, T0 + 5 * MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0 + 4 * MINUTE, "temperature", "final"));
	CU_ASSERT(window_is(&w, T0, "temperature", "final"));
	/* Ends: T0 + 1 .. 5 min.  5 - 2 = 3: the minutes that end before it are gone. */
	CU_ASSERT_EQUAL(session_state(w.session)->n_minutes, 3);
	send_window(&w, "eu", 1, 11, T0, (struct test_window)WINDOW(T0, "temperature", 1));
	send_window(&w, "eu", 1, 12, T0, (struct test_window)WINDOW(T0 + 2 * MINUTE, "temperature", 1));
	STEP_UNTIL(&w, window_is(&w, T0 + 2 * MINUTE, "temperature", "corrected"));
	CU_ASSERT_EQUAL(count_of(&w, M_TOO_LATE), 1);
	CU_ASSERT(window_is(&w, T0, "temperature", "final"));
}

/* A replay: hours of event time pass while a region restarts. */
static void under_an_event_clock_a_silent_region_does_not_move_the_horizon(void)
{
	for (int event = 0; event <= 1; event++) {
		WORLD(w, FAST "  correction_horizon: 2min\n");
		world_leave(&w);
		w.settings.streams_clock = event ? CLOCK_EVENT : CLOCK_ARRIVAL;
		ASSERT_OK(world_claim(&w));

		int64_t next_ns = 0;
		uint64_t as_of = 100;

		for (int i = 0; i < 5; i++)
			send_window(&w, "eu", 0, 2 + (uint64_t)i, T0,
				    (struct test_window)WINDOW(T0 + i * MINUTE, "temperature", i));
		STEP_UNTIL(&w, ({
			if (clock_mono_ns() >= next_ns) {
				send_watermarks(&w, "eu", as_of++, T0 + 5 * MINUTE);
				next_ns = clock_mono_ns() + 200 * NS_PER_MS;
			}
			window_is(&w, T0 + 4 * MINUTE, "temperature", "partial");
		}));
		send_window(&w, "us", 0, 2, T0, (struct test_window)WINDOW(T0, "temperature", 1));
		STEP_UNTIL(&w, event ? window_is(&w, T0, "temperature", "corrected") : count_of(&w, M_TOO_LATE) == 1);
		CU_ASSERT_EQUAL(count_of(&w, M_TOO_LATE), !event);
	}
}

/* ------------------------------------------------------------------ order and restart */

#define EVENTS 60
#define MINUTES 4

/* A history: for each shard of each region cumulative windows under ascending tags. */
struct history {
	struct test_delta deltas[EVENTS];
	struct test_window windows[EVENTS];
	double values[EVENTS];
	uint32_t count[EVENTS];
};

static void history_init(struct history *h)
{
	for (int i = 0; i < EVENTS; i++)
		h->values[i] = (double)(int64_t)(rand_u64() % 100000) / 100;
	for (uint32_t i = 0; i < EVENTS; i++) {
		/* Windows grow: event i holds the first n values of its key. */
		uint32_t key = (uint32_t)(rand_u64() % (2 * SHARDS * MINUTES)), n = 1;

		for (uint32_t k = 0; k < i; k++)
			n += h->count[k] == key;
		h->count[i] = key;
		h->windows[i] = (struct test_window){ .start_ns = T0 + key % MINUTES * MINUTE,
						      .type = "mote",
						      .metric = "temperature",
						      .values = h->values + key,
						      .n = MIN(n, EVENTS - key) };
		h->deltas[i] = (struct test_delta){ .region = eu_us[key / MINUTES % 2],
						    .shard = key / MINUTES / 2,
						    .as_of = i + 1,
						    .watermark_ns = T0,
						    .windows = &h->windows[i],
						    .n_windows = 1 };
	}
}

/* The canonical bytes: without version, status, as_of and decided_ns. */
static char *canonical(const char *line)
{
	const char *version = strstr(line, ",\"version\":"), *completeness = strstr(line, ",\"completeness\":"),
		   *as_of = strstr(line, ",\"as_of\":");
	char *text;

	must(asprintf(&text, "%.*s%.*s}", (int)(version - line), line, (int)(as_of - completeness), completeness) > 0);
	return text;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Feeds the history in an order of its own and returns the final windows' canonical bytes, sorted. */
static struct lines finals_of(struct history *h, const uint32_t *order)
{
	WORLD(w, FAST);
	CLEANUP(lines_done) struct lines all = { 0 };
	struct lines finals = { 0 };
	int steps = (int)(rand_u64() % EVENTS);

	for (uint32_t i = 0; i < EVENTS; i++) {
		send_delta(&w, &h->deltas[order[i]]);
		if (i % 7 == 0 || (int)i == steps)
			ASSERT_OK(session_step(w.session, 0, &w.error));
	}
	send_watermarks(&w, "eu", 1000, T0 + 10 * MINUTE);
	send_watermarks(&w, "us", 1000, T0 + 10 * MINUTE);
	STEP_UNTIL(&w, session_state(w.session)->any_settled && count_of(&w, M_DELTAS) == EVENTS + 2 * SHARDS);
	for (int64_t at = T0; at < T0 + MINUTES * MINUTE; at += MINUTE)
		STEP_UNTIL(&w,
			   window_is(&w, at, "temperature", "final") || window_is(&w, at, "temperature", "corrected"));
	all = read_lines(&w, "global.windows");
	for (size_t i = 0; i < all.n; i++) {
		if (!strstr(all.text[i], "\"status\":\"final\""))
			continue;
		finals.text = realloc(finals.text, (finals.n + 1) * sizeof(*finals.text));
		finals.text[finals.n++] = canonical(all.text[i]);
	}
	qsort(finals.text, finals.n, sizeof(*finals.text), by_text);
	return finals;
}

static void the_order_of_arrival_does_not_show_in_the_canonical_bytes(void)
{
	struct history h;
	uint32_t order[EVENTS];
	CLEANUP(lines_done) struct lines expected = { 0 };

	history_init(&h);
	for (uint32_t i = 0; i < EVENTS; i++)
		order[i] = i;
	expected = finals_of(&h, order);
	CU_ASSERT_EQUAL(expected.n, MINUTES);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = EVENTS - 1; i > 0; i--) {
			uint32_t k = (uint32_t)(rand_u64() % (i + 1)), other = order[k];

			order[k] = order[i];
			order[i] = other;
		}

		CLEANUP(lines_done) struct lines shuffled = finals_of(&h, order);

		CU_ASSERT_EQUAL_FATAL(shuffled.n, expected.n);
		for (size_t i = 0; i < expected.n; i++)
			CU_ASSERT_STRING_EQUAL(shuffled.text[i], expected.text[i]);
	}
}

/* Renames a stream of the world and makes an empty one in its place. */
static void set_apart(const struct world *w, const char *name, const char *apart, uint32_t partitions)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/%s", w->dir, name);
	snprintf(to, sizeof(to), "%s/%s", w->dir, apart);
	CU_ASSERT_EQUAL_FATAL(rename(from, to), 0);
	create(w, name, partitions);
}

static void a_fold_of_the_same_log_writes_the_same_bytes(void)
{
	struct history h;

	history_init(&h);
	WORLD(w, FAST);
	for (uint32_t i = 0; i < EVENTS; i++) {
		send_delta(&w, &h.deltas[i]);
		if (i % 5 == 0)
			ASSERT_OK(session_step(w.session, 0, &w.error));
		if (i % 20 == 19) { /* restarts in between */
			world_leave(&w);
			ASSERT_OK(world_claim(&w));
		}
	}
	send_watermarks(&w, "eu", 1000, T0 + 2 * MINUTE);
	send_watermarks(&w, "us", 1000, T0 + 10 * MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0 + MINUTE, "temperature", "final"));
	STEP_UNTIL(&w, window_is(&w, T0 + 3 * MINUTE, "temperature", "early"));
	world_leave(&w);

	CLEANUP(lines_done) struct lines before = read_lines(&w, "global.windows");

	set_apart(&w, "global.windows", "first.windows", 2);
	ASSERT_OK(world_claim(&w));
	world_leave(&w);

	CLEANUP(lines_done) struct lines after = read_lines(&w, "global.windows");

	/* Restarts may have repeated lines in the first stream: each is there again, and nothing else is. */
	for (size_t i = 0; i < before.n; i++) {
		bool found = false;

		for (size_t k = 0; k < after.n && !found; k++)
			found = !strcmp(before.text[i], after.text[k]);
		CU_ASSERT(found);
	}
	for (size_t k = 0; k < after.n; k++) {
		bool found = false;

		for (size_t i = 0; i < before.n && !found; i++)
			found = !strcmp(before.text[i], after.text[k]);
		CU_ASSERT(found);
	}
	CU_ASSERT(after.n >= MINUTES);
}

static void a_restart_writes_nothing_again_but_the_last_version(void)
{
	WORLD(w, FAST);
	for (int i = 0; i < 20; i++)
		send_window(&w, "eu", 0, 2 + (uint64_t)i, T0,
			    (struct test_window)WINDOW(T0 + i * MINUTE, "temperature", i));
	send_watermarks(&w, "eu", 100, T0 + 20 * MINUTE);
	send_watermarks(&w, "us", 100, T0 + 20 * MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0 + 19 * MINUTE, "temperature", "final"));
	world_leave(&w);

	CLEANUP(lines_done) struct lines before = read_lines(&w, "global.windows");

	ASSERT_OK(world_claim(&w));
	world_leave(&w);

	CLEANUP(lines_done) struct lines after = read_lines(&w, "global.windows");

	CU_ASSERT(after.n <= before.n + 2); /* one window a partition */

	/* And the pages of the new process show what was written before it. */
	CLEANUP(buf_done) struct buf page = BUF_INIT;

	page_serve(&w.windows, "/windows.json", &page);

	json_t *list = json_loads(buf_cstr(&page), 0, NULL);

	CU_ASSERT_EQUAL(json_array_size(list), 20);
	json_decref(list);
}

/* ------------------------------------------------------------------ owners */

static int ignore_window(void *context, const struct publication *p)
{
	return 0;
}

static int ignore_alert(void *context, const alert_record *r, uint64_t version)
{
	return 0;
}

static void a_second_aggregator_waits_until_the_first_is_gone(void)
{
	struct owned_log *other;
	static const uint32_t partitions[] = { 0 };
	char url[128];

	WORLD(w, FAST);
	send_window(&w, "eu", 0, 2, T0, (struct test_window)WINDOW(T0, "temperature", 20));
	STEP_UNTIL(&w, count_of(&w, M_DELTAS) == 1);

	struct session *first = w.session;

	w.session = NULL;
	CU_ASSERT_EQUAL(world_claim(&w), -EBUSY);
	session_free(first);
	ASSERT_OK(world_claim(&w));
	CU_ASSERT_EQUAL(session_state(w.session)->counts.deltas, 1);

	/* One that forces its way in ends our session at the next record. */
	CLEANUP(state_done) struct state s;
	int r = 0;
	struct state_sink sink = { .window = ignore_window, .alert = ignore_alert };

	ASSERT_OK(state_init(&s, &(struct state_options){ .horizon_ns = 120 * MINUTE, .false_alarms_per_week = 0.01 }, &sink));
	url_of(&w, "global.log", url);
	ASSERT_OK(owned_log_claim(&other,
				  &(struct owned_options){ .url = url,
							   .partitions = partitions,
							   .n_partitions = 1,
							   .owner = "thief",
							   .force = true,
							   .fold = (owned_fold *)state_fold,
							   .context = &s },
				  &w.error));
	owned_log_free(other);
	send_window(&w, "eu", 0, 3, T0, (struct test_window)WINDOW(T0, "temperature", 20, 21));
	for (int64_t until_ns = clock_mono_ns() + WAIT_NS; r == 0 && clock_mono_ns() < until_ns;)
		r = session_step(w.session, clock_mono_ns() + 20 * NS_PER_MS, &w.error);
	CU_ASSERT_EQUAL(r, -ESTALE);
	session_free(w.session);
	w.session = NULL;

	/* What was written under the old epoch is void, and is consumed again. */
	ASSERT_OK(world_claim(&w));
	send_watermarks(&w, "eu", 10, T0 + MINUTE);
	send_watermarks(&w, "us", 10, T0 + MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0, "temperature", "final"));

	json_t *line = window_at(&w, T0, "temperature");

	CU_ASSERT(has(line, "sum", "41"));
	json_decref(line);
}

static void projections_of_another_log_are_refused(void)
{
	CLEANUP(close_world) struct world w;

	world_init(&w, eu_us, 2, FAST);
	world_listen(&w);
	put(&w, "global.windows", 1, SLICE_STR("{\"window_start_ns\":\"0\",\"version\":\"77\"}"));
	CU_ASSERT_EQUAL(world_claim(&w), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.error.text, "77"));
}

TESTS("aggregator", T(a_window_is_early_while_it_changes_and_final_when_all_regions_have_passed_it),
      T(keys_stand_in_their_order_without_blanks), T(a_silent_region_makes_windows_partial_and_late_data_corrects_them),
      T(a_region_is_not_past_a_minute_before_all_of_its_shards_were_heard),
      T(a_late_fold_corrects_a_final_window_alone),
      T(a_region_whose_stream_is_not_there_holds_nobody_up_and_is_found_later),
      T(the_highest_tag_of_a_shard_wins_whatever_the_order),
      T(another_content_under_the_same_tag_is_an_alarm_and_changes_nothing),
      T(what_is_no_delta_is_set_aside_and_the_rest_goes_on),
      T(windows_beyond_the_correction_horizon_are_counted_as_too_late),
      T(under_an_event_clock_a_silent_region_does_not_move_the_horizon),
      T(the_order_of_arrival_does_not_show_in_the_canonical_bytes), T(a_fold_of_the_same_log_writes_the_same_bytes),
      T(a_restart_writes_nothing_again_but_the_last_version),
      T(a_second_aggregator_waits_until_the_first_is_gone), T(projections_of_another_log_are_refused))
