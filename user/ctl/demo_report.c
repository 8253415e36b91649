#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <dirent.h>
#include <limits.h>

#include "ctl/demo.h"

#define ALERT_LIMIT_MS 2000.0

enum { FATES = 4 };

static const struct {
	const char *label;
	int fate;
} verdicts[SLUICE_VERDICT_COUNT] = {
#define X(name, label, fate, sentence) { label, SLUICE_FATE_##fate },
	SLUICE_VERDICTS(X)
#undef X
};

/* ------------------------------------------------------------------ sums over the regions */

struct totals {
	uint64_t kernel_received, received, lost, stored, stored_bytes, published, published_bytes, batches;
	uint64_t kernel[SLUICE_VERDICT_COUNT], user[SLUICE_VERDICT_COUNT];
	uint64_t kernel_fate[FATES], user_fate[FATES];
	uint64_t unique, duplicates, late, aside;
	double backlog, cpu_kernel_s, cpu_gateway_s, cpu_regional_s;
	struct demo_latency ack, edge_to_region;
};

static void take_worst(struct demo_latency *worst, const struct demo_latency *l)
{
	worst->p50 = fmax(worst->p50, l->p50);
	worst->p95 = fmax(worst->p95, l->p95);
	worst->p99 = fmax(worst->p99, l->p99);
}

static struct totals totals_of(const struct demo *d)
{
	struct totals t = { 0 };

	for (int i = 0; i < DEMO_REGIONS; i++) {
		const struct demo_region *r = &d->now.regions[i];

		t.kernel_received += r->kernel_received;
		t.received += r->received;
		t.lost += r->lost_xsk + r->lost_socket;
		t.stored += r->stored;
		t.stored_bytes += r->stored_bytes;
		t.published += r->published;
		t.published_bytes += r->published_bytes;
		t.batches += r->batches;
		t.unique += r->unique;
		t.duplicates += r->duplicates;
		t.late += r->late;
		t.aside += r->aside;
		t.backlog += r->backlog;
		t.cpu_kernel_s += r->cpu_kernel_s;
		t.cpu_gateway_s += r->cpu_gateway_s;
		t.cpu_regional_s += r->cpu_regional_s;
		take_worst(&t.ack, &r->ack);
		take_worst(&t.edge_to_region, &r->edge_to_region);
		for (size_t v = 0; v < SLUICE_VERDICT_COUNT; v++) {
			t.kernel[v] += r->kernel[v];
			t.user[v] += r->user[v];
			t.kernel_fate[verdicts[v].fate] += r->kernel[v];
			t.user_fate[verdicts[v].fate] += r->user[v];
		}
	}
	return t;
}

static uint64_t sum(const uint64_t *v, size_t n)
{
	uint64_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += v[i];
	return s;
}

/* What one stage hands on and what the next has must be the same:
 *   kernel   received by the program = the sum of its verdicts
 *   gateway  forwarded to AF_XDP and passed to the socket = taken there + known to be lost; and taken = verdicts
 *   spool    stored = published + still to publish
 *   region   published = unique + duplicates */
struct demo_ledger demo_ledger(const struct demo *d)
{
	struct totals t = totals_of(d);
	uint64_t handed_up = t.kernel[SLUICE_FORWARDED] + t.kernel_fate[SLUICE_FATE_PASS] - t.kernel[SLUICE_PASSED_FOREIGN];
	uint64_t decided = sum(t.user, SLUICE_VERDICT_COUNT);
	struct demo_ledger l = {
		.kernel = (int64_t)(t.kernel_received - sum(t.kernel, SLUICE_VERDICT_COUNT)),
		.spool = (int64_t)(t.stored - t.published) - (int64_t)t.backlog,
		.region = (int64_t)(t.published - t.unique - t.duplicates),
	};

	if (!d->xdp)
		handed_up = d->now.sent;
	l.gateway = llabs((int64_t)(handed_up - t.received - t.lost)) + llabs((int64_t)(t.received - decided));
	return l;
}

static int64_t residual_of(const struct demo_ledger *l)
{
	return llabs(l->kernel) + llabs(l->gateway) + llabs(l->spool) + llabs(l->region);
}

/* ------------------------------------------------------------------ bytes on disk */

static double folder_bytes(const char *path)
{
	DIR *dir = opendir(path);
	double bytes = 0;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		struct stat st;

		if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			bytes += (double)st.st_size;
	}
	if (dir)
		closedir(dir);
	return bytes;
}

static double stream_bytes(const struct demo *d, const char *stream)
{
	double bytes = 0;

	for (int i = 0; i < DEMO_REGIONS; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/streams/%s.%s", d->dir, demo_region_names[i], stream);
		bytes += folder_bytes(path);
	}
	return bytes;
}

static double per(double amount, double of)
{
	return of > 0 ? amount / of : 0;
}

/* ------------------------------------------------------------------ words */

