#include "config/daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/macros.h"

#define WRONG_USAGE 2

static void print_usage(const struct daemon_about *about, FILE *out)
{
	fprintf(out,
		"Usage: sluice-%s --config FILE [--check]\n"
		"\n"
		"%s\n"
		"\n"
		"  --config FILE   settings: `sluice config reference` explains them, `sluice streams init`\n"
		"                  makes the streams that they name\n"
		"  --check         say whether the settings are right, and end\n"
		"  --help          this text\n",
		about->program, about->sentence);
}

int daemon_begin(struct settings *ret, bool *ret_check, const struct daemon_about *about, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'k' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	static char name[32]; /* the log keeps it */
	struct config_error error;
	const char *file = NULL;

	*ret_check = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'h')
			return print_usage(about, stdout), EXIT_SUCCESS;
		if (c == '?')
			return print_usage(about, stderr), WRONG_USAGE;
		if (c == 'c')
			file = optarg;
		*ret_check |= c == 'k';
	}
	if (!file || optind < argc)
		return print_usage(about, stderr), WRONG_USAGE;
	snprintf(name, sizeof(name), "sluice-%s", about->program);
	if (config_load(ret, file, &error) < 0) {
		fprintf(stderr, "%s: %s\n", name, error.text);
		return EXIT_FAILURE;
	}
	if (config_check(ret, about->program, &error) < 0) {
		fprintf(stderr, "%s: %s: %s\n", name, file, error.text);
		config_done(ret);
		return EXIT_FAILURE;
	}
	log_setup(name, (enum log_level)ret->log_level, (enum log_format)ret->log_format);
	return DAEMON_GO_ON;
}
