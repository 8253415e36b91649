/* What lets bpf/shared compile for the kernel and natively: integer types, inlining, unaligned words.
 *
 * sluice_offset() stands wherever a computed offset meets the message.  The kernel's verifier wants to see a bound
 * there that no optimiser can reason away, so in BPF it masks (the scratch buffer has room for every masked
 * offset); natively it changes nothing, and AddressSanitizer under fuzzing shows that the mask never did either.
 */
#pragma once

#ifdef __bpf__
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#define SLUICE_INLINE __always_inline
#define SLUICE_UNROLL _Pragma("clang loop unroll(full)")
#define SLUICE_OFFSET_MAX 2047
#define SLUICE_BUFFER_SIZE (SLUICE_OFFSET_MAX + 1 + 64) /* room behind every masked offset */
/* A function with external linkage is verified once, on its own, and not again for every state of every caller. It
 * knows of its pointers only the size of what they point to, and must take NULL. */
#define SLUICE_VERIFIED_ONCE __attribute__((noinline))

static SLUICE_INLINE __u32 sluice_offset(__u32 offset)
{
	asm volatile("" : "+r"(offset));
	return offset & SLUICE_OFFSET_MAX;
}

/* An aligned word that another thread may be writing. */
static SLUICE_INLINE __u64 sluice_load_shared64(const __u64 *at)
{
	return *(const volatile __u64 *)at;
}

/* Through memcpy clang would load byte by byte: it knows no unaligned words on this target. */
static SLUICE_INLINE __u64 sluice_load64(const void *at)
{
	return *(const __u64 *)at;
}

static SLUICE_INLINE void sluice_store64(void *at, __u64 v)
{
	*(__u64 *)at = v;
}
#else
#include <linux/types.h>
#define SLUICE_INLINE inline __attribute__((always_inline))
#define SLUICE_VERIFIED_ONCE static inline
#define SLUICE_BUFFER_SIZE 1536
#define SLUICE_UNROLL

static SLUICE_INLINE __u32 sluice_offset(__u32 offset)
{
	return offset;
}

static SLUICE_INLINE __u64 sluice_load_shared64(const __u64 *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static SLUICE_INLINE __u64 sluice_load64(const void *at)
{
	__u64 v;

	__builtin_memcpy(&v, at, sizeof(v));
	return v;
}

static SLUICE_INLINE void sluice_store64(void *at, __u64 v)
{
	__builtin_memcpy(at, &v, sizeof(v));
}
#endif
