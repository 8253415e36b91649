#include "base/rand.h"

#include <sys/random.h>

#include "base/macros.h"

void rand_bytes(void *ret, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = getrandom((uint8_t *)ret + done, n - done, 0);

		if (got > 0)
			done += (size_t)got;
	}
}

uint64_t rand_u64(void)
{
	uint64_t v;

	rand_bytes(&v, sizeof(v));
	return v;
}

double rand_uniform(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (double)(*state * 0x2545F4914F6CDD1DULL >> 11) * 0x1p-53;
}

int64_t rand_backoff(int64_t base, int64_t cap, unsigned attempt)
{
	must(base > 0 && cap >= base);

	int64_t limit = attempt >= 62 || (cap >> attempt) < base ? cap : base << attempt;

	return (int64_t)(rand_u64() % (uint64_t)(limit + 1));
}
