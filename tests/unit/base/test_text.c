#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/endpoint.h"
#include "base/nearest.h"
#include "tests/unit/harness.h"

static const char *nearest_of(const char *word, const char *const *candidates, size_t n)
{
	struct nearest near = nearest_to(word);

	for (size_t i = 0; i < n; i++)
		nearest_offer(&near, candidates[i], strlen(candidates[i]));
	return near.best ? near.best : "";
}
#define NEAREST(word, ...)                                                        \
	nearest_of(word, (const char *const[]){ __VA_ARGS__ },                    \
		   sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void the_word_with_the_fewest_edits_is_offered(void)
{
	CU_ASSERT_STRING_EQUAL(NEAREST("streems", "status", "streams", "simulate"), "streams");
	CU_ASSERT_STRING_EQUAL(NEAREST("tpa", "top", "tap"), "tap"); /* one exchange against two replacements */
	CU_ASSERT_STRING_EQUAL(NEAREST("statu", "stats", "status"), "stats"); /* the first of equals */
	CU_ASSERT_STRING_EQUAL(NEAREST("sitting", "kitten"), "kitten"); /* the textbook's three edits */
}

static void a_word_that_is_far_from_all_gets_none(void)
{
	char long_word[80] = "";

	memset(long_word, 'a', sizeof(long_word) - 1);
	CU_ASSERT_STRING_EQUAL(NEAREST("kubernetes", "status", "streams"), "");
	CU_ASSERT_STRING_EQUAL(NEAREST("x", "y"), "");
	CU_ASSERT_STRING_EQUAL(NEAREST("", "a", "ab"), "");
	CU_ASSERT_STRING_EQUAL(NEAREST(long_word, "a"), "");
}

static void an_endpoint_is_address_and_port(void)
{
	struct sockaddr_storage where;
	socklen_t len;

	ASSERT_OK(endpoint_parse("192.0.2.1:9464", &where, &len));
	CU_ASSERT_EQUAL(where.ss_family, AF_INET);
	CU_ASSERT_EQUAL(len, sizeof(struct sockaddr_in));
	CU_ASSERT_EQUAL(ntohs(((struct sockaddr_in *)&where)->sin_port), 9464);
	CU_ASSERT_EQUAL(ntohl(((struct sockaddr_in *)&where)->sin_addr.s_addr), 0xc0000201);
	ASSERT_OK(endpoint_parse("[::1]:0", &where, &len));
	CU_ASSERT_EQUAL(where.ss_family, AF_INET6);
	CU_ASSERT_EQUAL(len, sizeof(struct sockaddr_in6));
	CU_ASSERT_TRUE(IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&where)->sin6_addr));
}

TESTS("base-text", T(the_word_with_the_fewest_edits_is_offered), T(a_word_that_is_far_from_all_gets_none),
      T(an_endpoint_is_address_and_port))
