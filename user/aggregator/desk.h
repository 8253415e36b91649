/* Where acknowledgements are handed in: the admin thread asks, the owner's loop answers when it is in global.log.
 *
 * Threads: any number ask, one answers.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "alerts/book.h"
#include "base/buf.h"

#define DESK_TEXT_MAX 256 /* bytes of a name or note */
#define DESK_WAIT_NS (3 * NS_PER_S)

struct desk {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum { DESK_FREE, DESK_ASKED, DESK_UNDER_WAY, DESK_ANSWERED } state;
	struct book_ack ack; /* its texts are the two below */
	char by[DESK_TEXT_MAX + 1], note[DESK_TEXT_MAX + 1];
	int answer;
	int wake_fd; /* an eventfd that is written to when somebody asks */
};

void desk_init(struct desk *d, int wake_fd);
void desk_done(struct desk *d);

/* The owner's: what is asked and not under way; false: nothing.  *ret stays until the answer. */
bool desk_asked(struct desk *d, struct book_ack *ret);
/* It has been appended. */
void desk_under_way(struct desk *d);
/* 0, or why not. Nobody may be waiting any more. */
void desk_answer(struct desk *d, uint64_t alert_id, int answer);

/* The admin_post behind POST /alerts/ack, context is the desk: {"alert_id": "16 hex digits", "by": NAME, "note": TEXT} and
 * either "until": nanoseconds as text, or "for": a duration, or neither. */
int desk_serve(void *context, const char *path, struct slice request, struct buf *body);
