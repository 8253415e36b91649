#include "base/macros.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void must_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "sluice: invariant broken: %s (%s:%d)\n", condition, file, line);
	abort();
}

void cleanup_free(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
