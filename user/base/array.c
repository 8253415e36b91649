#include "base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

int array_reserve(void *array, uint32_t *cap, uint32_t n, uint32_t least, size_t member)
{
	void *list;
	size_t bytes;

	if (n <= *cap)
		return 0;
	memcpy(&list, array, sizeof(list));

	uint32_t bigger = MAX(n, MAX(*cap > UINT32_MAX / 2 ? UINT32_MAX : *cap * 2, least));

	/* Not reallocarray(), whose overflow the sanitizers take for a fault. */
	if (__builtin_mul_overflow(bigger, member, &bytes))
		return -ENOMEM;
	list = realloc(list, bytes);
	if (!list)
		return -ENOMEM;
	memcpy(array, &list, sizeof(list));
	*cap = bigger;
	return 0;
}
