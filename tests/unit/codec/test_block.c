#include <errno.h>
#include <math.h>
#include <zstd.h>

#include "base/rand.h"
#include "codec/block.h"
#include "codec/block_layout.h"
#include "tests/unit/codec/random_telemetry.h"
#include "tests/unit/harness.h"

/* What was put into a block, to compare with what comes out. */
struct expected {
	struct buf payloads;
	uint32_t n;
	uint32_t end[BLOCK_READINGS_MAX];
	int64_t timestamp_ns[BLOCK_READINGS_MAX], arrival_ns[BLOCK_READINGS_MAX];
	uint8_t flags[BLOCK_READINGS_MAX];
};

static struct expected expected;
static uint64_t seed;

static struct slice payload_of(uint32_t i)
{
	uint32_t start = i ? expected.end[i - 1] : 0;

	return SLICE(expected.payloads.data + start, expected.end[i] - start);
}

static struct block_writer *new_writer(void)
{
	struct block_writer *w;

	ASSERT_OK(block_writer_new(&w, 3));
	return w;
}

static void cleanup_writer(struct block_writer **w)
{
	block_writer_free(*w);
}

/* Adds the payload that stands last in expected.payloads. */
static int add_last(struct block_writer *w, int64_t arrival_ns)
{
	uint32_t i = expected.n;
	struct telemetry t;

	expected.end[i] = (uint32_t)expected.payloads.len;

	struct slice payload = payload_of(i);

	ASSERT_OK(telemetry_parse(&t, payload.data, payload.len));
	expected.timestamp_ns[i] = t.has_timestamp ? t.timestamp_ns : arrival_ns;
	expected.arrival_ns[i] = arrival_ns;
	expected.flags[i] = t.has_timestamp ? 0 : BLOCK_STAMPED;

	int error = block_writer_add(w, payload, expected.timestamp_ns[i], arrival_ns, expected.flags[i]);

	if (error == 0)
		expected.n++;
	else
		expected.payloads.len = i ? expected.end[i - 1] : 0;
	return error;
}

static void begin(struct random *r)
{
	seed = rand_u64() | 1;
	*r = (struct random){ seed };
	expected.n = 0;
	buf_reset(&expected.payloads);
}

static int64_t floor_ms(int64_t ns)
{
	return ns - ((ns % NS_PER_MS) + NS_PER_MS) % NS_PER_MS;
}

static bool reading_is_right(const struct block *b, uint32_t i)
{
	CLEANUP(buf_done) struct buf out = BUF_INIT;
	struct slice payload = payload_of(i);
	struct telemetry t;
	bool right = block_payload(b, i, &out) == 0 && out.len == payload.len && memcmp(out.data, payload.data, out.len) == 0;

	if (telemetry_parse(&t, payload.data, payload.len) < 0)
		return false;
	right = right && b->timestamp_ns[i] == expected.timestamp_ns[i] && b->hash[i] == t.integrity_hash &&
		b->arrival_ns[i] == floor_ms(expected.arrival_ns[i]) &&
		(b->flags[i] & BLOCK_STAMPED) == expected.flags[i] && b->sets[b->set[i]].n == t.n_metrics &&
		b->region[i].len == t.region.len && b->unknown[i].len == t.unknown.len;

	struct slice device = b->devices[b->device[i]];

	right = right && device.len == t.device_id.len && memcmp(device.data, t.device_id.data, device.len) == 0;
	for (uint32_t k = 0; right && k < t.n_metrics; k++) {
		struct slice name = b->sets[b->set[i]].names[k];

		right = memcmp(&b->values[b->value_at[i] + k], &t.metrics[k].value, sizeof(double)) == 0 &&
			name.len == t.metrics[k].name.len && memcmp(name.data, t.metrics[k].name.data, name.len) == 0;
	}
	return right;
}

