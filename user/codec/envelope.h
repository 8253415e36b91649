/* TelemetryEnvelope (proto/envelope.proto) in plain C: what a gateway publishes for one shard.
 *
 * The bytes are those that every protobuf library writes and reads: fields in order of number, zero values left
 * out.  They are read by hand because a region reads one for each hundred readings: nothing is copied or allocated,
 * slices point into what was read.  Unknown fields (of a newer gateway) are skipped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"

#define ENVELOPE_VERSION 1
#define ENVELOPE_SPOOL_ID_LEN 16
#define ENVELOPE_GATEWAY_MAX 64 /* bytes of gateway_id */
#define ENVELOPE_REGION_MAX 32  /* bytes of home_region */
#define ENVELOPE_SHARDS_MAX 1024

enum envelope_lane {
	ENVELOPE_LIVE = 0,
	ENVELOPE_BACKLOG = 1,
};

struct envelope {
	uint8_t spool_id[ENVELOPE_SPOOL_ID_LEN];
	struct slice gateway_id;  /* 1..ENVELOPE_GATEWAY_MAX bytes, UTF-8 */
	struct slice home_region; /* 0..ENVELOPE_REGION_MAX bytes, UTF-8 */
	enum envelope_lane lane;
	uint32_t shard; /* < ENVELOPE_SHARDS_MAX */
	/* Readings [first, end) of this spool and shard, suppressed ones included: count <= end - first. */
	uint64_t ordinal_first, ordinal_end;
	uint32_t count;   /* readings in the block */
	int64_t clock_ns; /* arrival clock at ordinal_end; see CONTRACTS and envelope.proto */
	bool idle;
	int64_t cut_ns;
	struct trace_context trace; /* all zero: none, nothing is written */
	uint32_t block_format;      /* BLOCK_FORMAT; 0 in a heartbeat */
	struct slice block;         /* codec/block.h; empty in a heartbeat */
};

/* Appends the message.  Memory errors stand in buf_error(b). */
void envelope_append(struct buf *b, const struct envelope *e);

/* 0; -EBADMSG when it is not such a message or breaks one of the bounds above (a missing spool_id or gateway_id, an id
 * of another length, a range that runs backwards, a count that does not fit its range, a count without a block or a
 * block without a count); -EPROTONOSUPPORT for another version or, when there is a block, another block_format. */
int envelope_read(struct envelope *ret, struct slice bytes);
