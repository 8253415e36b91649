#include "regional/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/macros.h"

struct minute_run {
	struct page_run run;
	int64_t minute;
	uint32_t next; /* run + 1 */
};
_Static_assert(sizeof(struct minute_run) == 32, "what a run costs is documented");

int64_t page_minute(int64_t timestamp_ns)
{
	return timestamp_ns / NS_PER_MIN - (timestamp_ns % NS_PER_MIN < 0);
}

void page_index_init(struct page_index *ix)
{
	*ix = (struct page_index){ .floor = INT64_MIN };
}

void page_index_done(struct page_index *ix)
{
	free(ix->runs);
	free(ix->heads);
	page_index_init(ix);
}

static uint32_t *head_of(const struct page_index *ix, int64_t minute)
{
	return &ix->heads[((uint64_t)minute * 0x9E3779B97F4A7C15ULL >> 32) & (ix->n_heads - 1)];
}

/* ------------------------------------------------------------------ the index */

/* Chains go from the newest run to the oldest.  They are rebuilt from the oldest on, run by run: runs are not
 * ordered in their array once some were given back, chains are. */
static int more_heads(struct page_index *ix)
{
	uint32_t n = MAX(ix->n_heads * 2, 256u);
	struct page_index old = *ix;
	uint32_t *heads = calloc(n, sizeof(*heads));

	if (!heads)
		return -ENOMEM;
	ix->heads = heads;
	ix->n_heads = n;
	for (uint32_t h = 0; h < old.n_heads; h++) {
		uint32_t reversed = 0, at = old.heads[h];

		while (at != 0) {
			uint32_t next = ix->runs[at - 1].next;

			ix->runs[at - 1].next = reversed;
			reversed = at;
			at = next;
		}
		while (reversed != 0) {
			struct minute_run *p = &ix->runs[reversed - 1];
			uint32_t next = p->next, *head = head_of(ix, p->minute);

			p->next = *head;
			*head = reversed;
			reversed = next;
		}
	}
	free(old.heads);
	return 0;
}

static int take_run(struct page_index *ix, uint32_t *ret)
{
	if (ix->free != 0) {
		*ret = ix->free;
		ix->free = ix->runs[ix->free - 1].next;
		return 0;
	}
	if (array_reserve(&ix->runs, &ix->cap, ix->n + 1, 1024, sizeof(*ix->runs)) < 0)
		return -ENOMEM;
	*ret = ++ix->n;
	return 0;
}

/* Too many runs: the oldest eighth of the minutes in use goes. */
static void make_room(struct page_index *ix)
{
	int64_t least = INT64_MAX, most = INT64_MIN;

	for (uint32_t h = 0; h < ix->n_heads; h++) {
		for (uint32_t at = ix->heads[h]; at != 0; at = ix->runs[at - 1].next) {
			least = MIN(least, ix->runs[at - 1].minute);
			most = MAX(most, ix->runs[at - 1].minute);
		}
	}
	page_index_raise(ix, least + (most - least) / 8 + 1);
}

void page_index_follow(struct page_index *ix, uint64_t offset)
{
	if (offset != ix->next)
		ix->unbroken = offset;
	ix->next = offset + 1;
}

int page_index_add(struct page_index *ix, int64_t minute, uint64_t offset)
{
	uint32_t at;
	int r;

	if (minute < ix->floor)
		return 0;
	if (ix->used == PAGES_RUNS_MAX)
		make_room(ix);
	if (ix->used >= ix->n_heads && more_heads(ix) < 0)
		return -ENOMEM;
	for (at = *head_of(ix, minute); at != 0 && ix->runs[at - 1].minute != minute; at = ix->runs[at - 1].next)
		;
	if (at != 0 && offset <= ix->runs[at - 1].run.last + PAGES_RUN_GAP && ix->runs[at - 1].run.last >= ix->unbroken) {
		ix->runs[at - 1].run.last = MAX(ix->runs[at - 1].run.last, offset);
		return 0;
	}
	r = take_run(ix, &at);
	if (r < 0)
		return r;

	uint32_t *head = head_of(ix, minute);

	ix->runs[at - 1] = (struct minute_run){ .run = { offset, offset }, .minute = minute, .next = *head };
	*head = at;
	ix->used++;
	return 0;
}

