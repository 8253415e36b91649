#include "gateway/commit.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "gateway/gateway.h"
#include "gateway/spool.h"
#include "tests/unit/harness.h"

#define SHARDS 4
#define WAIT_NS (20 * NS_PER_S)

struct bench {
	char dir[64];
	struct metrics *metrics;
	struct journal *spool;
	struct commit *commit;
};

/* A front door that counts what it is told. */
struct test_door {
	struct door door;
	pthread_mutex_t lock;
	pthread_cond_t told;
	unsigned durable, full, flushes;
	uint64_t word2_sum;
};

static void on_done(struct door *door, const struct reply_stub *stub, uint64_t word2, enum submit_result result)
{
	struct test_door *d = container_of(door, struct test_door, door);

	pthread_mutex_lock(&d->lock);
	d->durable += result == SUBMIT_DURABLE;
	d->full += result == SUBMIT_FULL;
	d->word2_sum += word2;
	pthread_mutex_unlock(&d->lock);
}

static void on_flush(struct door *door)
{
	struct test_door *d = container_of(door, struct test_door, door);

	pthread_mutex_lock(&d->lock);
	d->flushes++;
	pthread_cond_broadcast(&d->told);
	pthread_mutex_unlock(&d->lock);
}

static void door_init(struct test_door *d)
{
	*d = (struct test_door){ .door = { .done = on_done, .flush = on_flush } };
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->told, NULL);
}

static void door_wait(struct test_door *d, unsigned answers)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_NS / NS_PER_S;
	pthread_mutex_lock(&d->lock);
	while (d->durable + d->full < answers)
		if (pthread_cond_timedwait(&d->told, &d->lock, &until) != 0)
			break;
	CU_ASSERT_EQUAL(d->durable + d->full, answers);
	pthread_mutex_unlock(&d->lock);
}

