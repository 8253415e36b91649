/* What is particular to the embedded backend; the rest is in test_conformance.c. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/journal.h"
#include "stream/stream.h"
#include "tests/unit/harness.h"

#define SEGMENT "00000000000000000001.log"

struct place {
	char dir[64];
	char url[96];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void place_done(struct place *p)
{
	nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct place place_new(uint32_t partitions)
{
	const struct stream_create_options o = { .partitions = partitions, .generation = 4 };
	struct place p;

	snprintf(p.dir, sizeof(p.dir), "/tmp/sluice-embedded-XXXXXX");
	must(mkdtemp(p.dir) != NULL);
	snprintf(p.url, sizeof(p.url), "embedded:%s", p.dir);
	must(stream_create(p.url, &o, NULL) == 0);
	return p;
}
#define PLACE(name, partitions) CLEANUP(place_done) struct place name = place_new(partitions)

static void close_stream(struct stream **s)
{
	stream_close(*s);
}
#define STREAM CLEANUP(close_stream) struct stream *

static int open_as(struct stream **ret, const struct place *p, bool writer)
{
	return stream_open(ret, p->url, &(struct stream_options){ .writer = writer, .reader = !writer }, NULL);
}

static int append_number(struct stream *s, uint64_t number)
{
	return stream_append(s, &(struct stream_record){ .value = SLICE(&number, sizeof(number)),
							 .cookie = (void *)(uintptr_t)number });
}

static size_t segment_bytes(const struct place *p)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" SEGMENT, p->dir);
	return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static void nothing_is_written_before_a_poll_or_256_kib(void)
{
	PLACE(p, 1);
	STREAM w = NULL;
	struct stream_confirmation c[1024];
	const size_t empty = segment_bytes(&p);
	CLEANUP_FREE uint8_t *value = calloc(1, 1024);

	ASSERT_OK(open_as(&w, &p, true));
	for (int i = 0; i < 255; i++)
		ASSERT_OK(stream_append(w, &(struct stream_record){ .value = SLICE(value, 1024) }));
	CU_ASSERT_EQUAL(segment_bytes(&p), empty);
	ASSERT_OK(stream_append(w, &(struct stream_record){ .value = SLICE(value, 1024) }));
	CU_ASSERT_TRUE(segment_bytes(&p) > empty + (256 << 10));
	CU_ASSERT_EQUAL(stream_pending(w), 256);
	ASSERT_OK(append_number(w, 1));
	CU_ASSERT_EQUAL(stream_poll(w, c, ARRAY_SIZE(c), 0), 257);
}

/* What a full disk refuses is refused to the one who appended, and nothing of it is in the log. */
static void a_full_disk_is_the_outcome_of_the_append(void)
{
	PLACE(p, 1);
	STREAM w = NULL;
	STREAM r = NULL;
	struct rlimit before, limit;
	struct stream_confirmation c[8];
	struct stream_record records[8];

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_OK(open_as(&w, &p, true));
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = segment_bytes(&p) + 80;
	for (uint64_t i = 0; i < 4; i++)
		ASSERT_OK(append_number(w, i));
	setrlimit(RLIMIT_FSIZE, &limit);

	int n = stream_poll(w, c, ARRAY_SIZE(c), 0);

	setrlimit(RLIMIT_FSIZE, &before);
	CU_ASSERT_EQUAL_FATAL(n, 4);
	for (int i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(c[i].error, -EFBIG);
		CU_ASSERT_EQUAL((uintptr_t)c[i].cookie, (uintptr_t)i);
	}
	ASSERT_OK(append_number(w, 7));
	CU_ASSERT_EQUAL(stream_poll(w, c, ARRAY_SIZE(c), 0), 1);
	CU_ASSERT_EQUAL(c[0].error, 0);
	CU_ASSERT_EQUAL(c[0].offset, 0);
	ASSERT_OK(open_as(&r, &p, false));
	ASSERT_OK(stream_seek(r, 0, 0));
	CU_ASSERT_EQUAL(stream_read(r, records, ARRAY_SIZE(records), 0, NULL), 1);
}

static void what_is_queued_behind_a_failed_append_fails_too(void)
{
	PLACE(p, 1);
	STREAM w = NULL;
	struct rlimit before, limit;
	struct stream_confirmation c[8];
	static uint8_t large[300 << 10]; /* is written at once */
	const struct stream_record big = { .value = SLICE(large, sizeof(large)) };

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_OK(open_as(&w, &p, true));
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = segment_bytes(&p) + 1000;
	setrlimit(RLIMIT_FSIZE, &limit);
	ASSERT_OK(stream_append(w, &big));
	ASSERT_OK(append_number(w, 1)); /* would fit */

	int n = stream_poll(w, c, ARRAY_SIZE(c), 0);

	setrlimit(RLIMIT_FSIZE, &before);
	CU_ASSERT_EQUAL_FATAL(n, 2);
	CU_ASSERT_EQUAL(c[0].error, -EFBIG);
	CU_ASSERT_EQUAL(c[1].error, -EFBIG);
	ASSERT_OK(append_number(w, 2));
	CU_ASSERT_EQUAL(stream_poll(w, c, ARRAY_SIZE(c), 0), 1);
	CU_ASSERT_EQUAL(c[0].error, 0);
}

