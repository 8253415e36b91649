/* The owner's part in the life of alerts: has the book propose what is due (alerts/book.h), hands in acknowledgements,
 * hands over to receivers and takes their receipts. */
#include <errno.h>
#include <string.h>

#include "aggregator/render.h"
#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "base/log.h"

#define LOOK_EVERY_NS (50 * NS_PER_MS) /* what only time brings about */
#define PAST_SUM_NS (5 * NS_PER_S)

static int append_alert(void *context, struct slice record)
{
	return session_append(context, OWNED_ALERT, record);
}

static int append_sent(void *context, struct slice record)
{
	return session_append(context, OWNED_SENT, record);
}

static void alert_taken(void *context, int64_t latency_ns)
{
	struct session *s = context;

	metric_observe(s->setup.metrics, M_DELIVERY, latency_ns, 1);
}

int alarm_begin(struct session *s)
{
	deliver_on_taken(s->deliver, alert_taken, s);
	return deliver_begin(s->deliver, s->state.book, render_alert, append_sent, s);
}

static int acknowledge(struct session *s, const struct book_now *now)
{
	struct book_ack ack;

	if (!desk_asked(s->setup.desk, &ack))
		return 0;

	int r = book_acknowledge(s->state.book, &ack, now, append_alert, s);

	if (r == 0)
		desk_under_way(s->setup.desk);
	else if (r == -ENOENT)
		desk_answer(s->setup.desk, ack.alert_id, r);
	return r == -ENOENT ? 0 : r;
}

/* What changed is looked at now, and time every so often. */
static int propose(struct session *s, const struct book_now *now, int64_t now_ns)
{
	uint64_t changes = book_changes(s->state.book);

	if (now->clock_ns == INT64_MIN || (changes == s->book_seen && now_ns - s->alarmed_ns < LOOK_EVERY_NS))
		return 0;
	s->book_seen = changes;
	s->alarmed_ns = now_ns;
	return book_propose(s->state.book, s->setup.rules->rules, now, append_alert, s);
}

static void sum_up_past(struct session *s)
{
	char first[CLOCK_ISO_LEN], last[CLOCK_ISO_LEN];

	clock_format_iso(s->past.first_ns, first);
	clock_format_iso(s->past.last_ns, last);
	log_info("a backlog had anomalies: they are past, and nobody is told but global.alerts", F_U64("alerts", s->past.n),
		 F_STR("first", first), F_STR("last", last));
	s->past.n = 0;
}

int alarm_look(struct session *s, int64_t now_ns)
{
	int64_t wall_ns = clock_wall_ns();
	struct book_now now = { .clock_ns = state_clock_ns(&s->state, wall_ns), .wall_ns = wall_ns };
	int r;

	rules_file_look(s->setup.rules, now_ns);
	r = acknowledge(s, &now);
	if (r == 0)
		r = propose(s, &now, now_ns);
	if (r == 0 || r == -EAGAIN)
		r = deliver_run(s->deliver, append_sent, s);
	if (s->past.n > 0 && now_ns - s->past.since_ns >= PAST_SUM_NS)
		sum_up_past(s);
	return r == -EAGAIN ? 0 : r;
}

int alarm_end(struct session *s)
{
	if (s->past.n > 0)
		sum_up_past(s);
	return deliver_end(s->deliver, append_sent, s);
}
