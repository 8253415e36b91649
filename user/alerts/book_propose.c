/* The proposer.  A round looks at the undecided events in the order in which they were noticed and at the open alerts, and
 * makes drafts: a step of an alert that is open, a new alert, or a dismissal.  Then each draft becomes a record.
 * What one round does not get to, the next one does; it begins when all records of this one are folded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/book_internal.h"
#include "analytics/alert.h"
#include "analytics/detector.h"
#include "base/buf.h"
#include "codec/message.h"

#define SUBJECT_MAX (5 * (BOOK_TEXT_MAX + 1) + 32)

struct draft {
	int state;
	struct open_alert *alert; /* NULL: a new one */
	const struct alert_rule *rule;
	uint64_t key;
	char subject[SUBJECT_MAX];
	struct event *first, *last; /* that join, over `drafted` */
	const struct event *worst;  /* of these and of the alert's; NULL: what was told */
	uint64_t devices;           /* with these */
	int64_t newest_ns;
};

struct proposal {
	struct draft drafts[BOOK_RECORDS_MAX];
	uint32_t n_drafts, n_members, n_new;
	const struct alert_rules *rules;
	struct book_now now;
	uint64_t members[BOOK_MEMBERS_MAX];
	Sluice__V1__MetricShare shares[SIGNAL_SHARES_MAX], *share_list[SIGNAL_SHARES_MAX];
	struct buf packed;
};

struct proposal *proposal_new(void)
{
	return calloc(1, sizeof(struct proposal));
}

void proposal_free(struct proposal *p)
{
	if (!p)
		return;
	buf_done(&p->packed);
	free(p);
}

/* Whether so much time lies between the two; what others tell of times may be anything.  Nothing is waited for that takes
 * no time: a gateway's clock may be ahead of ours, and under an event clock ours is a watermark, behind all readings. */
static bool has_passed(int64_t then_ns, int64_t now_ns, int64_t duration_ns)
{
	int64_t elapsed_ns;

	if (duration_ns == 0)
		return true;
	if (__builtin_sub_overflow(now_ns, then_ns, &elapsed_ns))
		return now_ns > then_ns;
	return elapsed_ns >= duration_ns;
}

/* ------------------------------------------------------------------ what becomes of an event */

enum verdict { WAIT, DISMISS, ALERT };

static const struct alert_rule *rule_of(const struct proposal *p, struct event *e)
{
	if (e->matched != p->rules->serial) {
		e->matched = p->rules->serial;
		e->rule = rules_match(p->rules, &e->s);
	}
	return e->rule;
}

/* Once it is over there is nothing to wait for. */
static enum verdict verdict_of(const struct proposal *p, struct event *e)
{
	const struct alert_rule *rule = rule_of(p, e);
	int64_t until_ns = e->over ? e->end.clock_ns : p->now.clock_ns;
	bool none = !rule || rule->severity == SEVERITY_IGNORE;

	if (none || rules_maintenance(p->rules, &e->s, e->s.stale && !e->over ? e->since_ns : until_ns) ||
	    !has_passed(e->since_ns, until_ns, rule->min_duration_ns))
		return e->over ? DISMISS : WAIT;
	return ALERT;
}

/* The group's kind and text, and what else must be the same; separated by what stands in no name. */
static void write_subject(char ret[static SUBJECT_MAX], const struct alert_rule *rule, const struct alert_signal *s)
{
	int by = rule->group_by == GROUP_BY_PLACE && !*s->place ? GROUP_BY_DEVICE : rule->group_by;
	const char *group = by == GROUP_BY_PLACE ? s->place : by == GROUP_BY_TYPE ? s->type : s->device_id;

	if (s->origin == SIGNAL_WINDOW)
		snprintf(ret, SUBJECT_MAX, "window:%s\x1f%s\x1f%+d", s->type, s->kind, s->direction);
	else
		snprintf(ret, SUBJECT_MAX, "%s:%s\x1f%s\x1f%s\x1f%s\x1f%+d", group_names[by], group, s->region, s->type,
			 s->kind, s->direction);
}

/* ------------------------------------------------------------------ drafts */

static struct draft *draft_add(struct proposal *p, int state, struct open_alert *a)
{
	struct draft *d = &p->drafts[p->n_drafts++];

