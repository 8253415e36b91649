/* Log-linear histogram: buckets cut by the bits of the double itself.
 *
 * A positive double's bits, read as an integer, ascend with its value.  Their upper 18 bits are sign, exponent and
 * the six leading bits of the mantissa, so bits >> 46 numbers buckets of which 64 make an octave, all of one width
 * within it.  (HdrHistogram, G. Tene, has the same shape over integers; DDSketch, Masson et al., VLDB 2019, the same
 * promise with a logarithm.)  A bucket of the octave 2^e is 2^e / 64 wide and no value in it is below 2^e: its
 * midpoint is at most 2^e / 128 away from any of them, 1/128 = 0.78 % of the value.  Doubles below 2^-1022 have fewer
 * bits: there the error is at most half a bucket of 2^-1028.
 *
 * Index 0 is zero alone, so the smallest of all (bits >> 46 == 0) are counted with their neighbours in bucket 1.
 *
 * Cost: histogram_add() is a binary search, and a move of 16 bytes a larger bucket when the bucket is new; merging is
 * linear in both.
 */
#include "analytics/histogram.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define BUCKET_SHIFT 46
#define SIGN_BIT (1ULL << 63)

void histogram_done(struct histogram *h)
{
	if (!h)
		return;
	free(h->buckets);
	*h = HISTOGRAM_INIT;
}

int32_t histogram_index(double value)
{
	uint64_t bits;

	must(isfinite(value));
	if (value == 0)
		return 0;
	memcpy(&bits, &value, sizeof(bits));

	int32_t index = MAX((int32_t)((bits & ~SIGN_BIT) >> BUCKET_SHIFT), 1);

	return bits & SIGN_BIT ? -index : index;
}

double histogram_midpoint(int32_t index)
{
	double value;

	must(index >= -HISTOGRAM_INDEX_MAX && index <= HISTOGRAM_INDEX_MAX);
	if (index == 0)
		return 0;

	uint64_t bits = ((uint64_t)abs(index) << BUCKET_SHIFT) | (1ULL << (BUCKET_SHIFT - 1));

	memcpy(&value, &bits, sizeof(value));
	return index < 0 ? -value : value;
}

static int reserve(struct histogram *h, uint64_t n)
{
	if (n <= h->cap)
		return 0;

	/* There are no more indexes than this, so the capacity fits 32 bits. */
	uint64_t cap = CLAMP(h->cap * 2ULL, MAX(n, 8ULL), 2ULL * HISTOGRAM_INDEX_MAX + 1);
	struct histogram_bucket *bigger = realloc(h->buckets, cap * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	h->buckets = bigger;
	h->cap = (uint32_t)cap;
	return 0;
}

/* The first bucket that is not below index. */
static uint32_t place_of(const struct histogram *h, int32_t index)
{
	uint32_t low = 0, high = h->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (h->buckets[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int histogram_add(struct histogram *h, int32_t index, uint64_t count)
{
	must(index >= -HISTOGRAM_INDEX_MAX && index <= HISTOGRAM_INDEX_MAX);

	uint32_t at = place_of(h, index);

	if (count == 0)
		return 0;
	if (at == h->n || h->buckets[at].index != index) {
		int r = reserve(h, h->n + 1ULL);

		if (r < 0)
			return r;
		memmove(h->buckets + at + 1, h->buckets + at, (h->n - at) * sizeof(*h->buckets));
		h->buckets[at] = (struct histogram_bucket){ .index = index };
		h->n++;
	}
	h->buckets[at].count += count;
	h->count += count;
	return 0;
}

static uint32_t distinct(const struct histogram *a, const struct histogram *b)
{
	uint32_t n = 0, i = 0, k = 0;

	while (i < a->n && k < b->n) {
		int32_t left = a->buckets[i].index, right = b->buckets[k].index;

		i += left <= right;
		k += right <= left;
		n++;
	}
	return n + (a->n - i) + (b->n - k);
}

/* From the largest bucket down, so that it happens in place. */
int histogram_merge(struct histogram *into, const struct histogram *from)
{
	uint32_t n = distinct(into, from);
	int r = reserve(into, n);

	if (r < 0)
		return r;

	struct histogram_bucket *b = into->buckets;

	for (uint32_t at = n, i = into->n, k = from->n; k > 0;) {
		const struct histogram_bucket *next = &from->buckets[k - 1];

		if (i > 0 && b[i - 1].index > next->index) {
			b[--at] = b[--i];
			continue;
		}

		uint64_t count = next->count;

		if (i > 0 && b[i - 1].index == next->index)
			count += b[--i].count;
		b[--at] = (struct histogram_bucket){ .index = next->index, .count = count };
		k--;
	}
	into->n = n;
	into->count += from->count;
	return 0;
}

double histogram_quantile(const struct histogram *h, double q, double min, double max)
{
	if (h->count == 0)
		return NAN;

	double wanted = q * (double)h->count;
	uint64_t rank = wanted >= (double)h->count ? h->count : wanted > 0 ? (uint64_t)wanted : 0;
	uint64_t seen = 0;

	if (rank < h->count && (double)rank < wanted)
		rank++;
	rank = MAX(rank, (uint64_t)1);
	for (uint32_t i = 0; i < h->n; i++) {
		seen += h->buckets[i].count;
		if (seen >= rank)
			return CLAMP(histogram_midpoint(h->buckets[i].index), min, max);
	}
	return max;
}
