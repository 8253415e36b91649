#include "gateway/limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/rand.h"
#include "bpf/shared/siphash.h"

#define CELLS 65536 /* 512 KiB; a power of two */

struct prefix {
	uint8_t ip[16];
	uint32_t bits; /* of the 128 */
};

struct limiter {
	struct siphash_key key;
	int64_t step_ns;  /* between packets at the rate */
	int64_t slack_ns; /* burst - 1 steps */
	struct prefix *denied;
	size_t n_denied;
	int64_t cells[CELLS]; /* theoretical arrival time of the next packet */
};

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

int limiter_new(struct limiter **ret, uint64_t rate, uint64_t burst)
{
	struct limiter *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	must(burst >= 1);
	rand_bytes(&l->key, sizeof(l->key));
	if (rate > 0) {
		l->step_ns = MAX(NS_PER_S / (int64_t)rate, 1LL);
		l->slack_ns = (int64_t)(burst - 1) * l->step_ns;
	}
	*ret = l;
	return 0;
}

void limiter_free(struct limiter *l)
{
	if (l)
		free(l->denied);
	free(l);
}

int limiter_deny(struct limiter *l, const char *prefix)
{
	char text[64];
	struct prefix p = { 0 };
	const char *slash = strchr(prefix, '/');
	size_t len = slash ? (size_t)(slash - prefix) : strlen(prefix);
	uint32_t width = 128;

	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, prefix, len);
	text[len] = 0;
	if (inet_pton(AF_INET, text, p.ip + 12) == 1) {
		memcpy(p.ip, v4_mapped, sizeof(v4_mapped));
		width = 32;
	} else if (inet_pton(AF_INET6, text, p.ip) != 1) {
		return -EINVAL;
	}

	char *end = NULL;
	unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : width;

	if ((slash && (end == slash + 1 || *end)) || bits > width)
		return -EINVAL;
	p.bits = 128 - width + (uint32_t)bits;

	struct prefix *more = realloc(l->denied, (l->n_denied + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->denied = more;
	l->denied[l->n_denied++] = p;
	return 0;
}

static bool prefix_holds(const struct prefix *p, const uint8_t ip[16])
{
	uint32_t whole = p->bits / 8, rest = p->bits % 8;

	if (memcmp(p->ip, ip, whole) != 0)
		return false;
	return rest == 0 || ((p->ip[whole] ^ ip[whole]) >> (8 - rest)) == 0;
}

enum limit_result limiter_ask(struct limiter *l, const uint8_t ip[16], int64_t now_ns)
{
	for (size_t i = 0; i < l->n_denied; i++)
		if (prefix_holds(&l->denied[i], ip))
			return LIMIT_DENIED;
	if (l->step_ns == 0)
		return LIMIT_PASS;

	bool v4 = memcmp(ip, v4_mapped, sizeof(v4_mapped)) == 0;
	uint64_t hash = siphash_64(&l->key, ip, v4 ? 15 : 6);
	int64_t *cell = &l->cells[hash % CELLS];
	int64_t at_ns = MAX(*cell, now_ns);

	if (at_ns - now_ns > l->slack_ns)
		return LIMIT_RATE;
	*cell = at_ns + l->step_ns;
	return LIMIT_PASS;
}