static void bench_open(struct bench *b, uint32_t in_flight_max, uint64_t spool_bytes_max)
{
	struct journal_options options = { .mode = JOURNAL_EXCLUSIVE, .create = true, .partitions = SHARDS };
	struct journal_recovery recovery;
	struct commit_options commit = {
		.shards = SHARDS,
		.in_flight_max = in_flight_max,
		.spool_bytes_max = spool_bytes_max,
	};

	snprintf(b->dir, sizeof(b->dir), "/tmp/sluice-commit-XXXXXX");
	CU_ASSERT_FATAL(mkdtemp(b->dir) != NULL);
	ASSERT_OK(gateway_metrics_new(&b->metrics));
	ASSERT_OK(journal_open(&b->spool, b->dir, &options, &recovery));
	ASSERT_OK(durable_table_init(&commit.durable, 1 << 15));
	commit.spool = b->spool;
	commit.metrics = b->metrics;
	ASSERT_OK(commit_new(&b->commit, &commit));
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

static void bench_close(struct bench *b)
{
	commit_free(b->commit);
	journal_close(b->spool);
	metrics_free(b->metrics);
	nftw(b->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A reading whose payload is its number. */
static enum submit_result submit_number(struct bench *b, struct test_door *d, uint64_t number)
{
	char device[16];
	struct reply_stub stub = { 0 };
	struct submission s = {
		.payload = SLICE(&number, sizeof(number)),
		.word1 = number * 0x9E3779B97F4A7C15ULL,
		.word2 = (number + 1) << 20,
		.timestamp_ns = (int64_t)number,
		.has_timestamp = true,
	};

	s.device_id = SLICE(device, (size_t)snprintf(device, sizeof(device), "d%u", (unsigned)(number % 100)));
	return submit(b->commit, &s, &d->door, &stub);
}

static void what_is_acknowledged_is_in_the_spool_once_and_in_order(void)
{
	enum { N = 5000 };
	struct bench b;
	struct test_door d;
	struct journal_reader *r;
	struct journal_record record;
	uint64_t seen = 0, next[SHARDS] = { 0 };

	door_init(&d);
	bench_open(&b, 65536, UINT64_MAX);
	for (uint64_t i = 0; i < N; i++)
		CU_ASSERT_EQUAL(submit_number(&b, &d, i), SUBMIT_DURABLE);
	door_wait(&d, N);
	ASSERT_OK(journal_reader_open(&r, b.dir));
	while (journal_reader_next(r, &record, 0) == 1) {
		struct spool_reading reading;
		uint64_t number;
		char device[16];

		ASSERT_OK(spool_reading_read(&reading, record.value));
		memcpy(&number, reading.payload.data, sizeof(number));
		snprintf(device, sizeof(device), "d%u", (unsigned)(number % 100));
		CU_ASSERT_EQUAL(record.partition, hash_shard(device, strlen(device), SHARDS));
		CU_ASSERT_EQUAL(record.offset, next[record.partition]++);
		CU_ASSERT_EQUAL(reading.timestamp_ns, (int64_t)number);
		CU_ASSERT_EQUAL(number, seen++); /* one submitter: the spool has its order */
	}
	CU_ASSERT_EQUAL(seen, N);
	CU_ASSERT_EQUAL(d.word2_sum, ((uint64_t)N * (N + 1) / 2) << 20);
	CU_ASSERT(metric_total(b.metrics, GW_COMMITS, 0) <= N);
	CU_ASSERT_EQUAL(metric_total(b.metrics, GW_STORED, 0), N);
	journal_reader_close(r);
	bench_close(&b);
}

static void a_repetition_is_answered_but_not_stored_again(void)
{
	struct bench b;
	struct test_door d;

	door_init(&d);
	bench_open(&b, 64, UINT64_MAX);
	CU_ASSERT_EQUAL(submit_number(&b, &d, 1), SUBMIT_DURABLE);
	door_wait(&d, 1);
	for (int i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(submit_number(&b, &d, 1), SUBMIT_KNOWN);
	/* In flight or just durable: either way it is one reading. */
	for (unsigned i = 0, answers = 1; i < 200; i++) {
		for (int k = 0; k < 3; k++)
			answers += submit_number(&b, &d, 100 + i) == SUBMIT_DURABLE;
		door_wait(&d, answers);
	}
	CU_ASSERT_EQUAL(metric_total(b.metrics, GW_STORED, 0), 201);
	CU_ASSERT_EQUAL(metric_total(b.metrics, GW_JOINED, 0) + metric_total(b.metrics, GW_KNOWN, 0), 10 + 400);
	bench_close(&b);
}

static void a_full_spool_refuses_what_is_new_and_still_knows_what_is_old(void)
{
	struct bench b;
	struct test_door d;
	uint64_t n = 0;

	door_init(&d);
	bench_open(&b, 64, 1);
	CU_ASSERT_EQUAL(submit_number(&b, &d, n), SUBMIT_DURABLE);
	door_wait(&d, 1);
	CU_ASSERT_EQUAL(submit_number(&b, &d, 1), SUBMIT_FULL);
	CU_ASSERT_EQUAL(submit_number(&b, &d, 0), SUBMIT_KNOWN);
	bench_close(&b);
}

static void what_is_in_flight_is_bounded(void)
{
	struct bench b;
	struct test_door d;
	unsigned accepted = 0;

	door_init(&d);
	bench_open(&b, 8, UINT64_MAX);
	for (uint64_t i = 0; i < 10000; i++)
		accepted += submit_number(&b, &d, i) == SUBMIT_DURABLE;
	CU_ASSERT(accepted < 10000);
	door_wait(&d, accepted);
	CU_ASSERT_EQUAL(metric_total(b.metrics, GW_STORED, 0), accepted);
	bench_close(&b);
}

struct submitter {
	struct bench *bench;
	struct test_door *door;
	uint64_t from;
	unsigned accepted;
};

static void *submit_many(void *argument)
{
	struct submitter *s = argument;

	for (uint64_t i = 0; i < 2000; i++)
		s->accepted += submit_number(s->bench, s->door, s->from + i) == SUBMIT_DURABLE;
	return NULL;
}

static void many_threads_submit_and_the_last_are_answered_at_the_stop(void)
{
	struct bench b;
	struct test_door d;
	struct submitter submitters[4];
	pthread_t threads[4];
	unsigned accepted = 0;

	door_init(&d);
	bench_open(&b, 65536, UINT64_MAX);
	for (unsigned i = 0; i < 4; i++) { /* each number twice, from two threads */
		submitters[i] = (struct submitter){ &b, &d, i / 2 * 100000, 0 };
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		accepted += submitters[i].accepted;
	}
	commit_stop(b.commit);
	CU_ASSERT_EQUAL(d.durable, accepted);
	CU_ASSERT_EQUAL(metric_total(b.metrics, GW_STORED, 0), 4000);
	bench_close(&b);
}

static void the_clock_stays_behind_what_is_in_flight(void)
{
	struct bench b;
	struct test_door d;

	door_init(&d);
	bench_open(&b, 64, UINT64_MAX);
	for (uint64_t i = 0; i < 500; i++) {
		int64_t before_ns = clock_wall_ns();

		submit_number(&b, &d, i);

		int64_t clock_ns = commit_clock_ns(b.commit);
		unsigned pending = commit_in_flight(b.commit);

		/* Still in flight after the clock was read: it cannot have passed the arrival by more than the
		 * submission took. */
		if (pending > 0)
			CU_ASSERT(clock_ns <= clock_wall_ns());
		CU_ASSERT(clock_ns >= before_ns - NS_PER_S);
	}
	bench_close(&b);
}

TESTS("commit", T(what_is_acknowledged_is_in_the_spool_once_and_in_order), T(a_repetition_is_answered_but_not_stored_again),
      T(a_full_spool_refuses_what_is_new_and_still_knows_what_is_old), T(what_is_in_flight_is_bounded),
      T(many_threads_submit_and_the_last_are_answered_at_the_stop), T(the_clock_stays_behind_what_is_in_flight))
