/* A window's values for one device type and metric: what is added, in whatever order, gives the same bytes.
 *
 * sum is exact at scale 1e-9 (int128), sum of squares at 1e-18 (int256).  NaN, infinities and |v| >= 1e18 are
 * counted, not summed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "analytics/histogram.h"
#include "base/buf.h"

typedef __int128 int128;

struct int256 {
	uint64_t w[4]; /* little-endian words, two's complement */
};
void int256_add(struct int256 *a, const struct int256 *b);
void int256_add_square(struct int256 *a, int128 v);
/* Decimal text at scale 1e-18: "12.5", "0"; returns its length. */
int int256_format_fixed18(const struct int256 *v, char ret[96]);

struct window_values {
	uint64_t count; /* values summed */
	uint64_t devices;
	int128 sum;
	struct int256 sum_squares;
	double min, max; /* valid when count > 0 */
	uint64_t not_finite, out_of_range, late;
	struct histogram histogram;
};

void window_values_done(struct window_values *w);
/* fixed: decimal_fixed9() of the value. 0 or -ENOMEM. */
int window_values_add(struct window_values *w, double value, int128 fixed);
void window_values_add_unsummed(struct window_values *w, bool finite);
/* devices are added up: the caller merges only disjoint shards. */
int window_values_merge(struct window_values *into, const struct window_values *from);

/* Canonical JSON members of a window (CONTRACTS, Windows), from "count" on, without braces:
 * "count":…,"devices":…,"sum":"…","sum_squares":"…","min":…,"max":…,"quantiles":{"0.5":…,"0.9":…,"0.95":…,"0.99":…},
 * "not_finite":…,"out_of_range":…,"late":… .  min, max and quantiles are null when count is 0. Integers beyond 2^53
 * are strings.  sum: text of decimal_format_fixed9() */
void window_values_append_json(struct buf *b, const struct window_values *w);

/* Start of the minute that a time lies in, for negative times too. */
int64_t window_start_ns(int64_t time_ns);
