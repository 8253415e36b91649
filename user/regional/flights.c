#include "regional/flights.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

int flights_init(struct region *r)
{
	/* One more for records of the past. */
	r->flights = calloc(REGION_FLIGHTS + 1, sizeof(*r->flights));
	if (!r->flights)
		return -ENOMEM;
	for (uint32_t i = 0; i <= REGION_FLIGHTS; i++)
		block_init(&r->flights[i].block);
	r->past = &r->flights[REGION_FLIGHTS];
	flights_forget(r);
	return 0;
}

void flights_done(struct region *r)
{
	for (uint32_t i = 0; r->flights && i <= REGION_FLIGHTS; i++)
		block_done(&r->flights[i].block);
	free(r->flights);
	r->flights = r->free = r->past = NULL;
}

void flights_forget(struct region *r)
{
	r->free = NULL;
	for (uint32_t i = REGION_FLIGHTS; i-- > 0;)
		flight_free(r, &r->flights[i]);
	r->n_flying = r->n_flying_readings = 0;
	r->flying_bytes = 0;
}

struct flight *flight_new(struct region *r, struct shard *s, uint16_t kind)
{
	struct flight *f = r->free;

	if (!f)
		return NULL;
	r->free = f->next;
	f->next = NULL;
	f->shard = s;
	f->kind = kind;
	return f;
}

void flight_free(struct region *r, struct flight *f)
{
	f->next = r->free;
	r->free = f;
}

static uint32_t readings_of(const struct flight *f)
{
	return f->kind == OWNED_DATA ? f->block.count : 0;
}

void flight_took_off(struct region *r, struct flight *f, size_t bytes)
{
	struct shard *s = f->shard;

	f->bytes = bytes;
	if (s->last)
		s->last->next = f;
	else
		s->first = f;
	s->last = f;
	if (r->n_flying++ == 0)
		r->gather_ns = clock_mono_ns() + REGION_GATHER_NS;
	r->n_flying_readings += readings_of(f);
	r->flying_bytes += bytes;
}

void flight_landed(struct region *r, struct flight *f)
{
	struct shard *s = f->shard;

	must(s->first == f);
	s->first = f->next;
	if (!s->first)
		s->last = NULL;
	f->next = NULL;
	r->n_flying--;
	r->n_flying_readings -= readings_of(f);
	r->flying_bytes -= f->bytes;
}
