/* The device registry: what the region knows about its devices, from a file that people write.
 *
 * CSV by RFC 4180 with the header `device_id,type,place,owner,latitude,longitude`, UTF-8, LF or CR LF; a field with a
 * comma, a quote or a line break stands in quotes.  The last four may be empty, so may the type ("unknown").
 * latitude and longitude are degrees.
 *
 * It is read once at start; reading it again while the program runs is not done yet.  What it says is decided into
 * region.log with each reading, so a changed registry changes the future only.
 *
 * Threads: read-only once loaded; any thread may look.
 */
#pragma once

#include <stdint.h>

#include "base/macros.h"

#define REGISTRY_WORD_MAX 128         /* bytes of type, place, owner */
#define REGISTRY_FILE_MAX (1u << 30)  /* bytes */
#define REGISTRY_UNKNOWN "unknown"    /* the type of a device that is not in it */

struct registry;

struct registry_entry {
	struct slice device_id; /* 1..32 bytes */
	struct slice type;      /* REGISTRY_UNKNOWN when empty */
	struct slice place, owner;
	double latitude, longitude; /* NaN when empty */
};

struct registry_error {
	char text[256]; /* "devices.csv:12: …" */
};

/* 0; -EINVAL, -ENOMEM or the errno of reading, with a sentence. */
int registry_load(struct registry **ret, const char *path, struct registry_error *ret_error);
/* The same from memory; name stands for the file in errors. */
int registry_parse(struct registry **ret, const char *name, struct slice text, struct registry_error *ret_error);
void registry_free(struct registry *r);

uint32_t registry_count(const struct registry *r);
/* NULL when it is not there.  The entry lives as long as the registry. */
const struct registry_entry *registry_find(const struct registry *r, struct slice device_id);
