#include <errno.h>

#include "codec/envelope.h"
#include "codec/region_data.h"
#include "proto/envelope.pb-c.h"
#include "tests/unit/harness.h"

/* protobuf-c's generated code is the other side of every comparison here. */

static struct envelope sample(void)
{
	return (struct envelope){
		.spool_id = "0123456789abcde",
		.gateway_id = SLICE_STR("gw-1"),
		.home_region = SLICE_STR("eu"),
		.lane = ENVELOPE_BACKLOG,
		.shard = 300,
		.ordinal_first = 1ULL << 40,
		.ordinal_end = (1ULL << 40) + 120,
		.count = 100,
		.clock_ns = 1700000000123456789,
		.idle = true,
		.cut_ns = -5,
		.trace = { .trace_id = "trace-trace-trac", .span_id = "spanspan" },
		.block_format = 1,
		.block = SLICE_STR("not looked into here"),
	};
}

static bool same(ProtobufCBinaryData a, const void *data, size_t len)
{
	return a.len == len && memcmp(a.data, data, len) == 0;
}

static void protobuf_c_reads_what_envelope_append_writes(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = sample();

	envelope_append(&b, &e);

	Sluice__V1__TelemetryEnvelope *m = sluice__v1__telemetry_envelope__unpack(NULL, b.len, b.data);

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_EQUAL(m->version, 1);
	CU_ASSERT(same(m->spool_id, e.spool_id, 16));
	CU_ASSERT_STRING_EQUAL(m->gateway_id, "gw-1");
	CU_ASSERT_STRING_EQUAL(m->home_region, "eu");
	CU_ASSERT_EQUAL(m->lane, SLUICE__V1__LANE__LANE_BACKLOG);
	CU_ASSERT_EQUAL(m->shard, 300);
	CU_ASSERT_EQUAL(m->ordinal_first, e.ordinal_first);
	CU_ASSERT_EQUAL(m->ordinal_end, e.ordinal_end);
	CU_ASSERT_EQUAL(m->count, 100);
	CU_ASSERT_EQUAL(m->clock_ns, e.clock_ns);
	CU_ASSERT_TRUE(m->idle);
	CU_ASSERT_EQUAL(m->cut_ns, -5);
	CU_ASSERT(same(m->trace_id, e.trace.trace_id, 16));
	CU_ASSERT(same(m->span_id, e.trace.span_id, 8));
	CU_ASSERT_EQUAL(m->block_format, 1);
	CU_ASSERT(same(m->block, e.block.data, e.block.len));

	/* And writes the very same bytes. */
	uint8_t packed[512];

	CU_ASSERT_EQUAL(sluice__v1__telemetry_envelope__pack(m, packed), b.len);
	CU_ASSERT_EQUAL(memcmp(packed, b.data, b.len), 0);
	sluice__v1__telemetry_envelope__free_unpacked(m, NULL);
}

static void an_envelope_comes_back_as_it_was(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = sample(), back;

	envelope_append(&b, &e);
	ASSERT_OK(envelope_read(&back, buf_slice(&b)));
	CU_ASSERT_EQUAL(memcmp(back.spool_id, e.spool_id, 16), 0);
	CU_ASSERT(back.gateway_id.len == 4 && memcmp(back.gateway_id.data, "gw-1", 4) == 0);
	CU_ASSERT(back.home_region.len == 2 && memcmp(back.home_region.data, "eu", 2) == 0);
	CU_ASSERT(back.lane == e.lane && back.shard == e.shard && back.count == e.count && back.idle == e.idle);
	CU_ASSERT(back.ordinal_first == e.ordinal_first && back.ordinal_end == e.ordinal_end);
	CU_ASSERT(back.clock_ns == e.clock_ns && back.cut_ns == e.cut_ns && back.block_format == e.block_format);
	CU_ASSERT_EQUAL(memcmp(&back.trace, &e.trace, sizeof(e.trace)), 0);
	CU_ASSERT(back.block.len == e.block.len && memcmp(back.block.data, e.block.data, e.block.len) == 0);
}

