/* The source limit of the UDP path: what the XDP program does in bpf/limit.h where it is loaded.
 *
 * One GCRA cell (generic cell rate algorithm, ITU-T I.371) a /24 or /48 in a direct-mapped array under a keyed hash:
 * two prefixes that share a cell share its rate, which a stranger cannot aim for without the key.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct limiter;

/* rate: packets a second and prefix, 0 = no limit; burst >= 1. 0 or -ENOMEM. */
int limiter_new(struct limiter **ret, uint64_t rate, uint64_t burst);
void limiter_free(struct limiter *l);

/* "203.0.113.0/24" or "2001:db8::/48". 0 or -EINVAL. */
int limiter_deny(struct limiter *l, const char *prefix);

enum limit_result { LIMIT_PASS, LIMIT_RATE, LIMIT_DENIED };

/* ip: IPv6 or IPv4-mapped. now_ns: monotonic. One thread at a time. */
enum limit_result limiter_ask(struct limiter *l, const uint8_t ip[16], int64_t now_ns);
