#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "alerts/notify.h"
#include "tests/unit/alerts/http_server.h"

/* ------------------------------------------------------------------ a notifier with what a test needs */

static int wake_fd = -1;

static const struct notifier_options quick = { .timeout_ms = 20000, .resend_ms = 3600000, .retry_base_ms = 1,
					       .retry_max_ms = 20, .pending_max = 1000 };

static struct notifier *start_urls(const struct notifier_options *options, const struct notify_receiver *receivers,
				   uint32_t n)
{
	struct notifier_options o = *options;
	struct notifier *notifier = NULL;
	char error[256] = "";

	setenv("no_proxy", "*", 1);
	if (wake_fd < 0)
		wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	o.receivers = receivers;
	o.n_receivers = n;
	o.wake_fd = wake_fd;
	ASSERT_OK(notifier_new(&notifier, &o, error, sizeof(error)));
	return notifier;
}

static void url_of(const struct server *s, enum notify_kind kind, char ret[64])
{
	snprintf(ret, 64, "http://127.0.0.1:%u%s", s->port, kind == NOTIFY_WEBHOOK ? "/hook" : "/");
}

static struct notifier *start(const struct notifier_options *options, const struct server *s, enum notify_kind kind)
{
	char url[64];

	url_of(s, kind, url);
	return start_urls(options, &(struct notify_receiver){ kind, url }, 1);
}

#define ONSET_S 1600000000LL
#define ONSET_NS (ONSET_S * NS_PER_S)

static const char *line_of(uint64_t alert_id, uint64_t version, const char *status, const char *severity,
			   char ret[1024])
{
	snprintf(ret, 1024,
		 "{\"alert_id\":\"%016" PRIx64 "\",\"status\":\"%s\",\"rule\":\"cold-room\",\"severity\":\"%s\",\"kind\":\"spike\","
		 "\"direction\":\"up\",\"region\":\"eu-1\",\"device_id\":\"dev-%" PRIu64 "\",\"devices\":3,\"type\":\"thermometer\","
		 "\"place\":\"hall \\\"3\\\"\",\"metric\":\"temperature\",\"value\":31.7,\"expected\":21,\"low\":null,\"high\":0.1,"
		 "\"score\":0.997,\"shares\":{\"temperature\":1},\"event_ns\":\"%lld\",\"arrival_ns\":\"%lld\",\"onset_ns\":\"%lld\","
		 "\"by\":null,\"note\":\"\",\"version\":\"%" PRIu64 "\"}",
		 alert_id, status, severity, alert_id, ONSET_NS, ONSET_NS, ONSET_NS, version);
	return ret;
}

static int try_send(struct notifier *n, uint32_t receiver, uint64_t alert_id, uint64_t version, const char *status)
{
	char line[1024];
	const char *severity = !strcmp(status, "escalated") ? "critical" : "warning";
	struct notify_alert alert = { .alert_id = alert_id, .version = version, .open = strcmp(status, "cleared") != 0,
				      .line = SLICE_STR(line_of(alert_id, version, status, severity, line)),
				      .arrival_ns = 77 };

	return notifier_send(n, receiver, &alert);
}

static void send_to(struct notifier *n, uint32_t receiver, uint64_t alert_id, uint64_t version, const char *status)
{
	ASSERT_OK(try_send(n, receiver, alert_id, version, status));
}

static void send_one(struct notifier *n, uint64_t alert_id, uint64_t version, const char *status)
{
	send_to(n, 0, alert_id, version, status);
}

/* Waits on wake_fd alone: whoever does not write to it is found out. */
static struct notify_receipt receipt(struct notifier *n)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	struct notify_receipt r = { 0 };

	while (!notifier_taken(n, &r)) {
		struct pollfd p = { .fd = wake_fd, .events = POLLIN };
		eventfd_t seen;

		CU_ASSERT_FATAL(poll(&p, 1, clock_poll_ms(deadline_ns)) == 1);
		eventfd_read(wake_fd, &seen);
	}
	return r;
}

static void take_receipts(struct notifier *n, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		receipt(n);
}

static struct notify_stats stats_of(struct notifier *n)
{
	struct notify_stats s;

	notifier_stats(n, 0, &s);
	return s;
}