static void a_heartbeat_needs_no_block_and_no_trace(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = { .spool_id = { 1 }, .gateway_id = SLICE_STR("g"), .ordinal_first = 7, .ordinal_end = 7 }, back;

	envelope_append(&b, &e);
	ASSERT_OK(envelope_read(&back, buf_slice(&b)));
	CU_ASSERT(back.ordinal_first == 7 && back.ordinal_end == 7 && back.count == 0 && back.block.len == 0);
	/* Suppressed readings only. */
	e.ordinal_end = 9;
	buf_reset(&b);
	envelope_append(&b, &e);
	ASSERT_OK(envelope_read(&back, buf_slice(&b)));
}

static int reread(const struct envelope *e)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope back;

	envelope_append(&b, e);
	return envelope_read(&back, buf_slice(&b));
}

#define REFUSED(error, ...)                             \
	do {                                            \
		struct envelope e = sample();           \
		__VA_ARGS__;                            \
		CU_ASSERT_EQUAL(reread(&e), (error));   \
	} while (0)

static void an_envelope_out_of_bounds_is_refused(void)
{
	static char long_text[ENVELOPE_GATEWAY_MAX + 1];

	memset(long_text, 'x', sizeof(long_text));
	REFUSED(0, e.count = 120);
	REFUSED(-EBADMSG, e.count = 121);
	REFUSED(-EBADMSG, e.ordinal_end = e.ordinal_first - 1);
	REFUSED(-EBADMSG, e.count = 0);
	REFUSED(-EBADMSG, e.block.len = 0);
	REFUSED(-EBADMSG, e.ordinal_first = 0, e.count = BLOCK_READINGS_MAX + 1);
	REFUSED(-EPROTONOSUPPORT, e.block_format = 2);
	REFUSED(-EBADMSG, e.gateway_id.len = 0);
	REFUSED(-EBADMSG, e.gateway_id = SLICE(long_text, ENVELOPE_GATEWAY_MAX + 1));
	REFUSED(-EBADMSG, e.gateway_id = SLICE_STR("\xff"));
	REFUSED(0, e.home_region = SLICE(long_text, ENVELOPE_REGION_MAX));
	REFUSED(-EBADMSG, e.home_region = SLICE(long_text, ENVELOPE_REGION_MAX + 1));
	REFUSED(-EBADMSG, e.shard = ENVELOPE_SHARDS_MAX);
	REFUSED(-EBADMSG, memset(e.spool_id, 0, 16));
	REFUSED(-EBADMSG, e.lane = (enum envelope_lane)2);
}

static void ids_of_another_length_are_refused(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = sample(), back;

	envelope_append(&b, &e);
	b.data[0] = 0x08, b.data[1] = 2; /* version 2 */
	CU_ASSERT_EQUAL(envelope_read(&back, buf_slice(&b)), -EPROTONOSUPPORT);
	b.data[1] = 1;
	ASSERT_OK(envelope_read(&back, buf_slice(&b)));
	buf_append_str(&b, "\x6a\x03" "abc"); /* trace_id of 3 bytes */
	CU_ASSERT_EQUAL(envelope_read(&back, buf_slice(&b)), -EBADMSG);
}

static void an_envelope_that_is_cut_off_is_refused(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = sample(), back;

	envelope_append(&b, &e);
	/* From within the block, its last field; cut between two fields, it is a message like any other. */
	for (size_t n = b.len - e.block.len - 2; n < b.len; n++)
		CU_ASSERT_EQUAL(envelope_read(&back, SLICE(b.data, n)), -EBADMSG);
}

static void fields_of_tomorrow_are_skipped(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct envelope e = sample(), back;

	envelope_append(&b, &e);
	buf_append_str(&b, "\x88\x01\x05\x9a\x01\x03" "new"); /* field 17 as a varint, field 19 as bytes */
	ASSERT_OK(envelope_read(&back, buf_slice(&b)));
	CU_ASSERT_EQUAL(back.count, 100);
}

