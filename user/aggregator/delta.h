/* ConsolidatedEnvelope (proto/delta.proto) as the aggregator takes it: unpacked, and checked to the last array.
 *
 * What passes here can be folded without another question; so it is asked before a delta is appended, and the same
 * bytes give the same answer when the log is folded.
 */
#pragma once

#include <stdint.h>

#include "analytics/window.h"
#include "base/macros.h"
#include "proto/delta.pb-c.h"
#include "stream/stream.h"

#define DELTA_VERSION 1
#define DELTA_REGION_MAX 32  /* bytes of region_id */
#define DELTA_SHARDS_MAX 1024
#define DELTA_NAME_MAX 255   /* bytes of a device type, metric, rule, ... */

struct delta_window {
	int64_t start_ns;
	const char *type, *metric;
	struct window_values values;
};

struct delta {
	Sluice__V1__ConsolidatedEnvelope *message; /* region_id, partition_key, stamps, counts, notices */
	struct log_id log;
	struct delta_window *windows; /* the message's, as values */
	size_t n_windows;
};

struct delta_why {
	char text[160]; /* a sentence */
};

/* 0; -EBADMSG with a sentence; -ENOMEM. */
int delta_read(struct delta *ret, struct slice bytes, struct delta_why *ret_why);
void delta_done(struct delta *d);

/* End of the minute that begins at start_ns; the last one that int64 has ends where int64 does. */
int64_t minute_end_ns(int64_t start_ns);
