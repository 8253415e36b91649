#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "observe/metrics.h"
#include "tests/unit/harness.h"

static const char *const result_names[] = { "unique", "dup\"li\\cate", "la\nte" };

#define METRICS_DEF "tests/unit/observe/metrics.def"
enum {
#include "observe/metric_ids.h"
};
static const struct metric_desc descs[] = {
#include "observe/metric_descs.h"
};

static struct metrics *new_metrics(void)
{
	struct metrics *m = NULL;

	ASSERT_OK(metrics_new(&m, "test", descs, ARRAY_SIZE(descs)));
	return m;
}

static void free_metrics(struct metrics **m)
{
	metrics_free(*m);
}

static void what_is_counted_is_the_total(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();

	metric_add(m, M_READINGS, 3);
	metric_add(m, M_READINGS, 4);
	metric_add_by(m, M_RESULTS, 2, 5);
	metric_set_total(m, M_RESULTS, 1, 99);
	metric_set(m, M_DEPTH, -0.5);
	CU_ASSERT_EQUAL(metric_total(m, M_READINGS, 0), 7);
	CU_ASSERT_EQUAL(metric_total(m, M_RESULTS, 0), 0);
	CU_ASSERT_EQUAL(metric_total(m, M_RESULTS, 1), 99);
	CU_ASSERT_EQUAL(metric_total(m, M_RESULTS, 2), 5);
	CU_ASSERT_EQUAL(metric_gauge(m, M_DEPTH), -0.5);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Against the sorted observations themselves, on durations from nanoseconds to an hour. */
static void quantiles_are_within_their_bound_of_the_exact_ones(void)
{
	enum { N = 20000 };
	static const double qs[] = { 0, 0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1 };
	static int64_t v[N];
	uint64_t seed = 88172645463325252ULL;

	for (int spread = 1; spread <= 41; spread += 5) {
		CLEANUP(free_metrics) struct metrics *m = new_metrics();

		for (int i = 0; i < N; i++) { /* xorshift64, then a power of two up to 2^spread */
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			v[i] = (int64_t)exp2((double)(seed >> 11) / 9007199254740992.0 * spread);
			metric_observe(m, M_ACK, v[i], 1);
		}
		qsort(v, N, sizeof(v[0]), compare);
		for (size_t k = 0; k < ARRAY_SIZE(qs); k++) {
			int64_t exact = v[MAX((int)ceil(qs[k] * N), 1) - 1];
			int64_t found = metric_quantile(m, M_ACK, qs[k]);

			if (llabs(found - exact) * 128 > exact)
				printf("  2^%d q=%g: %" PRId64 " for %" PRId64 "\n", spread, qs[k], found, exact);
			CU_ASSERT_TRUE(llabs(found - exact) * 128 <= exact);
		}
	}
}

static void the_edges_of_a_latency_are_kept(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();

	CU_ASSERT_EQUAL(metric_quantile(m, M_ACK, 0.5), 0);
	metric_observe(m, M_ACK, -5, 1); /* a clock that was set back */
	CU_ASSERT_EQUAL(metric_quantile(m, M_ACK, 0.5), 0);
	metric_observe(m, M_ACK, 1000000007, 0);
	CU_ASSERT_EQUAL(metric_quantile(m, M_ACK, 1), 0);
	metric_observe(m, M_ACK, INT64_MAX, 10);
	CU_ASSERT_EQUAL(metric_quantile(m, M_ACK, 0.5), INT64_MAX);
	metric_observe(m, M_FSYNC, 127, 1);
	CU_ASSERT_EQUAL(metric_quantile(m, M_FSYNC, 0.5), 127);
	metric_observe(m, M_FSYNC, 1LL << 41, 1); /* never above the largest seen */
	CU_ASSERT_EQUAL(metric_quantile(m, M_FSYNC, 1), 1LL << 41);
}

/* ------------------------------------------------------------------ threads */

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_things(void *context)
{
	struct metrics *m = context;

	for (int i = 1; i <= ROUNDS; i++) {
		metric_add(m, M_READINGS, 2);
		metric_add_by(m, M_RESULTS, i % 3, 1);
		metric_observe(m, M_ACK, i, 1);
		metric_set(m, M_DEPTH, i);
	}
	return NULL;
}

static void nothing_is_lost_between_threads(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	pthread_t threads[THREADS];
	uint64_t results = 0;
	char sum[64];

	for (int i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, count_things, m), 0);
	metrics_append_json(m, &b);
	metrics_append_prometheus(m, &b);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < 3; i++)
		results += metric_total(m, M_RESULTS, i);
	CU_ASSERT_EQUAL(metric_total(m, M_READINGS, 0), 2 * THREADS * ROUNDS);
	CU_ASSERT_EQUAL(results, THREADS * ROUNDS);
	CU_ASSERT_EQUAL(metric_quantile(m, M_ACK, 1), ROUNDS);
	CU_ASSERT_EQUAL(metric_gauge(m, M_DEPTH), ROUNDS);
	buf_reset(&b);
	metrics_append_prometheus(m, &b);
	/* Gauss, in seconds. */
	snprintf(sum, sizeof(sum), "\nsluice_test_ack_latency_seconds_sum %g\n", THREADS * (ROUNDS / 2 * (ROUNDS + 1.0)) / 1e9);
	CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&b), sum));
	snprintf(sum, sizeof(sum), "\nsluice_test_ack_latency_seconds_count %d\n", THREADS * ROUNDS);
	CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&b), sum));
}

