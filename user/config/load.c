/* The loader: recursive descent over libyaml's events, three levels deep (section, setting, items), so that a hostile
 * file meets its error before it can nest.  The first error ends it; its mark is where a person has to look. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/nearest.h"
#include "config/schema.h"

#define FIELDS_MAX 256
#define SECTIONS_MAX 32

struct loader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one */
	const char *name;
	const char *text;
	size_t len;
	struct settings *settings;
	struct config_error *error;
	size_t seen_section[SECTIONS_MAX]; /* line of it, 0 = not yet */
	size_t seen_field[FIELDS_MAX];
};

/* ------------------------------------------------------------------ errors */

__attribute__((format(printf, 4, 5))) static int refuse_at(struct loader *l, size_t line, size_t column,
							   const char *format, ...)
{
	va_list args;
	size_t name_len = strlen(l->name);
	const char *name = name_len > 200 ? l->name + name_len - 200 : l->name;
	int n = snprintf(l->error->text, sizeof(l->error->text), "%s:%zu:%zu: ", name, line + 1, column + 1);

	va_start(args, format);
	vsnprintf(l->error->text + n, sizeof(l->error->text) - (size_t)n, format, args);
	va_end(args);
	return -EINVAL;
}
#define refuse(l, mark, ...) refuse_at(l, (mark).line, (mark).column, __VA_ARGS__)

/* libyaml gives bytes that are no text an offset instead of a mark. */
static int refuse_encoding(struct loader *l)
{
	size_t line = 0, column = 0;

	for (size_t i = 0; i < l->parser.problem_offset && i < l->len; i++) {
		column++;
		if (l->text[i] == '\n') {
			line++;
			column = 0;
		}
	}
	return refuse_at(l, line, column, "this is not UTF-8 text: %s", l->parser.problem);
}

static int refuse_syntax(struct loader *l)
{
	const yaml_parser_t *p = &l->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR)
		return refuse_encoding(l);
	if (!p->context)
		return refuse(l, p->problem_mark, "this is not YAML: %s", p->problem);
	return refuse(l, p->problem_mark, "this is not YAML: %s, %s that began in line %zu", p->problem, p->context,
		      p->context_mark.line + 1);
}

/* ------------------------------------------------------------------ events */

static int refuse_decoration(struct loader *l)
{
	const yaml_event_t *e = &l->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor || e->type == YAML_ALIAS_EVENT)
		return refuse(l, e->start_mark, "anchors and aliases are not used here: write the value out");
	if (tag)
		return refuse(l, e->start_mark, "tags are not used here: leave \"!…\" out");
	return 0;
}

static int next(struct loader *l)
{
	yaml_event_delete(&l->event);
	if (!yaml_parser_parse(&l->parser, &l->event))
		return refuse_syntax(l);
	if (l->event.type == YAML_SCALAR_EVENT && memchr(l->event.data.scalar.value, 0, l->event.data.scalar.length))
		return refuse(l, l->event.start_mark, "a text must not contain a NUL byte");
	return refuse_decoration(l);
}

static bool at_scalar(const struct loader *l)
{
	return l->event.type == YAML_SCALAR_EVENT;
}

static const char *scalar(const struct loader *l)
{
	return (const char *)l->event.data.scalar.value;
}

