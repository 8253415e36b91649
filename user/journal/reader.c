/* Reading beside the writers: never beyond the durable end, in log order, waiting by inotify.
 *
 * The cursor is {segment, position}.  In the segment that DIR/end names, the scan's limit is that position; a segment
 * before it is whole, and its limit is the file's size.  next() reads DIR/end again only when the limit is reached.
 *
 * Two cursors: one hands out records; the other, made when journal_reader_range() is first asked, only counts up to
 * the durable end, because no file says the next offsets there.
 */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/format.h"

#define POLL_INTERVAL_MS 100

struct cursor {
	uint64_t segment;
	int fd;
	bool whole;     /* the limit is the end of the segment */
	struct scan scan;
	uint64_t *next; /* per partition: behind the last record that the cursor has passed */
};

struct journal_reader {
	int dir_fd, end_fd, notify_fd;
	struct segment_meta meta;
	struct position end;
	uint64_t *want;
	struct cursor at;
	struct cursor tail; /* of range(); fd < 0 until asked */
	uint64_t *first;
	uint64_t first_segment; /* of which first[] is; 0 = not read yet */
	uint64_t damaged;
};

/* ------------------------------------------------------------------ the durable end */

/* Whether it has moved.  A torn or older one is as good as none. */
static bool end_refresh(struct journal_reader *r)
{
	struct position end;

	if (end_read(r->end_fd, &end) < 0 || !position_before(r->end, end))
		return false;
	r->end = end;
	return true;
}

static void notify_drain(const struct journal_reader *r)
{
	_Alignas(struct inotify_event) char events[4096];

	while (read(r->notify_fd, events, sizeof(events)) > 0)
		;
}

/* inotify; where its instances have run out, a timer of the same interval as the poll. */
static int notify_open(const char *dir)
{
	char path[PATH_MAX];
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (snprintf(path, sizeof(path), "%s/end", dir) >= (int)sizeof(path)) {
		cleanup_close(&fd);
		return -ENAMETOOLONG;
	}
	if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY) >= 0)
		return fd;
	cleanup_close(&fd);
	if (errno == ENOENT)
		return -ENOENT;

	const struct timespec interval = { .tv_nsec = POLL_INTERVAL_MS * NS_PER_MS };
	const struct itimerspec timer = { .it_interval = interval, .it_value = interval };

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd >= 0 && timerfd_settime(fd, 0, &timer, NULL) == 0)
		return fd;

	int error = -errno;

	cleanup_close(&fd);
	return error;
}

/* ------------------------------------------------------------------ cursor */

static void cursor_done(struct cursor *c)
{
	cleanup_close(&c->fd);
	scan_done(&c->scan);
	free(c->next);
}

/* How far the segment may be read. */
static int cursor_limit(struct journal_reader *r, struct cursor *c)
{
	const uint64_t frames_at = segment_frames_at(r->meta.partitions);
	struct stat st;

	c->whole = c->segment < r->end.segment;
	if (c->whole) {
		if (fstat(c->fd, &st) < 0)
			return -errno;
		c->scan.limit = MAX((uint64_t)st.st_size, frames_at);
	} else {
		c->scan.limit = c->segment == r->end.segment ? MAX(r->end.at, frames_at) : frames_at;
	}
	return 0;
}

/* To the beginning of this segment, or when it was trimmed meanwhile, of the first one that is kept. */
static int cursor_enter(struct journal_reader *r, struct cursor *c, uint64_t sequence)
{
	int fd = segment_open(r->dir_fd, sequence, O_RDONLY);

	while (fd == -ENOENT) {
		CLEANUP_FREE uint64_t *list = NULL;
		size_t n = 0, i = 0;
		int error = segment_list(r->dir_fd, &list, &n);

		if (error < 0)
			return error;
		while (i < n && list[i] < sequence)
			i++;
		if (i == n)
			return -ENOENT;
		sequence = list[i];
		fd = segment_open(r->dir_fd, sequence, O_RDONLY);
	}
	if (fd < 0)
		return fd;
	cleanup_close(&c->fd);
	c->fd = fd;
	c->segment = sequence;
	scan_begin(&c->scan, fd, salt_of(&r->meta.id, sequence), r->meta.partitions,
		   segment_frames_at(r->meta.partitions), 0);

	int error = segment_read_next(r->dir_fd, sequence, &r->meta, c->next);

	/* Without a header the frames are still good: their offsets say where they belong. */
	return error < 0 && error != -EBADMSG && error != -ENOENT ? error : cursor_limit(r, c);
}

