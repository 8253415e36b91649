/* ln and exp that give the same bits on every machine: built from operations that IEEE 754 rounds, where libm's last bit
 * differs between versions.  A detector's state is stored and compared, so that it must not depend on where it ran.
 *
 * (The build has no fused multiply-add, see Makefile.)
 */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LN_2 0.69314718055994530942

/* x: positive, normal, finite.  x = m 2^e with m in [0.707, 1.414), ln m = 2 atanh((m - 1) / (m + 1)), whose argument is
 * within 0.172: the series' first left-out term is below 1e-9. */
static inline double portable_ln(double x)
{
	uint64_t bits;
	double m;

	memcpy(&bits, &x, sizeof(bits));

	int e = (int)(bits >> 52) - 1023;

	bits = (bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.41421356237309504880) {
		m /= 2;
		e++;
	}

	double s = (m - 1) / (m + 1), s2 = s * s;

	return e * LN_2 + 2 * s * (1 + s2 * (1.0 / 3 + s2 * (1.0 / 5 + s2 * (1.0 / 7 + s2 * (1.0 / 9)))));
}

/* Relative error below 1e-8.  x = k ln 2 + r with |r| <= 0.35: Taylor to r^7, and k into the exponent's bits. */
static inline double portable_exp(double x)
{
	if (!(x > -700))
		return 0;
	if (x > 700)
		x = 700;

	int64_t k = (int64_t)(x * (1 / LN_2) + (x < 0 ? -0.5 : 0.5));
	double r = x - (double)k * LN_2, power;
	double e = 1 + r * (1 + r * (1.0 / 2 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * (1.0 / 720 + r * (1.0 / 5040)))))));
	uint64_t bits = (uint64_t)(k + 1023) << 52;

	memcpy(&power, &bits, sizeof(power));
	return e * power;
}
