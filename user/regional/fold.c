/* The fold: what a confirmed record of region.log does to the second half of its shard; and, for records of the past,
 * to the first half too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "proto/envelope.pb-c.h"
#include "regional/flights.h"
#include "regional/region.h"

/* ------------------------------------------------------------------ life of a shard */

/* A shard's share, the same whichever process has it. */
static uint32_t detectors_max(const struct settings *set)
{
	return (uint32_t)MIN(set->regional_detector_bytes / set->streams_partitions / (int64_t)sizeof(struct watched),
			     (int64_t)UINT32_MAX / 2);
}

int shard_init(struct shard *s, struct region *region, uint32_t number)
{
	const struct settings *set = region->settings;
	bool event = set->streams_clock == CLOCK_EVENT;
	int64_t lateness_ns = set->regional_allowed_lateness_ms * NS_PER_MS;

	*s = (struct shard){ .region = region,
			     .number = number,
			     .dropped_until_ns = INT64_MIN,
			     .told_watermark_ns = WATERMARK_NONE,
			     .resumed_ns = INT64_MIN };
	detectors_init(&s->detectors, detectors_max(set));
	devices_init(&s->devices, number, region->partitions);
	dedup_init(&s->dedup, set->regional_correction_horizon_ms * NS_PER_MS);
	gateways_init(&s->decided, event, lateness_ns);
	gateways_init(&s->folded, event, lateness_ns);
	page_index_init(&s->pages);
	return 0;
}

void shard_done(struct shard *s)
{
	for (uint32_t i = 0; i < s->n_heard; i++)
		buf_done(&s->heard[i].waiting);
	free(s->heard);
	free(s->local_of);
	words_done(&s->words);
	devices_done(&s->devices);
	dedup_done(&s->dedup);
	ordinals_done(&s->ordinals);
	gateways_done(&s->decided);
	gateways_done(&s->folded);
	page_index_done(&s->pages);
	windows_done(&s->windows);
	detectors_done(&s->detectors);
	notices_done(&s->notices);
}

/* ------------------------------------------------------------------ DATA */

static int fold_reading(struct shard *s, const struct flight *f, uint32_t i, int64_t now_ns)
{
	const struct block *b = &f->block;
	uint8_t flags = f->flags[i];
	uint32_t set = f->set[b->set[i]];
	int r;

	if (flags & REGION_DUPLICATE) {
		s->totals.duplicates++;
		return 0;
	}
	if (flags & REGION_OLD) {
		s->totals.old++;
		return 0;
	}
	if (flags & REGION_AHEAD) {
		s->totals.ahead++;
		return 0;
	}
	if (flags & REGION_LATE)
		s->totals.late++;
	else
		s->totals.unique++;
	if (set == WINDOW_SET_NONE) {
		s->totals.unwindowed++;
		return 0;
	}
	r = windows_add(&s->windows, b->timestamp_ns[i], f->type[b->device[i]], set, f->device[b->device[i]],
			b->values + b->value_at[i], flags & REGION_LATE);
	if (r == -ENOSPC) {
		s->totals.unwindowed++;
		r = 0;
	}
	if (r == 0 && flags & REGION_LATE)
		silence_heard_late(s, f, i, now_ns);
	return r < 0 || (flags & REGION_LATE) ? r : event_fold(s, f, i, set, now_ns);
}

static int find_sets(struct shard *s, struct flight *f)
{
	for (uint32_t i = 0; i < f->block.n_sets; i++) {
		int r = windows_set(&s->windows, &s->words, &f->block.sets[i], &f->set[i]);

		if (r == -ENOSPC)
			f->set[i] = WINDOW_SET_NONE;
		else if (r < 0)
			return r;
	}
	return 0;
}

/* The minutes of what was accepted, for paging in. */
static int index_minutes(struct shard *s, const struct flight *f, uint64_t offset)
{
	const struct block *b = &f->block;
	int64_t last = INT64_MIN;
	int r = 0;

	for (uint32_t i = 0; i < b->count && r == 0; i++) {
		int64_t minute = page_minute(b->timestamp_ns[i]);

		if (minute == last || (f->flags[i] & (REGION_DUPLICATE | REGION_UNKNOWN)))
			continue;
		last = minute;
		r = page_index_add(&s->pages, minute, offset);
	}
	return r;
}

static int fold_readings(struct shard *s, struct flight *f, uint64_t offset)
{
	int64_t now_ns = clock_wall_ns();
	int r = find_sets(s, f);

	if (f->replay) {
		s->totals.duplicates += f->block.count;
		s->totals.replays++;
		return r;
	}
	for (uint32_t i = 0; i < f->block.count && r == 0; i++)
		r = fold_reading(s, f, i, now_ns);
	if (s->oldest_change_ns == 0 && s->windows.n_changed > 0)
		s->oldest_change_ns = now_ns;
	return r < 0 ? r : index_minutes(s, f, offset);
}

static int fold_data(struct shard *s, struct flight *f, uint64_t offset)
{
	const struct envelope *e = &f->envelope;
	int64_t before_ns = s->folded.watermark_ns;
	int r = f->block.count > 0 ? fold_readings(s, f, offset) : 0;

	if (decode_is_heartbeat(f))
		s->totals.heartbeats++;
	else
		s->totals.envelopes++;
	memcpy(s->trace_id, e->trace.trace_id, sizeof(s->trace_id));
	gateways_hear(&s->folded, f->gateway, e->spool_id, e->lane == ENVELOPE_LIVE, e->clock_ns, e->idle);
	s->heard_ns = e->cut_ns;
	if (r == 0)
		silence_look(s, before_ns, clock_wall_ns());
	return r;
}

