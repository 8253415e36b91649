#include "regional/region.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/stop.h"
#include "codec/message.h"
#include "proto/envelope.pb-c.h"
#include "regional/flights.h"

#define READ_MAX 64
#define RETRY_BASE_NS (200 * NS_PER_MS)
#define RETRY_CAP_NS (10 * NS_PER_S)
#define STANDBY_NS NS_PER_S
#define STALE_NS (10 * NS_PER_S)
#define TICK_NS (250 * NS_PER_MS)
#define WAIT_NS (50 * NS_PER_MS)
#define CONFIRM_NS NS_PER_MS
#define SETTLE_NS (1500 * NS_PER_MS)
#define GAP_NS (30 * NS_PER_S)
#define ASIDE_BYTES_MAX (64u << 10)
#define CHANGED_MAX 4096 /* windows that a delta may wait for */

static const char *const regional_results[RESULTS] = {
	[RESULT_UNIQUE] = "unique", [RESULT_DUPLICATE] = "duplicate", [RESULT_LATE] = "late",
	[RESULT_AHEAD] = "ahead",   [RESULT_ANCIENT] = "ancient",     [RESULT_ASIDE] = "aside",
};

#define METRICS_DEF "regional/regional_metrics.def"
static const struct metric_desc descs[REGIONAL_METRICS] = {
#include "observe/metric_descs.h"
};
#undef METRICS_DEF

int regional_metrics_new(struct metrics **ret)
{
	return metrics_new(ret, "regional", descs, ARRAY_SIZE(descs));
}

/* ------------------------------------------------------------------ life */

static int add_shard(struct region *r, uint32_t number)
{
	struct shard *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	shard_init(s, r, number);
	r->shards[r->n_shards++] = s;
	r->shard_of[number] = s;
	return 0;
}

static int add_shards(struct region *r)
{
	const struct config_list *wanted = &r->settings->regional_shards;
	int e = 0;

	for (size_t i = 0; i < wanted->n && e == 0; i++)
		e = add_shard(r, (uint32_t)strtoul(wanted->items[i], NULL, 10));
	for (uint32_t i = 0; wanted->n == 0 && i < r->partitions && e == 0; i++)
		e = add_shard(r, i);
	return e;
}