/* ------------------------------------------------------------------ exposition format 0.0.4, read strictly */

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"

struct family {
	char name[128];
	char type[16];
	char seen[4096]; /* series so far, each between newlines */
	double le;
	double below;
	double count;
	int samples;
};

static const char *take_name(const char *at, char *ret, size_t size)
{
	size_t n = strspn(at, NAME_CHARS);

	CU_ASSERT_FATAL(n > 0 && n < size && (*at < '0' || *at > '9'));
	memcpy(ret, at, n);
	ret[n] = '\0';
	return at + n;
}

/* {name="value"}: only the three escapes, no raw quote or newline. */
static const char *take_label(const char *at, char *ret_name, char *ret_value)
{
	at = take_name(at + 1, ret_name, 64);
	CU_ASSERT_FATAL(at[0] == '=' && at[1] == '"');
	for (at += 2; *at != '"'; at++) {
		CU_ASSERT_FATAL(*at && *at != '\n');
		if (*at == '\\') {
			at++;
			CU_ASSERT_FATAL(*at == '\\' || *at == '"' || *at == 'n');
			*ret_value++ = *at == 'n' ? '\n' : *at;
		} else {
			*ret_value++ = *at;
		}
	}
	*ret_value = '\0';
	CU_ASSERT_FATAL(at[1] == '}');
	return at + 2;
}

static void check_histogram_sample(struct family *f, const char *suffix, const char *le, double v)
{
	if (!strcmp(suffix, "_bucket")) {
		char *end;
		double edge = !strcmp(le, "+Inf") ? INFINITY : strtod(le, &end);

		CU_ASSERT_TRUE(isinf(edge) || *end == '\0');
		CU_ASSERT_TRUE(edge > f->le && v >= f->below);
		f->le = edge;
		f->below = v;
	} else if (!strcmp(suffix, "_count")) {
		CU_ASSERT_TRUE(isinf(f->le));
		CU_ASSERT_EQUAL(v, f->below);
		f->count = v;
	} else {
		CU_ASSERT_STRING_EQUAL(suffix, "_sum");
	}
}

