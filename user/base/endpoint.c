#include "base/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

int endpoint_of(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
		memset(ret, 0, sizeof(*ret));
		memcpy(ret, &v4, sizeof(v4));
		*ret_len = sizeof(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
		memset(ret, 0, sizeof(*ret));
		memcpy(ret, &v6, sizeof(v6));
		*ret_len = sizeof(v6);
		return 0;
	}
	return -EINVAL;
}

static int parse_port(const char *text, uint16_t *ret)
{
	uint32_t port = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(*text - '0');
		if (port > UINT16_MAX)
			return -EINVAL;
	}
	*ret = (uint16_t)port;
	return 0;
}

int endpoint_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	const char *colon = strrchr(text, ':');
	char address[INET6_ADDRSTRLEN];
	uint16_t port;

	if (!colon || parse_port(colon + 1, &port) < 0)
		return -EINVAL;

	size_t len = (size_t)(colon - text);
	int bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (bracketed) {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	/* Without brackets the last colon of an IPv6 address would pass for the port's. */
	if (!bracketed != !strchr(address, ':'))
		return -EINVAL;
	return endpoint_of(address, port, ret, ret_len);
}
