/* One scalar between its text in a file and its field. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "config/schema.h"

struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit durations[] = { /* in milliseconds, ascending */
	{ "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};
static const struct unit sizes[] = { /* in bytes, ascending */
	{ "B", 1 }, { "KiB", 1LL << 10 }, { "MiB", 1LL << 20 }, { "GiB", 1LL << 30 }, { "TiB", 1LL << 40 },
};
#define N_UNITS ARRAY_SIZE(sizes)
_Static_assert(ARRAY_SIZE(durations) == N_UNITS, "one loop serves both");

const char *quoted(char ret[static QUOTED_MAX], const char *text)
{
	size_t n = strlen(text), cut = 60;

	if (n <= cut) {
		memcpy(ret, text, n + 1);
	} else {
		while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
			cut--;
		memcpy(ret, text, cut);
		memcpy(ret + cut, "…", sizeof("…"));
	}
	for (char *c = ret; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return ret;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct config_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* Decimal digits to a number. Returns what follows them, or NULL when there are none or too many. */
static const char *take_digits(const char *text, int64_t *ret)
{
	int64_t v = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at - '0', &v))
			return NULL;
	*ret = v;
	return at == text ? NULL : at;
}

/* -EINVAL: not of this form; -ERANGE: beyond 64 bits. */
static int parse_int(const char *text, int64_t *ret)
{
	bool negative = *text == '-';
	const char *digits = text + negative;
	int64_t v;

	if (!*digits || digits[strspn(digits, "0123456789")])
		return -EINVAL;
	if (!take_digits(digits, &v))
		return -ERANGE;
	*ret = negative ? -v : v;
	return 0;
}

static int parse_quantity(const char *text, const struct unit *units, int64_t *ret)
{
	size_t n_digits = strspn(text, "0123456789");
	const char *unit = text + n_digits + strspn(text + n_digits, " ");
	int64_t v;

	if (n_digits == 0)
		return -EINVAL;
	if (!strcmp(text, "0")) {
		*ret = 0;
		return 0;
	}
	for (size_t i = 0; i < N_UNITS; i++)
		if (!strcmp(unit, units[i].name))
			return take_digits(text, &v) && !__builtin_mul_overflow(v, units[i].factor, ret) ? 0 : -ERANGE;
	return -EINVAL;
}

int config_duration_ms(const char *text, int64_t *ret)
{
	return parse_quantity(text, durations, ret);
}

static int parse_number(const struct config_field *f, const char *text, int64_t *ret)
{
	switch (f->kind) {
	case CONFIG_MS:
		return parse_quantity(text, durations, ret);
	case CONFIG_BYTES:
		return parse_quantity(text, sizes, ret);
	default:
		return parse_int(text, ret);
	}
}

static int set_number(int64_t *field, const struct config_field *f, const char *text, struct config_why *why)
{
	int64_t v, min, max;
	char accepted[128], q[QUOTED_MAX];
	int r = parse_number(f, text, &v);

	value_accepted(f, accepted, sizeof(accepted));
	if (r == -EINVAL)
		return refuse(why, "must be %s, not \"%s\"", accepted, quoted(q, text));
	must(parse_number(f, f->min, &min) == 0 && parse_number(f, f->max, &max) == 0);
	if (r == -ERANGE || v < min || v > max)
		return refuse(why, "is out of range: %s; it must be %s", quoted(q, text), accepted);
	*field = v;
	return 0;
}

static int set_double(double *field, const struct config_field *f, const char *text, struct config_why *why)
{
	char accepted[128], q[QUOTED_MAX], *end;
	double v = strtod(text, &end);

	value_accepted(f, accepted, sizeof(accepted));
	/* The span keeps out hexadecimal, "nan", "inf" and leading blanks, which strtod() would take. */
	if (!*text || *end || text[strspn(text, "0123456789.eE+-")])
		return refuse(why, "must be %s, not \"%s\"", accepted, quoted(q, text));
	if (!(v >= strtod(f->min, NULL) && v <= strtod(f->max, NULL)))
		return refuse(why, "is out of range: %s; it must be %s", quoted(q, text), accepted);
	*field = v;
	return 0;
}

static int set_choice(int *field, const struct config_field *f, const char *text, struct config_why *why)
{
	char accepted[128], q[QUOTED_MAX];
	size_t len = strlen(text);
	int position = 0;

	for (const char *at = f->choices;; at++, position++) {
		size_t n = strcspn(at, "|");

		if (n == len && !memcmp(at, text, n)) {
			*field = position;
			return 0;
		}
		at += n;
		if (!*at)
			break;
	}
	value_accepted(f, accepted, sizeof(accepted));
	return refuse(why, "must be %s, not \"%s\"", accepted, quoted(q, text));
}

static int set_bool(bool *field, const char *text, struct config_why *why)
{
	char q[QUOTED_MAX];

	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return refuse(why, "must be true or false, not \"%s\"", quoted(q, text));
	*field = *text == 't';
	return 0;
}

static int set_string(char **field, const char *text, struct config_why *why)
{
	if (strlen(text) > CONFIG_STRING_MAX)
		return refuse(why, "is longer than %d bytes", CONFIG_STRING_MAX);

	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int value_set(struct settings *s, const struct config_field *f, const char *text, struct config_why *ret_why)
{
	void *field = field_of(s, f);

	switch (f->kind) {
	case CONFIG_STRING:
		return set_string(field, text, ret_why);
	case CONFIG_ENUM:
		return set_choice(field, f, text, ret_why);
	case CONFIG_BOOL:
		return set_bool(field, text, ret_why);
	case CONFIG_INT:
	case CONFIG_MS:
	case CONFIG_BYTES:
		return set_number(field, f, text, ret_why);
	case CONFIG_DOUBLE:
		return set_double(field, f, text, ret_why);
	case CONFIG_LIST:
	case CONFIG_MAP:
		break;
	}
	must(!"a scalar setting");
}

/* "a|b|c" -> "a, b or c" */
static void list_choices(const char *choices, char *ret, size_t size)
{
	size_t used = 0;

	for (const char *at = choices; *at && used < size;) {
		size_t n = strcspn(at, "|");
		bool last_but_one = at[n] && !strchr(at + n + 1, '|');
		const char *joint = !at[n] ? "" : last_but_one ? " or " : ", ";

		used += (size_t)snprintf(ret + used, size - used, "%.*s%s", (int)n, at, joint);
		at += n + (at[n] != '\0');
	}
}

void value_accepted(const struct config_field *f, char *ret, size_t size)
{
	switch (f->kind) {
	case CONFIG_STRING:
		snprintf(ret, size, "text");
		break;
	case CONFIG_ENUM:
		list_choices(f->choices, ret, size);
		break;
	case CONFIG_BOOL:
		snprintf(ret, size, "true or false");
		break;
	case CONFIG_INT:
		snprintf(ret, size, "a whole number from %s to %s", f->min, f->max);
		break;
	case CONFIG_MS:
		snprintf(ret, size, "a duration (ms, s, min, h, d) from %s to %s", f->min, f->max);
		break;
	case CONFIG_BYTES:
		snprintf(ret, size, "a size (B, KiB, MiB, GiB, TiB) from %s to %s", f->min, f->max);
		break;
	case CONFIG_DOUBLE:
		snprintf(ret, size, "a number from %s to %s", f->min, f->max);
		break;
	case CONFIG_LIST:
		snprintf(ret, size, "a list");
		break;
	case CONFIG_MAP:
		snprintf(ret, size, "a mapping");
		break;
	}
}

/* In the largest unit that keeps it a whole number. */
static void format_quantity(int64_t v, const struct unit *units, char *ret)
{
	size_t i = N_UNITS - 1;

	while (i > 0 && (v == 0 || v % units[i].factor))
		i--;
	snprintf(ret, VALUE_TEXT_MAX, "%" PRId64 "%s", v / units[i].factor, units[i].name);
}

static void format_double(double v, char *ret)
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(ret, VALUE_TEXT_MAX, "%.*g", digits, v);
		if (strtod(ret, NULL) == v)
			break;
	}
}

