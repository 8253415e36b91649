/* What the steps tell each other about the packet in hand, and how a step ends it.
 *
 * A step returns true for "on to the next one", or ends the packet with a verdict.  Nothing in the packet changes
 * before finish(), so that shadow mode can still pass it untouched.
 */
#pragma once

#include <stdbool.h>

#include "bpf/maps.h"

struct packet {
	struct xdp_md *ctx;
	struct sluice_config *config;
	struct scratch *scratch;
	struct sluice_limit *limit;            /* of the source's prefix */
	struct sluice_durable_bucket *bucket;
	__u64 now_ns;
	__u8 src[16], dst[16];                 /* IPv4 is mapped */
	__be16 src_port_be, dst_port_be;
	__u16 ip_off, coap_off, coap_len;      /* offsets from the start of the frame */
	__u32 frame_len;
	__u16 service;
	bool is_v6;
	enum sluice_verdict verdict;
	struct answer answer;                  /* for verdicts whose fate is ANSWER */
};

static SLUICE_INLINE enum sluice_fate fate_of(enum sluice_verdict verdict)
{
	switch (verdict) {
#define X(name, label, fate, sentence) \
	case SLUICE_##name:            \
		return SLUICE_FATE_##fate;
		SLUICE_VERDICTS(X)
#undef X
	default:
		return SLUICE_FATE_PASS;
	}
}

static SLUICE_INLINE bool end_with(struct packet *p, enum sluice_verdict verdict)
{
	p->verdict = verdict;
	return false;
}

/* Ends a confirmable request with an answer; code 0 makes an empty acknowledgement. */
static SLUICE_INLINE bool answer_with(struct packet *p, enum sluice_verdict verdict, const struct admission *a,
				      enum coap_code code)
{
	p->answer.code = (__u8)code;
	p->answer.type = COAP_ACK;
	p->answer.token_len = a->token_len;
	p->answer.mid = a->mid;
	return end_with(p, verdict);
}

/* The message into scratch; of one that is too long, the beginning. */
static SLUICE_INLINE bool message_load(struct packet *p)
{
	__u32 len = p->coap_len < SLUICE_MESSAGE_MAX ? p->coap_len : SLUICE_MESSAGE_MAX;

	asm volatile("" : "+r"(len));
	if (len == 0 || len > SLUICE_MESSAGE_MAX)
		return false;
	return bpf_xdp_load_bytes(p->ctx, p->coap_off, p->scratch->message, len) == 0;
}
