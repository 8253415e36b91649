/* Exact deduplication of readings by (device, timestamp_ns, hash), in 296 bytes a device.
 *
 * The state of a device answers most questions by itself: NEW or DUPLICATE, both proven.  What it cannot prove is
 * DEDUP_ASK: the caller looks into region.log (regional/pages.h) and, when the reading is new, calls dedup_accept().
 * How the proof goes stands at the top of dedup.c.
 *
 * The state is a function of the readings accepted, in their order.  So a fold of region.log rebuilds it, and any
 * state that keeps the invariants gives the same answers; only the number of questions may differ.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEDUP_RING 16

enum dedup_answer {
	DEDUP_NEW,       /* proven: not accepted before */
	DEDUP_DUPLICATE, /* proven: accepted before */
	DEDUP_ASK,       /* only the log knows */
};

struct dedup_device;

struct dedup {
	struct dedup_device *devices;
	uint32_t n, cap;
	int64_t span_ns;
};

/* span_ns: how far back readings still matter (the correction horizon); it weighs one gap against another and has no
 * influence on answers. */
void dedup_init(struct dedup *d, int64_t span_ns);
void dedup_done(struct dedup *d);
/* Room for devices 0..n-1; new ones have accepted nothing.  0 or -ENOMEM. */
int dedup_reserve(struct dedup *d, uint32_t n);

/* Changes nothing. */
enum dedup_answer dedup_look(const struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash);
/* A reading that is known to be new. */
void dedup_accept(struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash);
/* dedup_look(), and dedup_accept() of what is new. */
enum dedup_answer dedup_offer(struct dedup *d, uint32_t device, int64_t timestamp_ns, uint64_t hash);
/* Brings the device's state into the cache: for a loop over a batch, some readings ahead. */
void dedup_prefetch(const struct dedup *d, uint32_t device);
