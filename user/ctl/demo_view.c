#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/demo.h"

#define LINE_EVERY_NS (5 * NS_PER_S) /* where the output is no terminal */
#define WINDOWS_SHOWN 6

/* Cursor home, and erase what is behind each line and behind the last. */
#define HOME "\033[H"
#define CLEAR "\033[2J"
#define EOL "\033[K\n"
#define REST "\033[J"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define PLAIN "\033[0m"

static double rate(const struct demo *d, uint64_t now, uint64_t before)
{
	double seconds = (double)(d->now_ns - d->before_ns) / NS_PER_S;

	return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

static uint64_t in_kernel(const struct demo_region *r)
{
	return r->kernel[SLUICE_ANSWERED_DURABLE] + r->kernel[SLUICE_DROPPED_DUPLICATE];
}

static uint64_t dropped(const uint64_t verdicts[SLUICE_VERDICT_COUNT])
{
	static const int fates[SLUICE_VERDICT_COUNT] = {
#define X(name, label, fate, sentence) SLUICE_FATE_##fate,
		SLUICE_VERDICTS(X)
#undef X
	};
	uint64_t sum = 0;

	for (size_t v = 0; v < SLUICE_VERDICT_COUNT; v++)
		if (fates[v] == SLUICE_FATE_DROP)
			sum += verdicts[v];
	return sum;
}

static void view_regions(const struct demo *d)
{
	printf(BOLD "  region   received/s    acked/s  in kernel  joined  dropped     unique   duplicates   ack p95   edge→region p95" PLAIN EOL);
	for (int i = 0; i < DEMO_REGIONS; i++) {
		const struct demo_region *r = &d->now.regions[i], *b = &d->before.regions[i];
		uint64_t received = d->xdp ? r->kernel[SLUICE_FORWARDED] + in_kernel(r) : r->received;
		uint64_t earlier = d->xdp ? b->kernel[SLUICE_FORWARDED] + in_kernel(b) : b->received;

		printf("  %-6s %12.0f %10.0f %10" PRIu64 " %7" PRIu64 " %8" PRIu64 " %10" PRIu64 " %12" PRIu64 " %6.1f ms %12.1f ms" EOL,
		       demo_region_names[i], rate(d, received, earlier), rate(d, r->stored, b->stored), in_kernel(r), r->joined + r->known,
		       dropped(r->kernel) + dropped(r->user), r->unique, r->duplicates, r->ack.p95, r->edge_to_region.p95);
	}
}

static void view_windows(const struct demo *d)
{
	const json_t *list = json_is_array(d->now.windows) ? d->now.windows : json_object_get(d->now.windows, "windows");
	size_t n = json_array_size(list), shown = 0;

	printf(BOLD "  window     type         metric           status        count  devices         min         max" PLAIN EOL);
	for (size_t i = n; i-- > 0 && shown < WINDOWS_SHOWN; shown++) {
		const json_t *w = json_array_get(list, i);
		int64_t start_ns = 0;
		struct tm tm;
		char minute[16];

		if (json_is_string(json_object_get(w, "window_start_ns")))
			sscanf(json_string_value(json_object_get(w, "window_start_ns")), "%" SCNd64, &start_ns);

		time_t t = start_ns / NS_PER_S;

		gmtime_r(&t, &tm);
		strftime(minute, sizeof(minute), "%H:%M", &tm);
		printf("  %-10s %-12.12s %-16.16s %-10.10s %8.0f %8.0f %11.2f %11.2f" EOL, minute,
		       json_string_value(json_object_get(w, "type")), json_string_value(json_object_get(w, "metric")),
		       json_string_value(json_object_get(w, "status")), json_number_value(json_object_get(w, "count")),
		       json_number_value(json_object_get(w, "devices")), json_number_value(json_object_get(w, "min")),
		       json_number_value(json_object_get(w, "max")));
	}
	for (; shown < WINDOWS_SHOWN; shown++)
		printf(EOL);
}

static void view_screen(const struct demo *d, const char *phase)
{
	const struct demo_figures *f = &d->now;
	double seconds = d->start_ns ? (double)(d->now_ns - d->start_ns) / NS_PER_S : 0;

	printf(HOME BOLD "Sluice" PLAIN "  three regions on this machine over %s   %5.0f s   %s" EOL EOL,
	       d->xdp ? "XDP and AF_XDP" : "UDP sockets", seconds, phase);
	printf("  fleet: %" PRIu64 " readings, %" PRIu64 " acknowledged (p50 %.1f ms, p99 %.1f ms), %" PRIu64 " repeated, %" PRIu64
	       " retransmitted" EOL EOL, f->readings, f->acked, f->fleet_ack.p50, f->fleet_ack.p99, f->repeated, f->retransmitted);
	view_regions(d);
	printf(EOL "  region→global p95 %.0f ms    windows: %" PRIu64 " early, %" PRIu64 " partial, %" PRIu64 " final, %" PRIu64
	       " corrected    alerts: %" PRIu64 EOL EOL, f->region_to_global.p95, f->windows_early, f->windows_partial,
	       f->windows_final, f->windows_corrected, f->alerts);
	view_windows(d);
	printf(EOL);
	if (f->alert_raised_ns)
		printf("  " RED BOLD "ALERT" PLAIN "  %s, %.0f ms after the spike" EOL, f->alert_text,
		       (double)(f->alert_raised_ns - f->spike_ns) / NS_PER_MS);
	else
		printf("  %s" EOL, f->spike_ns ? "a temperature has jumped ..." : "");
	printf(EOL DIM "  dashboards: ");
	for (int i = 0; i < DEMO_REGIONS; i++)
		printf("http://%s:%u/ ", d->regional_ports[i].host, d->regional_ports[i].port);
	if (d->xdp)
		printf(EOL "  maps: bpftool map show pinned " SLUICE_PIN_ROOT "/%s/*/verdicts   (dump likewise)", testbed_nic(0));
	printf(PLAIN EOL REST);
	fflush(stdout);
}

static void say_where(const struct demo *d)
{
	printf("dashboards: ");
	for (int i = 0; i < DEMO_REGIONS; i++)
		printf("http://%s:%u/ ", d->regional_ports[i].host, d->regional_ports[i].port);
	if (d->xdp)
		printf("\nmaps: bpftool map dump pinned " SLUICE_PIN_ROOT "/%s/*/verdicts", testbed_nic(0));
	printf("\n");
}

static void view_line(const struct demo *d, const char *phase)
{
	static int64_t next_ns;
	const struct demo_figures *f = &d->now;
	uint64_t unique = 0, kernel = 0;

	if (d->now_ns < next_ns)
		return;
	if (next_ns == 0)
		say_where(d);
	next_ns = d->now_ns + LINE_EVERY_NS;
	for (int i = 0; i < DEMO_REGIONS; i++) {
		unique += f->regions[i].unique;
		kernel += in_kernel(&f->regions[i]);
	}
	printf("%4.0f s  %s: %" PRIu64 " acked, %" PRIu64 " answered again in the kernel, %" PRIu64 " in region.log, %" PRIu64 " final windows, %" PRIu64
	       " alerts\n", d->start_ns ? (double)(d->now_ns - d->start_ns) / NS_PER_S : 0, phase, f->acked, kernel, unique,
	       f->windows_final, f->alerts);
	fflush(stdout);
}

void demo_view(struct demo *d, const char *phase)
{
	static bool cleared;

	if (d->options.quiet)
		return;
	if (!isatty(STDOUT_FILENO)) {
		view_line(d, phase);
		return;
	}
	if (!cleared)
		fputs(CLEAR, stdout);
	cleared = true;
	view_screen(d, phase);
}

void demo_view_end(struct demo *d)
{
	if (!d->options.quiet && isatty(STDOUT_FILENO))
		putchar('\n');
}
