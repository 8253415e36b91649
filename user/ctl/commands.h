/* The commands of the tool `sluice`.  commands.def is the table; each command is a function in a file of its own,
 * cmd_NAME.c, and returns the exit code of the program.
 *
 * argv[0] is the command's name, its arguments follow.  Results go to stdout, everything else to stderr.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

enum {
	CTL_FINE = 0,
	CTL_FAILED = 1, /* refused or failed, said on stderr */
	CTL_USAGE = 2,
};

#define COMMAND(name, usage, sentence, details) int cmd_##name(int argc, char **argv);
#include "ctl/commands.def"
#undef COMMAND

struct command {
	const char *name;
	const char *usage;
	const char *sentence;
	const char *details;
	int (*run)(int argc, char **argv);
};
extern const struct command commands[];
extern const size_t n_commands;

/* NULL when there is none of this name. */
const struct command *command_find(const char *name);
void command_help(const struct command *c, FILE *out);
void commands_help(FILE *out);

/* "sluice NAME: ...", the usage, and CTL_USAGE to return. */
__attribute__((format(printf, 2, 3))) int usage_error(const char *name, const char *format, ...);
