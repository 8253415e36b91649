/* steer: a new reading goes to the AF_XDP socket of its queue, struct sluice_meta in front of the frame.
 *
 * The sequence number is consumed only when the socket is there, so that a gap in user space is exactly a frame
 * that was lost between here and there (a full ring).  Without a socket, or when the gateway has shown no sign of
 * life, the frame is passed: the UDP socket stays open across restarts.
 */
#pragma once

#include "bpf/packet.h"

static SLUICE_INLINE bool steer_to_nobody(const struct packet *p, __u32 queue)
{
	__u64 heartbeat_ns = p->config->heartbeat_ns;

	return heartbeat_ns == 0 ||
	       (p->now_ns > heartbeat_ns && p->now_ns - heartbeat_ns > p->config->heartbeat_max_ns) ||
	       !bpf_map_lookup_elem(&xsks, &queue);
}

/* Puts the metadata in front: from here on, data and data_end are to be read again. */
static SLUICE_INLINE bool steer_meta(struct packet *p, struct sluice_queue *queue)
{
	const struct admission *a = &p->scratch->admission;
	struct sluice_meta *meta;

	if (bpf_xdp_adjust_meta(p->ctx, -(int)sizeof(*meta)))
		return false;
	meta = (void *)(long)p->ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)p->ctx->data)
		return false;
	*meta = (struct sluice_meta){
		.word2 = a->word2,
		.arrival_ns = p->now_ns,
		.seq = __sync_fetch_and_add(&queue->next_seq, 1),
		.magic = SLUICE_META_MAGIC,
		.service = p->service,
		.coap_off = p->coap_off,
		.coap_len = p->coap_len,
		.payload_off = a->payload_off,
		.key_slot = a->key_slot,
		.ip_off = (__u8)p->ip_off,
	};
	__sync_fetch_and_add(&queue->steered, 1);
	return true;
}

static SLUICE_INLINE bool steer(struct packet *p)
{
	__u32 index = p->ctx->rx_queue_index;
	struct sluice_queue *queue = bpf_map_lookup_elem(&queues, &index);

	if (!queue || steer_to_nobody(p, index))
		return end_with(p, SLUICE_PASSED_NO_SOCKET);
	if (!p->config->shadow && !steer_meta(p, queue))
		return end_with(p, SLUICE_PASSED_NO_SOCKET);
	return end_with(p, SLUICE_FORWARDED);
}
