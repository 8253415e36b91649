/* The fold.  Events stand in a table by device, of which at most one lasts; alerts in one by what makes them one story.
 * Both are chained: removal is frequent, chains are short. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/book_internal.h"
#include "base/buf.h"
#include "base/hash.h"

int book_new(struct book **ret)
{
	struct book *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	TAILQ_INIT(&b->undecided);
	TAILQ_INIT(&b->open);
	b->proposal = proposal_new();
	if (!b->proposal) {
		free(b);
		return -ENOMEM;
	}
	*ret = b;
	return 0;
}

static void record_free(alert_record *r)
{
	if (r)
		sluice__v1__alert_record__free_unpacked(r, NULL);
}

void book_free(struct book *b)
{
	struct open_alert *a;

	if (!b)
		return;
	for (size_t i = 0; i < BOOK_BUCKETS; i++)
		for (struct event *e = b->events[i], *next; e; e = next) {
			next = e->chain;
			free(e->text);
			free(e);
		}
	while ((a = TAILQ_FIRST(&b->open))) {
		TAILQ_REMOVE(&b->open, a, link);
		if (a->published != a->told)
			record_free(a->published);
		record_free(a->told);
		free(a);
	}
	record_free(b->last);
	proposal_free(b->proposal);
	free(b);
}

/* ------------------------------------------------------------------ names */

struct event **event_bucket(struct book *b, uint64_t device)
{
	return &b->events[device & (BOOK_BUCKETS - 1)];
}

struct open_alert **alert_bucket(struct book *b, uint64_t key)
{
	return &b->alerts[key & (BOOK_BUCKETS - 1)];
}

static size_t put_name(char *to, const char *name)
{
	size_t n = strnlen(name, BOOK_TEXT_MAX);

	memcpy(to, name, n);
	to[n] = '\0';
	return n + 1;
}

/* The device in its region, or the series of windows. */
static uint64_t device_of(const struct alert_signal *s)
{
	char text[1 + 2 * (BOOK_TEXT_MAX + 1)] = { (char)s->origin };
	bool device = s->origin == SIGNAL_DEVICE;
	size_t n = 1;

	n += put_name(text + n, device ? s->region : s->type);
	n += put_name(text + n, device ? s->device_id : s->metric);
	return hash_device(text, n);
}

/* Stands in records.  Its low bits are the device's, so that it is found in the device's bucket. */
#define DEVICE_BITS 0xffffULL
_Static_assert(BOOK_BUCKETS <= DEVICE_BITS + 1, "one look finds an event");

static uint64_t identity_of(uint64_t device, int64_t onset_ns)
{
	uint64_t words[2] = { device, (uint64_t)onset_ns };

	return (hash_device(words, sizeof(words)) & ~DEVICE_BITS) | (device & DEVICE_BITS);
}

uint64_t alert_key(const char *rule, const char *subject, const char *metric)
{
	uint64_t words[3] = { hash_device(rule, strlen(rule)), hash_device(subject, strlen(subject)),
			      hash_device(metric, strlen(metric)) };

	return hash_device(words, sizeof(words));
}

const char *alert_state_name(int state)
{
	static const char *const names[] = {
		[ALERT_STATE(RAISED)] = "raised",     [ALERT_STATE(UPDATED)] = "updated",
		[ALERT_STATE(ESCALATED)] = "escalated", [ALERT_STATE(ACKNOWLEDGED)] = "acknowledged",
		[ALERT_STATE(CLEARED)] = "cleared",   [ALERT_STATE(PAST)] = "past",
	};

	return state >= 0 && (size_t)state < ARRAY_SIZE(names) ? names[state] : NULL;
}

bool alert_is_open(const alert_record *r)
{
	return r->state >= ALERT_STATE(RAISED) && r->state <= ALERT_STATE(ACKNOWLEDGED);
}

/* ------------------------------------------------------------------ events */

static struct event *event_find(struct book *b, uint64_t identity)
{
	struct event *e = *event_bucket(b, identity);

