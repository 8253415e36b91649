/* Draws a plot: the series over what was expected of it, below it the scores on a scale of how rare they are.
 *
 * Colours and widths are classes of one style sheet, which has a second set for dark surroundings.  A shape carries no
 * style of its own.
 *
 * Labels of alerts stand in lanes above the panel, each with a line down to its marker.  The most remarkable is placed
 * first; one that would touch another's text or line in every lane has none, and keeps its marker and tooltip.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "codec/wire.h"
#include "ctl/detect_text.h"
#include "ctl/plot_axis.h"
#include "ctl/plot_columns.h"

#define WIDTH 1200
#define LEFT 74.0
#define RIGHT 1140.0
#define LANES 3
#define LANE_HEIGHT 16.0
#define TOP 132.0 /* of the upper panel */
#define BOTTOM 440.0
#define SCORE_TOP 478.0
#define SCORE_BOTTOM 598.0
#define HEIGHT 652
#define LETTER 6.4 /* a mean letter of a label of 11 px */

#define MARKS_MAX 160
#define MARK_APART 7.0 /* nearer ones are drawn as one */
#define GAP_INTERVALS 8
#define VALUE_TICKS 9
#define TIME_TICKS 13
#define DESCRIBED_MAX 20

#define A_DAY 7.0
#define A_YEAR (7 / 365.25)

static const char style[] =
	"text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',Arial,sans-serif;fill:#1f2937}"
	".title{font-size:18px;font-weight:600}"
	".note,.tick{fill:#5b6676}.tick,.label{font-size:11px}.right{text-anchor:end}.middle{text-anchor:middle}"
	".paper{fill:#fff}.panel{fill:#f8fafc}.grid{stroke:#e2e8f0;fill:none}"
	".series{stroke:#1d4ed8;stroke-width:1.3;fill:none;stroke-linejoin:round;stroke-linecap:round}"
	".band{fill:#0d9488;fill-opacity:.26}.span{fill:#dc2626;fill-opacity:.09}"
	".lead{stroke:#dc2626;stroke-opacity:.5;fill:none}"
	".mark{fill:#fff;stroke:#dc2626;stroke-width:2}.label{fill:#b91c1c}"
	".scores{stroke:#94a3b8;fill:none}.loud{stroke:#dc2626;stroke-width:2;fill:none}"
	".threshold{stroke:#dc2626;stroke-dasharray:5 4;fill:none}"
	"@media(prefers-color-scheme:dark){"
	"text{fill:#e5e7eb}.note,.tick{fill:#a3aebd}.paper{fill:#0f172a}.panel{fill:#131d33}.grid{stroke:#26334d}"
	".series{stroke:#7cb2ff}.band{fill:#2dd4bf}.span{fill:#f87171;fill-opacity:.14}"
	".lead,.loud,.threshold{stroke:#f87171}.mark{fill:#0f172a;stroke:#f87171}.label{fill:#fca5a5}"
	".scores{stroke:#64748b}}";

struct drawing {
	const struct plot *p;
	struct buf *out;
	double low, high;    /* of the value axis */
	double rarest;       /* times a week at the top of the score axis */
	int64_t from_ns;     /* of the time axis */
	double span_ns, gap_ns;
	struct plot_mark marks[MARKS_MAX]; /* the most remarkable first */
	unsigned n_marks;
};

/* ------------------------------------------------------------------ coordinates */

static double x_of(const struct drawing *d, int64_t ns)
{
	return LEFT + ((double)ns - (double)d->from_ns) / d->span_ns * (RIGHT - LEFT);
}

static double y_of(const struct drawing *d, double value)
{
	return BOTTOM - (CLAMP(value, d->low, d->high) - d->low) / (d->high - d->low) * (BOTTOM - TOP);
}

#define COMMONEST (24 * A_DAY) /* once an hour is the bottom of the score axis */

static double y_of_rate(const struct drawing *d, double a_week)
{
	double up = log(COMMONEST / CLAMP(a_week, d->rarest, COMMONEST)) / log(COMMONEST / d->rarest);

	return SCORE_BOTTOM - up * (SCORE_BOTTOM - SCORE_TOP);
}

static double y_of_score(const struct drawing *d, double score)
{
	return score > 0 ? y_of_rate(d, (1 - score) / score) : SCORE_BOTTOM;
}

