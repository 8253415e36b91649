/* Rules from YAML: each mapping has a table of its keys, and each key a function that reads its value.  libyaml makes the
 * document's tree first, which bounds depth and gives each node its mark; the descent below is as deep as the tables. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "alerts/rules.h"
#include "analytics/detector.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/nearest.h"
#include "codec/instant.h"
#include "config/config.h"

#define FILE_MAX (1u << 20)
#define GLOB_MAX 128
#define GLOB_STARS_MAX 4 /* so that a glob against a long name costs little */
#define KEYS_MAX 24

struct source {
	yaml_document_t *document;
	const char *name;
	struct rules_error *error;
};

/* into: the field. */
typedef int read_value(struct source *s, const yaml_node_t *value, const char *key, void *into);

struct key {
	const char *name;
	read_value *read;
	size_t offset;
};

/* ------------------------------------------------------------------ errors */

__attribute__((format(printf, 4, 5))) static int refuse_at(struct source *s, size_t line, size_t column,
							   const char *format, ...)
{
	va_list args;
	int n = snprintf(s->error->text, sizeof(s->error->text), "%.200s:%zu:%zu: ", s->name, line + 1, column + 1);

	va_start(args, format);
	vsnprintf(s->error->text + n, sizeof(s->error->text) - (size_t)n, format, args);
	va_end(args);
	return -EINVAL;
}
#define refuse(s, node, ...) refuse_at(s, (node)->start_mark.line, (node)->start_mark.column, __VA_ARGS__)

/* A scalar's text; NULL: it is none, or holds a NUL. */
static const char *text_of(const yaml_node_t *node)
{
	const char *text = node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;

	return text && strlen(text) == node->data.scalar.length ? text : NULL;
}

