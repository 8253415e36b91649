/* The writing half of the block; its layout stands in block.c. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/hash.h"
#include "base/index.h"
#include "codec/block_layout.h"
#include "codec/decimal.h"

/* ------------------------------------------------------------------ dictionaries */

/* Byte strings in order of first appearance. */
struct dictionary {
	struct buf bytes;
	struct buf ends; /* uint32_t each */
	struct index index;
	uint32_t n;
};

/* Memory from the start, so that an empty string has an address, too. */
static int dictionary_init(struct dictionary *d)
{
	buf_append_u64(&d->bytes, 0);
	buf_reset(&d->bytes);
	return d->bytes.data ? 0 : -ENOMEM;
}

static void dictionary_done(struct dictionary *d)
{
	buf_done(&d->bytes);
	buf_done(&d->ends);
	index_done(&d->index);
}

static void dictionary_clear(struct dictionary *d)
{
	buf_reset(&d->bytes);
	buf_reset(&d->ends);
	index_clear(&d->index);
	d->n = 0;
}

static struct slice dictionary_at(const struct dictionary *d, uint32_t i)
{
	const uint32_t *ends = (const uint32_t *)d->ends.data;
	uint32_t start = i ? ends[i - 1] : 0;

	return SLICE(d->bytes.data + start, ends[i] - start);
}

struct lookup {
	const struct dictionary *dictionary;
	struct slice key;
};

static bool same_key(const void *context, uint32_t position)
{
	const struct lookup *l = context;
	struct slice s = dictionary_at(l->dictionary, position);

	return s.len == l->key.len && memcmp(s.data, l->key.data, s.len) == 0;
}

/* 0 or -ENOMEM. */
static int dictionary_get(struct dictionary *d, struct slice key, uint32_t *ret)
{
	struct lookup lookup = { .dictionary = d, .key = key };
	uint64_t hash = hash_device(key.data, key.len);
	uint32_t found = index_find(&d->index, hash, same_key, &lookup);

	if (found == INDEX_NONE) {
		buf_append(&d->bytes, key.data, key.len);
		buf_append_u32(&d->ends, (uint32_t)d->bytes.len);
		if (buf_error(&d->bytes) < 0 || buf_error(&d->ends) < 0 || index_add(&d->index, hash, d->n) < 0)
			return -ENOMEM;
		found = d->n++;
	}
	*ret = found;
	return 0;
}

/* ------------------------------------------------------------------ the writer */

/* What a reading can add to the columns at most: fixed columns and headers, and for each value its column's header and
 * an exception. */
#define READING_COST 128
#define VALUE_COST 32

struct block_writer {
	ZSTD_CCtx *zstd;
	bool failed;
	uint32_t count;
	size_t cost; /* upper bound of the columns' bytes */
	struct dictionary devices, regions, names, sets; /* a set's key: its names' numbers as uint32_t */
	struct buf values; /* double */
	struct buf unknown, verbatim;
	struct buf unknown_lens, verbatim_lens; /* uint64_t each */
	struct buf last_set; /* uint32_t a device: the set of its last reading */
	struct buf raw;

	/* One entry a reading. */
	uint32_t device[BLOCK_READINGS_MAX], set[BLOCK_READINGS_MAX], region[BLOCK_READINGS_MAX];
	uint32_t value_at[BLOCK_READINGS_MAX];
	int64_t timestamp_ns[BLOCK_READINGS_MAX], arrival_ms[BLOCK_READINGS_MAX];
	uint64_t hash[BLOCK_READINGS_MAX];
	uint8_t flags[BLOCK_READINGS_MAX];

	/* Scratch of block_writer_finish(). */
	uint32_t order[BLOCK_READINGS_MAX], link[BLOCK_READINGS_MAX], start[BLOCK_READINGS_MAX + 1];
	uint32_t last[BLOCK_READINGS_MAX];
	uint32_t exceptions[BLOCK_READINGS_MAX];
	struct time_state of_device[BLOCK_READINGS_MAX];
	double column[BLOCK_READINGS_MAX];
	int64_t digits[BLOCK_READINGS_MAX];
	uint64_t residual[TIME_MODES][BLOCK_READINGS_MAX];
};

