/* Arrays that grow: a pointer, how many there are, how many there is room for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Room for n members in the array that the pointer at `array` points to, and *cap is of: doubled until they fit, `least` at
 * first.  0, or -ENOMEM: all is as it was. */
int array_reserve(void *array, uint32_t *cap, uint32_t n, uint32_t least, size_t member);
