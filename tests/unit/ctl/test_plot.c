/* plot_axis.c, plot.c and plot_svg.c: what a picture is made of. The picture as a whole: tests/system/test_detect.py. */
#include <math.h>

#include "base/clock.h"
#include "ctl/detect_text.h"
#include "ctl/plot.h"
#include "ctl/plot_axis.h"
#include "ctl/plot_columns.h"
#include "tests/unit/harness.h"

#define DAY_NS (86400 * NS_PER_S)
#define START_NS (1392388020 * NS_PER_S) /* 2014-02-14 14:27:00 UTC, a Friday */

/* "0 5 10" */
static const char *values(double low, double high, unsigned most)
{
	static char text[AXIS_TICKS_MAX * AXIS_LABEL_MAX];
	struct axis_tick ticks[AXIS_TICKS_MAX];
	unsigned n = axis_values(low, high, most, ticks);
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "%s%s", i ? " " : "", ticks[i].label);
	return text;
}

static void value_ticks_are_round_and_within(void)
{
	CU_ASSERT_STRING_EQUAL(values(0, 10, 6), "0 2 4 6 8 10");
	CU_ASSERT_STRING_EQUAL(values(-0.31, 0.26, 7), "-0.3 -0.2 -0.1 0 0.1 0.2");
	CU_ASSERT_STRING_EQUAL(values(99.3, 101.2, 5), "99.5 100.0 100.5 101.0");
	CU_ASSERT_STRING_EQUAL(values(0, 8285420, 9), "0 1M 2M 3M 4M 5M 6M 7M 8M");
	CU_ASSERT_STRING_EQUAL(values(0, 39197, 5), "0 10k 20k 30k");
	CU_ASSERT_STRING_EQUAL(values(1.2e9, 1.9e9, 4), "1.2G 1.4G 1.6G 1.8G");
	CU_ASSERT_STRING_EQUAL(values(0, 3e-7, 4), "0 1e-07 2e-07 3e-07");
	CU_ASSERT_STRING_EQUAL(values(-1e300, 1e300, 4), "-1e+300 0 1e+300");
}

/* "00:00/14 Feb 2014 12:00": a context where it changes. */
static const char *times(int64_t from_ns, int64_t to_ns, unsigned most)
{
	static char text[2 * AXIS_TICKS_MAX * AXIS_LABEL_MAX];
	struct axis_tick ticks[AXIS_TICKS_MAX];
	unsigned n = axis_times(from_ns, to_ns, most, ticks);
	const char *context = "";
	size_t len = 0;

	text[0] = 0;
	for (unsigned i = 0; i < n; i++) {
		len += (size_t)sprintf(text + len, "%s%s", i ? " " : "", ticks[i].label);
		if (strcmp(context, ticks[i].context) != 0)
			len += (size_t)sprintf(text + len, "/%s", ticks[i].context);
		context = ticks[i].context;
		CU_ASSERT(ticks[i].at_ns >= from_ns && ticks[i].at_ns <= to_ns);
	}
	return text;
}

static void time_ticks_are_those_of_the_calendar(void)
{
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + DAY_NS / 2, 6), "15:00/14 Feb 2014 18:00 21:00 00:00/15 Feb 2014");
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 5 * DAY_NS, 7), "15 Feb/2014 16 Feb 17 Feb 18 Feb 19 Feb");
	/* Mondays. */
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 30 * DAY_NS, 6), "17 Feb/2014 24 Feb 3 Mar 10 Mar");
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 200 * DAY_NS, 8), "Mar/2014 Apr May Jun Jul Aug Sep");
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 500 * DAY_NS, 8), "Apr/2014 Jul Oct Jan/2015 Apr");
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 4000 * DAY_NS, 8), "2016 2018 2020 2022 2024");
	CU_ASSERT_STRING_EQUAL(times(START_NS, START_NS + 20 * NS_PER_S, 5), "14:27:00/14 Feb 2014 14:27:05 14:27:10 14:27:15 14:27:20");
	CU_ASSERT_STRING_EQUAL(times(START_NS + 3 * NS_PER_MS, START_NS + 10 * NS_PER_MS, 5), "14:27:00.004/14 Feb 2014 14:27:00.006 14:27:00.008 14:27:00.010");
	CU_ASSERT_STRING_EQUAL(times(-5, 5, 3), "23:59:59.999999995/31 Dec 1969 00:00:00.000000000/1 Jan 1970 00:00:00.000000005");
	(void)times(INT64_MIN + 1, INT64_MAX, 13);
	(void)times(INT64_MAX - 1, INT64_MAX, 2);
}