int block_writer_new(struct block_writer **ret, int level)
{
	struct block_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->zstd = ZSTD_createCCtx();
	if (dictionary_init(&w->devices) < 0 || dictionary_init(&w->regions) < 0 || dictionary_init(&w->names) < 0 ||
	    dictionary_init(&w->sets) < 0 || !w->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, level))) {
		block_writer_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void block_writer_free(struct block_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	dictionary_done(&w->devices);
	dictionary_done(&w->regions);
	dictionary_done(&w->names);
	dictionary_done(&w->sets);
	buf_done(&w->values);
	buf_done(&w->unknown);
	buf_done(&w->verbatim);
	buf_done(&w->unknown_lens);
	buf_done(&w->verbatim_lens);
	buf_done(&w->last_set);
	buf_done(&w->raw);
	free(w);
}

uint32_t block_writer_count(const struct block_writer *w)
{
	return w->count;
}

static void clear(struct block_writer *w)
{
	w->failed = false;
	w->count = 0;
	w->cost = 0;
	dictionary_clear(&w->devices);
	dictionary_clear(&w->regions);
	dictionary_clear(&w->names);
	dictionary_clear(&w->sets);
	buf_reset(&w->values);
	buf_reset(&w->unknown);
	buf_reset(&w->verbatim);
	buf_reset(&w->unknown_lens);
	buf_reset(&w->verbatim_lens);
	buf_reset(&w->last_set);
}

/* ------------------------------------------------------------------ adding */

static bool is_set(const struct block_writer *w, uint32_t set, const struct telemetry *t)
{
	struct slice key = dictionary_at(&w->sets, set);
	const uint32_t *names = key.data;

	if (key.len != t->n_metrics * sizeof(*names))
		return false;
	for (uint32_t i = 0; i < t->n_metrics; i++) {
		struct slice name = dictionary_at(&w->names, names[i]), other = t->metrics[i].name;

		if (name.len != other.len || memcmp(name.data, other.data, name.len) != 0)
			return false;
	}
	return true;
}

/* Most readings have the names of their device's last one, or of the reading before. */
static int find_set(struct block_writer *w, uint32_t device, const struct telemetry *t, uint32_t *ret)
{
	uint32_t names[TELEMETRY_METRICS_MAX];
	uint32_t *last_set = (uint32_t *)w->last_set.data;
	uint32_t guess = w->count > 0 ? w->set[w->count - 1] : LINK_NONE;
	int error = 0;

	if (last_set[device] != LINK_NONE)
		guess = last_set[device];
	if (guess != LINK_NONE && is_set(w, guess, t)) {
		*ret = guess;
	} else {
		for (uint32_t i = 0; error == 0 && i < t->n_metrics; i++)
			error = dictionary_get(&w->names, t->metrics[i].name, &names[i]);
		if (error == 0)
			error = dictionary_get(&w->sets, SLICE(names, t->n_metrics * sizeof(names[0])), ret);
	}
	if (error == 0)
		last_set[device] = *ret;
	return error;
}

static int find_device(struct block_writer *w, struct slice id, uint32_t *ret)
{
	uint32_t before = w->devices.n;
	int error = dictionary_get(&w->devices, id, ret);

	if (error == 0 && w->devices.n > before)
		buf_append_u32(&w->last_set, LINK_NONE);
	return error < 0 ? error : buf_error(&w->last_set);
}

/* Nearly always that of the reading before. */
static int find_region(struct block_writer *w, struct slice region, uint32_t *ret)
{
	if (w->count > 0) {
		struct lookup before = { .dictionary = &w->regions, .key = region };

		*ret = w->region[w->count - 1];
		if (same_key(&before, *ret))
			return 0;
	}
	return dictionary_get(&w->regions, region, ret);
}

static int take(struct block_writer *w, const struct telemetry *t, struct slice payload)
{
	uint32_t i = w->count;
	int error = find_device(w, t->device_id, &w->device[i]);

	if (error == 0)
		error = find_set(w, w->device[i], t, &w->set[i]);
	if (error == 0)
		error = find_region(w, t->region, &w->region[i]);
	if (error < 0)
		return error;

	w->value_at[i] = (uint32_t)(w->values.len / sizeof(double));

	double *values = (double *)buf_extend(&w->values, t->n_metrics * sizeof(*values));

	for (uint32_t k = 0; values && k < t->n_metrics; k++)
		values[k] = t->metrics[k].value;
	if (!t->canonical) {
		w->flags[i] |= FLAG_VERBATIM;
		buf_append(&w->verbatim, payload.data, payload.len);
		buf_append_u64(&w->verbatim_lens, payload.len);
	}
	if (t->unknown.len > 0) {
		w->flags[i] |= FLAG_UNKNOWN;
		buf_append(&w->unknown, t->unknown.data, t->unknown.len);
		buf_append_u64(&w->unknown_lens, t->unknown.len);
	}
	return w->values.failed || w->verbatim.failed || w->verbatim_lens.failed || w->unknown.failed ||
			       w->unknown_lens.failed ?
		       -ENOMEM :
		       0;
}

int block_writer_add(struct block_writer *w, struct slice payload, int64_t timestamp_ns, int64_t arrival_ns,
		     uint8_t flags)
{
	struct telemetry t;
	int error = telemetry_parse(&t, payload.data, payload.len);
	bool stamped = flags & BLOCK_STAMPED;

	if (error < 0 || stamped == t.has_timestamp || (!stamped && t.timestamp_ns != timestamp_ns))
		return -EBADMSG;
	if (w->failed)
		return -ENOMEM;

	/* Names and ids once in dictionaries at most, and once more where the payload is kept whole. */
	size_t cost = READING_COST + VALUE_COST * (size_t)t.n_metrics + 2 * payload.len;

	if (w->count == BLOCK_READINGS_MAX || w->cost + cost > BLOCK_RAW_MAX)
		return -ENOSPC;

	uint32_t i = w->count;

	w->timestamp_ns[i] = timestamp_ns;
	w->arrival_ms[i] = arrival_ns / NS_PER_MS - (arrival_ns % NS_PER_MS < 0);
	w->hash[i] = t.has_hash ? t.integrity_hash : 0;
	w->flags[i] = (uint8_t)((stamped ? BLOCK_STAMPED : 0) | (t.has_hash ? 0 : BLOCK_UNHASHED));
	error = take(w, &t, payload);
	if (error < 0) {
		w->failed = true;
		return error;
	}
	w->cost += cost;
	w->count++;
	return 0;
}

/* ------------------------------------------------------------------ columns */

static unsigned bits(uint64_t v)
{
	return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* Width in bytes, then the lowest bytes of all, then the next. */
static void put_column(struct buf *b, const uint64_t *v, uint32_t n)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < n; i++)
		all |= v[i];

	unsigned width = (bits(all) + 7) / 8;
	uint8_t *at = buf_extend(b, 1 + (size_t)width * n);

	if (!at)
		return;
	*at++ = (uint8_t)width;
	for (unsigned plane = 0; plane < width; plane++)
		for (uint32_t i = 0; i < n; i++)
			*at++ = (uint8_t)(v[i] >> (8 * plane));
}

