/* Counters, gauges and latencies.
 *
 * Every series has a cache line of its own, so that threads which count different things do not slow each other down.
 *
 * A latency is a log-linear histogram on nanoseconds (as HdrHistogram; Tene, 2012): below 64 ns one bucket a value,
 * above that each power of two is cut into 64 equal buckets.  An octave [2^e, 2^(e+1)) has buckets 2^(e-6) wide, so
 * that a bucket's middle is at most 2^(e-7) away from anything in it: 2^(e-7) / 2^e = 1/128 = 0.78 %.  It ends at
 * 2^42 ns (73 min); what is longer counts in the last bucket, and the maximum is exact.  19 KiB a latency; an
 * observation is one relaxed add, a compare-and-swap for the sum, and a load for the maximum.
 *
 * The sum is a double: 64 bits of nanoseconds would wrap within half a minute while an hour's backlog drains at
 * 200 k/s.
 *
 * The buckets of the Prometheus histogram are whole octaves: le = 2^k - 1 ns are edges of the fine buckets, so that
 * the cumulative counts are exact.
 */
#include "observe/metrics.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "observe/process.h"

#define SUB_BITS 6
#define SUB (1 << SUB_BITS)
#define OCTAVE_END 42
#define N_BUCKETS ((OCTAVE_END - SUB_BITS + 1) * SUB)
#define LE_FIRST 13 /* 8.2 us */

struct latency {
	uint64_t buckets[N_BUCKETS];
	uint64_t sum; /* bits of a double, nanoseconds */
	int64_t max_ns;
};

struct cell {
	_Alignas(64) uint64_t v; /* counter, or the bits of a gauge's double */
};

struct metrics {
	const char *program;
	const struct metric_desc *descs;
	uint32_t n;
	uint32_t *first;          /* a desc's first cell, or its latency */
	struct cell *cells;
	struct latency *latencies;
	void (*refresh)(void *context);
	void *refresh_context;
};

/* ------------------------------------------------------------------ life */

static bool name_fits(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!islower((unsigned char)*c) && *c != '_' && (c == name || !isdigit((unsigned char)*c)))
			return false;
	return *name != '\0';
}

static uint32_t n_series(const struct metric_desc *d)
{
	return d->label ? d->n_values : 1;
}

int metrics_new(struct metrics **ret, const char *program, const struct metric_desc *descs, uint32_t n)
{
	struct metrics *m = calloc(1, sizeof(*m));
	uint32_t n_cells = 0, n_latencies = 0;

	if (!m)
		return -ENOMEM;
	*m = (struct metrics){ .program = program, .descs = descs, .n = n, .first = calloc(n + 1, sizeof(*m->first)) };
	if (!m->first)
		goto failed;
	for (uint32_t i = 0; i < n; i++) {
		must(name_fits(descs[i].name) && (!descs[i].label || name_fits(descs[i].label)));
		must(descs[i].kind == METRIC_COUNTER || !descs[i].label);
		if (descs[i].kind == METRIC_LATENCY) {
			m->first[i] = n_latencies++;
		} else {
			m->first[i] = n_cells;
			n_cells += n_series(&descs[i]);
		}
	}
	m->cells = aligned_alloc(64, (n_cells + 1) * sizeof(*m->cells));
	m->latencies = calloc(n_latencies + 1, sizeof(*m->latencies));
	if (!m->cells || !m->latencies)
		goto failed;
	memset(m->cells, 0, (n_cells + 1) * sizeof(*m->cells));
	*ret = m;
	return 0;
failed:
	metrics_free(m);
	return -ENOMEM;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	free(m->first);
	free(m->cells);
	free(m->latencies);
	free(m);
}

/* ------------------------------------------------------------------ counting */

static uint64_t *cell_of(const struct metrics *m, uint32_t id, uint32_t value)
{
	must(id < m->n && m->descs[id].kind != METRIC_LATENCY && value < n_series(&m->descs[id]));
	return &m->cells[m->first[id] + value].v;
}

static struct latency *latency_of(const struct metrics *m, uint32_t id)
{
	must(id < m->n && m->descs[id].kind == METRIC_LATENCY);
	return &m->latencies[m->first[id]];
}

void metric_add(struct metrics *m, uint32_t id, uint64_t n)
{
	metric_add_by(m, id, 0, n);
}

void metric_add_by(struct metrics *m, uint32_t id, uint32_t value, uint64_t n)
{
	__atomic_fetch_add(cell_of(m, id, value), n, __ATOMIC_RELAXED);
}

void metric_set_total(struct metrics *m, uint32_t id, uint32_t value, uint64_t total)
{
	__atomic_store_n(cell_of(m, id, value), total, __ATOMIC_RELAXED);
}

