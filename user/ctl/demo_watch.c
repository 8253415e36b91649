#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/demo.h"
#include "ctl/scrape.h"

static const char *const verdict_labels[SLUICE_VERDICT_COUNT] = {
#define X(name, label, fate, sentence) label,
	SLUICE_VERDICTS(X)
#undef X
};

static uint64_t count_at(const json_t *stats, const char *path)
{
	return (uint64_t)json_number_at(stats, path);
}

static struct demo_latency latency_at(const json_t *stats, const char *name)
{
	char path[96];
	struct demo_latency l;

	snprintf(path, sizeof(path), "%s/p50_ns", name);
	l.p50 = json_number_at(stats, path) / NS_PER_MS;
	snprintf(path, sizeof(path), "%s/p95_ns", name);
	l.p95 = json_number_at(stats, path) / NS_PER_MS;
	snprintf(path, sizeof(path), "%s/p99_ns", name);
	l.p99 = json_number_at(stats, path) / NS_PER_MS;
	return l;
}

static void verdicts_at(const json_t *stats, const char *name, uint64_t ret[SLUICE_VERDICT_COUNT])
{
	for (size_t v = 0; v < SLUICE_VERDICT_COUNT; v++) {
		char path[96];

		snprintf(path, sizeof(path), "%s/%s", name, verdict_labels[v]);
		ret[v] = count_at(stats, path);
	}
}

/* ------------------------------------------------------------------ each part */

static void watch_fleet(struct demo *d, int i)
{
	struct demo_figures *f = &d->now;
	char path[DEMO_PATH];
	const char *code;
	json_t *value;

	must(snprintf(path, sizeof(path), "%s/fleet-%s.json", d->dir, demo_region_names[i]) < (int)sizeof(path));

	json_t *result = json_load_file(path, 0, NULL);

	if (!result)
		return;
	f->readings += count_at(result, "readings");
	f->sent += count_at(result, "sent");
	f->acked += count_at(result, "acked");
	f->retransmitted += count_at(result, "retransmitted");
	f->repeated += count_at(result, "repeated");
	f->given_up += count_at(result, "given_up");
	f->bad_receipts += count_at(result, "bad_receipts");
	f->in_flight += (uint32_t)count_at(result, "in_flight");
	json_object_foreach(json_object_get(result, "refused"), code, value)
		f->refused += (uint64_t)json_number_value(value);
	f->fleet_ack.p50 = fmax(f->fleet_ack.p50, json_number_at(result, "ack_latency_ms/p50"));
	f->fleet_ack.p95 = fmax(f->fleet_ack.p95, json_number_at(result, "ack_latency_ms/p95"));
	f->fleet_ack.p99 = fmax(f->fleet_ack.p99, json_number_at(result, "ack_latency_ms/p99"));

	json_t *spike = json_object_get(result, "spike");

	if (spike) {
		snprintf(f->spike_device, sizeof(f->spike_device), "%s", json_string_value(json_object_get(spike, "device_id")));
		f->spike_ns = atoll(json_string_value(json_object_get(spike, "injected_ns")));
	}
	json_decref(result);
}

static void watch_gateway(struct demo *d, int i)
{
	const struct demo_port *port = &d->gateway_ports[i];
	struct demo_region *r = &d->now.regions[i];
	json_t *stats = scrape_json(port->host, port->port, "/stats.json");
	json_t *page = scrape_json(port->host, port->port, "/gateway.json");

	if (!stats) { /* busy: what was seen last still stands */
		*r = d->before.regions[i];
		json_decref(page);
		return;
	}
	r->kernel_received = count_at(stats, "kernel_received_total");
	verdicts_at(stats, "kernel_verdicts_total", r->kernel);
	r->received = count_at(stats, "received_total");
	verdicts_at(stats, "verdicts_total", r->user);
	r->lost_xsk = count_at(stats, "lost_xsk_total");
	r->lost_socket = count_at(stats, "lost_socket_total");
	r->stored = count_at(stats, "stored_readings_total");
	r->stored_bytes = count_at(stats, "stored_bytes_total");
	r->joined = count_at(stats, "joined_readings_total");
	r->known = count_at(stats, "known_readings_total");
	r->published = count_at(stats, "published_readings_total");
	r->published_bytes = count_at(stats, "published_bytes_total");
	r->batches = count_at(stats, "published_envelopes_total") - count_at(stats, "published_heartbeats_total");
	r->backlog = json_number_at(stats, "spool_backlog_readings");
	r->ack = latency_at(stats, "ack_latency");
	r->cpu_kernel_s = json_number_at(stats, "kernel_cpu_seconds");
	r->cpu_gateway_s = json_number_at(stats, "process_cpu_seconds");
	r->gateway_idle = json_is_true(json_object_get(page, "idle"));
	json_decref(stats);
	json_decref(page);
}

