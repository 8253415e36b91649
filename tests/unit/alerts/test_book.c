/* The life of alerts on a log in memory: what is told goes in, the book's own proposals go in, time is the test's. */
#include <errno.h>
#include <inttypes.h>

#include "alerts/book.h"
#include "base/buf.h"
#include "tests/unit/alerts/rules_of.h"

#define S NS_PER_S
#define ENTRIES_MAX 8192
#define T0 (1700000000LL * NS_PER_S) /* 2023-11-14T22:13:20Z */

struct entry {
	enum { TOLD, OVER, STEP } kind;
	struct alert_signal s;
	struct buf record;
	/* Where its writer stood. */
	int64_t at_ns;
	size_t next_act;
};

struct act {
	int64_t at_ns; /* after T0 */
	enum { RAISE, END, ACK } what;
	struct alert_signal s;
	struct book_ack ack;
};

struct run {
	struct book *book;
	struct alert_rules *rules;
	struct entry *log;
	size_t n, folded, crash_at; /* crash_at: so many entries may be written */
	const struct act *acts;
	size_t n_acts, next_act;
	int64_t now_ns;
	char (*steps)[160]; /* what was published, as text */
	size_t n_steps;
	alert_record last; /* what was published last; its numbers only */
};

static void run_init(struct run *r, const char *rules)
{
	*r = (struct run){ .rules = rules_of(rules), .crash_at = SIZE_MAX, .now_ns = T0 };
	r->log = calloc(ENTRIES_MAX, sizeof(*r->log));
	r->steps = calloc(ENTRIES_MAX, sizeof(*r->steps));
	ASSERT_OK(book_new(&r->book));
}

static void run_done(struct run *r)
{
	for (size_t i = 0; i < r->n; i++)
		buf_done(&r->log[i].record);
	free(r->log);
	free(r->steps);
	rules_free(r->rules);
	book_free(r->book);
}
#define RUN(r, rules)                    \
	CLEANUP(run_done) struct run r; \
	run_init(&r, rules)

/* ------------------------------------------------------------------ the log */

static int write_entry(struct run *r, int kind, const struct alert_signal *s, struct slice record)
{
	struct entry *e = &r->log[r->n];

	if (r->n == r->crash_at)
		return -ECANCELED;
	CU_ASSERT_FATAL(r->n < ENTRIES_MAX);
	r->n++;
	*e = (struct entry){ .kind = kind, .at_ns = r->now_ns, .next_act = r->next_act };
	if (s)
		e->s = *s;
	buf_append(&e->record, record.data, record.len);
	return 0;
}

static int append_step(void *context, struct slice record)
{
	return write_entry(context, STEP, NULL, record);
}

static void note_step(struct run *r, const alert_record *told)
{
	snprintf(r->steps[r->n_steps++], sizeof(*r->steps), "%lld %s %s %s%s%s %" PRIu64 " %016" PRIx64,
		 (told->decided_ns - T0) / S, alert_state_name((int)told->state), told->rule, told->severity,
		 *told->by ? " by " : "", told->by, told->devices, told->alert_id);
	r->last = *told;
}

static void fold_entry(struct run *r)
{
	struct entry *e = &r->log[r->folded];
	const alert_record *told = NULL;

	if (e->kind == TOLD)
		ASSERT_OK(book_noticed(r->book, &e->s));
	else if (e->kind == OVER)
		book_over(r->book, &e->s);
	else
		ASSERT_OK(book_record(r->book, buf_slice(&e->record), r->folded, &told));
	r->folded++;
	if (told)
		note_step(r, told);
}

static void fold_all(struct run *r)
{
	while (r->folded < r->n)
		fold_entry(r);
}

/* Until nothing further is proposed. */
static int propose(struct run *r)
{
	struct book_now now = { .clock_ns = r->now_ns, .wall_ns = r->now_ns };
	int result = 0;

	do {
		fold_all(r);
		result = book_propose(r->book, r->rules, &now, append_step, r);
	} while (result == 0 && r->folded < r->n);
	return result;
}

static int do_act(struct run *r, const struct act *a)
{
	struct book_now now = { .clock_ns = r->now_ns, .wall_ns = r->now_ns };
	struct alert_signal s = a->s;
	int result;

	r->next_act++; /* what is written is consumed */
	s.clock_ns = s.event_ns = s.arrival_ns = T0 + a->at_ns;
	result = a->what == ACK ? book_acknowledge(r->book, &a->ack, &now, append_step, r) :
				  write_entry(r, a->what == RAISE ? TOLD : OVER, &s, SLICE("", 0));
	if (result == 0)
		fold_all(r);
	return result;
}

