#include <errno.h>
#include <math.h>
#include <string.h>

#include "aggregator/state.h"
#include "base/log.h"

/* ------------------------------------------------------------------ one delta */

static bool same_values(const struct window_values *a, const struct window_values *b)
{
	if (a->count != b->count || a->devices != b->devices || a->sum != b->sum || a->min != b->min ||
	    a->max != b->max || a->not_finite != b->not_finite || a->out_of_range != b->out_of_range ||
	    a->late != b->late || memcmp(&a->sum_squares, &b->sum_squares, sizeof(a->sum_squares)) ||
	    a->histogram.n != b->histogram.n)
		return false;
	for (uint32_t i = 0; i < a->histogram.n; i++)
		if (a->histogram.buckets[i].index != b->histogram.buckets[i].index ||
		    a->histogram.buckets[i].count != b->histogram.buckets[i].count)
			return false;
	return true;
}

static int compare_tags(const struct log_id *a, uint64_t a_as_of, const struct log_id *b, uint64_t b_as_of)
{
	if (a->generation != b->generation)
		return a->generation < b->generation ? -1 : 1;
	return (a_as_of > b_as_of) - (a_as_of < b_as_of);
}

static void conflict(struct state *s, const struct shard *shard, uint64_t as_of, const char *what)
{
	static struct log_limit limit;
	uint64_t suppressed;

	s->counts.tag_conflicts++;
	if (log_limit_pass(&limit, &suppressed))
		log_error("two truths under one tag: the region's log was replaced without raising its generation, or "
			  "damaged",
			  F_STR("what", what), F_STR("region", shard->region->name), F_U64("shard", shard->number),
			  F_U64("as_of", as_of), F_U64("suppressed", suppressed));
}

/* Takes the values out of dw when it keeps them. */
static int fold_window(struct state *s, struct shard *shard, const struct delta *d, struct delta_window *dw)
{
	struct minute *minute;
	struct window *window;
	struct part *part;
	uint32_t series;
	bool fresh;
	int r;

	if (state_is_too_late(s, dw->start_ns)) {
		s->counts.too_late++;
		return 0;
	}
	if ((r = series_get(s, dw->type, dw->metric, &series)) < 0 || (r = minute_get(s, dw->start_ns, &minute)) < 0) {
		s->counts.refused += r == -ENOSPC;
		return r == -ENOSPC ? 0 : r;
	}
	if ((r = window_get(minute, series, &window)) < 0 || (r = part_get(window, shard, &part, &fresh)) < 0)
		return r;

	int order = fresh ? 1 : compare_tags(&d->log, d->message->as_of, &part->log, part->as_of);
	bool same = !fresh && same_values(&part->values, &dw->values);

	if (order == 0 && !same)
		conflict(s, shard, d->message->as_of, "window");
	if (order <= 0)
		return 0;
	part->log = d->log;
	part->as_of = d->message->as_of;
	if (same)
		return 0;
	window_values_done(&part->values);
	part->values = dw->values;
	dw->values = (struct window_values){ 0 };
	window->dirty = minute->dirty = true;
	return 0;
}

static struct alert_signal signal_of(const struct state *s, const Sluice__V1__ConsolidatedEnvelope *m,
				     const Sluice__V1__Notice *n)
{
	int64_t arrival_ns = n->arrival_ns != 0 ? n->arrival_ns : m->cut_ns;
	struct alert_signal signal = {
		.origin = SIGNAL_DEVICE, .region = m->region_id, .device_id = n->device_id, .type = n->type,
		.place = n->place, .metric = n->metric, .kind = n->rule, .direction = (int8_t)CLAMP(n->direction, -1, 1),
		.value = n->value, .expected = n->expected, .low = n->low, .high = n->high, .score = n->score,
		.onset_ns = n->onset_ns, .event_ns = n->event_ns, .arrival_ns = n->arrival_ns,
		.clock_ns = s->options.event_clock ? n->event_ns : arrival_ns, .stale = n->stale, .devices = 1,
		.trace_id = SLICE(m->trace_id.data, m->trace_id.len),
	};

	for (size_t i = 0; i < n->n_shares && signal.n_shares < SIGNAL_SHARES_MAX; i++)
		signal.shares[signal.n_shares++] =
			(struct signal_share){ n->shares[i]->metric, n->shares[i]->share };
	return signal;
}

static int fold_notice(struct state *s, const struct delta *d, const Sluice__V1__Notice *n)
{
	struct alert_signal signal = signal_of(s, d->message, n);

	if (!n->cleared)
		return book_noticed(s->book, &signal);
	book_over(s->book, &signal);
	return 0;
}

