#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "bpf/shared/siphash.h"
#include "journal/format.h"

#define TEMPORARY "new-segment.tmp"

struct salt salt_of(const struct journal_id *id, uint64_t sequence)
{
	struct siphash_key key;

	memcpy(&key, id->uuid, sizeof(key));

	uint64_t word = siphash_64(&key, (const uint8_t *)&sequence, sizeof(sequence));

	return (struct salt){ .magic = (uint32_t)word, .seed = (uint32_t)(word >> 32) };
}

void segment_name(uint64_t sequence, char ret[static SEGMENT_NAME_LEN])
{
	snprintf(ret, SEGMENT_NAME_LEN, "%020" PRIu64 ".log", sequence);
}

static size_t header_bytes(uint32_t partitions)
{
	return sizeof(struct segment_header) + partitions * sizeof(uint64_t);
}

uint64_t segment_frames_at(uint32_t partitions)
{
	return 2 * header_bytes(partitions);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool name_parse(const char *name, uint64_t *ret)
{
	char *end, again[SEGMENT_NAME_LEN];
	uint64_t sequence = strtoull(name, &end, 10);

	segment_name(sequence, again);
	if (strcmp(name, again) != 0)
		return false;
	*ret = sequence;
	return true;
}

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int segment_list(int dir_fd, uint64_t **ret, size_t *ret_n)
{
	CLEANUP_FREE uint64_t *list = NULL;
	size_t n = 0, cap = 0;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	CLEANUP(cleanup_closedir) DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		uint64_t sequence;

		if (!name_parse(entry->d_name, &sequence))
			continue;
		if (n == cap) {
			cap = MAX(cap * 2, (size_t)64);

			uint64_t *larger = reallocarray(list, cap, sizeof(*list));

			if (!larger)
				return -ENOMEM;
			list = larger;
		}
		list[n++] = sequence;
	}
	if (n == 0)
		return -ENOENT;
	qsort(list, n, sizeof(*list), compare_u64);
	*ret = STEAL(list);
	*ret_n = n;
	return 0;
}