static void wait_retried(struct notifier *n, uint64_t count)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;

	while (stats_of(n).retried < count) {
		CU_ASSERT_FATAL(clock_mono_ns() < deadline_ns);
		poll(NULL, 0, 2);
	}
}

static void end(struct notifier *n, struct server *s)
{
	eventfd_t seen;

	server_hang(s, false);
	notifier_free(n);
	server_free(s);
	eventfd_read(wake_fd, &seen);
}

/* ------------------------------------------------------------------ webhooks */

static void webhook_is_sent_the_line_with_a_key_that_tells_repetitions(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_WEBHOOK);
	char line[1024];
	int64_t before_ns = clock_wall_ns();

	send_one(n, 0xab12, 1ULL << 60, "raised");

	struct notify_receipt r = receipt(n);

	CU_ASSERT_EQUAL(r.receiver, 0);
	CU_ASSERT_EQUAL(r.alert_id, 0xab12);
	CU_ASSERT_EQUAL(r.version, 1ULL << 60);
	CU_ASSERT_FALSE(r.refused);
	CU_ASSERT_EQUAL(r.arrival_ns, 77);
	CU_ASSERT_TRUE(r.taken_ns >= before_ns && r.taken_ns <= clock_wall_ns());
	CU_ASSERT_EQUAL(s->n, 1);
	CU_ASSERT_STRING_EQUAL(s->requests[0].path, "/hook");
	CU_ASSERT_STRING_EQUAL(s->requests[0].body, line_of(0xab12, 1ULL << 60, "raised", "warning", line));
	CU_ASSERT_STRING_EQUAL(s->requests[0].key, "000000000000ab12-1152921504606846976");
	CU_ASSERT_STRING_EQUAL(s->requests[0].type, "application/json");
	CU_ASSERT_EQUAL(stats_of(n).sent, 1);
	CU_ASSERT_EQUAL(stats_of(n).pending, 0);
	end(n, s);
}

static void what_fails_is_tried_again_with_the_same_key(void)
{
	struct server *s = server_start();
	struct notifier *n;

	s->failures = 3;
	s->fail_status = 503;
	n = start(&quick, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 9, "raised");
	CU_ASSERT_FALSE(receipt(n).refused);
	CU_ASSERT_EQUAL(s->n, 4);
	for (uint32_t i = 0; i < 4; i++)
		CU_ASSERT_STRING_EQUAL(s->requests[i].key, "0000000000000005-9");
	CU_ASSERT_EQUAL(stats_of(n).retried, 3);
	CU_ASSERT_EQUAL(stats_of(n).sent, 1);
	end(n, s);
}

