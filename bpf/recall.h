/* recall: is this reading known to be on disk?  Then a repeated request is answered here, with the receipt. */
#pragma once

#include "bpf/packet.h"
#include "bpf/shared/durable.h"

static SLUICE_INLINE bool recall(struct packet *p)
{
	const struct admission *a = &p->scratch->admission;

	if (!p->bucket || !durable_find(p->bucket, a->word1, a->word2))
		return true;
	if (a->type != COAP_CON)
		return end_with(p, SLUICE_DROPPED_DUPLICATE);
	p->answer.has_receipt = 1;
	p->answer.receipt = a->word2;
	return answer_with(p, SLUICE_ANSWERED_DURABLE, a, a->no_response & NO_RESPONSE_2XX ? 0 : COAP_CHANGED);
}
