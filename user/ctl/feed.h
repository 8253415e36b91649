/* Bytes from a file or from stdin, to its end, or on and on: a pipe until it is closed, a file as it grows, also when
 * it is cut short or another one is put in its place (as `tail -F` does).
 *
 * One thread.  After stop_setup(), a stop (base/stop.h) ends every wait.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed;

/* path: NULL or "-" is stdin.  0 or negative errno. */
int feed_open(struct feed **ret, const char *path, bool follow);
void feed_free(struct feed *f);

enum { FEED_NOTHING = 0, FEED_NEW_FILE = -1000 /* what comes next is another file's beginning */ };
/* Bytes read; FEED_NOTHING by the deadline (or for a stop); FEED_NEW_FILE; -ENODATA: the end; another negative
 * errno. */
int feed_read(struct feed *f, void *to, size_t room, int64_t deadline_ns);
