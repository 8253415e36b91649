/* The thinned series, for plot.c and plot_svg.c. */
#pragma once

#include "ctl/plot.h"

#define PLOT_COLUMNS 2048 /* at most; in the end more than half of them are in use */
#define PLOT_VALUE_MAX 1e300 /* what is larger is drawn there: differences stay finite */

struct plot_point {
	int64_t time_ns;
	double value;
};

struct plot_mark {
	struct plot_point at;
	struct detection found; /* the worst of them */
	uint64_t alerts;        /* 0: none */
};

struct plot_column {
	uint64_t values;
	struct plot_point first, lowest, highest, newest;
	double low, high; /* of the band */
	double score;     /* the highest */
	bool active;
	struct plot_mark mark;
};

struct plot {
	char title[256];
	double false_alarms_per_week;
	uint64_t values, alerts;
	int64_t from_ns, to_ns;
	double lowest, highest;
	unsigned shift; /* a column is 2^shift ns */
	struct plot_column columns[PLOT_COLUMNS];
};
