#include "aggregator/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"

#define QUEUE_ITEMS 1024
#define QUEUE_BYTES (32u << 20)
#define BATCH 64
#define READ_WAIT_NS (100 * NS_PER_MS) /* also how soon a stop or a rewind is seen */
#define BACKOFF_BASE_MS 100
#define BACKOFF_CAP_MS 10000

enum source_state { CONNECTING, OPEN, READING };

struct source {
	char *name, *url;
	bool development;
	int wake_fd;
	pthread_t thread;

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t changed; /* for the thread: stopping, positions, room */
	pthread_cond_t ended;   /* for source_stopped() */
	enum source_state state;
	bool stopping, over;
	struct log_id id;
	uint32_t partitions;
	uint64_t *positions;
	uint64_t round; /* counts rewinds: what was read in an earlier one is dropped */
	struct source_item queue[QUEUE_ITEMS];
	uint32_t head, n;
	size_t bytes;
	struct source_stats stats;
};

static void wake(struct source *s)
{
	const uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		(void)0; /* already readable */
}

/* ------------------------------------------------------------------ the thread */

static bool wait_until(struct source *s, int64_t mono_ns)
{
	struct timespec at = { .tv_sec = mono_ns / NS_PER_S, .tv_nsec = mono_ns % NS_PER_S };

	return pthread_cond_timedwait(&s->changed, &s->lock, &at) == 0;
}

static void back_off(struct source *s, unsigned attempt)
{
	int64_t until_ns = clock_mono_ns() +
			   rand_backoff(BACKOFF_BASE_MS, BACKOFF_CAP_MS, MIN(attempt, 16u)) * NS_PER_MS;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping && clock_mono_ns() < until_ns)
		wait_until(s, until_ns);
	pthread_mutex_unlock(&s->lock);
}

static void drop_queue(struct source *s)
{
	for (; s->n > 0; s->n--) {
		free(s->queue[s->head].memory);
		s->head = (s->head + 1) % QUEUE_ITEMS;
	}
	s->bytes = 0;
}

/* Tells that it is open and waits for positions. The round that begins, or 0 when it is to stop. */
static uint64_t await_positions(struct source *s, uint64_t *ret_positions)
{
	pthread_mutex_lock(&s->lock);
	if (s->state != READING)
		s->state = OPEN;
	wake(s);
	while (s->state != READING && !s->stopping)
		pthread_cond_wait(&s->changed, &s->lock);

	uint64_t round = s->stopping ? 0 : s->round;

	if (round > 0)
		memcpy(ret_positions, s->positions, s->partitions * sizeof(*ret_positions));
	pthread_mutex_unlock(&s->lock);
	return round;
}

/* False when the round is over. */
static bool push(struct source *s, uint64_t round, const struct stream_record *record)
{
	void *memory = malloc(MAX(record->value.len, (size_t)1));

	must(memory);
	memcpy(memory, record->value.data, record->value.len);
	pthread_mutex_lock(&s->lock);
	while (!s->stopping && s->round == round &&
	       (s->n == QUEUE_ITEMS || (s->n > 0 && s->bytes + record->value.len > QUEUE_BYTES)))
		pthread_cond_wait(&s->changed, &s->lock);

	bool going_on = !s->stopping && s->round == round;

	if (going_on) {
		s->queue[(s->head + s->n++) % QUEUE_ITEMS] = (struct source_item){
			.partition = record->partition, .offset = record->offset,
			.value = SLICE(memory, record->value.len), .memory = memory };
		s->bytes += record->value.len;
	} else {
		free(memory);
	}
	pthread_mutex_unlock(&s->lock);
	return going_on;
}

static bool is_current(struct source *s, uint64_t round)
{
	pthread_mutex_lock(&s->lock);

	bool current = !s->stopping && s->round == round;

	pthread_mutex_unlock(&s->lock);
	return current;
}

static int skip_lost(struct source *s, struct stream *stream, uint32_t partition)
{
	uint64_t first, end;
	int r = stream_range(stream, partition, &first, &end);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	s->stats.lost++;
	pthread_mutex_unlock(&s->lock);
	log_error("deltas were deleted before they were read: windows of this region may be incomplete",
		  F_STR("region", s->name), F_U64("partition", partition), F_U64("continues_at", first));
	return stream_seek(stream, partition, first);
}

/* 0 when the round is over; negative errno when the handle is broken. */
static int read_round(struct source *s, struct stream *stream, uint64_t round, const uint64_t *positions)
{
	struct stream_record records[BATCH];
	uint32_t lost = 0;
	int r = 0;

	for (uint32_t p = 0; p < stream_partitions(stream) && r == 0; p++)
		r = stream_seek(stream, p, positions[p]);
	if (r < 0)
		return r;
	while (is_current(s, round)) {
		r = stream_read(stream, records, BATCH, clock_mono_ns() + READ_WAIT_NS, &lost);
		if (r == -ERANGE)
			r = skip_lost(s, stream, lost);
		if (r < 0)
			return r;
		for (int i = 0; i < r; i++)
			if (!push(s, round, &records[i]))
				return 0;
		if (r > 0)
			wake(s);
	}
	return 0;
}

