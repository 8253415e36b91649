/* Words (names of metrics, types, places, owners) as small numbers.  A shard has its own, numbered in the order in
 * which its log brings them.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdint.h>

#include "base/index.h"
#include "base/macros.h"

#define WORDS_MAX (1u << 20)

struct words {
	struct slice *list;
	uint32_t n, cap;
	struct index index;
};

void words_done(struct words *w);
/* The word's number, given to it when it is new.  0; -ENOMEM; -ENOSPC when WORDS_MAX is reached. */
int words_intern(struct words *w, struct slice word, uint32_t *ret);
static inline struct slice words_get(const struct words *w, uint32_t number)
{
	return w->list[number];
}
