#include <errno.h>
#include <math.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/rand.h"
#include "codec/telemetry.h"
#include "tests/unit/codec/random_telemetry.h"
#include "tests/unit/harness.h"

/* SipHash-2-4-64 by OpenSSL. */
static uint64_t openssl_siphash(const struct siphash_key *key, const void *data, size_t n)
{
	uint8_t out[8];
	size_t out_len, size = sizeof(out);
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_END };
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	uint64_t ret;

	CU_ASSERT_EQUAL_FATAL(EVP_MAC_init(ctx, (const uint8_t *)key, 16, params), 1);
	CU_ASSERT_EQUAL_FATAL(EVP_MAC_update(ctx, data, n), 1);
	CU_ASSERT_EQUAL_FATAL(EVP_MAC_final(ctx, out, &out_len, sizeof(out)), 1);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	memcpy(&ret, out, 8);
	return ret;
}

#define HASH_FIELD "\x09\x88\x77\x66\x55\x44\x33\x22\x11"
#define TIME_FIELD "\x11\x15\xcd\x5b\x07\x00\x00\x00\x00" /* 123456789 */
#define DEVICE_FIELD "\x1a\x02" "d1"
#define REGION_FIELD "\x22\x02" "eu"
#define METRIC_T "\x2a\x0c\x0a\x01" "t" "\x11\x00\x00\x00\x00\x00\x80\x35\x40" /* 21.5 */
#define METRIC_H "\x2a\x0c\x0a\x01" "h" "\x11\x00\x00\x00\x00\x00\x00\x49\x40" /* 50 */
#define UNKNOWN "\x30\x07"
#define BYTES(literal) literal, sizeof(literal) - 1

static bool same(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static void a_message_is_read_field_by_field(void)
{
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, BYTES(HASH_FIELD TIME_FIELD DEVICE_FIELD REGION_FIELD METRIC_T METRIC_H UNKNOWN)));
	CU_ASSERT_TRUE(t.has_hash);
	CU_ASSERT_EQUAL(t.integrity_hash, 0x1122334455667788);
	CU_ASSERT_TRUE(t.has_timestamp);
	CU_ASSERT_EQUAL(t.timestamp_ns, 123456789);
	CU_ASSERT(same(t.device_id, "d1"));
	CU_ASSERT(same(t.region, "eu"));
	CU_ASSERT_EQUAL_FATAL(t.n_metrics, 2);
	CU_ASSERT(same(t.metrics[0].name, "t") && t.metrics[0].value == 21.5);
	CU_ASSERT(same(t.metrics[1].name, "h") && t.metrics[1].value == 50);
	CU_ASSERT(same(t.unknown, UNKNOWN));
	CU_ASSERT_TRUE(t.canonical);
}

static void any_order_of_fields_is_read(void)
{
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, BYTES(METRIC_T REGION_FIELD DEVICE_FIELD HASH_FIELD METRIC_H TIME_FIELD)));
	CU_ASSERT(t.has_hash && t.has_timestamp && t.n_metrics == 2 && same(t.region, "eu"));
	CU_ASSERT(same(t.device_id, "d1"));
	CU_ASSERT_FALSE(t.canonical);
	/* Only the device is needed. */
	ASSERT_OK(telemetry_parse(&t, BYTES(DEVICE_FIELD)));
	CU_ASSERT(!t.has_hash && !t.has_timestamp && t.n_metrics == 0 && t.region.len == 0 && t.unknown.len == 0);
}

