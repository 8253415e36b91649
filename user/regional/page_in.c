/* Asking the log.
 *
 * A page is complete: it has every reading that was accepted for its minute, because it is made of
 *   - the runs of records among which the fold has indexed the minute's (regional/pages.h),
 *   - the records that are decided and not folded yet (the shard's flights), and
 *   - whatever is accepted from then on (page_note()).
 * Where a record cannot be had any more (trimmed, damaged), the minute has no page and its questions no answer.
 *
 * It is done while the shard waits.  One pass over each run; what else is there (heartbeats, claims, other minutes)
 * is passed over; void records are in no run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "regional/region.h"

#define READ_MAX 64
#define ANSWER_NS (10 * NS_PER_S)

static int add_readings(struct shard *s, struct page *page, const struct flight *f)
{
	const struct block *b = &f->block;
	int r = 0;

	for (uint32_t i = 0; !f->replay && i < b->count && r == 0; i++)
		if (!(f->flags[i] & (REGION_DUPLICATE | REGION_UNKNOWN)) && page_minute(b->timestamp_ns[i]) == page->minute)
			r = page_add(page, f->device[b->device[i]], b->timestamp_ns[i], b->hash[i]);
	return r;
}

static int add_record(struct shard *s, struct page *page, const struct stream_record *record)
{
	struct flight *f = s->region->past;
	int r = decode_data(s, f, record->value, &s->region->value);

	/* It could be read when it was folded. */
	return r == -EBADMSG ? -ENODATA : r < 0 ? r : add_readings(s, page, f);
}

static int open_back(struct region *r)
{
	struct stream_options options = { .reader = true, .development = r->settings->streams_development };
	struct stream_error error = { "" };
	int e = r->back ? 0 : stream_open(&r->back, r->settings->streams_region_log, &options, &error);

	if (e < 0)
		log_warn("region.log cannot be read back", F_ERR(e), F_STR("reason", error.text));
	return e;
}

static int read_run(struct shard *s, struct page *page, const struct page_run *run)
{
	struct stream_record records[READ_MAX];
	int64_t deadline_ns = clock_mono_ns() + ANSWER_NS;
	uint64_t next = run->first;
	int r = stream_seek(s->region->back, s->number, run->first);

	while (r == 0 && next <= run->last) {
		uint32_t lost;
		int got = stream_read(s->region->back, records, ARRAY_SIZE(records), deadline_ns, &lost);

		if (got <= 0)
			return got == -ERANGE ? -ENODATA : got < 0 ? got : -ETIMEDOUT;
		for (int i = 0; i < got && next <= run->last && r == 0; i++) {
			/* The ends of a run were folded: what is not there any more is lost. */
			if (records[i].offset > run->last || (next == run->first && records[i].offset != run->first))
				return -ENODATA;
			next = records[i].offset + 1;
			r = records[i].kind == OWNED_DATA ? add_record(s, page, &records[i]) : 0;
		}
	}
	return r;
}

static int read_minute(struct shard *s, struct page *page)
{
	CLEANUP_FREE struct page_run *runs = NULL;
	uint32_t n = 0;
	int r = page_index_runs(&s->pages, page->minute, &runs, &n);

	if (r == 0 && n > 0)
		r = open_back(s->region);
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = read_run(s, page, &runs[i]);
	if (s->region->back)
		(void)stream_leave(s->region->back, s->number);
	for (const struct flight *f = s->first; r == 0 && f; f = f->next)
		if (f->kind == OWNED_DATA)
			r = add_readings(s, page, f);
	return r;
}

int page_ask(struct shard *s, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	struct region *region = s->region;
	int64_t minute = page_minute(timestamp_ns);
	struct page *page = page_cache_find(&region->pages, s->number, minute);
	int r = 0;

	if (minute < s->pages.floor)
		return -ENODATA;
	if (!page) {
		page = page_cache_new(&region->pages, s->number, minute);
		region->page_ins++;
		r = read_minute(s, page);
	}
	if (r < 0) {
		page_cache_drop(&region->pages, page);
		return r;
	}
	return page_has(page, device, timestamp_ns, hash);
}

int page_note(struct shard *s, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	struct page_cache *c = &s->region->pages;
	int64_t minute;

	if (c->n == 0)
		return 0;
	minute = page_minute(timestamp_ns);
	for (uint32_t i = 0; i < c->n; i++)
		if (c->list[i].minute == minute && c->list[i].shard == s->number)
			return page_add(&c->list[i], device, timestamp_ns, hash);
	return 0;
}
