#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

#include "base/macros.h"

struct nearest nearest_to(const char *word)
{
	return (struct nearest){ .word = word, .word_len = strlen(word) };
}

/* Wagner and Fischer's table, three rows of it: row i holds the edits from a's first i letters to every prefix of b. */
static size_t edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
	uint8_t rows[3][NEAREST_WORD_MAX + 1];
	uint8_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = (uint8_t)j;
	for (size_t i = 1; i <= a_len; i++) {
		uint8_t *oldest = before;

		before = above;
		above = row;
		row = oldest;
		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= b_len; j++) {
			int least = MIN(above[j], row[j - 1]) + 1;

			least = MIN(least, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				least = MIN(least, before[j - 2] + 1);
			row[j] = (uint8_t)least;
		}
	}
	return row[b_len];
}

void nearest_offer(struct nearest *n, const char *candidate, size_t len)
{
	if (n->word_len > NEAREST_WORD_MAX || len > NEAREST_WORD_MAX)
		return;

	size_t distance = edits(n->word, n->word_len, candidate, len);

	if (distance > MAX(n->word_len, len) / 3 + 1 || distance >= MAX(n->word_len, len))
		return;
	if (n->best && distance >= n->best_edits)
		return;
	n->best = candidate;
	n->best_len = len;
	n->best_edits = distance;
}
