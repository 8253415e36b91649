/* Alerts to those who are on call, each step once: what a receiver has taken is a SENT record of global.log.
 *
 *     ALERT folded --> outbox --> notifier (alerts/notify.h) --> receiver
 *                        ^                                         | 2xx
 *                        '--------- SENT folded <---- SENT <-------'
 *
 * The outbox is a fold of the log: steps that a receiver has not taken yet.  So after a restart what was not taken is
 * sent, again perhaps, and what was taken is not.  A receiver that is new gets what comes from then on (a SENT record
 * says from where); one that is no longer configured is owed nothing.  An Alertmanager forgets: it gets every open alert
 * at each start, receipt or not.
 *
 * Bounded: beyond DELIVER_OUTBOX steps that nobody takes the oldest is given up, and counted.
 *
 * Threads: one, the session's.
 */
#pragma once

#include "alerts/book.h"
#include "alerts/notify.h"
#include "config/config.h"

#define DELIVER_OUTBOX 4096
#define DELIVER_RECEIVERS_MAX 32

struct deliver;

/* 0; -EINVAL with a sentence for a URL; another negative errno. */
int deliver_new(struct deliver **ret, const struct settings *settings, int wake_fd, char *ret_error, size_t size);
void deliver_free(struct deliver *d);

/* ------------------------------------------------------------------ the fold */

/* A step that is to be told, its line of global.alerts, and the offset of its record. */
int deliver_told(struct deliver *d, const alert_record *r, uint64_t version, struct slice line);
/* A SENT record. 0 or -EBADMSG. */
int deliver_sent(struct deliver *d, struct slice value);

/* ------------------------------------------------------------------ the owner */

/* Appends a SENT record: 0; -EAGAIN: not now; another errno. */
typedef int deliver_append(void *context, struct slice record);
/* How the line of a step is rendered. */
typedef int deliver_render(struct buf *ret, const alert_record *r, uint64_t version);

/* Once, when the log is folded: receivers that are new, or gone; open alerts to Alertmanagers. */
int deliver_begin(struct deliver *d, const struct book *book, deliver_render *render, deliver_append *append,
		  void *context);
/* Hands over what waits and takes receipts. */
int deliver_run(struct deliver *d, deliver_append *append, void *context);

/* At the end: nothing further is sent, what is in the air is waited for, up to a second; its receipts are appended. */
int deliver_end(struct deliver *d, deliver_append *append, void *context);

struct deliver_counts {
	struct notify_stats stats[DELIVER_RECEIVERS_MAX];
	uint32_t n_receivers, waiting; /* steps that somebody has not taken */
	uint64_t given_up;
};
void deliver_counts(const struct deliver *d, struct deliver_counts *ret);
/* Called for each first receipt of a step that has an arrival. */
void deliver_on_taken(struct deliver *d, void (*taken)(void *context, int64_t latency_ns), void *context);