	while (e && e->identity != identity)
		e = e->chain;
	return e;
}

static uint64_t *gone_set(struct book *b, uint64_t identity)
{
	return b->gone[(identity >> 16) % BOOK_GONE_SETS];
}

static bool is_gone(struct book *b, uint64_t identity)
{
	const uint64_t *set = gone_set(b, identity);

	return set[0] == identity || set[1] == identity || set[2] == identity || set[3] == identity;
}

static void undecided_add(struct book *b, struct event *e)
{
	e->fate = EVENT_UNDECIDED;
	TAILQ_INSERT_TAIL(&b->undecided, e, link);
	b->counts.undecided++;
}

static void undecided_remove(struct book *b, struct event *e)
{
	TAILQ_REMOVE(&b->undecided, e, link);
	b->counts.undecided--;
}

static void event_forget(struct book *b, struct event *e)
{
	struct event **at = event_bucket(b, e->device);
	uint64_t *set = gone_set(b, e->identity);

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	memmove(set + 1, set, 3 * sizeof(*set));
	set[0] = e->identity;
	if (e->fate == EVENT_UNDECIDED) {
		undecided_remove(b, e);
	} else if (e->fate == EVENT_MEMBER) {
		TAILQ_REMOVE(&e->alert->members, e, link);
		e->alert->n_lasting -= !e->over;
		if (e->alert->worse == e)
			e->alert->worse = NULL;
		if (e->alert->renamed == e)
			e->alert->renamed = NULL;
	}
	b->counts.events--;
	free(e->text);
	free(e);
}

static const char *copy_name(char **at, const char *name)
{
	const char *copy = *at;

	*at += put_name(*at, name);
	return copy;
}

/* Takes over what was told, with strings of its own. */
static int event_set(struct event *e, const struct alert_signal *s)
{
	const char *names[] = { s->region, s->device_id, s->type, s->place, s->metric, s->kind };
	uint32_t n_shares = MIN(s->n_shares, (uint32_t)SIGNAL_SHARES_MAX);
	size_t size = s->trace_id.len;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		size += strnlen(names[i], BOOK_TEXT_MAX) + 1;
	for (uint32_t i = 0; i < n_shares; i++)
		size += strnlen(s->shares[i].metric, BOOK_TEXT_MAX) + 1;

	char *text = malloc(size), *at = text;

	if (!text)
		return -ENOMEM;

	struct alert_signal copy = *s;

	copy.region = copy_name(&at, s->region);
	copy.device_id = copy_name(&at, s->device_id);
	copy.type = copy_name(&at, s->type);
	copy.place = copy_name(&at, s->place);
	copy.metric = copy_name(&at, s->metric);
	copy.kind = copy_name(&at, s->kind);
	copy.n_shares = n_shares;
	for (uint32_t i = 0; i < n_shares; i++)
		copy.shares[i].metric = copy_name(&at, s->shares[i].metric);
	if (s->trace_id.len > 0)
		memcpy(at, s->trace_id.data, s->trace_id.len);
	copy.trace_id.data = at;
	free(e->text);
	e->text = text;
	e->s = copy;
	return 0;
}

static void moment_later(struct moment *m, const struct moment *other)
{
	if (other->clock_ns >= m->clock_ns)
		*m = *other;
}

static void event_end(struct book *b, struct event *e, const struct alert_signal *s)
{
	e->over = true;
	e->end = (struct moment){ s->clock_ns, s->event_ns, s->arrival_ns };
	b->changes++;
	if (e->fate == EVENT_MEMBER) {
		e->alert->n_lasting--;
		moment_later(&e->alert->quiet, &e->end);
	} else if (e->fate == EVENT_PAST) {
		event_forget(b, e);
	}
}

/* What lasts of a device when it tells of another onset: its end was not told. */
static void end_others(struct book *b, uint64_t device, const struct alert_signal *s)
{
	for (struct event *e = *event_bucket(b, device), *next; e; e = next) {
		next = e->chain;
		if (e->device == device && !e->over)
			event_end(b, e, s);
	}
}

