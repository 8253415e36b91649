/* Alerts in a whole session: notices and windows in, global.alerts, receivers and the page out, owners that come and go. */
#include <pthread.h>

#include "tests/unit/aggregator/world.h"
#include "tests/unit/alerts/http_server.h"

static void use_rules(struct world *w, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/rules.yaml", w->dir);

	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
	world_rules(w, path);
	w->rules.path = ""; /* the path is gone when this returns */
}

#define QUICK "rules: [{name: quick, severity: warning, clear_after: 100ms, group_by: device}]"

static Sluice__V1__Notice notice_of(const char *device)
{
	static Sluice__V1__MetricShare share = SLUICE__V1__METRIC_SHARE__INIT, *shares[1] = { &share };
	Sluice__V1__Notice n = SLUICE__V1__NOTICE__INIT;

	share.metric = (char *)"temperature";
	share.share = 0.75;
	n.rule = (char *)"spike";
	n.device_id = (char *)device;
	n.type = (char *)"mote";
	n.place = (char *)"lab";
	n.metric = (char *)"temperature";
	n.value = 61.5;
	n.expected = 21.25;
	n.low = 20;
	n.high = 22.5;
	n.score = 0.9999;
	n.direction = 1;
	n.event_ns = n.onset_ns = 1084000000000000000;
	n.arrival_ns = clock_wall_ns();
	n.n_shares = 1;
	n.shares = shares;
	return n;
}

static void tell(struct world *w, uint64_t as_of, const Sluice__V1__Notice *n)
{
	send_delta(w, &(struct test_delta){ .region = "eu", .shard = 2, .as_of = as_of, .notice = n });
}

static uint64_t told(const struct world *w, int state)
{
	return book_counts(session_state(w->session)->book).steps[state];
}

/* Lines of global.alerts with this status. */
static size_t count_lines(const struct world *w, const char *status)
{
	CLEANUP(lines_done) struct lines l = read_lines(w, "global.alerts");
	char text[64];
	size_t n = 0;

	snprintf(text, sizeof(text), "\"status\":\"%s\"", status);
	for (size_t i = 0; i < l.n; i++)
		n += strstr(l.text[i], text) != NULL;
	return n;
}

/* ------------------------------------------------------------------ from notice to line */

static void a_notice_becomes_one_alert_however_often_it_is_told(void)
{
	Sluice__V1__Notice n = notice_of("mote-17");

	QUIET_WORLD(w, FAST);
	use_rules(&w, QUICK);
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &n);
	tell(&w, 1, &n);
	n.cleared = true;
	tell(&w, 2, &n);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(CLEARED)) == 1);
	world_leave(&w);
	ASSERT_OK(world_claim(&w));
	n.cleared = false;
	tell(&w, 3, &n);
	n.cleared = true;
	tell(&w, 4, &n);
	STEP_UNTIL(&w, count_of(&w, M_DELTAS) == 5);
	ASSERT_OK(session_step(w.session, clock_mono_ns() + 300 * NS_PER_MS, &w.error));
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 1);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(CLEARED)), 1);
	world_leave(&w);
	CU_ASSERT_EQUAL(count_lines(&w, "raised"), 1);
	CU_ASSERT(count_lines(&w, "cleared") <= 2); /* a restart writes the last version again */
	CU_ASSERT(metric_quantile(w.metrics, M_NOTICE, 1) > 0);
}

