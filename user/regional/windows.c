#include "regional/windows.h"

#include <errno.h>
#include <math.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "codec/decimal.h"

#define NO_WINDOW UINT32_MAX

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = a * 0x9E3779B97F4A7C15ULL ^ b * 0xC2B2AE3D27D4EB4FULL;

	h ^= h >> 32;
	h *= 0xD6E8FEB86659FD93ULL;
	return h ^ h >> 32;
}

static uint64_t key_hash(int64_t start_ns, uint32_t a, uint32_t b)
{
	return mix((uint64_t)start_ns, (uint64_t)a << 32 | b);
}

/* ------------------------------------------------------------------ life */

static void window_done(struct window *v)
{
	window_values_done(&v->values);
	free(v->groups);
}

static void group_done(struct window_group *g)
{
	roaring_bitmap_free(g->devices);
	free(g->windows);
}

void windows_done(struct windows *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		window_done(&w->list[i]);
	for (uint32_t i = 0; i < w->n_groups; i++)
		group_done(&w->groups[i]);
	for (uint32_t i = 0; i < w->n_sets; i++)
		free(w->sets[i].metrics);
	free(w->list);
	free(w->groups);
	free(w->sets);
	free(w->changed);
	index_done(&w->index);
	index_done(&w->group_index);
	index_done(&w->set_index);
	*w = (struct windows){ 0 };
}

/* ------------------------------------------------------------------ sets of metrics */

struct wanted_set {
	const struct windows *windows;
	const struct window_set *set;
};

static bool same_set(const void *context, uint32_t position)
{
	const struct wanted_set *w = context;
	const struct window_set *have = &w->windows->sets[position];

	return have->n == w->set->n &&
	       (have->n == 0 || memcmp(have->metrics, w->set->metrics, have->n * sizeof(uint32_t)) == 0);
}

static int keep_set(struct windows *w, const struct window_set *set, uint64_t hash)
{
	struct window_set copy = { .n = set->n, .metrics = malloc((set->n + 1) * sizeof(uint32_t)) };

	if (!copy.metrics || array_reserve(&w->sets, &w->cap_sets, w->n_sets + 1, 16, sizeof(*w->sets)) < 0 ||
	    index_add(&w->set_index, hash, w->n_sets) < 0) {
		free(copy.metrics);
		return -ENOMEM;
	}
	memcpy(copy.metrics, set->metrics, set->n * sizeof(uint32_t));
	w->sets[w->n_sets++] = copy;
	return 0;
}

int windows_set(struct windows *w, struct words *words, const struct block_set *set, uint32_t *ret)
{
	uint32_t metrics[TELEMETRY_METRICS_MAX];
	struct window_set key = { .n = set->n, .metrics = metrics };
	struct wanted_set wanted = { .windows = w, .set = &key };
	uint64_t hash = set->n;

	must(set->n <= TELEMETRY_METRICS_MAX);
	for (uint32_t i = 0; i < set->n; i++) {
		int r = words_intern(words, set->names[i], &metrics[i]);

		if (r < 0)
			return r;
		if (set->names[i].len > 0 && memchr(set->names[i].data, 0, set->names[i].len))
			metrics[i] = WINDOW_SET_NONE;
		for (uint32_t k = 0; k < i; k++)
			if (metrics[k] == metrics[i])
				metrics[k] = WINDOW_SET_NONE;
	}
	for (uint32_t i = 0; i < set->n; i++)
		hash = mix(hash, metrics[i]);
	*ret = index_find(&w->set_index, hash, same_set, &wanted);
	if (*ret != INDEX_NONE)
		return 0;
	if (w->n_sets == SETS_MAX)
		return -ENOSPC;

	int r = keep_set(w, &key, hash);

	if (r == 0)
		*ret = w->n_sets - 1;
	return r;
}

/* ------------------------------------------------------------------ windows and groups */

struct wanted_window {
	const struct windows *windows;
	int64_t start_ns;
	uint32_t type, metric;
};

static bool same_window(const void *context, uint32_t position)
{
	const struct wanted_window *w = context;
	const struct window *v = &w->windows->list[position];

	return v->start_ns == w->start_ns && v->type == w->type && v->metric == w->metric;
}

static bool same_group(const void *context, uint32_t position)
{
	const struct wanted_window *w = context;
	const struct window_group *g = &w->windows->groups[position];

	return g->start_ns == w->start_ns && g->type == w->type && g->set == w->metric;
}