static void fold_dark(struct shard *s, uint32_t gateway, bool dark)
{
	int64_t before_ns = s->folded.watermark_ns;

	gateways_set_dark(&s->folded, gateway, dark);
	silence_look(s, before_ns, clock_wall_ns());
}

/* Live readings of one's own: how long they took from the gateway to here. */
static void observe_latency(struct region *region, const struct flight *f)
{
	const struct block *b = &f->block;
	int64_t now_ns = clock_wall_ns();

	for (uint32_t i = 0, n; f->envelope.lane == ENVELOPE_LIVE && i < b->count; i += n) {
		for (n = 1; i + n < b->count && b->arrival_ns[i + n] == b->arrival_ns[i]; n++)
			;
		metric_observe(region->metrics, RM_EDGE_TO_REGION, now_ns - b->arrival_ns[i], n);
	}
}

/* ------------------------------------------------------------------ the past */

/* History up to told_end needs no deltas: another process has told them.  What was folded and not told stays, also
 * behind the horizon, until it is. */
static int drop_behind_horizon(struct shard *s, uint64_t offset)
{
	int64_t floor_ns = shard_floor_ns(s);

	if (floor_ns == INT64_MIN || floor_ns < s->dropped_until_ns)
		return 0;
	s->dropped_until_ns = window_start_ns(floor_ns) + NS_PER_MIN;
	if (offset < s->told_end || s->windows.n > WINDOWS_MAX / 2)
		windows_mark(&s->windows, false);
	return windows_drop(&s->windows, floor_ns);
}

static int malformed(struct shard *s, const struct owned_record *record)
{
	s->totals.malformed++;
	log_warn("a record of region.log cannot be read and is passed over", F_U64("partition", record->partition),
		 F_U64("offset", record->offset), F_U64("kind", record->kind));
	return 0;
}

static int fold_past_data(struct shard *s, const struct owned_record *record)
{
	struct region *region = s->region;
	struct flight *f = region->past;
	int r = decode_data(s, f, record->value, &region->memory);

	if (r == -EBADMSG || r == -ENOSPC)
		return malformed(s, record);
	if (s->told_end > 0 && record->offset >= s->told_end && s->folded_end <= s->told_end)
		windows_mark(&s->windows, false); /* all before this one was told */
	if (r == 0)
		r = decide_history(s, f);
	if (r == 0)
		r = fold_data(s, f, record->offset);
	return r < 0 ? r : drop_behind_horizon(s, record->offset);
}

static int fold_past_dark(struct shard *s, const struct owned_record *record)
{
	Sluice__V1__GatewayDark *dark = sluice__v1__gateway_dark__unpack(NULL, record->value.len, record->value.data);
	uint32_t gateway;
	int r;

	if (!dark)
		return malformed(s, record);

	size_t len = strlen(dark->gateway_id);

	if (len == 0 || len > GATEWAY_ID_MAX) {
		sluice__v1__gateway_dark__free_unpacked(dark, NULL);
		return malformed(s, record);
	}
	r = gateways_add(&s->decided, SLICE(dark->gateway_id, len), &gateway);
	if (r == 0)
		r = gateways_add(&s->folded, SLICE(dark->gateway_id, len), &gateway);
	if (r == 0) {
		gateways_set_dark(&s->decided, gateway, dark->dark);
		fold_dark(s, gateway, dark->dark);
	}
	sluice__v1__gateway_dark__free_unpacked(dark, NULL);
	return r;
}

static int fold_past(struct shard *s, const struct owned_record *record)
{
	switch (record->kind) {
	case OWNED_DATA:
		return fold_past_data(s, record);
	case OWNED_DARK:
		return fold_past_dark(s, record);
	case OWNED_ASIDE:
		s->totals.asides++;
		s->totals.aside++;
		return 0;
	default: /* claims, and kinds of a newer version */
		return 0;
	}
}

/* ------------------------------------------------------------------ all of it */

static int fold_own(struct shard *s, struct flight *f, uint64_t offset)
{
	int r = 0;

	flight_landed(s->region, f);
	if (f->kind == OWNED_DATA) {
		observe_latency(s->region, f);
		r = fold_data(s, f, offset);
	} else if (f->kind == OWNED_DARK) {
		fold_dark(s, f->gateway, f->dark);
	} else {
		s->totals.asides++;
		s->totals.aside++;
	}
	flight_free(s->region, f);
	return r;
}

static void take_spans(struct shard *s, const struct owned_record *record)
{
	for (size_t i = 0; i < record->n_spans; i++)
		if (record->spans[i].partition == s->number && log_id_equal(&record->spans[i].source, &s->region->edge_id))
			s->covered = record->spans[i].to;
}

int fold_record(void *context, const struct owned_record *record)
{
	struct region *region = context;
	struct shard *s = record->partition < region->partitions ? region->shard_of[record->partition] : NULL;
	int r;

	must(s);
	if (region->history && stop_requested())
		return -EINTR;
	page_index_follow(&s->pages, record->offset);
	r = record->cookie ? fold_own(s, record->cookie, record->offset) : fold_past(s, record);
	if (r == 0) {
		take_spans(s, record);
		s->folded_end = record->offset + 1;
	}
	return r;
}
