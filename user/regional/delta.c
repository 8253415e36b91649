/* What leaves the region.
 *
 * delta_build() is the only constructor of what other regions and the aggregator see of this one, and so the place
 * where governance stands: today everything that is summed up may leave, and of single readings only notices do;
 * metrics that are resident are left out here once they can be named.
 *
 * A delta has only what has changed since the one before, and every window in it is whole: it replaces, it does not
 * add. More windows than DELTA_WINDOWS_MAX, or notices than NOTICES_A_DELTA, go in several deltas of the same tag, a
 * cut; only the last of them tells the new watermark, because what is before a watermark must have been told.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/alert.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/decimal.h"
#include "codec/message.h"
#include "codec/telemetry.h"
#include "proto/delta.pb-c.h"
#include "regional/region.h"

#define DELTA_WINDOWS_MAX 256
#define TURN_NS (100 * NS_PER_MS)
#define RULE_EVENT "device" /* in the ids of region.alerts: a device's silence and another event of the same onset are two */
#define RULE_SILENCE "silence"

struct told_notice {
	Sluice__V1__Notice message;
	char device[33];
	Sluice__V1__MetricShare shares[NOTICE_SHARES_MAX];
	Sluice__V1__MetricShare *share_list[NOTICE_SHARES_MAX];
};

/* Everything that one delta is made of. */
struct delta {
	Sluice__V1__ConsolidatedEnvelope message;
	Sluice__V1__LogId log, source;
	Sluice__V1__SourcePosition covered;
	Sluice__V1__SourcePosition *covered_list[1];
	uint8_t log_uuid[16], source_uuid[16];
	Sluice__V1__Window windows[DELTA_WINDOWS_MAX];
	Sluice__V1__Window *window_list[DELTA_WINDOWS_MAX];
	uint8_t sums[DELTA_WINDOWS_MAX][16], squares[DELTA_WINDOWS_MAX][32];
	struct told_notice notices[NOTICES_A_DELTA];
	Sluice__V1__Notice *notice_list[NOTICES_A_DELTA];
};

/* Words and ids have no terminating zero, protobuf-c wants one: words.c and this keep one behind them. */
static char *text_of(const struct shard *s, uint32_t word)
{
	return (char *)words_get(&s->words, word).data;
}

static void fill_log(Sluice__V1__LogId *to, const struct log_id *id, uint8_t uuid[16])
{
	sluice__v1__log_id__init(to);
	memcpy(uuid, id->uuid, sizeof(id->uuid));
	to->generation = id->generation;
	to->uuid = (ProtobufCBinaryData){ .len = sizeof(id->uuid), .data = uuid };
}

static int fill_histogram(Sluice__V1__Window *to, const struct histogram *h)
{
	int32_t *buckets = malloc((h->n + 1) * sizeof(*buckets));
	uint64_t *counts = malloc((h->n + 1) * sizeof(*counts));

	to->bucket = buckets;
	to->bucket_count = counts;
	if (!buckets || !counts)
		return -ENOMEM;
	to->n_bucket = to->n_bucket_count = h->n;
	for (uint32_t i = 0; i < h->n; i++) {
		buckets[i] = h->buckets[i].index;
		counts[i] = h->buckets[i].count;
	}
	return 0;
}

static int fill_window(struct delta *d, uint32_t at, const struct shard *s, const struct window *w)
{
	Sluice__V1__Window *to = &d->windows[at];
	const struct window_values *v = &w->values;

	_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the sums below are written as they lie in memory");
	sluice__v1__window__init(to);
	to->start_ns = w->start_ns;
	to->type = text_of(s, w->type);
	to->metric = text_of(s, w->metric);
	to->count = v->count;
	to->devices = windows_devices(&s->windows, w);
	memcpy(d->sums[at], &v->sum, sizeof(v->sum));
	to->sum = (ProtobufCBinaryData){ .len = sizeof(v->sum), .data = d->sums[at] };
	memcpy(d->squares[at], &v->sum_squares, sizeof(v->sum_squares));
	to->sum_squares = (ProtobufCBinaryData){ .len = sizeof(v->sum_squares), .data = d->squares[at] };
	to->min = v->min;
	to->max = v->max;
	to->not_finite = v->not_finite;
	to->out_of_range = v->out_of_range;
	to->late = v->late;
	return fill_histogram(to, &v->histogram);
}

