/* An array that grows without moving what it has: pointers into it stay, and growing neither copies nor needs room for
 * both.  Members are zeroed when they come.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHUNK_MEMBERS 256

struct chunks {
	void **list;
	uint32_t n, cap; /* chunks, and entries of list */
	size_t size;     /* of a member */
};

static inline void *chunks_at(const struct chunks *c, uint32_t i)
{
	return (char *)c->list[i / CHUNK_MEMBERS] + i % CHUNK_MEMBERS * c->size;
}

void chunks_init(struct chunks *c, size_t size);
void chunks_done(struct chunks *c);
/* Room for so many members in all. 0 or -ENOMEM. */
int chunks_reserve(struct chunks *c, uint32_t members);
