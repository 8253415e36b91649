#include <errno.h>

#include "aggregator/session_internal.h"
#include "base/clock.h"

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

static int append_decision(void *context, const Sluice__V1__WindowDecision *decision)
{
	struct session *s = context;

	buf_reset(&s->line);

	uint8_t *into = buf_extend(&s->line, sluice__v1__window_decision__get_packed_size(decision));

	if (!into)
		return -ENOMEM;
	sluice__v1__window_decision__pack(decision, into);
	return session_append(s, OWNED_DECIDE, buf_slice(&s->line));
}

static int append_proposal(struct session *s, const struct proposal *p)
{
	Sluice__V1__WindowAlert a = SLUICE__V1__WINDOW_ALERT__INIT;
	char rule[] = RULE_WINDOW_SPIKE;

	a.rule = rule;
	a.type = s->state.series[p->series].type;
	a.metric = s->state.series[p->series].metric;
	a.start_ns = p->start_ns;
	a.value = p->value;
	a.expected = p->expected;
	a.score = p->score;
	a.onset_ns = p->onset_ns;
	a.cleared = p->cleared;
	a.decided_ns = clock_wall_ns();
	buf_reset(&s->line);

	uint8_t *into = buf_extend(&s->line, sluice__v1__window_alert__get_packed_size(&a));

	if (!into)
		return -ENOMEM;
	sluice__v1__window_alert__pack(&a, into);
	return session_append(s, OWNED_ALERT, buf_slice(&s->line));
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

	for (uint32_t i = 0; i < s->state.n_proposals && r == 0; i++) {
		struct proposal *p = &s->state.proposals[i];

		if (!p->appended)
			r = append_proposal(s, p);
		p->appended |= r == 0;
	}
	return r == -EAGAIN ? 0 : r;
}
