#include "base/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

/* The slot keeps the hash's high half; the place comes from all of it, mixed so that both halves matter. */
static uint32_t place_of(uint32_t high)
{
	return (uint32_t)((high * 0x9E3779B97F4A7C15ULL) >> 32);
}

void index_done(struct index *ix)
{
	free(ix->slots);
	*ix = INDEX_INIT;
}

void index_clear(struct index *ix)
{
	if (ix->used > 0)
		memset(ix->slots, 0, (ix->mask + 1ULL) * sizeof(*ix->slots));
	ix->used = 0;
}

uint32_t index_find(const struct index *ix, uint64_t hash, bool (*same)(const void *context, uint32_t position),
		    const void *context)
{
	if (!ix->slots)
		return INDEX_NONE;

	uint32_t high = (uint32_t)(hash >> 32);

	for (uint32_t at = place_of(high) & ix->mask; ix->slots[at]; at = (at + 1) & ix->mask) {
		uint32_t position = (uint32_t)ix->slots[at] - 1;

		if (ix->slots[at] >> 32 == high && same(context, position))
			return position;
	}
	return INDEX_NONE;
}

void index_prefetch(const struct index *ix, uint64_t hash)
{
	if (ix->slots)
		__builtin_prefetch(&ix->slots[place_of((uint32_t)(hash >> 32)) & ix->mask]);
}

static bool any(const void *context, uint32_t position)
{
	return true;
}

uint32_t index_peek(const struct index *ix, uint64_t hash)
{
	return index_find(ix, hash, any, NULL);
}

static void put(struct index *ix, uint64_t slot)
{
	uint32_t at = place_of((uint32_t)(slot >> 32)) & ix->mask;

	while (ix->slots[at])
		at = (at + 1) & ix->mask;
	ix->slots[at] = slot;
}

static int grow(struct index *ix)
{
	uint64_t n = ix->slots ? (ix->mask + 1ULL) * 2 : 64;
	struct index bigger = { .slots = calloc(n, sizeof(*bigger.slots)), .mask = (uint32_t)(n - 1), .used = ix->used };

	if (!bigger.slots)
		return -ENOMEM;
	for (uint64_t i = 0; ix->slots && i <= ix->mask; i++)
		if (ix->slots[i])
			put(&bigger, ix->slots[i]);
	free(ix->slots);
	*ix = bigger;
	return 0;
}

int index_add(struct index *ix, uint64_t hash, uint32_t position)
{
	must(position != INDEX_NONE);
	if (!ix->slots || (ix->used + 1ULL) * 2 > ix->mask) {
		int r = grow(ix);

		if (r < 0)
			return r;
	}
	put(ix, (hash >> 32 << 32) | (position + 1));
	ix->used++;
	return 0;
}