static int new_window(struct windows *w, int64_t start_ns, uint32_t type, uint32_t metric)
{
	uint32_t cap = w->cap;

	if (w->n == WINDOWS_MAX)
		return -ENOSPC;
	if (array_reserve(&w->list, &w->cap, w->n + 1, 16, sizeof(*w->list)) < 0)
		return -ENOMEM;
	if (cap != w->cap || !w->changed) {
		uint32_t *changed = realloc(w->changed, w->cap * sizeof(*changed));

		if (!changed)
			return -ENOMEM;
		w->changed = changed;
	}
	if (index_add(&w->index, key_hash(start_ns, type, metric), w->n) < 0)
		return -ENOMEM;
	w->list[w->n++] = (struct window){ .start_ns = start_ns, .type = type, .metric = metric };
	return 0;
}

/* The window of a metric, and the group noted with it. */
static int join_window(struct windows *w, const struct window_group *g, uint32_t group, uint32_t metric, uint32_t *ret)
{
	struct wanted_window wanted = { .windows = w, .start_ns = g->start_ns, .type = g->type, .metric = metric };
	uint32_t at = index_find(&w->index, key_hash(g->start_ns, g->type, metric), same_window, &wanted);

	if (at == INDEX_NONE) {
		int r = new_window(w, g->start_ns, g->type, metric);

		if (r < 0)
			return r;
		at = w->n - 1;
	}

	struct window *v = &w->list[at];

	if (array_reserve(&v->groups, &v->cap_groups, v->n_groups + 1, 16, sizeof(*v->groups)) < 0)
		return -ENOMEM;
	v->groups[v->n_groups++] = group;
	*ret = at;
	return 0;
}

/* All of its windows or none: room is made sure of first. */
static int new_group(struct windows *w, int64_t start_ns, uint32_t type, uint32_t set, uint64_t hash)
{
	const struct window_set *s = &w->sets[set];
	struct window_group g = { .start_ns = start_ns, .type = type, .set = set };
	int r = 0;

	if (w->n_groups == WINDOWS_MAX || w->n + s->n > WINDOWS_MAX)
		return -ENOSPC;
	g.devices = roaring_bitmap_create();
	g.windows = malloc((s->n + 1) * sizeof(*g.windows));
	if (!g.devices || !g.windows || array_reserve(&w->groups, &w->cap_groups, w->n_groups + 1, 16, sizeof(*w->groups)) < 0)
		r = -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < s->n; i++) {
		g.windows[i] = NO_WINDOW;
		if (s->metrics[i] != WINDOW_SET_NONE)
			r = join_window(w, &g, w->n_groups, s->metrics[i], &g.windows[i]);
	}
	if (r == 0)
		r = index_add(&w->group_index, hash, w->n_groups);
	if (r < 0) {
		if (g.devices)
			group_done(&g);
		else
			free(g.windows);
		return r;
	}
	w->groups[w->n_groups++] = g;
	return 0;
}

static int find_group(struct windows *w, int64_t start_ns, uint32_t type, uint32_t set, struct window_group **ret)
{
	uint64_t hash = key_hash(start_ns, type, set);
	struct wanted_window wanted = { .windows = w, .start_ns = start_ns, .type = type, .metric = set };
	uint32_t *recent = &w->recent[hash % GROUP_RECENT];
	uint32_t at = *recent - 1;

	if (*recent == 0 || !same_group(&wanted, at)) {
		at = index_find(&w->group_index, hash, same_group, &wanted);
		if (at == INDEX_NONE) {
			int r = new_group(w, start_ns, type, set, hash);

			if (r < 0)
				return r;
			at = w->n_groups - 1;
		}
		*recent = at + 1;
	}
	*ret = &w->groups[at];
	return 0;
}

/* ------------------------------------------------------------------ the fold */

static void mark(struct windows *w, uint32_t at)
{
	if (w->list[at].changed)
		return;
	w->list[at].changed = true;
	w->changed[w->n_changed++] = at;
}

static int add_value(struct window *v, double value, bool late)
{
	int128 fixed;

	if (!decimal_fixed9(value, &fixed)) {
		window_values_add_unsummed(&v->values, isfinite(value));
		return 0;
	}
	v->values.late += late;
	return window_values_add(&v->values, value, fixed);
}

int windows_add(struct windows *w, int64_t timestamp_ns, uint32_t type, uint32_t set, uint32_t device,
		const double *values, bool late)
{
	struct window_group *g;
	int r = find_group(w, window_start_ns(timestamp_ns), type, set, &g);

	if (r < 0)
		return r;
	roaring_bitmap_add(g->devices, device);
	for (uint32_t i = 0; i < w->sets[set].n && r == 0; i++) {
		if (g->windows[i] == NO_WINDOW)
			continue;
		r = add_value(&w->list[g->windows[i]], values[i], late);
		mark(w, g->windows[i]);
	}
	return r;
}

