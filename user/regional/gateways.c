#include "regional/gateways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gateways_init(struct gateways *g, bool event, int64_t lateness_ns)
{
	*g = (struct gateways){
		.event = event, .lateness_ns = lateness_ns, .watermark_ns = WATERMARK_NONE, .newest_clock_ns = INT64_MIN
	};
}

void gateways_done(struct gateways *g)
{
	free(g->list);
	g->list = NULL;
	g->n = 0;
}

int gateways_add(struct gateways *g, struct slice id, uint32_t *ret)
{
	must(id.len >= 1 && id.len <= GATEWAY_ID_MAX);
	for (uint32_t i = 0; i < g->n; i++) {
		if (g->list[i].id_len == id.len && memcmp(g->list[i].id, id.data, id.len) == 0) {
			*ret = i;
			return 0;
		}
	}
	if (g->n == GATEWAYS_MAX)
		return -ENOSPC;

	struct gateway *list = realloc(g->list, (g->n + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	g->list = list;
	list[g->n] = (struct gateway){ .id_len = (uint8_t)id.len, .clock_ns = INT64_MIN };
	memcpy(list[g->n].id, id.data, id.len);
	*ret = g->n++;
	return 0;
}

static void advance(struct gateways *g)
{
	int64_t least = INT64_MAX, watermark;
	uint32_t live = 0, counted = 0;

	for (uint32_t i = 0; i < g->n; i++) {
		const struct gateway *v = &g->list[i];

		if (v->dark)
			continue;
		live++;
		if (g->event && v->idle)
			continue;
		counted++;
		least = MIN(least, v->clock_ns);
	}
	if (live == 0)
		return;
	if (counted == 0)
		watermark = g->newest_clock_ns;
	else if (least == INT64_MIN || __builtin_sub_overflow(least, g->lateness_ns, &watermark))
		return;
	g->watermark_ns = MAX(g->watermark_ns, watermark);
}

void gateways_hear(struct gateways *g, uint32_t gateway, const uint8_t spool_id[16], bool live_lane, int64_t clock_ns,
		   bool idle)
{
	must(gateway < g->n);

	struct gateway *v = &g->list[gateway];

	memcpy(v->spool_id, spool_id, sizeof(v->spool_id));
	v->dark = false;
	if (live_lane) {
		v->clock_ns = MAX(v->clock_ns, clock_ns);
		v->idle = idle;
		g->newest_clock_ns = MAX(g->newest_clock_ns, v->clock_ns);
	}
	advance(g);
}

void gateways_set_dark(struct gateways *g, uint32_t gateway, bool dark)
{
	must(gateway < g->n);
	g->list[gateway].dark = dark;
	advance(g);
}

uint32_t gateways_live(const struct gateways *g)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < g->n; i++)
		live += !g->list[i].dark;
	return live;
}
