/* csv.c, instant.c and series.c: text as people write it. */
#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rand.h"
#include "codec/instant.h"
#include "codec/series.h"
#include "tests/unit/harness.h"

#define ORACLE_LINES 20000
#define LINE_MAX_BYTES 65536

static struct csv csv;
static struct series series;

static void feed(struct csv *c, const char *text, size_t n)
{
	size_t room;
	void *to = csv_room(c, &room);

	CU_ASSERT_FATAL(n <= room);
	memcpy(to, text, n);
	csv_filled(c, n);
}

/* Calls each(line) for what Python says; the seed of a failure is printed. */
static void with_oracle(const char *what, bool (*each)(char *line))
{
	static char line[LINE_MAX_BYTES];
	char command[128];
	unsigned seed = (unsigned)rand_u64(), lines = 0, wrong = 0;

	snprintf(command, sizeof(command), "/usr/bin/python3 tests/vectors/csv_oracle.py %s %u %d", what, seed, ORACLE_LINES);

	FILE *f = popen(command, "r");

	CU_ASSERT_FATAL(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		char copy[256];

		snprintf(copy, sizeof(copy), "%.255s", line);
		line[strcspn(line, "\n")] = 0;
		lines++;
		if (!each(line) && wrong++ < 5)
			printf("  seed %u: %s", seed, copy);
	}
	CU_ASSERT_EQUAL(pclose(f), 0);
	CU_ASSERT_EQUAL(lines, ORACLE_LINES);
	CU_ASSERT_EQUAL(wrong, 0);
}

/* ------------------------------------------------------------------ instants */

static bool same_instant(char *line)
{
	char *tab = strchr(line, '\t');
	int64_t ns = 0;

	return instant_parse(SLICE(line, (size_t)(tab - line)), &ns) == 0 && ns == strtoll(tab, NULL, 10);
}

static void times_are_those_of_python(void)
{
	with_oracle("instants", same_instant);
}

static int64_t instant(const char *text)
{
	int64_t ns = 0;
	int r = instant_parse(SLICE_STR(text), &ns);

	return r < 0 ? r : ns;
}

static void times_beyond_python_are_read_too(void)
{
	/* date -u -d ... +%s%N */
	CU_ASSERT_EQUAL(instant("2014-02-14 14:27:00"), 1392388020 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2014-02-14T14:27:00.123456789Z"), 1392388020123456789);
	CU_ASSERT_EQUAL(instant("2014-02-14T14:27:00.1234567899Z"), 1392388020123456789);
	CU_ASSERT_EQUAL(instant("2014/02/14 14:27"), 1392388020 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2014-02-14 14:27:00 UTC"), 1392388020 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2014-02-14 15:27:00 +01:00"), 1392388020 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2014-02-14"), 1392336000 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2014-02-13 24:00"), 1392336000 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("2016-12-31T23:59:60Z"), 1483228800 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("  1392388020,5 "), 1392388020500000000);
	CU_ASSERT_EQUAL(instant("1.392388020500000000e+09"), 1392388020500000000);
	CU_ASSERT_EQUAL(instant("0"), 0);
	CU_ASSERT_EQUAL(instant("-1.5"), -1500000000);
}

static void magnitude_tells_the_unit(void)
{
	CU_ASSERT_EQUAL(instant("9223372036"), 9223372036 * NS_PER_S);
	CU_ASSERT_EQUAL(instant("99999999999"), -ERANGE); /* seconds still, in the year 5138 */
	CU_ASSERT_EQUAL(instant("100000000000"), 100000000000 * NS_PER_MS);
	CU_ASSERT_EQUAL(instant("100000000000000"), 100000000000000 * NS_PER_US);
	CU_ASSERT_EQUAL(instant("100000000000000000"), 100000000000000000);
	CU_ASSERT_EQUAL(instant("9223372036854775807"), INT64_MAX);
	CU_ASSERT_EQUAL(instant("9223372036854775808"), -ERANGE);
	CU_ASSERT_EQUAL(instant("1e300"), -ERANGE);
}