static void fill_shares(struct told_notice *told, const struct shard *s, const struct notice *n)
{
	for (uint32_t i = 0; i < n->n_shares; i++) {
		sluice__v1__metric_share__init(&told->shares[i]);
		told->shares[i].metric = text_of(s, n->share_metrics[i]);
		told->shares[i].share = n->shares[i];
		told->share_list[i] = &told->shares[i];
	}
	told->message.n_shares = n->n_shares;
	told->message.shares = told->share_list;
}

static void fill_notice(struct told_notice *told, const struct shard *s, const struct notice *n)
{
	struct slice id = device_id(&s->devices.list[n->device]);
	Sluice__V1__Notice *to = &told->message;

	memcpy(told->device, id.data, id.len);
	told->device[id.len] = 0;
	sluice__v1__notice__init(to);
	to->rule = (char *)detector_kind_name(n->kind);
	to->device_id = told->device;
	to->type = text_of(s, n->type);
	to->place = text_of(s, n->place);
	to->metric = n->metric == NOTICE_NO_METRIC ? (char *)"" : text_of(s, n->metric);
	to->direction = n->direction;
	to->low = n->low;
	to->high = n->high;
	to->stale = n->stale;
	to->event_ns = n->event_ns;
	to->arrival_ns = n->arrival_ns;
	to->value = n->value;
	to->expected = n->expected;
	to->score = n->score;
	to->onset_ns = n->onset_ns;
	to->cleared = n->cleared;
	to->reading_hash = n->hash;
	fill_shares(told, s, n);
}

static void fill_head(struct delta *d, const struct region *r, const struct shard *s, int64_t now_ns)
{
	Sluice__V1__ConsolidatedEnvelope *m = &d->message;
	struct log_id log = owned_log_identity(r->log);

	sluice__v1__consolidated_envelope__init(m);
	fill_log(&d->log, &log, d->log_uuid);
	fill_log(&d->source, &r->edge_id, d->source_uuid);
	sluice__v1__source_position__init(&d->covered);
	d->covered.log = &d->source;
	d->covered.partition = s->number;
	d->covered.next = s->covered;
	d->covered_list[0] = &d->covered;
	m->version = 1;
	m->region_id = (char *)r->settings->node_region;
	m->partition_key = s->number;
	m->log_id = &d->log;
	m->as_of = s->folded_end;
	m->n_covered = 1;
	m->covered = d->covered_list;
	m->completeness = s->folded.n > 0 ? (double)gateways_live(&s->folded) / s->folded.n : 0;
	m->cut_ns = now_ns;
	m->trace_id = (ProtobufCBinaryData){ .len = sizeof(s->trace_id), .data = (uint8_t *)s->trace_id };
	m->oldest_change_ns = s->oldest_change_ns;
	m->unique = s->totals.unique + s->totals.late + s->totals.ahead;
	m->duplicates = s->totals.duplicates;
}

/* Where a cut has got to. */
struct cut {
	uint32_t window, notice; /* the next ones */
	bool last;               /* nothing comes after this delta */
};

/* What fits of the changed windows and of the notices. */
static int delta_build(struct delta *d, const struct region *r, const struct shard *s, struct cut *cut, int64_t now_ns)
{
	const struct windows *w = &s->windows;
	int e = 0;

	fill_head(d, r, s, now_ns);
	d->message.windows = d->window_list;
	for (; cut->window < w->n_changed && d->message.n_windows < DELTA_WINDOWS_MAX && e == 0; cut->window++) {
		size_t at = d->message.n_windows++;

		e = fill_window(d, (uint32_t)at, s, &w->list[w->changed[cut->window]]);
		d->window_list[at] = &d->windows[at];
	}
	d->message.notices = d->notice_list;
	for (; cut->notice < s->notices.n && d->message.n_notices < NOTICES_A_DELTA; cut->notice++) {
		size_t at = d->message.n_notices++;

		fill_notice(&d->notices[at], s, &s->notices.list[cut->notice]);
		d->notice_list[at] = &d->notices[at].message;
	}
	cut->last = cut->window == w->n_changed && cut->notice == s->notices.n;
	d->message.watermark_ns = cut->last ? s->folded.watermark_ns : s->told_watermark_ns;
	return e;
}

