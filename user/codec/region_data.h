/* RegionData (proto/envelope.proto) in plain C: the value of a DATA record of region.log, that is one consumed
 * envelope, verbatim, and what the region decided about it.
 *
 * Enrichment stands once a device of the block's dictionary, not once a reading: type[d], place[d] and owner[d] are
 * indexes into `words` for the device that block.devices[d] names.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/block.h"

/* What the region decided about one reading; a byte each. 0: new, in time, folded. */
enum region_flag {
	REGION_DUPLICATE = 1, /* accepted before: no effect */
	REGION_LATE = 2,      /* below the watermark at the append: folded, and its window corrected */
	REGION_AHEAD = 4,     /* its time is ahead of its arrival by more than max_ahead: not windowed */
	REGION_OLD = 8,       /* older than the correction horizon: not windowed; deduplicated as all others */
	REGION_HELD = 16,     /* waits for the page that tells whether it is new; a RESOLVE record decides */
	REGION_UNKNOWN = 32,  /* with OLD: older than what region.log can tell.  It may be new or not: no effect, counted */
};

struct region_data {
	struct slice envelope; /* bytes for envelope_read() */
	uint32_t n_words;
	const struct slice *words; /* UTF-8 */
	uint32_t n_devices;        /* <= BLOCK_READINGS_MAX */
	const uint32_t *type, *place, *owner; /* n_devices each, < n_words */
	struct slice flags;    /* a byte a reading (enum region_flag); empty: all 0 */
	int64_t appended_ns;
	int64_t watermark_ns;
	bool replay; /* the ordinals were covered before: the whole envelope has no effect */
};

/* The flags of reading i. */
static inline uint8_t region_data_flags(const struct region_data *d, uint32_t i)
{
	return i < d->flags.len ? ((const uint8_t *)d->flags.data)[i] : 0;
}

/* Appends the message.  Memory errors stand in buf_error(b). */
void region_data_append(struct buf *b, const struct region_data *d);

/* 0, -EBADMSG, -ENOMEM.  Slices point into bytes, arrays into memory, which the caller keeps from call to call and
 * releases with buf_done().  That n_devices and flags fit the block is for the caller to compare:
 * n_devices == block.n_devices, flags.len == 0 or block.count. */
int region_data_read(struct region_data *ret, struct slice bytes, struct buf *memory);
