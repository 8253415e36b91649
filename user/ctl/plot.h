/* A series with what was expected of it, its alerts and its scores, as one self-contained SVG.
 *
 * Rows are thinned as they come, so memory and file are bounded by pixels, not by rows.  Time is cut into columns; each
 * keeps its first, lowest, highest and newest value, with which the line through all of them looks the same as the
 * line through all values (M4: Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).
 * How long a series will be is not known at its beginning: a column begins as one nanosecond, and whenever they have
 * run out, each two become one.  So in the end there are one to two columns a pixel.
 *
 * One thread.
 */
#pragma once

#include "analytics/anomaly.h"
#include "base/buf.h"

struct plot;

/* title: copied. */
int plot_new(struct plot **ret, const char *title, double false_alarms_per_week);
void plot_free(struct plot *p);

/* In the order of time; a: the anomaly, after this step. */
void plot_add(struct plot *p, int64_t time_ns, double value, const struct detection *found,
	      enum anomaly_step step, const struct anomaly *a);
/* Silent since the value before, noticed now. */
void plot_silence(struct plot *p, int64_t now_ns);

/* Appends the whole file. At least one value was added. */
void plot_draw(const struct plot *p, struct buf *out);

struct plot_error {
	char text[256];
};
/* Whether path can be written at all, before the work: 0, or negative errno with a sentence. */
int plot_check(const char *path, struct plot_error *ret_error);
/* Whole or not at all: into a file beside it that then takes its place. */
int plot_save(const struct plot *p, const char *path, struct plot_error *ret_error);
