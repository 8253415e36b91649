/* What every backend of user/stream must do.  Embedded always; Kafka when SLUICE_TEST_KAFKA=host:port names a broker
 * that may be filled with topics. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "stream/stream.h"
#include "tests/unit/harness.h"

#define PATIENCE_NS (20 * NS_PER_S)

/* ------------------------------------------------------------------ a stream a test */

struct place {
	bool kafka;
	char dir[64]; /* embedded: removed at the end */
	char url[256];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void place_done(struct place *p)
{
	if (!p->kafka)
		nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct place place_new(const char *broker)
{
	struct place p = { .kafka = broker != NULL };

	if (broker) {
		snprintf(p.url, sizeof(p.url), "kafka:%s/test.%016" PRIx64, broker, rand_u64());
	} else {
		snprintf(p.dir, sizeof(p.dir), "/tmp/sluice-stream-XXXXXX");
		must(mkdtemp(p.dir) != NULL);
		snprintf(p.url, sizeof(p.url), "embedded:%s/made/on.the_way-1", p.dir);
	}
	return p;
}
#define PLACE(name) CLEANUP(place_done) struct place name = place_new(broker)

static void close_stream(struct stream **s)
{
	stream_close(*s);
}
#define STREAM CLEANUP(close_stream) struct stream *

static int create(const struct place *p, uint32_t partitions)
{
	struct stream_error error = { "" };
	const struct stream_create_options o = { .partitions = partitions, .retention_ms = -1, .development = true };
	int r = stream_create(p->url, &o, &error);

	if (r < 0)
		printf("  %s\n", error.text);
	return r;
}

static int open_as(struct stream **ret, const struct place *p, bool writer, bool reader)
{
	struct stream_error error = { "" };
	const struct stream_options o = {
		.writer = writer, .reader = reader, .development = true, .segment_bytes = 20000
	};
	int r = stream_open(ret, p->url, &o, &error);

	if (r < 0)
		printf("  %s\n", error.text);
	return r;
}

static int append(struct stream *s, uint32_t partition, uint16_t kind, struct slice headers, struct slice value,
		  void *cookie)
{
	const struct stream_record record = {
		.partition = partition, .kind = kind, .headers = headers, .value = value, .cookie = cookie
	};

	return stream_append(s, &record);
}

static int append_number(struct stream *s, uint32_t partition, uint64_t number)
{
	return append(s, partition, 0, SLICE(NULL, 0), SLICE(&number, sizeof(number)), (void *)(uintptr_t)number);
}

/* Polls until all is confirmed; the confirmations in their order.  Their number. */
static size_t confirm(struct stream *s, struct stream_confirmation *ret, size_t n)
{
	const int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	size_t got = 0;

	while (got < n && stream_pending(s) > 0 && clock_mono_ns() < deadline_ns) {
		int r = stream_poll(s, ret + got, n - got, deadline_ns);

		CU_ASSERT_TRUE_FATAL(r >= 0);
		got += (size_t)r;
	}
	return got;
}

static uint64_t number_of(const struct stream_record *r)
{
	uint64_t number = UINT64_MAX;

	if (r->value.len == sizeof(number))
		memcpy(&number, r->value.data, sizeof(number));
	return number;
}

/* Numbers first..first+n-1 into a partition, confirmed; the offset of the first. */
static uint64_t append_numbers(struct stream *s, uint32_t partition, uint64_t first, size_t n)
{
	CLEANUP_FREE struct stream_confirmation *c = calloc(n, sizeof(*c));

	for (size_t i = 0; i < n; i++)
		ASSERT_OK(append_number(s, partition, first + i));
	CU_ASSERT_EQUAL_FATAL(confirm(s, c, n), n);
	for (size_t i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(c[i].error, 0);
		CU_ASSERT_EQUAL(c[i].partition, partition);
		CU_ASSERT_EQUAL((uintptr_t)c[i].cookie, first + i);
		CU_ASSERT_EQUAL(c[i].offset, c[0].offset + i);
	}
	return c[0].offset;
}

/* Reads n numbers of one partition that must be first, first + 1, ...; false when they are not. */
static bool read_numbers(struct stream *s, uint32_t partition, uint64_t first, size_t n)
{
	const int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	struct stream_record records[50];

	for (uint64_t expected = first; expected < first + n;) {
		int r = stream_read(s, records, MIN(ARRAY_SIZE(records), first + n - expected), deadline_ns, NULL);

		if (r <= 0)
			return false;
		for (int i = 0; i < r; i++)
			if (records[i].partition != partition || number_of(&records[i]) != expected++)
				return false;
	}
	return true;
}

/* ------------------------------------------------------------------ the suite */

static void a_stream_is_created_once(const char *broker)
{
	PLACE(p);
	STREAM s = NULL;
	struct stream_error error = { "" };
	struct stream_create_options o = { .partitions = 3, .retention_ms = -1, .development = true };
	const struct stream_options reading = { .reader = true, .development = true };

	CU_ASSERT_EQUAL(stream_open(&s, p.url, &reading, &error), -ENOENT);
	CU_ASSERT_TRUE(strlen(error.text) > 20);
	ASSERT_OK(create(&p, 3));
	error.text[0] = '\0';
	CU_ASSERT_EQUAL(stream_create(p.url, &o, &error), -EEXIST);
	CU_ASSERT_TRUE(strlen(error.text) > 20);
	o.may_exist = true;
	ASSERT_OK(stream_create(p.url, &o, &error));
	o.partitions = 4;
	error.text[0] = '\0';
	CU_ASSERT_EQUAL(stream_create(p.url, &o, &error), -EINVAL);
	CU_ASSERT_TRUE(strlen(error.text) > 20);
	ASSERT_OK(open_as(&s, &p, false, true));
	CU_ASSERT_EQUAL(stream_partitions(s), 3);
	CU_ASSERT_STRING_EQUAL(stream_url(s), p.url);
}

static void an_identity_outlives_its_handles(const char *broker)
{
	PLACE(p);
	PLACE(other);
	STREAM a = NULL;
	STREAM b = NULL;
	STREAM c = NULL;

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(create(&other, 1));
	ASSERT_OK(open_as(&a, &p, true, false));
	append_numbers(a, 0, 0, 3);

	struct log_id id = stream_identity(a);

	stream_close(STEAL(a));
	ASSERT_OK(open_as(&a, &p, true, true));
	ASSERT_OK(open_as(&b, &p, false, true));
	ASSERT_OK(open_as(&c, &other, false, true));

	struct log_id again = stream_identity(a), reader = stream_identity(b), another = stream_identity(c);

	CU_ASSERT_EQUAL(id.generation, 1);
	CU_ASSERT_TRUE(log_id_equal(&id, &again));
	CU_ASSERT_TRUE(log_id_equal(&id, &reader));
	CU_ASSERT_FALSE(log_id_equal(&id, &another));
}

static void what_is_appended_is_read(const char *broker)
{
	enum { N = 300, PARTITIONS = 3 };
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_confirmation c[N];
	struct stream_record records[64];
	uint64_t offset[N], next[PARTITIONS], seen = 0;
	bool first[PARTITIONS] = { true, true, true };

	ASSERT_OK(create(&p, PARTITIONS));
	ASSERT_OK(open_as(&w, &p, true, false));
	for (uint64_t i = 0; i < N; i++) {
		char headers[40];

		snprintf(headers, sizeof(headers), "headers of %" PRIu64, i);
		ASSERT_OK(append(w, i % PARTITIONS, (uint16_t)(i % 7), i % 2 ? SLICE_STR(headers) : SLICE(NULL, 0),
				 i % 5 ? SLICE(&i, sizeof(i)) : SLICE(NULL, 0), (void *)(uintptr_t)i));
	}
	CU_ASSERT_EQUAL(stream_pending(w), N);
	CU_ASSERT_EQUAL_FATAL(confirm(w, c, N), N);
	CU_ASSERT_EQUAL(stream_pending(w), 0);
	for (int i = 0; i < N; i++) { /* per partition in order, without gaps */
		uint32_t partition = c[i].partition;

		CU_ASSERT_EQUAL_FATAL(c[i].error, 0);
		CU_ASSERT_EQUAL_FATAL((uintptr_t)c[i].cookie % PARTITIONS, partition);
		if (first[partition])
			CU_ASSERT_EQUAL((uintptr_t)c[i].cookie, partition);
		if (!first[partition])
			CU_ASSERT_EQUAL(c[i].offset, next[partition]);
		first[partition] = false;
		next[partition] = c[i].offset + 1;
		offset[(uintptr_t)c[i].cookie] = c[i].offset;
	}
	ASSERT_OK(open_as(&r, &p, false, true));
	for (uint32_t i = 0; i < PARTITIONS; i++)
		ASSERT_OK(stream_seek(r, i, offset[i]));

	uint64_t expected[PARTITIONS] = { 0, 1, 2 };

	while (seen < N) {
		int got = stream_read(r, records, ARRAY_SIZE(records), clock_mono_ns() + PATIENCE_NS, NULL);

		CU_ASSERT_TRUE_FATAL(got > 0);
		for (int k = 0; k < got; k++, seen++) {
			uint64_t i = expected[records[k].partition];
			char headers[40];

			snprintf(headers, sizeof(headers), "headers of %" PRIu64, i);
			expected[records[k].partition] += PARTITIONS;
			CU_ASSERT_EQUAL(records[k].offset, offset[i]);
			CU_ASSERT_EQUAL(records[k].kind, i % 7);
			CU_ASSERT_EQUAL_FATAL(records[k].headers.len, i % 2 ? strlen(headers) : 0);
			if (records[k].headers.len)
				CU_ASSERT_EQUAL(memcmp(records[k].headers.data, headers, strlen(headers)), 0);
			CU_ASSERT_EQUAL(number_of(&records[k]), i % 5 ? i : UINT64_MAX);
		}
	}
	CU_ASSERT_EQUAL(stream_read(r, records, 1, 0, NULL), 0);
}

static void reading_begins_anywhere(const char *broker)
{
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_record record;
	const uint64_t places[] = { 0, 150, 299, 7, 298 };

	ASSERT_OK(create(&p, 2));
	ASSERT_OK(open_as(&w, &p, true, false));

	uint64_t zero = append_numbers(w, 1, 0, 300);

	append_numbers(w, 0, 1000, 10);
	ASSERT_OK(open_as(&r, &p, false, true));
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		ASSERT_OK(stream_seek(r, 1, zero + places[i]));
		CU_ASSERT_TRUE(read_numbers(r, 1, places[i], MIN(300 - places[i], (uint64_t)20)));
	}
	ASSERT_OK(stream_leave(r, 1));
	CU_ASSERT_EQUAL(stream_read(r, &record, 1, clock_mono_ns() + 50 * NS_PER_MS, NULL), 0);
	ASSERT_OK(stream_seek(r, 1, zero + 300)); /* the end: what comes next */
	CU_ASSERT_EQUAL(stream_read(r, &record, 1, clock_mono_ns() + 50 * NS_PER_MS, NULL), 0);
	append_numbers(w, 1, 300, 5);
	CU_ASSERT_TRUE(read_numbers(r, 1, 300, 5));
	CU_ASSERT_EQUAL(stream_seek(r, 2, 0), -EINVAL);
	CU_ASSERT_EQUAL(stream_leave(r, 2), -EINVAL);
}

static void partitions_are_read_side_by_side(const char *broker)
{
	enum { PARTITIONS = 16, EACH = 40 };
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_record records[32];
	uint64_t next[PARTITIONS] = { 0 }, seen = 0;

	ASSERT_OK(create(&p, PARTITIONS));
	ASSERT_OK(open_as(&w, &p, true, false));
	ASSERT_OK(open_as(&r, &p, false, true));
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		uint64_t zero = append_numbers(w, i, 0, EACH);

		next[i] = i; /* each from its own place */
		ASSERT_OK(stream_seek(r, i, zero + i));
	}
	while (seen < PARTITIONS * EACH - PARTITIONS * (PARTITIONS - 1) / 2) {
		int got = stream_read(r, records, ARRAY_SIZE(records), clock_mono_ns() + PATIENCE_NS, NULL);

		CU_ASSERT_TRUE_FATAL(got > 0);
		for (int k = 0; k < got; k++, seen++)
			CU_ASSERT_EQUAL_FATAL(number_of(&records[k]), next[records[k].partition]++);
	}
	for (uint32_t i = 0; i < PARTITIONS; i++)
		CU_ASSERT_EQUAL(next[i], EACH);
}

