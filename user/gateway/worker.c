#include "gateway/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bpf/shared/admit.h"
#include "codec/coap.h"
#include "codec/telemetry.h"
#include "gateway/submit.h"

#define RECEIVE_MAX 64
#define POLL_MS 200      /* an idle worker shows that it lives */
#define MAX_AGE_S 1      /* when a device may ask again after 4.29 and 5.03 */
#define NO_RESPONSE_2XX 2 /* RFC 7967, section 2.1 */
#define NO_RESPONSE_4XX 8
#define NO_RESPONSE_5XX 16

struct pending_answer {
	struct reply_stub stub;
	uint64_t word2;
	enum submit_result result;
};

struct worker {
	struct door door; /* first: the commit thread knows only this */
	struct gateway *gateway;
	struct source *source;
	pthread_t thread;
	int wake_fd;
	bool closed, ending;
	bool receiving; /* until the thread has seen that it is closed */
	uint64_t progress;
	uint16_t next_mid; /* of NON answers */

	/* Answers from the commit thread: swapped out under the lock, sent outside it. */
	pthread_mutex_t lock;
	pthread_cond_t stopped; /* receiving became false */
	struct pending_answer *waiting, *sending;
	size_t n_waiting, cap_waiting, cap_sending;

	uint8_t flat[SLUICE_MESSAGE_BUF]; /* as long as admit() wants it */
	struct source_stats stats; /* a copy for other threads */
};

/* ------------------------------------------------------------------ answers */

static bool response_suppressed(const struct reply_stub *stub, uint8_t code)
{
	uint8_t bit = code >> 5 == 2 ? NO_RESPONSE_2XX : code >> 5 == 4 ? NO_RESPONSE_4XX : NO_RESPONSE_5XX;

	return stub->no_response & bit;
}

/* False when nothing is sent: suppressed, or it would be larger than the request. */
static bool reply(struct worker *w, const struct reply_stub *stub, uint8_t code, uint16_t max_age_s, const uint64_t *receipt)
{
	bool confirmable = stub->type == COAP_CON;
	struct answer answer = {
		.code = code,
		.type = confirmable ? COAP_ACK : COAP_NON,
		.token_len = stub->token_len,
		.has_receipt = receipt != NULL,
		.mid = confirmable ? stub->mid : w->next_mid++,
		.max_age_s = max_age_s,
		.receipt = receipt ? *receipt : 0,
	};
	uint8_t bytes[SLUICE_ANSWER_MAX];

	if (code == 0)
		answer = (struct answer){ .type = COAP_RST, .mid = stub->mid };
	else if (response_suppressed(stub, code)) {
		if (!confirmable)
			return false;
		answer = (struct answer){ .type = COAP_ACK, .mid = stub->mid };
	}

	uint32_t len = answer_write_within(bytes, &answer, stub->token, stub->request_len);

	if (len == 0)
		return false;

	int r = w->source->ops->reply(w->source, stub, bytes, len);

	if (r == -ENOBUFS && w->source->ops->flush(w->source) == 0)
		r = w->source->ops->reply(w->source, stub, bytes, len);
	if (r < 0) {
		metric_add(w->gateway->metrics, GW_REPLY_LOST, 1);
		return false;
	}
	return true;
}

static void reply_result(struct worker *w, const struct reply_stub *stub, uint64_t word2, enum submit_result result)
{
	struct metrics *m = w->gateway->metrics;

	if (result == SUBMIT_FULL) {
		reply(w, stub, COAP_UNAVAILABLE, MAX_AGE_S, NULL);
		metric_add(m, GW_REFUSED, 1);
		return;
	}
	if (reply(w, stub, COAP_CHANGED, 0, &word2))
		metric_add(m, GW_ACKED, 1);
	metric_observe(m, GW_ACK, clock_mono_ns() - (int64_t)stub->arrival_ns, 1);
}

static void door_done(struct door *door, const struct reply_stub *stub, uint64_t word2, enum submit_result result)
{
	struct worker *w = container_of(door, struct worker, door);

	pthread_mutex_lock(&w->lock);
	if (w->n_waiting == w->cap_waiting) {
		size_t cap = MAX(w->cap_waiting * 2, (size_t)RECEIVE_MAX);
		struct pending_answer *more = realloc(w->waiting, cap * sizeof(*more));

		/* Bounded by the commit's waiters.  Without memory the answer is lost, and the device asks again. */
		if (!more) {
			metric_add(w->gateway->metrics, GW_REPLY_LOST, 1);
			pthread_mutex_unlock(&w->lock);
			return;
		}
		w->waiting = more;
		w->cap_waiting = cap;
	}
	w->waiting[w->n_waiting++] = (struct pending_answer){ *stub, word2, result };
	pthread_mutex_unlock(&w->lock);
}

