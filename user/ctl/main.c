/* The tool `sluice`: finds the command and runs it. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/version.h"
#include "ctl/commands.h"

static int unknown_command(const char *name)
{
	struct nearest near = nearest_to(name);

	for (size_t i = 0; i < n_commands; i++)
		nearest_offer(&near, commands[i].name, strlen(commands[i].name));
	nearest_offer(&near, "help", 4);
	fprintf(stderr, "sluice: there is no command \"%s\"", name);
	if (near.best)
		fprintf(stderr, "; did you mean \"%s\"?\n", near.best);
	else
		fputs("; `sluice help` lists them\n", stderr);
	return CTL_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;

	if (argc > 1 && !c && strcmp(argv[1], "help") != 0)
		return unknown_command(argv[1]);
	if (c)
		command_help(c, stdout);
	else
		commands_help(stdout);
	return CTL_FINE;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static int run(int argc, char **argv)
{
	const struct command *c;

	if (argc == 0) {
		commands_help(stderr);
		return CTL_USAGE;
	}
	if (!strcmp(argv[0], "--version")) {
		puts("sluice " SLUICE_VERSION);
		return CTL_FINE;
	}
	if (!strcmp(argv[0], "help") || is_help(argv[0]))
		return help(argc, argv);
	c = command_find(argv[0]);
	if (!c)
		return unknown_command(argv[0]);
	if (argc > 1 && is_help(argv[1])) {
		command_help(c, stdout);
		return CTL_FINE;
	}
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	int code = run(argc - 1, argv + 1);

	/* A full disk behind a redirection is a failure too. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "sluice: the output could not be written: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	return code;
}
