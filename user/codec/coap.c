/* The general CoAP reader (RFC 7252 sections 3 and 5.4), for what the kernel's fixed shape does not cover.
 *
 * One walk over the options gathers what was said; what follows decides in the order in which the RFC lets a server
 * refuse: bytes that are no CoAP at all, options that must be understood and are not (5.4.1), path, method, format,
 * size, emptiness.  An option of a length that it may not have, or once more than it may occur, counts as unknown
 * (5.4.3, 5.4.5): that refuses a critical one (odd number) and ignores an elective one.
 *
 * Block1 and Block2 (RFC 7959) are understood as far as they say "all of it, at once".
 */
#include "codec/coap.h"

#include <errno.h>
#include <string.h>

#include "bpf/shared/admit.h"

enum {
	OPTION_BLOCK2 = 23,
	OPTION_BLOCK1 = 27,
	OPTION_ACCEPT = 17,
};

#define MAX_AGE_DEFAULT_S 60 /* RFC 7252 section 5.10.5 */
#define OPTION_NUMBER_MAX 65535

struct option {
	const uint8_t *at, *end; /* what is left of the message */
	uint32_t number;
	const uint8_t *value;
	uint32_t len;
	bool repeated;
};

/* Delta and length share one coding: a nibble, and one or two bytes more behind it. */
static int option_nibble(struct option *o, uint32_t nibble, uint32_t *ret)
{
	if (nibble < 13) {
		*ret = nibble;
		return 0;
	}

	size_t more = nibble == 13 ? 1 : 2;

	if (nibble == 15 || (size_t)(o->end - o->at) < more)
		return -EBADMSG;
	*ret = nibble == 13 ? 13u + o->at[0] : 269u + ((uint32_t)o->at[0] << 8 | o->at[1]);
	o->at += more;
	return 0;
}

/* 1 = an option, 0 = none is left and `at` is where the payload begins, -EBADMSG. */
static int option_next(struct option *o)
{
	uint32_t delta;

	if (o->at == o->end)
		return 0;

	uint8_t first = *o->at++;

	if (first == COAP_PAYLOAD_MARKER)
		return o->at < o->end ? 0 : -EBADMSG;
	if (option_nibble(o, first >> 4, &delta) < 0 || option_nibble(o, first & 15, &o->len) < 0 ||
	    o->len > (size_t)(o->end - o->at) || o->number + delta > OPTION_NUMBER_MAX)
		return -EBADMSG;
	o->repeated = delta == 0;
	o->number += delta;
	o->value = o->at;
	o->at += o->len;
	return 1;
}

/* Big-endian, of at most four bytes. */
static uint32_t option_uint(const struct option *o)
{
	uint32_t v = 0;

	for (uint32_t i = 0; i < o->len; i++)
		v = v << 8 | o->value[i];
	return v;
}

/* Header and token; what is read this far is set even when the rest turns out to be wrong. */
static int parse_header(const uint8_t *message, size_t len, uint8_t *type, uint8_t *code, uint16_t *mid,
			uint8_t *token_len, uint8_t token[SLUICE_TOKEN_MAX])
{
	if (len < COAP_HEADER_LEN || message[0] >> 6 != 1)
		return -EBADMSG;
	*type = message[0] >> 4 & 3;
	*token_len = message[0] & 15;
	*code = message[1];
	*mid = (uint16_t)(message[2] << 8 | message[3]);
	if (*token_len > SLUICE_TOKEN_MAX || len < COAP_HEADER_LEN + (size_t)*token_len)
		return -EBADMSG;
	memcpy(token, message + COAP_HEADER_LEN, *token_len);
	/* Section 4.1: an empty message is the header and nothing else. */
	return *code == 0 && len != COAP_HEADER_LEN ? -EBADMSG : 0;
}

/* A block option that says: this is block 0, and it is the last.  0, or the code to refuse it with. */
static int check_block(const struct option *o)
{
	uint32_t block = option_uint(o);

	if ((block & 7) == 7)
		return COAP_BAD_REQUEST; /* RFC 7959 section 2.2: a reserved size */
	return block >> 3 == 0 ? 0 : COAP_BAD_OPTION;
}

/* Section 5.4.1. */
static int unknown_option(const struct option *o)
{
	return o->number & 1 ? COAP_BAD_OPTION : 0;
}

static int read_option(struct coap_request *r, const struct option *o, uint16_t content_format)
{
	if (o->repeated && o->number != COAP_OPTION_URI_PATH)
		return unknown_option(o);
	switch (o->number) {
	case COAP_OPTION_URI_HOST:
		return o->len >= 1 && o->len <= 255 ? 0 : COAP_BAD_OPTION;
	case COAP_OPTION_URI_PORT:
		return o->len <= 2 ? 0 : COAP_BAD_OPTION;
	case COAP_OPTION_URI_PATH:
		r->path_is_t = !o->repeated && o->len == 1 && o->value[0] == 't';
		return o->len <= 255 ? 0 : COAP_BAD_OPTION;
	case COAP_OPTION_CONTENT_FORMAT:
		if (o->len <= 2) {
			r->has_format = true;
			r->format = option_uint(o);
		}
		return 0;
	case OPTION_ACCEPT: /* our answers have no format of their own; 4.06 says no more than this */
		return o->len <= 2 && option_uint(o) == content_format ? 0 : COAP_BAD_OPTION;
	case OPTION_BLOCK1:
	case OPTION_BLOCK2:
		return o->len <= 3 ? check_block(o) : COAP_BAD_OPTION;
	case COAP_OPTION_NO_RESPONSE:
		if (o->len <= 1)
			r->no_response = (uint8_t)option_uint(o);
		return 0;
	}
	return unknown_option(o);
}

