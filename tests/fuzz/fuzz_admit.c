/* admit() reads nothing outside of its buffer, does not depend on what lies behind the message, and says what a
 * plain reader of the two RFCs and of Telemetry's beginning says, who takes the message byte by byte.
 *
 * The first byte of the input: bit 0 keyed, bit 1 the hash is made right, bit 2 which bytes lie behind. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "bpf/shared/admit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGION "eu-west"

static const struct admit_keys open_keys = { .content_format = SLUICE_CONTENT_FORMAT };
static const struct admit_keys derived_keys = {
	.own = { { 1, 2, 1, 5 }, { 3, 4, 1, 4 } },
	.keyed = 1,
	.content_format = SLUICE_CONTENT_FORMAT,
	.region = REGION,
	.region_len = sizeof(REGION) - 1,
};

struct bytes {
	const uint8_t *at, *end;
	bool failed;
};

static unsigned next(struct bytes *b)
{
	if (b->at == b->end) {
		b->failed = true;
		return 0;
	}
	return *b->at++;
}

static const uint8_t *take(struct bytes *b, size_t n)
{
	const uint8_t *at = b->at;

	if ((size_t)(b->end - b->at) < n) {
		b->failed = true;
		return NULL;
	}
	b->at += n;
	return at;
}

/* What a nibble stands for; 14 is told apart by the caller. */
static unsigned extend(struct bytes *b, unsigned nibble)
{
	return nibble == 13 ? 13 + next(b) : nibble;
}

/* Options up to the marker. ADMIT_READING: they are those of the shape. */
static enum admit_result judge_options(struct bytes *b, uint8_t *ret_no_response)
{
	unsigned number = 0, seen = 0;

	while (b->at < b->end) {
		unsigned first = next(b);

		if (first == 0xff)
			return b->at == b->end ? ADMIT_MALFORMED : (seen & 3) == 3 ? ADMIT_READING : ADMIT_ODD;
		if (first >> 4 == 15 || (first & 15) == 15)
			return ADMIT_MALFORMED;
		if (first >> 4 == 14 || (first & 15) == 14)
			return ADMIT_ODD;

		unsigned delta = extend(b, first >> 4), len = extend(b, first & 15), v = 0;
		const uint8_t *value = take(b, len);

		if (b->failed)
			return ADMIT_MALFORMED;
		if (delta == 0)
			return ADMIT_ODD;
		number += delta;
		for (unsigned i = 0; i < len && len <= 2; i++)
			v = v << 8 | value[i];
		if (number == 3 && len >= 1 && len <= 255)
			continue;
		if (number == 7 && len <= 2)
			continue;
		if (number == 11 && len == 1 && value[0] == 't')
			seen |= 1;
		else if (number == 12 && len <= 2 && v == SLUICE_CONTENT_FORMAT)
			seen |= 2;
		else if (number == 258 && len <= 1)
			*ret_no_response = (uint8_t)v;
		else
			return ADMIT_ODD;
	}
	return ADMIT_ODD; /* no payload */
}

struct judged {
	const uint8_t *payload, *device, *region;
	size_t payload_len, device_len, region_len;
	uint64_t hash, word2;
	bool has_timestamp;
	uint8_t no_response;
};

static bool judge_payload(struct bytes b, struct judged *ret)
{
	ret->payload = b.at;
	ret->payload_len = (size_t)(b.end - b.at);
	if (ret->payload_len > SLUICE_PAYLOAD_MAX || next(&b) != 0x09)
		return false;
	for (unsigned i = 0; i < 8; i++)
		ret->hash |= (uint64_t)next(&b) << 8 * i;
	if (b.at < b.end && *b.at == 0x11) {
		ret->has_timestamp = true;
		take(&b, 9);
	}
	if (b.failed || next(&b) != 0x1a)
		return false;
	ret->device_len = next(&b);
	ret->device = take(&b, ret->device_len);
	if (b.failed || ret->device_len == 0 || ret->device_len > SLUICE_DEVICE_MAX)
		return false;
	if (b.at < b.end && *b.at == 0x22) {
		next(&b);
		ret->region_len = next(&b);
		ret->region = take(&b, ret->region_len);
		return !b.failed && ret->region_len <= SLUICE_REGION_MAX;
	}
	return true;
}

