#include "ctl/detect_out.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "codec/decimal.h"
#include "ctl/detect_text.h"

void detect_out_done(struct detect_out *o)
{
	buf_done(&o->text);
	buf_done(&o->line);
	buf_done(&o->why);
}

static void begin(struct detect_out *o)
{
	if (o->begun)
		return;
	o->begun = true;
	if (o->table)
		buf_printf(&o->text, "time,value,score,alert,kind%s\n", o->explain ? ",expected,low,high,why" : "");
	else
		buf_printf(&o->text, "%-19s  %-11s  %-5s  %12s  %-25s  %-8s  %s\n", "time (UTC)", "kind", "", "value",
			   "expected", "score", o->live ? "" : "lasted");
}

static void append_number(struct buf *b, double v)
{
	char text[DECIMAL_TEXT_MAX];

	buf_append(b, text, (size_t)decimal_format(v, text));
}

/* ------------------------------------------------------------------ table */

static void append_row(struct detect_out *o, const struct series_row *row, double score, bool alert,
		       enum detector_kind kind)
{
	begin(o);
	csv_append_field(&o->text, row->time);
	buf_append_u8(&o->text, ',');
	csv_append_field(&o->text, row->value);
	buf_append_u8(&o->text, ',');
	append_number(&o->text, score);
	buf_append_str(&o->text, alert ? ",1," : ",0,");
	if (kind != DETECTOR_NONE)
		buf_append_str(&o->text, detector_kind_name(kind));
}

static void append_band(struct detect_out *o, const struct detection *found)
{
	struct band band = detector_band(found);

	buf_append_u8(&o->text, ',');
	append_number(&o->text, found->expected);
	buf_append_u8(&o->text, ',');
	append_number(&o->text, band.low);
	buf_append_u8(&o->text, ',');
	append_number(&o->text, band.high);
	buf_append_u8(&o->text, ',');
}

/* ------------------------------------------------------------------ list */

static void append_why(struct detect_out *o)
{
	if (o->explain)
		buf_printf(&o->text, "    %s.\n", buf_cstr(&o->why));
}

static void close_alert(struct detect_out *o, int64_t end_ns, const char *how)
{
	if (!o->open)
		return;
	o->open = false;
	if (o->live) {
		detect_text_time(&o->text, end_ns);
		buf_printf(&o->text, "  %s after ", how);
	} else {
		buf_append(&o->text, o->line.data, o->line.len);
		buf_append_str(&o->text, "  ");
	}
	detect_text_duration(&o->text, end_ns - o->onset_ns);
	buf_append_u8(&o->text, '\n');
	if (!o->live)
		append_why(o);
}

static void open_alert(struct detect_out *o, int64_t onset_ns)
{
	o->open = true;
	o->onset_ns = onset_ns;
	if (!o->live)
		return;
	buf_append(&o->text, o->line.data, o->line.len);
	buf_append_u8(&o->text, '\n');
	append_why(o);
}

static void write_alert(struct detect_out *o, int64_t onset_ns)
{
	const struct detection *found = &o->raised;
	struct band band = detector_band(found);
	char text[64];

	snprintf(text, sizeof(text), "%.6g .. %.6g", band.low, band.high);
	buf_reset(&o->line);
	detect_text_time(&o->line, onset_ns);
	buf_printf(&o->line, "  %-11s  %-5s  %12.6g  %-25s  %.6f", detector_kind_name(found->kind),
		   detect_text_direction(found), o->value, text, found->score);
}

/* When it is told at once, what it has become is a line of its own. */
static void rename_alert(struct detect_out *o, int64_t time_ns)
{
	write_alert(o, o->onset_ns);
	if (!o->live)
		return;
	detect_text_time(&o->text, time_ns);
	buf_printf(&o->text, "  turns out to be %s %s\n", detector_kind_name(o->raised.kind), detect_text_direction(&o->raised));
}

static void list_row(struct detect_out *o, const struct series_row *row, enum anomaly_step step)
{
	if (step == ANOMALY_CLEARED)
		close_alert(o, row->time_ns, "cleared");
	if (step == ANOMALY_RENAMED)
		rename_alert(o, row->time_ns);
	if (step != ANOMALY_RAISED)
		return;
	write_alert(o, row->time_ns);
	open_alert(o, row->time_ns);
}