static void check_sample(struct family *f, const char *line)
{
	char name[128], label[64] = "", value[64] = "", series[256], *end;
	const char *at = take_name(line, name, sizeof(name));

	CU_ASSERT_EQUAL_FATAL(strncmp(name, f->name, strlen(f->name)), 0);
	if (*at == '{')
		at = take_label(at, label, value);
	CU_ASSERT_EQUAL_FATAL(*at, ' ');
	snprintf(series, sizeof(series), "\n%.*s\n", (int)(at - line), line);
	CU_ASSERT_PTR_NULL(strstr(f->seen, series));
	CU_ASSERT_FATAL(strlen(f->seen) + strlen(series) < sizeof(f->seen));
	strcat(f->seen, series);

	double v = strtod(at + 1, &end);

	CU_ASSERT_TRUE(end > at + 1 && *end == '\0');
	f->samples++;
	if (!strcmp(f->type, "histogram")) {
		CU_ASSERT_EQUAL(!strcmp(name + strlen(f->name), "_bucket"), !strcmp(label, "le"));
		check_histogram_sample(f, name + strlen(f->name), value, v);
		return;
	}
	CU_ASSERT_STRING_EQUAL(name, f->name);
	if (!strcmp(f->type, "counter"))
		CU_ASSERT_TRUE(v >= 0 && strlen(name) > 6 && !strcmp(name + strlen(name) - 6, "_total"));
}

static void end_family(const struct family *f)
{
	CU_ASSERT_TRUE(!*f->name || f->samples > 0);
	if (!strcmp(f->type, "histogram"))
		CU_ASSERT_TRUE(f->count >= 0);
}

/* Returns the number of families. */
static int check_exposition(char *text)
{
	struct family f = { "" };
	char names[4096] = "\n", name[128];
	int families = 0;

	CU_ASSERT_EQUAL_FATAL(text[strlen(text) - 1], '\n');
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "# HELP ", 7)) {
			end_family(&f);
			f = (struct family){ .le = -1, .count = -1 };
			CU_ASSERT_EQUAL_FATAL(*take_name(line + 7, f.name, sizeof(f.name)), ' ');
			snprintf(name, sizeof(name), "\n%s\n", f.name);
			CU_ASSERT_PTR_NULL(strstr(names, name));
			strncat(names, name + 1, sizeof(names) - strlen(names) - 1);
			families++;
			for (char *c = line; *c; c++)
				if (*c == '\\')
					CU_ASSERT_TRUE(*++c == '\\' || *c == 'n');
		} else if (!strncmp(line, "# TYPE ", 7)) {
			const char *at = take_name(line + 7, name, sizeof(name));

			CU_ASSERT_STRING_EQUAL(name, f.name);
			CU_ASSERT_EQUAL(f.samples, 0);
			snprintf(f.type, sizeof(f.type), "%s", at + 1);
			CU_ASSERT_TRUE(!strcmp(f.type, "counter") || !strcmp(f.type, "gauge") || !strcmp(f.type, "histogram"));
		} else {
			CU_ASSERT_FATAL(*f.type != '\0');
			check_sample(&f, line);
		}
	}
	end_family(&f);
	return families;
}

static void the_prometheus_page_keeps_to_the_format(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	metric_add_by(m, M_RESULTS, 1, 8);
	metric_set(m, M_DEPTH, NAN);
	for (int i = 0; i < 45; i++)
		metric_observe(m, M_ACK, (1LL << i) - 1, 1);
	metrics_append_prometheus(m, &b);
	ASSERT_OK(buf_error(&b));

	const char *text = buf_cstr(&b);

	CU_ASSERT_PTR_NOT_NULL(strstr(text, "# HELP sluice_test_readings_total Readings \"taken\";\\nin two lines, with a "
					    "back\\\\slash.\n# TYPE sluice_test_readings_total counter\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_results_total{result=\"dup\\\"li\\\\cate\"} 8\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_results_total{result=\"la\\nte\"} 0\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_queue_depth NaN\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n# TYPE sluice_test_fsync_seconds histogram\n"));
	/* 0, 1, 3, ... 8191 are the fourteen up to 8.191 us; each following edge takes one more, itself. */
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_ack_latency_seconds_bucket{le=\"0.000008191\"} 14\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_ack_latency_seconds_bucket{le=\"0.001048575\"} 21\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_ack_latency_seconds_bucket{le=\"2199.023255551\"} 42\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nsluice_test_ack_latency_seconds_bucket{le=\"+Inf\"} 45\n"));

	CLEANUP_FREE char *copy = strdup(text);

	CU_ASSERT_EQUAL(check_exposition(copy), 5 + 3);
}

