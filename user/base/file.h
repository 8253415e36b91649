/* Whole files. */
#pragma once

#include "base/buf.h"

/* Appends what stands in it, and of more than `most` bytes not much more: the length tells.  0 or negative errno. */
int file_read(const char *path, size_t most, struct buf *ret);
/* Whole or not at all, for those who read meanwhile: into a file beside it that then takes its place.  Not synced.  0 or
 * negative errno; nothing is left behind. */
int file_replace(const char *path, struct slice content);