/* From an opened handle to its failure or the end. */
static int serve(struct source *s, struct stream *stream)
{
	uint32_t partitions = stream_partitions(stream);
	CLEANUP_FREE uint64_t *positions = calloc(partitions, sizeof(*positions));
	CLEANUP_FREE uint64_t *shared = calloc(partitions, sizeof(*shared));
	uint64_t round;
	int r = 0;

	if (!positions || !shared)
		return -ENOMEM;
	pthread_mutex_lock(&s->lock);
	s->id = stream_identity(stream);
	s->partitions = partitions;
	s->positions = shared;
	s->state = OPEN;
	s->round++;
	s->stats.tried = s->stats.connected = true;
	pthread_mutex_unlock(&s->lock);
	while (r == 0 && (round = await_positions(s, positions)) > 0)
		r = read_round(s, stream, round, positions);
	pthread_mutex_lock(&s->lock);
	s->state = CONNECTING;
	s->positions = NULL;
	s->stats.connected = false;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static bool is_stopping(struct source *s)
{
	pthread_mutex_lock(&s->lock);

	bool stopping = s->stopping;

	pthread_mutex_unlock(&s->lock);
	return stopping;
}

static void failed(struct source *s, const char *sentence, unsigned attempt)
{
	pthread_mutex_lock(&s->lock);
	s->stats.errors++;
	s->stats.tried = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
	if ((attempt & (attempt - 1)) == 0) /* the 1st, 2nd, 4th, ... time */
		log_warn("a region's deltas cannot be read, trying again", F_STR("region", s->name),
			 F_STR("reason", sentence), F_U64("attempt", attempt));
}

static void *source_run(void *context)
{
	struct source *s = context;
	struct stream_options options = { .reader = true, .development = s->development };
	struct stream_error error = { "" };

	for (unsigned attempt = 0; !is_stopping(s);) {
		struct stream *stream = NULL;
		int64_t since_ns = clock_mono_ns();
		int r = stream_open(&stream, s->url, &options, &error);

		if (r == 0)
			r = serve(s, stream);
		if (r < 0 && stream)
			snprintf(error.text, sizeof(error.text), "%s: %s", s->url, strerror(-r));
		stream_close(stream);
		if (clock_mono_ns() - since_ns > BACKOFF_CAP_MS * NS_PER_MS && stream)
			attempt = 0; /* it was fine for a while */
		if (r < 0) {
			failed(s, error.text, ++attempt);
			back_off(s, attempt);
		}
	}
	pthread_mutex_lock(&s->lock);
	s->over = true;
	pthread_cond_broadcast(&s->ended);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ------------------------------------------------------------------ for the owner */

int source_new(struct source **ret, const char *name, const char *url, bool development, int wake_fd)
{
	struct source *s = calloc(1, sizeof(*s));
	pthread_condattr_t monotonic;

	if (!s)
		return -ENOMEM;
	s->name = strdup(name);
	s->url = strdup(url);
	s->development = development;
	s->wake_fd = wake_fd;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &monotonic);
	pthread_cond_init(&s->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);

	int r = s->name && s->url ? -pthread_create(&s->thread, NULL, source_run, s) : -ENOMEM;

	if (r < 0) {
		free(s->name);
		free(s->url);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void source_stop(struct source *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

bool source_stopped(struct source *s, int64_t deadline_ns)
{
	struct timespec at = { .tv_sec = deadline_ns / NS_PER_S, .tv_nsec = deadline_ns % NS_PER_S };

	pthread_mutex_lock(&s->lock);
	while (!s->over && clock_mono_ns() < deadline_ns)
		pthread_cond_timedwait(&s->ended, &s->lock, &at);

	bool over = s->over;

	pthread_mutex_unlock(&s->lock);
	return over;
}

void source_free(struct source *s)
{
	if (!s)
		return;
	source_stop(s);
	pthread_join(s->thread, NULL);
	drop_queue(s);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	pthread_cond_destroy(&s->ended);
	free(s->name);
	free(s->url);
	free(s);
}

bool source_is_open(struct source *s, struct log_id *ret_id, uint32_t *ret_partitions)
{
	pthread_mutex_lock(&s->lock);

	bool open = s->state == OPEN && s->positions;

	if (open) {
		*ret_id = s->id;
		*ret_partitions = s->partitions;
	}
	pthread_mutex_unlock(&s->lock);
	return open;
}

void source_begin(struct source *s, const uint64_t *positions)
{
	pthread_mutex_lock(&s->lock);
	if (s->state == OPEN && s->positions) {
		memcpy(s->positions, positions, s->partitions * sizeof(*positions));
		drop_queue(s);
		s->state = READING;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
}

void source_rewind(struct source *s)
{
	pthread_mutex_lock(&s->lock);
	s->round++;
	drop_queue(s);
	if (s->state == READING)
		s->state = OPEN;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

bool source_take(struct source *s, struct source_item *ret)
{
	pthread_mutex_lock(&s->lock);

	bool any = s->n > 0;

	if (any) {
		*ret = s->queue[s->head];
		s->head = (s->head + 1) % QUEUE_ITEMS;
		s->n--;
		s->bytes -= ret->value.len;
		pthread_cond_signal(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	return any;
}

struct source_stats source_stats(struct source *s)
{
	pthread_mutex_lock(&s->lock);

	struct source_stats stats = s->stats;

	pthread_mutex_unlock(&s->lock);
	return stats;
}