/* For an error: a scalar as it is, cut; anything else by what it is. */
static const char *shown(const yaml_node_t *node, char ret[static 64])
{
	static const char *const names[] = { [YAML_NO_NODE] = "nothing", [YAML_SCALAR_NODE] = "a text with a NUL",
					     [YAML_SEQUENCE_NODE] = "a list", [YAML_MAPPING_NODE] = "a mapping" };

	if (text_of(node))
		snprintf(ret, 64, "\"%.40s\"", text_of(node));
	else
		snprintf(ret, 64, "%s", names[node->type]);
	for (char *c = ret; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return ret;
}

static yaml_node_t *node_at(const struct source *s, int index)
{
	return yaml_document_get_node(s->document, index);
}

/* ------------------------------------------------------------------ scalars */

static int take_text(struct source *s, const yaml_node_t *value, const char *key, size_t max, char **ret)
{
	const char *text = text_of(value);
	char found[64];

	if (!text || !*text || strlen(text) > max)
		return refuse(s, value, "%s is %s: write a text of 1 to %zu bytes", key, shown(value, found), max);
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int read_name(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	int r = take_text(s, value, key, RULES_NAME_MAX, into);

	for (const char *c = r == 0 ? *(char **)into : ""; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return refuse(s, value, "%s holds a control character: write letters, digits and '-'", key);
	return r;
}

static int read_glob(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	int r = take_text(s, value, key, GLOB_MAX, into);
	unsigned stars = 0;

	for (const char *c = r == 0 ? *(char **)into : ""; *c; c++)
		stars += *c == '*';
	if (stars > GLOB_STARS_MAX)
		return refuse(s, value, "%s has %u stars: %d are enough for any name", key, stars, GLOB_STARS_MAX);
	return r;
}

static int read_duration(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	const char *text = text_of(value);
	char found[64];
	int64_t ms;

	if (!text || config_duration_ms(text, &ms) < 0 || ms > 366LL * 24 * 3600 * 1000)
		return refuse(s, value, "%s is %s: write a duration such as 30s, 10min or 2h, a year at most", key,
			      shown(value, found));
	*(int64_t *)into = ms * NS_PER_MS;
	return 0;
}

static int read_count(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	const char *text = text_of(value);
	char found[64];

	if (!text || !*text || text[strspn(text, "0123456789")] || strlen(text) > 15)
		return refuse(s, value, "%s is %s: write a whole number", key, shown(value, found));
	*(int64_t *)into = strtoll(text, NULL, 10);
	return 0;
}

static int read_share(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	const char *text = text_of(value);
	char found[64], *end = NULL;
	double v = text ? strtod(text, &end) : NAN;

	if (!text || !*text || *end || text[strspn(text, "0123456789.eE-")] || !(v >= 0 && v <= 1))
		return refuse(s, value, "%s is %s: write a number from 0 to 1", key, shown(value, found));
	*(double *)into = v;
	return 0;
}

/* "2026-11-24T08:00:00Z", or with an offset, "+01:00", at its end; what is left out of a time would be guessed. */
static bool parse_time(const char *text, int64_t *ret)
{
	size_t n = strlen(text);
	bool whole = (n == 20 && text[19] == 'Z') || (n == 25 && strchr("+-", text[19]) && text[22] == ':');

	return whole && text[4] == '-' && text[10] == 'T' && text[16] == ':' && strcmp(text, "1900") >= 0 &&
	       strcmp(text, "2201") < 0 && instant_parse(SLICE_STR(text), ret) == 0;
}

static int read_time(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	const char *text = text_of(value);
	char found[64];

	if (!text || !parse_time(text, into))
		return refuse(s, value, "%s is %s: write a time such as 2026-11-24T08:00:00Z or 2026-11-24T09:00:00+01:00",
			      key, shown(value, found));
	return 0;
}

/* ------------------------------------------------------------------ words */

typedef const char *word_at(int i); /* NULL behind the last */

static const char *severity_at(int i)
{
	return i < SEVERITIES ? severity_name(i) : NULL;
}

static const char *escalation_at(int i)
{
	return i + 1 < SEVERITIES ? severity_name(i + 1) : NULL;
}

static const char *group_at(int i)
{
	return i < GROUPS ? group_names[i] : NULL;
}

static const char *origin_at(int i)
{
	return i == SIGNAL_DEVICE ? "device" : i == SIGNAL_WINDOW ? "window" : NULL;
}

static const char *kind_at(int i) /* but none */
{
	return i + 1 < DETECTOR_KINDS ? detector_kind_name((enum detector_kind)(i + 1)) : NULL;
}

/* Position of a word among those there are. */
static int take_word(struct source *s, const yaml_node_t *value, const char *key, word_at *words, int *ret)
{
	const char *text = text_of(value);
	char found[64], all[256] = "";
	size_t len = 0;

	for (int i = 0; words(i); i++) {
		if (text && !strcmp(text, words(i))) {
			*ret = i;
			return 0;
		}
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "", words(i));
	}
	return refuse(s, value, "%s is %s: write one of %s", key, shown(value, found), all);
}

/* A list of words, or a single one, as bits. */
static int take_bits(struct source *s, const yaml_node_t *value, const char *key, word_at *words, uint32_t *ret)
{
	int r = 0, word;

	*ret = 0;
	if (value->type != YAML_SEQUENCE_NODE) {
		r = take_word(s, value, key, words, &word);
		*ret = r == 0 ? 1u << word : 0;
		return r;
	}
	for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top && r == 0; i++) {
		r = take_word(s, node_at(s, *i), key, words, &word);
		*ret |= r == 0 ? 1u << word : 0;
	}
	return r < 0 || *ret ? r : refuse(s, value, "%s is empty: name at least one, or leave it out", key);
}

static int read_severity(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	return take_word(s, value, key, severity_at, into);
}

static int read_escalation(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	int position, r = take_word(s, value, key, escalation_at, &position);

	if (r == 0)
		*(int *)into = position + 1;
	return r;
}

static int read_group(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	return take_word(s, value, key, group_at, into);
}

static int read_from(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	return take_bits(s, value, key, origin_at, into);
}

static int read_kinds(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	uint32_t bits;
	int r = take_bits(s, value, key, kind_at, &bits);

	if (r == 0)
		*(uint32_t *)into = bits << 1;
	return r;
}

/* ------------------------------------------------------------------ mappings */

static int refuse_key(struct source *s, const yaml_node_t *key, const char *what, const struct key *keys)
{
	struct nearest n = nearest_to(text_of(key) ? text_of(key) : "");
	char found[64], all[256] = "";
	size_t len = 0;

	for (const struct key *k = keys; k->name; k++) {
		nearest_offer(&n, k->name, strlen(k->name));
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", len > 0 ? ", " : "", k->name);
	}
	if (n.best)
		return refuse(s, key, "%s has no %s; did you mean %.*s?", what, shown(key, found), (int)n.best_len, n.best);
	return refuse(s, key, "%s has no %s; it has %s", what, shown(key, found), all);
}

static int read_mapping(struct source *s, const yaml_node_t *node, const char *what, const struct key *keys, void *object)
{
	const yaml_node_t *seen[KEYS_MAX] = { 0 };
	char found[64];
	int r = 0;

	if (node->type != YAML_MAPPING_NODE)
		return refuse(s, node, "%s is %s: write a mapping, \"key: value\"", what, shown(node, found));
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top && r == 0; p++) {
		const yaml_node_t *key = node_at(s, p->key);
		size_t i = 0;

		while (keys[i].name && (!text_of(key) || strcmp(text_of(key), keys[i].name) != 0))
			i++;
		if (!keys[i].name)
			return refuse_key(s, key, what, keys);
		if (seen[i])
			return refuse(s, key, "%s stands here again; it was in line %zu: leave one out", keys[i].name,
				      seen[i]->start_mark.line + 1);
		seen[i] = key;
		r = keys[i].read(s, node_at(s, p->value), keys[i].name, (char *)object + keys[i].offset);
	}
	return r;
}

