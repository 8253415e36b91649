#include "codec/wire.h"

#include <string.h>

#define NUMBER_MAX ((1u << 29) - 1)

static size_t varint_len(uint64_t v)
{
	return v == 0 ? 1 : (size_t)(63 - __builtin_clzll(v)) / 7 + 1;
}

bool wire_next(struct reader *r, struct wire_field *ret)
{
	const uint8_t *start = r->at;
	struct wire_field f = { 0 };

	if (r->failed || reader_left(r) == 0)
		return false;

	uint64_t tag = reader_varint(r);

	f.number = (uint32_t)(tag >> 3);
	f.type = (enum wire_type)(tag & 7);
	if (r->failed || tag >> 3 == 0 || tag >> 3 > NUMBER_MAX || (size_t)(r->at - start) != varint_len(tag))
		goto malformed;
	switch (f.type) {
	case WIRE_VARINT:
		f.value = reader_varint(r);
		break;
	case WIRE_FIXED64:
		f.value = reader_u64(r);
		break;
	case WIRE_BYTES:
		f.bytes.len = reader_varint(r);
		f.bytes.data = reader_bytes(r, f.bytes.len);
		break;
	case WIRE_FIXED32:
		f.value = reader_u32(r);
		break;
	default:
		goto malformed;
	}
	if (r->failed)
		return false;
	f.whole = SLICE(start, (size_t)(r->at - start));
	*ret = f;
	return true;
malformed:
	r->failed = true;
	return false;
}

void wire_append_varint(struct buf *b, uint32_t number, uint64_t value)
{
	if (value == 0)
		return;
	buf_append_varint(b, WIRE_TAG(number, WIRE_VARINT));
	buf_append_varint(b, value);
}

void wire_append_fixed64(struct buf *b, uint32_t number, uint64_t value)
{
	if (value == 0)
		return;
	buf_append_varint(b, WIRE_TAG(number, WIRE_FIXED64));
	buf_append_u64(b, value);
}

void wire_append_bytes(struct buf *b, uint32_t number, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	buf_append_varint(b, WIRE_TAG(number, WIRE_BYTES));
	buf_append_varint(b, bytes.len);
	buf_append(b, bytes.data, bytes.len);
}

size_t utf8_char_len(struct slice s)
{
	const uint8_t *c = s.data;
	size_t len;
	uint32_t point, least;

	if (s.len == 0)
		return 0;
	if (c[0] < 0x80)
		return 1;
	if ((c[0] & 0xe0) == 0xc0)
		len = 2, least = 0x80, point = c[0] & 0x1f;
	else if ((c[0] & 0xf0) == 0xe0)
		len = 3, least = 0x800, point = c[0] & 0x0f;
	else if ((c[0] & 0xf8) == 0xf0)
		len = 4, least = 0x10000, point = c[0] & 0x07;
	else
		return 0;
	if (s.len < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (c[i] & 0x3f);
	}
	return point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ? 0 : len;
}

static bool utf8_valid_from(const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		size_t n = utf8_char_len(SLICE(at, (size_t)(end - at)));

		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* Nearly all names are ASCII, and short. */
bool utf8_valid(struct slice s)
{
	const uint64_t high_bits = 0x8080808080808080ULL;
	const uint8_t *at = s.data;
	uint64_t all = 0, eight;
	size_t left = s.len;

	for (; left >= 8; left -= 8, at += 8) {
		memcpy(&eight, at, 8);
		all |= eight;
	}
	for (; left > 0; left--)
		all |= *at++;
	return (all & high_bits) == 0 || utf8_valid_from(s.data, (const uint8_t *)s.data + s.len);
}
