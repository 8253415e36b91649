#include <inttypes.h>
#include <math.h>

#include "base/macros.h"
#include "base/rand.h"
#include "codec/decimal.h"
#include "tests/unit/harness.h"

/* One line of tests/vectors/shortest_decimals.py. */
struct oracle {
	double value;
	struct decimal shortest;
	char fixed9[48];
};

#define ORACLE_LINES 40000

/* Calls each(line) for fresh random doubles and fixed edge cases; the seed of a failure is printed. */
static void with_oracle(bool (*each)(const struct oracle *o))
{
	char command[128], line[160];
	unsigned seed = (unsigned)rand_u64(), lines = 0, wrong = 0;

	snprintf(command, sizeof(command), "/usr/bin/python3 tests/vectors/shortest_decimals.py %u %d", seed, ORACLE_LINES);

	FILE *f = popen(command, "r");

	CU_ASSERT_FATAL(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		struct oracle o;
		uint64_t bits;

		CU_ASSERT_EQUAL_FATAL(sscanf(line, "%" SCNx64 " %" SCNd64 " %d %47s", &bits, &o.shortest.digits,
					     &o.shortest.exponent, o.fixed9), 4);
		memcpy(&o.value, &bits, sizeof(bits));
		lines++;
		if (!each(&o) && wrong++ < 5)
			printf("  seed %u: %s", seed, line);
	}
	CU_ASSERT_EQUAL(pclose(f), 0);
	CU_ASSERT(lines > ORACLE_LINES / 2);
	CU_ASSERT_EQUAL(wrong, 0);
}

static bool digits_agree(const struct oracle *o)
{
	struct decimal d;

	return decimal_of(o->value, &d) && d.digits == o->shortest.digits && d.exponent == o->shortest.exponent;
}

static void the_shortest_decimal_is_that_of_python(void)
{
	with_oracle(digits_agree);
}

static bool reads_back(const struct oracle *o)
{
	char text[DECIMAL_TEXT_MAX];
	int n = decimal_format(o->value, text);

	return decimal_to_double(o->shortest) == o->value && n == (int)strlen(text) && strtod(text, NULL) == o->value;
}

static void a_decimal_and_its_text_read_back_as_the_same_double(void)
{
	with_oracle(reads_back);
}

static bool fixed9_agrees(const struct oracle *o)
{
	__int128 fixed, expected = 0;

	if (!decimal_fixed9(o->value, &fixed))
		return strcmp(o->fixed9, "-") == 0;
	for (const char *at = o->fixed9 + (*o->fixed9 == '-'); *at; at++)
		expected = expected * 10 + (*at - '0');
	return fixed == (*o->fixed9 == '-' ? -expected : expected) && strcmp(o->fixed9, "-") != 0;
}

static void scale_nine_rounds_the_shortest_decimal_half_to_even(void)
{
	with_oracle(fixed9_agrees);
}

/* What scales hold is what the oracle's exponent says: all from -exponent on, as long as 15 digits suffice. */
static bool scales_agree(const struct oracle *o)
{
	int64_t digits;
	int least = MAX(-o->shortest.exponent, 0);

	for (int k = 0; k <= DECIMAL_SCALE_MAX; k++) {
		bool expected = k >= least && fabs(o->value) * pow(10, k) < 9e14;

		/* Around 10^15 both answers are right. */
		if (fabs(o->value) * pow(10, k) >= 9e14 && fabs(o->value) * pow(10, k) <= 1.1e15)
			continue;
		if (decimal_at_scale(o->value, (unsigned)k, &digits) != expected)
			return false;
		if (expected && (decimal_from_scale(digits, (unsigned)k) != o->value ||
				 decimal_to_double((struct decimal){ digits, -k }) != o->value))
			return false;
	}
	return true;
}

static void a_scale_holds_from_the_shortest_decimal_on(void)
{
	with_oracle(scales_agree);
}

static void numbers_are_written_as_json_has_them(void)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 21.5, "21.5" }, { 1e-9, "1e-9" }, { -3, "-3" }, { 1e22, "1e22" }, { 0, "0" }, { -0.0, "0" },
		{ 100, "100" }, { 1e21, "1e21" }, { 1e20, "100000000000000000000" }, { 0.000001, "0.000001" },
		{ 1.25e-7, "1.25e-7" }, { 0.1 + 0.2, "0.30000000000000004" }, { 1.7976931348623157e308, "1.7976931348623157e308" },
		{ 5e-324, "5e-324" }, { -1234.5678, "-1234.5678" }, { 123456789012345680000.0, "123456789012345680000" },
		{ NAN, "NaN" }, { INFINITY, "Infinity" }, { -INFINITY, "-Infinity" },
	};
	char text[DECIMAL_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CU_ASSERT_EQUAL(decimal_format(cases[i].value, text), (int)strlen(cases[i].text));
		CU_ASSERT_STRING_EQUAL(text, cases[i].text);
	}
}

static void sums_are_written_without_needless_zeros(void)
{
	static const struct {
		__int128 value;
		const char *text;
	} cases[] = {
		{ 60543210000000LL, "60543.21" }, { -1, "-0.000000001" }, { 0, "0" }, { 1000000000, "1" },
		{ -10000000000LL, "-10" }, { 100000000, "0.1" }, { 1010000000, "1.01" },
	};
	char text[48];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CU_ASSERT_EQUAL(decimal_format_fixed9(cases[i].value, text), (int)strlen(cases[i].text));
		CU_ASSERT_STRING_EQUAL(text, cases[i].text);
	}
	/* 2^127 - 1 and -2^127, from Python. */
	decimal_format_fixed9((__int128)(((unsigned __int128)1 << 127) - 1), text);
	CU_ASSERT_STRING_EQUAL(text, "170141183460469231731687303715.884105727");
	decimal_format_fixed9((__int128)((unsigned __int128)1 << 127), text);
	CU_ASSERT_STRING_EQUAL(text, "-170141183460469231731687303715.884105728");
}

static void what_is_no_finite_number_has_no_decimal(void)
{
	struct decimal d;
	__int128 fixed;
	int64_t digits;

	CU_ASSERT_FALSE(decimal_of(NAN, &d));
	CU_ASSERT_FALSE(decimal_of(INFINITY, &d));
	CU_ASSERT_FALSE(decimal_fixed9(NAN, &fixed));
	CU_ASSERT_FALSE(decimal_fixed9(-INFINITY, &fixed));
	CU_ASSERT_FALSE(decimal_fixed9(1e18, &fixed));
	CU_ASSERT_FALSE(decimal_fixed9(-1e18, &fixed));
	CU_ASSERT_TRUE(decimal_fixed9(nextafter(1e18, 0), &fixed));
	CU_ASSERT_FALSE(decimal_at_scale(NAN, 0, &digits));
	CU_ASSERT_EQUAL(decimal_scale(INFINITY, 0), -1);
}

TESTS("decimal", T(the_shortest_decimal_is_that_of_python), T(a_decimal_and_its_text_read_back_as_the_same_double),
      T(scale_nine_rounds_the_shortest_decimal_half_to_even), T(a_scale_holds_from_the_shortest_decimal_on),
      T(numbers_are_written_as_json_has_them), T(sums_are_written_without_needless_zeros),
      T(what_is_no_finite_number_has_no_decimal))
