#include "regional/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "codec/block.h"
#include "regional/detect.h"

void devices_init(struct devices *d, uint32_t shard, uint32_t shards)
{
	*d = (struct devices){ .shard = shard, .shards = shards };
}

void devices_done(struct devices *d)
{
	free(d->list);
	index_done(&d->index);
	d->list = NULL;
	d->n = d->cap = 0;
}

struct wanted {
	const struct devices *devices;
	struct slice id;
};

static bool same_id(const void *context, uint32_t position)
{
	const struct wanted *w = context;
	const struct device *v = &w->devices->list[position];

	return v->id_len == w->id.len && memcmp(v->id, w->id.data, w->id.len) == 0;
}

static uint32_t find(const struct devices *d, struct slice id, uint64_t hash)
{
	struct wanted w = { .devices = d, .id = id };

	return index_find(&d->index, hash, same_id, &w);
}

static int add(struct devices *d, struct slice id, uint64_t hash)
{
	if (d->n == DEVICES_MAX)
		return -ENOSPC;
	if (d->n == d->cap) {
		uint32_t cap = MAX(d->cap + d->cap / 2, 1024u);
		struct device *list = realloc(d->list, cap * sizeof(*list));

		if (!list)
			return -ENOMEM;
		d->list = list;
		d->cap = cap;
	}

	struct device *v = &d->list[d->n];

	*v = (struct device){ .id_len = (uint8_t)id.len, .watch = WATCHED_NONE };
	memcpy(v->id, id.data, id.len);
	if (index_add(&d->index, hash, d->n) < 0)
		return -ENOMEM;
	d->n++;
	return 0;
}

static int find_or_add(struct devices *d, struct slice id, uint64_t hash, uint32_t *ret)
{
	uint32_t at = find(d, id, hash);
	int r = 0;

	if (at == INDEX_NONE) {
		/* The shard is this hash modulo the number of shards (base/hash.h); only strangers need the
		 * comparison. */
		if (hash % d->shards != d->shard)
			return -EXDEV;
		at = d->n;
		r = add(d, id, hash);
	}
	if (r == 0)
		*ret = at;
	return r;
}

/* In three passes, each of which finds in the cache what the one before has sent for. */
int devices_add(struct devices *d, const struct slice *ids, uint32_t n, uint32_t *ret)
{
	uint64_t hashes[BLOCK_READINGS_MAX];
	int r = 0;

	must(n <= BLOCK_READINGS_MAX);
	for (uint32_t i = 0; i < n; i++) {
		must(ids[i].len >= 1 && ids[i].len <= sizeof(d->list->id));
		hashes[i] = hash_device(ids[i].data, ids[i].len);
		index_prefetch(&d->index, hashes[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = index_peek(&d->index, hashes[i]);

		if (at != INDEX_NONE)
			__builtin_prefetch(&d->list[at]);
	}
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = find_or_add(d, ids[i], hashes[i], &ret[i]);
	return r;
}
