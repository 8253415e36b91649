/* Tails: against a scalar model of what tails.h says, and against distributions whose tails are known. */
#include <math.h>

#include "analytics/tails.h"
#include "base/macros.h"
#include "tests/unit/analytics/generated.h"
#include "tests/unit/harness.h"

#define Q 0.02f
#define M_FIRST 0.5f

static struct tails_gains with_share(struct tails_gains g, int vector, float q)
{
	g.q[vector] = q;
	g.ln_q[vector] = logf(q);
	return g;
}

/* Plain averages, and what is far out learned as it is; no number is as low as the floor. */
static struct tails_gains gains_of(float least_u, float least_m)
{
	struct tails_gains g = { .gain_u = least_u, .gain_m = least_m, .prior = 10, .most = 50, .far = 2, .far_share = 1 };

	for (int v = 0; v < TAILS_VECTORS; v++)
		g = with_share(g, v, Q);
	return g;
}

static struct tails_gains with_floor(struct tails_gains g, float floor)
{
	g.floor = g.u_least = floor;
	return g;
}

/* ------------------------------------------------------------------ the model */

struct model {
	float u, m, n;
};

/* The series of float4_ln() in one lane: bits are compared, so it is the same one. */
static float ln_of(float x)
{
	int e;
	float m = frexpf(x, &e) * 2;

	e--;
	if (m > 1.41421356f) {
		m *= 0.5f;
		e++;
	}

	float s = (m - 1) / (m + 1), s2 = s * s;

	return (float)e * 0.693147181f + 2 * s * (1 + s2 * (1 / 3.0f + s2 * (0.2f + s2 * (1 / 7.0f))));
}

static void model_update(struct model *t, float number, const struct tails_gains *g, float q, float *ret_evidence)
{
	*ret_evidence = 0;
	if (isnan(number))
		return;

	bool beyond = number > g->floor && number > t->u;

	if (isnan(t->u)) {
		*t = (struct model){ .u = number, .m = M_FIRST, .n = 1 };
		return;
	}

	float excess = ln_of(number / t->u), step = fmaxf(t->m, 0.05f) * fmaxf(1 / (t->n + 2 / q), g->gain_u);

	if (beyond && t->n >= TAILS_YOUNG)
		*ret_evidence = excess / t->m - logf(q);
	float up = (1 - q) / q * (number > g->far * t->u && t->n >= TAILS_YOUNG ? g->far_share : 1);

	t->u = fmaxf(t->u + t->u * (step * (beyond ? up : -1)), g->u_least);
	if (beyond)
		t->m = fmaxf(t->m + fmaxf(1 / (t->n * q + g->prior), g->gain_m) * (fminf(excess, g->most * t->m) - t->m), 0.02f);
	t->n = fminf(t->n + 1, TAILS_N_MOST);
}

static void lanes_are_what_a_scalar_model_says_bit_for_bit(void)
{
	struct noise n = seeded();
	struct tails t;
	struct model model[TAILS];
	float numbers[TAILS], evidence[TAILS], one;

	for (int round = 0; round < 4; round++) {
		struct tails_gains g = gains_of(round & 1 ? 1e-3f : 1e-6f, round & 2 ? 0.05f : 1e-6f);

		g.most = round & 1 ? 4 : 50;
		g.far_share = round & 1 ? 0.25f : 1;
		g = with_share(g, 1, 2 * Q);
		if (round & 2)
			g = with_floor(g, 2);
		tails_init(&t, M_FIRST);
		for (int i = 0; i < TAILS; i++)
			model[i] = (struct model){ .u = NAN, .m = M_FIRST };
		for (int k = 0; k < 10000; k++) {
			bool any = false, same = true;

			for (int i = 0; i < TAILS; i++)
				numbers[i] = uniform(&n) < 0.1 * (i % 4) ? NAN :
					     fmaxf((float)exp((1 + i) * 0.3 * gaussian(&n)), g.floor);

			bool told = tails_update(&t, numbers, &g, evidence);

			for (int i = 0; i < TAILS; i++) {
				model_update(&model[i], numbers[i], &g, g.q[i / FLOAT4_N], &one);
				any |= one > 0;
				same &= one == evidence[i];
				same &= !memcmp(&model[i].u, &t.u[i], 4) || (isnan(model[i].u) && isnan(t.u[i]));
				same &= model[i].n == t.n[i] && model[i].m == t.m[i];
			}
			CU_ASSERT_FATAL(same);
			CU_ASSERT_EQUAL(told, any);
		}
	}
}

