/* A projection: what the records of global.log come to, as JSON lines in a stream of its own.
 *
 * Each line carries "version":"N", the offset in global.log of the record that it came from.  Versions ascend within a
 * partition, so what was already written is seen from its end: a restarted owner folds its log and writes again only
 * what has that version or a higher one.  Writing a line twice is harmless: readers take the highest version of a key.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "stream/stream.h"

#define OUTPUT_TAIL 64 /* lines at the end of each partition that are looked at */

struct output;

/* line: one of the last of a partition, oldest first, so that a page can show them. */
typedef void output_line(void *context, struct slice line);

/* Opens the stream for writing and looks at its end. 0; negative errno with a sentence. */
int output_open(struct output **ret, const char *url, bool development, output_line *line, void *context,
		struct stream_error *ret_error);
/* What is not confirmed is abandoned. Takes NULL. */
void output_free(struct output *o);

/* The highest version that was there when it was opened. */
uint64_t output_newest(const struct output *o);
/* Whether a line of this key's hash and version may be missing. */
bool output_wants(const struct output *o, uint64_t key, uint64_t version);

/* Writes a line, waiting for room in the queue as long as it takes or until the program is to stop
 * (-ECANCELED).  stamp_ns comes back with the confirmation; 0: it does not. */
int output_append(struct output *o, uint64_t key, struct slice line, int64_t stamp_ns);

/* Called for each confirmed line that had a stamp. */
typedef void output_confirmed(void *context, int64_t stamp_ns);
/* Takes what is confirmed, waiting until the deadline when there is nothing yet.  0; negative errno: open anew. */
int output_poll(struct output *o, int64_t deadline_ns, output_confirmed *confirmed, void *context);
size_t output_pending(const struct output *o);