	d->state = state;
	d->alert = a;
	d->rule = NULL;
	d->first = d->last = NULL;
	d->worst = a ? a->worse : NULL;
	d->devices = a ? a->told->devices : 0;
	d->newest_ns = a ? a->told->newest_ns : 0;
	if (a)
		a->draft = d;
	return d;
}

static bool is_near(int64_t a_ns, int64_t b_ns, int64_t window_ns)
{
	int64_t apart_ns;

	return !__builtin_sub_overflow(MAX(a_ns, b_ns), MIN(a_ns, b_ns), &apart_ns) && apart_ns <= window_ns;
}

static struct draft *draft_find(struct proposal *p, int state, uint64_t key, const char *subject, const struct event *e,
				const struct alert_rule *rule)
{
	for (uint32_t i = 0; i < p->n_drafts; i++) {
		struct draft *d = &p->drafts[i];

		if (d->first && d->key == key && (d->state == ALERT_STATE(PAST)) == (state == ALERT_STATE(PAST)) &&
		    d->state != ALERT_STATE(DISMISSED) && !strcmp(d->subject, subject) &&
		    is_near(d->newest_ns, e->s.onset_ns, rule->group_window_ns))
			return d;
	}
	return NULL;
}

static struct open_alert *alert_near(struct book *b, uint64_t key, const char *subject, const struct event *e,
				     const struct alert_rule *rule)
{
	struct open_alert *a = *alert_bucket(b, key);

	while (a && (a->key != key || a->draft || strcmp(a->told->rule, rule->name) != 0 ||
		     strcmp(a->told->subject, subject) != 0 || strcmp(a->told->metric, e->s.metric) != 0 ||
		     !is_near(a->told->newest_ns, e->s.onset_ns, rule->group_window_ns)))
		a = a->chain;
	return a;
}

/* The draft that an event belongs to; NULL: there is room for no other. */
static struct draft *draft_for(struct book *b, struct event *e, const struct alert_rule *rule)
{
	struct proposal *p = b->proposal;
	int state = e->s.stale ? ALERT_STATE(PAST) : ALERT_STATE(RAISED);
	char subject[SUBJECT_MAX];

	write_subject(subject, rule, &e->s);

	uint64_t key = alert_key(rule->name, subject, e->s.metric);
	struct draft *d = draft_find(p, state, key, subject, e, rule);

	if (d || p->n_drafts == BOOK_RECORDS_MAX)
		return d;

	struct open_alert *a = e->s.stale ? NULL : alert_near(b, key, subject, e, rule);

	d = draft_add(p, a ? ALERT_STATE(JOINED) : state, a);
	d->rule = rule;
	d->key = key;
	memcpy(d->subject, subject, strlen(subject) + 1);
	p->n_new += state == ALERT_STATE(RAISED) && !a;
	return d;
}

static struct draft *draft_of_dismissals(struct proposal *p)
{
	for (uint32_t i = 0; i < p->n_drafts; i++)
		if (p->drafts[i].state == ALERT_STATE(DISMISSED))
			return &p->drafts[i];
	return p->n_drafts == BOOK_RECORDS_MAX ? NULL : draft_add(p, ALERT_STATE(DISMISSED), NULL);
}

/* Whether its device is among those of the alert, or of the draft. */
static bool is_counted(struct book *b, const struct draft *d, const struct event *e)
{
	for (const struct event *other = *event_bucket(b, e->device); other; other = other->chain)
		if (other != e && other->device == e->device &&
		    (other->draft == d || (d->alert && other->alert == d->alert)))
			return true;
	return false;
}

static void draft_join(struct book *b, struct draft *d, struct event *e)
{
	double worst = d->worst ? d->worst->s.score : d->alert ? d->alert->told->score : -1;

	if (!is_counted(b, d, e))
		d->devices += e->s.devices;
	d->newest_ns = d->first || d->alert ? MAX(d->newest_ns, e->s.onset_ns) : e->s.onset_ns;
	if (e->s.score > worst)
		d->worst = e;
	if (d->last)
		d->last->drafted = e;
	else
		d->first = e;
	d->last = e;
	e->draft = d;
	e->drafted = NULL;
	b->proposal->n_members++;
}

