#include "aggregator/metrics.h"

#include "aggregator/render.h"
#include "alerts/book.h"

#define METRICS_DEF "aggregator/aggregator_metrics.def"

_Static_assert(ALERT_STATES == ALERT_STATE(PAST) - ALERT_STATE(RAISED) + 1, "one label each");

int aggregator_metrics_new(struct metrics **ret, const char *const *regions, uint32_t n_regions,
			   const char *const *receivers, uint32_t n_receivers)
{
	static const char *alert_states[ALERT_STATES];
	/* One set a process: the table lives as long. */
	static struct metric_desc descs[AGGREGATOR_METRICS] = {
#include "observe/metric_descs.h"
	};

	for (int i = 0; i < ALERT_STATES; i++)
		alert_states[i] = alert_state_name(ALERT_STATE(RAISED) + i);
	for (int id = M_ALERTS_SENT; id <= M_ALERTS_RETRIED; id++) {
		descs[id].values = receivers;
		descs[id].n_values = n_receivers;
	}
	descs[M_UNIQUE].values = descs[M_DUPLICATES].values = regions;
	descs[M_UNIQUE].n_values = descs[M_DUPLICATES].n_values = n_regions;
	return metrics_new(ret, "aggregator", descs, AGGREGATOR_METRICS);
}
