/* The columnar block.
 *
 * A reading on the wire is about 157 bytes, of which little is news: the same names again, a time that is a minute
 * after the last, values that have moved by a few hundredths.  Only its hash, 8 bytes of keyed noise, cannot shrink.
 * So: like goes with like, each column is predicted from what stands before it, and zstd takes what the prediction
 * leaves.
 * The parts are known ones: delta of deltas for times (Pelkonen et al., "Gorilla: a fast, scalable, in-memory time
 * series database", VLDB 2015), doubles as decimals (Liakos et al., "Chimp", VLDB 2022, and Afroozeh et al., "ALP",
 * SIGMOD 2023, observe the same of sensors' data), frame of reference and dictionaries (Abadi et al., 2006), planes of
 * bytes as in Blosc's shuffle.
 *
 *     block    := count:varint  hash:u64 * count  zstd(columns)       one frame, with its content size
 *
 * Hashes stand outside: among the literals of the frame they would spoil the statistics of everything else.
 *
 *     columns  := n_devices n_regions n_names n_sets n_set_names n_values   varints
 *                 devices regions names                                     strings: all lengths (varint), all bytes
 *                 set sizes, set names                                      varints, numbers of names in wire order
 *                 device set region                                         column each: zigzag of the number's
 *                                                                           difference from the one before plus one
 *                 flags                                                     column
 *                 times arrivals values unknown verbatim
 *     column   := width:u8, then width planes of n bytes, the lowest bytes first; width 0 when all is 0
 *     times    := unit:u8 mode:u8 first:i64 column                          what is predicted: below
 *     arrivals := first:zigzag column                                       milliseconds, zigzag of the step
 *     values   := for each set, for each of its names: one value column over the set's readings
 *     unknown, verbatim := column of lengths, all bytes                     for the readings whose flags say so
 *
 * Times count a unit (the largest of s, ms, us, ns that divides all of them) since the first; the residual is the
 * zigzag of the difference from a prediction, of three the one that leaves least: by the device's own last step (a
 * device's first: the time before; its second: the last step of any device), by the arrival column, or by the time
 * before.
 *
 * A value column begins with its kind.  Decimal ones have a common scale: digits = value * 10^scale exactly
 * (codec/decimal.h), as the difference from the same device's value before (VALUE_DEVICE) or from the column's least
 * (VALUE_PLAIN), whichever leaves less; values without such digits (NaN, say), if a quarter of the column at most, are
 * listed as exceptions.  VALUE_RAW has the doubles' bits, each xor the same device's before.
 *
 * A reading whose bytes are not the ones telemetry_append() would write is in the columns like any other, and its
 * payload is kept whole as well.
 *
 * The reader bounds everything before it allocates and follows no index that it has not compared; arithmetic on what
 * is read wraps.
 *
 * Cost a reading, 6 values of a real sensor network each (BENCH=block): 15.4 B in batches of 100 and 11.9 B in batches
 * of 1,000; 19.7 B and 17.2 B when every reading is another device's.  Some 280 to 440 ns to write, parsing included,
 * and 75 to 130 ns to read; a third of the writing is zstd, which at these sizes gains little from levels above 1.
 */
#include "codec/block.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "codec/block_layout.h"
#include "codec/decimal.h"
#include "codec/wire.h"

void block_links_make(struct block_links *ret, const uint32_t *device, const uint32_t *set, uint32_t count,
		      uint32_t n_devices, uint32_t n_sets)
{
	/* A counting sort; start[s] is first where set s ends, and counts down to where it begins. */
	memset(ret->start, 0, (n_sets + 1) * sizeof(ret->start[0]));
	for (uint32_t i = 0; i < count; i++)
		ret->start[set[i]]++;
	for (uint32_t s = 1; s <= n_sets; s++)
		ret->start[s] += ret->start[s - 1];
	for (uint32_t i = count; i-- > 0;)
		ret->order[--ret->start[set[i]]] = i;

	memset(ret->last, 0xff, n_devices * sizeof(ret->last[0]));
	for (uint32_t p = 0; p < count; p++) {
		uint32_t i = ret->order[p], first = ret->start[set[i]], last = ret->last[device[i]];

		if (p == first)
			ret->link[p] = LINK_NONE;
		else
			ret->link[p] = last != LINK_NONE && last >= first ? last : p - 1;
		ret->last[device[i]] = p;
	}
}