static void what_is_refused_counts_as_taken_and_the_next_goes_out(void)
{
	struct server *s = server_start();
	struct notifier *n;
	struct notify_receipt r;

	s->failures = 1;
	s->fail_status = 400;
	n = start(&quick, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	send_one(n, 5, 2, "cleared");
	r = receipt(n);
	CU_ASSERT_EQUAL(r.version, 1);
	CU_ASSERT_TRUE(r.refused);
	r = receipt(n);
	CU_ASSERT_EQUAL(r.version, 2);
	CU_ASSERT_FALSE(r.refused);
	CU_ASSERT_EQUAL(s->n, 2);
	CU_ASSERT_EQUAL(stats_of(n).refused, 1);
	CU_ASSERT_EQUAL(stats_of(n).sent, 1);
	end(n, s);
}

static void too_many_requests_and_timeouts_of_a_server_are_no_refusals(void)
{
	static const unsigned statuses[] = { 408, 429, 500, 302 };

	for (uint32_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct server *s = server_start();
		struct notifier *n;

		s->failures = 1;
		s->fail_status = statuses[i];
		n = start(&quick, s, NOTIFY_WEBHOOK);
		send_one(n, 5, 1, "raised");
		CU_ASSERT_FALSE(receipt(n).refused);
		CU_ASSERT_EQUAL(s->n, 2);
		end(n, s);
	}
}

static void a_receiver_says_when_to_come_again(void)
{
	struct server *s = server_start();
	struct notifier_options patient = quick;
	struct notifier *n;

	patient.retry_max_ms = 5000;
	s->failures = 1;
	s->fail_status = 429;
	s->retry_after = "1";
	n = start(&patient, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	receipt(n);
	CU_ASSERT_TRUE(s->requests[1].at_ns - s->requests[0].at_ns >= 900 * NS_PER_MS);
	end(n, s);
}

static void a_receiver_cannot_ask_for_more_patience_than_the_longest_pause(void)
{
	struct server *s = server_start();
	struct notifier *n;

	s->failures = 1;
	s->fail_status = 503;
	s->retry_after = "864000";
	n = start(&quick, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	CU_ASSERT_FALSE(receipt(n).refused);
	end(n, s);
}

static void who_does_not_answer_is_asked_again(void)
{
	struct server *s = server_start();
	struct notifier_options hasty = quick;
	struct notifier *n;

	hasty.timeout_ms = 100;
	s->hanging = true;
	n = start(&hasty, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	server_wait(s, 2, NULL);
	server_hang(s, false);
	CU_ASSERT_EQUAL(receipt(n).version, 1);
	CU_ASSERT_TRUE(stats_of(n).retried >= 1);
	end(n, s);
}

static void a_receiver_may_come_up_later(void)
{
	struct server *s = server_start();
	struct notifier *n;

	server_close(s);
	n = start(&quick, s, NOTIFY_WEBHOOK);
	for (uint64_t id = 1; id <= 20; id++)
		send_one(n, id, 1, "raised");
	wait_retried(n, 3);
	CU_ASSERT_EQUAL(stats_of(n).pending, 20);
	server_listen(s, s->port);
	take_receipts(n, 20);
	CU_ASSERT_EQUAL(stats_of(n).pending, 0);
	CU_ASSERT_EQUAL(stats_of(n).sent, 20);
	end(n, s);
}

/* Of what was answered with 200, per alert. */
static void check_order(const struct server *s, uint32_t alerts, uint32_t versions)
{
	uint64_t next[64];

	CU_ASSERT_FATAL(alerts <= ARRAY_SIZE(next));
	for (uint32_t i = 0; i < alerts; i++)
		next[i] = 1;
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t id, version;

		CU_ASSERT_EQUAL_FATAL(sscanf(s->requests[i].key, "%" SCNx64 "-%" SCNu64, &id, &version), 2);
		CU_ASSERT_FATAL(id < alerts);
		CU_ASSERT_EQUAL(version, next[id]);
		next[id] += s->requests[i].status == 200;
	}
	for (uint32_t i = 0; i < alerts; i++)
		CU_ASSERT_EQUAL(next[i], versions + 1);
}

static void the_order_of_an_alert_survives_failures(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_WEBHOOK);

	for (uint64_t version = 1; version <= 8; version++) {
		pthread_mutex_lock(&s->lock);
		s->failures += 3;
		s->fail_status = version % 2 ? 503 : 500;
		pthread_mutex_unlock(&s->lock);
		for (uint64_t id = 0; id < 30; id++)
			send_one(n, id, version, "updated");
	}
	take_receipts(n, 240);
	check_order(s, 30, 8);
	end(n, s);
}

static void a_receiver_that_hangs_delays_no_other(void)
{
	struct server *slow = server_start(), *well = server_start();
	char urls[2][64];

	url_of(slow, NOTIFY_WEBHOOK, urls[0]);
	url_of(well, NOTIFY_WEBHOOK, urls[1]);
	slow->hanging = true;

	const struct notify_receiver receivers[] = { { NOTIFY_WEBHOOK, urls[0] }, { NOTIFY_WEBHOOK, urls[1] } };
	struct notifier *n = start_urls(&quick, receivers, 2);

	for (uint64_t id = 0; id < 50; id++) {
		send_to(n, 0, id, 1, "raised");
		send_to(n, 1, id, 1, "raised");
	}
	for (uint32_t i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(receipt(n).receiver, 1);
	CU_ASSERT_EQUAL(stats_of(n).pending, 50);
	CU_ASSERT_TRUE(server_count(slow) <= 4); /* and it is not swamped either */
	server_hang(slow, false);
	take_receipts(n, 50);
	server_free(slow);
	end(n, well);
}

static void an_alert_that_a_receiver_fails_at_delays_no_other(void)
{
	struct server *s = server_start();
	struct notifier_options slow = quick;
	struct notifier *n;

	slow.retry_base_ms = slow.retry_max_ms = 3600000;
	s->poison = "0000000000000bad";
	s->poison_status = 500;
	n = start(&slow, s, NOTIFY_WEBHOOK);
	send_one(n, 0xbad, 1, "raised");
	wait_retried(n, 1);
	for (uint64_t id = 1; id <= 20; id++)
		send_one(n, id, 1, "raised");
	for (uint32_t i = 0; i < 20; i++)
		CU_ASSERT_NOT_EQUAL(receipt(n).alert_id, 0xbad);
	CU_ASSERT_EQUAL(stats_of(n).pending, 1);
	end(n, s);
}

static void a_full_queue_says_so_until_receipts_are_taken(void)
{
	struct server *s = server_start();
	struct notifier_options small = quick;
	struct notifier *n;

	small.pending_max = 3;
	s->hanging = true;
	n = start(&small, s, NOTIFY_WEBHOOK);
	for (uint64_t id = 1; id <= 3; id++)
		send_one(n, id, 1, "raised");
	CU_ASSERT_EQUAL(try_send(n, 0, 4, 1, "raised"), -EAGAIN);
	server_hang(s, false);
	server_wait(s, 3, NULL);
	CU_ASSERT_EQUAL(try_send(n, 0, 4, 1, "raised"), -EAGAIN);
	receipt(n);
	send_one(n, 4, 1, "raised");
	take_receipts(n, 3);
	end(n, s);
}

static void a_line_that_cannot_be_sent_is_not_taken_in(void)
{
	static char huge[NOTIFY_LINE_MAX + 1];
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_ALERTMANAGER);
	struct notify_alert alert = { .alert_id = 1, .version = 1, .open = true, .line = SLICE(huge, sizeof(huge)) };

	memset(huge, ' ', sizeof(huge));
	CU_ASSERT_EQUAL(notifier_send(n, 0, &alert), -EMSGSIZE);
	alert.line = SLICE_STR("[1]");
	CU_ASSERT_EQUAL(notifier_send(n, 0, &alert), -EINVAL);
	alert.line = SLICE_STR("{\"rule\":");
	CU_ASSERT_EQUAL(notifier_send(n, 0, &alert), -EINVAL);
	CU_ASSERT_EQUAL(stats_of(n).pending, 0);
	end(n, s);
}

/* ------------------------------------------------------------------ the end */

static void a_stop_waits_for_what_is_in_the_air(void)
{
	struct server *s = server_start();
	struct notifier *n;
	struct notify_receipt r = { 0 };

	s->delay_ms = 200;
	n = start(&quick, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	send_one(n, 5, 2, "cleared");
	server_wait(s, 1, NULL);
	notifier_stop(n);
	CU_ASSERT_TRUE(notifier_taken(n, &r));
	CU_ASSERT_EQUAL(r.version, 1);
	CU_ASSERT_FALSE(notifier_taken(n, &r)); /* what waits is not begun */
	CU_ASSERT_EQUAL(s->n, 1);
	end(n, s);
}

static void a_stop_does_not_wait_for_who_hangs(void)
{
	struct server *s = server_start();
	struct notifier_options endless = quick;
	struct notifier *n;

	endless.timeout_ms = 3600000;
	s->hanging = true;
	n = start(&endless, s, NOTIFY_WEBHOOK);
	send_one(n, 5, 1, "raised");
	server_wait(s, 1, NULL);
	notifier_stop(n); /* or the test hangs */
	CU_ASSERT_EQUAL(stats_of(n).pending, 1);
	end(n, s);
}

/* ------------------------------------------------------------------ secrets and URLs */

static void a_password_is_used_and_never_told(void)
{
	struct server *s = server_start();
	char url[128], path[] = "/tmp/sluice-notify-XXXXXX";
	int file = mkstemp(path), before = dup(STDERR_FILENO);
	CLEANUP(buf_done) struct buf said = BUF_INIT;

	snprintf(url, sizeof(url), "http://anna:s3same@127.0.0.1:%u/t0ken/x?key=t0ken", s->port);
	s->failures = 2;
	s->fail_status = 503;
	s->poison = "0000000000000bad";
	s->poison_status = 403;
	fflush(stderr);
	dup2(file, STDERR_FILENO);

	struct notifier *n = start_urls(&quick, &(struct notify_receiver){ NOTIFY_WEBHOOK, url }, 1);
	char name[64];

	snprintf(name, sizeof(name), "http://127.0.0.1:%u", s->port);
	CU_ASSERT_STRING_EQUAL(notifier_name(n, 0), name);
	send_one(n, 1, 1, "raised");
	receipt(n);
	send_one(n, 0xbad, 1, "raised");
	receipt(n);
	server_close(s);
	send_one(n, 1, 2, "cleared");
	wait_retried(n, 3);
	notifier_stop(n);
	dup2(before, STDERR_FILENO);
	close(before);
	buf_extend(&said, (size_t)lseek(file, 0, SEEK_END));
	CU_ASSERT_EQUAL_FATAL(pread(file, said.data, said.len, 0), (ssize_t)said.len);
	CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&said), name));
	CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&said), "http_status=403"));
	CU_ASSERT_PTR_NULL(strstr(buf_cstr(&said), "s3same"));
	CU_ASSERT_PTR_NULL(strstr(buf_cstr(&said), "t0ken"));
	CU_ASSERT_STRING_EQUAL(s->requests[0].authorization, "Basic YW5uYTpzM3NhbWU="); /* coreutils' base64 */
	close(file);
	unlink(path);
	end(n, s);
}

