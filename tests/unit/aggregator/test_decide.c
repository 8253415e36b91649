#include "aggregator/decide.h"

#include <errno.h>

#include "base/clock.h"
#include "tests/unit/harness.h"

#define T0 (1000000 * NS_PER_MIN)
#define END (T0 + NS_PER_MIN)
#define INTERVAL NS_PER_S
#define EARLY SLUICE__V1__WINDOW_DECISION__STATUS__EARLY
#define PARTIAL SLUICE__V1__WINDOW_DECISION__STATUS__PARTIAL
#define FINAL SLUICE__V1__WINDOW_DECISION__STATUS__FINAL
#define CORRECTED SLUICE__V1__WINDOW_DECISION__STATUS__CORRECTED

static int no_window(void *context, const struct publication *p)
{
	return 0;
}
static int no_alert(void *context, const alert_record *r, uint64_t version)
{
	return 0;
}

/* A state with some minutes, and the last decision about each call. */
struct desk {
	struct state state;
	int decided;
	int room; /* records until -EAGAIN */
	Sluice__V1__WindowDecision last;
	char missing[64];
};

static void desk_init(struct desk *d, int minutes)
{
	const struct state_sink sink = { .window = no_window, .alert = no_alert };

	*d = (struct desk){ .room = 100 };
	ASSERT_OK(state_init(&d->state, &(struct state_options){ .horizon_ns = 120 * NS_PER_MIN }, &sink));
	for (int i = 0; i < minutes; i++) {
		struct minute *m;

		ASSERT_OK(minute_get(&d->state, T0 + i * NS_PER_MIN, &m));
		m->dirty = true;
	}
}
static void desk_done(struct desk *d)
{
	state_done(&d->state);
}
#define DESK(d, minutes)                     \
	CLEANUP(desk_done) struct desk d;    \
	desk_init(&d, minutes)

static int take(void *context, const Sluice__V1__WindowDecision *decision)
{
	struct desk *d = context;

	if (d->room-- == 0)
		return -EAGAIN;
	d->decided++;
	d->last = *decision;
	*d->missing = '\0';
	for (size_t i = 0; i < decision->n_missing_regions; i++)
		snprintf(d->missing + strlen(d->missing), 16, "%s ", decision->missing_regions[i]);
	return 0;
}

/* How many decisions these two regions lead to now. */
static int decide_on(struct desk *d, int64_t mono_ns, struct decide_region eu, struct decide_region us)
{
	struct decide_region regions[] = { eu, us };
	struct decide_options options = {
		.mono_ns = mono_ns, .wall_ns = 7, .early_interval_ns = INTERVAL, .append = take, .context = d
	};

	regions[0].name = "eu";
	regions[1].name = "us";
	d->decided = 0;
	ASSERT_OK(decide(&d->state, regions, 2, &options));
	return d->decided;
}

static const struct decide_region past = { .watermark_ns = END, .completeness = 1 };
static const struct decide_region past_and_dark = { .watermark_ns = END, .completeness = 0.5, .dark = true };
static const struct decide_region behind = { .watermark_ns = END - 1, .completeness = 1 };
static const struct decide_region dark = { .watermark_ns = END - 1, .completeness = 1, .dark = true };
static const struct decide_region unheard = { .watermark_ns = INT64_MIN, .dark = true };

static void final_needs_every_region_past_the_end(void)
{
	DESK(d, 1);
	CU_ASSERT_EQUAL(decide_on(&d, 1, past, behind), 0);
	CU_ASSERT_EQUAL(decide_on(&d, 1, past, past_and_dark), 1);
	CU_ASSERT_EQUAL(d.last.status, FINAL);
	CU_ASSERT_EQUAL(d.last.completeness, 0.75);
	CU_ASSERT_EQUAL(d.last.decided_ns, 7);
	CU_ASSERT_STRING_EQUAL(d.missing, "");
}