static void check(struct block_writer *w, struct block *b)
{
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	uint32_t wrong = 0;

	CU_ASSERT_EQUAL(block_writer_count(w), expected.n);
	ASSERT_OK(block_writer_finish(w, &bytes));
	CU_ASSERT_EQUAL(block_writer_count(w), 0);
	ASSERT_OK(block_read(b, buf_slice(&bytes)));
	CU_ASSERT_EQUAL_FATAL(b->count, expected.n);
	for (uint32_t i = 0; i < expected.n; i++)
		wrong += !reading_is_right(b, i);
	CU_ASSERT_EQUAL(wrong, 0);
	if (wrong)
		printf("  %u of %u readings are wrong; seed %llu\n", wrong, expected.n, (unsigned long long)seed);
}

static void fill(struct block_writer *w, struct random *r, uint32_t n, unsigned odd_percent, unsigned metrics_max)
{
	int64_t arrival_ns = 1700000000000000000LL + random_below(r, 1000000000);

	for (uint32_t i = 0; i < n; i++) {
		random_telemetry(&expected.payloads, r, odd_percent, metrics_max);
		ASSERT_OK(add_last(w, arrival_ns));
		arrival_ns += random_below(r, 3000000);
	}
}

static void what_goes_in_comes_out_byte_for_byte(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	struct random r;

	block_init(&b);
	for (int round = 0; round < 100; round++) {
		begin(&r);
		fill(w, &r, 1 + random_below(&r, 300), random_below(&r, 2) * 30, 40);
		check(w, &b);
	}
}

static void a_full_block_comes_out_too(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	struct random r;

	block_init(&b);
	begin(&r);
	fill(w, &r, BLOCK_READINGS_MAX, 5, 8);
	random_telemetry(&expected.payloads, &r, 0, 8);
	CU_ASSERT_EQUAL(block_writer_add(w, payload_of(0), expected.timestamp_ns[0], 0, expected.flags[0]), -ENOSPC);
	check(w, &b);
}

/* A canonical message of n metrics. */
static void append_message(struct buf *b, const char *device, int64_t timestamp_ns, const char *const *names,
			   const double *values, uint32_t n)
{
	buf_append_u8(b, 0x09);
	buf_append_u64(b, (uint64_t)timestamp_ns * 0x9E3779B97F4A7C15ULL);
	buf_append_u8(b, 0x11);
	buf_append_u64(b, (uint64_t)timestamp_ns);
	buf_append_u8(b, 0x1a);
	buf_append_u8(b, (uint8_t)strlen(device));
	buf_append_str(b, device);
	for (uint32_t i = 0; i < n; i++)
		random_entry(b, NULL, names[i], values[i], false);
}

static void sixty_four_metrics_of_each_of_many_readings_come_out(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	struct random r;
	char texts[TELEMETRY_METRICS_MAX][8];
	const char *names[TELEMETRY_METRICS_MAX];
	double values[TELEMETRY_METRICS_MAX];
	uint32_t n = 0;
	int error = 0;

	block_init(&b);
	begin(&r);
	for (uint32_t i = 0; i < TELEMETRY_METRICS_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "m%02u", i);
		names[i] = texts[i];
	}
	for (; error == 0; n++) {
		for (uint32_t i = 0; i < TELEMETRY_METRICS_MAX; i++)
			values[i] = random_below(&r, 4) ? random_below(&r, 1000) / 10.0 : random_double(&r) + 0.0;
		append_message(&expected.payloads, "d", n, names, values, TELEMETRY_METRICS_MAX);
		error = add_last(w, n);
	}
	CU_ASSERT_EQUAL(error, -ENOSPC);
	CU_ASSERT(n > 1000);
	check(w, &b);
}

