#include "aggregator/metrics.h"

#include "aggregator/render.h"

#define METRICS_DEF "aggregator/aggregator_metrics.def"

int aggregator_metrics_new(struct metrics **ret, const char *const *regions, uint32_t n_regions)
{
	/* One set a process: the table lives as long. */
	static struct metric_desc descs[AGGREGATOR_METRICS] = {
#include "observe/metric_descs.h"
	};

	descs[M_UNIQUE].values = descs[M_DUPLICATES].values = regions;
	descs[M_UNIQUE].n_values = descs[M_DUPLICATES].n_values = n_regions;
	return metrics_new(ret, "aggregator", descs, AGGREGATOR_METRICS);
}
