#include "codec/csv.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"

void csv_init(struct csv *c)
{
	memset(c, 0, offsetof(struct csv, data));
	c->line = 1;
}

void *csv_room(struct csv *c, size_t *ret_room)
{
	memmove(c->data, c->data + c->at, c->end - c->at);
	c->end -= c->at;
	c->at = 0;
	*ret_room = sizeof(c->data) - 1 - c->end; /* one stays for the NUL behind the last field */
	return c->data + c->end;
}

void csv_filled(struct csv *c, size_t n)
{
	must(n <= sizeof(c->data) - 1 - c->end);
	c->end += n;
}

void csv_end(struct csv *c)
{
	c->ended = true;
}

/* ------------------------------------------------------------------ where a record ends */

/* The separator from the first line, see csv.h.  0: more of it is needed. */
static char separator_of(const char *at, const char *end, bool more)
{
	bool quoted = false;

	for (; at < end && (quoted || *at != '\n'); at++) {
		if (*at == '"')
			quoted = !quoted;
		if (quoted)
			continue;
		if (*at == '\t' || *at == ';')
			return *at;
		if (*at != ',')
			continue;

		const char *behind = at + 1;

		while (behind < end && isdigit((unsigned char)*behind))
			behind++;
		if (behind == end)
			break;
		if (behind == at + 1 || (*behind != ';' && *behind != '\t'))
			return ',';
	}
	return more && (at == end || *at != '\n') ? 0 : ',';
}

/* The line feed that ends the record at `at`, with respect to quotes; NULL: it is not in the buffer, and ret_open says
 * whether a quote is open there. */
static char *record_end(char *at, char *end, char separator, bool *ret_open)
{
	char *feed = memchr(at, '\n', (size_t)(end - at));
	enum { START, BARE, QUOTED, QUOTE } state = START;

	*ret_open = false;
	if (!memchr(at, '"', (size_t)((feed ? feed : end) - at)))
		return feed;
	for (; at < end; at++) {
		if (state == QUOTED)
			state = *at == '"' ? QUOTE : QUOTED;
		else if (*at == '\n')
			return at;
		else if (*at == '"' && state != BARE)
			state = QUOTED; /* it opens, or the quote before it was half of a doubled one */
		else
			state = *at == separator ? START : BARE;
	}
	*ret_open = state == QUOTED;
	return NULL;
}

/* ------------------------------------------------------------------ fields */

/* From `at` to its separator, unquoted in place.  Returns where the separator, or the record's end, stands. */
static char *take_field(char *at, char *end, char separator, bool quotes, struct slice *ret)
{
	char *to = at, *start = at;

	if (quotes && at < end && *at == '"') {
		for (at++; at < end; *to++ = *at++)
			if (*at == '"' && (++at == end || *at != '"'))
				break;
	}
	for (; at < end && *at != separator; at++)
		*to++ = *at;
	*ret = SLICE(start, (size_t)(to - start));
	return at;
}

static void split(char *at, char *end, char separator, bool quotes, struct csv_record *ret)
{
	struct slice field;

	for (unsigned i = 0; i < CSV_COLUMNS; i++)
		ret->fields[i] = SLICE("", 0);
	for (ret->n_fields = 0;; at++) {
		at = take_field(at, end, separator, quotes, &field);
		if (ret->n_fields < CSV_COLUMNS)
			ret->fields[ret->n_fields] = field;
		ret->n_fields++;
		if (at == end)
			break;
	}
	for (unsigned i = 0; i < CSV_COLUMNS && i < ret->n_fields; i++)
		((char *)ret->fields[i].data)[ret->fields[i].len] = 0; /* over a separator, a quote or the line's end */
}

/* ------------------------------------------------------------------ records */

/* False: more bytes are needed to know. */
static bool pass_mark(struct csv *c)
{
	const char *at = c->data + c->at;
	size_t n = c->end - c->at;

	if (n < 3 && !c->ended)
		return false;
	c->utf16 = n >= 2 && (!memcmp(at, "\xff\xfe", 2) || !memcmp(at, "\xfe\xff", 2));
	if (n >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
		c->at += 3;
	c->begun = true;
	return true;
}

/* The rest of a line that was too long. False: it has not ended yet. */
static bool skip_line(struct csv *c)
{
	char *feed = memchr(c->data + c->at, '\n', c->end - c->at);

	c->at = feed ? (size_t)(feed + 1 - c->data) : c->end;
	if (!feed)
		return false;
	c->line++;
	c->skipping = false;
	return true;
}

/* Blank lines. */
static void skip_blank(struct csv *c)
{
	for (size_t at = c->at; at < c->end; at++) {
		if (c->data[at] == '\n') {
			c->at = at + 1;
			c->line++;
		} else if (c->data[at] != ' ' && c->data[at] != '\r') {
			return;
		}
	}
	if (c->ended)
		c->at = c->end;
}

static uint64_t feeds_in(const char *at, const char *end)
{
	uint64_t n = 0;

	for (; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		n++;
	return n;
}

/* Where the record at `at` ends, and whether its quotes mean something.  NULL: not without more input. */
static char *find_end(const struct csv *c, char *at, char *limit, bool *ret_quotes)
{
	bool open;
	char *end = record_end(at, limit, c->separator, &open), *feed;

	*ret_quotes = true;
	if (end)
		return end;
	if (limit - at < CSV_RECORD_MAX && !open)
		return c->ended ? limit : NULL;
	if (limit - at < CSV_RECORD_MAX && !c->ended)
		return NULL;
	feed = memchr(at, '\n', (size_t)(limit - at));
	*ret_quotes = !feed && !open;
	return feed ? feed : limit;
}

bool csv_next(struct csv *c, struct csv_record *ret)
{
	if ((!c->begun && !pass_mark(c)) || (c->skipping && !skip_line(c)))
		return false;
	skip_blank(c);

	char *at = c->data + c->at, *limit = at + MIN(c->end - c->at, (size_t)CSV_RECORD_MAX);
	bool quotes;

	if (at == limit)
		return false;
	if (!c->separator)
		c->separator = separator_of(at, limit, !c->ended && limit - at < CSV_RECORD_MAX);

	char *end = c->separator ? find_end(c, at, limit, &quotes) : NULL;

	if (!end)
		return false;
	ret->line = c->line;
	c->line += feeds_in(at, end);
	c->at = (size_t)(end - c->data);
	c->skipping = c->at < c->end && *end != '\n';
	if (c->at < c->end && !c->skipping) {
		c->at++;
		c->line++;
	}
	end -= end > at && end[-1] == '\r';
	split(at, end, c->separator, quotes, ret);
	return true;
}

/* ------------------------------------------------------------------ writing */

void csv_append_field(struct buf *b, struct slice field)
{
	const char *at = field.data, *end = at + field.len;
	bool plain = true;

	for (const char *p = at; plain && p < end; p++)
		plain = *p != ',' && *p != '"' && *p != '\n' && *p != '\r';
	if (plain) {
		buf_append(b, at, field.len);
		return;
	}
	buf_append_u8(b, '"');
	for (; at < end; at++) {
		if (*at == '"')
			buf_append_u8(b, '"');
		buf_append_u8(b, (uint8_t)*at);
	}
	buf_append_u8(b, '"');
}
