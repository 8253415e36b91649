/* What is to be told at once of a shard's devices, from the fold to the deltas that carry it.
 *
 * Notices wait in order until a delta has taken them and that delta is confirmed; what was on its way when
 * region.deltas failed is sent again.  Bounded: of more than NOTICES_MAX the newest are lost, beginnings before ends,
 * and of what is long past only NOTICES_STALE_MAX wait; what is not told is counted.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NOTICES_MAX 4096       /* of a shard, waiting */
#define NOTICES_STALE_MAX 256  /* of them */
#define NOTICES_A_DELTA 256
#define NOTICE_SHARES_MAX 8    /* the largest */
#define NOTICE_NO_METRIC UINT32_MAX

struct shard;

/* An anomaly of a device has begun, has taken in a further metric, or has ended. */
struct notice {
	uint32_t shard;
	uint32_t device, type, place, metric; /* numbers of the shard; NOTICE_NO_METRIC: silence */
	int64_t event_ns, arrival_ns, onset_ns;
	double value, expected, low, high, score;
	uint64_t hash;
	uint8_t kind; /* enum detector_kind */
	int8_t direction;
	bool cleared;
	bool first; /* it begins with this */
	bool stale; /* long past */
	uint8_t n_shares;
	uint32_t share_metrics[NOTICE_SHARES_MAX];
	double shares[NOTICE_SHARES_MAX]; /* the largest first */
};

struct notices {
	struct notice *list;
	uint32_t n, cap;
	uint32_t sent;  /* of them, the first ones: in deltas that are not confirmed */
	uint32_t stale; /* of those not sent */
};

void notices_done(struct notices *q);
static inline uint32_t notices_unsent(const struct notices *q)
{
	return q->n - q->sent;
}
/* All have been sent. */
void notices_sent(struct notices *q);
/* What was sent is confirmed. */
void notices_confirmed(struct notices *q);
/* What was sent may be lost. */
void notices_again(struct notices *q);

/* Queues a notice of this shard for its next delta, and for region.alerts.  Sets n->stale.  now_ns: wall clock. */
void notice_tell(struct shard *s, struct notice *n, int64_t now_ns);