/* The next durable record: 1, 0 at the durable end, negative errno. */
static int cursor_step(struct journal_reader *r, struct cursor *c, struct journal_record *ret, uint64_t *damaged)
{
	for (;;) {
		int result = scan_next(&c->scan, ret);

		if (result < 0)
			return result;
		if (result == SCAN_DAMAGE) {
			(*damaged)++;
			damaged_keep(r->dir_fd, c->fd, c->segment, c->scan.damage_from, c->scan.at);
		} else if (result == SCAN_RECORD) {
			if (ret->partition == PARTITION_CONTROL)
				continue;
			if (ret->offset < c->next[ret->partition]) {
				(*damaged)++;
				continue;
			}
			c->next[ret->partition] = ret->offset + 1;
			return 1;
		} else {
			/* Only once the limit was taken as whole is the segment over.  The durable end may have moved
			 * since the limit was taken, whoever looked at it. */
			const uint64_t limit = c->scan.limit;
			const bool whole = c->whole;
			int error = whole ? cursor_enter(r, c, c->segment + 1) : cursor_limit(r, c);

			if (error < 0)
				return error;
			if (!whole && !c->whole && c->scan.limit == limit)
				return 0;
		}
	}
}

/* ------------------------------------------------------------------ open */

static int identify(struct journal_reader *r)
{
	CLEANUP_FREE uint64_t *list = NULL;
	size_t n = 0;
	int error = segment_list(r->dir_fd, &list, &n);

	if (error < 0)
		return error;
	error = -EBADMSG;
	for (size_t i = 0; i < n && (error == -EBADMSG || error == -ENOENT); i++) {
		CLEANUP_CLOSE int fd = segment_open(r->dir_fd, list[i], O_RDONLY);

		error = fd < 0 ? fd : segment_read_header(fd, list[i], &r->meta, NULL);
	}
	if (error < 0)
		return error == -EBADMSG ? -EINVAL : error;

	const size_t partitions = r->meta.partitions;

	r->want = calloc(partitions, sizeof(*r->want));
	r->first = calloc(partitions, sizeof(*r->first));
	r->at.next = calloc(partitions, sizeof(*r->at.next));
	r->tail.next = calloc(partitions, sizeof(*r->tail.next));
	if (!r->want || !r->first || !r->at.next || !r->tail.next)
		return -ENOMEM;
	end_refresh(r);
	return cursor_enter(r, &r->at, list[0]);
}

int journal_reader_open(struct journal_reader **ret, const char *dir)
{
	struct journal_reader *r = calloc(1, sizeof(*r));
	int error = 0;

	if (!r)
		return -ENOMEM;
	r->end_fd = r->notify_fd = r->at.fd = r->tail.fd = -1;
	r->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd < 0)
		error = -errno;
	if (error == 0) {
		r->end_fd = openat(r->dir_fd, "end", O_RDONLY | O_CLOEXEC);
		error = r->end_fd < 0 ? -errno : 0;
	}
	if (error == 0) {
		r->notify_fd = notify_open(dir);
		error = MIN(r->notify_fd, 0);
	}
	if (error == 0)
		error = identify(r);
	if (error < 0) {
		journal_reader_close(r);
		return error;
	}
	*ret = r;
	return 0;
}

void journal_reader_close(struct journal_reader *r)
{
	if (!r)
		return;
	cursor_done(&r->at);
	cursor_done(&r->tail);
	cleanup_close(&r->notify_fd);
	cleanup_close(&r->end_fd);
	cleanup_close(&r->dir_fd);
	free(r->want);
	free(r->first);
	free(r);
}

struct journal_id journal_reader_identity(const struct journal_reader *r)
{
	return r->meta.id;
}

uint32_t journal_reader_partitions(const struct journal_reader *r)
{
	return r->meta.partitions;
}

uint64_t journal_reader_damaged(const struct journal_reader *r)
{
	return r->damaged;
}

int journal_reader_fd(const struct journal_reader *r)
{
	return r->notify_fd;
}

/* ------------------------------------------------------------------ seek */

/* Nothing that is wanted lies before these next offsets. */
static bool wants_nothing_before(const struct journal_reader *r, const uint64_t *next)
{
	for (uint32_t p = 0; p < r->meta.partitions; p++)
		if (next[p] > r->want[p])
			return false;
	return true;
}

