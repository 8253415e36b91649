/* Where readings come in, whatever the front door: CoAP through AF_XDP or the UDP socket today, MQTT, WebSocket
 * and HTTP later.
 *
 * submit() hands over one admitted reading.  It is answered exactly once, later and from the commit thread, through
 * the door's `done`: after the fsync (SUBMIT_DURABLE), or refused.  A reading whose tag is in flight already joins
 * its waiters and is not stored twice.
 *
 * Threads: submit() from any thread; it never waits.  done() runs on the commit thread and must not block: it
 * posts to the door's own queue.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "net/source.h"

struct commit;

enum submit_result {
	SUBMIT_DURABLE, /* on disk */
	SUBMIT_KNOWN,   /* was on disk before */
	SUBMIT_FULL,    /* the spool or the queue is full: 5.03 */
};

struct submission {
	struct slice payload; /* Telemetry; copied */
	uint64_t word1, word2; /* the tag */
	struct slice device_id; /* inside payload */
	struct slice region;    /* inside payload; empty: ours */
	int64_t timestamp_ns;   /* valid when has_timestamp */
	bool has_timestamp;
};

struct door {
	/* n answers of this door's submissions. */
	void (*done)(struct door *door, const struct reply_stub *stub, uint64_t word2, enum submit_result result);
	/* After the last done() of a commit: wake whoever sends. */
	void (*flush)(struct door *door);
	struct door *next_touched; /* the commit thread's */
	bool touched;
};

/* SUBMIT_DURABLE: accepted, done() will follow.  SUBMIT_KNOWN, SUBMIT_FULL: at once, done() is not called. */
enum submit_result submit(struct commit *commit, const struct submission *s, struct door *door, const struct reply_stub *stub);
