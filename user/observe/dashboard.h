/* The dashboard for a region's operators: one page that needs nothing but this process's own /stats.json,
 * /region.json and /readyz.  It lives in dashboard.html and is built into the program as it is.
 *
 * What it shows, where it is there (a dash where not):
 *   /stats.json   readings_total {unique, duplicate, late, aside}, edge_to_region_latency, backlog_records,
 *                 gateways_live, gateways_dark, notices_total
 *   /region.json  {region, shards, gateways: [{id, last_seen_ms (its age), dark}],
 *                 notices: [{event_ns, device_id, metric, value, expected, score}],
 *                 error_budget: {window_s, share, objective (optional: the share that is allowed)}}
 */
#pragma once

#include "base/macros.h"

#define DASHBOARD_CONTENT_TYPE "text/html; charset=utf-8"

extern const struct slice dashboard_page;
