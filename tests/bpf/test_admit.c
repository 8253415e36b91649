#include <openssl/evp.h>
#include <openssl/params.h>

#include "bpf/shared/durable.h"
#include "tests/bpf/message.h"
#include "tests/unit/harness.h"

/* ------------------------------------------------------------------ hashes */

struct vector {
	struct siphash_key key;
	uint8_t key_bytes[16], message[1300], wide[16];
	size_t len;
	__u64 word1, word2;
};

static size_t hex_read(uint8_t *ret, const char *hex)
{
	size_t n = 0;

	for (unsigned v; sscanf(hex + 2 * n, "%2x", &v) == 1; n++)
		ret[n] = (uint8_t)v;
	return n;
}

static FILE *vectors_open(const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f)
		printf("  %s: run the tests from the top of the tree\n", path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return f;
}

/* Next line of tests/vectors/siphash.tsv. */
static bool vector_read(FILE *f, struct vector *ret)
{
	char line[4096], *column[5], *rest = line;

	do {
		if (!fgets(line, sizeof(line), f))
			return false;
	} while (line[0] == '#');
	for (int i = 0; i < 5; i++)
		column[i] = strsep(&rest, "\t\n");
	hex_read(ret->key_bytes, column[0]);
	memcpy(&ret->key, ret->key_bytes, 16);
	ret->len = hex_read(ret->message, column[1]);
	ret->word1 = strtoull(column[2], NULL, 16);
	ret->word2 = strtoull(column[3], NULL, 16);
	hex_read(ret->wide, column[4]);
	return true;
}

static void openssl_siphash(const struct vector *v, size_t size, uint8_t *ret)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
	OSSL_PARAM parameters[] = { OSSL_PARAM_construct_size_t("size", &size), OSSL_PARAM_construct_end() };
	size_t len;

	CU_ASSERT_EQUAL_FATAL(EVP_MAC_init(context, v->key_bytes, 16, parameters), 1);
	CU_ASSERT_EQUAL_FATAL(EVP_MAC_update(context, v->message, v->len), 1);
	CU_ASSERT_EQUAL_FATAL(EVP_MAC_final(context, ret, &len, size), 1);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
}

static void the_64_and_the_128_bit_hash_are_those_of_openssl(void)
{
	FILE *f = vectors_open("tests/vectors/siphash.tsv");
	struct vector v;
	uint8_t narrow[8], wide[16];
	int n = 0;

	for (; vector_read(f, &v); n++) {
		__u64 hash = siphash_64(&v.key, v.message, (__u32)v.len);
		struct siphash_key derived = siphash_128(&v.key, v.message, (__u32)v.len);

		openssl_siphash(&v, 8, narrow);
		openssl_siphash(&v, 16, wide);
		CU_ASSERT_EQUAL(memcmp(&hash, narrow, 8), 0);
		CU_ASSERT_EQUAL(memcmp(&derived, wide, 16), 0);
	}
	CU_ASSERT_TRUE(n > 100);
	fclose(f);
}

static void tag_and_derived_key_are_the_published_vectors(void)
{
	FILE *f = vectors_open("tests/vectors/siphash.tsv");
	struct vector v;
	__u64 tag[2];

	while (vector_read(f, &v)) {
		struct siphash_key derived = siphash_128(&v.key, v.message, (__u32)v.len);

		siphash_tag(&v.key, v.message, (__u32)v.len, tag);
		CU_ASSERT_EQUAL(tag[0], v.word1);
		CU_ASSERT_EQUAL(tag[1], v.word2);
		CU_ASSERT_EQUAL(memcmp(&derived, v.wide, 16), 0);
	}
	fclose(f);
}

static void shards_are_the_published_vectors(void)
{
	FILE *f = vectors_open("tests/vectors/shards.tsv");
	char line[256];
	int n = 0;

	while (fgets(line, sizeof(line), f)) {
		char *rest = line, *device = strsep(&rest, "\t");

		if (device[0] == '#')
			continue;

		__u64 hash = strtoull(strsep(&rest, "\t"), NULL, 16);

		CU_ASSERT_EQUAL(siphash_64(&siphash_open_key, device, (__u32)strlen(device)), hash);
		CU_ASSERT_EQUAL(hash % 16, strtoull(rest, NULL, 10));
		n++;
	}
	CU_ASSERT_TRUE(n >= 5);
	fclose(f);
}

/* ------------------------------------------------------------------ admission */

static const struct admit_keys open_keys = { .content_format = SLUICE_CONTENT_FORMAT };

static enum admit_result admit_message(const struct message *m, const struct admit_keys *keys, struct admission *ret)
{
	struct message_built b;