static void a_column_may_mix_decimals_and_what_is_none(void)
{
	static const double mixes[][12] = {
		{ 1.5, 2.25, 3, 1e-9, 4, 5, 6, 7, 8, 9, 10, 11 },			/* the scale grows */
		{ 123456789012345.0, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 },		/* and cannot for the first */
		{ NAN, 1, 2, 3, 4, 5, 6, 7, 8, 9, NAN, 11 },
		{ NAN, NAN, NAN, NAN, NAN, 5, 6, 7, 8, 9, 10, 11 },			/* too many */
		{ 0.1 + 0.2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, INFINITY },
		{ 1e300, -1e300, 5e-324, 1, 2, 3, 4, 5, 6, 7, 8, 9 },
		{ -999999999999999.0, 999999999999999.0, -999999999999999.0, 1, 2, 3, 4, 5, 6, 7, 8, 9 },
		{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5 },
		{ 3.1415927410125732, 2.7182817459106445, 1.4142135381698608, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, /* floats */
	};
	static const char *const devices[] = { "a", "b", "c" };
	static const char *const name = "m";
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	struct random r;

	block_init(&b);
	for (size_t mix = 0; mix < ARRAY_SIZE(mixes); mix++) {
		for (uint32_t n_devices = 1; n_devices <= 3; n_devices++) {
			begin(&r);
			for (uint32_t i = 0; i < 12; i++) {
				append_message(&expected.payloads, devices[i % n_devices], 60 * i, &name, &mixes[mix][i], 1);
				ASSERT_OK(add_last(w, 0));
			}
			check(w, &b);
		}
	}
}

static void times_at_the_ends_of_the_range_come_out(void)
{
	static const int64_t times[] = { 0, INT64_MIN, INT64_MAX, -1, 1, INT64_MIN, INT64_MIN + 1, INT64_MAX,
					 1700000000000000000 };
	static const char *const name = "m";
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	struct random r;
	const double value = 1;

	block_init(&b);
	begin(&r);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		append_message(&expected.payloads, i % 2 ? "a" : "b", times[i], &name, &value, 1);
		ASSERT_OK(add_last(w, times[i] / 4 * 3));
	}
	check(w, &b);
}

static void a_reading_that_is_refused_leaves_no_trace(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(block_done) struct block b;
	static const char device_only[] = "\x1a\x01" "d";
	struct random r;

	block_init(&b);
	begin(&r);
	CU_ASSERT_EQUAL(block_writer_add(w, SLICE("\x1a", 1), 0, 0, 0), -EBADMSG);
	CU_ASSERT_EQUAL(block_writer_add(w, SLICE(device_only, 3), 0, 0, 0), -EBADMSG); /* no timestamp, and not stamped */
	fill(w, &r, 1, 0, 1);
	CU_ASSERT_EQUAL(block_writer_add(w, payload_of(0), 1, 0, expected.flags[0] ^ BLOCK_STAMPED), -EBADMSG);
	check(w, &b);
}

static void no_readings_make_no_bytes(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	CLEANUP(block_done) struct block b;

	block_init(&b);
	ASSERT_OK(block_writer_finish(w, &bytes));
	CU_ASSERT_EQUAL(bytes.len, 0);
	ASSERT_OK(block_read(&b, SLICE(NULL, 0)));
	CU_ASSERT_EQUAL(b.count, 0);
}

static void every_cut_of_a_block_is_refused(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	CLEANUP(block_done) struct block b;
	struct random r;

	block_init(&b);
	begin(&r);
	fill(w, &r, 20, 20, 8);
	ASSERT_OK(block_writer_finish(w, &bytes));
	for (size_t n = 1; n < bytes.len; n++)
		CU_ASSERT_EQUAL(block_read(&b, SLICE(bytes.data, n)), -EBADMSG);
	buf_append_u8(&bytes, 0);
	CU_ASSERT_EQUAL(block_read(&b, buf_slice(&bytes)), -EBADMSG);
}

