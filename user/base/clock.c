#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "base/macros.h"

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	must(clock_gettime(id, &ts) == 0);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int clock_poll_ms(int64_t deadline_ns)
{
	if (deadline_ns == CLOCK_FOREVER)
		return -1;
	if (deadline_ns == 0)
		return 0;

	int64_t left_ns = deadline_ns - clock_mono_ns();

	if (left_ns <= 0)
		return 0;
	return (int)MIN((left_ns + NS_PER_MS - 1) / NS_PER_MS, (int64_t)INT_MAX);
}

void clock_format_iso(int64_t wall_ns, char ret[static CLOCK_ISO_LEN])
{
	int64_t seconds = wall_ns / NS_PER_S, rest_ns = wall_ns % NS_PER_S;
	struct tm tm;

	if (rest_ns < 0) {
		seconds--;
		rest_ns += NS_PER_S;
	}
	time_t t = seconds;

	gmtime_r(&t, &tm);
	size_t n = strftime(ret, CLOCK_ISO_LEN, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(ret + n, CLOCK_ISO_LEN - n, ".%09uZ", (unsigned)rest_ns);
}
