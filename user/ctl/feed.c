#include "ctl/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/stop.h"

#define LOOK_NS (200 * NS_PER_MS) /* inotify does not tell of another file in its place, nor does it work everywhere */

struct feed {
	const char *path; /* NULL: stdin */
	int fd, inotify;  /* inotify: -1 where there is none */
	bool follow, regular;
	int64_t at;
};

static void watch(struct feed *f)
{
	if (f->inotify >= 0)
		close(f->inotify);
	f->inotify = f->follow && f->regular && f->path ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;
	if (f->inotify >= 0)
		(void)inotify_add_watch(f->inotify, f->path, IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB);
}

int feed_open(struct feed **ret, const char *path, bool follow)
{
	struct feed *f = calloc(1, sizeof(*f));
	struct stat st;

	if (!f)
		return -ENOMEM;
	*f = (struct feed){ .path = path && strcmp(path, "-") ? path : NULL, .inotify = -1, .follow = follow };
	f->fd = f->path ? open(f->path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (f->fd < 0 || fstat(f->fd, &st) < 0) {
		int r = -errno;

		feed_free(f);
		return r;
	}
	f->regular = S_ISREG(st.st_mode);
	watch(f);
	*ret = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	if (f->fd > STDIN_FILENO)
		close(f->fd);
	if (f->inotify >= 0)
		close(f->inotify);
	free(f);
}

/* Cut short, or replaced: from the beginning. */
static int look_for_new_file(struct feed *f)
{
	struct stat here, there;

	if (fstat(f->fd, &here) < 0)
		return -errno;
	if (here.st_size < f->at) {
		if (lseek(f->fd, 0, SEEK_SET) < 0)
			return -errno;
		f->at = 0;
		return FEED_NEW_FILE;
	}
	if (!f->path || stat(f->path, &there) < 0 || (here.st_ino == there.st_ino && here.st_dev == there.st_dev))
		return FEED_NOTHING;
	if (here.st_size > f->at) /* the last words of the old one */
		return FEED_NOTHING;

	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? FEED_NOTHING : -errno;
	close(f->fd);
	f->fd = fd;
	f->at = 0;
	watch(f);
	return FEED_NEW_FILE;
}

/* Whether it makes sense to look again before the deadline. */
static void wait_for(const struct feed *f, int64_t deadline_ns)
{
	struct pollfd fds[] = {
		{ .fd = stop_fd(), .events = POLLIN },
		{ .fd = f->regular ? f->inotify : f->fd, .events = POLLIN },
	};

	if (f->regular)
		deadline_ns = MIN(deadline_ns, clock_mono_ns() + LOOK_NS);
	(void)poll(fds, ARRAY_SIZE(fds), clock_poll_ms(deadline_ns));
	if (f->regular && fds[1].revents) {
		char events[4096];

		while (read(f->inotify, events, sizeof(events)) > 0)
			;
	}
}

static int read_once(struct feed *f, void *to, size_t room)
{
	ssize_t n = read(f->fd, to, MIN(room, (size_t)INT_MAX));

	if (n < 0)
		return -errno;
	f->at += n;
	return (int)n;
}

static int read_growing(struct feed *f, void *to, size_t room, int64_t deadline_ns)
{
	for (;;) {
		int r = read_once(f, to, room);

		if (r == 0)
			r = look_for_new_file(f);
		if (r != 0 || stop_requested() || clock_mono_ns() >= deadline_ns)
			return r;
		wait_for(f, deadline_ns);
	}
}

int feed_read(struct feed *f, void *to, size_t room, int64_t deadline_ns)
{
	if (f->follow && f->regular)
		return read_growing(f, to, room, deadline_ns);
	if (f->follow) {
		struct pollfd ready = { .fd = f->fd, .events = POLLIN };

		if (poll(&ready, 1, 0) == 0)
			wait_for(f, deadline_ns);
		if (stop_requested() || poll(&ready, 1, 0) == 0)
			return FEED_NOTHING;
	}

	int r = read_once(f, to, room);

	return r == 0 ? -ENODATA : r;
}
