/* Whatever the bytes of a segment, the durable end and their combination: reading and opening end, nothing is read out
 * of bounds, offsets of a partition only grow, and a journal that can be opened takes a record and gives it back.
 *
 * The first byte: bits 0-1 how the rest becomes the segment; bit 2 whether a second segment follows; bit 3 whether a
 * reader reads it (closing its inotify instance takes 5 ms, so that most inputs go to the scanner and the writer
 * alone); the second byte moves the durable end.  Ways: raw file; behind a good header; behind a good header as a list
 * of {u8 what, u8 length, bytes} of which `what` decides whether it becomes a good frame or stays as it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/macros.h"
#include "journal/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTITIONS 3

static char dir[64];
static int dir_fd = -1;
static volatile uint8_t touched;
static struct journal_id id = { .generation = 1, .uuid = "fuzz" };
static const uint64_t next_offsets[PARTITIONS] = { 5, 0, 1 };

static void remove_dir(void)
{
	static const char *const names[] = { "lock", "end", "damaged" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlinkat(dir_fd, names[i], 0);
	rmdir(dir);
}

static void prepare(void)
{
	if (dir_fd >= 0)
		return;
	snprintf(dir, sizeof(dir), "/dev/shm/fuzz-journal-XXXXXX");
	must(mkdtemp(dir) != NULL);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	must(dir_fd >= 0);
	/* A file where the copies of damage would go: they are best effort, and would only slow this down. */
	close(openat(dir_fd, "damaged", O_WRONLY | O_CREAT, 0644));
	atexit(remove_dir);
}

static void put(int fd, const void *bytes, size_t n)
{
	must(write(fd, bytes, n) == (ssize_t)n);
}

static void put_frame(int fd, struct salt salt, uint8_t what, const uint8_t *bytes, size_t n)
{
	uint8_t raw[sizeof(struct frame) + 255];
	struct frame f = {
		.magic = salt.magic,
		.len = (uint32_t)n,
		.partition = what & 0x40 ? PARTITION_CONTROL : what % PARTITIONS,
		.kind = CONTROL_SEAL,
		.offset = what >> 3,
		.headers_len = (uint32_t)(n ? what % n : 0),
	};

	memcpy(raw, &f, sizeof(f));
	memcpy(raw + sizeof(f), bytes, n);
	f.crc32c = hash_crc32c(salt.seed, raw + FRAME_CHECKED, sizeof(f) + n - FRAME_CHECKED);
	memcpy(raw, &f, sizeof(f));
	put(fd, raw, sizeof(f) + n);
}

static uint64_t write_segment(const uint8_t *data, size_t size, unsigned way)
{
	int fd = segment_create(dir_fd, 1, &id, PARTITIONS, next_offsets);

	must(fd >= 0);
	if (way == 0) {
		must(ftruncate(fd, 0) == 0);
		lseek(fd, 0, SEEK_SET);
	}
	if (way <= 1)
		put(fd, data, size);
	while (way > 1 && size >= 2) {
		size_t n = MIN((size_t)data[1], size - 2);

		if (data[0] & 0x80)
			put(fd, data + 2, n);
		else
			put_frame(fd, salt_of(&id, 1), data[0], data + 2, n);
		data += 2 + n;
		size -= 2 + n;
	}

	off_t end = lseek(fd, 0, SEEK_END);

	close(fd);
	return (uint64_t)end;
}

/* Each result moves on, and what is a record lies in the file. */
static void scan_all(uint64_t bytes)
{
	CLEANUP_CLOSE int fd = segment_open(dir_fd, 1, O_RDONLY);
	CLEANUP(scan_done) struct scan scan = { 0 };
	struct journal_record record;
	uint64_t before = 0;
	int r;

	scan_begin(&scan, fd, salt_of(&id, 1), PARTITIONS, 0, bytes);
	while ((r = scan_next(&scan, &record)) != SCAN_END) {
		must(r > 0 && scan.at > before && scan.at <= bytes);
		must(r != SCAN_DAMAGE || scan.damage_from == before);
		before = scan.at;
		for (size_t i = 0; r == SCAN_RECORD && i < record.value.len; i++)
			touched ^= ((const uint8_t *)record.value.data)[i];
	}
}

static uint64_t read_all(void)
{
	struct journal_reader *r;
	struct journal_record record;
	uint64_t next[JOURNAL_PARTITIONS_MAX] = { 0 }, n = 0;

	if (journal_reader_open(&r, dir) < 0)
		return 0;
	for (; journal_reader_next(r, &record, 0) == 1; n++) {
		must(record.partition < journal_reader_partitions(r));
		must(record.offset >= next[record.partition]);
		next[record.partition] = record.offset + 1;
		for (size_t i = 0; i < record.value.len; i++)
			touched ^= ((const uint8_t *)record.value.data)[i];
	}
	for (uint16_t p = 0; p < journal_reader_partitions(r); p++) {
		uint64_t first, end;

		if (journal_reader_range(r, p, &first, &end) == 0)
			must(first <= end && next[p] <= end);
	}
	journal_reader_close(r);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct journal_options options = { .mode = JOURNAL_EXCLUSIVE };
	struct journal_record record = { .value = SLICE("written after", 13) };
	struct journal *j;

	if (size < 2 || size > 1 << 16)
		return 0;
	prepare();

	uint64_t bytes = write_segment(data + 2, size - 2, data[0] & 3);
	CLEANUP_CLOSE int end_fd = openat(dir_fd, "end", O_RDWR | O_CREAT, 0644);

	if (data[0] & 4)
		close(segment_create(dir_fd, 2, &id, PARTITIONS, next_offsets));
	must(end_write(end_fd, (struct position){ .segment = 1, .at = bytes > data[1] ? bytes - data[1] : bytes }) ==
	     0);
	scan_all(bytes);
	if (data[0] & 8)
		read_all();
	if (journal_open(&j, dir, &options, NULL) == 0) {
		must(journal_append(j, &record, 1) == 0 && journal_sync(j) == 0);

		const uint64_t next = journal_end(j, 0);

		must(record.offset + 1 == next);
		journal_close(j);
		must(!(data[0] & 8) || read_all() > 0);
		must(journal_open(&j, dir, &options, NULL) == 0);
		must(journal_end(j, 0) == next);
		journal_close(j);
	}
	for (uint64_t s = 1; s < 5; s++) {
		char name[SEGMENT_NAME_LEN];

		segment_name(s, name);
		unlinkat(dir_fd, name, 0);
	}
	return 0;
}