	message_build(&b, m);
	memset(b.bytes + b.len, 0xee, sizeof(b.bytes) - b.len); /* what lies behind must not matter */
	return admit(b.bytes, (__u32)b.len, keys, ret);
}

static enum admit_result result_of(const struct message *m)
{
	struct admission a;

	return admit_message(m, &open_keys, &a);
}

static void a_reading_is_admitted_with_every_field(void)
{
	struct message m = MESSAGE_DEFAULT;
	struct message_built b;
	struct admission a;

	m.region = "eu-west";
	m.no_response = 26;
	message_build(&b, &m);
	CU_ASSERT_EQUAL(admit(b.bytes, (__u32)b.len, &open_keys, &a), ADMIT_READING);
	CU_ASSERT_EQUAL(a.word1, b.tag[0]);
	CU_ASSERT_EQUAL(a.word2, b.tag[1]);
	CU_ASSERT_EQUAL(a.timestamp_ns, m.timestamp_ns);
	CU_ASSERT_TRUE(a.has_timestamp);
	CU_ASSERT_EQUAL(a.mid, 0x1234);
	CU_ASSERT_EQUAL(a.type, COAP_CON);
	CU_ASSERT_EQUAL(a.token_len, 4);
	CU_ASSERT_EQUAL(a.payload_off, b.payload_off);
	CU_ASSERT_EQUAL(a.payload_len, b.payload_len);
	CU_ASSERT_EQUAL(a.no_response, 26);
	CU_ASSERT_EQUAL(a.device_len, 7);
	CU_ASSERT_EQUAL(memcmp(b.bytes + a.payload_off + a.device_off, "mote-17", 7), 0);
	CU_ASSERT_EQUAL(a.region_len, 7);
	CU_ASSERT_EQUAL(memcmp(b.bytes + a.payload_off + a.region_off, "eu-west", 7), 0);
}

static void every_shape_that_devices_send_is_admitted(void)
{
	static const char *const devices[] = { "a", "01234567", "mote-17", "0123456789abcdef0123456789abcdef" };
	static const char *const hosts[] = { NULL, "gateway", "gw.eu-west.telemetry.example.org", "h" };
	static const size_t fillers[] = { 0, 1, 2, 3, 4, 5, 6, 7, 100, 1000 };
	struct admission a;

	for (unsigned i = 0; i < 9 * 4 * 4 * 10 * 2 * 3; i++) {
		struct message m = MESSAGE_DEFAULT;
		unsigned n = i;

		m.token_len = (uint8_t)(n % 9), n /= 9;
		m.device_id = devices[n % 4], n /= 4;
		m.uri_host = hosts[n % 4], n /= 4;
		m.filler_len = fillers[n % 10], n /= 10;
		m.has_timestamp = n % 2, n /= 2;
		m.uri_port = (int[]){ -1, 0, 5683 }[n % 3];
		m.type = i % 2 ? COAP_NON : COAP_CON;
		CU_ASSERT_EQUAL(admit_message(&m, &open_keys, &a), ADMIT_READING);
		CU_ASSERT_EQUAL(a.has_timestamp, m.has_timestamp);
		CU_ASSERT_EQUAL(a.token_len, m.token_len);
		CU_ASSERT_EQUAL(a.device_len, strlen(m.device_id));
	}
}

#define WITH(field, value) ({ struct message m_ = MESSAGE_DEFAULT; m_.field = value; result_of(&m_); })

static void what_is_coap_but_off_the_shape_is_odd(void)
{
	static const uint8_t ping[SLUICE_MESSAGE_BUF] = { 0x40, 0, 0x12, 0x34 };
	struct admission a;

	CU_ASSERT_EQUAL(WITH(code, 1), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(code, 3), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(path, "u"), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(path, "tt"), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(path, NULL), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(format, 50), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(format, 0), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(format, -1), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(extra_option, 14), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(extra_option, 27), ADMIT_ODD); /* Block1 */
	CU_ASSERT_EQUAL(WITH(extra_option, 2048), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(no_response, 0x102), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(uri_host, ""), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(device_id, ""), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(device_id, "0123456789abcdef0123456789abcdef!"), ADMIT_ODD);
	CU_ASSERT_EQUAL(WITH(region, "0123456789abcdef0123456789abcdef!"), ADMIT_ODD);
	CU_ASSERT_EQUAL(admit(ping, 4, &open_keys, &a), ADMIT_ODD);
	CU_ASSERT_EQUAL(a.mid, 0x1234);
}

