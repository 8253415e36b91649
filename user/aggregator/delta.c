#include "aggregator/delta.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

typedef Sluice__V1__Window window_message;
typedef Sluice__V1__ConsolidatedEnvelope delta_message;

_Static_assert(sizeof(int128) == 16 && sizeof(struct int256) == 32, "sums travel as their bytes, little-endian");

int64_t minute_end_ns(int64_t start_ns)
{
	return start_ns > INT64_MAX - NS_PER_MIN ? INT64_MAX : start_ns + NS_PER_MIN;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct delta_why *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EBADMSG;
}

static bool name_fits(const char *name)
{
	return strnlen(name, DELTA_NAME_MAX + 1) <= DELTA_NAME_MAX;
}

static int read_histogram(struct histogram *ret, const window_message *m, struct delta_why *why)
{
	if (m->n_bucket != m->n_bucket_count)
		return refuse(why, "a histogram has %zu buckets and %zu counts", m->n_bucket, m->n_bucket_count);
	for (size_t i = 0; i < m->n_bucket; i++) {
		if (abs(CLAMP(m->bucket[i], -HISTOGRAM_INDEX_MAX - 1, HISTOGRAM_INDEX_MAX + 1)) > HISTOGRAM_INDEX_MAX)
			return refuse(why, "a histogram has a bucket %" PRId32, m->bucket[i]);
		if ((i > 0 && m->bucket[i] <= m->bucket[i - 1]) || m->bucket_count[i] == 0)
			return refuse(why, "a histogram's buckets do not ascend or are empty");

		int r = histogram_add(ret, m->bucket[i], m->bucket_count[i]);

		if (r < 0)
			return r;
	}
	if (ret->count != m->count)
		return refuse(why, "a histogram counts %" PRIu64 " of %" PRIu64 " values", ret->count, m->count);
	return 0;
}

static int read_window(struct delta_window *ret, const window_message *m, struct delta_why *why)
{
	struct window_values *v = &ret->values;

	if (window_start_ns(m->start_ns) != m->start_ns)
		return refuse(why, "a window begins at %" PRId64 ", which is not a minute", m->start_ns);
	if (!name_fits(m->type) || !name_fits(m->metric))
		return refuse(why, "a type or metric is longer than %d bytes", DELTA_NAME_MAX);
	if (m->sum.len != sizeof(v->sum) || m->sum_squares.len != sizeof(v->sum_squares))
		return refuse(why, "sums of %zu and %zu bytes instead of %zu and %zu", m->sum.len, m->sum_squares.len,
			      sizeof(v->sum), sizeof(v->sum_squares));
	if (m->count > 0 && (!isfinite(m->min) || !isfinite(m->max) || m->min > m->max))
		return refuse(why, "a window's min and max are no range");
	ret->start_ns = m->start_ns;
	ret->type = m->type;
	ret->metric = m->metric;
	v->count = m->count;
	v->devices = m->devices;
	memcpy(&v->sum, m->sum.data, sizeof(v->sum));
	memcpy(&v->sum_squares, m->sum_squares.data, sizeof(v->sum_squares));
	v->min = m->count > 0 ? m->min : 0;
	v->max = m->count > 0 ? m->max : 0;
	v->not_finite = m->not_finite;
	v->out_of_range = m->out_of_range;
	v->late = m->late;
	return read_histogram(&v->histogram, m, why);
}

static int check_notice(const Sluice__V1__Notice *n, struct delta_why *why)
{
	if (!name_fits(n->rule) || !name_fits(n->device_id) || !name_fits(n->type) || !name_fits(n->place) ||
	    !name_fits(n->metric))
		return refuse(why, "a notice has a name longer than %d bytes", DELTA_NAME_MAX);
	if (!isfinite(n->value) || !isfinite(n->expected) || !isfinite(n->score) || !isfinite(n->low) ||
	    !isfinite(n->high))
		return refuse(why, "a notice's value, expected, low, high or score is not finite");
	for (size_t i = 0; i < n->n_shares; i++)
		if (!name_fits(n->shares[i]->metric) || !(n->shares[i]->share >= 0 && n->shares[i]->share <= 1))
			return refuse(why, "a notice's share of a metric is not in 0 to 1");
	return 0;
}

static int check_head(const delta_message *m, struct delta_why *why)
{
	size_t region_len = strnlen(m->region_id, DELTA_REGION_MAX + 1);

	if (m->version != DELTA_VERSION)
		return refuse(why, "version %" PRIu32 " instead of %d: an aggregator of that version is needed",
			      m->version, DELTA_VERSION);
	if (region_len == 0 || region_len > DELTA_REGION_MAX)
		return refuse(why, "region_id has not 1 to %d bytes", DELTA_REGION_MAX);
	if (m->partition_key >= DELTA_SHARDS_MAX)
		return refuse(why, "partition_key %" PRIu32 " is not below %d", m->partition_key, DELTA_SHARDS_MAX);
	if (!m->log_id || m->log_id->uuid.len != sizeof(((struct log_id *)0)->uuid))
		return refuse(why, "log_id is missing or has no uuid of 16 bytes");
	if (!(m->completeness >= 0 && m->completeness <= 1))
		return refuse(why, "completeness is not in 0 to 1");
	return 0;
}

static int read_all(struct delta *d, struct delta_why *why)
{
	const delta_message *m = d->message;
	int r = check_head(m, why);

	if (r < 0)
		return r;
	d->log.generation = m->log_id->generation;
	memcpy(d->log.uuid, m->log_id->uuid.data, sizeof(d->log.uuid));
	d->windows = calloc(MAX(m->n_windows, (size_t)1), sizeof(*d->windows));
	if (!d->windows)
		return -ENOMEM;
	d->n_windows = m->n_windows;
	for (size_t i = 0; i < m->n_windows && r == 0; i++)
		r = read_window(&d->windows[i], m->windows[i], why);
	for (size_t i = 0; i < m->n_notices && r == 0; i++)
		r = check_notice(m->notices[i], why);
	return r;
}

int delta_read(struct delta *ret, struct slice bytes, struct delta_why *ret_why)
{
	struct delta d = { .message = sluice__v1__consolidated_envelope__unpack(NULL, bytes.len, bytes.data) };

	if (!d.message)
		return refuse(ret_why, "not a ConsolidatedEnvelope");

	int r = read_all(&d, ret_why);

	if (r < 0)
		delta_done(&d);
	else
		*ret = d;
	return r;
}

void delta_done(struct delta *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_windows; i++)
		window_values_done(&d->windows[i].values);
	free(d->windows);
	if (d->message)
		sluice__v1__consolidated_envelope__free_unpacked(d->message, NULL);
	memset(d, 0, sizeof(*d));
}