/* Second by second until so long after T0. */
static int run_until(struct run *r, int64_t end_ns)
{
	int result = 0;

	for (; result == 0 && r->now_ns <= T0 + end_ns; r->now_ns += S) {
		while (result == 0 && r->next_act < r->n_acts && T0 + r->acts[r->next_act].at_ns <= r->now_ns)
			result = do_act(r, &r->acts[r->next_act]);
		if (result == 0)
			result = propose(r);
	}
	return result;
}

static const char *id_in(const char *step)
{
	return step + strlen(step) - 16;
}

static void steps_are(const struct run *r, const char *const *expected, size_t n)
{
	CU_ASSERT_EQUAL(r->n_steps, n);
	for (size_t i = 0; i < MAX(n, r->n_steps); i++) {
		const char *want = i < n ? expected[i] : "none";
		char got[160] = "none";

		if (i < r->n_steps)
			snprintf(got, sizeof(got), "%.*s", (int)(strlen(r->steps[i]) - 17), r->steps[i]);
		CU_ASSERT_STRING_EQUAL(got, want);
		if (strcmp(got, want) != 0)
			printf("  step %zu is \"%s\", not \"%s\"\n", i, got, want);
	}
}
#define STEPS(r, ...)                                       \
	steps_are(r, (const char *const[]){ __VA_ARGS__ }, \
		  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))
#define NO_STEPS(r) steps_are(r, NULL, 0)

/* ------------------------------------------------------------------ signals */

static struct alert_signal of_device(const char *device, int64_t onset_ns)
{
	return (struct alert_signal){ .origin = SIGNAL_DEVICE, .region = "eu", .device_id = device, .type = "mote",
				      .place = "lab", .metric = "temperature", .kind = "spike", .direction = 1, .value = 30,
				      .expected = 20, .low = 19, .high = 21, .score = 0.99, .onset_ns = T0 + onset_ns,
				      .shares = { { "temperature", 0.75 }, { "humidity", 0.25 } }, .n_shares = 2,
				      .devices = 1 };
}

static struct alert_signal of_window(int64_t onset_ns)
{
	return (struct alert_signal){ .origin = SIGNAL_WINDOW, .region = "", .device_id = "", .type = "mote", .place = "",
				      .metric = "temperature", .kind = "level-shift", .direction = -1, .value = 3,
				      .expected = 20, .score = 0.995, .onset_ns = T0 + onset_ns, .devices = 12, .count = 120,
				      .completeness = 1 };
}

#define PLAIN "rules: [{name: r, severity: warning}]"
#define ACTS(r, ...)                                \
	const struct act acts_[] = { __VA_ARGS__ }; \
	(r)->acts = acts_;                          \
	(r)->n_acts = ARRAY_SIZE(acts_)

/* ------------------------------------------------------------------ the life, line by line */

static void what_no_rule_matches_is_no_alert(void)
{
	RUN(r, "rules: [{name: other, type: valve, severity: warning}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 3 * S));
	CU_ASSERT_EQUAL(book_counts(r.book).undecided, 1);
	CU_ASSERT_EQUAL(r.n, 1);
	ASSERT_OK(run_until(&r, 10 * S));
	NO_STEPS(&r);
	/* And it is forgotten, by a record. */
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
	CU_ASSERT_EQUAL(book_counts(r.book).steps[ALERT_STATE(DISMISSED)], 1);
}

static void what_a_rule_ignores_is_no_alert_though_a_later_one_matches(void)
{
	RUN(r, "rules: [{name: i, place: la*, severity: ignore}, {name: r, severity: warning}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 10 * S));
	NO_STEPS(&r);
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
}

static void an_event_is_raised_at_once_and_cleared_when_it_was_quiet_for_long_enough(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 64 * S));
	STEPS(&r, "1 raised r warning 1");
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r warning 1", "65 cleared r warning 1");
	CU_ASSERT_EQUAL(r.last.event_ns, T0 + 5 * S);
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
	CU_ASSERT_EQUAL(book_counts(r.book).open, 0);
	CU_ASSERT_STRING_EQUAL(id_in(r.steps[0]), id_in(r.steps[1]));
}

static void an_event_that_is_over_before_anybody_looked_is_still_raised(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 1 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r warning 1", "61 cleared r warning 1");
}

static void what_need_not_last_is_raised_at_once_whatever_clock_its_gateway_has(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 5 * S, RAISE, of_device("a", 5 * S) }); /* an event clock is behind all events, a gateway's may be ahead */
	r.now_ns = T0 + 1 * S;
	ASSERT_OK(do_act(&r, &acts_[0]));
	ASSERT_OK(propose(&r));
	STEPS(&r, "1 raised r warning 1");
}

