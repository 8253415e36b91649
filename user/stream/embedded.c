/* The embedded backend: a stream is a journal in a directory.
 *
 * Writing.  Appended records are copied and queued, and go into the journal in one pwritev() when somebody polls or
 * 256 KiB have come together; one fdatasync() in poll confirms all that is written.  So whoever appends a few
 * records and polls gets group commit by itself, and writers in other processes share the disk's flushes.
 * Every append has an entry in one ring, in this order:
 *
 *     head ... ready        confirmed, not handed out yet
 *     ready ... written     in the journal, not durable
 *     written ... tail      queued; their bytes are in `bytes`
 *
 * Reading.  One sequential journal reader serves all partitions that are being read: want[] has each one's next offset,
 * UINT64_MAX leaves one out.  A record is copied into the batch's buffer; the last of a batch stays where the journal
 * reader has it.  A record beyond the wanted one means that the position was trimmed (-ERANGE), or that the journal
 * skipped damage, which it has counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "journal/journal.h"
#include "stream/stream.h"

#define PENDING_MAX 16384 /* a power of two */
#define WRITE_AT_BYTES (256u << 10)
#define READ_BUFFER_BYTES (1u << 20)
#define READ_SLICE_NS NS_PER_S /* how often a waiting reader looks whether its position is still kept */

struct entry {
	void *cookie;
	uint64_t offset;
	size_t headers_len, value_len; /* while queued */
	uint32_t partition;
	uint16_t kind;
	int error;
};

struct embedded {
	struct stream stream;
	char *dir;

	struct journal *journal;
	struct entry *ring;
	struct journal_record *batch;
	uint64_t head, ready, written, tail; /* counts; an entry's place is count % PENDING_MAX */
	struct buf bytes;
	int broken;
	int failing; /* the error of an append of which the writer has not heard */
	uint64_t failing_until;

	struct journal_reader *reader; /* of a reader, or of a writer that asked for a range */
	uint64_t *want;
	bool moved; /* want[] has changed since the journal reader was told */
	uint8_t *copies;
};

static struct embedded *embedded_of(const struct stream *s)
{
	return container_of(s, struct embedded, stream);
}

/* ------------------------------------------------------------------ create, open, close */

static int check_dir(const char *dir, struct stream_error *ret_error)
{
	return dir[0] == '/' ? 0 : stream_say(ret_error, -EINVAL, "embedded:%s: the directory must be absolute", dir);
}