static void what_is_no_message_is_refused(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		int error;
	} cases[] = {
		{ BYTES(""), -EBADMSG },
		{ BYTES(HASH_FIELD TIME_FIELD), -EBADMSG },                     /* no device */
		{ BYTES("\x1a\x00"), -EBADMSG },                                /* an empty one */
		{ BYTES(DEVICE_FIELD DEVICE_FIELD), -EBADMSG },
		{ BYTES(HASH_FIELD DEVICE_FIELD HASH_FIELD), -EBADMSG },
		{ BYTES(TIME_FIELD TIME_FIELD DEVICE_FIELD), -EBADMSG },
		{ BYTES(DEVICE_FIELD REGION_FIELD REGION_FIELD), -EBADMSG },
		{ BYTES(DEVICE_FIELD "\x2a\x0c\x0a\x01t"), -EBADMSG },          /* truncated */
		{ BYTES(DEVICE_FIELD "\x11\x00"), -EBADMSG },
		{ BYTES("\x1a\x02\xc0\xaf"), -EBADMSG },                        /* overlong UTF-8 */
		{ BYTES("\x1a\x03\xed\xa0\x80"), -EBADMSG },                    /* a surrogate */
		{ BYTES("\x1a\x04\xf4\x90\x80\x80"), -EBADMSG },                /* beyond U+10FFFF */
		{ BYTES("\x1a\x21" "012345678901234567890123456789012"), -EBADMSG }, /* 33 bytes */
		{ BYTES(DEVICE_FIELD "\x2a\x0c\x0a\x01\xff\x11\0\0\0\0\0\0\0\0"), -EBADMSG }, /* a name that is not UTF-8 */
		{ BYTES(DEVICE_FIELD "\x10\x05"), -EBADMSG },                   /* timestamp as a varint */
		{ BYTES(DEVICE_FIELD "\x00\x05"), -EBADMSG },                   /* field 0 */
		{ BYTES(DEVICE_FIELD "\x33\x34"), -EBADMSG },                   /* a group */
		{ BYTES(DEVICE_FIELD "\x89\x00\x88\x77\x66\x55\x44\x33\x22\x11"), -EBADMSG }, /* a tag of two bytes */
		{ BYTES(DEVICE_FIELD "\x2a\x0d\x0a\x01" "t" "\x0a\x01" "t" "\x18\x01" "\x18\x01"), -EBADMSG }, /* key twice */
		{ BYTES(DEVICE_FIELD "\x2a\x05\x0a\x01" "t" "\x18\x01"), -EBADMSG }, /* a third field in an entry */
		{ BYTES(DEVICE_FIELD UNKNOWN METRIC_T), -EOPNOTSUPP },
		{ BYTES(UNKNOWN DEVICE_FIELD), -EOPNOTSUPP },
	};
	struct telemetry t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int error = telemetry_parse(&t, cases[i].bytes, cases[i].len);

		if (error != cases[i].error)
			printf("  case %zu: %d\n", i, error);
		CU_ASSERT_EQUAL(error, cases[i].error);
	}
}

static void as_many_metrics_are_taken_as_there_may_be(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct telemetry t;

	buf_append(&b, BYTES(DEVICE_FIELD));
	for (int i = 0; i < TELEMETRY_METRICS_MAX; i++)
		buf_append(&b, BYTES(METRIC_T));
	ASSERT_OK(telemetry_parse(&t, b.data, b.len));
	CU_ASSERT_EQUAL(t.n_metrics, TELEMETRY_METRICS_MAX); /* repeats are kept */
	buf_append(&b, BYTES(METRIC_T));
	CU_ASSERT_EQUAL(telemetry_parse(&t, b.data, b.len), -EBADMSG);
}

static void a_name_may_have_64_bytes_and_no_more(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct telemetry t;

	for (int len = TELEMETRY_NAME_MAX; len <= TELEMETRY_NAME_MAX + 1; len++) {
		buf_reset(&b);
		buf_append(&b, BYTES(DEVICE_FIELD));
		buf_printf(&b, "\x2a%c\x0a%c%0*d\x11", len + 11, len, len, 0);
		buf_append_u64(&b, 0);
		CU_ASSERT_EQUAL(telemetry_parse(&t, b.data, b.len), len > TELEMETRY_NAME_MAX ? -EBADMSG : 0);
	}
}

