/* An open-addressing index from a 64-bit hash to a 32-bit position in the caller's own array.
 *
 * The caller keeps the objects (and with them the full keys) in a growable array; the index only finds the
 * candidates, and the caller's `same` decides.  Linear probing, load <= 1/2, no removal: tables that only grow
 * or are rebuilt (device dictionaries, metric sets).  8 bytes a slot.  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define INDEX_NONE UINT32_MAX

struct index {
	uint64_t *slots; /* high 32 bits of the hash, then position + 1; 0 = free */
	uint32_t mask;   /* slots - 1 */
	uint32_t used;
};
#define INDEX_INIT ((struct index){ 0 })

void index_done(struct index *ix);
/* Forgets everything and keeps the memory. */
void index_clear(struct index *ix);

/* The first position under this hash for which same(context, position) holds, or INDEX_NONE. */
uint32_t index_find(const struct index *ix, uint64_t hash, bool (*same)(const void *context, uint32_t position),
		    const void *context);
/* Adds a position that index_find() did not have.  0 or -ENOMEM. */
int index_add(struct index *ix, uint64_t hash, uint32_t position);
/* For loops over many: brings what index_find() will look at first into the cache. */
void index_prefetch(const struct index *ix, uint64_t hash);
/* The position that index_find() will most probably ask about, or INDEX_NONE: for prefetching the object itself. */
uint32_t index_peek(const struct index *ix, uint64_t hash);
