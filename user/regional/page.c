/* What people and scrapers see: metrics, and /region.json. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "codec/decimal.h"
#include "codec/telemetry.h"
#include "regional/region.h"

/* Sums over the shards. */
struct sums {
	struct shard_totals totals;
	uint64_t backlog, windows, devices, detectors, unwatched, silent;
	int64_t watermark_ns, newest_clock_ns;
};

static void add_totals(struct shard_totals *to, const struct shard_totals *from)
{
	/* All members are counts. */
	_Static_assert(sizeof(*to) % sizeof(uint64_t) == 0, "nothing but counts");
	const uint64_t *f = (const uint64_t *)from;
	uint64_t *t = (uint64_t *)to;

	for (size_t i = 0; i < sizeof(*to) / sizeof(uint64_t); i++)
		t[i] += f[i];
}

static struct sums sum_up(const struct region *r)
{
	struct sums sums = { .watermark_ns = INT64_MAX, .newest_clock_ns = INT64_MIN };

	for (uint32_t i = 0; i < r->n_shards; i++) {
		const struct shard *s = r->shards[i];

		add_totals(&sums.totals, &s->totals);
		sums.backlog += s->end > s->next ? s->end - s->next : 0;
		sums.windows += s->windows.n;
		sums.devices += s->devices.n;
		sums.detectors += s->detectors.n;
		sums.unwatched += s->detectors.refused;
		sums.silent += s->detectors.n_silent;
		if (s->folded.n > 0)
			sums.watermark_ns = MIN(sums.watermark_ns, s->folded.watermark_ns);
		sums.newest_clock_ns = MAX(sums.newest_clock_ns, s->folded.newest_clock_ns);
	}
	return sums;
}

/* ------------------------------------------------------------------ gateways of the region: of any shard */

struct seen {
	const struct gateway *gateway;
	int64_t at_ns;
	bool dark; /* in every shard that knows it */
};

static uint32_t list_gateways(const struct region *r, struct seen list[GATEWAYS_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->n_shards; i++) {
		const struct shard *s = r->shards[i];

		for (uint32_t g = 0; g < s->n_heard; g++) {
			const struct gateway *v = &s->decided.list[g];
			uint32_t k = 0;

			while (k < n && (list[k].gateway->id_len != v->id_len || memcmp(list[k].gateway->id, v->id, v->id_len) != 0))
				k++;
			if (k == GATEWAYS_MAX)
				continue;
			if (k == n)
				list[n++] = (struct seen){ .gateway = v, .at_ns = s->heard[g].at_ns, .dark = true };
			list[k].at_ns = MAX(list[k].at_ns, s->heard[g].at_ns);
			list[k].dark &= v->dark;
		}
	}
	return n;
}

/* ------------------------------------------------------------------ the error budget */

static double budget_share(const struct region *r)
{
	int64_t minute = clock_wall_ns() / NS_PER_MIN;
	uint64_t bad = 0, all = 0;

	for (size_t i = 0; i < REGION_BUDGET_MINUTES; i++) {
		if (r->budget[i].minute <= minute - REGION_BUDGET_MINUTES)
			continue;
		bad += r->budget[i].bad;
		all += r->budget[i].all;
	}
	return all > 0 ? (double)bad / (double)all : 0;
}

static void spend_budget(struct region *r, const struct shard_totals *t)
{
	uint64_t bad = t->late + t->ahead + t->old + t->aside, all = bad + t->unique + t->duplicates;
	int64_t minute = clock_wall_ns() / NS_PER_MIN;
	size_t at = (size_t)(minute % REGION_BUDGET_MINUTES);

	if (r->budget[at].minute != minute) {
		r->budget[at].minute = minute;
		r->budget[at].bad = r->budget[at].all = 0;
	}
	/* The first look after a fold has the whole past in it. */
	if (r->budget_all > 0) {
		r->budget[at].bad += bad - r->budget_bad;
		r->budget[at].all += all - r->budget_all;
	}
	r->budget_bad = bad;
	r->budget_all = MAX(all, 1u);
}

