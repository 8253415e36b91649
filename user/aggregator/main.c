#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/log.h"
#include "base/stop.h"

#define USAGE                                                                                                    \
	"usage: sluice-aggregator --config FILE\n"                                                               \
	"\n"                                                                                                     \
	"Folds the deltas of all regions into one-minute windows and alerts.\n"                                  \
	"`sluice config reference` lists the settings, `sluice streams init` makes the streams that they name.\n"

static int parse(int argc, char **argv, const char **ret_config)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	int option;

	*ret_config = NULL;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(USAGE, stdout);
			exit(EXIT_SUCCESS);
		}
		if (option != 'c')
			return -EINVAL;
		*ret_config = optarg;
	}
	return *ret_config && optind == argc ? 0 : -EINVAL;
}

static int configure(struct settings *ret, const char *path)
{
	struct config_error error;
	int r = config_load(ret, path, &error);

	if (r < 0) {
		fprintf(stderr, "%s\n", error.text);
		return r;
	}
	r = config_check(ret, "aggregator", &error);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, error.text);
		config_done(ret);
	}
	return r;
}

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
	struct settings settings;
	const char *config;

	if (parse(argc, argv, &config) < 0) {
		fputs(USAGE, stderr);
		return 2;
	}
	if (configure(&settings, config) < 0)
		return 2;
	log_setup("sluice-aggregator", (enum log_level)settings.log_level, (enum log_format)settings.log_format);

	int r = serve(&settings);

	config_done(&settings);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
