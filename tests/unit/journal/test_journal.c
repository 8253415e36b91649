#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "tests/unit/harness.h"

/* ------------------------------------------------------------------ a directory a test */

struct place {
	char dir[64];  /* the journal */
	char base[48]; /* removed at the end */
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void place_done(struct place *p)
{
	nftw(p->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct place place_new(void)
{
	struct place p;

	snprintf(p.base, sizeof(p.base), "/tmp/sluice-journal-XXXXXX");
	must(mkdtemp(p.base) != NULL);
	snprintf(p.dir, sizeof(p.dir), "%s/j", p.base);
	return p;
}
#define PLACE(name) CLEANUP(place_done) struct place name = place_new()

static void close_journal(struct journal **j)
{
	journal_close(*j);
}
static void close_reader(struct journal_reader **r)
{
	journal_reader_close(*r);
}
#define JOURNAL CLEANUP(close_journal) struct journal *
#define READER CLEANUP(close_reader) struct journal_reader *

static int open_sized(struct journal **ret, const struct place *p, enum journal_mode mode, uint32_t partitions,
		      uint64_t segment_bytes, struct journal_recovery *ret_recovery)
{
	struct journal_options o = {
		.mode = mode, .create = partitions > 0, .partitions = partitions, .segment_bytes = segment_bytes
	};

	return journal_open(ret, p->dir, &o, ret_recovery);
}

static int append_text(struct journal *j, uint16_t partition, const char *text, uint64_t *ret_offset)
{
	struct journal_record record = {
		.partition = partition, .kind = 7, .headers = SLICE_STR("h"), .value = SLICE_STR(text)
	};
	int r = journal_append(j, &record, 1);

	if (r == 0 && ret_offset)
		*ret_offset = record.offset;
	return r;
}

/* Appends `n` numbered records to a partition and makes them durable. */
static void append_numbers(struct journal *j, uint16_t partition, int from, int n)
{
	for (int i = from; i < from + n; i++) {
		char text[32];

		snprintf(text, sizeof(text), "value %d", i);
		ASSERT_OK(append_text(j, partition, text, NULL));
	}
	ASSERT_OK(journal_sync(j));
}

/* How many records there are, all in order and as append_numbers() wrote them; -1 when not. */
static int count_numbers(struct journal_reader *r, uint16_t partition)
{
	struct journal_record record;
	int n = 0, result;

	while ((result = journal_reader_next(r, &record, 0)) == 1) {
		char text[32];

		snprintf(text, sizeof(text), "value %d", n);
		if (record.partition != partition || record.offset != (uint64_t)n || record.value.len != strlen(text) ||
		    memcmp(record.value.data, text, strlen(text)) != 0)
			return -1;
		n++;
	}
	return result < 0 ? result : n;
}

static void segment_path(const struct place *p, uint64_t sequence, char ret[static 128])
{
	char name[SEGMENT_NAME_LEN];

	segment_name(sequence, name);
	snprintf(ret, 128, "%s/%s", p->dir, name);
}

static off_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void copy_file(const char *from, const char *to, off_t n)
{
	CLEANUP_CLOSE int in = open(from, O_RDONLY);
	CLEANUP_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CLEANUP_FREE char *bytes = malloc((size_t)n + 1);

	must(pread(in, bytes, (size_t)n, 0) == n && write(out, bytes, (size_t)n) == n);
}

static void flip_byte(const char *path, off_t at)
{
	CLEANUP_CLOSE int fd = open(path, O_RDWR);
	uint8_t byte;

	must(pread(fd, &byte, 1, at) == 1);
	byte ^= 0x10;
	must(pwrite(fd, &byte, 1, at) == 1);
}

/* ------------------------------------------------------------------ writing and reading */

static void what_is_appended_is_read(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	uint64_t offset = 99;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 3, 0, NULL));
	ASSERT_OK(append_text(j, 0, "a", &offset));
	CU_ASSERT_EQUAL(offset, 0);
	ASSERT_OK(append_text(j, 2, "b", &offset));
	CU_ASSERT_EQUAL(offset, 0);
	ASSERT_OK(append_text(j, 2, "", &offset));
	CU_ASSERT_EQUAL(offset, 1);
	CU_ASSERT_EQUAL(append_text(j, 3, "no such partition", NULL), -EINVAL);
	CU_ASSERT_EQUAL(journal_end(j, 2), 2);

	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0); /* not durable yet */
	ASSERT_OK(journal_sync(j));
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.partition, 0);
	CU_ASSERT_EQUAL(record.kind, 7);
	CU_ASSERT_EQUAL(record.headers.len, 1);
	CU_ASSERT_EQUAL_FATAL(record.value.len, 1);
	CU_ASSERT_EQUAL(*(const char *)record.value.data, 'a');
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.partition, 2);
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.offset, 1);
	CU_ASSERT_EQUAL(record.value.len, 0);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
}