static void look_at_event(struct book *b, struct event *e)
{
	struct proposal *p = b->proposal;
	enum verdict v = verdict_of(p, e);
	struct draft *d = v == ALERT ? draft_for(b, e, e->rule) : v == DISMISS ? draft_of_dismissals(p) : NULL;

	if (d && d->state == ALERT_STATE(RAISED) && !d->first && b->counts.open + p->n_new > BOOK_ALERTS_MAX) {
		p->n_drafts--; /* it was the last one */
		p->n_new--;
		b->counts.refused++;
		d = draft_of_dismissals(p);
	}
	if (d)
		draft_join(b, d, e);
}

/* ------------------------------------------------------------------ what becomes of an alert by time */

static bool is_acknowledged(const struct open_alert *a, const struct book_now *now)
{
	return *a->told->by && (a->told->until_ns == 0 || now->wall_ns < a->told->until_ns);
}

static bool escalates(const struct open_alert *a, const struct alert_rule *rule, const struct book_now *now)
{
	if (!rule || rule->escalate_to <= severity_named(a->told->severity) || a->escalated || a->n_lasting == 0 ||
	    is_acknowledged(a, now))
		return false;
	return (rule->escalate_after_ns > 0 && has_passed(a->since_ns, now->clock_ns, rule->escalate_after_ns)) ||
	       (rule->escalate_devices > 0 && a->told->devices >= (uint64_t)rule->escalate_devices);
}

/* A rule that is there no longer leaves its alerts to themselves: they are cleared as if it had said nothing. */
static void look_at_alert(struct book *b, struct open_alert *a)
{
	struct proposal *p = b->proposal;
	const struct alert_rule *rule = rules_named(p->rules, a->told->rule);
	int64_t clear_after_ns = rule ? rule->clear_after_ns : RULES_CLEAR_AFTER_NS;
	int state = ALERT_STATE(NONE);

	if (a->n_lasting == 0 && has_passed(a->quiet.clock_ns, p->now.clock_ns, clear_after_ns))
		state = ALERT_STATE(CLEARED);
	else if (escalates(a, rule, &p->now))
		state = ALERT_STATE(ESCALATED);
	else if (a->renamed)
		state = ALERT_STATE(UPDATED);
	if (state != ALERT_STATE(NONE))
		draft_add(p, state, a)->rule = rule;
}

/* ------------------------------------------------------------------ from draft to record */

static void set_worst(struct proposal *p, alert_record *r, const struct alert_signal *s)
{
	r->device_id = (char *)s->device_id;
	r->value = s->value;
	r->expected = s->expected;
	r->low = s->low;
	r->high = s->high;
	r->score = s->score;
	r->n_shares = s->n_shares;
	r->shares = p->share_list;
	for (uint32_t i = 0; i < s->n_shares; i++) {
		p->shares[i] = (Sluice__V1__MetricShare)SLUICE__V1__METRIC_SHARE__INIT;
		p->shares[i].metric = (char *)s->shares[i].metric;
		p->shares[i].share = s->shares[i].share;
		p->share_list[i] = &p->shares[i];
	}
}

/* The reading behind the step: the first for what is new, else the last. */
static void set_reading(alert_record *r, const struct event *e)
{
	r->event_ns = e->s.event_ns;
	r->arrival_ns = e->s.arrival_ns;
	r->trace_id = (ProtobufCBinaryData){ e->s.trace_id.len, (uint8_t *)e->s.trace_id.data };
}

static int set_identity(alert_record *r, const struct draft *d)
{
	const struct alert_signal *s = &d->first->s;

	r->rule = d->rule->name;
	r->subject = (char *)d->subject;
	r->severity = r->raised_severity = (char *)severity_name(d->rule->severity);
	r->kind = r->raised_kind = (char *)s->kind;
	r->direction = s->direction;
	r->region = (char *)s->region;
	r->type = (char *)s->type;
	r->place = (char *)s->place;
	r->metric = (char *)s->metric;
	r->onset_ns = s->onset_ns;
	return alert_id(r->rule, r->subject, r->metric, r->onset_ns, &r->alert_id);
}

static void set_kind(alert_record *r, const struct event *renamed)
{
	if (!renamed)
		return;
	r->kind = (char *)renamed->s.kind;
	r->direction = renamed->s.direction;
}

static bool has_doubled(uint64_t before, uint64_t after)
{
	return before < after && (before == 0 || 63 - __builtin_clzll(after) > 63 - __builtin_clzll(before));
}

