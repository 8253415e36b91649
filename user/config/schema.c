#include "config/schema.h"

#include "base/macros.h"

const struct config_section config_sections[] = {
#define SECTION(name, sentence) { #name, sentence },
#define S_STRING(...)
#define S_ENUM(...)
#define S_BOOL(...)
#define S_INT(...)
#define S_MS(...)
#define S_BYTES(...)
#define S_DOUBLE(...)
#define S_LIST(...)
#define S_MAP(...)
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
const size_t config_n_sections = ARRAY_SIZE(config_sections);

#define FIELD_(section_, name, suffix, kind_, initial_, min_, max_, choices_, sentence_)                              \
	{ .section = #section_, .key = #name, .key_len = sizeof(#name) - sizeof(suffix), .kind = kind_,              \
	  .offset = offsetof(struct settings, section_##_##name), .initial = initial_, .min = min_, .max = max_,     \
	  .choices = choices_, .sentence = sentence_ },

const struct config_field config_fields[] = {
#define SECTION(name, sentence)
#define S_STRING(section, name, initial, sentence) \
	FIELD_(section, name, "", CONFIG_STRING, initial, NULL, NULL, NULL, sentence)
#define S_ENUM(section, name, initial, choices, sentence) \
	FIELD_(section, name, "", CONFIG_ENUM, initial, NULL, NULL, choices, sentence)
#define S_BOOL(section, name, initial, sentence) \
	FIELD_(section, name, "", CONFIG_BOOL, #initial, NULL, NULL, NULL, sentence)
#define S_INT(section, name, initial, min, max, sentence) \
	FIELD_(section, name, "", CONFIG_INT, #initial, #min, #max, NULL, sentence)
#define S_MS(section, name, initial, min, max, sentence) \
	FIELD_(section, name, "_ms", CONFIG_MS, initial, min, max, NULL, sentence)
#define S_BYTES(section, name, initial, min, max, sentence) \
	FIELD_(section, name, "_bytes", CONFIG_BYTES, initial, min, max, NULL, sentence)
#define S_DOUBLE(section, name, initial, min, max, sentence) \
	FIELD_(section, name, "", CONFIG_DOUBLE, #initial, #min, #max, NULL, sentence)
#define S_LIST(section, name, sentence) FIELD_(section, name, "", CONFIG_LIST, NULL, NULL, NULL, NULL, sentence)
#define S_MAP(section, name, sentence) FIELD_(section, name, "", CONFIG_MAP, NULL, NULL, NULL, NULL, sentence)
#include "config/schema.def"
};
const size_t config_n_fields = ARRAY_SIZE(config_fields);