static void what_is_no_url_is_refused_with_a_sentence(void)
{
	static const struct {
		struct notify_receiver receiver;
		const char *says;
	} wrong[] = {
		{ { NOTIFY_WEBHOOK, "" }, "receiver 1: not an http:// or https:// URL" },
		{ { NOTIFY_WEBHOOK, "example.org/s3same" }, "receiver 1: not an http:// or https:// URL" },
		{ { NOTIFY_WEBHOOK, "ftp://u:s3same@example.org/" }, "receiver 1: not an http:// or https:// URL" },
		{ { NOTIFY_WEBHOOK, "http://u:s3same@example.org:x/" }, "receiver 1: not an http:// or https:// URL: " },
		{ { NOTIFY_ALERTMANAGER, "http://u:s3same@am:9093/api/v2/alerts" },
		  "http://am:9093: give the base URL of the Alertmanager, without /api/v2/alerts" },
		{ { NOTIFY_ALERTMANAGER, "http://am:9093/?s3same" },
		  "http://am:9093: the base URL of an Alertmanager has no ?query" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct notifier_options o = quick;
		struct notifier *n = NULL;
		char error[256] = "";

		o.receivers = &wrong[i].receiver;
		o.n_receivers = 1;
		CU_ASSERT_EQUAL(notifier_new(&n, &o, error, sizeof(error)), -EINVAL);
		CU_ASSERT_PTR_NULL(n);
		CU_ASSERT_EQUAL(strncmp(error, wrong[i].says, strlen(wrong[i].says)), 0);
		CU_ASSERT_PTR_NULL(strstr(error, "s3same"));
	}
	notifier_free(NULL);
}

/* ------------------------------------------------------------------ Alertmanagers */

/* The alert of this id in a request's batch; NULL: none. */
static json_t *alert_in(const struct server_request *q, uint64_t alert_id)
{
	json_t *batch = json_loads(q->body, 0, NULL), *found = NULL, *a;
	char id[17];
	size_t i;

	snprintf(id, sizeof(id), "%016" PRIx64, alert_id);
	CU_ASSERT_TRUE_FATAL(json_is_array(batch));
	json_array_foreach(batch, i, a) {
		const char *theirs = json_string_value(json_object_get(json_object_get(a, "labels"), "alert_id"));

		CU_ASSERT_PTR_NOT_NULL_FATAL(theirs);
		if (!strcmp(theirs, id))
			found = json_incref(a);
	}
	json_decref(batch);
	return found;
}

static const char *text_in(const json_t *alert, const char *group, const char *name)
{
	const char *text = json_string_value(json_object_get(group ? json_object_get(alert, group) : alert, name));

	return text ? text : "(none)";
}

/* RFC 3339 in UTC, to seconds. */
static int64_t seconds_of(const char *text)
{
	struct tm tm = { 0 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm));
	return timegm(&tm);
}

