#include "gateway/publisher.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "codec/block.h"
#include "codec/envelope.h"
#include "gateway/spool.h"
#include "journal/journal.h"
#include "stream/stream.h"

#define HEARTBEAT_NS NS_PER_S        /* every shard hears from every gateway at least this often */
#define IDLE_NS (2 * NS_PER_S)       /* without a reading for this long: idle */
#define BACKLOG_AGE_NS (2 * NS_PER_S) /* an older reading is backlog, not live */
#define SAVE_NS NS_PER_S             /* how often DIR/delivered is written */
#define FLIGHT_MAX 512               /* envelopes on their way */
#define QUEUE_FULL_NS (10 * NS_PER_S) /* a stream that takes nothing for so long counts as broken */
#define READ_BURST 256               /* readings between two looks at the clock */
#define RETRY_BASE_NS (100 * NS_PER_MS)
#define RETRY_CAP_NS (10 * NS_PER_S)

/* An envelope on its way. */
struct flight {
	uint32_t shard, count;
	uint64_t ordinal_end;
	size_t bytes;
	int64_t oldest_mono_ns; /* arrival of its first reading; 0 for a heartbeat */
};

struct shard {
	struct block_writer *block;
	uint64_t next;      /* next ordinal to read */
	uint64_t first;     /* of the open batch */
	int64_t oldest_arrival_ns; /* of the open batch */
	int64_t linger_until_ns;   /* monotonic; CLOCK_FOREVER while empty */
	int64_t heartbeat_ns;      /* monotonic: an envelope is due */
};

struct publisher {
	struct gateway *gateway;
	pthread_t thread;
	bool started, ending;
	int64_t end_by_ns;

	struct journal_reader *spool;
	struct stream *stream;
	struct shard *shards;
	uint32_t n_shards;
	struct buf block, envelope;
	struct flight flights[FLIGHT_MAX];
	uint32_t free_flights[FLIGHT_MAX], n_free;

	uint8_t spool_id[16];
	uint64_t *delivered;     /* one a shard: the next ordinal that is not confirmed */
	uint64_t saved_readings;
	int64_t save_at_ns;
	int64_t newest_event_ns;   /* over all that was read since the connection; INT64_MIN at first */
	int64_t newest_arrival_ns; /* of the last reading read; arrivals do not go back in a spool */
	int64_t last_reading_ns; /* monotonic */
	uint64_t unconfirmed;    /* readings read but not delivered */
	unsigned attempt;        /* connections since the last confirmation */
	bool caught_up;          /* the last read found nothing more */

	pthread_mutex_t lock; /* of what is below */
	struct stream_error reason; /* empty: connected */
	bool idle;
	uint64_t backlog;
};

/* ------------------------------------------------------------------ confirmations */

static void confirmed(struct publisher *p, struct flight *f)
{
	struct metrics *m = p->gateway->metrics;

	p->delivered[f->shard] = f->ordinal_end;
	p->unconfirmed -= f->count;
	p->free_flights[p->n_free++] = (uint32_t)(f - p->flights);
	p->attempt = 0;
	metric_add(m, GW_ENVELOPES, 1);
	if (f->count == 0) {
		metric_add(m, GW_HEARTBEATS, 1);
		return;
	}
	metric_add(m, GW_PUBLISHED, f->count);
	metric_add(m, GW_PUBLISHED_BYTES, f->bytes);
	metric_observe(m, GW_PUBLISH, clock_mono_ns() - f->oldest_mono_ns, 1);
}

static int poll_confirmations(struct publisher *p, int64_t deadline_ns)
{
	struct stream_confirmation c[64];
	int n = stream_poll(p->stream, c, ARRAY_SIZE(c), deadline_ns);

	for (int i = 0; i < n; i++) {
		if (c[i].error < 0)
			return c[i].error;
		confirmed(p, c[i].cookie);
	}
	return n < 0 ? n : 0;
}

/* ------------------------------------------------------------------ cutting */

static uint32_t batch_max(const struct publisher *p, const struct shard *s)
{
	const struct settings *set = &p->gateway->settings;
	bool backlog = s->oldest_arrival_ns < clock_wall_ns() - BACKLOG_AGE_NS;

	return (uint32_t)(backlog ? MAX(set->batch_backlog_readings, set->batch_readings) : set->batch_readings);
}