static void door_flush(struct door *door)
{
	struct worker *w = container_of(door, struct worker, door);
	const uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		(void)0; /* already readable */
}

static size_t send_answers(struct worker *w)
{
	pthread_mutex_lock(&w->lock);

	struct pending_answer *answers = w->waiting;
	size_t n = w->n_waiting, cap = w->cap_waiting;

	w->waiting = w->sending;
	w->cap_waiting = w->cap_sending;
	w->n_waiting = 0;
	w->sending = answers;
	w->cap_sending = cap;
	pthread_mutex_unlock(&w->lock);

	for (size_t i = 0; i < n; i++)
		reply_result(w, &answers[i].stub, answers[i].word2, answers[i].result);
	return n;
}

/* ------------------------------------------------------------------ requests */

static enum sluice_verdict refuse(struct worker *w, const struct reply_stub *stub, uint8_t code, enum sluice_verdict answered,
				  enum sluice_verdict dropped)
{
	uint16_t max_age_s = code == COAP_TOO_MANY_REQUESTS || code == COAP_UNAVAILABLE ? MAX_AGE_S : 0;

	if (stub->type != COAP_CON || !reply(w, stub, code, max_age_s, NULL))
		return dropped;
	metric_add(w->gateway->metrics, GW_REFUSED, 1);
	return answered;
}

/* A device without a clock sends the same bytes for equal values: only the message tells two readings apart. */
static uint64_t message_hash(const struct reply_stub *stub)
{
	struct {
		uint8_t ip[16], token[SLUICE_TOKEN_MAX];
		uint16_t port_be, mid;
	} message = { .port_be = stub->peer_port_be, .mid = stub->mid };

	memcpy(message.ip, stub->peer_ip, sizeof(message.ip));
	memcpy(message.token, stub->token, stub->token_len);
	return siphash_64(&siphash_open_key, &message, sizeof(message));
}

static enum sluice_verdict hand_over(struct worker *w, struct submission *s, const struct reply_stub *stub)
{
	if (!s->has_timestamp)
		s->word1 ^= message_hash(stub);
	switch (submit(w->gateway->commit, s, &w->door, stub)) {
	case SUBMIT_DURABLE:
		return SLUICE_FORWARDED;
	case SUBMIT_KNOWN:
		if (stub->type != COAP_CON)
			return SLUICE_DROPPED_DUPLICATE;
		reply_result(w, stub, s->word2, SUBMIT_KNOWN);
		return SLUICE_ANSWERED_DURABLE;
	case SUBMIT_FULL:
		break;
	}
	return refuse(w, stub, COAP_UNAVAILABLE, SLUICE_ANSWERED_OVERLOAD, SLUICE_DROPPED_OVERLOAD);
}

static bool region_is_ours(const struct worker *w, struct slice region)
{
	const struct admit_keys *k = &w->gateway->keys;

	return region.len == 0 || (region.len == k->region_len && memcmp(region.data, k->region, region.len) == 0);
}

/* Which key the tag of a payload in any field order fits. */
static bool tag_fits(const struct worker *w, const struct telemetry *t, struct slice payload, uint64_t ret_tag[2])
{
	const struct admit_keys *k = &w->gateway->keys;

	if (!k->keyed) {
		telemetry_tag(payload.data, payload.len, &siphash_open_key, ret_tag);
		return ret_tag[0] == t->integrity_hash;
	}
	for (size_t i = 0; i < ARRAY_SIZE(k->own); i++) {
		struct siphash_key master = { k->own[i].k0, k->own[i].k1 };
		struct siphash_key device = telemetry_device_key(&master, t->device_id);

		if (!k->own[i].present)
			continue;
		telemetry_tag(payload.data, payload.len, &device, ret_tag);
		if (ret_tag[0] == t->integrity_hash)
			return true;
	}
	return false;
}

/* What is right but off the fixed shape, and what CoAP answers with a code. */
static enum sluice_verdict general_request(struct worker *w, const struct datagram *d, struct reply_stub *stub)
{
	struct coap_request request;
	struct telemetry t;
	uint64_t tag[2];
	int r = coap_parse_request(&request, d->message, d->len, w->gateway->keys.content_format);

