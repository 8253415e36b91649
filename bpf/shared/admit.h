/* admit() and answer_write(): the bodies to bpf/shared/admission.h.
 *
 * The message lies in a flat buffer, and every offset into it is checked against its length before anything is
 * concluded from the bytes there.  The buffer is longer than any message, so that a whole word may be loaded at
 * any offset inside; what lies behind the end is masked out and never reaches a result.
 *
 * The two loops, over options and over hash blocks, stand in functions that the verifier takes on their own: inside
 * the program every step would multiply with every state of the packet's parsing.  (bpf_loop does not have that
 * trouble, but each of its steps is a call, and where returns are slowed down against speculation that is 8 ns.)
 *
 * Cost in the kernel: 30 ns for header and options, and 200 ns for the tag over 157 bytes, 2.4 times what SipHash
 * takes natively, for BPF has no rotation; under derived keys 80 ns for each epoch that is tried.
 */
#pragma once

#include "bpf/shared/admission.h"

/* RFC 7252 section 5.10, RFC 7967. */
enum {
	COAP_OPTION_URI_HOST = 3,
	COAP_OPTION_URI_PORT = 7,
	COAP_OPTION_URI_PATH = 11,
	COAP_OPTION_CONTENT_FORMAT = 12,
	COAP_OPTION_MAX_AGE = 14,
	COAP_OPTION_NO_RESPONSE = 258,
};
#define COAP_HEADER_LEN 4
#define COAP_PAYLOAD_MARKER 0xff
#define ADMIT_OPTIONS_MAX 5 /* each of the fixed shape's once */

/* Protobuf keys of the first four fields of Telemetry. */
enum { ADMIT_FIELD_HASH = 0x09, ADMIT_FIELD_TIMESTAMP = 0x11, ADMIT_FIELD_DEVICE = 0x1a, ADMIT_FIELD_REGION = 0x22 };
#define ADMIT_HASH_FIELD_LEN 9 /* what the hash leaves out */

/* The message, as a type that has a size. */
struct admit_buffer {
	__u8 bytes[SLUICE_BUFFER_SIZE];
};

/* Where admit_option() stands; result is ADMIT_READING once the payload marker has been passed. */
struct admit_cursor {
	__u32 at, len;
	__u32 number; /* of the last option */
	__s32 result; /* negative: going on */
	__u16 content_format;
	__u8 has_path, has_format, no_response;
};

static SLUICE_INLINE enum admit_result admit_header(const __u8 *message, __u32 len, struct admission *ret)
{
	__u8 type = message[0] >> 4 & 3, token_len = message[0] & 15, code = message[1];

	if (len < COAP_HEADER_LEN || message[0] >> 6 != 1 || token_len > SLUICE_TOKEN_MAX ||
	    len < (__u32)COAP_HEADER_LEN + token_len)
		return ADMIT_MALFORMED;
	ret->type = type;
	ret->token_len = token_len;
	ret->mid = (__u16)(message[2] << 8 | message[3]);
	if (type != COAP_CON && type != COAP_NON)
		return ADMIT_MALFORMED;
	if (code == 0) /* a ping */
		return type == COAP_CON && len == COAP_HEADER_LEN ? ADMIT_ODD : ADMIT_MALFORMED;
	if (code >> 5 != 0)
		return ADMIT_MALFORMED;
	return code == COAP_POST ? ADMIT_READING : ADMIT_ODD;
}

/* Takes one option of the fixed shape; false when it is none. */
static SLUICE_INLINE int admit_option_value(struct admit_cursor *c, const __u8 *value, __u32 len)
{
	__u32 number = len == 0 ? 0 : len == 1 ? value[0] : (__u32)value[0] << 8 | value[1];

	switch (c->number) {
	case COAP_OPTION_URI_HOST:
		return len >= 1 && len <= 255;
	case COAP_OPTION_URI_PORT:
		return len <= 2;
	case COAP_OPTION_URI_PATH:
		c->has_path = 1;
		return len == 1 && value[0] == 't';
	case COAP_OPTION_CONTENT_FORMAT:
		c->has_format = 1;
		return len <= 2 && number == c->content_format;
	case COAP_OPTION_NO_RESPONSE:
		c->no_response = (__u8)number;
		return len <= 1;
	}
	return 0;
}