/* Small and large values in one batch, across the limits of one pwritev() and of the reader's window. */
static void a_large_batch_is_one_append(void)
{
	enum { N = 3000 };
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	CLEANUP_FREE uint8_t *bytes = malloc(JOURNAL_RECORD_MAX + 1);
	CLEANUP_FREE struct journal_record *batch = calloc(N, sizeof(*batch));
	struct journal_record record;

	rand_bytes(bytes, JOURNAL_RECORD_MAX);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 2, 0, NULL));
	for (int i = 0; i < N; i++)
		batch[i] =
			(struct journal_record){ .partition = i % 2, .value = SLICE(bytes + i, i % 3 ? 3000 : i % 97) };
	batch[5].value.len = JOURNAL_RECORD_MAX;
	batch[5].value.data = bytes;
	ASSERT_OK(journal_append(j, batch, N));
	ASSERT_OK(journal_sync(j));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	for (int i = 0; i < N; i++) {
		CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
		CU_ASSERT_EQUAL(record.offset, (uint64_t)i / 2);
		CU_ASSERT_EQUAL_FATAL(record.value.len, batch[i].value.len);
		CU_ASSERT_TRUE_FATAL(memcmp(record.value.data, batch[i].value.data, record.value.len) == 0);
	}
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
	batch[0].value = SLICE(bytes, JOURNAL_RECORD_MAX + 1);
	CU_ASSERT_EQUAL(journal_append(j, batch, 2), -EMSGSIZE);
	CU_ASSERT_EQUAL(journal_end(j, 0), N / 2);
}

static void segments_follow_each_other(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	char path[128];

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 1000, NULL));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	append_numbers(j, 0, 0, 500);
	segment_path(&p, 10, path);
	CU_ASSERT_TRUE(file_size(path) > 0);
	CU_ASSERT_EQUAL(count_numbers(r, 0), 500);
	journal_close(STEAL(j));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 1000, NULL));
	CU_ASSERT_EQUAL(journal_end(j, 0), 500);
	CU_ASSERT_EQUAL(journal_reader_damaged(r), 0);
}

static void a_seek_goes_forward_and_back(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	const uint64_t targets[] = { 450, 7, 499, 0, 250, 251, 3 };

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 2, 1000, NULL));
	append_numbers(j, 1, 0, 500);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		ASSERT_OK(journal_reader_seek(r, (uint64_t[]){ 0, targets[i] }));
		CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
		CU_ASSERT_EQUAL(record.offset, targets[i]);
	}
	ASSERT_OK(journal_reader_seek(r, (uint64_t[]){ 0, UINT64_MAX }));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
	ASSERT_OK(journal_reader_seek(r, (uint64_t[]){ 0, 500 }));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
	append_numbers(j, 1, 500, 1);
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.offset, 500);
}

/* Whichever call first meets the new end, the reader goes on to it. */
static void a_look_at_the_end_hides_nothing(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	uint64_t first, end;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	append_numbers(j, 0, 0, 1);
	ASSERT_OK(journal_reader_range(r, 0, &first, &end));
	CU_ASSERT_EQUAL(end, 1);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	append_numbers(j, 0, 1, 1);
	ASSERT_OK(journal_reader_seek(r, (uint64_t[]){ 1 }));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	append_numbers(j, 0, 2, 1);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
	ASSERT_OK(journal_reader_range(r, 0, &first, &end));
	CU_ASSERT_EQUAL(end, 3);
}

static void a_journal_may_have_4096_partitions(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	CLEANUP_FREE struct journal_record *batch = calloc(4096, sizeof(*batch));

	CU_ASSERT_EQUAL(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 4097, 0, NULL), -EINVAL);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 4096, 20000, NULL));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4096; i++)
			batch[i] = (struct journal_record){ .partition = (uint16_t)i, .value = SLICE(&batch[i], 8) };
		ASSERT_OK(journal_append(j, batch, 4096));
	}
	ASSERT_OK(journal_sync(j));
	journal_close(STEAL(j));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 4096, 0, NULL));
	CU_ASSERT_EQUAL(journal_end(j, 4095), 3);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(journal_reader_partitions(r), 4096);
	for (int i = 0; i < 3 * 4096; i++) {
		CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
		CU_ASSERT_EQUAL_FATAL(record.partition, i % 4096);
		CU_ASSERT_EQUAL_FATAL(record.offset, (uint64_t)i / 4096);
	}
}

