/* Child processes of the tool: started, watched and ended by their pid. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	char name[32];
	pid_t pid; /* 0: none */
	int status; /* of waitpid() once it has ended */
};

struct spawn_options {
	const char *name;
	const char *netns;    /* run in this network namespace (/run/netns/NAME); NULL: ours */
	const char *log_path; /* stdout and stderr are appended to it; NULL: ours */
};

/* argv[0] is searched in PATH unless it has a slash.  The child dies with us.  0 or negative errno. */
int child_start(struct child *ret, const struct spawn_options *options, const char *const argv[]);
/* Whether it still runs (reaps it when it has ended). */
bool child_running(struct child *c);
void child_signal(const struct child *c, int signal);
/* Waits until it has ended or the deadline has passed; then kills it. 0 when it ended on its own with status 0. */
int child_wait(struct child *c, int64_t deadline_ns);

/* Runs a command to its end; its output goes to ret_output (truncated) or nowhere.  Its exit status, or negative errno. */
int command_run(const char *const argv[], char *ret_output, size_t size);

/* The folder that this program lies in, for its siblings. 0 or negative errno. */
int program_folder(char *ret, size_t size);