static void a_line_has_its_keys_in_order(void)
{
	Sluice__V1__Notice n = notice_of("mote-17");

	WORLD(w, FAST);
	tell(&w, 1, &n);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	world_leave(&w);

	CLEANUP(lines_done) struct lines l = read_lines(&w, "global.alerts");
	char expected[1024];
	json_t *line = json_loads(l.text[0], 0, NULL);

	snprintf(expected, sizeof(expected),
		 "{\"alert_id\":\"%s\",\"status\":\"raised\",\"rule\":\"device-anomaly\",\"severity\":\"warning\","
		 "\"kind\":\"spike\",\"direction\":\"up\",\"began_as\":\"spike\",\"region\":\"eu\",\"device_id\":\"mote-17\",\"devices\":1,"
		 "\"type\":\"mote\",\"place\":\"lab\",\"metric\":\"temperature\",\"value\":61.5,\"expected\":21.25,"
		 "\"low\":20,\"high\":22.5,\"score\":0.9999,\"shares\":{\"temperature\":0.75},"
		 "\"event_ns\":\"1084000000000000000\",\"arrival_ns\":\"%" PRId64 "\","
		 "\"onset_ns\":\"1084000000000000000\",\"raised_ns\":\"%s\",\"notice_latency_ms\":%s,\"by\":null,"
		 "\"until_ns\":null,\"note\":null,\"reason\":null,\"version\":\"%s\"}",
		 json_string_value(json_object_get(line, "alert_id")), n.arrival_ns,
		 json_string_value(json_object_get(line, "raised_ns")), ({
			 const char *at = strstr(l.text[0], "latency_ms\":") + 12;
			 strndupa(at, strcspn(at, ","));
		 }),
		 json_string_value(json_object_get(line, "version")));
	CU_ASSERT_STRING_EQUAL(l.text[0], expected);
	CU_ASSERT(json_number_value(json_object_get(line, "notice_latency_ms")) >= 0);
	json_decref(line);
}

static void what_an_owner_left_undecided_its_successor_raises(void)
{
	Sluice__V1__Notice n = notice_of("a");

	QUIET_WORLD(w, FAST);
	use_rules(&w, "rules: [{name: other, type: valve, severity: info}]");
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &n);
	STEP_UNTIL(&w, count_of(&w, M_DELTAS) == 1);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 0);
	world_leave(&w);
	use_rules(&w, QUICK);
	ASSERT_OK(world_claim(&w));
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	for (int i = 0; i < 3; i++) {
		world_leave(&w);
		ASSERT_OK(world_claim(&w));
		ASSERT_OK(session_step(w.session, 0, &w.error));
		CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 1);
	}
	world_leave(&w);
	/* And it stands on the page of the last one. */
	CLEANUP(buf_done) struct buf page = BUF_INIT;

	page_serve(&w.alerts, "/alerts.json", &page);

	json_t *list = json_loads(buf_cstr(&page), 0, NULL);

	CU_ASSERT_EQUAL(json_array_size(list), 1);
	CU_ASSERT(has(json_array_get(list, 0), "status", "raised"));
	json_decref(list);
}

static void the_anomalies_of_a_backlog_are_past_and_nobody_is_told(void)
{
	Sluice__V1__Notice n = notice_of("a");
	struct server *s = server_start();

	n.stale = true;
	QUIET_WORLD(w, FAST);
	world_receiver(&w, &w.settings.alerts_webhook, s->port, "/hook");
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &n);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(PAST)) == 1);
	CU_ASSERT_EQUAL(book_counts(session_state(w.session)->book).open, 0);
	CU_ASSERT_EQUAL(w.session->past.n, 1);
	world_leave(&w);
	CU_ASSERT_EQUAL(count_lines(&w, "past"), 1);
	CU_ASSERT_EQUAL(server_count(s), 0);
	server_free(s);
}

/* ------------------------------------------------------------------ windows */

#define ALARMS "  false_alarms_per_week: 1\n" /* of which a detector is sure after some hours */
#define QUIET_MINUTES 600

/* Hours of quiet minutes and a hot one. */
static void send_hot_minute(struct world *w)
{
	uint64_t random = 5;

	for (int i = 0; i <= QUIET_MINUTES + 10; i++) {
		double usual = 20 + floor(rand_uniform(&random) * 100) / 100;

		send_window(w, "eu", 0, 2 + (uint64_t)i, T0,
			    (struct test_window)WINDOW(T0 + i * MINUTE, "temperature", i == QUIET_MINUTES ? 9000 : usual));
	}
	send_watermarks(w, "eu", 1000, T0 + (QUIET_MINUTES + 11) * MINUTE);
	send_watermarks(w, "us", 1000, T0 + (QUIET_MINUTES + 11) * MINUTE);
}

