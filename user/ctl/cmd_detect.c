/* sluice detect: the detector on anybody's CSV. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "ctl/commands.h"
#include "ctl/detect_out.h"
#include "ctl/feed.h"
#include "ctl/plot.h"

#define FALSE_ALARMS_PER_WEEK 0.01 /* the default of the daemons */
#define FLUSH_BYTES 65536

struct detect {
	const char *path, *plot_path;
	bool follow;
	double threshold;

	struct feed *feed;
	struct series series;
	struct detector detector;
	struct anomaly anomaly;
	struct detect_out out;
	struct plot *plot; /* NULL: none is wanted */
	bool live;      /* what was there at the start has been read */
	int64_t lag_ns; /* how far behind the clock the newest row was when it came */
};

/* ------------------------------------------------------------------ values */

static int flush(struct detect *d, size_t least)
{
	struct buf *text = &d->out.text;

	if (buf_error(text) < 0)
		return -ENOMEM;
	if (text->len < least)
		return 0;
	if (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)
		return -EPIPE;
	buf_reset(text);
	return 0;
}

/* The series had been silent when this row came: known by its time, however late one reads of it. */
static void look_at_gap(struct detect *d, const struct series_row *row)
{
	int64_t last_ns = d->detector.last_ns, silent_ns = detector_silent_at_ns(&d->detector, d->out.false_alarms_per_week);

	if (row->time_ns <= silent_ns || anomaly_silent(&d->anomaly, last_ns) != ANOMALY_RAISED)
		return;
	detect_out_gap(&d->out, last_ns, silent_ns);
	if (d->plot)
		plot_silence(d->plot, silent_ns);
}

static void take_row(struct detect *d, const struct series_row *row)
{
	struct detection found, judged;

	if (row->fault != SERIES_FINE) {
		detect_out_skipped(&d->out, row);
		return;
	}
	look_at_gap(d, row);

	bool heard = anomaly_heard(&d->anomaly) == ANOMALY_CLEARED;

	if (heard)
		detect_out_heard(&d->out, row->time_ns);
	detector_update(&d->detector, row->time_ns, row->number, &found);
	judged = found;
	if (heard)
		anomaly_after_silence(&judged);

	enum anomaly_step step = anomaly_update(&d->anomaly, d->threshold, row->time_ns, &judged);

	detect_out_row(&d->out, row, &found, step, &d->anomaly);
	if (d->plot)
		plot_add(d->plot, row->time_ns, row->number, &found, step, &d->anomaly);
}

static int take_rows(struct detect *d)
{
	struct series_row row;
	int r = 0;

	while (r == 0 && series_next(&d->series, &row)) {
		take_row(d, &row);
		r = flush(d, FLUSH_BYTES);
		if (d->live && row.fault == SERIES_FINE)
			d->lag_ns = clock_wall_ns() - row.time_ns;
	}
	return r;
}

/* ------------------------------------------------------------------ silence */

/* By the wall clock; what comes late is not silent, so it is told with the newest row's delay. */
static int64_t silent_at_ns(const struct detect *d)
{
	int64_t at_ns = detector_silent_at_ns(&d->detector, d->out.false_alarms_per_week), sum_ns;

	if (at_ns == INT64_MAX || (d->anomaly.active && d->anomaly.kind == DETECTOR_SILENCE) ||
	    __builtin_add_overflow(at_ns, d->lag_ns, &sum_ns))
		return INT64_MAX;
	return sum_ns;
}

static int64_t silence_deadline_ns(const struct detect *d)
{
	int64_t at_ns = silent_at_ns(d);

	return at_ns == INT64_MAX ? CLOCK_FOREVER : clock_mono_ns() + MAX(at_ns - clock_wall_ns(), (int64_t)0);
}

static void look_for_silence(struct detect *d)
{
	int64_t now_ns = clock_wall_ns();

	if (now_ns < silent_at_ns(d) || anomaly_silent(&d->anomaly, d->series.last_ns) != ANOMALY_RAISED)
		return;
	detect_out_silence(&d->out, &d->anomaly, d->series.last_ns, now_ns);
	if (d->plot)
		plot_silence(d->plot, now_ns);
}

/* ------------------------------------------------------------------ reading */

/* What there is; when there is nothing, what has been found is shown before the wait. */
static int read_some(struct detect *d)
{
	size_t room;
	void *to = csv_room(&d->series.csv, &room);
	int n = feed_read(d->feed, to, room, 0);

	if (n == FEED_NOTHING && d->follow) {
		int r = flush(d, 1);

		d->live = true;
		if (r < 0)
			return r;
		n = feed_read(d->feed, to, room, silence_deadline_ns(d));
	}
	return n;
}

static int read_all(struct detect *d)
{
	int r = 0;

	while (r >= 0 && !(d->follow && stop_requested())) {
		int n = read_some(d);

		if (n > 0)
			csv_filled(&d->series.csv, (size_t)n);
		else if (n == -ENODATA || n == FEED_NEW_FILE)
			csv_end(&d->series.csv);
		else if (n < 0)
			return n;
		r = take_rows(d);
		if (n == FEED_NEW_FILE)
			series_next_file(&d->series);
		if (n == FEED_NOTHING)
			look_for_silence(d);
		if (n == -ENODATA)
			break;
	}
	return r;
}

/* ------------------------------------------------------------------ what was passed over */

