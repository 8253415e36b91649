#include "aggregator/render.h"

#include <inttypes.h>
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

int render_alert(struct buf *ret, const struct alert *a, int64_t raised_ns)
{
	buf_printf(ret, "{\"alert_id\":\"%016" PRIx64 "\"", a->id);
	append_text(ret, "status", a->cleared ? "cleared" : "raised");
	append_text(ret, "rule", a->rule);
	append_text(ret, "region", a->region);
	append_text(ret, "device_id", a->device_id);
	append_text(ret, "type", a->type);
	append_text(ret, "place", a->place);
	append_text(ret, "metric", a->metric);
	append_number(ret, "value", a->value);
	append_number(ret, "expected", a->expected);
	append_number(ret, "score", a->score);
	append_time(ret, "event_ns", a->event_ns);
	if (a->arrival_ns != 0)
		append_time(ret, "arrival_ns", a->arrival_ns);
	else
		buf_append_str(ret, ",\"arrival_ns\":null");
	append_time(ret, "onset_ns", a->onset_ns);
	append_time(ret, "raised_ns", raised_ns);
	if (a->arrival_ns != 0)
		append_number(ret, "notice_latency_ms", (double)((raised_ns - a->arrival_ns) / NS_PER_US) / 1000);
	else
		buf_append_str(ret, ",\"notice_latency_ms\":null");
	buf_printf(ret, ",\"version\":\"%" PRIu64 "\"}", a->version);
	return buf_error(ret);
}