static void an_alertmanager_gets_labels_annotations_and_times(void)
{
	struct server *s = server_start();
	struct notifier_options o = quick;
	struct notifier *n;
	json_t *a;

	o.page_url = "http://sluice.example/alerts";
	n = start(&o, s, NOTIFY_ALERTMANAGER);
	send_one(n, 0xab12, 3, "raised");
	receipt(n);
	CU_ASSERT_STRING_EQUAL(s->requests[0].path, "/api/v2/alerts");
	CU_ASSERT_STRING_EQUAL(s->requests[0].type, "application/json");
	a = alert_in(&s->requests[0], 0xab12);
	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "alertname"), "cold-room");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "severity"), "warning");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "kind"), "spike");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "region"), "eu-1");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "type"), "thermometer");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "place"), "hall \"3\"");
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "metric"), "temperature");
	CU_ASSERT_EQUAL(json_object_size(json_object_get(a, "labels")), 8);
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "summary"),
			       "spike up: temperature of thermometer at hall \"3\": 31.7, expected 21, 3 devices");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "status"), "raised");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "device_id"), "dev-43794");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "devices"), "3");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "value"), "31.7");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "high"), "0.1");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "low"), "(none)");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "note"), "(none)");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "shares"), "{\"temperature\":1}");
	CU_ASSERT_STRING_EQUAL(text_in(a, NULL, "generatorURL"), "http://sluice.example/alerts");

	int64_t now_s = clock_wall_ns() / NS_PER_S, ends_s = seconds_of(text_in(a, NULL, "endsAt"));

	CU_ASSERT_EQUAL(seconds_of(text_in(a, NULL, "startsAt")), ONSET_S);
	CU_ASSERT_TRUE(ends_s - now_s > 4 * 3600 - 60 && ends_s - now_s <= 4 * 3600);
	json_decref(a);
	end(n, s);
}