static void an_unusual_mean_of_a_window_is_an_alert(void)
{
	QUIET_WORLD(w, FAST ALARMS);
	use_rules(&w, QUICK);
	ASSERT_OK(world_claim(&w));
	send_hot_minute(&w);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(CLEARED)) >= 1);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 1);
	world_leave(&w);

	CLEANUP(lines_done) struct lines l = read_lines(&w, "global.alerts");

	CU_ASSERT_FATAL(l.n >= 2);

	json_t *raised = json_loads(l.text[0], 0, NULL), *cleared = json_loads(l.text[l.n - 1], 0, NULL);
	char hot[32];

	snprintf(hot, sizeof(hot), "%lld", (long long)(T0 + QUIET_MINUTES * MINUTE));
	CU_ASSERT(has(raised, "status", "raised") && has(raised, "rule", "quick") && has(raised, "type", "mote"));
	CU_ASSERT(has(raised, "event_ns", hot) && has(raised, "onset_ns", hot) && has(raised, "direction", "up"));
	CU_ASSERT(json_is_null(json_object_get(raised, "region")) && json_is_null(json_object_get(raised, "device_id")));
	CU_ASSERT(json_is_null(json_object_get(raised, "arrival_ns")));
	CU_ASSERT_EQUAL(json_number_value(json_object_get(raised, "value")), 9000);
	CU_ASSERT_DOUBLE_EQUAL(json_number_value(json_object_get(raised, "expected")), 20.5, 0.5);
	CU_ASSERT(has(cleared, "status", "cleared") && has(cleared, "reason", "quiet") && has(cleared, "onset_ns", hot));
	json_decref(raised);
	json_decref(cleared);
}

/* Until silence was looked for at least once from now on, and what came of it is folded. */
static void step_through_a_judgement(struct world *w)
{
	int64_t since_ns = clock_mono_ns();

	STEP_UNTIL(w, w->session->silence_judged_ns > since_ns);
	STEP_UNTIL(w, owned_log_pending(w->session->log) == 0);
}

/* Of global.log. */
static size_t count_records(const struct world *w, uint16_t kind)
{
	struct owned_reader *reader;
	struct owned_record record;
	char url[128];
	size_t n = 0;

	url_of(w, "global.log", url);
	ASSERT_OK(owned_reader_open(&reader, url, &(struct stream_options){ .reader = true }, NULL));
	while (owned_reader_next(reader, &record, clock_mono_ns() + 300 * NS_PER_MS) > 0)
		n += record.kind == kind;
	owned_reader_free(reader);
	return n;
}

static void windows_that_cease_are_silent_until_they_come_again(void)
{
	QUIET_WORLD(w, "  early_interval: 100ms\n");
	use_rules(&w, QUICK);
	ASSERT_OK(world_claim(&w));
	for (int i = 0; i < 40; i++)
		send_window(&w, "eu", 0, 2 + (uint64_t)i, T0,
			    (struct test_window)WINDOW(T0 + i * MINUTE, "temperature", 20 + i % 3 * 0.5));
	send_watermarks(&w, "eu", 100, T0 + 60 * 24 * 60 * MINUTE);
	send_watermarks(&w, "us", 100, T0 + 41 * MINUTE);
	STEP_UNTIL(&w, window_is(&w, T0 + 39 * MINUTE, "temperature", "final"));
	step_through_a_judgement(&w);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 0); /* us may still have some */
	send_watermarks(&w, "us", 101, T0 + 60 * 24 * 60 * MINUTE);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	/* Another owner does not say it again. */
	world_leave(&w);
	ASSERT_OK(world_claim(&w));
	step_through_a_judgement(&w);
	send_window(&w, "us", 1, 102, T0 + 60 * 24 * 60 * MINUTE,
		    (struct test_window)WINDOW(T0 + 60 * 24 * 60 * MINUTE, "temperature", 20));
	send_watermarks(&w, "eu", 103, T0 + (60 * 24 * 60 + 1) * MINUTE);
	send_watermarks(&w, "us", 103, T0 + (60 * 24 * 60 + 1) * MINUTE);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(CLEARED)) == 1);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 1);
	world_leave(&w);
	CU_ASSERT_EQUAL(count_records(&w, OWNED_SILENT), 1);

	CLEANUP(lines_done) struct lines l = read_lines(&w, "global.alerts");

	CU_ASSERT_FATAL(l.n >= 2);

	json_t *raised = json_loads(l.text[0], 0, NULL), *cleared = json_loads(l.text[l.n - 1], 0, NULL);
	char last[32];

	snprintf(last, sizeof(last), "%lld", (long long)(T0 + 39 * MINUTE));
	CU_ASSERT(has(raised, "kind", "silence") && has(raised, "onset_ns", last) && has(raised, "metric", "temperature"));
	CU_ASSERT(json_is_null(json_object_get(raised, "value")));
	CU_ASSERT(has(cleared, "status", "cleared") && has(cleared, "reason", "heard"));
	json_decref(raised);
	json_decref(cleared);
}