uint64_t windows_devices(const struct windows *w, const struct window *window)
{
	const roaring_bitmap_t *sets[64];
	uint64_t devices;

	if (window->n_groups == 1)
		return roaring_bitmap_get_cardinality(w->groups[window->groups[0]].devices);
	if (window->n_groups == 2)
		return roaring_bitmap_or_cardinality(w->groups[window->groups[0]].devices, w->groups[window->groups[1]].devices);

	roaring_bitmap_t *all = roaring_bitmap_create();

	must(all);
	for (uint32_t i = 0; i < window->n_groups;) {
		size_t n = 0;

		sets[n++] = all;
		while (n < ARRAY_SIZE(sets) && i < window->n_groups)
			sets[n++] = w->groups[window->groups[i++]].devices;

		roaring_bitmap_t *wider = roaring_bitmap_or_many(n, sets);

		must(wider);
		roaring_bitmap_free(all);
		all = wider;
	}
	devices = roaring_bitmap_get_cardinality(all);
	roaring_bitmap_free(all);
	return devices;
}

/* ------------------------------------------------------------------ the horizon */

static bool ends_by(int64_t start_ns, int64_t until_ns)
{
	return start_ns <= INT64_MAX - NS_PER_MIN && start_ns + NS_PER_MIN <= until_ns;
}

/* Moves what stays together; new_place[old] is its new number. */
static uint32_t keep_groups(struct windows *w, int64_t until_ns, uint32_t *new_place)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n_groups; i++) {
		if (ends_by(w->groups[i].start_ns, until_ns)) {
			group_done(&w->groups[i]);
			continue;
		}
		new_place[i] = n;
		w->groups[n++] = w->groups[i];
	}
	return n;
}

static uint32_t keep_windows(struct windows *w, int64_t until_ns, uint32_t *new_place)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n; i++) {
		if (ends_by(w->list[i].start_ns, until_ns)) {
			window_done(&w->list[i]);
			continue;
		}
		new_place[i] = n;
		w->list[n++] = w->list[i];
	}
	return n;
}

/* A window and the groups that have its metric are of one minute: they stay or go together. */
static void renumber(struct windows *w, const uint32_t *window_at, const uint32_t *group_at)
{
	for (uint32_t i = 0; i < w->n; i++)
		for (uint32_t k = 0; k < w->list[i].n_groups; k++)
			w->list[i].groups[k] = group_at[w->list[i].groups[k]];
	for (uint32_t i = 0; i < w->n_groups; i++)
		for (uint32_t k = 0; k < w->sets[w->groups[i].set].n; k++)
			if (w->groups[i].windows[k] != NO_WINDOW)
				w->groups[i].windows[k] = window_at[w->groups[i].windows[k]];
	w->n_changed = 0;
	for (uint32_t i = 0; i < w->n; i++)
		if (w->list[i].changed)
			w->changed[w->n_changed++] = i;
	memset(w->recent, 0, sizeof(w->recent));
}

static int index_again(struct windows *w)
{
	int r = 0;

	index_clear(&w->index);
	index_clear(&w->group_index);
	for (uint32_t i = 0; i < w->n && r == 0; i++)
		r = index_add(&w->index, key_hash(w->list[i].start_ns, w->list[i].type, w->list[i].metric), i);
	for (uint32_t i = 0; i < w->n_groups && r == 0; i++)
		r = index_add(&w->group_index, key_hash(w->groups[i].start_ns, w->groups[i].type, w->groups[i].set), i);
	return r;
}

int windows_drop(struct windows *w, int64_t until_ns)
{
	uint32_t i = 0;

	for (uint32_t k = 0; k < w->n_changed; k++)
		until_ns = MIN(until_ns, w->list[w->changed[k]].start_ns);
	while (i < w->n_groups && !ends_by(w->groups[i].start_ns, until_ns))
		i++;
	if (i == w->n_groups)
		return 0;

	CLEANUP_FREE uint32_t *window_at = malloc((w->n + 1) * sizeof(*window_at));
	CLEANUP_FREE uint32_t *group_at = malloc((w->n_groups + 1) * sizeof(*group_at));

	if (!window_at || !group_at)
		return -ENOMEM;

	uint32_t n_groups = keep_groups(w, until_ns, group_at), n = keep_windows(w, until_ns, window_at);

	w->n_groups = n_groups;
	w->n = n;
	renumber(w, window_at, group_at);
	return index_again(w);
}

void windows_mark(struct windows *w, bool changed)
{
	for (uint32_t i = 0; i < w->n; i++)
		w->list[i].changed = changed;
	w->n_changed = changed ? w->n : 0;
	for (uint32_t i = 0; i < w->n_changed; i++)
		w->changed[i] = i;
}
