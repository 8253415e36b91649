/* CSV as people and programs write it (RFC 4180, and what Python's csv module forgives), read as it comes: bytes are
 * pushed in, records are taken out.
 *
 *     csv_init(&c);
 *     to = csv_room(&c, &n);          read(2) up to n bytes there
 *     csv_filled(&c, got);            or csv_end(&c) when nothing follows
 *     while (csv_next(&c, &record)) ...
 *
 * LF or CRLF; a byte order mark and blank lines are passed over; a field in quotes may hold separators, line ends and
 * doubled quotes.  The separator is told from the first line: whichever of tab, semicolon and comma comes first in it,
 * except a comma between digits before a semicolon or tab, which is a decimal comma ("1392388020,5;21,5").
 *
 * Bounds: the fixed buffer, whatever comes.  A record that does not end within CSV_RECORD_MAX bytes, or within the
 * input, has a quote that is never closed: its first line is taken as it stands, the quotes as letters, and reading
 * goes on behind it.  Of a single line longer than that the rest is ignored.  Threads: none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define CSV_RECORD_MAX 65536
#define CSV_COLUMNS 2 /* are kept; the others are only counted */

struct csv {
	char separator; /* 0: not seen yet */
	bool ended;
	bool begun;     /* past the byte order mark */
	bool utf16;     /* it began with UTF-16's byte order mark: nothing will come of it */
	bool skipping;  /* the rest of a line that was too long */
	uint64_t line;  /* of what is read next, from 1 */
	size_t at, end; /* what is in the buffer */
	char data[2 * CSV_RECORD_MAX + 1];
};

struct csv_record {
	uint64_t line;     /* on which it began */
	unsigned n_fields; /* all of them */
	struct slice fields[CSV_COLUMNS]; /* unquoted, a NUL behind each, until the next csv_room(); or "" */
};

void csv_init(struct csv *c);
/* Where to put bytes, and how many fit: at least CSV_RECORD_MAX / 2, once csv_next() has said that there is no
 * record. */
void *csv_room(struct csv *c, size_t *ret_room);
void csv_filled(struct csv *c, size_t n);
void csv_end(struct csv *c);
/* Whether ret is set; else more input is needed, or it is the end. */
bool csv_next(struct csv *c, struct csv_record *ret);

/* Appends a field, in quotes when it needs them in a file separated by commas. */
struct buf;
void csv_append_field(struct buf *b, struct slice field);
