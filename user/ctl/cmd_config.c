/* sluice config: what a configuration says, before any program starts with it. */
#include <stdio.h>
#include <string.h>

#include "alerts/rules.h"
#include "base/macros.h"
#include "config/config.h"
#include "ctl/commands.h"

static int check_rules(const char *path)
{
	struct alert_rules *rules;
	struct rules_error e;
	int r = rules_load(&rules, path, &e);

	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	else
		rules_free(rules);
	return r;
}

static int check(const char *path, const char *program)
{
	CLEANUP(config_done) struct settings s;
	struct config_error e;

	if (config_load(&s, path, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return CTL_FAILED;
	}
	if (config_check(&s, program, &e) < 0) {
		fprintf(stderr, "%s: %s\n", path, e.text);
		return CTL_FAILED;
	}
	if (program && !strcmp(program, "aggregator") && check_rules(s.alerts_rules) < 0)
		return CTL_FAILED;
	if (program)
		printf("%s: fine for the %s\n", path, program);
	else
		printf("%s: fine; name gateway, regional or aggregator to check what that program needs\n", path);
	return CTL_FINE;
}

static int show(const char *path)
{
	CLEANUP(config_done) struct settings s;
	struct config_error e;

	if (config_load(&s, path, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return CTL_FAILED;
	}
	config_show(&s, stdout);
	return CTL_FINE;
}

int cmd_config(int argc, char **argv)
{
	static const char *const programs[] = { "gateway", "regional", "aggregator" };
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "reference") && argc == 2) {
		config_reference(stdout);
		return CTL_FINE;
	}
	if (!strcmp(verb, "show") && argc == 3)
		return show(argv[2]);
	if (!strcmp(verb, "check") && argc == 3)
		return check(argv[2], NULL);
	if (!strcmp(verb, "check") && argc == 4) {
		for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
			if (!strcmp(argv[3], programs[i]))
				return check(argv[2], argv[3]);
		return usage_error("config", "there is no program \"%s\"", argv[3]);
	}
	if (!strcmp(verb, "check") || !strcmp(verb, "show") || !strcmp(verb, "reference"))
		return usage_error("config", argc < 3 ? "%s needs a FILE" : "%s has too many arguments", verb);
	return *verb ? usage_error("config", "check, show or reference, not \"%s\"", verb)
		     : usage_error("config", "check, show or reference is missing");
}
