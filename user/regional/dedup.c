/* Exact deduplication.
 *
 * A set of all readings ever accepted would answer at once, and would need some 24 bytes a reading.  But devices
 * are orderly: nearly always a reading is newer than all before it, or it fills a hole that an outage has left, or it
 * is one of the last few again.  So the state of a device is four times and a ring, and each proves something about
 * A, the set of the device's readings accepted so far:
 *
 *   newest    no reading in A is newer; A has one of this time.
 *             Hence a reading that is newer is not in A.
 *   lo, hi    no reading in A has lo < time < hi: the gap.
 *             Hence a reading inside is not in A.
 *   ring      the last 16 accepted, time and hash whole: each is in A.
 *             Hence a reading that equals one of them is in A.
 *   evicted   the greatest time that ever fell out of the ring.  Whatever is in A and not in the ring has fallen out,
 *             so its time is at most this.
 *             Hence a reading that is younger than `evicted` and not in the ring is not in A.
 *
 * What none of the four decides is DEDUP_ASK.  A reading of the same time and another hash is another reading: times
 * are compared strictly, and the ring compares both.
 *
 * Accepting (time t) keeps all four:
 *
 *   t > newest       (newest, t) is free of A.  It becomes the gap if it is wider than the present one; newest := t.
 *   lo < t < hi      both halves are free of A; one is kept: (t, hi) when the other has no beginning, else the wider
 *                    one. An outage drains in order of time, so that the gap shrinks from below while live readings
 *                    pass above it, and nobody asks.
 *   else             the gap stays as it is: t lies outside.
 *   always           into the ring; what falls out raises `evicted`.
 *
 * A device's first reading leaves the gap (-inf, t).  Width counts only as far back as span_ns before newest, for
 * what is older is not windowed any more: so a gap that has grown old gives way to a younger one.  INT64_MIN stands
 * for -inf; a reading of exactly that time is inside no gap, which asks and does not err.
 *
 * Cost: one or two cache lines for a reading in order, up to five for the others; no allocation, no division.
 */
#include "regional/dedup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

struct dedup_entry {
	int64_t timestamp_ns;
	uint64_t hash;
};

struct dedup_device {
	int64_t newest, lo, hi, evicted;
	uint32_t accepted; /* modulo DEDUP_RING the next place; from 3 * DEDUP_RING on it falls back by DEDUP_RING */
	uint32_t unused;
	struct dedup_entry ring[DEDUP_RING];
};

_Static_assert(sizeof(struct dedup_device) == 296, "what a device costs is documented");

void dedup_init(struct dedup *d, int64_t span_ns)
{
	*d = (struct dedup){ .span_ns = span_ns };
}

void dedup_done(struct dedup *d)
{
	free(d->devices);
	d->devices = NULL;
	d->n = d->cap = 0;
}

int dedup_reserve(struct dedup *d, uint32_t n)
{
	if (n > d->cap) {
		uint32_t cap = MAX(n, MAX(d->cap + d->cap / 2, 1024u));
		struct dedup_device *devices = realloc(d->devices, cap * sizeof(*devices));

		if (!devices)
			return -ENOMEM;
		d->devices = devices;
		d->cap = cap;
	}
	if (n > d->n) {
		memset(d->devices + d->n, 0, (n - d->n) * sizeof(*d->devices));
		d->n = n;
	}
	return 0;
}

void dedup_prefetch(const struct dedup *d, uint32_t device)
{
	__builtin_prefetch(&d->devices[device], 1);
	__builtin_prefetch(&d->devices[device].ring[4], 1);
}

static bool in_ring(const struct dedup_device *v, int64_t timestamp_ns, uint64_t hash)
{
	uint32_t n = MIN(v->accepted, (uint32_t)DEDUP_RING);

	for (uint32_t i = 0; i < n; i++)
		if (v->ring[i].timestamp_ns == timestamp_ns && v->ring[i].hash == hash)
			return true;
	return false;
}

static enum dedup_answer look(const struct dedup_device *v, int64_t timestamp_ns, uint64_t hash)
{
	if (v->accepted == 0 || timestamp_ns > v->newest || (v->lo < timestamp_ns && timestamp_ns < v->hi))
		return DEDUP_NEW;
	if (in_ring(v, timestamp_ns, hash))
		return DEDUP_DUPLICATE;
	if (v->accepted <= DEDUP_RING || timestamp_ns > v->evicted)
		return DEDUP_NEW;
	return DEDUP_ASK;
}

/* Of a gap, what is not older than the span. */
static uint64_t width(int64_t lo, int64_t hi, int64_t oldest)
{
	lo = MAX(lo, oldest);
	return hi > lo ? (uint64_t)hi - (uint64_t)lo : 0;
}

static int64_t minus_saturated(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_sub_overflow(a, b, &r) ? INT64_MIN : r;
}

static void into_ring(struct dedup_device *v, int64_t timestamp_ns, uint64_t hash)
{
	struct dedup_entry *e = &v->ring[v->accepted % DEDUP_RING];

	if (v->accepted == DEDUP_RING)
		v->evicted = e->timestamp_ns;
	else if (v->accepted > DEDUP_RING)
		v->evicted = MAX(v->evicted, e->timestamp_ns);
	*e = (struct dedup_entry){ .timestamp_ns = timestamp_ns, .hash = hash };
	if (++v->accepted == 3 * DEDUP_RING)
		v->accepted = 2 * DEDUP_RING;
}

static void accept(struct dedup_device *v, int64_t timestamp_ns, uint64_t hash, int64_t span_ns)
{
	if (v->accepted == 0) {
		v->newest = v->hi = timestamp_ns;
		v->lo = INT64_MIN;
	} else if (timestamp_ns > v->newest) {
		int64_t oldest = minus_saturated(timestamp_ns, span_ns);

		if (width(v->newest, timestamp_ns, oldest) > width(v->lo, v->hi, oldest)) {
			v->lo = v->newest;
			v->hi = timestamp_ns;
		}
		v->newest = timestamp_ns;
	} else if (v->lo < timestamp_ns && timestamp_ns < v->hi) {
		int64_t oldest = minus_saturated(v->newest, span_ns);

		if (v->lo == INT64_MIN || width(timestamp_ns, v->hi, oldest) >= width(v->lo, timestamp_ns, oldest))
			v->lo = timestamp_ns;
		else
			v->hi = timestamp_ns;
	}
	into_ring(v, timestamp_ns, hash);
}

enum dedup_answer dedup_look(const struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	must(device < d->n);
	return look(&d->devices[device], timestamp_ns, hash);
}

void dedup_accept(struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	must(device < d->n);
	accept(&d->devices[device], timestamp_ns, hash, d->span_ns);
}

enum dedup_answer dedup_offer(struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	must(device < d->n);

	struct dedup_device *v = &d->devices[device];
	enum dedup_answer answer = look(v, timestamp_ns, hash);

	if (answer == DEDUP_NEW)
		accept(v, timestamp_ns, hash, d->span_ns);
	return answer;
}
