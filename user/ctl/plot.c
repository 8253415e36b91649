#include "ctl/plot.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ctl/plot_columns.h"

int plot_new(struct plot **ret, const char *title, double false_alarms_per_week)
{
	struct plot *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	snprintf(p->title, sizeof(p->title), "%s", title);
	p->false_alarms_per_week = false_alarms_per_week;
	*ret = p;
	return 0;
}

void plot_free(struct plot *p)
{
	free(p);
}

/* ------------------------------------------------------------------ columns */

static void mark_merge(struct plot_mark *to, const struct plot_mark *from)
{
	uint64_t alerts = to->alerts + from->alerts;

	if (from->alerts > 0 && (to->alerts == 0 || from->found.score > to->found.score))
		*to = *from;
	to->alerts = alerts;
}

/* from: later. */
static void column_merge(struct plot_column *to, const struct plot_column *from)
{
	if (from->values == 0)
		return;
	if (to->values == 0) {
		*to = *from;
		return;
	}
	to->values += from->values;
	if (from->lowest.value < to->lowest.value)
		to->lowest = from->lowest;
	if (from->highest.value > to->highest.value)
		to->highest = from->highest;
	to->newest = from->newest;
	to->low = MIN(to->low, from->low);
	to->high = MAX(to->high, from->high);
	to->score = MAX(to->score, from->score);
	to->active |= from->active;
	mark_merge(&to->mark, &from->mark);
}

static void halve(struct plot *p)
{
	for (unsigned i = 0; i < PLOT_COLUMNS / 2; i++) {
		struct plot_column both = p->columns[2 * i];

		column_merge(&both, &p->columns[2 * i + 1]);
		p->columns[i] = both;
	}
	memset(p->columns + PLOT_COLUMNS / 2, 0, sizeof(p->columns) / 2);
	p->shift++;
}

static struct plot_column *column_of(struct plot *p, int64_t time_ns)
{
	uint64_t since_ns = (uint64_t)time_ns - (uint64_t)p->from_ns;

	while (since_ns >> p->shift >= PLOT_COLUMNS)
		halve(p);
	return &p->columns[since_ns >> p->shift];
}

static void mark_rename(struct plot *p, const struct anomaly *a)
{
	struct plot_mark *mark = &column_of(p, a->onset_ns)->mark;

	if (mark->alerts == 0 || mark->at.time_ns != a->onset_ns)
		return;
	mark->found.kind = a->kind;
	mark->found.direction = a->direction;
}

void plot_add(struct plot *p, int64_t time_ns, double value, const struct detection *found,
	      enum anomaly_step step, const struct anomaly *a)
{
	value = CLAMP(value, -PLOT_VALUE_MAX, PLOT_VALUE_MAX);
	if (p->values == 0) {
		p->from_ns = time_ns;
		p->lowest = p->highest = value;
	}

	struct plot_point point = { time_ns, value };
	struct band band = detector_band(found);
	struct plot_column one = {
		.values = 1,
		.first = point,
		.lowest = point,
		.highest = point,
		.newest = point,
		.low = CLAMP(band.low, -PLOT_VALUE_MAX, PLOT_VALUE_MAX),
		.high = CLAMP(band.high, -PLOT_VALUE_MAX, PLOT_VALUE_MAX),
		.score = detector_weekly(found, found->score),
		.active = a->active,
	};

	if (step == ANOMALY_RAISED) {
		one.mark = (struct plot_mark){ point, *found, 1 };
		one.mark.found.score = a->worst;
	}
	if (step == ANOMALY_RENAMED)
		mark_rename(p, a);
	p->values++;
	p->alerts += step == ANOMALY_RAISED;
	p->to_ns = time_ns;
	p->lowest = MIN(p->lowest, value);
	p->highest = MAX(p->highest, value);
	column_merge(column_of(p, time_ns), &one);
}

void plot_silence(struct plot *p, int64_t now_ns)
{
	struct plot_column *c = column_of(p, p->to_ns);
	struct detection found = {
		.score = 1,
		.kind = DETECTOR_SILENCE,
		.expected = (c->low + c->high) / 2,
		.unit = (c->high - c->low) / 2,
	};
	struct plot_mark mark = { c->newest, found, 1 };

	mark_merge(&c->mark, &mark);
	p->alerts++;
	p->to_ns = MAX(p->to_ns, now_ns);
}

/* ------------------------------------------------------------------ the file */

__attribute__((format(printf, 3, 4))) static int refuse(struct plot_error *error, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return r;
}

/* Where path leads: a link stays one, its target is replaced. */
static int target_of(const char *path, char ret[PATH_MAX], struct plot_error *error)
{
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return refuse(error, -EINVAL, "%.120s is %s: name a file", path,
			      S_ISDIR(st.st_mode) ? "a folder" : "no ordinary file");
	if (realpath(path, ret))
		return 0;
	if (strlen(path) == 0 || strlen(path) > PATH_MAX - 16)
		return refuse(error, -EINVAL, "the file's name is %s", *path ? "too long" : "empty");
	strcpy(ret, path);
	return 0;
}

int plot_check(const char *path, struct plot_error *error)
{
	char target[PATH_MAX], folder[PATH_MAX];
	int r = target_of(path, target, error);

	if (r < 0)
		return r;
	strcpy(folder, target);

	const char *name = dirname(folder);

	if (access(name, W_OK | X_OK) < 0)
		return refuse(error, -errno, "%.120s cannot be written: its folder %.60s: %s", path, name,
			      strerror(errno));
	return 0;
}

int plot_save(const struct plot *p, const char *path, struct plot_error *error)
{
	CLEANUP(buf_done) struct buf svg = BUF_INIT;
	char target[PATH_MAX];
	int r = target_of(path, target, error);

	if (r < 0)
		return r;
	plot_draw(p, &svg);
	if (buf_error(&svg) < 0)
		return refuse(error, -ENOMEM, "%.120s: %s", path, strerror(ENOMEM));
	r = file_replace(target, buf_slice(&svg));
	return r < 0 ? refuse(error, r, "%.120s cannot be written: %s", path, strerror(-r)) : 0;
}