/* ------------------------------------------------------------------ distributions */

/* Mean of what TAILS tails come to, u as a logarithm, each fed its own logarithms. */
static void converge(double draw(struct noise *n), const struct tails_gains *g, int numbers, double *ret_u, double *ret_m)
{
	struct noise n = seeded();
	struct tails t;
	float x[TAILS], evidence[TAILS];

	tails_init(&t, M_FIRST);
	for (int k = 0; k < numbers; k++) {
		for (int i = 0; i < TAILS; i++)
			x[i] = (float)exp(draw(&n));
		tails_update(&t, x, g, evidence);
	}
	*ret_u = *ret_m = 0;
	for (int i = 0; i < TAILS; i++) {
		*ret_u += log(t.u[i]) / TAILS;
		*ret_m += t.m[i] / TAILS;
	}
}

static double exponential(struct noise *n)
{
	return -log(uniform(n));
}

static double half_exponential(struct noise *n)
{
	return 3 + 0.5 * exponential(n);
}

/* The quantile of exceptional share q of a standard Gaussian, by bisection of libm's erfc. */
static double gaussian_quantile(double q)
{
	double low = 0, high = 10;

	for (int i = 0; i < 100; i++) {
		double middle = (low + high) / 2;

		*(erfc(middle / M_SQRT2) / 2 > q ? &low : &high) = middle;
	}
	return low;
}

static void quantile_and_mean_excess_come_to_those_of_the_distribution(void)
{
	struct tails_gains g = gains_of(1e-6f, 1e-6f);
	double u, m, z = gaussian_quantile(Q);

	converge(exponential, &g, 50000, &u, &m); /* a power law of exponent 1 */
	CU_ASSERT_DOUBLE_EQUAL(u, -log(Q), 0.1);
	CU_ASSERT_DOUBLE_EQUAL(m, 1, 0.07);
	converge(half_exponential, &g, 50000, &u, &m);
	CU_ASSERT_DOUBLE_EQUAL(u, 3 - 0.5 * log(Q), 0.06);
	CU_ASSERT_DOUBLE_EQUAL(m, 0.5, 0.04);
	converge(gaussian, &g, 50000, &u, &m); /* Mills: E(x - z | x > z) */
	CU_ASSERT_DOUBLE_EQUAL(u, z, 0.06);
	CU_ASSERT_DOUBLE_EQUAL(m, exp(-z * z / 2) / sqrt(2 * M_PI) / Q - z, 0.04);
}

/* Learned with at most k means, an exponential's mean comes to m = 1 - exp(-k m). */
static void what_is_far_out_is_learned_with_so_many_means(void)
{
	struct tails_gains g = gains_of(1e-6f, 1e-6f);
	double u, m, expected = 1;

	g.most = 2;
	for (int i = 0; i < 100; i++)
		expected = 1 - exp(-2 * expected);
	converge(exponential, &g, 50000, &u, &m);
	CU_ASSERT_DOUBLE_EQUAL(m, expected, 0.07);
}

static int so_far;

/* Soon some of 100 numbers are far from all others: more of them than are in the tail. */
static double contaminated(struct noise *n)
{
	double usual = gaussian(n);

	return so_far++ > 1000 * TAILS && uniform(n) < 1.5 * (double)Q ? 8 + 0.1 * usual : usual;
}

static void what_is_far_out_hardly_moves_the_threshold(void)
{
	struct tails_gains g = gains_of(1e-6f, 1e-6f);
	double u, m;

	so_far = 0;
	converge(contaminated, &g, 50000, &u, &m);
	CU_ASSERT(u > 7);
	g.far_share = 0.2f;
	so_far = 0;
	converge(contaminated, &g, 50000, &u, &m);
	CU_ASSERT_DOUBLE_EQUAL(u, gaussian_quantile((1 - 1.5 * 0.2) * (double)Q), 0.1); /* they count as 0.3 of the tail */
}

static double shifted; /* by how much, now */

static double exponential_shifted(struct noise *n)
{
	static int k;

	shifted = k++ < TAILS * 20000 ? 0 : 2;
	return shifted + exponential(n);
}

static void least_gains_forget(void)
{
	struct tails_gains g = gains_of(1e-3f, 1e-2f);
	double u, m;

	converge(exponential_shifted, &g, 40000, &u, &m);
	CU_ASSERT_EQUAL(shifted, 2);
	CU_ASSERT_DOUBLE_EQUAL(u, 2 - log(Q), 0.3);
	CU_ASSERT_DOUBLE_EQUAL(m, 1, 0.15);
}

