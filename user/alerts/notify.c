#include "alerts/notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/notify_internal.h"
#include "base/clock.h"

#define STOP_NS NS_PER_S
#define WAIT_MAX_MS 60000

/* ------------------------------------------------------------------ what people are told */

struct outcome {
	enum notify_verdict verdict;
	long status;
	uint32_t carried;
	uint64_t alert_id, version; /* of the first that it carried */
	bool recovered;
	uint64_t pending;
	int64_t pause_ns; /* before the next attempt */
};

static void log_trouble(struct receiver *r, const struct notify_request *q, const struct outcome *o)
{
	uint64_t suppressed;

	if (o->verdict == NOTIFY_TAKEN || (o->verdict == NOTIFY_REFUSED && o->carried > 1) ||
	    !log_limit_pass(o->verdict == NOTIFY_REFUSED ? &r->refusals : &r->troubles, &suppressed))
		return;
	if (o->verdict == NOTIFY_REFUSED)
		log_error("a receiver refuses an alert, it is not sent to it again", F_STR("receiver", r->name),
			  F_HEX("alert_id", o->alert_id), F_U64("version", o->version), F_I64("http_status", o->status),
			  F_STR("answer", q->answer), F_U64("suppressed", suppressed));
	else if (o->status != 0)
		log_warn("a receiver does not take alerts now, trying again", F_STR("receiver", r->name),
			 F_HEX("alert_id", o->alert_id), F_I64("http_status", o->status), F_STR("answer", q->answer),
			 F_U64("pending", o->pending), F_I64("pause_ms", o->pause_ns / NS_PER_MS),
			 F_U64("suppressed", suppressed));
	else
		log_warn("a receiver is not reached, trying again", F_STR("receiver", r->name), F_STR("error", q->error),
			 F_U64("pending", o->pending), F_I64("pause_ms", o->pause_ns / NS_PER_MS),
			 F_U64("suppressed", suppressed));
}

/* ------------------------------------------------------------------ the thread */

static void settle(struct notify_request *q, enum notify_verdict verdict, long status, int64_t retry_after_ms)
{
	struct receiver *r = q->receiver;
	struct notifier *n = r->notifier;
	struct notify_item *item = q->carries[0].item;
	struct notify_lane *lane = q->carries[0].lane;
	struct outcome o = { .verdict = verdict, .status = status, .carried = q->n };
	int64_t now_ns = clock_mono_ns();

	pthread_mutex_lock(&n->lock);
	o.alert_id = lane->alert_id;
	o.version = item ? item->receipt.version : 0;
	o.recovered = r->failures > 0;
	receiver_settle(r, q, verdict, retry_after_ms, now_ns);
	o.recovered = o.recovered && r->failures == 0;
	o.pending = r->stats.pending;
	if (verdict == NOTIFY_RETRY_ALERT)
		o.pause_ns = lane->next_try_ns - now_ns;
	else if (verdict == NOTIFY_RETRY_RECEIVER)
		o.pause_ns = r->next_try_ns - now_ns;
	pthread_mutex_unlock(&n->lock);
	if (o.recovered)
		log_info("a receiver answers again", F_STR("receiver", r->name), F_U64("pending", o.pending));
	log_trouble(r, q, &o);
}

static void finish_requests(struct notifier *n)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(n->multi, &left))) {
		CURLcode result = message->data.result; /* the message goes with the handle */
		struct notify_request *q;
		int64_t retry_after_ms;
		long status;

		must(message->msg == CURLMSG_DONE);
		must(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &q) == CURLE_OK);

		enum notify_verdict verdict = request_finish(q, result, &status, &retry_after_ms);

		settle(q, verdict, status, retry_after_ms);
	}
}

/* Whether something was begun. */
static bool start_requests(struct receiver *r, int64_t now_ns)
{
	struct notifier *n = r->notifier;
	bool started = false;

	for (uint32_t i = 0; i < r->n_requests; i++) {
		struct notify_request *q = &r->requests[i];

		if (q->busy)
			continue;
		pthread_mutex_lock(&n->lock);

		bool chosen = receiver_choose(r, q, now_ns) > 0;

		pthread_mutex_unlock(&n->lock);
		if (!chosen)
			break;
		started = true;

		int e = buf_error(&q->body);

		if (e == 0)
			e = request_start(q);
		if (e < 0) {
			snprintf(q->error, sizeof(q->error), "%s", strerror(-e));
			settle(q, NOTIFY_RETRY_RECEIVER, 0, 0);
		}
	}
	return started;
}

