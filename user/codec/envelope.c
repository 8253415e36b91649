#include "codec/envelope.h"

#include <errno.h>
#include <string.h>

#include "codec/block.h"
#include "codec/wire.h"

enum {
	VERSION = 1,
	SPOOL_ID,
	GATEWAY_ID,
	HOME_REGION,
	LANE,
	SHARD,
	ORDINAL_FIRST,
	ORDINAL_END,
	COUNT,
	CLOCK_NS,
	IDLE,
	CUT_NS,
	TRACE_ID,
	SPAN_ID,
	BLOCK_FORMAT_FIELD,
	BLOCK,
};

static bool all_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

void envelope_append(struct buf *b, const struct envelope *e)
{
	wire_append_varint(b, VERSION, ENVELOPE_VERSION);
	wire_append_bytes(b, SPOOL_ID, SLICE(e->spool_id, sizeof(e->spool_id)));
	wire_append_bytes(b, GATEWAY_ID, e->gateway_id);
	wire_append_bytes(b, HOME_REGION, e->home_region);
	wire_append_varint(b, LANE, e->lane);
	wire_append_varint(b, SHARD, e->shard);
	wire_append_varint(b, ORDINAL_FIRST, e->ordinal_first);
	wire_append_varint(b, ORDINAL_END, e->ordinal_end);
	wire_append_varint(b, COUNT, e->count);
	wire_append_fixed64(b, CLOCK_NS, (uint64_t)e->clock_ns);
	wire_append_varint(b, IDLE, e->idle);
	wire_append_fixed64(b, CUT_NS, (uint64_t)e->cut_ns);
	if (!all_zero(e->trace.trace_id, sizeof(e->trace.trace_id))) {
		wire_append_bytes(b, TRACE_ID, SLICE(e->trace.trace_id, sizeof(e->trace.trace_id)));
		wire_append_bytes(b, SPAN_ID, SLICE(e->trace.span_id, sizeof(e->trace.span_id)));
	}
	wire_append_varint(b, BLOCK_FORMAT_FIELD, e->block_format);
	wire_append_bytes(b, BLOCK, e->block);
}

struct envelope_numbers {
	uint64_t version, lane, shard, count, idle, block_format;
};

static const enum wire_type types[BLOCK + 1] = {
	[SPOOL_ID] = WIRE_BYTES, [GATEWAY_ID] = WIRE_BYTES, [HOME_REGION] = WIRE_BYTES, [CLOCK_NS] = WIRE_FIXED64,
	[CUT_NS] = WIRE_FIXED64, [TRACE_ID] = WIRE_BYTES,   [SPAN_ID] = WIRE_BYTES,	[BLOCK] = WIRE_BYTES,
};
_Static_assert(WIRE_VARINT == 0, "the fields that are not listed");

static int take_fixed(uint8_t *ret, size_t n, const struct wire_field *f)
{
	if (f->bytes.len != 0 && f->bytes.len != n)
		return -EBADMSG;
	memcpy(ret, f->bytes.data, f->bytes.len);
	return 0;
}

static int take_field(struct envelope *e, struct envelope_numbers *n, const struct wire_field *f)
{
	if (f->number > BLOCK)
		return 0;
	if (f->type != types[f->number])
		return -EBADMSG;
	switch (f->number) {
	case VERSION: n->version = f->value; break;
	case SPOOL_ID: return take_fixed(e->spool_id, sizeof(e->spool_id), f);
	case GATEWAY_ID: e->gateway_id = f->bytes; break;
	case HOME_REGION: e->home_region = f->bytes; break;
	case LANE: n->lane = f->value; break;
	case SHARD: n->shard = f->value; break;
	case ORDINAL_FIRST: e->ordinal_first = f->value; break;
	case ORDINAL_END: e->ordinal_end = f->value; break;
	case COUNT: n->count = f->value; break;
	case CLOCK_NS: e->clock_ns = (int64_t)f->value; break;
	case IDLE: n->idle = f->value; break;
	case CUT_NS: e->cut_ns = (int64_t)f->value; break;
	case TRACE_ID: return take_fixed(e->trace.trace_id, sizeof(e->trace.trace_id), f);
	case SPAN_ID: return take_fixed(e->trace.span_id, sizeof(e->trace.span_id), f);
	case BLOCK_FORMAT_FIELD: n->block_format = f->value; break;
	case BLOCK: e->block = f->bytes; break;
	}
	return 0;
}

static int check(const struct envelope *e, const struct envelope_numbers *n)
{
	if (n->version != ENVELOPE_VERSION)
		return -EPROTONOSUPPORT;
	if (all_zero(e->spool_id, sizeof(e->spool_id)) || e->gateway_id.len == 0 ||
	    e->gateway_id.len > ENVELOPE_GATEWAY_MAX || e->home_region.len > ENVELOPE_REGION_MAX ||
	    !utf8_valid(e->gateway_id) || !utf8_valid(e->home_region))
		return -EBADMSG;
	if (n->lane > ENVELOPE_BACKLOG || n->shard >= ENVELOPE_SHARDS_MAX || n->idle > 1)
		return -EBADMSG;
	if (e->ordinal_first > e->ordinal_end || n->count > e->ordinal_end - e->ordinal_first ||
	    n->count > BLOCK_READINGS_MAX || (n->count > 0) != (e->block.len > 0))
		return -EBADMSG;
	return e->block.len > 0 && n->block_format != BLOCK_FORMAT ? -EPROTONOSUPPORT : 0;
}

int envelope_read(struct envelope *ret, struct slice bytes)
{
	struct reader r = reader_of(bytes);
	struct envelope e = { 0 };
	struct envelope_numbers n = { 0 };
	struct wire_field f;
	int error;

	while (wire_next(&r, &f)) {
		error = take_field(&e, &n, &f);
		if (error < 0)
			return error;
	}
	if (r.failed)
		return -EBADMSG;
	error = check(&e, &n);
	if (error < 0)
		return error;
	e.lane = (enum envelope_lane)n.lane;
	e.shard = (uint32_t)n.shard;
	e.count = (uint32_t)n.count;
	e.idle = n.idle;
	e.block_format = (uint32_t)n.block_format;
	*ret = e;
	return 0;
}