static void put_numbers(struct block_writer *w, const uint32_t *v)
{
	int64_t expected = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		w->residual[0][i] = zigzag(v[i] - expected);
		expected = v[i] + 1LL;
	}
	put_column(&w->raw, w->residual[0], w->count);
}

static void put_dictionary(struct buf *b, const struct dictionary *d)
{
	for (uint32_t i = 0; i < d->n; i++)
		buf_append_varint(b, dictionary_at(d, i).len);
	buf_append(b, d->bytes.data, d->bytes.len);
}

static void put_dictionaries(struct block_writer *w)
{
	const uint32_t *numbers = (const uint32_t *)w->sets.bytes.data;

	buf_append_varint(&w->raw, w->devices.n);
	buf_append_varint(&w->raw, w->regions.n);
	buf_append_varint(&w->raw, w->names.n);
	buf_append_varint(&w->raw, w->sets.n);
	buf_append_varint(&w->raw, w->sets.bytes.len / sizeof(*numbers));
	buf_append_varint(&w->raw, w->values.len / sizeof(double));
	put_dictionary(&w->raw, &w->devices);
	put_dictionary(&w->raw, &w->regions);
	put_dictionary(&w->raw, &w->names);
	for (uint32_t s = 0; s < w->sets.n; s++)
		buf_append_varint(&w->raw, dictionary_at(&w->sets, s).len / sizeof(*numbers));
	for (size_t i = 0; i < w->sets.bytes.len / sizeof(*numbers); i++)
		buf_append_varint(&w->raw, numbers[i]);
	put_numbers(w, w->device);
	put_numbers(w, w->set);
	put_numbers(w, w->region);
	for (uint32_t i = 0; i < w->count; i++)
		w->residual[0][i] = w->flags[i];
	put_column(&w->raw, w->residual[0], w->count);
}

/* ------------------------------------------------------------------ times */

