/* What the detectors of a device's metrics say, as one event of the device.
 *
 * It begins with the first metric whose anomaly begins, is told again, under the same onset, when another joins or what
 * was a spike turns out to last, and ends when none of them is anomalous any more.  What is told of it is what the metric
 * says that has most to do with it: how much a metric has to do with it is the evidence
 *
 *     e = log(1 + 1/R),     R = (1 - score) / score,
 *
 * where R is how often, in times a week, the metric alone would show as much by itself (analytics/detector.h): nothing
 * for what happens all the time, and then a unit for each factor of e.  A metric's share is its part of the sum over the
 * metrics of this reading that are anomalous, with the highest score since they became so, or scored, with this
 * reading's.
 *
 * A metric that is not sent any more, of a device that goes on without it, would keep the event for ever; so one that is
 * overdue by its own rhythm no longer counts.  Of a device that sends nothing more, silence takes the event's place
 * (silence.c): a device has one event at a time.  If it comes back and a metric is still as unusual, that is another event.
 */
#include <errno.h>
#include <float.h>
#include <math.h>

#include "regional/region.h"

/* A reading, and what was found in it. */
struct look {
	const struct flight *f;
	uint32_t i;           /* of the block */
	const struct window_set *set;
	const uint32_t *refs; /* one a metric of the set, as the next two */
	const double *values;
	struct detection found[TELEMETRY_METRICS_MAX];
	uint32_t raised, renamed, cleared, active; /* metrics */
	uint32_t unusual;                 /* of the active ones, now */
};

static bool is_looked_at(const struct look *l, uint32_t m)
{
	return l->refs[m] != WATCHED_NONE && isfinite(l->values[m]);
}

/* after_silence: this reading ended one. */
static void look(struct shard *s, struct look *l, bool after_silence)
{
	double threshold = detector_threshold(s->region->settings->regional_false_alarms_per_week);
	int64_t time_ns = l->f->block.timestamp_ns[l->i];

	for (uint32_t m = 0; m < l->set->n; m++) {
		if (!is_looked_at(l, m))
			continue;

		struct watched *w = watched_at(&s->detectors, l->refs[m]);

		detector_update(&w->detector, time_ns, l->values[m], &l->found[m]);
		if (after_silence)
			anomaly_after_silence(&l->found[m]);

		enum anomaly_step step = anomaly_update(&w->anomaly, threshold, time_ns, &l->found[m]);

		l->raised += step == ANOMALY_RAISED;
		l->renamed += step == ANOMALY_RENAMED;
		l->cleared += step == ANOMALY_CLEARED;
		l->active += w->anomaly.active;
		l->unusual += w->anomaly.active && w->anomaly.quiet == 0;
	}
}

/* ------------------------------------------------------------------ shares */

/* 1 + 1/R = 1 / (1 - score).  A score of 1 is as good as the last one below it. */
static double evidence_of(double score)
{
	return -log1p(-MIN(score, 1 - DBL_EPSILON / 2));
}

/* Into the largest ones so far. */
static void take_share(struct notice *n, uint32_t metric, double evidence)
{
	uint32_t at = n->n_shares;

	if (at == NOTICE_SHARES_MAX && evidence <= n->shares[at - 1])
		return;
	if (at == NOTICE_SHARES_MAX)
		at--;
	else
		n->n_shares++;
	for (; at > 0 && evidence > n->shares[at - 1]; at--) {
		n->shares[at] = n->shares[at - 1];
		n->share_metrics[at] = n->share_metrics[at - 1];
	}
	n->shares[at] = evidence;
	n->share_metrics[at] = metric;
}

static void fill_shares(const struct shard *s, const struct look *l, struct notice *n)
{
	double sum = 0;

	for (uint32_t m = 0; m < l->set->n; m++) {
		if (!is_looked_at(l, m))
			continue;

		const struct anomaly *a = &watched_at(&s->detectors, l->refs[m])->anomaly;
		double evidence = evidence_of(a->active ? a->worst : l->found[m].score);

		if (!(evidence > 0))
			continue;
		sum += evidence;
		take_share(n, l->set->metrics[m], evidence);
	}
	for (uint32_t i = 0; i < n->n_shares; i++)
		n->shares[i] /= sum;
}

/* ------------------------------------------------------------------ telling */