static int64_t position_clock_ns(const struct publisher *p, int64_t arrival_clock_ns)
{
	return p->gateway->settings.streams_clock == CLOCK_EVENT ? p->newest_event_ns : arrival_clock_ns;
}

/* Finishes the open batch of a shard into p->envelope. */
static int finish_envelope(struct publisher *p, struct shard *s, int64_t clock_ns, struct trace_context *trace)
{
	const struct settings *set = &p->gateway->settings;
	uint32_t count = block_writer_count(s->block);
	int r = 0;

	buf_reset(&p->block);
	buf_reset(&p->envelope);
	if (count > 0)
		r = block_writer_finish(s->block, &p->block);
	if (r < 0)
		return r;

	struct envelope e = {
		.gateway_id = SLICE_STR(set->node_id),
		.home_region = SLICE_STR(set->node_region),
		.lane = count > 0 && s->oldest_arrival_ns < clock_wall_ns() - BACKLOG_AGE_NS ? ENVELOPE_BACKLOG : ENVELOPE_LIVE,
		.shard = (uint32_t)(s - p->shards),
		.ordinal_first = s->first,
		.ordinal_end = s->next,
		.count = count,
		.clock_ns = clock_ns,
		.idle = p->caught_up && p->unconfirmed == 0 && clock_mono_ns() - p->last_reading_ns >= IDLE_NS &&
			commit_in_flight(p->gateway->commit) == 0,
		.cut_ns = clock_wall_ns(),
		.trace = *trace,
		.block_format = count > 0 ? BLOCK_FORMAT : 0,
		.block = buf_slice(&p->block),
	};

	memcpy(e.spool_id, p->spool_id, sizeof(e.spool_id));
	envelope_append(&p->envelope, &e);
	return buf_error(&p->envelope);
}

/* Cuts the open batch of a shard, or a heartbeat when it is empty.  0; negative errno: begin anew from what is
 * delivered, the batch is gone. */
static int cut(struct publisher *p, struct shard *s, int64_t clock_ns)
{
	int64_t now_ns = clock_mono_ns();
	uint32_t count = block_writer_count(s->block);
	struct trace_context trace = trace_new();
	int r = finish_envelope(p, s, clock_ns, &trace);

	if (r < 0)
		return r;
	must(p->n_free > 0);

	struct flight *f = &p->flights[p->free_flights[--p->n_free]];
	struct stream_record record = { .partition = (uint32_t)(s - p->shards), .value = buf_slice(&p->envelope), .cookie = f };

	*f = (struct flight){
		.shard = record.partition,
		.count = count,
		.ordinal_end = s->next,
		.bytes = p->envelope.len,
		.oldest_mono_ns = count > 0 ? now_ns - (clock_wall_ns() - s->oldest_arrival_ns) : 0,
	};
	while ((r = stream_append(p->stream, &record)) == -EAGAIN) {
		r = poll_confirmations(p, now_ns + QUEUE_FULL_NS);
		if (r < 0 || clock_mono_ns() > now_ns + QUEUE_FULL_NS)
			return r < 0 ? r : -ETIME;
	}
	if (r < 0)
		return r;
	log_trace_set(&trace);
	log_debug("envelope cut", F_U64("shard", f->shard), F_U64("ordinal_end", f->ordinal_end), F_U64("count", count));
	log_trace_set(NULL);
	s->first = s->next;
	s->oldest_arrival_ns = INT64_MAX;
	s->linger_until_ns = CLOCK_FOREVER;
	s->heartbeat_ns = now_ns + HEARTBEAT_NS;
	return 0;
}

