/* Doubles as decimals: the one place where a double becomes text or a scaled integer.
 *
 * The shortest decimal that reads back as the same double decides everything: JSON prints it, the block stores
 * it as digits and exponent, windows sum it as an integer at scale 1e-9.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DECIMAL_TEXT_MAX 32

/* value = digits * 10^exponent exactly in the sense of the shortest round trip; digits has no trailing zeros. */
struct decimal {
	int64_t digits;
	int32_t exponent;
};

/* False for NaN and infinities. -0 gives {0, 0}. */
bool decimal_of(double value, struct decimal *ret);

/* The cheap half of decimal_of(), for columns: true when value is an integer of at most 15 digits divided by
 * 10^decimals, and that integer in ret (its trailing zeros kept, so that a column shares one exponent).  -0 gives 0.
 * decimals <= DECIMAL_SCALE_MAX.  A multiplication and a division. */
#define DECIMAL_SCALE_MAX 15
bool decimal_at_scale(double value, unsigned decimals, int64_t *ret);
/* The fewest decimals, counted from `from`, at which decimal_at_scale() holds, or -1 when there are none. */
int decimal_scale(double value, unsigned from);
/* The opposite of decimal_at_scale(), for |digits| <= 10^15: exactly the double it came from. */
double decimal_from_scale(int64_t digits, unsigned decimals);
/* The double that the decimal reads back as. */
double decimal_to_double(struct decimal d);

/* Shortest text that reads back as the same double, in the manner of JSON: "21.5", "1e-9", "-3", "1e22".
 * Returns its length. "NaN", "Infinity", "-Infinity" (protobuf's JSON writes them as strings). */
int decimal_format(double value, char ret[DECIMAL_TEXT_MAX]);

/* The shortest decimal at scale 1e-9, half even.  False (nothing is summed, only counted) for NaN, infinities and
 * |value| >= 1e18. */
bool decimal_fixed9(double value, __int128 *ret);

/* An int128 at scale 1e-9 as text: "60543.21", "-0.000000001", "0". Returns its length; ret: 48 bytes. */
int decimal_format_fixed9(__int128 value, char ret[48]);
