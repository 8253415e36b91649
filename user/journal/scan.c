/* Walks the frames of one segment and finds the way again behind damage.
 *
 * At `at` there is either a good frame (right magic, a length that fits below the limit, right checksum) or damage.
 * Damage ends at the next position at which there is a good frame: the search looks for the segment's magic byte by
 * byte, which a stranger's bytes do not contain but by chance (2^-32 a byte), so that it costs one memmem() a byte.
 *
 * The buffer holds a window of the file; no byte at or beyond the limit is read, because what is there may still
 * change.  Cost: one pread() a window of 1 MiB, one checksum a record.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "journal/format.h"

#define UNREADABLE 4096u /* bytes that are given up at once where the disk gives none */

#define WINDOW_BYTES (1u << 20)

void scan_begin(struct scan *s, int fd, struct salt salt, uint32_t partitions, uint64_t at, uint64_t limit)
{
	s->fd = fd;
	s->salt = salt;
	s->partitions = partitions;
	s->at = at;
	s->limit = limit;
	s->have = 0;
	s->base = at;
}

void scan_done(struct scan *s)
{
	free(s->buf);
	*s = (struct scan){ 0 };
}

static int window_grow(struct scan *s, size_t n)
{
	size_t cap = MAX(n, (size_t)WINDOW_BYTES);

	if (s->cap >= cap)
		return 0;

	uint8_t *buf = malloc(cap);

	if (!buf)
		return -ENOMEM;
	free(s->buf);
	s->buf = buf;
	s->cap = cap;
	return 0;
}

/* [at, at + n) in memory, or NULL with *ret_error: -ENODATA when the file ends before. */
static const uint8_t *window(struct scan *s, uint64_t at, size_t n, int *ret_error)
{
	if (likely(at >= s->base && at + n <= s->base + s->have))
		return s->buf + (at - s->base);

	int r = window_grow(s, n);

	s->base = at;
	s->have = 0;
	if (r < 0) {
		*ret_error = r;
		return NULL;
	}

	const size_t wanted = MIN((uint64_t)s->cap, s->limit - at);

	while (s->have < wanted) {
		ssize_t got = pread(s->fd, s->buf + s->have, wanted - s->have, (off_t)(at + s->have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EIO) { /* a bad sector is damage: what it held fails its checksum */
			got = (ssize_t)MIN(wanted - s->have, UNREADABLE - (at + s->have) % UNREADABLE);
			memset(s->buf + s->have, 0, (size_t)got);
		}
		if (got < 0) {
			*ret_error = -errno;
			return NULL;
		}
		if (got == 0)
			break;
		s->have += (size_t)got;
	}
	if (s->have < n) {
		*ret_error = -ENODATA;
		return NULL;
	}
	return s->buf;
}

/* 1 when there is a good frame at `at`, 0 when not, negative errno. */
static int frame_at(struct scan *s, uint64_t at, struct journal_record *ret, uint64_t *ret_end)
{
	int r = 0;
	struct frame f;

	if (s->limit - at < sizeof(f))
		return 0;

	const uint8_t *bytes = window(s, at, sizeof(f), &r);

	if (!bytes)
		return r == -ENODATA ? 0 : r;
	memcpy(&f, bytes, sizeof(f));
	if (f.magic != s->salt.magic || f.len > JOURNAL_RECORD_MAX || f.headers_len > f.len ||
	    f.len > s->limit - at - sizeof(f) || (f.partition >= s->partitions && f.partition != PARTITION_CONTROL))
		return 0;
	bytes = window(s, at, sizeof(f) + f.len, &r);
	if (!bytes)
		return r == -ENODATA ? 0 : r;
	if (hash_crc32c(s->salt.seed, bytes + FRAME_CHECKED, sizeof(f) + f.len - FRAME_CHECKED) != f.crc32c)
		return 0;
	*ret = (struct journal_record){
		.partition = f.partition,
		.kind = f.kind,
		.offset = f.offset,
		.headers = SLICE(bytes + sizeof(f), f.headers_len),
		.value = SLICE(bytes + sizeof(f) + f.headers_len, f.len - f.headers_len),
	};
	*ret_end = at + sizeof(f) + f.len;
	return 1;
}

/* The next place from `at` on that begins with the magic; limit when there is none. */
static int magic_after(struct scan *s, uint64_t at, uint64_t *ret)
{
	const size_t n = sizeof(s->salt.magic);

	while (s->limit - at >= n) {
		int r = 0;
		const uint8_t *bytes = window(s, at, n, &r);

		if (!bytes && r != -ENODATA)
			return r;
		if (!bytes)
			break;

		const size_t have = s->base + s->have - at;
		const uint8_t *found = memmem(bytes, have, &s->salt.magic, n);

		if (found) {
			*ret = at + (uint64_t)(found - bytes);
			return 0;
		}
		at += have - (n - 1);
	}
	*ret = s->limit;
	return 0;
}

static int resync(struct scan *s)
{
	struct journal_record record;
	uint64_t at = s->at, end;

	s->damage_from = at;
	do {
		int r = magic_after(s, at + 1, &at);

		if (r == 0 && at < s->limit)
			r = frame_at(s, at, &record, &end);
		if (r < 0)
			return r;
		if (r == 1)
			break;
	} while (at < s->limit);
	s->at = at;
	return SCAN_DAMAGE;
}

int scan_next(struct scan *s, struct journal_record *ret)
{
	uint64_t end;

	if (s->at >= s->limit)
		return SCAN_END;

	int r = frame_at(s, s->at, ret, &end);

	if (r < 0)
		return r;
	if (r == 0)
		return resync(s);
	s->at = end;
	return SCAN_RECORD;
}
