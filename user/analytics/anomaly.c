#include "analytics/anomaly.h"

#include <stdbool.h>

#include "base/macros.h"

/* Of rates.  To last takes a tenth of the rarity that it takes to begin: without it what is near the threshold would begin
 * and end with each value.  To begin without a score, which tells a story once, takes three times as much. */
#define MARGIN 10.0
#define RARER 3.0

/* Whether R, of a measure that is 1 / (1 + R), is at most `times` what the threshold allows. */
static bool is_within(const struct detection *found, double measure, double threshold, double times)
{
	double a_week = detector_weekly(found, measure), allowed = (1 - threshold) / threshold;

	return a_week > 0 && a_week * (1 + times * allowed) >= 1;
}

static enum anomaly_step begin(struct anomaly *a, int64_t onset_ns, enum detector_kind kind, int8_t direction,
			       double score)
{
	*a = (struct anomaly){ .onset_ns = onset_ns, .worst = score, .active = 1, .kind = (uint8_t)kind,
			       .direction = direction };
	return ANOMALY_RAISED;
}

static enum anomaly_step look_for_one(struct anomaly *a, double threshold, int64_t time_ns, const struct detection *found)
{
	a->rest -= a->rest > 0;
	if (is_within(found, found->score, threshold, 1))
		return begin(a, time_ns, found->kind, found->direction, found->score);
	if (a->rest == 0 && found->lasts && !found->young && is_within(found, found->unusual, threshold, 1 / RARER))
		return begin(a, time_ns, found->kind, found->direction, found->unusual);
	return ANOMALY_NOTHING;
}

/* A spike is over when values are as before, although the series has been rougher of late; and not while they have not
 * returned, although that is no news any more. */
static bool is_quiet(struct anomaly *a, double threshold, const struct detection *found)
{
	if (!detector_kind_is_brief(a->kind))
		return !is_within(found, found->unusual, threshold, MARGIN);
	a->away = found->away ? a->away + (a->away < ANOMALY_AWAY_VALUES) : ANOMALY_AWAY_VALUES;
	if (found->away && (a->kind == DETECTOR_SEASONAL || a->away < ANOMALY_AWAY_VALUES))
		return false;
	return !is_within(found, found->unusual_now, threshold, MARGIN);
}

/* The first values of what lasts are a spike, those of a drift a small step, and those of a flatline the calm before. */
static bool is_renamed(const struct anomaly *a, double threshold, const struct detection *found)
{
	bool may_be = a->kind == DETECTOR_SPIKE || a->kind == DETECTOR_SEASONAL || found->kind == DETECTOR_FLATLINE ||
		      (a->kind == DETECTOR_LEVEL_SHIFT && found->kind == DETECTOR_DRIFT && a->age < ANOMALY_DRIFT_VALUES);

	return may_be && found->kind != a->kind && found->lasts && is_within(found, found->unusual, threshold, MARGIN);
}

enum anomaly_step anomaly_update(struct anomaly *a, double threshold, int64_t time_ns, const struct detection *found)
{
	if (!a->active)
		return look_for_one(a, threshold, time_ns, found);
	a->worst = MAX(a->worst, found->score);
	a->age += a->age < UINT8_MAX;
	a->quiet = is_quiet(a, threshold, found) ? a->quiet + 1 : 0;
	if (is_renamed(a, threshold, found)) {
		a->kind = (uint8_t)found->kind;
		a->direction = found->direction;
		return ANOMALY_RENAMED;
	}
	if (a->quiet < ANOMALY_QUIET_VALUES)
		return ANOMALY_NOTHING;
	a->active = 0;
	a->rest = a->kind == DETECTOR_SPIKE ? 0 : ANOMALY_REST_VALUES;
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
