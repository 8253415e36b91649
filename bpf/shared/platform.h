/* What lets bpf/shared compile for the kernel and natively: integer types, inlining, bpf_loop. */
#pragma once

#ifdef __bpf__
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#define SLUICE_INLINE __always_inline
#else
#include <linux/types.h>
#define SLUICE_INLINE inline __attribute__((always_inline))

/* The kernel's helper, natively: calls step(0..n-1, context) until it returns 1. */
static inline long bpf_loop(__u32 n, long (*step)(__u32 index, void *context), void *context, __u64 flags)
{
	__u32 i = 0;

	(void)flags;
	while (i < n && step(i, context) == 0)
		i++;
	return i;
}
#endif