void page_index_raise(struct page_index *ix, int64_t floor)
{
	if (floor <= ix->floor)
		return;
	ix->floor = floor;
	for (uint32_t h = 0; h < ix->n_heads; h++) {
		uint32_t *link = &ix->heads[h];

		while (*link != 0) {
			struct minute_run *p = &ix->runs[*link - 1];
			uint32_t at = *link;

			if (p->minute >= floor) {
				link = &p->next;
				continue;
			}
			*link = p->next;
			p->next = ix->free;
			ix->free = at;
			ix->used--;
		}
	}
}

int page_index_runs(const struct page_index *ix, int64_t minute, struct page_run **ret, uint32_t *ret_n)
{
	uint32_t n = 0, i;
	struct page_run *list;

	for (uint32_t at = ix->n_heads ? *head_of(ix, minute) : 0; at != 0; at = ix->runs[at - 1].next)
		n += ix->runs[at - 1].minute == minute;
	list = malloc((n + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	i = n;
	for (uint32_t at = ix->n_heads ? *head_of(ix, minute) : 0; at != 0; at = ix->runs[at - 1].next)
		if (ix->runs[at - 1].minute == minute)
			list[--i] = ix->runs[at - 1].run;
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ------------------------------------------------------------------ pages */

struct page *page_cache_find(struct page_cache *c, uint32_t shard, int64_t minute)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->list[i].minute == minute && c->list[i].shard == shard) {
			c->list[i].asked = ++c->clock;
			return &c->list[i];
		}
	}
	return NULL;
}

void page_cache_drop(struct page_cache *c, struct page *page)
{
	free(page->slots);
	*page = c->list[--c->n];
}

void page_cache_done(struct page_cache *c)
{
	while (c->n > 0)
		page_cache_drop(c, &c->list[c->n - 1]);
}

static size_t cache_bytes(const struct page_cache *c)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < c->n; i++)
		bytes += c->list[i].slots ? (c->list[i].mask + 1ULL) * sizeof(struct page_entry) : 0;
	return bytes;
}

struct page *page_cache_new(struct page_cache *c, uint32_t shard, int64_t minute)
{
	while (c->n == PAGES_KEPT || (c->n > 0 && cache_bytes(c) > PAGES_BYTES_MAX)) {
		struct page *oldest = &c->list[0];

		for (uint32_t i = 1; i < c->n; i++)
			if (c->list[i].asked < oldest->asked)
				oldest = &c->list[i];
		page_cache_drop(c, oldest);
	}
	c->list[c->n] = (struct page){ .shard = shard, .minute = minute, .asked = ++c->clock };
	return &c->list[c->n++];
}

static uint32_t place_of(const struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	uint64_t h = ((uint64_t)timestamp_ns ^ hash) * 0x9E3779B97F4A7C15ULL + device * 0xC2B2AE3D27D4EB4FULL;

	return (uint32_t)((h ^ h >> 29) * 0xD6E8FEB86659FD93ULL >> 32) & p->mask;
}

/* The reading's slot, or the free one where it belongs. */
static struct page_entry *slot_of(const struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	for (uint32_t at = place_of(p, device, timestamp_ns, hash);; at = (at + 1) & p->mask) {
		struct page_entry *e = &p->slots[at];

		if (!e->used || (e->timestamp_ns == timestamp_ns && e->hash == hash && e->device == device))
			return e;
	}
}

static int widen(struct page *p)
{
	struct page wider = { .mask = p->slots ? p->mask * 2 + 1 : 255 };

	wider.slots = calloc(wider.mask + 1ULL, sizeof(*wider.slots));
	if (!wider.slots)
		return -ENOMEM;
	for (uint32_t i = 0; p->slots && i <= p->mask; i++)
		if (p->slots[i].used)
			*slot_of(&wider, p->slots[i].device, p->slots[i].timestamp_ns, p->slots[i].hash) = p->slots[i];
	free(p->slots);
	p->slots = wider.slots;
	p->mask = wider.mask;
	return 0;
}

int page_add(struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	if (!p->slots || (p->n + 1ULL) * 2 > p->mask) {
		int r = widen(p);

		if (r < 0)
			return r;
	}

	struct page_entry *e = slot_of(p, device, timestamp_ns, hash);

	if (!e->used) {
		*e = (struct page_entry){ .timestamp_ns = timestamp_ns, .hash = hash, .device = device, .used = 1 };
		p->n++;
	}
	return 0;
}

bool page_has(const struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	return p->slots && slot_of(p, device, timestamp_ns, hash)->used;
}