static void an_open_says_what_does_not_fit(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_options o = { .mode = JOURNAL_EXCLUSIVE, .create = true, .partitions = 4, .generation = 9 };

	CU_ASSERT_EQUAL(journal_reader_open(&r, p.dir), -ENOENT);
	CU_ASSERT_EQUAL(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, NULL), -ENOENT);
	ASSERT_OK(mkdir(p.dir, 0755));
	CU_ASSERT_EQUAL(journal_reader_open(&r, p.dir), -ENOENT);
	CU_ASSERT_EQUAL(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, NULL), -ENOENT);
	ASSERT_OK(journal_open(&j, p.dir, &o, NULL));
	CU_ASSERT_EQUAL(journal_identity(j).generation, 9);

	struct journal_id id = journal_identity(j);

	journal_close(STEAL(j));
	CU_ASSERT_EQUAL(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 5, 0, NULL), -EINVAL);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, NULL));
	CU_ASSERT_EQUAL(journal_partitions(j), 4);
	CU_ASSERT_TRUE(memcmp(id.uuid, journal_identity(j).uuid, 16) == 0);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_TRUE(memcmp(id.uuid, journal_reader_identity(r).uuid, 16) == 0);
}

static void an_exclusive_writer_is_the_only_one(void)
{
	PLACE(p);
	JOURNAL a = NULL;
	JOURNAL b = NULL;
	JOURNAL c = NULL;

	ASSERT_OK(open_sized(&a, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	CU_ASSERT_EQUAL(open_sized(&b, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL), -EBUSY);
	CU_ASSERT_EQUAL(open_sized(&b, &p, JOURNAL_SHARED, 1, 0, NULL), -EBUSY);
	journal_close(STEAL(a));
	ASSERT_OK(open_sized(&b, &p, JOURNAL_SHARED, 1, 0, NULL));
	ASSERT_OK(open_sized(&c, &p, JOURNAL_SHARED, 1, 0, NULL));
	CU_ASSERT_EQUAL(open_sized(&a, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL), -EBUSY);
}

static void shared_writers_take_turns(void)
{
	PLACE(p);
	JOURNAL a = NULL;
	JOURNAL b = NULL;
	READER r = NULL;
	uint64_t offset;

	ASSERT_OK(open_sized(&a, &p, JOURNAL_SHARED, 1, 400, NULL));
	ASSERT_OK(open_sized(&b, &p, JOURNAL_SHARED, 1, 400, NULL));
	for (int i = 0; i < 100; i++) {
		char text[32];

		snprintf(text, sizeof(text), "value %d", i);
		ASSERT_OK(append_text(i % 3 ? a : b, 0, text, &offset));
		CU_ASSERT_EQUAL_FATAL(offset, (uint64_t)i);
	}
	ASSERT_OK(journal_sync(a));
	ASSERT_OK(journal_sync(b));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(count_numbers(r, 0), 100);
}

/* The one who wrote earlier flushes later: the durable end stays where the other one has put it. */
static void the_durable_end_never_moves_back(void)
{
	PLACE(p);
	JOURNAL a = NULL;
	JOURNAL b = NULL;
	READER r = NULL;

	ASSERT_OK(open_sized(&a, &p, JOURNAL_SHARED, 1, 0, NULL));
	ASSERT_OK(open_sized(&b, &p, JOURNAL_SHARED, 1, 0, NULL));
	ASSERT_OK(append_text(a, 0, "value 0", NULL));
	ASSERT_OK(append_text(b, 0, "value 1", NULL));
	ASSERT_OK(journal_sync(b));
	ASSERT_OK(journal_sync(a));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(count_numbers(r, 0), 2);
}

/* ------------------------------------------------------------------ damage */

/* The file ends anywhere within its last record, which was never made durable. */
static void a_torn_tail_is_cut_at_every_byte(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	char path[128], whole[160];

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 3);
	segment_path(&p, 1, path);

	off_t before = file_size(path);

	ASSERT_OK(append_text(j, 0, "value 3", NULL));

	off_t after = file_size(path);

	journal_close(STEAL(j));
	snprintf(whole, sizeof(whole), "%s.whole", path);
	copy_file(path, whole, after);
	for (off_t size = before; size <= after; size++) {
		READER r = NULL;
		struct journal_recovery recovery;

		copy_file(whole, path, size);
		ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, &recovery));
		CU_ASSERT_EQUAL(recovery.damaged_records, 0);
		CU_ASSERT_EQUAL(recovery.torn_bytes, size == after ? 0 : (uint64_t)(size - before));
		CU_ASSERT_EQUAL(journal_end(j, 0), size == after ? 4 : 3);
		if (size < after)
			append_numbers(j, 0, 3, 1);
		ASSERT_OK(journal_reader_open(&r, p.dir));
		CU_ASSERT_EQUAL(count_numbers(r, 0), 4);
		CU_ASSERT_EQUAL(journal_reader_damaged(r), 0);
		journal_close(STEAL(j));
		/* The end that was durable, as it was. */
		CLEANUP_CLOSE int end = openat(AT_FDCWD, p.dir, O_DIRECTORY);
		CLEANUP_CLOSE int end_fd = openat(end, "end", O_RDWR);

		ASSERT_OK(end_write(end_fd, (struct position){ .segment = 1, .at = (uint64_t)before }));
	}
}

