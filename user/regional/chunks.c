#include "regional/chunks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"

void chunks_init(struct chunks *c, size_t size)
{
	*c = (struct chunks){ .size = size };
}

void chunks_done(struct chunks *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		free(c->list[i]);
	free(c->list);
	c->list = NULL;
	c->n = c->cap = 0;
}

int chunks_reserve(struct chunks *c, uint32_t members)
{
	uint32_t wanted = members / CHUNK_MEMBERS + (members % CHUNK_MEMBERS > 0);

	if (wanted > c->cap) {
		uint32_t cap = MAX(c->cap * 2, MAX(wanted, 16u));
		void **list = realloc(c->list, cap * sizeof(*list));

		if (!list)
			return -ENOMEM;
		c->list = list;
		c->cap = cap;
	}
	for (; c->n < wanted; c->n++) {
		c->list[c->n] = calloc(CHUNK_MEMBERS, c->size);
		if (!c->list[c->n])
			return -ENOMEM;
	}
	return 0;
}