/* One option or the payload marker; 1 at the end. */
static SLUICE_INLINE int admit_option(const struct admit_buffer *message, struct admit_cursor *c)
{
	const __u8 *option = message->bytes + sluice_offset(c->at);
	__u32 delta = option[0] >> 4, len = option[0] & 15, skip = 1;

	c->result = ADMIT_ODD;
	if (c->at >= c->len)
		return 1;
	if (option[0] == COAP_PAYLOAD_MARKER) {
		c->at++;
		c->result = c->at < c->len ? ADMIT_READING : ADMIT_MALFORMED;
		return 1;
	}
	if (delta == 15 || len == 15) {
		c->result = ADMIT_MALFORMED;
		return 1;
	}
	/* Two more bytes of delta or length (nibble 14) stand for 269 and above, which is none of ours. */
	if (delta == 14 || len == 14)
		return 1;
	if (delta == 13)
		delta += option[skip++];
	if (len == 13)
		len += option[skip++];
	if (c->at + skip + len > c->len) {
		c->result = ADMIT_MALFORMED;
		return 1;
	}
	c->at += skip + len;
	c->number += delta;
	if (delta == 0 || !admit_option_value(c, option + skip, len))
		return 1;
	c->result = -1;
	return 0;
}

SLUICE_VERIFIED_ONCE int admit_options(const struct admit_buffer *message, struct admit_cursor *c)
{
	if (!message || !c)
		return ADMIT_ODD;
	for (int i = 0; i <= ADMIT_OPTIONS_MAX; i++) {
		/* Where the walk stands goes through memory: in registers each way through an option would be another
		 * state to the verifier. */
		asm volatile("" : : : "memory");
		if (admit_option(message, c))
			break;
	}
	return c->result;
}

/* The beginning of the payload, up to the region that may follow device_id. */
static SLUICE_INLINE enum admit_result admit_payload(const __u8 *message, __u32 len, struct admission *ret)
{
	const __u8 *payload = message + sluice_offset(ret->payload_off);
	__u32 device = ADMIT_HASH_FIELD_LEN, end;

	if (len < ADMIT_HASH_FIELD_LEN + 3 || len > SLUICE_PAYLOAD_MAX || payload[0] != ADMIT_FIELD_HASH)
		return ADMIT_ODD;
	if (payload[9] == ADMIT_FIELD_TIMESTAMP) {
		ret->timestamp_ns = (__s64)sluice_load64(payload + 10);
		ret->has_timestamp = 1;
		device = 18;
	}
	if (device + 2 > len || payload[device] != ADMIT_FIELD_DEVICE)
		return ADMIT_ODD;
	ret->device_off = (__u8)(device + 2);
	ret->device_len = payload[device + 1];
	end = device + 2 + ret->device_len;
	if (ret->device_len < 1 || ret->device_len > SLUICE_DEVICE_MAX || end > len)
		return ADMIT_ODD;

	const __u8 *next = message + sluice_offset(ret->payload_off + end);

	if (end == len || next[0] != ADMIT_FIELD_REGION)
		return ADMIT_READING;
	if (end + 2 > len || next[1] > SLUICE_REGION_MAX || end + 2 + next[1] > len)
		return ADMIT_ODD;
	ret->region_off = (__u8)(end + 2);
	ret->region_len = next[1];
	return ADMIT_READING;
}

/* All ones over the first n bytes of a word, n counted from where the word begins and possibly outside of it. */
static SLUICE_INLINE __u64 admit_mask(__s32 n)
{
	return n >= 8 ? ~0ULL : n <= 0 ? 0 : (1ULL << (8 * n)) - 1;
}