static void a_region_behind_is_waited_for_while_it_is_heard(void)
{
	DESK(d, 1);
	CU_ASSERT_EQUAL(decide_on(&d, 1, past, behind), 0);
	CU_ASSERT_EQUAL(decide_on(&d, 1, past, dark), 1);
	CU_ASSERT_EQUAL(d.last.status, PARTIAL);
	CU_ASSERT_STRING_EQUAL(d.missing, "us ");
	CU_ASSERT_EQUAL(d.last.completeness, 0.5);
}

static void nothing_is_settled_while_all_are_dark(void)
{
	DESK(d, 1);
	CU_ASSERT_EQUAL(decide_on(&d, 1, unheard, unheard), 0);
	CU_ASSERT_EQUAL(decide_on(&d, 1, dark, unheard), 0);
}

static void a_change_is_published_once_in_an_interval(void)
{
	DESK(d, 1);
	CU_ASSERT_EQUAL(decide_on(&d, 1, behind, unheard), 0);
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL, behind, unheard), 0);
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL + 1, behind, unheard), 1);
	CU_ASSERT_EQUAL(d.last.status, EARLY);
	CU_ASSERT_STRING_EQUAL(d.missing, "us ");
	/* One at a time: the next only after the fold of the first. */
	CU_ASSERT_EQUAL(decide_on(&d, 10 * INTERVAL, behind, unheard), 0);
	d.state.minutes[0]->deciding = false;
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL + 2, behind, unheard), 0);
	CU_ASSERT_EQUAL(decide_on(&d, 2 * INTERVAL + 1, behind, behind), 1);
	CU_ASSERT_STRING_EQUAL(d.missing, "");
	CU_ASSERT_EQUAL(d.last.completeness, 1);
	/* Nothing changed: nothing to tell. */
	d.state.minutes[0]->deciding = d.state.minutes[0]->dirty = false;
	CU_ASSERT_EQUAL(decide_on(&d, 100 * INTERVAL, behind, behind), 0);
}

static void what_changes_after_it_was_settled_is_corrected_and_names_who_has_not_caught_up(void)
{
	DESK(d, 1);
	d.state.minutes[0]->settled = SETTLED_PARTIAL;
	CU_ASSERT_EQUAL(decide_on(&d, 1, past, behind), 0);
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL + 1, past, behind), 1);
	CU_ASSERT_EQUAL(d.last.status, CORRECTED);
	CU_ASSERT_STRING_EQUAL(d.missing, "us ");
	CU_ASSERT_EQUAL(d.last.completeness, 0.5);
	d.state.minutes[0]->deciding = false;
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL + 2, past, past), 1);
	CU_ASSERT_EQUAL(d.last.status, FINAL);
	d.state.minutes[0]->deciding = false;
	d.state.minutes[0]->settled = SETTLED_FINAL;
	CU_ASSERT_EQUAL(decide_on(&d, INTERVAL + 3, past, past), 0);
	CU_ASSERT_EQUAL(decide_on(&d, 2 * INTERVAL + 2, past, past), 1);
	CU_ASSERT_EQUAL(d.last.status, CORRECTED);
	CU_ASSERT_STRING_EQUAL(d.missing, "");
}

static void a_full_queue_leaves_the_rest_for_later(void)
{
	static const struct decide_region far = { .watermark_ns = T0 + 10 * NS_PER_MIN, .completeness = 1 };

	DESK(d, 5);
	d.room = 2;
	CU_ASSERT_EQUAL(decide_on(&d, 1, far, far), 2);
	d.room = 100;
	CU_ASSERT_EQUAL(decide_on(&d, 2, far, far), 3);
	CU_ASSERT_EQUAL(d.last.start_ns, T0 + 4 * NS_PER_MIN);
	CU_ASSERT_EQUAL(decide_on(&d, 3, far, far), 0);
}

TESTS("decide", T(final_needs_every_region_past_the_end), T(a_region_behind_is_waited_for_while_it_is_heard),
      T(nothing_is_settled_while_all_are_dark), T(a_change_is_published_once_in_an_interval),
      T(what_changes_after_it_was_settled_is_corrected_and_names_who_has_not_caught_up),
      T(a_full_queue_leaves_the_rest_for_later))
