#include "aggregator/session.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "base/stop.h"

#define DECIDE_EVERY_NS (50 * NS_PER_MS)
#define DEAF_NS NS_PER_S /* a longer pause between two rounds is ours, not the regions' */

int session_fail(struct session *s, int error, const char *what)
{
	snprintf(s->error->text, sizeof(s->error->text), "%s: %s", what, strerror(-error));
	return error;
}

int session_append(struct session *s, uint16_t kind, struct slice value)
{
	int r = owned_log_append(s->log, GLOBAL, kind, value, s->spans, s->n_spans, SESSION_OWN);

	return r < 0 && r != -EAGAIN ? session_fail(s, r, s->setup.settings->streams_global_log) : r;
}

static int fold(void *context, const struct owned_record *record)
{
	struct session *s = context;

	s->live = record->cookie == SESSION_OWN;
	if (!s->live && stop_requested())
		return -ECANCELED; /* the past may be long */
	s->now_wall_ns = clock_wall_ns();
	return state_fold(&s->state, record);
}

static int claim(struct session *s)
{
	static const uint32_t partitions[] = { GLOBAL };
	const struct settings *settings = s->setup.settings;
	struct owned_options options = {
		.url = settings->streams_global_log, .partitions = partitions, .n_partitions = 1,
		.stream = { .development = settings->streams_development },
		.owner = s->setup.owner, .fold = fold, .context = s,
	};
	int r = owned_log_claim(&s->log, &options, s->error);

	if (r < 0)
		return r;

	uint64_t newest = MAX(output_newest(s->windows), output_newest(s->alerts));

	if (newest > owned_log_epoch(s->log, GLOBAL)) {
		snprintf(s->error->text, sizeof(s->error->text),
			 "%.50s or %.50s has version %" PRIu64 ", which %.50s never had: create all three anew",
			 settings->streams_global_windows, settings->streams_global_alerts, newest,
			 settings->streams_global_log);
		return -EINVAL;
	}
	return 0;
}

static void listen_anew(struct session *s)
{
	s->stepped_ns = clock_mono_ns();
	for (uint32_t i = 0; i < s->setup.n_members; i++) {
		struct member *m = &s->setup.members[i];

		m->reading = false;
		m->since_ns = s->stepped_ns;
		source_rewind(m->source);
	}
}

int session_open(struct session **ret, const struct session_setup *setup, struct stream_error *ret_error)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;

	struct state_sink sink = publish_sink(s);
	struct state_options options = {
		.horizon_ns = setup->settings->aggregator_correction_horizon_ms * NS_PER_MS,
		.event_clock = setup->settings->streams_clock == CLOCK_EVENT,
		.false_alarms_per_week = setup->settings->aggregator_false_alarms_per_week,
	};

	*ret_error->text = '\0';
	s->setup = *setup;
	s->error = ret_error;
	s->outlook = calloc(setup->n_members, sizeof(*s->outlook));

	int r = s->outlook ? state_init(&s->state, &options, &sink) : -ENOMEM;

	if (r == 0)
		r = deliver_new(&s->deliver, setup->settings, setup->wake_fd, ret_error->text, sizeof(ret_error->text));
	if (r == 0)
		r = publish_open(s);
	if (r == 0)
		r = claim(s);
	if (r == 0)
		r = alarm_begin(s);
	if (r < 0) {
		session_free(s);
		return r;
	}
	metric_add(setup->metrics, M_CLAIMS, 1);
	listen_anew(s);
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	owned_log_free(s->log);
	deliver_free(s->deliver);
	output_free(s->windows);
	output_free(s->alerts);
	state_done(&s->state);
	buf_done(&s->line);
	buf_done(&s->data);
	free(s->spans);
	free(s->outlook);
	free(s);
}

const struct state *session_state(const struct session *s)
{
	return &s->state;
}

/* ------------------------------------------------------------------ a round */

/* The notifier counts from its own start, which is the session's. */
static void export_receivers(struct session *s)
{
	struct deliver_counts counts;
	struct metrics *m = s->setup.metrics;

	deliver_counts(s->deliver, &counts);
	for (uint32_t i = 0; i < counts.n_receivers; i++) {
		const struct notify_stats *now = &counts.stats[i], *before = &s->delivered.stats[i];

		metric_add_by(m, M_ALERTS_SENT, i, now->sent - before->sent);
		metric_add_by(m, M_ALERTS_REFUSED, i, now->refused - before->refused);
		metric_add_by(m, M_ALERTS_RETRIED, i, now->retried - before->retried);
	}
	s->delivered = counts;
	metric_set(m, M_ALERTS_WAITING, counts.waiting);
	metric_set_total(m, M_ALERTS_GIVEN_UP, 0, counts.given_up);
}

