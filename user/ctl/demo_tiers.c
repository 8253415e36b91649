#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/stop.h"
#include "codec/telemetry.h"
#include "base/hash.h"
#include "ctl/demo.h"
#include "ctl/scrape.h"
#include "stream/stream.h"

#define READY_NS (30 * NS_PER_S)
#define STOP_NS (5 * NS_PER_S)
#define ADMIN_PORT 9464           /* in a region's namespace */
#define LOOPBACK_COAP_PORT 56830  /* + region */
#define REPEAT "0.05"             /* share of messages that the fleet sends once more */
/* The temperature jumps late in the run, and only when the detector has had the readings to know what is usual: of 35
 * degrees after 150 readings it is sure in 99.9 % of runs at ten false alarms a week.  More of them would show: a detector
 * that has just begun has more than it is allowed. */
#define SPIKE_SHARE 0.9 /* of the run */
#define SPIKE_AFTER 150 /* readings of the device */
#define ALARMS_MOST 10.0 /* a week and series: regional.false_alarms_per_week */
#define ALARMS_LEAST 0.01
#define ALARMS_READINGS 200 /* from so many on, fewer false alarms leave it as sure */
#define SPREAD_S 60               /* --from: of event time among unacknowledged readings */

const char *const demo_region_names[DEMO_REGIONS] = { "eu", "us", "ap" };

/* ------------------------------------------------------------------ files */

__attribute__((format(printf, 2, 3))) static void path_in(char ret[DEMO_PATH], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	must(vsnprintf(ret, DEMO_PATH, format, args) < DEMO_PATH);
	va_end(args);
}

static FILE *create_file(const struct demo *d, const char *name)
{
	char path[DEMO_PATH];

	path_in(path, "%s/%s", d->dir, name);

	FILE *f = fopen(path, "we");

	if (!f)
		fprintf(stderr, "sluice demo: %s: %s\n", path, strerror(errno));
	return f;
}

static int close_file(FILE *f)
{
	bool failed = ferror(f);

	return fclose(f) != 0 || failed ? -EIO : 0;
}

static int write_common(FILE *f, const struct demo *d, const char *region, const char *id, const struct demo_port *port)
{
	fprintf(f, "node:\n  id: %s\n", id);
	if (region)
		fprintf(f, "  region: %s\n", region);
	fprintf(f, "admin:\n  listen: \"%s:%u\"\n  port_file: \"%s\"\n", port->host, port->port, port->file);
	fprintf(f, "streams:\n  partitions: %d\n  clock: %s\n", DEMO_SHARDS, d->event_clock ? "event" : "arrival");
	return 0;
}

