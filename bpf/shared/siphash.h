/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012), for the kernel and for user space.
 *
 * Three results of one state are used:
 *   64 bits      stock SipHash-2-4-64: integrity_hash, shards, table hashes;
 *   the tag      word 1 = those 64 bits; word 2 = the state continued as the 128-bit variant continues its own
 *                (v1 ^= 0xdd, four rounds, xor).  Word 2 never travels with a request;
 *   128 bits     stock SipHash-2-4-128 (v1 ^= 0xee at the start, 0xee instead of 0xff at the end): device keys.
 *
 * Word 1 and the 128-bit form are compared with OpenSSL's SIPHASH in tests, word 2 with the published vectors in
 * tests/vectors.
 *
 * Cost: about 1.2 cycles a byte and 60 cycles to finish.  Everything is inline; the loop over whole blocks is
 * admit_hash_span()'s in BPF and siphash_blocks() natively.
 */
#pragma once

#include "bpf/shared/platform.h"

struct siphash_key {
	__u64 k0, k1;
};

struct siphash_state {
	__u64 v0, v1, v2, v3;
};

/* The published key 00..0f (little-endian bytes): shards, and every device under `auth: open`.  (In BPF a constant
 * object would become a map.) */
#define SIPHASH_OPEN_K0 0x0706050403020100ULL
#define SIPHASH_OPEN_K1 0x0f0e0d0c0b0a0908ULL
#ifndef __bpf__
static const struct siphash_key siphash_open_key = { SIPHASH_OPEN_K0, SIPHASH_OPEN_K1 };
#endif

static SLUICE_INLINE __u64 siphash_rotl(__u64 v, int bits)
{
	return (v << bits) | (v >> (64 - bits));
}

static SLUICE_INLINE void siphash_round(struct siphash_state *s)
{
	s->v0 += s->v1;
	s->v1 = siphash_rotl(s->v1, 13) ^ s->v0;
	s->v0 = siphash_rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = siphash_rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = siphash_rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = siphash_rotl(s->v1, 17) ^ s->v2;
	s->v2 = siphash_rotl(s->v2, 32);
}

static SLUICE_INLINE struct siphash_state siphash_begin(const struct siphash_key *key)
{
	return (struct siphash_state){
		.v0 = key->k0 ^ 0x736f6d6570736575ULL,
		.v1 = key->k1 ^ 0x646f72616e646f6dULL,
		.v2 = key->k0 ^ 0x6c7967656e657261ULL,
		.v3 = key->k1 ^ 0x7465646279746573ULL,
	};
}

/* One whole block of eight bytes, read little-endian. */
static SLUICE_INLINE void siphash_block(struct siphash_state *s, __u64 m)
{
	s->v3 ^= m;
	siphash_round(s);
	siphash_round(s);
	s->v0 ^= m;
}

/* The last block: up to seven bytes that are left (zero above them) and the total length in the top byte. */
static SLUICE_INLINE __u64 siphash_last_block(__u64 tail_bytes, __u32 total_len)
{
	return tail_bytes | ((__u64)total_len << 56);
}

static SLUICE_INLINE __u64 siphash_finish_rounds(struct siphash_state *s)
{
	siphash_round(s);
	siphash_round(s);
	siphash_round(s);
	siphash_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* After the last block: the 64-bit result, and then the second word of the tag from the same state. */
static SLUICE_INLINE __u64 siphash_finish(struct siphash_state *s)
{
	s->v2 ^= 0xff;
	return siphash_finish_rounds(s);
}

static SLUICE_INLINE __u64 siphash_continue(struct siphash_state *s)
{
	s->v1 ^= 0xdd;
	return siphash_finish_rounds(s);
}

#ifndef __bpf__

static inline void siphash_blocks(struct siphash_state *s, const void *data, __u32 len)
{
	const __u8 *at = data;
	__u64 m, tail = 0;

	for (__u32 left = len / 8; left > 0; left--, at += 8) {
		__builtin_memcpy(&m, at, 8);
		siphash_block(s, m);
	}
	for (__u32 i = 0; i < len % 8; i++)
		tail |= (__u64)at[i] << (8 * i);
	siphash_block(s, siphash_last_block(tail, len));
}

static inline __u64 siphash_64(const struct siphash_key *key, const void *data, __u32 len)
{
	struct siphash_state s = siphash_begin(key);

	siphash_blocks(&s, data, len);
	return siphash_finish(&s);
}

/* ret[0] = word 1, ret[1] = word 2. */
static inline void siphash_tag(const struct siphash_key *key, const void *data, __u32 len, __u64 ret[2])
{
	struct siphash_state s = siphash_begin(key);

	siphash_blocks(&s, data, len);
	ret[0] = siphash_finish(&s);
	ret[1] = siphash_continue(&s);
}

/* The stock 128-bit hash as a key: what derives K(device) from a master. */
static inline struct siphash_key siphash_128(const struct siphash_key *key, const void *data, __u32 len)
{
	struct siphash_state s = siphash_begin(key);
	struct siphash_key ret;

	s.v1 ^= 0xee;
	siphash_blocks(&s, data, len);
	s.v2 ^= 0xee;
	ret.k0 = siphash_finish_rounds(&s);
	ret.k1 = siphash_continue(&s);
	return ret;
}

#endif
