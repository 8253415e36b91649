/* sluice status: pins, programs, daemons and backlogs of this host on one screen. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "bpf/shared/contract.h"
#include "bpf/shared/verdict.h"
#include "config/config.h"
#include "ctl/commands.h"
#include "ctl/scrape.h"

static const struct {
	const char *label, *sentence;
	int fate;
} verdicts[SLUICE_VERDICT_COUNT] = {
#define X(name, text, of, prose) { text, prose, SLUICE_FATE_##of },
	SLUICE_VERDICTS(X)
#undef X
};

/* Calls what(path, name) for each entry of a folder that does not begin with a dot. */
static unsigned each_entry(const char *folder, unsigned (*what)(const char *path, const char *name))
{
	DIR *dir = opendir(folder);
	unsigned wrong = 0;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char path[PATH_MAX];

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		wrong += what(path, e->d_name);
	}
	if (dir)
		closedir(dir);
	return wrong;
}

/* ------------------------------------------------------------------ XDP */

static int open_pin(const char *folder, const char *map)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, map);
	return bpf_obj_get(path);
}

static void show_verdicts(int fd)
{
	int cpus = libbpf_num_possible_cpus();
	CLEANUP_FREE uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	for (uint32_t v = 0; values && v < SLUICE_VERDICT_COUNT; v++) {
		uint64_t sum = 0;

		if (bpf_map_lookup_elem(fd, &v, values) < 0)
			continue;
		for (int c = 0; c < cpus; c++)
			sum += values[c];
		if (sum > 0)
			printf("    %-18s %12" PRIu64 "  %s\n", verdicts[v].label, sum, verdicts[v].sentence);
	}
}

/* Whether the gateway behind the program shows signs of life. */
static bool show_heartbeat(int fd)
{
	struct sluice_config config;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, &config) < 0)
		return false;

	double age_s = (double)(clock_mono_ns() - (int64_t)config.heartbeat_ns) / NS_PER_S;
	bool alive = config.heartbeat_ns > 0 && (int64_t)config.heartbeat_max_ns >= clock_mono_ns() - (int64_t)config.heartbeat_ns;

	if (config.kill || config.shadow)
		printf("    %s is on: everything is passed\n", config.kill ? "the kill switch" : "shadow mode");
	if (alive)
		printf("    the gateway is alive (heartbeat %.1f s ago)\n", age_s);
	else
		printf("    NO HEARTBEAT: every packet is passed to the UDP socket. Start sluice-gateway, or remove the program: ip link set dev IF xdp off\n");
	return alive;
}

static const char *interface_name;

static unsigned show_layout(const char *path, const char *name)
{
	struct stat st;
	unsigned wrong = 0;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) /* the pinned link */
		return 0;

	int config = open_pin(path, "config"), counts = open_pin(path, "verdicts");

	printf("  %s  maps in %s\n", interface_name, path);
	if (config < 0 || counts < 0) {
		printf("    cannot be read: %s\n", strerror(errno));
		wrong = 1;
	} else {
		wrong = !show_heartbeat(config);
		show_verdicts(counts);
	}
	if (config >= 0)
		close(config);
	if (counts >= 0)
		close(counts);
	return wrong;
}

static unsigned show_interface(const char *path, const char *name)
{
	interface_name = name;
	return each_entry(path, show_layout);
}

/* ------------------------------------------------------------------ daemons */

static bool read_words(const char *path, char *ret, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(ret, 1, size - 1, f) : 0;

	if (f)
		fclose(f);
	ret[n] = 0;
	return n > 0;
}

/* The file behind --config in a command line of NUL-separated words; relative ones are the process's own. */
static bool config_of(const char *pid, char ret[PATH_MAX])
{
	char path[64], words[4096], cwd[PATH_MAX - 512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.10s/cmdline", pid);
	f = fopen(path, "re");

	size_t n = f ? fread(words, 1, sizeof(words) - 1, f) : 0;

	if (f)
		fclose(f);
	words[n] = 0;
	for (size_t at = 0; at < n; at += strlen(words + at) + 1) {
		const char *file = words + at + strlen(words + at) + 1;

		if (strcmp(words + at, "--config") != 0 || file >= words + n)
			continue;
		snprintf(path, sizeof(path), "/proc/%.10s/cwd", pid);

		ssize_t len = readlink(path, cwd, sizeof(cwd) - 1);

		cwd[MAX(len, 0)] = 0;
		if (file[0] == '/')
			snprintf(ret, PATH_MAX, "%s", file);
		else
			snprintf(ret, PATH_MAX, "%s/%.500s", cwd, file);
		return true;
	}
	return false;
}

static void show_figures(const json_t *stats)
{
	static const struct {
		const char *path, *text;
	} figures[] = {
		{ "spool_backlog_readings", "readings in the spool that the region has not confirmed" },
		{ "backlog_records", "records of edge.telemetry not folded yet" },
		{ "gateways_dark", "gateways gone dark" },
		{ "asides_total", "records set aside: look with sluice tap --all" },
		{ "spool_damaged_records_total", "damaged records in the spool" },
		{ "stream_errors_total", "failures of a stream so far" },
		{ "regions_dark", "regions gone dark" },
		{ "alerts_open", "alerts open: look with sluice alerts" },
		{ "alerts_waiting", "steps of alerts that a receiver has not taken" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		double v = json_number_at(stats, figures[i].path);

		if (v > 0)
			printf("    %12.0f  %s\n", v, figures[i].text);
	}
}

static unsigned show_process(const char *proc, const char *pid)
{
	char path[PATH_MAX], name[32], file[PATH_MAX], host[64];
	struct settings settings;
	struct config_error error;
	uint16_t port;

	if (!isdigit((unsigned char)pid[0]))
		return 0;
	snprintf(path, sizeof(path), "/proc/%.10s/comm", pid);
	if (!read_words(path, name, sizeof(name)) || strncmp(name, "sluice-", 7) != 0)
		return 0;
	name[strcspn(name, "\n")] = 0;
	if (!config_of(pid, file))
		return 0;
	printf("  %-16s pid %-7s %s\n", name, pid, file);
	if (config_load(&settings, file, &error) < 0) {
		printf("    its configuration can no longer be read: %s\n", error.text);
		return 1;
	}

	unsigned wrong = 0;

	if (!scrape_admin_of(&settings, host, &port)) {
		printf("    it has no admin port (admin.listen): its state is not known\n");
	} else {
		json_t *stats = scrape_json(host, port, "/stats.json");
		bool ready = scrape_ready(host, port);

		printf("    http://%s:%u  %s\n", host, port, !stats ? "DOES NOT ANSWER" : ready ? "ready" : "NOT READY (see /readyz)");
		wrong = !ready;
		show_figures(stats);
		json_decref(stats);
	}
	config_done(&settings);
	return wrong;
}

int cmd_status(int argc, char **argv)
{
	if (argc != 1)
		return usage_error("status", "wrong arguments");
	printf("XDP programs\n");

	bool pins = access(SLUICE_PIN_ROOT, F_OK) == 0;
	unsigned wrong = each_entry(SLUICE_PIN_ROOT, show_interface);

	if (!pins)
		printf("  none is pinned under " SLUICE_PIN_ROOT "%s\n", geteuid() == 0 ? "" : " (or it takes root to see it)");
	printf("Daemons\n");
	wrong += each_entry("/proc", show_process);
	return wrong ? CTL_FAILED : CTL_FINE;
}
