/* sluice-aggregator: folds the deltas of all regions into one-minute windows and alerts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/log.h"
#include "base/stop.h"
#include "config/daemon.h"

static int serve(const struct settings *settings)
{
	struct aggregator *a;
	struct stream_error error = { "" };
	int r = stop_setup();

	if (r == 0)
		r = aggregator_new(&a, settings, &error);
	if (r < 0) {
		log_error("cannot start", F_STR("reason", error.text), F_ERR(r));
		return r;
	}
	aggregator_run(a);
	if (!aggregator_free(a))
		log_warn("a region's stream does not answer; it is left as it is");
	log_info("stopped");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct daemon_about about = {
		"aggregator",
		"Folds the deltas of all regions into one-minute windows and alerts.",
	};
	struct settings settings;
	bool check;
	int status = daemon_begin(&settings, &check, &about, argc, argv);

	if (status != DAEMON_GO_ON)
		return status;

	int r = check ? 0 : serve(&settings);

	config_done(&settings);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