static void what_is_no_time_is_refused(void)
{
	static const char *const texts[] = {
		"", " ", "time", "2014-02-30", "2014-13-01", "2014-02-14T", "2014-02-14 25:00", "2014-02-14 14:60", "14:27:00",
		"2014-02-14 14:27:00.", "2014-02-14 14:27:00 CET", "2014-02-14 14:27:00+1", "2014-02-14 14:27:00+24:00",
		"2014-02/14", "0x10", "1e", "--1", "nan", "inf", ".", "1.2.3", "2014-02-14 14:27:61", "2014-02-14 24:01",
		"2015-02-29", "1900-02-29", "20140214T", "2014-2-1",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (instant(texts[i]) != -EINVAL) {
			printf("  \"%s\"\n", texts[i]);
			CU_FAIL("was read as a time");
		}
	CU_ASSERT_EQUAL(instant("1677-12-31"), -ERANGE);
	CU_ASSERT_EQUAL(instant("2262-01-01"), -ERANGE);
	CU_ASSERT_EQUAL(instant("2000-02-29"), 951782400 * NS_PER_S);
}

/* ------------------------------------------------------------------ records */

static void append_hex(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_printf(b, "%02x", ((const unsigned char *)s.data)[i]);
}

static bool same_records(char *line)
{
	CLEANUP(buf_done) struct buf found = BUF_INIT;
	char *expected = strchr(line, ' ');
	struct csv_record record;
	size_t room;
	char *to;

	csv_init(&csv);
	to = csv_room(&csv, &room);
	for (size_t i = 0; line + 2 * i < expected; i++) {
		unsigned byte;

		sscanf(line + 2 * i, "%2x", &byte);
		to[i] = (char)byte;
		csv_filled(&csv, 1);
	}
	csv_end(&csv);
	while (csv_next(&csv, &record)) {
		buf_printf(&found, " %u:", record.n_fields);
		append_hex(&found, record.fields[0]);
		buf_append_u8(&found, ':');
		append_hex(&found, record.fields[1]);
	}
	return strcmp(buf_cstr(&found), expected) == 0;
}

static void records_are_those_of_python(void)
{
	with_oracle("records", same_records);
}

/* "first|second" of the next record, or "". */
static const char *next(void)
{
	static char text[200];
	struct csv_record r;

	if (!csv_next(&csv, &r))
		return "";
	snprintf(text, sizeof(text), "%llu:%.40s|%.40s", (unsigned long long)r.line, (const char *)r.fields[0].data,
		 (const char *)r.fields[1].data);
	return text;
}

static char separator_in(const char *text)
{
	csv_init(&csv);
	feed(&csv, text, strlen(text));
	csv_end(&csv);
	next();
	return csv.separator;
}

static void the_first_line_tells_the_separator(void)
{
	CU_ASSERT_EQUAL(separator_in("time,value;unit\n"), ',');
	CU_ASSERT_EQUAL(separator_in("Zeit;Wert, in Grad\n"), ';');
	CU_ASSERT_EQUAL(separator_in("\"a;b\",c\n"), ',');
	CU_ASSERT_EQUAL(separator_in("time\tvalue\n"), '\t');
	CU_ASSERT_EQUAL(separator_in("1392388020,5;21,5\n"), ';');
	CU_ASSERT_EQUAL(separator_in("2014-02-14 14:27:00,21.5,note; more\n"), ',');
	CU_ASSERT_EQUAL(separator_in("\"Zeit\n(UTC)\";Wert\n"), ';');
	CU_ASSERT_EQUAL(separator_in("alone\nx;y\n"), ',');
}

static void records_wait_for_their_end(void)
{
	csv_init(&csv);
	feed(&csv, "\xef\xbb", 2);
	CU_ASSERT_STRING_EQUAL(next(), "");
	feed(&csv, "\xbf" "a,b", 4);
	CU_ASSERT_STRING_EQUAL(next(), "");
	feed(&csv, "\r\n\r\n  \n\"x\n", 10);
	CU_ASSERT_STRING_EQUAL(next(), "1:a|b");
	CU_ASSERT_STRING_EQUAL(next(), "");
	feed(&csv, "\"\"y\",2\n3,4", 10); /* lines 4 and 5 */
	CU_ASSERT_STRING_EQUAL(next(), "4:x\n\"y|2");
	CU_ASSERT_STRING_EQUAL(next(), "");
	csv_end(&csv);
	CU_ASSERT_STRING_EQUAL(next(), "6:3|4");
	CU_ASSERT_STRING_EQUAL(next(), "");
}

static void a_quote_that_is_never_closed_costs_its_line(void)
{
	csv_init(&csv);
	feed(&csv, "a,b\n\"1,2\n3,4\n", 13);
	csv_end(&csv);
	CU_ASSERT_STRING_EQUAL(next(), "1:a|b");
	CU_ASSERT_STRING_EQUAL(next(), "2:\"1|2");
	CU_ASSERT_STRING_EQUAL(next(), "3:3|4");
	CU_ASSERT_STRING_EQUAL(next(), "");
}

static void a_line_without_end_is_cut(void)
{
	static char xs[CSV_RECORD_MAX / 2];

	memset(xs, 'x', sizeof(xs));
	csv_init(&csv);
	feed(&csv, "1,2,", 4);
	for (int i = 0; i < 10; i++) {
		feed(&csv, xs, sizeof(xs));
		const char *record = next();

		if (i == 1)
			CU_ASSERT_STRING_EQUAL(record, "1:1|2");
		if (i != 1)
			CU_ASSERT_STRING_EQUAL(record, "");
	}
	feed(&csv, "\n3,4\n", 5);
	CU_ASSERT_STRING_EQUAL(next(), "2:3|4");
	CU_ASSERT_STRING_EQUAL(next(), "");
}

static void a_line_of_exactly_the_largest_size_is_whole(void)
{
	static char line[CSV_RECORD_MAX + 1];

	memset(line, 'x', sizeof(line));
	memcpy(line, "1,2", 3);
	line[CSV_RECORD_MAX] = '\n';
	csv_init(&csv);
	feed(&csv, line, sizeof(line));
	feed(&csv, "3,4\n", 4);

	struct csv_record r;

	CU_ASSERT_FATAL(csv_next(&csv, &r));
	CU_ASSERT_EQUAL(r.fields[1].len, CSV_RECORD_MAX - 2);
	CU_ASSERT_STRING_EQUAL(next(), "2:3|4");
}

/* ------------------------------------------------------------------ series */

static void begin(const char *text)
{
	series_init(&series);
	feed(&series.csv, text, strlen(text));
	csv_end(&series.csv);
}

static void numbers_are_read_or_refused(void)
{
	static const struct {
		const char *text;
		double value;
		enum series_fault fault;
	} rows[] = {
		{ "1,21.5\n", 21.5, SERIES_FINE },    { "1, -1e3 \n", -1000, SERIES_FINE }, { "1,.5\n", 0.5, SERIES_FINE },
		{ "1,5.\n", 5, SERIES_FINE },	      { "1,+2\n", 2, SERIES_FINE },	   { "1;21,5\n", 21.5, SERIES_FINE },
		{ "1\t-0,25\n", -0.25, SERIES_FINE }, { "1;1.234,5\n", 0, SERIES_NO_VALUE }, { "1;1,234,5\n", 0, SERIES_NO_VALUE },
		{ "1,\"21,5\"\n", 0, SERIES_NO_VALUE }, { "1,0x10\n", 0, SERIES_NO_VALUE }, { "1,inf\n", 0, SERIES_NO_VALUE },
		{ "1,NaN\n", 0, SERIES_NO_VALUE },    { "1,\n", 0, SERIES_NO_VALUE },	   { "1\n", 0, SERIES_NO_VALUE },
		{ "1,1e999\n", 0, SERIES_NO_VALUE },  { "1,1 2\n", 0, SERIES_NO_VALUE },	   { "1,e5\n", 0, SERIES_NO_VALUE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct series_row row;

		begin(rows[i].text);
		CU_ASSERT_FATAL(series_next(&series, &row));
		if (row.fault != rows[i].fault || (row.fault == SERIES_FINE && row.number != rows[i].value)) {
			printf("  %s", rows[i].text);
			CU_FAIL("was read otherwise");
		}
	}
}

static void the_header_is_told_by_its_first_column(void)
{
	struct series_row row;

	begin("timestamp,value\n1,2\nlater,3\n");
	CU_ASSERT_FATAL(series_next(&series, &row));
	CU_ASSERT_EQUAL(row.line, 2);
	CU_ASSERT_FATAL(series_next(&series, &row));
	CU_ASSERT_EQUAL(row.fault, SERIES_NO_TIME);
	CU_ASSERT_FALSE(series_next(&series, &row));
	begin("1,2\n");
	CU_ASSERT_FATAL(series_next(&series, &row));
	CU_ASSERT_EQUAL(row.line, 1);
}

static void faults_are_counted_with_their_first_line(void)
{
	struct series_row row;

	begin("t,v\n10,1\n9,1\n10,1\n8,1\n11,\xc3\xa9\x01\n11,5\n");
	while (series_next(&series, &row))
		;
	CU_ASSERT_EQUAL(series.rows, 6);
	CU_ASSERT_EQUAL(series.counts[SERIES_FINE].rows, 2);
	CU_ASSERT_EQUAL(series.counts[SERIES_BACK].rows, 2);
	CU_ASSERT_EQUAL(series.counts[SERIES_BACK].line, 3);
	CU_ASSERT_EQUAL(series.counts[SERIES_REPEATED].line, 4);
	CU_ASSERT_EQUAL(series.counts[SERIES_NO_VALUE].line, 6);
	CU_ASSERT_STRING_EQUAL(series.counts[SERIES_NO_VALUE].example, "\xc3\xa9?");
}

static void another_file_goes_on_from_the_one_before(void)
{
	struct series_row row;

	begin("t,v\n10,1\n");
	while (series_next(&series, &row))
		;
	series_next_file(&series);
	feed(&series.csv, "Zeit;Wert\n10;1\n11;1,5\n", 22);
	CU_ASSERT_FATAL(series_next(&series, &row));
	CU_ASSERT_EQUAL(row.fault, SERIES_REPEATED);
	CU_ASSERT_FATAL(series_next(&series, &row));
	CU_ASSERT_EQUAL(row.number, 1.5);
}

TESTS("csv", T(times_are_those_of_python), T(times_beyond_python_are_read_too), T(magnitude_tells_the_unit),
      T(what_is_no_time_is_refused), T(records_are_those_of_python), T(the_first_line_tells_the_separator),
      T(records_wait_for_their_end), T(a_quote_that_is_never_closed_costs_its_line), T(a_line_without_end_is_cut),
      T(a_line_of_exactly_the_largest_size_is_whole), T(numbers_are_read_or_refused), T(the_header_is_told_by_its_first_column),
      T(faults_are_counted_with_their_first_line), T(another_file_goes_on_from_the_one_before))