/* Every byte of a record in the middle, flipped in turn: that record alone is missing. */
static void a_flipped_bit_costs_one_record(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	char path[128], kept[192];

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 2);
	segment_path(&p, 1, path);

	off_t from = file_size(path);

	append_numbers(j, 0, 2, 1);

	off_t to = file_size(path);

	append_numbers(j, 0, 3, 2);
	journal_close(STEAL(j));
	for (off_t at = from; at < to; at++) {
		READER r = NULL;
		struct journal_recovery recovery;
		struct journal_record record;
		uint64_t sum = 0, n = 0;

		flip_byte(path, at);
		ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, &recovery));
		CU_ASSERT_EQUAL(recovery.damaged_records, 1);
		CU_ASSERT_EQUAL(recovery.torn_bytes, 0);
		CU_ASSERT_EQUAL(journal_end(j, 0), 5);
		ASSERT_OK(journal_reader_open(&r, p.dir));
		for (; journal_reader_next(r, &record, 0) == 1; n++)
			sum += record.offset;
		CU_ASSERT_EQUAL(n, 4);
		CU_ASSERT_EQUAL(sum, 0 + 1 + 3 + 4);
		CU_ASSERT_EQUAL(journal_reader_damaged(r), 1);
		journal_close(STEAL(j));
		flip_byte(path, at);
	}
	snprintf(kept, sizeof(kept), "%s/damaged/%020d-%lld", p.dir, 1, (long long)from);
	CU_ASSERT_EQUAL(file_size(kept), to - from);
}

/* The last durable records are damaged: their offsets are not given again. */
static void offsets_behind_damage_are_not_given_twice(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_recovery recovery;
	struct journal_record record;
	char path[128];
	uint64_t offset;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 2, 0, NULL));
	append_numbers(j, 0, 0, 10);
	append_numbers(j, 1, 0, 1);
	journal_close(STEAL(j));
	segment_path(&p, 1, path);
	flip_byte(path, file_size(path) - 1);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, &recovery));
	CU_ASSERT_EQUAL(recovery.damaged_records, 1);
	CU_ASSERT_EQUAL(recovery.torn_bytes, 0);
	ASSERT_OK(append_text(j, 1, "after", &offset));
	CU_ASSERT_TRUE(offset >= 1);
	ASSERT_OK(journal_sync(j));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	for (int i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.offset, offset);
}

/* The file system lost the end of what was durable: a new segment, higher offsets, and the reader goes on. */
static void a_lost_end_does_not_stop_the_start(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_recovery recovery;
	struct journal_record record;
	char path[128];
	uint64_t offset, n = 0;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 10);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	journal_close(STEAL(j));
	segment_path(&p, 1, path);
	ASSERT_OK(truncate(path, file_size(path) - 50));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, &recovery));
	CU_ASSERT_TRUE(recovery.damaged_records >= 1);
	ASSERT_OK(append_text(j, 0, "after", &offset));
	CU_ASSERT_TRUE(offset >= 10);
	ASSERT_OK(journal_sync(j));
	while (journal_reader_next(r, &record, 0) == 1)
		n++;
	CU_ASSERT_EQUAL(n, 9);
	CU_ASSERT_EQUAL(record.offset, offset);
	segment_path(&p, 2, path);
	journal_close(STEAL(j));
	ASSERT_OK(unlink(path));
	CU_ASSERT_EQUAL(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 0, NULL), -EINVAL);
}