/* ------------------------------------------------------------------ reading */

void block_init(struct block *ret)
{
	*ret = (struct block){ 0 };
}

void block_done(struct block *b)
{
	buf_done(&b->memory);
	buf_done(&b->raw);
	ZSTD_freeDCtx(b->zstd);
	*b = (struct block){ 0 };
}

/* A block on its way in: the head, and scratch beside the arrays of struct block. */
struct loading {
	struct block *b;
	struct reader r;
	uint32_t n_regions, n_names, n_set_names;
	uint32_t *set_names;
	struct slice *names, *set_slices, *regions;
	uint32_t *region;
	uint64_t *column;
	int64_t *digits;
	double *doubles;
	struct time_state *of_device;
	struct block_links links;
};

/* Arrays one after another in one piece of memory: once to measure, once to place. */
struct arena {
	uint8_t *base;
	size_t used;
};

static void *carve(struct arena *a, size_t n, size_t size)
{
	void *at = a->base ? a->base + a->used : NULL;

	a->used += (n * size + 15) & ~(size_t)15;
	return at;
}
#define CARVE(a, pointer, n) ((pointer) = carve((a), (n), sizeof(*(pointer))))

static void lay_out(struct loading *l, struct arena *a)
{
	struct block *b = l->b;
	size_t n = b->count;

	CARVE(a, b->devices, b->n_devices);
	CARVE(a, b->sets, b->n_sets);
	CARVE(a, b->device, n);
	CARVE(a, b->set, n);
	CARVE(a, b->timestamp_ns, n);
	CARVE(a, b->arrival_ns, n);
	CARVE(a, b->hash, n);
	CARVE(a, b->flags, n);
	CARVE(a, b->value_at, n);
	CARVE(a, b->region, n);
	CARVE(a, b->unknown, n);
	CARVE(a, b->verbatim, n);
	CARVE(a, b->values, b->n_values);
	CARVE(a, l->set_names, l->n_set_names);
	CARVE(a, l->names, l->n_names);
	CARVE(a, l->set_slices, l->n_set_names);
	CARVE(a, l->regions, l->n_regions);
	CARVE(a, l->region, n);
	CARVE(a, l->column, n);
	CARVE(a, l->digits, n);
	CARVE(a, l->doubles, n);
	CARVE(a, l->of_device, b->n_devices);
	CARVE(a, l->links.order, n);
	CARVE(a, l->links.link, n);
	CARVE(a, l->links.start, (size_t)b->n_sets + 1);
	CARVE(a, l->links.last, b->n_devices);
}

static bool read_count(struct loading *l, uint32_t most, uint32_t *ret)
{
	uint64_t n = reader_varint(&l->r);

	if (l->r.failed || n > most)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static int read_head(struct loading *l)
{
	struct block *b = l->b;
	struct arena measure = { 0 }, place;

	/* Each name, and each set, is one that a reading has. */
	if (!read_count(l, b->count, &b->n_devices) || !read_count(l, b->count, &l->n_regions) ||
	    !read_count(l, BLOCK_VALUES_MAX, &l->n_names) || !read_count(l, b->count, &b->n_sets) ||
	    !read_count(l, BLOCK_VALUES_MAX, &l->n_set_names) || !read_count(l, BLOCK_VALUES_MAX, &b->n_values))
		return -EBADMSG;
	lay_out(l, &measure);
	buf_reset(&b->memory);
	place = (struct arena){ .base = buf_extend(&b->memory, measure.used) };
	if (!place.base)
		return -ENOMEM;
	lay_out(l, &place);
	return 0;
}

/* n strings of least..most bytes of UTF-8. */
static bool read_strings(struct loading *l, struct slice *ret, uint32_t n, uint32_t least, uint32_t most)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len;

		if (!read_count(l, most, &len) || len < least)
			return false;
		ret[i].len = len;
	}
	for (uint32_t i = 0; i < n; i++) {
		ret[i].data = reader_bytes(&l->r, ret[i].len);
		if (l->r.failed || !utf8_valid(ret[i]))
			return false;
	}
	return true;
}