/* The directories above dir. */
static int make_parents(const char *dir)
{
	char path[STREAM_URL_MAX];

	snprintf(path, sizeof(path), "%s", dir);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int say_open(struct stream_error *ret_error, int error, const char *dir)
{
	switch (error) {
	case -ENOENT:
		return stream_say(ret_error, error, "there is no stream in %s: `sluice streams init` creates it", dir);
	case -EBUSY:
		return stream_say(ret_error, error,
				  "%s is locked by another process as its only writer: stop that process first", dir);
	case -EINVAL:
		return stream_say(ret_error, error,
				  "%s has no journal whose newest segment can be read: restore its files, or "
				  "move it away and run `sluice streams init`",
				  dir);
	default:
		return stream_say(ret_error, error, "%s cannot be opened: %s", dir, strerror(-error));
	}
}

static void cleanup_reader(struct journal_reader **r)
{
	journal_reader_close(*r);
}

static void cleanup_journal(struct journal **j)
{
	journal_close(*j);
}

/* 0 when there is one and it fits; -ENOENT. */
static int verify_existing(const char *dir, const struct stream_create_options *options, struct stream_error *ret_error)
{
	CLEANUP(cleanup_reader) struct journal_reader *reader = NULL;
	int r = journal_reader_open(&reader, dir);

	if (r == -ENOENT)
		return r;
	if (r < 0)
		return say_open(ret_error, r, dir);
	if (!options->may_exist)
		return stream_say(ret_error, -EEXIST, "there is a stream in %s already", dir);

	const uint32_t partitions = journal_reader_partitions(reader),
		       generation = journal_reader_identity(reader).generation;

	if (partitions != options->partitions)
		return stream_say(ret_error, -EINVAL,
				  "the stream in %s has %" PRIu32 " partitions, not %" PRIu32 ": the number is "
				  "fixed for a generation",
				  dir, partitions, options->partitions);
	if (options->generation != 0 && generation != options->generation)
		return stream_say(ret_error, -EINVAL,
				  "the stream in %s is of generation %" PRIu32 ", not %" PRIu32 ": a new "
				  "generation needs a new name",
				  dir, generation, options->generation);
	return 0;
}

static int embedded_create(const char *dir, const struct stream_create_options *options, struct stream_error *ret_error)
{
	CLEANUP(cleanup_journal) struct journal *journal = NULL;
	const struct journal_options o = { .mode = JOURNAL_SHARED,
					   .create = true,
					   .partitions = options->partitions,
					   .generation = options->generation };
	int r = check_dir(dir, ret_error);

	if (r < 0)
		return r;
	if (options->partitions == 0 || options->partitions > JOURNAL_PARTITIONS_MAX)
		return stream_say(ret_error, -EINVAL, "a stream has 1 to %d partitions, not %" PRIu32,
				  JOURNAL_PARTITIONS_MAX, options->partitions);
	r = verify_existing(dir, options, ret_error);
	if (r != -ENOENT)
		return r;
	r = make_parents(dir);
	if (r == 0)
		r = journal_open(&journal, dir, &o, NULL);
	if (r < 0)
		return stream_say(ret_error, r, "a stream cannot be created in %s: %s", dir, strerror(-r));
	return 0;
}

static void embedded_close(struct stream *s)
{
	struct embedded *e = embedded_of(s);

	journal_close(e->journal);
	journal_reader_close(e->reader);
	buf_done(&e->bytes);
	free(e->ring);
	free(e->batch);
	free(e->want);
	free(e->copies);
	free(e->dir);
	free(e);
}

static int open_writer(struct embedded *e, const struct stream_options *options)
{
	const struct journal_options o = { .mode = JOURNAL_SHARED, .segment_bytes = options->segment_bytes };
	int r = journal_open(&e->journal, e->dir, &o, NULL);

	if (r < 0)
		return r;
	e->ring = calloc(PENDING_MAX, sizeof(*e->ring));
	e->batch = calloc(PENDING_MAX, sizeof(*e->batch));
	return e->ring && e->batch ? 0 : -ENOMEM;
}

static int open_reader(struct embedded *e)
{
	int r = journal_reader_open(&e->reader, e->dir);

	if (r < 0)
		return r;

	const uint32_t partitions = journal_reader_partitions(e->reader);

	e->want = malloc(partitions * sizeof(*e->want));
	e->copies = malloc(READ_BUFFER_BYTES);
	if (!e->want || !e->copies)
		return -ENOMEM;
	for (uint32_t p = 0; p < partitions; p++)
		e->want[p] = UINT64_MAX;
	e->moved = true;
	return 0;
}

static int embedded_open(struct stream **ret, const char *dir, const struct stream_options *options,
			 struct stream_error *ret_error)
{
	int r = check_dir(dir, ret_error);

	if (r < 0)
		return r;
	must(options->writer || options->reader);

	struct embedded *e = calloc(1, sizeof(*e));

	if (!e)
		return stream_say(ret_error, -ENOMEM, "no memory for %s", dir);
	e->dir = strdup(dir);
	r = e->dir ? 0 : -ENOMEM;
	if (r == 0 && options->writer)
		r = open_writer(e, options);
	if (r == 0 && options->reader)
		r = open_reader(e);
	if (r < 0) {
		embedded_close(&e->stream);
		return say_open(ret_error, r, dir);
	}

	const struct journal_id id =
		options->writer ? journal_identity(e->journal) : journal_reader_identity(e->reader);

	e->stream.id.generation = id.generation;
	memcpy(e->stream.id.uuid, id.uuid, sizeof(id.uuid));
	e->stream.partitions = options->writer ? journal_partitions(e->journal) : journal_reader_partitions(e->reader);
	*ret = &e->stream;
	return 0;
}

/* ------------------------------------------------------------------ writing */

static struct entry *entry_at(struct embedded *e, uint64_t count)
{
	return &e->ring[count % PENDING_MAX];
}

/* Puts the queued records into the journal.  If they do not go in (a full disk), that is their outcome. */
static void flush(struct embedded *e)
{
	const uint8_t *at = e->bytes.data;
	const size_t n = e->tail - e->written;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct entry *entry = entry_at(e, e->written + i);

		e->batch[i] = (struct journal_record){
			.partition = (uint16_t)entry->partition,
			.kind = entry->kind,
			.headers = SLICE(at, entry->headers_len),
			.value = SLICE(at + entry->headers_len, entry->value_len),
		};
		at += entry->headers_len + entry->value_len;
	}

	int r = e->failing ? e->failing : journal_append(e->journal, e->batch, n);

	for (size_t i = 0; i < n; i++) {
		struct entry *entry = entry_at(e, e->written + i);

		entry->offset = e->batch[i].offset;
		entry->error = r;
	}
	if (r == -EIO)
		e->broken = r;
	e->written = e->tail;
	/* What is queued behind a failed append fails too, until the writer has heard of it: no record may be in the
	 * log in front of its predecessor's second try. */
	if (r < 0) {
		e->failing = r;
		e->failing_until = e->tail;
	}
	buf_reset(&e->bytes);
}