static int fold_delta(struct state *s, struct delta *d)
{
	const Sluice__V1__ConsolidatedEnvelope *m = d->message;
	struct region *region;
	struct shard *shard;
	bool fresh;
	int r = region_get(s, m->region_id, &region);

	if (r < 0) {
		s->counts.refused += r == -ENOSPC;
		return r == -ENOSPC ? 0 : r;
	}
	if ((r = shard_get(region, m->partition_key, &shard, &fresh)) < 0)
		return r;
	s->counts.deltas++;
	if (!fresh && d->log.generation == shard->log.generation && !log_id_equal(&d->log, &shard->log)) {
		conflict(s, shard, m->as_of, "log");
		return 0;
	}
	if (fresh || compare_tags(&d->log, m->as_of, &shard->log, shard->as_of) >= 0) {
		shard->log = d->log;
		shard->as_of = m->as_of;
		shard->watermark_ns = m->watermark_ns;
		shard->cut_ns = m->cut_ns;
		shard->completeness = m->completeness;
		shard->unique = m->unique;
		shard->duplicates = m->duplicates;
	}
	for (size_t i = 0; i < d->n_windows && r == 0; i++)
		r = fold_window(s, shard, d, &d->windows[i]);
	for (size_t i = 0; i < m->n_notices && r == 0; i++)
		r = fold_notice(s, d, m->notices[i]);
	if (r == 0 && s->sink.delta)
		s->sink.delta(s->sink.context, d);
	return r;
}

static int fold_data(struct state *s, const struct owned_record *record)
{
	Sluice__V1__GlobalData *data = sluice__v1__global_data__unpack(NULL, record->value.len, record->value.data);
	int r = 0;

	s->counts.undecodable += !data;
	for (size_t i = 0; data && i < data->n_delta && r == 0; i++) {
		struct delta d;
		struct delta_why why;

		r = delta_read(&d, SLICE(data->delta[i].data, data->delta[i].len), &why);
		if (r == 0) {
			r = fold_delta(s, &d);
			delta_done(&d);
		} else if (r == -EBADMSG) {
			s->counts.undecodable++;
			r = 0;
		}
	}
	if (data)
		sluice__v1__global_data__free_unpacked(data, NULL);
	return r;
}

/* ------------------------------------------------------------------ one decision */

/* decided_ns: when it came to light. */
static struct alert_signal signal_of_series(const struct state *s, const struct series *series, int64_t start_ns,
					    int64_t decided_ns)
{
	const struct anomaly *a = &series->anomaly;

	return (struct alert_signal){
		.origin = SIGNAL_WINDOW, .region = "", .device_id = "", .type = series->type, .place = "",
		.metric = series->metric, .kind = detector_kind_name((enum detector_kind)a->kind),
		.direction = a->direction, .score = a->worst, .onset_ns = a->onset_ns, .event_ns = start_ns,
		.clock_ns = s->options.event_clock ? minute_end_ns(start_ns) : decided_ns,
	};
}

static int tell_book(struct state *s, const struct alert_signal *signal, enum anomaly_step step)
{
	if (step == ANOMALY_RAISED || step == ANOMALY_RENAMED)
		return book_noticed(s->book, signal);
	if (step == ANOMALY_CLEARED)
		book_over(s->book, signal);
	return 0;
}

/* Decisions of another detector's time began other events. */
static bool is_our_detector(uint32_t version)
{
	return version == DETECTOR_VERSION;
}

static double finite_or(double v, double otherwise)
{
	return isfinite(v) ? v : otherwise;
}

static int look_at_value(struct state *s, struct series *series, const struct window_values *v,
			 const Sluice__V1__WindowDecision *decision)
{
	double mean = (double)v->sum / 1e9 / (double)v->count;
	bool ours = is_our_detector(decision->detector);
	struct detection found;
	struct alert_signal signal;
	enum anomaly_step heard = anomaly_heard(&series->anomaly), step;
	int r = 0;

	if (heard == ANOMALY_CLEARED && ours) {
		signal = signal_of_series(s, series, decision->start_ns, decision->decided_ns);
		r = tell_book(s, &signal, heard);
	}
	series->last_ns = decision->start_ns;
	detector_update(&series->detector, decision->start_ns, mean, &found);
	if (heard == ANOMALY_CLEARED)
		anomaly_after_silence(&found);
	step = anomaly_update(&series->anomaly, detector_threshold(s->options.false_alarms_per_week), decision->start_ns,
			      &found);
	if (r < 0 || step == ANOMALY_NOTHING || !ours)
		return r;
	signal = signal_of_series(s, series, decision->start_ns, decision->decided_ns);
	signal.value = mean;
	signal.expected = finite_or(found.expected, mean);
	signal.low = finite_or(detector_band(&found).low, signal.expected);
	signal.high = finite_or(detector_band(&found).high, signal.expected);
	signal.devices = v->devices;
	signal.count = v->count;
	signal.completeness = decision->completeness;
	return tell_book(s, &signal, step);
}