static void an_event_must_last_as_long_as_its_rule_says(void)
{
	RUN(r, "rules: [{name: r, severity: info, min_duration: 10s}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 2 * S, RAISE, of_device("b", 2 * S) },
	     { 10 * S, END, of_device("a", 1 * S) }, { 30 * S, END, of_device("b", 2 * S) });
	ASSERT_OK(run_until(&r, 11 * S));
	NO_STEPS(&r);
	ASSERT_OK(run_until(&r, 12 * S));
	STEPS(&r, "12 raised r info 1");
}

static void an_event_that_lasted_long_enough_is_raised_by_an_owner_that_comes_later(void)
{
	RUN(r, "rules: [{name: r, severity: info, min_duration: 10s}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 20 * S, END, of_device("a", 1 * S) });
	while (r.next_act < r.n_acts) /* nobody proposes meanwhile */
		ASSERT_OK(do_act(&r, &acts_[r.next_act]));
	r.now_ns = T0 + 25 * S;
	ASSERT_OK(run_until(&r, 25 * S));
	STEPS(&r, "25 raised r info 1");
}

static void many_devices_with_one_story_are_one_alert_with_their_count_and_the_worst(void)
{
	static char names[1000][8];
	CLEANUP_FREE struct act *acts = calloc(1000, sizeof(*acts));

	RUN(r, "rules: [{name: r, severity: warning, group_window: 2s}]");
	for (int i = 0; i < 1000; i++) {
		snprintf(names[i], sizeof(names[i]), "d%03d", i);
		acts[i] = (struct act){ i / 50 * S, RAISE, of_device(names[i], i / 50 * S) };
		if (i == 777) {
			acts[i].s.score = 0.9999;
			acts[i].s.value = 99;
		}
	}
	r.acts = acts;
	r.n_acts = 1000;
	ASSERT_OK(run_until(&r, 30 * S));
	STEPS(&r, "0 raised r warning 50", "1 updated r warning 100", "2 updated r warning 150", "5 updated r warning 300",
	      "10 updated r warning 550");
	CU_ASSERT_EQUAL(book_counts(r.book).steps[ALERT_STATE(JOINED)], 15);
	/* The worst one joined without a word; the next step tells of it. */
	ASSERT_OK(do_act(&r, &(struct act){ 31 * S, ACK, .ack = { r.last.alert_id, "ann", "", 0 } }));
	CU_ASSERT_EQUAL(r.last.devices, 1000);
	CU_ASSERT_EQUAL(r.last.value, 99);
	CU_ASSERT_EQUAL(r.last.score, 0.9999);
	CU_ASSERT_EQUAL(r.last.onset_ns, T0);
	CU_ASSERT_EQUAL(r.last.newest_ns, T0 + 19 * S);
}

static void another_story_is_another_alert(void)
{
	static const struct {
		size_t offset;
		const char *other;
	} fields[] = {
		{ offsetof(struct alert_signal, region), "us" },   { offsetof(struct alert_signal, type), "valve" },
		{ offsetof(struct alert_signal, place), "hall" },  { offsetof(struct alert_signal, metric), "humidity" },
		{ offsetof(struct alert_signal, kind), "drift" },
	};

	for (size_t i = 0; i <= ARRAY_SIZE(fields) + 1; i++) {
		struct alert_signal other = of_device("b", 1 * S);

		if (i < ARRAY_SIZE(fields))
			*(const char **)((char *)&other + fields[i].offset) = fields[i].other;
		else if (i == ARRAY_SIZE(fields))
			other.direction = -1;
		else
			other.onset_ns += 31 * S;
		RUN(r, PLAIN);
		ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 2 * S, RAISE, other });
		ASSERT_OK(run_until(&r, 3 * S));
		STEPS(&r, "1 raised r warning 1", "2 raised r warning 1");
		CU_ASSERT_STRING_NOT_EQUAL(id_in(r.steps[0]), id_in(r.steps[1]));
	}
}

static void what_is_noticed_at_once_but_began_far_apart_is_not_one_story(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 40 * S, RAISE, of_device("a", 1 * S) }, { 40 * S, RAISE, of_device("b", 32 * S) },
	     { 40 * S, RAISE, of_device("c", 33 * S) });
	ASSERT_OK(run_until(&r, 40 * S));
	STEPS(&r, "40 raised r warning 1", "40 raised r warning 2");
}

static void what_joins_when_it_is_over_counts_for_the_quiet_too(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, END, of_device("a", 1 * S) },
	     { 8 * S, RAISE, of_device("b", 8 * S) }, { 8 * S, END, of_device("b", 8 * S) });
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r warning 1", "8 updated r warning 2", "68 cleared r warning 2");
}

