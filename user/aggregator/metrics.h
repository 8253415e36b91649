/* The aggregator's metrics: ids and the table, from aggregator_metrics.def. */
#pragma once

#include "config/config.h"
#include "observe/metrics.h"

#define METRICS_DEF "aggregator/aggregator_metrics.def"
enum aggregator_metric {
#include "observe/metric_ids.h"
	AGGREGATOR_METRICS,
};
#undef METRICS_DEF

#define ALERT_STATES 6 /* of which people are told */

/* Those by region and receiver have these names as labels, which must outlive the set. 0 or -ENOMEM. */
int aggregator_metrics_new(struct metrics **ret, const char *const *regions, uint32_t n_regions,
			   const char *const *receivers, uint32_t n_receivers);