static void a_deadline_is_kept(const char *broker)
{
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_record record;
	struct stream_confirmation c;
	uint64_t first, end;

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&w, &p, true, false));
	ASSERT_OK(open_as(&r, &p, false, true));
	ASSERT_OK(stream_range(r, 0, &first, &end));
	ASSERT_OK(stream_seek(r, 0, end));

	const int64_t wait_ns = 120 * NS_PER_MS, start_ns = clock_mono_ns();

	CU_ASSERT_EQUAL(stream_read(r, &record, 1, start_ns + wait_ns, NULL), 0);
	CU_ASSERT_TRUE(clock_mono_ns() - start_ns >= wait_ns);
	CU_ASSERT_TRUE(clock_mono_ns() - start_ns < PATIENCE_NS);

	const int64_t poll_ns = clock_mono_ns();

	CU_ASSERT_EQUAL(stream_poll(w, &c, 1, poll_ns + wait_ns), 0);
	CU_ASSERT_TRUE(clock_mono_ns() - poll_ns >= wait_ns);
	CU_ASSERT_TRUE(clock_mono_ns() - poll_ns < PATIENCE_NS);
	CU_ASSERT_EQUAL(stream_read(r, &record, 1, 0, NULL), 0);
	CU_ASSERT_EQUAL(stream_poll(w, &c, 1, 0), 0);
}