static void events_are_grouped_by_device_place_or_type_as_the_rule_says(void)
{
	static const struct {
		const char *rules;
		size_t n_alerts;
	} cases[] = { { "rules: [{name: r, severity: info, group_by: device}]", 3 },
		      { "rules: [{name: r, severity: info, group_by: place}]", 2 },
		      { "rules: [{name: r, severity: info, group_by: type}]", 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct alert_signal elsewhere = of_device("c", 1 * S);

		elsewhere.place = "hall";
		RUN(r, cases[i].rules);
		ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 1 * S, RAISE, of_device("b", 1 * S) },
		     { 1 * S, RAISE, elsewhere });
		ASSERT_OK(run_until(&r, 2 * S));
		CU_ASSERT_EQUAL(r.n_steps, cases[i].n_alerts);
	}
}

static void devices_without_a_place_have_alerts_of_their_own(void)
{
	struct alert_signal a = of_device("a", 1 * S), b = of_device("b", 1 * S);

	a.place = b.place = "";
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, a }, { 1 * S, RAISE, b });
	ASSERT_OK(run_until(&r, 2 * S));
	STEPS(&r, "1 raised r warning 1", "1 raised r warning 1");
}

static void a_device_that_flaps_counts_once_in_its_alert(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, END, of_device("a", 1 * S) },
	     { 8 * S, RAISE, of_device("a", 8 * S) }, { 9 * S, END, of_device("a", 8 * S) },
	     { 12 * S, RAISE, of_device("a", 12 * S) }, { 13 * S, RAISE, of_device("b", 13 * S) });
	ASSERT_OK(run_until(&r, 20 * S));
	STEPS(&r, "1 raised r warning 1", "13 updated r warning 2");
	CU_ASSERT_EQUAL(book_counts(r.book).events, 2);
}

static void it_escalates_once_when_it_lasts(void)
{
	RUN(r, "rules: [{name: r, severity: warning, escalate: {after: 10s, to: critical}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 30 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 10 * S));
	STEPS(&r, "1 raised r warning 1");
	ASSERT_OK(run_until(&r, 200 * S));
	STEPS(&r, "1 raised r warning 1", "11 escalated r critical 1", "90 cleared r critical 1");
}

static void it_does_not_escalate_again_when_its_rule_goes_further(void)
{
	RUN(r, "rules: [{name: r, severity: info, escalate: {after: 10s, to: warning}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 12 * S));
	rules_free(r.rules);
	r.rules = rules_of("rules: [{name: r, severity: info, escalate: {after: 10s, to: critical}}]");
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r info 1", "11 escalated r warning 1");
}

static void it_does_not_escalate_when_it_is_quiet_already(void)
{
	RUN(r, "rules: [{name: r, severity: warning, escalate: {after: 10s, to: critical}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 9 * S, END, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 200 * S));
	STEPS(&r, "1 raised r warning 1", "69 cleared r warning 1");
}

static void it_escalates_when_many_devices_tell_the_same(void)
{
	RUN(r, "rules: [{name: r, severity: info, escalate: {devices: 3, to: warning}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 2 * S, RAISE, of_device("b", 2 * S) },
	     { 3 * S, RAISE, of_device("c", 3 * S) });
	ASSERT_OK(run_until(&r, 10 * S));
	STEPS(&r, "1 raised r info 1", "2 updated r info 2", "3 escalated r warning 3");
}

/* The id of rule r's alert on device a from second 1 on. */
static uint64_t id_of_a(void)
{
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 1 * S));
	return r.last.alert_id;
}

static void an_acknowledgement_keeps_it_from_escalating(void)
{
	RUN(r, "rules: [{name: r, severity: warning, escalate: {after: 10s, devices: 2, to: critical}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, ACK, .ack = { id_of_a(), "ann", "on it", 0 } },
	     { 20 * S, RAISE, of_device("b", 20 * S) }, { 30 * S, END, of_device("a", 1 * S) },
	     { 30 * S, END, of_device("b", 20 * S) });
	ASSERT_OK(run_until(&r, 200 * S));
	STEPS(&r, "1 raised r warning 1", "5 acknowledged r warning by ann 1", "20 updated r warning by ann 2",
	      "90 cleared r warning by ann 2");
}

static void an_acknowledgement_that_has_run_out_does_not(void)
{
	RUN(r, "rules: [{name: r, severity: warning, escalate: {after: 10s, to: critical}}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) },
	     { 5 * S, ACK, .ack = { id_of_a(), "ann", "", T0 + 40 * S } });
	ASSERT_OK(run_until(&r, 50 * S));
	STEPS(&r, "1 raised r warning 1", "5 acknowledged r warning by ann 1", "40 escalated r critical by ann 1");
}

static void only_what_is_open_can_be_acknowledged(void)
{
	struct book_now now = { T0, T0 };
	struct book_ack ack = { id_of_a(), "ann", "", 0 };

	RUN(r, PLAIN);
	CU_ASSERT_EQUAL(book_acknowledge(r.book, &ack, &now, append_step, &r), -ENOENT);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 1 * S));
	ASSERT_OK(book_acknowledge(r.book, &ack, &now, append_step, &r));
	CU_ASSERT_EQUAL(book_acknowledge(r.book, &ack, &now, append_step, &r), -EAGAIN);
	fold_all(&r);
	ASSERT_OK(book_acknowledge(r.book, &ack, &now, append_step, &r));
}