static int embedded_append(struct stream *s, const struct stream_record *record)
{
	struct embedded *e = embedded_of(s);
	const size_t bytes = record->headers.len + record->value.len;

	if (!e->journal)
		return -EBADF;
	if (e->broken)
		return e->broken;
	if (record->headers.len > JOURNAL_RECORD_MAX || record->value.len > JOURNAL_RECORD_MAX ||
	    bytes > JOURNAL_RECORD_MAX)
		return -EMSGSIZE;
	if (e->tail - e->head == PENDING_MAX)
		return -EAGAIN;

	uint8_t *at = bytes ? buf_extend(&e->bytes, bytes) : NULL;

	if (bytes && !at) {
		e->bytes.failed = false;
		return -ENOMEM;
	}
	if (record->headers.len)
		memcpy(at, record->headers.data, record->headers.len);
	if (record->value.len)
		memcpy(at + record->headers.len, record->value.data, record->value.len);
	*entry_at(e, e->tail++) = (struct entry){
		.cookie = record->cookie,
		.headers_len = record->headers.len,
		.value_len = record->value.len,
		.partition = record->partition,
		.kind = record->kind,
	};
	if (e->bytes.len >= WRITE_AT_BYTES)
		flush(e);
	return 0;
}

static int commit(struct embedded *e)
{
	flush(e);
	if (e->broken)
		return e->broken;
	if (journal_sync(e->journal) < 0)
		return e->broken = -EIO;
	e->ready = e->written;
	return 0;
}

static int embedded_poll(struct stream *s, struct stream_confirmation *ret, size_t n, int64_t deadline_ns)
{
	struct embedded *e = embedded_of(s);
	size_t got = 0;

	if (!e->journal)
		return -EBADF;
	if (e->head == e->tail) {
		(void)poll(NULL, 0, clock_poll_ms(deadline_ns)); /* nothing can come */
		return e->broken;
	}
	if (e->head == e->ready) {
		int r = commit(e);

		if (r < 0)
			return r;
	}
	for (; got < n && e->head < e->ready; got++) {
		const struct entry *entry = entry_at(e, e->head++);

		ret[got] = (struct stream_confirmation){ .cookie = entry->cookie,
							 .partition = entry->partition,
							 .offset = entry->offset,
							 .error = entry->error };
	}
	if (e->head >= e->failing_until)
		e->failing = 0;
	return (int)got;
}

static size_t embedded_pending(const struct stream *s)
{
	const struct embedded *e = embedded_of(s);

	return e->tail - e->head;
}

/* ------------------------------------------------------------------ reading */

static int embedded_seek(struct stream *s, uint32_t partition, uint64_t offset)
{
	struct embedded *e = embedded_of(s);

	if (!e->want)
		return -EBADF;
	if (offset == UINT64_MAX)
		return -EINVAL;
	e->want[partition] = offset;
	e->moved = true;
	return 0;
}

static int embedded_leave(struct stream *s, uint32_t partition)
{
	struct embedded *e = embedded_of(s);

	if (!e->want)
		return -EBADF;
	e->want[partition] = UINT64_MAX;
	e->moved = true;
	return 0;
}