static int write_all(int fd, const void *data, size_t n)
{
	for (const uint8_t *at = data; n > 0;) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -ENOSPC;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int write_header(int fd, uint64_t sequence, const struct journal_id *id, uint32_t partitions,
			const uint64_t *next)
{
	const size_t bytes = header_bytes(partitions), checked = offsetof(struct segment_header, sequence);
	CLEANUP_FREE uint8_t *raw = malloc(2 * bytes);
	struct segment_header header = {
		.version = FORMAT_VERSION, .sequence = sequence, .partitions = partitions, .generation = id->generation
	};

	if (!raw)
		return -ENOMEM;
	memcpy(header.magic, SEGMENT_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, id->uuid, sizeof(header.uuid));
	memcpy(raw, &header, sizeof(header));
	memcpy(raw + sizeof(header), next, partitions * sizeof(*next));
	header.crc32c = hash_crc32c(0, raw + checked, bytes - checked);
	memcpy(raw, &header, sizeof(header));
	memcpy(raw + bytes, raw, bytes);
	return write_all(fd, raw, 2 * bytes);
}

int segment_create(int dir_fd, uint64_t sequence, const struct journal_id *id, uint32_t partitions,
		   const uint64_t *next)
{
	char name[SEGMENT_NAME_LEN];
	int fd = openat(dir_fd, TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	segment_name(sequence, name);

	int r = write_header(fd, sequence, id, partitions, next);

	if (r == 0 && (fdatasync(fd) < 0 || renameat(dir_fd, TEMPORARY, dir_fd, name) < 0 || fsync(dir_fd) < 0))
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	unlinkat(dir_fd, TEMPORARY, 0);
	return r;
}

int segment_open(int dir_fd, uint64_t sequence, int flags)
{
	char name[SEGMENT_NAME_LEN];

	segment_name(sequence, name);

	int fd = openat(dir_fd, name, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* One copy of a header, all of it. */
static int read_copy(int fd, uint64_t sequence, uint64_t at, struct segment_meta *ret, uint64_t **ret_next)
{
	const size_t checked = offsetof(struct segment_header, sequence);
	struct segment_header header;

	if (pread(fd, &header, sizeof(header), (off_t)at) != (ssize_t)sizeof(header))
		return -EBADMSG;
	if (memcmp(header.magic, SEGMENT_MAGIC, sizeof(header.magic)) != 0 || header.version != FORMAT_VERSION ||
	    header.sequence != sequence || header.partitions == 0 || header.partitions > JOURNAL_PARTITIONS_MAX)
		return -EBADMSG;

	const size_t bytes = header.partitions * sizeof(uint64_t);
	CLEANUP_FREE uint64_t *next = malloc(bytes);

	if (!next)
		return -ENOMEM;
	if (pread(fd, next, bytes, (off_t)(at + sizeof(header))) != (ssize_t)bytes)
		return -EBADMSG;

	uint32_t crc = hash_crc32c(0, (const uint8_t *)&header + checked, sizeof(header) - checked);

	if (hash_crc32c(crc, next, bytes) != header.crc32c)
		return -EBADMSG;
	*ret = (struct segment_meta){ .partitions = header.partitions, .id.generation = header.generation };
	memcpy(ret->id.uuid, header.uuid, sizeof(header.uuid));
	if (ret_next)
		*ret_next = STEAL(next);
	return 0;
}

int segment_read_header(int fd, uint64_t sequence, struct segment_meta *ret, uint64_t **ret_next)
{
	int r = read_copy(fd, sequence, 0, ret, ret_next);

	if (r != -EBADMSG)
		return r;

	/* The second copy's place depends on the number of partitions, which the first may have lost: look at each. */
	const size_t most = header_bytes(JOURNAL_PARTITIONS_MAX) + sizeof(struct segment_header);
	CLEANUP_FREE uint8_t *raw = malloc(most);
	ssize_t n = raw ? pread(fd, raw, most, 0) : 0;

	if (!raw)
		return -ENOMEM;
	for (uint32_t partitions = 1; r == -EBADMSG && partitions <= JOURNAL_PARTITIONS_MAX; partitions++) {
		const size_t at = header_bytes(partitions);

		if (n < (ssize_t)(at + sizeof(struct segment_header)))
			break;
		if (memcmp(raw + at, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC) - 1) == 0)
			r = read_copy(fd, sequence, at, ret, ret_next);
	}
	return r;
}

int segment_read_next(int dir_fd, uint64_t sequence, const struct segment_meta *meta, uint64_t *ret_next)
{
	CLEANUP_CLOSE int fd = segment_open(dir_fd, sequence, O_RDONLY);
	CLEANUP_FREE uint64_t *next = NULL;
	struct segment_meta found;

	if (fd < 0)
		return fd;

	int r = segment_read_header(fd, sequence, &found, &next);

	if (r < 0)
		return r;
	if (found.partitions != meta->partitions || memcmp(found.id.uuid, meta->id.uuid, sizeof(found.id.uuid)) != 0)
		return -EBADMSG;
	memcpy(ret_next, next, meta->partitions * sizeof(*next));
	return 0;
}

struct end_file {
	struct position end;
	uint32_t crc32c;
	uint32_t zero;
};
_Static_assert(sizeof(struct end_file) == 24, "end file");

int end_read(int fd, struct position *ret)
{
	struct end_file e;

	if (pread(fd, &e, sizeof(e), 0) != (ssize_t)sizeof(e) || hash_crc32c(0, &e.end, sizeof(e.end)) != e.crc32c)
		return -EBADMSG;
	*ret = e.end;
	return 0;
}

int end_write(int fd, struct position end)
{
	struct end_file e = { .end = end, .crc32c = hash_crc32c(0, &end, sizeof(end)) };
	ssize_t n = pwrite(fd, &e, sizeof(e), 0);

	return n == (ssize_t)sizeof(e) ? 0 : n < 0 ? -errno : -ENOSPC;
}

static bool damaged_room(int dir_fd)
{
	int fd = openat(dir_fd, "damaged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;

	if (fd < 0)
		return false;

	CLEANUP(cleanup_closedir) DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return false;
	}
	while (readdir(dir))
		n++;
	return n < DAMAGED_FILES_MAX + 2; /* "." and ".." */
}

void damaged_keep(int dir_fd, int fd, uint64_t sequence, uint64_t from, uint64_t to)
{
	char name[96];
	uint8_t piece[16384];

	if (mkdirat(dir_fd, "damaged", 0755) < 0 && errno != EEXIST)
		return;
	if (!damaged_room(dir_fd))
		return;
	snprintf(name, sizeof(name), "damaged/%020" PRIu64 "-%" PRIu64, sequence, from);
	to = MIN(to, from + JOURNAL_RECORD_MAX);

	CLEANUP_CLOSE int out = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	while (out >= 0 && from < to) {
		ssize_t n = pread(fd, piece, MIN(sizeof(piece), to - from), (off_t)from);

		if (n <= 0 || write_all(out, piece, (size_t)n) < 0)
			break;
		from += (uint64_t)n;
	}
}