static bool read_sets(struct loading *l)
{
	struct block *b = l->b;
	uint32_t at = 0;

	for (uint32_t s = 0; s < b->n_sets; s++) {
		if (!read_count(l, TELEMETRY_METRICS_MAX, &b->sets[s].n) || b->sets[s].n > l->n_set_names - at)
			return false;
		b->sets[s].names = l->set_slices + at;
		at += b->sets[s].n;
	}
	if (at != l->n_set_names)
		return false;
	for (uint32_t i = 0; i < at; i++) {
		uint32_t name;

		if (!read_count(l, UINT32_MAX, &name) || name >= l->n_names)
			return false;
		l->set_slices[i] = l->names[name];
	}
	return true;
}

static bool read_column(struct loading *l, uint64_t *ret, uint32_t n)
{
	unsigned width = reader_u8(&l->r);

	if (width > sizeof(*ret))
		return false;

	const uint8_t *plane = reader_bytes(&l->r, (size_t)width * n);

	if (l->r.failed)
		return false;
	if (width == 0)
		memset(ret, 0, n * sizeof(*ret));
	for (uint32_t i = 0; width > 0 && i < n; i++)
		ret[i] = plane[i];
	for (unsigned k = 1; k < width; k++) {
		plane += n;
		for (uint32_t i = 0; i < n; i++)
			ret[i] |= (uint64_t)plane[i] << (8 * k);
	}
	return true;
}

static bool read_numbers(struct loading *l, uint32_t *ret, uint32_t below)
{
	int64_t expected = 0;

	if (!read_column(l, l->column, l->b->count))
		return false;
	for (uint32_t i = 0; i < l->b->count; i++) {
		int64_t number = wrap_add(expected, unzigzag(l->column[i]));

		if (number < 0 || number >= below)
			return false;
		ret[i] = (uint32_t)number;
		expected = number + 1;
	}
	return true;
}

static bool read_readings(struct loading *l)
{
	struct block *b = l->b;
	uint64_t at = 0;

	if (!read_numbers(l, b->device, b->n_devices) || !read_numbers(l, b->set, b->n_sets) ||
	    !read_numbers(l, l->region, l->n_regions) || !read_column(l, l->column, b->count))
		return false;
	for (uint32_t i = 0; i < b->count; i++) {
		if (l->column[i] & ~(uint64_t)FLAGS_ALL)
			return false;
		b->flags[i] = (uint8_t)l->column[i];
		b->region[i] = l->regions[l->region[i]];
		b->value_at[i] = (uint32_t)at;
		at += b->sets[b->set[i]].n;
	}
	return at == b->n_values;
}

static bool read_times(struct loading *l)
{
	struct block *b = l->b;
	uint8_t unit = reader_u8(&l->r);
	struct time_predictor p = { .mode = (enum time_mode)reader_u8(&l->r), .of_device = l->of_device };
	int64_t first = (int64_t)reader_u64(&l->r);
	uint64_t *times = (uint64_t *)b->timestamp_ns;

	if (unit >= ARRAY_SIZE(time_units) || p.mode >= TIME_MODES || !read_column(l, times, b->count))
		return false;

	int64_t arrival_first = reader_zigzag(&l->r), arrival_ms = arrival_first;

	if (!read_column(l, l->column, b->count))
		return false;
	memset(l->of_device, 0, b->n_devices * sizeof(l->of_device[0]));
	for (uint32_t i = 0; i < b->count; i++) {
		arrival_ms = wrap_add(arrival_ms, unzigzag(l->column[i]));
		b->arrival_ns[i] = wrap_mul(arrival_ms, NS_PER_MS);

		int64_t arrival = 0;

		if (p.mode == TIME_ARRIVAL)
			arrival = wrap_mul(wrap_sub(arrival_ms, arrival_first), NS_PER_MS) / time_units[unit];

		int64_t value = wrap_add(time_predict(&p, b->device[i], arrival), unzigzag(times[i]));

		time_learn(&p, b->device[i], arrival, value);
		b->timestamp_ns[i] = wrap_add(first, wrap_mul(value, time_units[unit]));
	}
	return true;
}

