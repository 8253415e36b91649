#include "base/stop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/macros.h"

static int event_fd = -1;
static int requested;

static void *wait_for_signals(void *argument)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigwait(&set, &signal);
	stop_request();
	sigwait(&set, &signal);
	_exit(128 + signal);
	return argument;
}

int stop_setup(void)
{
	sigset_t set;
	pthread_t thread;

	must(event_fd < 0);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);

	int r = -pthread_create(&thread, NULL, wait_for_signals, NULL);

	return r < 0 ? r : -pthread_detach(thread);
}

int stop_fd(void)
{
	return event_fd;
}

bool stop_requested(void)
{
	return __atomic_load_n(&requested, __ATOMIC_ACQUIRE);
}

void stop_request(void)
{
	const uint64_t one = 1;

	__atomic_store_n(&requested, 1, __ATOMIC_RELEASE);
	if (write(event_fd, &one, sizeof(one)) < 0)
		(void)0; /* already readable */
}