/* A window settles for the first time: its mean is the next value of its series. */
static int detect(struct state *s, const struct window *w, const Sluice__V1__WindowDecision *decision)
{
	struct window_values merged;
	int r = window_merge(&merged, w);

	if (r < 0)
		return r;
	/* An older minute that settles later says nothing about now. */
	if (merged.count > 0 && decision->start_ns > s->series[w->series].last_ns)
		r = look_at_value(s, &s->series[w->series], &merged, decision);
	window_values_done(&merged);
	return r;
}

static int publish(struct state *s, struct window *w, enum settled settled, const Sluice__V1__WindowDecision *decision,
		   uint64_t version)
{
	struct publication p = { .version = version, .start_ns = decision->start_ns, .decided_ns = decision->decided_ns,
				 .series = &s->series[w->series], .window = w, .decision = decision };
	int r = 0;

	if (w->settled == SETTLED_NOT && settled != SETTLED_NOT)
		r = detect(s, w, decision);
	w->dirty = false;
	w->settled = settled;
	s->counts.published[decision->status]++;
	return r < 0 ? r : s->sink.window(s->sink.context, &p);
}

static int apply(struct state *s, const Sluice__V1__WindowDecision *decision, uint64_t version)
{
	struct minute *m = state_minute(s, decision->start_ns);
	int r = 0;

	if (!m)
		return 0;
	m->deciding = false;
	if (decision->status == SLUICE__V1__WINDOW_DECISION__STATUS__FINAL)
		m->settled = SETTLED_FINAL;
	else if (decision->status == SLUICE__V1__WINDOW_DECISION__STATUS__PARTIAL && m->settled == SETTLED_NOT)
		m->settled = SETTLED_PARTIAL;
	m->dirty = false;
	for (uint32_t i = 0; i < m->n_windows && r == 0; i++)
		if (m->windows[i].dirty || m->windows[i].settled < m->settled)
			r = publish(s, &m->windows[i], m->settled, decision, version);
	if (r < 0 || m->settled < (s->options.event_clock ? SETTLED_FINAL : SETTLED_PARTIAL))
		return r;
	s->settled_ns = s->any_settled ? MAX(s->settled_ns, minute_end_ns(m->start_ns)) : minute_end_ns(m->start_ns);
	s->any_settled = true;
	state_forget_old(s);
	return 0;
}

static int fold_decision(struct state *s, const struct owned_record *record)
{
	Sluice__V1__WindowDecision *decision =
		sluice__v1__window_decision__unpack(NULL, record->value.len, record->value.data);
	int r = 0;

	if (decision && decision->status >= 0 && (size_t)decision->status < ARRAY_SIZE(s->counts.published))
		r = apply(s, decision, record->offset);
	else
		s->counts.undecodable++;
	if (decision)
		sluice__v1__window_decision__free_unpacked(decision, NULL);
	return r;
}

/* ------------------------------------------------------------------ silence, alerts, receipts */

static int fold_silence(struct state *s, const struct owned_record *record)
{
	Sluice__V1__WindowSilence *silence =
		sluice__v1__window_silence__unpack(NULL, record->value.len, record->value.data);
	uint32_t at;
	int r = 0;

	if (!silence) {
		s->counts.undecodable++;
		return 0;
	}
	if (is_our_detector(silence->detector) && series_find(s, silence->type, silence->metric, &at) &&
	    s->series[at].last_ns == silence->last_ns &&
	    anomaly_silent(&s->series[at].anomaly, silence->last_ns) == ANOMALY_RAISED) {
		struct alert_signal signal =
			signal_of_series(s, &s->series[at], silence->last_ns, silence->decided_ns);

		r = tell_book(s, &signal, ANOMALY_RAISED);
	}
	sluice__v1__window_silence__free_unpacked(silence, NULL);
	return r;
}

static int fold_alert(struct state *s, const struct owned_record *record)
{
	const alert_record *told = NULL;
	int r = book_record(s->book, record->value, record->offset, &told);

	if (r == -EBADMSG) {
		s->counts.undecodable++;
		return 0;
	}
	return r == 0 && told ? s->sink.alert(s->sink.context, told, record->offset) : r;
}

static int fold_sent(struct state *s, const struct owned_record *record)
{
	int r = s->sink.sent ? s->sink.sent(s->sink.context, record->value) : 0;

	s->counts.undecodable += r == -EBADMSG;
	return r == -EBADMSG ? 0 : r;
}

int state_fold(struct state *s, const struct owned_record *record)
{
	switch (record->kind) {
	case OWNED_DATA:
		return fold_data(s, record);
	case OWNED_DECIDE:
		return fold_decision(s, record);
	case OWNED_SILENT:
		return fold_silence(s, record);
	case OWNED_ALERT:
		return fold_alert(s, record);
	case OWNED_SENT:
		return fold_sent(s, record);
	case OWNED_ASIDE:
		s->counts.asides++;
		return 0;
	default:
		return 0; /* claims are the log's own; kinds of a newer aggregator mean nothing to this one */
	}
}
