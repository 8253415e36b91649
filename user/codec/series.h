/* A series from CSV: the first two columns are time and value, further ones are ignored.
 *
 * The first line is a header when its first column is no time (instant.h).  Values are decimal numbers; where the
 * separator is a semicolon or a tab, with a decimal comma as well ("21,5"; one comma, no point beside it).  Every line
 * gives a row; one that cannot be used says why, and is counted with the first line on which it happened.
 *
 *     to = csv_room(&s.csv, &n); ... csv_filled(&s.csv, got);
 *     while (series_next(&s, &row)) ...
 *
 * Bounds, ownership and threads: those of csv.h.
 */
#pragma once

#include "codec/csv.h"

enum series_fault {
	SERIES_FINE,
	SERIES_NO_TIME,  /* the first column is no time */
	SERIES_NO_VALUE, /* the second is empty, NaN, infinite or no number */
	SERIES_BACK,     /* older than a row before it */
	SERIES_REPEATED, /* the same time as the row before it */
	SERIES_FAULTS
};

struct series_row {
	uint64_t line;
	struct slice time, value; /* as they were written, unquoted */
	int64_t time_ns;
	double number;
	enum series_fault fault; /* time_ns and number are set only in a fine row */
};

struct series_count {
	uint64_t rows, line; /* the first of them */
	char example[48];    /* what stood there, shortened, fit for a terminal */
};

struct series {
	bool begun; /* the header is past */
	uint64_t rows;
	int64_t last_ns;
	struct series_count counts[SERIES_FAULTS];
	struct csv csv;
};

void series_init(struct series *s);
/* Another file follows, perhaps with a header of its own: what comes goes on from what was.  All records are taken. */
void series_next_file(struct series *s);
bool series_next(struct series *s, struct series_row *ret);
