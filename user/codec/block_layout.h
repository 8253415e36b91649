/* What the block's writer and reader share; private to user/codec and the fuzzer.  The layout stands in block.c. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "codec/block.h"

enum {
	/* Behind the public flags, in the same byte. */
	FLAG_VERBATIM = 0x40,
	FLAG_UNKNOWN = 0x80,
	FLAGS_ALL = BLOCK_STAMPED | BLOCK_UNHASHED | FLAG_VERBATIM | FLAG_UNKNOWN,
};

enum time_mode { TIME_DEVICE, TIME_ARRIVAL, TIME_PREVIOUS, TIME_MODES };
enum value_kind { VALUE_RAW, VALUE_DEVICE, VALUE_PLAIN, VALUE_EXCEPTIONS = 0x80 };

static const int64_t time_units[] = { 1, 1000, 1000000, 1000000000 };

#define LINK_NONE UINT32_MAX

/* Who precedes whom: readings ordered by set (order[start[s]] is the first one of set s, arrival order within it);
 * link[p] is the position that the value at position p is compared with: the same device's before it in this set, or
 * else just the one before, or LINK_NONE for a set's first. */
struct block_links {
	uint32_t *order; /* count */
	uint32_t *link;  /* count */
	uint32_t *start; /* n_sets + 1 */
	uint32_t *last;  /* n_devices, scratch */
};
void block_links_make(struct block_links *ret, const uint32_t *device, const uint32_t *set, uint32_t count,
		      uint32_t n_devices, uint32_t n_sets);

/* Times as counts of the unit since the first, from their residuals and back: one step of the predictor. */
struct time_state {
	int64_t value, delta;
	bool seen;
};
struct time_predictor {
	enum time_mode mode;
	struct time_state *of_device; /* n_devices, zeroed; TIME_DEVICE only */
	int64_t previous, guess;      /* the last value, and the last step of any device */
};
static inline int64_t wrap_add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t wrap_sub(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}
static inline int64_t wrap_mul(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a * (uint64_t)b);
}

/* arrival: of this reading since the first one's, in the unit of the times. */
static inline int64_t time_predict(const struct time_predictor *p, uint32_t device, int64_t arrival)
{
	if (p->mode == TIME_ARRIVAL)
		return wrap_add(p->previous, arrival);
	if (p->mode == TIME_DEVICE && p->of_device[device].seen)
		return wrap_add(p->of_device[device].value, p->of_device[device].delta ? p->of_device[device].delta : p->guess);
	return p->previous;
}

static inline void time_learn(struct time_predictor *p, uint32_t device, int64_t arrival, int64_t value)
{
	p->previous = p->mode == TIME_ARRIVAL ? wrap_sub(value, arrival) : value;
	if (p->mode != TIME_DEVICE)
		return;

	struct time_state *s = &p->of_device[device];

	if (s->seen) {
		s->delta = wrap_sub(value, s->value);
		p->guess = s->delta;
	}
	s->value = value;
	s->seen = true;
}

static inline uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* The half of block_read() behind zstd: hashes are count * 8 bytes, raw the columns.  0, -EBADMSG, -ENOMEM. */
int block_read_columns(struct block *ret, uint32_t count, const uint8_t *hashes, struct slice raw);
