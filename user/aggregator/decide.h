/* What is to become of the minutes: the decider looks at the folded state and at the regions, and has decisions
 * appended.
 *
 * final      the watermark of every configured region is at or past the minute's end;
 * partial    the same over the live ones, and those that are not there are dark;
 * early      changed and not settled, at most once in early_interval;
 * corrected  changed after it was settled, at most once in early_interval.
 *
 * What it decides takes effect when it is folded; there is at most one decision of a minute under way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "aggregator/state.h"

struct decide_region { /* a configured one; in the order of names */
	const char *name;
	int64_t watermark_ns; /* of its slowest shard; INT64_MIN: not heard of all of them */
	double completeness;
	bool dark; /* nothing was heard of at least one shard for region_dark_ms */
};

struct decide_options {
	int64_t mono_ns, wall_ns;
	int64_t early_interval_ns;
	/* Appends the record.  -EAGAIN: not now, the rest waits for the next call. */
	int (*append)(void *context, const Sluice__V1__WindowDecision *decision);
	void *context;
};

/* 0 or what append returned. */
int decide(struct state *s, const struct decide_region *regions, size_t n, const struct decide_options *options);