static void region_data_is_that_of_protobuf_c(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT, memory = BUF_INIT;
	const struct slice words[] = { SLICE_STR(""), SLICE_STR("mote"), SLICE_STR("caf\xc3\xa9") };
	const uint32_t type[] = { 1, 1 }, place[] = { 2, 0 }, owner[] = { 0, 0 };
	const struct region_data d = {
		.envelope = SLICE_STR("envelope"), .n_words = 3, .words = words, .n_devices = 2, .type = type,
		.place = place, .owner = owner, .flags = SLICE_STR("\1\2\3"), .appended_ns = 5, .watermark_ns = -6, .replay = true,
	};
	struct region_data back;

	region_data_append(&b, &d);

	Sluice__V1__RegionData *m = sluice__v1__region_data__unpack(NULL, b.len, b.data);
	uint8_t packed[256];

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT(m->n_words == 3 && strcmp(m->words[2], "caf\xc3\xa9") == 0);
	CU_ASSERT(m->n_type == 2 && m->type[0] == 1 && m->n_place == 2 && m->place[0] == 2 && m->n_owner == 2);
	CU_ASSERT(m->appended_ns == 5 && m->watermark_ns == -6 && m->replay);
	CU_ASSERT(same(m->flags, "\1\2\3", 3));

	size_t n = sluice__v1__region_data__pack(m, packed);

	ASSERT_OK(region_data_read(&back, SLICE(packed, n), &memory));
	CU_ASSERT(back.n_words == 3 && back.n_devices == 2 && back.words[1].len == 4 && back.words[0].len == 0);
	CU_ASSERT(back.type[1] == 1 && back.place[0] == 2 && back.place[1] == 0 && back.owner[1] == 0);
	CU_ASSERT(back.appended_ns == 5 && back.watermark_ns == -6 && back.replay);
	CU_ASSERT(region_data_flags(&back, 1) == 2 && region_data_flags(&back, 3) == 0);
	sluice__v1__region_data__free_unpacked(m, NULL);
}

static void region_data_that_does_not_fit_together_is_refused(void)
{
	CLEANUP(buf_done) struct buf memory = BUF_INIT;
	struct region_data back;
	static const struct {
		const char *bytes;
		int error;
	} cases[] = {
		{ "\x0a\x01" "e" "\x12\x01" "w" "\x1a\x01\x7f\x22\x01\x7f\x2a\x01\x7f", -EBADMSG }, /* index 127 of 1 word */
		{ "\x0a\x01" "e" "\x12\x01" "w" "\x12\x01" "v" "\x1a\x01\x01\x22\x01\x01", -EBADMSG }, /* no owner */
		{ "\x0a\x01" "e" "\x12\x01" "w" "\x12\x01" "v" "\x18\x01\x20\x01\x28\x01", 0 },	/* one by one */
		{ "\x12\x01" "w", -EBADMSG },						/* no envelope */
		{ "\x0a\x01" "e" "\x12\x01\xff", -EBADMSG },				/* not UTF-8 */
		{ "\x0a\x05" "e", -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		CU_ASSERT_EQUAL(region_data_read(&back, SLICE_STR(cases[i].bytes), &memory), cases[i].error);
	ASSERT_OK(region_data_read(&back, SLICE_STR(cases[2].bytes), &memory));
	CU_ASSERT(back.n_devices == 1 && back.type[0] == 1 && back.owner[0] == 1);
}

TESTS("envelope", T(protobuf_c_reads_what_envelope_append_writes), T(an_envelope_comes_back_as_it_was),
      T(a_heartbeat_needs_no_block_and_no_trace), T(an_envelope_out_of_bounds_is_refused),
      T(ids_of_another_length_are_refused),
      T(an_envelope_that_is_cut_off_is_refused), T(fields_of_tomorrow_are_skipped),
      T(region_data_is_that_of_protobuf_c),
      T(region_data_that_does_not_fit_together_is_refused))
