/* The command line that all daemons have:
 *
 *     sluice-PROGRAM --config FILE [--check]
 *
 * Exit codes: 0; 1 for settings that are refused, before anything is touched; 2 for a wrong command line.
 */
#pragma once

#include "config/config.h"

struct daemon_about {
	const char *program;  /* "gateway"; the process is sluice-gateway */
	const char *sentence; /* what it does, for --help */
};

#define DAEMON_GO_ON (-1)

/* Reads the command line and the settings, checks them and sets the log up.  DAEMON_GO_ON, or the code to exit with;
 * *ret_check: only the check was asked for (the caller checks what it alone knows, then ends). */
int daemon_begin(struct settings *ret, bool *ret_check, const struct daemon_about *about, int argc, char **argv);
