#include "aggregator/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hash.h"

int state_init(struct state *s, const struct state_options *options, const struct state_sink *sink)
{
	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->sink = *sink;
	s->regions = calloc(STATE_REGIONS_MAX, sizeof(struct region *));
	if (!s->regions || book_new(&s->book) < 0) {
		state_done(s);
		return -ENOMEM;
	}
	return 0;
}

static void window_done(struct window *w)
{
	for (uint32_t i = 0; i < w->n_parts; i++)
		window_values_done(&w->parts[i].values);
	free(w->parts);
}

static void minute_free(struct minute *m)
{
	for (uint32_t i = 0; i < m->n_windows; i++)
		window_done(&m->windows[i]);
	free(m->windows);
	free(m);
}

static void region_free(struct region *region)
{
	for (uint32_t i = 0; i < region->n_shards; i++)
		free(region->shards[i]);
	free(region->shards);
	free(region);
}

void state_done(struct state *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->n_minutes; i++)
		minute_free(s->minutes[i]);
	free(s->minutes);
	for (uint32_t i = 0; i < s->n_regions; i++)
		region_free(s->regions[i]);
	free(s->regions);
	for (uint32_t i = 0; i < s->n_series; i++) {
		free(s->series[i].type);
		free(s->series[i].metric);
	}
	free(s->series);
	index_done(&s->series_index);
	book_free(s->book);
	memset(s, 0, sizeof(*s));
}

/* ------------------------------------------------------------------ regions and shards */

static uint32_t region_place(const struct state *s, const char *name)
{
	uint32_t at = 0;

	while (at < s->n_regions && strcmp(s->regions[at]->name, name) < 0)
		at++;
	return at;
}

const struct region *state_region(const struct state *s, const char *name)
{
	uint32_t at = region_place(s, name);

	return at < s->n_regions && !strcmp(s->regions[at]->name, name) ? s->regions[at] : NULL;
}

int region_get(struct state *s, const char *name, struct region **ret)
{
	uint32_t at = region_place(s, name);

	if (at < s->n_regions && !strcmp(s->regions[at]->name, name)) {
		*ret = s->regions[at];
		return 0;
	}
	if (s->n_regions == STATE_REGIONS_MAX)
		return -ENOSPC;

	struct region *region = calloc(1, sizeof(*region));

	if (!region)
		return -ENOMEM;
	strcpy(region->name, name); /* delta_read() has looked at its length */
	memmove(s->regions + at + 1, s->regions + at, (s->n_regions - at) * sizeof(struct region *));
	s->regions[at] = region;
	s->n_regions++;
	*ret = region;
	return 0;
}

int shard_get(struct region *region, uint32_t number, struct shard **ret, bool *ret_new)
{
	if (number >= region->n_shards) {
		struct shard **bigger = realloc(region->shards, (number + 1) * sizeof(struct shard *));

		if (!bigger)
			return -ENOMEM;
		memset(bigger + region->n_shards, 0, (number + 1 - region->n_shards) * sizeof(struct shard *));
		region->shards = bigger;
		region->n_shards = number + 1;
	}
	*ret_new = !region->shards[number];
	if (*ret_new) {
		region->shards[number] = calloc(1, sizeof(struct shard));
		if (!region->shards[number])
			return -ENOMEM;
		region->shards[number]->region = region;
		region->shards[number]->number = number;
	}
	*ret = region->shards[number];
	return 0;
}

/* ------------------------------------------------------------------ series, minutes, windows */

struct series_key {
	const struct state *state;
	const char *type, *metric;
};

static bool same_series(const void *context, uint32_t position)
{
	const struct series_key *key = context;
	const struct series *series = &key->state->series[position];

	return !strcmp(series->type, key->type) && !strcmp(series->metric, key->metric);
}

static uint64_t series_hash(const char *type, const char *metric)
{
	char text[2 * (DELTA_NAME_MAX + 1)];
	size_t n = strlen(type) + 1, m = strlen(metric) + 1;

	memcpy(text, type, n);
	memcpy(text + n, metric, m);
	return hash_device(text, n + m);
}

static int series_add(struct state *s, const struct series_key *key, uint64_t hash)
{
	struct series series = { .type = strdup(key->type), .metric = strdup(key->metric), .hash = hash,
				 .last_ns = INT64_MIN, .silent_from_ns = INT64_MIN };
	int r = array_reserve(&s->series, &s->cap_series, s->n_series + 1, 4, sizeof(series));

	if (r == 0 && series.type && series.metric)
		r = index_add(&s->series_index, hash, s->n_series);
	else
		r = -ENOMEM;
	if (r < 0) {
		free(series.type);
		free(series.metric);
		return r;
	}
	detector_init(&series.detector);
	s->series[s->n_series++] = series;
	return 0;
}

bool series_find(const struct state *s, const char *type, const char *metric, uint32_t *ret)
{
	struct series_key key = { .state = s, .type = type, .metric = metric };

	if (strlen(type) > DELTA_NAME_MAX || strlen(metric) > DELTA_NAME_MAX)
		return false;
	*ret = index_find(&s->series_index, series_hash(type, metric), same_series, &key);
	return *ret != INDEX_NONE;
}

