#include "net/frame.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/macros.h"

enum { ETHERNET_LEN = 14, TAG_LEN = 4, IPV4_LEN = 20, IPV6_LEN = 40, UDP_LEN = 8 };
#define ETHERNET_MIN 60 /* without the frame check sequence */
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_TAG 0x8100         /* 802.1Q */
#define TYPE_SERVICE_TAG 0x88a8 /* 802.1ad */
#define PROTOCOL_UDP 17
#define HOP_LIMIT 64
#define DONT_FRAGMENT 0x4000

/* stub.flags: how many tags (0..2), and which of them are service tags. */
enum { FLAG_TAGS = 3, FLAG_OUTER_SERVICE = 4, FLAG_INNER_SERVICE = 8 };

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint8_t *store16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
	return at + 2;
}

/* ------------------------------------------------------------------ request */

static void read_tags(struct reply_stub *stub, const uint8_t *frame, unsigned tags)
{
	stub->flags = (uint8_t)tags;
	for (unsigned i = 0; i < tags; i++) {
		stub->vlan[i] = load16(frame + 14 + TAG_LEN * i);
		if (load16(frame + 12 + TAG_LEN * i) == TYPE_SERVICE_TAG)
			stub->flags |= i == 0 ? FLAG_OUTER_SERVICE : FLAG_INNER_SERVICE;
	}
}

bool frame_read_request(struct reply_stub *ret, const uint8_t *frame, size_t len, const struct sluice_meta *meta)
{
	unsigned tags = (meta->ip_off - ETHERNET_LEN) / TAG_LEN;
	size_t coap_off = meta->coap_off;

	if (meta->ip_off < ETHERNET_LEN || tags > 2 || (meta->ip_off - ETHERNET_LEN) % TAG_LEN != 0 ||
	    coap_off + meta->coap_len > len || meta->payload_off > meta->coap_len)
		return false;

	const uint8_t *ip = frame + meta->ip_off;
	bool is_v6 = coap_off == (size_t)meta->ip_off + IPV6_LEN + UDP_LEN;

	if (!is_v6 && coap_off != (size_t)meta->ip_off + IPV4_LEN + UDP_LEN)
		return false;
	*ret = (struct reply_stub){
		.service = meta->service,
		.arrival_ns = meta->arrival_ns,
		.request_len = meta->coap_len,
	};
	memcpy(ret->peer_mac, frame + 6, 6);
	memcpy(&ret->peer_port_be, frame + coap_off - UDP_LEN, 2);
	if (is_v6) {
		memcpy(ret->peer_ip, ip + 8, 16);
	} else {
		ret->peer_ip[10] = ret->peer_ip[11] = 0xff;
		memcpy(ret->peer_ip + 12, ip + 12, 4);
	}
	read_tags(ret, frame, tags);
	return true;
}

/* ------------------------------------------------------------------ answer */

/* RFC 1071: the ones' complement sum of big-endian 16-bit words, not folded; an odd last byte counts as the upper. */
static uint32_t sum_words(uint32_t sum, const uint8_t *at, size_t len)
{
	for (; len >= 2; len -= 2, at += 2)
		sum += load16(at);
	return len > 0 ? sum + ((uint32_t)at[0] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The pseudo-headers of IPv4 and IPv6 give the same sum over mapped addresses: 0xffff adds nothing. */
static void write_udp(uint8_t *udp, const struct reply_stub *stub, const struct sluice_service_key *own,
		      const void *answer, size_t len)
{
	uint32_t sum;
	uint16_t folded;

	memcpy(udp, &own->port_be, 2);
	memcpy(udp + 2, &stub->peer_port_be, 2);
	store16(udp + 4, (unsigned)(UDP_LEN + len));
	store16(udp + 6, 0);
	memcpy(udp + UDP_LEN, answer, len);
	sum = sum_words(PROTOCOL_UDP + (uint32_t)(UDP_LEN + len), own->ip, 16);
	sum = sum_words(sum, stub->peer_ip, 16);
	folded = fold(sum_words(sum, udp, UDP_LEN + len));
	store16(udp + 6, folded ? folded : 0xffff); /* 0 would say that there is none */
}

static void write_ipv4(uint8_t *ip, const uint8_t src[16], const uint8_t dst[16], size_t udp_len)
{
	uint8_t *at = ip;

	at = store16(at, 0x4500);
	at = store16(at, (unsigned)(IPV4_LEN + udp_len));
	at = store16(at, 0); /* an identification means nothing in what must not be fragmented, RFC 6864 */
	at = store16(at, DONT_FRAGMENT);
	at = store16(at, HOP_LIMIT << 8 | PROTOCOL_UDP);
	store16(at, 0);
	memcpy(ip + 12, src + 12, 4);
	memcpy(ip + 16, dst + 12, 4);
	store16(at, fold(sum_words(0, ip, IPV4_LEN)));
}

static void write_ipv6(uint8_t *ip, const uint8_t src[16], const uint8_t dst[16], size_t udp_len)
{
	uint8_t *at = ip;

	at = store16(at, 0x6000);
	at = store16(at, 0);
	at = store16(at, (unsigned)udp_len);
	store16(at, PROTOCOL_UDP << 8 | HOP_LIMIT);
	memcpy(ip + 8, src, 16);
	memcpy(ip + 24, dst, 16);
}

static uint8_t *write_ethernet(uint8_t *at, const struct reply_stub *stub, const uint8_t own_mac[6], bool is_v6)
{
	memcpy(at, stub->peer_mac, 6);
	memcpy(at + 6, own_mac, 6);
	at += 12;
	for (unsigned i = 0; i < (stub->flags & FLAG_TAGS); i++) {
		bool is_service = stub->flags & (i == 0 ? FLAG_OUTER_SERVICE : FLAG_INNER_SERVICE);

		at = store16(at, is_service ? TYPE_SERVICE_TAG : TYPE_TAG);
		at = store16(at, stub->vlan[i]);
	}
	return store16(at, is_v6 ? TYPE_IPV6 : TYPE_IPV4);
}

size_t frame_write_answer(uint8_t ret[static FRAME_ANSWER_MAX], const struct reply_stub *stub,
			  const struct sluice_service_key *own, const uint8_t own_mac[6], const void *answer,
			  size_t len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool is_v6 = memcmp(stub->peer_ip, mapped, sizeof(mapped)) != 0;
	size_t udp_len = UDP_LEN + len;
	uint8_t *ip = write_ethernet(ret, stub, own_mac, is_v6);
	uint8_t *udp = ip + (is_v6 ? IPV6_LEN : IPV4_LEN);

	must(len <= 64 && (stub->flags & FLAG_TAGS) <= 2);
	if (is_v6)
		write_ipv6(ip, own->ip, stub->peer_ip, udp_len);
	else
		write_ipv4(ip, own->ip, stub->peer_ip, udp_len);
	write_udp(udp, stub, own, answer, len);

	size_t total = (size_t)(udp - ret) + udp_len;

	if (total < ETHERNET_MIN)
		memset(ret + total, 0, ETHERNET_MIN - total);
	return MAX(total, (size_t)ETHERNET_MIN);
}