static SLUICE_INLINE int admit_region_is_own(const __u8 *message, const struct admission *a,
					     const struct admit_keys *keys)
{
	const __u8 *region = message + sluice_offset(a->payload_off + a->region_off);
	__u64 difference = a->region_len ^ keys->region_len;

	SLUICE_UNROLL
	for (int i = 0; i < SLUICE_REGION_MAX / 8; i++)
		difference |= (sluice_load64(region + 8 * i) ^ sluice_load64(keys->region + 8 * i)) &
			      admit_mask(a->region_len - 8 * i);
	return difference == 0;
}

/* All of message[off, off + len), padding included; len is SLUICE_PAYLOAD_MAX at most.  A plain loop, so that the
 * state stays in registers: its steps leave nothing behind that the verifier would tell apart. */
static SLUICE_INLINE void admit_hash_span(struct siphash_state *s, const struct admit_buffer *message, __u32 off,
					  __u32 len)
{
	for (__u32 i = 0; i < SLUICE_PAYLOAD_MAX / 8 && i < len / 8; i++) {
		siphash_block(s, sluice_load64(message->bytes + sluice_offset(off)));
		off += 8;
	}

	__u64 tail = sluice_load64(message->bytes + sluice_offset(off)) & admit_mask((__s32)(len % 8));

	siphash_block(s, siphash_last_block(tail, len));
}

/* SipHash-2-4-128(master, device_id). */
static SLUICE_INLINE struct siphash_key admit_device_key(const struct admit_buffer *message, const struct admission *a,
							 const struct siphash_key *master)
{
	struct siphash_state s = siphash_begin(master);
	struct siphash_key ret;

	s.v1 ^= 0xee;
	admit_hash_span(&s, message, a->payload_off + a->device_off, a->device_len);
	s.v2 ^= 0xee;
	ret.k0 = siphash_finish_rounds(&s);
	ret.k1 = siphash_continue(&s);
	return ret;
}

/* Sets the tag's second word; 1 when the first is the one on the wire, else 0.  key is the device's own, or the
 * master from which that one is derived. */
SLUICE_VERIFIED_ONCE int admit_verify(const struct admit_buffer *message, struct admission *a,
				      const struct siphash_key *key, int is_master)
{
	if (!message || !a || !key)
		return 0;

	struct siphash_key device = *key;

	if (is_master)
		device = admit_device_key(message, a, key);

	struct siphash_state s = siphash_begin(&device);

	admit_hash_span(&s, message, a->payload_off + ADMIT_HASH_FIELD_LEN, a->payload_len - ADMIT_HASH_FIELD_LEN);
	if (siphash_finish(&s) != a->word1)
		return 0;
	a->word2 = siphash_continue(&s);
	return 1;
}

static SLUICE_INLINE enum admit_result admit_key(const __u8 *message, const struct admit_keys *keys,
						 struct admission *a)
{
	const struct admit_buffer *buffer = (const struct admit_buffer *)message;
	struct siphash_key key;

	if (!keys->keyed) {
		key.k0 = SIPHASH_OPEN_K0;
		key.k1 = SIPHASH_OPEN_K1;
		return admit_verify(buffer, a, &key, 0) ? ADMIT_READING : ADMIT_BAD_HASH;
	}
	if (a->region_len > 0 && !admit_region_is_own(message, a, keys))
		return ADMIT_FOREIGN;
	for (__u8 i = 0; i < 2; i++) {
		if (!keys->own[i].present)
			continue;
		key.k0 = keys->own[i].k0;
		key.k1 = keys->own[i].k1;
		a->key_slot = i;
		if (admit_verify(buffer, a, &key, 1))
			return ADMIT_READING;
	}
	a->key_slot = 0;
	return ADMIT_BAD_HASH;
}

/* Header, options and the beginning of the payload: all but the hash.  After ADMIT_READING word1 is the hash that
 * the message claims. */
static SLUICE_INLINE enum admit_result admit_shape(const __u8 *message, __u32 len, __u16 content_format,
						   struct admission *ret)
{
	enum admit_result result;