static void an_escalation_changes_annotations_and_a_clearing_ends_the_alert(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_ALERTMANAGER);
	json_t *raised, *escalated, *cleared;

	send_one(n, 5, 1, "raised");
	receipt(n);
	send_one(n, 5, 2, "escalated");
	receipt(n);
	send_one(n, 5, 3, "cleared");
	receipt(n);
	CU_ASSERT_EQUAL_FATAL(s->n, 3);
	raised = alert_in(&s->requests[0], 5);
	escalated = alert_in(&s->requests[1], 5);
	cleared = alert_in(&s->requests[2], 5);
	CU_ASSERT_TRUE(json_equal(json_object_get(raised, "labels"), json_object_get(escalated, "labels")));
	CU_ASSERT_TRUE(json_equal(json_object_get(raised, "labels"), json_object_get(cleared, "labels")));
	CU_ASSERT_STRING_EQUAL(text_in(escalated, "labels", "severity"), "warning");
	CU_ASSERT_STRING_EQUAL(text_in(escalated, "annotations", "severity"), "critical");
	CU_ASSERT_STRING_EQUAL(text_in(escalated, "annotations", "status"), "escalated");
	CU_ASSERT_TRUE(seconds_of(text_in(cleared, NULL, "endsAt")) <= clock_wall_ns() / NS_PER_S);
	CU_ASSERT_TRUE(seconds_of(text_in(cleared, NULL, "endsAt")) >= seconds_of(text_in(cleared, NULL, "startsAt")));
	CU_ASSERT_EQUAL(stats_of(n).open, 0);
	json_decref(raised);
	json_decref(escalated);
	json_decref(cleared);
	end(n, s);
}

static void after_a_restart_the_severity_of_the_raise_is_still_the_label(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_ALERTMANAGER);
	char line[1024];
	struct notify_alert alert = { .alert_id = 5, .version = 2, .open = true, .raised_severity = "warning",
				      .line = SLICE_STR(line_of(5, 2, "escalated", "critical", line)) };
	json_t *a;

	ASSERT_OK(notifier_send(n, 0, &alert));
	receipt(n);
	a = alert_in(&s->requests[0], 5);
	CU_ASSERT_STRING_EQUAL(text_in(a, "labels", "severity"), "warning");
	CU_ASSERT_STRING_EQUAL(text_in(a, "annotations", "severity"), "critical");
	json_decref(a);
	end(n, s);
}