static int event_add(struct book *b, uint64_t device, uint64_t identity, const struct alert_signal *s)
{
	if (b->counts.events == BOOK_EVENTS_MAX) {
		b->counts.refused++;
		return 0;
	}

	struct event *e = calloc(1, sizeof(*e)), **bucket = event_bucket(b, device);
	int r = e ? event_set(e, s) : -ENOMEM;

	if (r < 0) {
		free(e);
		return r;
	}
	e->device = device;
	e->identity = identity;
	e->since_ns = s->clock_ns;
	e->chain = *bucket;
	*bucket = e;
	undecided_add(b, e);
	b->counts.events++;
	b->changes++;
	return 0;
}

static bool is_called(const char *kind, int direction, const struct event *e)
{
	return !strcmp(kind, e->s.kind) && direction == e->s.direction;
}

/* An alert is called what its events have turned out to be, when they agree. */
static bool is_another_kind(const struct open_alert *a, const struct event *e)
{
	const struct event *other;

	if (is_called(a->told->kind, a->told->direction, e))
		return false;
	TAILQ_FOREACH(other, &a->members, link)
		if (!other->over && !is_called(other->s.kind, other->s.direction, e))
			return false;
	return true;
}

/* What was of a backlog and is told as of now may be an alert after all. */
static int event_retell(struct book *b, struct event *e, const struct alert_signal *s)
{
	bool stale = e->s.stale && s->stale;

	if (e->over)
		return 0;

	int r = event_set(e, s);

	if (r < 0)
		return r;
	e->s.stale = stale;
	e->matched = 0;
	b->changes++;
	if (e->fate == EVENT_PAST && !stale)
		undecided_add(b, e);
	if (e->fate != EVENT_MEMBER)
		return 0;
	if (s->score > e->alert->told->score)
		e->alert->worse = e;
	if (is_another_kind(e->alert, e))
		e->alert->renamed = e;
	return 0;
}

int book_noticed(struct book *b, const struct alert_signal *s)
{
	uint64_t device = device_of(s), identity = identity_of(device, s->onset_ns);
	struct event *e = event_find(b, identity);

	if (e)
		return event_retell(b, e, s);
	if (is_gone(b, identity))
		return 0;
	end_others(b, device, s);
	return event_add(b, device, identity, s);
}

void book_over(struct book *b, const struct alert_signal *s)
{
	struct event *e = event_find(b, identity_of(device_of(s), s->onset_ns));

	if (e && !e->over)
		event_end(b, e, s);
}

/* ------------------------------------------------------------------ alerts */

static struct open_alert *alert_find(struct book *b, uint64_t key, uint64_t id)
{
	struct open_alert *a = *alert_bucket(b, key);

	while (a && a->told->alert_id != id)
		a = a->chain;
	return a;
}

/* In place of the step before. */
static void alert_tell(struct open_alert *a, alert_record *r, uint64_t offset)
{
	if (a->told != a->published)
		record_free(a->told);
	a->told = r;
	if (alert_state_name((int)r->state)) {
		record_free(a->published);
		a->published = r;
		a->version = offset;
	}
	if (a->worse && a->worse->s.score <= r->score)
		a->worse = NULL;
	if (a->renamed && is_called(r->kind, r->direction, a->renamed))
		a->renamed = NULL;
}

static int alert_add(struct book *b, uint64_t key, alert_record *r, uint64_t offset, struct open_alert **ret)
{
	struct open_alert *a = calloc(1, sizeof(*a)), **bucket = alert_bucket(b, key);

	if (!a)
		return -ENOMEM;
	TAILQ_INIT(&a->members);
	a->key = key;
	a->told = a->published = r;
	a->version = offset;
	a->since_ns = r->clock_ns;
	a->quiet = (struct moment){ r->clock_ns, r->event_ns, r->arrival_ns };
	a->chain = *bucket;
	*bucket = a;
	TAILQ_INSERT_TAIL(&b->open, a, link);
	b->counts.open++;
	*ret = a;
	return 0;
}