	*ret = (struct admission){ 0 };
	result = admit_header(message, len, ret);
	if (result != ADMIT_READING)
		return result;
	if (len > SLUICE_MESSAGE_MAX)
		return ADMIT_ODD;

	struct admit_cursor c = {
		.at = COAP_HEADER_LEN + ret->token_len,
		.len = len,
		.result = -1,
		.content_format = content_format,
	};

	if (admit_options((const struct admit_buffer *)message, &c) == ADMIT_MALFORMED)
		return ADMIT_MALFORMED;
	ret->no_response = c.no_response;
	if (c.result != ADMIT_READING || !c.has_path || !c.has_format)
		return ADMIT_ODD;
	ret->payload_off = (__u16)c.at;
	ret->payload_len = (__u16)(len - c.at);
	result = admit_payload(message, ret->payload_len, ret);
	if (result == ADMIT_READING)
		ret->word1 = sluice_load64(message + sluice_offset(ret->payload_off + 1));
	return result;
}

/* message: SLUICE_MESSAGE_BUF bytes, of which the first len are the message; what lies behind them does not matter.
 * A len above SLUICE_MESSAGE_MAX is ADMIT_ODD.  In ret, what could be read before the result was clear is set
 * (type, mid and token_len whenever the CoAP header was whole), the rest is zero. */
static SLUICE_INLINE enum admit_result admit(const __u8 *message, __u32 len, const struct admit_keys *keys,
					     struct admission *ret)
{
	enum admit_result result = admit_shape(message, len, keys->content_format, ret);

	return result == ADMIT_READING ? admit_key(message, keys, ret) : result;
}

/* Bytes written to ret.  Code 0 makes an empty message (Reset, or an acknowledgement without a response), which
 * has no token.  A receipt and Max-Age exclude each other; the receipt wins. */
static SLUICE_INLINE __u32 answer_write(__u8 ret[SLUICE_ANSWER_MAX], const struct answer *answer,
					const __u8 token[SLUICE_TOKEN_MAX])
{
	__u32 token_len = answer->code == 0 ? 0 : answer->token_len, at;

	if (token_len > SLUICE_TOKEN_MAX)
		token_len = SLUICE_TOKEN_MAX;
	ret[0] = (__u8)(1 << 6 | (answer->type & 3) << 4 | token_len);
	ret[1] = answer->code;
	ret[2] = (__u8)(answer->mid >> 8);
	ret[3] = (__u8)answer->mid;
	sluice_store64(ret + COAP_HEADER_LEN, sluice_load64(token)); /* what is too long is overwritten or cut */
	at = COAP_HEADER_LEN + token_len;
	if (answer->code == 0)
		return at;
	if (answer->has_receipt) {
		ret[at] = COAP_PAYLOAD_MARKER;
		sluice_store64(ret + at + 1, answer->receipt);
		return at + 9;
	}
	if (answer->max_age_s > 0) {
		int wide = answer->max_age_s > 0xff;

		ret[at] = (__u8)(13 << 4 | (1 + wide));
		ret[at + 1] = COAP_OPTION_MAX_AGE - 13;
		ret[at + 2] = (__u8)(wide ? answer->max_age_s >> 8 : answer->max_age_s);
		ret[at + 3] = (__u8)answer->max_age_s;
		return at + 3 + wide;
	}
	return at;
}

/* The same, kept within the length of the request: without receipt and Max-Age where they do not fit, and 0 where
 * not even the bare code does. */
static SLUICE_INLINE __u32 answer_write_within(__u8 ret[SLUICE_ANSWER_MAX], const struct answer *answer,
					       const __u8 token[SLUICE_TOKEN_MAX], __u32 request_len)
{
	struct answer bare = *answer;
	__u32 len = answer_write(ret, answer, token);

	if (len <= request_len)
		return len;
	bare.has_receipt = 0;
	bare.max_age_s = 0;
	len = answer_write(ret, &bare, token);
	return len <= request_len ? len : 0;
}
