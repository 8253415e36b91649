#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/index.h"
#include "base/rand.h"
#include "tests/unit/harness.h"

/* RFC 3720, appendix B.4. */
static void crc32c_gives_the_values_of_rfc3720(void)
{
	uint8_t data[32] = { 0 };

	CU_ASSERT_EQUAL(hash_crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	CU_ASSERT_EQUAL(hash_crc32c(0, data, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	CU_ASSERT_EQUAL(hash_crc32c(0, data, 32), 0x46dd794e);
	CU_ASSERT_EQUAL(hash_crc32c(hash_crc32c(0, data, 5), data + 5, 27), 0x46dd794e);
}

static void what_a_buffer_takes_a_reader_gives_back(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const int64_t signed_values[] = { 0, -1, 1, INT64_MIN, INT64_MAX, -123456789 };

	buf_append_u8(&b, 7);
	buf_append_u16(&b, 0x1234);
	buf_append_u32(&b, 0xdeadbeef);
	buf_append_u64(&b, 0x0123456789abcdefULL);
	buf_append_varint(&b, UINT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(signed_values); i++)
		buf_append_zigzag(&b, signed_values[i]);
	ASSERT_OK(buf_error(&b));

	struct reader r = reader_of(buf_slice(&b));

	CU_ASSERT_EQUAL(reader_u8(&r), 7);
	CU_ASSERT_EQUAL(reader_u16(&r), 0x1234);
	CU_ASSERT_EQUAL(reader_u32(&r), 0xdeadbeef);
	CU_ASSERT_EQUAL(reader_u64(&r), 0x0123456789abcdefULL);
	CU_ASSERT_EQUAL(reader_varint(&r), UINT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(signed_values); i++)
		CU_ASSERT_EQUAL(reader_zigzag(&r), signed_values[i]);
	CU_ASSERT_EQUAL(reader_left(&r), 0);
	CU_ASSERT_FALSE(r.failed);
	CU_ASSERT_EQUAL(reader_u8(&r), 0);
	CU_ASSERT_TRUE(r.failed);
}

/* The wire types document of protobuf: 300 is ac 02. */
static void varints_are_those_of_protobuf(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	buf_append_varint(&b, 300);
	CU_ASSERT_EQUAL(b.len, 2);
	CU_ASSERT_EQUAL(b.data[0], 0xac);
	CU_ASSERT_EQUAL(b.data[1], 0x02);
}

static void a_varint_beyond_64_bits_fails(void)
{
	const uint8_t eleven[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
	struct reader r = reader_of(SLICE(eleven, sizeof(eleven)));

	reader_varint(&r);
	CU_ASSERT_TRUE(r.failed);
}

static bool same_number(const void *context, uint32_t position)
{
	return *(const uint32_t *)context == position;
}

static void an_index_finds_what_was_added_also_under_equal_hashes(void)
{
	CLEANUP(index_done) struct index ix = INDEX_INIT;

	for (uint32_t i = 0; i < 10000; i++)
		ASSERT_OK(index_add(&ix, (uint64_t)(i / 3) << 32, i));
	for (uint32_t i = 0; i < 10000; i++)
		CU_ASSERT_EQUAL(index_find(&ix, (uint64_t)(i / 3) << 32, same_number, &i), i);

	uint32_t absent = 10000;

	CU_ASSERT_EQUAL(index_find(&ix, 5ULL << 32, same_number, &absent), INDEX_NONE);
	index_clear(&ix);
	absent = 5;
	CU_ASSERT_EQUAL(index_find(&ix, 1ULL << 32, same_number, &absent), INDEX_NONE);
}

/* date -u -d @1163462403 gives 2006-11-14T00:00:03. */
static void times_are_written_as_iso_8601(void)
{
	char text[CLOCK_ISO_LEN];

	clock_format_iso(1163462403453000001LL, text);
	CU_ASSERT_STRING_EQUAL(text, "2006-11-14T00:00:03.453000001Z");
	clock_format_iso(-1, text);
	CU_ASSERT_STRING_EQUAL(text, "1969-12-31T23:59:59.999999999Z");
}

static void backoff_stays_under_its_cap(void)
{
	for (unsigned attempt = 0; attempt < 100; attempt++) {
		int64_t wait = rand_backoff(10, 1000, attempt);

		CU_ASSERT(wait >= 0 && wait <= 1000);
		CU_ASSERT(attempt > 3 || wait <= 10 << attempt);
	}
}

TESTS("base", T(crc32c_gives_the_values_of_rfc3720), T(what_a_buffer_takes_a_reader_gives_back),
      T(varints_are_those_of_protobuf), T(a_varint_beyond_64_bits_fails),
      T(an_index_finds_what_was_added_also_under_equal_hashes), T(times_are_written_as_iso_8601),
      T(backoff_stays_under_its_cap))
