#include "analytics/anomaly.h"

#include <stdbool.h>

#include "base/macros.h"

/* A tenth of the rate: without that margin a score near the threshold would raise and clear with each value. */
#define CLEAR_MARGIN 10.0

/* unusual = 1 / (1 + R): above as long as R is less than ten times what the threshold allows. */
static bool is_still_unusual(double unusual, double threshold)
{
	double allowed = (1 - threshold) / threshold;

	return unusual * (1 + CLEAR_MARGIN * allowed) >= 1;
}

static enum anomaly_step begin(struct anomaly *a, int64_t onset_ns, enum detector_kind kind, int8_t direction,
			       double score)
{
	*a = (struct anomaly){ .onset_ns = onset_ns, .worst = score, .active = 1, .kind = (uint8_t)kind,
			       .direction = direction };
	return ANOMALY_RAISED;
}

enum anomaly_step anomaly_update(struct anomaly *a, double threshold, int64_t time_ns, const struct detection *found)
{
	double score = detector_weekly(found, found->score);

	if (!a->active)
		return score > 0 && score >= threshold ?
			       begin(a, time_ns, found->kind, found->direction, found->score) : ANOMALY_NOTHING;
	a->worst = MAX(a->worst, found->score);

	/* A spike is over when values are as before, although the series has been rougher of late. */
	double unusual = detector_kind_is_brief(a->kind) ? found->unusual_now : found->unusual;

	a->quiet = is_still_unusual(detector_weekly(found, unusual), threshold) ? 0 : a->quiet + 1;
	if (a->quiet < ANOMALY_QUIET_VALUES)
		return ANOMALY_NOTHING;
	a->active = 0;
	return ANOMALY_CLEARED;
}

enum anomaly_step anomaly_silent(struct anomaly *a, int64_t last_ns)
{
	if (a->active && a->kind == DETECTOR_SILENCE)
		return ANOMALY_NOTHING;
	return begin(a, last_ns, DETECTOR_SILENCE, 0, 1);
}

enum anomaly_step anomaly_heard(struct anomaly *a)
{
	if (!a->active || a->kind != DETECTOR_SILENCE)
		return ANOMALY_NOTHING;
	a->active = 0;
	return ANOMALY_CLEARED;
}

void anomaly_after_silence(struct detection *found)
{
	if (found->kind == DETECTOR_RHYTHM)
		found->score = found->unusual = found->unusual_now = 0;
}
