#include "alerts/notify_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/rand.h"

#define BUCKETS_MAX (1u << 16)
/* Prometheus' margin: an alert ends by itself when it was not told again for so many resend intervals. */
#define LIFE_IN_RESENDS 4

int receiver_init_queue(struct receiver *r)
{
	const struct notifier *n = r->notifier;
	uint32_t buckets = 64;

	while (buckets < BUCKETS_MAX && buckets < MAX(n->pending_max, n->open_max))
		buckets *= 2;
	TAILQ_INIT(&r->waiting);
	TAILQ_INIT(&r->idle);
	r->bucket_mask = buckets - 1;
	r->buckets = calloc(buckets, sizeof(struct notify_lane *));
	return r->buckets ? 0 : -ENOMEM;
}

void notify_item_free(struct notify_item *item)
{
	if (item)
		free(item->text);
	free(item);
}

/* ------------------------------------------------------------------ lanes */

static void lane_free(struct notify_lane *lane)
{
	while (!STAILQ_EMPTY(&lane->items)) {
		struct notify_item *item = STAILQ_FIRST(&lane->items);

		STAILQ_REMOVE_HEAD(&lane->items, link);
		notify_item_free(item);
	}
	free(lane->labels);
	free(lane->kept);
	free(lane);
}

void receiver_done_queue(struct receiver *r)
{
	for (uint32_t i = 0; r->buckets && i <= r->bucket_mask; i++) {
		for (struct notify_lane *next, *lane = r->buckets[i]; lane; lane = next) {
			next = lane->chain;
			lane_free(lane);
		}
	}
	free(r->buckets);
}

/* Where the lane of an alert hangs, or would; alert_id is a hash already. */
static struct notify_lane **lane_place(struct receiver *r, uint64_t alert_id)
{
	struct notify_lane **at = &r->buckets[alert_id & r->bucket_mask];

	while (*at && (*at)->alert_id != alert_id)
		at = &(*at)->chain;
	return at;
}

static void lane_wait(struct receiver *r, struct notify_lane *lane)
{
	lane->state = NOTIFY_WAITING;
	TAILQ_INSERT_TAIL(&r->waiting, lane, link);
}

static struct notify_lane *lane_new(struct receiver *r, uint64_t alert_id, char *labels)
{
	struct notify_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->alert_id = alert_id;
	lane->labels = labels;
	STAILQ_INIT(&lane->items);
	*lane_place(r, alert_id) = lane;
	r->n_lanes++;
	lane_wait(r, lane);
	return lane;
}

static void lane_remove(struct receiver *r, struct notify_lane *lane)
{
	*lane_place(r, lane->alert_id) = lane->chain;
	r->n_lanes--;
	lane_free(lane);
}

int receiver_put(struct receiver *r, uint64_t alert_id, struct notify_item *item, char *labels)
{
	const struct notifier *n = r->notifier;
	struct notify_lane *lane = *lane_place(r, alert_id);

	if (r->held >= n->pending_max)
		return -EAGAIN;
	if (!lane && item->open && r->kind == NOTIFY_ALERTMANAGER && r->n_lanes >= n->open_max)
		return -EAGAIN;
	if (lane) {
		free(labels);
		if (lane->state == NOTIFY_IDLE) {
			TAILQ_REMOVE(&r->idle, lane, link);
			lane_wait(r, lane);
		}
	} else {
		lane = lane_new(r, alert_id, labels);
		if (!lane)
			return -ENOMEM;
	}
	STAILQ_INSERT_TAIL(&lane->items, item, link);
	r->held++;
	r->stats.pending++;
	return 0;
}

/* ------------------------------------------------------------------ what goes out */

/* A receiver that was away may have forgotten what it was told before. */
static int64_t idle_due_ns(const struct receiver *r, const struct notify_lane *lane)
{
	return lane->told_ns < r->recovered_ns ? 0 : lane->told_ns + r->notifier->resend_ns;
}

