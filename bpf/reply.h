/* reply: turns the request in hand into its answer, in place.
 *
 * Addresses and ports change sides, VLAN tags stay, the rest of the headers is made anew; the frame shrinks to what
 * the answer needs.  The UDP checksum is computed in full: the request's is no base for an update (a sender on veth
 * leaves only the pseudo-header's sum there).
 *
 * Checksums (RFC 1071): a ones' complement sum may be taken over words of any size in host order and folded; and the
 * 0xffff in a mapped IPv4 address adds nothing, so both families are summed alike.
 */
#pragma once

#include "bpf/parse.h"

#define REPLY_HOP_LIMIT 64
#define REPLY_DONT_FRAGMENT 0x4000

static SLUICE_INLINE __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* Sum over an even number of words. */
static SLUICE_INLINE __u64 checksum_words(const void *data, int n)
{
	const __u32 *words = data;
	__u64 sum = 0;

	SLUICE_UNROLL
	for (int i = 0; i < n; i++)
		sum += words[i];
	return sum;
}

static SLUICE_INLINE __u16 reply_udp_checksum(const struct packet *p, __u32 udp_len)
{
	__s32 len = (__s32)(udp_len - sizeof(struct udphdr));
	__u64 sum = checksum_words(p->src, 4) + checksum_words(p->dst, 4) + bpf_htons(IPPROTO_UDP) +
		    2 * (__u64)bpf_htons((__u16)udp_len) + p->src_port_be + p->dst_port_be;
	__u16 folded;

	SLUICE_UNROLL
	for (int i = 0; i < SLUICE_ANSWER_MAX / 8; i++) {
		__u64 word = sluice_load64(p->scratch->answer + 8 * i) & admit_mask(len - 8 * i);

		sum += (word & 0xffffffff) + (word >> 32);
	}
	folded = checksum_fold(sum);
	return folded ? folded : 0xffff;
}

static SLUICE_INLINE void reply_ethernet(struct ethhdr *eth)
{
	__u8 mac[6];

	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
}

static SLUICE_INLINE void reply_ipv4(const struct packet *p, struct iphdr *ip, __u32 udp_len)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = bpf_htons((__u16)(sizeof(*ip) + udp_len));
	ip->id = 0; /* of no meaning in what must not be fragmented, RFC 6864 */
	ip->frag_off = bpf_htons(REPLY_DONT_FRAGMENT);
	ip->ttl = REPLY_HOP_LIMIT;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = *(const __u32 *)(p->dst + 12);
	ip->daddr = *(const __u32 *)(p->src + 12);
	ip->check = checksum_fold(checksum_words(ip, 5));
}

static SLUICE_INLINE void reply_ipv6(const struct packet *p, struct ipv6hdr *ip, __u32 udp_len)
{
	*(__u32 *)ip = bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons((__u16)udp_len);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = REPLY_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, p->dst, 16);
	__builtin_memcpy(&ip->daddr, p->src, 16);
}

/* Headers from Ethernet to UDP; false when they do not lie in the frame, which parse() has seen. */
static SLUICE_INLINE bool reply_headers(const struct packet *p, __u32 udp_len)
{
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;
	void *ip = data + (p->ip_off & 31);
	__u32 ip_len = p->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct udphdr *udp = ip + ip_len;

	if (data + sizeof(struct ethhdr) > end || (void *)(udp + 1) > end)
		return false;
	reply_ethernet(data);
	if (ip_len == sizeof(struct ipv6hdr))
		reply_ipv6(p, ip, udp_len);
	else
		reply_ipv4(p, ip, udp_len);
	udp->source = p->dst_port_be;
	udp->dest = p->src_port_be;
	udp->len = bpf_htons((__u16)udp_len);
	udp->check = reply_udp_checksum(p, udp_len);
	return true;
}

/* True when the frame is now the answer. */
static SLUICE_INLINE bool reply(struct packet *p)
{
	__u8 *answer = p->scratch->answer;
	__u32 len = answer_write_within(answer, &p->answer, p->scratch->message + COAP_HEADER_LEN, p->coap_len);

	asm volatile("" : "+r"(len));
	if (len == 0 || len > SLUICE_ANSWER_MAX)
		return false;
	return reply_headers(p, sizeof(struct udphdr) + len) &&
	       bpf_xdp_store_bytes(p->ctx, p->coap_off, answer, len) == 0 &&
	       bpf_xdp_adjust_tail(p->ctx, (int)(p->coap_off + len) - (int)p->frame_len) == 0;
}
