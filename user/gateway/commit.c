#include "gateway/commit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rand.h"
#include "bpf/shared/durable.h"
#include "codec/block.h"
#include "gateway/gateway.h"
#include "gateway/spool.h"

#define NONE UINT32_MAX
#define IDLE_TICK_NS (200 * NS_PER_MS) /* how often an idle commit thread shows that it lives */
#define EXCHANGE_LIFETIME_S 247        /* RFC 7252, section 4.8.2: for so long a message id means one message */

struct entry {
	uint64_t word1, word2;
	uint32_t shard;
	uint32_t value_off, value_len; /* in the frame's arena */
	uint32_t chain;                /* next entry of the same hash bucket */
};

struct waiter {
	struct reply_stub stub;
	struct door *door;
	uint32_t entry;
};

struct frame {
	struct entry *entries;
	uint32_t n, cap;
	struct waiter *waiters;
	uint32_t n_waiters, cap_waiters;
	uint32_t *heads; /* hash buckets: cap rounded up to a power of two */
	uint32_t heads_mask;
	struct buf arena;
	int64_t oldest_arrival_ns; /* INT64_MAX when empty */
};

struct commit {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	pthread_t thread;
	struct frame frames[2];
	struct frame *filling, *committing; /* committing: NULL while idle */
	bool stopping;
	bool spool_full; /* looked at once a commit, not for each reading */
	uint64_t progress;

	int64_t last_arrival_ns;

	struct durable_table durable;
	struct journal *spool;
	struct journal_record *records; /* the commit thread's, one frame's worth */
	struct metrics *metrics;
	uint64_t spool_bytes_max;
	uint32_t shards;
	uint64_t *keep_from; /* wanted trim; valid when trim_wanted */
	uint64_t *trimming;  /* the commit thread's copy */
	bool trim_wanted;
};

/* ------------------------------------------------------------------ durable table */

int durable_table_init(struct durable_table *ret, uint32_t buckets)
{
	must(buckets >= 2 && (buckets & (buckets - 1)) == 0);

	void *memory = aligned_alloc(64, (size_t)buckets * sizeof(*ret->buckets));

	if (!memory)
		return -ENOMEM;
	memset(memory, 0, (size_t)buckets * sizeof(*ret->buckets));
	*ret = (struct durable_table){
		.buckets = memory,
		.seed = rand_u64(),
		.shift = 64 - (uint32_t)__builtin_ctz(buckets),
		.owned = true,
	};
	return 0;
}

void durable_table_done(struct durable_table *t)
{
	if (t->owned)
		free(t->buckets);
	t->buckets = NULL;
}

static struct sluice_durable_bucket *bucket_of(const struct durable_table *t, uint64_t word1)
{
	return &t->buckets[durable_bucket_of(word1, t->seed, t->shift)];
}

/* ------------------------------------------------------------------ frames */

static int frame_init(struct frame *f, uint32_t cap)
{
	uint32_t heads = 1;

	while (heads < cap)
		heads *= 2;
	f->cap = cap;
	f->cap_waiters = cap * 2; /* retransmissions that join */
	f->heads_mask = heads - 1;
	f->entries = calloc(f->cap, sizeof(*f->entries));
	f->waiters = calloc(f->cap_waiters, sizeof(*f->waiters));
	f->heads = malloc(heads * sizeof(*f->heads));
	f->oldest_arrival_ns = INT64_MAX;
	if (!f->entries || !f->waiters || !f->heads)
		return -ENOMEM;
	memset(f->heads, 0xff, heads * sizeof(*f->heads));
	return 0;
}

static void frame_done(struct frame *f)
{
	free(f->entries);
	free(f->waiters);
	free(f->heads);
	buf_done(&f->arena);
}

static void frame_clear(struct frame *f)
{
	for (uint32_t i = 0; i < f->n; i++)
		f->heads[f->entries[i].word1 & f->heads_mask] = NONE;
	f->n = f->n_waiters = 0;
	f->oldest_arrival_ns = INT64_MAX;
	buf_reset(&f->arena);
}

