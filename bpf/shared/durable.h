/* The durable table: which readings are known to be on disk.
 *
 * One writer (the gateway's commit thread, after its fsync), any number of readers (the XDP program, the UDP
 * path).  The writer stores w0 and w1 of a slot with plain aligned 64-bit stores; a reader that meets a torn pair
 * sees a mixture that matches no tag.  Forgetting is always allowed: the region deduplicates exactly.  Hence no
 * lock, no compare-and-swap, no pending state.
 *
 * False positives: 48 bits of word 2 beside 64 of word 1 must agree.
 */
#pragma once

#include "bpf/shared/contract.h"

#define SLUICE_DURABLE_STAMP 0xffffULL

static SLUICE_INLINE __u32 durable_bucket_of(__u64 word1, __u64 seed, __u32 shift)
{
	return (__u32)(((word1 ^ seed) * 0x9E3779B97F4A7C15ULL) >> shift);
}

static SLUICE_INLINE int durable_find(const struct sluice_durable_bucket *bucket, __u64 word1, __u64 word2)
{
	SLUICE_UNROLL
	for (int i = 0; i < SLUICE_DURABLE_WAYS; i++) {
		__u64 w0 = sluice_load_shared64(&bucket->slots[i].w0), w1 = sluice_load_shared64(&bucket->slots[i].w1);

		if (w0 == word1 && ((w1 ^ word2) & ~SLUICE_DURABLE_STAMP) == 0 && w1 != 0)
			return 1;
	}
	return 0;
}

#ifndef __bpf__

/* Seconds since the tag was put, modulo 18 hours; -1 when it is not there. */
static inline long durable_age_s(const struct sluice_durable_bucket *bucket, __u64 word1, __u64 word2, __u64 mono_s)
{
	for (int i = 0; i < SLUICE_DURABLE_WAYS; i++) {
		__u64 w0 = sluice_load_shared64(&bucket->slots[i].w0), w1 = sluice_load_shared64(&bucket->slots[i].w1);

		if (w0 == word1 && ((w1 ^ word2) & ~SLUICE_DURABLE_STAMP) == 0 && w1 != 0)
			return (__u16)(mono_s - w1);
	}
	return -1;
}

/* Overwrites the slot that already has the tag, else a free one, else the oldest. */
static inline void durable_put(struct sluice_durable_bucket *bucket, __u64 word1, __u64 word2, __u64 mono_s)
{
	__u16 stamp = (__u16)mono_s ? (__u16)mono_s : 1;
	int victim = 0;
	__u32 oldest = 0;

	for (int i = 0; i < SLUICE_DURABLE_WAYS; i++) {
		const struct sluice_durable_slot *slot = &bucket->slots[i];
		__u32 age = slot->w1 == 0 ? 0x10000 : (__u16)(stamp - (__u16)slot->w1);

		if (slot->w0 == word1 && ((slot->w1 ^ word2) & ~SLUICE_DURABLE_STAMP) == 0 && slot->w1 != 0) {
			victim = i;
			break;
		}
		if (age >= oldest) {
			oldest = age;
			victim = i;
		}
	}

	struct sluice_durable_slot *slot = &bucket->slots[victim];

	__atomic_store_n(&slot->w1, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->w0, word1, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->w1, (word2 & ~SLUICE_DURABLE_STAMP) | stamp, __ATOMIC_RELEASE);
}

#endif