/* ------------------------------------------------------------------ values */

static double never_minus_zero(double v)
{
	return v == 0 ? 0 : v;
}

static bool read_raw(struct loading *l, uint32_t first, uint32_t n)
{
	uint64_t *bits = (uint64_t *)l->digits;

	if (!read_column(l, bits, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (i > 0)
			bits[i] ^= bits[l->links.link[first + i] - first];
		memcpy(&l->doubles[i], &bits[i], sizeof(double));
		l->doubles[i] = never_minus_zero(l->doubles[i]);
	}
	return true;
}

/* The list of exceptions is read before the column it corrects, and applied after it. */
static bool skip_exceptions(struct loading *l, struct reader *ret_list, uint32_t n, uint32_t *ret_count)
{
	if (!read_count(l, n, ret_count))
		return false;
	*ret_list = l->r;
	for (uint32_t i = 0; i < *ret_count; i++) {
		reader_varint(&l->r);
		reader_bytes(&l->r, sizeof(double));
	}
	return !l->r.failed;
}

static bool apply_exceptions(struct loading *l, struct reader list, uint32_t n, uint32_t count)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t gap = reader_varint(&list), bits;
		double v;

		if (gap >= n || at + gap >= n)
			return false;
		at += gap;
		bits = reader_u64(&list);
		memcpy(&v, &bits, sizeof(v));
		l->doubles[at] = never_minus_zero(v);
	}
	return true;
}

