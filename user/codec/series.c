#include "codec/series.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/instant.h"

#define NUMBER_MAX 400 /* %f of the largest double has 309 digits before its point */

void series_init(struct series *s)
{
	memset(s, 0, offsetof(struct series, csv));
	s->last_ns = INT64_MIN;
	csv_init(&s->csv);
}

void series_next_file(struct series *s)
{
	s->begun = false;
	csv_init(&s->csv);
}

/* strtod() without its hexadecimals, infinities and locale: the characters are checked first. */
static bool parse_number(struct slice text, bool decimal_comma, double *ret)
{
	const char *at = text.data, *end = at + text.len;
	char copy[NUMBER_MAX + 1], *stop;
	size_t n = 0;
	bool point = false;

	while (at < end && isspace((unsigned char)*at))
		at++;
	while (end > at && isspace((unsigned char)end[-1]))
		end--;
	if (at == end || end - at > NUMBER_MAX)
		return false;
	for (; at < end; at++) {
		bool comma = decimal_comma && *at == ',';

		if (!isdigit((unsigned char)*at) && !comma && (!*at || !strchr("+-.eE", *at)))
			return false;
		if (comma && (point || memchr(at, '.', (size_t)(end - at))))
			return false;
		point |= comma || *at == '.';
		copy[n++] = comma ? '.' : *at;
	}
	copy[n] = 0;

	double v = strtod(copy, &stop);

	if (*stop || !isfinite(v))
		return false;
	*ret = v;
	return true;
}

/* Printable ASCII and whole UTF-8 stay; an ellipsis where it was cut. */
static void shorten(struct slice text, char *ret, size_t size)
{
	const unsigned char *at = text.data;
	size_t n = MIN(text.len, size - 4);

	while (n < text.len && n > 0 && (at[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
		ret[i] = at[i] < 0x20 || at[i] == 0x7f ? '?' : (char)at[i];
	strcpy(ret + n, n < text.len ? "..." : "");
}

static enum series_fault judge(const struct series *s, struct series_row *row)
{
	if (instant_parse(row->time, &row->time_ns) < 0)
		return SERIES_NO_TIME;
	if (!parse_number(row->value, s->csv.separator != ',', &row->number))
		return SERIES_NO_VALUE;
	if (row->time_ns < s->last_ns)
		return SERIES_BACK;
	return row->time_ns == s->last_ns ? SERIES_REPEATED : SERIES_FINE;
}

static void count(struct series *s, const struct series_row *row)
{
	struct series_count *c = &s->counts[row->fault];

	if (c->rows++ > 0)
		return;
	c->line = row->line;
	shorten(row->fault == SERIES_NO_VALUE ? row->value : row->time, c->example, sizeof(c->example));
}

bool series_next(struct series *s, struct series_row *ret)
{
	struct csv_record record;

	for (;;) {
		bool first = !s->begun;

		if (!csv_next(&s->csv, &record))
			return false;
		s->begun = true;
		*ret = (struct series_row){ .line = record.line, .time = record.fields[0], .value = record.fields[1] };
		ret->fault = judge(s, ret);
		if (!first || ret->fault != SERIES_NO_TIME)
			break;
	}
	s->rows++;
	count(s, ret);
	if (ret->fault == SERIES_FINE)
		s->last_ns = ret->time_ns;
	return true;
}