static void a_range_is_what_is_kept(const char *broker)
{
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	uint64_t first, end;

	ASSERT_OK(create(&p, 2));
	ASSERT_OK(open_as(&w, &p, true, false));
	ASSERT_OK(open_as(&r, &p, false, true));
	ASSERT_OK(stream_range(r, 1, &first, &end));
	CU_ASSERT_EQUAL(first, end);

	uint64_t zero = append_numbers(w, 1, 0, 77);

	CU_ASSERT_EQUAL(zero, end);
	ASSERT_OK(stream_range(r, 1, &first, &end));
	CU_ASSERT_EQUAL(first, zero);
	CU_ASSERT_EQUAL(end, zero + 77);
	ASSERT_OK(stream_range(w, 1, &first, &end));
	CU_ASSERT_EQUAL(end, zero + 77);
	ASSERT_OK(stream_range(r, 0, &first, &end));
	CU_ASSERT_EQUAL(first, end);
	CU_ASSERT_EQUAL(stream_range(r, 2, &first, &end), -EINVAL);
}

static void a_trimmed_position_is_reported(const char *broker)
{
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_record record;
	uint64_t first, end;
	uint32_t lost = 99;

	ASSERT_OK(create(&p, 2));
	ASSERT_OK(open_as(&w, &p, true, false));
	ASSERT_OK(open_as(&r, &p, false, true));

	uint64_t zero = append_numbers(w, 1, 0, 500); /* embedded: several segments of 20,000 bytes */

	for (uint64_t i = 0; i < 2000; i += 500)
		append_numbers(w, 1, 500 + i, 500);
	ASSERT_OK(stream_seek(r, 1, zero));
	CU_ASSERT_TRUE(read_numbers(r, 1, 0, 10));
	ASSERT_OK(stream_trim(w, (uint64_t[]){ 0, zero + 1200 }));
	ASSERT_OK(stream_range(r, 1, &first, &end));
	CU_ASSERT_TRUE(first > zero + 10 && first <= zero + 1200);
	CU_ASSERT_EQUAL(end, zero + 2500);
	ASSERT_OK(stream_seek(r, 1, zero));
	CU_ASSERT_EQUAL(stream_read(r, &record, 1, clock_mono_ns() + PATIENCE_NS, &lost), -ERANGE);
	CU_ASSERT_EQUAL(lost, 1);
	CU_ASSERT_EQUAL(stream_read(r, &record, 1, clock_mono_ns() + PATIENCE_NS, &lost), -ERANGE);
	ASSERT_OK(stream_seek(r, 1, first));
	CU_ASSERT_TRUE(read_numbers(r, 1, first - zero, 2500 - (first - zero)));
}

