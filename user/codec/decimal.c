/* The shortest decimal of a double.
 *
 * Sensors send 21.53, not 2^-n times something; so the common case is found by arithmetic and the rest by printf().
 *
 * Fast path.  A decimal of at most 15 significant digits is recovered by any double that is nearest to it (DBL_DIG;
 * W. Kahan, "Lecture notes on the status of IEEE 754", 1997): no two such decimals share a double.  So if one of
 * them reads back as v, it is the only one, no shorter one can do so as well, and without its trailing zeros it is
 * *the* shortest; it does not matter in which order candidates are tried.  A candidate is r = round(v * 10^k) with
 * r <= 10^15, and r reads back as v exactly when r / 10^k == v: both operands are exact doubles (10^k is one up to
 * k = 22), and IEEE 754 rounds their quotient correctly, as strtod() rounds the decimal.  None is overlooked: if
 * v is the double nearest to r / 10^k, v * 10^k differs from r by two roundings, at most 10^15 * 2^-52 < 1/4.
 *
 * Slow path (very large, very small, or more than 15 digits).  Normal doubles: %.15g if it reads back (then it is
 * the only one, as above), else 16 digits, else 17, which always do.  The nearest decimal of 16 digits may fail where
 * its upper neighbour does not: at a power of two the doubles below lie twice as close as those above; so the
 * neighbour is tried as well.  Subnormal doubles have fewer digits than 15 and equal gaps on both sides: the first p
 * for which %.pg reads back.  All of this gives the digits of Python's repr(), against which it is tested.
 *
 * Cost: about 5 ns a candidate, 1-2 us on the slow path.
 */
#include "codec/decimal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define DIGITS_EXACT 1e15 /* integers up to here: the argument above */
#define SCALE_MAX 22      /* 10^22 is the largest power of ten that is a double */
#define FIXED9_LIMIT 1e18

