/* The name of an alert: the same anomaly has the same id wherever and however often it is told, so that repeating it is
 * harmless.
 */
#pragma once

#include <stdint.h>

/* SipHash-2-4-64 under the published key over rule, subject (device_id; a window's device type) and metric, a zero
 * byte behind each, and the onset's eight bytes, little-endian.  People see 16 hex digits.  0 or -ENOMEM. */
int alert_id(const char *rule, const char *subject, const char *metric, int64_t onset_ns, uint64_t *ret);
