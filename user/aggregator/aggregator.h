/* sluice-aggregator: the regions' deltas come in, windows and alerts of the world go out.  See DESIGN section 7.
 *
 * One thread does the work (session.h); each region's stream has a reader of its own (source.h), the admin port
 * another.
 */
#pragma once

#include "aggregator/session.h"
#include "observe/admin.h"

struct aggregator;

/* Starts the readers and the admin port.  0; negative errno with a sentence. settings must outlive it. */
int aggregator_new(struct aggregator **ret, const struct settings *settings, struct stream_error *ret_error);
/* Until a stop is requested (base/stop.h): claims, works, and after any failure claims again. */
void aggregator_run(struct aggregator *a);
/* False when a reader is still inside its backend: the memory must stay, the process may end. */
bool aggregator_free(struct aggregator *a);