int region_new(struct region **ret, const struct settings *settings, const struct registry *registry,
	       struct metrics *metrics)
{
	struct region *r = calloc(1, sizeof(*r));
	int e = -ENOMEM;

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->settings = settings;
	r->registry = registry;
	r->metrics = metrics;
	r->partitions = (uint32_t)settings->streams_partitions;
	must(r->partitions <= REGION_SHARDS_MAX);
	outlet_init(&r->deltas, settings->streams_region_deltas, r->partitions, settings->streams_development);
	outlet_init(&r->alerts, settings->streams_region_alerts, r->partitions, settings->streams_development);
	r->shards = calloc(r->partitions, sizeof(*r->shards));
	if (r->shards)
		e = flights_init(r);
	if (e == 0)
		e = add_shards(r);
	if (e < 0) {
		region_free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void region_free(struct region *r)
{
	if (!r)
		return;
	region_close(r);
	for (uint32_t i = 0; i < r->n_shards; i++) {
		shard_done(r->shards[i]);
		free(r->shards[i]);
	}
	free(r->shards);
	flights_done(r);
	buf_done(&r->value);
	buf_done(&r->memory);
	buf_done(&r->payload);
	buf_done(&r->page);
	buf_done(&r->next_page);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ------------------------------------------------------------------ opening */

static int refuse_partitions(const struct region *r, const char *url, uint32_t have, struct stream_error *ret_error)
{
	snprintf(ret_error->text, sizeof(ret_error->text), "%.150s has %u partitions, streams.partitions says %u", url, have,
		 r->partitions);
	return -EINVAL;
}

static int open_edge(struct region *r, struct stream_error *ret_error)
{
	struct stream_options options = { .reader = true, .development = r->settings->streams_development };
	int e = stream_open(&r->edge, r->settings->streams_edge_telemetry, &options, ret_error);

	if (e < 0)
		return e;
	r->edge_id = stream_identity(r->edge);
	if (stream_partitions(r->edge) == r->partitions)
		return 0;
	return refuse_partitions(r, r->settings->streams_edge_telemetry, stream_partitions(r->edge), ret_error);
}

static int check_log_partitions(struct region *r, struct stream_error *ret_error)
{
	struct stream_options options = { .reader = true, .development = r->settings->streams_development };
	int e = stream_open(&r->back, r->settings->streams_region_log, &options, ret_error);

	if (e == 0 && stream_partitions(r->back) != r->partitions)
		e = refuse_partitions(r, r->settings->streams_region_log, stream_partitions(r->back), ret_error);
	return e;
}

static int claim(struct region *r, struct stream_error *ret_error)
{
	uint32_t numbers[REGION_SHARDS_MAX];
	struct owned_options options = {
		.url = r->settings->streams_region_log,
		.partitions = numbers,
		.n_partitions = r->n_shards,
		.stream = { .development = r->settings->streams_development },
		.owner = r->settings->node_id,
		.fold = fold_record,
		.context = r,
	};
	int e;

	for (uint32_t i = 0; i < r->n_shards; i++)
		numbers[i] = r->shards[i]->number;
	r->history = true;
	e = owned_log_claim(&r->log, &options, ret_error);
	r->history = false;
	return e;
}

/* Where reading goes on, and when each shard's turn comes: spread over the interval. */
static int start_shard(struct region *r, uint32_t i, int64_t now_ns)
{
	struct shard *s = r->shards[i];
	int64_t interval_ns = r->settings->regional_delta_interval_ms * NS_PER_MS;

	s->next = owned_log_covered(r->log, s->number, &r->edge_id, s->number);
	s->covered = s->next;
	s->folded_end = owned_log_folded(r->log, s->number);
	s->delta_ns = now_ns + interval_ns * (i + 1) / r->n_shards;
	s->flush_ns = s->delta_ns - MIN(interval_ns / 8, 100 * NS_PER_MS);
	for (uint32_t g = 0; g < s->n_heard; g++)
		s->heard[g].at_ns = now_ns;
	/* A reader that lost something hears of every open window once more. */
	windows_mark(&s->windows, true);
	s->oldest_change_ns = 0;
	return stream_seek(r->edge, s->number, s->next);
}

static int open_outlet(struct outlet *o, struct stream_error *ret_error)
{
	int e = outlet_open(o, clock_mono_ns());

	if (e != -EINVAL)
		return 0; /* open, or opened later */
	memcpy(ret_error->text, o->reason, sizeof(ret_error->text));
	return e;
}

int region_open(struct region *r, struct stream_error *ret_error)
{
	int64_t now_ns;
	int e = open_edge(r, ret_error);

	if (e == 0)
		e = check_log_partitions(r, ret_error);
	if (e == 0)
		e = open_outlet(&r->deltas, ret_error);
	if (e == 0)
		e = open_outlet(&r->alerts, ret_error);
	if (e == 0) {
		struct log_id log = stream_identity(r->back);

		delta_find_told(r, &log);
		e = claim(r, ret_error);
	}
	now_ns = clock_mono_ns();
	for (uint32_t i = 0; i < r->n_shards && e == 0; i++)
		e = start_shard(r, i, now_ns);
	if (e < 0) {
		if (!ret_error->text[0])
			snprintf(ret_error->text, sizeof(ret_error->text), "%s", strerror(-e));
		region_close(r);
		return e;
	}
	log_info("region.log is claimed and folded", F_STR("stream", r->settings->streams_region_log),
		 F_U64("shards", r->n_shards));
	return 0;
}

void region_close(struct region *r)
{
	stream_close(r->edge);
	stream_close(r->back);
	owned_log_free(r->log);
	outlet_done(&r->deltas);
	outlet_done(&r->alerts);
	r->edge = r->back = NULL;
	r->log = NULL;
	page_cache_done(&r->pages);
	if (r->flights)
		flights_forget(r);
	for (uint32_t i = 0; i < r->n_shards; i++) {
		uint32_t number = r->shards[i]->number;

		shard_done(r->shards[i]);
		shard_init(r->shards[i], r, number);
	}
	r->caught_up = false;
	r->n_notices = r->n_alerted = 0;
	r->budget_all = r->budget_bad = 0;
}

/* ------------------------------------------------------------------ append */

/* Folds what is confirmed. 0 or negative errno. */
static int drive_log(struct region *r, int64_t deadline_ns)
{
	int n = owned_log_pending(r->log) > 0 ? owned_log_poll(r->log, deadline_ns) : 0;

	return MIN(n, 0);
}

/* A flight, waited for. */
static int take_flight(struct region *r, struct shard *s, uint16_t kind, struct flight **ret)
{
	int64_t until_ns = clock_mono_ns() + 30 * NS_PER_S;

	while (!r->free || r->flying_bytes > REGION_FLIGHT_BYTES) {
		int64_t now_ns = clock_mono_ns();
		int e = drive_log(r, now_ns + 100 * NS_PER_MS);

		if (e < 0)
			return e;
		if (stop_requested())
			return -EINTR;
		if (now_ns > until_ns)
			return -ETIMEDOUT;
	}
	*ret = flight_new(r, s, kind);
	return 0;
}

/* to: where edge.telemetry is read up to with this record; not beyond what is covered: it consumes nothing. */
static int append(struct region *r, struct flight *f, struct slice value, uint64_t to)
{
	struct shard *s = f->shard;
	struct owned_span span = {
		.source = r->edge_id,
		.partition = s->number,
		.from = owned_log_covered(r->log, s->number, &r->edge_id, s->number),
		.to = to,
	};
	int e;

	while ((e = owned_log_append(r->log, s->number, f->kind, value, &span, span.from < to, f)) == -EAGAIN) {
		e = drive_log(r, clock_mono_ns() + 100 * NS_PER_MS);
		if (e < 0 || stop_requested())
			return e < 0 ? e : -EINTR;
	}
	if (e == 0)
		flight_took_off(r, f, value.len);
	return e;
}

static int set_aside(struct region *r, struct shard *s, const char *reason, struct slice value, uint64_t to)
{
	static struct log_limit limit;
	Sluice__V1__Aside message = SLUICE__V1__ASIDE__INIT;
	struct flight *f;
	uint64_t more;
	int e = take_flight(r, s, OWNED_ASIDE, &f);

	if (e < 0)
		return e;
	message.reason = (char *)reason;
	message.value = (ProtobufCBinaryData){ .len = MIN(value.len, (size_t)ASIDE_BYTES_MAX), .data = (uint8_t *)value.data };
	buf_reset(&r->value);
	if (message_append(&r->value, &message.base) < 0)
		return -ENOMEM;
	if (log_limit_pass(&limit, &more))
		log_warn("an input was set aside", F_STR("reason", reason), F_U64("partition", s->number), F_U64("offset", to - 1),
			 F_U64("not_logged", more));
	return append(r, f, buf_slice(&r->value), to);
}

/* ------------------------------------------------------------------ what is read */

/* A heartbeat waits: the newest of each gateway is logged now and then. */
static int hold_heartbeat(struct shard *s, const struct flight *f, struct slice value)
{
	struct buf *waiting = &s->heard[f->gateway].waiting;

	buf_reset(waiting);
	buf_append(waiting, value.data, value.len);
	return buf_error(waiting);
}

static int append_data(struct region *r, struct flight *f, struct slice envelope, uint64_t to)
{
	struct shard *s = f->shard;
	int e = decide(s, f);

	if (e == 0)
		e = enrich(s, f);
	if (e == 0)
		e = decide_append(s, f, envelope, clock_wall_ns(), &r->value);
	buf_reset(&s->heard[f->gateway].waiting); /* an older clock of the same gateway */
	return e < 0 ? e : append(r, f, buf_slice(&r->value), to);
}

static int take_record(struct region *r, const struct stream_record *record)
{
	struct shard *s = r->shard_of[record->partition];
	char reason[REASON_MAX];
	struct flight *f;
	int e = take_flight(r, s, OWNED_DATA, &f);

	if (e < 0)
		return e;
	s->next = record->offset + 1;
	e = decode_envelope(s, f, record->value, reason);
	if (e < 0) {
		flight_free(r, f);
		return e == -EBADMSG ? set_aside(r, s, reason, record->value, s->next) : e;
	}
	s->heard[f->gateway].at_ns = clock_mono_ns();
	if (!decode_is_heartbeat(f)) {
		r->caught_up = false;
		log_trace_set(&f->envelope.trace); /* of all that is logged on the envelope's way */
		log_debug("envelope taken", F_U64("shard", s->number), F_U64("ordinal_first", f->envelope.ordinal_first),
			  F_U64("count", f->block.count));
		e = append_data(r, f, record->value, s->next);
		log_trace_set(NULL);
		return e;
	}
	e = hold_heartbeat(s, f, record->value);
	flight_free(r, f);
	return e;
}

/* edge.telemetry no longer has what this shard would read next. */
static int skip_lost(struct region *r, uint32_t partition)
{
	struct shard *s = r->shard_of[partition];
	uint64_t first, end;
	int e = stream_range(r->edge, partition, &first, &end);

	if (e < 0)
		return e;
	if (first <= s->next)
		return 0;
	log_error("edge.telemetry was trimmed before it was read: readings are missing", F_U64("partition", partition),
		  F_U64("from", s->next), F_U64("to", first));
	s->next = first;
	e = set_aside(r, s, "edge.telemetry was trimmed before it was read", SLICE(NULL, 0), first);
	return e < 0 ? e : stream_seek(r->edge, partition, first);
}

/* The outlet is down and windows pile up: what is not read is not lost. */
static bool must_wait(const struct region *r)
{
	for (uint32_t i = 0; !r->deltas.stream && i < r->n_shards; i++)
		if (r->shards[i]->windows.n_changed > WINDOWS_MAX / 2)
			return true;
	return false;
}

static int read_edge(struct region *r, int64_t deadline_ns)
{
	struct stream_record records[READ_MAX];
	uint32_t lost = 0;
	int e = 0, n;

	if (must_wait(r)) {
		(void)poll(NULL, 0, clock_poll_ms(deadline_ns));
		return 0;
	}
	n = stream_read(r->edge, records, ARRAY_SIZE(records), deadline_ns, &lost);
	if (n == -ERANGE)
		return skip_lost(r, lost);
	if (n == 0) {
		r->caught_up = true;
		r->caught_up_ns = clock_mono_ns();
	}
	for (int i = 0; i < n && e == 0; i++)
		e = take_record(r, &records[i]);
	return n < 0 ? n : e;
}

/* ------------------------------------------------------------------ now and then */

static int flush_heartbeats(struct region *r, struct shard *s)
{
	int e = 0;

	for (uint32_t g = 0; g < s->n_heard && e == 0; g++) {
		struct buf *waiting = &s->heard[g].waiting;
		char reason[REASON_MAX];
		struct flight *f;

		if (waiting->len == 0)
			continue;
		e = take_flight(r, s, OWNED_DATA, &f);
		if (e == 0)
			e = decode_envelope(s, f, buf_slice(waiting), reason);
		if (e == 0)
			e = append_data(r, f, buf_slice(waiting), s->next);
	}
	return e;
}

/* A gateway is dark when all there was to read has been read, and nothing of it for so long. */
static int find_dark(struct region *r, struct shard *s)
{
	int64_t limit_ns = r->settings->regional_gateway_dark_ms * NS_PER_MS;

	for (uint32_t g = 0; g < s->n_heard; g++) {
		struct gateway *v = &s->decided.list[g];
		Sluice__V1__GatewayDark message = SLUICE__V1__GATEWAY_DARK__INIT;
		char id[GATEWAY_ID_MAX + 1];
		struct flight *f;
		int e;

		if (v->dark || r->caught_up_ns - s->heard[g].at_ns <= limit_ns)
			continue;
		e = take_flight(r, s, OWNED_DARK, &f);
		if (e < 0)
			return e;
		memcpy(id, v->id, v->id_len);
		id[v->id_len] = 0;
		message.gateway_id = id;
		message.spool_id = (ProtobufCBinaryData){ .len = sizeof(v->spool_id), .data = v->spool_id };
		message.dark = true;
		message.decided_ns = clock_wall_ns();
		f->gateway = g;
		f->dark = true;
		buf_reset(&r->value);
		if (message_append(&r->value, &message.base) < 0)
			return -ENOMEM;
		if (s == r->shards[0]) /* the others follow in a moment */
			log_warn("a gateway is silent and no longer holds the watermark back", F_STR("gateway", id));
		gateways_set_dark(&s->decided, g, true);
		e = append(r, f, buf_slice(&r->value), 0);
		if (e < 0)
			return e;
	}
	return 0;
}

static void find_gaps(struct shard *s, int64_t now_ns)
{
	const struct ordinal_spool *spool;

	while ((spool = ordinals_gap_old(&s->ordinals, now_ns, GAP_NS))) {
		s->totals.gaps++;
		log_warn("a spool's ordinals have a hole: readings are missing", F_U64("shard", s->number),
			 F_HEX("spool", (uint64_t)spool->id[0] << 56 | (uint64_t)spool->id[1] << 48 | (uint64_t)spool->id[2] << 40 |
							 (uint64_t)spool->id[3] << 32),
			 F_U64("from", spool->ranges[0].end), F_U64("to", spool->ranges[1].first));
	}
}

static int send_delta(struct region *r, struct shard *s)
{
	int e = delta_send(r, s);

	/* A closed or full outlet keeps the shard as it is; memory does not. */
	return e == -ENOMEM ? e : 0;
}

static int timers(struct region *r)
{
	int64_t now_ns = clock_mono_ns(), interval_ns = r->settings->regional_delta_interval_ms * NS_PER_MS;
	int e = 0;

	for (uint32_t i = 0; i < r->n_shards && e == 0; i++) {
		struct shard *s = r->shards[i];
		uint64_t first;

		if (now_ns >= s->flush_ns) {
			s->flush_ns = MAX(s->flush_ns + interval_ns, now_ns);
			find_gaps(s, now_ns);
			e = flush_heartbeats(r, s);
			if (e == 0)
				e = find_dark(r, s);
			if (e == 0)
				e = stream_range(r->edge, s->number, &first, &s->end);
		}
		if (e == 0 && (now_ns >= s->delta_ns || s->urgent || s->windows.n_changed > CHANGED_MAX)) {
			if (now_ns >= s->delta_ns)
				s->delta_ns = MAX(s->delta_ns + interval_ns, now_ns);
			e = send_delta(r, s);
		}
	}
	return e;
}

static void drive_outlets(struct region *r)
{
	int64_t now_ns = clock_mono_ns();

	(void)outlet_open(&r->deltas, now_ns);
	(void)outlet_open(&r->alerts, now_ns);
	if (r->n_notices - r->n_alerted > REGION_NOTICES) {
		r->alerts_lost += r->n_notices - r->n_alerted - REGION_NOTICES;
		r->n_alerted = r->n_notices - REGION_NOTICES;
	}
	while (r->n_alerted < r->n_notices) {
		const struct notice *n = &r->notices[r->n_alerted % REGION_NOTICES];

		if (alert_send(r, r->shard_of[n->shard], n) < 0)
			break;
		r->n_alerted++;
	}
	outlet_turn(&r->deltas, now_ns);
	outlet_turn(&r->alerts, now_ns);
	if (outlet_lost(&r->alerts)) /* those that are remembered */
		r->n_alerted = r->n_notices - MIN(r->n_notices, (uint64_t)REGION_NOTICES);
	if (outlet_lost(&r->deltas)) {
		for (uint32_t i = 0; i < r->n_shards; i++) {
			windows_mark(&r->shards[i]->windows, true);
			notices_again(&r->shards[i]->notices);
		}
	}
}

/* ------------------------------------------------------------------ the loop */

/* Reads, and gathers what is read until it is worth a flush; nothing else waits. */
static int read_and_append(struct region *r, int64_t deadline_ns)
{
	bool full = r->n_flying >= REGION_FLIGHTS / 2;
	int64_t now_ns = clock_mono_ns();
	int e;

	if (r->n_flying > 0)
		deadline_ns = full ? 0 : MIN(deadline_ns, r->gather_ns);
	if (outlet_pending(&r->deltas) > 0 || outlet_pending(&r->alerts) > 0)
		deadline_ns = MIN(deadline_ns, now_ns + CONFIRM_NS);
	e = read_edge(r, MIN(deadline_ns, now_ns + WAIT_NS));
	if (e == 0 && (r->n_flying >= REGION_FLIGHTS / 2 || clock_mono_ns() >= r->gather_ns))
		e = drive_log(r, clock_mono_ns() + CONFIRM_NS);
	return e;
}

int region_step(struct region *r, int64_t deadline_ns)
{
	int e = read_and_append(r, deadline_ns);
	int64_t now_ns;

	if (e == 0)
		e = timers(r);
	if (e < 0)
		return e;
	drive_outlets(r);
	now_ns = clock_mono_ns();
	if (now_ns >= r->tick_ns) {
		r->tick_ns = now_ns + TICK_NS;
		region_refresh(r);
	}
	return 0;
}

static bool has_news(const struct shard *s)
{
	return s->windows.n_changed > 0 || notices_unsent(&s->notices) > 0;
}

bool region_idle(const struct region *r)
{
	if (!r->log || !r->caught_up || r->n_flying_readings > 0)
		return false;
	if (outlet_pending(&r->deltas) > 0 || outlet_pending(&r->alerts) > 0 || r->n_alerted != r->n_notices)
		return false;
	for (uint32_t i = 0; i < r->n_shards; i++)
		if (has_news(r->shards[i]))
			return false;
	return true;
}

void region_settle(struct region *r, int64_t deadline_ns)
{
	int e = 0;

	while (e == 0 && owned_log_pending(r->log) > 0 && clock_mono_ns() < deadline_ns)
		e = drive_log(r, deadline_ns);
	for (uint32_t i = 0; i < r->n_shards && e == 0; i++)
		if (has_news(r->shards[i]))
			e = delta_send(r, r->shards[i]);
	while (e == 0 && outlet_pending(&r->deltas) + outlet_pending(&r->alerts) > 0 && clock_mono_ns() < deadline_ns)
		drive_outlets(r);
}

static void wait_until(int64_t until_ns)
{
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };

	(void)poll(&stop, 1, clock_poll_ms(until_ns));
}

/* Opens, or waits and says why not. */
static int try_open(struct region *r, unsigned *attempt)
{
	struct stream_error error = { "" };
	char reason[300];
	int e;

	if (*attempt == 0 && r->admin)
		admin_set_ready(r->admin, "folding region.log");
	e = region_open(r, &error);
	if (e == 0 || e == -EINTR)
		return e;
	if (e == -EINVAL) {
		log_error("the region cannot run with this configuration", F_STR("reason", error.text));
		return e;
	}
	snprintf(reason, sizeof(reason), e == -EBUSY ? "standing by: %s" : "%s", error.text);
	if (r->admin)
		admin_set_ready(r->admin, reason);
	if (e == -EBUSY) {
		if (*attempt == 0)
			log_info("another process owns region.log; standing by", F_STR("reason", error.text));
		wait_until(clock_mono_ns() + STANDBY_NS);
	} else {
		if (*attempt == 0)
			log_warn("the region's streams cannot be opened", F_ERR(e), F_STR("reason", error.text));
		r->errors++;
		wait_until(clock_mono_ns() + RETRY_BASE_NS + rand_backoff(RETRY_BASE_NS, RETRY_CAP_NS, *attempt));
	}
	++*attempt;
	return 0;
}

static void failed(struct region *r, int error, unsigned *attempt)
{
	log_error("the region's log or its source fails; everything is opened anew", F_ERR(error));
	r->errors++;
	if (r->admin)
		admin_set_ready(r->admin, error == -ESTALE ? "another process has claimed region.log" : strerror(-error));
	region_close(r);
	/* Whoever has claimed it since is meant to have it: two that take it from each other get nothing done. */
	if (error == -ESTALE)
		wait_until(clock_mono_ns() + STALE_NS);
	else
		wait_until(clock_mono_ns() + RETRY_BASE_NS + rand_backoff(RETRY_BASE_NS, RETRY_CAP_NS, *attempt));
	++*attempt;
}

int region_run(struct region *r)
{
	unsigned attempt = 0;
	int e = 0;

	while (!stop_requested()) {
		if (!r->log) {
			e = try_open(r, &attempt);
			if (e < 0)
				break;
			if (r->log && r->admin)
				admin_set_ready(r->admin, NULL);
			continue;
		}
		e = region_step(r, clock_mono_ns() + WAIT_NS);
		if (e < 0 && e != -EINTR)
			failed(r, e, &attempt);
		else if (r->caught_up)
			attempt = 0;
	}
	if (r->log)
		region_settle(r, clock_mono_ns() + SETTLE_NS);
	region_close(r);
	return e == -EINVAL ? e : 0;
}
