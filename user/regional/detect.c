#include "regional/detect.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"

#define ARRAYS_LEAST 256

static struct day *day_of(void *context, uint32_t member)
{
	return &watch_at(context, member)->day;
}

void detectors_init(struct detectors *d, uint32_t max)
{
	*d = (struct detectors){ .max = max };
	chunks_init(&d->watched, sizeof(struct watched));
	chunks_init(&d->watches, sizeof(struct watch));
	calendar_init(&d->calendar, day_of, d);
}

void detectors_done(struct detectors *d)
{
	chunks_done(&d->watched);
	chunks_done(&d->watches);
	calendar_done(&d->calendar);
	free(d->series);
	free(d->refs);
	detectors_init(d, 0);
}

/* The detector that a device, by its first series, has for a metric of another of its sets. */
static uint32_t find_metric(const struct detectors *d, uint32_t series, const struct windows *windows, uint32_t metric)
{
	for (uint32_t s = series; s != SERIES_NONE; s = d->series[s].next) {
		const struct window_set *set = &windows->sets[d->series[s].set];

		for (uint32_t i = 0; i < set->n; i++)
			if (set->metrics[i] == metric && d->refs[d->series[s].at + i] != WATCHED_NONE)
				return d->refs[d->series[s].at + i];
	}
	return WATCHED_NONE;
}

static uint32_t detector_for(struct detectors *d, uint32_t series, const struct windows *windows, uint32_t metric)
{
	uint32_t at;

	if (metric == WINDOW_SET_NONE)
		return WATCHED_NONE;
	at = find_metric(d, series, windows, metric);
	if (at != WATCHED_NONE)
		return at;
	if (d->n == d->max) {
		d->refused++;
		return WATCHED_NONE;
	}
	detector_init(&watched_at(d, d->n)->detector);
	return d->n++;
}

static int add_watch(struct detectors *d, struct devices *devices, uint32_t device)
{
	struct device *v = &devices->list[device];

	if (v->watch != WATCHED_NONE)
		return 0;
	if (chunks_reserve(&d->watches, d->n_watches + 1) < 0 || calendar_reserve(&d->calendar) < 0)
		return -ENOMEM;
	*watch_at(d, d->n_watches) = (struct watch){ .device = device, .series = SERIES_NONE, .newest_ns = INT64_MIN,
						     .fed_ns = INT64_MIN };
	v->watch = d->n_watches++;
	return 0;
}

static int add_series(struct detectors *d, struct devices *devices, uint32_t device, const struct windows *windows,
		      uint32_t set)
{
	const struct window_set *s = &windows->sets[set];
	struct series series = { .set = set, .at = d->n_refs };
	struct watch *w;

	/* A stranger could invent sets for ever: what is watched is what fits. */
	if (d->n_series >= SERIES_MAX || d->n_refs >= 4 * SERIES_MAX)
		return -ENOSPC;
	if (add_watch(d, devices, device) < 0 ||
	    array_reserve(&d->series, &d->cap_series, d->n_series + 1, ARRAYS_LEAST, sizeof(*d->series)) < 0 ||
	    array_reserve(&d->refs, &d->cap_refs, d->n_refs + s->n, ARRAYS_LEAST, sizeof(*d->refs)) < 0 ||
	    chunks_reserve(&d->watched, MIN(d->n + s->n, d->max)) < 0)
		return -ENOMEM;
	w = watch_at(d, devices->list[device].watch);
	for (uint32_t i = 0; i < s->n; i++)
		d->refs[series.at + i] = detector_for(d, w->series, windows, s->metrics[i]);
	d->n_refs += s->n;
	series.next = w->series;
	d->series[d->n_series] = series;
	w->series = d->n_series++;
	return 0;
}

int detectors_of(struct detectors *d, struct devices *devices, uint32_t device, const struct windows *windows, uint32_t set,
		 const uint32_t **ret)
{
	uint32_t watch = devices->list[device].watch, at = watch == WATCHED_NONE ? SERIES_NONE : watch_at(d, watch)->series;
	int r = 0;

	while (at != SERIES_NONE && d->series[at].set != set)
		at = d->series[at].next;
	if (at == SERIES_NONE) {
		r = add_series(d, devices, device, windows, set);
		at = r == 0 ? watch_at(d, devices->list[device].watch)->series : SERIES_NONE;
	}
	if (r == 0)
		*ret = d->refs + d->series[at].at;
	return r;
}
