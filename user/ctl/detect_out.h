/* What `sluice detect` prints: a table for programs, or a list of alerts for people.
 *
 * Text is collected in `text`, which the owner empties; the list holds one alert, the newest, until its end is known.
 */
#pragma once

#include "analytics/anomaly.h"
#include "base/buf.h"
#include "codec/series.h"

struct detect_out {
	bool table;   /* else the list */
	bool live;    /* list: say when an alert is raised, not only when it is over */
	bool explain;
	double false_alarms_per_week;
	struct buf text;

	/* Since the beginning. */
	bool begun;
	uint64_t values, alerts;
	int64_t first_ns, last_ns;

	/* List: the newest alert while it is not over, without its duration. */
	bool open;
	int64_t onset_ns;
	struct buf line;
	/* Both: the newest alert as it began, but for what it has turned out to be; and its value. */
	struct detection raised;
	double value;
	/* Table: the next row ended a silence. */
	bool after_gap;

	struct buf why; /* the newest alert in words */
};

void detect_out_done(struct detect_out *o);

/* A row that was passed over. */
void detect_out_skipped(struct detect_out *o, const struct series_row *row);
/* a: the anomaly, after this step. */
void detect_out_row(struct detect_out *o, const struct series_row *row, const struct detection *found,
		    enum anomaly_step step, const struct anomaly *a);
/* A silence began at last_ns and has been noticed now: a row of its own. */
void detect_out_silence(struct detect_out *o, const struct anomaly *a, int64_t last_ns, int64_t now_ns);
/* The same, from the time of the next row, which detect_out_row() will tell: a table has a row for each of its input. */
void detect_out_gap(struct detect_out *o, int64_t last_ns, int64_t silent_ns);
/* A value ended the silence. */
void detect_out_heard(struct detect_out *o, int64_t time_ns);
/* List: the alert that is not over, and the last line. */
void detect_out_end(struct detect_out *o);
