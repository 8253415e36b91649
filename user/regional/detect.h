/* Detectors of a shard: one for each device and metric, found without a search for every value.
 *
 * A device's readings come with few sets of metrics, mostly one.  A series is a device and a set: the numbers of the
 * detectors of its metrics, one behind the other.  A metric that stands in several sets of a device has one detector.
 *
 * State is a fold of the values that are new and in time; what it says is the same after a restart.  Bounded: of more
 * than DETECTORS_MAX series of values the later ones are not watched, and counted.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdint.h>

#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "regional/devices.h"
#include "regional/windows.h"

#define DETECTORS_MAX (1u << 19) /* of a shard */
#define SERIES_NONE UINT32_MAX
#define DETECTOR_NONE UINT32_MAX

struct series {
	uint32_t set;
	uint32_t next; /* another set of the same device, or SERIES_NONE */
	uint32_t at;   /* in refs: a detector for each metric of the set, or DETECTOR_NONE */
};

/* A metric of a device. */
struct watched {
	struct detector detector;
	struct anomaly anomaly;
};

struct detectors {
	struct watched *list;
	uint32_t n, cap;
	struct series *series;
	uint32_t n_series, cap_series;
	uint32_t *refs;
	uint32_t n_refs, cap_refs;
	uint64_t refused; /* series of values that are not watched */
};

void detectors_done(struct detectors *d);
/* The detectors of a device's set, as many as the set has metrics; valid until the next call.  0; -ENOMEM;
 * -ENOSPC when there are too many sets. */
int detectors_of(struct detectors *d, struct device *device, const struct windows *windows, uint32_t set,
		 const uint32_t **ret);