static uint8_t common_unit(const struct block_writer *w)
{
	uint8_t unit = ARRAY_SIZE(time_units) - 1;

	for (uint32_t i = 1; i < w->count; i++)
		while (wrap_sub(w->timestamp_ns[i], w->timestamp_ns[0]) % time_units[unit] != 0)
			unit--;
	return unit;
}

/* Residuals under one predictor, for times in w->digits, and what they weigh. */
static uint64_t predict_times(struct block_writer *w, enum time_mode mode, int64_t unit)
{
	struct time_predictor p = { .mode = mode, .of_device = w->of_device };
	uint64_t *residual = w->residual[mode], weight = 0;

	if (mode == TIME_DEVICE)
		memset(w->of_device, 0, w->devices.n * sizeof(w->of_device[0]));
	for (uint32_t i = 0; i < w->count; i++) {
		int64_t arrival = 0;

		if (mode == TIME_ARRIVAL)
			arrival = wrap_mul(wrap_sub(w->arrival_ms[i], w->arrival_ms[0]), NS_PER_MS) / unit;
		residual[i] = zigzag(wrap_sub(w->digits[i], time_predict(&p, w->device[i], arrival)));
		weight += bits(residual[i]);
		time_learn(&p, w->device[i], arrival, w->digits[i]);
	}
	return weight;
}

static void put_times(struct block_writer *w)
{
	uint8_t unit = common_unit(w);
	uint64_t least = UINT64_MAX;
	enum time_mode best = TIME_DEVICE;

	for (uint32_t i = 0; i < w->count; i++)
		w->digits[i] = wrap_sub(w->timestamp_ns[i], w->timestamp_ns[0]) / time_units[unit];
	for (enum time_mode mode = TIME_DEVICE; mode < TIME_MODES; mode++) {
		uint64_t weight = predict_times(w, mode, time_units[unit]);

		if (weight < least) {
			least = weight;
			best = mode;
		}
	}
	buf_append_u8(&w->raw, unit);
	buf_append_u8(&w->raw, (uint8_t)best);
	buf_append_u64(&w->raw, (uint64_t)w->timestamp_ns[0]);
	put_column(&w->raw, w->residual[best], w->count);

	buf_append_zigzag(&w->raw, w->arrival_ms[0]);
	for (uint32_t i = 0; i < w->count; i++)
		w->residual[0][i] = zigzag(wrap_sub(w->arrival_ms[i], w->arrival_ms[i ? i - 1 : 0]));
	put_column(&w->raw, w->residual[0], w->count);
}

/* ------------------------------------------------------------------ values */

struct value_column {
	uint32_t n, first; /* readings, and the position of the first one */
	unsigned scale;
	uint32_t n_exceptions;
};

/* Digits found so far, at a scale of `by` decimals more; false when one would have more than 15 digits. */
static bool rescale(int64_t *digits, uint32_t n, unsigned by)
{
	int64_t factor = 1;

	for (; by > 0; by--)
		factor *= 10;

	int64_t limit = 1000000000000000LL / factor;

	for (uint32_t i = 0; i < n; i++)
		if (digits[i] > limit || digits[i] < -limit)
			return false;
	for (uint32_t i = 0; i < n; i++)
		digits[i] *= factor;
	return true;
}

static bool take_digits(struct block_writer *w, struct value_column *c, uint32_t i)
{
	if (decimal_at_scale(w->column[i], c->scale, &w->digits[i]))
		return true;

	int scale = decimal_scale(w->column[i], c->scale + 1);

	if (scale < 0 || !rescale(w->digits, i, (unsigned)scale - c->scale))
		return false;
	c->scale = (unsigned)scale;
	return decimal_at_scale(w->column[i], c->scale, &w->digits[i]);
}

/* All values as digits at one scale; at most a quarter may have none. */
static bool to_digits(struct block_writer *w, struct value_column *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (take_digits(w, c, i))
			continue;
		if (c->n_exceptions >= c->n / 4)
			return false;
		w->exceptions[c->n_exceptions++] = i;
		w->digits[i] = i ? w->digits[w->link[c->first + i] - c->first] : 0;
	}
	return true;
}

static void put_raw(struct block_writer *w, const struct value_column *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		uint64_t before = 0, v;

		memcpy(&v, &w->column[i], sizeof(v));
		if (i > 0)
			memcpy(&before, &w->column[w->link[c->first + i] - c->first], sizeof(before));
		w->residual[0][i] = v ^ before;
	}
	buf_append_u8(&w->raw, VALUE_RAW);
	put_column(&w->raw, w->residual[0], c->n);
}