static double sample(const char *text, const char *name)
{
	char start[128];

	snprintf(start, sizeof(start), "\n%s ", name);

	const char *at = strstr(text, start);

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	return strtod(at + strlen(start), NULL);
}

static void the_process_is_described(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	double now = (double)time(NULL), resident;

	metrics_append_prometheus(m, &b);

	const char *text = buf_cstr(&b);

	resident = sample(text, "process_resident_memory_bytes");
	CU_ASSERT_TRUE(sample(text, "process_cpu_seconds_total") > 0);
	CU_ASSERT_TRUE(sample(text, "process_cpu_seconds_total") <= (double)clock_cpu_ns() / 1e9);
	CU_ASSERT_TRUE(resident > 100e3 && resident < 100e9);
	CU_ASSERT_TRUE(fabs(sample(text, "process_start_time_seconds") - now) < 600);
}

static void refresh_depth(void *context)
{
	metric_set(context, M_DEPTH, metric_gauge(context, M_DEPTH) + 1);
}

static void the_json_page_has_the_agreed_form(void)
{
	CLEANUP(free_metrics) struct metrics *m = new_metrics();
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	json_int_t count, p50, p95, p99, max, readings, unique, dup, late, resident;
	double depth, cpu;
	json_error_t error;

	metrics_on_export(m, refresh_depth, m);
	metric_add(m, M_READINGS, 1ULL << 53);
	metric_add_by(m, M_RESULTS, 1, 8);
	metric_set(m, M_DEPTH, 0.1);
	for (int i = 1; i <= 100; i++)
		metric_observe(m, M_ACK, i, 1);
	metrics_append_json(m, &b);

	json_t *root = json_loadb((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, &error);

	if (!root)
		printf("  %s in %s\n", error.text, buf_cstr(&b));
	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	CU_ASSERT_EQUAL(json_unpack_ex(root, &error, 0, "{s:I, s:{s:I,s:I,s:I!}, s:f, s:{s:I,s:I,s:I,s:I,s:I!}, s:o, s:f, s:I!}",
				       "readings_total", &readings, "results", "unique", &unique, "dup\"li\\cate", &dup, "la\nte",
				       &late, "queue_depth", &depth, "ack_latency", "count", &count, "p50_ns", &p50, "p95_ns",
				       &p95, "p99_ns", &p99, "max_ns", &max, "fsync_seconds", &(json_t *){ NULL },
				       "process_cpu_seconds", &cpu, "process_resident_bytes", &resident), 0);
	CU_ASSERT_EQUAL(readings, 1LL << 53);
	CU_ASSERT_TRUE(unique == 0 && dup == 8 && late == 0);
	CU_ASSERT_EQUAL(depth, 1.1);
	CU_ASSERT_TRUE(count == 100 && p50 == 50 && p95 == 95 && p99 == 99 && max == 100);
	json_decref(root);
	buf_reset(&b);
	metric_set(m, M_DEPTH, INFINITY);
	metrics_append_json(m, &b);
	CU_ASSERT_PTR_NOT_NULL(strstr(buf_cstr(&b), "\"queue_depth\":null"));
}

TESTS("metrics", T(what_is_counted_is_the_total), T(quantiles_are_within_their_bound_of_the_exact_ones),
      T(the_edges_of_a_latency_are_kept), T(nothing_is_lost_between_threads), T(the_prometheus_page_keeps_to_the_format),
      T(the_process_is_described), T(the_json_page_has_the_agreed_form))
