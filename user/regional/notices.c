#include "regional/notices.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "regional/region.h"

#define STALE_NS (60 * NS_PER_S)
#define BEGINNINGS_MAX (NOTICES_MAX - NOTICES_MAX / 8) /* an end that is lost leaves an alert open */

void notices_done(struct notices *q)
{
	free(q->list);
	*q = (struct notices){ 0 };
}

void notices_sent(struct notices *q)
{
	q->sent = q->n;
	q->stale = 0;
}

void notices_confirmed(struct notices *q)
{
	if (q->sent > 0 && q->n > q->sent)
		memmove(q->list, q->list + q->sent, (q->n - q->sent) * sizeof(*q->list));
	q->n -= q->sent;
	q->sent = 0;
}

void notices_again(struct notices *q)
{
	for (uint32_t i = 0; i < q->sent; i++)
		q->stale += q->list[i].stale;
	q->sent = 0;
}

static bool add(struct notices *q, const struct notice *n)
{
	if (q->n >= BEGINNINGS_MAX) /* what is not told yet comes before what might have to be told again */
		notices_confirmed(q);
	if (q->n >= (n->cleared ? NOTICES_MAX : BEGINNINGS_MAX) || (n->stale && q->stale >= NOTICES_STALE_MAX))
		return false;
	if (array_reserve(&q->list, &q->cap, q->n + 1, 16, sizeof(*q->list)) < 0)
		return false;
	q->list[q->n++] = *n;
	q->stale += n->stale;
	return true;
}

void notice_tell(struct shard *s, struct notice *n, int64_t now_ns)
{
	struct region *r = s->region;
	/* By the process that had the log before, which also wrote its line of region.alerts. */
	bool told = r->history && s->folded_end < s->told_end;

	n->shard = s->number;
	n->stale = r->settings->streams_clock == CLOCK_ARRIVAL && now_ns - n->arrival_ns > STALE_NS;
	s->totals.notices += n->first;
	if (told && n->stale)
		return;
	if (!told && !add(&s->notices, n)) {
		s->totals.notices_lost++;
		return;
	}
	if (!told)
		s->totals.notices_stale += n->first && n->stale;
	r->notices[r->n_notices++ % REGION_NOTICES] = *n;
	s->urgent |= !told && !n->cleared && !n->stale;
}
