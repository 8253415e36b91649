/* Metrics: declared once in a program's .def file with what they mean to an operator and what to do, counted with
 * relaxed atomics, exported as Prometheus text (/metrics) and as JSON with quantiles (/stats.json).
 *
 * Names follow Prometheus: sluice_<program>_<what>_<unit>[_total], base units (seconds, bytes), one label at most.
 * In /stats.json the short name without prefix is the key.
 *
 * M_COUNTER(id, "name", "sentence")                      uint64, only grows
 * M_COUNTER_BY(id, "name", "label", values, n, "sentence")  one counter a label value; values: const char *const[]
 * M_GAUGE(id, "name", "sentence")                        double
 * M_LATENCY(id, "name", "sentence")                      nanoseconds in, seconds out; log-linear histogram,
 *                                                        quantiles to 0.8 %
 *
 * A program makes its ids and its table from the one file:
 *
 *     #define METRICS_DEF "gateway/metrics.def"
 *     enum gateway_metric {
 *     #include "observe/metric_ids.h"
 *     };
 *     static const struct metric_desc descs[] = {
 *     #include "observe/metric_descs.h"
 *     };
 *
 * In Prometheus a counter's name ends in _total and a latency's in _seconds; the suffix is added where the name does
 * not have it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_LATENCY };

struct metric_desc {
	const char *name; /* without "sluice_<program>_" */
	enum metric_kind kind;
	const char *label; /* NULL: one series */
	const char *const *values;
	uint32_t n_values;
	const char *sentence;
};

struct metrics;

/* program: "gateway"; descs: position = the id that is used below; must outlive the set. */
int metrics_new(struct metrics **ret, const char *program, const struct metric_desc *descs, uint32_t n);
void metrics_free(struct metrics *m);

/* Any thread. */
void metric_add(struct metrics *m, uint32_t id, uint64_t n);
void metric_add_by(struct metrics *m, uint32_t id, uint32_t value, uint64_t n);
/* A counter that is kept elsewhere (kernel maps, another thread's statistics): set to what it is now. */
void metric_set_total(struct metrics *m, uint32_t id, uint32_t value, uint64_t total);
void metric_set(struct metrics *m, uint32_t id, double v);
/* n observations of the same duration. */
void metric_observe(struct metrics *m, uint32_t id, int64_t ns, uint64_t n);

uint64_t metric_total(const struct metrics *m, uint32_t id, uint32_t value);
double metric_gauge(const struct metrics *m, uint32_t id);
/* Nanoseconds; 0 when nothing was observed. q in 0..1. */
int64_t metric_quantile(const struct metrics *m, uint32_t id, double q);

/* Called before each export, on the admin thread: refreshes gauges. */
void metrics_on_export(struct metrics *m, void (*refresh)(void *context), void *context);
void metrics_append_prometheus(struct metrics *m, struct buf *b);
/* {"name":N, "name":{"value":N,…}, "name":{"count":N,"p50_ns":N,"p95_ns":N,"p99_ns":N,"max_ns":N}, …}; every set
 * also has process_cpu_seconds and process_resident_bytes (Prometheus: process_*). */
void metrics_append_json(struct metrics *m, struct buf *b);
