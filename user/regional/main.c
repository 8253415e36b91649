/* sluice-regional: takes its shards of a region's edge.telemetry into region.log, and tells the aggregator. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stop.h"
#include "config/config.h"
#include "observe/admin.h"
#include "observe/dashboard.h"
#include "regional/region.h"
#include "regional/registry.h"

static const char usage[] =
	"usage: sluice-regional --config FILE [--check]\n"
	"\n"
	"  --config FILE   settings (YAML); `sluice config reference` lists them\n"
	"  --check         check settings and registry, then end\n";

struct program {
	struct settings settings;
	struct registry *registry;
	struct metrics *metrics;
	struct region *region;
	struct admin *admin;
};

static int dashboard(void *context, const char *path, struct buf *body)
{
	buf_append(body, dashboard_page.data, dashboard_page.len);
	return 200;
}

static int start_admin(struct program *p)
{
	const struct settings *set = &p->settings;
	const struct admin_page pages[] = {
		{ .path = "/", .content_type = DASHBOARD_CONTENT_TYPE, .handler = dashboard },
		{ .path = "/dashboard", .content_type = DASHBOARD_CONTENT_TYPE, .handler = dashboard },
		{ .path = "/region.json", .content_type = "application/json", .handler = region_page, .context = p->region },
	};
	struct admin_options options = {
		.listen = set->admin_listen,
		.port_file = set->admin_port_file,
		.metrics = p->metrics,
		.pages = pages,
		.n_pages = ARRAY_SIZE(pages),
	};
	int r = set->admin_listen[0] ? admin_start(&p->admin, &options) : 0;

	if (r < 0)
		log_error("the admin port cannot be opened", F_STR("listen", set->admin_listen), F_ERR(r));
	else
		p->region->admin = p->admin;
	return r;
}

static int run(struct program *p)
{
	int r = regional_metrics_new(&p->metrics);

	if (r == 0)
		r = region_new(&p->region, &p->settings, p->registry, p->metrics);
	if (r == 0)
		r = start_admin(p);
	if (r == 0) {
		log_info("started", F_STR("region", p->settings.node_region), F_U64("registered", registry_count(p->registry)),
			 F_I64("admin_port", p->admin ? admin_port(p->admin) : 0));
		r = region_run(p->region);
		log_info("stopped");
	}
	admin_free(p->admin);
	region_free(p->region);
	metrics_free(p->metrics);
	return r;
}

/* EXIT_SUCCESS, 1 for wrong settings, 2 for a wrong command line; negative: go on. */
static int read_arguments(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct config_error error = { "" };
	struct registry_error registry_error = { "" };
	const char *file = NULL;
	bool check = false;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'h')
			return fputs(usage, stdout) < 0;
		if (c == '?')
			return fputs(usage, stderr), 2;
		if (c == 'c')
			file = optarg;
		check |= c == 'k';
	}
	if (!file || optind < argc)
		return fputs(usage, stderr), 2;
	if (config_load(&p->settings, file, &error) < 0 || config_check(&p->settings, "regional", &error) < 0) {
		fprintf(stderr, "sluice-regional: %s\n", error.text);
		return EXIT_FAILURE;
	}
	if (registry_load(&p->registry, p->settings.regional_registry, &registry_error) < 0) {
		fprintf(stderr, "sluice-regional: %s\n", registry_error.text);
		return EXIT_FAILURE;
	}
	return check ? EXIT_SUCCESS : -1;
}

int main(int argc, char **argv)
{
	static struct program p;
	int status = read_arguments(&p, argc, argv);

	if (status >= 0)
		return status;
	log_setup("sluice-regional", (enum log_level)p.settings.log_level, (enum log_format)p.settings.log_format);

	int r = stop_setup();

	if (r == 0)
		r = run(&p);
	registry_free(p.registry);
	config_done(&p.settings);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