#define KEY(name, read, type, field) { name, read, offsetof(type, field) }

static int read_window(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	static const struct key keys[] = {
		KEY("devices", read_count, struct alert_rule, window_devices),
		KEY("count", read_count, struct alert_rule, window_count),
		KEY("completeness", read_share, struct alert_rule, window_completeness),
		{ 0 },
	};

	return read_mapping(s, value, key, keys, into);
}

static int read_escalate(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	static const struct key keys[] = {
		KEY("after", read_duration, struct alert_rule, escalate_after_ns),
		KEY("devices", read_count, struct alert_rule, escalate_devices),
		KEY("to", read_escalation, struct alert_rule, escalate_to),
		{ 0 },
	};
	struct alert_rule *rule = into;
	int r = read_mapping(s, value, key, keys, rule);

	if (r == 0 && rule->escalate_after_ns == 0 && rule->escalate_devices == 0)
		return refuse(s, value, "escalate says neither when nor from how many: write after, devices, or both");
	if (r == 0 && rule->escalate_to == SEVERITY_IGNORE)
		return refuse(s, value, "escalate does not say to what: write to: critical");
	return r;
}

#define GLOB_KEYS(type_)                                                    \
	KEY("type", read_glob, type_, globs.type), KEY("metric", read_glob, type_, globs.metric), \
		KEY("place", read_glob, type_, globs.place), KEY("region", read_glob, type_, globs.region), \
		KEY("device", read_glob, type_, globs.device)