static void silence_is_one_alert_until_the_device_is_heard(void)
{
	struct alert_signal silent = of_device("a", 1 * S);

	silent.kind = "silence";
	silent.metric = "";
	silent.n_shares = 0;
	RUN(r, PLAIN);
	ACTS(&r, { 10 * S, RAISE, silent }, { 70 * S, RAISE, silent }, { 130 * S, RAISE, silent }, { 190 * S, END, silent });
	ASSERT_OK(run_until(&r, 300 * S));
	STEPS(&r, "10 raised r warning 1", "250 cleared r warning 1");
	CU_ASSERT_EQUAL(r.log[r.n - 1].kind, STEP);

	const struct buf *b = &r.log[r.n - 1].record;
	alert_record *cleared = sluice__v1__alert_record__unpack(NULL, b->len, b->data);

	CU_ASSERT_STRING_EQUAL(cleared->reason, "heard");
	sluice__v1__alert_record__free_unpacked(cleared, NULL);
}

static void maintenance_holds_back_what_begins_meanwhile_and_raises_what_lasts_when_it_ends(void)
{
	struct alert_signal elsewhere = of_device("d", 10 * S);

	elsewhere.place = "hall";
	RUN(r, "rules: [{name: r, severity: warning, group_by: device}]\n"
	       "maintenance: [{name: m, from: 2023-11-14T22:13:22Z, to: 2023-11-14T22:14:20Z, place: lab}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 5 * S, RAISE, of_device("b", 5 * S) },
	     { 6 * S, RAISE, of_device("c", 6 * S) }, { 10 * S, RAISE, elsewhere }, { 59 * S, END, of_device("c", 6 * S) });
	ASSERT_OK(run_until(&r, 58 * S));
	STEPS(&r, "1 raised r warning 1", "10 raised r warning 1");
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r warning 1", "10 raised r warning 1", "60 raised r warning 1");
}

static void what_was_over_in_maintenance_is_not_raised_by_an_owner_that_comes_later(void)
{
	RUN(r, PLAIN "\nmaintenance: [{name: m, from: 2023-11-14T22:13:22Z, to: 2023-11-14T22:14:20Z}]");
	ACTS(&r, { 5 * S, RAISE, of_device("a", 5 * S) }, { 50 * S, END, of_device("a", 5 * S) });
	while (r.next_act < r.n_acts)
		ASSERT_OK(do_act(&r, &acts_[r.next_act]));
	r.now_ns = T0 + 80 * S;
	ASSERT_OK(run_until(&r, 100 * S));
	NO_STEPS(&r);
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
}

static void what_a_backlog_tells_is_past_and_never_open(void)
{
	struct alert_signal a = of_device("a", 1 * S), b = of_device("b", 2 * S);

	a.stale = b.stale = true;
	RUN(r, PLAIN);
	ACTS(&r, { 100 * S, RAISE, a }, { 100 * S, RAISE, b }, { 101 * S, END, b }, { 102 * S, RAISE, a },
	     { 103 * S, RAISE, of_device("c", 20 * S) });
	ASSERT_OK(run_until(&r, 110 * S));
	STEPS(&r, "100 past r warning 2", "103 raised r warning 1");
	CU_ASSERT_EQUAL(book_counts(r.book).open, 1);
	CU_ASSERT_EQUAL(book_counts(r.book).events, 2); /* a lasts, for all that is known */
	/* Told as of now, it is an alert. */
	ASSERT_OK(do_act(&r, &(struct act){ 111 * S, RAISE, of_device("a", 1 * S) }));
	ASSERT_OK(propose(&r));
	CU_ASSERT_EQUAL(r.n_steps, 3);
	CU_ASSERT_EQUAL(r.last.devices, 2);
}