/* `key:` with nothing behind it. */
static bool at_nothing(const struct loader *l)
{
	return at_scalar(l) && l->event.data.scalar.length == 0 &&
	       l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static const char *what_stands_here(const struct loader *l)
{
	switch (l->event.type) {
	case YAML_SCALAR_EVENT:
		return "a single value";
	case YAML_SEQUENCE_START_EVENT:
		return "a list";
	default:
		return "a mapping";
	}
}

/* ------------------------------------------------------------------ lists and maps */

static int keep_item(struct loader *l, const struct config_field *f, char ***items, size_t n)
{
	if (!at_scalar(l))
		return refuse(l, l->event.start_mark, "an item of %s.%.*s must be a single value, not %s", f->section,
			      f->key_len, f->key, what_stands_here(l));
	if (l->event.data.scalar.length > CONFIG_STRING_MAX)
		return refuse(l, l->event.start_mark, "an item of %s.%.*s is longer than %d bytes", f->section,
			      f->key_len, f->key, CONFIG_STRING_MAX);
	if (n == CONFIG_LIST_MAX)
		return refuse(l, l->event.start_mark, "%s.%.*s has more than %d items", f->section, f->key_len, f->key,
			      CONFIG_LIST_MAX);

	char **grown = realloc(*items, (n + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	*items = grown;
	grown[n] = strdup(scalar(l));
	return grown[n] ? 0 : -ENOMEM;
}

static int load_list(struct loader *l, const struct config_field *f)
{
	struct config_list *list = field_of(l->settings, f);
	int r;

	if (at_nothing(l))
		return 0;
	if (l->event.type != YAML_SEQUENCE_START_EVENT)
		return refuse(l, l->event.start_mark, "%s.%.*s must be a list, not %s: write [a, b] or one \"- a\" a line",
			      f->section, f->key_len, f->key, what_stands_here(l));
	while ((r = next(l)) == 0 && l->event.type != YAML_SEQUENCE_END_EVENT) {
		r = keep_item(l, f, &list->items, list->n);
		if (r < 0)
			return r;
		list->n++;
	}
	return r;
}

static int load_map_entry(struct loader *l, const struct config_field *f, struct config_map *map)
{
	yaml_mark_t mark = l->event.start_mark;
	char q[QUOTED_MAX];
	int r;

	if (at_scalar(l) && l->event.data.scalar.length > CONFIG_MAP_KEY_MAX)
		return refuse(l, mark, "a name in %s.%.*s is longer than %d bytes", f->section, f->key_len, f->key,
			      CONFIG_MAP_KEY_MAX);
	for (size_t i = 0; at_scalar(l) && i < map->n; i++)
		if (!strcmp(map->keys[i], scalar(l)))
			return refuse(l, mark, "\"%s\" is in %s.%.*s already", quoted(q, scalar(l)), f->section,
				      f->key_len, f->key);
	r = keep_item(l, f, &map->keys, map->n);
	if (r < 0)
		return r;
	r = next(l);
	if (r == 0)
		r = keep_item(l, f, &map->values, map->n);
	if (r < 0) {
		free(map->keys[map->n]);
		return r;
	}
	map->n++;
	return 0;
}

static int load_map(struct loader *l, const struct config_field *f)
{
	int r;

	if (at_nothing(l))
		return 0;
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return refuse(l, l->event.start_mark, "%s.%.*s must be a mapping, not %s: write \"name: value\" lines",
			      f->section, f->key_len, f->key, what_stands_here(l));
	while ((r = next(l)) == 0 && l->event.type != YAML_MAPPING_END_EVENT) {
		r = load_map_entry(l, f, field_of(l->settings, f));
		if (r < 0)
			return r;
	}
	return r;
}

/* ------------------------------------------------------------------ sections and settings */

static int load_value(struct loader *l, const struct config_field *f)
{
	yaml_mark_t mark = l->event.start_mark;
	struct config_why why;
	char accepted[128];

	if (f->kind == CONFIG_LIST)
		return load_list(l, f);
	if (f->kind == CONFIG_MAP)
		return load_map(l, f);

	value_accepted(f, accepted, sizeof(accepted));
	if (!at_scalar(l))
		return refuse(l, mark, "%s.%.*s must be %s, not %s", f->section, f->key_len, f->key, accepted,
			      what_stands_here(l));
	if (at_nothing(l) && f->kind != CONFIG_STRING)
		return refuse(l, mark, "%s.%.*s has no value: it must be %s; leave the line out for its default, %s",
			      f->section, f->key_len, f->key, accepted, f->initial);

	int r = value_set(l->settings, f, scalar(l), &why);

	return r == -EINVAL ? refuse(l, mark, "%s.%.*s %s", f->section, f->key_len, f->key, why.text) : r;
}

static bool has_key(const struct config_field *f, const char *key)
{
	return strlen(key) == (size_t)f->key_len && !memcmp(f->key, key, (size_t)f->key_len);
}

static int refuse_setting(struct loader *l, const struct config_section *section)
{
	const char *key = scalar(l);
	char q[QUOTED_MAX];
	struct nearest near = nearest_to(key);

	for (size_t i = 0; i < config_n_fields; i++)
		if (has_key(&config_fields[i], key))
			return refuse(l, l->event.start_mark, "%s has no setting \"%s\"; that one belongs to %s",
				      section->name, quoted(q, key), config_fields[i].section);
	for (size_t i = 0; i < config_n_fields; i++)
		if (!strcmp(config_fields[i].section, section->name))
			nearest_offer(&near, config_fields[i].key, (size_t)config_fields[i].key_len);
	if (near.best)
		return refuse(l, l->event.start_mark, "%s has no setting \"%s\"; did you mean \"%.*s\"?", section->name,
			      quoted(q, key), (int)near.best_len, near.best);
	return refuse(l, l->event.start_mark, "%s has no setting \"%s\"; `sluice config reference` lists them",
		      section->name, quoted(q, key));
}

static int load_setting(struct loader *l, const struct config_section *section)
{
	if (!at_scalar(l))
		return refuse(l, l->event.start_mark, "the name of a setting of %s must stand here, not %s",
			      section->name, what_stands_here(l));

	for (size_t i = 0; i < config_n_fields; i++) {
		const struct config_field *f = &config_fields[i];

		if (strcmp(f->section, section->name) != 0 || !has_key(f, scalar(l)))
			continue;
		if (l->seen_field[i])
			return refuse(l, l->event.start_mark, "%s.%.*s is set already in line %zu", f->section,
				      f->key_len, f->key, l->seen_field[i]);
		l->seen_field[i] = l->event.start_mark.line + 1;

		int r = next(l);

		return r < 0 ? r : load_value(l, f);
	}
	return refuse_setting(l, section);
}

static int refuse_section(struct loader *l)
{
	const char *name = scalar(l);
	char q[QUOTED_MAX];
	struct nearest near = nearest_to(name);

	for (size_t i = 0; i < config_n_fields; i++)
		if (has_key(&config_fields[i], name))
			return refuse(l, l->event.start_mark, "there is no section \"%s\"; it is a setting of %s",
				      quoted(q, name), config_fields[i].section);
	for (size_t i = 0; i < config_n_sections; i++)
		nearest_offer(&near, config_sections[i].name, strlen(config_sections[i].name));
	if (near.best)
		return refuse(l, l->event.start_mark, "there is no section \"%s\"; did you mean \"%.*s\"?",
			      quoted(q, name), (int)near.best_len, near.best);
	return refuse(l, l->event.start_mark, "there is no section \"%s\"; `sluice config reference` lists them",
		      quoted(q, name));
}

static int load_section(struct loader *l)
{
	const struct config_section *section = NULL;
	int r;

	if (!at_scalar(l))
		return refuse(l, l->event.start_mark, "the name of a section must stand here, not %s",
			      what_stands_here(l));
	for (size_t i = 0; i < config_n_sections && !section; i++) {
		if (strcmp(config_sections[i].name, scalar(l)) != 0)
			continue;
		section = &config_sections[i];
		if (l->seen_section[i])
			return refuse(l, l->event.start_mark, "section %s is there already, in line %zu", section->name,
				      l->seen_section[i]);
		l->seen_section[i] = l->event.start_mark.line + 1;
	}
	if (!section)
		return refuse_section(l);
	r = next(l);
	if (r < 0 || at_nothing(l))
		return r;
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return refuse(l, l->event.start_mark, "section %s must hold settings (\"name: value\" lines), not %s",
			      section->name, what_stands_here(l));
	while ((r = next(l)) == 0 && l->event.type != YAML_MAPPING_END_EVENT) {
		r = load_setting(l, section);
		if (r < 0)
			return r;
	}
	return r;
}

static int load_root(struct loader *l)
{
	int r;

	if (at_nothing(l))
		return 0;
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return refuse(l, l->event.start_mark, "sections must stand here (\"node:\", \"gateway:\", …), not %s",
			      what_stands_here(l));
	while ((r = next(l)) == 0 && l->event.type != YAML_MAPPING_END_EVENT) {
		r = load_section(l);
		if (r < 0)
			return r;
	}
	return r;
}

/* STREAM-START [DOCUMENT-START root DOCUMENT-END] STREAM-END */
static int load_stream(struct loader *l)
{
	int r = next(l);

	if (r == 0)
		r = next(l);
	if (r < 0 || l->event.type == YAML_STREAM_END_EVENT)
		return r;
	r = next(l);
	if (r == 0)
		r = load_root(l);
	if (r == 0)
		r = next(l);
	if (r == 0)
		r = next(l);
	if (r == 0 && l->event.type != YAML_STREAM_END_EVENT)
		r = refuse(l, l->event.start_mark, "a second document begins here: one file holds one configuration");
	return r;
}

/* ------------------------------------------------------------------ what others call */

int config_defaults(struct settings *ret)
{
	struct settings s = { 0 };
	struct config_why why;

	for (size_t i = 0; i < config_n_fields; i++) {
		const struct config_field *f = &config_fields[i];
		int r = f->initial ? value_set(&s, f, f->initial, &why) : 0;

		must(r != -EINVAL);
		if (r < 0) {
			config_done(&s);
			return r;
		}
	}
	*ret = s;
	return 0;
}

static void free_items(char **items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(items[i]);
	free(items);
}

void config_done(struct settings *s)
{
	for (size_t i = 0; i < config_n_fields; i++) {
		void *field = field_of(s, &config_fields[i]);
		struct config_list *list = field;
		struct config_map *map = field;

		switch (config_fields[i].kind) {
		case CONFIG_STRING:
			free(*(char **)field);
			break;
		case CONFIG_LIST:
			free_items(list->items, list->n);
			break;
		case CONFIG_MAP:
			free_items(map->keys, map->n);
			free_items(map->values, map->n);
			break;
		default:
			break;
		}
	}
	memset(s, 0, sizeof(*s));
}

int config_parse(struct settings *ret, const char *name, const char *text, size_t len, struct config_error *ret_error)
{
	struct loader l = { .name = name, .text = text, .len = len, .error = ret_error };
	struct settings s;

	must(config_n_fields <= FIELDS_MAX && config_n_sections <= SECTIONS_MAX);
	memset(ret, 0, sizeof(*ret));
	if (len > CONFIG_FILE_MAX) {
		refuse_at(&l, 0, 0, "the file is larger than %d KiB: this is no configuration", CONFIG_FILE_MAX >> 10);
		return -EFBIG;
	}

	int r = config_defaults(&s);

	if (r == 0 && !yaml_parser_initialize(&l.parser)) {
		config_done(&s);
		r = -ENOMEM;
	}
	if (r == 0) {
		l.settings = &s;
		yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
		r = load_stream(&l);
		yaml_event_delete(&l.event);
		yaml_parser_delete(&l.parser);
		if (r == 0)
			*ret = s;
		else
			config_done(&s);
	}
	if (r == -ENOMEM)
		refuse_at(&l, 0, 0, "there is not enough memory to read it");
	return r;
}

/* A node without a name is called as its host. */
static int name_after_host(struct settings *s)
{
	char name[CONFIG_NODE_ID_MAX + 1] = "";
	char *copy;

	if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
		strcpy(name, "unnamed");
	copy = strdup(name);
	if (!copy) {
		config_done(s);
		return -ENOMEM;
	}
	free(s->node_id);
	s->node_id = copy;
	return 0;
}

int config_load(struct settings *ret, const char *path, struct config_error *ret_error)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	int r = file_read(path, CONFIG_FILE_MAX, &text);

	if (r == 0) {
		r = config_parse(ret, path, buf_cstr(&text), text.len, ret_error);
		return r < 0 || *ret->node_id ? r : name_after_host(ret);
	}
	memset(ret, 0, sizeof(*ret));
	snprintf(ret_error->text, sizeof(ret_error->text), "%s: the file cannot be read: %s", path, strerror(-r));
	return r;
}