/* A damaged record is a hole in the offsets, not a lost position. */
static void damage_is_passed_over(void)
{
	PLACE(p, 1);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_confirmation c[8];
	struct stream_record records[8];
	char path[128];

	ASSERT_OK(open_as(&w, &p, true));
	for (uint64_t i = 0; i < 3; i++) {
		ASSERT_OK(append_number(w, i));
		CU_ASSERT_EQUAL(stream_poll(w, c, ARRAY_SIZE(c), 0), 1);
	}
	snprintf(path, sizeof(path), "%s/" SEGMENT, p.dir);

	CLEANUP_CLOSE int fd = open(path, O_WRONLY);

	ASSERT_OK(pwrite(fd, "\xff", 1, (off_t)segment_bytes(&p) - 40)); /* within the second of three records of 36 */
	ASSERT_OK(open_as(&r, &p, false));
	ASSERT_OK(stream_seek(r, 0, 0));
	CU_ASSERT_EQUAL_FATAL(stream_read(r, records, ARRAY_SIZE(records), 0, NULL), 2);
	CU_ASSERT_EQUAL(records[0].offset, 0);
	CU_ASSERT_EQUAL(records[1].offset, 2);
}

/* What a reader has not read yet is trimmed: it is told, and not led past it. */
static void a_trim_ahead_of_a_reader_is_reported(void)
{
	PLACE(p, 1);
	STREAM w = NULL;
	STREAM r = NULL;
	struct stream_confirmation c[64];
	struct stream_record records[16];
	uint64_t next = 0, first, end;
	uint32_t lost = 99;
	int n = 1;

	ASSERT_OK(stream_open(&w, p.url, &(struct stream_options){ .writer = true, .segment_bytes = 300 }, NULL));
	for (uint64_t i = 0; i < 64; i++) {
		ASSERT_OK(append_number(w, i));
		CU_ASSERT_EQUAL(stream_poll(w, c, ARRAY_SIZE(c), 0), 1);
	}
	ASSERT_OK(open_as(&r, &p, false));
	ASSERT_OK(stream_seek(r, 0, 0));
	CU_ASSERT_EQUAL(stream_read(r, records, 2, 0, NULL), 2);
	ASSERT_OK(stream_trim(w, (uint64_t[]){ 50 }));
	for (next = 2; n > 0;) {
		n = stream_read(r, records, ARRAY_SIZE(records), 0, &lost);
		for (int i = 0; i < n; i++)
			CU_ASSERT_EQUAL(records[i].offset, next++);
	}
	CU_ASSERT_EQUAL(n, -ERANGE);
	CU_ASSERT_EQUAL(lost, 0);
	ASSERT_OK(stream_range(r, 0, &first, &end));
	CU_ASSERT_TRUE(next < first);
	ASSERT_OK(stream_seek(r, 0, first));
	CU_ASSERT_EQUAL(stream_read(r, records, 1, 0, NULL), 1);
	CU_ASSERT_EQUAL(records[0].offset, first);
}

static void a_generation_is_kept_and_a_spool_is_left_alone(void)
{
	PLACE(p, 2);
	STREAM w = NULL;
	struct stream_error error = { "" };
	struct journal *j = NULL;
	const struct journal_options exclusive = { .mode = JOURNAL_EXCLUSIVE };
	const struct stream_create_options next = { .partitions = 2, .generation = 5, .may_exist = true };

	CU_ASSERT_EQUAL(stream_create(p.url, &next, &error), -EINVAL);
	CU_ASSERT_TRUE(strstr(error.text, "generation 4") != NULL);
	ASSERT_OK(journal_open(&j, p.dir, &exclusive, NULL));
	CU_ASSERT_EQUAL(stream_open(&w, p.url, &(struct stream_options){ .writer = true }, &error), -EBUSY);
	CU_ASSERT_TRUE(strstr(error.text, "locked") != NULL);
	journal_close(j);
	ASSERT_OK(open_as(&w, &p, true));
	CU_ASSERT_EQUAL(stream_identity(w).generation, 4);
}

/* Writers in other processes: each finds its own records behind the offsets it was told. */
static void processes_append_to_one_stream(void)
{
	enum { WRITERS = 4, EACH = 50 };
	PLACE(p, 1);
	STREAM r = NULL;
	struct stream_record records[16];
	pid_t pids[WRITERS];
	uint64_t next[WRITERS] = { 0 };

	for (uint64_t w = 0; w < WRITERS; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			STREAM s = NULL;
			struct stream_confirmation c;

			if (open_as(&s, &p, true) < 0)
				_exit(1);
			for (uint64_t i = 0; i < EACH; i++)
				if (append_number(s, w * EACH + i) < 0 || stream_poll(s, &c, 1, CLOCK_FOREVER) != 1 ||
				    c.error)
					_exit(2);
			_exit(0);
		}
	}
	ASSERT_OK(open_as(&r, &p, false));
	ASSERT_OK(stream_seek(r, 0, 0));
	for (uint64_t seen = 0; seen < WRITERS * EACH;) {
		int got = stream_read(r, records, ARRAY_SIZE(records), clock_mono_ns() + 20 * NS_PER_S, NULL);

		CU_ASSERT_TRUE_FATAL(got > 0);
		for (int k = 0; k < got; k++, seen++) {
			uint64_t number;

			memcpy(&number, records[k].value.data, sizeof(number));
			CU_ASSERT_EQUAL(records[k].offset, seen);
			CU_ASSERT_EQUAL(number % EACH, next[number / EACH]++);
		}
	}
	for (int w = 0; w < WRITERS; w++) {
		int status;

		waitpid(pids[w], &status, 0);
		CU_ASSERT_EQUAL(status, 0);
	}
}

TESTS("embedded", T(nothing_is_written_before_a_poll_or_256_kib), T(a_full_disk_is_the_outcome_of_the_append),
      T(what_is_queued_behind_a_failed_append_fails_too), T(damage_is_passed_over),
      T(a_trim_ahead_of_a_reader_is_reported), T(a_generation_is_kept_and_a_spool_is_left_alone),
      T(processes_append_to_one_stream))
