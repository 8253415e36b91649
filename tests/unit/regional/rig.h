/* A region in a temporary folder: real embedded streams, envelopes as a gateway writes them, the region's loop step by
 * step in this process, and what came out: region.log by the reader's rule, windows from region.deltas by their tags.
 */
#pragma once

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "codec/telemetry.h"
#include "proto/delta.pb-c.h"
#include "proto/envelope.pb-c.h"
#include "regional/region.h"
#include "tests/unit/harness.h"

#define RIG_SHARDS 2
#define PATIENCE_NS (20 * NS_PER_S)

struct rig {
	char dir[64];
	struct settings settings;
	struct registry *registry;
	struct metrics *metrics;
	struct region *region;
	struct stream *edge; /* the gateway's handle */
	struct block_writer *writer;
};

static inline int rig_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline void rig_settings(struct rig *g, const char *more)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	struct config_error error = { "" };

	buf_append_str(&text, "node:\n  region: eu\n  id: test\n");
	buf_printf(&text, "streams:\n  partitions: %d\n", RIG_SHARDS);
	buf_printf(&text, "  edge_telemetry: embedded:%s/edge\n  region_log: embedded:%s/log\n", g->dir, g->dir);
	buf_printf(&text, "  region_deltas: embedded:%s/deltas\n  region_alerts: embedded:%s/alerts\n", g->dir, g->dir);
	buf_append_str(&text, more);
	if (config_parse(&g->settings, "test.yaml", buf_cstr(&text), text.len, &error) < 0) {
		printf("  %s\n", error.text);
		CU_FAIL_FATAL("settings");
	}
}