static void choose_axes(struct drawing *d)
{
	const struct plot *p = d->p;
	double low = p->lowest, high = p->highest, size = MAX(fabs(low), fabs(high)), room;

	/* The band beside the values, as far as it does not make them small. */
	room = 0.25 * (high - low);
	for (unsigned i = 0; i < PLOT_COLUMNS; i++)
		if (p->columns[i].values > 0) {
			low = MIN(low, MAX(p->columns[i].low, p->lowest - room));
			high = MAX(high, MIN(p->columns[i].high, p->highest + room));
		}
	if (!(high - low > size * 1e-12) || size < 1e-290)
		room = size < 1e-290 ? 1 : size * 0.1;
	else
		room = 0.04 * (high - low);
	d->low = low - room;
	d->high = high + room;
	d->from_ns = p->from_ns;
	d->span_ns = MAX((double)p->to_ns - (double)p->from_ns, 1.0);
	d->gap_ns = MAX(GAP_INTERVALS * d->span_ns / (double)p->values, 1.5 * ldexp(1, (int)p->shift));
	d->rarest = MIN(A_YEAR / 1000, p->false_alarms_per_week / 100);
}

/* ------------------------------------------------------------------ text */

/* XML 1.0 has no place for control characters and broken UTF-8. */
static void append_text(struct buf *b, const char *text)
{
	bool valid = utf8_valid(SLICE(text, strlen(text)));

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '<')
			buf_append_str(b, "&lt;");
		else if (c == '&')
			buf_append_str(b, "&amp;");
		else if (c == '>')
			buf_append_str(b, "&gt;");
		else
			buf_append_u8(b, c < 0x20 || c == 0x7f || (c > 0x7f && !valid) ? '?' : c);
	}
}