static void a_value_may_have_a_mebibyte(const char *broker)
{
	const size_t bytes = 1 << 20;
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	CLEANUP_FREE uint8_t *value = malloc(32 << 20);
	struct stream_confirmation c[4];
	struct stream_record records[4];
	uint64_t first, end;
	int seen = 0;

	rand_bytes(value, 32 << 20);
	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&w, &p, true, false));
	for (size_t i = 0; i < 4; i++)
		ASSERT_OK(append(w, 0, 3, SLICE_STR("big"), SLICE(value + i, bytes), NULL));
	CU_ASSERT_EQUAL_FATAL(confirm(w, c, 4), 4);
	CU_ASSERT_EQUAL(append(w, 0, 3, SLICE(NULL, 0), SLICE(value, 32 << 20), NULL), -EMSGSIZE);
	ASSERT_OK(open_as(&r, &p, false, true));
	ASSERT_OK(stream_range(r, 0, &first, &end));
	ASSERT_OK(stream_seek(r, 0, first));
	while (seen < 4) {
		int got = stream_read(r, records, 4, clock_mono_ns() + PATIENCE_NS, NULL);

		CU_ASSERT_TRUE_FATAL(got > 0);
		for (int k = 0; k < got; k++, seen++) {
			CU_ASSERT_EQUAL(records[k].headers.len, 3);
			CU_ASSERT_EQUAL_FATAL(records[k].value.len, bytes);
			CU_ASSERT_EQUAL(memcmp(records[k].value.data, value + seen, bytes), 0);
		}
	}
}

