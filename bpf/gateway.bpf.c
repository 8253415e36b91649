/* The program on the gateway's NIC: parse, limit, verify, recall, steer (one header each).
 *
 * Every packet gets exactly one verdict (bpf/shared/verdict.h), which is counted; its fate is what happens to it.
 * In shadow mode what would have happened is counted apart, and the packet passes untouched.
 */
#include "bpf/shared/platform.h"

#include "bpf/limit.h"
#include "bpf/parse.h"
#include "bpf/recall.h"
#include "bpf/reply.h"
#include "bpf/steer.h"
#include "bpf/verify.h"

static SLUICE_INLINE void count(void *counters, __u32 index)
{
	__u64 *n = bpf_map_lookup_elem(counters, &index);

	if (n)
		(*n)++;
}

/* Counts the verdict and does it. */
static SLUICE_INLINE int finish(struct packet *p)
{
	enum sluice_fate fate = fate_of(p->verdict);

	if (fate != SLUICE_FATE_PASS && p->config->shadow) {
		count(&shadowed, p->verdict);
		count(&verdicts, SLUICE_PASSED_SHADOW);
		return XDP_PASS;
	}
	if (fate == SLUICE_FATE_ANSWER && !reply(p)) {
		p->verdict = SLUICE_DROPPED_MALFORMED;
		fate = SLUICE_FATE_DROP;
	}
	count(&verdicts, p->verdict);
	switch (fate) {
	case SLUICE_FATE_FORWARD:
		return (int)bpf_redirect_map(&xsks, p->ctx->rx_queue_index, XDP_PASS);
	case SLUICE_FATE_ANSWER:
		return XDP_TX;
	case SLUICE_FATE_DROP:
		return XDP_DROP;
	case SLUICE_FATE_PASS:
	default:
		return XDP_PASS;
	}
}

SEC("xdp")
int sluice_gateway(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct packet p = {
		.ctx = ctx,
		.config = bpf_map_lookup_elem(&config, &zero),
		.scratch = bpf_map_lookup_elem(&scratch, &zero),
	};

	count(&received, 0);
	if (!p.config || !p.scratch || p.config->kill) {
		count(&verdicts, SLUICE_PASSED_SHADOW);
		return XDP_PASS;
	}
	if (parse(&p) && limit(&p) && verify(&p) && recall(&p))
		steer(&p);
	return finish(&p);
}

char LICENSE[] SEC("license") = "GPL";
