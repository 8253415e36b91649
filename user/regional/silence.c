/* Devices that are no longer heard.
 *
 * A detector knows by the rhythm of its values until when the next one should have come; a device is silent when the
 * latest of those times, over its metrics, lies before the watermark.  A metric whose rhythm is unknown has no say; a
 * device that never had a rhythm is never silent.
 *
 * The watermark is what makes that sure: it says that what is older has been read.  While a gateway drains a backlog its
 * clock stands, and the watermark with it, so a device is not silent whose readings are still to come.  Three things
 * move the time at which a device is missed:
 *   - readings behind the watermark, which detectors do not see, are signs of life as all others;
 *   - after a time in which the watermark stood for longer than what makes a gateway dark, nobody could be heard, and
 *     all have the time they are allowed once more from there (under clock: arrival; event time may leap as it likes);
 *   - a clock of a device that is ahead delays its silence by as much.
 *
 * Looking.  Whether a device is silent is looked at in the second of event time after the one in which it would be, as
 * it was known when it was looked at before: each device stands once in a calendar by seconds, and what it sends in the
 * meantime does not move it there.  So a device costs one look for each time that it is allowed to be silent.  Of one record
 * at most LOOKS_A_RECORD are taken, and SILENCES_A_RECORD found; the next record goes on.  So all this is a function of the
 * log's records, and is the same after they are folded again.
 *
 * Telling.  One notice, with the last reading's time as its onset, and one when the device is heard again.  A device
 * has one event at a time: silence ends another one.  (device, onset) names an event, so when the last reading has begun
 * one, silence begins a nanosecond later.
 *
 * A gateway that is gone takes all its devices with it as far as the region can tell: it is declared dark by a record of
 * its own, is logged and counted (gateways_dark), and from then on the watermark passes it by; the devices that do not
 * find another one become silent each by its own rhythm, and each is told.  It is the aggregator that makes one alert of
 * those of one place.  They are heard again when the gateway is.
 */
#include "base/clock.h"
#include "regional/region.h"

#define LOOKS_A_RECORD 4096
#define SILENCES_A_RECORD 256
#define FIRST_LOOK_S 10 /* at a device without a rhythm; then twice as long, and so on */
#define LAST_LOOK_S 3600

static int64_t second_of(int64_t time_ns)
{
	return time_ns / NS_PER_S - (time_ns % NS_PER_S < 0);
}