static void what_is_not_a_coap_request_is_malformed(void)
{
	static const uint8_t ping[SLUICE_MESSAGE_BUF] = { 0x40, 0, 0x12, 0x34, 0xff };
	struct admission a;

	CU_ASSERT_EQUAL(WITH(version, 0), ADMIT_MALFORMED);
	CU_ASSERT_EQUAL(WITH(version, 2), ADMIT_MALFORMED);
	CU_ASSERT_EQUAL(WITH(type, COAP_ACK), ADMIT_MALFORMED);
	CU_ASSERT_EQUAL(WITH(type, COAP_RST), ADMIT_MALFORMED);
	CU_ASSERT_EQUAL(WITH(code, COAP_CHANGED), ADMIT_MALFORMED);
	for (uint8_t token_len = 9; token_len < 16; token_len++)
		CU_ASSERT_EQUAL(WITH(token_len, token_len), ADMIT_MALFORMED);
	CU_ASSERT_EQUAL(admit(ping, 5, &open_keys, &a), ADMIT_MALFORMED);
	for (__u32 len = 0; len < 4; len++)
		CU_ASSERT_EQUAL(admit(ping, len, &open_keys, &a), ADMIT_MALFORMED);
}

static void a_message_cut_anywhere_is_never_a_reading(void)
{
	struct message m = MESSAGE_DEFAULT;
	struct message_built b;
	struct admission a;

	m.uri_host = "gateway.example.org";
	m.uri_port = 5683;
	m.region = "eu-west";
	m.no_response = 2;
	message_build(&b, &m);
	for (__u32 len = 0; len < b.len; len++)
		CU_ASSERT_NOT_EQUAL(admit(b.bytes, len, &open_keys, &a), ADMIT_READING);
	CU_ASSERT_EQUAL(admit(b.bytes, (__u32)b.len, &open_keys, &a), ADMIT_READING);
}

static void one_changed_bit_anywhere_in_the_payload_is_found(void)
{
	struct message m = MESSAGE_DEFAULT;
	struct message_built b;
	struct admission a;

	message_build(&b, &m);
	for (size_t bit = 8 * b.payload_off; bit < 8 * b.len; bit++) {
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CU_ASSERT_NOT_EQUAL(admit(b.bytes, (__u32)b.len, &open_keys, &a), ADMIT_READING);
		b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void the_longest_payload_is_admitted_and_one_byte_more_is_odd(void)
{
	struct message m = MESSAGE_DEFAULT;
	struct message_built b;

	m.filler_len = 1000;
	message_build(&b, &m);
	m.filler_len += SLUICE_PAYLOAD_MAX - b.payload_len;
	CU_ASSERT_EQUAL(result_of(&m), ADMIT_READING);
	m.filler_len++;
	CU_ASSERT_EQUAL(result_of(&m), ADMIT_ODD);
	m.filler_len += 300;
	CU_ASSERT_EQUAL(result_of(&m), ADMIT_ODD);
}

static const struct siphash_key master = { 0x1122334455667788, 0x99aabbccddeeff00 };
static const struct siphash_key last_master = { 0xfeedfacecafebeef, 0x0123456789abcdef };

static struct admit_keys keyed(void)
{
	return (struct admit_keys){
		.own = { { master.k0, master.k1, 1, 8 }, { last_master.k0, last_master.k1, 1, 7 } },
		.keyed = 1,
		.content_format = SLUICE_CONTENT_FORMAT,
		.region = "eu-west",
		.region_len = 7,
	};
}

static void each_device_has_a_key_of_its_own_in_two_epochs(void)
{
	static const char *const devices[] = { "a", "mote-17", "01234567", "0123456789abcdef0123456789abcdef" };
	struct admit_keys keys = keyed();
	struct message m = MESSAGE_DEFAULT;
	struct admission a;

	for (size_t i = 0; i < 4; i++) {
		m.device_id = devices[i];
		m.key = siphash_128(&master, devices[i], (__u32)strlen(devices[i]));
		CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_READING);
		CU_ASSERT_EQUAL(a.key_slot, 0);
		m.key = siphash_128(&last_master, devices[i], (__u32)strlen(devices[i]));
		CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_READING);
		CU_ASSERT_EQUAL(a.key_slot, 1);
		m.key = siphash_128(&master, devices[(i + 1) % 4], (__u32)strlen(devices[(i + 1) % 4]));
		CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_BAD_HASH);
	}
	m.key = siphash_open_key;
	CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_BAD_HASH);
	m.key = siphash_128(&last_master, m.device_id, (__u32)strlen(m.device_id));
	keys.own[1].present = 0;
	CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_BAD_HASH);
}

