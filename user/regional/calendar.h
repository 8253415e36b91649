/* When to look at what, by seconds of event time: a wheel of lists, as timers have them (G. Varghese, T. Lauck, "Hashed
 * and Hierarchical Timing Wheels", SOSP 1987, scheme 6).
 *
 * Members are numbers below those that the caller has, and each has a struct day, which the caller keeps.  To enter one
 * costs nothing but that; one that is due in more than a turn of the wheel (CALENDAR_SLOTS seconds) is passed over once
 * a turn.  The order in which members come is a function of the calls alone.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdint.h>

#define CALENDAR_SLOTS 4096 /* a power of two */
#define CALENDAR_NONE UINT32_MAX

struct day {
	int64_t second; /* when it is due */
	uint32_t next;  /* of the same slot, or CALENDAR_NONE */
};

struct calendar {
	struct day *(*day_of)(void *context, uint32_t member);
	void *context;
	uint32_t *slots;  /* the first member of each, or CALENDAR_NONE */
	uint32_t pending; /* of the slot of `second`, not looked at yet */
	int64_t second;   /* up to which all are given out or pending; INT64_MIN before the first calendar_take() */
};

void calendar_init(struct calendar *c, struct day *(*day_of)(void *context, uint32_t member), void *context);
void calendar_done(struct calendar *c);
/* Before the first calendar_enter(). 0 or -ENOMEM. */
int calendar_reserve(struct calendar *c);
/* A member that is not entered.  It comes in the second after the one that is being given out at the earliest. */
void calendar_enter(struct calendar *c, uint32_t member, int64_t second);
/* A member that is due by this second, and is not entered any more; or CALENDAR_NONE.  *budget: of members to look at, taken
 * down; when it is used up the next call goes on from there.  Seconds do not go back; of a leap over more than a turn
 * each slot is passed once. */
uint32_t calendar_take(struct calendar *c, int64_t second, uint32_t *budget);
