/* The JSON of global.windows and global.alerts: fixed order of keys, no blanks (CONTRACTS, Windows).
 *
 * A window's canonical bytes leave out version, status, as_of and decided_ns.
 */
#pragma once

#include "aggregator/state.h"

/* 0 or -ENOMEM. */
int render_window(struct buf *ret, const struct publication *p);
/* A step of an alert: a function of its record alone. */
int render_alert(struct buf *ret, const alert_record *r, uint64_t version);

/* "early", "partial", "final", "corrected". */
extern const char *const render_statuses[4];
