#include <errno.h>
#include <string.h>

#include "aggregator/state.h"
#include "analytics/alert.h"
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

static bool alert_is_known(struct state *s, uint64_t id, bool cleared)
{
	uint64_t key = (id & ~1ULL) | cleared;

	for (uint64_t i = 0; i < MIN(s->n_known, (uint64_t)STATE_ALERTS_KNOWN); i++)
		if (s->known[i] == key)
			return true;
	s->known[s->n_known++ % STATE_ALERTS_KNOWN] = key;
	return false;
}

static int fold_notice(struct state *s, const struct delta *d, const Sluice__V1__Notice *n, uint64_t version)
{
	struct alert a = {
		.version = version, .cleared = n->cleared, .rule = n->rule, .type = n->type, .metric = n->metric,
		.region = d->message->region_id, .device_id = n->device_id, .place = n->place,
		.value = n->value, .expected = n->expected, .score = n->score,
		.event_ns = n->event_ns, .onset_ns = n->onset_ns, .arrival_ns = n->arrival_ns,
		.trace_id = SLICE(d->message->trace_id.data, d->message->trace_id.len),
	};
	int r = alert_id(n->rule, n->device_id, n->metric, n->onset_ns, &a.id);

	if (r < 0 || alert_is_known(s, a.id, a.cleared))
		return r;
	s->counts.alerts++;
	return s->sink.alert(s->sink.context, &a);
}

static int fold_delta(struct state *s, struct delta *d, uint64_t version)
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
		r = fold_notice(s, d, m->notices[i], version);
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
			r = fold_delta(s, &d, record->offset);
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

static void propose(struct state *s, const struct window *w, const struct detection *found, int64_t start_ns,
		    double mean)
{
	const struct series *series = &s->series[w->series];
	struct proposal p = { .series = w->series,
			      .cleared = !series->anomaly.active,
			      .start_ns = start_ns,
			      .onset_ns = series->anomaly.onset_ns,
			      .value = mean,
			      .expected = found->expected,
			      .score = found->score };

	if (s->n_proposals == STATE_PROPOSALS_MAX ||
	    alert_id(RULE_WINDOW_SPIKE, series->type, series->metric, p.onset_ns, &p.id) < 0) {
		s->counts.refused++;
		return;
	}
	s->proposals[s->n_proposals++] = p;
}

/* A window settles for the first time: its mean is the next value of its series. */
static int detect(struct state *s, const struct window *w, const Sluice__V1__WindowDecision *decision)
{
	struct window_values merged;
	struct detection found;
	int r = window_merge(&merged, w);

	if (r < 0)
		return r;
	if (merged.count > 0) {
		double mean = (double)merged.sum / 1e9 / (double)merged.count;

		struct series *series = &s->series[w->series];

		detector_update(&series->detector, decision->start_ns, mean, &found);

		enum anomaly_step step = anomaly_update(&series->anomaly, detector_threshold(s->options.false_alarms_per_week),
							decision->start_ns, &found);

		if (step != ANOMALY_NOTHING && decision->detector == DETECTOR_VERSION)
			propose(s, w, &found, decision->start_ns, mean);
	}
	window_values_done(&merged);
	return 0;
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

/* ------------------------------------------------------------------ one alert about windows */

static void forget_proposal(struct state *s, uint64_t id, bool cleared)
{
	for (uint32_t i = 0; i < s->n_proposals; i++)
		if (s->proposals[i].id == id && s->proposals[i].cleared == cleared) {
			memmove(s->proposals + i, s->proposals + i + 1,
				(s->n_proposals - i - 1) * sizeof(*s->proposals));
			s->n_proposals--;
			return;
		}
}

static int fold_alert(struct state *s, const struct owned_record *record)
{
	Sluice__V1__WindowAlert *w = sluice__v1__window_alert__unpack(NULL, record->value.len, record->value.data);
	int r = 0;

	if (!w) {
		s->counts.undecodable++;
		return 0;
	}

	struct alert a = { .version = record->offset,
			   .cleared = w->cleared,
			   .rule = w->rule,
			   .type = w->type,
			   .metric = w->metric,
			   .value = w->value,
			   .expected = w->expected,
			   .score = w->score,
			   .event_ns = w->start_ns,
			   .onset_ns = w->onset_ns };

	r = alert_id(w->rule, w->type, w->metric, w->onset_ns, &a.id);
	if (r == 0)
		forget_proposal(s, a.id, a.cleared);
	if (r == 0 && !alert_is_known(s, a.id, a.cleared)) {
		s->counts.alerts++;
		r = s->sink.alert(s->sink.context, &a);
	}
	sluice__v1__window_alert__free_unpacked(w, NULL);
	return r;
}

int state_fold(struct state *s, const struct owned_record *record)
{
	switch (record->kind) {
	case OWNED_DATA:
		return fold_data(s, record);
	case OWNED_DECIDE:
		return fold_decision(s, record);
	case OWNED_ALERT:
		return fold_alert(s, record);
	case OWNED_ASIDE:
		s->counts.asides++;
		return 0;
	default:
		return 0; /* claims are the log's own; kinds of a newer aggregator mean nothing to this one */
	}
}