static void a_header_may_lose_a_copy_and_a_segment_its_header(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	char path[128];
	uint64_t first, end;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 300, NULL));
	append_numbers(j, 0, 0, 30);

	uint64_t tail = 1;

	for (segment_path(&p, tail + 1, path); file_size(path) >= 0; segment_path(&p, tail + 1, path))
		tail++;
	CU_ASSERT_TRUE_FATAL(tail > 2);
	journal_close(STEAL(j));
	segment_path(&p, 1, path);
	flip_byte(path, 20);
	segment_path(&p, tail, path);
	flip_byte(path, 30);
	flip_byte(path, 56 + 30);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 300, NULL));
	CU_ASSERT_EQUAL(journal_end(j, 0), 30);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	ASSERT_OK(journal_reader_range(r, 0, &first, &end));
	CU_ASSERT_EQUAL(first, 0);
	CU_ASSERT_EQUAL(end, 30);
	CU_ASSERT_EQUAL(count_numbers(r, 0), 30);
}

/* A value that is itself a good frame of another journal, with an offset that would fit here. */
static void what_looks_like_a_frame_is_none(void)
{
	PLACE(p);
	PLACE(other);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	char path[128];
	uint8_t frame[64];

	ASSERT_OK(open_sized(&j, &other, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 20);

	off_t at = (segment_path(&other, 1, path), file_size(path));

	append_numbers(j, 0, 20, 1);

	CLEANUP_CLOSE int fd = open(path, O_RDONLY);
	ssize_t n = pread(fd, frame, sizeof(frame), at);

	CU_ASSERT_TRUE_FATAL(n > 28);
	journal_close(STEAL(j));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 6);
	segment_path(&p, 1, path);
	at = file_size(path);
	record = (struct journal_record){ .value = SLICE(frame, (size_t)n) };
	ASSERT_OK(journal_append(j, &record, 1));
	ASSERT_OK(append_text(j, 0, "last", NULL));
	ASSERT_OK(journal_sync(j));
	flip_byte(path, at); /* the outer frame is damaged, the search goes through its value */
	ASSERT_OK(journal_reader_open(&r, p.dir));
	for (int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.offset, 7);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
}

/* ------------------------------------------------------------------ space and retention */

static void a_full_disk_appends_nothing(void)
{
	PLACE(p);
	struct rlimit before, limit;
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record batch[40];
	char values[40][32], path[128];

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	append_numbers(j, 0, 0, 10);
	segment_path(&p, 1, path);

	off_t size = file_size(path);

	for (int i = 0; i < 40; i++) {
		snprintf(values[i], sizeof(values[i]), "value %d", 10 + i);
		batch[i] = (struct journal_record){ .value = SLICE_STR(values[i]) };
	}
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)size + 500; /* in the middle of the batch */
	setrlimit(RLIMIT_FSIZE, &limit);

	int result = journal_append(j, batch, 40);

	setrlimit(RLIMIT_FSIZE, &before);
	CU_ASSERT_EQUAL(result, -EFBIG);
	CU_ASSERT_EQUAL(file_size(path), size);
	CU_ASSERT_EQUAL(journal_end(j, 0), 10);
	ASSERT_OK(journal_append(j, batch, 40));
	ASSERT_OK(journal_sync(j));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(count_numbers(r, 0), 50);
}

/* There is no room for the seal, or none for the next segment: nothing is appended, and later all goes on. */
static void a_full_disk_at_a_new_segment_is_survived(void)
{
	PLACE(p);
	struct rlimit before, limit;
	JOURNAL j = NULL;
	READER r = NULL;
	uint64_t offset;
	char path[128];

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 100, NULL));
	append_numbers(j, 0, 0, 3);
	segment_path(&p, 1, path);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	for (off_t size = file_size(path), more = 0; more < 28; more++) {
		limit.rlim_cur = (rlim_t)(size + more);
		setrlimit(RLIMIT_FSIZE, &limit);

		int result = append_text(j, 0, "no room", NULL);

		setrlimit(RLIMIT_FSIZE, &before);
		CU_ASSERT_EQUAL(result, -EFBIG);
		CU_ASSERT_EQUAL(journal_end(j, 0), 3);
		CU_ASSERT_EQUAL(file_size(path), size);
	}
	snprintf(path, sizeof(path), "%s/new-segment.tmp", p.dir);
	ASSERT_OK(mkdir(path, 0755)); /* in the way */
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(append_text(j, 0, "no segment", NULL), -EISDIR);
	ASSERT_OK(rmdir(path));
	ASSERT_OK(append_text(j, 0, "value 3", &offset));
	CU_ASSERT_EQUAL(offset, 3);
	ASSERT_OK(journal_sync(j));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(count_numbers(r, 0), 4);
}