	if (r < 0)
		return SLUICE_DROPPED_MALFORMED;
	if (r == COAP_PING)
		return reply(w, stub, 0, 0, NULL) ? SLUICE_ANSWERED_RESET : SLUICE_DROPPED_MALFORMED;
	if (r > 0)
		return refuse(w, stub, (uint8_t)r, SLUICE_ANSWERED_BAD, SLUICE_DROPPED_BAD);
	stub->no_response = request.no_response;
	if (telemetry_parse(&t, request.payload.data, request.payload.len) < 0 || !t.has_hash || t.device_id.len == 0 ||
	    !region_is_ours(w, t.region))
		return refuse(w, stub, COAP_BAD_REQUEST, SLUICE_ANSWERED_BAD, SLUICE_DROPPED_BAD);
	if (!tag_fits(w, &t, request.payload, tag))
		return refuse(w, stub, COAP_UNAUTHORIZED, SLUICE_ANSWERED_AUTH, SLUICE_DROPPED_AUTH);

	struct submission s = {
		.payload = request.payload,
		.word1 = tag[0],
		.word2 = tag[1],
		.device_id = t.device_id,
		.region = t.region,
		.timestamp_ns = t.timestamp_ns,
		.has_timestamp = t.has_timestamp,
	};
	return hand_over(w, &s, stub);
}

static enum sluice_verdict reading(struct worker *w, const uint8_t *message, const struct admission *a,
				   struct reply_stub *stub)
{
	const uint8_t *payload = message + a->payload_off;
	struct submission s = {
		.payload = SLICE(payload, a->payload_len),
		.word1 = a->word1,
		.word2 = a->word2,
		.device_id = SLICE(payload + a->device_off, a->device_len),
		.region = SLICE(payload + a->region_off, a->region_len),
	};

	struct telemetry t;

	/* The fixed shape says nothing of what follows device_id and region: nothing is acknowledged that could not
	 * be published. */
	stub->no_response = a->no_response;
	if (!region_is_ours(w, s.region) || telemetry_parse(&t, payload, a->payload_len) < 0)
		return refuse(w, stub, COAP_BAD_REQUEST, SLUICE_ANSWERED_BAD, SLUICE_DROPPED_BAD);
	s.timestamp_ns = t.timestamp_ns;
	s.has_timestamp = t.has_timestamp;
	return hand_over(w, &s, stub);
}

static enum sluice_verdict request(struct worker *w, const struct datagram *d, struct reply_stub *stub)
{
	const struct admit_keys *keys = &w->gateway->keys;
	struct admission a;
	enum admit_result result;

	if (d->len > SLUICE_MESSAGE_MAX)
		return general_request(w, d, stub);
	memcpy(w->flat, d->message, d->len);
	if (d->admitted) { /* the XDP program has checked the hash */
		result = admit_shape(w->flat, d->len, keys->content_format, &a);
		a.word2 = d->meta.word2;
	} else {
		result = admit(w->flat, d->len, keys, &a);
	}
	switch (result) {
	case ADMIT_READING:
		return reading(w, w->flat, &a, stub);
	case ADMIT_ODD:
		return general_request(w, d, stub);
	case ADMIT_BAD_HASH:
		return refuse(w, stub, COAP_UNAUTHORIZED, SLUICE_ANSWERED_AUTH, SLUICE_DROPPED_AUTH);
	case ADMIT_FOREIGN:
		return refuse(w, stub, COAP_BAD_REQUEST, SLUICE_ANSWERED_BAD, SLUICE_DROPPED_BAD);
	case ADMIT_MALFORMED:
		break;
	}
	return SLUICE_DROPPED_MALFORMED;
}

static enum sluice_verdict limited_request(struct worker *w, const struct datagram *d, struct reply_stub *stub)
{
	if (!w->gateway->limiter || d->admitted)
		return request(w, d, stub);
	switch (limiter_ask(w->gateway->limiter, stub->peer_ip, clock_mono_ns())) {
	case LIMIT_DENIED:
		return SLUICE_DROPPED_DENIED;
	case LIMIT_RATE:
		return refuse(w, stub, COAP_TOO_MANY_REQUESTS, SLUICE_ANSWERED_RATE, SLUICE_DROPPED_RATE);
	case LIMIT_PASS:
		break;
	}
	return request(w, d, stub);
}

/* Type, message id and token.  What is no request gets the type of a Reset: never answered with a code. */
static void stub_fill(struct reply_stub *stub, const struct datagram *d)
{
	const uint8_t *m = d->message;

	stub->type = COAP_RST;
	stub->request_len = d->len;
	if (d->len < COAP_HEADER_LEN)
		return;
	stub->mid = (uint16_t)(m[2] << 8 | m[3]);

	uint8_t token_len = m[0] & 15, code = m[1];

	if (m[0] >> 6 != 1 || token_len > SLUICE_TOKEN_MAX || d->len < COAP_HEADER_LEN + token_len || code == 0 || code >> 5 != 0)
		return;
	stub->type = m[0] >> 4 & 3;
	stub->token_len = token_len;
	memcpy(stub->token, m + COAP_HEADER_LEN, token_len);
}

