/* parse: from the frame to "a datagram for one of our services".
 *
 * Served: Ethernet with up to two VLAN tags, IPv4 without options and fragments, IPv6 without extension headers,
 * UDP, unicast from and to.  Everything else is somebody else's, or is for the kernel's own stack to judge, and is
 * passed untouched.  Checksums are not looked at: the integrity hash covers what we believe.
 */
#pragma once

#include <stddef.h>

#include "bpf/packet.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define IPPROTO_UDP 17
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */

/* Offset of the network header behind at most two tags, 0 when there is none; its type in ret. */
static SLUICE_INLINE __u32 parse_ethernet(void *data, void *end, __be16 *ret_proto_be)
{
	struct ethhdr *eth = data;
	__u32 offset = sizeof(*eth);

	if ((void *)(eth + 1) > end)
		return 0;
	*ret_proto_be = eth->h_proto;
	SLUICE_UNROLL
	for (int i = 0; i < 2; i++) {
		struct vlan_hdr *tag = data + offset;

		if (*ret_proto_be != bpf_htons(ETH_P_8021Q) && *ret_proto_be != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		*ret_proto_be = tag->h_vlan_encapsulated_proto;
		offset += sizeof(*tag);
	}
	return offset;
}

static SLUICE_INLINE void address_of_ipv4(__u8 ret[16], __be32 ip_be)
{
	__builtin_memset(ret, 0, 8);
	*(__u32 *)(ret + 8) = bpf_htonl(0xffff);
	*(__u32 *)(ret + 12) = ip_be;
}

/* Bytes of UDP behind the IP header, 0 when this is not for us; sets the addresses. */
static SLUICE_INLINE __u32 parse_ipv4(struct packet *p, struct iphdr *ip, void *end)
{
	__u32 len, first;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP ||
	    (ip->frag_off & bpf_htons(IP_FRAGMENT)))
		return 0;
	len = bpf_ntohs(ip->tot_len);
	first = *(__u8 *)&ip->saddr;
	if (len < sizeof(*ip) || first == 0 || first == 127 || first >= 224)
		return 0;
	address_of_ipv4(p->src, ip->saddr);
	address_of_ipv4(p->dst, ip->daddr);
	return len - sizeof(*ip);
}

static SLUICE_INLINE __u32 parse_ipv6(struct packet *p, struct ipv6hdr *ip, void *end)
{
	if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP ||
	    ip->saddr.in6_u.u6_addr8[0] == 0xff)
		return 0;
	__builtin_memcpy(p->src, &ip->saddr, 16);
	__builtin_memcpy(p->dst, &ip->daddr, 16);
	p->is_v6 = true;
	return bpf_ntohs(ip->payload_len);
}

/* Lengths must fit into each other and into the frame, which may be longer (Ethernet pads). */
static SLUICE_INLINE bool parse_udp(struct packet *p, __u32 offset, __u32 room, void *data, void *end)
{
	struct udphdr *udp = data + offset;
	__u32 len;

	if ((void *)(udp + 1) > end)
		return false;
	len = bpf_ntohs(udp->len);
	if (len < sizeof(*udp) || len > room || offset + room > p->frame_len || udp->source == 0)
		return false;
	p->src_port_be = udp->source;
	p->dst_port_be = udp->dest;
	p->coap_off = (__u16)(offset + sizeof(*udp));
	p->coap_len = (__u16)(len - sizeof(*udp));
	return true;
}

static SLUICE_INLINE bool parse_is_ours(struct packet *p, const struct ethhdr *eth)
{
	struct sluice_service_key key = { .port_be = p->dst_port_be };
	struct sluice_service *service;

	__builtin_memcpy(key.ip, p->dst, sizeof(key.ip));
	service = bpf_map_lookup_elem(&services, &key);
	if (!service || *(__u32 *)eth->h_dest != *(__u32 *)service->mac ||
	    *(__u16 *)(eth->h_dest + 4) != *(__u16 *)(service->mac + 4) || (eth->h_source[0] & 1))
		return false;
	p->service = service->index;
	return true;
}

static SLUICE_INLINE bool parse(struct packet *p)
{
	void *data = (void *)(long)p->ctx->data, *end = (void *)(long)p->ctx->data_end;
	__be16 proto_be = 0;
	__u32 room = 0, ip_len = 0, ip_off = parse_ethernet(data, end, &proto_be);

	p->frame_len = (__u32)(end - data);
	if (ip_off > 0 && proto_be == bpf_htons(ETH_P_IP)) {
		room = parse_ipv4(p, data + ip_off, end);
		ip_len = sizeof(struct iphdr);
	} else if (ip_off > 0 && proto_be == bpf_htons(ETH_P_IPV6)) {
		room = parse_ipv6(p, data + ip_off, end);
		ip_len = sizeof(struct ipv6hdr);
	}
	p->ip_off = (__u16)ip_off;
	if (room == 0 || !parse_udp(p, ip_off + ip_len, room, data, end) || !parse_is_ours(p, data))
		return end_with(p, SLUICE_PASSED_FOREIGN);
	return true;
}
