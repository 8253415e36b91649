/* The newest lines of a projection, for the admin port: a bounded list in which a line replaces an older one of its
 * key.  A full list gives up its oldest line, but of those that are open only when all are.
 *
 * Threads: any.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct page {
	pthread_mutex_t lock;
	struct page_line {
		uint64_t key;
		bool open;
		struct buf text;
	} *lines; /* a ring, oldest first */
	uint32_t max, first, n;
};

/* 0 or -ENOMEM. */
int page_init(struct page *p, uint32_t max);
void page_done(struct page *p);

void page_put(struct page *p, uint64_t key, struct slice line, bool open);
/* A JSON array, newest first; an admin_handler whose context is the page. */
int page_serve(void *context, const char *path, struct buf *body);