bool demo_succeeded(const struct demo *d)
{
	struct demo_ledger l = demo_ledger(d);
	struct totals t = totals_of(d);
	const struct demo_figures *f = &d->now;
	bool alert = d->options.from || f->spike_ns == 0 ||
		     (f->alert_raised_ns && (double)(f->alert_raised_ns - f->spike_ns) / NS_PER_MS <= ALERT_LIMIT_MS);

	/* A file may say the same reading twice. */
	bool all = d->options.from ? f->acked >= t.unique : f->acked == t.unique;

	return residual_of(&l) == 0 && all && f->given_up == 0 && f->bad_receipts == 0 && alert;
}

static void summarise_alert(const struct demo_figures *f)
{
	if (f->spike_ns == 0) {
		printf("No spike was injected: the run was too short for the detector to know its devices.\n");
		return;
	}
	if (f->alert_raised_ns == 0)
		printf("The temperature of %s jumped, and no alert came.\n", f->spike_device);
	else
		printf("The temperature of %s jumped; the alert was global %.0f ms later (%s).\n", f->spike_device,
		       (double)(f->alert_raised_ns - f->spike_ns) / NS_PER_MS, f->alert_text);
}

void demo_summary(const struct demo *d)
{
	const struct demo_figures *f = &d->now;
	struct totals t = totals_of(d);
	struct demo_ledger l = demo_ledger(d);
	uint64_t in_kernel = t.kernel[SLUICE_ANSWERED_DURABLE] + t.kernel[SLUICE_DROPPED_DUPLICATE];

	printf("\nWhat happened\n\n");
	printf("%" PRIu64 " readings were sent in %" PRIu64 " datagrams (%" PRIu64 " repeated on purpose, %" PRIu64 " retransmitted), and %" PRIu64
	       " acknowledged,\neach after it was on disk: half of them within %.1f ms, 99 of 100 within %.1f ms of the datagram's arrival.\n",
	       f->readings, f->sent, f->repeated, f->retransmitted, f->acked, t.ack.p50, t.ack.p99);
	if (d->xdp)
		printf("The XDP programs answered %" PRIu64 " repeated requests by themselves; user space answered %" PRIu64 ".\n", in_kernel,
		       t.user[SLUICE_ANSWERED_DURABLE]);
	else
		printf("Without XDP (%s) user space answered the %" PRIu64 " repeated requests.\n", d->why_not, t.user[SLUICE_ANSWERED_DURABLE]);
	printf("The regions hold %" PRIu64 " readings once each, %" PRIu64 " of them late, %" PRIu64 " duplicates were recognised, %" PRIu64 " inputs set aside;\n"
	       "95 of 100 readings were in their region's log within %.0f ms, summaries were global %.0f ms after they were cut (p95).\n",
	       t.unique, t.late, t.duplicates, t.aside, t.edge_to_region.p95, f->region_to_global.p95);
	printf("%" PRIu64 " windows are final, %" PRIu64 " were published early, %" PRIu64 " partial, %" PRIu64 " corrected.\n", f->windows_final,
	       f->windows_early, f->windows_partial, f->windows_corrected);
	if (!d->options.from)
		summarise_alert(f);
	printf("\nThe ledger: residual %" PRId64 "  (kernel %" PRId64 ", gateway %" PRId64 ", spool %" PRId64 ", region %" PRId64 ")", residual_of(&l),
	       l.kernel, l.gateway, l.spool, l.region);
	printf(residual_of(&l) == 0 ? ": every packet is accounted for.\n" : ": this should be 0.\n");
	if (d->options.from && f->acked > t.unique)
		printf("%" PRIu64 " acknowledged lines of the file repeat others: each reading counts once.\n", f->acked - t.unique);
	else if (f->acked != t.unique)
		printf("Acknowledged %" PRIu64 ", but %" PRIu64 " in the regions: this should be equal.\n", f->acked, t.unique);
	if (d->options.keep)
		printf("\nThe streams are kept; look into one with:  sluice tap embedded:%s/streams/eu.region.log\n", d->dir);
}

/* ------------------------------------------------------------------ JSON */

static json_t *latency_json(const struct demo_latency *l)
{
	return json_pack("{s:f, s:f, s:f}", "p50", l->p50, "p95", l->p95, "p99", l->p99);
}

static json_t *dropped_json(const struct totals *t)
{
	json_t *dropped = json_object();

	for (size_t v = 0; v < SLUICE_VERDICT_COUNT; v++)
		if (verdicts[v].fate == SLUICE_FATE_DROP)
			json_object_set_new(dropped, verdicts[v].label, json_integer((json_int_t)(t->kernel[v] + t->user[v])));
	return dropped;
}

static json_t *streams_json(const struct demo *d)
{
	static const char *const of_region[] = { "edge.telemetry", "region.log", "region.deltas", "region.alerts" };
	static const char *const of_globe[] = { "global.log", "global.windows", "global.alerts" };
	json_t *streams = json_object();

	for (size_t k = 0; k < ARRAY_SIZE(of_region); k++) {
		json_t *urls = json_array();

		for (int i = 0; i < DEMO_REGIONS; i++)
			json_array_append_new(urls, json_sprintf("embedded:%s/streams/%s.%s", d->dir, demo_region_names[i], of_region[k]));
		json_object_set_new(streams, of_region[k], urls);
	}
	for (size_t k = 0; k < ARRAY_SIZE(of_globe); k++)
		json_object_set_new(streams, of_globe[k], json_pack("[o]", json_sprintf("embedded:%s/streams/%s", d->dir, of_globe[k])));
	return streams;
}