static const double powers[SCALE_MAX + 1] = { 1e0,  1e1,  1e2,	1e3,  1e4,  1e5,  1e6,	1e7,  1e8,  1e9,  1e10, 1e11,
					      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

bool decimal_at_scale(double value, unsigned decimals, int64_t *ret)
{
	double magnitude = fabs(value), scaled = magnitude * powers[decimals];

	if (!(scaled < DIGITS_EXACT)) /* also NaN */
		return false;

	int64_t digits = (int64_t)(scaled + 0.5);

	if ((double)digits / powers[decimals] != magnitude)
		return false;
	*ret = value < 0 ? -digits : digits;
	return true;
}

int decimal_scale(double value, unsigned from)
{
	int64_t digits;

	for (unsigned k = from; k <= DECIMAL_SCALE_MAX; k++)
		if (decimal_at_scale(value, k, &digits))
			return (int)k;
	return -1;
}

double decimal_from_scale(int64_t digits, unsigned decimals)
{
	return (double)digits / powers[decimals];
}

static struct decimal strip_zeros(int64_t digits, int32_t exponent)
{
	if (digits == 0)
		return (struct decimal){ 0, 0 };
	while (digits % 10 == 0) {
		digits /= 10;
		exponent++;
	}
	return (struct decimal){ digits, exponent };
}

/* Digits and exponent from what "%.*e" prints: "d.ddde+xx". */
static struct decimal parse_scientific(const char *text)
{
	int64_t digits = 0;
	int32_t after_point = -1;
	bool negative = *text == '-';

	for (text += negative; *text != 'e'; text++) {
		if (*text < '0' || *text > '9')
			continue; /* the decimal point, whatever the locale has for it */
		digits = digits * 10 + (*text - '0');
		after_point++;
	}
	return (struct decimal){ negative ? -digits : digits, (int32_t)strtol(text + 1, NULL, 10) - after_point };
}

static struct decimal nearest_of(double value, int n_digits)
{
	char text[40];

	snprintf(text, sizeof(text), "%.*e", n_digits - 1, value);
	return parse_scientific(text);
}

static struct decimal decimal_slow(double value)
{
	int least = fabs(value) < DBL_MIN ? 1 : 15;

	for (int n = least; n < 17; n++) {
		struct decimal d = nearest_of(value, n);

		if (decimal_to_double(d) == value)
			return strip_zeros(d.digits, d.exponent);
		d.digits += d.digits < 0 ? -1 : 1;
		if (n == 16 && decimal_to_double(d) == value)
			return strip_zeros(d.digits, d.exponent);
	}

	struct decimal d = nearest_of(value, 17);

	return strip_zeros(d.digits, d.exponent);
}

bool decimal_of(double value, struct decimal *ret)
{
	int64_t digits;

	if (!isfinite(value))
		return false;

	int k = decimal_scale(value, 0);

	if (k >= 0) {
		must(decimal_at_scale(value, (unsigned)k, &digits));
		*ret = strip_zeros(digits, -k);
	} else {
		*ret = decimal_slow(value);
	}
	return true;
}

double decimal_to_double(struct decimal d)
{
	char text[40];

	if (d.digits >= -(1LL << 53) && d.digits <= 1LL << 53 && abs(d.exponent) <= SCALE_MAX)
		return d.exponent < 0 ? (double)d.digits / powers[-d.exponent] : (double)d.digits * powers[d.exponent];
	snprintf(text, sizeof(text), "%llde%d", (long long)d.digits, d.exponent);
	return strtod(text, NULL);
}

/* ECMAScript's Number::toString without the plus sign: positional while the point stands within 21 digits before or
 * 6 zeros after it, else an exponent. */
int decimal_format(double value, char ret[DECIMAL_TEXT_MAX])
{
	struct decimal d;
	char digits[24];

	if (isnan(value))
		return snprintf(ret, DECIMAL_TEXT_MAX, "NaN");
	if (!decimal_of(value, &d))
		return snprintf(ret, DECIMAL_TEXT_MAX, value < 0 ? "-Infinity" : "Infinity");

	const char *sign = d.digits < 0 ? "-" : "";
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)llabs(d.digits));
	int point = n + d.exponent; /* digits before the point */

	if (d.digits == 0)
		return snprintf(ret, DECIMAL_TEXT_MAX, "0");
	if (d.exponent >= 0 && point <= 21)
		return snprintf(ret, DECIMAL_TEXT_MAX, "%s%s%.*s", sign, digits, d.exponent, "000000000000000000000");
	if (point > 0 && d.exponent < 0)
		return snprintf(ret, DECIMAL_TEXT_MAX, "%s%.*s.%s", sign, point, digits, digits + point);
	if (point > -6 && point <= 0)
		return snprintf(ret, DECIMAL_TEXT_MAX, "%s0.%.*s%s", sign, -point, "00000", digits);
	if (n == 1)
		return snprintf(ret, DECIMAL_TEXT_MAX, "%s%se%d", sign, digits, point - 1);
	return snprintf(ret, DECIMAL_TEXT_MAX, "%s%c.%se%d", sign, digits[0], digits + 1, point - 1);
}

static __int128 divide_half_even(__int128 n, __int128 by)
{
	__int128 quotient = n / by, rest = n % by, magnitude = rest < 0 ? -rest : rest;

	if (magnitude * 2 > by || (magnitude * 2 == by && (quotient & 1)))
		quotient += n < 0 ? -1 : 1;
	return quotient;
}

bool decimal_fixed9(double value, __int128 *ret)
{
	struct decimal d;

	if (!(fabs(value) < FIXED9_LIMIT))
		return false;
	must(decimal_of(value, &d));

	int shift = d.exponent + 9;
	__int128 scaled = d.digits, divisor = 1;

	/* Seventeen digits divided by 10^19 or more round to 0. */
	if (shift < -18) {
		*ret = 0;
		return true;
	}
	for (; shift > 0; shift--)
		scaled *= 10;
	for (; shift < 0; shift++)
		divisor *= 10;
	*ret = divisor == 1 ? scaled : divide_half_even(scaled, divisor);
	return true;
}

int decimal_format_fixed9(__int128 value, char ret[48])
{
	unsigned __int128 left = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
	char text[48], *at = text + sizeof(text);
	bool point = false;

	*--at = 0;
	for (int i = 0; left > 0 || i <= 9; i++, left /= 10) {
		char digit = (char)('0' + (int)(left % 10));

		if (i == 9 && point)
			*--at = '.';
		if (i < 9 && !point && digit == '0')
			continue; /* zeros behind the last digit of the fraction */
		point |= i < 9;
		*--at = digit;
	}
	if (value < 0)
		*--at = '-';
	strcpy(ret, at);
	return (int)(text + sizeof(text) - 1 - at);
}
