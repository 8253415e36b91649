/* What is watched in a shard: a detector for each device and metric, found without a search for every value, and what
 * is known of each device as a whole.
 *
 * A device's readings come with few sets of metrics, mostly one.  A series is a device and a set: the numbers of the
 * detectors of its metrics, one behind the other.  A metric that stands in several sets of a device has one detector.
 *
 * State is a fold of region.log; what it says is the same after a restart.  Bounded: of more than `max` series of
 * values, or SERIES_MAX devices and sets, the later ones are not watched, and counted.  A detector has about a KiB, so
 * that they are most of a region's memory: it grows in chunks.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "regional/calendar.h"
#include "regional/chunks.h"
#include "regional/devices.h"
#include "regional/windows.h"

#define SERIES_MAX (1u << 19) /* of a shard */
#define SERIES_NONE UINT32_MAX
#define WATCHED_NONE UINT32_MAX

struct series {
	uint32_t set;
	uint32_t next; /* another set of the same device, or SERIES_NONE */
	uint32_t at;   /* in refs: a detector for each metric of the set, or WATCHED_NONE */
};

/* A metric of a device. */
struct watched {
	struct anomaly anomaly;
	struct detector detector;
};

/* A device with at least one series. */
struct watch {
	struct day day;
	uint32_t device, series; /* its number, and its first series */
	uint32_t type, place;    /* as its newest record of the log has them */
	int64_t newest_ns;       /* event time of its newest reading, late ones too */
	int64_t fed_ns;          /* event time of the newest that the detectors have seen */
	struct anomaly silence;
	/* Its event, regional/event.c. */
	int64_t onset_ns;
	bool active;
	uint8_t kind;            /* enum detector_kind, NONE: there never was one; this, direction and metric as last told */
	int8_t direction;
	uint8_t looks;           /* in vain: its rhythm was unknown */
	uint32_t metric;
	uint32_t anomalous;      /* metrics */
};

struct detectors {
	struct chunks watched, watches;
	uint32_t n, max, n_watches;
	struct series *series;
	uint32_t n_series, cap_series;
	uint32_t *refs;
	uint32_t n_refs, cap_refs;
	uint64_t refused;  /* series of values that are not watched */
	uint32_t n_silent; /* watches */
	struct calendar calendar; /* of watches: when each may have been silent for too long */
};

/* max: series of values.  It must not be moved afterwards. */
void detectors_init(struct detectors *d, uint32_t max);
void detectors_done(struct detectors *d);
static inline struct watched *watched_at(const struct detectors *d, uint32_t i)
{
	return chunks_at(&d->watched, i);
}
static inline struct watch *watch_at(const struct detectors *d, uint32_t i)
{
	return chunks_at(&d->watches, i);
}
/* The detectors of a device's set, as many as the set has metrics; valid until the next call.  The device has a watch
 * afterwards.  0; -ENOMEM; -ENOSPC when there are too many devices and sets. */
int detectors_of(struct detectors *d, struct devices *devices, uint32_t device, const struct windows *windows, uint32_t set,
		 const uint32_t **ret);
