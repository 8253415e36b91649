#include "aggregator/deliver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "codec/message.h"

#define PENDING_MAX (2 * BOOK_ALERTS_MAX) /* of a receiver: what is open, and what becomes of it */
#define ALERT_STEP(name) SLUICE__V1__ALERT_SENT__STEP__##name

struct parcel {
	uint64_t version, alert_id;
	uint64_t owed;   /* bits of receivers that have not taken it */
	uint64_t handed; /* the owner's own: to the notifier */
	bool open;
	int64_t arrival_ns;
	char raised_severity[16];
	struct buf line;
};

struct deliver {
	struct notifier *notifier;
	uint32_t n_receivers;
	uint64_t names[DELIVER_RECEIVERS_MAX]; /* hashes of URLs */
	bool forgets[DELIVER_RECEIVERS_MAX];   /* an Alertmanager */
	/* The fold. */
	uint64_t begun[DELIVER_RECEIVERS_MAX]; /* names of receivers that are owed what comes */
	uint32_t n_begun;
	struct parcel *parcels; /* a ring by version; what nobody is owed any more leaves at its head */
	uint32_t first, n;
	uint64_t given_up;
	/* The owner's own. */
	bool waiting; /* something may be owed and not handed over */
	bool holding; /* a receipt that could not be appended */
	struct notify_receipt held;
	struct buf packed;
	void (*taken)(void *context, int64_t latency_ns);
	void *taken_context;
};

/* ------------------------------------------------------------------ beginning and end */

static void add_receivers(struct deliver *d, struct notify_receiver *receivers, enum notify_kind kind,
			  const struct config_list *urls)
{
	for (size_t i = 0; i < urls->n && d->n_receivers < DELIVER_RECEIVERS_MAX; i++) {
		uint64_t words[2] = { (uint64_t)kind, hash_device(urls->items[i], strlen(urls->items[i])) };

		receivers[d->n_receivers] = (struct notify_receiver){ kind, urls->items[i] };
		d->forgets[d->n_receivers] = kind == NOTIFY_ALERTMANAGER;
		d->names[d->n_receivers++] = hash_device(words, sizeof(words));
	}
}

int deliver_new(struct deliver **ret, const struct settings *settings, int wake_fd, char *ret_error, size_t size)
{
	struct notify_receiver receivers[DELIVER_RECEIVERS_MAX];
	struct deliver *d = calloc(1, sizeof(*d));
	struct notifier_options options = {
		.receivers = receivers, .timeout_ms = settings->alerts_timeout_ms,
		.resend_ms = settings->alerts_resend_ms, .retry_base_ms = settings->alerts_retry_base_ms,
		.retry_max_ms = settings->alerts_retry_max_ms, .pending_max = PENDING_MAX,
		.wake_fd = wake_fd, .open_max = PENDING_MAX,
		.page_url = *settings->alerts_page ? settings->alerts_page : NULL,
	};
	int r = 0;

	*ret_error = '\0';
	if (!d || !(d->parcels = calloc(DELIVER_OUTBOX, sizeof(*d->parcels)))) {
		free(d);
		return -ENOMEM;
	}
	add_receivers(d, receivers, NOTIFY_WEBHOOK, &settings->alerts_webhook);
	add_receivers(d, receivers, NOTIFY_ALERTMANAGER, &settings->alerts_alertmanager);
	options.n_receivers = d->n_receivers;
	if (d->n_receivers > 0)
		r = notifier_new(&d->notifier, &options, ret_error, size);
	if (r < 0)
		deliver_free(d);
	else
		*ret = d;
	return r;
}

void deliver_free(struct deliver *d)
{
	if (!d)
		return;
	notifier_free(d->notifier);
	for (uint32_t i = 0; i < DELIVER_OUTBOX; i++)
		buf_done(&d->parcels[i].line);
	free(d->parcels);
	buf_done(&d->packed);
	free(d);
}

void deliver_on_taken(struct deliver *d, void (*taken)(void *context, int64_t latency_ns), void *context)
{
	d->taken = taken;
	d->taken_context = context;
}

/* ------------------------------------------------------------------ the fold */

static struct parcel *parcel_at(const struct deliver *d, uint32_t i)
{
	return &d->parcels[(d->first + i) % DELIVER_OUTBOX];
}

static uint32_t place_of(const struct deliver *d, uint64_t version)
{
	uint32_t low = 0, high = d->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (parcel_at(d, middle)->version < version)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct parcel *parcel_of(const struct deliver *d, uint64_t version)
{
	uint32_t at = place_of(d, version);

	return at < d->n && parcel_at(d, at)->version == version ? parcel_at(d, at) : NULL;
}

static void drop_first(struct deliver *d)
{
	d->first = (d->first + 1) % DELIVER_OUTBOX;
	d->n--;
}

static void drop_settled(struct deliver *d)
{
	while (d->n > 0 && parcel_at(d, 0)->owed == 0)
		drop_first(d);
}

/* What is settled in the middle goes; buffers change places, so that none is lost. */
static void compact(struct deliver *d)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		if (parcel_at(d, i)->owed == 0)
			continue;

		struct parcel moved = *parcel_at(d, i);

		*parcel_at(d, i) = *parcel_at(d, kept);
		*parcel_at(d, kept++) = moved;
	}
	d->n = kept;
}

