/* An instant, as people and programs write it, in nanoseconds since the epoch.
 *
 *     1392388020   1392388020.25   1.39238802e9     since the epoch, in seconds below 10^11, milliseconds below 10^14,
 *     1392388020000   1392388020000000000           microseconds below 10^17, nanoseconds from there: each of the four
 *                                                   then means 1973 to 5138, and what is smaller is seconds
 *     2014-02-14   2014-02-14 14:27   2014-02-14T14:27:00.123456789Z   2014/02/14 14:27:00,5 +01:00
 *     20140214T142700-0330                          ISO 8601, extended or basic; without an offset: UTC
 *
 * Exact: no double lies between.  Digits beyond the nanosecond are cut off.  60 as a second is the next minute's
 * first, 24:00 the next day's.
 */
#pragma once

#include <stdint.h>

#include "base/macros.h"

/* Blanks around it are ignored.  0; -EINVAL: not a time; -ERANGE: not within the years 1678 to 2261. */
int instant_parse(struct slice text, int64_t *ret_ns);
