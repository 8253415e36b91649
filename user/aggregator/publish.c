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

/* Where the page keeps a line: what stands before the version names the window. */
static uint64_t page_key(struct slice line)
{
	static const char until[] = ",\"version\":";
	const char *end = memmem(line.data, line.len, until, sizeof(until) - 1);

	return hash_device(line.data, end ? (size_t)(end - (const char *)line.data) : line.len);
}

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
	page_put(s->setup.windows, page_key(buf_slice(&s->line)), buf_slice(&s->line), false);
	if (p->version > output_newest(s->windows))
		metric_add_by(s->setup.metrics, M_WINDOWS, p->decision->status, 1);
	return 0;
}

static void log_alert(const alert_record *r)
{
	static const char *const messages[] = {
		[ALERT_STATE(RAISED)] = "alert raised",       [ALERT_STATE(UPDATED)] = "alert updated",
		[ALERT_STATE(ESCALATED)] = "alert escalated", [ALERT_STATE(ACKNOWLEDGED)] = "alert acknowledged",
		[ALERT_STATE(CLEARED)] = "alert cleared",
	};
	struct trace_context trace = { 0 };

	if (r->trace_id.len == sizeof(trace.trace_id)) {
		memcpy(trace.trace_id, r->trace_id.data, sizeof(trace.trace_id));
		log_trace_set(&trace);
	}
	log_info(messages[r->state], F_HEX("alert_id", r->alert_id), F_STR("rule", r->rule),
		 F_STR("severity", r->severity), F_STR("kind", r->kind), F_STR("region", r->region),
		 F_STR("device_id", r->device_id), F_U64("devices", r->devices), F_STR("type", r->type),
		 F_STR("metric", r->metric), F_DBL("value", r->value), F_DBL("expected", r->expected), F_STR("by", r->by));
	log_trace_set(NULL);
}

/* One line sums them up: see alarm.c. */
static void note_past(struct session *s, const alert_record *r)
{
	if (s->past.n++ == 0) {
		s->past.since_ns = clock_mono_ns();
		s->past.first_ns = s->past.last_ns = r->onset_ns;
	}
	s->past.first_ns = MIN(s->past.first_ns, r->onset_ns);
	s->past.last_ns = MAX(s->past.last_ns, r->newest_ns);
}

/* Only what has just come is measured, not what a fold of the past writes again; and the first word only. */
static int64_t stamp_of(const struct session *s, const alert_record *r)
{
	bool measured = s->live && r->state == ALERT_STATE(RAISED) && r->arrival_ns > 0 && r->arrival_ns <= s->now_wall_ns;

	return measured ? r->arrival_ns : 0;
}

static int publish_alert(void *context, const alert_record *r, uint64_t version)
{
	struct session *s = context;

	buf_reset(&s->line);

	int result = render_alert(&s->line, r, version);

	if (result == 0)
		result = deliver_told(s->deliver, r, version, buf_slice(&s->line));
	if (result < 0)
		return result;
	page_put(s->setup.alerts, r->alert_id, buf_slice(&s->line), alert_is_open(r));
	if (s->live && r->state == ALERT_STATE(ACKNOWLEDGED))
		desk_answer(s->setup.desk, r->alert_id, 0);
	if (s->live && r->state == ALERT_STATE(PAST))
		note_past(s, r);
	else if (s->live)
		log_alert(r);
	if (!output_wants(s->alerts, r->alert_id, version))
		return 0;
	result = output_append(s->alerts, r->alert_id, buf_slice(&s->line), stamp_of(s, r));
	return result < 0 ? session_fail(s, result, s->setup.settings->streams_global_alerts) : 0;
}

static int receipt_folded(void *context, struct slice value)
{
	struct session *s = context;

	return deliver_sent(s->deliver, value);
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
		.window = publish_window, .alert = publish_alert, .sent = receipt_folded, .delta = delta_folded,
		.context = s
	};
}

/* ------------------------------------------------------------------ the streams behind it */

static void old_window(void *context, struct slice line)
{
	struct session *s = context;

	page_put(s->setup.windows, page_key(line), line, false);
}

/* The page of alerts is filled by the fold. */
static void old_alert(void *context, struct slice line)
{
}

/* Windows of an earlier run stand on the page too. */
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