/* The newest segment before which nothing is wanted; the oldest when something is missing. */
static int segment_wanted(struct journal_reader *r, uint64_t *ret)
{
	CLEANUP_FREE uint64_t *list = NULL, *next = malloc(r->meta.partitions * sizeof(*next));
	size_t n = 0;
	int error = next ? segment_list(r->dir_fd, &list, &n) : -ENOMEM;

	if (error < 0)
		return error;
	while (n > 1 && list[n - 1] > r->end.segment)
		n--;

	/* next grows with the segment: binary search for the last one that holds.  An unreadable header counts as one
	 * that does not, which only makes the scan longer. */
	size_t lo = 0, hi = n;

	while (hi - lo > 1) {
		size_t middle = lo + (hi - lo) / 2;

		error = segment_read_next(r->dir_fd, list[middle], &r->meta, next);
		if (error < 0 && error != -EBADMSG && error != -ENOENT)
			return error;
		if (error == 0 && wants_nothing_before(r, next))
			lo = middle;
		else
			hi = middle;
	}
	*ret = list[lo];
	return 0;
}

int journal_reader_seek(struct journal_reader *r, const uint64_t *from)
{
	uint64_t segment;

	memcpy(r->want, from, r->meta.partitions * sizeof(*from));
	end_refresh(r);

	int error = segment_wanted(r, &segment);

	if (error < 0)
		return error;
	if (segment <= r->at.segment && wants_nothing_before(r, r->at.next))
		return 0; /* it lies ahead in this segment */
	memset(r->at.next, 0, r->meta.partitions * sizeof(*r->at.next));
	return cursor_enter(r, &r->at, segment);
}

/* ------------------------------------------------------------------ next */

static void wait_for_end(struct journal_reader *r, int64_t deadline_ns)
{
	struct pollfd poll_fd = { .fd = r->notify_fd, .events = POLLIN };
	int ms = clock_poll_ms(deadline_ns);

	(void)poll(&poll_fd, 1, ms < 0 ? POLL_INTERVAL_MS : MIN(ms, POLL_INTERVAL_MS));
}

int journal_reader_next(struct journal_reader *r, struct journal_record *ret, int64_t deadline_ns)
{
	for (;;) {
		int result = cursor_step(r, &r->at, ret, &r->damaged);

		if (result < 0)
			return result;
		if (result == 1) {
			if (ret->offset >= r->want[ret->partition])
				return 1;
			continue;
		}
		notify_drain(r); /* before looking, so that what comes after it wakes us */
		if (end_refresh(r))
			continue;
		if (deadline_ns != CLOCK_FOREVER && clock_mono_ns() >= deadline_ns)
			return 0;
		wait_for_end(r, deadline_ns);
	}
}

/* ------------------------------------------------------------------ range */

static int first_refresh(struct journal_reader *r)
{
	CLEANUP_FREE uint64_t *list = NULL;
	char name[SEGMENT_NAME_LEN];
	size_t n = 0;

	segment_name(r->first_segment, name);
	if (r->first_segment != 0 && faccessat(r->dir_fd, name, F_OK, 0) == 0)
		return 0;

	int error = segment_list(r->dir_fd, &list, &n);

	if (error < 0)
		return error;
	error = -EBADMSG;
	for (size_t i = 0; i < n && (error == -EBADMSG || error == -ENOENT); i++)
		error = segment_read_next(r->dir_fd, list[i], &r->meta, r->first);
	if (error == 0)
		r->first_segment = list[0];
	return error;
}

/* Brings the counting cursor to the durable end, over as few segments as their headers allow. */
static int tail_advance(struct journal_reader *r)
{
	struct journal_record record;
	uint64_t ignored = 0;
	int result;

	end_refresh(r);
	if (r->tail.fd < 0 || r->tail.segment < r->end.segment) {
		uint64_t segment = r->end.segment;
		int error;

		/* Backwards to a readable header; not below what was counted already. */
		do
			error = segment_read_next(r->dir_fd, segment, &r->meta, r->tail.next);
		while (error == -EBADMSG && segment-- > MAX(r->first_segment, r->tail.segment) + 1);
		if (error == 0)
			error = cursor_enter(r, &r->tail, segment);
		else if (error == -EBADMSG && r->tail.fd < 0)
			error = cursor_enter(r, &r->tail, r->first_segment);
		if (error < 0 && error != -EBADMSG)
			return error;
	}

	while ((result = cursor_step(r, &r->tail, &record, &ignored)) == 1)
		;
	return result;
}

int journal_reader_first(struct journal_reader *r, const uint64_t **ret)
{
	int error = first_refresh(r);

	if (error == 0)
		*ret = r->first;
	return error;
}

int journal_reader_range(struct journal_reader *r, uint16_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	if (partition >= r->meta.partitions)
		return -EINVAL;

	int error = first_refresh(r);

	if (error == 0)
		error = tail_advance(r);
	if (error < 0)
		return error;
	*ret_first = MIN(r->first[partition], r->tail.next[partition]);
	*ret_end = r->tail.next[partition];
	return 0;
}
