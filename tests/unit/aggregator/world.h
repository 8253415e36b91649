/* A world for tests of the aggregator: regions' streams and the aggregator's own on embedded streams in a temporary
 * folder, deltas written by hand, sessions stepped in this thread until a condition holds.
 */
#pragma once

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "aggregator/metrics.h"
#include "aggregator/session.h"
#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "base/rand.h"
#include "codec/decimal.h"
#include "tests/unit/harness.h"

#define REGIONS_MAX 4
#define SHARDS 4
#define MINUTE NS_PER_MIN
#define T0 (1000000 * NS_PER_MIN) /* the first minute */
#define WAIT_NS (20 * NS_PER_S)

struct world {
	char dir[64];
	struct settings settings;
	struct member members[REGIONS_MAX];
	uint32_t n_members;
	const char *names[REGIONS_MAX];
	struct metrics *metrics;
	struct page windows, alerts;
	struct rules_file rules;
	struct desk desk;
	const char *receivers[2]; /* labels */
	int wake_fd;
	struct session *session;
	struct stream_error error;
};

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline void url_of(const struct world *w, const char *name, char ret[128])
{
	snprintf(ret, 128, "embedded:%s/%s", w->dir, name);
}

static inline void create(const struct world *w, const char *name, uint32_t partitions)
{
	const struct stream_create_options options = { .partitions = partitions };
	struct stream_error error = { "" };
	char url[128];

	url_of(w, name, url);
	if (stream_create(url, &options, &error) < 0)
		printf("  %s\n", error.text);
}

/* more: lines of the section aggregator, "  region_dark: 300ms\n". */
static inline void world_settings(struct world *w, const char *const *regions, uint32_t n, const char *more)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct config_error error;

	buf_printf(&b,
		   "streams:\n  global_log: embedded:%s/global.log\n  global_windows: embedded:%s/global.windows\n"
		   "  global_alerts: embedded:%s/global.alerts\naggregator:\n%s  regions:\n",
		   w->dir, w->dir, w->dir, more);
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&b, "    %s: embedded:%s/%s.deltas\n", regions[i], w->dir, regions[i]);
	if (config_parse(&w->settings, "test", (char *)b.data, b.len, &error) < 0)
		printf("  %s\n", error.text);
}

/* path: "" for the built-in rules. */
static inline void world_rules(struct world *w, const char *path)
{
	struct rules_error error;

	rules_file_close(&w->rules);
	if (rules_file_open(&w->rules, path, &error) < 0)
		printf("  %s\n", error.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(w->rules.rules);
}

/* regions: in the order of names.  Their streams are the test's to create. */
static inline void world_init(struct world *w, const char *const *regions, uint32_t n, const char *more)
{
	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/sluice-agg-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w->dir));
	world_settings(w, regions, n, more);
	create(w, "global.log", 1);
	create(w, "global.windows", 2);
	create(w, "global.alerts", 1);
	w->wake_fd = eventfd(0, EFD_NONBLOCK);
	w->n_members = n;
	ASSERT_OK(page_init(&w->windows, 200));
	ASSERT_OK(page_init(&w->alerts, 50));
	for (uint32_t i = 0; i < n; i++)
		w->names[i] = regions[i];
	desk_init(&w->desk, w->wake_fd);
	world_rules(w, "");
	w->receivers[0] = w->receivers[1] = "receiver";
	ASSERT_OK(aggregator_metrics_new(&w->metrics, w->names, n, w->receivers, 2));
}

static inline void world_listen(struct world *w)
{
	for (uint32_t i = 0; i < w->n_members; i++) {
		w->members[i].name = w->names[i];
		ASSERT_OK(source_new(&w->members[i].source, w->names[i], w->settings.aggregator_regions.values[i],
				     false, w->wake_fd));
	}
}

static inline int world_claim(struct world *w)
{
	struct session_setup setup = { .settings = &w->settings, .members = w->members, .n_members = w->n_members,
				       .metrics = w->metrics, .windows = &w->windows, .alerts = &w->alerts, .rules = &w->rules, .desk = &w->desk,
				       .wake_fd = w->wake_fd, .owner = "test" };
	int r = session_open(&w->session, &setup, &w->error);

	if (r < 0 && r != -EBUSY)
		printf("  %s (%s)\n", w->error.text, strerror(-r));
	return r;
}

/* One more URL of a list of receivers. */
static inline void world_receiver(struct world *w, struct config_list *urls, uint16_t port, const char *path)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	urls->items = realloc(urls->items, (urls->n + 1) * sizeof(*urls->items));
	urls->items[urls->n++] = strdup(url);
}

/* Leaves the session cleanly. */
static inline void world_leave(struct world *w)
{
	if (w->session)
		session_settle(w->session, clock_mono_ns() + WAIT_NS);
	session_free(w->session);
	w->session = NULL;
}