static void an_onset_in_the_future_is_now(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_ALERTMANAGER);
	struct notify_alert alert = { .alert_id = 5, .version = 2,
				      .line = SLICE_STR("{\"rule\":\"x\",\"onset_ns\":\"8000000000000000000\"}") };
	json_t *a;

	ASSERT_OK(notifier_send(n, 0, &alert));
	receipt(n);
	a = alert_in(&s->requests[0], 5);
	CU_ASSERT_TRUE(seconds_of(text_in(a, NULL, "startsAt")) <= clock_wall_ns() / NS_PER_S);
	CU_ASSERT_STRING_EQUAL(text_in(a, NULL, "startsAt"), text_in(a, NULL, "endsAt"));
	json_decref(a);
	end(n, s);
}

static void many_alerts_travel_in_few_requests(void)
{
	struct server *s = server_start();
	struct notifier *n;

	s->hanging = true;
	n = start(&quick, s, NOTIFY_ALERTMANAGER);
	send_one(n, 1000, 1, "raised");
	server_wait(s, 1, NULL);
	for (uint64_t id = 0; id < 200; id++)
		send_one(n, id, 1, "raised");
	server_hang(s, false);
	take_receipts(n, 201);
	CU_ASSERT_TRUE(s->n <= 1 + 4);
	CU_ASSERT_EQUAL(stats_of(n).open, 201);
	end(n, s);
}

static void open_alerts_are_told_again_until_they_are_cleared(void)
{
	struct server *s = server_start();
	struct notifier_options often = quick;
	struct notifier *n;
	uint32_t last;

	often.resend_ms = 20;
	n = start(&often, s, NOTIFY_ALERTMANAGER);
	send_one(n, 5, 1, "raised");
	send_one(n, 6, 1, "raised");
	take_receipts(n, 2);
	server_wait(s, 4, "0000000000000005");
	send_one(n, 5, 2, "cleared");
	receipt(n);
	last = server_count(s);
	server_wait(s, last + 4, "0000000000000006");
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = last; i < s->n; i++)
		CU_ASSERT_PTR_NULL(strstr(s->requests[i].body, "0000000000000005"));
	pthread_mutex_unlock(&s->lock);
	CU_ASSERT_TRUE(stats_of(n).resent >= 6);
	CU_ASSERT_EQUAL(stats_of(n).open, 1);
	CU_ASSERT_EQUAL(stats_of(n).sent, 3);

	struct notify_receipt r;

	CU_ASSERT_FALSE(notifier_taken(n, &r)); /* what is told again has no receipt */
	end(n, s);
}

static void webhooks_are_not_told_again(void)
{
	struct server *s = server_start(), *other = server_start();
	char urls[2][64];
	struct notifier_options often = quick;

	often.resend_ms = 10;
	url_of(s, NOTIFY_WEBHOOK, urls[0]);
	url_of(other, NOTIFY_ALERTMANAGER, urls[1]);

	const struct notify_receiver receivers[] = { { NOTIFY_WEBHOOK, urls[0] }, { NOTIFY_ALERTMANAGER, urls[1] } };
	struct notifier *n = start_urls(&often, receivers, 2);

	send_to(n, 0, 5, 1, "raised");
	send_to(n, 1, 5, 1, "raised");
	server_wait(other, 5, NULL);
	CU_ASSERT_EQUAL(server_count(s), 1);
	server_free(other);
	end(n, s);
}

static void one_bad_alert_of_a_batch_is_refused_alone(void)
{
	struct server *s = server_start();
	struct notifier *n;
	uint32_t refused = 0;

	s->poison = "0000000000000bad";
	s->poison_status = 400;
	s->hanging = true;
	n = start(&quick, s, NOTIFY_ALERTMANAGER);
	send_one(n, 1000, 1, "raised");
	server_wait(s, 1, NULL);
	for (uint64_t id = 1; id <= 10; id++)
		send_one(n, id == 4 ? 0xbad : id, 1, "raised");
	server_hang(s, false);
	for (uint32_t i = 0; i < 11; i++) {
		struct notify_receipt r = receipt(n);

		CU_ASSERT_EQUAL(r.refused, r.alert_id == 0xbad);
		refused += r.refused;
	}
	CU_ASSERT_EQUAL(refused, 1);
	CU_ASSERT_EQUAL(s->n, 1 + 1 + 10);
	CU_ASSERT_EQUAL(stats_of(n).open, 10);
	end(n, s);
}

