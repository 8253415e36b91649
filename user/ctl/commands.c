#include "ctl/commands.h"

#include <stdarg.h>
#include <string.h>

#include "base/macros.h"

const struct command commands[] = {
#define COMMAND(name, usage, sentence, details) { #name, usage, sentence, details, cmd_##name },
#include "ctl/commands.def"
#undef COMMAND
};
const size_t n_commands = ARRAY_SIZE(commands);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < n_commands; i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static void print_usage(const struct command *c, FILE *out)
{
	const char *lead = "usage:";

	for (const char *at = c->usage; *at;) {
		size_t n = strcspn(at, "\n");

		fprintf(out, "%s sluice %.*s\n", lead, (int)n, at);
		lead = "      ";
		at += n + (at[n] != '\0');
	}
}

void command_help(const struct command *c, FILE *out)
{
	fprintf(out, "%s\n\n", c->sentence);
	print_usage(c, out);
	if (*c->details)
		fprintf(out, "\n%s", c->details);
}

void commands_help(FILE *out)
{
	fputs("Sluice: telemetry from the NIC to a global window.\n\n"
	      "usage: sluice COMMAND ...\n\n", out);
	for (size_t i = 0; i < n_commands; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].sentence);
	fputs("  help       Says how a command is used: sluice help COMMAND.\n\n"
	      "Exit codes: 0 fine, 1 refused or failed, 2 wrong usage.\n", out);
}

int usage_error(const char *name, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "sluice %s: ", name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	print_usage(command_find(name), stderr);
	return CTL_USAGE;
}
