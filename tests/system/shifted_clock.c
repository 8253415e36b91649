/* Preloaded into a program, it sets its wall clock by $CLOCK_SHIFT_S seconds: what it does now is then of long ago. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	const char *shift = getenv("CLOCK_SHIFT_S");
	long r = syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && clock == CLOCK_REALTIME && shift)
		ret->tv_sec += atoll(shift);
	return (int)r;
}
