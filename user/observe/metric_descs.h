/* The descriptions of METRICS_DEF, for the inside of an array; see metrics.h.  No include guard. */
#define M_COUNTER(id, name_, sentence_) [id] = { .name = name_, .kind = METRIC_COUNTER, .sentence = sentence_ },
#define M_COUNTER_BY(id, name_, label_, values_, n, sentence_)                                                        \
	[id] = { .name = name_, .kind = METRIC_COUNTER, .label = label_, .values = values_, .n_values = n,           \
		 .sentence = sentence_ },
#define M_GAUGE(id, name_, sentence_) [id] = { .name = name_, .kind = METRIC_GAUGE, .sentence = sentence_ },
#define M_LATENCY(id, name_, sentence_) [id] = { .name = name_, .kind = METRIC_LATENCY, .sentence = sentence_ },
#include METRICS_DEF
#undef M_COUNTER
#undef M_COUNTER_BY
#undef M_GAUGE
#undef M_LATENCY
