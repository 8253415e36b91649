#include "regional/detect.h"

#include <errno.h>
#include <stdlib.h>

void detectors_done(struct detectors *d)
{
	free(d->list);
	free(d->series);
	free(d->refs);
	*d = (struct detectors){ 0 };
}

/* Room for n more of an array. */
static int reserve(void *list, uint32_t used, uint32_t n, uint32_t *cap, size_t size)
{
	void **at = list;

	if (n <= *cap - used)
		return 0;

	uint32_t wanted = MAX(*cap + *cap / 2, used + MAX(n, 256u));
	void *bigger = realloc(*at, wanted * size);

	if (!bigger)
		return -ENOMEM;
	*at = bigger;
	*cap = wanted;
	return 0;
}

/* The detector that the device has for a metric of another of its sets. */
static uint32_t find_metric(const struct detectors *d, const struct device *device, const struct windows *windows,
			    uint32_t metric)
{
	for (uint32_t s = device->series; s != SERIES_NONE; s = d->series[s].next) {
		const struct window_set *set = &windows->sets[d->series[s].set];

		for (uint32_t i = 0; i < set->n; i++)
			if (set->metrics[i] == metric && d->refs[d->series[s].at + i] != DETECTOR_NONE)
				return d->refs[d->series[s].at + i];
	}
	return DETECTOR_NONE;
}

static uint32_t detector_for(struct detectors *d, const struct device *device, const struct windows *windows,
			     uint32_t metric)
{
	uint32_t at;

	if (metric == WINDOW_SET_NONE)
		return DETECTOR_NONE;
	at = find_metric(d, device, windows, metric);
	if (at != DETECTOR_NONE)
		return at;
	if (d->n == DETECTORS_MAX) {
		d->refused++;
		return DETECTOR_NONE;
	}
	d->list[d->n] = (struct watched){ 0 };
	detector_init(&d->list[d->n].detector);
	return d->n++;
}

static int add_series(struct detectors *d, struct device *device, const struct windows *windows, uint32_t set)
{
	const struct window_set *s = &windows->sets[set];
	struct series series = { .set = set, .next = device->series, .at = d->n_refs };

	/* A stranger could invent sets for ever: what is watched is what fits. */
	if (d->n_series >= DETECTORS_MAX || d->n_refs >= 4 * DETECTORS_MAX)
		return -ENOSPC;
	if (reserve(&d->series, d->n_series, 1, &d->cap_series, sizeof(*d->series)) < 0 ||
	    reserve(&d->refs, d->n_refs, s->n, &d->cap_refs, sizeof(*d->refs)) < 0 ||
	    reserve(&d->list, d->n, s->n, &d->cap, sizeof(*d->list)) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n; i++)
		d->refs[series.at + i] = detector_for(d, device, windows, s->metrics[i]);
	d->n_refs += s->n;
	d->series[d->n_series] = series;
	device->series = d->n_series++;
	return 0;
}

int detectors_of(struct detectors *d, struct device *device, const struct windows *windows, uint32_t set,
		 const uint32_t **ret)
{
	uint32_t at = device->series;
	int r = 0;

	while (at != SERIES_NONE && d->series[at].set != set)
		at = d->series[at].next;
	if (at == SERIES_NONE) {
		r = add_series(d, device, windows, set);
		at = device->series;
	}
	if (r == 0)
		*ret = d->refs + d->series[at].at;
	return r;
}
