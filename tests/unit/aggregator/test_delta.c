#include <errno.h>

#include "aggregator/pages.h"
#include "tests/unit/aggregator/world.h"

typedef void spoil(Sluice__V1__ConsolidatedEnvelope *m);

/* A delta with one window of two buckets and a notice with one share, spoiled and read. */
static int read_spoiled(spoil *change, struct delta_why *ret_why)
{
	static int32_t buckets[2] = { 10, 20 };
	static uint64_t counts[2] = { 1, 2 };
	static uint8_t zeros[32];
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	Sluice__V1__ConsolidatedEnvelope m = SLUICE__V1__CONSOLIDATED_ENVELOPE__INIT;
	Sluice__V1__LogId id = SLUICE__V1__LOG_ID__INIT;
	Sluice__V1__Window window = SLUICE__V1__WINDOW__INIT, *windows[1] = { &window };
	Sluice__V1__Notice notice = SLUICE__V1__NOTICE__INIT, *notices[1] = { &notice };
	Sluice__V1__MetricShare share = SLUICE__V1__METRIC_SHARE__INIT, *shares[1] = { &share };
	struct delta d;

	buckets[0] = 10;
	buckets[1] = 20;
	counts[1] = 2;
	id.uuid = (ProtobufCBinaryData){ 16, zeros };
	window.start_ns = T0;
	window.type = window.metric = (char *)"x";
	window.count = 3;
	window.sum = (ProtobufCBinaryData){ 16, zeros };
	window.sum_squares = (ProtobufCBinaryData){ 32, zeros };
	window.max = 1;
	window.n_bucket = window.n_bucket_count = 2;
	window.bucket = buckets;
	window.bucket_count = counts;
	m.version = 1;
	m.region_id = (char *)"eu";
	m.log_id = &id;
	m.completeness = 1;
	m.n_windows = m.n_notices = 1;
	m.windows = windows;
	m.notices = notices;
	notice.n_shares = 1;
	notice.shares = shares;
	if (change)
		change(&m);
	sluice__v1__consolidated_envelope__pack(&m,
						buf_extend(&b, sluice__v1__consolidated_envelope__get_packed_size(&m)));

	int r = delta_read(&d, buf_slice(&b), ret_why);

	if (r == 0)
		delta_done(&d);
	return r;
}

static char long_name[DELTA_NAME_MAX + 2];

#define SPOIL(name, statement)                                       \
	static void name(Sluice__V1__ConsolidatedEnvelope *m)        \
	{                                                            \
		statement;                                           \
	}
SPOIL(other_version, m->version = 2)
SPOIL(no_region, m->region_id = (char *)"")
SPOIL(long_region, m->region_id = long_name)
SPOIL(large_shard, m->partition_key = 1024)
SPOIL(no_log, m->log_id = NULL)
SPOIL(short_uuid, m->log_id->uuid.len = 15)
SPOIL(over_complete, m->completeness = 1.5)
SPOIL(not_a_number, m->completeness = NAN)
SPOIL(no_minute, m->windows[0]->start_ns++)
SPOIL(long_type, m->windows[0]->type = long_name)
SPOIL(long_metric, m->windows[0]->metric = long_name)
SPOIL(short_sum, m->windows[0]->sum.len = 15)
SPOIL(short_squares, m->windows[0]->sum_squares.len = 31)
SPOIL(infinite_max, m->windows[0]->max = INFINITY)
SPOIL(min_above_max, m->windows[0]->min = 2)
SPOIL(fewer_counts, m->windows[0]->n_bucket_count = 1)
SPOIL(descending, m->windows[0]->bucket[1] = 5)
SPOIL(repeated, m->windows[0]->bucket[1] = 10)
SPOIL(far_bucket, m->windows[0]->bucket[1] = INT32_MAX)
SPOIL(far_negative, m->windows[0]->bucket[0] = INT32_MIN)
SPOIL(other_count, m->windows[0]->count = 4)
SPOIL(long_device, m->notices[0]->device_id = long_name)
SPOIL(no_value, m->notices[0]->value = NAN)
SPOIL(no_band, m->notices[0]->low = -INFINITY)
SPOIL(much_share, m->notices[0]->shares[0]->share = 1.5)
SPOIL(long_share, m->notices[0]->shares[0]->metric = long_name)

