#include "aggregator/aggregator.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "aggregator/deliver.h"
#include "aggregator/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/stop.h"

#define WINDOWS_ON_PAGE 200
#define ALERTS_ON_PAGE 1024
#define RECEIVER_NAME_MAX 128
#define STEP_NS (100 * NS_PER_MS)
#define STANDBY_NS NS_PER_S
#define BACKOFF_BASE_MS 200
#define BACKOFF_CAP_MS 10000
#define GOOD_FOR_NS (60 * NS_PER_S) /* a session that lasted this long owes nothing to the failures before it */
#define SETTLE_NS NS_PER_S          /* at the end, for what is written but not confirmed */
#define READERS_END_NS (500 * NS_PER_MS)

struct aggregator {
	const struct settings *settings;
	struct member *members;
	uint32_t n_members;
	const char **names; /* labels of metrics */
	struct metrics *metrics;
	char receivers[DELIVER_RECEIVERS_MAX][RECEIVER_NAME_MAX];
	const char *receiver_names[DELIVER_RECEIVERS_MAX];
	uint32_t n_receivers;
	struct page windows, alerts;
	struct rules_file rules;
	struct desk desk;
	struct admin *admin;
	int wake_fd;
	char owner[256];
	uint64_t failures; /* of sessions */
};

/* ------------------------------------------------------------------ beginning and end */