static bool read_digits(struct loading *l, uint8_t kind, uint32_t first, uint32_t n)
{
	bool plain = (kind & ~VALUE_EXCEPTIONS) == VALUE_PLAIN;
	uint8_t scale = reader_u8(&l->r);
	int64_t base = plain ? reader_zigzag(&l->r) : 0;
	uint32_t n_exceptions = 0;
	struct reader exceptions = { 0 };

	if (scale > DECIMAL_SCALE_MAX || ((kind & VALUE_EXCEPTIONS) && !skip_exceptions(l, &exceptions, n, &n_exceptions)) ||
	    !read_column(l, l->column, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (plain)
			l->digits[i] = wrap_add(base, (int64_t)l->column[i]);
		else
			l->digits[i] = wrap_add(i ? l->digits[l->links.link[first + i] - first] : 0, unzigzag(l->column[i]));
	}
	for (uint32_t i = 0; i < n; i++)
		l->doubles[i] = decimal_from_scale(l->digits[i], scale);
	return apply_exceptions(l, exceptions, n, n_exceptions);
}

static bool read_values(struct loading *l)
{
	struct block *b = l->b;

	block_links_make(&l->links, b->device, b->set, b->count, b->n_devices, b->n_sets);
	for (uint32_t s = 0; s < b->n_sets; s++) {
		uint32_t first = l->links.start[s], n = l->links.start[s + 1] - first;

		for (uint32_t m = 0; m < b->sets[s].n; m++) {
			uint8_t kind = reader_u8(&l->r), bare = kind & (uint8_t)~VALUE_EXCEPTIONS;

			if (l->r.failed || bare > VALUE_PLAIN || kind == (VALUE_RAW | VALUE_EXCEPTIONS) ||
			    !(kind == VALUE_RAW ? read_raw(l, first, n) : read_digits(l, kind, first, n)))
				return false;
			for (uint32_t i = 0; i < n; i++)
				b->values[b->value_at[l->links.order[first + i]] + m] = l->doubles[i];
		}
	}
	return true;
}

/* ------------------------------------------------------------------ the rest */

/* Byte strings of the readings that have this flag. */
static bool read_blobs(struct loading *l, struct slice *ret, uint8_t flag)
{
	struct block *b = l->b;
	uint32_t n = 0, at = 0;

	for (uint32_t i = 0; i < b->count; i++)
		n += (b->flags[i] & flag) != 0;
	if (!read_column(l, l->column, n))
		return false;
	for (uint32_t i = 0; i < b->count; i++) {
		ret[i] = SLICE(NULL, 0);
		if (!(b->flags[i] & flag))
			continue;
		if (l->column[at] > SLUICE_PAYLOAD_MAX)
			return false;
		ret[i] = SLICE(reader_bytes(&l->r, l->column[at]), l->column[at]);
		at++;
		if (l->r.failed)
			return false;
	}
	return true;
}

int block_read_columns(struct block *ret, uint32_t count, const uint8_t *hashes, struct slice raw)
{
	struct loading l = { .b = ret, .r = reader_of(raw) };
	int error;

	must(count > 0 && count <= BLOCK_READINGS_MAX);
	ret->count = count;
	error = read_head(&l);
	if (error == 0) {
		memcpy(ret->hash, hashes, count * sizeof(ret->hash[0]));
		if (!read_strings(&l, ret->devices, ret->n_devices, 1, SLUICE_DEVICE_MAX) ||
		    !read_strings(&l, l.regions, l.n_regions, 0, SLUICE_REGION_MAX) ||
		    !read_strings(&l, l.names, l.n_names, 0, TELEMETRY_NAME_MAX) || !read_sets(&l) || !read_readings(&l) ||
		    !read_times(&l) || !read_values(&l) || !read_blobs(&l, ret->unknown, FLAG_UNKNOWN) ||
		    !read_blobs(&l, ret->verbatim, FLAG_VERBATIM) || reader_left(&l.r) != 0)
			error = -EBADMSG;
	}
	if (error < 0)
		ret->count = 0;
	else
		for (uint32_t i = 0; i < count; i++)
			ret->flags[i] &= (uint8_t)~(FLAG_UNKNOWN | FLAG_VERBATIM);
	return error;
}

static int decompress(struct block *b, struct slice frame)
{
	unsigned long long size = ZSTD_getFrameContentSize(frame.data, frame.len);

	/* The two error values are the largest numbers of all. */
	if (size > BLOCK_RAW_MAX || size == 0 || ZSTD_findFrameCompressedSize(frame.data, frame.len) != frame.len)
		return -EBADMSG;
	if (!b->zstd)
		b->zstd = ZSTD_createDCtx();
	buf_reset(&b->raw);

	uint8_t *raw = buf_extend(&b->raw, size);

	if (!b->zstd || !raw)
		return -ENOMEM;
	return ZSTD_decompressDCtx(b->zstd, raw, size, frame.data, frame.len) == size ? 0 : -EBADMSG;
}

int block_read(struct block *ret, struct slice bytes)
{
	int error;

	ret->count = ret->n_devices = ret->n_sets = ret->n_values = 0;
	if (bytes.len == 0)
		return 0;

	struct reader r = reader_of(bytes);
	uint64_t count = reader_varint(&r);

	if (r.failed || count == 0 || count > BLOCK_READINGS_MAX)
		return -EBADMSG;

	const uint8_t *hashes = reader_bytes(&r, count * sizeof(uint64_t));

	if (!hashes)
		return -EBADMSG;
	error = decompress(ret, SLICE(r.at, reader_left(&r)));
	return error < 0 ? error : block_read_columns(ret, (uint32_t)count, hashes, buf_slice(&ret->raw));
}

int block_payload(const struct block *b, uint32_t i, struct buf *out)
{
	struct telemetry t;

	must(i < b->count);
	if (b->verbatim[i].data) {
		buf_append(out, b->verbatim[i].data, b->verbatim[i].len);
		return buf_error(out);
	}

	const struct block_set *set = &b->sets[b->set[i]];

	t.integrity_hash = b->hash[i];
	t.timestamp_ns = b->timestamp_ns[i];
	t.has_hash = !(b->flags[i] & BLOCK_UNHASHED);
	t.has_timestamp = !(b->flags[i] & BLOCK_STAMPED);
	t.device_id = b->devices[b->device[i]];
	t.region = b->region[i];
	t.unknown = b->unknown[i];
	t.n_metrics = set->n;
	for (uint32_t k = 0; k < set->n; k++)
		t.metrics[k] = (struct telemetry_metric){ set->names[k], b->values[b->value_at[i] + k] };
	telemetry_append(out, &t);
	return buf_error(out);
}