static void format_choice(int position, const char *choices, char *ret)
{
	for (; position > 0; position--)
		choices += strcspn(choices, "|") + 1;
	snprintf(ret, VALUE_TEXT_MAX, "%.*s", (int)strcspn(choices, "|"), choices);
}

void value_format(const struct settings *s, const struct config_field *f, char ret[static VALUE_TEXT_MAX])
{
	const void *field = field_of_const(s, f);

	switch (f->kind) {
	case CONFIG_STRING:
		snprintf(ret, VALUE_TEXT_MAX, "%s", *(char *const *)field);
		break;
	case CONFIG_ENUM:
		format_choice(*(const int *)field, f->choices, ret);
		break;
	case CONFIG_BOOL:
		snprintf(ret, VALUE_TEXT_MAX, "%s", *(const bool *)field ? "true" : "false");
		break;
	case CONFIG_INT:
		snprintf(ret, VALUE_TEXT_MAX, "%" PRId64, *(const int64_t *)field);
		break;
	case CONFIG_MS:
		format_quantity(*(const int64_t *)field, durations, ret);
		break;
	case CONFIG_BYTES:
		format_quantity(*(const int64_t *)field, sizes, ret);
		break;
	case CONFIG_DOUBLE:
		format_double(*(const double *)field, ret);
		break;
	case CONFIG_LIST:
	case CONFIG_MAP:
		must(!"a scalar setting");
	}
}
