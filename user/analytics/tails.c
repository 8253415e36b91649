#include "analytics/tails.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define M_LEAST 0.02f
#define STEP_LEAST 0.05f /* of u, as if m were not smaller */

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

static inline lanes choose(masks where, lanes yes, lanes no)
{
	return (lanes)((where & (masks)yes) | (~where & (masks)no));
}

static inline lanes larger(lanes a, lanes b)
{
	return choose(a > b, a, b);
}

static inline lanes smaller(lanes a, lanes b)
{
	return choose(a < b, a, b);
}

/* x = m 2^e with m in [0.707, 1.414), ln m = 2 atanh((m - 1) / (m + 1)): the first term left out is below 1e-7.  What
 * it makes of a NaN means nothing. */
static inline lanes ln(lanes x)
{
	masks bits = (masks)x, e = (bits >> 23) - 127;
	lanes m = (lanes)((bits & 0x7fffff) | 0x3f800000);
	masks above = m > all(1.41421356f);

	m = choose(above, m * all(0.5f), m);
	e -= above; /* a true mask is -1 */

	lanes s = (m - all(1)) / (m + all(1)), s2 = s * s;
	lanes whole = __builtin_convertvector(e, lanes);

	return whole * all(0.693147181f) +
	       all(2) * s * (all(1) + s2 * (all(1 / 3.0f) + s2 * (all(0.2f) + s2 * all(1 / 7.0f))));
}

void tails_init(struct tails *t)
{
	memset(t, 0, sizeof(*t));
	for (int i = 0; i < TAILS; i++)
		t->u[i] = NAN;
}

bool tails_update(struct tails *t, const float numbers[TAILS], const struct tails_gains *g, float ret_evidence[TAILS],
		  float ret_record[TAILS])
{
	masks any = { 0 };
	lanes nothing = all(0), q = all(g->q);

	for (int i = 0; i < TAILS; i += WIDTH) {
		lanes number = load(numbers + i), u = load(t->u + i), m = load(t->m + i), top = load(t->top + i);
		lanes n = load(t->n + i);
		lanes x = ln(number);
		masks here = number == number, first = here & (u != u), later = here & (u == u);
		lanes excess = x - u;
		masks beyond = later & (excess > nothing) & (number > all(g->floor)), record = later & (x > top);
		masks grown = n >= all(TAILS_YOUNG);

		store(ret_evidence + i, choose(beyond & grown, excess / m - all(g->ln_q), nothing));
		store(ret_record + i, choose(record & grown, x - top, nothing));
		any |= (beyond | record) & grown;

		lanes gain_u = larger(all(1) / (n + all(2 / g->q)), all(g->gain_u));
		lanes gain_m = larger(all(1) / (n * q + all(g->prior)), all(g->gain_m));
		lanes step = larger(m, all(STEP_LEAST)) * gain_u * choose(beyond, all((1 - g->q) / g->q), all(-1));
		lanes learned = m + gain_m * (smaller(excess, all(g->most) * m) - m);

		store(t->u + i, choose(first, x, choose(later, larger(u + step, all(g->ln_floor)), u)));
		store(t->m + i, choose(first, all(g->m_first), choose(beyond, larger(learned, all(M_LEAST)), m)));
		store(t->n + i, choose(here, smaller(n + all(1), all(TAILS_N_MOST)), n));
		store(t->top + i, choose(first | record, x, choose(later, top - all(g->fade) * (top - x), top)));
	}

	int64_t halves[2];

	memcpy(halves, &any, sizeof(halves));
	return (halves[0] | halves[1]) != 0;
}