/* A block of one reading whose columns are n zero bytes. */
static int read_zeros(struct block *b, size_t n)
{
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	CLEANUP_FREE uint8_t *zeros = calloc(1, n);
	size_t bound = ZSTD_compressBound(n);

	buf_append_u8(&bytes, 1);
	buf_append_u64(&bytes, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(zeros);
	bytes.len -= bound - ZSTD_compress(buf_extend(&bytes, bound), bound, zeros, n, 1);
	return block_read(b, buf_slice(&bytes));
}

static void a_frame_that_is_too_large_is_refused_before_it_is_read(void)
{
	CLEANUP(block_done) struct block b;

	block_init(&b);
	CU_ASSERT_EQUAL(read_zeros(&b, BLOCK_RAW_MAX + 1), -EBADMSG);
	CU_ASSERT_EQUAL(b.raw.cap, 0);
	CU_ASSERT_EQUAL(read_zeros(&b, BLOCK_RAW_MAX), -EBADMSG);
}

static void nothing_may_stand_behind_the_columns_or_their_frame(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	CLEANUP(block_done) struct block b;
	uint8_t raw[1024];
	struct random r;

	block_init(&b);
	begin(&r);
	fill(w, &r, 1, 0, 4);
	ASSERT_OK(block_writer_finish(w, &bytes));

	size_t n = ZSTD_decompress(raw, sizeof(raw) - 1, bytes.data + 9, bytes.len - 9), bound = ZSTD_compressBound(0);

	CU_ASSERT_FATAL(!ZSTD_isError(n));
	raw[n] = 0;
	CU_ASSERT_EQUAL(block_read_columns(&b, 1, bytes.data + 1, SLICE(raw, n)), 0);
	CU_ASSERT_EQUAL(block_read_columns(&b, 1, bytes.data + 1, SLICE(raw, n + 1)), -EBADMSG);
	/* An empty frame of zstd. */
	bytes.len -= bound - ZSTD_compress(buf_extend(&bytes, bound), bound, raw, 0, 1);
	CU_ASSERT_EQUAL(block_read(&b, buf_slice(&bytes)), -EBADMSG);
}

/* Behind zstd: whatever is changed there, the reader either refuses or gives something within its bounds. */
static void damaged_columns_are_refused_or_stay_within_bounds(void)
{
	CLEANUP(cleanup_writer) struct block_writer *w = new_writer();
	CLEANUP(buf_done) struct buf bytes = BUF_INIT, out = BUF_INIT;
	CLEANUP(block_done) struct block b;
	static uint8_t raw[1 << 20];
	struct random r;
	unsigned refused = 0;

	block_init(&b);
	begin(&r);
	fill(w, &r, 40, 30, 8);
	ASSERT_OK(block_writer_finish(w, &bytes));

	size_t frame = 1 + 40 * 8, n = ZSTD_decompress(raw, sizeof(raw), bytes.data + frame, bytes.len - frame);

	CU_ASSERT_FATAL(!ZSTD_isError(n));
	ASSERT_OK(block_read_columns(&b, 40, bytes.data + 1, SLICE(raw, n)));
	for (size_t i = 0; i < 20000; i++) {
		size_t at = i < n ? i : random_below(&r, (uint32_t)n);
		uint8_t was = raw[at];

		raw[at] = (uint8_t)random_u64(&r);
		if (block_read_columns(&b, 40, bytes.data + 1, SLICE(raw, n)) < 0) {
			refused++;
		} else {
			buf_reset(&out);
			for (uint32_t k = 0; k < b.count; k++)
				CU_ASSERT_EQUAL(block_payload(&b, k, &out), 0);
		}
		raw[at] = was;
	}
	CU_ASSERT(refused > 1000);
}

TESTS("block", T(what_goes_in_comes_out_byte_for_byte), T(a_full_block_comes_out_too),
      T(sixty_four_metrics_of_each_of_many_readings_come_out), T(a_column_may_mix_decimals_and_what_is_none),
      T(times_at_the_ends_of_the_range_come_out), T(a_reading_that_is_refused_leaves_no_trace),
      T(no_readings_make_no_bytes),
      T(every_cut_of_a_block_is_refused),
      T(a_frame_that_is_too_large_is_refused_before_it_is_read),
      T(nothing_may_stand_behind_the_columns_or_their_frame), T(damaged_columns_are_refused_or_stay_within_bounds))