static void windows_have_alerts_of_their_own_with_what_a_rule_asks_of_them(void)
{
	struct alert_signal small = of_window(1 * S);

	small.metric = "humidity";
	small.devices = 9;
	RUN(r, "rules: [{name: w, from: [window], window: {devices: 10, count: 100, completeness: 0.9}, severity: critical},"
	       " {name: r, from: [device], severity: warning}]");
	ACTS(&r, { 1 * S, RAISE, of_window(1 * S) }, { 1 * S, RAISE, small }, { 1 * S, RAISE, of_device("a", 1 * S) },
	     { 2 * S, END, of_window(1 * S) });
	ASSERT_OK(run_until(&r, 80 * S));
	STEPS(&r, "1 raised w critical 12", "1 raised r warning 1", "62 cleared w critical 12");
}

/* ------------------------------------------------------------------ told again */

static void what_is_told_again_changes_nothing_before_or_after_its_end(void)
{
	struct alert_signal a = of_device("a", 1 * S);

	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, a }, { 1 * S, RAISE, a }, { 2 * S, RAISE, a }, { 5 * S, END, a }, { 6 * S, END, a },
	     { 7 * S, RAISE, a }, { 100 * S, RAISE, a }, { 101 * S, END, a });
	ASSERT_OK(run_until(&r, 200 * S));
	STEPS(&r, "1 raised r warning 1", "65 cleared r warning 1");
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
}

static void is_called_level_shift(void *context, const alert_record *told, uint64_t version)
{
	CU_ASSERT_STRING_EQUAL(told->kind, "level-shift");
	CU_ASSERT_STRING_EQUAL(told->raised_kind, "spike");
}

static void a_further_metric_is_told_with_the_next_step(void)
{
	struct alert_signal a = of_device("a", 1 * S), grown = a;

	grown.score = 0.999;
	grown.value = 44;
	grown.shares[0].share = 0.5;
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, a }, { 2 * S, RAISE, grown }, { 5 * S, END, a });
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "1 raised r warning 1", "65 cleared r warning 1");
	CU_ASSERT_EQUAL(r.last.value, 44);
	CU_ASSERT_EQUAL(r.last.score, 0.999);
}

/* The first value of a new level is a spike.  The alert stays the same. */
static void what_turns_out_to_be_another_kind_is_told_so_once(void)
{
	struct alert_signal a = of_device("a", 1 * S), lasting = a;

	lasting.kind = "level-shift";
	RUN(r, PLAIN);
	ACTS(&r, { 1 * S, RAISE, a }, { 5 * S, RAISE, lasting }, { 7 * S, RAISE, lasting });
	ASSERT_OK(run_until(&r, 10 * S));
	STEPS(&r, "1 raised r warning 1", "5 updated r warning 1");
	book_each_open(r.book, is_called_level_shift, NULL);
}

static void many_are_another_kind_when_the_last_of_them_is(void)
{
	struct alert_signal a = of_device("a", 1 * S), b = of_device("b", 1 * S), c = of_device("c", 1 * S), d, e;

	RUN(r, PLAIN);
	d = a;
	e = b;
	d.kind = e.kind = "level-shift";
	ACTS(&r, { 1 * S, RAISE, a }, { 1 * S, RAISE, b }, { 1 * S, RAISE, c }, { 5 * S, RAISE, d }, { 6 * S, END, c },
	     { 7 * S, RAISE, e });
	ASSERT_OK(run_until(&r, 10 * S));
	STEPS(&r, "1 raised r warning 3", "7 updated r warning 3");
	book_each_open(r.book, is_called_level_shift, NULL);
}

static void what_grows_may_match_another_rule(void)
{
	struct alert_signal a = of_device("a", 1 * S), grown = a;

	grown.score = 0.9999;
	RUN(r, "rules: [{name: r, severity: critical, min_score: 0.999}]");
	ACTS(&r, { 1 * S, RAISE, a }, { 5 * S, RAISE, grown });
	ASSERT_OK(run_until(&r, 10 * S));
	STEPS(&r, "5 raised r critical 1");
}