static int cut_what_is_due(struct publisher *p, int64_t arrival_clock_ns, bool all)
{
	int64_t now_ns = clock_mono_ns();

	for (struct shard *s = p->shards; s < p->shards + p->n_shards && p->n_free > 0; s++) {
		bool due = now_ns >= s->linger_until_ns || now_ns >= s->heartbeat_ns || (all && s->linger_until_ns != CLOCK_FOREVER);
		int r = due ? cut(p, s, position_clock_ns(p, arrival_clock_ns)) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* ------------------------------------------------------------------ reading the spool */

/* Into the open batch; readings that are very large fill a block before the batch is full. */
static int add(struct publisher *p, struct shard *s, const struct spool_reading *reading)
{
	int r = block_writer_add(s->block, reading->payload, reading->timestamp_ns, reading->arrival_ns, reading->flags);

	if (r != -ENOSPC)
		return r;
	r = cut(p, s, position_clock_ns(p, reading->arrival_ns));
	if (r < 0)
		return r;
	return block_writer_add(s->block, reading->payload, reading->timestamp_ns, reading->arrival_ns, reading->flags);
}

/* What recovery has set aside is a hole between two envelopes, so that the region sees it. */
static int skip_to(struct publisher *p, struct shard *s, uint64_t ordinal)
{
	int r = block_writer_count(s->block) > 0 ? cut(p, s, position_clock_ns(p, p->newest_arrival_ns)) : 0;

	if (r == 0)
		s->first = s->next = ordinal;
	return r;
}

/* Cannot happen to what the worker has parsed: a reading of another version, or one that was damaged unseen. */
static int set_aside(struct publisher *p, struct shard *s, const struct journal_record *record)
{
	metric_add(p->gateway->metrics, GW_UNPUBLISHABLE, 1);
	log_error("a reading in the spool cannot be published and is left out", F_U64("shard", record->partition),
		  F_U64("ordinal", record->offset));
	return skip_to(p, s, record->offset + 1);
}

static int take(struct publisher *p, const struct journal_record *record)
{
	struct shard *s = &p->shards[record->partition];
	struct spool_reading reading;
	int64_t now_ns = clock_mono_ns();

	int r = record->offset > s->next ? skip_to(p, s, record->offset) : 0;

	if (r == 0)
		r = spool_reading_read(&reading, record->value);
	if (r == 0)
		r = add(p, s, &reading);
	if (r == -EBADMSG)
		return set_aside(p, s, record);
	if (r < 0)
		return r;
	s->next = record->offset + 1;
	if (s->linger_until_ns == CLOCK_FOREVER)
		s->linger_until_ns = now_ns + p->gateway->settings.batch_linger_ms * NS_PER_MS;
	s->oldest_arrival_ns = MIN(s->oldest_arrival_ns, reading.arrival_ns);
	p->newest_event_ns = MAX(p->newest_event_ns, reading.timestamp_ns);
	p->newest_arrival_ns = MAX(p->newest_arrival_ns, reading.arrival_ns);
	p->last_reading_ns = now_ns;
	p->unconfirmed++;
	if (block_writer_count(s->block) < batch_max(p, s))
		return 0;
	/* In the middle of the spool the clock is that of this reading: arrivals do not go back in a spool. */
	return cut(p, s, position_clock_ns(p, reading.arrival_ns));
}

/* Readings until the spool has no more, the flights are used up, or a burst is done. */
static int read_spool(struct publisher *p, int64_t deadline_ns)
{
	struct journal_record record;

	p->caught_up = false;
	for (int i = 0; i < READ_BURST && p->n_free > 0; i++) {
		int r = journal_reader_next(p->spool, &record, i == 0 ? deadline_ns : 0);

		if (r == 0)
			p->caught_up = true;
		if (r <= 0)
			return r;
		r = take(p, &record);
		if (r < 0)
			return r;
	}
	return 0;
}

static void save_delivered(struct publisher *p, bool at_once)
{
	int64_t now_ns = clock_mono_ns();
	uint64_t readings = 0;

	if (!at_once && now_ns < p->save_at_ns)
		return;
	p->save_at_ns = now_ns + SAVE_NS;
	for (uint32_t i = 0; i < p->n_shards; i++)
		readings += p->delivered[i];
	if (readings == p->saved_readings)
		return;

	int r = spool_delivered_save(p->gateway->settings.spool_dir, p->spool_id, p->delivered, p->n_shards);

	if (r < 0) {
		log_warn("cannot write what is delivered", F_STR("dir", p->gateway->settings.spool_dir), F_ERR(r));
		return;
	}
	p->saved_readings = readings;
	if (!at_once)
		commit_trim(p->gateway->commit, p->delivered);
}

/* ------------------------------------------------------------------ connection */

static void set_reason(struct publisher *p, const char *text)
{
	pthread_mutex_lock(&p->lock);
	snprintf(p->reason.text, sizeof(p->reason.text), "%s", text);
	pthread_mutex_unlock(&p->lock);
}

static void disconnect(struct publisher *p)
{
	stream_close(p->stream);
	p->stream = NULL;
}

/* A new handle, and everything again from what is delivered. */
static int connect_stream(struct publisher *p)
{
	const struct settings *set = &p->gateway->settings;
	struct stream_options options = { .writer = true, .development = set->streams_development };
	struct stream_error error = { "" };
	int r = stream_open(&p->stream, set->streams_edge_telemetry, &options, &error);

	if (r == 0 && stream_partitions(p->stream) != p->n_shards) {
		snprintf(error.text, sizeof(error.text), "%.128s has %u partitions, streams.partitions says %u",
			 set->streams_edge_telemetry, stream_partitions(p->stream), p->n_shards);
		disconnect(p);
		r = -EINVAL;
	}
	if (r < 0) {
		set_reason(p, error.text);
		return r;
	}
	for (uint32_t i = 0; i < p->n_shards; i++) {
		struct shard *s = &p->shards[i];

		s->next = s->first = p->delivered[i];
		s->oldest_arrival_ns = INT64_MAX;
		s->linger_until_ns = CLOCK_FOREVER;
		s->heartbeat_ns = 0;
		if (block_writer_count(s->block) > 0) { /* of the connection that broke */
			buf_reset(&p->block);
			block_writer_finish(s->block, &p->block);
		}
	}
	p->n_free = 0;
	for (uint32_t i = 0; i < FLIGHT_MAX; i++)
		p->free_flights[p->n_free++] = i;
	p->unconfirmed = 0;
	p->newest_event_ns = INT64_MIN; /* the clock belongs to the position, and that goes back */
	p->newest_arrival_ns = 0;
	p->caught_up = false;
	r = journal_reader_seek(p->spool, p->delivered);
	if (r < 0) {
		disconnect(p);
		return r;
	}
	set_reason(p, "");
	log_info("publishing", F_STR("stream", set->streams_edge_telemetry));
	return 0;
}

static uint64_t backlog_of(const struct publisher *p)
{
	uint64_t backlog = 0, first, end;

	for (uint32_t i = 0; i < p->n_shards; i++)
		if (journal_reader_range(p->spool, (uint16_t)i, &first, &end) == 0 && end > p->delivered[i])
			backlog += end - MAX(first, p->delivered[i]);
	return backlog;
}

/* For other threads, also during an outage. */
static void tell_state(struct publisher *p)
{
	uint64_t backlog = backlog_of(p);

	pthread_mutex_lock(&p->lock);
	p->idle = p->stream && p->caught_up && p->unconfirmed == 0 && backlog == 0;
	p->backlog = backlog;
	pthread_mutex_unlock(&p->lock);
}

static bool over(const struct publisher *p)
{
	if (!__atomic_load_n(&p->ending, __ATOMIC_ACQUIRE))
		return false;
	return clock_mono_ns() >= p->end_by_ns || (p->stream && p->caught_up && p->unconfirmed == 0);
}

static bool wait_to_retry(struct publisher *p, unsigned attempt)
{
	int64_t until_ns = clock_mono_ns() + rand_backoff(RETRY_BASE_NS, RETRY_CAP_NS, attempt);

	while (clock_mono_ns() < until_ns) {
		tell_state(p);
		if (__atomic_load_n(&p->ending, __ATOMIC_ACQUIRE))
			return !over(p);
		struct timespec tick = { .tv_nsec = 20 * NS_PER_MS };

		nanosleep(&tick, NULL);
	}
	return true;
}

/* ------------------------------------------------------------------ the thread */

/* When something has to be cut although nothing more comes. */
static int64_t next_due_ns(const struct publisher *p)
{
	int64_t due_ns = clock_mono_ns() + HEARTBEAT_NS;

	for (const struct shard *s = p->shards; s < p->shards + p->n_shards; s++)
		due_ns = MIN(due_ns, MIN(s->linger_until_ns, s->heartbeat_ns));
	return due_ns;
}

static int step(struct publisher *p)
{
	bool ending = __atomic_load_n(&p->ending, __ATOMIC_ACQUIRE);
	/* Before the spool is read: when it turns out to be empty, all that arrived before this is in it. */
	int64_t arrival_clock_ns = ending ? clock_wall_ns() : commit_clock_ns(p->gateway->commit);
	int64_t wait_until_ns = p->n_free < FLIGHT_MAX ? 0 : ending ? clock_mono_ns() + NS_PER_MS : next_due_ns(p);
	int r = read_spool(p, wait_until_ns);

	/* In the middle of a backlog the clock is that of the last reading read. */
	if (r == 0 && (p->caught_up || p->newest_arrival_ns > 0))
		r = cut_what_is_due(p, p->caught_up ? arrival_clock_ns : p->newest_arrival_ns, ending && p->caught_up);
	if (r == 0 && p->n_free < FLIGHT_MAX)
		r = poll_confirmations(p, clock_mono_ns() + (p->n_free == 0 ? 100 : 1) * NS_PER_MS);
	return r;
}

static void *publisher_thread(void *argument)
{
	struct publisher *p = argument;

	while (!over(p)) {
		int r = p->stream ? step(p) : connect_stream(p);

		tell_state(p);
		if (r == 0) {
			save_delivered(p, false);
			continue;
		}
		metric_add(p->gateway->metrics, GW_STREAM_ERRORS, 1);
		if (p->attempt == 0)
			log_warn("edge.telemetry fails; the spool keeps everything", F_ERR(r), F_STR("reason", p->reason.text));
		if (p->stream) {
			set_reason(p, strerror(-r));
			disconnect(p);
		}
		if (!wait_to_retry(p, p->attempt++))
			break;
	}
	save_delivered(p, true);
	return NULL;
}

int publisher_new(struct publisher **ret, struct gateway *gateway)
{
	const struct settings *set = &gateway->settings;
	struct publisher *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	p->gateway = gateway;
	p->n_shards = (uint32_t)set->streams_partitions;
	p->newest_event_ns = INT64_MIN;
	p->last_reading_ns = clock_mono_ns();
	set_reason(p, "connecting");
	p->shards = calloc(p->n_shards, sizeof(*p->shards));
	p->delivered = calloc(p->n_shards, sizeof(*p->delivered));
	if (!p->shards || !p->delivered)
		goto fail;
	for (uint32_t i = 0; i < p->n_shards; i++) {
		r = block_writer_new(&p->shards[i].block, (int)set->batch_compression);
		if (r < 0)
			goto fail;
	}
	r = journal_reader_open(&p->spool, set->spool_dir);
	if (r < 0)
		goto fail;

	struct journal_id id = journal_reader_identity(p->spool);

	memcpy(p->spool_id, id.uuid, sizeof(p->spool_id));
	r = spool_delivered_load(set->spool_dir, p->spool_id, p->delivered, p->n_shards);
	if (r < 0)
		goto fail;
	r = -pthread_create(&p->thread, NULL, publisher_thread, p);
	if (r < 0)
		goto fail;
	p->started = true;
	*ret = p;
	return 0;
fail:
	publisher_free(p, 0);
	return r;
}

void publisher_free(struct publisher *p, int64_t grace_ns)
{
	if (!p)
		return;
	if (p->started) {
		p->end_by_ns = clock_mono_ns() + grace_ns;
		__atomic_store_n(&p->ending, true, __ATOMIC_RELEASE);
		pthread_join(p->thread, NULL);
	}
	stream_close(p->stream);
	journal_reader_close(p->spool);
	for (uint32_t i = 0; p->shards && i < p->n_shards; i++)
		block_writer_free(p->shards[i].block);
	buf_done(&p->block);
	buf_done(&p->envelope);
	pthread_mutex_destroy(&p->lock);
	free(p->delivered);
	free(p->shards);
	free(p);
}

bool publisher_connected(const struct publisher *p, struct stream_error *ret_reason)
{
	pthread_mutex_lock((pthread_mutex_t *)&p->lock);
	*ret_reason = p->reason;
	pthread_mutex_unlock((pthread_mutex_t *)&p->lock);
	return ret_reason->text[0] == 0;
}

bool publisher_idle(const struct publisher *p)
{
	pthread_mutex_lock((pthread_mutex_t *)&p->lock);

	bool idle = p->idle;

	pthread_mutex_unlock((pthread_mutex_t *)&p->lock);
	return idle;
}

uint64_t publisher_backlog(const struct publisher *p)
{
	pthread_mutex_lock((pthread_mutex_t *)&p->lock);

	uint64_t backlog = p->backlog;

	pthread_mutex_unlock((pthread_mutex_t *)&p->lock);
	return backlog;
}
