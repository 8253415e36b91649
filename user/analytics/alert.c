#include "analytics/alert.h"

#include <string.h>

#include "base/buf.h"
#include "base/hash.h"

int alert_id(const char *rule, const char *subject, const char *metric, int64_t onset_ns, uint64_t *ret)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	buf_append(&b, rule, strlen(rule) + 1);
	buf_append(&b, subject, strlen(subject) + 1);
	buf_append(&b, metric, strlen(metric) + 1);
	buf_append_u64(&b, (uint64_t)onset_ns);
	if (buf_error(&b) < 0)
		return buf_error(&b);
	*ret = hash_device(b.data, b.len);
	return 0;
}