static inline void world_done(struct world *w)
{
	world_leave(w);
	for (uint32_t i = 0; i < w->n_members; i++) {
		source_free(w->members[i].source);
		free(w->members[i].heard_ns);
	}
	metrics_free(w->metrics);
	page_done(&w->windows);
	page_done(&w->alerts);
	rules_file_close(&w->rules);
	desk_done(&w->desk);
	close(w->wake_fd);
	config_done(&w->settings);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Steps until the condition holds; false when it did not in time or the session failed. */
#define STEP_UNTIL(w, condition)                                                             \
	({                                                                                   \
		int64_t until_ns_ = clock_mono_ns() + WAIT_NS;                               \
		int r_ = 0;                                                                  \
		while (r_ == 0 && !(condition) && clock_mono_ns() < until_ns_)               \
			r_ = session_step((w)->session, clock_mono_ns() + 20 * NS_PER_MS, &(w)->error); \
		if (r_ < 0)                                                                  \
			printf("  %s (%s)\n", (w)->error.text, strerror(-r_));               \
		CU_ASSERT(condition);                                                        \
	})

/* ------------------------------------------------------------------ deltas */

struct test_window {
	int64_t start_ns;
	const char *type, *metric;
	const double *values;
	size_t n;
};

struct test_delta {
	const char *region;
	uint32_t shard;
	uint64_t as_of;
	uint32_t generation;
	const char *uuid; /* NULL: the region's name */
	int64_t watermark_ns;
	const struct test_window *windows;
	size_t n_windows;
	const Sluice__V1__Notice *notice; /* NULL: none */
};

static inline void window_message(Sluice__V1__Window *ret, const struct test_window *t, struct window_values *values)
{
	*ret = (Sluice__V1__Window)SLUICE__V1__WINDOW__INIT;
	*values = (struct window_values){ .devices = t->n > 0 };
	for (size_t i = 0; i < t->n; i++) {
		int128 fixed;

		must(decimal_fixed9(t->values[i], &fixed));
		ASSERT_OK(window_values_add(values, t->values[i], fixed));
	}
	ret->start_ns = t->start_ns;
	ret->type = (char *)t->type;
	ret->metric = (char *)t->metric;
	ret->count = values->count;
	ret->devices = values->devices;
	ret->sum = (ProtobufCBinaryData){ sizeof(values->sum), (uint8_t *)&values->sum };
	ret->sum_squares = (ProtobufCBinaryData){ sizeof(values->sum_squares), (uint8_t *)&values->sum_squares };
	ret->min = values->min;
	ret->max = values->max;
	ret->n_bucket = ret->n_bucket_count = values->histogram.n;
	ret->bucket = calloc(values->histogram.n + 1, sizeof(int32_t));
	ret->bucket_count = calloc(values->histogram.n + 1, sizeof(uint64_t));
	for (uint32_t i = 0; i < values->histogram.n; i++) {
		ret->bucket[i] = values->histogram.buckets[i].index;
		ret->bucket_count[i] = values->histogram.buckets[i].count;
	}
}

static inline void delta_bytes(struct buf *ret, const struct test_delta *t)
{
	Sluice__V1__ConsolidatedEnvelope m = SLUICE__V1__CONSOLIDATED_ENVELOPE__INIT;
	Sluice__V1__LogId id = SLUICE__V1__LOG_ID__INIT;
	Sluice__V1__Window messages[16], *windows[16];
	Sluice__V1__Notice *notices[1] = { (Sluice__V1__Notice *)t->notice };
	struct window_values values[16];
	char uuid[17] = "";

	must(t->n_windows <= 16);
	snprintf(uuid, sizeof(uuid), "%s", t->uuid ? t->uuid : t->region);
	id.generation = t->generation ? t->generation : 1;
	id.uuid = (ProtobufCBinaryData){ 16, (uint8_t *)uuid };
	for (size_t i = 0; i < t->n_windows; i++) {
		window_message(&messages[i], &t->windows[i], &values[i]);
		windows[i] = &messages[i];
	}
	m.version = 1;
	m.region_id = (char *)t->region;
	m.partition_key = t->shard;
	m.log_id = &id;
	m.as_of = t->as_of;
	m.watermark_ns = t->watermark_ns;
	m.completeness = 1;
	m.cut_ns = clock_wall_ns();
	m.oldest_change_ns = m.cut_ns - NS_PER_MS;
	m.unique = t->as_of;
	m.n_windows = t->n_windows;
	m.windows = windows;
	m.n_notices = t->notice ? 1 : 0;
	m.notices = notices;
	sluice__v1__consolidated_envelope__pack(
		&m, buf_extend(ret, sluice__v1__consolidated_envelope__get_packed_size(&m)));
	for (size_t i = 0; i < t->n_windows; i++) {
		free(messages[i].bucket);
		free(messages[i].bucket_count);
		window_values_done(&values[i]);
	}
}

/* Durably into a partition of a region's stream. */
static inline void put(const struct world *w, const char *name, uint32_t partition, struct slice value)
{
	const struct stream_options options = { .writer = true };
	struct stream_confirmation done;
	struct stream *s;
	char url[128];

	url_of(w, name, url);
	ASSERT_OK(stream_open(&s, url, &options, NULL));
	ASSERT_OK(stream_append(s, &(struct stream_record){ .partition = partition, .value = value }));
	CU_ASSERT_EQUAL(stream_poll(s, &done, 1, clock_mono_ns() + WAIT_NS), 1);
	stream_close(s);
}

static inline void send_delta(const struct world *w, const struct test_delta *t)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	char name[64];

	snprintf(name, sizeof(name), "%s.deltas", t->region);
	delta_bytes(&b, t);
	put(w, name, t->shard, buf_slice(&b));
}

