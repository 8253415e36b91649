#include <errno.h>
#include <string.h>

#include "aggregator/render.h"
#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

static uint64_t window_key(const struct publication *p)
{
	uint64_t words[2] = { p->series->hash, (uint64_t)p->start_ns };

	return hash_device(words, sizeof(words));
}

/* Where a page keeps a line: what stands before `until` names the window or alert. */
static uint64_t page_key(struct slice line, const char *until)
{
	const char *end = memmem(line.data, line.len, until, strlen(until));

	return hash_device(line.data, end ? (size_t)(end - (const char *)line.data) : line.len);
}
#define WINDOW_NAME_END ",\"version\":"
#define ALERT_NAME_END ",\"rule\":"

static int publish_window(void *context, const struct publication *p)
{
	struct session *s = context;
	uint64_t key = window_key(p);

	if (!output_wants(s->windows, key, p->version))
		return 0;
	buf_reset(&s->line);

	int r = render_window(&s->line, p);

	if (r < 0)
		return r;
	r = output_append(s->windows, key, buf_slice(&s->line), 0);
	if (r < 0)
		return session_fail(s, r, s->setup.settings->streams_global_windows);
	page_put(s->setup.windows, page_key(buf_slice(&s->line), WINDOW_NAME_END), buf_slice(&s->line));
	if (p->version > output_newest(s->windows))
		metric_add_by(s->setup.metrics, M_WINDOWS, p->decision->status, 1);
	return 0;
}

static void log_alert(const struct alert *a)
{
	struct trace_context trace = { 0 };

	if (a->trace_id.len == sizeof(trace.trace_id)) {
		memcpy(trace.trace_id, a->trace_id.data, sizeof(trace.trace_id));
		log_trace_set(&trace);
	}
	log_info(a->cleared ? "alert cleared" : "alert raised", F_HEX("alert_id", a->id), F_STR("rule", a->rule),
		 F_STR("region", a->region ? a->region : ""), F_STR("device_id", a->device_id ? a->device_id : ""),
		 F_STR("type", a->type), F_STR("metric", a->metric), F_DBL("value", a->value),
		 F_DBL("expected", a->expected));
	log_trace_set(NULL);
}

static int publish_alert(void *context, const struct alert *a)
{
	struct session *s = context;

	if (!output_wants(s->alerts, a->id, a->version))
		return 0;
	buf_reset(&s->line);

	int r = render_alert(&s->line, a, clock_wall_ns());

	if (r < 0)
		return r;
	/* Only what has just come is measured, not what a fold of the past writes again. */
	r = output_append(s->alerts, a->id, buf_slice(&s->line), s->live && !a->cleared ? a->arrival_ns : 0);
	if (r < 0)
		return session_fail(s, r, s->setup.settings->streams_global_alerts);
	page_put(s->setup.alerts, page_key(buf_slice(&s->line), ALERT_NAME_END), buf_slice(&s->line));
	if (a->version > output_newest(s->alerts)) {
		metric_add(s->setup.metrics, M_ALERTS, 1);
		log_alert(a);
	}
	return 0;
}

static void delta_folded(void *context, const struct delta *d)
{
	struct session *s = context;
	const Sluice__V1__ConsolidatedEnvelope *m = d->message;

	if (!s->live)
		return;
	metric_observe(s->setup.metrics, M_REGION_TO_GLOBAL, MAX(s->now_wall_ns - m->cut_ns, (int64_t)0), 1);
	if (m->oldest_change_ns != 0 && m->cut_ns >= m->oldest_change_ns)
		metric_observe(s->setup.metrics, M_DELTA_DWELL, m->cut_ns - m->oldest_change_ns, 1);
}

struct state_sink publish_sink(struct session *s)
{
	return (struct state_sink){
		.window = publish_window, .alert = publish_alert, .delta = delta_folded, .context = s
	};
}

/* ------------------------------------------------------------------ the streams behind it */

static void old_window(void *context, struct slice line)
{
	struct session *s = context;

	page_put(s->setup.windows, page_key(line, WINDOW_NAME_END), line);
}

static void old_alert(void *context, struct slice line)
{
	struct session *s = context;

	page_put(s->setup.alerts, page_key(line, ALERT_NAME_END), line);
}

/* Lines of an earlier run stand on the pages too. */
int publish_open(struct session *s)
{
	const struct settings *settings = s->setup.settings;
	int r = output_open(&s->windows, settings->streams_global_windows, settings->streams_development, old_window, s,
			    s->error);

	if (r == 0)
		r = output_open(&s->alerts, settings->streams_global_alerts, settings->streams_development, old_alert,
				s, s->error);
	return r;
}

static void alert_confirmed(void *context, int64_t arrival_ns)
{
	struct session *s = context;

	metric_observe(s->setup.metrics, M_NOTICE, MAX(clock_wall_ns() - arrival_ns, (int64_t)0), 1);
}

static void window_confirmed(void *context, int64_t stamp_ns)
{
}

int publish_poll(struct session *s, int64_t deadline_ns)
{
	int r = output_poll(s->windows, deadline_ns, window_confirmed, s);

	if (r < 0)
		return session_fail(s, r, s->setup.settings->streams_global_windows);
	r = output_poll(s->alerts, deadline_ns, alert_confirmed, s);
	return r < 0 ? session_fail(s, r, s->setup.settings->streams_global_alerts) : 0;
}

size_t publish_pending(const struct session *s)
{
	return output_pending(s->windows) + output_pending(s->alerts);
}
