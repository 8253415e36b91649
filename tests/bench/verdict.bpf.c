/* Feeds the program under test: a run of BPF_PROG_TEST_RUN comes in here, gets the next of many packets in place of
 * what the last run has left, and goes on to the program by a tail call.  So one call with repeat=n measures n
 * different packets, back to back, as they come out of a NIC's ring.
 */
#include "bpf/shared/platform.h"
#include "tests/bench/verdict.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} program SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VERDICT_PACKETS);
	__type(key, __u32);
	__type(value, struct verdict_packet);
} packets SEC(".maps");

__u32 next;

/* In 64 bits: the verifier knows no half pointers. */
static SLUICE_INLINE long distance(const void *from, const void *to)
{
	long n = to - from;

	asm volatile("" : "+r"(n));
	return n;
}

SEC("xdp")
int verdict_feed(struct xdp_md *ctx)
{
	void *meta = (void *)(long)ctx->data_meta, *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 index = next++ & (VERDICT_PACKETS - 1);
	struct verdict_packet *packet = bpf_map_lookup_elem(&packets, &index);
	int meta_len = (int)distance(meta, data), missing = VERDICT_FRAME_LEN - (int)distance(data, end);

	if (!packet || (meta_len != 0 && bpf_xdp_adjust_meta(ctx, meta_len)) ||
	    (missing != 0 && bpf_xdp_adjust_tail(ctx, missing)) ||
	    bpf_xdp_store_bytes(ctx, 0, packet->bytes, VERDICT_FRAME_LEN))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &program, 0);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "GPL";
