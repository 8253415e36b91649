#include "regional/chunks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"

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

	if (array_reserve(&c->list, &c->cap, wanted, 16, sizeof(*c->list)) < 0)
		return -ENOMEM;
	for (; c->n < wanted; c->n++) {
		c->list[c->n] = calloc(CHUNK_MEMBERS, c->size);
		if (!c->list[c->n])
			return -ENOMEM;
	}
	return 0;
}
