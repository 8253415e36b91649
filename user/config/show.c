/* The settings as YAML, and the reference. */
#include <stdint.h>
#include <string.h>

#include "config/schema.h"

/* Decodes one character of valid UTF-8. */
static uint32_t decode(const unsigned char *at, size_t *ret_len)
{
	static const uint8_t lead_bits[] = { 0x7f, 0, 0x1f, 0x0f, 0x07 };
	size_t len = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
	uint32_t c = *at & lead_bits[len == 1 ? 0 : len];

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (at[i] & 0x3f);
	*ret_len = len;
	return c;
}

/* YAML reads NEL, LS and PS as line ends and refuses other controls, the BOM and the last two of the plane. */
static bool stands_for_itself(uint32_t c)
{
	if (c < 0xa0)
		return c >= 0x20 && c < 0x7f;
	return c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

/* A double-quoted scalar that reads back as the same bytes. */
static void show_text(const char *text, FILE *out)
{
	size_t len;

	fputc('"', out);
	for (const unsigned char *at = (const unsigned char *)text; *at; at += len) {
		uint32_t c = decode(at, &len);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (int)c);
		else if (stands_for_itself(c))
			fwrite(at, 1, len, out);
		else if (c < 0x100)
			fprintf(out, "\\x%02x", c);
		else
			fprintf(out, "\\u%04x", c);
	}
	fputc('"', out);
}

static void show_list(const struct config_list *list, FILE *out)
{
	fputs(list->n ? "\n" : " []\n", out);
	for (size_t i = 0; i < list->n; i++) {
		fputs("    - ", out);
		show_text(list->items[i], out);
		fputc('\n', out);
	}
}

static void show_map(const struct config_map *map, FILE *out)
{
	fputs(map->n ? "\n" : " {}\n", out);
	for (size_t i = 0; i < map->n; i++) {
		fputs("    ", out);
		show_text(map->keys[i], out);
		fputs(": ", out);
		show_text(map->values[i], out);
		fputc('\n', out);
	}
}

static void show_field(const struct settings *s, const struct config_field *f, FILE *out)
{
	char text[VALUE_TEXT_MAX];

	fprintf(out, "  # %s\n  %.*s:", f->sentence, f->key_len, f->key);
	switch (f->kind) {
	case CONFIG_LIST:
		show_list(field_of_const(s, f), out);
		break;
	case CONFIG_MAP:
		show_map(field_of_const(s, f), out);
		break;
	case CONFIG_STRING:
		fputc(' ', out);
		show_text(*(char *const *)field_of_const(s, f), out);
		fputc('\n', out);
		break;
	default:
		value_format(s, f, text);
		fprintf(out, " %s\n", text);
	}
}

void config_show(const struct settings *s, FILE *out)
{
	for (size_t i = 0; i < config_n_sections; i++) {
		fprintf(out, "%s# %s\n%s:\n", i ? "\n" : "", config_sections[i].sentence, config_sections[i].name);
		for (size_t k = 0; k < config_n_fields; k++)
			if (!strcmp(config_fields[k].section, config_sections[i].name))
				show_field(s, &config_fields[k], out);
	}
}

/* A table's cell ends at a bar. */
static void put_cell(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void reference_field(const struct config_field *f, FILE *out)
{
	char accepted[128];

	value_accepted(f, accepted, sizeof(accepted));
	fprintf(out, "| `%.*s` | ", f->key_len, f->key);
	put_cell(accepted, out);
	if (f->initial && *f->initial)
		fprintf(out, " | `%s` | ", f->initial);
	else
		fputs(" | – | ", out);
	put_cell(f->sentence, out);
	fputs(" |\n", out);
}

void config_reference(FILE *out)
{
	fputs("# Settings\n\n"
	      "A file is YAML: sections, and settings in them. What is left out has its default. Durations are whole\n"
	      "numbers with ms, s, min, h or d; sizes with B, KiB, MiB, GiB or TiB.\n", out);
	for (size_t i = 0; i < config_n_sections; i++) {
		fprintf(out, "\n## %s\n\n%s\n\n| Setting | Accepted | Default | What it is |\n|---|---|---|---|\n",
			config_sections[i].name, config_sections[i].sentence);
		for (size_t k = 0; k < config_n_fields; k++)
			if (!strcmp(config_fields[k].section, config_sections[i].name))
				reference_field(&config_fields[k], out);
	}
}
