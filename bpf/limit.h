/* limit: what a source prefix may send.
 *
 * Token buckets in the form of the generic cell rate algorithm (ITU-T I.371): one time stamp a bucket, the
 * theoretical arrival time of the next packet.  A packet is in order when that is at most burst - 1 intervals ahead.
 * The buckets lie direct-mapped under a keyed hash of the /24 or /48; two prefixes that meet in one share it, and
 * CPUs that meet in one may let a packet more through.  Both are cheaper than exactness here.
 *
 * Apart from the limit itself each prefix has two budgets of pass_rate a second: for odd packets that user space is
 * asked to look at, and for answers with an error code (a forged source address is then worth nothing).
 */
#pragma once

#include "bpf/packet.h"

#define NS_PER_S 1000000000ULL

/* Takes one packet out of a bucket: 0, or how many ns too early it is.  A rate of 0 is no limit. */
static SLUICE_INLINE __u64 limit_take(__u64 *tat_ns, __u64 now_ns, __u64 rate, __u64 burst)
{
	__u64 interval, allowed, ahead;

	if (rate == 0)
		return 0;
	interval = NS_PER_S / rate;
	allowed = burst > 0 ? interval * (burst - 1) : 0;
	ahead = *tat_ns > now_ns ? *tat_ns - now_ns : 0;
	/* From before the limit was raised. */
	if (ahead > allowed + interval)
		*tat_ns = now_ns + (ahead = allowed + interval);
	if (ahead > allowed)
		return ahead - allowed;
	*tat_ns = now_ns + ahead + interval;
	return 0;
}

static SLUICE_INLINE bool limit_may_pass(struct packet *p)
{
	return limit_take(&p->limit->pass_tat_ns, p->now_ns, p->config->pass_rate, p->config->pass_rate) == 0;
}

static SLUICE_INLINE bool limit_may_answer(struct packet *p)
{
	return limit_take(&p->limit->answer_tat_ns, p->now_ns, p->config->pass_rate, p->config->pass_rate) == 0;
}

/* The prefix is one word: one round of SipHash to take it in and three to finish (SipHash-1-3, without the block for
 * a length that never differs) are ample for a table. */
static SLUICE_INLINE __u32 limit_index(const struct packet *p)
{
	const struct siphash_key key = { p->config->limit_seed[0], p->config->limit_seed[1] };
	struct siphash_state s = siphash_begin(&key);
	__u64 prefix = p->is_v6 ? *(const __u64 *)p->src & ~0ULL >> 16 : *(const __u32 *)(p->src + 12) & ~0U >> 8;

	prefix |= (__u64)p->is_v6 << 63;
	s.v3 ^= prefix;
	siphash_round(&s);
	s.v0 ^= prefix;
	s.v2 ^= 0xff;
	siphash_round(&s);
	siphash_round(&s);
	siphash_round(&s);
	return (__u32)(s.v0 ^ s.v1 ^ s.v2 ^ s.v3) & (SLUICE_LIMITS - 1);
}

static SLUICE_INLINE bool limit_is_denied(const struct packet *p)
{
	struct sluice_source_key key = { .prefix_len = 128 };
	__u32 *rule;

	if (!p->config->acl_active)
		return false;
	__builtin_memcpy(key.ip, p->src, sizeof(key.ip));
	rule = bpf_map_lookup_elem(&sources, &key);
	return rule && *rule == SLUICE_SOURCE_DENY;
}

/* 4.29 where CoAP lets us answer and the budget for that is not used up, else the end without a word. */
static SLUICE_INLINE bool limit_refuse(struct packet *p, __u64 wait_ns)
{
	struct admission *a = &p->scratch->admission;
	enum admit_result shape = admit_header(p->scratch->message, p->coap_len, a);

	if (shape == ADMIT_MALFORMED || p->scratch->message[1] == 0 || a->type != COAP_CON || !limit_may_answer(p))
		return end_with(p, SLUICE_DROPPED_RATE);
	wait_ns = wait_ns / NS_PER_S + 1;
	p->answer.max_age_s = wait_ns < 0xffff ? (__u16)wait_ns : 0xffff;
	return answer_with(p, SLUICE_ANSWERED_RATE, a, COAP_TOO_MANY_REQUESTS);
}

/* The bucket is touched first: while its line comes, the clock is read and the message copied. */
static SLUICE_INLINE bool limit(struct packet *p)
{
	__u32 index = limit_index(p);
	__u64 wait_ns;

	p->limit = bpf_map_lookup_elem(&limits, &index);
	if (!p->limit)
		return end_with(p, SLUICE_DROPPED_RATE);
	(void)*(volatile __u64 *)&p->limit->tat_ns;
	p->now_ns = bpf_ktime_get_ns();
	if (!message_load(p))
		return end_with(p, SLUICE_DROPPED_MALFORMED);
	if (limit_is_denied(p))
		return end_with(p, SLUICE_DROPPED_DENIED);
	wait_ns = limit_take(&p->limit->tat_ns, p->now_ns, p->config->limit_rate, p->config->limit_burst);
	return wait_ns == 0 || limit_refuse(p, wait_ns);
}