static uint32_t in_the_air(const struct notifier *n)
{
	uint32_t busy = 0;

	for (uint32_t i = 0; i < n->n_receivers; i++)
		busy += n->receivers[i].n_busy;
	return busy;
}

static int64_t next_ns(const struct notifier *n)
{
	int64_t first_ns = CLOCK_FOREVER;

	for (uint32_t i = 0; i < n->n_receivers; i++)
		first_ns = MIN(first_ns, receiver_next_ns(&n->receivers[i]));
	return first_ns;
}

static void wait_for_work(struct notifier *n, int64_t until_ns)
{
	int wait_ms = clock_poll_ms(until_ns);

	if (wait_ms < 0 || wait_ms > WAIT_MAX_MS)
		wait_ms = WAIT_MAX_MS;
	if (curl_multi_poll(n->multi, NULL, 0, wait_ms, NULL) != CURLM_OK)
		poll(NULL, 0, 100); /* out of memory: not in a loop without a pause */
}

/* What the owner gave is looked at between perform and poll: then no wakeup is missed, whichever of the two swallows it
 * (perform does in libcurl 8.21). */
static void *notifier_thread(void *context)
{
	struct notifier *n = context;

	for (;;) {
		int running;

		curl_multi_perform(n->multi, &running);
		finish_requests(n);
		pthread_mutex_lock(&n->lock);

		bool stopping = n->stopping;
		int64_t until_ns = n->stop_ns;

		pthread_mutex_unlock(&n->lock);
		if (stopping && (in_the_air(n) == 0 || clock_mono_ns() >= until_ns))
			return NULL;
		if (!stopping) {
			int64_t now_ns = clock_mono_ns();
			bool started = false;

			for (uint32_t i = 0; i < n->n_receivers; i++)
				started |= start_requests(&n->receivers[i], now_ns);
			if (started)
				continue;
			pthread_mutex_lock(&n->lock);
			until_ns = next_ns(n);
			pthread_mutex_unlock(&n->lock);
		}
		wait_for_work(n, until_ns);
	}
}