static void two_writers_share_a_partition(const char *broker)
{
	enum { ROUNDS = 60, EACH = 5 };
	PLACE(p);
	STREAM a = NULL;
	STREAM b = NULL;
	STREAM r = NULL;
	struct stream_record records[32];
	uint64_t zero = 0, next[2] = { 0 };

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&a, &p, true, false));
	ASSERT_OK(open_as(&b, &p, true, false));
	for (uint64_t i = 0; i < ROUNDS; i++) {
		for (uint64_t w = 0; w < 2; w++) {
			uint64_t offset = append_numbers(w ? b : a, 0, (i * EACH) * 2 + w * 1000000, EACH);

			zero = i + w ? zero : offset;
		}
	}
	ASSERT_OK(open_as(&r, &p, false, true));
	ASSERT_OK(stream_seek(r, 0, zero));
	for (size_t seen = 0; seen < 2 * ROUNDS * EACH;) {
		int got = stream_read(r, records, ARRAY_SIZE(records), clock_mono_ns() + PATIENCE_NS, NULL);

		CU_ASSERT_TRUE_FATAL(got > 0);
		for (int k = 0; k < got; k++, seen++) {
			uint64_t number = number_of(&records[k]), w = number >= 1000000, place = number % 1000000;

			CU_ASSERT_EQUAL(records[k].offset, zero + seen);
			CU_ASSERT_EQUAL(place / (2 * EACH) * EACH + place % (2 * EACH), next[w]);
			next[w]++;
		}
	}
	CU_ASSERT_EQUAL(next[0], ROUNDS * EACH);
	CU_ASSERT_EQUAL(next[1], ROUNDS * EACH);
}

static void *write_two_thousand(void *url)
{
	const struct stream_options o = { .writer = true, .development = true, .segment_bytes = 20000 };
	STREAM w = NULL;
	struct stream_confirmation c[100];

	must(stream_open(&w, url, &o, NULL) == 0);
	for (uint64_t i = 0; i < 2000; i++) {
		must(append_number(w, 0, i) == 0);
		if (i % 100 == 99)
			must(confirm(w, c, 100) == 100);
	}
	return NULL;
}

static void a_reader_follows_a_writer(const char *broker)
{
	PLACE(p);
	STREAM r = NULL;
	pthread_t thread;
	uint64_t first, end;

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&r, &p, false, true));
	ASSERT_OK(stream_range(r, 0, &first, &end));
	ASSERT_OK(stream_seek(r, 0, end));
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_two_thousand, p.url), 0);
	CU_ASSERT_TRUE(read_numbers(r, 0, 0, 2000));
	pthread_join(thread, NULL);
}

