/* From a claim of global.log to its loss: consumes the regions' deltas, decides about minutes and alerts, publishes what
 * is confirmed.
 *
 *     deltas --DATA--> global.log --confirmed--> fold --DECIDE--> global.log --confirmed--> fold --> global.windows
 *                                                book --ALERT---> global.log --confirmed--> book --> global.alerts
 *                                                                                                --> receivers --SENT-->
 *
 * A session that fails is freed and a new one is opened: all that it knew stands in the log.
 *
 * Threads: one.
 */
#pragma once

#include "aggregator/decide.h"
#include "aggregator/desk.h"
#include "aggregator/output.h"
#include "aggregator/pages.h"
#include "aggregator/rules_file.h"
#include "aggregator/source.h"
#include "config/config.h"
#include "observe/metrics.h"

/* A configured region, for as long as the process lives. */
struct member {
	const char *name;
	struct source *source;
	/* Since it was told where to begin. */
	bool reading;
	struct log_id id;
	uint32_t partitions;
	int64_t *heard_ns; /* monotonic, one a partition */
	int64_t since_ns;  /* when the session began to listen */
};

struct session_setup {
	const struct settings *settings;
	struct member *members; /* in the order of names */
	uint32_t n_members;
	struct metrics *metrics;
	struct page *windows, *alerts;
	struct rules_file *rules;
	struct desk *desk;
	int wake_fd;
	const char *owner;
};

struct session;

/* Opens the projections, claims the log and folds it.  0; -EBUSY when another process owns it; negative errno with a
 * sentence. */
int session_open(struct session **ret, const struct session_setup *setup, struct stream_error *ret_error);
void session_free(struct session *s);

/* One round: waits for something to do until the deadline at most, and does it.  0; -ESTALE when another aggregator
 * has claimed the log; negative errno: the session is over, ret_error says what failed. */
int session_step(struct session *s, int64_t deadline_ns, struct stream_error *ret_error);
/* At the end: waits for what receivers are answering, and for confirmations of what was written. */
void session_settle(struct session *s, int64_t deadline_ns);

const struct state *session_state(const struct session *s);
