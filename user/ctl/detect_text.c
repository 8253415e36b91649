#include "ctl/detect_text.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

#define WEEKS_A_MONTH (365.25 / 12 / 7)
#define WEEKS_A_YEAR (365.25 / 7)
#define YEARS_MAX 1000.0

static void append_times(struct buf *b, double times, const char *period)
{
	if (times < 1.5)
		buf_printf(b, "about once %s", period);
	else if (times < 2.5)
		buf_printf(b, "about twice %s", period);
	else
		buf_printf(b, "about %.0f times %s", times, period);
}

static void append_once_in(struct buf *b, double n, const char *unit)
{
	if (n < 1.5)
		buf_printf(b, "about once a %s", unit);
	else
		buf_printf(b, "about once in %.0f %ss", n, unit);
}

void detect_text_rate(struct buf *b, double score)
{
	double a_week = (1 - score) / score;

	if (!(score > 0))
		buf_append_str(b, "all the time");
	else if (a_week >= 7)
		append_times(b, a_week / 7, "a day");
	else if (a_week >= 1)
		append_times(b, a_week, "a week");
	else if (a_week * 2 * WEEKS_A_MONTH >= 1)
		append_once_in(b, 1 / a_week, "week");
	else if (a_week * 1.5 * WEEKS_A_YEAR >= 1)
		append_once_in(b, 1 / a_week / WEEKS_A_MONTH, "month");
	else if (a_week * YEARS_MAX * WEEKS_A_YEAR >= 1)
		append_once_in(b, 1 / a_week / WEEKS_A_YEAR, "year");
	else
		buf_printf(b, "less than once in %.0f years", YEARS_MAX);
}

void detect_text_duration(struct buf *b, int64_t ns)
{
	static const struct {
		int64_t ns;
		const char *name;
	} units[] = { { 86400 * NS_PER_S, "d" }, { 3600 * NS_PER_S, "h" }, { NS_PER_MIN, "min" }, { NS_PER_S, "s" },
		      { NS_PER_MS, "ms" },	 { NS_PER_US, "us" },	   { 1, "ns" } };
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(units) && ns < units[i].ns)
		i++;
	buf_printf(b, "%lld %s", (long long)(ns / units[i].ns), units[i].name);
	if (i + 1 < ARRAY_SIZE(units) && ns % units[i].ns >= units[i + 1].ns)
		buf_printf(b, " %lld %s", (long long)(ns % units[i].ns / units[i + 1].ns), units[i + 1].name);
}

void detect_text_time(struct buf *b, int64_t time_ns)
{
	char text[CLOCK_ISO_LEN];
	size_t n = strlen("2014-04-11T09:00:00.123456789");

	clock_format_iso(time_ns, text);
	text[10] = ' ';
	while (text[n - 1] == '0' && n > 20)
		n--;
	buf_append(b, text, text[n - 1] == '.' ? n - 1 : n);
}

const char *detect_text_direction(const struct detection *found)
{
	return found->direction > 0 ? "above" : found->direction < 0 ? "below" : "";
}

static const char *what_is(const struct detection *found)
{
	int way = found->direction;

	switch (found->kind) {
	case DETECTOR_SPIKE: return way < 0 ? "a value far below what is usual" : "a value far above what is usual";
	case DETECTOR_LEVEL_SHIFT: return way < 0 ? "a new, lower level that lasts" : "a new, higher level that lasts";
	case DETECTOR_DRIFT: return way < 0 ? "it moves slowly away, downwards" : "it moves slowly away, upwards";
	case DETECTOR_VARIANCE: return way < 0 ? "it is smoother than before" : "it is rougher than before";
	case DETECTOR_RHYTHM: return "values come in another rhythm than before";
	case DETECTOR_SEASONAL:
		return way < 0 ? "too low for this time of the day or week" : "too high for this time of the day or week";
	case DETECTOR_FLATLINE: return "it is stuck";
	case DETECTOR_SILENCE: return "no value has come";
	case DETECTOR_NONE:
	case DETECTOR_KINDS: break;
	}
	return "unusual";
}

/* Where the value lies in respect of the band. */
static void append_place(struct buf *b, const struct detection *found, double value)
{
	struct band band = detector_band(found);
	double width = band.high - band.low, beyond = MAX(value - band.high, band.low - value);
	const char *side = value > band.high ? "above it" : "below it";

	buf_printf(b, "%.6g, where %.6g to %.6g was expected", value, band.low, band.high);
	if (beyond <= 0)
		buf_append_str(b, " (inside that band: it is not the value alone)");
	else if (width > 0 && beyond / width < 1e6)
		buf_printf(b, " (%s by %.6g, %.2g times the band's width)", side, beyond, beyond / width);
	else
		buf_printf(b, " (%s by %.6g)", side, beyond);
}

void detect_text_why(struct buf *b, const struct detection *found, double value)
{
	buf_printf(b, "%s: %s: ", detector_kind_name(found->kind), what_is(found));
	append_place(b, found, value);
	buf_append_str(b, "; a series like this shows as much by itself ");
	detect_text_rate(b, detector_weekly(found, found->score));
}

void detect_text_why_silent(struct buf *b, int64_t last_ns, int64_t now_ns, double false_alarms_per_week)
{
	buf_printf(b, "%s: no value has come for ", detector_kind_name(DETECTOR_SILENCE));
	detect_text_duration(b, now_ns - last_ns);
	buf_append_str(b, "; a series like this pauses as long by itself ");
	detect_text_rate(b, detector_threshold(false_alarms_per_week));
	buf_append_str(b, " at most");
}
