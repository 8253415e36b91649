/* The table of settings as data, for the loader, show, reference and check.  Internal to user/config. */
#pragma once

#include "config/config.h"

enum config_kind {
	CONFIG_STRING,
	CONFIG_ENUM,
	CONFIG_BOOL,
	CONFIG_INT,
	CONFIG_MS,
	CONFIG_BYTES,
	CONFIG_DOUBLE,
	CONFIG_LIST,
	CONFIG_MAP,
};

struct config_section {
	const char *name;
	const char *sentence;
};

/* Default and range are text as in a file and are read by the same functions. */
struct config_field {
	const char *section;
	const char *key; /* as in a file: the first key_len bytes, without the unit's suffix */
	int key_len;
	enum config_kind kind;
	size_t offset; /* in struct settings */
	const char *initial;
	const char *min;
	const char *max;
	const char *choices; /* CONFIG_ENUM: "a|b|c" */
	const char *sentence;
};

extern const struct config_section config_sections[];
extern const size_t config_n_sections;
extern const struct config_field config_fields[]; /* those of a section stand together */
extern const size_t config_n_fields;

#define CONFIG_FILE_MAX (1 << 20)
#define CONFIG_STRING_MAX 4096
#define CONFIG_MAP_KEY_MAX 128 /* escaped fourfold it still fits libyaml's 1,024 bytes for a key on one line */

/* Where a field lives. */
static inline void *field_of(struct settings *s, const struct config_field *f)
{
	return (char *)s + f->offset;
}
static inline const void *field_of_const(const struct settings *s, const struct config_field *f)
{
	return (const char *)s + f->offset;
}

struct config_why {
	char text[256];
};

/* Reads a scalar's text into its field. 0; -EINVAL with the rest of a sentence that begins with the setting's name
 * ("must be ..."); -ENOMEM. */
int value_set(struct settings *s, const struct config_field *f, const char *text, struct config_why *ret_why);
/* What a field accepts, in words: "a whole number, 1 to 65535". */
void value_accepted(const struct config_field *f, char *ret, size_t size);
/* A scalar as it would be written in a file, without quotes; not for lists and maps. */
#define VALUE_TEXT_MAX (CONFIG_STRING_MAX + 1)
void value_format(const struct settings *s, const struct config_field *f, char ret[static VALUE_TEXT_MAX]);
/* A stranger's text for an error: cut at 60 bytes, control characters replaced. */
#define QUOTED_MAX 68
const char *quoted(char ret[static QUOTED_MAX], const char *text);
