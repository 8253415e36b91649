#include "aggregator/render.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "codec/decimal.h"
#include "codec/telemetry.h"

const char *const render_statuses[4] = {
	[SLUICE__V1__WINDOW_DECISION__STATUS__EARLY] = "early",
	[SLUICE__V1__WINDOW_DECISION__STATUS__PARTIAL] = "partial",
	[SLUICE__V1__WINDOW_DECISION__STATUS__FINAL] = "final",
	[SLUICE__V1__WINDOW_DECISION__STATUS__CORRECTED] = "corrected",
};

static void append_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, ",\"%s\":", key);
	if (text)
		json_append_string(b, SLICE_STR(text));
	else
		buf_append_str(b, "null");
}

static void append_number(struct buf *b, const char *key, double value)
{
	char text[DECIMAL_TEXT_MAX];

	decimal_format(value, text);
	buf_printf(b, ",\"%s\":%s", key, text);
}

static void append_time(struct buf *b, const char *key, int64_t time_ns)
{
	buf_printf(b, ",\"%s\":\"%" PRId64 "\"", key, time_ns);
}

static void append_region_as_of(struct buf *b, const struct region *region)
{
	const char *comma = "";

	buf_append_u8(b, '[');
	for (uint32_t i = 0; i < region->n_shards; i++) {
		const struct shard *shard = region->shards[i];

		if (!shard)
			continue;

		const char *quote = shard->as_of > 1ULL << 53 ? "\"" : "";

		buf_printf(b, "%s[%" PRIu32 ",%" PRIu32 ",%s%" PRIu64 "%s]", comma, shard->number,
			   shard->log.generation, quote, shard->as_of, quote);
		comma = ",";
	}
	buf_append_u8(b, ']');
}

/* Of the regions that have a part in the window; parts stand in the order of regions. */
static void append_as_of(struct buf *b, const struct window *w)
{
	const struct region *last = NULL;

	buf_append_str(b, ",\"as_of\":{");
	for (uint32_t i = 0; i < w->n_parts; i++) {
		const struct region *region = w->parts[i].shard->region;

		if (region == last)
			continue;
		if (last)
			buf_append_u8(b, ',');
		json_append_string(b, SLICE_STR(region->name));
		buf_append_u8(b, ':');
		append_region_as_of(b, region);
		last = region;
	}
	buf_append_u8(b, '}');
}

int render_window(struct buf *ret, const struct publication *p)
{
	const Sluice__V1__WindowDecision *d = p->decision;
	struct window_values merged;
	int r = window_merge(&merged, p->window);

	if (r < 0)
		return r;
	buf_printf(ret, "{\"window_start_ns\":\"%" PRId64 "\"", p->start_ns);
	append_text(ret, "type", p->series->type);
	append_text(ret, "metric", p->series->metric);
	buf_printf(ret, ",\"version\":\"%" PRIu64 "\"", p->version);
	append_text(ret, "status", render_statuses[d->status]);
	append_number(ret, "completeness", d->completeness);
	buf_append_str(ret, ",\"missing\":[");
	for (size_t i = 0; i < d->n_missing_regions; i++) {
		if (i > 0)
			buf_append_u8(ret, ',');
		json_append_string(ret, SLICE_STR(d->missing_regions[i]));
	}
	buf_append_str(ret, "],");
	window_values_append_json(ret, &merged);
	append_as_of(ret, p->window);
	append_time(ret, "decided_ns", p->decided_ns);
	buf_append_u8(ret, '}');
	window_values_done(&merged);
	return buf_error(ret);
}

/* null where there is none. */
static void append_word(struct buf *b, const char *key, const char *text)
{
	append_text(b, key, *text ? text : NULL);
}

static void append_time_or_null(struct buf *b, const char *key, int64_t time_ns)
{
	if (time_ns != 0)
		append_time(b, key, time_ns);
	else
		buf_printf(b, ",\"%s\":null", key);
}

/* Of silence there are no values. */
static void append_values(struct buf *b, const alert_record *r)
{
	const struct {
		const char *key;
		double value;
	} values[] = { { "value", r->value }, { "expected", r->expected }, { "low", r->low }, { "high", r->high } };
	bool silent = !strcmp(r->kind, detector_kind_name(DETECTOR_SILENCE));

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (silent || !isfinite(values[i].value))
			buf_printf(b, ",\"%s\":null", values[i].key);
		else
			append_number(b, values[i].key, values[i].value);
	append_number(b, "score", r->score);
	buf_append_str(b, ",\"shares\":{");
	for (size_t i = 0; i < r->n_shares; i++) {
		char text[DECIMAL_TEXT_MAX];

		if (i > 0)
			buf_append_u8(b, ',');
		json_append_string(b, SLICE_STR(r->shares[i]->metric));
		decimal_format(r->shares[i]->share, text);
		buf_printf(b, ":%s", text);
	}
	buf_append_u8(b, '}');
}

static void append_latency(struct buf *b, const alert_record *r)
{
	int64_t latency_ns;

	if (r->arrival_ns != 0 && !__builtin_sub_overflow(r->decided_ns, r->arrival_ns, &latency_ns))
		append_number(b, "notice_latency_ms", (double)(latency_ns / NS_PER_US) / 1000);
	else
		buf_append_str(b, ",\"notice_latency_ms\":null");
}

int render_alert(struct buf *ret, const alert_record *r, uint64_t version)
{
	buf_printf(ret, "{\"alert_id\":\"%016" PRIx64 "\"", r->alert_id);
	append_text(ret, "status", alert_state_name((int)r->state));
	append_text(ret, "rule", r->rule);
	append_text(ret, "severity", r->severity);
	append_text(ret, "kind", r->kind);
	append_word(ret, "direction", r->direction > 0 ? "up" : r->direction < 0 ? "down" : "");
	append_text(ret, "began_as", *r->raised_kind ? r->raised_kind : r->kind);
	append_word(ret, "region", r->region);
	append_word(ret, "device_id", r->device_id);
	buf_printf(ret, ",\"devices\":%" PRIu64, r->devices);
	append_text(ret, "type", r->type);
	append_word(ret, "place", r->place);
	append_word(ret, "metric", r->metric);
	append_values(ret, r);
	append_time(ret, "event_ns", r->event_ns);
	append_time_or_null(ret, "arrival_ns", r->arrival_ns);
	append_time(ret, "onset_ns", r->onset_ns);
	append_time(ret, "raised_ns", r->decided_ns);
	append_latency(ret, r);
	append_word(ret, "by", r->by);
	append_time_or_null(ret, "until_ns", r->until_ns);
	append_word(ret, "note", r->note);
	append_word(ret, "reason", r->reason);
	buf_printf(ret, ",\"version\":\"%" PRIu64 "\"}", version);
	return buf_error(ret);
}
