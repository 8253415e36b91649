/* The released example of each message (proto/released/golden, written by Python's runtime) against the C code. */
#include "codec/envelope.h"
#include "codec/region_data.h"
#include "codec/telemetry.h"
#include "proto/delta.pb-c.h"
#include "proto/envelope.pb-c.h"
#include "tests/unit/harness.h"

static struct buf golden(const char *name)
{
	struct buf b = BUF_INIT;
	char path[128];
	uint8_t piece[4096];
	size_t n;

	snprintf(path, sizeof(path), "proto/released/golden/%s.bin", name);

	FILE *f = fopen(path, "rb");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_append(&b, piece, n);
	fclose(f);
	CU_ASSERT_FATAL(b.len > 0);
	return b;
}

static bool equal(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void telemetry_comes_out_as_it_was_released(void)
{
	CLEANUP(buf_done) struct buf in = golden("Telemetry"), out = BUF_INIT;
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, in.data, in.len));
	CU_ASSERT_EQUAL(t.integrity_hash, 0xFEDCBA9876543210);
	CU_ASSERT_EQUAL(t.timestamp_ns, -1);
	CU_ASSERT(t.device_id.len == 7 && memcmp(t.device_id.data, "mote-20", 7) == 0);
	CU_ASSERT_EQUAL_FATAL(t.n_metrics, 4); /* "", "humidity", "temperature", U+00B0: sorted bytewise */
	CU_ASSERT(t.metrics[0].value == 1e300 && t.metrics[1].value == 51.46 && t.metrics[2].value == -21.21 &&
		  t.metrics[3].value == 0);
	CU_ASSERT_TRUE(t.canonical);
	telemetry_append(&out, &t);
	CU_ASSERT(equal(&in, &out));
}

static void an_envelope_comes_out_as_it_was_released(void)
{
	CLEANUP(buf_done) struct buf in = golden("TelemetryEnvelope"), out = BUF_INIT;
	struct envelope e;

	ASSERT_OK(envelope_read(&e, buf_slice(&in)));
	CU_ASSERT(e.lane == ENVELOPE_BACKLOG && e.shard == 7 && e.ordinal_end == 1000100 && e.count == 98 && e.idle);
	CU_ASSERT(e.clock_ns == 1163438041250000000 && e.cut_ns == 1163438041280000000 && e.trace.span_id[0] == 0x30);
	envelope_append(&out, &e);
	CU_ASSERT(equal(&in, &out));
}

static void region_data_comes_out_as_it_was_released(void)
{
	CLEANUP(buf_done) struct buf in = golden("RegionData"), out = BUF_INIT, memory = BUF_INIT;
	struct region_data d;

	ASSERT_OK(region_data_read(&d, buf_slice(&in), &memory));
	CU_ASSERT(d.n_words == 4 && d.n_devices == 3 && d.place[1] == 3 && d.watermark_ns == -5 && d.replay);
	CU_ASSERT_EQUAL(region_data_flags(&d, 2), 2);
	region_data_append(&out, &d);
	CU_ASSERT(equal(&in, &out));
}

static void what_protobuf_c_serves_comes_out_as_it_was_released(void)
{
	static const struct {
		const char *name;
		const ProtobufCMessageDescriptor *descriptor;
	} cases[] = {
		{ "TelemetryEnvelope", &sluice__v1__telemetry_envelope__descriptor },
		{ "RegionData", &sluice__v1__region_data__descriptor },
		{ "GatewayDark", &sluice__v1__gateway_dark__descriptor },
		{ "Aside", &sluice__v1__aside__descriptor },
		{ "ConsolidatedEnvelope", &sluice__v1__consolidated_envelope__descriptor },
		{ "GlobalData", &sluice__v1__global_data__descriptor },
		{ "WindowDecision", &sluice__v1__window_decision__descriptor },
		{ "WindowSilence", &sluice__v1__window_silence__descriptor },
		{ "AlertRecord", &sluice__v1__alert_record__descriptor },
		{ "AlertSent", &sluice__v1__alert_sent__descriptor },
		{ "WindowAlert", &sluice__v1__window_alert__descriptor },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_done) struct buf in = golden(cases[i].name), out = BUF_INIT;
		ProtobufCMessage *m = protobuf_c_message_unpack(cases[i].descriptor, NULL, in.len, in.data);

		CU_ASSERT_PTR_NOT_NULL_FATAL(m);
		CU_ASSERT_EQUAL(m->n_unknown_fields, 0);
		buf_extend(&out, protobuf_c_message_get_packed_size(m));
		protobuf_c_message_pack(m, out.data);
		protobuf_c_message_free_unpacked(m, NULL);
		CU_ASSERT(equal(&in, &out));
	}
}

TESTS("golden", T(telemetry_comes_out_as_it_was_released), T(an_envelope_comes_out_as_it_was_released),
      T(region_data_comes_out_as_it_was_released), T(what_protobuf_c_serves_comes_out_as_it_was_released))
