/* Sums that do not depend on the order of what is added: integers instead of doubles.
 *
 * A value below 1e18 is below 2^90 at scale 1e-9, its square below 2^180 at scale 1e-18: an int128 holds the sum of
 * 2^37 of the largest values, an int256 the sum of 2^75 of the largest squares.  Additions wrap around instead of
 * being undefined, so that what a stranger's record claims does no harm.
 */
#include "analytics/window.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "codec/decimal.h"

typedef unsigned __int128 uint128;

#define FIXED18_DECIMALS 18
#define JSON_INTEGER_MAX (1ULL << 53)

void int256_add(struct int256 *a, const struct int256 *b)
{
	uint64_t carry = 0;

	for (int i = 0; i < 4; i++) {
		uint128 sum = (uint128)a->w[i] + b->w[i] + carry;

		a->w[i] = (uint64_t)sum;
		carry = (uint64_t)(sum >> 64);
	}
}

void int256_add_square(struct int256 *a, int128 v)
{
	uint128 magnitude = v < 0 ? -(uint128)v : (uint128)v;
	uint64_t high = (uint64_t)(magnitude >> 64), low = (uint64_t)magnitude;
	uint128 cross = (uint128)high * low, squares[2] = { (uint128)low * low, (uint128)high * high };
	struct int256 square = { { (uint64_t)squares[0], (uint64_t)(squares[0] >> 64), (uint64_t)squares[1],
				   (uint64_t)(squares[1] >> 64) } };
	/* 2 * cross * 2^64 */
	struct int256 twice = { { 0, (uint64_t)(cross << 1), (uint64_t)(cross >> 63), (uint64_t)(cross >> 127) } };

	int256_add(&square, &twice);
	int256_add(a, &square);
}

static void int256_negate(struct int256 *v)
{
	static const struct int256 one = { { 1 } };

	for (int i = 0; i < 4; i++)
		v->w[i] = ~v->w[i];
	int256_add(v, &one);
}

static unsigned int256_divide_by_ten(struct int256 *v)
{
	uint64_t rest = 0;

	for (int i = 3; i >= 0; i--) {
		uint128 part = ((uint128)rest << 64) | v->w[i];

		v->w[i] = (uint64_t)(part / 10);
		rest = (uint64_t)(part % 10);
	}
	return (unsigned)rest;
}

int int256_format_fixed18(const struct int256 *v, char ret[96])
{
	char text[96], *at = text + sizeof(text);
	bool negative = v->w[3] >> 63, point = false;
	struct int256 left = *v;

	if (negative)
		int256_negate(&left);
	*--at = 0;
	for (int i = 0; i <= FIXED18_DECIMALS || (left.w[0] | left.w[1] | left.w[2] | left.w[3]); i++) {
		char digit = (char)('0' + int256_divide_by_ten(&left));

		if (i == FIXED18_DECIMALS && point)
			*--at = '.';
		if (i < FIXED18_DECIMALS && !point && digit == '0')
			continue; /* zeros behind the last digit of the fraction */
		point |= i < FIXED18_DECIMALS;
		*--at = digit;
	}
	if (negative)
		*--at = '-';
	memcpy(ret, at, (size_t)(text + sizeof(text) - at));
	return (int)(text + sizeof(text) - 1 - at);
}

void window_values_done(struct window_values *w)
{
	if (!w)
		return;
	histogram_done(&w->histogram);
	memset(w, 0, sizeof(*w));
}

static void widen(struct window_values *w, double min, double max)
{
	/* + 0.0: of the two zeros only the positive one is kept, whichever came first. */
	w->min = (w->count > 0 ? MIN(w->min, min) : min) + 0.0;
	w->max = (w->count > 0 ? MAX(w->max, max) : max) + 0.0;
}

int window_values_add(struct window_values *w, double value, int128 fixed)
{
	int r = histogram_add(&w->histogram, histogram_index(value), 1);

	if (r < 0)
		return r;
	widen(w, value, value);
	w->count++;
	w->sum = (int128)((uint128)w->sum + (uint128)fixed);
	int256_add_square(&w->sum_squares, fixed);
	return 0;
}

void window_values_add_unsummed(struct window_values *w, bool finite)
{
	if (finite)
		w->out_of_range++;
	else
		w->not_finite++;
}

int window_values_merge(struct window_values *into, const struct window_values *from)
{
	int r = histogram_merge(&into->histogram, &from->histogram);

	if (r < 0)
		return r;
	if (from->count > 0)
		widen(into, from->min, from->max);
	into->count += from->count;
	into->devices += from->devices;
	into->sum = (int128)((uint128)into->sum + (uint128)from->sum);
	int256_add(&into->sum_squares, &from->sum_squares);
	into->not_finite += from->not_finite;
	into->out_of_range += from->out_of_range;
	into->late += from->late;
	return 0;
}

static void append_count(struct buf *b, const char *key, uint64_t n)
{
	const char *quote = n > JSON_INTEGER_MAX ? "\"" : "";

	buf_printf(b, "%s%s%" PRIu64 "%s", key, quote, n, quote);
}

static void append_double(struct buf *b, const char *key, bool valid, double value)
{
	char text[DECIMAL_TEXT_MAX] = "null";

	if (valid)
		decimal_format(value, text);
	buf_printf(b, "%s%s", key, text);
}

void window_values_append_json(struct buf *b, const struct window_values *w)
{
	static const struct {
		const char *key;
		double q;
	} quantiles[] = { { ",\"quantiles\":{\"0.5\":", 0.5 },
			  { ",\"0.9\":", 0.9 },
			  { ",\"0.95\":", 0.95 },
			  { ",\"0.99\":", 0.99 } };
	bool any = w->count > 0;
	char sum[96], squares[96];

	decimal_format_fixed9(w->sum, sum);
	int256_format_fixed18(&w->sum_squares, squares);
	append_count(b, "\"count\":", w->count);
	append_count(b, ",\"devices\":", w->devices);
	buf_printf(b, ",\"sum\":\"%s\",\"sum_squares\":\"%s\"", sum, squares);
	append_double(b, ",\"min\":", any, w->min);
	append_double(b, ",\"max\":", any, w->max);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		append_double(b, quantiles[i].key, any && w->histogram.count > 0,
			      histogram_quantile(&w->histogram, quantiles[i].q, w->min, w->max));
	append_count(b, "},\"not_finite\":", w->not_finite);
	append_count(b, ",\"out_of_range\":", w->out_of_range);
	append_count(b, ",\"late\":", w->late);
}

int64_t window_start_ns(int64_t time_ns)
{
	int64_t into = time_ns % NS_PER_MIN;

	if (into < 0)
		into += NS_PER_MIN;
	/* Times within the first minute that int64 has: their window begins where int64 does. */
	return time_ns < INT64_MIN + into ? INT64_MIN : time_ns - into;
}
