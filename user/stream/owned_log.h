/* owned_log: partitions of a stream with one owner at a time each, and their state as a fold of them.
 *
 * The reader's rule, per partition, the same for everyone:
 *
 *     a CLAIM sets epoch := the claim's own offset;
 *     a record whose epoch is not the current one is void;
 *     a record whose `from` is not what is covered so far is void;
 *     any other record is valid, and covered := its `to`.
 *
 * So a zombie's late records and a retry's second copies are void for every reader, without transactions.
 * The headers of each record carry epoch and spans (from and to per source, positions are the next offset to read);
 * values stay pure.
 *
 * An owner: owned_log_claim() appends a CLAIM and folds every valid record before it; then decide -> append ->
 * poll, and each record is folded when it is confirmed: acknowledged and contiguous with one's own previous offset.
 * On a gap the foreign records in between are read; a foreign CLAIM ends the ownership (-ESTALE).  After any other
 * error: owned_log_free(), claim again.
 *
 * A projection or a tool reads by the same rule: struct owned_reader.
 *
 * One handle owns any number of partitions of one stream, over one writer and one reader: a group commit serves them
 * all.  Losing one of them (-ESTALE) ends the handle.
 *
 * Threads: a handle belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "stream/stream.h"

enum owned_kind {
	OWNED_DATA = 1,
	OWNED_CLAIM = 2,
	OWNED_MARK = 3,
	OWNED_DARK = 4,
	OWNED_HELD = 5,
	OWNED_RESOLVE = 6,
	OWNED_ASIDE = 7,
	OWNED_DECIDE = 8, /* global.log: the status of a window */
	OWNED_WINDOW_ALERT = 9, /* global.log: of version 1, nobody writes it any more */
	OWNED_ALERT = 10,       /* global.log: a step in the life of an alert */
	OWNED_SENT = 11,        /* global.log: a receiver has taken such a step */
	OWNED_SILENT = 12,      /* global.log: windows of a type and metric have ceased */
};

struct owned_span {
	struct log_id source;
	uint32_t partition;
	uint64_t from, to;
};

struct owned_record {
	uint32_t partition;
	uint16_t kind; /* enum owned_kind */
	uint64_t offset;
	uint64_t epoch;
	const struct owned_span *spans; /* empty for records that consume nothing */
	size_t n_spans;
	struct slice value;
	void *cookie; /* of a record appended by this handle; NULL when it was read */
};

/* The fold: called for every valid record in the order of its partition, from claim() for what is old and from poll()
 * for what was confirmed.  record->cookie is set only for this handle's own.  Negative errno ends the owner. */
typedef int owned_fold(void *context, const struct owned_record *record);

struct owned_options {
	const char *url;
	const uint32_t *partitions; /* those to own; copied */
	uint32_t n_partitions;
	struct stream_options stream; /* writer and reader are set by owned_log */
	const char *owner;            /* who claims: for people who read the log */
	bool force;                   /* embedded: claim although owner.lock is held */
	owned_fold *fold;
	void *context;
};

struct owned_log;

/* Folds the whole log before it returns: the fold itself sees the progress.  -EBUSY: another owner holds
 * owner.P.lock (embedded).  -ERANGE: the log's beginning was trimmed.  -ETIMEDOUT: the stream does not answer.  Else as
 * stream_open(), or what the fold returned. */
int owned_log_claim(struct owned_log **ret, const struct owned_options *options, struct stream_error *ret_error);
void owned_log_free(struct owned_log *ol);

struct log_id owned_log_identity(const struct owned_log *ol);
uint64_t owned_log_epoch(const struct owned_log *ol, uint32_t partition);

/* Position of a source as covered in an owned partition by what was folded or appended (not only confirmed); 0 for a
 * source never met. */
uint64_t owned_log_covered(const struct owned_log *ol, uint32_t partition, const struct log_id *source,
			   uint32_t source_partition);

/* Each span's from must be what is covered so far, and no source may be named twice: asserted.  Value and spans are
 * copied.  A record without spans is valid by its epoch alone: see "second copies" in owned_log.c.  0; -EAGAIN when the
 * queue is full: poll first; another negative errno ends the ownership. */
int owned_log_append(struct owned_log *ol, uint32_t partition, uint16_t kind, struct slice value,
		     const struct owned_span *spans, size_t n_spans, void *cookie);

/* Waits until something is confirmed or the deadline has passed, and folds it.  The number of records folded;
 * -ESTALE when another owner has claimed; negative errno of the fold or of the stream. */
int owned_log_poll(struct owned_log *ol, int64_t deadline_ns);

/* Appended but not confirmed, all partitions. */
size_t owned_log_pending(const struct owned_log *ol);
/* Next offset after the last record folded in a partition: `as_of`.  May be called from another thread. */
uint64_t owned_log_folded(const struct owned_log *ol, uint32_t partition);

/* ------------------------------------------------------------------ reading by the rule */

struct owned_reader;

struct owned_reader_stats {
	uint64_t valid, void_epoch, void_from, malformed;
};

/* Reads all partitions from their beginning (the only position from which the rule can be applied without a mark). */
int owned_reader_open(struct owned_reader **ret, const char *url, const struct stream_options *options,
		      struct stream_error *ret_error);
void owned_reader_free(struct owned_reader *r);
/* Next valid record of any partition: 1, 0 at the deadline, negative errno.  CLAIMs are handed out too.  Spans and
 * value are valid until the next call. */
int owned_reader_next(struct owned_reader *r, struct owned_record *ret, int64_t deadline_ns);
struct owned_reader_stats owned_reader_stats(const struct owned_reader *r);
/* Next offset that will be looked at. */
uint64_t owned_reader_position(const struct owned_reader *r, uint32_t partition);
struct log_id owned_reader_identity(const struct owned_reader *r);
/* First kept and next offset of a partition. */
int owned_reader_range(struct owned_reader *r, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end);