static uint32_t frame_find(const struct frame *f, uint64_t word1, uint64_t word2)
{
	uint32_t i = f->heads[word1 & f->heads_mask];

	while (i != NONE && (f->entries[i].word1 != word1 || f->entries[i].word2 != word2))
		i = f->entries[i].chain;
	return i;
}

static bool frame_wait(struct frame *f, uint32_t entry, struct door *door, const struct reply_stub *stub)
{
	if (f->n_waiters == f->cap_waiters)
		return false;
	f->waiters[f->n_waiters++] = (struct waiter){ .stub = *stub, .door = door, .entry = entry };
	return true;
}

/* The entry's number, or NONE when there is no room. */
static uint32_t frame_add(struct frame *f, const struct submission *s, int64_t arrival_ns, uint32_t shards)
{
	struct spool_reading reading = {
		.arrival_ns = arrival_ns,
		.timestamp_ns = s->has_timestamp ? s->timestamp_ns : arrival_ns,
		.flags = s->has_timestamp ? 0 : BLOCK_STAMPED,
		.payload = s->payload,
	};
	size_t at = f->arena.len;

	if (f->n == f->cap)
		return NONE;
	spool_reading_append(&f->arena, &reading);
	if (buf_error(&f->arena) < 0) {
		f->arena.len = at;
		f->arena.failed = false;
		return NONE;
	}

	uint32_t *head = &f->heads[s->word1 & f->heads_mask];

	f->entries[f->n] = (struct entry){
		.word1 = s->word1,
		.word2 = s->word2,
		.shard = hash_shard(s->device_id.data, s->device_id.len, shards),
		.value_off = (uint32_t)at,
		.value_len = (uint32_t)(f->arena.len - at),
		.chain = *head,
	};
	*head = f->n;
	f->oldest_arrival_ns = MIN(f->oldest_arrival_ns, arrival_ns);
	return f->n++;
}

/* ------------------------------------------------------------------ submit */

/* A device without a clock is told apart by its message ids, and those come again. */
static bool known(struct commit *c, const struct submission *s)
{
	const struct sluice_durable_bucket *bucket = bucket_of(&c->durable, s->word1);
	bool found;

	if (s->has_timestamp) {
		found = durable_find(bucket, s->word1, s->word2);
	} else {
		long age_s = durable_age_s(bucket, s->word1, s->word2, (uint64_t)(clock_mono_ns() / NS_PER_S));

		found = age_s >= 0 && age_s < EXCHANGE_LIFETIME_S;
	}
	if (found)
		metric_add(c->metrics, GW_KNOWN, 1);
	return found;
}

static enum submit_result join_or_add(struct commit *c, const struct submission *s, struct door *door,
				      const struct reply_stub *stub)
{
	struct frame *frames[] = { c->committing, c->filling };

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		uint32_t entry = frames[i] ? frame_find(frames[i], s->word1, s->word2) : NONE;

		if (entry == NONE)
			continue;
		metric_add(c->metrics, GW_JOINED, 1);
		return frame_wait(frames[i], entry, door, stub) ? SUBMIT_DURABLE : SUBMIT_FULL;
	}
	/* Once more: its commit may have ended between the first look, without the lock, and here. */
	if (known(c, s))
		return SUBMIT_KNOWN;
	if (c->spool_full || c->filling->n_waiters == c->filling->cap_waiters)
		return SUBMIT_FULL;

	/* Stamped under the lock: in the order of the spool arrivals do not go back, whatever the clock does. */
	c->last_arrival_ns = MAX(c->last_arrival_ns, clock_wall_ns());

	uint32_t entry = frame_add(c->filling, s, c->last_arrival_ns, c->shards);

	if (entry == NONE)
		return SUBMIT_FULL;
	frame_wait(c->filling, entry, door, stub);
	if (c->filling->n == 1)
		pthread_cond_signal(&c->wanted);
	return SUBMIT_DURABLE;
}

enum submit_result submit(struct commit *c, const struct submission *s, struct door *door, const struct reply_stub *stub)
{
	must(s->payload.len <= SLUICE_PAYLOAD_MAX);
	if (known(c, s))
		return SUBMIT_KNOWN;
	pthread_mutex_lock(&c->lock);

	enum submit_result result = join_or_add(c, s, door, stub);

