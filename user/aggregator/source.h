/* One region's deltas: a thread of its own reads all partitions of the stream, so that a region that does not answer
 * holds up nobody else.
 *
 *     connecting --(opened)--> open --(source_begin)--> reading --(source_rewind)--> open
 *         ^______________________ any error, with backoff ___________|
 *
 * Where reading begins is for the owner of global.log to say: positions are covered there.  What was read waits in a
 * bounded queue; while it is full the thread does not read on.
 *
 * Threads: all functions may be called by one thread, the source's own works behind them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "stream/stream.h"

struct source;

struct source_item {
	uint32_t partition;
	uint64_t offset;
	struct slice value;
	void *memory; /* of value: free() it */
};

struct source_stats {
	uint64_t errors; /* openings and handles that failed */
	uint64_t lost;   /* times that a position was no longer kept: deltas are missing */
	bool tried;      /* it was opened, or could not be */
	bool connected;
};

/* wake_fd: an eventfd that is written when there is something to take or to begin; stays the caller's.  0; -ENOMEM;
 * -EAGAIN. */
int source_new(struct source **ret, const char *name, const char *url, bool development, int wake_fd);
/* Ends the thread; it may take until the backend gives up connecting.  Takes NULL. */
void source_free(struct source *s);
/* Asks the thread to end.  True when it has by the deadline: source_free() will not wait. */
void source_stop(struct source *s);
bool source_stopped(struct source *s, int64_t deadline_ns);

/* True while it is open and waits for positions. */
bool source_is_open(struct source *s, struct log_id *ret_id, uint32_t *ret_partitions);
/* positions: one a partition of what source_is_open() told.  Nothing when it is no longer open. */
void source_begin(struct source *s, const uint64_t *positions);
/* Drops what is queued and waits for positions again. */
void source_rewind(struct source *s);

/* The next record in the order of reading; false: none now. */
bool source_take(struct source *s, struct source_item *ret);
struct source_stats source_stats(struct source *s);