int series_get(struct state *s, const char *type, const char *metric, uint32_t *ret)
{
	struct series_key key = { .state = s, .type = type, .metric = metric };
	uint64_t hash = series_hash(type, metric);

	if (series_find(s, type, metric, ret))
		return 0;
	if (s->n_series == STATE_SERIES_MAX)
		return -ENOSPC;
	*ret = s->n_series;
	return series_add(s, &key, hash);
}

/* The first minute that is not before start_ns. */
static uint32_t minute_place(const struct state *s, int64_t start_ns)
{
	uint32_t low = 0, high = s->n_minutes;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->minutes[middle]->start_ns < start_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct minute *state_minute(const struct state *s, int64_t start_ns)
{
	uint32_t at = minute_place(s, start_ns);

	return at < s->n_minutes && s->minutes[at]->start_ns == start_ns ? s->minutes[at] : NULL;
}

static void forget_first(struct state *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		minute_free(s->minutes[i]);
	memmove(s->minutes, s->minutes + n, (s->n_minutes - n) * sizeof(struct minute *));
	s->n_minutes -= n;
}

bool state_is_too_late(const struct state *s, int64_t start_ns)
{
	return s->any_settled && (int128)minute_end_ns(start_ns) + s->options.horizon_ns < s->settled_ns;
}

void state_forget_old(struct state *s)
{
	uint32_t n = 0;

	while (n < s->n_minutes && state_is_too_late(s, s->minutes[n]->start_ns))
		n++;
	if (n > 0)
		forget_first(s, n);
}

int minute_get(struct state *s, int64_t start_ns, struct minute **ret)
{
	uint32_t at = minute_place(s, start_ns);

	if (at < s->n_minutes && s->minutes[at]->start_ns == start_ns) {
		*ret = s->minutes[at];
		return 0;
	}
	if (s->n_minutes == STATE_MINUTES_MAX) {
		if (at == 0)
			return -ENOSPC;
		s->counts.refused += s->minutes[0]->dirty;
		forget_first(s, 1);
		at--;
	}

	int r = array_reserve(&s->minutes, &s->cap_minutes, s->n_minutes + 1, 4, sizeof(struct minute *));
	struct minute *minute = r < 0 ? NULL : calloc(1, sizeof(*minute));

	if (!minute)
		return -ENOMEM;
	minute->start_ns = start_ns;
	memmove(s->minutes + at + 1, s->minutes + at, (s->n_minutes - at) * sizeof(struct minute *));
	s->minutes[at] = *ret = minute;
	s->n_minutes++;
	return 0;
}

int window_get(struct minute *minute, uint32_t series, struct window **ret)
{
	uint32_t at = 0;

	while (at < minute->n_windows && minute->windows[at].series < series)
		at++;
	if (at == minute->n_windows || minute->windows[at].series != series) {
		int r = array_reserve(&minute->windows, &minute->cap_windows, minute->n_windows + 1, 4, sizeof(*minute->windows));

		if (r < 0)
			return r;
		memmove(minute->windows + at + 1, minute->windows + at,
			(minute->n_windows - at) * sizeof(*minute->windows));
		minute->windows[at] = (struct window){ .series = series };
		minute->n_windows++;
	}
	*ret = &minute->windows[at];
	return 0;
}

static int compare_shards(const struct shard *a, const struct shard *b)
{
	int names = strcmp(a->region->name, b->region->name);

	return names != 0 ? names : (a->number > b->number) - (a->number < b->number);
}

int part_get(struct window *w, const struct shard *shard, struct part **ret, bool *ret_new)
{
	uint32_t at = 0;

	while (at < w->n_parts && compare_shards(w->parts[at].shard, shard) < 0)
		at++;
	*ret_new = at == w->n_parts || w->parts[at].shard != shard;
	if (*ret_new) {
		int r = array_reserve(&w->parts, &w->cap_parts, w->n_parts + 1, 4, sizeof(*w->parts));

		if (r < 0)
			return r;
		memmove(w->parts + at + 1, w->parts + at, (w->n_parts - at) * sizeof(*w->parts));
		w->parts[at] = (struct part){ .shard = shard };
		w->n_parts++;
	}
	*ret = &w->parts[at];
	return 0;
}

/* ------------------------------------------------------------------ what others ask */

int window_merge(struct window_values *ret, const struct window *w)
{
	struct window_values merged = { 0 };

	for (uint32_t i = 0; i < w->n_parts; i++) {
		int r = window_values_merge(&merged, &w->parts[i].values);

		if (r < 0) {
			window_values_done(&merged);
			return r;
		}
	}
	*ret = merged;
	return 0;
}

int64_t state_clock_ns(const struct state *s, int64_t wall_ns)
{
	int64_t newest_ns = INT64_MIN;

	if (!s->options.event_clock)
		return wall_ns;
	for (uint32_t i = 0; i < s->n_regions; i++)
		for (uint32_t k = 0; k < s->regions[i]->n_shards; k++)
			if (s->regions[i]->shards[k])
				newest_ns = MAX(newest_ns, s->regions[i]->shards[k]->watermark_ns);
	return newest_ns;
}

uint64_t state_windows(const struct state *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->n_minutes; i++)
		n += s->minutes[i]->n_windows;
	return n;
}