static void offsets_survive_trimming_everything(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	uint64_t offset, first, end, bytes;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 2, 300, NULL));
	append_numbers(j, 0, 0, 100);
	append_numbers(j, 1, 0, 5);
	bytes = journal_bytes(j);
	CU_ASSERT_EQUAL(journal_trim(j, (uint64_t[]){ 0, 5 }), 0);
	CU_ASSERT_TRUE(journal_trim(j, (uint64_t[]){ 50, 0 }) > 0);
	CU_ASSERT_TRUE(journal_first(j, 0) > 30 && journal_first(j, 0) <= 50);
	CU_ASSERT_EQUAL(journal_first(j, 1), 0);
	CU_ASSERT_TRUE(journal_bytes(j) < bytes);
	CU_ASSERT_TRUE(journal_trim(j, (uint64_t[]){ 100, 5 }) > 0);
	journal_close(STEAL(j));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 300, NULL));
	for (int i = 0; i < 20; i++) /* until the last old record's segment may go as well */
		ASSERT_OK(append_text(j, 1, "filler", NULL));
	ASSERT_OK(journal_sync(j));
	journal_trim(j, (uint64_t[]){ 100, 25 });
	CU_ASSERT_EQUAL(journal_first(j, 0), 100);
	journal_close(STEAL(j));
	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 0, 300, NULL));
	ASSERT_OK(append_text(j, 0, "next", &offset));
	CU_ASSERT_EQUAL(offset, 100);
	ASSERT_OK(journal_sync(j));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	ASSERT_OK(journal_reader_range(r, 0, &first, &end));
	CU_ASSERT_EQUAL(first, 100);
	CU_ASSERT_EQUAL(end, 101);
	ASSERT_OK(journal_reader_seek(r, (uint64_t[]){ 0, UINT64_MAX }));
	CU_ASSERT_EQUAL_FATAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(record.offset, 100);
}

/* Segments vanish before a reader that is far behind: it goes on with the oldest that is kept. */
static void a_reader_survives_a_trim_under_its_feet(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	uint64_t last = 0;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 300, NULL));
	append_numbers(j, 0, 0, 100);
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_TRUE(journal_trim(j, (uint64_t[]){ 60 }) > 0);

	uint64_t first = journal_first(j, 0);
	int n = 0;

	for (; journal_reader_next(r, &record, 0) == 1; n++) {
		CU_ASSERT_TRUE(record.offset == last + 1 || record.offset == first);
		last = record.offset;
	}
	CU_ASSERT_EQUAL(last, 99);
	CU_ASSERT_TRUE(n < 99);
	CU_ASSERT_EQUAL(journal_reader_damaged(r), 0);
}

/* ------------------------------------------------------------------ threads and processes */

struct sync_loop {
	struct journal *j;
	int stop, syncs;
};

static void *sync_until_stopped(void *argument)
{
	struct sync_loop *loop = argument;

	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
		must(journal_sync(loop->j) == 0);
		loop->syncs++;
	}
	return NULL;
}

static void one_thread_appends_while_another_syncs(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct sync_loop loop = { 0 };
	pthread_t thread;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 4000, NULL));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	loop.j = j;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, sync_until_stopped, &loop), 0);
	for (int i = 0; i < 2000; i++) {
		char text[32];

		snprintf(text, sizeof(text), "value %d", i);
		ASSERT_OK(append_text(j, 0, text, NULL));
	}
	__atomic_store_n(&loop.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ASSERT_OK(journal_sync(j));
	CU_ASSERT_TRUE(loop.syncs > 0);
	CU_ASSERT_EQUAL(count_numbers(r, 0), 2000);
}

/* The reader sleeps in another thread until the record is durable, well before its deadline. */
static void *wait_for_one(void *argument)
{
	struct journal_record record;

	return (void *)(intptr_t)journal_reader_next(argument, &record, clock_mono_ns() + 20 * NS_PER_S);
}

