#include "ctl/render.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "codec/decimal.h"
#include "codec/envelope.h"
#include "codec/region_data.h"
#include "proto/delta.pb-c.h"
#include "proto/envelope.pb-c.h"

static const struct {
	uint8_t flag;
	const char *name;
} flag_names[] = {
	{ REGION_DUPLICATE, "duplicate" }, { REGION_LATE, "late" }, { REGION_AHEAD, "ahead" },
	{ REGION_OLD, "old" },             { REGION_HELD, "held" },  { REGION_UNKNOWN, "unknown" },
};

static const char *const kind_names[] = {
	[OWNED_CLAIM] = "claim",   [OWNED_MARK] = "mark",   [OWNED_DARK] = "dark",     [OWNED_HELD] = "held",
	[OWNED_RESOLVE] = "resolve", [OWNED_ASIDE] = "aside", [OWNED_DECIDE] = "decide",
};

void render_init(struct render *r)
{
	memset(r, 0, sizeof(*r));
	block_init(&r->block);
}

void render_done(struct render *r)
{
	block_done(&r->block);
	buf_done(&r->words);
	buf_done(&r->payload);
}

static void append_member(struct buf *out, const char *name, struct slice text)
{
	buf_printf(out, ",\"%s\":", name);
	json_append_string(out, text);
}

static void append_double(struct buf *out, double v)
{
	char text[DECIMAL_TEXT_MAX];
	int n = decimal_format(v, text);
	const char *quote = text[0] == 'N' || strchr(text, 'I') ? "\"" : "";

	buf_printf(out, "%s%.*s%s", quote, n, text, quote);
}

/* ------------------------------------------------------------------ readings */

/* The reading's own members; the line stays open for more. */
static int append_reading(struct render *r, uint32_t i, const struct owned_record *record, struct buf *out)
{
	const struct block *b = &r->block;
	struct telemetry t;

	buf_reset(&r->payload);

	int result = block_payload(b, i, &r->payload);

	if (result == 0)
		result = telemetry_parse(&t, r->payload.data, r->payload.len);
	if (result < 0)
		return result;
	if (!t.has_timestamp) {
		t.has_timestamp = true;
		t.timestamp_ns = b->timestamp_ns[i];
	}
	telemetry_append_json(out, &t, true);
	buf_printf(out, ",\"arrival_ns\":\"%" PRId64 "\",\"shard\":%" PRIu32 ",\"offset\":%" PRIu64, b->arrival_ns[i],
		   record->partition, record->offset);
	if (b->flags[i] & BLOCK_STAMPED)
		buf_append_str(out, ",\"stamped\":true");
	return 0;
}

static int read_block(struct render *r, const struct envelope *e)
{
	if (e->block.len == 0) {
		r->block.count = 0;
		return 0;
	}
	return block_read(&r->block, e->block);
}

static int edge_record(struct render *r, const struct owned_record *record, struct buf *out)
{
	struct envelope e;
	int result = envelope_read(&e, record->value);

	if (result == 0)
		result = read_block(r, &e);
	for (uint32_t i = 0; result == 0 && i < r->block.count; i++) {
		result = append_reading(r, i, record, out);
		append_member(out, "gateway_id", e.gateway_id);
		buf_append_str(out, "}\n");
	}
	return result;
}

static void append_flags(struct buf *out, uint8_t flags, bool replay)
{
	const char *comma = "";

	buf_append_str(out, ",\"flags\":[");
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (!(flags & flag_names[i].flag))
			continue;
		buf_printf(out, "%s\"%s\"", comma, flag_names[i].name);
		comma = ",";
	}
	if (replay)
		buf_printf(out, "%s\"replay\"", comma);
	buf_append_str(out, "]");
}

static int region_record(struct render *r, const struct owned_record *record, struct buf *out)
{
	struct region_data d;
	struct envelope e;

	if (record->kind != OWNED_DATA) {
		const char *kind = record->kind < ARRAY_SIZE(kind_names) ? kind_names[record->kind] : NULL;

		if (r->all)
			buf_printf(out, "{\"kind\":\"%s\",\"shard\":%" PRIu32 ",\"offset\":%" PRIu64 ",\"epoch\":%" PRIu64 "}\n",
				   kind ? kind : "unknown", record->partition, record->offset, record->epoch);
		return 0;
	}

	int result = region_data_read(&d, record->value, &r->words);

	if (result == 0)
		result = envelope_read(&e, d.envelope);
	if (result == 0)
		result = read_block(r, &e);
	if (result == 0 && r->block.count > 0 && d.n_devices != r->block.n_devices)
		result = -EBADMSG;
	for (uint32_t i = 0; result == 0 && i < r->block.count; i++) {
		uint32_t device = r->block.device[i];

		if (!r->all && (d.replay || region_data_flags(&d, i) & (REGION_DUPLICATE | REGION_UNKNOWN)))
			continue;
		result = append_reading(r, i, record, out);
		append_member(out, "type", d.words[d.type[device]]);
		append_member(out, "place", d.words[d.place[device]]);
		append_member(out, "owner", d.words[d.owner[device]]);
		append_member(out, "gateway_id", e.gateway_id);
		append_flags(out, region_data_flags(&d, i), d.replay);
		buf_append_str(out, "}\n");
	}
	return result;
}

