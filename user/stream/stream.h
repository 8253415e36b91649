/* Streams: partitioned, durable, ordered logs under a name.  Two backends behind one table of functions:
 *
 *     embedded:/dir/NAME              the journal in /dir/NAME (user/journal)
 *     kafka:host:port[,host:port]/NAME   a topic (librdkafka)
 *
 * One conformance suite (tests/unit/stream/test_conformance.c) runs on both.
 *
 * Threads: a handle belongs to one thread; open one for writing and one for reading.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Names one incarnation of a log: offsets are comparable only under the same id.  Compared by generation, then
 * offset.  Given by stream_create(): kafka keeps it in the topic's first record of partition 0 (kind
 * STREAM_KIND_IDENTITY, in every partition, offset 0), embedded in the segment headers. */
struct log_id {
	uint32_t generation;
	uint8_t uuid[16];
};
static inline bool log_id_equal(const struct log_id *a, const struct log_id *b)
{
	return a->generation == b->generation && !__builtin_memcmp(a->uuid, b->uuid, sizeof(a->uuid));
}

#define STREAM_KIND_IDENTITY 0xffff /* never handed to readers */
#define STREAM_URL_MAX 512

struct stream_record {
	uint32_t partition;
	uint16_t kind;        /* the application's; 0 = plain */
	uint64_t offset;      /* set when read or confirmed */
	struct slice headers; /* opaque; owned_log's spans travel here */
	struct slice value;
	void *cookie;         /* handed back with the confirmation */
};

struct stream_confirmation {
	void *cookie;
	uint32_t partition;
	uint64_t offset; /* valid when error == 0 */
	int error;       /* 0, or negative errno: the record may or may not be in the log */
};

struct stream;

struct stream_options {
	bool writer, reader;
	bool development;       /* kafka: accept replication 1 and min.insync 1 */
	uint64_t segment_bytes; /* embedded; 0 = default */
	uint32_t linger_ms;     /* kafka producer; 0 = send at once */
};

struct stream_create_options {
	uint32_t partitions;
	uint32_t generation;    /* 0 = 1 */
	uint16_t replication;   /* kafka; 0 = 3, or 1 with development */
	int64_t retention_ms;   /* kafka; -1 = for ever */
	bool development;
	bool may_exist;         /* an existing one that fits is fine */
};

struct stream_error {
	char text[256]; /* a sentence: what, where, what to do */
};

/* Creates it, or verifies an existing one.  0; -EEXIST; -EINVAL when the existing one does not fit or the URL is
 * wrong; -ENOTCONN when no broker answers within 10 s. */
int stream_create(const char *url, const struct stream_create_options *options, struct stream_error *ret_error);

/* Opens an existing one. 0; -ENOENT when it was never created; -EINVAL; -ENOTCONN; with a sentence. */
int stream_open(struct stream **ret, const char *url, const struct stream_options *options,
		struct stream_error *ret_error);
/* Outstanding appends are abandoned (poll first for a clean end). Takes NULL. */
void stream_close(struct stream *s);

struct log_id stream_identity(const struct stream *s);
uint32_t stream_partitions(const struct stream *s);
const char *stream_url(const struct stream *s);

/* ------------------------------------------------------------------ writing */

/* Queues one record; headers and value are copied.  Order per partition is kept.  0; -EAGAIN when the queue is
 * full (poll, then again); -EMSGSIZE; another negative errno when the handle is broken: close it, open anew. */
int stream_append(struct stream *s, const struct stream_record *record);

/* Drives the backend and collects up to n confirmations, per partition in the order of the appends: waits until
 * there is at least one or the deadline has passed, also when nothing is pending.  Returns their number, or negative
 * errno when the handle is broken.  Confirmed = durable (embedded: fdatasync, for which it waits whatever the deadline;
 * kafka: acks=all). */
int stream_poll(struct stream *s, struct stream_confirmation *ret, size_t n, int64_t deadline_ns);

/* Appends that are not confirmed yet. */
size_t stream_pending(const struct stream *s);

/* ------------------------------------------------------------------ reading */

/* Begins (or moves) reading of a partition at an offset.  An offset below the first kept one is -ERANGE from
 * read(), never silently moved. */
int stream_seek(struct stream *s, uint32_t partition, uint64_t offset);
/* No longer reads it. */
int stream_leave(struct stream *s, uint32_t partition);

/* Up to n records of the partitions being read; waits for the first until the deadline.  Order per partition is
 * the log's.  Slices are valid until the next call on this handle.  Returns their number, 0 at the deadline;
 * -ERANGE with *ret_lost_partition when the position is no longer kept; negative errno when broken. */
int stream_read(struct stream *s, struct stream_record *ret, size_t n, int64_t deadline_ns,
		uint32_t *ret_lost_partition);

/* First kept and next offset. */
int stream_range(struct stream *s, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end);

/* What lies before these offsets may go (embedded: whole segments; kafka: DeleteRecords). keep_from: one entry a
 * partition. */
int stream_trim(struct stream *s, const uint64_t *keep_from);

/* ------------------------------------------------------------------ for the backends */

/* Each function has the contract of its namesake above.  stream.c has checked before: the URL's form and its name
 * (the last component of rest), that partition < partitions, and that pointers are not NULL but for ret_error.  The
 * backend answers -EBADF for writing with a handle that is no writer, and for reading with one that is no reader. */
struct stream_ops {
	const char *scheme; /* "embedded", "kafka" */
	int (*create)(const char *rest, const struct stream_create_options *options, struct stream_error *ret_error);
	int (*open)(struct stream **ret, const char *rest, const struct stream_options *options,
		    struct stream_error *ret_error);
	void (*close)(struct stream *s);
	int (*append)(struct stream *s, const struct stream_record *record);
	int (*poll)(struct stream *s, struct stream_confirmation *ret, size_t n, int64_t deadline_ns);
	size_t (*pending)(const struct stream *s);
	int (*seek)(struct stream *s, uint32_t partition, uint64_t offset);
	int (*leave)(struct stream *s, uint32_t partition);
	int (*read)(struct stream *s, struct stream_record *ret, size_t n, int64_t deadline_ns,
		    uint32_t *ret_lost_partition);
	int (*range)(struct stream *s, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end);
	int (*trim)(struct stream *s, const uint64_t *keep_from);
};

/* Every backend's handle begins with this. */
struct stream {
	const struct stream_ops *ops;
	struct log_id id;
	uint32_t partitions;
	char url[STREAM_URL_MAX];
};

/* Adds a backend to the table: for tests that need faults which the real ones cannot be made to have. */
void stream_register(const struct stream_ops *ops);
/* Writes the sentence, if there is room for one, and returns error. */
__attribute__((format(printf, 3, 4))) int stream_say(struct stream_error *ret_error, int error, const char *format,
						     ...);
/* The directory of an embedded stream; NULL for any other. */
const char *stream_embedded_dir(const char *url);

extern const struct stream_ops stream_embedded_ops;
extern const struct stream_ops stream_kafka_ops;
