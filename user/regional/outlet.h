/* A stream that the region writes and can do without for a while: region.deltas and region.alerts.
 *
 * It opens by itself, and after a fault again, with growing pauses.  What was sent and not confirmed before a fault
 * may be lost: outlet_lost() says so once.
 *
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "stream/stream.h"

struct outlet {
	const char *url; /* "": there is none, and everything sent is taken for sent */
	bool development;
	uint32_t partitions;
	struct stream *stream;
	int64_t retry_ns; /* monotonic */
	unsigned attempt;
	bool lost;
	uint64_t errors;
	char reason[256]; /* why it is closed */
};

void outlet_init(struct outlet *o, const char *url, uint32_t partitions, bool development);
void outlet_done(struct outlet *o);
/* 0 when it is open; -EAGAIN before its time; -EINVAL when the stream does not fit the configuration; another
 * negative errno. */
int outlet_open(struct outlet *o, int64_t now_ns);
/* 0; -EAGAIN: the queue is full, turn first; -ENOTCONN: it is closed; -EMSGSIZE. */
int outlet_send(struct outlet *o, uint32_t partition, struct slice value);
/* Drives what was sent. */
void outlet_turn(struct outlet *o, int64_t deadline_ns);
size_t outlet_pending(const struct outlet *o);
/* Whether something may have been lost since the last call. */
bool outlet_lost(struct outlet *o);