/* ------------------------------------------------------------------ metrics */

static void set_counters(const struct region *r, const struct sums *sums)
{
	const struct shard_totals *t = &sums->totals;
	const struct {
		uint32_t id, value;
		uint64_t total;
	} rows[] = {
		{ RM_READINGS, RESULT_UNIQUE, t->unique },   { RM_READINGS, RESULT_DUPLICATE, t->duplicates },
		{ RM_READINGS, RESULT_LATE, t->late },       { RM_READINGS, RESULT_AHEAD, t->ahead },
		{ RM_READINGS, RESULT_ANCIENT, t->old },     { RM_READINGS, RESULT_ASIDE, t->aside },
		{ RM_ENVELOPES, 0, t->envelopes },           { RM_HEARTBEATS, 0, t->heartbeats },
		{ RM_ASIDES, 0, t->asides },                 { RM_REPLAYS, 0, t->replays },
		{ RM_NOTICES, 0, t->notices },               { RM_NOTICES_STALE, 0, t->notices_stale },
		{ RM_NOTICES_LOST, 0, t->notices_lost },     { RM_UNWINDOWED, 0, t->unwindowed },
		{ RM_ALERTS_LOST, 0, r->alerts_lost },       { RM_UNWATCHED, 0, sums->unwatched },
		{ RM_MALFORMED, 0, t->malformed },           { RM_ORDINAL_GAPS, 0, t->gaps },
		{ RM_PAGE_INS, 0, r->page_ins },             { RM_DELTAS, 0, r->deltas_sent },
		{ RM_STREAM_ERRORS, 0, r->errors + r->deltas.errors + r->alerts.errors },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		metric_set_total(r->metrics, rows[i].id, rows[i].value, rows[i].total);
}

static double watermark_lag(const struct region *r, const struct sums *sums)
{
	bool event = r->settings->streams_clock == CLOCK_EVENT;
	int64_t now_ns = event ? sums->newest_clock_ns : clock_wall_ns();

	if (sums->watermark_ns == INT64_MAX || sums->watermark_ns == WATERMARK_NONE || now_ns == INT64_MIN)
		return 0;
	return ((double)now_ns - (double)sums->watermark_ns) / (double)NS_PER_S;
}

static void set_gauges(const struct region *r, const struct sums *sums, uint32_t live, uint32_t dark)
{
	const struct {
		uint32_t id;
		double v;
	} rows[] = {
		{ RM_APPEND_PENDING, r->n_flying },
		{ RM_BACKLOG, (double)sums->backlog },
		{ RM_GATEWAYS_LIVE, live },
		{ RM_GATEWAYS_DARK, dark },
		{ RM_WINDOWS, (double)sums->windows },
		{ RM_DEVICES, (double)sums->devices },
		{ RM_DETECTORS, (double)sums->detectors },
		{ RM_SILENT, (double)sums->silent },
		{ RM_ERROR_BUDGET, budget_share(r) },
		{ RM_WATERMARK_LAG, watermark_lag(r, sums) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		metric_set(r->metrics, rows[i].id, rows[i].v);
}

/* ------------------------------------------------------------------ /region.json */

static void append_number(struct buf *b, const char *key, double v)
{
	char text[DECIMAL_TEXT_MAX];

	decimal_format(v, text);
	buf_printf(b, isfinite(v) ? ",\"%s\":%s" : ",\"%s\":\"%s\"", key, text);
}

static void append_notice(struct buf *b, const struct region *r, const struct notice *n)
{
	const struct shard *s = r->shard_of[n->shard];

	buf_printf(b, "{\"event_ns\":\"%" PRId64 "\",\"onset_ns\":\"%" PRId64 "\"", n->event_ns, n->onset_ns);
	buf_append_str(b, ",\"device_id\":");
	json_append_string(b, device_id(&s->devices.list[n->device]));
	buf_append_str(b, ",\"place\":");
	json_append_string(b, words_get(&s->words, n->place));
	buf_printf(b, ",\"kind\":\"%s\",\"stale\":%s,\"metric\":", detector_kind_name(n->kind), n->stale ? "true" : "false");
	json_append_string(b, n->metric == NOTICE_NO_METRIC ? SLICE("", 0) : words_get(&s->words, n->metric));
	append_number(b, "value", n->value);
	append_number(b, "expected", n->expected);
	append_number(b, "score", n->score);
	buf_append_u8(b, '}');
}

static void append_gateways(struct buf *b, const struct seen *list, uint32_t n)
{
	int64_t now_ns = clock_mono_ns();

	buf_append_str(b, ",\"gateways\":[");
	for (uint32_t i = 0; i < n; i++) {
		buf_append_str(b, i ? ",{\"id\":" : "{\"id\":");
		json_append_string(b, SLICE(list[i].gateway->id, list[i].gateway->id_len));
		buf_printf(b, ",\"last_seen_ms\":%" PRId64 ",\"dark\":%s}", (int64_t)((now_ns - list[i].at_ns) / NS_PER_MS),
			   list[i].dark ? "true" : "false");
	}
	buf_append_u8(b, ']');
}

static void append_page(struct buf *b, const struct region *r, const struct seen *list, uint32_t n_gateways)
{
	uint64_t kept = MIN(r->n_notices, (uint64_t)REGION_NOTICES), shown = 0;

	buf_append_str(b, "{\"region\":");
	json_append_string(b, SLICE_STR(r->settings->node_region));
	buf_printf(b, ",\"shards\":%u", r->n_shards);
	append_gateways(b, list, n_gateways);
	buf_append_str(b, ",\"notices\":[");
	for (uint64_t i = 0; i < kept && shown < REGION_NOTICES_SHOWN; i++) { /* the newest first */
		const struct notice *n = &r->notices[(r->n_notices - 1 - i) % REGION_NOTICES];

		if (n->cleared)
			continue;
		if (shown++ > 0)
			buf_append_u8(b, ',');
		append_notice(b, r, n);
	}
	buf_printf(b, "],\"error_budget\":{\"window_s\":%d", REGION_BUDGET_MINUTES * 60);
	append_number(b, "share", budget_share(r));
	buf_append_str(b, "},\"covered\":[");
	for (uint32_t i = 0; i < r->n_shards; i++)
		buf_printf(b, "%s{\"shard\":%u,\"covered\":%" PRIu64 ",\"as_of\":%" PRIu64 "}", i ? "," : "", r->shards[i]->number,
			   r->shards[i]->covered, r->shards[i]->folded_end);
	buf_printf(b, "],\"folded_idle\":%s}\n", region_idle(r) ? "true" : "false");
}

void region_refresh(struct region *r)
{
	struct seen list[GATEWAYS_MAX];
	struct sums sums = sum_up(r);
	uint32_t n = list_gateways(r, list), dark = 0;

	for (uint32_t i = 0; i < n; i++)
		dark += list[i].dark;
	spend_budget(r, &sums.totals);
	set_counters(r, &sums);
	set_gauges(r, &sums, n - dark, dark);
	buf_reset(&r->next_page);
	append_page(&r->next_page, r, list, n);
	if (buf_error(&r->next_page) < 0)
		return;
	pthread_mutex_lock(&r->lock);

	struct buf last = r->page;

	r->page = r->next_page;
	r->next_page = last;
	pthread_mutex_unlock(&r->lock);
}

int region_page(void *context, const char *path, struct buf *body)
{
	struct region *r = context;

	pthread_mutex_lock(&r->lock);
	buf_append(body, r->page.data, r->page.len);
	pthread_mutex_unlock(&r->lock);
	if (body->len == 0)
		buf_append_str(body, "{}\n");
	return 200;
}
