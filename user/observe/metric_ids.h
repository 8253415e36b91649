/* The ids of METRICS_DEF, for the inside of an enum; see metrics.h.  No include guard: it is made for several uses. */
#define M_COUNTER(id, ...) id,
#define M_COUNTER_BY(id, ...) id,
#define M_GAUGE(id, ...) id,
#define M_LATENCY(id, ...) id,
#include METRICS_DEF
#undef M_COUNTER
#undef M_COUNTER_BY
#undef M_GAUGE
#undef M_LATENCY
