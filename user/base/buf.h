/* A growable byte buffer.  Memory errors are remembered instead of returned at each step: append as much as you
 * like, then look at buf_error() once.  Not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool failed;
};
#define BUF_INIT ((struct buf){ 0 })

void buf_done(struct buf *b);
/* Empties it and keeps the memory. */
static inline void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}
/* 0, or -ENOMEM when any append since the last reset failed. */
int buf_error(const struct buf *b);

/* Room for n more bytes, already counted in len; NULL on ENOMEM. */
uint8_t *buf_extend(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *data, size_t n);
void buf_append_u8(struct buf *b, uint8_t v);
/* Little-endian. */
void buf_append_u16(struct buf *b, uint16_t v);
void buf_append_u32(struct buf *b, uint32_t v);
void buf_append_u64(struct buf *b, uint64_t v);
/* LEB128 as in protobuf; zig-zag for the signed one. */
void buf_append_varint(struct buf *b, uint64_t v);
void buf_append_zigzag(struct buf *b, int64_t v);
void buf_append_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *format, ...);
/* A NUL behind the last byte, not counted in len; "" when memory failed. */
const char *buf_cstr(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
	return SLICE(b->data, b->len);
}

/* Reads what buf_append_* wrote.  After a short or malformed read, failed is set and every later read gives 0. */
struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

static inline struct reader reader_of(struct slice s)
{
	return (struct reader){ .at = s.data, .end = (const uint8_t *)s.data + s.len };
}
static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}
/* n bytes in place, or NULL. */
const uint8_t *reader_bytes(struct reader *r, size_t n);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
uint64_t reader_varint(struct reader *r);
int64_t reader_zigzag(struct reader *r);
