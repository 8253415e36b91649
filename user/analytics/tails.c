#include "analytics/tails.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define M_LEAST 0.02f
#define STEP_LEAST 0.05f   /* of u, as if m were not smaller */
#define LN_FROM 0x3f3504f4 /* the bits of 0.707, the least m in ln() */

#define WIDTH 4
typedef float lanes __attribute__((vector_size(4 * WIDTH)));
typedef int32_t masks __attribute__((vector_size(4 * WIDTH)));

static inline lanes all(float x)
{
	return (lanes){ x, x, x, x };
}

static inline lanes load(const float *from)
{
	lanes x;

	memcpy(&x, from, sizeof(x));
	return x;
}

static inline void store(float *to, lanes x)
{
	memcpy(to, &x, sizeof(x));
}

static inline lanes where(masks mask, lanes yes)
{
	return (lanes)(mask & (masks)yes);
}

static inline lanes choose(masks mask, lanes yes, lanes no)
{
	return (lanes)((mask & (masks)yes) | (~mask & (masks)no));
}

/* b where either is no number. */
static inline lanes larger(lanes a, lanes b)
{
#ifdef __SSE__
	return __builtin_ia32_maxps(a, b);
#else
	return choose(a > b, a, b);
#endif
}

static inline lanes smaller(lanes a, lanes b)
{
#ifdef __SSE__
	return __builtin_ia32_minps(a, b);
#else
	return choose(a < b, a, b);
#endif
}

/* x = m 2^e with m in [0.707, 1.414), ln m = 2 atanh((m - 1) / (m + 1)): the first term left out is below 1e-7.  What
 * it makes of a NaN means nothing. */
static inline lanes ln(lanes x)
{
	masks e = ((masks)x - LN_FROM) >> 23;
	lanes m = (lanes)((masks)x - (e << 23));
	lanes s = (m - all(1)) / (m + all(1)), s2 = s * s;

	return __builtin_convertvector(e, lanes) * all(0.693147181f) +
	       all(2) * s * (all(1) + s2 * (all(1 / 3.0f) + s2 * (all(0.2f) + s2 * all(1 / 7.0f))));
}

void tails_init(struct tails *t, float m_first)
{
	memset(t, 0, sizeof(*t));
	for (int i = 0; i < TAILS; i++) {
		t->u[i] = NAN;
		t->m[i] = m_first;
		t->top[i] = -INFINITY;
	}
}

#define VECTORS (TAILS / WIDTH)

/* In passes that are short enough for a processor to have several vectors under way; to form a difference twice takes less
 * time than to keep it. */
bool tails_update(struct tails *t, const float numbers[TAILS], const struct tails_gains *g, float ret_evidence[TAILS],
		  float ret_record[TAILS])
{
	const lanes nothing = all(0), floor = all(g->floor), ln_floor = all(g->ln_floor), prior = all(g->prior), most = all(g->most);
	const lanes gain_u_least = all(g->gain_u), gain_m_least = all(g->gain_m), fade = all(g->fade);
	masks any = { 0 }, beyond[VECTORS];
	lanes x[VECTORS];

	for (int v = 0; v < VECTORS; v++) {
		lanes number = load(numbers + v * WIDTH);

		/* All bits set: no number, and larger than none. */
		x[v] = (lanes)((masks)ln(number) | (number != number));
		beyond[v] = number > floor;
	}
	for (int v = 0; v < VECTORS; v++) {
		int i = v * WIDTH;
		lanes u = load(t->u + i), m = load(t->m + i), top = load(t->top + i);
		masks record = x[v] > top, grown = load(t->n + i) >= all(TAILS_YOUNG);
		lanes excess = x[v] - u;

		beyond[v] &= excess > nothing;
		store(ret_evidence + i, where(beyond[v] & grown, excess / m - load(g->ln_q + i)));
		store(ret_record + i, where(record & grown, x[v] - top));
		any |= (beyond[v] | record) & grown;
	}
	for (int v = 0; v < VECTORS; v++) {
		int i = v * WIDTH;
		lanes u = load(t->u + i), m = load(t->m + i), top = load(t->top + i), n = load(t->n + i);
		masks absent = x[v] != x[v], record = x[v] > top;
		lanes excess = x[v] - u;
		lanes gain_u = larger(all(1) / (n + load(g->two_by_q + i)), gain_u_least);
		lanes gain_m = larger(all(1) / (n * load(g->q + i) + prior), gain_m_least);
		lanes step = larger(m, all(STEP_LEAST)) * gain_u * choose(beyond[v], load(g->odds + i), all(-1));
		lanes moved = larger(u + step, ln_floor), learned = m + gain_m * (smaller(excess, most * m) - m);
		lanes faded = top - fade * (top - x[v]);

		store(t->u + i, choose(absent, u, choose(u != u, x[v], moved)));
		store(t->m + i, choose(beyond[v], larger(learned, all(M_LEAST)), m));
		store(t->n + i, smaller(n + where(~absent, all(1)), all(TAILS_N_MOST)));
		store(t->top + i, choose(absent, top, choose(record, x[v], faded)));
	}

	int64_t halves[2];

	memcpy(halves, &any, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}