static int decide(const struct coap_request *r, uint16_t content_format)
{
	if (!r->path_is_t)
		return COAP_NOT_FOUND;
	if (r->code != COAP_POST)
		return COAP_METHOD_NOT_ALLOWED;
	if (r->has_format && r->format != content_format)
		return COAP_BAD_FORMAT;
	if (r->payload.len > SLUICE_PAYLOAD_MAX)
		return COAP_TOO_LARGE;
	return r->payload.len > 0 ? 0 : COAP_BAD_REQUEST;
}

int coap_parse_request(struct coap_request *ret, const void *message, size_t len, uint16_t content_format)
{
	struct coap_request r = { 0 };
	int error = parse_header(message, len, &r.type, &r.code, &r.mid, &r.token_len, r.token), refused = 0;

	if (error < 0 || (r.type != COAP_CON && r.type != COAP_NON) || r.code >> 5 != 0)
		return -EBADMSG;
	if (r.code == 0) {
		*ret = r;
		return r.type == COAP_CON ? COAP_PING : -EBADMSG;
	}
	/* Cut off by the source: only the header can be trusted to be whole. */
	if (len > SLUICE_MESSAGE_MAX) {
		*ret = r;
		return COAP_TOO_LARGE;
	}

	const uint8_t *bytes = message;
	struct option o = { .at = bytes + COAP_HEADER_LEN + r.token_len, .end = bytes + len };

	while ((error = option_next(&o)) == 1) {
		int code = read_option(&r, &o, content_format);

		refused = refused ? refused : code;
	}
	if (error < 0)
		return error;
	r.payload = SLICE(o.at, (size_t)(o.end - o.at));
	*ret = r;
	return refused ? refused : decide(&r, content_format);
}

void coap_append_post(struct buf *b, uint8_t type, uint16_t mid, const void *token, uint8_t token_len,
		      uint16_t content_format, uint8_t no_response, struct slice payload)
{
	must(token_len <= SLUICE_TOKEN_MAX);
	buf_append_u8(b, (uint8_t)(1 << 6 | (type & 3) << 4 | token_len));
	buf_append_u8(b, COAP_POST);
	buf_append_u16(b, __builtin_bswap16(mid));
	buf_append(b, token, token_len);
	buf_append_u8(b, COAP_OPTION_URI_PATH << 4 | 1);
	buf_append_u8(b, 't');
	/* The shortest form of the number (section 3.2). */
	if (content_format > 0xff) {
		buf_append_u8(b, (COAP_OPTION_CONTENT_FORMAT - COAP_OPTION_URI_PATH) << 4 | 2);
		buf_append_u16(b, __builtin_bswap16(content_format));
	} else {
		buf_append_u8(b, (COAP_OPTION_CONTENT_FORMAT - COAP_OPTION_URI_PATH) << 4 | (content_format > 0));
		buf_append(b, &(uint8_t){ (uint8_t)content_format }, content_format > 0);
	}
	if (no_response > 0) {
		buf_append_u8(b, 13 << 4 | 1);
		buf_append_u8(b, COAP_OPTION_NO_RESPONSE - COAP_OPTION_CONTENT_FORMAT - 13);
		buf_append_u8(b, no_response);
	}
	if (payload.len > 0) {
		buf_append_u8(b, COAP_PAYLOAD_MARKER);
		buf_append(b, payload.data, payload.len);
	}
}

int coap_parse_response(struct coap_response *ret, const void *message, size_t len)
{
	struct coap_response r = { .max_age_s = MAX_AGE_DEFAULT_S };
	int error = parse_header(message, len, &r.type, &r.code, &r.mid, &r.token_len, r.token);
	bool is_response = r.code >> 5 >= 2 && r.code >> 5 <= 5 && r.type != COAP_RST;
	bool is_empty = r.code == 0 && (r.type == COAP_ACK || r.type == COAP_RST);

	if (error < 0 || (!is_response && !is_empty))
		return -EBADMSG;

	const uint8_t *bytes = message;
	struct option o = { .at = bytes + COAP_HEADER_LEN + r.token_len, .end = bytes + len };

	while ((error = option_next(&o)) == 1) {
		if (unknown_option(&o))
			return -EBADMSG;
		if (o.number == COAP_OPTION_MAX_AGE && !o.repeated && o.len <= 4)
			r.max_age_s = option_uint(&o);
	}
	if (error < 0)
		return error;
	r.payload = SLICE(o.at, (size_t)(o.end - o.at));
	*ret = r;
	return 0;
}
