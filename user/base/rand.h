/* Randomness from the kernel (getrandom(2)): ids, seeds, jitter.  Never fails once the machine has booted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *ret, size_t n);
uint64_t rand_u64(void);
/* Uniform in [0, 1), repeatable: the state is the seed, and must not be 0. xorshift64*: Marsaglia's generator with Vigna's
 * multiplier; for simulations, never for secrets. */
double rand_uniform(uint64_t *state);
/* Full jitter for a retry: uniform in [0, min(cap, base << attempt)] (both in the same unit). */
int64_t rand_backoff(int64_t base, int64_t cap, unsigned attempt);