/* P(evidence > -ln Q + k) = Q exp(-k) in a power law. */
static void evidence_is_as_rare_as_it_says(void)
{
	struct tails_gains g = gains_of(1e-6f, 1e-6f);
	struct noise n = seeded();
	struct tails t;
	float x[TAILS], evidence[TAILS];
	long above[4] = { 0 }, numbers = 0;

	tails_init(&t, M_FIRST);
	for (int k = 0; k < 60000; k++) {
		for (int i = 0; i < TAILS; i++)
			x[i] = (float)exp(exponential(&n));
		tails_update(&t, x, &g, evidence);
		for (int i = 0; k >= 10000 && i < TAILS; i++, numbers++)
			for (int nats = 0; nats < 4; nats++)
				above[nats] += evidence[i] > -log(Q) + nats;
	}
	for (int nats = 0; nats < 4; nats++)
		CU_ASSERT_DOUBLE_EQUAL((double)above[nats] / (double)numbers / (Q * exp(-nats)), 1, 0.15);
}

/* ------------------------------------------------------------------ one by one */

/* Its evidence. */
static float feed(struct tails *t, const struct tails_gains *g, float number)
{
	float numbers[TAILS], evidence[TAILS];

	for (int i = 0; i < TAILS; i++)
		numbers[i] = NAN;
	numbers[5] = number;
	tails_update(t, numbers, g, evidence);
	return evidence[5];
}

static void what_is_young_is_sure_of_nothing(void)
{
	struct tails_gains g = gains_of(1e-6f, 1e-6f);
	struct tails t;

	tails_init(&t, M_FIRST);
	for (int i = 0; i < TAILS_YOUNG; i++)
		CU_ASSERT(feed(&t, &g, i == TAILS_YOUNG - 1 ? 1000 : 1) == 0);
	CU_ASSERT(feed(&t, &g, 1000) > -logf(Q));
}

/* Were the floor a number like others, u would come to lie on it, and a move of any size far beyond. */
static void of_what_hardly_ever_moves_a_move_is_no_more_than_rare(void)
{
	struct tails_gains g = with_floor(gains_of(1e-6f, 1e-6f), 0.01f);
	float most = 0;
	struct tails t;

	tails_init(&t, M_FIRST);
	for (int i = 1; i < 20000; i++) {
		float evidence = feed(&t, &g, i % 500 == 0 ? 1 : 0.01f);

		if (i > 10000)
			most = fmaxf(most, evidence);
		CU_ASSERT(i % 500 == 0 || evidence == 0);
	}
	CU_ASSERT(t.u[5] >= 0.01f);
	CU_ASSERT(most > -logf(Q) && most < 6 - logf(Q));
}

static void what_is_no_number_leaves_a_tail_alone(void)
{
	struct tails_gains g = gains_of(1e-3f, 1e-3f);
	struct noise n = seeded();
	struct tails t, before;
	float nothing[TAILS], x[TAILS], evidence[TAILS];

	for (int i = 0; i < TAILS; i++)
		nothing[i] = NAN;
	tails_init(&t, M_FIRST);
	before = t;
	CU_ASSERT_FALSE(tails_update(&t, nothing, &g, evidence));
	CU_ASSERT(!memcmp(&t, &before, sizeof(t)));
	for (int k = 0; k < 100; k++) {
		for (int i = 0; i < TAILS; i++)
			x[i] = (float)exp(gaussian(&n));
		tails_update(&t, x, &g, evidence);
	}
	before = t;
	CU_ASSERT_FALSE(tails_update(&t, nothing, &g, evidence));
	CU_ASSERT(!memcmp(&t, &before, sizeof(t)));
	for (int i = 0; i < TAILS; i++)
		CU_ASSERT(evidence[i] == 0);
}

TESTS("tails", T(lanes_are_what_a_scalar_model_says_bit_for_bit),
      T(quantile_and_mean_excess_come_to_those_of_the_distribution), T(what_is_far_out_is_learned_with_so_many_means),
      T(what_is_far_out_hardly_moves_the_threshold),
      T(least_gains_forget), T(evidence_is_as_rare_as_it_says), T(what_is_young_is_sure_of_nothing),
      T(of_what_hardly_ever_moves_a_move_is_no_more_than_rare),
      T(what_is_no_number_leaves_a_tail_alone))
