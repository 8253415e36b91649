/* How unusual numbers are among those before them: streaming estimates of the tails of TAILS distributions side by side,
 * 16 bytes each.
 *
 * Numbers are positive, and their logarithm x is looked at, so that the tail is that of a power law: above its threshold
 * u, which a share q of the numbers exceeds, the excess over u is exponential with mean m (B. Hill, "A simple general
 * approach to inference about the tail of a distribution", 1975).
 *
 *     P(x) = q exp(-(x - u) / m),   evidence = -ln P: nats, 0 below u
 *
 * u is followed by stochastic approximation (H. Robbins, S. Monro, 1951): up by (1 - q) steps when it is exceeded, down
 * by q steps when it is not, a step being 1 / (n density at u), and q / m the density there.  It is a plain quantile at
 * first, and later one that forgets.  An excess is learned with at most `most` means: what is far out does not hide the
 * next one.
 *
 * The floor is the number of what is no deviation at all, and in no tail.  Were it a number like others, in a series that
 * hardly ever moves it would be u and its own excess, and any move as rare as can be.
 *
 * A record is what exceeds everything before it, in the same logarithmic unit; the highest so far fades slowly.
 *
 * All tails are updated in one pass of vector instructions (GCC's and Clang's vector extensions: each lane is rounded as
 * IEEE 754 says, so that every machine has the same bits).  A NaN leaves its tail as it was.
 */
#pragma once

#include <stdbool.h>

#define TAILS 16 /* a multiple of 4 */

struct tails {
	float u[TAILS], m[TAILS]; /* u: NaN before the first number */
	float top[TAILS];         /* the highest so far */
	float n[TAILS];           /* numbers so far, up to TAILS_N_MOST */
};

#define TAILS_YOUNG 20 /* numbers, before which nothing is evidence */
#define TAILS_N_MOST 1e6f

struct tails_gains {
	float q[TAILS], ln_q[TAILS], odds[TAILS], two_by_q[TAILS]; /* see tails_share() */
	float floor, ln_floor;
	float gain_u, gain_m; /* least ones */
	float prior;          /* the first mean excess counts as so many */
	float most; /* mean excesses that one is learned with */
	float fade; /* of a record, a number */
};

/* q: the share of the numbers that are in tail i. */
static inline void tails_share(struct tails_gains *g, int i, float q, float ln_q)
{
	g->q[i] = q;
	g->ln_q[i] = ln_q;
	g->odds[i] = (1 - q) / q;
	g->two_by_q[i] = 2 / q;
}

/* m_first: the first mean excess, logarithmic. */
void tails_init(struct tails *t, float m_first);
/* numbers: at least the floor, which is positive and normal; finite, or NaN.  Evidence and record of each, 0 where there is
 * none; whether there is any. */
bool tails_update(struct tails *t, const float numbers[TAILS], const struct tails_gains *g, float ret_evidence[TAILS],
		  float ret_record[TAILS]);
