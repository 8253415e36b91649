/* Shared by the files of the notifier; nobody else includes it.
 *
 *   notify.c              the owner's calls, the thread's loop
 *   notify_queue.c        what a receiver still has to be told, and what an answer does to it
 *   notify_http.c         URLs and requests: libcurl
 *   notify_alertmanager.c an alert as an Alertmanager wants it
 *
 * A receiver has a lane for each alert that it is to be told of, and a lane has the alert's transitions in order.  At
 * most one transition of a lane is in the air, so order holds; different lanes do not wait for each other.
 *
 *     waiting: has transitions, on its way to a request       (list r->waiting, in fair order)
 *     flying:  a request carries its first transition, or what is told again
 *     idle:    all told and the alert is open; Alertmanager only (list r->idle, told longest ago first)
 *
 * Threads: notifier.lock guards everything here but the requests, which are the thread's own, and what never changes
 * after notifier_new().  A lane is made by the owner and freed by the thread.
 */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <sys/queue.h>

#include "alerts/notify.h"
#include "base/log.h"

#define NOTIFY_BATCH_MAX 64             /* alerts in one request to an Alertmanager */
#define NOTIFY_BATCH_BYTES (512u << 10) /* no further alert once a body is that long */
#define NOTIFY_PARALLEL 4               /* requests to a webhook at the same time */
#define NOTIFY_ANSWER_MAX 200           /* of a receiver's answer, for the log */

/* A transition for one receiver; later its receipt. */
struct notify_item {
	STAILQ_ENTRY(notify_item) link;
	struct notify_receipt receipt;
	bool open;
	char *text; /* what is sent: the line, or the part of an Alertmanager's alert behind its labels; NULL in a receipt */
	size_t len;
};
STAILQ_HEAD(notify_items, notify_item);

struct notify_lane {
	TAILQ_ENTRY(notify_lane) link;
	struct notify_lane *chain; /* in its bucket */
	enum { NOTIFY_WAITING, NOTIFY_FLYING, NOTIFY_IDLE } state;
	uint64_t alert_id;
	struct notify_items items;
	unsigned attempts; /* failed ones that were about this alert */
	int64_t next_try_ns;
	char *labels; /* Alertmanager: the alert's identity, JSON; stays as it is for the lane's life */
	char *kept;   /* Alertmanager: text of the last open transition that was taken; NULL: none */
	size_t kept_len;
	int64_t told_ns; /* monotonic, when kept was last sent */
};
TAILQ_HEAD(notify_lanes, notify_lane);

struct notify_request {
	struct receiver *receiver;
	CURL *easy;
	struct curl_slist *headers;
	bool busy;
	uint32_t n;
	struct {
		struct notify_lane *lane;
		struct notify_item *item; /* NULL: kept, told again */
	} carries[NOTIFY_BATCH_MAX];
	struct buf body;
	size_t answer_len;
	char answer[NOTIFY_ANSWER_MAX + 1];
	char error[CURL_ERROR_SIZE];
};

struct receiver {
	struct notifier *notifier;
	enum notify_kind kind;
	uint32_t number;
	char *url;  /* secret */
	char *name; /* scheme://host[:port] */
	struct notify_request requests[NOTIFY_PARALLEL];
	uint32_t n_requests, n_busy;

	struct notify_lane **buckets;
	uint32_t bucket_mask;
	struct notify_lanes waiting, idle;
	uint32_t n_lanes;
	uint32_t held;     /* items, with those whose receipt was not taken */
	unsigned failures; /* in a row, that were about the receiver */
	int64_t next_try_ns;
	int64_t recovered_ns; /* 0: was never away */
	uint32_t singly;      /* so many requests carry one alert each: a batch of them was refused */
	struct notify_stats stats;
	struct log_limit refusals, troubles;
};

struct notifier {
	struct receiver *receivers;
	uint32_t n_receivers;
	int64_t timeout_ms, resend_ns, retry_base_ms, retry_max_ms;
	uint32_t pending_max, open_max;
	int wake_fd;
	char *page_url;
	CURLM *multi;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	bool stopping;
	int64_t stop_ns;
	struct notify_items receipts;
};

/* ---- notify_queue.c: all of them under the lock */

int receiver_init_queue(struct receiver *r);
void receiver_done_queue(struct receiver *r);
/* Takes over item, and labels of an Alertmanager, when it returns 0. */
int receiver_put(struct receiver *r, uint64_t alert_id, struct notify_item *item, char *labels);
/* Chooses what the request carries now; 0: nothing.  Memory for the body is remembered in it: buf_error(). */
uint32_t receiver_choose(struct receiver *r, struct notify_request *q, int64_t now_ns);
/* When there may be something to choose, without anything else happening; CLOCK_FOREVER: never. */
int64_t receiver_next_ns(const struct receiver *r);

enum notify_verdict { NOTIFY_TAKEN, NOTIFY_REFUSED, NOTIFY_RETRY_ALERT, NOTIFY_RETRY_RECEIVER };
/* What the answer to a request does; retry_after_ms: what the receiver asked for, 0: nothing. */
void receiver_settle(struct receiver *r, struct notify_request *q, enum notify_verdict verdict, int64_t retry_after_ms,
		     int64_t now_ns);
void notify_item_free(struct notify_item *item);

/* ---- notify_http.c */

/* Fills in url and name. */
int receiver_set_url(struct receiver *r, const char *url, char *ret_error, size_t size);
int receiver_init_requests(struct receiver *r);
void receiver_done_requests(struct receiver *r);
/* Hands the chosen request to libcurl; without the lock.  0 or negative errno. */
int request_start(struct notify_request *q);
/* What became of it: reads the status, takes it away from libcurl.  Without the lock. */
enum notify_verdict request_finish(struct notify_request *q, CURLcode result, long *ret_status,
				   int64_t *ret_retry_after_ms);

/* ---- notify_alertmanager.c */

/* The alert's labels, a JSON object; and what follows them in an Alertmanager's alert up to its closing brace, without
 * endsAt when it is open.  0, -EINVAL, -ENOMEM. */
int alertmanager_render(struct buf *ret_labels, struct buf *ret_rest, const struct notify_alert *alert,
			const char *page_url, int64_t wall_ns);
/* One alert into a batch: `[` or `,` before it, endsAt when it is open (0: it is not). */
void alertmanager_append(struct buf *body, const char *labels, struct slice rest, int64_t ends_ns);