/* Of a receiver that is away one request asks whether it is back. */
static bool may_start(const struct receiver *r)
{
	return r->n_busy < (r->failures > 0 ? 1 : r->n_requests);
}

int64_t receiver_next_ns(const struct receiver *r)
{
	const struct notify_lane *lane;
	int64_t next_ns = CLOCK_FOREVER;

	if (!may_start(r))
		return CLOCK_FOREVER;
	TAILQ_FOREACH(lane, &r->waiting, link) {
		next_ns = MIN(next_ns, lane->next_try_ns);
		if (next_ns == 0)
			break;
	}
	lane = TAILQ_FIRST(&r->idle);
	if (lane)
		next_ns = MIN(next_ns, idle_due_ns(r, lane));
	return MAX(next_ns, r->next_try_ns);
}

static void carry(struct receiver *r, struct notify_request *q, struct notify_lane *lane)
{
	struct notify_item *item = STAILQ_FIRST(&lane->items);
	struct slice text = item ? SLICE(item->text, item->len) : SLICE(lane->kept, lane->kept_len);

	TAILQ_REMOVE(item ? &r->waiting : &r->idle, lane, link);
	lane->state = NOTIFY_FLYING;
	q->carries[q->n].lane = lane;
	q->carries[q->n].item = item;
	q->n++;
	if (r->kind == NOTIFY_WEBHOOK) {
		buf_append(&q->body, text.data, text.len);
		return;
	}

	bool open = !item || item->open;

	alertmanager_append(&q->body, lane->labels, text,
			    open ? clock_wall_ns() + LIFE_IN_RESENDS * r->notifier->resend_ns : 0);
}

static bool has_room(const struct receiver *r, const struct notify_request *q)
{
	uint32_t limit = r->kind == NOTIFY_WEBHOOK || r->singly > 0 ? 1 : NOTIFY_BATCH_MAX;

	return q->n < limit && q->body.len < NOTIFY_BATCH_BYTES;
}

uint32_t receiver_choose(struct receiver *r, struct notify_request *q, int64_t now_ns)
{
	struct notify_lane *lane, *next;

	must(!q->busy);
	q->n = 0;
	buf_reset(&q->body);
	if (!may_start(r) || now_ns < r->next_try_ns)
		return 0;
	for (lane = TAILQ_FIRST(&r->waiting); lane && has_room(r, q); lane = next) {
		next = TAILQ_NEXT(lane, link);
		if (lane->next_try_ns <= now_ns)
			carry(r, q, lane);
	}
	while ((lane = TAILQ_FIRST(&r->idle)) && has_room(r, q) && idle_due_ns(r, lane) <= now_ns)
		carry(r, q, lane);
	if (q->n == 0)
		return 0;
	if (r->kind == NOTIFY_ALERTMANAGER)
		buf_append_u8(&q->body, ']');
	if (r->singly > 0)
		r->singly--;
	q->busy = true;
	r->n_busy++;
	return q->n;
}

/* ------------------------------------------------------------------ what an answer does */

static void give_receipt(struct receiver *r, struct notify_lane *lane, bool refused)
{
	struct notifier *n = r->notifier;
	struct notify_item *item = STAILQ_FIRST(&lane->items);

	STAILQ_REMOVE_HEAD(&lane->items, link);
	free(STEAL(item->text));
	item->receipt.refused = refused;
	item->receipt.taken_ns = clock_wall_ns();
	STAILQ_INSERT_TAIL(&n->receipts, item, link);
	r->stats.pending--;
	if (refused)
		r->stats.refused++;
	else
		r->stats.sent++;
	if (n->wake_fd >= 0)
		eventfd_write(n->wake_fd, 1);
}

/* What is told again is what was taken last.  When the end is refused, the alert ends by itself after its endsAt. */
static void keep(struct receiver *r, struct notify_lane *lane, struct notify_item *item, bool refused)
{
	if (r->kind == NOTIFY_WEBHOOK || (refused && item->open))
		return;
	if (lane->kept)
		r->stats.open--;
	free(STEAL(lane->kept));
	if (item->open) {
		lane->kept = STEAL(item->text);
		lane->kept_len = item->len;
		r->stats.open++;
	}
}