static int64_t plus_saturated(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

static int64_t silent_at_ns(const struct shard *s, const struct watch *w)
{
	const struct detectors *d = &s->detectors;
	double rate = s->region->settings->regional_false_alarms_per_week;
	int64_t latest_ns = INT64_MIN, later_ns;

	for (uint32_t k = w->series; k != SERIES_NONE; k = d->series[k].next) {
		for (uint32_t m = 0; m < s->windows.sets[d->series[k].set].n; m++) {
			uint32_t ref = d->refs[d->series[k].at + m];
			int64_t at_ns = ref == WATCHED_NONE ? INT64_MAX : detector_silent_at_ns(&watched_at(d, ref)->detector, rate);

			if (at_ns != INT64_MAX)
				latest_ns = MAX(latest_ns, at_ns);
		}
	}
	if (latest_ns == INT64_MIN)
		return INT64_MAX;
	if (__builtin_sub_overflow(MAX(w->newest_ns, s->resumed_ns), w->fed_ns, &later_ns))
		return INT64_MAX;
	return plus_saturated(latest_ns, later_ns);
}

static bool is_silent(const struct shard *s, int64_t silent_at_ns)
{
	return s->folded.watermark_ns != WATERMARK_NONE && second_of(silent_at_ns) < second_of(s->folded.watermark_ns);
}

static struct notice notice_of(const struct watch *w)
{
	return (struct notice){
		.device = w->device,
		.type = w->type,
		.place = w->place,
		.metric = NOTICE_NO_METRIC,
		.onset_ns = w->silence.onset_ns,
		.score = w->silence.worst,
		.kind = DETECTOR_SILENCE,
	};
}

/* ------------------------------------------------------------------ heard */

static void heard_again(struct shard *s, const struct flight *f, uint32_t i, struct watch *w, uint32_t watch, int64_t now_ns)
{
	struct notice n = notice_of(w);

	must(anomaly_heard(&w->silence) == ANOMALY_CLEARED);
	n.event_ns = f->block.timestamp_ns[i];
	n.arrival_ns = f->block.arrival_ns[i];
	n.hash = f->block.hash[i];
	n.cleared = true;
	s->detectors.n_silent--;
	calendar_enter(&s->detectors.calendar, watch, second_of(w->newest_ns));
	notice_tell(s, &n, now_ns);
}

static struct watch *take_sign(struct shard *s, const struct flight *f, uint32_t i, uint32_t watch)
{
	struct watch *w = watch_at(&s->detectors, watch);

	w->type = f->type[f->block.device[i]];
	w->place = f->place[f->block.device[i]];
	w->newest_ns = MAX(w->newest_ns, f->block.timestamp_ns[i]);
	return w;
}

bool silence_heard(struct shard *s, const struct flight *f, uint32_t i, int64_t now_ns)
{
	uint32_t watch = s->devices.list[f->device[f->block.device[i]]].watch;
	struct watch *w = take_sign(s, f, i, watch);

	if (w->fed_ns == INT64_MIN)
		calendar_enter(&s->detectors.calendar, watch, plus_saturated(second_of(w->newest_ns), FIRST_LOOK_S));
	w->fed_ns = MAX(w->fed_ns, f->block.timestamp_ns[i]);
	if (!w->silence.active)
		return false;
	heard_again(s, f, i, w, watch, now_ns);
	return true;
}

void silence_heard_late(struct shard *s, const struct flight *f, uint32_t i, int64_t now_ns)
{
	uint32_t watch = s->devices.list[f->device[f->block.device[i]]].watch;

	if (watch == WATCHED_NONE)
		return;

	struct watch *w = take_sign(s, f, i, watch);

	if (w->silence.active && !is_silent(s, silent_at_ns(s, w)))
		heard_again(s, f, i, w, watch, now_ns);
}

/* ------------------------------------------------------------------ by time */

static void end_event(struct shard *s, struct watch *w, int64_t now_ns)
{
	struct notice n = notice_of(w);

	n.metric = w->metric;
	n.kind = w->kind;
	n.direction = w->direction;
	n.onset_ns = w->onset_ns;
	n.score = 0;
	n.event_ns = s->folded.watermark_ns;
	n.arrival_ns = s->heard_ns;
	n.cleared = true;
	w->active = false;
	notice_tell(s, &n, now_ns);
}

static void begin_silence(struct shard *s, struct watch *w, int64_t now_ns)
{
	bool same = w->kind != DETECTOR_NONE && w->onset_ns == w->newest_ns && w->newest_ns < INT64_MAX;

	must(anomaly_silent(&w->silence, w->newest_ns + same) == ANOMALY_RAISED);

	struct notice n = notice_of(w);

	n.event_ns = s->folded.watermark_ns;
	n.arrival_ns = s->heard_ns;
	n.first = true;
	s->detectors.n_silent++;
	notice_tell(s, &n, now_ns);
}

/* 1 when the device is found silent. */
static uint32_t look(struct shard *s, uint32_t watch, int64_t now_second, int64_t now_ns)
{
	struct watch *w = watch_at(&s->detectors, watch);
	int64_t at_ns = silent_at_ns(s, w);

	if (at_ns == INT64_MAX) {
		calendar_enter(&s->detectors.calendar, watch, now_second + MIN(FIRST_LOOK_S << MIN(w->looks, 9), LAST_LOOK_S));
		w->looks += w->looks < UINT8_MAX;
		return 0;
	}
	if (!is_silent(s, at_ns)) {
		calendar_enter(&s->detectors.calendar, watch, second_of(at_ns) + 1);
		return 0;
	}
	if (w->active)
		end_event(s, w, now_ns);
	begin_silence(s, w, now_ns);
	return 1;
}

void silence_look(struct shard *s, int64_t before_ns, int64_t now_ns)
{
	const struct settings *set = s->region->settings;
	int64_t watermark_ns = s->folded.watermark_ns, stood_ns;
	uint32_t budget = LOOKS_A_RECORD, watch;

	if (watermark_ns == WATERMARK_NONE)
		return;
	if (set->streams_clock == CLOCK_ARRIVAL && (__builtin_sub_overflow(watermark_ns, before_ns, &stood_ns) ||
						    stood_ns > set->regional_gateway_dark_ms * NS_PER_MS))
		s->resumed_ns = watermark_ns;
	for (uint32_t found = 0; found < SILENCES_A_RECORD; found += look(s, watch, second_of(watermark_ns), now_ns)) {
		watch = calendar_take(&s->detectors.calendar, second_of(watermark_ns), &budget);
		if (watch == CALENDAR_NONE)
			break;
	}
}
