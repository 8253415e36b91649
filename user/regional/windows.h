/* The windows of a shard: one minute of event time, a device type, a metric.
 *
 * What is folded in whatever order gives the same windows.  Devices are counted exactly, by number, in compressed
 * bitmaps (CRoaring).  A reading has several metrics and its device would have to be noted with each; so devices are
 * noted once for all metrics of a reading's set: a struct group is a minute, a type and a set of metrics, and a
 * window's devices are the union over the groups that have its metric: with one set a type, as is usual, there is
 * nothing to unite.
 *
 * Bounded: WINDOWS_MAX windows and as many groups are open; a reading that would need another is not windowed, and
 * counted. The caller gives back what lies behind the correction horizon.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "analytics/window.h"
#include "base/index.h"
#include "codec/block.h"
#include "regional/words.h"

#define WINDOWS_MAX (1u << 16)
#define SETS_MAX (1u << 14)
#define WINDOW_SET_NONE UINT32_MAX
#define GROUP_RECENT 64 /* a power of two */

struct roaring_bitmap_s;

/* The metrics of a reading as words, in wire order; of a name that stands there twice the last one counts, as in
 * protobuf: the others are WINDOW_SET_NONE; and so is a name with a zero byte, which no text could tell from another.
 */
struct window_set {
	uint32_t n;
	uint32_t *metrics;
};

struct window {
	int64_t start_ns;
	uint32_t type, metric;
	bool changed;
	struct window_values values; /* without devices: window_devices() */
	uint32_t *groups;            /* that have this metric */
	uint32_t n_groups, cap_groups;
};

struct window_group {
	int64_t start_ns;
	uint32_t type, set;
	struct roaring_bitmap_s *devices;
	uint32_t *windows; /* one for each metric of the set, UINT32_MAX for a repeated name */
};

struct windows {
	struct window *list;
	uint32_t n, cap;
	struct index index;
	struct window_group *groups;
	uint32_t n_groups, cap_groups;
	struct index group_index;
	struct window_set *sets;
	uint32_t n_sets, cap_sets;
	struct index set_index;
	uint32_t recent[GROUP_RECENT]; /* group + 1, by the hash of its key */
	uint32_t *changed;             /* windows; cap entries */
	uint32_t n_changed;
};

void windows_done(struct windows *w);

/* The number of a set of names.  0; -ENOMEM; -ENOSPC when SETS_MAX is reached. */
int windows_set(struct windows *w, struct words *words, const struct block_set *set, uint32_t *ret);
/* Adds a reading: values has one entry for each metric of the set.  0; -ENOMEM; -ENOSPC (nothing was added). */
int windows_add(struct windows *w, int64_t timestamp_ns, uint32_t type, uint32_t set, uint32_t device,
		const double *values, bool late);
/* Distinct devices of a window. */
uint64_t windows_devices(const struct windows *w, const struct window *window);
/* Gives back all windows that end at this time or before, and before the first that has changed.  -ENOMEM leaves the
 * windows unusable. */
int windows_drop(struct windows *w, int64_t until_ns);
/* All windows count as changed, or none. */
void windows_mark(struct windows *w, bool changed);
