#include "observe/process.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"

/* The start of a small file as a string; false when it cannot be read. */
static bool read_text(const char *path, char *ret, size_t size)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return false;

	size_t n = fread(ret, 1, size - 1, f);

	ret[n] = '\0';
	fclose(f);
	return n > 0;
}

int64_t process_resident_bytes(void)
{
	char text[128];
	int64_t pages;

	if (!read_text("/proc/self/statm", text, sizeof(text)) || sscanf(text, "%*d %" SCNd64, &pages) != 1)
		return 0;
	return pages * sysconf(_SC_PAGESIZE);
}

int64_t process_start_ns(void)
{
	char text[1024];
	struct timespec boot;
	int64_t ticks;
	const char *after_name;

	/* The name stands in parentheses and may hold anything; starttime is the 20th field behind it (proc(5)). */
	if (!read_text("/proc/self/stat", text, sizeof(text)) || !(after_name = strrchr(text, ')')) ||
	    sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNd64,
		   &ticks) != 1 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
		return 0;

	int64_t age_ns = boot.tv_sec * NS_PER_S + boot.tv_nsec - ticks * (NS_PER_S / sysconf(_SC_CLK_TCK));

	return clock_wall_ns() - age_ns;
}