static void a_message_beyond_the_payload_is_refused(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct telemetry t;

	buf_append(&b, BYTES(DEVICE_FIELD "\x3a"));
	buf_append_varint(&b, SLUICE_PAYLOAD_MAX - 4 - 3);
	memset(buf_extend(&b, SLUICE_PAYLOAD_MAX - 4 - 3), 'x', SLUICE_PAYLOAD_MAX - 4 - 3);
	ASSERT_OK(telemetry_parse(&t, b.data, b.len));
	buf_append(&b, BYTES(UNKNOWN));
	CU_ASSERT_EQUAL(telemetry_parse(&t, b.data, b.len), -EBADMSG);
}

static void minus_zero_is_read_as_zero_and_noted(void)
{
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, BYTES(DEVICE_FIELD "\x2a\x0c\x0a\x01t\x11\x00\x00\x00\x00\x00\x00\x00\x80")));
	CU_ASSERT_EQUAL(t.metrics[0].value, 0);
	CU_ASSERT_FALSE(signbit(t.metrics[0].value));
	CU_ASSERT_FALSE(t.canonical);
}

static void an_entry_without_name_or_value_has_the_defaults(void)
{
	static const char bytes[] = DEVICE_FIELD "\x2a\x03\x0a\x01t" "\x2a\x09\x11\x00\x00\x00\x00\x00\x00\x49\x40" "\x2a\x00";
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, BYTES(bytes)));
	CU_ASSERT_EQUAL_FATAL(t.n_metrics, 3);
	CU_ASSERT(same(t.metrics[0].name, "t") && t.metrics[0].value == 0);
	CU_ASSERT(t.metrics[1].name.len == 0 && t.metrics[1].value == 50);
	CU_ASSERT(t.metrics[2].name.len == 0 && t.metrics[2].value == 0);
	CU_ASSERT_FALSE(t.canonical);
}

