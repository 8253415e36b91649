/* The journal: a segmented, checksummed log in a directory.  One format for the gateway's spool and for embedded
 * streams.  The format and the recovery argument stand at the top of journal.c.
 *
 * Records of many partitions go into one sequence of segments; an offset counts per partition.  Readers see what
 * is durable: up to `DIR/end`, which is written after each fdatasync.
 *
 * Threads: a writer handle may be used by one thread for append and another for sync; trim, first, end and bytes may
 * be called from any thread; a reader handle belongs to one thread.  Processes: JOURNAL_EXCLUSIVE holds a lock for its
 * life; shared writers lock around each append.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define JOURNAL_PARTITIONS_MAX 4096
#define JOURNAL_RECORD_MAX (16u << 20) /* bytes of headers and value together */

struct journal_id {
	uint32_t generation;
	uint8_t uuid[16];
};

struct journal_record {
	uint16_t partition;
	uint16_t kind;
	uint64_t offset; /* set by append */
	struct slice headers;
	struct slice value;
};

enum journal_mode {
	JOURNAL_EXCLUSIVE, /* the only writer for as long as the handle lives: -EBUSY when there is another */
	JOURNAL_SHARED,    /* one of several writers */
};

struct journal_options {
	enum journal_mode mode;
	bool create;            /* make the directory and the journal when absent (else -ENOENT) */
	uint32_t partitions;    /* when created; must fit when opened (0 = whatever it has) */
	uint64_t segment_bytes; /* a new segment is begun beyond this; 0 = 64 MiB */
	uint32_t generation;    /* when created; 0 = 1 */
};

/* What recovery met at open: counted, kept aside in DIR/damaged, never fatal. */
struct journal_recovery {
	uint64_t torn_bytes;      /* cut from the tail */
	uint64_t damaged_records; /* skipped in the middle */
};

struct journal;

/* 0; -ENOENT, -EBUSY, -EINVAL (partitions do not fit, not a journal, or its newest segments were deleted by hand: no
 * offset would be safe), -ENOSPC, other errno of the file system.  ret_recovery may be NULL. */
int journal_open(struct journal **ret, const char *dir, const struct journal_options *options,
		 struct journal_recovery *ret_recovery);
void journal_close(struct journal *j);

struct journal_id journal_identity(const struct journal *j);
uint32_t journal_partitions(const struct journal *j);

/* Appends n records in order and sets their offsets.  They are in the file but not durable, and no reader sees
 * them yet.  All or nothing: 0, or negative errno and nothing was appended (-EMSGSIZE, -ENOSPC, ...). */
int journal_append(struct journal *j, struct journal_record *records, size_t n);

/* Makes durable and visible all that was appended before the call.  A failure is final for the handle (-EIO ever
 * after): what the kernel has dropped from its cache must not be acknowledged. */
int journal_sync(struct journal *j);

/* Next offset of a partition, durable or not, and the first that is kept.  A shared writer knows what others appended
 * up to its own last append. */
uint64_t journal_end(const struct journal *j, uint16_t partition);
uint64_t journal_first(const struct journal *j, uint16_t partition);

/* Deletes every segment of which all records are below keep_from[partition]; never the one being written.
 * Returns the number of segments deleted, or negative errno. */
int journal_trim(struct journal *j, const uint64_t *keep_from);

/* Bytes of the segments on disk (shared: as of this handle's last change of segment). */
uint64_t journal_bytes(const struct journal *j);

/* ------------------------------------------------------------------ reading */

struct journal_reader;

/* Begins at the oldest record.  Works beside writers in this or any other process. -ENOENT, -EINVAL. */
int journal_reader_open(struct journal_reader **ret, const char *dir);
void journal_reader_close(struct journal_reader *r);
struct journal_id journal_reader_identity(const struct journal_reader *r);
uint32_t journal_reader_partitions(const struct journal_reader *r);

/* Wants only records with offset >= from[partition]; UINT64_MAX leaves a partition out.  Whole segments below are
 * skipped.  May be called again at any time, also to go back. */
int journal_reader_seek(struct journal_reader *r, const uint64_t *from);

/* The next durable record that is wanted, in log order.  1 with ret set (slices valid until the next call);
 * 0 when the deadline passed; negative errno.  Damage is skipped, counted and kept aside. */
int journal_reader_next(struct journal_reader *r, struct journal_record *ret, int64_t deadline_ns);

/* The first offsets that are kept, of all partitions (the reader's own array): one system call, mostly. */
int journal_reader_first(struct journal_reader *r, const uint64_t **ret);
/* First kept and next offset of a partition as far as they are durable.  Reads what has been appended since it was
 * last asked, at most a segment. */
int journal_reader_range(struct journal_reader *r, uint16_t partition, uint64_t *ret_first, uint64_t *ret_end);
/* Damaged places met so far: not records, or records at an offset that was taken. */
uint64_t journal_reader_damaged(const struct journal_reader *r);
/* Readable (POLLIN) when something may have become durable; poll it together with other descriptors, then call
 * journal_reader_next(deadline 0) until it gives 0: records that are read ahead do not make it readable. */
int journal_reader_fd(const struct journal_reader *r);