static const char *name_of(const struct detect *d)
{
	return d->path && strcmp(d->path, "-") ? d->path : "stdin";
}

static const char *const fault_text[SERIES_FAULTS] = {
	[SERIES_NO_TIME] = "without a time in the first column",
	[SERIES_NO_VALUE] = "without a number in the second column",
	[SERIES_BACK] = "older than a row before",
	[SERIES_REPEATED] = "with the same time as the row before",
};

static void report_faults(const struct detect *d)
{
	for (int f = SERIES_FINE + 1; f < SERIES_FAULTS; f++) {
		const struct series_count *c = &d->series.counts[f];

		if (c->rows == 0)
			continue;
		fprintf(stderr, "sluice detect: %s: passed over %llu row%s %s (first in line %llu: \"%s\")\n", name_of(d),
			(unsigned long long)c->rows, c->rows > 1 ? "s" : "", fault_text[f], (unsigned long long)c->line,
			c->example);
	}
	if (d->series.counts[SERIES_BACK].rows > d->out.values)
		fprintf(stderr, "sluice detect: %s is not in the order of time: sort it by its first column\n", name_of(d));
}

static void report_nothing(const struct detect *d)
{
	const struct series *s = &d->series;
	enum series_fault f = s->counts[SERIES_NO_TIME].rows ? SERIES_NO_TIME : SERIES_NO_VALUE;
	const char *separator = s->csv.separator == '\t' ? "tab" : s->csv.separator == ';' ? "semicolon" : "comma";

	fprintf(stderr, "sluice detect: %s ", name_of(d));
	if (s->csv.utf16)
		fprintf(stderr, "is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)\n");
	else if (s->rows == 0)
		fprintf(stderr, "has no rows: expected CSV with time and value in the first two columns\n");
	else
		fprintf(stderr,
			"has no usable row. Line %llu is one %s: \"%s\". Put the time (2014-02-14 14:27:00, or seconds since "
			"the epoch) into the first column and a number into the second, separated by a %s\n",
			(unsigned long long)s->counts[f].line, fault_text[f], s->counts[f].example, separator);
}

/* ------------------------------------------------------------------ the command */

static bool take_rate(struct detect *d, const char *text)
{
	char *end;
	double v = strtod(text, &end);

	d->out.false_alarms_per_week = v;
	if (end != text && !*end && v >= 1e-9 && v <= 1000)
		return true;
	fprintf(stderr, "sluice detect: --false-alarms-per-week %s: expected a number from 1e-9 to 1000\n", text);
	return false;
}

/* -1: go on; else the exit code. */
static int read_arguments(struct detect *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "csv", 0, NULL, 'c' },
		{ "follow", 0, NULL, 'f' },
		{ "explain", 0, NULL, 'e' },
		{ "plot", 1, NULL, 'p' },
		{ "false-alarms-per-week", 1, NULL, 'r' },
		{ 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'c': d->out.table = true; break;
		case 'f': d->follow = d->out.live = true; break;
		case 'e': d->out.explain = true; break;
		case 'p': d->plot_path = optarg; break;
		case 'r':
			if (!take_rate(d, optarg))
				return CTL_USAGE;
			break;
		default: return CTL_USAGE;
		}
	}
	if (optind < argc)
		d->path = argv[optind++];
	if (optind < argc)
		return usage_error("detect", "unexpected argument %s", argv[optind]);
	if (!d->path && isatty(STDIN_FILENO))
		return usage_error("detect", "say which FILE, or pipe something in");
	return -1;
}

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "sluice detect: %s%s%s\n", what, *why ? ": " : "", why);
	return CTL_FAILED;
}

static int set_up(struct detect *d)
{
	struct plot_error error;
	int r;

	series_init(&d->series);
	detector_init(&d->detector);
	d->threshold = detector_threshold(d->out.false_alarms_per_week);
	if (d->plot_path && plot_check(d->plot_path, &error) < 0)
		return fail(error.text, "");
	r = d->plot_path ? plot_new(&d->plot, basename(name_of(d)), d->out.false_alarms_per_week) : 0;
	if (r == 0)
		r = feed_open(&d->feed, d->path, d->follow);
	if (r == 0 && d->follow)
		r = stop_setup();
	return r < 0 ? fail(name_of(d), strerror(-r)) : CTL_FINE;
}

static int run(struct detect *d)
{
	struct plot_error error;
	int r = read_all(d), status = CTL_FINE;

	if (r < 0 && r != -EPIPE)
		status = fail(name_of(d), strerror(-r));
	if (d->out.values == 0) {
		if (r == 0)
			report_nothing(d);
		return CTL_FAILED;
	}
	detect_out_end(&d->out);
	if (flush(d, 1) < 0)
		status = CTL_FAILED;
	if (d->plot && plot_save(d->plot, d->plot_path, &error) < 0)
		status = fail(error.text, "");
	report_faults(d);
	return status;
}

int cmd_detect(int argc, char **argv)
{
	static struct detect d; /* with its buffer too large for a stack */

	d.out.table = !isatty(STDOUT_FILENO);
	d.out.false_alarms_per_week = FALSE_ALARMS_PER_WEEK;

	int status = read_arguments(&d, argc, argv);

	if (status < 0)
		status = set_up(&d);
	else
		return status;
	if (status == CTL_FINE)
		status = run(&d);
	detect_out_done(&d.out);
	plot_free(d.plot);
	feed_free(d.feed);
	return status;
}
