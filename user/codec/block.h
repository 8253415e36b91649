/* The columnar block: up to BLOCK_READINGS_MAX readings, by column, then zstd.
 *
 * Layout, in prose at the top of block.c.  Invariant: what goes in comes out byte for byte; a reading whose bytes
 * are not the ones that telemetry_append() would write is kept whole in a column of its own.
 *
 * A writer and a struct block each belong to one thread at a time.  The writer copies what it is given.
 *
 * The reader trusts nothing: every length and index is checked, output memory is bounded by BLOCK_READINGS_MAX,
 * BLOCK_VALUES_MAX and BLOCK_RAW_MAX before it is allocated.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/telemetry.h"

#define BLOCK_FORMAT 1
#define BLOCK_READINGS_MAX 4096
#define BLOCK_VALUES_MAX (BLOCK_READINGS_MAX * 64)
#define BLOCK_RAW_MAX (8u << 20) /* bytes before zstd */

enum block_flag {
	BLOCK_STAMPED = 1,  /* the device sent no timestamp; timestamp_ns is the gateway's */
	BLOCK_UNHASHED = 2, /* the device sent no integrity_hash; hash is 0.  Set by the writer */
};

/* ------------------------------------------------------------------ writing */

struct block_writer;

/* level: zstd's. 0 or -ENOMEM. */
int block_writer_new(struct block_writer **ret, int level);
void block_writer_free(struct block_writer *w);

/* payload: bytes of Telemetry that passed admission. timestamp_ns: the reading's own, or the gateway's stamp with
 * BLOCK_STAMPED. arrival_ns: wall clock at the gateway (kept to the millisecond).
 * 0; -EBADMSG for what telemetry_parse() refuses or when its timestamp is not the one given; -ENOMEM; -ENOSPC when the
 * block is full (BLOCK_READINGS_MAX, or BLOCK_RAW_MAX could be exceeded): finish it and add the reading to the next. */
int block_writer_add(struct block_writer *w, struct slice payload, int64_t timestamp_ns, int64_t arrival_ns,
		     uint8_t flags);
uint32_t block_writer_count(const struct block_writer *w);
/* Appends the finished block to b (nothing when no reading was added) and empties the writer for the next, also when it
 * fails.  0 or -ENOMEM. */
int block_writer_finish(struct block_writer *w, struct buf *b);

/* ------------------------------------------------------------------ reading */

struct block_set { /* the names of a reading's metrics, in wire order */
	uint32_t n;
	struct slice *names;
};

struct block {
	uint32_t count;
	uint32_t n_devices;
	struct slice *devices; /* dictionary */
	uint32_t n_sets;
	struct block_set *sets; /* dictionary */

	/* One entry a reading. */
	uint32_t *device;
	uint32_t *set;
	int64_t *timestamp_ns;
	int64_t *arrival_ns;
	uint64_t *hash; /* integrity_hash */
	uint8_t *flags; /* enum block_flag */
	uint32_t *value_at; /* values[value_at[i]] is the first of sets[set[i]].n */
	struct slice *region;
	struct slice *unknown; /* fields >= 6 */

	uint32_t n_values;
	double *values;

	/* Private. */
	struct buf memory, raw;
	struct slice *verbatim; /* the whole payload where its bytes are not canonical */
	void *zstd;
};

/* Reads a block (no bytes: a block without readings) into ret, which block_init() has prepared; memory is reused from
 * block to block.
 * 0, -EBADMSG, -ENOMEM. Slices live until the next read or block_done(). */
void block_init(struct block *ret);
void block_done(struct block *b);
int block_read(struct block *ret, struct slice bytes);

/* The exact bytes of Telemetry that reading i came with, appended to out. */
int block_payload(const struct block *b, uint32_t i, struct buf *out);
