/* verify: is it a reading in the fixed shape, and does its hash fit the device's key?
 *
 * The message has been copied, so that one admission code (bpf/shared/admit.h) serves kernel and user space.  The
 * bucket of the durable table follows from the hash that the message claims: it is touched before the hash is
 * computed, and the cache miss passes meanwhile.
 */
#pragma once

#include "bpf/limit.h"
#include "bpf/shared/durable.h"

static SLUICE_INLINE void verify_keys(const struct packet *p, struct admit_keys *ret)
{
	const __u32 slots[2] = { 0, 1 };

	ret->keyed = p->config->auth_keyed;
	if (!ret->keyed)
		return;
	ret->region_len = p->config->region_len;
	__builtin_memcpy(ret->region, p->config->region, sizeof(ret->region));
	SLUICE_UNROLL
	for (int i = 0; i < 2; i++) {
		struct sluice_master_key *key = bpf_map_lookup_elem(&keys, &slots[i]);

		if (key)
			ret->own[i] = *key;
		else
			ret->own[i].present = 0;
	}
}

static SLUICE_INLINE void verify_touch_bucket(struct packet *p, __u64 word1)
{
	__u32 index = durable_bucket_of(word1, p->config->durable_seed, p->config->durable_shift);

	p->bucket = bpf_map_lookup_elem(&durable, &index);
	if (p->bucket)
		(void)*(volatile __u64 *)&p->bucket->slots[0].w0;
}

static SLUICE_INLINE bool verify_refuse(struct packet *p, const struct admission *a)
{
	if (a->type != COAP_CON || !limit_may_answer(p))
		return end_with(p, SLUICE_DROPPED_AUTH);
	return answer_with(p, SLUICE_ANSWERED_AUTH, a, a->no_response & NO_RESPONSE_4XX ? 0 : COAP_UNAUTHORIZED);
}

static SLUICE_INLINE bool verify(struct packet *p)
{
	struct admission *a = &p->scratch->admission;
	const __u8 *message = p->scratch->message;
	enum admit_result result;

	result = admit_shape(message, p->coap_len, p->config->content_format, a);
	if (result == ADMIT_READING) {
		verify_touch_bucket(p, a->word1);
		verify_keys(p, &p->scratch->keys);
		result = admit_key(message, &p->scratch->keys, a);
	}
	switch (result) {
	case ADMIT_READING:
		return true;
	case ADMIT_BAD_HASH:
		return verify_refuse(p, a);
	case ADMIT_ODD:
		return end_with(p, limit_may_pass(p) ? SLUICE_PASSED_SHAPE : SLUICE_DROPPED_PASS_BUDGET);
	case ADMIT_FOREIGN:
		return end_with(p, limit_may_pass(p) ? SLUICE_PASSED_REGION : SLUICE_DROPPED_PASS_BUDGET);
	case ADMIT_MALFORMED:
	default:
		return end_with(p, SLUICE_DROPPED_MALFORMED);
	}
}