static void under_an_event_clock_the_newest_watermark_is_the_time(void)
{
	Sluice__V1__Notice n = notice_of("a");

	QUIET_WORLD(w, FAST);
	w.settings.streams_clock = CLOCK_EVENT;
	use_rules(&w, "rules: [{name: r, severity: info, min_duration: 10min, clear_after: 10min}]");
	ASSERT_OK(world_claim(&w));
	n.event_ns = n.onset_ns = T0;
	tell(&w, 1, &n);
	send_watermarks(&w, "eu", 2, T0 + 9 * MINUTE);
	STEP_UNTIL(&w, count_of(&w, M_DELTAS) == 5);
	ASSERT_OK(session_step(w.session, clock_mono_ns() + 100 * NS_PER_MS, &w.error));
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(RAISED)), 0);
	send_watermarks(&w, "eu", 3, T0 + 10 * MINUTE);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	n.event_ns = T0 + 11 * MINUTE;
	n.cleared = true;
	send_delta(&w, &(struct test_delta){
			       .region = "eu", .shard = 2, .as_of = 4, .watermark_ns = T0 + 10 * MINUTE, .notice = &n });
	send_watermarks(&w, "us", 3, T0 + 21 * MINUTE);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(CLEARED)) == 1);
}

/* ------------------------------------------------------------------ receivers */

static bool was_told(struct server *s, uint32_t n)
{
	return server_count(s) >= n;
}

/* In a request from `first` on. */
static bool was_told_of(struct server *s, uint32_t first, const char *text)
{
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = first; i < s->n && !found; i++)
		found = strstr(s->requests[i].body, text);
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void receivers_get_each_step_once_whoever_owns_the_log(void)
{
	struct server *hook = server_start();
	Sluice__V1__Notice a = notice_of("a"), b = notice_of("b");

	QUIET_WORLD(w, FAST);
	use_rules(&w, QUICK);
	world_receiver(&w, &w.settings.alerts_webhook, hook->port, "/hook");
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &a);
	STEP_UNTIL(&w, was_told(hook, 1));
	STEP_UNTIL(&w, metric_quantile(w.metrics, M_DELIVERY, 1) > 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(hook->requests[0].body, "\"status\":\"raised\""));
	for (int i = 0; i < 3; i++) {
		world_leave(&w);
		ASSERT_OK(world_claim(&w));
		ASSERT_OK(session_step(w.session, clock_mono_ns() + 20 * NS_PER_MS, &w.error));
	}
	/* A receiver that fails is told by the next owner. */
	pthread_mutex_lock(&hook->lock);
	hook->failures = UINT32_MAX;
	hook->fail_status = 503;
	pthread_mutex_unlock(&hook->lock);
	tell(&w, 2, &b);
	STEP_UNTIL(&w, was_told(hook, 2));
	CU_ASSERT_EQUAL(hook->requests[1].status, 503);
	world_leave(&w);
	pthread_mutex_lock(&hook->lock);
	hook->failures = 0;
	pthread_mutex_unlock(&hook->lock);

	uint32_t before = server_count(hook);

	ASSERT_OK(world_claim(&w));
	STEP_UNTIL(&w, was_told(hook, before + 1));
	CU_ASSERT_EQUAL(hook->requests[before].status, 200);
	CU_ASSERT_STRING_EQUAL(hook->requests[before].key, hook->requests[1].key);
	a.cleared = b.cleared = true;
	tell(&w, 3, &a);
	tell(&w, 4, &b);
	STEP_UNTIL(&w, was_told(hook, before + 3));
	for (int i = 0; i < 3; i++) {
		world_leave(&w);
		ASSERT_OK(world_claim(&w));
		ASSERT_OK(session_step(w.session, clock_mono_ns() + 20 * NS_PER_MS, &w.error));
	}
	world_leave(&w);
	CU_ASSERT_EQUAL(server_count(hook), before + 3);
	server_free(hook);
}

