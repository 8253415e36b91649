/* Time, always int64 nanoseconds: *_ns.
 *
 * clock_wall_ns() is for stamps that leave the process, clock_mono_ns() for durations and deadlines (the same
 * clock as the kernel's bpf_ktime_get_ns()).  A deadline is an absolute monotonic time; 0 = do not wait,
 * CLOCK_FOREVER = no deadline.
 */
#pragma once

#include <stdint.h>

#define CLOCK_FOREVER INT64_MAX

int64_t clock_wall_ns(void);
int64_t clock_mono_ns(void);
/* CPU time that this process has used, all threads. */
int64_t clock_cpu_ns(void);

/* Milliseconds left until a deadline for poll(2): rounded up, 0 when it has passed, -1 for CLOCK_FOREVER. */
int clock_poll_ms(int64_t deadline_ns);

/* "2026-11-24T16:05:09.123456789Z" into a buffer of CLOCK_ISO_LEN bytes. */
#define CLOCK_ISO_LEN 31
void clock_format_iso(int64_t wall_ns, char ret[static CLOCK_ISO_LEN]);
