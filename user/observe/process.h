/* What the kernel says about this process (/proc/self). Internal to user/observe. */
#pragma once

#include <stdint.h>

/* Both 0 where /proc is not mounted. */
int64_t process_resident_bytes(void);
/* Wall-clock time of the process's start. */
int64_t process_start_ns(void);