	pthread_mutex_unlock(&c->lock);
	return result;
}

/* ------------------------------------------------------------------ the commit thread */

enum { TAKE_END, TAKE_NOTHING, TAKE_FRAME };

/* Waits until the filling frame has something, at most for a tick. */
static int take_frame(struct commit *c)
{
	struct timespec until;
	int taken = TAKE_NOTHING;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += IDLE_TICK_NS;
	if (until.tv_nsec >= NS_PER_S) {
		until.tv_nsec -= NS_PER_S;
		until.tv_sec++;
	}
	pthread_mutex_lock(&c->lock);
	while (c->filling->n == 0 && !c->stopping && !c->trim_wanted)
		if (pthread_cond_timedwait(&c->wanted, &c->lock, &until) == ETIMEDOUT)
			break;
	if (c->filling->n > 0) {
		c->committing = c->filling;
		c->filling = c->filling == &c->frames[0] ? &c->frames[1] : &c->frames[0];
		must(c->filling->n == 0);
		taken = TAKE_FRAME;
	} else if (c->stopping) {
		taken = TAKE_END;
	}
	pthread_mutex_unlock(&c->lock);
	return taken;
}

/* A spool that was full may have room again: let one group try. */
static void look_for_room(struct commit *c)
{
	pthread_mutex_lock(&c->lock);
	c->spool_full = journal_bytes(c->spool) > c->spool_bytes_max;
	pthread_mutex_unlock(&c->lock);
}

static void trim(struct commit *c)
{
	pthread_mutex_lock(&c->lock);

	bool wanted = c->trim_wanted;

	if (wanted)
		memcpy(c->trimming, c->keep_from, c->shards * sizeof(*c->trimming));
	c->trim_wanted = false;
	pthread_mutex_unlock(&c->lock);
	if (!wanted)
		return;

	int r = journal_trim(c->spool, c->trimming);

	if (r < 0)
		log_warn("delivered segments of the spool cannot be deleted", F_ERR(r));
	look_for_room(c);
}

/* Whether the frame is stored and durable.  A failed append has stored nothing: a full disk or quota passes.  After a
 * failed fsync nobody knows what is on disk: fatal. */
static bool store_frame(struct commit *c, const struct frame *f)
{
	static struct log_limit limit;
	uint64_t suppressed;
	int64_t start_ns = clock_mono_ns();

	for (uint32_t i = 0; i < f->n; i++)
		c->records[i] = (struct journal_record){
			.partition = (uint16_t)f->entries[i].shard,
			.value = SLICE(f->arena.data + f->entries[i].value_off, f->entries[i].value_len),
		};

	int r = journal_append(c->spool, c->records, f->n);

	if (r < 0) {
		if (log_limit_pass(&limit, &suppressed))
			log_error("the spool takes nothing: readings are refused", F_ERR(r), F_U64("readings", f->n),
				  F_U64("suppressed", suppressed));
		return false;
	}
	r = journal_sync(c->spool);
	if (r < 0) {
		log_error("the spool cannot be synced: stopping, nothing of this group is acknowledged", F_ERR(r),
			  F_U64("readings", f->n));
		_exit(EXIT_FAILURE);
	}
	metric_observe(c->metrics, GW_FSYNC, clock_mono_ns() - start_ns, 1);
	return true;
}

static void mark_durable(struct commit *c, const struct frame *f)
{
	uint64_t now_s = (uint64_t)(clock_mono_ns() / NS_PER_S);

	for (uint32_t i = 0; i < f->n; i++)
		durable_put(bucket_of(&c->durable, f->entries[i].word1), f->entries[i].word1, f->entries[i].word2, now_s);
}

static void answer_waiters(struct frame *f, enum submit_result result)
{
	struct door *touched = NULL;

	for (uint32_t i = 0; i < f->n_waiters; i++) {
		struct waiter *w = &f->waiters[i];

		w->door->done(w->door, &w->stub, f->entries[w->entry].word2, result);
		if (!w->door->touched) {
			w->door->touched = true;
			w->door->next_touched = touched;
			touched = w->door;
		}
	}
	for (struct door *d = touched; d; d = d->next_touched) {
		d->touched = false;
		d->flush(d);
	}
}

