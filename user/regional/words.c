#include "regional/words.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/hash.h"

void words_done(struct words *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		free((void *)w->list[i].data);
	free(w->list);
	index_done(&w->index);
	*w = (struct words){ 0 };
}

struct wanted {
	const struct words *words;
	struct slice word;
};

static bool same_word(const void *context, uint32_t position)
{
	const struct wanted *wanted = context;
	struct slice have = wanted->words->list[position];

	return have.len == wanted->word.len && (have.len == 0 || memcmp(have.data, wanted->word.data, have.len) == 0);
}

static int add(struct words *w, uint64_t hash, struct slice word)
{
	if (w->n == WORDS_MAX)
		return -ENOSPC;
	if (array_reserve(&w->list, &w->cap, w->n + 1, 64, sizeof(*w->list)) < 0)
		return -ENOMEM;

	char *copy = malloc(word.len + 1);

	if (!copy || index_add(&w->index, hash, w->n) < 0) {
		free(copy);
		return -ENOMEM;
	}
	if (word.len > 0)
		memcpy(copy, word.data, word.len);
	copy[word.len] = 0; /* for those who need a C string */
	w->list[w->n++] = SLICE(copy, word.len);
	return 0;
}

int words_intern(struct words *w, struct slice word, uint32_t *ret)
{
	struct wanted wanted = { .words = w, .word = word };
	uint64_t hash = hash_device(word.data, word.len);
	uint32_t at = index_find(&w->index, hash, same_word, &wanted);
	int r = 0;

	if (at == INDEX_NONE) {
		at = w->n;
		r = add(w, hash, word);
	}
	if (r == 0)
		*ret = at;
	return r;
}