static void a_waiting_reader_is_woken(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	pthread_t thread;
	void *result;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_EXCLUSIVE, 1, 0, NULL));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, clock_mono_ns() + 30 * NS_PER_MS), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wait_for_one, r), 0);
	append_numbers(j, 0, 0, 1);
	pthread_join(thread, &result);
	CU_ASSERT_EQUAL((intptr_t)result, 1);
	append_numbers(j, 0, 1, 1);

	struct pollfd fd = { .fd = journal_reader_fd(r), .events = POLLIN };

	CU_ASSERT_EQUAL(poll(&fd, 1, 5000), 1);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 1);
	CU_ASSERT_EQUAL(journal_reader_next(r, &record, 0), 0);
	CU_ASSERT_EQUAL(poll(&fd, 1, 0), 0);
}

/* ------------------------------------------------------------------ kills */

enum { WRITERS = 2 };

/* What a killed writer had been told: shared memory survives it. */
struct told {
	uint64_t appended[WRITERS]; /* numbers handed to append so far */
	uint64_t synced[WRITERS];   /* of these, confirmed */
};

struct entry {
	uint64_t writer, number;
	uint8_t filler[220];
};

/* Appends batches of numbered entries and syncs, until it is killed. */
static _Noreturn void write_until_killed(const struct place *p, struct told *told, unsigned writer)
{
	struct journal *j;
	struct journal_record batch[24];
	struct entry entries[ARRAY_SIZE(batch)];

	memset(entries, 0x5a, sizeof(entries));
	if (open_sized(&j, p, JOURNAL_SHARED, 2, 40000, NULL) < 0)
		_exit(1);
	for (uint64_t number = told->appended[writer];;) {
		size_t n = 1 + rand_u64() % ARRAY_SIZE(batch);

		for (size_t i = 0; i < n; i++) {
			entries[i].writer = writer;
			entries[i].number = number++;
			batch[i] = (struct journal_record){
				.partition = (uint16_t)(entries[i].number % 2),
				.value = SLICE(&entries[i], 16 + rand_u64() % sizeof(entries[i].filler)),
			};
		}
		__atomic_store_n(&told->appended[writer], number, __ATOMIC_RELEASE);
		if (journal_append(j, batch, n) < 0 || journal_sync(j) < 0)
			_exit(2);
		__atomic_store_n(&told->synced[writer], number, __ATOMIC_RELEASE);
	}
}

static pid_t writer_start(const struct place *p, struct told *told, unsigned writer)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test itself is killed */
		write_until_killed(p, told, writer);
	}
	return pid;
}

struct seen {
	uint64_t next_offset[2];
	uint64_t next_number[WRITERS];
	uint64_t missing[WRITERS]; /* of what had been confirmed */
	uint64_t faults;
};

/* Numbers of a writer appear in order and once; one may be missing only if it was never confirmed. */
static void check_all(struct journal_reader *r, struct seen *seen, bool *confirmed[WRITERS], size_t cap)
{
	struct journal_record record;
	struct entry e;

	while (journal_reader_next(r, &record, 0) == 1) {
		if (record.offset != seen->next_offset[record.partition]++ || record.value.len < 16) {
			seen->faults++;
			continue;
		}
		memcpy(&e, record.value.data, 16);
		if (e.writer >= WRITERS || e.number >= cap || e.number % 2 != record.partition ||
		    e.number < seen->next_number[e.writer]) {
			seen->faults++;
			continue;
		}
		for (uint64_t n = seen->next_number[e.writer]; n < e.number; n++)
			seen->missing[e.writer] += confirmed[e.writer][n];
		seen->next_number[e.writer] = e.number + 1;
	}
}

