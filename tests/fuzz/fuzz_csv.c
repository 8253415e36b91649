/* Any bytes as a series in CSV: the same rows whether they come at once or in pieces, and a row written as CSV is read as
 * itself. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "codec/instant.h"
#include "codec/series.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct series series, again;

static void append_row(struct buf *b, const struct series_row *row)
{
	must(memchr("\1\2\3\4\5", row->fault + 1, 5));
	must(row->fault != SERIES_FINE || isfinite(row->number));
	buf_printf(b, "%llu %d %lld\n", (unsigned long long)row->line, row->fault, row->fault ? 0LL : (long long)row->time_ns);
	csv_append_field(b, row->time);
	buf_append_u8(b, ',');
	csv_append_field(b, row->value);
	buf_append_u8(b, '\n');
}

static void read_in_pieces(const uint8_t *data, size_t size, size_t piece, struct buf *rows)
{
	struct series_row row;

	series_init(&series);
	for (size_t at = 0; at < size || !series.csv.ended;) {
		size_t room;
		void *to = csv_room(&series.csv, &room);
		size_t n = MIN(MIN(room, piece), size - at);

		must(room >= CSV_RECORD_MAX / 2);
		if (n > 0)
			memcpy(to, data + at, n);
		csv_filled(&series.csv, n);
		at += n;
		if (at == size)
			csv_end(&series.csv);
		while (series_next(&series, &row))
			append_row(rows, &row);
	}
	must(series.csv.at == series.csv.end);
}

/* What was written for a row gives its two fields again. */
static void read_written(struct slice time, struct slice value)
{
	CLEANUP(buf_done) struct buf line = BUF_INIT;
	struct csv_record record;
	size_t room;

	buf_append_str(&line, "time,value\n");
	csv_append_field(&line, time);
	buf_append_u8(&line, ',');
	csv_append_field(&line, value);
	buf_append_u8(&line, '\n');
	csv_init(&again.csv);
	memcpy(csv_room(&again.csv, &room), line.data, line.len);
	csv_filled(&again.csv, line.len);
	csv_end(&again.csv);
	must(csv_next(&again.csv, &record) && csv_next(&again.csv, &record));
	must(record.n_fields == 2);
	must(record.fields[0].len == time.len && !memcmp(record.fields[0].data, time.data, time.len));
	must(record.fields[1].len == value.len && !memcmp(record.fields[1].data, value.data, value.len));
	must(!csv_next(&again.csv, &record));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_done) struct buf whole = BUF_INIT;
	CLEANUP(buf_done) struct buf pieces = BUF_INIT;
	int64_t ns;

	(void)instant_parse(SLICE(data, size), &ns);
	read_in_pieces(data, size, SIZE_MAX, &whole);
	read_in_pieces(data, size, 1 + size % 7, &pieces);
	must(whole.len == pieces.len && (whole.len == 0 || !memcmp(whole.data, pieces.data, whole.len)));
	if (size >= 2 && size < 1000)
		read_written(SLICE(data + 1, MIN(data[0], size - 1)), SLICE(data + 1, size - 1));
	return 0;
}