static bool has_begun(const struct deliver *d, uint64_t name)
{
	for (uint32_t i = 0; i < d->n_begun; i++)
		if (d->begun[i] == name)
			return true;
	return false;
}

static uint64_t owed_now(const struct deliver *d)
{
	uint64_t owed = 0;

	for (uint32_t i = 0; i < d->n_receivers; i++)
		owed |= (uint64_t)has_begun(d, d->names[i]) << i;
	return owed;
}

int deliver_told(struct deliver *d, const alert_record *r, uint64_t version, struct slice line)
{
	uint64_t owed = owed_now(d);

	if (owed == 0 || r->state == ALERT_STATE(PAST))
		return 0;
	if (d->n == DELIVER_OUTBOX)
		compact(d);
	if (d->n == DELIVER_OUTBOX) {
		d->given_up++;
		drop_first(d);
	}

	struct parcel *p = parcel_at(d, d->n++);
	struct buf memory = p->line;

	*p = (struct parcel){ .version = version, .alert_id = r->alert_id, .owed = owed, .open = alert_is_open(r),
			      /* What people wait for is the first word. */
			      .arrival_ns = r->state == ALERT_STATE(RAISED) ? r->arrival_ns : 0, .line = memory };
	snprintf(p->raised_severity, sizeof(p->raised_severity), "%.15s", r->raised_severity);
	buf_reset(&p->line);
	buf_append(&p->line, line.data, line.len);
	d->waiting = true;
	return buf_error(&p->line);
}

/* From now on it is owed nothing, nor anything of before. */
static void forget_receiver(struct deliver *d, uint64_t name)
{
	for (uint32_t i = 0; i < d->n_begun; i++)
		if (d->begun[i] == name)
			d->begun[i--] = d->begun[--d->n_begun];
	for (uint32_t k = 0; k < d->n_receivers; k++)
		for (uint32_t i = 0; d->names[k] == name && i < d->n; i++)
			parcel_at(d, i)->owed &= ~(1ULL << k);
	drop_settled(d);
}

static void take(struct deliver *d, const Sluice__V1__AlertSent *sent)
{
	struct parcel *p = parcel_of(d, sent->version);

	for (uint32_t i = 0; p && i < d->n_receivers; i++)
		if (d->names[i] == sent->receiver)
			p->owed &= ~(1ULL << i);
	drop_settled(d);
}

int deliver_sent(struct deliver *d, struct slice value)
{
	Sluice__V1__AlertSent *sent = sluice__v1__alert_sent__unpack(NULL, value.len, value.data);

	if (!sent)
		return -EBADMSG;
	if (sent->step == ALERT_STEP(TAKEN))
		take(d, sent);
	else if (sent->step == ALERT_STEP(ENDS))
		forget_receiver(d, sent->receiver);
	else if (sent->step == ALERT_STEP(BEGINS) && !has_begun(d, sent->receiver) &&
		 d->n_begun < DELIVER_RECEIVERS_MAX)
		d->begun[d->n_begun++] = sent->receiver;
	sluice__v1__alert_sent__free_unpacked(sent, NULL);
	return 0;
}

/* ------------------------------------------------------------------ the owner */

static int append_sent(struct deliver *d, Sluice__V1__AlertSent *sent, deliver_append *append, void *context)
{
	buf_reset(&d->packed);

	int r = message_append(&d->packed, &sent->base);

	return r < 0 ? r : append(context, buf_slice(&d->packed));
}

static bool is_configured(const struct deliver *d, uint64_t name)
{
	for (uint32_t i = 0; i < d->n_receivers; i++)
		if (d->names[i] == name)
			return true;
	return false;
}

static int append_step(struct deliver *d, uint64_t name, int step, deliver_append *append, void *context)
{
	Sluice__V1__AlertSent sent = SLUICE__V1__ALERT_SENT__INIT;

	sent.receiver = name;
	sent.step = step;
	return append_sent(d, &sent, append, context);
}

struct resend {
	struct deliver *d;
	deliver_render *render;
	struct buf line;
};

static bool is_owed(const struct deliver *d, uint64_t alert_id, uint32_t receiver)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (parcel_at(d, i)->alert_id == alert_id && parcel_at(d, i)->owed & 1ULL << receiver)
			return true;
	return false;
}

