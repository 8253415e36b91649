/* Clean stop of a program: SIGTERM and SIGINT become a readable descriptor.
 *
 * stop_setup() runs before any thread starts, so that every thread has the signals blocked.  Loops poll stop_fd()
 * beside their own descriptors, or ask stop_requested() between steps.  A second signal ends the process at once.
 */
#pragma once

#include <stdbool.h>

/* 0 or negative errno.  Also ignores SIGPIPE. */
int stop_setup(void);
/* Readable from the request on, for every poller; never read from it. */
int stop_fd(void);
bool stop_requested(void);
/* As if a signal had come: for a thread that met a fatal error. */
void stop_request(void);