static void a_new_webhook_gets_what_comes_and_an_alertmanager_all_that_is_open(void)
{
	struct server *hook = server_start(), *manager = server_start();
	Sluice__V1__Notice a = notice_of("a"), b = notice_of("b");

	QUIET_WORLD(w, FAST);
	use_rules(&w, QUICK);
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &a);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	world_leave(&w);
	world_receiver(&w, &w.settings.alerts_webhook, hook->port, "/hook");
	world_receiver(&w, &w.settings.alerts_alertmanager, manager->port, "");
	ASSERT_OK(world_claim(&w));
	STEP_UNTIL(&w, was_told(manager, 1));
	CU_ASSERT_PTR_NOT_NULL(strstr(manager->requests[0].body, "\"alertname\":\"quick\""));
	tell(&w, 2, &b);
	STEP_UNTIL(&w, was_told(manager, 2) && was_told(hook, 1));
	CU_ASSERT_PTR_NOT_NULL(strstr(hook->requests[0].body, "\"device_id\":\"b\""));
	world_leave(&w);

	uint32_t before = server_count(manager);

	/* It forgets: each owner tells it again. */
	ASSERT_OK(world_claim(&w));
	STEP_UNTIL(&w, was_told_of(manager, before, "\"device_id\":\"a\"") &&
			       was_told_of(manager, before, "\"device_id\":\"b\""));
	world_leave(&w);
	CU_ASSERT_EQUAL(server_count(hook), 1);
	server_free(hook);
	server_free(manager);
}

static void a_webhook_that_was_away_is_not_owed_what_happened_meanwhile(void)
{
	struct server *hook = server_start();
	Sluice__V1__Notice a = notice_of("a"), b = notice_of("b"), c = notice_of("c");

	QUIET_WORLD(w, FAST);
	use_rules(&w, QUICK);
	world_receiver(&w, &w.settings.alerts_webhook, hook->port, "/hook");
	ASSERT_OK(world_claim(&w));
	tell(&w, 1, &a);
	STEP_UNTIL(&w, was_told(hook, 1));
	world_leave(&w);
	w.settings.alerts_webhook.n = 0;
	ASSERT_OK(world_claim(&w));
	tell(&w, 2, &b);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 2);
	world_leave(&w);
	w.settings.alerts_webhook.n = 1;
	ASSERT_OK(world_claim(&w));
	tell(&w, 3, &c);
	STEP_UNTIL(&w, was_told(hook, 2));
	CU_ASSERT_PTR_NOT_NULL(strstr(hook->requests[1].body, "\"device_id\":\"c\""));
	world_leave(&w);
	server_free(hook);
}

/* ------------------------------------------------------------------ people */

struct question {
	struct desk *desk;
	const char *request;
	struct buf body;
	int status;
	bool answered;
};

static void *ask_desk(void *context)
{
	struct question *q = context;

	q->status = desk_serve(q->desk, "/alerts/ack", SLICE_STR(q->request), &q->body);
	__atomic_store_n(&q->answered, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Asks in a thread of its own, as the admin port does, and steps meanwhile. */
static int ask_while_stepping(struct world *w, const char *request)
{
	struct question q = { .desk = &w->desk, .request = request };
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, ask_desk, &q), 0);
	STEP_UNTIL(w, __atomic_load_n(&q.answered, __ATOMIC_ACQUIRE));
	pthread_join(thread, NULL);
	buf_done(&q.body);
	return q.status;
}

