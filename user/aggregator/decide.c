#include "aggregator/decide.h"

#include <errno.h>

#define CONFIGURED_MAX STATE_REGIONS_MAX

struct outlook {
	size_t n_below; /* regions whose watermark is not at the end */
	bool waiting;   /* one of them is not dark */
	char *missing[CONFIGURED_MAX];
	size_t n_missing;
	double completeness;
};

/* A region below the end is missing when it is dark, and in a minute that was settled without it until it has caught
 * up. */
static void look(struct outlook *ret, const struct decide_region *regions, size_t n, const struct minute *m)
{
	int64_t end_ns = minute_end_ns(m->start_ns);

	ret->n_below = ret->n_missing = 0;
	ret->waiting = false;
	ret->completeness = 0;
	for (size_t i = 0; i < n; i++) {
		bool below = regions[i].watermark_ns < end_ns;

		ret->n_below += below;
		ret->waiting |= below && !regions[i].dark;
		if (below && (regions[i].dark || m->settled != SETTLED_NOT))
			ret->missing[ret->n_missing++] = (char *)regions[i].name; /* the message's type has no const */
		else
			ret->completeness += regions[i].completeness;
	}
	ret->completeness /= (double)n;
}

/* Whether something is to be decided, and what. */
static bool due(struct minute *m, const struct outlook *o, size_t n, const struct decide_options *options,
		Sluice__V1__WindowDecision__Status *ret)
{
	if (m->deciding)
		return false;
	if (m->due_ns == 0)
		m->due_ns = options->mono_ns + options->early_interval_ns;
	if (o->n_below == 0 && m->settled != SETTLED_FINAL) {
		*ret = SLUICE__V1__WINDOW_DECISION__STATUS__FINAL;
		return true;
	}
	if (o->n_below < n && !o->waiting && m->settled == SETTLED_NOT) {
		*ret = SLUICE__V1__WINDOW_DECISION__STATUS__PARTIAL;
		return true;
	}
	*ret = m->settled == SETTLED_NOT ? SLUICE__V1__WINDOW_DECISION__STATUS__EARLY :
					   SLUICE__V1__WINDOW_DECISION__STATUS__CORRECTED;
	return m->dirty && options->mono_ns >= m->due_ns;
}

int decide(struct state *s, const struct decide_region *regions, size_t n, const struct decide_options *options)
{
	struct outlook o;

	must(n > 0 && n <= CONFIGURED_MAX);
	for (uint32_t i = 0; i < s->n_minutes; i++) {
		struct minute *m = s->minutes[i];
		Sluice__V1__WindowDecision decision = SLUICE__V1__WINDOW_DECISION__INIT;

		look(&o, regions, n, m);
		if (!due(m, &o, n, options, &decision.status))
			continue;
		decision.start_ns = m->start_ns;
		decision.missing_regions = o.missing;
		decision.n_missing_regions = o.n_missing;
		decision.completeness = o.completeness;
		decision.decided_ns = options->wall_ns;
		decision.detector = DETECTOR_VERSION;

		int r = options->append(options->context, &decision);

		if (r < 0)
			return r == -EAGAIN ? 0 : r;
		m->deciding = true;
		m->due_ns = options->mono_ns + options->early_interval_ns;
	}
	return 0;
}
