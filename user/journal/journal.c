/* The journal's format, its writer, and why a crash at any moment loses nothing that was promised.
 *
 * FILES
 *
 *     DIR/00000000000000000001.log    segments, numbered from 1 without gaps; only the last one grows
 *     DIR/end                         the durable end: {u64 segment, u64 position, u32 crc32c, u32 0}
 *     DIR/lock                        empty; three of its bytes are locked (below)
 *     DIR/damaged/SEGMENT-POSITION    copies of bytes that were not a record where one should have been
 *
 * A segment begins with its header, twice (one flipped bit must not cost a segment):
 *
 *     "SLUICEJ1"  u32 version  u32 crc32c  u64 sequence  u32 partitions  u32 generation  uuid[16]
 *     u64 next[partitions]                         the offsets which the first records in this segment have
 *
 * and goes on with frames, without padding:
 *
 *     u32 magic  u32 len  u32 crc32c  u16 partition  u16 kind  u64 offset  u32 headers_len  headers  value
 *
 * len counts headers and value; the checksum covers everything behind itself (a wrong len makes it cover the wrong
 * bytes).  magic and the checksum's start value come from SipHash(uuid, sequence): bytes that a device chose, or that
 * belong to another segment, are no frame.  The last frame of every segment but the last seals it (partition 0xffff).
 * All partitions share one sequence of segments: 16 files cost 16 flushes, one file one.
 *
 * WRITING
 *
 * append: pwritev() at the tail, which is the end of the last good frame.  If it fails (ENOSPC), the file is cut back
 * to the tail: all or nothing.  sync: fdatasync(), then the tail *as it was before* goes to DIR/end.  A reader looks at
 * nothing beyond DIR/end, so that it never shows what a crash could take back.
 *
 * Several processes: an exclusive writer holds byte 0 of DIR/lock for writing, shared ones hold it for reading.  Each
 * append of a shared writer locks byte 1, and reads forward from the tail that it knew to the file's size: what
 * others wrote moves its tail and its offsets, a torn rest is cut, a seal leads to the next segment.  (O_APPEND without
 * a lock left torn frames in the middle in 156 of 800 kills.)  The flush is outside that lock: two processes may flush
 * at once, and DIR/end, under byte 2, only ever moves forward.  Locks are of the open file (OFD): the kernel drops them
 * when a process dies.
 *
 * A new segment: seal the old one, fdatasync() it, write the new header beside, fsync, rename, fsync the directory.
 * So every segment but the last is whole and durable, and whoever finds a sealed last segment (a crash in between)
 * goes on at the same step.
 *
 * RECOVERY
 *
 * Let E be DIR/end, and T the tail of the last segment.
 *  - What was confirmed lies below a position that was flushed: in the file whatever happens.  E may be older than
 *    what was confirmed (it is itself not flushed), never newer than what is durable.
 *  - A crash of the process can only leave a torn frame at the end of the last segment.  At a position from which on
 *    there is no good frame up to the end of the file, nothing was confirmed, if it is not below E: it is cut.
 *  - Everything else that is not a frame is damage by the disk: behind it there are good frames, or E says that there
 *    were some.  It is skipped, counted, and kept aside; the good frames stay.  The start goes on.
 *  - Offsets are never given twice: next offset = the header's, moved by the good frames.  Damage of n bytes may hide
 *    up to n / 28 + 1 records of any partition; one that has no good frame behind it continues that much higher.
 *    A gap is an alarm for those who count; an offset used twice would be silence.
 *  - If the last segment ends before E, bytes that were durable are gone: the same applies, and a new segment is begun,
 *    because E must not move back.  If E names a segment that is not there, the journal is refused: somebody has
 *    deleted its end, and no offset would be safe.
 *  - A trimmed journal keeps counting: the header of its only segment says where.
 *
 * COST (170-byte records, one core of the build machine): see tests/bench/bench_journal.c.
 */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/rand.h"
#include "journal/format.h"

#define COPY_MAX 2048 /* larger values go to the kernel from where they are */

enum { LOCK_LIFE, LOCK_APPEND, LOCK_END };

