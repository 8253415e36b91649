/* Shared by the book's two halves: book.c folds, book_propose.c proposes. */
#pragma once

#include <sys/queue.h>

#include "alerts/book.h"

#define BOOK_BUCKETS 16384 /* a power of two */

/* When a reading was. */
struct moment {
	int64_t clock_ns; /* in the time that alerts go by */
	int64_t event_ns, arrival_ns;
};

struct event {
	TAILQ_ENTRY(event) link;   /* undecided: in the order of noticing; members of an alert: of joining */
	struct event *chain;       /* in its bucket, by device */
	uint64_t identity, device; /* hashes: device_id in its region, or the series; with the onset */
	struct alert_signal s;     /* as last told; its strings stand in text */
	char *text;
	enum { EVENT_UNDECIDED, EVENT_MEMBER, EVENT_PAST } fate;
	struct open_alert *alert; /* a member's */
	bool over;
	int64_t since_ns; /* clock_ns when it was first told */
	struct moment end;
	/* The proposer's own, not part of the fold. */
	uint64_t matched; /* serial of the rules that it was matched against */
	const struct alert_rule *rule;
	struct draft *draft; /* that it is part of, while a proposal is made */
	struct event *drafted; /* the next one of that draft */
};
TAILQ_HEAD(events, event);

struct open_alert {
	TAILQ_ENTRY(open_alert) link;
	struct open_alert *chain; /* in its bucket, by key */
	uint64_t key;
	alert_record *told;      /* its newest step */
	alert_record *published; /* its newest step but joined ones: told itself, or older */
	uint64_t version;        /* of the published one */
	int64_t since_ns;        /* when it was raised */
	struct events members;
	uint32_t n_lasting;        /* members that are not over */
	struct moment quiet;       /* since when nothing happened, if none lasts */
	const struct event *worse;   /* a member that has become worse than what was told; or NULL */
	const struct event *renamed; /* one of the kind that all that last have now, and that was not told; or NULL */
	bool escalated;
	struct draft *draft; /* the proposer's own: while a proposal is made */
};
TAILQ_HEAD(open_alerts, open_alert);

/* Identities of events that were forgotten: a set of four each, the oldest goes. */
#define BOOK_GONE_SETS 16384

struct book {
	struct events undecided;
	struct open_alerts open;
	struct event *events[BOOK_BUCKETS];
	struct open_alert *alerts[BOOK_BUCKETS];
	uint64_t gone[BOOK_GONE_SETS][4];
	struct book_counts counts;
	uint64_t changes;
	alert_record *last; /* a step whose alert is not open */
	/* The proposer's own, not part of the fold. */
	uint32_t under_way; /* records appended and not folded */
	struct proposal *proposal;
};

struct event **event_bucket(struct book *b, uint64_t device);
struct open_alert **alert_bucket(struct book *b, uint64_t key);
/* Of an alert that is, or would be, known by these. */
uint64_t alert_key(const char *rule, const char *subject, const char *metric);
struct proposal *proposal_new(void);
void proposal_free(struct proposal *p);