__attribute__((format(printf, 5, 6))) static void draw_text(struct drawing *d, double x, double y, const char *class,
							     const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buf_printf(d->out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	append_text(d->out, text);
	buf_append_str(d->out, "</text>\n");
}

static void draw_rectangle(struct drawing *d, const char *class, double left, double top, double right, double bottom)
{
	buf_printf(d->out, "<rect class=\"%s\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\"/>\n", class, left, top,
		   right - left, bottom - top);
}

/* "spike above", "variance". */
static void append_name(struct buf *b, const struct plot_mark *m)
{
	buf_append_str(b, detector_kind_name(m->found.kind));
	if (m->found.direction)
		buf_printf(b, " %s", detect_text_direction(&m->found));
}

static void append_mark_text(struct buf *b, const struct plot_mark *m)
{
	struct band band = detector_band(&m->found);

	append_name(b, m);
	buf_append_str(b, " at ");
	detect_text_time(b, m->at.time_ns);
	buf_printf(b, ": %.6g, expected %.6g to %.6g, ", m->at.value, band.low, band.high);
	detect_text_rate(b, m->found.score);
	if (m->alerts > 1)
		buf_printf(b, " (the worst of %llu)", (unsigned long long)m->alerts);
}

/* ------------------------------------------------------------------ marks */

static int by_score(const void *a, const void *b)
{
	const struct plot_mark *m = a, *n = b;

	if (m->found.score != n->found.score)
		return m->found.score < n->found.score ? 1 : -1;
	return (m->at.time_ns > n->at.time_ns) - (m->at.time_ns < n->at.time_ns);
}

/* Those that would cover each other are one. */
static void collect_marks(struct drawing *d)
{
	double x = -MARK_APART; /* of the first of those that are one */

	for (unsigned i = 0; i < PLOT_COLUMNS; i++) {
		const struct plot_mark *m = &d->p->columns[i].mark;

		if (m->alerts == 0)
			continue;
		if (x_of(d, m->at.time_ns) - x > MARK_APART) {
			must(d->n_marks < MARKS_MAX);
			x = x_of(d, m->at.time_ns);
			d->marks[d->n_marks++] = *m;
			continue;
		}

		struct plot_mark *one = &d->marks[d->n_marks - 1];
		uint64_t alerts = one->alerts + m->alerts;

		if (m->found.score > one->found.score)
			*one = *m;
		one->alerts = alerts;
	}
	qsort(d->marks, d->n_marks, sizeof(d->marks[0]), by_score);
}

/* What is taken in the lanes: labels, and the lines of labels above them. */
struct lanes {
	struct {
		double from, to;
	} taken[LANES][2 * MARKS_MAX];
	unsigned n[LANES];
};

static bool is_free(const struct lanes *l, unsigned lane, double from, double to)
{
	for (unsigned i = 0; i < l->n[lane]; i++)
		if (from < l->taken[lane][i].to && to > l->taken[lane][i].from)
			return false;
	return true;
}

static void take(struct lanes *l, unsigned lane, double from, double to)
{
	l->taken[lane][l->n[lane]].from = from;
	l->taken[lane][l->n[lane]++].to = to;
}

/* The lowest lane in which the label and its line through those below touch nothing: over its line, else to the right
 * or the left of it.  ret_middle: of the label.  LANES: there is none. */
static unsigned place(struct lanes *l, double x, double half, double *ret_middle)
{
	const double middles[] = { x, x + half - 4, x - half + 4 };

	for (unsigned lane = 0; lane < LANES; lane++) {
		for (size_t i = 0; i < ARRAY_SIZE(middles); i++) {
			double middle = CLAMP(middles[i], LEFT + half, RIGHT - half);

			if (!is_free(l, lane, middle - half - 4, middle + half + 4))
				continue;
			take(l, lane, middle - half, middle + half);
			for (unsigned under = 0; under < lane; under++)
				take(l, under, x - 1, x + 1);
			*ret_middle = middle;
			return lane;
		}
		if (!is_free(l, lane, x - 3, x + 3))
			break;
	}
	return LANES;
}

static void draw_mark(struct drawing *d, const struct plot_mark *m, struct lanes *lanes)
{
	CLEANUP(buf_done) struct buf name = BUF_INIT;
	double x = x_of(d, m->at.time_ns), y = y_of(d, m->at.value), middle;

	append_name(&name, m);
	if (m->alerts > 1)
		buf_printf(&name, " +%llu", (unsigned long long)m->alerts - 1);

	unsigned lane = place(lanes, x, LETTER * (double)name.len / 2, &middle);

	buf_append_str(d->out, "<g class=\"alert\"><title>");
	append_mark_text(d->out, m);
	buf_append_str(d->out, "</title>");
	if (lane < LANES) {
		double under = TOP - 6 - lane * LANE_HEIGHT;

		buf_printf(d->out, "<path class=\"lead\" d=\"M%.1f %.1fV%.1f\"/>\n", x, under + 2, y - 4);
		draw_text(d, middle, under - 1, "label middle", "%s", buf_cstr(&name));
	}
	buf_printf(d->out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/></g>\n", x, y);
}

static void draw_marks(struct drawing *d)
{
	struct lanes lanes = { .n = { 0 } };

	for (unsigned i = 0; i < d->n_marks; i++)
		draw_mark(d, &d->marks[i], &lanes);
}

/* ------------------------------------------------------------------ axes */

static void draw_value_axis(struct drawing *d)
{
	struct axis_tick ticks[AXIS_TICKS_MAX];
	unsigned n = axis_values(d->low, d->high, VALUE_TICKS, ticks);

	for (unsigned i = 0; i < n; i++) {
		double y = y_of(d, ticks[i].at);

		buf_printf(d->out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, y, RIGHT);
		draw_text(d, LEFT - 8, y + 4, "tick right", "%s", ticks[i].label);
	}
}

static void draw_score_axis(struct drawing *d)
{
	static const struct {
		double a_week;
		const char *text;
	} ticks[] = {
		{ A_DAY, "a day" },	     { 1, "a week" },		   { A_YEAR * 12, "a month" },	   { A_YEAR, "a year" },
		{ A_YEAR / 10, "10 years" }, { A_YEAR / 100, "100 years" }, { A_YEAR / 1000, "1000 years" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++) {
		double y = y_of_rate(d, ticks[i].a_week), score = detector_threshold(ticks[i].a_week);

		buf_printf(d->out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, y, RIGHT);
		draw_text(d, LEFT - 8, y + 4, "tick right", "%s", ticks[i].text);
		draw_text(d, RIGHT + 6, y + 4, "tick", "%.*f", (int)ceil(-log10(1 - score)), score);
	}
}

static void draw_time_axis(struct drawing *d)
{
	struct axis_tick ticks[AXIS_TICKS_MAX];
	unsigned n = axis_times(d->from_ns, d->from_ns + MAX((int64_t)d->span_ns, 1), TIME_TICKS, ticks);
	const char *context = "";

	for (unsigned i = 0; i < n; i++) {
		double x = x_of(d, ticks[i].at_ns);

		buf_printf(d->out, "<path class=\"grid\" d=\"M%.1f %.1fV%.1fM%.1f %.1fV%.1f\"/>", x, TOP, BOTTOM, x,
			   SCORE_TOP, SCORE_BOTTOM);
		draw_text(d, x, SCORE_BOTTOM + 18, "tick middle", "%s", ticks[i].label);
		if (strcmp(context, ticks[i].context) != 0)
			draw_text(d, x, SCORE_BOTTOM + 34, "tick middle", "%s", ticks[i].context);
		context = ticks[i].context;
	}
}

/* ------------------------------------------------------------------ the series */

/* The next column in use, from i on; NULL: none. */
static const struct plot_column *next_column(const struct drawing *d, unsigned *i)
{
	while (*i < PLOT_COLUMNS && d->p->columns[*i].values == 0)
		(*i)++;
	return *i < PLOT_COLUMNS ? &d->p->columns[(*i)++] : NULL;
}

static bool is_gap(const struct drawing *d, const struct plot_column *a, const struct plot_column *b)
{
	return (double)b->first.time_ns - (double)a->newest.time_ns > d->gap_ns;
}

/* A line through points; what falls on the same tenth of a pixel as the one before is left out. */
struct pen {
	struct buf *out;
	int x, y; /* tenths */
	bool down;
};

static void pen_to(struct pen *pen, double x, double y)
{
	int tenths_x = (int)lround(x * 10), tenths_y = (int)lround(y * 10);

	if (pen->down && tenths_x == pen->x && tenths_y == pen->y)
		return;
	buf_printf(pen->out, "%c%.1f %.1f", pen->down ? 'L' : 'M', tenths_x / 10.0, tenths_y / 10.0);
	*pen = (struct pen){ pen->out, tenths_x, tenths_y, true };
}

static void draw_series(struct drawing *d)
{
	const struct plot_column *before = NULL;
	struct pen pen = { .out = d->out };
	unsigned i = 0;

	buf_append_str(d->out, "<path class=\"series\" d=\"");
	for (const struct plot_column *c; (c = next_column(d, &i)); before = c) {
		bool low_first = c->lowest.time_ns <= c->highest.time_ns;
		const struct plot_point points[] = { c->first, low_first ? c->lowest : c->highest,
						     low_first ? c->highest : c->lowest, c->newest };

		if (before && is_gap(d, before, c))
			pen.down = false;
		if (!pen.down) /* a round end makes a dot of it, when nothing follows */
			buf_printf(d->out, "M%.1f %.1fh0", x_of(d, c->first.time_ns), y_of(d, c->first.value));
		pen.down = true;
		for (size_t k = 0; k < ARRAY_SIZE(points); k++)
			pen_to(&pen, x_of(d, points[k].time_ns), y_of(d, points[k].value));
	}
	buf_append_str(d->out, "\"/>\n");
}

/* Columns up to the next gap: along the upper edge, and back along the lower. */
static void draw_band_piece(struct drawing *d, unsigned from, unsigned to)
{
	struct pen pen = { .out = d->out };

	for (unsigned i = from; i < to; i++) {
		const struct plot_column *c = &d->p->columns[i];

		if (c->values == 0)
			continue;
		pen_to(&pen, x_of(d, c->first.time_ns), y_of(d, c->high));
		pen_to(&pen, MAX(x_of(d, c->newest.time_ns), x_of(d, c->first.time_ns) + 0.5), y_of(d, c->high));
	}
	for (unsigned i = to; i-- > from;) {
		const struct plot_column *c = &d->p->columns[i];

		if (c->values == 0)
			continue;
		pen_to(&pen, MAX(x_of(d, c->newest.time_ns), x_of(d, c->first.time_ns) + 0.5), y_of(d, c->low));
		pen_to(&pen, x_of(d, c->first.time_ns), y_of(d, c->low));
	}
	buf_append_u8(d->out, 'Z');
}

static void draw_band(struct drawing *d)
{
	const struct plot_column *before = NULL;
	unsigned i = 0, from = 0;

	buf_append_str(d->out, "<path class=\"band\" d=\"");
	for (const struct plot_column *c; (c = next_column(d, &i)); before = c) {
		if (!before || !is_gap(d, before, c))
			continue;
		draw_band_piece(d, from, i - 1);
		from = i - 1;
	}
	draw_band_piece(d, from, PLOT_COLUMNS);
	buf_append_str(d->out, "\"/>\n");
}

/* As long as alerts last. */
static void draw_spans(struct drawing *d)
{
	const struct plot_column *c, *first = NULL, *last = NULL;
	unsigned i = 0;

	buf_append_str(d->out, "<path class=\"span\" d=\"");
	do {
		c = next_column(d, &i);
		if (first && (!c || !c->active)) {
			double from = x_of(d, first->first.time_ns), to = x_of(d, last->newest.time_ns);

			buf_printf(d->out, "M%.1f %.1fV%.1fH%.1fV%.1fZ", from - 0.5, TOP, BOTTOM,
				   MAX(to, from) + 0.5, TOP);
			first = NULL;
		}
		if (c && c->active) {
			first = first ? first : c;
			last = c;
		}
	} while (c);
	buf_append_str(d->out, "\"/>\n");
}

/* ------------------------------------------------------------------ scores */

static void draw_scores(struct drawing *d, const char *class, bool loud)
{
	double threshold = detector_threshold(d->p->false_alarms_per_week);
	unsigned i = 0;

	buf_printf(d->out, "<path class=\"%s\" d=\"", class);
	for (const struct plot_column *c; (c = next_column(d, &i));) {
		double y = y_of_score(d, c->score);

		if ((c->score >= threshold) == loud && y < SCORE_BOTTOM - 0.05)
			buf_printf(d->out, "M%.1f %.0fV%.1f", x_of(d, c->first.time_ns), SCORE_BOTTOM, y);
	}
	buf_append_str(d->out, "\"/>\n");
}

static void draw_threshold(struct drawing *d)
{
	CLEANUP(buf_done) struct buf rate = BUF_INIT;
	double threshold = detector_threshold(d->p->false_alarms_per_week), y = y_of_score(d, threshold);

	detect_text_rate(&rate, threshold);
	buf_printf(d->out,
		   "<path class=\"threshold\" d=\"M%.1f %.1fH%.1f\"><title>threshold: false alarms %s</title></path>\n",
		   LEFT, y, RIGHT, buf_cstr(&rate));
	draw_text(d, RIGHT, SCORE_TOP - 8, "note right", "dashed: the threshold, false alarms %s", buf_cstr(&rate));
}

/* ------------------------------------------------------------------ all of it */

static void describe(struct drawing *d, struct buf *b)
{
	const struct plot *p = d->p;

	buf_printf(b, "%llu values from ", (unsigned long long)p->values);
	detect_text_time(b, p->from_ns);
	buf_append_str(b, " to ");
	detect_text_time(b, p->to_ns);
	buf_printf(b, " UTC, %.6g to %.6g, %llu alert%s", p->lowest, p->highest,
		   (unsigned long long)p->alerts, p->alerts == 1 ? "" : "s");
}

static void draw_head(struct drawing *d)
{
	CLEANUP(buf_done) struct buf facts = BUF_INIT;

	describe(d, &facts);
	buf_printf(d->out,
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
		   "aria-labelledby=\"title desc\">\n<title id=\"title\">",
		   WIDTH, HEIGHT);
	append_text(d->out, d->p->title);
	buf_printf(d->out, "</title>\n<desc id=\"desc\">%s.", buf_cstr(&facts));
	for (unsigned i = 0; i < MIN(d->n_marks, (unsigned)DESCRIBED_MAX); i++) {
		buf_append_u8(d->out, ' ');
		append_mark_text(d->out, &d->marks[i]);
		buf_append_u8(d->out, '.');
	}
	buf_printf(d->out, "</desc>\n<style>%s</style>\n", style);
	draw_rectangle(d, "paper", 0, 0, WIDTH, HEIGHT);
	draw_text(d, LEFT, 36, "title", "%.90s", d->p->title);
	draw_text(d, LEFT, 58, "note", "%s", buf_cstr(&facts));
}

static void draw_key(struct drawing *d)
{
	buf_printf(d->out,
		   "<path class=\"series\" d=\"M%.0f 32h22\"/><circle class=\"mark\" cx=\"%.0f\" cy=\"32\" r=\"4\"/>\n",
		   RIGHT - 250, RIGHT - 46);
	draw_rectangle(d, "band", RIGHT - 168, 25, RIGHT - 146, 39);
	draw_text(d, RIGHT - 222, 36, "note", "values");
	draw_text(d, RIGHT - 140, 36, "note", "expected");
	draw_text(d, RIGHT, 36, "note right", "alert");
}

void plot_draw(const struct plot *p, struct buf *out)
{
	struct drawing d = { .p = p, .out = out };

	must(p->values > 0);
	choose_axes(&d);
	collect_marks(&d);
	draw_head(&d);
	draw_key(&d);
	draw_rectangle(&d, "panel", LEFT, TOP, RIGHT, BOTTOM);
	draw_rectangle(&d, "panel", LEFT, SCORE_TOP, RIGHT, SCORE_BOTTOM);
	draw_value_axis(&d);
	draw_score_axis(&d);
	draw_time_axis(&d);
	draw_spans(&d);
	draw_band(&d);
	draw_series(&d);
	draw_text(&d, LEFT, SCORE_TOP - 8, "note",
		  "A series like this shows as much by itself once in so long (right: the score)");
	draw_scores(&d, "scores", false);
	draw_scores(&d, "loud", true);
	draw_threshold(&d);
	draw_marks(&d);
	buf_append_str(out, "</svg>\n");
}