static void receive(struct worker *w, struct datagram *datagrams, int n)
{
	uint32_t verdicts[SLUICE_VERDICT_COUNT] = { 0 };
	struct metrics *m = w->gateway->metrics;

	for (int i = 0; i < n; i++) {
		struct reply_stub stub = datagrams[i].stub;

		stub_fill(&stub, &datagrams[i]);
		verdicts[limited_request(w, &datagrams[i], &stub)]++;
	}
	metric_add(m, GW_RECEIVED, (uint64_t)n);
	for (uint32_t v = 0; v < SLUICE_VERDICT_COUNT; v++)
		if (verdicts[v] > 0)
			metric_add_by(m, GW_VERDICTS, v, verdicts[v]);
}

/* ------------------------------------------------------------------ the thread */

static void wait_for_work(struct worker *w, bool receiving)
{
	struct pollfd fds[] = {
		{ .fd = w->wake_fd, .events = POLLIN },
		{ .fd = receiving ? w->source->ops->fd(w->source) : -1, .events = POLLIN },
	};
	uint64_t count;

	poll(fds, ARRAY_SIZE(fds), POLL_MS);
	if (fds[0].revents && read(w->wake_fd, &count, sizeof(count)) < 0)
		(void)0; /* nobody had written */
}

static bool keep_receiving(struct worker *w)
{
	if (!__atomic_load_n(&w->closed, __ATOMIC_ACQUIRE))
		return true;
	pthread_mutex_lock(&w->lock);
	w->receiving = false;
	pthread_cond_signal(&w->stopped);
	pthread_mutex_unlock(&w->lock);
	return false;
}

static void *worker_thread(void *argument)
{
	struct worker *w = argument;
	struct datagram datagrams[RECEIVE_MAX];
	struct log_limit limit = { 0 };
	uint64_t suppressed;

	for (;;) {
		bool ending = __atomic_load_n(&w->ending, __ATOMIC_ACQUIRE);
		bool receiving = keep_receiving(w);
		int n = receiving ? w->source->ops->receive(w->source, datagrams, RECEIVE_MAX) : 0;

		if (n > 0)
			receive(w, datagrams, n);
		else if (n < 0 && log_limit_pass(&limit, &suppressed))
			log_warn("packet source fails", F_STR("source", w->source->ops->name), F_ERR(n),
				 F_U64("suppressed", suppressed));

		size_t sent = send_answers(w);

		if (n > 0 || sent > 0)
			w->source->ops->flush(w->source);
		pthread_mutex_lock(&w->lock);
		w->source->ops->stats(w->source, &w->stats);
		pthread_mutex_unlock(&w->lock);
		__atomic_fetch_add(&w->progress, 1, __ATOMIC_RELAXED);
		if (ending)
			return NULL;
		if (n <= 0 && sent == 0)
			wait_for_work(w, receiving);
	}
}

int worker_new(struct worker **ret, struct gateway *gateway, struct source *source)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		goto fail;
	w->door = (struct door){ .done = door_done, .flush = door_flush };
	w->gateway = gateway;
	w->source = source;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0) {
		r = -errno;
		goto fail;
	}
	w->receiving = true;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->stopped, NULL);
	r = -pthread_create(&w->thread, NULL, worker_thread, w);
	if (r == 0) {
		*ret = w;
		return 0;
	}
	pthread_cond_destroy(&w->stopped);
	pthread_mutex_destroy(&w->lock);
	close(w->wake_fd);
fail:
	source->ops->free(source);
	free(w);
	return r;
}

void worker_close(struct worker *w)
{
	__atomic_store_n(&w->closed, true, __ATOMIC_RELEASE);
	door_flush(&w->door);
	pthread_mutex_lock(&w->lock);
	while (w->receiving)
		pthread_cond_wait(&w->stopped, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	worker_close(w);
	__atomic_store_n(&w->ending, true, __ATOMIC_RELEASE);
	door_flush(&w->door);
	pthread_join(w->thread, NULL);
	w->source->ops->free(w->source);
	pthread_cond_destroy(&w->stopped);
	pthread_mutex_destroy(&w->lock);
	close(w->wake_fd);
	free(w->waiting);
	free(w->sending);
	free(w);
}

void worker_stats(const struct worker *w, struct source_stats *ret)
{
	pthread_mutex_lock((pthread_mutex_t *)&w->lock);
	*ret = w->stats;
	pthread_mutex_unlock((pthread_mutex_t *)&w->lock);
}

const char *worker_source_name(const struct worker *w)
{
	return w->source->ops->name;
}

uint64_t worker_progress(const struct worker *w)
{
	return __atomic_load_n(&w->progress, __ATOMIC_RELAXED);
}
