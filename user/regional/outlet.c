#include "regional/outlet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"

#define RETRY_BASE_NS (100 * NS_PER_MS)
#define RETRY_CAP_NS (10 * NS_PER_S)

void outlet_init(struct outlet *o, const char *url, uint32_t partitions, bool development)
{
	*o = (struct outlet){ .url = url, .partitions = partitions, .development = development };
}

void outlet_done(struct outlet *o)
{
	stream_close(o->stream);
	o->stream = NULL;
}

static void fail(struct outlet *o, int error, int64_t now_ns)
{
	if (o->attempt == 0)
		log_warn("a stream cannot be written; what it misses is sent again", F_STR("stream", o->url), F_ERR(error),
			 F_STR("reason", o->reason));
	stream_close(o->stream);
	o->stream = NULL;
	o->errors++;
	o->retry_ns = now_ns + rand_backoff(RETRY_BASE_NS, RETRY_CAP_NS, o->attempt++);
}

int outlet_open(struct outlet *o, int64_t now_ns)
{
	struct stream_options options = { .writer = true, .development = o->development };
	struct stream_error error = { "" };
	int r;

	if (o->stream || !o->url[0])
		return 0;
	if (now_ns < o->retry_ns)
		return -EAGAIN;
	r = stream_open(&o->stream, o->url, &options, &error);
	if (r == 0 && stream_partitions(o->stream) != o->partitions) {
		snprintf(error.text, sizeof(error.text), "%.150s has %u partitions, streams.partitions says %u", o->url,
			 stream_partitions(o->stream), o->partitions);
		r = -EINVAL;
	}
	memcpy(o->reason, error.text, sizeof(o->reason));
	if (r < 0)
		fail(o, r, now_ns);
	return r;
}

int outlet_send(struct outlet *o, uint32_t partition, struct slice value)
{
	struct stream_record record = { .partition = partition, .value = value };
	int r;

	if (!o->url[0])
		return 0;
	if (!o->stream)
		return -ENOTCONN;
	r = stream_append(o->stream, &record);
	if (r == 0 || r == -EAGAIN || r == -EMSGSIZE)
		return r;
	o->lost = true;
	fail(o, r, clock_mono_ns());
	return -ENOTCONN;
}

void outlet_turn(struct outlet *o, int64_t deadline_ns)
{
	struct stream_confirmation c[64];

	while (o->stream && stream_pending(o->stream) > 0) {
		int n = stream_poll(o->stream, c, ARRAY_SIZE(c), deadline_ns), error = MIN(n, 0);

		for (int i = 0; i < n && error == 0; i++)
			error = c[i].error;
		if (error < 0) {
			o->lost = true;
			fail(o, error, clock_mono_ns());
			return;
		}
		if (n > 0)
			o->attempt = 0;
		if (n < (int)ARRAY_SIZE(c))
			return;
	}
}

size_t outlet_pending(const struct outlet *o)
{
	return o->stream ? stream_pending(o->stream) : 0;
}

bool outlet_lost(struct outlet *o)
{
	bool lost = o->lost;

	o->lost = false;
	return lost;
}
