#include "regional/gateways.h"

#include "tests/unit/harness.h"

static const uint8_t spool[16] = { 1 };

static void done(struct gateways *g)
{
	gateways_done(g);
}

/* Gateways 0 and 1, lateness 5. */
#define GATEWAYS(event)                              \
	CLEANUP(done) struct gateways g;             \
	uint32_t a, b;                               \
	gateways_init(&g, event, 5);                 \
	ASSERT_OK(gateways_add(&g, SLICE_STR("a"), &a)); \
	ASSERT_OK(gateways_add(&g, SLICE_STR("b"), &b)); \
	CU_ASSERT_FATAL(a == 0 && b == 1)

static void a_gateway_keeps_its_number(void)
{
	uint32_t again;
	GATEWAYS(false);

	ASSERT_OK(gateways_add(&g, SLICE_STR("a"), &again));
	CU_ASSERT_EQUAL(again, a);
	CU_ASSERT_EQUAL(g.n, 2);
}

static void the_watermark_is_the_least_clock_less_the_lateness(void)
{
	GATEWAYS(false);
	gateways_hear(&g, a, spool, true, 100, false);
	CU_ASSERT_EQUAL(g.watermark_ns, WATERMARK_NONE); /* b has no clock yet */
	gateways_hear(&g, b, spool, true, 90, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 85);
	gateways_hear(&g, a, spool, true, 200, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 85);
	gateways_hear(&g, b, spool, true, 150, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 145);
}

static void neither_a_clock_nor_the_watermark_goes_back(void)
{
	GATEWAYS(false);
	gateways_hear(&g, a, spool, true, 100, false);
	gateways_hear(&g, b, spool, true, 100, false);
	gateways_hear(&g, b, spool, true, 50, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 95);
	CU_ASSERT_EQUAL(g.list[b].clock_ns, 100);
}

static void a_backlog_speaks_of_the_past(void)
{
	GATEWAYS(false);
	gateways_hear(&g, a, spool, true, 100, false);
	gateways_hear(&g, b, spool, false, 1000, false);
	CU_ASSERT_EQUAL(g.watermark_ns, WATERMARK_NONE);
	gateways_hear(&g, b, spool, true, 100, false);
	gateways_hear(&g, b, spool, false, 1000, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 95);
}

static void a_dark_gateway_leaves_until_it_is_heard_again(void)
{
	GATEWAYS(false);
	gateways_hear(&g, a, spool, true, 100, false);
	gateways_hear(&g, b, spool, true, 20, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 15);
	gateways_set_dark(&g, b, true);
	CU_ASSERT_EQUAL(g.watermark_ns, 95);
	CU_ASSERT_EQUAL(gateways_live(&g), 1);
	gateways_hear(&g, a, spool, true, 110, false);
	gateways_hear(&g, b, spool, true, 30, false); /* back, with an old clock: the watermark stays and waits */
	CU_ASSERT_EQUAL(gateways_live(&g), 2);
	CU_ASSERT_EQUAL(g.watermark_ns, 105);
	gateways_hear(&g, b, spool, true, 120, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 105);
	gateways_set_dark(&g, a, true);
	gateways_set_dark(&g, b, true); /* nobody is there: nothing is known to have passed */
	CU_ASSERT_EQUAL(g.watermark_ns, 115);
}

static void with_arrival_clocks_idleness_means_nothing(void)
{
	GATEWAYS(false);
	gateways_hear(&g, a, spool, true, 100, false);
	gateways_hear(&g, b, spool, true, 50, true);
	CU_ASSERT_EQUAL(g.watermark_ns, 45);
}

static void with_event_clocks_the_idle_ones_do_not_hold_it_back(void)
{
	GATEWAYS(true);
	gateways_hear(&g, a, spool, true, 100, false);
	gateways_hear(&g, b, spool, true, 50, true);
	CU_ASSERT_EQUAL(g.watermark_ns, 95);
	gateways_hear(&g, a, spool, true, 100, true); /* all idle: nothing is on its way */
	CU_ASSERT_EQUAL(g.watermark_ns, 100);
	gateways_hear(&g, b, spool, true, 60, false);
	CU_ASSERT_EQUAL(g.watermark_ns, 100);
}

static void event_times_before_1970_and_at_the_ends_of_time_are_times(void)
{
	GATEWAYS(true);
	gateways_hear(&g, a, spool, true, -1000, false);
	gateways_hear(&g, b, spool, true, -500, false);
	CU_ASSERT_EQUAL(g.watermark_ns, -1005);
	gateways_hear(&g, a, spool, true, INT64_MAX, false);
	gateways_hear(&g, b, spool, true, INT64_MAX, false);
	CU_ASSERT_EQUAL(g.watermark_ns, INT64_MAX - 5);
	gateways_done(&g);
	gateways_init(&g, true, 5);
	ASSERT_OK(gateways_add(&g, SLICE_STR("a"), &a));
	gateways_hear(&g, a, spool, true, INT64_MIN + 2, false);
	CU_ASSERT_EQUAL(g.watermark_ns, WATERMARK_NONE);
}

TESTS("regional-gateways", T(a_gateway_keeps_its_number), T(the_watermark_is_the_least_clock_less_the_lateness),
      T(neither_a_clock_nor_the_watermark_goes_back), T(a_backlog_speaks_of_the_past),
      T(a_dark_gateway_leaves_until_it_is_heard_again), T(with_arrival_clocks_idleness_means_nothing),
      T(with_event_clocks_the_idle_ones_do_not_hold_it_back), T(event_times_before_1970_and_at_the_ends_of_time_are_times))
