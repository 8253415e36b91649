#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT;
}

int buf_error(const struct buf *b)
{
	return b->failed ? -ENOMEM : 0;
}

static bool grow(struct buf *b, size_t n)
{
	size_t cap = MAX(b->cap * 2, MAX(b->len + n, (size_t)256));
	uint8_t *data = realloc(b->data, cap);

	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
	if (b->failed || (b->cap - b->len < n && !grow(b, n)))
		return NULL;

	uint8_t *at = b->data + b->len;

	b->len += n;
	return at;
}

void buf_append(struct buf *b, const void *data, size_t n)
{
	if (n == 0)
		return;

	uint8_t *at = buf_extend(b, n);

	if (at)
		memcpy(at, data, n);
}

void buf_append_u8(struct buf *b, uint8_t v)
{
	buf_append(b, &v, sizeof(v));
}

void buf_append_u16(struct buf *b, uint16_t v)
{
	buf_append(b, &v, sizeof(v));
}

void buf_append_u32(struct buf *b, uint32_t v)
{
	buf_append(b, &v, sizeof(v));
}

void buf_append_u64(struct buf *b, uint64_t v)
{
	buf_append(b, &v, sizeof(v));
}

void buf_append_varint(struct buf *b, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)v | 0x80;
	bytes[n++] = (uint8_t)v;
	buf_append(b, bytes, n);
}

void buf_append_zigzag(struct buf *b, int64_t v)
{
	buf_append_varint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

void buf_append_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);

	uint8_t *at = buf_extend(b, (size_t)n + 1);

	if (!at)
		return;
	va_start(args, format);
	vsnprintf((char *)at, (size_t)n + 1, format, args);
	va_end(args);
	b->len--;
}

const char *buf_cstr(struct buf *b)
{
	uint8_t *at = buf_extend(b, 1);

	if (!at)
		return "";
	*at = 0;
	b->len--;
	return (const char *)b->data;
}

const uint8_t *reader_bytes(struct reader *r, size_t n)
{
	if (r->failed || reader_left(r) < n) {
		r->failed = true;
		return NULL;
	}

	const uint8_t *at = r->at;

	r->at += n;
	return at;
}

#define READ_FIXED(type)                                  \
	type v = 0;                                       \
	const uint8_t *at = reader_bytes(r, sizeof(v));   \
	if (at)                                           \
		memcpy(&v, at, sizeof(v));                \
	return v

uint8_t reader_u8(struct reader *r)
{
	READ_FIXED(uint8_t);
}

uint16_t reader_u16(struct reader *r)
{
	READ_FIXED(uint16_t);
}

uint32_t reader_u32(struct reader *r)
{
	READ_FIXED(uint32_t);
}

uint64_t reader_u64(struct reader *r)
{
	READ_FIXED(uint64_t);
}

uint64_t reader_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = reader_u8(r);

		if (r->failed)
			return 0;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->failed = true;
	return 0;
}

int64_t reader_zigzag(struct reader *r)
{
	uint64_t v = reader_varint(r);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