static void set_state(alert_record *r, const struct draft *d)
{
	const struct open_alert *a = d->alert;

	r->state = d->state;
	if (d->state == ALERT_STATE(JOINED) && (a->renamed || has_doubled(a->told->devices, d->devices)))
		r->state = ALERT_STATE(UPDATED);
	if (d->state == ALERT_STATE(ESCALATED))
		r->severity = (char *)severity_name(d->rule->escalate_to);
	if (d->state == ALERT_STATE(CLEARED)) {
		r->reason = (char *)(!strcmp(r->kind, detector_kind_name(DETECTOR_SILENCE)) ? "heard" : "quiet");
		r->event_ns = a->quiet.event_ns;
		r->arrival_ns = a->quiet.arrival_ns;
	}
}

static int pack(struct book *b, const alert_record *r, book_append *append, void *context)
{
	struct buf *packed = &b->proposal->packed;

	buf_reset(packed);

	int result = message_append(packed, &r->base);

	if (result == 0)
		result = append(context, buf_slice(packed));
	b->under_way += result == 0;
	return result;
}

static int write_draft(struct book *b, const struct draft *d, book_append *append, void *context)
{
	struct proposal *p = b->proposal;
	alert_record r = SLUICE__V1__ALERT_RECORD__INIT;
	int result = 0;

	if (d->alert) {
		r = *d->alert->told;
		set_kind(&r, d->alert->renamed);
	} else if (d->state != ALERT_STATE(DISMISSED)) {
		result = set_identity(&r, d);
	}
	if (result < 0)
		return result;
	if (d->state != ALERT_STATE(DISMISSED)) {
		r.devices = d->devices;
		r.newest_ns = d->newest_ns;
		if (d->worst)
			set_worst(p, &r, &d->worst->s);
		if (d->first)
			set_reading(&r, d->alert ? d->last : d->first);
	}
	set_state(&r, d);
	r.clock_ns = p->now.clock_ns;
	r.decided_ns = p->now.wall_ns;
	r.members = p->members;
	for (const struct event *e = d->first; e; e = e->drafted)
		p->members[r.n_members++] = e->identity;
	return pack(b, &r, append, context);
}

/* ------------------------------------------------------------------ a round */

static void make_drafts(struct book *b)
{
	struct proposal *p = b->proposal;
	struct event *e;
	struct open_alert *a;

	TAILQ_FOREACH(e, &b->undecided, link) {
		if (p->n_members == BOOK_MEMBERS_MAX)
			break;
		look_at_event(b, e);
	}
	TAILQ_FOREACH(a, &b->open, link) {
		if (p->n_drafts == BOOK_RECORDS_MAX)
			break;
		if (!a->draft)
			look_at_alert(b, a);
	}
}

static void drop_drafts(struct proposal *p)
{
	for (uint32_t i = 0; i < p->n_drafts; i++) {
		for (struct event *e = p->drafts[i].first; e; e = e->drafted)
			e->draft = NULL;
		if (p->drafts[i].alert)
			p->drafts[i].alert->draft = NULL;
	}
	p->n_drafts = p->n_members = p->n_new = 0;
}

int book_propose(struct book *b, const struct alert_rules *rules, const struct book_now *now, book_append *append,
		 void *context)
{
	struct proposal *p = b->proposal;
	int r = 0;

	if (b->under_way > 0)
		return 0;
	p->rules = rules;
	p->now = *now;
	make_drafts(b);
	for (uint32_t i = 0; i < p->n_drafts && r == 0; i++)
		r = write_draft(b, &p->drafts[i], append, context);
	drop_drafts(p);
	return r;
}

int book_acknowledge(struct book *b, const struct book_ack *ack, const struct book_now *now, book_append *append,
		     void *context)
{
	struct open_alert *a;

	if (b->under_way > 0)
		return -EAGAIN;
	TAILQ_FOREACH(a, &b->open, link) {
		if (a->told->alert_id != ack->alert_id)
			continue;

		alert_record r = *a->told;

		r.state = ALERT_STATE(ACKNOWLEDGED);
		r.by = (char *)ack->by;
		r.note = (char *)ack->note;
		r.until_ns = ack->until_ns;
		r.clock_ns = now->clock_ns;
		r.decided_ns = now->wall_ns;
		return pack(b, &r, append, context);
	}
	return -ENOENT;
}
