/* Random messages of Telemetry, written field by field without the codec: most as a device sends them, some in any
 * other way that protobuf allows.  A xorshift with a seed, so that a failure can be repeated. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

struct random {
	uint64_t state; /* not 0 */
};

static inline uint64_t random_u64(struct random *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state * 0x2545f4914f6cdd1dULL;
}

static inline uint32_t random_below(struct random *r, uint32_t n)
{
	return (uint32_t)((random_u64(r) >> 32) * n >> 32);
}

static inline double random_double(struct random *r)
{
	static const double special[] = { 0, -0.0, NAN, INFINITY, -INFINITY, 5e-324, 1.7976931348623157e308, 1e15, -1e15,
					  9007199254740993.0, 123456789012345678.0, -1e22, 999999999999999.0, 1e-15 };
	uint64_t bits = random_u64(r);
	double v;

	switch (random_below(r, 8)) {
	case 0:
		memcpy(&v, &bits, sizeof(v));
		return v; /* also NaNs with a payload */
	case 1:
		return special[random_below(r, sizeof(special) / sizeof(special[0]))];
	case 2:
		return (double)((int64_t)bits >> random_below(r, 64));
	case 3:
		return (double)random_below(r, 1000000) / 1e6;
	default:
		return ((double)random_below(r, 10000) - 3000) / 100;
	}
}

enum { RANDOM_PIECES_MAX = 80 };

struct random_pieces {
	struct buf bytes;
	size_t end[RANDOM_PIECES_MAX];
	uint32_t n;
};

static inline void random_piece_ends(struct random_pieces *p)
{
	p->end[p->n++] = p->bytes.len;
}

static inline void random_entry(struct buf *b, struct random *r, const char *name, double value, bool odd)
{
	size_t n = strlen(name);
	unsigned shape = odd ? random_below(r, 5) : 0;

	if (shape == 4)
		value = -0.0;
	buf_append_u8(b, 0x2a);
	if (shape == 1) { /* no key */
		buf_append_str(b, "\x09\x11");
		buf_append(b, &value, 8);
	} else if (shape == 2) { /* no value */
		buf_append_varint(b, n + 2);
		buf_append_str(b, "\x0a");
		buf_append_varint(b, n);
		buf_append(b, name, n);
	} else if (shape == 3) { /* the value first, and the length in two bytes */
		buf_append_u8(b, (uint8_t)(n + 11) | 0x80);
		buf_append_u8(b, 0);
		buf_append_str(b, "\x11");
		buf_append(b, &value, 8);
		buf_append_str(b, "\x0a");
		buf_append_varint(b, n);
		buf_append(b, name, n);
	} else {
		buf_append_varint(b, n + 11);
		buf_append_str(b, "\x0a");
		buf_append_varint(b, n);
		buf_append(b, name, n);
		buf_append_str(b, "\x11");
		buf_append(b, &value, 8);
	}
}

/* Appends a message that telemetry_parse() takes. odd_percent: how many are not as telemetry_append() writes them. */
static inline void random_telemetry(struct buf *b, struct random *r, unsigned odd_percent, unsigned metrics_max)
{
	static const char *const names[] = { "temperature", "humidity", "voltage", "light", "", "CO\xe2\x82\x82", "a", "b",
					     "a name of sixty-four bytes, which is as long as a name can be.." };
	struct random_pieces p = { 0 };
	bool odd = random_below(r, 100) < odd_percent;
	char name[65];

	if (random_below(r, 20) > 0) {
		buf_append_u8(&p.bytes, 0x09);
		buf_append_u64(&p.bytes, random_u64(r));
		random_piece_ends(&p);
	}
	if (random_below(r, 10) > 0) {
		buf_append_u8(&p.bytes, 0x11);
		buf_append_u64(&p.bytes, random_below(r, 20) ? 1700000000000000000ULL + random_below(r, 4000) * 250000000ULL
							      : random_u64(r));
		random_piece_ends(&p);
	}
	buf_append_str(&p.bytes, "\x1a\x08");
	buf_printf(&p.bytes, "dev-%04u", random_below(r, 30));
	random_piece_ends(&p);
	if (random_below(r, 3) == 0 || odd) {
		bool empty = odd && random_below(r, 2);

		buf_append_u8(&p.bytes, 0x22);
		buf_append_u8(&p.bytes, empty ? 0 : 4);
		buf_append_str(&p.bytes, empty ? "" : random_below(r, 2) ? "eu-1" : "us-2");
		random_piece_ends(&p);
	}

	unsigned n = random_below(r, 8) ? random_below(r, MIN(metrics_max, 9u) + 1) : random_below(r, metrics_max + 1);

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "m%u", i);
		random_entry(&p.bytes, r, i < 9 ? names[i] : name, random_double(r), odd && random_below(r, 3) == 0);
		random_piece_ends(&p);
	}

	uint32_t order[RANDOM_PIECES_MAX];

	for (uint32_t i = 0; i < p.n; i++) {
		uint32_t k = odd ? random_below(r, i + 1) : i;

		order[i] = order[k];
		order[k] = i;
	}
	for (uint32_t i = 0; i < p.n; i++) {
		size_t start = order[i] ? p.end[order[i] - 1] : 0;

		buf_append(b, p.bytes.data + start, p.end[order[i]] - start);
	}
	if (random_below(r, 8) == 0) { /* fields 6 and 7 of tomorrow */
		buf_append_u8(b, 0x30);
		buf_append_varint(b, random_below(r, 1000));
		buf_append_str(b, "\x3a\x03new");
	}
	buf_done(&p.bytes);
}