static int check_rule(struct source *s, const yaml_node_t *node, const struct alert_rules *rules, const struct alert_rule *r)
{
	if (!r->name)
		return refuse(s, node, "a rule has no name: write name: NAME, which stands in its alerts");
	if (r->severity == SEVERITIES)
		return refuse(s, node, "rule %s has no severity: write info, warning, critical, or ignore", r->name);
	if (r->escalate_to != SEVERITY_IGNORE && r->escalate_to <= r->severity)
		return refuse(s, node, "rule %s escalates to %s, which is no more than its severity %s", r->name,
			      severity_name(r->escalate_to), severity_name(r->severity));
	for (uint32_t i = 0; i + 1 < rules->n_rules; i++)
		if (!strcmp(rules->rules[i].name, r->name))
			return refuse(s, node, "a rule before this one is called %s too: each needs its own name", r->name);
	return 0;
}

static int read_rule(struct source *s, const yaml_node_t *node, struct alert_rules *rules)
{
	static const struct key keys[] = {
		KEY("name", read_name, struct alert_rule, name),
		KEY("from", read_from, struct alert_rule, from),
		GLOB_KEYS(struct alert_rule),
		KEY("kinds", read_kinds, struct alert_rule, kinds),
		KEY("min_score", read_share, struct alert_rule, min_score),
		{ "window", read_window, 0 },
		KEY("severity", read_severity, struct alert_rule, severity),
		KEY("min_duration", read_duration, struct alert_rule, min_duration_ns),
		KEY("group_by", read_group, struct alert_rule, group_by),
		KEY("group_window", read_duration, struct alert_rule, group_window_ns),
		{ "escalate", read_escalate, 0 },
		KEY("clear_after", read_duration, struct alert_rule, clear_after_ns),
		{ 0 },
	};
	_Static_assert(ARRAY_SIZE(keys) <= KEYS_MAX, "read_mapping() remembers each");
	struct alert_rule *rule = &rules->rules[rules->n_rules++];

	*rule = (struct alert_rule){ .from = 1u << SIGNAL_DEVICE | 1u << SIGNAL_WINDOW, .kinds = RULES_ALL_KINDS,
				     .severity = SEVERITIES, .group_by = GROUP_BY_PLACE, .group_window_ns = 30 * NS_PER_S,
				     .clear_after_ns = RULES_CLEAR_AFTER_NS };

	int r = read_mapping(s, node, "a rule", keys, rule);

	return r < 0 ? r : check_rule(s, node, rules, rule);
}

static int read_one_maintenance(struct source *s, const yaml_node_t *node, struct alert_rules *rules)
{
	static const struct key keys[] = {
		KEY("name", read_name, struct alert_maintenance, name),
		KEY("from", read_time, struct alert_maintenance, from_ns),
		KEY("to", read_time, struct alert_maintenance, to_ns),
		GLOB_KEYS(struct alert_maintenance),
		{ 0 },
	};
	struct alert_maintenance *m = &rules->maintenance[rules->n_maintenance++];

	*m = (struct alert_maintenance){ .from_ns = INT64_MIN, .to_ns = INT64_MIN };

	int r = read_mapping(s, node, "a maintenance", keys, m);

	if (r == 0 && !m->name)
		return refuse(s, node, "a maintenance has no name: write name: NAME");
	if (r == 0 && (m->from_ns == INT64_MIN || m->to_ns <= m->from_ns))
		return refuse(s, node, "maintenance %s does not last: write from and a later to", m->name);
	return r;
}

typedef int read_item(struct source *s, const yaml_node_t *node, struct alert_rules *rules);

/* array: where the items go, allocated here for as many as there are. */
static int read_list(struct source *s, const yaml_node_t *value, const char *key, size_t max, size_t item_size,
		     void *array, read_item *read, struct alert_rules *rules)
{
	char found[64];
	int r = 0;

	if (value->type != YAML_SEQUENCE_NODE)
		return refuse(s, value, "%s is %s: write a list, each item behind \"- \"", key, shown(value, found));

	yaml_node_item_t *first = value->data.sequence.items.start, *end = value->data.sequence.items.top;

	if ((size_t)(end - first) > max)
		return refuse(s, value, "%s has %zu items: %zu are the most", key, (size_t)(end - first), max);
	*(void **)array = calloc((size_t)(end - first) + 1, item_size);
	if (!*(void **)array)
		return -ENOMEM;
	for (yaml_node_item_t *i = first; i < end && r == 0; i++)
		r = read(s, node_at(s, *i), rules);
	return r;
}