static int compare_members(const void *a, const void *b)
{
	const struct member *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static int start_members(struct aggregator *a)
{
	const struct config_map *regions = &a->settings->aggregator_regions;
	int r = 0;

	a->members = calloc(regions->n, sizeof(*a->members));
	a->names = calloc(regions->n, sizeof(*a->names));
	if (!a->members || !a->names)
		return -ENOMEM;
	for (size_t i = 0; i < regions->n && r == 0; i++) {
		struct member *m = &a->members[a->n_members];

		m->name = regions->keys[i];
		r = source_new(&m->source, m->name, regions->values[i], a->settings->streams_development, a->wake_fd);
		a->n_members += r == 0;
	}
	qsort(a->members, a->n_members, sizeof(*a->members), compare_members);
	for (uint32_t i = 0; i < a->n_members; i++)
		a->names[i] = a->members[i].name;
	return r;
}

/* "webhook 1 http://host:8080": a label that tells equal hosts apart; in the order of deliver.c. */
static int name_receivers(struct aggregator *a, const char *kind, const struct config_list *urls)
{
	for (size_t i = 0; i < urls->n && a->n_receivers < DELIVER_RECEIVERS_MAX; i++) {
		CLEANUP_FREE char *name = NULL;
		int r = notify_name(urls->items[i], &name);

		if (r < 0)
			return r;
		snprintf(a->receivers[a->n_receivers], RECEIVER_NAME_MAX, "%s %zu %s", kind, i + 1, name);
		a->receiver_names[a->n_receivers] = a->receivers[a->n_receivers];
		a->n_receivers++;
	}
	return 0;
}

static int read_rules(struct aggregator *a, struct stream_error *ret_error)
{
	struct rules_error error = { "" };
	int r = rules_file_open(&a->rules, a->settings->alerts_rules, &error);

	if (r < 0)
		snprintf(ret_error->text, sizeof(ret_error->text), "%.*s", (int)sizeof(ret_error->text) - 1, error.text);
	return r;
}

static int start_admin(struct aggregator *a)
{
	const struct admin_page pages[] = {
		{ "/windows.json", "application/json", page_serve, &a->windows, NULL },
		{ "/alerts.json", "application/json", page_serve, &a->alerts, NULL },
		{ "/alerts/ack", "application/json", NULL, &a->desk, desk_serve },
	};
	struct admin_options options = { .listen = a->settings->admin_listen, .port_file = a->settings->admin_port_file,
					 .metrics = a->metrics, .pages = pages, .n_pages = ARRAY_SIZE(pages) };

	return *a->settings->admin_listen ? admin_start(&a->admin, &options) : 0;
}

int aggregator_new(struct aggregator **ret, const struct settings *settings, struct stream_error *ret_error)
{
	struct aggregator *a = calloc(1, sizeof(*a));
	const char *what = "memory";
	int r;

	if (!a)
		return -ENOMEM;
	a->settings = settings;
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(a->owner, sizeof(a->owner), "%.200s:%d", settings->node_id, getpid());
	desk_init(&a->desk, a->wake_fd);
	r = read_rules(a, ret_error);
	if (r < 0) {
		aggregator_free(a);
		return r;
	}
	r = a->wake_fd < 0 ? -errno : page_init(&a->windows, WINDOWS_ON_PAGE);
	if (r == 0)
		r = page_init(&a->alerts, ALERTS_ON_PAGE);
	if (r == 0)
		r = start_members(a);
	if (r == 0) {
		what = "alerts.webhook";
		r = name_receivers(a, "webhook", &settings->alerts_webhook);
	}
	if (r == 0) {
		what = "alerts.alertmanager";
		r = name_receivers(a, "alertmanager", &settings->alerts_alertmanager);
	}
	if (r == 0) {
		what = "memory";
		r = aggregator_metrics_new(&a->metrics, a->names, a->n_members, a->receiver_names, a->n_receivers);
	}
	if (r == 0) {
		what = settings->admin_listen;
		r = start_admin(a);
	}
	if (r < 0) {
		snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", what, strerror(-r));
		aggregator_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

static bool end_members(struct aggregator *a)
{
	int64_t deadline_ns = clock_mono_ns() + READERS_END_NS;
	bool all = true;

	for (uint32_t i = 0; i < a->n_members; i++)
		source_stop(a->members[i].source);
	for (uint32_t i = 0; i < a->n_members; i++)
		all &= source_stopped(a->members[i].source, deadline_ns);
	for (uint32_t i = 0; all && i < a->n_members; i++) {
		source_free(a->members[i].source);
		free(a->members[i].heard_ns);
	}
	return all;
}

bool aggregator_free(struct aggregator *a)
{
	admin_free(a->admin);
	if (!end_members(a))
		return false;
	metrics_free(a->metrics);
	page_done(&a->windows);
	page_done(&a->alerts);
	rules_file_close(&a->rules);
	desk_done(&a->desk);
	free(a->members);
	free(a->names);
	if (a->wake_fd >= 0)
		close(a->wake_fd);
	free(a);
	return true;
}

/* ------------------------------------------------------------------ sessions */

static void set_ready(struct aggregator *a, const char *reason_or_null)
{
	if (a->admin)
		admin_set_ready(a->admin, reason_or_null);
}

static void pause_until(int64_t deadline_ns)
{
	struct pollfd fd = { .fd = stop_fd(), .events = POLLIN };

	if (!stop_requested())
		poll(&fd, 1, clock_poll_ms(deadline_ns));
}

static bool every_region_was_tried(const struct aggregator *a)
{
	for (uint32_t i = 0; i < a->n_members; i++)
		if (!source_stats(a->members[i].source).tried)
			return false;
	return true;
}

static void count_errors(struct aggregator *a)
{
	uint64_t errors = a->failures;

	for (uint32_t i = 0; i < a->n_members; i++)
		errors += source_stats(a->members[i].source).errors;
	metric_set_total(a->metrics, M_STREAM_ERRORS, 0, errors);
}

/* Until the session fails or a stop is requested. */
static int work(struct aggregator *a, struct session *s, struct stream_error *ret_error)
{
	bool ready = false;
	int r = 0;

	while (r == 0 && !stop_requested()) {
		r = session_step(s, clock_mono_ns() + STEP_NS, ret_error);
		count_errors(a);
		if (ready || !every_region_was_tried(a))
			continue;
		ready = true;
		set_ready(a, NULL);
		log_info("ready", F_U64("regions", a->n_members));
	}
	if (r == 0)
		session_settle(s, clock_mono_ns() + SETTLE_NS);
	return r;
}

static void stand_by(struct aggregator *a, bool *announced)
{
	set_ready(a, "standby: another aggregator owns global.log");
	if (!*announced)
		log_info("standby: another aggregator owns global.log", F_STR("url", a->settings->streams_global_log));
	*announced = true;
	pause_until(clock_mono_ns() + STANDBY_NS);
}

static void recover(struct aggregator *a, int error, const char *sentence, unsigned attempt)
{
	int64_t wait_ms = rand_backoff(BACKOFF_BASE_MS, BACKOFF_CAP_MS, MIN(attempt, 16u));

	a->failures++;
	count_errors(a);
	set_ready(a, sentence);
	log_error(error == -ESTALE ? "another aggregator has claimed global.log, claiming again" :
				     "the work is interrupted, claiming global.log again",
		  F_STR("reason", sentence), F_ERR(error), F_I64("wait_ms", wait_ms));
	pause_until(clock_mono_ns() + wait_ms * NS_PER_MS);
}

void aggregator_run(struct aggregator *a)
{
	struct session_setup setup = { .settings = a->settings, .members = a->members, .n_members = a->n_members,
				       .metrics = a->metrics, .windows = &a->windows, .alerts = &a->alerts,
				       .rules = &a->rules, .desk = &a->desk,
				       .wake_fd = a->wake_fd, .owner = a->owner };
	struct stream_error error = { "" };
	bool announced = false;

	for (unsigned attempt = 0; !stop_requested();) {
		struct session *s = NULL;
		int64_t since_ns = clock_mono_ns();
		int r = session_open(&s, &setup, &error);

		if (r == -EBUSY) {
			stand_by(a, &announced);
			continue;
		}
		announced = false;
		if (r == 0) {
			log_info("global.log is claimed and folded", F_U64("windows", state_windows(session_state(s))));
			r = work(a, s, &error);
		}
		session_free(s);
		if (s && clock_mono_ns() - since_ns > GOOD_FOR_NS)
			attempt = 0;
		if (r < 0 && !stop_requested())
			recover(a, r, error.text, attempt++);
	}
	set_ready(a, "stopping");
}
