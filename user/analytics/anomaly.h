/* An anomaly of one series as one event: it begins with a score at the threshold, and ends when nothing unusual has been
 * seen for a while.
 *
 * A score tells a story once, and what comes slowly never has one that is high enough.  So what is found to last also
 * begins an event by being unusual, three times as rare as that, when no event of late may have been the same story.
 *
 * What lasts often begins like what is brief: the first value of a new level is a spike.  The event is renamed when the
 * series has shown more.
 *
 * Plain bytes, like the detector's state, and beside it: what begins an event is a setting, what the detector learns is
 * not.  Threads: none.
 */
#pragma once

#include <stdint.h>

#include "analytics/detector.h"

#define ANOMALY_QUIET_VALUES 3   /* usual ones in a row end it */
#define ANOMALY_AWAY_VALUES 32   /* for so long a spike is not over while values have not returned */
#define ANOMALY_DRIFT_VALUES 150 /* for so long a new level may turn out to move on */
#define ANOMALY_REST_VALUES 200  /* for so long, after one that was more than a spike, only a score begins another */

struct anomaly {
	int64_t onset_ns; /* of the value that began it; kept until the next one begins */
	double worst;     /* the highest score since, or what it began with */
	uint8_t active, quiet;
	uint8_t kind; /* enum detector_kind */
	int8_t direction;
	/* Values: since it began, up to 255; before the first that returned; left of ANOMALY_REST_VALUES. */
	uint8_t age, away, rest;
};

/* Renamed: it has another kind and direction now, and is the same event. */
enum anomaly_step { ANOMALY_NOTHING, ANOMALY_RAISED, ANOMALY_RENAMED, ANOMALY_CLEARED };

/* threshold: detector_threshold(). A zeroed anomaly is none. */
enum anomaly_step anomaly_update(struct anomaly *a, double threshold, int64_t time_ns, const struct detection *found);
/* The series is silent since its last value at last_ns: begins an event, if none lasts that is one of silence.  The next
 * value ends it: see anomaly_heard(). */
enum anomaly_step anomaly_silent(struct anomaly *a, int64_t last_ns);
/* Before anomaly_update(): a value has come. CLEARED when that ends a silence. */
enum anomaly_step anomaly_heard(struct anomaly *a);
/* Of the value that ended a silence, before anomaly_update(): that it is late has been told.  If that is the most that
 * there is to say of it, it is nothing. */
void anomaly_after_silence(struct detection *found);