struct journal {
	int dir_fd, lock_fd, end_fd;
	bool shared;
	struct segment_meta meta;
	uint64_t segment_bytes;

	/* The appending thread's. */
	uint64_t *next;           /* written by it alone, read by journal_end() anywhere */
	uint64_t *undamaged_at;   /* per partition: damage_slack when its last good frame was met */
	uint64_t damage_slack;    /* offsets that damage may have hidden, so far */
	bool sealed;              /* the tail's segment has its last frame: the next append begins another */
	struct buf staging;
	struct iovec *parts;
	size_t parts_cap;
	struct scan scan;

	pthread_mutex_t file_lock; /* fd: held by sync while it flushes, by append only to change segments */
	int fd;
	pthread_mutex_t lock;      /* the three below; inside file_lock */
	struct position tail, synced;
	bool failed;

	pthread_mutex_t trim_lock; /* the two below */
	uint64_t *first;
	uint64_t closed_bytes;     /* of all segments but the last */
};

/* ------------------------------------------------------------------ locks between processes */

static int lock_byte(int fd, int byte, int type, bool wait)
{
	struct flock lock = { .l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	while (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return -EBUSY;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int append_lock(struct journal *j)
{
	return j->shared ? lock_byte(j->lock_fd, LOCK_APPEND, F_WRLCK, true) : 0;
}

static void append_unlock(struct journal *j)
{
	if (j->shared)
		lock_byte(j->lock_fd, LOCK_APPEND, F_UNLCK, true);
}

/* ------------------------------------------------------------------ state that threads share */

static struct position tail_get(struct journal *j)
{
	pthread_mutex_lock(&j->lock);

	struct position tail = j->tail;

	pthread_mutex_unlock(&j->lock);
	return tail;
}

static void tail_move(struct journal *j, uint64_t at)
{
	pthread_mutex_lock(&j->lock);
	j->tail.at = at;
	pthread_mutex_unlock(&j->lock);
}

static int fail(struct journal *j, int error)
{
	pthread_mutex_lock(&j->lock);
	j->failed = true;
	pthread_mutex_unlock(&j->lock);
	return error;
}

static bool has_failed(struct journal *j)
{
	pthread_mutex_lock(&j->lock);

	bool failed = j->failed;

	pthread_mutex_unlock(&j->lock);
	return failed;
}

static uint64_t next_get(const struct journal *j, uint32_t partition)
{
	return __atomic_load_n(&j->next[partition], __ATOMIC_RELAXED);
}

static void next_set(struct journal *j, uint32_t partition, uint64_t next)
{
	__atomic_store_n(&j->next[partition], next, __ATOMIC_RELAXED);
}

/* Takes fd; from now on it is the tail's segment. */
static void segment_enter(struct journal *j, uint64_t sequence, int fd, uint64_t at)
{
	pthread_mutex_lock(&j->file_lock);
	if (j->fd >= 0)
		close(j->fd);
	j->fd = fd;
	pthread_mutex_lock(&j->lock);
	j->tail = (struct position){ .segment = sequence, .at = at };
	pthread_mutex_unlock(&j->lock);
	pthread_mutex_unlock(&j->file_lock);
	j->sealed = false;
}

/* ------------------------------------------------------------------ reading the tail */

/* Damage of n bytes: see RECOVERY. */
static void damage_count(struct journal *j, uint64_t bytes, struct journal_recovery *recovery)
{
	j->damage_slack += bytes / sizeof(struct frame) + 1;
	recovery->damaged_records++;
}

static void offsets_skip_damage(struct journal *j)
{
	for (uint32_t p = 0; j->damage_slack && p < j->meta.partitions; p++) {
		next_set(j, p, next_get(j, p) + (j->damage_slack - j->undamaged_at[p]));
		j->undamaged_at[p] = j->damage_slack;
	}
}

/* No good frame in [from, size): torn, or damage of what was durable. */
static int tail_rest(struct journal *j, uint64_t sequence, uint64_t from, uint64_t size, bool last,
		     struct journal_recovery *recovery)
{
	struct position end = { 0 }, at = { .segment = sequence, .at = from };

	(void)end_read(j->end_fd, &end); /* torn: then nothing is known to be durable */
	if (last && !position_before(at, end)) {
		recovery->torn_bytes += size - from;
		return ftruncate(j->fd, (off_t)from) < 0 ? -errno : 0;
	}
	damaged_keep(j->dir_fd, j->fd, sequence, from, size);
	damage_count(j, size - from, recovery);
	tail_move(j, size);
	return 0;
}

static void tail_take(struct journal *j, const struct journal_record *record, struct journal_recovery *recovery)
{
	if (record->partition == PARTITION_CONTROL) {
		j->sealed = true;
	} else if (record->offset < next_get(j, record->partition)) {
		recovery->damaged_records++; /* a good frame at the wrong place: its offset is taken */
	} else {
		next_set(j, record->partition, record->offset + 1);
		j->undamaged_at[record->partition] = j->damage_slack;
	}
}

/* From the known tail to the end of its segment.  `last`: only there may a torn rest be cut. */
static int tail_scan(struct journal *j, bool last, struct journal_recovery *recovery)
{
	struct position tail = tail_get(j);
	struct journal_record record;
	struct stat st;
	int r;

	if (fstat(j->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size <= tail.at)
		return 0;
	scan_begin(&j->scan, j->fd, salt_of(&j->meta.id, tail.segment), j->meta.partitions, tail.at,
		   (uint64_t)st.st_size);
	while ((r = scan_next(&j->scan, &record)) > 0) {
		if (r == SCAN_RECORD) {
			tail_take(j, &record, recovery);
			tail_move(j, j->scan.at);
		} else if (j->scan.at == j->scan.limit) {
			return tail_rest(j, tail.segment, j->scan.damage_from, j->scan.limit, last, recovery);
		} else {
			damaged_keep(j->dir_fd, j->fd, tail.segment, j->scan.damage_from, j->scan.at);
			damage_count(j, j->scan.at - j->scan.damage_from, recovery);
		}
	}
	return r;
}

/* ------------------------------------------------------------------ segments */

/* Sums up all but the last.  One that somebody else has just trimmed counts nothing. */
static uint64_t closed_measure(const struct journal *j, const uint64_t *list, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i + 1 < n; i++) {
		char name[SEGMENT_NAME_LEN];
		struct stat st;

		segment_name(list[i], name);
		if (fstatat(j->dir_fd, name, &st, 0) == 0)
			bytes += (uint64_t)st.st_size;
	}
	return bytes;
}

static void closed_set(struct journal *j, uint64_t bytes)
{
	pthread_mutex_lock(&j->trim_lock);
	j->closed_bytes = bytes;
	pthread_mutex_unlock(&j->trim_lock);
}

/* Writes all parts; consumes them.  After an error anything may be in the file behind `at`: cut it. */
static int write_at(int fd, struct iovec *part, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t done = pwritev(fd, part, (int)MIN(n, (size_t)IOV_MAX), (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -ENOSPC;
		at += (uint64_t)done;
		for (; n > 0 && (size_t)done >= part->iov_len; part++, n--)
			done -= (ssize_t)part->iov_len;
		if (n > 0) {
			part->iov_base = (uint8_t *)part->iov_base + done;
			part->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* Seals the tail's segment and begins the next.  Under the append lock. */
static int segment_roll(struct journal *j)
{
	struct position tail = tail_get(j);

	if (!j->sealed) {
		struct salt salt = salt_of(&j->meta.id, tail.segment);
		struct frame seal = {
			.magic = salt.magic,
			.partition = PARTITION_CONTROL,
			.kind = CONTROL_SEAL,
			.offset = tail.segment + 1,
		};

		struct iovec part = { .iov_base = &seal, .iov_len = sizeof(seal) };

		seal.crc32c = hash_crc32c(salt.seed, (uint8_t *)&seal + FRAME_CHECKED, sizeof(seal) - FRAME_CHECKED);

		int r = write_at(j->fd, &part, 1, tail.at);

		if (r < 0)
			return ftruncate(j->fd, (off_t)tail.at) < 0 ? fail(j, -EIO) : r;
		tail.at += sizeof(seal);
		tail_move(j, tail.at);
		j->sealed = true;
	}
	if (fdatasync(j->fd) < 0)
		return fail(j, -EIO);

	int fd = segment_create(j->dir_fd, tail.segment + 1, &j->meta.id, j->meta.partitions, j->next);

	if (fd < 0)
		return fd;
	segment_enter(j, tail.segment + 1, fd, segment_frames_at(j->meta.partitions));
	pthread_mutex_lock(&j->trim_lock);
	j->closed_bytes += tail.at;
	pthread_mutex_unlock(&j->trim_lock);
	return 0;
}

/* Opens a segment as the tail's; what its header says about offsets counts if it is readable. */
static int segment_follow(struct journal *j, uint64_t sequence)
{
	int fd = segment_open(j->dir_fd, sequence, O_RDWR);
	CLEANUP_FREE uint64_t *next = NULL;
	struct segment_meta meta;

	if (fd < 0)
		return fd;

	int r = segment_read_header(fd, sequence, &meta, &next);

	segment_enter(j, sequence, fd, segment_frames_at(j->meta.partitions));
	for (uint32_t p = 0; r == 0 && p < j->meta.partitions; p++)
		next_set(j, p, MAX(next[p], next_get(j, p)));
	return r == -EBADMSG ? 0 : r;
}

/* Another writer may have appended, died in the middle of it, or begun other segments.  Under the append lock. */
static int tail_follow(struct journal *j)
{
	struct journal_recovery ignored = { 0 };
	struct position tail = tail_get(j);
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return -errno;
	if (likely((uint64_t)st.st_size == tail.at && !j->sealed))
		return 0;
	if ((uint64_t)st.st_size < tail.at)
		return fail(j, -EIO); /* somebody cut what was written */

	int r = tail_scan(j, true, &ignored);

	if (r == 0 && j->sealed) {
		CLEANUP_FREE uint64_t *list = NULL;
		size_t n = 0;

		r = segment_list(j->dir_fd, &list, &n);
		if (r == 0 && list[n - 1] > tail.segment) {
			r = segment_follow(j, list[n - 1]);
			closed_set(j, closed_measure(j, list, n));
			if (r == 0)
				r = tail_scan(j, true, &ignored);
		}
	}
	offsets_skip_damage(j);
	return r;
}

/* ------------------------------------------------------------------ open */

static int create_first(struct journal *j, const struct journal_options *options)
{
	struct journal_id id = { .generation = options->generation ? options->generation : 1 };
	struct position end = { .segment = 1, .at = segment_frames_at(options->partitions) };
	CLEANUP_FREE uint64_t *zero = NULL;

	if (options->partitions == 0 || options->partitions > JOURNAL_PARTITIONS_MAX)
		return -EINVAL;
	zero = calloc(options->partitions, sizeof(*zero));
	if (!zero)
		return -ENOMEM;
	rand_bytes(id.uuid, sizeof(id.uuid));

	int r = end_write(j->end_fd, end); /* before the segment: whoever sees a segment finds an end */

	if (r < 0)
		return r;

	CLEANUP_CLOSE int fd = segment_create(j->dir_fd, 1, &id, options->partitions, zero);

	return fd < 0 ? fd : 0;
}

/* Reads from the newest segment with a readable header through to the last one. */
static int recover(struct journal *j, const uint64_t *list, size_t n, struct journal_recovery *recovery)
{
	struct position end = { 0 };
	size_t from = n;
	int r = -EBADMSG;

	while (r == -EBADMSG && from-- > 0) {
		CLEANUP_CLOSE int fd = segment_open(j->dir_fd, list[from], O_RDONLY);

		r = fd < 0 ? fd : segment_read_header(fd, list[from], &j->meta, NULL);
	}
	if (r < 0)
		return r == -EBADMSG ? -EINVAL : r;
	j->next = calloc(j->meta.partitions, sizeof(*j->next));
	j->first = calloc(j->meta.partitions, sizeof(*j->first));
	j->undamaged_at = calloc(j->meta.partitions, sizeof(*j->undamaged_at));
	if (!j->next || !j->first || !j->undamaged_at)
		return -ENOMEM;
	for (size_t i = from; i < n; i++) {
		r = segment_follow(j, list[i]);
		if (r == 0)
			r = tail_scan(j, i == n - 1, recovery);
		if (r < 0)
			return r;
	}

	struct position tail = tail_get(j);

	if (end_read(j->end_fd, &end) == 0) {
		if (end.segment > tail.segment)
			return -EINVAL;
		if (position_before(tail, end)) { /* bytes that were durable are gone */
			damage_count(j, end.at - tail.at, recovery);
			j->sealed = true;
		}
	}
	offsets_skip_damage(j);
	return 0;
}

static int segments_account(struct journal *j, const uint64_t *list, size_t n)
{
	/* The oldest readable header tells the first offsets. */
	int r = -EBADMSG;

	for (size_t i = 0; i < n && r == -EBADMSG; i++)
		r = segment_read_next(j->dir_fd, list[i], &j->meta, j->first);
	if (r < 0)
		return r == -EBADMSG ? -EINVAL : r;
	closed_set(j, closed_measure(j, list, n));
	return 0;
}

static int open_files(struct journal *j, const char *dir, const struct journal_options *options)
{
	const int flags = O_RDWR | O_CLOEXEC | (options->create ? O_CREAT : 0);

	if (options->create && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	j->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->dir_fd < 0)
		return -errno;
	j->lock_fd = openat(j->dir_fd, "lock", flags, 0644);
	if (j->lock_fd < 0)
		return -errno;

	int r = lock_byte(j->lock_fd, LOCK_LIFE, j->shared ? F_RDLCK : F_WRLCK, false);

	if (r < 0)
		return r;
	j->end_fd = openat(j->dir_fd, "end", flags, 0644);
	return j->end_fd < 0 ? -errno : 0;
}

static int open_locked(struct journal *j, const struct journal_options *options, struct journal_recovery *recovery)
{
	CLEANUP_FREE uint64_t *list = NULL;
	size_t n = 0;
	int r = segment_list(j->dir_fd, &list, &n);

	if (r == -ENOENT && options->create) {
		r = create_first(j, options);
		if (r == 0)
			r = segment_list(j->dir_fd, &list, &n);
	}
	if (r == 0)
		r = recover(j, list, n, recovery);
	if (r == 0 && options->partitions != 0 && options->partitions != j->meta.partitions)
		r = -EINVAL;
	if (r == 0)
		r = segments_account(j, list, n);
	if (r == 0 && j->sealed)
		r = segment_roll(j);
	return r;
}

int journal_open(struct journal **ret, const char *dir, const struct journal_options *options,
		 struct journal_recovery *ret_recovery)
{
	struct journal_recovery recovery = { 0 };
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->dir_fd = j->lock_fd = j->end_fd = j->fd = -1;
	j->shared = options->mode == JOURNAL_SHARED;
	j->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
	pthread_mutex_init(&j->file_lock, NULL);
	pthread_mutex_init(&j->lock, NULL);
	pthread_mutex_init(&j->trim_lock, NULL);

	int r = open_files(j, dir, options);

	if (r == 0)
		r = append_lock(j);
	if (r == 0) {
		r = open_locked(j, options, &recovery);
		append_unlock(j);
	}
	/* What a writer before us left behind becomes durable and visible: its segments' names too. */
	if (r == 0 && fsync(j->dir_fd) < 0)
		r = -errno;
	if (r == 0)
		r = journal_sync(j);
	if (r < 0) {
		journal_close(j);
		return r;
	}
	*ret = j;
	if (ret_recovery)
		*ret_recovery = recovery;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	cleanup_close(&j->fd);
	cleanup_close(&j->end_fd);
	cleanup_close(&j->lock_fd);
	cleanup_close(&j->dir_fd);
	scan_done(&j->scan);
	buf_done(&j->staging);
	free(j->parts);
	free(j->next);
	free(j->first);
	free(j->undamaged_at);
	pthread_mutex_destroy(&j->file_lock);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->trim_lock);
	free(j);
}

struct journal_id journal_identity(const struct journal *j)
{
	return j->meta.id;
}

uint32_t journal_partitions(const struct journal *j)
{
	return j->meta.partitions;
}

/* ------------------------------------------------------------------ append */

static size_t payload(const struct journal_record *r)
{
	return r->headers.len + r->value.len;
}

/* Room for all small parts in one piece, which must not move once parts point into it. */
static int staging_prepare(struct journal *j, const struct journal_record *records, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		const struct journal_record *r = &records[i];

		if (r->partition >= j->meta.partitions)
			return -EINVAL;
		if (r->headers.len > JOURNAL_RECORD_MAX || r->value.len > JOURNAL_RECORD_MAX ||
		    payload(r) > JOURNAL_RECORD_MAX)
			return -EMSGSIZE;
		bytes += sizeof(struct frame) + r->headers.len + (r->value.len <= COPY_MAX ? r->value.len : 0);
	}
	if (j->parts_cap < 2 * n + 1) {
		struct iovec *parts = reallocarray(j->parts, 2 * n + 1, sizeof(*parts));

		if (!parts)
			return -ENOMEM;
		j->parts = parts;
		j->parts_cap = 2 * n + 1;
	}
	buf_reset(&j->staging);
	buf_extend(&j->staging, bytes);
	return buf_error(&j->staging);
}

/* Frames of all records as parts; *ret_bytes is what they are together. */
static size_t stage(struct journal *j, struct journal_record *records, size_t n, uint64_t *ret_bytes)
{
	const struct salt salt = salt_of(&j->meta.id, tail_get(j).segment);
	uint8_t *at = j->staging.data, *part = at;
	size_t parts = 0;
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++) {
		struct journal_record *r = &records[i];
		struct frame f = {
			.magic = salt.magic,
			.len = (uint32_t)payload(r),
			.partition = r->partition,
			.kind = r->kind,
			.offset = r->offset = next_get(j, r->partition),
			.headers_len = (uint32_t)r->headers.len,
		};
		const bool copied = r->value.len <= COPY_MAX;
		size_t here = sizeof(f);

		next_set(j, r->partition, r->offset + 1);
		memcpy(at, &f, sizeof(f));
		if (r->headers.len)
			memcpy(at + here, r->headers.data, r->headers.len);
		here += r->headers.len;
		if (copied && r->value.len) {
			memcpy(at + here, r->value.data, r->value.len);
			here += r->value.len;
		}
		f.crc32c = hash_crc32c(salt.seed, at + FRAME_CHECKED, here - FRAME_CHECKED);
		if (!copied)
			f.crc32c = hash_crc32c(f.crc32c, r->value.data, r->value.len);
		memcpy(at, &f, sizeof(f));
		at += here;
		total += sizeof(f) + f.len;
		if (!copied) {
			j->parts[parts++] = (struct iovec){ .iov_base = part, .iov_len = (size_t)(at - part) };
			j->parts[parts++] =
				(struct iovec){ .iov_base = (void *)r->value.data, .iov_len = r->value.len };
			part = at;
		}
	}
	if (at > part)
		j->parts[parts++] = (struct iovec){ .iov_base = part, .iov_len = (size_t)(at - part) };
	*ret_bytes = total;
	return parts;
}

static int append_locked(struct journal *j, struct journal_record *records, size_t n)
{
	int r = j->shared ? tail_follow(j) : 0;

	if (r == 0 && (j->sealed || tail_get(j).at >= j->segment_bytes + segment_frames_at(j->meta.partitions)))
		r = segment_roll(j);
	if (r < 0)
		return r;

	const uint64_t at = tail_get(j).at;
	uint64_t bytes;
	size_t parts = stage(j, records, n, &bytes);

	r = write_at(j->fd, j->parts, parts, at);
	if (r == 0) {
		tail_move(j, at + bytes);
		return 0;
	}
	for (size_t i = n; i-- > 0;)
		next_set(j, records[i].partition, records[i].offset);
	return ftruncate(j->fd, (off_t)at) < 0 ? fail(j, -EIO) : r;
}

int journal_append(struct journal *j, struct journal_record *records, size_t n)
{
	if (n == 0)
		return 0;
	if (has_failed(j))
		return -EIO;

	int r = staging_prepare(j, records, n);

	if (r == 0)
		r = append_lock(j);
	if (r < 0)
		return r;
	r = append_locked(j, records, n);
	append_unlock(j);
	return r;
}

/* ------------------------------------------------------------------ sync */

static int end_publish(struct journal *j, struct position target)
{
	struct position end = { 0 };
	int r = j->shared ? lock_byte(j->lock_fd, LOCK_END, F_WRLCK, true) : 0;

	if (r < 0)
		return r;
	if (!j->shared || end_read(j->end_fd, &end) < 0 || position_before(end, target))
		r = end_write(j->end_fd, target);
	if (j->shared)
		lock_byte(j->lock_fd, LOCK_END, F_UNLCK, true);
	return r;
}

int journal_sync(struct journal *j)
{
	int r = 0;

	pthread_mutex_lock(&j->file_lock);
	pthread_mutex_lock(&j->lock);

	const struct position target = j->tail;
	const bool failed = j->failed, nothing = !position_before(j->synced, target);

	pthread_mutex_unlock(&j->lock);
	if (failed)
		r = -EIO;
	else if (!nothing && fdatasync(j->fd) < 0)
		r = fail(j, -EIO);
	else if (!nothing)
		r = end_publish(j, target) < 0 ? fail(j, -EIO) : 0;
	if (r == 0) {
		pthread_mutex_lock(&j->lock);
		j->synced = target;
		pthread_mutex_unlock(&j->lock);
	}
	pthread_mutex_unlock(&j->file_lock);
	return r;
}

/* ------------------------------------------------------------------ retention */

uint64_t journal_end(const struct journal *j, uint16_t partition)
{
	return partition < j->meta.partitions ? next_get(j, partition) : 0;
}

uint64_t journal_first(const struct journal *j, uint16_t partition)
{
	struct journal *m = (struct journal *)j; /* the lock alone is written */

	if (partition >= j->meta.partitions)
		return 0;
	pthread_mutex_lock(&m->trim_lock);

	uint64_t first = j->first[partition];

	pthread_mutex_unlock(&m->trim_lock);
	return first;
}

uint64_t journal_bytes(const struct journal *j)
{
	struct journal *m = (struct journal *)j;

	pthread_mutex_lock(&m->trim_lock);

	uint64_t bytes = j->closed_bytes + tail_get(m).at;

	pthread_mutex_unlock(&m->trim_lock);
	return bytes;
}

/* Is everything before the segment with these next offsets below keep_from? */
static bool all_below(const struct journal *j, const uint64_t *next, const uint64_t *keep_from)
{
	for (uint32_t p = 0; p < j->meta.partitions; p++)
		if (next[p] > keep_from[p])
			return false;
	return true;
}

static int trim_locked(struct journal *j, const uint64_t *keep_from)
{
	CLEANUP_FREE uint64_t *list = NULL, *next = malloc(j->meta.partitions * sizeof(*next));
	size_t n = 0, deleted = 0;
	int r = next ? segment_list(j->dir_fd, &list, &n) : -ENOMEM;

	while (r == 0 && deleted + 1 < n) {
		char name[SEGMENT_NAME_LEN];

		/* A header that cannot be read keeps its segment's predecessor; the next readable one decides. */
		size_t upto = deleted + 1;

		do
			r = segment_read_next(j->dir_fd, list[upto], &j->meta, next);
		while (r == -EBADMSG && ++upto < n);
		if (r < 0 || !all_below(j, next, keep_from))
			break;
		for (; r == 0 && deleted < upto; deleted++) {
			segment_name(list[deleted], name);
			if (unlinkat(j->dir_fd, name, 0) < 0 && errno != ENOENT)
				r = -errno;
		}
		if (r == 0)
			memcpy(j->first, next, j->meta.partitions * sizeof(*next));
	}
	if (r < 0 && r != -EBADMSG && r != -ENOENT)
		return r;
	j->closed_bytes = closed_measure(j, list + deleted, n - deleted);
	return (int)deleted;
}

int journal_trim(struct journal *j, const uint64_t *keep_from)
{
	pthread_mutex_lock(&j->trim_lock);

	int r = trim_locked(j, keep_from);

	pthread_mutex_unlock(&j->trim_lock);
	return r;
}
