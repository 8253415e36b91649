/* Settings: one table (schema.def) declares each once: path, type, unit, range, default and a sentence for people.  The loader,
 * `sluice config check|show|reference`, and struct settings below are made from it.
 *
 * A file is YAML (libyaml). Every error names file, line and column, what was found, what is accepted; an unknown key is
 * refused with the nearest name.  Nothing is applied when anything is wrong.
 *
 * Durations and sizes are written with units ("30ms", "2s", "60min", "64MiB") and kept in the field's unit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_LIST_MAX 256
#define CONFIG_NODE_ID_MAX 64 /* bytes; envelopes carry it */

struct config_list { /* of strings */
	size_t n;
	char **items;
};
struct config_map { /* string -> string, in the order of the file */
	size_t n;
	char **keys;
	char **values;
};

/* ------------------------------------------------------------------ struct settings, from the table
 *
 * S_STRING(section, name, default, sentence)
 * S_ENUM(section, name, default, "a|b|c", sentence)         int: position in the list
 * S_BOOL(section, name, default, sentence)
 * S_INT(section, name, default, min, max, sentence)          int64
 * S_MS(section, name_ms, "default", "min", "max", sentence)  int64 milliseconds; written as a duration under `name`
 * S_BYTES(section, name_bytes, "default", "min", "max", sentence)  int64 bytes; written as a size under `name`
 * S_DOUBLE(section, name, default, min, max, sentence)
 * S_LIST(section, name, sentence)
 * S_MAP(section, name, sentence)
 * SECTION(name, sentence) opens each section.
 */
struct settings {
#define SECTION(name, sentence)
#define S_STRING(section, name, ...) char *section##_##name;
#define S_ENUM(section, name, ...) int section##_##name;
#define S_BOOL(section, name, ...) bool section##_##name;
#define S_INT(section, name, ...) int64_t section##_##name;
#define S_MS(section, name, ...) int64_t section##_##name;
#define S_BYTES(section, name, ...) int64_t section##_##name;
#define S_DOUBLE(section, name, ...) double section##_##name;
#define S_LIST(section, name, ...) struct config_list section##_##name;
#define S_MAP(section, name, ...) struct config_map section##_##name;
#include "config/schema.def"
#undef SECTION
#undef S_STRING
#undef S_ENUM
#undef S_BOOL
#undef S_INT
#undef S_MS
#undef S_BYTES
#undef S_DOUBLE
#undef S_LIST
#undef S_MAP
};

struct config_error {
	char text[512]; /* "gateway.yaml:12:9: …" */
};

/* Defaults only. 0 or -ENOMEM. */
int config_defaults(struct settings *ret);
/* Reads a file over the defaults. 0; -EINVAL or another errno with a sentence, and ret is left as config_done()
 * would leave it. */
int config_load(struct settings *ret, const char *path, struct config_error *ret_error);
/* The same from memory; name stands for the file in errors. */
int config_parse(struct settings *ret, const char *name, const char *text, size_t len, struct config_error *ret_error);
void config_done(struct settings *s);

/* What one setting alone does not show: everything that a program ("gateway", "regional", "aggregator") needs is
 * there and fits together, key files are there and private.  program NULL: what holds for any of them.  0; -EINVAL
 * with a sentence that names the setting and says what to do (without file and line); touches nothing. */
int config_check(const struct settings *s, const char *program, struct config_error *ret_error);

/* The effective settings as YAML with each sentence as a comment; secrets are paths, never values. */
void config_show(const struct settings *s, FILE *out);
/* The reference: every setting, for people (Markdown). */
void config_reference(FILE *out);

/* A duration as settings have it, "30ms", "2h", in milliseconds. 0; -EINVAL; -ERANGE. */
int config_duration_ms(const char *text, int64_t *ret);

/* Fields that several settings have, in words. */
enum { CLOCK_ARRIVAL, CLOCK_EVENT };   /* streams.clock */
enum { AUTH_OPEN, AUTH_KEYED };        /* auth.mode */
enum { XDP_OFF, XDP_AUTO, XDP_NATIVE, XDP_GENERIC }; /* xdp.mode */
enum { ON_STOP_KEEP, ON_STOP_DETACH }; /* xdp.on_stop */
