/* What may become an alert: an anomaly of a device, told by its region, or of the windows of a type and metric.
 *
 * An anomaly is one event from its onset until it is over.  It may be told several times: the same (origin, region,
 * device or series, onset) is the same event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define SIGNAL_SHARES_MAX 8

enum signal_origin { SIGNAL_DEVICE, SIGNAL_WINDOW };

struct signal_share {
	const char *metric;
	double share; /* 0..1 */
};

struct alert_signal {
	enum signal_origin origin;
	const char *region;    /* "": of windows */
	const char *device_id; /* "": of windows */
	const char *type, *place;
	const char *metric; /* "": a device's silence */
	const char *kind;   /* detector_kind_name(), or one of a newer region */
	int8_t direction;
	double value, expected, low, high, score;
	int64_t onset_ns;
	int64_t event_ns;   /* of the reading or window that it is told for */
	int64_t arrival_ns; /* of that reading; 0: none */
	int64_t clock_ns;   /* when that was, in the time that alerts go by: see book.h */
	bool stale;         /* noticed in a backlog */
	struct signal_share shares[SIGNAL_SHARES_MAX]; /* the largest first */
	uint32_t n_shares;
	uint64_t devices; /* 1, or those of the window */
	/* Of a window. */
	uint64_t count;
	double completeness;
	struct slice trace_id; /* empty: none */
};