static json_t *regions_json(const struct demo *d)
{
	json_t *regions = json_array();

	for (int i = 0; i < DEMO_REGIONS; i++)
		json_array_append_new(regions, json_pack("{s:s, s:I, s:I}", "id", demo_region_names[i], "unique",
							 (json_int_t)d->now.regions[i].unique, "duplicates",
							 (json_int_t)d->now.regions[i].duplicates));
	return regions;
}

static void add_counts(json_t *root, const struct demo *d, const struct totals *t)
{
	const struct demo_figures *f = &d->now;
	uint64_t received = d->xdp ? t->kernel_received : t->received;
	uint64_t forwarded = d->xdp ? t->kernel[SLUICE_FORWARDED] : t->user[SLUICE_FORWARDED];
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{ "sent", f->sent },
		{ "acked", f->acked },
		{ "received", received },
		{ "forwarded", forwarded },
		{ "passed", t->kernel_fate[SLUICE_FATE_PASS] },
		{ "answered_in_kernel", t->kernel_fate[SLUICE_FATE_ANSWER] },
		{ "answered_in_user", t->user_fate[SLUICE_FATE_ANSWER] },
		{ "windows_final", f->windows_final },
		{ "windows_early", f->windows_early },
		{ "windows_partial", f->windows_partial },
		{ "windows_corrected", f->windows_corrected },
		{ "retransmitted", f->retransmitted },
		{ "given_up", f->given_up },
		{ "set_aside", t->aside },
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		json_object_set_new(root, counts[i].name, json_integer((json_int_t)counts[i].value));
}

static json_t *ledger_json(const struct demo_ledger *l)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "kernel", (json_int_t)l->kernel, "gateway", (json_int_t)l->gateway, "spool",
			 (json_int_t)l->spool, "region", (json_int_t)l->region);
}

static json_t *alert_json(const struct demo_figures *f)
{
	if (f->alert_raised_ns == 0)
		return f->spike_ns ? json_pack("{s:o, s:n, s:n}", "injected_ns", json_sprintf("%lld", (long long)f->spike_ns), "raised_ns", "delay_ms")
				   : json_null();
	return json_pack("{s:o, s:o, s:f}", "injected_ns", json_sprintf("%lld", (long long)f->spike_ns), "raised_ns",
			 json_sprintf("%lld", (long long)f->alert_raised_ns), "delay_ms",
			 (double)(f->alert_raised_ns - f->spike_ns) / NS_PER_MS);
}

int demo_write_json(const struct demo *d)
{
	const struct demo_figures *f = &d->now;
	struct totals t = totals_of(d);
	struct demo_ledger l = demo_ledger(d);
	double millions = (double)t.unique / 1e6;
	json_t *root = json_object();

	if (!d->options.json)
		return json_decref(root), 0;
	json_object_set_new(root, "path", json_string(d->xdp ? "xdp" : "udp"));
	add_counts(root, d, &t);
	json_object_set_new(root, "dropped", dropped_json(&t));
	json_object_set_new(root, "ledger_residual", json_integer((json_int_t)residual_of(&l)));
	json_object_set_new(root, "residual", ledger_json(&l));
	json_object_set_new(root, "regions", regions_json(d));
	json_object_set_new(root, "latency_ms",
			    json_pack("{s:o, s:o, s:o, s:o}", "ack", latency_json(&t.ack), "edge_to_region", latency_json(&t.edge_to_region),
				      "region_to_global", latency_json(&f->region_to_global), "notice", latency_json(&f->notice)));
	json_object_set_new(root, "delta_dwell_ms", json_real(f->delta_dwell_ms));
	json_object_set_new(root, "alert", alert_json(f));
	json_object_set_new(root, "cpu_s_per_million",
			    json_pack("{s:f, s:f, s:f, s:f}", "kernel", per(t.cpu_kernel_s, millions), "gateway", per(t.cpu_gateway_s, millions),
				      "regional", per(t.cpu_regional_s, millions), "aggregator", per(f->cpu_aggregator_s, millions)));
	json_object_set_new(root, "batch_mean", json_real(per((double)t.published, (double)t.batches)));
	json_object_set_new(root, "bytes_per_reading",
			    json_pack("{s:f, s:f, s:f, s:f}", "protobuf", per((double)t.stored_bytes, (double)t.stored), "edge_telemetry",
				      per((double)t.published_bytes, (double)t.published), "region_log",
				      per(stream_bytes(d, "region.log"), (double)(t.unique + t.duplicates)), "region_deltas",
				      per(stream_bytes(d, "region.deltas"), (double)t.unique)));
	json_object_set_new(root, "streams", streams_json(d));

	int r = json_dump_file(root, d->options.json, JSON_INDENT(2));

	if (r < 0)
		fprintf(stderr, "sluice demo: %s: %s\n", d->options.json, strerror(errno));
	json_decref(root);
	return r < 0 ? -EIO : 0;
}
