#include "ctl/fleet.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/rand.h"
#include "codec/coap.h"
#include "observe/metrics.h"

#define NONE UINT32_MAX
#define ACK_TIMEOUT_NS (2 * NS_PER_S) /* RFC 7252, section 4.8 */
#define MAX_RETRANSMIT 4
#define SCAN_NS (20 * NS_PER_MS)      /* granularity of retransmission */
#define BATCH 64
#define TAKE_BURST 512                /* readings between two looks at the socket */
#define RECEIVE_BUF 256
#define SOCKET_BUF (8 << 20)
#define ORDERS (1u << 20)             /* readings between the oldest unacknowledged one and the newest, with a spread */

/* A reading that is not acknowledged: waiting for its device, or on its way. */
struct exchange {
	uint8_t message[SLUICE_MESSAGE_MAX];
	uint16_t len, mid, generation;
	enum { FREE, WAITING, ON_ITS_WAY, ASK_AGAIN } state;
	unsigned attempts;
	uint32_t device, next; /* next: of the device's waiting ones, or of the free list */
	uint64_t order, word2;
	int64_t first_sent_ns, due_ns, timeout_ns;
};

struct device_state {
	uint32_t busy;        /* the exchange on its way */
	uint32_t first, last; /* waiting */
};

struct fleet {
	struct fleet_options options;
	struct reading_source *source;
	int fd;
	struct exchange *exchanges;
	uint32_t n_exchanges, free_list;
	struct device_state *devices;
	uint32_t n_devices, cap_devices;
	uint16_t next_mid;
	uint64_t random;
	int64_t next_scan_ns;
	bool ended; /* the source has no more */

	/* With a spread: event times in the order of taking, to hold back what is too far ahead. Rings of ORDERS. */
	int64_t *order_ns;
	bool *order_done;
	uint64_t order_first, order_next;

	struct fleet_reading held; /* taken, but it must wait; its bytes are the source's */
	bool has_held;

	uint32_t batch[BATCH];
	uint32_t n_batch;
	struct fleet_stats stats;
	struct metrics *latency;
};

static const struct metric_desc latency_desc = { .name = "ack_latency", .kind = METRIC_LATENCY, .sentence = "Acknowledgements." };

/* ------------------------------------------------------------------ life */

