#include "analytics/season.h"

static void forget(struct cycle *c, double period_ns)
{
	c->period_ns = period_ns;
	c->agreed = 0;
	for (int i = 0; i < CYCLE_BINS; i++)
		c->bin[i] = NAN;
}

static void take_period(struct cycle *c, double period_ns, double interval_ns)
{
	if (period_ns > CYCLE_LONGEST_NS || period_ns < CYCLE_INTERVALS_LEAST * interval_ns) {
		forget(c, 0);
		return;
	}
	if (c->period_ns == 0 || fabs(period_ns - c->period_ns) > CYCLE_TOLERANCE * c->period_ns) {
		/* Known cycles forgive: one turn that is not like the others is an anomaly, not a new period. */
		if (cycle_is_known(c))
			c->agreed--;
		else
			forget(c, period_ns);
		return;
	}
	c->period_ns += (period_ns - c->period_ns) / 4;
	c->agreed = (uint8_t)MIN(c->agreed + 1, 2 * CYCLE_AGREED);
}

void cycle_follow(struct cycle *c, int64_t time_ns, double distance, double interval_ns)
{
	int beyond = (distance > CYCLE_SIDE) - (distance < -CYCLE_SIDE);
	int8_t side = (int8_t)(beyond ? beyond : c->side);
	bool crosses = side - c->side == 2;

	c->side = side;
	if (!crosses)
		return;
	if (c->crossed_ns != 0)
		take_period(c, (double)(time_ns - c->crossed_ns), interval_ns);
	c->crossed_ns = time_ns;
}
