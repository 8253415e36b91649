#include "ctl/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"

#define WAIT_STEP_NS (5 * NS_PER_MS)

/* In the child: everything that must hold before the program starts. Returns only on failure. */
static void become(const struct spawn_options *options, const char *const argv[], pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0); /* Ctrl-C is the tool's to pass on */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return;
	if (options->netns) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "/run/netns/%s", options->netns);

		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
			return;
	}
	if (options->log_path) {
		int fd = open(options->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

		if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
			return;
	}
	execvp(argv[0], (char *const *)argv);
}

int child_start(struct child *ret, const struct spawn_options *options, const char *const argv[])
{
	int pipe_fds[2];
	pid_t parent = getpid();

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;

	pid_t pid = fork();

	if (pid == 0) {
		become(options, argv, parent);

		int error = errno ? errno : ECHILD;

		if (write(pipe_fds[1], &error, sizeof(error)) < 0)
			(void)0;
		_exit(127);
	}

	int error = pid < 0 ? errno : 0;

	close(pipe_fds[1]);
	/* exec closes the pipe; a failure before it comes through. */
	if (pid > 0 && read(pipe_fds[0], &error, sizeof(error)) == (ssize_t)sizeof(error))
		waitpid(pid, NULL, 0);
	close(pipe_fds[0]);
	if (error)
		return -error;
	*ret = (struct child){ .pid = pid };
	snprintf(ret->name, sizeof(ret->name), "%s", options->name);
	return 0;
}

bool child_running(struct child *c)
{
	if (c->pid == 0)
		return false;
	if (waitpid(c->pid, &c->status, WNOHANG) == 0)
		return true;
	c->pid = 0;
	return false;
}

void child_signal(const struct child *c, int signal)
{
	if (c->pid > 0)
		kill(c->pid, signal);
}

int child_wait(struct child *c, int64_t deadline_ns)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };

	while (child_running(c)) {
		if (clock_mono_ns() >= deadline_ns) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, &c->status, 0);
			c->pid = 0;
			return -ETIME;
		}
		nanosleep(&step, NULL);
	}
	return WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0 ? 0 : -ECHILD;
}

int command_run(const char *const argv[], char *ret_output, size_t size)
{
	int pipe_fds[2], status;
	size_t len = 0;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;

	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(pipe_fds[1], STDOUT_FILENO);
		dup2(pipe_fds[1], STDERR_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(pipe_fds[1]);
	for (;;) {
		char rest[512];
		bool room = ret_output && len + 1 < size;
		ssize_t n = read(pipe_fds[0], room ? ret_output + len : rest, room ? size - len - 1 : sizeof(rest));

		if (n <= 0)
			break;
		len += room ? (size_t)n : 0;
	}
	if (ret_output && size > 0)
		ret_output[len] = 0;
	close(pipe_fds[0]);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

int program_folder(char *ret, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);

	if (n < 0)
		return -errno;
	ret[n] = 0;

	char *slash = strrchr(ret, '/');

	must(slash);
	*slash = 0;
	return 0;
}