static void append_totals(struct detect_out *o)
{
	double weeks = (double)(o->last_ns - o->first_ns) / NS_PER_WEEK;

	buf_printf(&o->text, "%llu values, %llu alerts, ", (unsigned long long)o->values,
		   (unsigned long long)o->alerts);
	detect_text_time(&o->text, o->first_ns);
	buf_append_str(&o->text, " to ");
	detect_text_time(&o->text, o->last_ns);
	buf_printf(&o->text, ", expected false alarms at this setting: %.2g\n", weeks * o->false_alarms_per_week);
}

/* ------------------------------------------------------------------ both */

static void explain(struct detect_out *o)
{
	buf_reset(&o->why);
	if (o->explain)
		detect_text_why(&o->why, &o->raised, o->value);
}

/* What is told of an alert is of its beginning, but for what it is. */
static void note(struct detect_out *o, const struct detection *found, double value, enum anomaly_step step,
		 const struct anomaly *a)
{
	if (step == ANOMALY_RAISED) {
		o->raised = *found;
		o->value = value;
	}
	o->raised.score = MAX(o->raised.score, a->worst);
	o->raised.kind = a->kind;
	o->raised.direction = a->direction;
	explain(o);
}

void detect_out_skipped(struct detect_out *o, const struct series_row *row)
{
	if (!o->table)
		return;
	append_row(o, row, 0, false, DETECTOR_NONE);
	buf_append_str(&o->text, o->explain ? ",,,,\n" : "\n");
}

void detect_out_row(struct detect_out *o, const struct series_row *row, const struct detection *found,
		    enum anomaly_step step, const struct anomaly *a)
{
	bool alert = step == ANOMALY_RAISED || o->after_gap;

	if (o->values++ == 0)
		o->first_ns = row->time_ns;
	o->last_ns = row->time_ns;
	o->alerts += step == ANOMALY_RAISED;
	if (step == ANOMALY_RAISED || step == ANOMALY_RENAMED)
		note(o, found, row->number, step, a);
	if (!o->table) {
		begin(o);
		list_row(o, row, step);
		return;
	}
	append_row(o, row, found->score, alert, o->after_gap ? DETECTOR_SILENCE : found->kind);
	o->after_gap = false;
	if (o->explain)
		append_band(o, found);
	if (o->explain && alert)
		csv_append_field(&o->text, buf_slice(&o->why));
	buf_append_u8(&o->text, '\n');
}

static void silence_row(struct detect_out *o, const struct anomaly *a, int64_t now_ns)
{
	char now[CLOCK_ISO_LEN];
	struct series_row row = { .time = SLICE(now, sizeof(now) - 1), .value = SLICE("", 0) };

	clock_format_iso(now_ns, now);
	append_row(o, &row, a->worst, true, DETECTOR_SILENCE);
	if (o->explain) {
		buf_append_str(&o->text, ",,,,");
		csv_append_field(&o->text, buf_slice(&o->why));
	}
	buf_append_u8(&o->text, '\n');
}

static void explain_silence(struct detect_out *o, int64_t last_ns, int64_t now_ns)
{
	o->alerts++;
	buf_reset(&o->why);
	detect_text_why_silent(&o->why, last_ns, now_ns, o->false_alarms_per_week);
}

static void list_silence(struct detect_out *o, int64_t last_ns, int64_t now_ns)
{
	begin(o);
	close_alert(o, last_ns, "fell silent");
	buf_reset(&o->line);
	detect_text_time(&o->line, now_ns);
	buf_printf(&o->line, "  %s since ", detector_kind_name(DETECTOR_SILENCE));
	detect_text_time(&o->line, last_ns);
	open_alert(o, last_ns);
}

void detect_out_silence(struct detect_out *o, const struct anomaly *a, int64_t last_ns, int64_t now_ns)
{
	explain_silence(o, last_ns, now_ns);
	if (o->table)
		silence_row(o, a, now_ns);
	else
		list_silence(o, last_ns, now_ns);
}

void detect_out_gap(struct detect_out *o, int64_t last_ns, int64_t silent_ns)
{
	explain_silence(o, last_ns, silent_ns);
	if (o->table)
		o->after_gap = true;
	else
		list_silence(o, last_ns, silent_ns);
}

void detect_out_heard(struct detect_out *o, int64_t time_ns)
{
	if (!o->table)
		close_alert(o, time_ns, "heard again");
}

void detect_out_end(struct detect_out *o)
{
	if (o->table)
		return;
	close_alert(o, o->last_ns, "not over");
	append_totals(o);
}