/* What is owed of an alert tells of it anyway, and in order. */
static void resend_open(void *context, const alert_record *r, uint64_t version)
{
	struct resend *again = context;
	struct deliver *d = again->d;

	buf_reset(&again->line);
	if (again->render(&again->line, r, version) < 0)
		return;

	struct notify_alert alert = { .alert_id = r->alert_id, .version = version, .open = true,
				      .line = buf_slice(&again->line), .raised_severity = r->raised_severity };

	for (uint32_t i = 0; i < d->n_receivers; i++)
		if (d->forgets[i] && !is_owed(d, r->alert_id, i))
			notifier_send(d->notifier, i, &alert); /* it holds as many as there can be open */
}

int deliver_begin(struct deliver *d, const struct book *book, deliver_render *render, deliver_append *append,
		  void *context)
{
	struct resend again = { .d = d, .render = render };
	int r = 0;

	for (uint32_t i = 0; i < d->n_begun && r == 0; i++)
		if (!is_configured(d, d->begun[i]))
			r = append_step(d, d->begun[i], ALERT_STEP(ENDS), append, context);
	for (uint32_t i = 0; i < d->n_receivers && r == 0; i++)
		if (!has_begun(d, d->names[i]))
			r = append_step(d, d->names[i], ALERT_STEP(BEGINS), append, context);
	if (d->notifier)
		book_each_open(book, resend_open, &again);
	buf_done(&again.line);
	d->waiting = true;
	return r;
}

/* Whether the notifier has it, or never will. */
static int hand_over(struct deliver *d, struct parcel *p, uint32_t receiver)
{
	struct notify_alert alert = { .alert_id = p->alert_id, .version = p->version, .open = p->open,
				      .line = buf_slice(&p->line), .arrival_ns = p->arrival_ns,
				      .raised_severity = p->raised_severity };
	int r = notifier_send(d->notifier, receiver, &alert);

	if (r == -EAGAIN || r == -ENOMEM)
		return r;
	if (r < 0)
		log_error("an alert cannot be told to a receiver", F_STR("receiver", notifier_name(d->notifier, receiver)),
			  F_HEX("alert_id", p->alert_id), F_ERR(r));
	p->handed |= 1ULL << receiver;
	return 0;
}

/* In order; where a receiver is full, all that follows waits. */
static int hand_over_all(struct deliver *d)
{
	uint64_t full = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		struct parcel *p = parcel_at(d, i);
		uint64_t now = p->owed & ~p->handed & ~full;

		for (uint32_t k = 0; now && k < d->n_receivers; k++) {
			int r = now & 1ULL << k ? hand_over(d, p, k) : 0;

			if (r == -ENOMEM)
				return r;
			full |= (uint64_t)(r == -EAGAIN) << k;
		}
	}
	d->waiting = full != 0;
	return 0;
}

/* 1: there was one; 0: none; -EAGAIN: it waits for room in the log. */
static int take_receipt(struct deliver *d, deliver_append *append, void *context)
{
	Sluice__V1__AlertSent sent = SLUICE__V1__ALERT_SENT__INIT;

	if (!d->holding && !notifier_taken(d->notifier, &d->held))
		return 0;
	d->holding = true;

	const struct parcel *p = parcel_of(d, d->held.version);

	if (p && p->owed & 1ULL << d->held.receiver) {
		sent.receiver = d->names[d->held.receiver];
		sent.alert_id = d->held.alert_id;
		sent.version = d->held.version;
		sent.refused = d->held.refused;

		int r = append_sent(d, &sent, append, context);

		if (r < 0)
			return r;
		if (d->taken && d->held.arrival_ns > 0 && d->held.arrival_ns < d->held.taken_ns && !d->held.refused)
			d->taken(d->taken_context, d->held.taken_ns - d->held.arrival_ns);
	}
	d->holding = false;
	return 1;
}

static int take_receipts(struct deliver *d, deliver_append *append, void *context)
{
	int r = 1;

	while (r == 1)
		r = take_receipt(d, append, context);
	return r == -EAGAIN ? 0 : r;
}

int deliver_run(struct deliver *d, deliver_append *append, void *context)
{
	int r = d->notifier && d->waiting ? hand_over_all(d) : 0;

	return r == 0 && d->notifier ? take_receipts(d, append, context) : r;
}

int deliver_end(struct deliver *d, deliver_append *append, void *context)
{
	if (!d->notifier)
		return 0;
	notifier_stop(d->notifier);
	return take_receipts(d, append, context);
}

void deliver_counts(const struct deliver *d, struct deliver_counts *ret)
{
	*ret = (struct deliver_counts){ .n_receivers = d->n_receivers, .given_up = d->given_up };
	for (uint32_t i = 0; i < d->n_receivers; i++)
		notifier_stats(d->notifier, i, &ret->stats[i]);
	for (uint32_t i = 0; i < d->n; i++)
		ret->waiting += parcel_at(d, i)->owed != 0;
}
