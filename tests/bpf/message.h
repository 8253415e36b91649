/* Builds the CoAP message that a device sends, field by field, right or wrong in any chosen place.  The writer of
 * user/codec is not used: the tests would then see its faults twice or not at all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bpf/shared/admit.h"

struct message {
	uint8_t version, type, code, token_len;
	uint16_t mid;
	const char *uri_host;  /* NULL: no such option */
	int uri_port;          /* -1: none */
	const char *path;      /* NULL: none */
	int format;            /* -1: none */
	int no_response;       /* -1: none */
	uint16_t extra_option; /* number, above 12, of an option without value; 0: none */
	const char *device_id;
	const char *region;    /* NULL: field absent */
	bool has_timestamp;
	int64_t timestamp_ns;
	size_t filler_len;     /* bytes of one unknown field (number 6) behind all others; 0: none */
	struct siphash_key key;
	uint64_t spoil;        /* is xored into the hash */
};

#define MESSAGE_DEFAULT                                                                            \
	(struct message)                                                                           \
	{                                                                                          \
		.version = 1, .type = COAP_CON, .code = COAP_POST, .token_len = 4, .mid = 0x1234,  \
		.uri_port = -1, .path = "t", .format = SLUICE_CONTENT_FORMAT, .no_response = -1,   \
		.device_id = "mote-17", .has_timestamp = true, .timestamp_ns = 1700000000123456789, \
		.filler_len = 96, .key = siphash_open_key,                                         \
	}

struct message_built {
	uint8_t bytes[SLUICE_MESSAGE_BUF + 512];
	size_t len, payload_off, payload_len;
	uint64_t tag[2]; /* before it was spoilt */
};

static inline void message_put(struct message_built *b, const void *data, size_t len)
{
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static inline void message_put_u8(struct message_built *b, unsigned v)
{
	b->bytes[b->len++] = (uint8_t)v;
}

/* RFC 7252 section 3.1: a nibble, and what does not fit there. */
static inline unsigned message_nibble(unsigned v)
{
	return v < 13 ? v : v < 269 ? 13 : 14;
}

static inline void message_put_rest(struct message_built *b, unsigned v)
{
	if (v >= 269) {
		message_put_u8(b, (v - 269) >> 8);
		message_put_u8(b, (v - 269) & 0xff);
	} else if (v >= 13) {
		message_put_u8(b, v - 13);
	}
}

static inline void message_put_option(struct message_built *b, unsigned *last, unsigned number, const void *value,
				      size_t len)
{
	unsigned delta = number - *last;

	message_put_u8(b, message_nibble(delta) << 4 | message_nibble((unsigned)len));
	message_put_rest(b, delta);
	message_put_rest(b, (unsigned)len);
	message_put(b, value, len);
	*last = number;
}

/* CoAP's uint: big-endian without leading zeros. */
static inline void message_put_uint_option(struct message_built *b, unsigned *last, unsigned number, unsigned v)
{
	const uint8_t bytes[2] = { (uint8_t)(v >> 8), (uint8_t)v };
	size_t len = v > 0xff ? 2 : v > 0;

	message_put_option(b, last, number, bytes + 2 - len, len);
}

static inline void message_put_options(struct message_built *b, const struct message *m)
{
	unsigned last = 0;

	if (m->uri_host)
		message_put_option(b, &last, 3, m->uri_host, strlen(m->uri_host));
	if (m->uri_port >= 0)
		message_put_uint_option(b, &last, 7, (unsigned)m->uri_port);
	if (m->path)
		message_put_option(b, &last, 11, m->path, strlen(m->path));
	if (m->format >= 0)
		message_put_uint_option(b, &last, 12, (unsigned)m->format);
	if (m->extra_option > 12 && m->extra_option < 258)
		message_put_option(b, &last, m->extra_option, "", 0);
	if (m->no_response >= 0)
		message_put_uint_option(b, &last, 258, (unsigned)m->no_response);
	if (m->extra_option > 258)
		message_put_option(b, &last, m->extra_option, "", 0);
}

static inline void message_put_payload(struct message_built *b, const struct message *m)
{
	__u64 tag[2], hash;

	b->payload_off = b->len;
	message_put_u8(b, 0x09);
	message_put(b, "\0\0\0\0\0\0\0\0", 8);
	if (m->has_timestamp) {
		message_put_u8(b, 0x11);
		message_put(b, &m->timestamp_ns, 8);
	}
	message_put_u8(b, 0x1a);
	message_put_u8(b, (unsigned)strlen(m->device_id));
	message_put(b, m->device_id, strlen(m->device_id));
	if (m->region) {
		message_put_u8(b, 0x22);
		message_put_u8(b, (unsigned)strlen(m->region));
		message_put(b, m->region, strlen(m->region));
	}
	if (m->filler_len > 0) {
		message_put_u8(b, 6 << 3 | 2);
		message_put_u8(b, 0x80 | (m->filler_len & 0x7f));
		message_put_u8(b, (unsigned)(m->filler_len >> 7));
		for (size_t i = 0; i < m->filler_len; i++)
			message_put_u8(b, (unsigned)(i * 31 + 7) & 0xff);
	}
	b->payload_len = b->len - b->payload_off;
	siphash_tag(&m->key, b->bytes + b->payload_off + 9, (uint32_t)b->payload_len - 9, tag);
	hash = tag[0] ^ m->spoil;
	memcpy(b->bytes + b->payload_off + 1, &hash, 8);
	b->tag[0] = tag[0];
	b->tag[1] = tag[1];
}

static inline void message_build(struct message_built *ret, const struct message *m)
{
	memset(ret, 0, sizeof(*ret));
	message_put_u8(ret, (unsigned)m->version << 6 | (unsigned)m->type << 4 | m->token_len);
	message_put_u8(ret, m->code);
	message_put_u8(ret, m->mid >> 8);
	message_put_u8(ret, m->mid & 0xff);
	for (unsigned i = 0; i < m->token_len; i++)
		message_put_u8(ret, 0xa0 + i);
	message_put_options(ret, m);
	message_put_u8(ret, 0xff);
	message_put_payload(ret, m);
}
