/* The inside of a session, for the stages that it is made of: publish.c, consume.c, judge.c, alarm.c and session.c
 * itself. */
#pragma once

#include "aggregator/deliver.h"
#include "aggregator/metrics.h"
#include "aggregator/session.h"

#define GLOBAL 0 /* the one partition of global.log */
#define CONFIRM_WAIT_NS (2 * NS_PER_MS)
#define SESSION_OWN ((void *)1) /* cookie of our own records: folded as they happen, not from the past */

struct session {
	struct session_setup setup;
	struct owned_log *log;
	struct state state;
	struct output *windows, *alerts;
	struct stream_error *error; /* the caller's */
	bool live;                  /* the record being folded is our own */
	int64_t now_wall_ns;
	struct buf line;
	/* The record that is being filled. */
	struct buf data;
	struct owned_span *spans;
	size_t n_spans, cap_spans;
	int64_t decided_ns, stepped_ns, silence_judged_ns;
	/* Alerts. */
	struct deliver *deliver;
	struct deliver_counts delivered; /* as they were exported last */
	uint64_t book_seen; /* changes that were looked at */
	int64_t alarmed_ns;
	struct {
		uint64_t n;
		int64_t since_ns, first_ns, last_ns; /* since: monotonic; onsets */
	} past; /* alerts of a backlog that the log has not summed up */
	struct decide_region *outlook;
};

/* Leaves a sentence and returns the error. */
int session_fail(struct session *s, int error, const char *what);
/* With the spans that were collected.  0; -EAGAIN when the queue is full; another errno ends the session. */
int session_append(struct session *s, uint16_t kind, struct slice value);

/* publish.c: the sink of the fold, into the projections. */
struct state_sink publish_sink(struct session *s);
int publish_open(struct session *s);
int publish_poll(struct session *s, int64_t deadline_ns);
size_t publish_pending(const struct session *s);

/* consume.c: takes what the regions' readers have, into DATA and ASIDE records. */
int consume(struct session *s);

/* judge.c: looks at the regions, into DECIDE and SILENT records. */
int judge(struct session *s, int64_t now_ns);

/* alarm.c: looks at the book of alerts, into ALERT and SENT records. */
int alarm_begin(struct session *s);
int alarm_look(struct session *s, int64_t now_ns);
int alarm_end(struct session *s);