static void a_reading_signed_for_another_region_is_foreign(void)
{
	static const char *const others[] = { "eu-wesu", "eu-wes", "eu-west1", "0123456789abcdef0123456789abcdef" };
	struct admit_keys keys = keyed();
	struct message m = MESSAGE_DEFAULT;
	struct admission a;

	m.key = siphash_128(&master, m.device_id, (__u32)strlen(m.device_id));
	m.region = "eu-west";
	CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_READING);
	m.region = "";
	CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_READING);
	for (size_t i = 0; i < 4; i++) {
		m.region = others[i];
		CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_FOREIGN);
	}
	keys.keyed = 0;
	m.key = siphash_open_key;
	CU_ASSERT_EQUAL(admit_message(&m, &keys, &a), ADMIT_READING);
}

static void a_spoilt_hash_is_a_bad_hash(void)
{
	CU_ASSERT_EQUAL(WITH(spoil, 1), ADMIT_BAD_HASH);
	CU_ASSERT_EQUAL(WITH(spoil, 1ULL << 63), ADMIT_BAD_HASH);
}

/* ------------------------------------------------------------------ answers */

static const uint8_t token[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static void answers_are_the_bytes_of_rfc7252(void)
{
	uint8_t b[SLUICE_ANSWER_MAX];
	struct answer a = { .code = COAP_CHANGED, .type = COAP_ACK, .token_len = 2, .mid = 0xabcd };

	CU_ASSERT_EQUAL(answer_write(b, &a, token), 6);
	CU_ASSERT_EQUAL(memcmp(b, "\x62\x44\xab\xcd\x01\x02", 6), 0);
	a.has_receipt = 1;
	a.receipt = 0x8877665544332211;
	CU_ASSERT_EQUAL(answer_write(b, &a, token), 15);
	CU_ASSERT_EQUAL(memcmp(b, "\x62\x44\xab\xcd\x01\x02\xff\x11\x22\x33\x44\x55\x66\x77\x88", 15), 0);
	a = (struct answer){ .code = COAP_TOO_MANY_REQUESTS, .type = COAP_NON, .token_len = 1, .mid = 1, .max_age_s = 9 };
	CU_ASSERT_EQUAL(answer_write(b, &a, token), 8);
	CU_ASSERT_EQUAL(memcmp(b, "\x51\x9d\0\x01\x01\xd1\x01\x09", 8), 0);
	a.max_age_s = 300;
	CU_ASSERT_EQUAL(answer_write(b, &a, token), 9);
	CU_ASSERT_EQUAL(memcmp(b, "\x51\x9d\0\x01\x01\xd2\x01\x01\x2c", 9), 0);
	a = (struct answer){ .type = COAP_RST, .token_len = 8, .mid = 0x0102 };
	CU_ASSERT_EQUAL(answer_write(b, &a, token), 4);
	CU_ASSERT_EQUAL(memcmp(b, "\x70\0\x01\x02", 4), 0);
}

static void an_answer_is_never_larger_than_the_request(void)
{
	for (uint8_t token_len = 0; token_len <= 8; token_len++)
		for (__u32 request_len = 0; request_len < 40; request_len++) {
			struct answer a = { .code = COAP_CHANGED, .type = COAP_ACK, .token_len = token_len, .has_receipt = 1 };
			uint8_t b[SLUICE_ANSWER_MAX];
			__u32 len = answer_write_within(b, &a, token, request_len), whole = 13U + token_len;

			CU_ASSERT_EQUAL(len, request_len >= whole           ? whole
					     : request_len >= 4U + token_len ? 4U + token_len
									    : 0);
		}
}

/* ------------------------------------------------------------------ the durable table */

static const __u64 one[2] = { 0x1111111111111111, 0x2222222222222222 };
static const __u64 two[2] = { 0x3333333333333333, 0x4444444444444444 };

static void what_was_put_is_found_and_nothing_else(void)
{
	struct sluice_durable_bucket b = { 0 };

	CU_ASSERT_FALSE(durable_find(&b, 0, 0));
	CU_ASSERT_FALSE(durable_find(&b, one[0], one[1]));
	durable_put(&b, one[0], one[1], 5);
	CU_ASSERT_TRUE(durable_find(&b, one[0], one[1]));
	CU_ASSERT_FALSE(durable_find(&b, one[0], two[1]));
	CU_ASSERT_FALSE(durable_find(&b, two[0], one[1]));
	durable_put(&b, 0, 0, 0x10000); /* a tag and a time of zero are a tag and a time */
	CU_ASSERT_TRUE(durable_find(&b, 0, 0));
}

/* A reader may meet any mixture of a slot's old and new words. */
static void a_torn_slot_matches_neither_tag(void)
{
	const __u64 *const tags[] = { (__u64[2]){ 0, 0 }, one, two };

	for (int before = 0; before < 3; before++) {
		for (int after = 1; after < 3; after++) {
			struct sluice_durable_bucket was = { 0 }, is, torn = { 0 };

			if (before == after)
				continue;
			if (before > 0)
				durable_put(&was, tags[before][0], tags[before][1], 7);
			is = (struct sluice_durable_bucket){ 0 };
			durable_put(&is, tags[after][0], tags[after][1], 9);

			struct sluice_durable_slot *slot = &torn.slots[0];
			const struct sluice_durable_slot *old = &was.slots[SLUICE_DURABLE_WAYS - 1];
			const struct sluice_durable_slot *new = &is.slots[SLUICE_DURABLE_WAYS - 1];
			const __u64 w0s[] = { old->w0, new->w0 }, w1s[] = { old->w1, 0, new->w1 };

			CU_ASSERT_EQUAL(new->w0, tags[after][0]);
			for (int i = 0; i < 2; i++)
				for (int j = 0; j < 3; j++) {
					bool whole = (i == 0 && j == 0 && before > 0) || (i == 1 && j == 2);

					slot->w0 = w0s[i];
					slot->w1 = w1s[j];
					CU_ASSERT_EQUAL(durable_find(&torn, one[0], one[1]) ||
								durable_find(&torn, two[0], two[1]),
							whole);
				}
		}
	}
}

static void the_oldest_of_a_full_bucket_is_overwritten(void)
{
	struct sluice_durable_bucket b = { 0 };

	/* Stamps across the wrap of 16 bits. */
	for (__u64 i = 0; i < 20; i++) {
		durable_put(&b, 100 + i, i << 32, 0xfff8 + i);
		for (__u64 j = 0; j <= i; j++)
			CU_ASSERT_EQUAL(durable_find(&b, 100 + j, j << 32), i - j < SLUICE_DURABLE_WAYS);
	}
}

static void a_tag_put_again_keeps_its_slot_and_renews_its_stamp(void)
{
	struct sluice_durable_bucket b = { 0 };

	for (__u64 i = 0; i < 4; i++)
		durable_put(&b, 100 + i, i << 32, 10 + i);
	durable_put(&b, 100, 0, 20);
	for (__u64 i = 0; i < 4; i++)
		CU_ASSERT_TRUE(durable_find(&b, 100 + i, i << 32));
	durable_put(&b, 200, 0, 21);
	CU_ASSERT_TRUE(durable_find(&b, 100, 0));
	CU_ASSERT_FALSE(durable_find(&b, 101, 1ULL << 32));
}

static void buckets_stay_inside_the_table_and_spread(void)
{
	static uint16_t load[1 << 10];
	__u32 shift = 64 - 10;
	int empty = 0;

	for (__u64 i = 0; i < 10 << 10; i++) {
		__u32 bucket = durable_bucket_of(siphash_64(&siphash_open_key, &i, 8), 42, shift);

		CU_ASSERT_TRUE_FATAL(bucket < 1 << 10);
		load[bucket]++;
	}
	for (int i = 0; i < 1 << 10; i++)
		empty += load[i] == 0;
	CU_ASSERT_TRUE(empty < 4);
}

TESTS("admit", T(the_64_and_the_128_bit_hash_are_those_of_openssl), T(tag_and_derived_key_are_the_published_vectors),
      T(shards_are_the_published_vectors), T(a_reading_is_admitted_with_every_field),
      T(every_shape_that_devices_send_is_admitted), T(what_is_coap_but_off_the_shape_is_odd),
      T(what_is_not_a_coap_request_is_malformed), T(a_message_cut_anywhere_is_never_a_reading),
      T(one_changed_bit_anywhere_in_the_payload_is_found),
      T(the_longest_payload_is_admitted_and_one_byte_more_is_odd), T(a_spoilt_hash_is_a_bad_hash),
      T(each_device_has_a_key_of_its_own_in_two_epochs), T(a_reading_signed_for_another_region_is_foreign),
      T(answers_are_the_bytes_of_rfc7252), T(an_answer_is_never_larger_than_the_request),
      T(what_was_put_is_found_and_nothing_else), T(a_torn_slot_matches_neither_tag),
      T(the_oldest_of_a_full_bucket_is_overwritten), T(a_tag_put_again_keeps_its_slot_and_renews_its_stamp),
      T(buckets_stay_inside_the_table_and_spread))
