#include "gateway/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

#define DELIVERED_MAGIC 0x31444c53 /* "SLD1" */

void spool_reading_append(struct buf *b, const struct spool_reading *reading)
{
	buf_append_u64(b, (uint64_t)reading->arrival_ns);
	buf_append_u64(b, (uint64_t)reading->timestamp_ns);
	buf_append_u8(b, reading->flags);
	buf_append(b, reading->payload.data, reading->payload.len);
}

int spool_reading_read(struct spool_reading *ret, struct slice value)
{
	struct reader r = reader_of(value);

	ret->arrival_ns = (int64_t)reader_u64(&r);
	ret->timestamp_ns = (int64_t)reader_u64(&r);
	ret->flags = reader_u8(&r);
	ret->payload = SLICE(r.at, reader_left(&r));
	return r.failed ? -EBADMSG : 0;
}

/* { u32 magic, u32 crc32c of the rest, spool_id[16], u32 shards, u64 delivered[shards] } */
#define DELIVERED_HEAD (4 + 4 + 16 + 4)

int spool_delivered_load(const char *dir, const uint8_t spool_id[16], uint64_t *ret_delivered, uint32_t shards)
{
	char path[PATH_MAX];
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	size_t size = DELIVERED_HEAD + 8 * (size_t)shards;
	uint8_t *at = buf_extend(&b, size + 1);

	memset(ret_delivered, 0, 8 * (size_t)shards);
	if (!at)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/delivered", dir);

	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	/* A file that is torn or of another shape says nothing; publishing again is harmless. */
	if (read(fd, at, size + 1) != (ssize_t)size)
		return 0;

	struct reader r = reader_of(SLICE(at, size));
	uint32_t magic = reader_u32(&r), crc = reader_u32(&r);

	if (magic != DELIVERED_MAGIC || crc != hash_crc32c(0, r.at, reader_left(&r)) ||
	    memcmp(reader_bytes(&r, 16), spool_id, 16) != 0 || reader_u32(&r) != shards)
		return 0;
	for (uint32_t i = 0; i < shards; i++)
		ret_delivered[i] = reader_u64(&r);
	return 0;
}

int spool_delivered_save(const char *dir, const uint8_t spool_id[16], const uint64_t *delivered, uint32_t shards)
{
	char path[PATH_MAX], next[PATH_MAX + 8];
	CLEANUP(buf_done) struct buf rest = BUF_INIT, b = BUF_INIT;

	buf_append(&rest, spool_id, 16);
	buf_append_u32(&rest, shards);
	for (uint32_t i = 0; i < shards; i++)
		buf_append_u64(&rest, delivered[i]);
	buf_append_u32(&b, DELIVERED_MAGIC);
	buf_append_u32(&b, hash_crc32c(0, rest.data, rest.len));
	buf_append(&b, rest.data, rest.len);
	if (buf_error(&rest) < 0 || buf_error(&b) < 0)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/delivered", dir);
	snprintf(next, sizeof(next), "%s.next", path);

	CLEANUP_CLOSE int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	if (fd < 0)
		return -errno;
	if (write(fd, b.data, b.len) != (ssize_t)b.len)
		return -EIO;
	return rename(next, path) < 0 ? -errno : 0;
}