static void rates_are_said_in_words(void)
{
	static const struct {
		double a_week;
		const char *words;
	} all[] = {
		{ 70, "about 10 times a day" }, { 7, "about once a day" }, { 2, "about twice a week" }, { 1, "about once a week" },
		{ 1 / 3.0, "about once in 3 weeks" }, { 12 * 7 / 365.25, "about once in 4 weeks" }, { 0.1, "about once in 2 months" },
		{ 0.01, "about once in 2 years" }, { 1 / 521.8, "about once in 10 years" }, { 1e-9, "less than once in 1000 years" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;

		detect_text_rate(&b, detector_threshold(all[i].a_week));
		CU_ASSERT_STRING_EQUAL(buf_cstr(&b), all[i].words);
	}
}

static void durations_and_times_are_short(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	detect_text_duration(&b, 2 * DAY_NS + 4 * 3600 * NS_PER_S + 5);
	buf_append_str(&b, ", ");
	detect_text_duration(&b, 25 * NS_PER_MIN);
	buf_append_str(&b, ", ");
	detect_text_duration(&b, 0);
	buf_append_str(&b, ", ");
	detect_text_duration(&b, 1500 * NS_PER_MS);
	CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "2 d 4 h, 25 min, 0 ns, 1 s 500 ms");
	buf_reset(&b);
	detect_text_time(&b, START_NS);
	buf_append_str(&b, ", ");
	detect_text_time(&b, START_NS + 250 * NS_PER_MS);
	CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "2014-02-14 14:27:00, 2014-02-14 14:27:00.25");
}

/* ------------------------------------------------------------------ columns */

static struct plot *plot_of(uint64_t n, int64_t step_ns, double (*value)(uint64_t i))
{
	struct plot *p;

	ASSERT_OK(plot_new(&p, "<a & \"b\">\x01.csv", 0.01));
	for (uint64_t i = 0; i < n; i++) {
		double v = value(i);
		bool alert = i % 1000 == 999;
		struct detection found = { .density = 1, .score = alert ? 1 - 1 / (double)(i + 1) : 0.5, .expected = v, .unit = 1,
					   .kind = DETECTOR_SPIKE, .direction = 1 };

		struct anomaly a = { .onset_ns = START_NS + (int64_t)i * step_ns, .worst = found.score, .active = alert };

		plot_add(p, a.onset_ns, v, &found, alert ? ANOMALY_RAISED : ANOMALY_NOTHING, &a);
	}
	return p;
}

static double saw(uint64_t i)
{
	return (double)(i * 7919 % 1009);
}

static void nothing_is_lost_when_columns_become_one(void)
{
	struct plot *p = plot_of(100000, NS_PER_MIN, saw);
	uint64_t rows = 0, alerts = 0, used = 0, next = 0;

	for (unsigned i = 0; i < PLOT_COLUMNS; i++) {
		const struct plot_column *c = &p->columns[i];
		double low = INFINITY, high = -INFINITY;

		used += c->values > 0;
		rows += c->values;
		alerts += c->mark.alerts;
		for (uint64_t k = 0; k < c->values; k++, next++) {
			low = fmin(low, saw(next));
			high = fmax(high, saw(next));
		}
		if (c->values > 0) {
			CU_ASSERT_EQUAL(c->lowest.value, low);
			CU_ASSERT_EQUAL(c->highest.value, high);
			CU_ASSERT_EQUAL(c->newest.value, saw(next - 1));
			CU_ASSERT_EQUAL(c->low, low - 1);
			CU_ASSERT_EQUAL(c->high, high + 1);
		}
	}
	CU_ASSERT_EQUAL(rows, 100000);
	CU_ASSERT_EQUAL(alerts, 100);
	CU_ASSERT(used > PLOT_COLUMNS / 2);
	plot_free(p);
}

static size_t size_of(struct plot *p)
{
	CLEANUP(buf_done) struct buf svg = BUF_INIT;

	plot_draw(p, &svg);
	ASSERT_OK(buf_error(&svg));
	CU_ASSERT(strstr(buf_cstr(&svg), "&lt;a &amp; \"b\"&gt;?.csv") != NULL);
	CU_ASSERT(strstr(buf_cstr(&svg), "nan") == NULL && strstr(buf_cstr(&svg), "inf ") == NULL);
	plot_free(p);
	return svg.len;
}

static double constant(uint64_t i)
{
	return 21.5;
}

static double extreme(uint64_t i)
{
	return i % 2 ? 1e308 : -1e308;
}

static double tiny(uint64_t i)
{
	return (double)(i % 3) * 5e-324;
}

static void every_series_can_be_drawn(void)
{
	CU_ASSERT(size_of(plot_of(1, NS_PER_S, constant)) > 0);
	CU_ASSERT(size_of(plot_of(2, 1, saw)) > 0);
	CU_ASSERT(size_of(plot_of(5000, NS_PER_S, constant)) > 0);
	CU_ASSERT(size_of(plot_of(5000, NS_PER_S, extreme)) > 0);
	CU_ASSERT(size_of(plot_of(5000, NS_PER_S, tiny)) > 0);
	CU_ASSERT(size_of(plot_of(10, 40 * 365 * DAY_NS / 3, saw)) > 0);
}

static void the_file_is_bounded_by_pixels(void)
{
	CU_ASSERT(size_of(plot_of(1000000, NS_PER_S, saw)) < 400000);
}

TESTS("plot", T(value_ticks_are_round_and_within), T(time_ticks_are_those_of_the_calendar), T(rates_are_said_in_words),
      T(durations_and_times_are_short), T(nothing_is_lost_when_columns_become_one), T(every_series_can_be_drawn),
      T(the_file_is_bounded_by_pixels))
