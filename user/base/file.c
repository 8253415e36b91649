#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE 65536

int file_read(const char *path, size_t most, struct buf *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t before = ret->len;

	if (fd < 0)
		return -errno;
	for (;;) {
		uint8_t *at = buf_extend(ret, PIECE);

		if (!at)
			return -ENOMEM;

		ssize_t n = read(fd, at, PIECE);

		ret->len -= PIECE - (size_t)MAX(n, 0);
		if (n == 0 || (n > 0 && ret->len - before > most))
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int write_whole(const char *path, struct slice content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), r = 0;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < content.len && r == 0;) {
		ssize_t n = write(fd, (const uint8_t *)content.data + at, content.len - at);

		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		unlink(path);
	return r;
}

int file_replace(const char *path, struct slice content)
{
	CLEANUP_FREE char *next = NULL;

	if (asprintf(&next, "%s.%d.next", path, (int)getpid()) < 0) {
		next = NULL;
		return -ENOMEM;
	}

	int r = write_whole(next, content);

	if (r == 0 && rename(next, path) < 0) {
		r = -errno;
		unlink(next);
	}
	return r;
}
