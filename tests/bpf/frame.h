/* Builds the Ethernet frame around a message, and the answer that must come back for it.  Checksums are computed
 * byte by byte as RFC 1071 writes them down.
 */
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX 2048

struct frame {
	uint8_t dst_mac[6], src_mac[6];
	unsigned n_vlans;
	uint16_t vlan[2]; /* outer first */
	bool v6;
	const char *src_ip, *dst_ip; /* text; NULL: FRAME_DEVICE_* and FRAME_GATEWAY_* */
	uint16_t src_port, dst_port;
	size_t padding;   /* bytes behind the IP packet */
	bool no_checksum; /* only the pseudo-header's sum in the UDP header, as veth has it */
	bool is_answer;   /* headers as the program writes them */
};

#define FRAME_GATEWAY_MAC { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 }
#define FRAME_DEVICE_MAC { 0x06, 0xaa, 0xbb, 0xcc, 0xdd, 0xee }
#define FRAME_DEVICE_IP4 "198.51.100.7"
#define FRAME_DEVICE_IP6 "2001:db8:77:1::9"
#define FRAME_GATEWAY_IP4 "203.0.113.80"
#define FRAME_GATEWAY_IP6 "2001:db8::80"

#define FRAME_DEFAULT                                                                                   \
	(struct frame)                                                                                  \
	{                                                                                               \
		.dst_mac = FRAME_GATEWAY_MAC, .src_mac = FRAME_DEVICE_MAC, .vlan = { 0x2064, 0x00c8 },  \
		.src_port = 49152, .dst_port = 5683,                                                    \
	}

struct frame_built {
	uint8_t bytes[FRAME_MAX];
	size_t len, ip_off, udp_off, coap_off;
};

static inline void frame_put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline uint32_t frame_sum(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline size_t frame_put_ethernet(uint8_t *at, const struct frame *f)
{
	static const uint16_t outer[] = { 0x8100, 0x8100, 0x88a8 };
	size_t n = 12;

	memcpy(at, f->dst_mac, 6);
	memcpy(at + 6, f->src_mac, 6);
	for (unsigned i = 0; i < f->n_vlans; i++) {
		frame_put16(at + n, i == 0 ? outer[f->n_vlans] : 0x8100);
		frame_put16(at + n + 2, f->vlan[i]);
		n += 4;
	}
	frame_put16(at + n, f->v6 ? 0x86dd : 0x0800);
	return n + 2;
}

static inline const char *frame_src(const struct frame *f)
{
	return f->src_ip ? f->src_ip : f->v6 ? FRAME_DEVICE_IP6 : FRAME_DEVICE_IP4;
}

static inline const char *frame_dst(const struct frame *f)
{
	return f->dst_ip ? f->dst_ip : f->v6 ? FRAME_GATEWAY_IP6 : FRAME_GATEWAY_IP4;
}

static inline size_t frame_put_ipv4(uint8_t *at, const struct frame *f, size_t udp_len)
{
	memset(at, 0, 20);
	at[0] = 0x45;
	frame_put16(at + 2, (unsigned)(20 + udp_len));
	frame_put16(at + 4, f->is_answer ? 0 : 0x77aa);
	frame_put16(at + 6, f->is_answer ? 0x4000 : 0);
	at[8] = f->is_answer ? 64 : 57;
	at[9] = 17;
	inet_pton(AF_INET, frame_src(f), at + 12);
	inet_pton(AF_INET, frame_dst(f), at + 16);
	frame_put16(at + 10, ~frame_sum(at, 20, 0) & 0xffff);
	return 20;
}

static inline size_t frame_put_ipv6(uint8_t *at, const struct frame *f, size_t udp_len)
{
	memset(at, 0, 40);
	at[0] = 0x60;
	if (!f->is_answer)
		memcpy(at + 1, "\x01\x23\x45", 3); /* traffic class and flow label */
	frame_put16(at + 4, (unsigned)udp_len);
	at[6] = 17;
	at[7] = f->is_answer ? 64 : 57;
	inet_pton(AF_INET6, frame_src(f), at + 8);
	inet_pton(AF_INET6, frame_dst(f), at + 24);
	return 40;
}

static inline void frame_build(struct frame_built *ret, const struct frame *f, const void *message, size_t len)
{
	size_t udp_len = 8 + len, addresses = f->v6 ? 32 : 8;
	uint8_t *at = ret->bytes, *udp;
	uint32_t sum;

	memset(ret, 0, sizeof(*ret));
	ret->ip_off = frame_put_ethernet(at, f);
	at += ret->ip_off;
	at += f->v6 ? frame_put_ipv6(at, f, udp_len) : frame_put_ipv4(at, f, udp_len);
	udp = at;
	ret->udp_off = (size_t)(udp - ret->bytes);
	ret->coap_off = ret->udp_off + 8;
	frame_put16(udp, f->src_port);
	frame_put16(udp + 2, f->dst_port);
	frame_put16(udp + 4, (unsigned)udp_len);
	memcpy(udp + 8, message, len);
	sum = frame_sum(udp - addresses, addresses, 17 + (uint32_t)udp_len);
	if (!f->no_checksum)
		sum = ~frame_sum(udp, udp_len, sum) & 0xffff;
	frame_put16(udp + 6, sum == 0 ? 0xffff : sum);
	memset(udp + udp_len, 0x5a, f->padding);
	ret->len = ret->coap_off + len + f->padding;
}

/* The frame that carries an answer to f. */
static inline void frame_build_answer(struct frame_built *ret, const struct frame *f, const void *message, size_t len)
{
	struct frame a = *f;

	memcpy(a.dst_mac, f->src_mac, 6);
	memcpy(a.src_mac, f->dst_mac, 6);
	a.src_ip = frame_dst(f);
	a.dst_ip = frame_src(f);
	a.src_port = f->dst_port;
	a.dst_port = f->src_port;
	a.padding = 0;
	a.no_checksum = false;
	a.is_answer = true;
	frame_build(ret, &a, message, len);
}