static uint64_t bits_of(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static double double_of(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

void metric_set(struct metrics *m, uint32_t id, double v)
{
	__atomic_store_n(cell_of(m, id, 0), bits_of(v), __ATOMIC_RELAXED);
}

static uint32_t bucket_of(uint64_t ns)
{
	if (ns < SUB)
		return (uint32_t)ns;
	if (ns >> OCTAVE_END)
		return N_BUCKETS - 1;

	uint32_t e = 63 - (uint32_t)__builtin_clzll(ns);

	return (e - SUB_BITS + 1) * SUB + (uint32_t)(ns >> (e - SUB_BITS) & (SUB - 1));
}

static uint64_t bucket_middle(uint32_t bucket)
{
	if (bucket < 2 * SUB)
		return bucket;

	uint32_t shift = bucket / SUB - 1;

	return ((uint64_t)(bucket % SUB + SUB) << shift) + (1ULL << shift) / 2;
}

void metric_observe(struct metrics *m, uint32_t id, int64_t ns, uint64_t n)
{
	struct latency *l = latency_of(m, id);
	int64_t max_ns = __atomic_load_n(&l->max_ns, __ATOMIC_RELAXED);
	uint64_t sum = __atomic_load_n(&l->sum, __ATOMIC_RELAXED), next;

	if (n == 0)
		return;
	ns = MAX(ns, 0LL);
	__atomic_fetch_add(&l->buckets[bucket_of((uint64_t)ns)], n, __ATOMIC_RELAXED);
	do
		next = bits_of(double_of(sum) + (double)ns * (double)n);
	while (!__atomic_compare_exchange_n(&l->sum, &sum, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	while (ns > max_ns &&
	       !__atomic_compare_exchange_n(&l->max_ns, &max_ns, ns, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* ------------------------------------------------------------------ looking */

uint64_t metric_total(const struct metrics *m, uint32_t id, uint32_t value)
{
	return __atomic_load_n(cell_of(m, id, value), __ATOMIC_RELAXED);
}

double metric_gauge(const struct metrics *m, uint32_t id)
{
	return double_of(__atomic_load_n(cell_of(m, id, 0), __ATOMIC_RELAXED));
}

/* One consistent look at a latency: the count is that of these buckets. */
struct snapshot {
	uint64_t buckets[N_BUCKETS];
	uint64_t count;
	double sum_ns;
	int64_t max_ns;
};

static void snapshot(const struct metrics *m, uint32_t id, struct snapshot *ret)
{
	const struct latency *l = latency_of(m, id);

	ret->count = 0;
	for (uint32_t i = 0; i < N_BUCKETS; i++) {
		ret->buckets[i] = __atomic_load_n(&l->buckets[i], __ATOMIC_RELAXED);
		ret->count += ret->buckets[i];
	}
	ret->sum_ns = double_of(__atomic_load_n(&l->sum, __ATOMIC_RELAXED));
	ret->max_ns = __atomic_load_n(&l->max_ns, __ATOMIC_RELAXED);
}

/* The middle of the bucket that holds the observation of rank ceil(q n). */
static int64_t quantile(const struct snapshot *s, double q)
{
	uint64_t rank = MAX((uint64_t)ceil(q * (double)s->count), 1ULL), below = 0;

	if (s->count == 0)
		return 0;
	for (uint32_t i = 0; i < N_BUCKETS - 1; i++) {
		below += s->buckets[i];
		if (below >= rank)
			return MIN((int64_t)bucket_middle(i), s->max_ns);
	}
	/* The last bucket has no upper edge. */
	return s->max_ns;
}

int64_t metric_quantile(const struct metrics *m, uint32_t id, double q)
{
	struct snapshot s;

	snapshot(m, id, &s);
	return quantile(&s, q);
}

/* ------------------------------------------------------------------ Prometheus text format 0.0.4 */

void metrics_on_export(struct metrics *m, void (*refresh)(void *context), void *context)
{
	m->refresh = refresh;
	m->refresh_context = context;
}

static void append_escaped(struct buf *b, const char *s, const char *specials)
{
	for (; *s; s++) {
		if (strchr(specials, *s)) {
			buf_append_u8(b, '\\');
			buf_append_u8(b, *s == '\n' ? 'n' : (uint8_t)*s);
		} else {
			buf_append_u8(b, (uint8_t)*s);
		}
	}
}

static void append_head(struct buf *b, const char *name, const char *type, const char *sentence)
{
	buf_printf(b, "# HELP %s ", name);
	append_escaped(b, sentence, "\\\n");
	buf_printf(b, "\n# TYPE %s %s\n", name, type);
}

static void append_double(struct buf *b, double v)
{
	char text[32];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_append_str(b, text);
}

static void append_gauge(struct buf *b, double v)
{
	if (isfinite(v))
		append_double(b, v);
	else
		buf_append_str(b, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
}

static void append_latency(struct buf *b, const char *name, const struct snapshot *s)
{
	uint64_t below = 0;
	uint32_t i = 0;

	for (uint32_t e = LE_FIRST; e < OCTAVE_END; e++) {
		uint64_t le_ns = (1ULL << e) - 1;

		for (uint32_t last = bucket_of(le_ns); i <= last; i++)
			below += s->buckets[i];
		buf_printf(b, "%s_bucket{le=\"%.9f\"} %" PRIu64 "\n", name, (double)le_ns / 1e9, below);
	}
	buf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, s->count, name);
	append_double(b, s->sum_ns / 1e9);
	buf_printf(b, "\n%s_count %" PRIu64 "\n", name, s->count);
}

/* sluice_PROGRAM_NAME, with the unit's suffix unless the name has it. */
static void full_name(const struct metrics *m, const struct metric_desc *d, char *ret, size_t size)
{
	const char *suffix = d->kind == METRIC_COUNTER ? "_total" : d->kind == METRIC_LATENCY ? "_seconds" : "";
	size_t len = strlen(d->name), suffix_len = strlen(suffix);
	bool has = len > suffix_len && !strcmp(d->name + len - suffix_len, suffix);

	snprintf(ret, size, "sluice_%s_%s%s", m->program, d->name, has ? "" : suffix);
}

static void append_metric(struct metrics *m, uint32_t id, struct buf *b)
{
	static const char *const types[] = {
		[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_LATENCY] = "histogram",
	};
	const struct metric_desc *d = &m->descs[id];
	struct snapshot s;
	char name[128];

	full_name(m, d, name, sizeof(name));
	append_head(b, name, types[d->kind], d->sentence);
	switch (d->kind) {
	case METRIC_COUNTER:
		for (uint32_t v = 0; v < n_series(d); v++) {
			buf_append_str(b, name);
			if (d->label) {
				buf_printf(b, "{%s=\"", d->label);
				append_escaped(b, d->values[v], "\\\"\n");
				buf_append_str(b, "\"}");
			}
			buf_printf(b, " %" PRIu64 "\n", metric_total(m, id, v));
		}
		break;
	case METRIC_GAUGE:
		buf_printf(b, "%s ", name);
		append_gauge(b, metric_gauge(m, id));
		buf_append_u8(b, '\n');
		break;
	case METRIC_LATENCY:
		snapshot(m, id, &s);
		append_latency(b, name, &s);
		break;
	}
}

static void append_process(struct buf *b)
{
	const struct {
		const char *name, *type, *sentence;
		double v;
	} rows[] = {
		{ "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
		  (double)clock_cpu_ns() / 1e9 },
		{ "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
		  (double)process_resident_bytes() },
		{ "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
		  (double)process_start_ns() / 1e9 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		append_head(b, rows[i].name, rows[i].type, rows[i].sentence);
		buf_printf(b, "%s ", rows[i].name);
		append_double(b, rows[i].v);
		buf_append_u8(b, '\n');
	}
}

void metrics_append_prometheus(struct metrics *m, struct buf *b)
{
	if (m->refresh)
		m->refresh(m->refresh_context);
	for (uint32_t id = 0; id < m->n; id++)
		append_metric(m, id, b);
	append_process(b);
}

/* ------------------------------------------------------------------ JSON */

static void append_json_text(struct buf *b, const char *s)
{
	buf_append_u8(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20)
			buf_printf(b, "\\u%04x", c);
		else
			buf_append_u8(b, c);
	}
	buf_append_u8(b, '"');
}

static void append_json_latency(const struct metrics *m, uint32_t id, struct buf *b)
{
	struct snapshot s;

	snapshot(m, id, &s);
	buf_printf(b,
		   "{\"count\":%" PRIu64 ",\"p50_ns\":%" PRId64 ",\"p95_ns\":%" PRId64 ",\"p99_ns\":%" PRId64
		   ",\"max_ns\":%" PRId64 "}",
		   s.count, quantile(&s, 0.5), quantile(&s, 0.95), quantile(&s, 0.99), s.max_ns);
}

static void append_json_counter(const struct metrics *m, uint32_t id, struct buf *b)
{
	const struct metric_desc *d = &m->descs[id];

	if (!d->label) {
		buf_printf(b, "%" PRIu64, metric_total(m, id, 0));
		return;
	}
	buf_append_u8(b, '{');
	for (uint32_t v = 0; v < d->n_values; v++) {
		if (v > 0)
			buf_append_u8(b, ',');
		append_json_text(b, d->values[v]);
		buf_printf(b, ":%" PRIu64, metric_total(m, id, v));
	}
	buf_append_u8(b, '}');
}

static void append_json_gauge(struct buf *b, double v)
{
	if (isfinite(v))
		append_double(b, v);
	else
		buf_append_str(b, "null");
}

void metrics_append_json(struct metrics *m, struct buf *b)
{
	if (m->refresh)
		m->refresh(m->refresh_context);
	buf_append_u8(b, '{');
	for (uint32_t id = 0; id < m->n; id++) {
		append_json_text(b, m->descs[id].name);
		buf_append_u8(b, ':');
		switch (m->descs[id].kind) {
		case METRIC_COUNTER:
			append_json_counter(m, id, b);
			break;
		case METRIC_GAUGE:
			append_json_gauge(b, metric_gauge(m, id));
			break;
		case METRIC_LATENCY:
			append_json_latency(m, id, b);
			break;
		}
		buf_append_u8(b, ',');
	}
	buf_append_str(b, "\"process_cpu_seconds\":");
	append_double(b, (double)clock_cpu_ns() / 1e9);
	buf_printf(b, ",\"process_resident_bytes\":%" PRId64 "}\n", process_resident_bytes());
}
