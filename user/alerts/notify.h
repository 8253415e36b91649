/* Brings alerts to the people who are on call: over HTTP to webhooks and to Alertmanagers.
 *
 *     owner's loop                     notifier's thread (libcurl multi)
 *     notifier_send()  ── copies ──▶   queue of each receiver ── POST ──▶ receiver
 *     notifier_taken() ◀── receipts ── 2xx
 *
 * Of one alert a receiver gets the transitions in their order; what fails is tried again without end, after a pause
 * with full jitter.  What a receiver refuses (4xx but 408 and 429) is logged, counted, and counts as taken.  One
 * receiver that is slow or gone holds up no other one, nor the owner.  An Alertmanager forgets: open alerts are sent
 * to it again every resend_ms.
 *
 * Each transition is delivered at least once: after a restart the owner sends again what has no receipt, and to an
 * Alertmanager also what is open, of which it would otherwise hear no more.  A webhook tells repetitions by the header
 * Idempotency-Key: the alert's id in 16 hex digits, '-', the version.
 *
 * Receivers are reached as libcurl does it by default: the environment's proxy, the system's certificates,
 * user:password of a URL as basic authentication; redirects are not followed.  Log lines name scheme, host and port of
 * a receiver only, since user:password, path and query of a webhook are often its secret.
 *
 * Threads: one owner calls everything; the notifier has one thread of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define NOTIFY_RECEIVERS_MAX 64
#define NOTIFY_LINE_MAX (64u << 10)

struct notifier;

enum notify_kind { NOTIFY_WEBHOOK, NOTIFY_ALERTMANAGER };

struct notify_receiver {
	enum notify_kind kind;
	const char *url; /* http or https; of an Alertmanager its base: what stands before /api/v2/alerts */
};

struct notifier_options { /* copied */
	const struct notify_receiver *receivers;
	uint32_t n_receivers;
	int64_t timeout_ms, resend_ms;
	int64_t retry_base_ms, retry_max_ms; /* a receiver's Retry-After counts up to retry_max_ms */
	uint32_t pending_max; /* of a receiver */
	int wake_fd;          /* an eventfd that is written to when there is a receipt; -1: none */
	uint32_t open_max;    /* open alerts of an Alertmanager that are kept for sending again; 0: pending_max */
	const char *page_url; /* where people look at alerts: an Alertmanager links to it; NULL: no link */
};

/* A transition of an alert. */
struct notify_alert {
	uint64_t alert_id, version;
	bool open;           /* raised, updated, escalated or acknowledged: it is sent again to an Alertmanager */
	struct slice line;   /* the line of global.alerts, JSON: see aggregator/render.h */
	int64_t arrival_ns;  /* wall clock, of the reading behind it; 0: none */
	/* What the alert was raised with: part of its identity in an Alertmanager, see notify_alertmanager.c.  NULL:
	 * that of the first line since the notifier's start. */
	const char *raised_severity;
};

struct notify_receipt {
	uint32_t receiver;
	uint64_t alert_id, version;
	bool refused;
	int64_t arrival_ns, taken_ns; /* wall clock */
};

struct notify_stats { /* of a receiver, since the start */
	uint64_t sent, refused, retried; /* transitions; retried: each failed attempt */
	uint64_t pending;                /* transitions without an answer */
	uint64_t resent;                 /* open alerts told again */
	uint64_t open;                   /* open alerts that will be told again */
};

/* 0; -EINVAL with a sentence for a URL; -ENOMEM; another errno. */
int notifier_new(struct notifier **ret, const struct notifier_options *options, char *ret_error, size_t size);
/* Ends the thread: what is in the air is given up to a second, what waits is not begun.  Receipts can still be taken. */
void notifier_stop(struct notifier *n);
/* Stops it if it was not.  Takes NULL. */
void notifier_free(struct notifier *n);

/* 0; -EAGAIN: that receiver has pending_max waiting (receipts that nobody took count), or this would be one more open
 * alert than open_max; -EMSGSIZE: a line beyond NOTIFY_LINE_MAX; -EINVAL: not a JSON object (of a line for an
 * Alertmanager); -ENOMEM. */
int notifier_send(struct notifier *n, uint32_t receiver, const struct notify_alert *alert);
/* One receipt; false: there is none now. */
bool notifier_taken(struct notifier *n, struct notify_receipt *ret);
void notifier_stats(struct notifier *n, uint32_t receiver, struct notify_stats *ret);
/* Of a receiver's URL scheme://host[:port], for logs and as a metric's label: path and query are often a secret.  The
 * caller's to free().  0; -EINVAL: not a URL; -ENOMEM. */
int notify_name(const char *url, char **ret);
/* The same of a receiver, the notifier's own. */
const char *notifier_name(const struct notifier *n, uint32_t receiver);