static void alert_close(struct book *b, struct open_alert *a)
{
	struct open_alert **at = alert_bucket(b, a->key);
	struct event *e;

	while ((e = TAILQ_FIRST(&a->members)))
		event_forget(b, e);
	while (*at != a)
		at = &(*at)->chain;
	*at = a->chain;
	TAILQ_REMOVE(&b->open, a, link);
	b->counts.open--;
	if (a->published != a->told)
		record_free(a->published);
	record_free(a->told);
	free(a);
}

/* An event counts once a device: what is over of the same device makes room. */
static void alert_join(struct book *b, struct open_alert *a, struct event *e)
{
	for (struct event *other = *event_bucket(b, e->device), *next; other; other = next) {
		next = other->chain;
		if (other != e && other->device == e->device && other->fate == EVENT_MEMBER && other->alert == a)
			event_forget(b, other);
	}
	undecided_remove(b, e);
	e->fate = EVENT_MEMBER;
	e->alert = a;
	TAILQ_INSERT_TAIL(&a->members, e, link);
	a->n_lasting += !e->over;
	if (e->over)
		moment_later(&a->quiet, &e->end);
}

static void decide_event(struct book *b, struct open_alert *a, int state, struct event *e)
{
	if (state == ALERT_STATE(DISMISSED) || (state == ALERT_STATE(PAST) && e->over)) {
		event_forget(b, e);
	} else if (state == ALERT_STATE(PAST)) {
		undecided_remove(b, e);
		e->fate = EVENT_PAST;
	} else if (a) {
		alert_join(b, a, e);
	}
}

/* The events that a step decides about; those that are not known any more did not fit. */
static void decide_members(struct book *b, struct open_alert *a, alert_record *r)
{
	for (size_t i = 0; i < r->n_members; i++) {
		struct event *e = event_find(b, r->members[i]);

		if (e && e->fate == EVENT_UNDECIDED)
			decide_event(b, a, r->state, e);
	}
	free(r->members);
	r->members = NULL;
	r->n_members = 0;
}

static int fold_record(struct book *b, alert_record *r, uint64_t offset)
{
	uint64_t key = alert_key(r->rule, r->subject, r->metric);
	struct open_alert *a = alert_find(b, key, r->alert_id);

	if (r->state == ALERT_STATE(RAISED) && !a && b->counts.open < BOOK_ALERTS_MAX) {
		int result = alert_add(b, key, r, offset, &a);

		if (result < 0)
			return result;
	} else if (a && r->state != ALERT_STATE(CLEARED) && r->state != ALERT_STATE(PAST)) {
		alert_tell(a, r, offset);
	} else {
		b->last = r;
	}
	if (a)
		a->escalated |= r->state == ALERT_STATE(ESCALATED);
	decide_members(b, a, r);
	if (a && r->state == ALERT_STATE(CLEARED))
		alert_close(b, a);
	return 0;
}

int book_record(struct book *b, struct slice value, uint64_t offset, const alert_record **ret)
{
	alert_record *r = sluice__v1__alert_record__unpack(NULL, value.len, value.data);

	b->under_way -= b->under_way > 0;
	b->changes++;
	if (!r || r->state <= ALERT_STATE(NONE) || r->state > ALERT_STATE(DISMISSED)) {
		record_free(r);
		return -EBADMSG;
	}
	record_free(b->last);
	b->last = NULL;
	b->counts.steps[r->state]++;

	int result = fold_record(b, r, offset);

	if (result < 0)
		record_free(r);
	else
		*ret = alert_state_name((int)r->state) ? r : NULL;
	return result;
}

/* ------------------------------------------------------------------ looking at it */

struct book_counts book_counts(const struct book *b)
{
	return b->counts;
}

uint64_t book_changes(const struct book *b)
{
	return b->changes;
}

void book_each_open(const struct book *b, book_visit *visit, void *context)
{
	const struct open_alert *a;

	TAILQ_FOREACH(a, &b->open, link)
		visit(context, a->published, a->version);
}
