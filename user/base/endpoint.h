/* An address and port as people write them: "127.0.0.1:9464", "[::1]:0".  Numeric only: no names are resolved. */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

/* 0, or -EINVAL. */
int endpoint_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
/* A bare IPv4 or IPv6 address, with the port given apart. 0, or -EINVAL. */
int endpoint_of(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len);
