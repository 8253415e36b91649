/* The publisher: publishing is reading the spool.
 *
 *     spool ─▶ one open batch a shard ─▶ cut (full, lingered, or heartbeat) ─▶ edge.telemetry ─▶ delivered
 *
 * It knows nothing of the receiving side but the spool and the commit's clock.  A batch is cut with every reading
 * of its shard that has been read, so the clock that travels in it belongs to a position of the spool: CONTRACTS,
 * TelemetryEnvelope.  After any failure of the stream it opens a new handle and reads the spool again from what is
 * delivered: batches may be cut anew, their ordinals say what is new.
 *
 * Threads: one of its own.
 */
#pragma once

#include "gateway/gateway.h"
#include "stream/stream.h"

struct publisher;

/* Starts the thread. 0 or negative errno. */
int publisher_new(struct publisher **ret, struct gateway *gateway);
/* Publishes what the spool has, as far as it goes within grace_ns, then ends. */
void publisher_free(struct publisher *p, int64_t grace_ns);

/* Whether edge.telemetry is open; else why not. */
bool publisher_connected(const struct publisher *p, struct stream_error *ret_reason);
/* Everything in the spool at this moment is confirmed by the stream. */
bool publisher_idle(const struct publisher *p);
/* Readings in the spool that the stream has not confirmed. */
uint64_t publisher_backlog(const struct publisher *p);
