#include "ctl/plot_axis.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"

/* ------------------------------------------------------------------ values */

/* The least of 1, 2, 5, 10, 20, ... times a power of ten that is not below x. */
static double round_up_125(double x)
{
	double power = pow(10, floor(log10(x)));

	for (int i = 0; i < 2; i++, power *= 10)
		for (int digit = 1; digit <= 5; digit += digit == 2 ? 3 : 1)
			if (digit * power >= x * (1 - 1e-9))
				return digit * power;
	return power;
}

static void label_value(double v, double step, double largest, char ret[AXIS_LABEL_MAX])
{
	static const struct {
		double from, unit;
		const char *suffix;
	} suffixes[] = { { 1e16, 0, "" },    { 1e12, 1e12, "T" }, { 1e9, 1e9, "G" },
			 { 1e6, 1e6, "M" }, { 1e4, 1e3, "k" },	 { 0, 1, "" } };
	size_t i = 0;

	while (largest < suffixes[i].from)
		i++;
	if (suffixes[i].unit == 0 || step < 1e-5) {
		snprintf(ret, AXIS_LABEL_MAX, "%.6g", v);
		return;
	}

	double unit = suffixes[i].unit, digits = ceil(-log10(step / unit) - 1e-9);

	if (v == 0)
		snprintf(ret, AXIS_LABEL_MAX, "0");
	else
		snprintf(ret, AXIS_LABEL_MAX, "%.*f%s", (int)CLAMP(digits, 0, 9), v / unit, suffixes[i].suffix);
}

unsigned axis_values(double low, double high, unsigned most, struct axis_tick ret[AXIS_TICKS_MAX])
{
	must(low < high && most >= 2 && most <= AXIS_TICKS_MAX);

	double step = round_up_125((high - low) / most), first, last;

	for (;; step = round_up_125(step * 1.5)) {
		first = ceil(low / step - 1e-9);
		last = floor(high / step + 1e-9);
		if (last - first < most)
			break;
	}
	for (unsigned i = 0; first + i <= last; i++) {
		ret[i] = (struct axis_tick){ .at = (first + i) * step };
		label_value(ret[i].at, step, MAX(fabs(low), fabs(high)), ret[i].label);
	}
	return (unsigned)(last - first + 1);
}

/* ------------------------------------------------------------------ times */

enum unit { FIXED, MONTHS, YEARS };

struct time_step {
	enum unit unit;
	int64_t n;       /* ns of a fixed one, else so many units */
	int64_t base_ns; /* a fixed one counts from here: weeks begin on Monday */
};

static struct tm civil_of(int64_t ns)
{
	time_t seconds = (time_t)(ns / NS_PER_S - (ns % NS_PER_S < 0));
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return tm;
}

/* The finest step with which at most `most` ticks fit. */
static struct time_step choose_step(double span_ns, unsigned most)
{
	static const int64_t fixed[] = { 1,    2,    5,	   10,	  15,	 30,	60,    120,    300,    600,
					 900,  1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
					 1209600 };
	static const int64_t months[] = { 1, 3, 6 };
	double least_ns = span_ns / (most - 1);

	for (int64_t power = 1; power < NS_PER_S; power *= 10)
		for (int digit = 1; digit <= 5; digit += digit == 2 ? 3 : 1)
			if ((double)(digit * power) >= least_ns)
				return (struct time_step){ FIXED, digit * power, 0 };
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if ((double)(fixed[i] * NS_PER_S) >= least_ns)
			return (struct time_step){ FIXED, fixed[i] * NS_PER_S, fixed[i] % 604800 ? 0 : 4 * NS_PER_DAY };
	for (size_t i = 0; i < ARRAY_SIZE(months); i++)
		if ((double)(months[i] * 30 * NS_PER_DAY) >= least_ns)
			return (struct time_step){ MONTHS, months[i], 0 };

	int years = (int)round_up_125(MAX(least_ns / (365.0 * NS_PER_DAY), 1.0));

	return (struct time_step){ YEARS, years, 0 };
}

/* Months are counted from the year 0. */
static bool month_begins(int64_t month, int64_t *ret_ns)
{
	struct tm tm = { .tm_year = (int)(month / 12 - 1900), .tm_mon = (int)(month % 12), .tm_mday = 1 };

	return !__builtin_mul_overflow((int64_t)timegm(&tm), (int64_t)NS_PER_S, ret_ns);
}

static bool first_month(int64_t from_ns, int64_t every, int64_t *ret_month)
{
	struct tm tm = civil_of(from_ns);
	int64_t month = (tm.tm_year + 1900) * 12LL + tm.tm_mon, begins_ns;

	if (!month_begins(month, &begins_ns))
		return false;
	month += begins_ns < from_ns;
	*ret_month = (month + every - 1) / every * every;
	return true;
}

static bool first_multiple(int64_t from_ns, const struct time_step *step, int64_t *ret_ns)
{
	int64_t since, rest;

	if (__builtin_sub_overflow(from_ns, step->base_ns, &since))
		return false;
	rest = since % step->n;
	since += rest > 0 ? step->n - rest : -rest;
	return !__builtin_add_overflow(since, step->base_ns, ret_ns);
}

static void label_time(const struct time_step *step, struct axis_tick *tick)
{
	struct tm tm = civil_of(tick->at_ns);
	const char *label = "%H:%M", *context = "%-d %b %Y";

	if (step->unit == YEARS) {
		label = "%Y";
		context = "";
	} else if (step->unit == MONTHS) {
		label = "%b";
		context = "%Y";
	} else if (step->n >= NS_PER_DAY) {
		label = "%-d %b";
		context = "%Y";
	} else if (step->n < NS_PER_MIN) {
		label = "%H:%M:%S";
	}
	strftime(tick->label, sizeof(tick->label), label, &tm);
	strftime(tick->context, sizeof(tick->context), context, &tm);
	if (step->unit != FIXED || step->n >= NS_PER_S)
		return;

	int64_t rest = tick->at_ns % NS_PER_S;
	char fraction[16];
	int digits = 9;

	for (int64_t unit = 10; step->n % unit == 0; unit *= 10)
		digits--;
	snprintf(fraction, sizeof(fraction), "%09d", (int)(rest < 0 ? rest + NS_PER_S : rest));
	snprintf(tick->label + strlen(tick->label), 12, ".%.*s", digits, fraction);
}

unsigned axis_times(int64_t from_ns, int64_t to_ns, unsigned most, struct axis_tick ret[AXIS_TICKS_MAX])
{
	must(from_ns < to_ns && most >= 2 && most <= AXIS_TICKS_MAX);

	struct time_step step = choose_step((double)to_ns - (double)from_ns, most);
	int64_t every = step.unit == YEARS ? step.n * 12 : step.n, month = 0, at_ns;
	bool fine = step.unit == FIXED ? first_multiple(from_ns, &step, &at_ns) :
					 first_month(from_ns, every, &month) && month_begins(month, &at_ns);
	unsigned n = 0;

	while (fine && at_ns <= to_ns && n < most) {
		ret[n] = (struct axis_tick){ .at_ns = at_ns };
		label_time(&step, &ret[n++]);
		month += every;
		fine = step.unit == FIXED ? !__builtin_add_overflow(at_ns, step.n, &at_ns) : month_begins(month, &at_ns);
	}
	return n;
}