static void an_alertmanager_that_was_away_is_told_at_once_what_is_open(void)
{
	struct server *s = server_start();
	struct notifier *n = start(&quick, s, NOTIFY_ALERTMANAGER);
	uint32_t before;

	for (uint64_t id = 1; id <= 100; id++)
		send_one(n, id, 1, "raised");
	take_receipts(n, 100);
	server_close(s);
	send_one(n, 1, 2, "updated");
	wait_retried(n, 2);
	before = s->n;
	server_listen(s, s->port);
	receipt(n);
	server_wait(s, 2, "0000000000000064"); /* resend_ms is an hour */
	for (uint64_t id = 1; id <= 100; id++) {
		uint32_t told = 0;

		pthread_mutex_lock(&s->lock);
		for (uint32_t i = before; i < s->n; i++) {
			json_t *a = alert_in(&s->requests[i], id);

			told += a != NULL;
			json_decref(a);
		}
		pthread_mutex_unlock(&s->lock);
		CU_ASSERT_EQUAL(told, 1);
	}
	end(n, s);
}

static void open_alerts_are_bounded(void)
{
	struct server *s = server_start();
	struct notifier_options small = quick;
	struct notifier *n;

	small.open_max = 2;
	n = start(&small, s, NOTIFY_ALERTMANAGER);
	send_one(n, 1, 1, "raised");
	send_one(n, 2, 1, "raised");
	take_receipts(n, 2);
	CU_ASSERT_EQUAL(try_send(n, 0, 3, 1, "raised"), -EAGAIN);
	send_one(n, 1, 2, "updated");
	send_one(n, 2, 2, "cleared");
	take_receipts(n, 2);
	send_one(n, 3, 1, "raised");
	receipt(n);
	end(n, s);
}

static void the_name_of_a_url_has_nothing_that_may_be_secret(void)
{
	static const struct {
		const char *url, *name;
	} all[] = {
		{ "https://anna:s3same@hooks.example/t0ken/x?key=t0ken#y", "https://hooks.example" },
		{ "http://[2001:db8::1]:8443/a@b", "http://[2001:db8::1]:8443" },
		{ "http://hooks.example:8080", "http://hooks.example:8080" },
	};
	char *name;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		ASSERT_OK(notify_name(all[i].url, &name));
		CU_ASSERT_STRING_EQUAL(name, all[i].name);
		free(name);
	}
	CU_ASSERT_EQUAL(notify_name("http://hooks example", &name), -EINVAL);
}

TESTS("notify",
      T(webhook_is_sent_the_line_with_a_key_that_tells_repetitions),
      T(what_fails_is_tried_again_with_the_same_key),
      T(what_is_refused_counts_as_taken_and_the_next_goes_out),
      T(too_many_requests_and_timeouts_of_a_server_are_no_refusals),
      T(a_receiver_says_when_to_come_again),
      T(a_receiver_cannot_ask_for_more_patience_than_the_longest_pause),
      T(who_does_not_answer_is_asked_again),
      T(a_receiver_may_come_up_later),
      T(the_order_of_an_alert_survives_failures),
      T(a_receiver_that_hangs_delays_no_other),
      T(an_alert_that_a_receiver_fails_at_delays_no_other),
      T(a_full_queue_says_so_until_receipts_are_taken),
      T(a_line_that_cannot_be_sent_is_not_taken_in),
      T(a_stop_waits_for_what_is_in_the_air),
      T(a_stop_does_not_wait_for_who_hangs),
      T(a_password_is_used_and_never_told),
      T(what_is_no_url_is_refused_with_a_sentence),
      T(an_alertmanager_gets_labels_annotations_and_times),
      T(an_escalation_changes_annotations_and_a_clearing_ends_the_alert),
      T(after_a_restart_the_severity_of_the_raise_is_still_the_label),
      T(an_onset_in_the_future_is_now),
      T(many_alerts_travel_in_few_requests),
      T(open_alerts_are_told_again_until_they_are_cleared),
      T(webhooks_are_not_told_again),
      T(one_bad_alert_of_a_batch_is_refused_alone),
      T(an_alertmanager_that_was_away_is_told_at_once_what_is_open),
      T(open_alerts_are_bounded),
      T(the_name_of_a_url_has_nothing_that_may_be_secret))
