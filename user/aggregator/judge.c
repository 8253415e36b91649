#include <errno.h>

#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "codec/message.h"

#define SILENCE_EVERY_NS NS_PER_S

static bool is_dark(const struct session *s, const struct member *m, int64_t now_ns)
{
	int64_t silence_ns = s->setup.settings->aggregator_region_dark_ms * NS_PER_MS, oldest_ns = m->since_ns;

	for (uint32_t p = 0; m->reading && p < m->partitions; p++)
		oldest_ns = p == 0 ? m->heard_ns[0] : MIN(oldest_ns, m->heard_ns[p]);
	return now_ns - oldest_ns >= silence_ns;
}

/* Its slowest shard's watermark; a shard that was never heard of has none yet. */
static void look_at_member(const struct session *s, const struct member *m, int64_t now_ns, struct decide_region *ret)
{
	const struct region *region = state_region(&s->state, m->name);
	uint32_t shards = region ? MAX(region->n_shards, m->reading ? m->partitions : 0) : 0;

	*ret = (struct decide_region){ .name = m->name, .watermark_ns = shards > 0 ? INT64_MAX : INT64_MIN,
				       .dark = is_dark(s, m, now_ns) };
	for (uint32_t i = 0; i < shards; i++) {
		const struct shard *shard = i < region->n_shards ? region->shards[i] : NULL;

		ret->watermark_ns = MIN(ret->watermark_ns, shard ? shard->watermark_ns : INT64_MIN);
		ret->completeness += shard ? shard->completeness / shards : 0;
	}
}

static int append_message(struct session *s, uint16_t kind, const ProtobufCMessage *message)
{
	buf_reset(&s->line);

	int r = message_append(&s->line, message);

	return r < 0 ? r : session_append(s, kind, buf_slice(&s->line));
}

static int append_decision(void *context, const Sluice__V1__WindowDecision *decision)
{
	return append_message(context, OWNED_DECIDE, &decision->base);
}

static int append_silence(struct session *s, const struct series *series)
{
	Sluice__V1__WindowSilence silence = SLUICE__V1__WINDOW_SILENCE__INIT;

	silence.type = series->type;
	silence.metric = series->metric;
	silence.last_ns = series->last_ns;
	silence.decided_ns = clock_wall_ns();
	silence.detector = DETECTOR_VERSION;
	return append_message(s, OWNED_SILENT, &silence.base);
}

/* The end of what every region has told; INT64_MIN while there is still a minute before it that is not settled.  A dark
 * region holds it back: what it has not told is not known to be silent. */
static int64_t told_until(const struct session *s)
{
	int64_t until_ns = INT64_MAX;

	for (uint32_t i = 0; i < s->setup.n_members; i++)
		until_ns = MIN(until_ns, s->outlook[i].watermark_ns);
	for (uint32_t i = 0; i < s->state.n_minutes; i++) {
		const struct minute *m = s->state.minutes[i];

		if (m->settled == SETTLED_NOT && minute_end_ns(m->start_ns) <= until_ns)
			return INT64_MIN;
	}
	return until_ns;
}

/* Series of which the next window is overdue. */
static int judge_silence(struct session *s)
{
	int64_t until_ns = told_until(s);
	int r = 0;

	for (uint32_t i = 0; until_ns != INT64_MIN && i < s->state.n_series && r == 0; i++) {
		struct series *series = &s->state.series[i];
		bool silent = series->anomaly.active && series->anomaly.kind == DETECTOR_SILENCE;

		if (silent || series->last_ns == INT64_MIN || series->silent_from_ns == series->last_ns)
			continue;

		int64_t at_ns = detector_silent_at_ns(&series->detector, s->state.options.false_alarms_per_week);

		/* The minute that it falls into must be over too. */
		if (at_ns == INT64_MAX || minute_end_ns(at_ns) > until_ns)
			continue;
		r = append_silence(s, series);
		if (r == 0)
			series->silent_from_ns = series->last_ns;
	}
	return r;
}

int judge(struct session *s, int64_t now_ns)
{
	struct decide_options options = {
		.mono_ns = now_ns, .wall_ns = clock_wall_ns(),
		.early_interval_ns = s->setup.settings->aggregator_early_interval_ms * NS_PER_MS,
		.append = append_decision, .context = s,
	};
	unsigned dark = 0;

	for (uint32_t i = 0; i < s->setup.n_members; i++) {
		look_at_member(s, &s->setup.members[i], now_ns, &s->outlook[i]);
		dark += s->outlook[i].dark;
	}
	metric_set(s->setup.metrics, M_REGIONS_DARK, dark);
	metric_set(s->setup.metrics, M_REGIONS_LIVE, s->setup.n_members - dark);

	int r = decide(&s->state, s->outlook, s->setup.n_members, &options);

	if (r == 0 && now_ns - s->silence_judged_ns >= SILENCE_EVERY_NS) {
		s->silence_judged_ns = now_ns;
		r = judge_silence(s);
	}
	return r == -EAGAIN ? 0 : r;
}