static void an_acknowledgement_is_in_the_log_when_it_is_answered(void)
{
	Sluice__V1__Notice n = notice_of("a");
	char request[256];

	WORLD(w, FAST);
	tell(&w, 1, &n);
	STEP_UNTIL(&w, told(&w, ALERT_STATE(RAISED)) == 1);
	CU_ASSERT_EQUAL(ask_while_stepping(&w, "{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\"}"), 404);

	json_t *line = newest(&w, "global.alerts", "status", "raised", "temperature");

	snprintf(request, sizeof(request), "{\"alert_id\":\"%s\",\"by\":\"ann\",\"for\":\"2h\",\"note\":\"a \\\"fan\\\"\"}",
		 json_string_value(json_object_get(line, "alert_id")));
	json_decref(line);

	int64_t before_ns = clock_wall_ns();

	CU_ASSERT_EQUAL(ask_while_stepping(&w, request), 200);
	CU_ASSERT_EQUAL(told(&w, ALERT_STATE(ACKNOWLEDGED)), 1);
	world_leave(&w);
	line = newest(&w, "global.alerts", "status", "acknowledged", "temperature");
	CU_ASSERT(has(line, "by", "ann") && has(line, "note", "a \"fan\""));

	int64_t until_ns = strtoll(json_string_value(json_object_get(line, "until_ns")), NULL, 10);

	CU_ASSERT(until_ns >= before_ns + 120 * MINUTE && until_ns <= clock_wall_ns() + 120 * MINUTE);
	json_decref(line);
	/* Nobody owns the log: it is said, not forgotten. */
	struct question q = { .desk = &w.desk, .request = request };

	ask_desk(&q);
	CU_ASSERT_EQUAL(q.status, 503);
	buf_done(&q.body);
}

static void an_acknowledgement_that_makes_no_sense_is_refused_with_a_sentence(void)
{
	static const char *const requests[] = {
		"", "[]", "{}", "{\"alert_id\":\"12\",\"by\":\"ann\"}", "{\"alert_id\":\"0123456789abcdeg\",\"by\":\"ann\"}",
		"{\"alert_id\":\"0123456789abcdef\"}", "{\"alert_id\":\"0123456789abcdef\",\"by\":\"\"}",
		"{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\",\"note\":1}",
		"{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\",\"for\":\"long\"}",
		"{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\",\"until\":1}",
		"{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\",\"until\":\"-5\"}",
		"{\"alert_id\":\"0123456789abcdef\",\"by\":\"ann\",\"until\":\"5\",\"for\":\"1h\"}",
	};
	struct desk d;

	desk_init(&d, -1);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		CLEANUP(buf_done) struct buf body = BUF_INIT;

		CU_ASSERT_EQUAL(desk_serve(&d, "/", SLICE_STR(requests[i]), &body), 400);
		CU_ASSERT(body.len > 10);
	}
	desk_done(&d);
}

static void new_rules_are_read_and_broken_ones_are_not(void)
{
	struct rules_file f;
	struct rules_error error;
	char path[] = "/tmp/sluice-rules-XXXXXX";
	int fd = mkstemp(path);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT(write(fd, QUICK, strlen(QUICK)) > 0);
	ASSERT_OK(rules_file_open(&f, path, &error));
	rules_file_look(&f, 10 * NS_PER_S);
	CU_ASSERT_STRING_EQUAL(f.rules->rules[0].name, "quick");
	CU_ASSERT(pwrite(fd, "rules: [{name: other", 20, 0) == 20 && ftruncate(fd, 20) == 0);
	rules_file_look(&f, 20 * NS_PER_S);
	CU_ASSERT_STRING_EQUAL(f.rules->rules[0].name, "quick");
	CU_ASSERT(pwrite(fd, ", severity: info}]", 18, 20) == 18);
	rules_file_look(&f, 21 * NS_PER_S); /* too soon after the last look */
	CU_ASSERT_STRING_EQUAL(f.rules->rules[0].name, "quick");
	rules_file_look(&f, 30 * NS_PER_S);
	CU_ASSERT_STRING_EQUAL(f.rules->rules[0].name, "other");
	rules_file_close(&f);
	close(fd);
	unlink(path);
}

TESTS("alerts", T(a_notice_becomes_one_alert_however_often_it_is_told), T(a_line_has_its_keys_in_order),
      T(what_an_owner_left_undecided_its_successor_raises), T(the_anomalies_of_a_backlog_are_past_and_nobody_is_told),
      T(an_unusual_mean_of_a_window_is_an_alert), T(windows_that_cease_are_silent_until_they_come_again),
      T(under_an_event_clock_the_newest_watermark_is_the_time), T(receivers_get_each_step_once_whoever_owns_the_log),
      T(a_new_webhook_gets_what_comes_and_an_alertmanager_all_that_is_open),
      T(a_webhook_that_was_away_is_not_owed_what_happened_meanwhile),
      T(an_acknowledgement_is_in_the_log_when_it_is_answered),
      T(an_acknowledgement_that_makes_no_sense_is_refused_with_a_sentence), T(new_rules_are_read_and_broken_ones_are_not))