static int open_socket(struct fleet *f)
{
	int size = SOCKET_BUF;

	f->fd = socket(f->options.to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->fd < 0)
		return -errno;
	/* Best effort: the fleet retransmits what a small buffer loses. */
	setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(f->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return connect(f->fd, (const struct sockaddr *)&f->options.to, f->options.to_len) < 0 ? -errno : 0;
}

int fleet_new(struct fleet **ret, const struct fleet_options *options, struct reading_source *source)
{
	struct fleet *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (!f)
		return -ENOMEM;
	must(options->in_flight_max > 0);
	f->options = *options;
	f->source = source;
	f->fd = -1;
	f->random = options->seed | 1;
	f->next_mid = (uint16_t)f->random;
	f->n_exchanges = options->in_flight_max;
	f->exchanges = calloc(f->n_exchanges, sizeof(*f->exchanges));
	if (options->spread_ns > 0) {
		f->order_ns = calloc(ORDERS, sizeof(*f->order_ns));
		f->order_done = calloc(ORDERS, sizeof(*f->order_done));
	}
	if (!f->exchanges || (options->spread_ns > 0 && (!f->order_ns || !f->order_done)))
		goto fail;
	f->free_list = NONE;
	for (uint32_t i = f->n_exchanges; i-- > 0;) {
		f->exchanges[i].next = f->free_list;
		f->free_list = i;
	}
	r = metrics_new(&f->latency, "fleet", &latency_desc, 1);
	if (r == 0)
		r = open_socket(f);
	if (r < 0)
		goto fail;
	*ret = f;
	return 0;
fail:
	fleet_free(f);
	return r;
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	metrics_free(f->latency);
	free(f->exchanges);
	free(f->order_ns);
	free(f->order_done);
	free(f->devices);
	free(f);
}

static int know_device(struct fleet *f, uint32_t device)
{
	if (array_reserve(&f->devices, &f->cap_devices, device + 1, 16, sizeof(*f->devices)) < 0)
		return -ENOMEM;
	while (f->n_devices <= device)
		f->devices[f->n_devices++] = (struct device_state){ NONE, NONE, NONE };
	return 0;
}

/* ------------------------------------------------------------------ sending */

static void flush(struct fleet *f)
{
	struct mmsghdr headers[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	uint32_t sent = 0;

	for (uint32_t i = 0; i < f->n_batch; i++) {
		struct exchange *x = &f->exchanges[f->batch[i]];

		vectors[i] = (struct iovec){ x->message, x->len };
		headers[i].msg_hdr.msg_iov = &vectors[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < f->n_batch) {
		int n = sendmmsg(f->fd, headers + sent, f->n_batch - sent, 0);

		if (n > 0) {
			sent += (uint32_t)n;
			continue;
		}
		/* A full buffer drains; a refusal (ICMP) is one message's fate, and the message layer asks again. */
		struct pollfd out = { .fd = f->fd, .events = POLLOUT };

		if (errno == EAGAIN && poll(&out, 1, 100) > 0)
			continue;
		f->stats.send_failed++;
		sent++;
	}
	f->stats.sent += f->n_batch;
	f->n_batch = 0;
}

static void send_later(struct fleet *f, uint32_t i)
{
	f->batch[f->n_batch++] = i;
	if (f->n_batch == BATCH)
		flush(f);
}

/* Message id and token of a new exchange: the token finds it again. */
static void renew(struct fleet *f, struct exchange *x)
{
	uint32_t i = (uint32_t)(x - f->exchanges);

	x->mid = f->next_mid++;
	x->generation++;
	x->message[2] = (uint8_t)(x->mid >> 8);
	x->message[3] = (uint8_t)x->mid;
	memcpy(x->message + 4, &i, sizeof(i));
	memcpy(x->message + 8, &x->generation, sizeof(x->generation));
	x->attempts = 0;
}

static void transmit(struct fleet *f, uint32_t i, int64_t now_ns)
{
	struct exchange *x = &f->exchanges[i];

	if (x->attempts == 0)
		x->timeout_ns = (int64_t)(ACK_TIMEOUT_NS * (1 + 0.5 * rand_uniform(&f->random)));
	else
		x->timeout_ns *= 2;
	x->attempts++;
	x->state = ON_ITS_WAY;
	x->due_ns = now_ns + x->timeout_ns;
	send_later(f, i);
}

static void begin(struct fleet *f, uint32_t i, int64_t now_ns)
{
	struct exchange *x = &f->exchanges[i];

	f->devices[x->device].busy = i;
	x->first_sent_ns = now_ns;
	transmit(f, i, now_ns);
}

static uint64_t order_begin(struct fleet *f, int64_t timestamp_ns)
{
	if (f->options.spread_ns == 0)
		return 0;
	f->order_ns[f->order_next % ORDERS] = timestamp_ns;
	f->order_done[f->order_next % ORDERS] = false;
	return f->order_next++;
}

static void order_finish(struct fleet *f, uint64_t order)
{
	if (f->options.spread_ns == 0)
		return;
	f->order_done[order % ORDERS] = true;
	while (f->order_first < f->order_next && f->order_done[f->order_first % ORDERS])
		f->order_first++;
}

/* The reading's story is over: its device may go on. */
static void finish(struct fleet *f, uint32_t i, int64_t now_ns)
{
	struct exchange *x = &f->exchanges[i];
	struct device_state *d = &f->devices[x->device];
	uint32_t next = d->first;

	order_finish(f, x->order);
	x->state = FREE;
	x->next = f->free_list;
	f->free_list = i;
	f->stats.in_flight--;
	d->busy = NONE;
	if (next == NONE)
		return;
	d->first = f->exchanges[next].next;
	if (d->first == NONE)
		d->last = NONE;
	begin(f, next, now_ns);
}

static int take(struct fleet *f, const struct fleet_reading *reading, int64_t now_ns)
{
	uint32_t i = f->free_list;
	struct exchange *x = &f->exchanges[i];
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const uint8_t token[6] = { 0 };
	int r = know_device(f, reading->device);

	if (r < 0)
		return r;
	coap_append_post(&b, f->options.non ? COAP_NON : COAP_CON, 0, token, sizeof(token), f->options.content_format, 0,
			 reading->payload);
	if (buf_error(&b) < 0 || b.len > sizeof(x->message))
		return buf_error(&b) < 0 ? -ENOMEM : -EMSGSIZE;
	f->free_list = x->next;
	memcpy(x->message, b.data, b.len);
	x->len = (uint16_t)b.len;
	x->device = reading->device;
	x->word2 = reading->tag[1];
	x->order = order_begin(f, reading->timestamp_ns);
	x->next = NONE;
	f->stats.readings++;
	f->stats.in_flight++;
	renew(f, x);

	struct device_state *d = &f->devices[x->device];

	if (f->options.non) {
		begin(f, i, now_ns);
		flush(f);
		f->stats.unanswered++;
		finish(f, i, now_ns);
	} else if (d->busy == NONE) {
		begin(f, i, now_ns);
	} else {
		x->state = WAITING;
		if (d->last == NONE)
			d->first = i;
		else
			f->exchanges[d->last].next = i;
		d->last = i;
	}
	return 0;
}

static bool too_far_ahead(const struct fleet *f, int64_t timestamp_ns)
{
	if (f->options.spread_ns == 0 || f->order_first == f->order_next)
		return false;
	return f->order_next - f->order_first == ORDERS ||
	       timestamp_ns - f->order_ns[f->order_first % ORDERS] > f->options.spread_ns;
}

/* Takes what is due.  *ret_due_ns: when to come again at the latest. */
static int take_readings(struct fleet *f, int64_t now_ns, int64_t *ret_due_ns, struct reading_error *ret_error)
{
	for (int i = 0; i < TAKE_BURST && f->free_list != NONE; i++) {
		int r = f->has_held ? 1 : readings_next(f->source, now_ns, &f->held, ret_due_ns, ret_error);

		f->has_held = r == 1;
		f->ended = r == -ENODATA;
		if (r == 0 || r == -ENODATA)
			return 0;
		if (r < 0)
			return r;
		if (too_far_ahead(f, f->held.timestamp_ns))
			return 0;
		f->has_held = false;
		r = take(f, &f->held, now_ns);
		if (r < 0)
			return r;
		*ret_due_ns = now_ns;
	}
	return 0;
}

/* ------------------------------------------------------------------ receiving */

static void on_answer(struct fleet *f, const struct coap_response *a, uint32_t i, int64_t now_ns)
{
	struct exchange *x = &f->exchanges[i];
	uint64_t receipt = 0;

	if (a->code == COAP_CHANGED) {
		if (a->payload.len == sizeof(receipt))
			memcpy(&receipt, a->payload.data, sizeof(receipt));
		if (a->payload.len != sizeof(receipt) || receipt != x->word2) {
			f->stats.bad_receipts++; /* not an acknowledgement: it may be forged */
			return;
		}
		f->stats.acked++;
		metric_observe(f->latency, 0, now_ns - x->first_sent_ns, 1);
		if (f->options.repeat > 0 && rand_uniform(&f->random) < f->options.repeat) {
			f->stats.repeated++;
			send_later(f, i);
			flush(f);
		}
		finish(f, i, now_ns);
		return;
	}
	f->stats.refused[a->code]++;
	if (a->code == COAP_TOO_MANY_REQUESTS || a->code == COAP_UNAVAILABLE) {
		x->state = ASK_AGAIN;
		x->due_ns = now_ns + (int64_t)MAX(a->max_age_s, 1u) * NS_PER_S;
		return;
	}
	f->stats.refused_final++;
	finish(f, i, now_ns);
}

static void on_message(struct fleet *f, const uint8_t *message, size_t len, int64_t now_ns)
{
	struct coap_response a;
	uint32_t i;
	uint16_t generation;

	if (coap_parse_response(&a, message, len) < 0 || a.code == 0 || a.token_len != 6)
		return;
	memcpy(&i, a.token, sizeof(i));
	memcpy(&generation, a.token + 4, sizeof(generation));
	if (i >= f->n_exchanges)
		return;
	if (f->exchanges[i].state != ON_ITS_WAY || f->exchanges[i].generation != generation) {
		f->stats.extra_acks += a.code == COAP_CHANGED;
		return;
	}
	on_answer(f, &a, i, now_ns);
}

static int receive(struct fleet *f, int64_t now_ns)
{
	uint8_t bytes[BATCH][RECEIVE_BUF];
	struct mmsghdr headers[BATCH] = { 0 };
	struct iovec vectors[BATCH];

	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ bytes[i], RECEIVE_BUF };
		headers[i].msg_hdr.msg_iov = &vectors[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}

	int n = recvmmsg(f->fd, headers, BATCH, MSG_DONTWAIT, NULL);

	for (int i = 0; i < n; i++)
		on_message(f, bytes[i], headers[i].msg_len, now_ns);
	return MAX(n, 0);
}

/* ------------------------------------------------------------------ time */

static void on_timeout(struct fleet *f, uint32_t i, int64_t now_ns)
{
	struct exchange *x = &f->exchanges[i];

	if (x->state == ASK_AGAIN) {
		renew(f, x);
		transmit(f, i, now_ns);
	} else if (x->attempts <= MAX_RETRANSMIT) {
		f->stats.retransmitted++;
		transmit(f, i, now_ns);
	} else {
		f->stats.given_up++;
		finish(f, i, now_ns);
	}
}

static void scan(struct fleet *f, int64_t now_ns)
{
	if (now_ns < f->next_scan_ns)
		return;
	f->next_scan_ns = now_ns + SCAN_NS;
	for (uint32_t i = 0; i < f->n_exchanges; i++) {
		const struct exchange *x = &f->exchanges[i];

		if ((x->state == ON_ITS_WAY || x->state == ASK_AGAIN) && now_ns >= x->due_ns)
			on_timeout(f, i, now_ns);
	}
}

int fleet_step(struct fleet *f, bool taking, int64_t deadline_ns, struct reading_error *ret_error)
{
	for (;;) {
		int64_t now_ns = clock_mono_ns(), due_ns = now_ns + SCAN_NS;

		if (taking && !f->ended) {
			int r = take_readings(f, now_ns, &due_ns, ret_error);

			if (r < 0)
				return r;
		}
		scan(f, now_ns);
		flush(f);

		int n = receive(f, clock_mono_ns());

		flush(f);
		if ((f->ended || !taking) && !f->has_held && f->stats.in_flight == 0)
			return 0;
		if (now_ns >= deadline_ns)
			return 1;
		if (n > 0 || (due_ns <= now_ns && f->free_list != NONE && taking))
			continue;

		struct pollfd in = { .fd = f->fd, .events = POLLIN };
		int64_t until_ns = MIN(MIN(MAX(due_ns, now_ns + NS_PER_MS), now_ns + SCAN_NS), deadline_ns);

		poll(&in, 1, clock_poll_ms(until_ns));
	}
}

void fleet_stats(const struct fleet *f, struct fleet_stats *ret)
{
	*ret = f->stats;
}

int64_t fleet_ack_quantile(const struct fleet *f, double q)
{
	return metric_quantile(f->latency, 0, q);
}