static void a_delta_that_does_not_hold_together_is_refused_with_a_sentence(void)
{
	static spoil *const spoils[] = { other_version, no_region,     long_region,   large_shard,  no_log,
					 short_uuid,	over_complete, not_a_number,  no_minute,    long_type,
					 long_metric,	short_sum,     short_squares, infinite_max, min_above_max,
					 fewer_counts,	descending,    repeated,      far_bucket,   far_negative,
					 other_count,	long_device,   no_value,	    no_band,	  much_share,
					 long_share };
	struct delta_why why;

	memset(long_name, 'x', sizeof(long_name) - 1);
	ASSERT_OK(read_spoiled(NULL, &why));
	for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
		*why.text = '\0';

		int r = read_spoiled(spoils[i], &why);

		if (r != -EBADMSG)
			printf("  spoil %zu: %d\n", i, r);
		CU_ASSERT_EQUAL(r, -EBADMSG);
		CU_ASSERT(strlen(why.text) > 10);
	}
}

static void the_last_minute_of_int64_ends_where_int64_does(void)
{
	CU_ASSERT_EQUAL(minute_end_ns(0), NS_PER_MIN);
	CU_ASSERT_EQUAL(minute_end_ns(INT64_MAX - 5), INT64_MAX);
	CU_ASSERT_EQUAL(minute_end_ns(INT64_MIN), INT64_MIN + NS_PER_MIN);
}

static void page_is(struct page *p, const char *expected)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;

	CU_ASSERT_EQUAL(page_serve(p, "/", &body), 200);
	CU_ASSERT_STRING_EQUAL(buf_cstr(&body), expected);
}

static void a_page_keeps_the_newest_line_of_each_key_and_no_more_than_its_size(void)
{
	CLEANUP(page_done) struct page p;

	ASSERT_OK(page_init(&p, 3));
	page_is(&p, "[]\n");
	page_put(&p, 1, SLICE_STR("{1}"), false);
	page_put(&p, 2, SLICE_STR("{2}"), false);
	page_put(&p, 1, SLICE_STR("{1b}"), false);
	page_is(&p, "[\n{1b},\n{2}]\n");
	page_put(&p, 3, SLICE_STR("{3}"), false);
	page_put(&p, 4, SLICE_STR("{4}"), false);
	page_is(&p, "[\n{4},\n{3},\n{1b}]\n");
}

static void what_is_open_stays_on_a_page_while_anything_else_can_go(void)
{
	CLEANUP(page_done) struct page p;

	ASSERT_OK(page_init(&p, 2));
	page_put(&p, 1, SLICE_STR("{1}"), true);
	page_put(&p, 2, SLICE_STR("{2}"), false);
	page_put(&p, 3, SLICE_STR("{3}"), true);
	page_is(&p, "[\n{3},\n{1}]\n");
	page_put(&p, 4, SLICE_STR("{4}"), false);
	page_is(&p, "[\n{4},\n{3}]\n");
	page_put(&p, 3, SLICE_STR("{3b}"), false);
	page_put(&p, 5, SLICE_STR("{5}"), false);
	page_is(&p, "[\n{5},\n{3b}]\n");
}

TESTS("delta", T(a_delta_that_does_not_hold_together_is_refused_with_a_sentence),
      T(the_last_minute_of_int64_ends_where_int64_does),
      T(a_page_keeps_the_newest_line_of_each_key_and_no_more_than_its_size),
      T(what_is_open_stays_on_a_page_while_anything_else_can_go))