static void write_region_streams(FILE *f, const struct demo *d, const char *region)
{
	static const char *const names[][2] = {
		{ "edge_telemetry", "edge.telemetry" }, { "region_log", "region.log" },
		{ "region_deltas", "region.deltas" },   { "region_alerts", "region.alerts" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		fprintf(f, "  %s: \"embedded:%s/streams/%s.%s\"\n", names[i][0], d->dir, region, names[i][1]);
}

static int write_gateway(const struct demo *d, int i)
{
	const char *region = demo_region_names[i];
	char name[64];

	snprintf(name, sizeof(name), "gateway-%s.yaml", region);

	FILE *f = create_file(d, name);

	if (!f)
		return -EIO;
	snprintf(name, sizeof(name), "gw-%s", region);
	write_common(f, d, region, name, &d->gateway_ports[i]);
	write_region_streams(f, d, region);
	fprintf(f, "gateway:\n  listen: %s\n  port: %u\n", d->xdp ? "0.0.0.0" : "127.0.0.1", d->coap_ports[i]);
	fprintf(f, "spool:\n  dir: \"%s/spool-%s\"\n", d->dir, region);
	fprintf(f, "limit:\n  rate: 1000000\n  burst: 100000\n");
	if (d->xdp)
		fprintf(f, "xdp:\n  mode: auto\n  interface: %s\n  on_stop: detach\n  durable_buckets: 65536\n", testbed_nic(i));
	return close_file(f);
}

/* Of one device, before the spike. */
static double readings_before_spike(const struct demo *d)
{
	return d->options.seconds * SPIKE_SHARE * d->options.rate / d->options.devices;
}

/* The default allows one in 60 million readings a second apart, of which no detector is sure within a short run.  With
 * more readings of each device less is needed, and thousands of devices for minutes would show false alarms. */
static double false_alarms_per_week(const struct demo *d)
{
	double share = ALARMS_READINGS / readings_before_spike(d);

	return CLAMP(ALARMS_MOST * share * share * share, ALARMS_LEAST, ALARMS_MOST);
}

static int write_regional(const struct demo *d, int i)
{
	const char *region = demo_region_names[i];
	char name[64];

	snprintf(name, sizeof(name), "regional-%s.yaml", region);

	FILE *f = create_file(d, name);

	if (!f)
		return -EIO;
	snprintf(name, sizeof(name), "regional-%s", region);
	write_common(f, d, region, name, &d->regional_ports[i]);
	write_region_streams(f, d, region);
	fprintf(f, "regional:\n");
	if (d->options.registry)
		fprintf(f, "  registry: \"%s\"\n", d->options.registry);
	else
		fprintf(f, "  registry: \"%s/registry.csv\"\n", d->dir);
	if (!d->options.from)
		fprintf(f, "  false_alarms_per_week: %g\n", false_alarms_per_week(d));
	if (d->event_clock)
		fprintf(f, "  allowed_lateness: %ds\n", 2 * SPREAD_S);
	return close_file(f);
}

static int write_aggregator(const struct demo *d)
{
	FILE *f = create_file(d, "aggregator.yaml");

	if (!f)
		return -EIO;
	write_common(f, d, NULL, "aggregator", &d->aggregator_port);
	fprintf(f, "  global_log: \"embedded:%s/streams/global.log\"\n", d->dir);
	fprintf(f, "  global_windows: \"embedded:%s/streams/global.windows\"\n", d->dir);
	fprintf(f, "  global_alerts: \"embedded:%s/streams/global.alerts\"\n", d->dir);
	fprintf(f, "aggregator:\n  regions:\n");
	for (int i = 0; i < DEMO_REGIONS; i++)
		fprintf(f, "    %s: \"embedded:%s/streams/%s.region.deltas\"\n", demo_region_names[i], d->dir, demo_region_names[i]);
	return close_file(f);
}

/* Two types of devices in two places a region, so that grouping is seen. */
static int write_registry(const struct demo *d)
{
	FILE *f = create_file(d, "registry.csv");

	if (!f)
		return -EIO;
	fprintf(f, "device_id,type,place,owner,latitude,longitude\n");
	for (int i = 0; i < DEMO_REGIONS; i++)
		for (uint32_t k = 0; k < d->options.devices; k++)
			fprintf(f, "%s-%06u,%s,%s-%s,demo,%.2f,%.2f\n", demo_region_names[i], k, k % 2 ? "hall" : "outdoor",
				demo_region_names[i], k % 4 < 2 ? "north" : "south", 50.0 - 20 * i, 8.0 + 60 * i);
	return close_file(f);
}

/* ------------------------------------------------------------------ streams and daemons */

static int create_stream(const struct demo *d, const char *name, uint32_t partitions)
{
	struct stream_create_options options = { .partitions = partitions, .retention_ms = -1, .may_exist = true };
	struct stream_error error = { "" };
	char url[STREAM_URL_MAX];

	snprintf(url, sizeof(url), "embedded:%s/streams/%s", d->dir, name);

	int r = stream_create(url, &options, &error);

	if (r < 0)
		fprintf(stderr, "sluice demo: %s: %s\n", url, error.text[0] ? error.text : strerror(-r));
	return r;
}

static int create_streams(const struct demo *d)
{
	static const char *const of_region[] = { "edge.telemetry", "region.log", "region.deltas", "region.alerts" };
	static const char *const of_globe[] = { "global.log", "global.windows", "global.alerts" };
	char path[DEMO_PATH], name[64];
	int r = 0;

	path_in(path, "%s/streams", d->dir);
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return -errno;
	for (int i = 0; i < DEMO_REGIONS && r == 0; i++)
		for (size_t k = 0; k < ARRAY_SIZE(of_region) && r == 0; k++) {
			snprintf(name, sizeof(name), "%s.%s", demo_region_names[i], of_region[k]);
			r = create_stream(d, name, DEMO_SHARDS);
		}
	for (size_t k = 0; k < ARRAY_SIZE(of_globe) && r == 0; k++)
		r = create_stream(d, of_globe[k], 1);
	return r;
}

static int start_daemon(const struct demo *d, struct child *ret, const char *program, const char *config, const char *netns)
{
	char path[DEMO_PATH], file[DEMO_PATH], log[DEMO_PATH];
	const char *const argv[] = { path, "--config", file, NULL };
	struct spawn_options options = { .name = config, .netns = netns, .log_path = log };

	path_in(path, "%s/%s", d->bin, program);
	path_in(file, "%s/%s.yaml", d->dir, config);
	path_in(log, "%s/%s.log", d->dir, config);

	int r = child_start(ret, &options, argv);

	if (r < 0)
		fprintf(stderr, "sluice demo: %s cannot be started: %s\n", path, strerror(-r));
	return r;
}

static void port_init(const struct demo *d, struct demo_port *port, const char *host, uint16_t number, const char *name)
{
	port->host = host;
	port->port = number;
	path_in(port->file, "%s/%s.port", d->dir, name);
}

static void ports_init(struct demo *d)
{
	char name[64];

	for (int i = 0; i < DEMO_REGIONS; i++) {
		snprintf(name, sizeof(name), "gateway-%s", demo_region_names[i]);
		port_init(d, &d->gateway_ports[i], d->xdp ? testbed_admin_ip(i) : "127.0.0.1", d->xdp ? ADMIN_PORT : 0, name);
		snprintf(name, sizeof(name), "regional-%s", demo_region_names[i]);
		port_init(d, &d->regional_ports[i], "127.0.0.1", 0, name);
		d->coap_ports[i] = (uint16_t)(d->xdp ? SLUICE_COAP_PORT : LOOPBACK_COAP_PORT + i);
	}
	port_init(d, &d->aggregator_port, "127.0.0.1", 0, "aggregator");
}

/* Learns the port from its file first. */
static bool port_ready(struct demo_port *port)
{
	unsigned number = 0;

	if (port->port == 0) {
		FILE *f = fopen(port->file, "re");

		if (!f || fscanf(f, "%u", &number) != 1)
			number = 0;
		if (f)
			fclose(f);
		port->port = (uint16_t)number;
	}
	return port->port != 0 && scrape_ready(port->host, port->port);
}

static int wait_ready(struct demo *d)
{
	const struct timespec step = { .tv_nsec = 20 * NS_PER_MS };
	int64_t until_ns = clock_mono_ns() + READY_NS;
	struct demo_port *ports[2 * DEMO_REGIONS + 1];
	size_t n = 0;

	for (int i = 0; i < DEMO_REGIONS; i++) {
		ports[n++] = &d->gateway_ports[i];
		ports[n++] = &d->regional_ports[i];
	}
	ports[n++] = &d->aggregator_port;
	for (size_t i = 0; i < n;) {
		const char *dead = demo_dead(d);

		if (stop_requested())
			return -EINTR;
		if (dead || clock_mono_ns() > until_ns) {
			fprintf(stderr, "sluice demo: %s %s; its last words are in %s/*.log\n", dead ? dead : ports[i]->file,
				dead ? "has ended" : "is not ready", d->dir);
			d->own_dir = false;
			return -ECHILD;
		}
		if (port_ready(ports[i]))
			i++;
		else
			nanosleep(&step, NULL);
	}
	return 0;
}

int demo_tiers_start(struct demo *d)
{
	char name[64];
	int r;

	ports_init(d);
	r = create_streams(d);
	if (r == 0 && !d->options.registry)
		r = write_registry(d);
	if (r == 0)
		r = write_aggregator(d);
	for (int i = 0; i < DEMO_REGIONS && r == 0; i++) {
		r = write_gateway(d, i);
		if (r == 0)
			r = write_regional(d, i);
	}
	for (int i = 0; i < DEMO_REGIONS && r == 0; i++) {
		snprintf(name, sizeof(name), "regional-%s", demo_region_names[i]);
		r = start_daemon(d, &d->regionals[i], "sluice-regional", name, NULL);
		snprintf(name, sizeof(name), "gateway-%s", demo_region_names[i]);
		if (r == 0)
			r = start_daemon(d, &d->gateways[i], "sluice-gateway", name, d->xdp ? testbed_namespace(i) : NULL);
	}
	if (r == 0)
		r = start_daemon(d, &d->aggregator, "sluice-aggregator", "aggregator", NULL);
	return r < 0 ? r : wait_ready(d);
}

/* ------------------------------------------------------------------ fleets */

/* A reading with a region goes to that gateway, another to shard mod 3. */
static int split_file(const struct demo *d)
{
	FILE *in = fopen(d->options.from, "re"), *out[DEMO_REGIONS] = { NULL };
	char *line = NULL, name[32];
	size_t cap = 0;
	unsigned long long number = 0;
	int r = in ? 0 : -errno;

	if (!in)
		fprintf(stderr, "sluice demo: %s: %s\n", d->options.from, strerror(errno));
	for (int i = 0; i < DEMO_REGIONS && r == 0; i++) {
		snprintf(name, sizeof(name), "%s.jsonl", demo_region_names[i]);
		out[i] = create_file(d, name);
		r = out[i] ? 0 : -EIO;
	}
	for (ssize_t n; r == 0 && (n = getline(&line, &cap, in)) > 0;) {
		CLEANUP(buf_done) struct buf payload = BUF_INIT;
		struct telemetry t;
		char why[128] = "";

		number++;
		if (strspn(line, " \t\r\n") == (size_t)n)
			continue;
		r = telemetry_from_json(&payload, line, (size_t)n, NULL, why);
		if (r == 0)
			r = telemetry_parse(&t, payload.data, payload.len);
		if (r < 0) {
			fprintf(stderr, "sluice demo: %s:%llu: %s\n", d->options.from, number, why[0] ? why : strerror(-r));
			break;
		}

		int to = (int)(hash_shard(t.device_id.data, t.device_id.len, DEMO_SHARDS) % DEMO_REGIONS);

		for (int i = 0; i < DEMO_REGIONS; i++)
			if (t.region.len == strlen(demo_region_names[i]) && memcmp(t.region.data, demo_region_names[i], t.region.len) == 0)
				to = i;
		fputs(line, out[to]);
	}
	for (int i = 0; i < DEMO_REGIONS; i++)
		if (out[i] && close_file(out[i]) < 0)
			r = -EIO;
	if (in)
		fclose(in);
	free(line);
	return r;
}

static int start_fleet(struct demo *d, int i)
{
	const char *region = demo_region_names[i];
	char tool[DEMO_PATH], to[64], json[DEMO_PATH], log[DEMO_PATH], from[DEMO_PATH], devices[16], rate[32], prefix[16],
		seconds[32], spike[32], spread[16], name[32];
	const char *argv[32];
	size_t n = 0;

	path_in(tool, "%s/sluice", d->bin);
	path_in(json, "%s/fleet-%s.json", d->dir, region);
	path_in(log, "%s/fleet-%s.log", d->dir, region);
	path_in(from, "%s/%s.jsonl", d->dir, region);
	snprintf(name, sizeof(name), "fleet-%s", region);
	snprintf(to, sizeof(to), "coap://%s:%u", d->xdp ? testbed_gateway_ip(i) : "127.0.0.1", d->coap_ports[i]);
	snprintf(devices, sizeof(devices), "%u", d->options.devices);
	snprintf(rate, sizeof(rate), "%g", d->options.rate);
	snprintf(prefix, sizeof(prefix), "%s-", region);
	snprintf(seconds, sizeof(seconds), "%g", d->options.seconds);
	snprintf(spike, sizeof(spike), "%g", d->options.seconds * SPIKE_SHARE);
	snprintf(spread, sizeof(spread), "%d", SPREAD_S);

	const char *const common[] = { tool, "simulate", "--to", to, "--json", json, "--quiet", "--repeat", REPEAT };
	const char *const file[] = { "--from", from, "--spread", spread };
	const char *const made_up[] = { "--devices", devices, "--rate", rate, "--prefix", prefix, "--region", region, "--seconds", seconds };

	for (size_t k = 0; k < ARRAY_SIZE(common); k++)
		argv[n++] = common[k];
	for (size_t k = 0; d->options.from && k < ARRAY_SIZE(file); k++)
		argv[n++] = file[k];
	for (size_t k = 0; !d->options.from && k < ARRAY_SIZE(made_up); k++)
		argv[n++] = made_up[k];
	if (!d->options.from && i == 0 && readings_before_spike(d) >= SPIKE_AFTER) {
		argv[n++] = "--spike";
		argv[n++] = spike;
	}
	argv[n] = NULL;

	struct spawn_options options = { .name = name, .netns = d->xdp ? testbed_fleet_namespace() : NULL, .log_path = log };
	int r = child_start(&d->fleets[i], &options, argv);

	if (r < 0)
		fprintf(stderr, "sluice demo: the fleet cannot be started: %s\n", strerror(-r));
	return r;
}

int demo_fleets_start(struct demo *d)
{
	int r = d->options.from ? split_file(d) : 0;

	d->start_ns = clock_mono_ns();
	for (int i = 0; i < DEMO_REGIONS && r == 0; i++)
		r = start_fleet(d, i);
	return r;
}

/* ------------------------------------------------------------------ life */

const char *demo_dead(struct demo *d)
{
	for (int i = 0; i < DEMO_REGIONS; i++) {
		if (d->gateways[i].name[0] && !child_running(&d->gateways[i]))
			return d->gateways[i].name;
		if (d->regionals[i].name[0] && !child_running(&d->regionals[i]))
			return d->regionals[i].name;
	}
	return d->aggregator.name[0] && !child_running(&d->aggregator) ? d->aggregator.name : NULL;
}

static void stop_all(struct child *children[], size_t n)
{
	int64_t until_ns = clock_mono_ns() + STOP_NS;

	for (size_t i = 0; i < n; i++)
		if (child_running(children[i]))
			child_signal(children[i], SIGTERM);
	for (size_t i = 0; i < n; i++)
		if (child_running(children[i]) && child_wait(children[i], until_ns) == -ETIME)
			fprintf(stderr, "sluice demo: %s did not stop in time and was killed\n", children[i]->name);
}

/* In the direction of the flow, so that each tier takes what the one before has sent. */
void demo_tiers_stop(struct demo *d)
{
	struct child *fleets[DEMO_REGIONS], *gateways[DEMO_REGIONS], *rest[DEMO_REGIONS + 1];

	for (int i = 0; i < DEMO_REGIONS; i++) {
		fleets[i] = &d->fleets[i];
		gateways[i] = &d->gateways[i];
		rest[i] = &d->regionals[i];
		child_signal(fleets[i], SIGTERM); /* the second one ends it without draining */
	}
	rest[DEMO_REGIONS] = &d->aggregator;
	stop_all(fleets, DEMO_REGIONS);
	stop_all(gateways, DEMO_REGIONS);
	stop_all(rest, DEMO_REGIONS + 1);
}
