#include "aggregator/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stop.h"

#define CONFIRMATIONS 256
#define RECORDS 64
#define TAIL_WAIT_NS (5 * NS_PER_S)
#define ROOM_WAIT_NS (100 * NS_PER_MS)

struct output {
	struct stream *stream;
	uint32_t partitions;
	uint64_t *newest; /* version that a partition has; what has it may be there in part */
	/* Confirmations that were taken while waiting for room. */
	int64_t early[CONFIRMATIONS];
	size_t n_early;
};

/* The version of a line, or 0.  Quotes inside JSON strings are escaped, so the key is found nowhere else. */
static uint64_t version_of(struct slice line)
{
	static const char key[] = "\"version\":\"";
	const char *at = line.len > 0 ? memmem(line.data, line.len, key, sizeof(key) - 1) : NULL;
	const char *end = (const char *)line.data + line.len;
	uint64_t version = 0;

	for (at = at ? at + sizeof(key) - 1 : end; at < end && *at >= '0' && *at <= '9'; at++)
		version = version * 10 + (uint64_t)(*at - '0');
	return version;
}

/* Reads from `first` on until the record before `end` has been seen. */
static int read_tail(struct output *o, struct stream *reader, uint32_t partition, uint64_t end, output_line *line,
		     void *context)
{
	struct stream_record records[RECORDS];
	int64_t deadline_ns = clock_mono_ns() + TAIL_WAIT_NS;
	uint64_t next = 0;

	while (next < end) {
		uint32_t lost;
		int n = stream_read(reader, records, RECORDS, deadline_ns, &lost);

		if (n <= 0)
			return n; /* at the deadline: what lies before the end are records of the backend's own */
		for (int i = 0; i < n; i++) {
			must(records[i].partition == partition);
			o->newest[partition] = MAX(o->newest[partition], version_of(records[i].value));
			next = records[i].offset + 1;
			line(context, records[i].value);
		}
	}
	return 0;
}

static int look_at_end(struct output *o, const char *url, bool development, output_line *line, void *context,
		       struct stream_error *ret_error)
{
	struct stream_options options = { .reader = true, .development = development };
	struct stream *reader = NULL;
	int r = stream_open(&reader, url, &options, ret_error);

	for (uint32_t p = 0; p < o->partitions && r == 0; p++) {
		uint64_t first, end;

		r = stream_range(reader, p, &first, &end);
		if (r < 0 || first >= end)
			continue;
		r = stream_seek(reader, p, MAX(first, end > OUTPUT_TAIL ? end - OUTPUT_TAIL : 0));
		if (r == 0)
			r = read_tail(o, reader, p, end, line, context);
		stream_leave(reader, p);
	}
	if (r < 0 && reader)
		snprintf(ret_error->text, sizeof(ret_error->text), "the end of %s cannot be read: %s", url,
			 strerror(-r));
	stream_close(reader);
	return r;
}

int output_open(struct output **ret, const char *url, bool development, output_line *line, void *context,
		struct stream_error *ret_error)
{
	struct stream_options options = { .writer = true, .development = development };
	struct output *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	r = stream_open(&o->stream, url, &options, ret_error);
	if (r == 0) {
		o->partitions = stream_partitions(o->stream);
		o->newest = calloc(o->partitions, sizeof(*o->newest));
		r = o->newest ? look_at_end(o, url, development, line, context, ret_error) : -ENOMEM;
	}
	if (r < 0)
		output_free(o);
	else
		*ret = o;
	return r;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	stream_close(o->stream);
	free(o->newest);
	free(o);
}

uint64_t output_newest(const struct output *o)
{
	uint64_t newest = 0;

	for (uint32_t p = 0; p < o->partitions; p++)
		newest = MAX(newest, o->newest[p]);
	return newest;
}

bool output_wants(const struct output *o, uint64_t key, uint64_t version)
{
	return version >= o->newest[key % o->partitions];
}

/* Up to CONFIRMATIONS - *n stamps more. */
static int collect(struct output *o, int64_t *stamps, size_t *n, int64_t deadline_ns)
{
	struct stream_confirmation done[CONFIRMATIONS];
	int got = stream_poll(o->stream, done, CONFIRMATIONS - *n, deadline_ns);

	for (int i = 0; i < got; i++) {
		if (done[i].error < 0)
			return done[i].error;
		if (done[i].cookie)
			stamps[(*n)++] = (int64_t)(intptr_t)done[i].cookie;
	}
	return got;
}

int output_append(struct output *o, uint64_t key, struct slice line, int64_t stamp_ns)
{
	struct stream_record record = { .partition = (uint32_t)(key % o->partitions), .value = line,
					.cookie = (void *)(intptr_t)stamp_ns };
	int r;

	while ((r = stream_append(o->stream, &record)) == -EAGAIN) {
		if (stop_requested())
			return -ECANCELED;
		if (o->n_early == CONFIRMATIONS)
			o->n_early = 0; /* stamps are for a latency: some may go unmeasured, none may wait */
		r = collect(o, o->early, &o->n_early, clock_mono_ns() + ROOM_WAIT_NS);
		if (r < 0)
			return r;
	}
	return r;
}

int output_poll(struct output *o, int64_t deadline_ns, output_confirmed *confirmed, void *context)
{
	int64_t stamps[CONFIRMATIONS];
	int r;

	for (size_t i = 0; i < o->n_early; i++)
		confirmed(context, o->early[i]);
	o->n_early = 0;
	do {
		size_t n = 0;

		r = collect(o, stamps, &n, deadline_ns);
		for (size_t i = 0; i < n; i++)
			confirmed(context, stamps[i]);
		deadline_ns = 0;
	} while (r == CONFIRMATIONS);
	return MIN(r, 0);
}

size_t output_pending(const struct output *o)
{
	return stream_pending(o->stream);
}
