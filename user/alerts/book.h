/* The book of alerts: what is anomalous, and what people have been told of it.
 *
 *                            no rule, `ignore`, too short, over while in maintenance
 *        noticed ──▶ event ────────────────────────────────────────────────────────────▶ dismissed
 *                      │
 *                      │ a rule matches, it lasts, no maintenance
 *                      │
 *                      ├─ noticed in a backlog ──▶ past
 *                      │
 *                      └──▶ raised ◀─ joined (a further event of the same story)
 *                              │      updated (and with it twice as many devices; or it is called another kind)
 *                              │
 *                              ├──▶ acknowledged   by whom, until when; as often as people like
 *                              ├──▶ escalated      it lasts, or has many devices, and nobody has acknowledged; once
 *                              └──▶ cleared        all of its events are over, for long enough
 *
 * An event is an anomaly from its onset until it is over (signal.h).  It is undecided until a record says what became
 * of it.  Each step above is a record (AlertRecord in proto/delta.proto) with all that is known of the alert then.
 *
 * Two halves:
 *
 * the fold      book_noticed(), book_over() and book_record(), a pure function of global.log: it looks at no rule and no
 *               clock.  Whoever folds the same records has the same book.
 * the proposer  book_propose() and book_acknowledge(), the owner's alone: looks at the rules and the time, and has
 *               records appended.  They take effect when they are folded; until all of them are, nothing further is
 *               proposed.  So an owner that stops anywhere loses no step and repeats none: its successor folds what is
 *               there and proposes the rest.
 *
 * One story: events with the same rule, kind, direction, region, type, metric and group (rules.h, group_by), when the
 * onset of the next lies within group_window of the newest's.  alert_id() over rule, subject and metric, and the onset
 * of the first.
 *
 * Time, clock_ns: arrival of readings and wall clock under streams.clock arrival; event time and watermarks under
 * event.  The caller knows which it is and gives it.
 *
 * Bounds: BOOK_EVENTS_MAX, BOOK_ALERTS_MAX; what does not fit is counted in `refused`.  What is over is forgotten, and
 * recognised for a while when it is told again.
 *
 * Threads: one.
 */
#pragma once

#include "alerts/rules.h"
#include "alerts/signal.h"
#include "proto/delta.pb-c.h"

#define BOOK_EVENTS_MAX 65536
#define BOOK_ALERTS_MAX 8192
#define BOOK_RECORDS_MAX 256  /* proposed at a time */
#define BOOK_MEMBERS_MAX 4096 /* that join at a time */
#define BOOK_TEXT_MAX 255     /* bytes of a name; delta_read() and series see to it */

typedef Sluice__V1__AlertRecord alert_record;
#define ALERT_STATE(name) SLUICE__V1__ALERT_RECORD__STATE__##name

struct book;

/* 0 or -ENOMEM. */
int book_new(struct book **ret);
void book_free(struct book *b);

/* ------------------------------------------------------------------ the fold */

/* An event has begun, or is told again: then what is new of it is taken over.  0 or -ENOMEM. */
int book_noticed(struct book *b, const struct alert_signal *s);
/* It is over.  Known by its onset; the rest of the signal says when. */
void book_over(struct book *b, const struct alert_signal *s);
/* The value of an ALERT record at this offset.  *ret: the step as it is to be published, until the next call; NULL: it
 * is none of that kind.  0; -EBADMSG; -ENOMEM. */
int book_record(struct book *b, struct slice value, uint64_t offset, const alert_record **ret);

/* ------------------------------------------------------------------ the proposer */

struct book_now {
	int64_t clock_ns; /* in the time that alerts go by */
	int64_t wall_ns;
};

/* 0; an error ends the proposal, and what was not appended is proposed again by the next one. */
typedef int book_append(void *context, struct slice record);

/* 0, also while earlier ones are under way; -ENOMEM; what append returned.  rules may be others each time. */
int book_propose(struct book *b, const struct alert_rules *rules, const struct book_now *now, book_append *append,
		 void *context);

struct book_ack {
	uint64_t alert_id;
	const char *by, *note;
	int64_t until_ns; /* wall clock; 0: for as long as it lasts */
};

/* 0; -ENOENT: no such alert is open; -EAGAIN: proposals are under way, later; -ENOMEM; what append returned. */
int book_acknowledge(struct book *b, const struct book_ack *ack, const struct book_now *now, book_append *append,
		     void *context);

/* ------------------------------------------------------------------ looking at it */

struct book_counts {
	uint32_t events, undecided, open;
	uint64_t refused;
	uint64_t steps[ALERT_STATE(DISMISSED) + 1]; /* records folded, by state */
};

struct book_counts book_counts(const struct book *b);
/* Grows with every change that a proposal may depend on, but for time. */
uint64_t book_changes(const struct book *b);

/* The open alerts: the last published step of each, with its offset. */
typedef void book_visit(void *context, const alert_record *told, uint64_t version);
void book_each_open(const struct book *b, book_visit *visit, void *context);

/* "raised", ...; NULL: of this nobody is told. */
const char *alert_state_name(int state);
/* Raised, updated, escalated or acknowledged. */
bool alert_is_open(const alert_record *r);