static void delta_done(struct delta *d)
{
	for (size_t i = 0; i < d->message.n_windows; i++) {
		free(d->windows[i].bucket);
		free(d->windows[i].bucket_count);
	}
}

static int send_value(struct outlet *o, uint32_t partition, struct slice value)
{
	int r = outlet_send(o, partition, value);

	for (int turns = 0; r == -EAGAIN && turns < 10; turns++) {
		outlet_turn(o, clock_mono_ns() + TURN_NS);
		r = outlet_send(o, partition, value);
	}
	return r;
}

static int send_one(struct region *r, struct shard *s, struct cut *cut, int64_t now_ns)
{
	struct delta *d = calloc(1, sizeof(*d));
	int e = d ? delta_build(d, r, s, cut, now_ns) : -ENOMEM;

	if (e == 0) {
		buf_reset(&r->value);
		e = message_append(&r->value, &d->message.base);
		if (e == 0)
			e = send_value(&r->deltas, s->number, buf_slice(&r->value));
	}
	if (d)
		delta_done(d);
	free(d);
	return e;
}

int delta_send(struct region *r, struct shard *s)
{
	int64_t now_ns = clock_wall_ns();
	struct cut cut;

	if (!r->deltas.stream)
		return -ENOTCONN;
	/* What was sent before and is confirmed need not be kept for a repetition. */
	if (outlet_pending(&r->deltas) == 0 && !r->deltas.lost) {
		int e = shard_floor_ns(s) == INT64_MIN ? 0 : windows_drop(&s->windows, shard_floor_ns(s));

		if (e < 0)
			return e;
		notices_confirmed(&s->notices);
	}
	cut = (struct cut){ .notice = s->notices.sent };
	do {
		int e = send_one(r, s, &cut, now_ns);

		if (e < 0)
			return e;
		r->deltas_sent++;
	} while (!cut.last);
	s->told_watermark_ns = s->folded.watermark_ns;
	windows_mark(&s->windows, false);
	s->oldest_change_ns = 0;
	notices_sent(&s->notices);
	s->urgent = false;
	return 0;
}

/* ------------------------------------------------------------------ what was told before */

#define LOOK_BACK_SHORT 8
#define LOOK_BACK_LONG 512 /* more than the deltas of one tag */
#define LOOK_NS (2 * NS_PER_S)

/* The last two cuts of a shard. */
struct cuts {
	int64_t cut_ns;
	uint64_t as_of, before_as_of;
	bool before; /* whether there are two */
};

static void take_cut(struct cuts *c, const struct log_id *log, struct slice value)
{
	Sluice__V1__ConsolidatedEnvelope *m = sluice__v1__consolidated_envelope__unpack(NULL, value.len, value.data);

	if (m && m->log_id && m->log_id->generation == log->generation && m->log_id->uuid.len == sizeof(log->uuid) &&
	    memcmp(m->log_id->uuid.data, log->uuid, sizeof(log->uuid)) == 0 && m->cut_ns != c->cut_ns) {
		c->before = c->cut_ns != 0;
		c->before_as_of = c->as_of;
		c->cut_ns = m->cut_ns;
		c->as_of = m->as_of;
	}
	if (m)
		sluice__v1__consolidated_envelope__free_unpacked(m, NULL);
}

static int look_back(struct stream *s, uint32_t partition, uint64_t n, const struct log_id *log, struct cuts *ret)
{
	int64_t deadline_ns = clock_mono_ns() + LOOK_NS;
	uint64_t first, end, next;
	struct stream_record record;
	uint32_t lost;
	int r = stream_range(s, partition, &first, &end);

	*ret = (struct cuts){ 0 };
	if (r < 0 || first == end)
		return r;
	next = end - first > n ? end - n : first;
	r = stream_seek(s, partition, next);
	while (r == 0 && next < end) {
		r = stream_read(s, &record, 1, deadline_ns, &lost);
		if (r <= 0)
			break;
		take_cut(ret, log, record.value);
		next = record.offset + 1;
		r = 0;
	}
	(void)stream_leave(s, partition);
	return r;
}

