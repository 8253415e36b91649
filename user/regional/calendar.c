#include "regional/calendar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void calendar_init(struct calendar *c, struct day *(*day_of)(void *context, uint32_t member), void *context)
{
	*c = (struct calendar){ .day_of = day_of, .context = context, .pending = CALENDAR_NONE, .second = INT64_MIN };
}

void calendar_done(struct calendar *c)
{
	free(c->slots);
	c->slots = NULL;
}

int calendar_reserve(struct calendar *c)
{
	_Static_assert(CALENDAR_NONE == UINT32_MAX, "so that all bits are set");
	if (c->slots)
		return 0;
	c->slots = malloc(CALENDAR_SLOTS * sizeof(*c->slots));
	if (!c->slots)
		return -ENOMEM;
	memset(c->slots, 0xff, CALENDAR_SLOTS * sizeof(*c->slots));
	return 0;
}

static uint32_t *slot_of(struct calendar *c, int64_t second)
{
	return &c->slots[(uint64_t)second & (CALENDAR_SLOTS - 1)];
}

static void put(struct calendar *c, uint32_t member, struct day *day)
{
	uint32_t *slot = slot_of(c, day->second);

	day->next = *slot;
	*slot = member;
}

void calendar_enter(struct calendar *c, uint32_t member, int64_t second)
{
	struct day *day = c->day_of(c->context, member);

	day->second = MAX(second, c->second + 1);
	put(c, member, day);
}

/* Whether there is a pending one. */
static bool go_on(struct calendar *c, int64_t second)
{
	while (c->pending == CALENDAR_NONE && c->second < second) {
		uint32_t *slot = slot_of(c, ++c->second);

		c->pending = *slot;
		*slot = CALENDAR_NONE;
	}
	return c->pending != CALENDAR_NONE;
}

uint32_t calendar_take(struct calendar *c, int64_t second, uint32_t *budget)
{
	if (!c->slots)
		return CALENDAR_NONE;
	/* A turn back all slots are met, and everything in them that is due. */
	c->second = MAX(c->second, second - CALENDAR_SLOTS);
	for (; *budget > 0 && go_on(c, second); --*budget) {
		uint32_t member = c->pending;
		struct day *day = c->day_of(c->context, member);

		c->pending = day->next;
		if (day->second <= c->second) {
			--*budget;
			return member;
		}
		put(c, member, day);
	}
	return CALENDAR_NONE;
}