static void synced_records_survive_hundreds_of_kills(void)
{
	const size_t cap = 1 << 22;
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CLEANUP_FREE bool *confirmed_0 = calloc(cap, 1);
	CLEANUP_FREE bool *confirmed_1 = calloc(cap, 1);
	bool *confirmed[WRITERS] = { confirmed_0, confirmed_1 };
	uint64_t counted[WRITERS] = { 0 };
	struct seen seen = { 0 };
	pid_t pids[WRITERS];
	int kills = 0;
	const int64_t until_ns = clock_mono_ns() + 6 * NS_PER_S;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_SHARED, 2, 0, NULL));
	journal_close(STEAL(j));
	for (unsigned w = 0; w < WRITERS; w++)
		pids[w] = writer_start(&p, told, w);
	for (; kills < 400 && clock_mono_ns() < until_ns; kills++) {
		unsigned w = rand_u64() % WRITERS;
		/* The random moment. */
		const struct timespec pause = { .tv_nsec = (long)(rand_u64() % (12 * NS_PER_MS)) };
		int status;

		nanosleep(&pause, NULL);
		kill(pids[w], SIGKILL);
		waitpid(pids[w], &status, 0);
		CU_ASSERT_TRUE_FATAL(WIFSIGNALED(status));
		for (; counted[w] < told->synced[w] && counted[w] < cap; counted[w]++)
			confirmed[w][counted[w]] = true;
		counted[w] = told->appended[w]; /* what was never confirmed may be there or not */
		pids[w] = writer_start(&p, told, w);
	}
	for (unsigned w = 0; w < WRITERS; w++) {
		kill(pids[w], SIGKILL);
		waitpid(pids[w], NULL, 0);
		for (; counted[w] < told->synced[w] && counted[w] < cap; counted[w]++)
			confirmed[w][counted[w]] = true;
	}
	ASSERT_OK(open_sized(&j, &p, JOURNAL_SHARED, 0, 0, NULL));
	ASSERT_OK(journal_reader_open(&r, p.dir));
	check_all(r, &seen, confirmed, cap);
	CU_ASSERT_EQUAL(seen.faults, 0);
	CU_ASSERT_EQUAL(journal_reader_damaged(r), 0);
	CU_ASSERT_TRUE(kills > 5); /* hundreds on a quiet machine */
	for (unsigned w = 0; w < WRITERS; w++) {
		CU_ASSERT_EQUAL(seen.missing[w], 0);
		CU_ASSERT_TRUE(seen.next_number[w] >= told->synced[w]);
		CU_ASSERT_TRUE(told->synced[w] > 0);
	}
	munmap(told, sizeof(*told));
}

/* Reads with all its might while another process writes: only what the writer was about to have confirmed. */
static void a_reader_in_another_process_sees_only_what_is_durable(void)
{
	PLACE(p);
	JOURNAL j = NULL;
	READER r = NULL;
	struct journal_record record;
	uint64_t *appended = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int n = 0, status;

	ASSERT_OK(open_sized(&j, &p, JOURNAL_SHARED, 1, 0, NULL));

	pid_t pid = fork();

	if (pid == 0) {
		int seen = 0;

		if (journal_reader_open(&r, p.dir) < 0)
			_exit(1);
		while (seen < 300) {
			if (journal_reader_next(r, &record, clock_mono_ns() + 20 * NS_PER_S) != 1)
				_exit(2);
			/* sync had been called for it: the number was raised just before */
			if (record.offset >= __atomic_load_n(appended, __ATOMIC_ACQUIRE))
				_exit(3);
			seen++;
		}
		_exit(0);
	}
	for (; n < 300; n += 3) {
		for (int i = 0; i < 3; i++)
			ASSERT_OK(append_text(j, 0, "x", NULL));
		__atomic_store_n(appended, (uint64_t)n + 3, __ATOMIC_RELEASE);
		ASSERT_OK(journal_sync(j));
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_TRUE(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
	munmap(appended, 4096);
}

TESTS("journal", T(what_is_appended_is_read), T(a_large_batch_is_one_append), T(segments_follow_each_other),
      T(a_seek_goes_forward_and_back), T(a_look_at_the_end_hides_nothing), T(a_journal_may_have_4096_partitions),
      T(an_open_says_what_does_not_fit), T(an_exclusive_writer_is_the_only_one), T(shared_writers_take_turns),
      T(the_durable_end_never_moves_back),
      T(a_torn_tail_is_cut_at_every_byte), T(a_flipped_bit_costs_one_record),
      T(offsets_behind_damage_are_not_given_twice), T(a_lost_end_does_not_stop_the_start),
      T(a_header_may_lose_a_copy_and_a_segment_its_header), T(what_looks_like_a_frame_is_none),
      T(a_full_disk_appends_nothing), T(a_full_disk_at_a_new_segment_is_survived),
      T(offsets_survive_trimming_everything), T(a_reader_survives_a_trim_under_its_feet),
      T(one_thread_appends_while_another_syncs), T(a_waiting_reader_is_woken),
      T(synced_records_survive_hundreds_of_kills), T(a_reader_in_another_process_sees_only_what_is_durable))