static void another_onset_of_a_device_ends_the_one_before(void)
{
	RUN(r, "rules: [{name: r, severity: warning, clear_after: 10s}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 100 * S, RAISE, of_device("a", 100 * S) });
	ASSERT_OK(run_until(&r, 150 * S));
	STEPS(&r, "1 raised r warning 1", "100 raised r warning 1", "110 cleared r warning 1");
	CU_ASSERT_EQUAL(book_counts(r.book).open, 1);
}

/* ------------------------------------------------------------------ other rules, bounds, restarts */

static void other_rules_hold_from_then_on(void)
{
	RUN(r, "rules: [{name: other, type: valve, severity: warning}]");
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) });
	ASSERT_OK(run_until(&r, 5 * S));
	NO_STEPS(&r);
	rules_free(r.rules);
	r.rules = rules_of("rules: [{name: r, severity: critical}]");
	ASSERT_OK(run_until(&r, 6 * S));
	STEPS(&r, "6 raised r critical 1");
	/* Its rule goes, it stays until it is quiet. */
	rules_free(r.rules);
	r.rules = rules_of("rules: [{name: other, type: valve, severity: warning}]");
	ASSERT_OK(run_until(&r, 8 * S));
	ASSERT_OK(do_act(&r, &(struct act){ 9 * S, END, of_device("a", 1 * S) }));
	ASSERT_OK(run_until(&r, 100 * S));
	STEPS(&r, "6 raised r critical 1", "69 cleared r critical 1");
}

/* Proposes and folds a round after the other on a book of its own. */
static void propose_rounds(struct book *b, const struct alert_rules *rules, int n)
{
	struct book_now now = { T0, T0 };

	RUN(r, PLAIN);
	for (int i = 0; i < n; i++) {
		ASSERT_OK(book_propose(b, rules, &now, append_step, &r));
		for (size_t k = 0; k < r.n; k++) {
			const alert_record *told;

			ASSERT_OK(book_record(b, buf_slice(&r.log[k].record), k, &told));
			buf_done(&r.log[k].record);
		}
		r.n = 0;
	}
}

static void tables_are_bounded_and_what_does_not_fit_is_counted(void)
{
	struct alert_rules *rules = rules_of("rules: [{name: r, severity: info, group_by: device}]");
	struct book *b;
	char name[16];

	ASSERT_OK(book_new(&b));
	for (int i = 0; i < BOOK_EVENTS_MAX + 10; i++) {
		struct alert_signal s = of_device(name, i);

		snprintf(name, sizeof(name), "d%d", i);
		ASSERT_OK(book_noticed(b, &s));
	}
	CU_ASSERT_EQUAL(book_counts(b).events, BOOK_EVENTS_MAX);
	CU_ASSERT_EQUAL(book_counts(b).refused, 10);
	/* Each wants an alert of its own. */
	propose_rounds(b, rules, 2 * BOOK_EVENTS_MAX / BOOK_RECORDS_MAX);
	CU_ASSERT_EQUAL(book_counts(b).open, BOOK_ALERTS_MAX);
	CU_ASSERT_EQUAL(book_counts(b).undecided, 0);
	CU_ASSERT_EQUAL(book_counts(b).events, BOOK_ALERTS_MAX);
	CU_ASSERT_EQUAL(book_counts(b).refused, 10 + BOOK_EVENTS_MAX - BOOK_ALERTS_MAX);
	rules_free(rules);
	book_free(b);
}

static void a_record_that_is_none_is_refused(void)
{
	const alert_record *told;

	RUN(r, PLAIN);
	CU_ASSERT_EQUAL(book_record(r.book, SLICE("\xff\xff", 2), 0, &told), -EBADMSG);
	CU_ASSERT_EQUAL(book_record(r.book, SLICE("\x08\x63", 2), 0, &told), -EBADMSG); /* a state of a newer one */
}

static int compare_steps(const void *a, const void *b)
{
	return strcmp(a, b);
}

#define BUSY                                                                                     \
	"rules:\n"                                                                               \
	" - {name: short, metric: humidity, min_duration: 8s, severity: info}\n"                 \
	" - {name: w, from: [window], severity: critical, clear_after: 20s}\n"                   \
	" - {name: r, severity: warning, escalate: {after: 30s, devices: 3, to: critical}}\n"    \
	"maintenance: [{name: m, from: 2023-11-14T22:13:45Z, to: 2023-11-14T22:14:20Z, type: valve}]\n"

/* The first owner dies when it wants to write entry `cut`; its successor folds what is there and goes on. */
static void restart_at(size_t cut, const struct act *acts, size_t n_acts, const struct run *whole)
{
	RUN(r, BUSY);
	r.acts = acts;
	r.n_acts = n_acts;
	r.crash_at = cut;
	CU_ASSERT_EQUAL(run_until(&r, 200 * S), -ECANCELED);
	book_free(r.book);
	ASSERT_OK(book_new(&r.book));
	r.folded = r.n_steps = 0;
	r.crash_at = SIZE_MAX;
	r.now_ns = cut > 0 ? r.log[cut - 1].at_ns : T0;
	r.next_act = cut > 0 ? r.log[cut - 1].next_act : 0;
	fold_all(&r);
	ASSERT_OK(run_until(&r, 200 * S));
	qsort(r.steps, r.n_steps, sizeof(*r.steps), compare_steps);
	CU_ASSERT_EQUAL(r.n_steps, whole->n_steps);
	for (size_t i = 0; i < MIN(r.n_steps, whole->n_steps); i++)
		CU_ASSERT_STRING_EQUAL(r.steps[i], whole->steps[i]);
}

