#include <inttypes.h>
#include <math.h>

#include "analytics/window.h"
#include "base/macros.h"
#include "base/rand.h"
#include "codec/decimal.h"
#include "tests/unit/harness.h"

#define WINDOWS 400
#define VALUES_MAX 1000

/* Two lines of tests/vectors/windows.py. */
struct oracle {
	double values[VALUES_MAX];
	size_t n;
	uint64_t count, not_finite, out_of_range;
	char sum[96], sum_squares[96];
	double min, max, quantiles[4];
};

static double double_of(const char *hex)
{
	uint64_t bits = strtoull(hex, NULL, 16);
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static bool oracle_read(struct oracle *o, FILE *f)
{
	static char line[VALUES_MAX * 17 + 2];
	char words[6][32], *save = NULL;

	if (!fgets(line, sizeof(line), f))
		return false;
	o->n = 0;
	for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		o->values[o->n++] = double_of(word);
	CU_ASSERT_FATAL(fgets(line, sizeof(line), f) != NULL);
	CU_ASSERT_EQUAL_FATAL(sscanf(line,
				     "%" SCNu64 " %95s %95s %31s %31s %" SCNu64 " %" SCNu64 " %31s %31s %31s %31s",
				     &o->count, o->sum, o->sum_squares, words[0], words[1], &o->not_finite,
				     &o->out_of_range, words[2], words[3], words[4], words[5]),
			      11);
	o->min = double_of(words[0]);
	o->max = double_of(words[1]);
	for (int i = 0; i < 4; i++)
		o->quantiles[i] = double_of(words[2 + i]);
	return true;
}

static void with_oracle(bool (*each)(const struct oracle *o))
{
	static struct oracle o;
	char command[128];
	unsigned seed = (unsigned)rand_u64(), n = 0, wrong = 0;

	snprintf(command, sizeof(command), "/usr/bin/python3 tests/vectors/windows.py %u %d", seed, WINDOWS);

	FILE *f = popen(command, "r");

	CU_ASSERT_FATAL(f != NULL);
	for (; oracle_read(&o, f); n++)
		if (!each(&o) && wrong++ < 5)
			printf("  seed %u: window %u is wrong\n", seed, n);
	CU_ASSERT_EQUAL(pclose(f), 0);
	CU_ASSERT_EQUAL(n, WINDOWS);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void add(struct window_values *w, double value)
{
	int128 fixed;

	if (decimal_fixed9(value, &fixed))
		ASSERT_OK(window_values_add(w, value, fixed));
	else
		window_values_add_unsummed(w, isfinite(value));
}

static bool sums_agree(const struct oracle *o)
{
	CLEANUP(window_values_done) struct window_values w = { 0 };
	char sum[96], squares[96];

	for (size_t i = 0; i < o->n; i++)
		add(&w, o->values[i]);
	decimal_format_fixed9(w.sum, sum);

	int n = int256_format_fixed18(&w.sum_squares, squares);

	return w.count == o->count && w.not_finite == o->not_finite && w.out_of_range == o->out_of_range &&
	       !strcmp(sum, o->sum) && !strcmp(squares, o->sum_squares) && n == (int)strlen(squares) &&
	       (o->count == 0 || (!memcmp(&w.min, &o->min, 8) && !memcmp(&w.max, &o->max, 8)));
}

static void counts_and_sums_are_those_of_exact_decimals(void)
{
	with_oracle(sums_agree);
}

static bool quantiles_agree(const struct oracle *o)
{
	static const double q[4] = { 0.5, 0.9, 0.95, 0.99 };
	CLEANUP(window_values_done) struct window_values w = { 0 };
	bool good = true;

	for (size_t i = 0; i < o->n; i++)
		add(&w, o->values[i]);
	for (int i = 0; i < 4 && o->count > 0; i++) {
		double found = histogram_quantile(&w.histogram, q[i], w.min, w.max);

		good = good && fabs(found - o->quantiles[i]) <= fabs(o->quantiles[i]) / 128;
	}
	return good;
}

static void quantiles_are_within_a_128th_of_the_sorted_list(void)
{
	with_oracle(quantiles_agree);
}

/* Splits the values over some parts at random and merges those in a random order. */
static void shuffled_json(const struct oracle *o, struct buf *ret)
{
	struct window_values parts[5] = { 0 }, merged = { 0 };
	int order[5] = { 0, 1, 2, 3, 4 };

	for (size_t i = 0; i < o->n; i++)
		add(&parts[rand_u64() % 5], o->values[i]);
	for (int i = 4; i > 0; i--) {
		int k = (int)(rand_u64() % (unsigned)(i + 1)), other = order[k];

		order[k] = order[i];
		order[i] = other;
	}
	for (int i = 0; i < 5; i++) {
		ASSERT_OK(window_values_merge(&merged, &parts[order[i]]));
		window_values_done(&parts[order[i]]);
	}
	window_values_append_json(ret, &merged);
	window_values_done(&merged);
}

static bool orders_agree(const struct oracle *o)
{
	CLEANUP(buf_done) struct buf a = BUF_INIT;
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	shuffled_json(o, &a);
	shuffled_json(o, &b);
	return !strcmp(buf_cstr(&a), buf_cstr(&b));
}

static void merging_in_any_order_gives_the_same_bytes(void)
{
	with_oracle(orders_agree);
}

static void json_has_fixed_keys_and_no_blanks(void)
{
	CLEANUP(window_values_done) struct window_values w = { 0 };
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	for (int i = 0; i < 4; i++)
		add(&w, 21.5);
	add(&w, NAN);
	add(&w, 1e18);
	w.devices = 3;
	w.late = 1;
	window_values_append_json(&b, &w);
	CU_ASSERT_STRING_EQUAL(
		buf_cstr(&b),
		"\"count\":4,\"devices\":3,\"sum\":\"86\",\"sum_squares\":\"1849\",\"min\":21.5,\"max\":21.5,"
		"\"quantiles\":{\"0.5\":21.5,\"0.9\":21.5,\"0.95\":21.5,\"0.99\":21.5},"
		"\"not_finite\":1,\"out_of_range\":1,\"late\":1");
}

static void an_empty_window_has_nulls_and_large_counts_are_strings(void)
{
	struct window_values w = { .devices = (1ULL << 53) + 1, .late = 1ULL << 53 };
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	window_values_append_json(&b, &w);
	CU_ASSERT_STRING_EQUAL(
		buf_cstr(&b),
		"\"count\":0,\"devices\":\"9007199254740993\",\"sum\":\"0\",\"sum_squares\":\"0\",\"min\":null,"
		"\"max\":null,\"quantiles\":{\"0.5\":null,\"0.9\":null,\"0.95\":null,\"0.99\":null},"
		"\"not_finite\":0,\"out_of_range\":0,\"late\":9007199254740992");
}

/* From a stranger's record an int256 may be anything. */
static void extreme_squares_are_written_too(void)
{
	struct int256 least = { { 0, 0, 0, 1ULL << 63 } }, minus_one = { { ~0ULL, ~0ULL, ~0ULL, ~0ULL } };
	char text[96];

	int256_format_fixed18(&least, text);
	/* 2^255, its point 18 digits from the end. */
	CU_ASSERT_STRING_EQUAL(text, "-57896044618658097711785492504343953926634992332820282019728.792003956564819968");
	int256_format_fixed18(&minus_one, text);
	CU_ASSERT_STRING_EQUAL(text, "-0.000000000000000001");
}

static void a_window_begins_at_its_minute_also_before_1970(void)
{
	CU_ASSERT_EQUAL(window_start_ns(0), 0);
	CU_ASSERT_EQUAL(window_start_ns(59999999999), 0);
	CU_ASSERT_EQUAL(window_start_ns(60000000000), 60000000000);
	CU_ASSERT_EQUAL(window_start_ns(-1), -60000000000);
	CU_ASSERT_EQUAL(window_start_ns(-60000000000), -60000000000);
	CU_ASSERT_EQUAL(window_start_ns(-60000000001), -120000000000);
	CU_ASSERT_EQUAL(window_start_ns(INT64_MIN), INT64_MIN);
	CU_ASSERT(window_start_ns(INT64_MAX) <= INT64_MAX - INT64_MAX % NS_PER_MIN);
}

TESTS("window", T(counts_and_sums_are_those_of_exact_decimals), T(quantiles_are_within_a_128th_of_the_sorted_list),
      T(merging_in_any_order_gives_the_same_bytes), T(json_has_fixed_keys_and_no_blanks),
      T(an_empty_window_has_nulls_and_large_counts_are_strings), T(extreme_squares_are_written_too),
      T(a_window_begins_at_its_minute_also_before_1970))
