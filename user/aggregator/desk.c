#include "aggregator/desk.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"

void desk_init(struct desk *d, int wake_fd)
{
	pthread_condattr_t attributes;

	*d = (struct desk){ .wake_fd = wake_fd };
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

void desk_done(struct desk *d)
{
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
}

/* ------------------------------------------------------------------ the owner's side */

bool desk_asked(struct desk *d, struct book_ack *ret)
{
	pthread_mutex_lock(&d->lock);

	bool asked = d->state == DESK_ASKED;

	if (asked)
		*ret = d->ack;
	pthread_mutex_unlock(&d->lock);
	return asked;
}

void desk_under_way(struct desk *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->state == DESK_ASKED)
		d->state = DESK_UNDER_WAY;
	pthread_mutex_unlock(&d->lock);
}

void desk_answer(struct desk *d, uint64_t alert_id, int answer)
{
	pthread_mutex_lock(&d->lock);
	if ((d->state == DESK_ASKED || d->state == DESK_UNDER_WAY) && d->ack.alert_id == alert_id) {
		d->state = DESK_ANSWERED;
		d->answer = answer;
		pthread_cond_broadcast(&d->changed);
	}
	pthread_mutex_unlock(&d->lock);
}

/* ------------------------------------------------------------------ who asks */

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
}

/* 0; the owner's answer; -ETIMEDOUT: nobody owns the log, or it cannot be written. */
static int ask(struct desk *d, const struct book_ack *ack)
{
	struct timespec deadline = timespec_of(clock_mono_ns() + DESK_WAIT_NS);
	uint64_t one = 1;
	int r = 0;

	pthread_mutex_lock(&d->lock);
	while (d->state != DESK_FREE && r == 0)
		r = pthread_cond_timedwait(&d->changed, &d->lock, &deadline);
	if (d->state == DESK_FREE) {
		snprintf(d->by, sizeof(d->by), "%s", ack->by);
		snprintf(d->note, sizeof(d->note), "%s", ack->note);
		d->ack = (struct book_ack){ ack->alert_id, d->by, d->note, ack->until_ns };
		d->state = DESK_ASKED;
		r = write(d->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? errno : 0; /* a full eventfd wakes too */
		while (d->state != DESK_ANSWERED && r == 0)
			r = pthread_cond_timedwait(&d->changed, &d->lock, &deadline);
		r = d->state == DESK_ANSWERED ? d->answer : -ETIMEDOUT;
		d->state = DESK_FREE;
		pthread_cond_broadcast(&d->changed);
	} else {
		r = -ETIMEDOUT;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* NULL: fine; else what is wrong. */
static const char *read_ack(const json_t *root, struct book_ack *ret)
{
	const char *id = json_string_value(json_object_get(root, "alert_id"));
	const char *by = json_string_value(json_object_get(root, "by"));
	const json_t *note = json_object_get(root, "note"), *until = json_object_get(root, "until"),
		     *lasting = json_object_get(root, "for");
	char *end = NULL;
	int64_t ms = 0;

	*ret = (struct book_ack){ .by = by, .note = json_is_string(note) ? json_string_value(note) : "" };
	if (!json_is_object(root))
		return "the body must be a JSON object";
	if (!id || strlen(id) != 16 || id[strspn(id, "0123456789abcdefABCDEF")])
		return "alert_id must be the 16 hex digits of an alert";
	ret->alert_id = strtoull(id, NULL, 16);
	if (!by || !*by || strlen(by) > DESK_TEXT_MAX)
		return "by must be who acknowledges, 1 to 256 bytes";
	if ((note && !json_is_string(note) && !json_is_null(note)) || strlen(ret->note) > DESK_TEXT_MAX)
		return "note must be a text of 256 bytes at most";
	if (until && lasting)
		return "until and for exclude each other";
	if (until) {
		const char *text = json_string_value(until);

		ret->until_ns = text ? strtoll(text, &end, 10) : 0;
		if (!text || *end || ret->until_ns <= 0)
			return "until must be nanoseconds since 1970, as text";
	}
	if (lasting && (!json_is_string(lasting) || config_duration_ms(json_string_value(lasting), &ms) < 0 || ms == 0 ||
			ms > 366LL * 24 * 3600 * 1000))
		return "for must be a duration such as \"2h\", a year at most";
	if (lasting)
		ret->until_ns = clock_wall_ns() + ms * NS_PER_MS;
	return NULL;
}

int desk_serve(void *context, const char *path, struct slice request, struct buf *body)
{
	json_auto_t *root = json_loadb(request.data, request.len, JSON_REJECT_DUPLICATES, NULL);
	struct book_ack ack;
	const char *wrong = root ? read_ack(root, &ack) : "the body is not JSON";

	if (wrong) {
		buf_printf(body, "%s\n", wrong);
		return 400;
	}
	switch (ask(context, &ack)) {
	case 0:
		buf_printf(body, "{\"alert_id\":\"%016" PRIx64 "\",\"status\":\"acknowledged\",\"until_ns\":", ack.alert_id);
		if (ack.until_ns != 0)
			buf_printf(body, "\"%" PRId64 "\"}\n", ack.until_ns);
		else
			buf_append_str(body, "null}\n");
		return 200;
	case -ENOENT:
		buf_printf(body, "no alert %016" PRIx64 " is open: /alerts.json lists those that are\n", ack.alert_id);
		return 404;
	default:
		buf_append_str(body, "it cannot be written into global.log now; see /readyz, and try again\n");
		return 503;
	}
}