/* The same watermark from all shards of a region, nothing else. */
static inline void send_watermarks(const struct world *w, const char *region, uint64_t as_of, int64_t watermark_ns)
{
	for (uint32_t shard = 0; shard < SHARDS; shard++)
		send_delta(w, &(struct test_delta){
				      .region = region, .shard = shard, .as_of = as_of, .watermark_ns = watermark_ns });
}

/* ------------------------------------------------------------------ what came out */

/* All lines of a stream, partition by partition. */
struct lines {
	char **text;
	size_t n;
};

static inline void lines_done(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->text[i]);
	free(l->text);
}

static inline struct lines read_lines(const struct world *w, const char *name)
{
	const struct stream_options options = { .reader = true };
	struct stream_record record;
	struct lines l = { 0 };
	struct stream *s;
	uint32_t lost;
	char url[128];

	url_of(w, name, url);
	ASSERT_OK(stream_open(&s, url, &options, NULL));
	for (uint32_t p = 0; p < stream_partitions(s); p++) {
		uint64_t first, end;

		ASSERT_OK(stream_range(s, p, &first, &end));
		if (first < end)
			ASSERT_OK(stream_seek(s, p, first));
		for (uint64_t at = first; at < end; at = record.offset + 1) {
			CU_ASSERT_EQUAL_FATAL(stream_read(s, &record, 1, clock_mono_ns() + WAIT_NS, &lost), 1);
			l.text = realloc(l.text, (l.n + 1) * sizeof(*l.text));
			l.text[l.n++] = strndup(record.value.data, record.value.len);
		}
		stream_leave(s, p);
	}
	stream_close(s);
	return l;
}

/* The line with the highest version of a key, parsed; NULL: none. */
static inline json_t *newest(const struct world *w, const char *stream, const char *key, const char *value,
			     const char *metric)
{
	CLEANUP(lines_done) struct lines l = read_lines(w, stream);
	unsigned long long best_version = 0;
	json_t *best = NULL;

	for (size_t i = 0; i < l.n; i++) {
		json_t *line = json_loads(l.text[i], 0, NULL);

		CU_ASSERT_PTR_NOT_NULL_FATAL(line);

		unsigned long long version = strtoull(json_string_value(json_object_get(line, "version")), NULL, 10);

		if (!strcmp(json_string_value(json_object_get(line, key)), value) &&
		    !strcmp(json_string_value(json_object_get(line, "metric")), metric) && version >= best_version) {
			json_decref(best);
			best = json_incref(line);
			best_version = version;
		}
		json_decref(line);
	}
	return best;
}

static inline json_t *window_at(const struct world *w, int64_t start_ns, const char *metric)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRId64, start_ns);
	return newest(w, "global.windows", "window_start_ns", text, metric);
}

static inline bool has(json_t *line, const char *key, const char *value)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text && !strcmp(text, value);
}

/* Status of the newest version of a minute's window in memory: what has been folded. */
static inline bool window_is(const struct world *w, int64_t start_ns, const char *metric, const char *status)
{
	json_t *line = window_at(w, start_ns, metric);
	bool is = line && has(line, "status", status);

	json_decref(line);
	return is;
}

static inline uint64_t count_of(const struct world *w, uint32_t metric)
{
	return metric_total(w->metrics, metric, 0);
}

/* ------------------------------------------------------------------ two regions */

static const char *const eu_us[] = { "eu", "us" };
#define FAST "  early_interval: 100ms\n  region_dark: 1s\n"

static inline void close_world(struct world *w)
{
	world_done(w);
}
/* Their streams and sources. */
#define QUIET_WORLD(w, more)                 \
	CLEANUP(close_world) struct world w; \
	world_init(&w, eu_us, 2, more); \
	create(&w, "eu.deltas", SHARDS); \
	create(&w, "us.deltas", SHARDS); \
	world_listen(&w)
/* And a claimed session. */
#define WORLD(w, more)          \
	QUIET_WORLD(w, more);   \
	ASSERT_OK(world_claim(&w))

#define WINDOW(start, metric_, ...) \
	{ .start_ns = (start), .type = "mote", .metric = metric_, .values = (const double[]){ __VA_ARGS__ }, \
	  .n = sizeof((const double[]){ __VA_ARGS__ }) / sizeof(double) }

/* One window of one shard. */
static inline void send_window(const struct world *w, const char *region, uint32_t shard, uint64_t as_of, int64_t watermark_ns,
			struct test_window window)
{
	send_delta(w, &(struct test_delta){ .region = region,
					    .shard = shard,
					    .as_of = as_of,
					    .watermark_ns = watermark_ns,
					    .windows = &window,
					    .n_windows = 1 });
}

