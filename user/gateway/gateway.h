/* What the parts of the gateway share: settings, metrics, keys, the commit. */
#pragma once

#include <stdbool.h>

#include "bpf/shared/admission.h"
#include "bpf/shared/verdict.h"
#include "config/config.h"
#include "gateway/commit.h"
#include "gateway/limit.h"
#include "net/loader.h"
#include "observe/metrics.h"

#define METRICS_DEF "gateway/gateway_metrics.def"
enum gateway_metric {
#include "observe/metric_ids.h"
	GATEWAY_METRIC_COUNT
};
#undef METRICS_DEF

struct gateway {
	struct settings settings;
	struct metrics *metrics;
	struct admit_keys keys;
	struct commit *commit;
	struct xdp *xdp;       /* NULL: the UDP socket only */
	struct limiter *limiter; /* of the UDP socket; NULL when the XDP program limits already */
};

/* The set of metrics, shared by main and tests. 0 or -ENOMEM. */
int gateway_metrics_new(struct metrics **ret);

/* Fills keys from auth.* of the settings. 0, or negative errno with a sentence. */
int gateway_keys_load(struct admit_keys *ret, const struct settings *settings, struct config_error *ret_error);