static void watch_regional(struct demo *d, int i)
{
	const struct demo_port *port = &d->regional_ports[i];
	struct demo_region *r = &d->now.regions[i];
	const struct demo_region *before = &d->before.regions[i];
	json_t *stats = scrape_json(port->host, port->port, "/stats.json");
	json_t *page = scrape_json(port->host, port->port, "/region.json");

	r->in_time = stats ? count_at(stats, "readings_total/unique") : before->in_time;
	r->duplicates = stats ? count_at(stats, "readings_total/duplicate") : before->duplicates;
	r->late = stats ? count_at(stats, "readings_total/late") : before->late;
	r->ahead = stats ? count_at(stats, "readings_total/ahead") : before->ahead;
	r->old = stats ? count_at(stats, "readings_total/ancient") : before->old;
	r->unique = r->in_time + r->late + r->ahead + r->old;
	r->aside = stats ? count_at(stats, "asides_total") : before->aside;
	r->edge_to_region = stats ? latency_at(stats, "edge_to_region_latency") : before->edge_to_region;
	r->cpu_regional_s = stats ? json_number_at(stats, "process_cpu_seconds") : before->cpu_regional_s;
	r->region_idle = json_is_true(json_object_get(page, "folded_idle"));
	json_decref(stats);
	json_decref(page);
}

/* The first alert on the spike's device that is not older than the spike. */
static void find_alert(struct demo *d, const json_t *alerts)
{
	struct demo_figures *f = &d->now;
	size_t i;
	json_t *a;

	json_array_foreach(alerts, i, a) {
		const char *device = json_string_value(json_object_get(a, "device_id"));
		const char *metric = json_string_value(json_object_get(a, "metric"));
		int64_t raised_ns = (int64_t)json_number_at(a, "raised_ns");
		const char *text = json_string_value(json_object_get(a, "raised_ns"));

		if (text)
			raised_ns = atoll(text);
		if (!metric || !device || strcmp(device, f->spike_device) != 0 || raised_ns < f->spike_ns)
			continue;
		if (f->alert_raised_ns != 0 && raised_ns >= f->alert_raised_ns)
			continue;
		f->alert_raised_ns = raised_ns;
		snprintf(f->alert_text, sizeof(f->alert_text), "%s of %s: %.2f, expected %.2f", metric, device,
			 json_number_at(a, "value"), json_number_at(a, "expected"));
	}
}

static void watch_aggregator(struct demo *d)
{
	const struct demo_port *port = &d->aggregator_port;
	struct demo_figures *f = &d->now;
	json_t *stats = scrape_json(port->host, port->port, "/stats.json");
	json_t *alerts = scrape_json(port->host, port->port, "/alerts.json");

	if (stats) {
		f->windows_early = count_at(stats, "windows_total/early");
		f->windows_partial = count_at(stats, "windows_total/partial");
		f->windows_final = count_at(stats, "windows_total/final");
		f->windows_corrected = count_at(stats, "windows_total/corrected");
		f->alerts = count_at(stats, "alerts_total/raised");
		f->region_to_global = latency_at(stats, "region_to_global_latency");
		f->notice = latency_at(stats, "notice_latency");
		f->delta_dwell_ms = latency_at(stats, "delta_dwell_latency").p50;
		f->cpu_aggregator_s = json_number_at(stats, "process_cpu_seconds");
	}
	f->alert_raised_ns = d->before.alert_raised_ns;
	memcpy(f->alert_text, d->before.alert_text, sizeof(f->alert_text));
	if (f->alert_raised_ns == 0 && f->spike_ns != 0)
		find_alert(d, json_is_array(alerts) ? alerts : json_object_get(alerts, "alerts"));
	f->windows = scrape_json(port->host, port->port, "/windows.json");
	json_decref(stats);
	json_decref(alerts);
}

/* ------------------------------------------------------------------ the whole */

void demo_figures_done(struct demo_figures *f)
{
	json_decref(f->windows);
	f->windows = NULL;
}

void demo_watch(struct demo *d)
{
	demo_figures_done(&d->before);
	d->before = d->now;
	d->before_ns = d->now_ns;
	memset(&d->now, 0, sizeof(d->now));
	d->now_ns = clock_mono_ns();
	d->now.fleets_done = d->start_ns != 0;
	for (int i = 0; i < DEMO_REGIONS; i++) {
		watch_fleet(d, i);
		d->now.fleets_done &= !child_running(&d->fleets[i]);
		watch_gateway(d, i);
		watch_regional(d, i);
	}
	watch_aggregator(d);
}

bool demo_quiet(const struct demo *d)
{
	for (int i = 0; i < DEMO_REGIONS; i++) {
		const struct demo_region *r = &d->now.regions[i];

		if (!r->gateway_idle || !r->region_idle || r->backlog > 0)
			return false;
	}
	return d->now.fleets_done && d->now.in_flight == 0;
}
