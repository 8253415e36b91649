/* Four floats side by side: GCC's and Clang's vector extensions.  Each lane is rounded as IEEE 754 says, so that every
 * machine has the same bits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FLOAT4_N 4

typedef float float4 __attribute__((vector_size(4 * FLOAT4_N)));
typedef int32_t int4 __attribute__((vector_size(4 * FLOAT4_N))); /* of a lane all bits, or none */

static inline float4 float4_all(float x)
{
	return (float4){ x, x, x, x };
}

/* From and to floats that are aligned as floats are. */
static inline float4 float4_load(const float *from)
{
	float4 x;

	memcpy(&x, from, sizeof(x));
	return x;
}

static inline void float4_store(float *to, float4 x)
{
	memcpy(to, &x, sizeof(x));
}

static inline float4 float4_where(int4 mask, float4 yes)
{
	return (float4)(mask & (int4)yes);
}

static inline float4 float4_choose(int4 mask, float4 yes, float4 no)
{
	return (float4)((mask & (int4)yes) | (~mask & (int4)no));
}

/* b where either is no number. */
static inline float4 float4_larger(float4 a, float4 b)
{
#ifdef __SSE__
	return __builtin_ia32_maxps(a, b);
#else
	return float4_choose(a > b, a, b);
#endif
}

static inline float4 float4_smaller(float4 a, float4 b)
{
#ifdef __SSE__
	return __builtin_ia32_minps(a, b);
#else
	return float4_choose(a < b, a, b);
#endif
}

/* Without its sign. */
static inline float4 float4_size(float4 x)
{
	return (float4)((int4)x & INT32_MAX);
}

static inline bool float4_any(int4 mask)
{
#ifdef __SSE__
	return __builtin_ia32_movmskps((float4)mask) != 0;
#else
	int64_t halves[2];

	memcpy(halves, &mask, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
#endif
}

static inline float float4_sum(float4 x)
{
	return (x[0] + x[1]) + (x[2] + x[3]);
}

#define LN_FROM 0x3f3504f4 /* the bits of 0.707, the least m in float4_ln() */

/* x: positive and normal.  x = m 2^e with m in [0.707, 1.414), ln m = 2 atanh((m - 1) / (m + 1)): the first term left out
 * is below 1e-7.  What it makes of a NaN means nothing. */
static inline float4 float4_ln(float4 x)
{
	int4 e = ((int4)x - LN_FROM) >> 23;
	float4 m = (float4)((int4)x - (e << 23));
	float4 s = (m - float4_all(1)) / (m + float4_all(1)), s2 = s * s;

	return __builtin_convertvector(e, float4) * float4_all(0.693147181f) +
	       float4_all(2) * s * (float4_all(1) + s2 * (float4_all(1 / 3.0f) + s2 * (float4_all(0.2f) + s2 * float4_all(1 / 7.0f))));
}