static void lane_answered(struct receiver *r, struct notify_lane *lane, struct notify_item *item, bool refused,
			  int64_t now_ns)
{
	if (item) {
		keep(r, lane, item, refused);
		give_receipt(r, lane, refused);
	} else {
		r->stats.resent += !refused;
	}
	lane->told_ns = now_ns;
	lane->attempts = 0;
	lane->next_try_ns = 0;
	if (!STAILQ_EMPTY(&lane->items)) {
		lane_wait(r, lane);
	} else if (lane->kept) {
		lane->state = NOTIFY_IDLE;
		TAILQ_INSERT_TAIL(&r->idle, lane, link);
	} else {
		lane_remove(r, lane);
	}
}

/* As they stood before. */
static void lanes_back(struct receiver *r, struct notify_request *q)
{
	for (uint32_t i = q->n; i-- > 0;) {
		struct notify_lane *lane = q->carries[i].lane;
		bool waits = !STAILQ_EMPTY(&lane->items);

		lane->state = waits ? NOTIFY_WAITING : NOTIFY_IDLE;
		TAILQ_INSERT_HEAD(waits ? &r->waiting : &r->idle, lane, link);
	}
}

/* Behind the others, so that a transition that brings a receiver down does not keep them all from it. */
static void lanes_behind(struct receiver *r, struct notify_request *q)
{
	lanes_back(r, q);
	for (uint32_t i = 0; i < q->n; i++) {
		struct notify_lane *lane = q->carries[i].lane;

		if (lane->state == NOTIFY_WAITING) {
			TAILQ_REMOVE(&r->waiting, lane, link);
			lane_wait(r, lane);
		}
	}
}

static int64_t pause_ns(const struct notifier *n, unsigned failures, int64_t retry_after_ms)
{
	int64_t jitter_ms = rand_backoff(n->retry_base_ms, n->retry_max_ms, failures - 1);

	return MAX(jitter_ms, MIN(retry_after_ms, n->retry_max_ms)) * NS_PER_MS;
}

/* Not taken and not refused.  A failure that is about the alert pauses the alert, any other the receiver. */
static void receiver_retry(struct receiver *r, struct notify_request *q, bool about_alert, int64_t retry_after_ms,
			   int64_t now_ns)
{
	for (uint32_t i = 0; i < q->n; i++)
		r->stats.retried += q->carries[i].item != NULL;
	if (about_alert) {
		struct notify_lane *lane = q->carries[0].lane;

		must(q->n == 1);
		lane->attempts++;
		lane->next_try_ns = now_ns + pause_ns(r->notifier, lane->attempts, retry_after_ms);
	} else {
		r->failures++;
		r->next_try_ns = now_ns + pause_ns(r->notifier, r->failures, retry_after_ms);
	}
	lanes_behind(r, q);
}

void receiver_settle(struct receiver *r, struct notify_request *q, enum notify_verdict verdict, int64_t retry_after_ms,
		     int64_t now_ns)
{
	must(q->busy);
	q->busy = false;
	r->n_busy--;
	if (verdict == NOTIFY_RETRY_ALERT || verdict == NOTIFY_RETRY_RECEIVER) {
		receiver_retry(r, q, verdict == NOTIFY_RETRY_ALERT, retry_after_ms, now_ns);
		return;
	}
	if (r->failures > 0) {
		r->failures = 0;
		r->next_try_ns = 0;
		r->recovered_ns = now_ns;
	}
	if (verdict == NOTIFY_REFUSED && q->n > 1) {
		/* One bad alert among good ones: each for itself shows which. */
		r->singly = q->n;
		lanes_back(r, q);
		return;
	}
	for (uint32_t i = 0; i < q->n; i++)
		lane_answered(r, q->carries[i].lane, q->carries[i].item, verdict == NOTIFY_REFUSED, now_ns);
}
