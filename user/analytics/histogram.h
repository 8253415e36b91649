/* Log-linear histogram of doubles: bucket = the double's bits >> 46, 64 buckets an octave, mirrored for negatives,
 * zero alone.  A quantile is its bucket's midpoint, so the error is at most half a bucket: 1/128 = 0.78 % of the
 * value, without libm.  Merging is addition; order does not matter.
 *
 * Sparse and sorted: 16 bytes a bucket in use.
 */
#pragma once

#include <stdint.h>

/* Of the largest finite double; indexes run from -HISTOGRAM_INDEX_MAX to HISTOGRAM_INDEX_MAX. */
#define HISTOGRAM_INDEX_MAX 131007

struct histogram_bucket {
	int32_t index;
	uint64_t count;
};

struct histogram {
	struct histogram_bucket *buckets; /* ascending by index */
	uint32_t n, cap;
	uint64_t count;
};
#define HISTOGRAM_INIT ((struct histogram){ 0 })

void histogram_done(struct histogram *h);
int32_t histogram_index(double value); /* finite */
double histogram_midpoint(int32_t index);
/* 0 or -ENOMEM. */
int histogram_add(struct histogram *h, int32_t index, uint64_t count);
int histogram_merge(struct histogram *into, const struct histogram *from);
/* Value at rank ceil(q * count), clamped to [min, max]; NaN when empty. */
double histogram_quantile(const struct histogram *h, double q, double min, double max);