static void put_exceptions(struct block_writer *w, const struct value_column *c)
{
	uint32_t last = 0;

	buf_append_varint(&w->raw, c->n_exceptions);
	for (uint32_t i = 0; i < c->n_exceptions; i++) {
		buf_append_varint(&w->raw, w->exceptions[i] - last);
		buf_append(&w->raw, &w->column[w->exceptions[i]], sizeof(double));
		last = w->exceptions[i];
	}
}

static void put_digits(struct block_writer *w, const struct value_column *c)
{
	uint64_t weight_device = 0, weight_plain = 0;
	int64_t least = INT64_MAX;

	for (uint32_t i = 0; i < c->n; i++)
		least = MIN(least, w->digits[i]);
	for (uint32_t i = 0; i < c->n; i++) {
		int64_t before = i ? w->digits[w->link[c->first + i] - c->first] : 0;

		w->residual[0][i] = zigzag(w->digits[i] - before);
		w->residual[1][i] = (uint64_t)(w->digits[i] - least);
		weight_device += bits(w->residual[0][i]);
		weight_plain += bits(w->residual[1][i]);
	}

	bool plain = weight_plain + bits(zigzag(least)) <= weight_device;

	buf_append_u8(&w->raw, (uint8_t)((plain ? VALUE_PLAIN : VALUE_DEVICE) | (c->n_exceptions ? VALUE_EXCEPTIONS : 0)));
	buf_append_u8(&w->raw, (uint8_t)c->scale);
	if (plain)
		buf_append_zigzag(&w->raw, least);
	if (c->n_exceptions)
		put_exceptions(w, c);
	put_column(&w->raw, w->residual[plain], c->n);
}

static void put_values(struct block_writer *w)
{
	struct block_links links = { .order = w->order, .link = w->link, .start = w->start, .last = w->last };
	const double *values = (const double *)w->values.data;

	block_links_make(&links, w->device, w->set, w->count, w->devices.n, w->sets.n);
	for (uint32_t s = 0; s < w->sets.n; s++) {
		uint32_t n_metrics = (uint32_t)(dictionary_at(&w->sets, s).len / sizeof(uint32_t));

		for (uint32_t m = 0; m < n_metrics; m++) {
			struct value_column c = { .n = w->start[s + 1] - w->start[s], .first = w->start[s] };

			for (uint32_t i = 0; i < c.n; i++)
				w->column[i] = values[w->value_at[w->order[c.first + i]] + m];
			if (to_digits(w, &c))
				put_digits(w, &c);
			else
				put_raw(w, &c);
		}
	}
}

/* ------------------------------------------------------------------ the block */

static void put_strings(struct buf *b, const struct buf *bytes, const struct buf *lens)
{
	put_column(b, (const uint64_t *)lens->data, (uint32_t)(lens->len / sizeof(uint64_t)));
	buf_append(b, bytes->data, bytes->len);
}

static int compress(struct block_writer *w, struct buf *b)
{
	size_t bound = ZSTD_compressBound(w->raw.len);
	uint8_t *at = buf_extend(b, bound);

	if (!at)
		return -ENOMEM;

	size_t n = ZSTD_compress2(w->zstd, at, bound, w->raw.data, w->raw.len);

	if (ZSTD_isError(n))
		return -ENOMEM; /* the one way in which a compression into enough room can fail */
	b->len -= bound - n;
	return 0;
}

int block_writer_finish(struct block_writer *w, struct buf *b)
{
	size_t before = b->len;
	int error = w->failed ? -ENOMEM : 0;

	if (error == 0 && w->count > 0) {
		buf_reset(&w->raw);
		put_dictionaries(w);
		put_times(w);
		put_values(w);
		put_strings(&w->raw, &w->unknown, &w->unknown_lens);
		put_strings(&w->raw, &w->verbatim, &w->verbatim_lens);
		must(w->raw.len <= BLOCK_RAW_MAX);
		buf_append_varint(b, w->count);
		buf_append(b, w->hash, w->count * sizeof(w->hash[0]));
		error = buf_error(&w->raw) < 0 || buf_error(b) < 0 ? -ENOMEM : compress(w, b);
	}
	if (error < 0)
		b->len = before;
	clear(w);
	return error;
}