static void commit_frame(struct commit *c)
{
	struct frame *f = c->committing;
	bool stored = store_frame(c, f);

	if (stored) {
		mark_durable(c, f);
		metric_add(c->metrics, GW_STORED, f->n);
		metric_add(c->metrics, GW_STORED_BYTES, f->arena.len - (size_t)f->n * SPOOL_HEAD);
		metric_add(c->metrics, GW_COMMITS, 1);
	}

	/* From here on nobody joins: a repetition finds the durable table, or tries again what was refused. */
	pthread_mutex_lock(&c->lock);
	c->committing = NULL;
	c->spool_full = !stored || journal_bytes(c->spool) > c->spool_bytes_max;
	pthread_mutex_unlock(&c->lock);

	answer_waiters(f, stored ? SUBMIT_DURABLE : SUBMIT_FULL);
	frame_clear(f);
}

static void *commit_thread(void *argument)
{
	struct commit *c = argument;

	for (int taken; (taken = take_frame(c)) != TAKE_END;) {
		if (taken == TAKE_FRAME)
			commit_frame(c);
		else
			look_for_room(c);
		trim(c);
		__atomic_fetch_add(&c->progress, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* ------------------------------------------------------------------ life */

/* All but the durable table, which is still the caller's when commit_new() fails. */
static void commit_destroy(struct commit *c)
{
	frame_done(&c->frames[0]);
	frame_done(&c->frames[1]);
	pthread_cond_destroy(&c->wanted);
	pthread_mutex_destroy(&c->lock);
	free(c->keep_from);
	free(c->trimming);
	free(c->records);
	free(c);
}

int commit_new(struct commit **ret, const struct commit_options *options)
{
	struct commit *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;
	int r = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->durable = options->durable;
	c->spool = options->spool;
	c->metrics = options->metrics;
	c->spool_bytes_max = options->spool_bytes_max;
	c->shards = options->shards;
	c->filling = &c->frames[0];
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wanted, &monotonic);
	pthread_condattr_destroy(&monotonic);

	uint32_t cap = MAX(options->in_flight_max / 2, 1u);

	c->records = calloc(cap, sizeof(*c->records));
	c->keep_from = calloc(c->shards, sizeof(*c->keep_from));
	c->trimming = calloc(c->shards, sizeof(*c->trimming));
	if (!c->records || !c->keep_from || !c->trimming || frame_init(&c->frames[0], cap) < 0 || frame_init(&c->frames[1], cap) < 0)
		goto fail;
	r = -pthread_create(&c->thread, NULL, commit_thread, c);
	if (r < 0)
		goto fail;
	*ret = c;
	return 0;
fail:
	commit_destroy(c);
	return r;
}

void commit_stop(struct commit *c)
{
	if (c->stopping)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wanted);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
}

void commit_free(struct commit *c)
{
	if (!c)
		return;
	commit_stop(c);
	durable_table_done(&c->durable);
	commit_destroy(c);
}

int64_t commit_clock_ns(struct commit *c)
{
	pthread_mutex_lock(&c->lock);

	int64_t clock_ns = c->last_arrival_ns = MAX(c->last_arrival_ns, clock_wall_ns());

	clock_ns = MIN(clock_ns, c->filling->oldest_arrival_ns);

	if (c->committing)
		clock_ns = MIN(clock_ns, c->committing->oldest_arrival_ns);
	pthread_mutex_unlock(&c->lock);
	return clock_ns;
}

void commit_trim(struct commit *c, const uint64_t *keep_from)
{
	pthread_mutex_lock(&c->lock);
	memcpy(c->keep_from, keep_from, c->shards * sizeof(*keep_from));
	c->trim_wanted = true;
	pthread_cond_signal(&c->wanted);
	pthread_mutex_unlock(&c->lock);
}

uint32_t commit_in_flight(struct commit *c)
{
	pthread_mutex_lock(&c->lock);

	uint32_t n = c->filling->n + (c->committing ? c->committing->n : 0);

	pthread_mutex_unlock(&c->lock);
	return n;
}

uint64_t commit_progress(const struct commit *c)
{
	return __atomic_load_n(&c->progress, __ATOMIC_RELAXED);
}