static int start_thread(struct notifier *n)
{
	sigset_t all, before;

	/* Signals are the owner's, and a SIGPIPE of a connection is nobody's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	int e = -pthread_create(&n->thread, NULL, notifier_thread, n);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	n->running = e == 0;
	return e;
}

/* ------------------------------------------------------------------ the owner */

static int receiver_init(struct receiver *r, struct notifier *n, uint32_t number, const struct notify_receiver *what,
			 char *ret_error, size_t size)
{
	int e;

	r->notifier = n;
	r->number = number;
	r->kind = what->kind;
	e = receiver_set_url(r, what->url, ret_error, size);
	if (e == 0)
		e = receiver_init_queue(r);
	if (e == 0)
		e = receiver_init_requests(r);
	return e;
}

static int notifier_init(struct notifier *n, const struct notifier_options *options, char *ret_error, size_t size)
{
	int e = 0;

	/* Never undone: a name that is still being looked up at the end runs in a thread of libcurl. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	n->multi = curl_multi_init();
	n->receivers = calloc(MAX(options->n_receivers, 1u), sizeof(*n->receivers));
	n->page_url = options->page_url ? strdup(options->page_url) : NULL;
	if (!n->multi || !n->receivers || (options->page_url && !n->page_url))
		return -ENOMEM;
	for (uint32_t i = 0; i < options->n_receivers && e == 0; i++) {
		n->n_receivers++;
		e = receiver_init(&n->receivers[i], n, i, &options->receivers[i], ret_error, size);
	}
	return e < 0 ? e : start_thread(n);
}

int notifier_new(struct notifier **ret, const struct notifier_options *options, char *ret_error, size_t size)
{
	struct notifier *n;

	must(options->n_receivers <= NOTIFY_RECEIVERS_MAX && options->pending_max > 0);
	must(options->timeout_ms > 0 && options->resend_ms > 0);
	must(options->retry_base_ms > 0 && options->retry_max_ms >= options->retry_base_ms);
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->timeout_ms = options->timeout_ms;
	n->resend_ns = options->resend_ms * NS_PER_MS;
	n->retry_base_ms = options->retry_base_ms;
	n->retry_max_ms = options->retry_max_ms;
	n->pending_max = options->pending_max;
	n->open_max = options->open_max > 0 ? options->open_max : options->pending_max;
	n->wake_fd = options->wake_fd;
	pthread_mutex_init(&n->lock, NULL);
	STAILQ_INIT(&n->receipts);

	int e = notifier_init(n, options, ret_error, size);

	if (e < 0) {
		notifier_free(n);
		return e;
	}
	*ret = n;
	return 0;
}

void notifier_stop(struct notifier *n)
{
	if (!n->running)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	n->stop_ns = clock_mono_ns() + STOP_NS;
	pthread_mutex_unlock(&n->lock);
	curl_multi_wakeup(n->multi);
	pthread_join(n->thread, NULL);
	n->running = false;
}

void notifier_free(struct notifier *n)
{
	if (!n)
		return;
	notifier_stop(n);
	for (uint32_t i = 0; i < n->n_receivers; i++) {
		struct receiver *r = &n->receivers[i];

		receiver_done_requests(r);
		receiver_done_queue(r);
		free(r->url);
		free(r->name);
	}
	while (!STAILQ_EMPTY(&n->receipts)) {
		struct notify_item *item = STAILQ_FIRST(&n->receipts);

		STAILQ_REMOVE_HEAD(&n->receipts, link);
		notify_item_free(item);
	}
	curl_multi_cleanup(n->multi);
	pthread_mutex_destroy(&n->lock);
	free(n->receivers);
	free(n->page_url);
	free(n);
}

static void item_done(struct notify_item **item)
{
	notify_item_free(*item);
}

/* The text that stands in a request. */
static int render(const struct receiver *r, const struct notify_alert *alert, struct buf *ret_text,
		  struct buf *ret_labels)
{
	if (alert->line.len > NOTIFY_LINE_MAX)
		return -EMSGSIZE;
	if (r->kind == NOTIFY_ALERTMANAGER)
		return alertmanager_render(ret_labels, ret_text, alert, r->notifier->page_url, clock_wall_ns());
	buf_append(ret_text, alert->line.data, alert->line.len);
	return buf_error(ret_text);
}

int notifier_send(struct notifier *n, uint32_t receiver, const struct notify_alert *alert)
{
	must(receiver < n->n_receivers);

	struct receiver *r = &n->receivers[receiver];
	CLEANUP(buf_done) struct buf text = BUF_INIT, labels = BUF_INIT;
	CLEANUP(item_done) struct notify_item *item = calloc(1, sizeof(*item));
	CLEANUP_FREE char *identity = NULL;
	int e = item ? render(r, alert, &text, &labels) : -ENOMEM;

	if (e < 0)
		return e;
	item->receipt = (struct notify_receipt){ .receiver = receiver, .alert_id = alert->alert_id,
						 .version = alert->version, .arrival_ns = alert->arrival_ns };
	item->open = alert->open;
	item->len = text.len;
	item->text = malloc(MAX(text.len, (size_t)1));
	identity = strdup(buf_cstr(&labels));
	if (!item->text || !identity)
		return -ENOMEM;
	memcpy(item->text, text.data, text.len);
	pthread_mutex_lock(&n->lock);
	e = receiver_put(r, alert->alert_id, item, identity);
	pthread_mutex_unlock(&n->lock);
	if (e < 0)
		return e;
	item = NULL;
	identity = NULL;
	curl_multi_wakeup(n->multi);
	return 0;
}

bool notifier_taken(struct notifier *n, struct notify_receipt *ret)
{
	pthread_mutex_lock(&n->lock);

	struct notify_item *item = STAILQ_FIRST(&n->receipts);

	if (item) {
		STAILQ_REMOVE_HEAD(&n->receipts, link);
		n->receivers[item->receipt.receiver].held--;
	}
	pthread_mutex_unlock(&n->lock);
	if (!item)
		return false;
	*ret = item->receipt;
	notify_item_free(item);
	return true;
}

void notifier_stats(struct notifier *n, uint32_t receiver, struct notify_stats *ret)
{
	must(receiver < n->n_receivers);
	pthread_mutex_lock(&n->lock);
	*ret = n->receivers[receiver].stats;
	pthread_mutex_unlock(&n->lock);
}

const char *notifier_name(const struct notifier *n, uint32_t receiver)
{
	must(receiver < n->n_receivers);
	return n->receivers[receiver].name;
}