static struct siphash_key key_of(const struct admit_keys *keys, unsigned slot, const struct judged *j)
{
	const struct siphash_key master = { keys->own[slot].k0, keys->own[slot].k1 };

	return keys->keyed ? siphash_128(&master, j->device, (uint32_t)j->device_len) : siphash_open_key;
}

static void tag_of(const struct admit_keys *keys, unsigned slot, const struct judged *j, __u64 ret[2])
{
	const struct siphash_key key = key_of(keys, slot, j);

	siphash_tag(&key, j->payload + 9, (uint32_t)j->payload_len - 9, ret);
}

static enum admit_result judge(const uint8_t *message, size_t len, const struct admit_keys *keys, struct judged *ret)
{
	struct bytes b = { message, message + len, false };
	unsigned first = next(&b), code = next(&b), type = first >> 4 & 3;
	enum admit_result result;
	__u64 tag[2];

	*ret = (struct judged){ 0 };
	take(&b, 2);
	take(&b, first & 15);
	if (b.failed || first >> 6 != 1 || (first & 15) > 8 || type > 1)
		return ADMIT_MALFORMED;
	if (code == 0)
		return type == 0 && len == 4 ? ADMIT_ODD : ADMIT_MALFORMED;
	if (code > 31)
		return ADMIT_MALFORMED;
	if (code != 2 || len > SLUICE_MESSAGE_MAX)
		return ADMIT_ODD;
	result = judge_options(&b, &ret->no_response);
	if (result != ADMIT_READING)
		return result;
	if (!judge_payload(b, ret))
		return ADMIT_ODD;
	if (keys->keyed && ret->region_len > 0 &&
	    (ret->region_len != strlen(REGION) || memcmp(ret->region, REGION, strlen(REGION)) != 0))
		return ADMIT_FOREIGN;
	for (unsigned slot = 0; slot < 2; slot++) {
		tag_of(keys, slot, ret, tag);
		ret->word2 = tag[1];
		if (tag[0] == ret->hash)
			return ADMIT_READING;
	}
	return ADMIT_BAD_HASH;
}

static void check_fields(const uint8_t *message, const struct admission *a, const struct judged *j)
{
	must(message + a->payload_off == j->payload && a->payload_len == j->payload_len);
	must(j->payload + a->device_off == j->device && a->device_len == j->device_len);
	must(a->word1 == j->hash && a->word2 == j->word2);
	must(a->has_timestamp == j->has_timestamp && a->no_response == j->no_response);
	must(a->region_len == j->region_len && (!j->region || j->payload + a->region_off == j->region));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;

	const struct admit_keys *keys = data[0] & 1 ? &derived_keys : &open_keys;
	size_t len = size - 1, kept = len < SLUICE_MESSAGE_BUF ? len : SLUICE_MESSAGE_BUF;
	uint8_t *message = malloc(SLUICE_MESSAGE_BUF); /* a block of its own: one byte more is found */
	struct admission a;
	struct judged j;
	__u64 tag[2];

	must(message);
	memset(message, data[0] & 4 ? 0xff : 0, SLUICE_MESSAGE_BUF);
	memcpy(message, data + 1, kept);
	if (data[0] & 2 && len <= SLUICE_MESSAGE_MAX && judge(message, len, keys, &j) == ADMIT_BAD_HASH) {
		tag_of(keys, data[0] >> 3 & 1, &j, tag);
		memcpy(message + (j.payload - message) + 1, tag, 8);
	}

	enum admit_result expected = judge(message, len, keys, &j);

	must(admit(message, (__u32)len, keys, &a) == expected);
	if (expected == ADMIT_READING)
		check_fields(message, &a, &j);
	free(message);
	return 0;
}
