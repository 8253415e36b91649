#include "regional/ordinals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void ordinals_done(struct ordinals *o)
{
	for (uint32_t i = 0; i < o->n; i++)
		free(o->spools[i].ranges);
	free(o->spools);
	*o = (struct ordinals){ 0 };
}

static uint32_t find(const struct ordinals *o, const uint8_t spool_id[16])
{
	uint32_t i = 0;

	while (i < o->n && memcmp(o->spools[i].id, spool_id, sizeof(o->spools[i].id)) != 0)
		i++;
	return i;
}

bool ordinals_covered(const struct ordinals *o, const uint8_t spool_id[16], uint64_t first, uint64_t end)
{
	uint32_t at = find(o, spool_id);

	if (at == o->n)
		return false;
	for (uint32_t i = 0; i < o->spools[at].n; i++)
		if (o->spools[at].ranges[i].first <= first && end <= o->spools[at].ranges[i].end)
			return true;
	return false;
}

static int add_spool(struct ordinals *o, const uint8_t spool_id[16])
{
	struct ordinal_spool *spools = realloc(o->spools, (o->n + 1) * sizeof(*spools));
	struct ordinal_range *ranges = calloc(ORDINAL_RANGES_MAX, sizeof(*ranges));

	if (spools)
		o->spools = spools;
	if (!spools || !ranges) {
		free(ranges);
		return -ENOMEM;
	}
	if (o->n == ORDINAL_SPOOLS_MAX)
		free(o->spools[--o->n].ranges);
	o->spools[o->n] = (struct ordinal_spool){ .ranges = ranges };
	memcpy(o->spools[o->n++].id, spool_id, sizeof(spools->id));
	return 0;
}

static void to_front(struct ordinals *o, uint32_t at)
{
	struct ordinal_spool spool = o->spools[at];

	memmove(o->spools + 1, o->spools, at * sizeof(*o->spools));
	o->spools[0] = spool;
}

static void forget_smallest(struct ordinal_spool *s)
{
	uint32_t smallest = 0;

	for (uint32_t i = 1; i < s->n; i++)
		if (s->ranges[i].end - s->ranges[i].first < s->ranges[smallest].end - s->ranges[smallest].first)
			smallest = i;
	s->n--;
	memmove(s->ranges + smallest, s->ranges + smallest + 1, (s->n - smallest) * sizeof(*s->ranges));
}

static void insert(struct ordinal_spool *s, struct ordinal_range r)
{
	uint32_t from = 0, to;

	/* Those from..to-1 touch it and become one with it. */
	while (from < s->n && s->ranges[from].end < r.first)
		from++;
	for (to = from; to < s->n && s->ranges[to].first <= r.end; to++) {
		r.first = MIN(r.first, s->ranges[to].first);
		r.end = MAX(r.end, s->ranges[to].end);
	}
	if (from == to && s->n == ORDINAL_RANGES_MAX) {
		forget_smallest(s);
		insert(s, r);
		return;
	}
	memmove(s->ranges + from + 1, s->ranges + to, (s->n - to) * sizeof(*s->ranges));
	s->ranges[from] = r;
	s->n = s->n - (to - from) + 1;
}

int ordinals_cover(struct ordinals *o, const uint8_t spool_id[16], uint64_t first, uint64_t end, int64_t now_ns)
{
	uint32_t at = find(o, spool_id);

	must(first < end);
	if (at == o->n) {
		int r = add_spool(o, spool_id);

		if (r < 0)
			return r;
		at = o->n - 1;
	}
	if (at > 0)
		to_front(o, at);

	struct ordinal_spool *s = &o->spools[0];

	insert(s, (struct ordinal_range){ .first = first, .end = end });
	if (s->n == 1) {
		s->gap_since_ns = 0;
		s->gap_told = false;
	} else if (s->gap_since_ns == 0) {
		s->gap_since_ns = now_ns;
	}
	return 0;
}

const struct ordinal_spool *ordinals_gap_old(struct ordinals *o, int64_t now_ns, int64_t limit_ns)
{
	for (uint32_t i = 0; i < o->n; i++) {
		struct ordinal_spool *s = &o->spools[i];

		if (s->gap_since_ns != 0 && !s->gap_told && now_ns - s->gap_since_ns > limit_ns) {
			s->gap_told = true;
			return s;
		}
	}
	return NULL;
}