static double to_finite(double v)
{
	return isnan(v) ? 0 : CLAMP(v, -DBL_MAX, DBL_MAX);
}

static struct notice notice_of(const struct look *l, const struct watch *w)
{
	const struct block *b = &l->f->block;

	return (struct notice){
		.device = w->device,
		.type = w->type,
		.place = w->place,
		.metric = w->metric,
		.event_ns = b->timestamp_ns[l->i],
		.arrival_ns = b->arrival_ns[l->i],
		.onset_ns = w->onset_ns,
		.hash = b->hash[l->i],
		.kind = w->kind,
		.direction = w->direction,
	};
}

static void fill_values(struct notice *n, const struct look *l, uint32_t m)
{
	const struct detection *d = &l->found[m];

	n->metric = l->set->metrics[m];
	n->value = l->values[m];
	n->expected = to_finite(d->expected);
	n->low = to_finite(detector_band(d).low);
	n->high = to_finite(detector_band(d).high);
	n->score = d->score;
}

static void tell_raised(struct shard *s, const struct look *l, struct watch *w, int64_t now_ns)
{
	struct notice n = notice_of(l, w);
	uint32_t m = 0;

	n.first = !w->active;
	if (n.first)
		n.onset_ns = w->onset_ns = n.event_ns;
	w->active = true;
	fill_shares(s, l, &n);
	must(n.n_shares > 0);
	while (l->set->metrics[m] != n.share_metrics[0])
		m++;
	fill_values(&n, l, m);

	const struct anomaly *a = &watched_at(&s->detectors, l->refs[m])->anomaly;

	n.kind = w->kind = a->kind;
	n.direction = w->direction = a->direction;
	n.score = a->worst;
	w->metric = n.metric;
	notice_tell(s, &n, now_ns);
}

/* Of the metric that was told, or else of another in this reading. */
static void tell_cleared(struct shard *s, const struct look *l, struct watch *w, int64_t now_ns)
{
	struct notice n = notice_of(l, w);
	uint32_t found = l->set->n;

	for (uint32_t m = l->set->n; m-- > 0;)
		if (is_looked_at(l, m) && (found == l->set->n || l->set->metrics[m] == w->metric))
			found = m;
	if (found < l->set->n)
		fill_values(&n, l, found);
	n.cleared = true;
	w->active = false;
	notice_tell(s, &n, now_ns);
}

/* ------------------------------------------------------------------ of a reading */

static void forget_overdue(struct shard *s, struct watch *w, int64_t time_ns)
{
	struct detectors *d = &s->detectors;
	double rate = s->region->settings->regional_false_alarms_per_week;

	for (uint32_t k = w->series; k != SERIES_NONE; k = d->series[k].next) {
		for (uint32_t m = 0; m < s->windows.sets[d->series[k].set].n; m++) {
			uint32_t ref = d->refs[d->series[k].at + m];
			struct watched *v = ref == WATCHED_NONE ? NULL : watched_at(d, ref);

			if (!v || !v->anomaly.active || detector_silent_at_ns(&v->detector, rate) > time_ns)
				continue;
			v->anomaly.active = 0;
			w->anomalous--;
		}
	}
}

int event_fold(struct shard *s, const struct flight *f, uint32_t i, uint32_t set, int64_t now_ns)
{
	struct look l = { .f = f, .i = i, .set = &s->windows.sets[set], .values = f->block.values + f->block.value_at[i] };
	uint32_t device = f->device[f->block.device[i]];
	int r = detectors_of(&s->detectors, &s->devices, device, &s->windows, set, &l.refs);

	if (r < 0)
		return r == -ENOSPC ? 0 : r;

	struct watch *w = watch_at(&s->detectors, s->devices.list[device].watch);

	look(s, &l, silence_heard(s, f, i, now_ns));
	w->anomalous += l.raised - l.cleared;
	if (w->anomalous > 0 && l.active == 0)
		forget_overdue(s, w, f->block.timestamp_ns[i]);
	if (l.raised > 0 || (w->active && l.renamed > 0) || (!w->active && l.unusual > 0))
		tell_raised(s, &l, w, now_ns);
	else if (w->active && w->anomalous == 0)
		tell_cleared(s, &l, w, now_ns);
	return 0;
}