static void canonical_says_whether_writing_gives_the_same_bytes(void)
{
	struct random r = { rand_u64() | 1 }, start = r;
	unsigned odd = 0, wrong = 0;

	for (int i = 0; i < 20000; i++) {
		CLEANUP(buf_done) struct buf in = BUF_INIT, out = BUF_INIT;
		struct telemetry t;

		random_telemetry(&in, &r, 50, 40);
		if (telemetry_parse(&t, in.data, in.len) < 0) {
			wrong++;
			continue;
		}
		telemetry_append(&out, &t);

		bool equal = in.len == out.len && memcmp(in.data, out.data, in.len) == 0;

		odd += !equal;
		wrong += equal != t.canonical;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(odd > 2000 && odd < 18000);
	if (wrong)
		printf("  seed %llu\n", (unsigned long long)start.state);
}

static void the_tag_runs_over_all_but_field_one_wherever_it_stands(void)
{
	static const char rest[] = TIME_FIELD DEVICE_FIELD METRIC_T METRIC_H;
	const uint64_t expected = openssl_siphash(&siphash_open_key, BYTES(rest));
	uint64_t tag[2], other[2];

	telemetry_tag(BYTES(rest), &siphash_open_key, tag);
	CU_ASSERT_EQUAL(tag[0], expected);
	telemetry_tag(BYTES(HASH_FIELD TIME_FIELD DEVICE_FIELD METRIC_T METRIC_H), &siphash_open_key, other);
	CU_ASSERT(other[0] == expected && other[1] == tag[1]);
	telemetry_tag(BYTES(TIME_FIELD HASH_FIELD DEVICE_FIELD METRIC_T METRIC_H), &siphash_open_key, other);
	CU_ASSERT(other[0] == expected && other[1] == tag[1]);
	telemetry_tag(BYTES(TIME_FIELD DEVICE_FIELD METRIC_T METRIC_H HASH_FIELD), &siphash_open_key, other);
	CU_ASSERT(other[0] == expected && other[1] == tag[1]);
}

static void json_gives_sorted_bytes_with_their_hash(void)
{
	static const char json[] = "{\"device_id\":\"d1\",\"timestamp_ns\":\"123456789\",\"region\":\"eu\","
				   "\"metrics\":{\"t\":21.5,\"h\":50}}";
	static const char rest[] = TIME_FIELD DEVICE_FIELD REGION_FIELD METRIC_H METRIC_T;
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	uint64_t hash = openssl_siphash(&siphash_open_key, BYTES(rest));

	ASSERT_OK(telemetry_from_json(&b, BYTES(json), &siphash_open_key, NULL));
	CU_ASSERT_EQUAL_FATAL(b.len, 9 + sizeof(rest) - 1);
	CU_ASSERT_EQUAL(b.data[0], 9);
	CU_ASSERT_EQUAL(memcmp(b.data + 1, &hash, 8), 0);
	CU_ASSERT_EQUAL(memcmp(b.data + 9, rest, sizeof(rest) - 1), 0);
}

static void json_takes_both_spellings_and_both_kinds_of_integers(void)
{
	static const char *const same_thing[] = {
		"{\"deviceId\":\"d1\",\"timestampNs\":123456789,\"metrics\":{\"t\":\"21.5\"},\"integrityHash\":null}",
		"{\"metrics\":{\"t\":2.15e1},\"timestamp_ns\":\"123456789\",\"device_id\":\"d1\",\"region\":\"\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(same_thing); i++) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;
		char error[128] = "";

		ASSERT_OK(telemetry_from_json(&b, same_thing[i], strlen(same_thing[i]), NULL, error));
		CU_ASSERT(same(buf_slice(&b), TIME_FIELD DEVICE_FIELD METRIC_T) ||
			  (b.len == sizeof(TIME_FIELD DEVICE_FIELD METRIC_T) - 1 &&
			   memcmp(b.data, TIME_FIELD DEVICE_FIELD METRIC_T, b.len) == 0));
	}
}

static void json_that_is_wrong_is_refused_by_name(void)
{
	static const struct {
		const char *json, *error;
	} cases[] = {
		{ "[]", "an object" },
		{ "{\"device_id\":\"d\"", "line 1" },
		{ "{\"metrics\":{}}", "device_id: is missing" },
		{ "{\"device_id\":\"\"}", "device_id: is missing" },
		{ "{\"device_id\":\"d\",\"colour\":1}", "colour: no such member" },
		{ "{\"device_id\":\"d\",\"deviceId\":\"d\"}", "deviceId: given twice" },
		{ "{\"device_id\":\"d\",\"metrics\":{\"a\":1,\"a\":2}}", "duplicate" },
		{ "{\"device_id\":\"d\",\"metrics\":{\"a\":true}}", "metrics.a: a number" },
		{ "{\"device_id\":\"d\",\"metrics\":{\"a\":\"0x10\"}}", "metrics.a: a number" },
		{ "{\"device_id\":\"d\",\"metrics\":[]}", "metrics: an object" },
		{ "{\"device_id\":\"d\",\"timestamp_ns\":1.5}", "timestamp_ns: nanoseconds" },
		{ "{\"device_id\":\"d\",\"timestamp_ns\":\"9223372036854775808\"}", "timestamp_ns: nanoseconds" },
		{ "{\"device_id\":\"d\",\"timestamp_ns\":\" 1\"}", "timestamp_ns: nanoseconds" },
		{ "{\"device_id\":\"d\",\"integrity_hash\":\"12\"}", "integrity_hash: a string of 16" },
		{ "{\"device_id\":\"d\",\"integrity_hash\":\"0000000000000000\"}", "integrity_hash: does not fit" },
		{ "{\"device_id\":\"012345678901234567890123456789012\"}", "device_id: a string of at most 32" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;
		char error[128] = "";

		CU_ASSERT_EQUAL(telemetry_from_json(&b, cases[i].json, strlen(cases[i].json), &siphash_open_key, error), -EBADMSG);
		CU_ASSERT_EQUAL(b.len, 0);
		if (!strstr(error, cases[i].error))
			printf("  %s: %s\n", cases[i].json, error);
		CU_ASSERT_PTR_NOT_NULL(strstr(error, cases[i].error));
	}
}

static void json_is_written_in_one_form(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct telemetry t;

	ASSERT_OK(telemetry_parse(&t, BYTES(HASH_FIELD TIME_FIELD DEVICE_FIELD REGION_FIELD METRIC_T METRIC_H)));
	t.metrics[1].value = NAN;
	telemetry_append_json(&b, &t, false);
	CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "{\"integrity_hash\":\"1122334455667788\",\"timestamp_ns\":\"123456789\","
					     "\"device_id\":\"d1\",\"region\":\"eu\",\"metrics\":{\"t\":21.5,\"h\":\"NaN\"}}");
	buf_reset(&b);
	ASSERT_OK(telemetry_parse(&t, BYTES(DEVICE_FIELD METRIC_T METRIC_H METRIC_T)));
	telemetry_append_json(&b, &t, true);
	CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "{\"device_id\":\"d1\",\"metrics\":{\"h\":50,\"t\":21.5}");
}