static void a_full_queue_says_so_and_goes_on(const char *broker)
{
	const uint64_t enough = 1 << 20;
	PLACE(p);
	STREAM w = NULL;
	CLEANUP_FREE uint8_t *filler = calloc(1, 1000);
	CLEANUP_FREE struct stream_confirmation *c = calloc(enough, sizeof(*c));
	uint64_t n = 0;
	int result = 0;

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&w, &p, true, false));
	for (; n < enough && result == 0; n += result == 0)
		result = append(w, 0, 0, SLICE(NULL, 0), SLICE(filler, 1000), NULL);
	CU_ASSERT_EQUAL(result, -EAGAIN);
	CU_ASSERT_EQUAL_FATAL(confirm(w, c, n), n);
	append_numbers(w, 0, 0, 1);
}

static void a_handle_does_what_it_was_opened_for(const char *broker)
{
	PLACE(p);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_record record;
	struct stream_confirmation c;

	ASSERT_OK(create(&p, 1));
	ASSERT_OK(open_as(&w, &p, true, false));
	ASSERT_OK(open_as(&r, &p, false, true));
	CU_ASSERT_EQUAL(append_number(r, 0, 1), -EBADF);
	CU_ASSERT_EQUAL(stream_poll(r, &c, 1, 0), -EBADF);
	CU_ASSERT_EQUAL(stream_seek(w, 0, 0), -EBADF);
	CU_ASSERT_EQUAL(stream_read(w, &record, 1, 0, NULL), -EBADF);
	CU_ASSERT_EQUAL(append_number(w, 1, 1), -EINVAL);
}

static void a_wrong_url_is_explained(void)
{
	static const char *const urls[] = {
		"", "nothing", "embedded", "embedded:", "embedded:relative/name", "embedded:/tmp/", "embedded:/tmp/..",
		"embedded:/tmp/a b", "embedded:/tmp/na:me", "redis:host/name", "kafka:host:1/", "kafka:host:1/a b",
	};
	const struct stream_options o = { .reader = true };
	const struct stream_create_options create_options = { .partitions = 1 };
	STREAM s = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct stream_error error = { "" };

		CU_ASSERT_EQUAL(stream_open(&s, urls[i], &o, &error), -EINVAL);
		CU_ASSERT_TRUE(strlen(error.text) > 20);
		CU_ASSERT_EQUAL(stream_create(urls[i], &create_options, NULL), -EINVAL);
	}
}

/* ------------------------------------------------------------------ on each backend */

#define ON_BOTH(test)                                                      \
	static void test##_embedded(void)                                  \
	{                                                                  \
		test(NULL);                                                \
	}                                                                  \
	static void test##_kafka(void)                                     \
	{                                                                  \
		const char *broker = getenv("SLUICE_TEST_KAFKA");          \
									   \
		if (!broker)                                               \
			SKIP("SLUICE_TEST_KAFKA=host:port is not set");     \
		test(broker);                                              \
	}
ON_BOTH(a_stream_is_created_once)
ON_BOTH(an_identity_outlives_its_handles)
ON_BOTH(what_is_appended_is_read)
ON_BOTH(reading_begins_anywhere)
ON_BOTH(partitions_are_read_side_by_side)
ON_BOTH(a_deadline_is_kept)
ON_BOTH(a_range_is_what_is_kept)
ON_BOTH(a_trimmed_position_is_reported)
ON_BOTH(a_value_may_have_a_mebibyte)
ON_BOTH(two_writers_share_a_partition)
ON_BOTH(a_reader_follows_a_writer)
ON_BOTH(a_full_queue_says_so_and_goes_on)
ON_BOTH(a_handle_does_what_it_was_opened_for)
#define TB(test) T(test##_embedded), T(test##_kafka)

TESTS("stream", TB(a_stream_is_created_once), TB(an_identity_outlives_its_handles), TB(what_is_appended_is_read),
      TB(reading_begins_anywhere), TB(partitions_are_read_side_by_side), TB(a_deadline_is_kept),
      TB(a_range_is_what_is_kept), TB(a_trimmed_position_is_reported), TB(a_value_may_have_a_mebibyte),
      TB(two_writers_share_a_partition), TB(a_reader_follows_a_writer), TB(a_full_queue_says_so_and_goes_on),
      TB(a_handle_does_what_it_was_opened_for), T(a_wrong_url_is_explained))