static void export_alerts(struct session *s)
{
	struct book_counts book = book_counts(s->state.book);
	struct metrics *m = s->setup.metrics;

	for (uint32_t i = 0; i < ALERT_STATES; i++)
		metric_set_total(m, M_ALERTS, i, book.steps[ALERT_STATE(RAISED) + i]);
	metric_set(m, M_ALERTS_OPEN, book.open);
	metric_set(m, M_EVENTS_OPEN, book.events);
	metric_set_total(m, M_EVENTS_REFUSED, 0, book.refused);
	export_receivers(s);
}

static void export(struct session *s)
{
	const struct state *state = &s->state;
	struct metrics *m = s->setup.metrics;
	uint64_t lost = 0;

	for (uint32_t i = 0; i < s->setup.n_members; i++) {
		const struct region *region = state_region(state, s->setup.members[i].name);
		uint64_t unique = 0, duplicates = 0;

		for (uint32_t k = 0; region && k < region->n_shards; k++) {
			unique += region->shards[k] ? region->shards[k]->unique : 0;
			duplicates += region->shards[k] ? region->shards[k]->duplicates : 0;
		}
		metric_set_total(m, M_UNIQUE, i, unique);
		metric_set_total(m, M_DUPLICATES, i, duplicates);
		lost += source_stats(s->setup.members[i].source).lost;
	}
	metric_set_total(m, M_DELTAS, 0, state->counts.deltas);
	metric_set_total(m, M_ASIDES, 0, state->counts.asides);
	metric_set_total(m, M_TAG_CONFLICTS, 0, state->counts.tag_conflicts);
	metric_set_total(m, M_TOO_LATE, 0, state->counts.too_late);
	metric_set_total(m, M_REFUSED, 0, state->counts.refused);
	export_alerts(s);
	metric_set_total(m, M_UNDECODABLE, 0, state->counts.undecodable);
	metric_set_total(m, M_DELTAS_LOST, 0, lost);
	metric_set(m, M_WINDOWS_OPEN, (double)state_windows(state));
	metric_set(m, M_PUBLISH_PENDING, (double)publish_pending(s));
}

/* Something in a queue, the end of the program, or the deadline. */
static void wait_for_work(struct session *s, int64_t deadline_ns)
{
	struct pollfd fds[] = { { .fd = s->setup.wake_fd, .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN } };
	uint64_t count;

	if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(deadline_ns)) > 0 && (fds[0].revents & POLLIN) &&
	    read(s->setup.wake_fd, &count, sizeof(count)) < 0)
		(void)0; /* somebody else has read it */
}

/* Time in which we did not listen is nobody's silence. */
static void forgive_deafness(struct session *s, int64_t now_ns)
{
	int64_t gap_ns = now_ns - s->stepped_ns;

	s->stepped_ns = now_ns;
	if (gap_ns < DEAF_NS)
		return;
	for (uint32_t i = 0; i < s->setup.n_members; i++) {
		struct member *m = &s->setup.members[i];

		m->since_ns += gap_ns;
		for (uint32_t p = 0; m->reading && p < m->partitions; p++)
			m->heard_ns[p] += gap_ns;
	}
}

static int poll_log(struct session *s, int64_t deadline_ns)
{
	int r = owned_log_poll(s->log, deadline_ns);

	if (r < 0 && !*s->error->text)
		session_fail(s, r, s->setup.settings->streams_global_log);
	return MIN(r, 0);
}

int session_step(struct session *s, int64_t deadline_ns, struct stream_error *ret_error)
{
	int64_t now_ns = clock_mono_ns();
	size_t unconfirmed = publish_pending(s);
	int r;

	*ret_error->text = '\0';
	s->error = ret_error;
	if (owned_log_pending(s->log) == 0)
		wait_for_work(s, unconfirmed > 0 ? MIN(deadline_ns, now_ns + CONFIRM_WAIT_NS) :
						   MIN(deadline_ns, now_ns + DECIDE_EVERY_NS));
	now_ns = clock_mono_ns();
	forgive_deafness(s, now_ns);
	r = consume(s);
	if (r == 0)
		r = poll_log(s, owned_log_pending(s->log) > 0 ? clock_mono_ns() + CONFIRM_WAIT_NS : 0);
	if (r == 0 && now_ns - s->decided_ns >= DECIDE_EVERY_NS) {
		s->decided_ns = now_ns;
		r = judge(s, now_ns);
		export(s);
	}
	if (r == 0)
		r = alarm_look(s, now_ns);
	return r == 0 ? publish_poll(s, 0) : r;
}

void session_settle(struct session *s, int64_t deadline_ns)
{
	int r = alarm_end(s);

	while (r == 0 && owned_log_pending(s->log) > 0 && clock_mono_ns() < deadline_ns)
		r = poll_log(s, deadline_ns);
	while (r == 0 && publish_pending(s) > 0 && clock_mono_ns() < deadline_ns)
		r = publish_poll(s, MIN(deadline_ns, clock_mono_ns() + CONFIRM_WAIT_NS));
	export(s);
}