static void strings_are_escaped_and_made_valid(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	json_append_string(&b, SLICE_STR("a\"\\\n\x01\x7f\xe2\x82\x82\xff\xe2\x82"));
	CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "\"a\\\"\\\\\\n\\u0001\x7f\xe2\x82\x82\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Whatever is canonical, has sorted metrics and no unknown fields comes back from its JSON byte for byte. */
static void bytes_survive_json(void)
{
	struct random r = { rand_u64() | 1 };
	int compared = 0;

	for (int i = 0; i < 5000; i++) {
		CLEANUP(buf_done) struct buf in = BUF_INIT, json = BUF_INIT, out = BUF_INIT, again = BUF_INIT;
		struct telemetry t;
		char error[128] = "";

		random_telemetry(&in, &r, 0, 3);
		ASSERT_OK(telemetry_parse(&t, in.data, in.len));
		t.unknown.len = 0;
		for (uint32_t k = 0; k < t.n_metrics; k++)
			if (isnan(t.metrics[k].value))
				t.metrics[k].value = NAN;
		telemetry_append_json(&json, &t, false);
		if (telemetry_from_json(&out, (const char *)json.data, json.len, NULL, error) < 0)
			printf("  %s: %s\n", error, buf_cstr(&json));

		struct telemetry u;

		ASSERT_OK(telemetry_parse(&u, out.data, out.len));
		telemetry_append_json(&again, &u, false);
		CU_ASSERT_EQUAL(u.n_metrics, t.n_metrics);
		for (uint32_t k = 1; k < u.n_metrics; k++)
			CU_ASSERT(memcmp(u.metrics[k - 1].name.data, u.metrics[k].name.data,
					 MIN(u.metrics[k - 1].name.len, u.metrics[k].name.len)) <= 0);
		if (t.n_metrics < 2) {
			compared++;
			CU_ASSERT_STRING_EQUAL(buf_cstr(&json), buf_cstr(&again));
		}
	}
	CU_ASSERT(compared > 500);
}

TESTS("telemetry", T(a_message_is_read_field_by_field), T(any_order_of_fields_is_read),
      T(what_is_no_message_is_refused),
      T(as_many_metrics_are_taken_as_there_may_be),
      T(a_name_may_have_64_bytes_and_no_more), T(a_message_beyond_the_payload_is_refused),
      T(minus_zero_is_read_as_zero_and_noted), T(an_entry_without_name_or_value_has_the_defaults),
      T(canonical_says_whether_writing_gives_the_same_bytes), T(the_tag_runs_over_all_but_field_one_wherever_it_stands),
      T(json_gives_sorted_bytes_with_their_hash), T(json_takes_both_spellings_and_both_kinds_of_integers),
      T(json_that_is_wrong_is_refused_by_name), T(json_is_written_in_one_form), T(strings_are_escaped_and_made_valid),
      T(bytes_survive_json))