/* more: further settings as YAML; it goes on in the section `streams`. */
static inline void rig_init(struct rig *g, const char *more)
{
	static const char registry[] = "device_id,type,place,owner,latitude,longitude\n"
				       "d0,greenhouse,hall,acme,,\nd1,greenhouse,yard,acme,,\nd2,outdoor,yard,acme,,\n";
	static const char *const names[] = { "edge", "log", "deltas", "alerts" };
	struct stream_create_options options = { .partitions = RIG_SHARDS, .retention_ms = -1 };
	struct stream_options writer = { .writer = true };
	struct registry_error error;
	char url[128];

	log_setup("test", LOG_ERROR, LOG_LOGFMT);
	memset(g, 0, sizeof(*g));
	strcpy(g->dir, "/tmp/sluice-region-XXXXXX");
	must(mkdtemp(g->dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(url, sizeof(url), "embedded:%s/%s", g->dir, names[i]);
		ASSERT_OK(stream_create(url, &options, NULL));
	}
	rig_settings(g, more);
	ASSERT_OK(registry_parse(&g->registry, "test.csv", SLICE_STR(registry), &error));
	ASSERT_OK(regional_metrics_new(&g->metrics));
	ASSERT_OK(stream_open(&g->edge, g->settings.streams_edge_telemetry, &writer, NULL));
	ASSERT_OK(block_writer_new(&g->writer, 1));
}

static inline void rig_close(struct rig *g)
{
	region_free(g->region);
	g->region = NULL;
}

static inline void rig_done(struct rig *g)
{
	rig_close(g);
	stream_close(g->edge);
	block_writer_free(g->writer);
	metrics_free(g->metrics);
	registry_free(g->registry);
	config_done(&g->settings);
	nftw(g->dir, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void rig_open(struct rig *g)
{
	struct stream_error error = { "" };

	ASSERT_OK(region_new(&g->region, &g->settings, g->registry, g->metrics));

	int e = region_open(g->region, &error);

	if (e < 0)
		printf("  %s\n", error.text);
	CU_ASSERT_EQUAL_FATAL(e, 0);
}

static inline void rig_step(struct rig *g)
{
	ASSERT_OK(region_step(g->region, clock_mono_ns() + 5 * NS_PER_MS));
}

/* Until everything readable is folded and emitted. */
static inline void rig_run(struct rig *g)
{
	int64_t until_ns = clock_mono_ns() + PATIENCE_NS;

	do {
		CU_ASSERT_FATAL(clock_mono_ns() < until_ns);
		rig_step(g);
	} while (!region_idle(g->region));
}

/* ------------------------------------------------------------------ a gateway */

struct reading {
	char device[16];
	int64_t timestamp_ns, arrival_ns;
	double value;    /* of the metric "t" */
	double second;   /* of "u", when has_second */
	bool has_second;
	uint64_t salt;   /* readings of one time and value that differ here are different ones */
	uint8_t block_flags;
};

struct parcel { /* an envelope */
	const char *gateway, *region; /* region NULL: eu */
	uint8_t spool;
	uint32_t shard;
	uint64_t first;
	int64_t clock_ns;
	bool idle, backlog;
	const struct reading *readings;
	uint32_t n;
};

static inline void reading_payload(const struct reading *r, struct buf *out)
{
	struct telemetry t = {
		.timestamp_ns = r->timestamp_ns,
		.has_timestamp = !(r->block_flags & BLOCK_STAMPED),
		.has_hash = !(r->block_flags & BLOCK_UNHASHED),
		.device_id = SLICE_STR(r->device),
		.n_metrics = r->has_second ? 2 : 1,
		.metrics = { { SLICE_STR("t"), r->value }, { SLICE_STR("u"), r->second } },
	};

	t.integrity_hash = hash_device(r, offsetof(struct reading, arrival_ns)) ^ (uint64_t)(r->value * 1000) ^ r->salt;
	telemetry_append(out, &t);
}

static inline uint32_t device_shard(const char *device)
{
	return hash_shard(device, strlen(device), RIG_SHARDS);
}

static inline void parcel_bytes(struct rig *g, const struct parcel *p, struct buf *out)
{
	CLEANUP(buf_done) struct buf block = BUF_INIT, payload = BUF_INIT;
	struct envelope e = {
		.gateway_id = SLICE_STR(p->gateway),
		.home_region = SLICE_STR(p->region ? p->region : "eu"),
		.lane = p->backlog ? ENVELOPE_BACKLOG : ENVELOPE_LIVE,
		.shard = p->shard,
		.ordinal_first = p->first,
		.ordinal_end = p->first + p->n,
		.count = p->n,
		.clock_ns = p->clock_ns,
		.idle = p->idle,
		.cut_ns = clock_wall_ns(),
		.trace = trace_new(),
		.block_format = BLOCK_FORMAT,
	};

	e.spool_id[0] = p->spool;
	for (uint32_t i = 0; i < p->n; i++) {
		buf_reset(&payload);
		reading_payload(&p->readings[i], &payload);
		ASSERT_OK(block_writer_add(g->writer, buf_slice(&payload), p->readings[i].timestamp_ns, p->readings[i].arrival_ns,
					   p->readings[i].block_flags & BLOCK_STAMPED));
	}
	ASSERT_OK(block_writer_finish(g->writer, &block));
	e.block = buf_slice(&block);
	envelope_append(out, &e);
	CU_ASSERT_EQUAL_FATAL(buf_error(out), 0);
}

static inline void rig_publish_bytes(struct rig *g, uint32_t partition, struct slice value)
{
	struct stream_record record = { .partition = partition, .value = value };
	struct stream_confirmation c;

	ASSERT_OK(stream_append(g->edge, &record));
	CU_ASSERT_EQUAL_FATAL(stream_poll(g->edge, &c, 1, clock_mono_ns() + PATIENCE_NS), 1);
	CU_ASSERT_EQUAL_FATAL(c.error, 0);
}

static inline void rig_publish(struct rig *g, const struct parcel *p)
{
	CLEANUP(buf_done) struct buf value = BUF_INIT;

	parcel_bytes(g, p, &value);
	rig_publish_bytes(g, p->shard, buf_slice(&value));
}

/* ------------------------------------------------------------------ region.log */

struct logged {
	uint32_t shard;
	char device[33], type[32], place[32];
	int64_t timestamp_ns, watermark_ns;
	uint64_t hash;
	uint8_t flags;
	bool replay;
	double value;
};

struct logged_list {
	struct logged *list;
	size_t n;
	size_t data, heartbeats, asides, darks; /* records */
	char reason[128];                       /* of the last aside */
	uint64_t covered[RIG_SHARDS];
	struct owned_reader_stats stats;
};

static inline void text_from(char *to, size_t size, struct slice s)
{
	snprintf(to, size, "%.*s", (int)s.len, (const char *)s.data);
}

static inline void take_data(struct logged_list *l, const struct owned_record *record, struct block *block, struct buf *memory)
{
	struct region_data d;
	struct envelope e;

	ASSERT_OK(region_data_read(&d, record->value, memory));
	ASSERT_OK(envelope_read(&e, d.envelope));
	ASSERT_OK(block_read(block, e.block));
	CU_ASSERT_EQUAL_FATAL(d.n_devices, block->n_devices);
	l->data++;
	l->heartbeats += block->count == 0;
	l->list = realloc(l->list, (l->n + block->count + 1) * sizeof(*l->list));
	for (uint32_t i = 0; i < block->count; i++) {
		struct logged *to = &l->list[l->n++];

		*to = (struct logged){
			.shard = record->partition,
			.timestamp_ns = block->timestamp_ns[i],
			.watermark_ns = d.watermark_ns,
			.hash = block->hash[i],
			.flags = region_data_flags(&d, i),
			.replay = d.replay,
			.value = block->values[block->value_at[i]],
		};
		text_from(to->device, sizeof(to->device), block->devices[block->device[i]]);
		text_from(to->type, sizeof(to->type), d.words[d.type[block->device[i]]]);
		text_from(to->place, sizeof(to->place), d.words[d.place[block->device[i]]]);
	}
}

static inline void take_aside(struct logged_list *l, const struct owned_record *record)
{
	Sluice__V1__Aside *aside = sluice__v1__aside__unpack(NULL, record->value.len, record->value.data);

	CU_ASSERT_PTR_NOT_NULL_FATAL(aside);
	snprintf(l->reason, sizeof(l->reason), "%s", aside->reason);
	sluice__v1__aside__free_unpacked(aside, NULL);
	l->asides++;
}

static inline void logged_read(const struct rig *g, struct logged_list *ret)
{
	CLEANUP(buf_done) struct buf memory = BUF_INIT;
	struct stream_options options = { .reader = true };
	struct owned_reader *reader;
	struct owned_record record;
	struct block block;

	memset(ret, 0, sizeof(*ret));
	block_init(&block);
	ASSERT_OK(owned_reader_open(&reader, g->settings.streams_region_log, &options, NULL));
	while (owned_reader_next(reader, &record, 0) == 1) {
		for (size_t i = 0; i < record.n_spans; i++) {
			CU_ASSERT_EQUAL(record.spans[i].from, ret->covered[record.partition]);
			ret->covered[record.partition] = record.spans[i].to;
		}
		if (record.kind == OWNED_DATA)
			take_data(ret, &record, &block, &memory);
		else if (record.kind == OWNED_ASIDE)
			take_aside(ret, &record);
		else
			ret->darks += record.kind == OWNED_DARK;
	}
	ret->stats = owned_reader_stats(reader);
	owned_reader_free(reader);
	block_done(&block);
}

static inline void logged_done(struct logged_list *l)
{
	free(l->list);
}
#define LOGGED CLEANUP(logged_done) struct logged_list

/* ------------------------------------------------------------------ windows, from region.deltas */

struct told {
	Sluice__V1__Window **windows; /* of each (shard, window) the one of the highest tag */
	uint32_t *shard;
	size_t n;
	Sluice__V1__Notice **notices;
	size_t n_notices;
	size_t deltas;
	int64_t watermark_ns[RIG_SHARDS];
	uint64_t unique, duplicates; /* the last of each shard, summed */
	uint64_t unique_of[RIG_SHARDS], duplicates_of[RIG_SHARDS], as_of[RIG_SHARDS];
	double completeness[RIG_SHARDS];
	Sluice__V1__ConsolidatedEnvelope **messages;
};

static inline void take_window(struct told *t, uint32_t shard, Sluice__V1__Window *w)
{
	size_t i = 0;

	while (i < t->n && (t->shard[i] != shard || t->windows[i]->start_ns != w->start_ns || strcmp(t->windows[i]->type, w->type) ||
			    strcmp(t->windows[i]->metric, w->metric)))
		i++;
	if (i == t->n) {
		t->windows = realloc(t->windows, (t->n + 1) * sizeof(Sluice__V1__Window *));
		t->shard = realloc(t->shard, (t->n + 1) * sizeof(*t->shard));
		t->n++;
	}
	t->windows[i] = w;
	t->shard[i] = shard;
}

static inline void take_delta(struct told *t, Sluice__V1__ConsolidatedEnvelope *m)
{
	uint32_t shard = m->partition_key;

	CU_ASSERT_FATAL(shard < RIG_SHARDS && m->as_of >= t->as_of[shard] && m->watermark_ns >= t->watermark_ns[shard]);
	t->messages = realloc(t->messages, (t->deltas + 1) * sizeof(Sluice__V1__ConsolidatedEnvelope *));
	t->messages[t->deltas++] = m;
	t->as_of[shard] = m->as_of;
	t->watermark_ns[shard] = m->watermark_ns;
	t->unique_of[shard] = m->unique;
	t->duplicates_of[shard] = m->duplicates;
	t->completeness[shard] = m->completeness;
	for (size_t i = 0; i < m->n_windows; i++)
		take_window(t, shard, m->windows[i]);
	t->notices = realloc(t->notices, (t->n_notices + m->n_notices + 1) * sizeof(Sluice__V1__Notice *));
	for (size_t i = 0; i < m->n_notices; i++)
		t->notices[t->n_notices++] = m->notices[i];
}

static inline void told_read(const struct rig *g, struct told *ret)
{
	struct stream_options options = { .reader = true };
	struct stream *s;
	struct stream_record record;
	uint32_t lost;

	memset(ret, 0, sizeof(*ret));
	ASSERT_OK(stream_open(&s, g->settings.streams_region_deltas, &options, NULL));
	for (uint32_t i = 0; i < RIG_SHARDS; i++) {
		ret->watermark_ns[i] = INT64_MIN;
		ASSERT_OK(stream_seek(s, i, 0));
	}
	while (stream_read(s, &record, 1, 0, &lost) == 1) {
		Sluice__V1__ConsolidatedEnvelope *m =
			sluice__v1__consolidated_envelope__unpack(NULL, record.value.len, record.value.data);

		CU_ASSERT_PTR_NOT_NULL_FATAL(m);
		CU_ASSERT_EQUAL(m->partition_key, record.partition);
		take_delta(ret, m);
	}
	for (uint32_t i = 0; i < RIG_SHARDS; i++) {
		ret->unique += ret->unique_of[i];
		ret->duplicates += ret->duplicates_of[i];
	}
	stream_close(s);
}

static inline void told_done(struct told *t)
{
	for (size_t i = 0; i < t->deltas; i++)
		sluice__v1__consolidated_envelope__free_unpacked(t->messages[i], NULL);
	free(t->messages);
	free(t->windows);
	free(t->shard);
	free(t->notices);
}
#define TOLD CLEANUP(told_done) struct told

static inline const Sluice__V1__Window *told_window(const struct told *t, uint32_t shard, int64_t start_ns, const char *type,
						     const char *metric)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->shard[i] == shard && t->windows[i]->start_ns == start_ns && !strcmp(t->windows[i]->type, type) &&
		    !strcmp(t->windows[i]->metric, metric))
			return t->windows[i];
	return NULL;
}

static inline __int128 window_sum(const Sluice__V1__Window *w)
{
	__int128 sum;

	CU_ASSERT_EQUAL_FATAL(w->sum.len, sizeof(sum));
	memcpy(&sum, w->sum.data, sizeof(sum));
	return sum;
}
