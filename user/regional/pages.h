/* Paging in: which records of region.log hold readings of a minute, and what they hold.
 *
 * The index has 32 bytes for each run of records that hold readings of a minute, in memory, filled by the fold: live
 * telemetry has one run a minute and shard, whatever its rate.  It reaches back as far as PAGES_RUNS_MAX runs go (a
 * year of live telemetry): floor.  Older questions are not answered.
 *
 * A page is a minute of a shard, read from the log into an exact set of (device, timestamp, hash).  The last few
 * pages are kept, and what is accepted for their minutes is added, so that a page stays complete.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PAGES_RUNS_MAX (1u << 19) /* of a shard */
#define PAGES_RUN_GAP 16          /* offsets that are rather read over than begin another run */

struct page_run {
	uint64_t first, last; /* offsets */
};

/* ------------------------------------------------------------------ the index of a shard */

struct page_index {
	struct minute_run *runs;
	uint32_t n, cap;
	uint32_t free;      /* list of runs that were given back, + 1 */
	uint32_t *heads;    /* run + 1, by the hash of its minute */
	uint32_t n_heads;   /* 0 or a power of two */
	uint32_t used;
	int64_t floor;      /* the first minute that is complete */
	uint64_t unbroken;  /* from here to the last record all offsets were folded: none between is void */
	uint64_t next;
};

void page_index_init(struct page_index *ix);
void page_index_done(struct page_index *ix);
/* The minute that a time lies in, counted from 1970. */
int64_t page_minute(int64_t timestamp_ns);
/* Every folded record, in order, before its minutes are added: a run never holds a void record. */
void page_index_follow(struct page_index *ix, uint64_t offset);
/* Offsets of a minute come in ascending order; a repeat of the last changes nothing.  0 or -ENOMEM. */
int page_index_add(struct page_index *ix, int64_t minute, uint64_t offset);
/* Gives back what lies before this minute. */
void page_index_raise(struct page_index *ix, int64_t floor);
/* The runs of a minute, ascending and apart, into memory that the caller frees.  Both ends of a run hold readings of
 * the minute, what lies between them may. 0 or -ENOMEM. */
int page_index_runs(const struct page_index *ix, int64_t minute, struct page_run **ret, uint32_t *ret_n);

/* ------------------------------------------------------------------ pages in memory */

struct page_entry {
	int64_t timestamp_ns;
	uint64_t hash;
	uint32_t device, used;
};

struct page {
	uint32_t shard;
	int64_t minute;
	struct page_entry *slots;
	uint32_t mask, n;
	uint64_t asked; /* when, by the cache's count */
};

#define PAGES_KEPT 16
#define PAGES_BYTES_MAX (256u << 20)

struct page_cache {
	struct page list[PAGES_KEPT];
	uint32_t n;
	uint64_t clock;
};

void page_cache_done(struct page_cache *c);
struct page *page_cache_find(struct page_cache *c, uint32_t shard, int64_t minute);
/* An empty page, in the place of the one that was asked longest ago. */
struct page *page_cache_new(struct page_cache *c, uint32_t shard, int64_t minute);
void page_cache_drop(struct page_cache *c, struct page *page);
/* 0 or -ENOMEM. */
int page_add(struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash);
bool page_has(const struct page *p, uint32_t device, int64_t timestamp_ns, uint64_t hash);
