/* sluice-regional: takes its shards of a region's edge.telemetry into region.log, and tells the aggregator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stop.h"
#include "config/daemon.h"
#include "observe/admin.h"
#include "observe/dashboard.h"
#include "regional/region.h"
#include "regional/registry.h"

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

int main(int argc, char **argv)
{
	static const struct daemon_about about = {
		"regional",
		"Takes what a region's gateways publish, deduplicates it exactly, enriches it, keeps it in region.log, and\n"
		"sends summaries to the aggregator.",
	};
	static struct program p;
	struct registry_error error = { "" };
	bool check;
	int status = daemon_begin(&p.settings, &check, &about, argc, argv);

	if (status != DAEMON_GO_ON)
		return status;

	int r = registry_load(&p.registry, p.settings.regional_registry, &error);

	if (r < 0)
		fprintf(stderr, "sluice-regional: %s\n", error.text);
	if (r == 0 && !check)
		r = stop_setup();
	if (r == 0 && !check)
		r = run(&p);
	registry_free(p.registry);
	config_done(&p.settings);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