/* -ERANGE when a partition's position is no longer kept. */
static int check_kept(struct embedded *e, uint32_t *ret_lost_partition)
{
	const uint64_t *first;
	int r = journal_reader_first(e->reader, &first);

	for (uint32_t p = 0; r == 0 && p < e->stream.partitions; p++) {
		if (e->want[p] < first[p]) {
			*ret_lost_partition = p;
			r = -ERANGE;
		}
	}
	return r;
}

/* The next record of any partition that is being read: 1, 0, -ERANGE, negative errno. */
static int read_one(struct embedded *e, struct journal_record *ret, int64_t deadline_ns, uint32_t *ret_lost_partition)
{
	if (e->moved) {
		int r = check_kept(e, ret_lost_partition);

		if (r == 0)
			r = journal_reader_seek(e->reader, e->want);
		if (r < 0)
			return r;
		e->moved = false;
	}
	for (;;) {
		int64_t slice_ns = clock_mono_ns() + READ_SLICE_NS;
		int r = journal_reader_next(e->reader, ret, MIN(deadline_ns, slice_ns));

		if (r < 0)
			return r;
		if (r == 1 && ret->offset == e->want[ret->partition])
			break;

		int kept = check_kept(e, ret_lost_partition); /* a gap, or nothing came */

		if (kept < 0) {
			e->moved = true; /* what is in hand is read again once the caller has decided */
			return kept;
		}
		if (r == 1)
			break;
		if (deadline_ns <= slice_ns)
			return 0;
	}
	e->want[ret->partition] = ret->offset + 1;
	return 1;
}

static int embedded_read(struct stream *s, struct stream_record *ret, size_t n, int64_t deadline_ns,
			 uint32_t *ret_lost_partition)
{
	struct embedded *e = embedded_of(s);
	size_t got = 0, used = 0;
	uint32_t lost = 0;
	int r = 1;

	if (!e->want)
		return -EBADF;
	while (got < n && r == 1) {
		struct journal_record record;

		r = read_one(e, &record, got ? 0 : deadline_ns, &lost);
		if (r != 1)
			break;

		const size_t bytes = record.headers.len + record.value.len;
		const bool last = got + 1 == n || bytes > READ_BUFFER_BYTES - used;

		if (!last) {
			uint8_t *at = e->copies + used;

			if (record.headers.len)
				memcpy(at, record.headers.data, record.headers.len);
			if (record.value.len)
				memcpy(at + record.headers.len, record.value.data, record.value.len);
			record.headers.data = at;
			record.value.data = at + record.headers.len;
			used += bytes;
		}
		ret[got++] = (struct stream_record){
			.partition = record.partition,
			.kind = record.kind,
			.offset = record.offset,
			.headers = record.headers,
			.value = record.value,
		};
		if (last)
			break;
	}
	if (got > 0) {
		/* An error comes again with the next call: a lost position stays lost, and a broken file broken. */
		return (int)got;
	}
	if (r == -ERANGE && ret_lost_partition)
		*ret_lost_partition = lost;
	return r;
}

/* ------------------------------------------------------------------ the log as a whole */

static int embedded_range(struct stream *s, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	struct embedded *e = embedded_of(s);

	if (!e->reader) {
		int r = journal_reader_open(&e->reader, e->dir);

		if (r < 0)
			return r;
	}
	return journal_reader_range(e->reader, (uint16_t)partition, ret_first, ret_end);
}

static int embedded_trim(struct stream *s, const uint64_t *keep_from)
{
	struct embedded *e = embedded_of(s);
	int r = e->journal ? journal_trim(e->journal, keep_from) : -EBADF;

	return MIN(r, 0);
}

const struct stream_ops stream_embedded_ops = {
	.scheme = "embedded",
	.create = embedded_create,
	.open = embedded_open,
	.close = embedded_close,
	.append = embedded_append,
	.poll = embedded_poll,
	.pending = embedded_pending,
	.seek = embedded_seek,
	.leave = embedded_leave,
	.read = embedded_read,
	.range = embedded_range,
	.trim = embedded_trim,
};
