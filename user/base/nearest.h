/* "Did you mean": the known word with the fewest edits from what was written.
 *
 *     struct nearest n = nearest_to("lingr");
 *     for (...) nearest_offer(&n, candidate, strlen(candidate));
 *     if (n.best) printf("did you mean %.*s?", (int)n.best_len, n.best);
 *
 * An edit is a letter inserted, dropped, replaced, or two neighbours exchanged (optimal string alignment).  Words
 * that differ in more than a third of their letters are no help and are not offered; the first of equals wins.
 */
#pragma once

#include <stddef.h>

#define NEAREST_WORD_MAX 64 /* longer words have no neighbours */

struct nearest {
	const char *word;
	size_t word_len;
	const char *best; /* the caller's candidate, or NULL */
	size_t best_len;
	size_t best_edits;
};

struct nearest nearest_to(const char *word);
void nearest_offer(struct nearest *n, const char *candidate, size_t len);
