#include "gateway/limit.h"

#include <arpa/inet.h>

#include "base/macros.h"
#include "tests/unit/harness.h"

static void address(uint8_t ret[16], const char *text)
{
	memset(ret, 0, 16);
	if (inet_pton(AF_INET6, text, ret) == 1)
		return;
	ret[10] = ret[11] = 0xff;
	CU_ASSERT_FATAL(inet_pton(AF_INET, text, ret + 12) == 1);
}

static unsigned passed(struct limiter *l, const char *ip, unsigned n, int64_t now_ns)
{
	uint8_t bytes[16];
	unsigned count = 0;

	address(bytes, ip);
	for (unsigned i = 0; i < n; i++)
		count += limiter_ask(l, bytes, now_ns) == LIMIT_PASS;
	return count;
}

static void a_prefix_gets_its_burst_and_then_its_rate(void)
{
	struct limiter *l;

	ASSERT_OK(limiter_new(&l, 100, 50));
	CU_ASSERT_EQUAL(passed(l, "192.0.2.1", 200, NS_PER_S), 50);
	CU_ASSERT_EQUAL(passed(l, "192.0.2.77", 10, NS_PER_S), 0); /* the same /24 */
	CU_ASSERT_EQUAL(passed(l, "192.0.3.1", 10, NS_PER_S), 10); /* another */
	CU_ASSERT_EQUAL(passed(l, "192.0.2.1", 200, NS_PER_S + NS_PER_S / 10), 10);
	CU_ASSERT_EQUAL(passed(l, "192.0.2.1", 200, 100 * NS_PER_S), 50);
	limiter_free(l);
}

static void an_ipv6_prefix_has_48_bits(void)
{
	struct limiter *l;

	ASSERT_OK(limiter_new(&l, 1, 5));
	CU_ASSERT_EQUAL(passed(l, "2001:db8:1::1", 10, NS_PER_S), 5);
	CU_ASSERT_EQUAL(passed(l, "2001:db8:1:ffff::2", 10, NS_PER_S), 0);
	CU_ASSERT_EQUAL(passed(l, "2001:db8:2::1", 10, NS_PER_S), 5);
	limiter_free(l);
}

static void no_rate_is_no_limit(void)
{
	struct limiter *l;

	ASSERT_OK(limiter_new(&l, 0, 1));
	CU_ASSERT_EQUAL(passed(l, "192.0.2.1", 100000, NS_PER_S), 100000);
	limiter_free(l);
}

static void denied_prefixes_are_told_bit_by_bit(void)
{
	struct limiter *l;
	uint8_t ip[16];

	ASSERT_OK(limiter_new(&l, 0, 1));
	ASSERT_OK(limiter_deny(l, "203.0.113.128/25"));
	ASSERT_OK(limiter_deny(l, "2001:db8::/33"));
	ASSERT_OK(limiter_deny(l, "198.51.100.7"));
	address(ip, "203.0.113.127");
	CU_ASSERT_EQUAL(limiter_ask(l, ip, 1), LIMIT_PASS);
	address(ip, "203.0.113.128");
	CU_ASSERT_EQUAL(limiter_ask(l, ip, 1), LIMIT_DENIED);
	address(ip, "2001:db8:7fff::1");
	CU_ASSERT_EQUAL(limiter_ask(l, ip, 1), LIMIT_DENIED);
	address(ip, "2001:db8:8000::1");
	CU_ASSERT_EQUAL(limiter_ask(l, ip, 1), LIMIT_PASS);
	address(ip, "198.51.100.7");
	CU_ASSERT_EQUAL(limiter_ask(l, ip, 1), LIMIT_DENIED);

	static const char *const wrong[] = { "", "203.0.113.0/33", "2001:db8::/129", "203.0.113.0/", "203.0.113.0/8x", "host" };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		CU_ASSERT(limiter_deny(l, wrong[i]) < 0);
	limiter_free(l);
}

TESTS("limit", T(a_prefix_gets_its_burst_and_then_its_rate), T(an_ipv6_prefix_has_48_bits), T(no_rate_is_no_limit),
      T(denied_prefixes_are_told_bit_by_bit))