/* A cut may have been torn by the end of its process, between two deltas of one tag.  The one before it was whole. */
void delta_find_told(struct region *r, const struct log_id *log)
{
	struct stream_options options = { .reader = true, .development = r->settings->streams_development };
	struct stream_error error;
	struct stream *s;

	if (stream_open(&s, r->settings->streams_region_deltas, &options, &error) < 0)
		return;
	for (uint32_t i = 0; i < r->n_shards; i++) {
		struct cuts cuts;
		int e = look_back(s, r->shards[i]->number, LOOK_BACK_SHORT, log, &cuts);

		if (e == 0 && !cuts.before)
			e = look_back(s, r->shards[i]->number, LOOK_BACK_LONG, log, &cuts);
		r->shards[i]->told_end = e == 0 && cuts.before ? cuts.before_as_of : 0;
	}
	stream_close(s);
}

/* ------------------------------------------------------------------ region.alerts */

static void append_double(struct buf *b, const char *key, double value)
{
	char text[DECIMAL_TEXT_MAX];

	decimal_format(value, text);
	buf_printf(b, ",\"%s\":%s", key, text);
}

static void append_word(struct buf *b, const char *key, struct slice word)
{
	buf_printf(b, ",\"%s\":", key);
	json_append_string(b, word);
}

static void append_shares(struct buf *b, const struct shard *s, const struct notice *n)
{
	char text[DECIMAL_TEXT_MAX];

	buf_append_str(b, ",\"shares\":{");
	for (uint32_t i = 0; i < n->n_shares; i++) {
		if (i > 0)
			buf_append_u8(b, ',');
		json_append_string(b, words_get(&s->words, n->share_metrics[i]));
		decimal_format(n->shares[i], text);
		buf_printf(b, ":%s", text);
	}
	buf_append_u8(b, '}');
}

static void append_alert(struct buf *b, const struct region *r, const struct shard *s, const struct notice *n, uint64_t id)
{
	buf_printf(b, "{\"alert_id\":\"%016" PRIx64 "\",\"kind\":\"%s\"", id, detector_kind_name(n->kind));
	buf_printf(b, ",\"direction\":%d", n->direction);
	append_word(b, "region", SLICE_STR(r->settings->node_region));
	append_word(b, "device_id", device_id(&s->devices.list[n->device]));
	append_word(b, "type", words_get(&s->words, n->type));
	append_word(b, "place", words_get(&s->words, n->place));
	append_word(b, "metric", n->metric == NOTICE_NO_METRIC ? SLICE("", 0) : words_get(&s->words, n->metric));
	buf_printf(b, ",\"state\":\"%s\",\"stale\":%s", n->cleared ? "cleared" : "raised", n->stale ? "true" : "false");
	buf_printf(b, ",\"event_ns\":\"%" PRId64 "\",\"arrival_ns\":\"%" PRId64 "\"", n->event_ns, n->arrival_ns);
	buf_printf(b, ",\"onset_ns\":\"%" PRId64 "\"", n->onset_ns);
	append_double(b, "value", n->value);
	append_double(b, "expected", n->expected);
	append_double(b, "low", n->low);
	append_double(b, "high", n->high);
	append_double(b, "score", n->score);
	append_shares(b, s, n);
	buf_printf(b, ",\"reading_hash\":\"%016" PRIx64 "\"}", n->hash);
}

int alert_send(struct region *r, const struct shard *s, const struct notice *n)
{
	struct slice id_text = device_id(&s->devices.list[n->device]);
	char device[33] = "";
	uint64_t id;
	int e;

	memcpy(device, id_text.data, id_text.len);
	e = alert_id(n->kind == DETECTOR_SILENCE ? RULE_SILENCE : RULE_EVENT, device, "", n->onset_ns, &id);
	if (e < 0)
		return e;
	buf_reset(&r->value);
	append_alert(&r->value, r, s, n, id);
	e = buf_error(&r->value);
	return e < 0 ? e : send_value(&r->alerts, s->number, buf_slice(&r->value));
}