static int read_rules(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	struct alert_rules *rules = into;

	return read_list(s, value, key, RULES_MAX, sizeof(struct alert_rule), &rules->rules, read_rule, rules);
}

static int read_maintenance(struct source *s, const yaml_node_t *value, const char *key, void *into)
{
	struct alert_rules *rules = into;

	return read_list(s, value, key, RULES_MAINTENANCE_MAX, sizeof(struct alert_maintenance), &rules->maintenance,
			 read_one_maintenance, rules);
}

static int read_document(struct source *s, struct alert_rules *rules)
{
	static const struct key keys[] = {
		{ "rules", read_rules, 0 },
		{ "maintenance", read_maintenance, 0 },
		{ 0 },
	};
	const yaml_node_t *root = yaml_document_get_root_node(s->document);

	if (!root)
		return refuse_at(s, 0, 0, "there is nothing in it: write rules, or leave the setting alerts.rules empty");

	int r = read_mapping(s, root, "the file", keys, rules);

	if (r == 0 && !rules->rules)
		return refuse(s, root, "there are no rules: write rules: and a list, or leave alerts.rules empty");
	return r;
}

/* ------------------------------------------------------------------ the file */

static int refuse_syntax(struct source *s, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR)
		return refuse_at(s, 0, 0, "byte %zu is not UTF-8 text: %s", p->problem_offset, p->problem);
	return refuse_at(s, p->problem_mark.line, p->problem_mark.column, "this is not YAML: %s", p->problem);
}

/* One document and nothing behind it. */
static int parse_documents(struct source *s, yaml_parser_t *parser, struct alert_rules *rules)
{
	yaml_document_t first, second;

	if (!yaml_parser_load(parser, &first))
		return refuse_syntax(s, parser);
	s->document = &first;

	int r = read_document(s, rules);

	if (r == 0 && !yaml_parser_load(parser, &second)) {
		r = refuse_syntax(s, parser);
	} else if (r == 0) {
		const yaml_node_t *root = yaml_document_get_root_node(&second);

		if (root)
			r = refuse(s, root, "a second document begins here: write one");
		yaml_document_delete(&second);
	}
	yaml_document_delete(&first);
	return r;
}

int rules_parse(struct alert_rules **ret, const char *name, const char *text, size_t len, struct rules_error *ret_error)
{
	static _Atomic uint64_t serial;
	struct source s = { .name = name, .error = ret_error };
	struct alert_rules *rules;
	yaml_parser_t parser;

	*ret_error->text = '\0';
	if (len > FILE_MAX)
		return refuse_at(&s, 0, 0, "the file is larger than %u KiB: these are no rules", FILE_MAX >> 10);
	rules = calloc(1, sizeof(*rules));
	if (!rules || !yaml_parser_initialize(&parser)) {
		free(rules);
		return -ENOMEM;
	}
	rules->serial = ++serial;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);

	int r = parse_documents(&s, &parser, rules);

	yaml_parser_delete(&parser);
	if (r == -ENOMEM)
		refuse_at(&s, 0, 0, "there is not enough memory to read it");
	if (r < 0)
		rules_free(rules);
	else
		*ret = rules;
	return r;
}

int rules_load(struct alert_rules **ret, const char *path, struct rules_error *ret_error)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;

	if (!*path)
		return rules_parse(ret, "the built-in rules", rules_builtin, strlen(rules_builtin), ret_error);

	int r = file_read(path, FILE_MAX, &text);

	if (r == 0)
		return rules_parse(ret, path, buf_cstr(&text), text.len, ret_error);
	snprintf(ret_error->text, sizeof(ret_error->text), "%.300s: the file cannot be read: %s", path, strerror(-r));
	return r;
}