/* All that can happen. */
static void a_restart_behind_any_record_gives_the_same_steps(void)
{
	struct alert_signal humid = of_device("h", 3 * S), brief = of_device("k", 4 * S), valve = of_device("v", 30 * S),
			    old = of_device("o", 0);

	humid.metric = brief.metric = "humidity";
	humid.place = "x";
	brief.place = "y";
	valve.type = "valve";
	old.stale = true;
	old.place = "cellar";
	RUN(r, BUSY);
	ACTS(&r, { 1 * S, RAISE, of_device("a", 1 * S) }, { 2 * S, RAISE, old }, { 3 * S, RAISE, humid },
	     { 4 * S, RAISE, brief }, { 5 * S, RAISE, of_window(0) }, { 6 * S, RAISE, of_device("b", 6 * S) },
	     { 6 * S, RAISE, of_device("c", 6 * S) }, { 8 * S, END, brief }, { 9 * S, END, old },
	     { 20 * S, END, of_device("a", 1 * S) }, { 22 * S, RAISE, of_device("a", 22 * S) }, { 30 * S, RAISE, valve },
	     { 31 * S, END, of_window(0) }, { 40 * S, END, humid }, { 70 * S, END, of_device("a", 22 * S) },
	     { 71 * S, END, of_device("b", 6 * S) }, { 72 * S, END, of_device("c", 6 * S) }, { 90 * S, END, valve });
	ASSERT_OK(run_until(&r, 200 * S));
	CU_ASSERT_EQUAL(book_counts(r.book).events, 0);
	CU_ASSERT_EQUAL(r.n_steps, 11);
	qsort(r.steps, r.n_steps, sizeof(*r.steps), compare_steps);
	for (size_t cut = 0; cut < r.n; cut++)
		restart_at(cut, acts_, ARRAY_SIZE(acts_), &r);
}

TESTS("book", T(what_no_rule_matches_is_no_alert), T(what_a_rule_ignores_is_no_alert_though_a_later_one_matches),
      T(an_event_is_raised_at_once_and_cleared_when_it_was_quiet_for_long_enough),
      T(an_event_that_is_over_before_anybody_looked_is_still_raised),
      T(what_need_not_last_is_raised_at_once_whatever_clock_its_gateway_has), T(an_event_must_last_as_long_as_its_rule_says),
      T(an_event_that_lasted_long_enough_is_raised_by_an_owner_that_comes_later),
      T(many_devices_with_one_story_are_one_alert_with_their_count_and_the_worst), T(another_story_is_another_alert),
      T(what_is_noticed_at_once_but_began_far_apart_is_not_one_story),
      T(what_joins_when_it_is_over_counts_for_the_quiet_too),
      T(events_are_grouped_by_device_place_or_type_as_the_rule_says), T(devices_without_a_place_have_alerts_of_their_own),
      T(a_device_that_flaps_counts_once_in_its_alert), T(it_escalates_once_when_it_lasts),
      T(it_does_not_escalate_again_when_its_rule_goes_further),
      T(it_does_not_escalate_when_it_is_quiet_already), T(it_escalates_when_many_devices_tell_the_same),
      T(an_acknowledgement_keeps_it_from_escalating), T(an_acknowledgement_that_has_run_out_does_not),
      T(only_what_is_open_can_be_acknowledged), T(silence_is_one_alert_until_the_device_is_heard),
      T(maintenance_holds_back_what_begins_meanwhile_and_raises_what_lasts_when_it_ends),
      T(what_was_over_in_maintenance_is_not_raised_by_an_owner_that_comes_later),
      T(what_a_backlog_tells_is_past_and_never_open), T(windows_have_alerts_of_their_own_with_what_a_rule_asks_of_them),
      T(what_is_told_again_changes_nothing_before_or_after_its_end), T(a_further_metric_is_told_with_the_next_step),
      T(what_turns_out_to_be_another_kind_is_told_so_once), T(many_are_another_kind_when_the_last_of_them_is),
      T(what_grows_may_match_another_rule), T(another_onset_of_a_device_ends_the_one_before), T(other_rules_hold_from_then_on),
      T(tables_are_bounded_and_what_does_not_fit_is_counted), T(a_record_that_is_none_is_refused),
      T(a_restart_behind_any_record_gives_the_same_steps))
