/* A worker: one packet source, one thread, the CoAP front door.
 *
 *     receive ─▶ limit ─▶ admit ─▶ submit ─┐                  (this thread)
 *                                          ▼
 *                                   commit thread ─▶ done() ─▶ answers' queue ─▶ reply, flush   (this thread)
 */
#pragma once

#include <stdint.h>

#include "gateway/gateway.h"
#include "net/source.h"

struct worker;

/* Starts the thread; takes the source over (also when it fails). 0 or negative errno. */
int worker_new(struct worker **ret, struct gateway *gateway, struct source *source);
/* Waits until it submits no more; answers that are still to come are sent until worker_free(). */
void worker_close(struct worker *w);
/* Sends what waits and ends the thread.  After commit_stop(). */
void worker_free(struct worker *w);

void worker_stats(const struct worker *w, struct source_stats *ret);
const char *worker_source_name(const struct worker *w);
/* Grows while the thread lives; the heartbeat is gated on it. */
uint64_t worker_progress(const struct worker *w);
