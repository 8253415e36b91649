/* How unusual numbers are among those before them: streaming estimates of the tails of TAILS distributions side by side,
 * 12 bytes each.
 *
 * Numbers are positive, and a tail is taken for that of a power law: above its threshold u, which a share q of the numbers
 * exceeds, ln(number / u) is exponential with mean m (B. Hill, "A simple general approach to inference about the tail of a
 * distribution", 1975).
 *
 *     P(number) = q exp(-ln(number / u) / m),   evidence = -ln P: nats, 0 below u
 *
 * u is followed by stochastic approximation (H. Robbins, S. Monro, 1951), in shares of itself: up by (1 - q) steps when it
 * is exceeded, down by q steps when it is not, a step being 1 / (n density at u), and q / m the density of the logarithm
 * there.  It is a plain quantile at first, and later one that forgets.
 *
 * What is far out does not hide the next one: an excess, ln(number / u), is learned with at most `most` means, and a number
 * beyond `far` u moves u by a share of a step only.  Some anomalies in a hundred values would be that tail otherwise.
 *
 * The floor is the number of what is no deviation at all, and in no tail.  Were it a number like others, in a series that
 * hardly ever moves it would be u and its own excess, and any move as rare as can be.
 *
 * Most numbers are in no tail, so that logarithms are rare: u is not kept as one.
 */
#pragma once

#include "analytics/float4.h"
#include "base/macros.h"

#define TAILS 12 /* a multiple of FLOAT4_N */
#define TAILS_VECTORS (TAILS / FLOAT4_N)

struct tails {
	float u[TAILS], m[TAILS]; /* u: NaN before the first number */
	float n[TAILS];           /* numbers so far, up to TAILS_N_MOST */
};

#define TAILS_YOUNG 20 /* numbers, before which nothing is evidence */
#define TAILS_N_MOST 1e6f
#define TAILS_M_LEAST 0.02f
#define TAILS_STEP_LEAST 0.05f /* of u, as if m were not smaller */

struct tails_gains {
	float q[TAILS_VECTORS], ln_q[TAILS_VECTORS]; /* share of the numbers in the tails of a vector */
	float floor, u_least;
	float gain_u, gain_m; /* least ones */
	float prior;          /* the first mean excess counts as so many */
	float most;           /* mean excesses that one is learned with */
	float far, far_share; /* of u, and of a step */
};

/* m_first: the first mean excess. */
void tails_init(struct tails *t, float m_first);
/* One of them, which begins anew. */
void tails_forget(struct tails *t, int i, float m_first);

/* Of a vector some of whose numbers are beyond u: their evidence, and m with their excess.  Returns how many
 * steps u goes up. */
static inline float4 tails_tell(struct tails *t, int v, float4 number, int4 beyond, const struct tails_gains *g,
			      float ret_evidence[TAILS])
{
	int i = v * FLOAT4_N;
	float4 u = float4_load(t->u + i), m = float4_load(t->m + i), n = float4_load(t->n + i);
	float4 excess = float4_ln(number / u);
	float4 gain_m = float4_larger(float4_all(1) / (n * float4_all(g->q[v]) + float4_all(g->prior)), float4_all(g->gain_m));
	float4 learned = m + gain_m * (float4_smaller(excess, float4_all(g->most) * m) - m);
	int4 grown = n >= float4_all(TAILS_YOUNG), far = grown & (number > float4_all(g->far) * u);
	float up = (1 - g->q[v]) / g->q[v];

	float4_store(ret_evidence + i, float4_where(beyond & grown, excess / m - float4_all(g->ln_q[v])));
	float4_store(t->m + i, float4_choose(beyond, float4_larger(learned, float4_all(TAILS_M_LEAST)), m));
	return float4_choose(beyond, float4_choose(far, float4_all(g->far_share * up), float4_all(up)), float4_all(-1));
}

/* numbers: at least the floor, which is positive and normal; finite, or NaN, which leaves a tail as it was.  Evidence of
 * each, 0 where there is none; whether there is any.  Inline, so that gains that are constants of the caller are constants
 * here. */
static inline bool tails_update(struct tails *t, const float numbers[TAILS], const struct tails_gains *g,
				float ret_evidence[TAILS])
{
	int4 any = { 0 };

	for (int v = 0; v < TAILS_VECTORS; v++) {
		int i = v * FLOAT4_N;
		float4 number = float4_load(numbers + i);
		float4 u = float4_load(t->u + i), m = float4_load(t->m + i), n = float4_load(t->n + i);
		int4 known = number == number, beyond = (number > float4_all(g->floor)) & (number > u);
		float4 gain_u = float4_larger(float4_all(1) / (n + float4_all(2 / g->q[v])), float4_all(g->gain_u));
		float4 steps = float4_all(-1);

		float4_store(ret_evidence + i, float4_all(0));
		if (unlikely(float4_any(beyond)))
			steps = tails_tell(t, v, number, beyond, g, ret_evidence);

		float4 move = float4_where(known, float4_larger(m, float4_all(TAILS_STEP_LEAST)) * gain_u * steps);

		any |= beyond & (n >= float4_all(TAILS_YOUNG));
		float4_store(t->u + i, float4_choose(u == u, float4_larger(u + u * move, float4_all(g->u_least)), number));
		float4_store(t->n + i, float4_smaller(n + float4_where(known, float4_all(1)), float4_all(TAILS_N_MOST)));
	}
	return float4_any(any);
}