/* ------------------------------------------------------------------ deltas */

static void append_window(struct buf *out, const Sluice__V1__Window *w)
{
	char sum[48];
	__int128 fixed = 0;

	if (w->sum.len == sizeof(fixed))
		memcpy(&fixed, w->sum.data, sizeof(fixed));
	buf_printf(out, "{\"window_start_ns\":\"%" PRId64 "\"", w->start_ns);
	append_member(out, "type", SLICE_STR(w->type));
	append_member(out, "metric", SLICE_STR(w->metric));
	buf_printf(out, ",\"count\":%" PRIu64 ",\"devices\":%" PRIu64 ",\"sum\":\"%.*s\",\"min\":", w->count, w->devices,
		   decimal_format_fixed9(fixed, sum), sum);
	append_double(out, w->min);
	buf_append_str(out, ",\"max\":");
	append_double(out, w->max);
	buf_printf(out, ",\"not_finite\":%" PRIu64 ",\"out_of_range\":%" PRIu64 ",\"late\":%" PRIu64 "}", w->not_finite,
		   w->out_of_range, w->late);
}

static void append_notice(struct buf *out, const Sluice__V1__Notice *n)
{
	buf_append_str(out, "{\"rule\":");
	json_append_string(out, SLICE_STR(n->rule));
	append_member(out, "device_id", SLICE_STR(n->device_id));
	append_member(out, "metric", SLICE_STR(n->metric));
	buf_printf(out, ",\"event_ns\":\"%" PRId64 "\",\"value\":", n->event_ns);
	append_double(out, n->value);
	buf_append_str(out, ",\"expected\":");
	append_double(out, n->expected);
	buf_append_str(out, ",\"score\":");
	append_double(out, n->score);
	buf_printf(out, ",\"cleared\":%s}", n->cleared ? "true" : "false");
}

static int delta_record(struct render *r, const struct owned_record *record, struct buf *out)
{
	Sluice__V1__ConsolidatedEnvelope *d = sluice__v1__consolidated_envelope__unpack(NULL, record->value.len, record->value.data);

	if (!d)
		return -EBADMSG;
	buf_append_str(out, "{\"region_id\":");
	json_append_string(out, SLICE_STR(d->region_id));
	buf_printf(out, ",\"partition_key\":%" PRIu32 ",\"generation\":%" PRIu32 ",\"as_of\":\"%" PRIu64 "\"", d->partition_key,
		   d->log_id ? d->log_id->generation : 0, d->as_of);
	buf_printf(out, ",\"watermark_ns\":\"%" PRId64 "\",\"cut_ns\":\"%" PRId64 "\",\"completeness\":", d->watermark_ns, d->cut_ns);
	append_double(out, d->completeness);
	buf_printf(out, ",\"unique\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"windows\":[", d->unique, d->duplicates);
	for (size_t i = 0; i < d->n_windows; i++) {
		buf_append_str(out, i > 0 ? "," : "");
		append_window(out, d->windows[i]);
	}
	buf_append_str(out, "],\"notices\":[");
	for (size_t i = 0; i < d->n_notices; i++) {
		buf_append_str(out, i > 0 ? "," : "");
		append_notice(out, d->notices[i]);
	}
	buf_printf(out, "],\"offset\":%" PRIu64 "}\n", record->offset);
	sluice__v1__consolidated_envelope__free_unpacked(d, NULL);
	return 0;
}

/* ------------------------------------------------------------------ what is JSON already */

static int json_record(struct render *r, const struct owned_record *record, struct buf *out)
{
	buf_append(out, record->value.data, record->value.len);
	if (record->value.len == 0 || ((const char *)record->value.data)[record->value.len - 1] != '\n')
		buf_append_u8(out, '\n');
	return 0;
}

static const struct render_stream streams[] = {
	{ "edge.telemetry", false, edge_record }, { "region.log", true, region_record },
	{ "region.deltas", false, delta_record }, { "region.alerts", false, json_record },
	{ "global.windows", false, json_record }, { "global.alerts", false, json_record },
};

const struct render_stream *render_find(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		size_t n = strlen(streams[i].name);

		if (len >= n && strcmp(name + len - n, streams[i].name) == 0)
			return &streams[i];
	}
	return NULL;
}

const char *render_names(void)
{
	return "edge.telemetry, region.log, region.deltas, region.alerts, global.windows, global.alerts";
}
