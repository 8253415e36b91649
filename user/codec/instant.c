#include "codec/instant.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

typedef unsigned __int128 wide;

#define DIGITS_MAX 28 /* of a number; 10^28 times 10^9 still fits */
#define WHOLE_MAX ((wide)1000000000000000000 * 10)

/* A cursor; reading past the end gives NUL, which is nothing's part. */
struct text {
	const char *at, *end;
};

static char peek(const struct text *t)
{
	return t->at < t->end ? *t->at : 0;
}

static bool take(struct text *t, const char *any_of)
{
	if (!peek(t) || !strchr(any_of, peek(t)))
		return false;
	t->at++;
	return true;
}

/* Exactly n digits. */
static bool take_digits(struct text *t, int n, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++, t->at++) {
		if (!isdigit((unsigned char)peek(t)))
			return false;
		v = v * 10 + (*t->at - '0');
	}
	*ret = v;
	return true;
}

/* ------------------------------------------------------------------ numbers */

struct number {
	bool negative;
	wide digits;
	int exponent;
};

static void take_run(struct text *t, struct number *n, int *digits, bool fraction)
{
	for (; isdigit((unsigned char)peek(t)); t->at++, (*digits)++) {
		bool room = n->digits < WHOLE_MAX * 1000000000 / 10;

		if (room)
			n->digits = n->digits * 10 + (unsigned)(*t->at - '0');
		n->exponent += (room && fraction) ? -1 : (!room && !fraction);
	}
}

static bool take_number(struct text *t, struct number *ret)
{
	int digits = 0, exponent = 0;

	*ret = (struct number){ .negative = peek(t) == '-' };
	take(t, "+-");
	take_run(t, ret, &digits, false);
	if (take(t, ".,"))
		take_run(t, ret, &digits, true);
	if (digits == 0)
		return false;
	if (take(t, "eE")) {
		bool negative = peek(t) == '-';

		take(t, "+-");
		if (!isdigit((unsigned char)peek(t)))
			return false;
		for (; isdigit((unsigned char)peek(t)); t->at++)
			exponent = MIN(exponent * 10 + (*t->at - '0'), 10000);
		ret->exponent += negative ? -exponent : exponent;
	}
	return t->at == t->end;
}

/* digits * 10^exponent, cut to an integer; WHOLE_MAX when it is that or more. */
static wide scaled(wide digits, int exponent)
{
	for (; exponent < 0 && digits > 0; exponent++)
		digits /= 10;
	for (; exponent > 0 && digits > 0 && digits < WHOLE_MAX; exponent--)
		digits *= 10;
	return MIN(digits, WHOLE_MAX);
}

static int since_epoch(const struct number *n, int64_t *ret_ns)
{
	static const struct {
		wide below;
		int exponent; /* of its nanoseconds */
	} units[] = { { 100000000000, 9 }, { 100000000000000, 6 }, { 100000000000000000, 3 }, { WHOLE_MAX, 0 } };
	wide whole = scaled(n->digits, n->exponent);

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (whole >= units[i].below)
			continue;

		wide ns = scaled(n->digits, n->exponent + units[i].exponent);

		if (ns > INT64_MAX)
			return -ERANGE;
		*ret_ns = n->negative ? -(int64_t)ns : (int64_t)ns;
		return 0;
	}
	return -ERANGE;
}

/* ------------------------------------------------------------------ dates */

struct civil {
	int year, month, day, hour, minute, second, fraction_ns, offset_minutes;
};

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int month_days(int year, int month)
{
	static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

static bool take_fraction(struct text *t, int *ret_ns)
{
	int v = 0, digits = 0;

	for (; isdigit((unsigned char)peek(t)); t->at++, digits++)
		if (digits < 9)
			v = v * 10 + (*t->at - '0');
	for (int i = digits; i < 9; i++)
		v *= 10;
	*ret_ns = v;
	return digits > 0;
}

static bool take_clock(struct text *t, bool basic, struct civil *ret)
{
	if (!take_digits(t, 2, &ret->hour))
		return false;
	if (basic ? !isdigit((unsigned char)peek(t)) : !take(t, ":"))
		return true;
	if (!take_digits(t, 2, &ret->minute))
		return false;
	if (basic ? !isdigit((unsigned char)peek(t)) : !take(t, ":"))
		return true;
	return take_digits(t, 2, &ret->second) && (!take(t, ".,") || take_fraction(t, &ret->fraction_ns));
}

static bool take_offset(struct text *t, struct civil *ret)
{
	bool negative;
	int hours, minutes = 0;

	take(t, " ");
	if (t->at == t->end || take(t, "Zz"))
		return true;
	if (t->end - t->at == 3 && (!memcmp(t->at, "UTC", 3) || !memcmp(t->at, "GMT", 3))) {
		t->at += 3;
		return true;
	}
	negative = peek(t) == '-';
	if (!take(t, "+-") || !take_digits(t, 2, &hours))
		return false;
	if (t->at < t->end && (take(t, ":"), !take_digits(t, 2, &minutes)))
		return false;
	ret->offset_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
	return hours < 24 && minutes < 60;
}

static bool take_civil(struct text *t, struct civil *ret)
{
	char dash[2] = "";

	*ret = (struct civil){ 0 };
	if (!take_digits(t, 4, &ret->year))
		return false;
	dash[0] = peek(t);

	bool basic = dash[0] != '-' && dash[0] != '/';

	if ((!basic && !take(t, dash)) || !take_digits(t, 2, &ret->month) || (!basic && !take(t, dash)) ||
	    !take_digits(t, 2, &ret->day))
		return false;
	if (t->at == t->end)
		return !basic;
	return take(t, basic ? "Tt" : "Tt ") && take_clock(t, basic, ret) && take_offset(t, ret) && t->at == t->end;
}

static bool is_date(const struct civil *c)
{
	return c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= month_days(c->year, c->month) &&
	       (c->hour < 24 || (c->hour == 24 && !c->minute && !c->second && !c->fraction_ns)) && c->minute < 60 &&
	       c->second <= 60;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar.  Years are counted from March, so that the leap day is a
 * year's last: the days before a month are then (153 * month + 2) / 5. */
static int64_t days_of(const struct civil *c)
{
	int64_t year = c->year - (c->month <= 2), month = (c->month + 9) % 12;

	return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + c->day - 1 - 719468;
}

static int of_civil(const struct civil *c, int64_t *ret_ns)
{
	int64_t minutes = (days_of(c) * 24 + c->hour) * 60 + c->minute - c->offset_minutes;

	if (c->year < 1678 || c->year > 2261)
		return -ERANGE;
	*ret_ns = (minutes * 60 + c->second) * NS_PER_S + c->fraction_ns;
	return 0;
}

int instant_parse(struct slice text, int64_t *ret_ns)
{
	struct text t = { text.data, (const char *)text.data + text.len }, again;
	struct number number;
	struct civil civil;

	while (t.at < t.end && isspace((unsigned char)*t.at))
		t.at++;
	while (t.end > t.at && isspace((unsigned char)t.end[-1]))
		t.end--;
	again = t;
	if (take_civil(&t, &civil))
		return is_date(&civil) ? of_civil(&civil, ret_ns) : -EINVAL;
	if (take_number(&again, &number))
		return since_epoch(&number, ret_ns);
	return -EINVAL;
}
