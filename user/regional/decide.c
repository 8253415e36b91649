/* What is decided once, before the append, and then stands in the log: what each reading is, and what the registry says
 * about its device.
 *
 * Order matters: a reading is judged against the watermark that stood before its envelope, and the envelope's clock
 * counts for those after it, because that clock speaks of everything up to and with this envelope.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "regional/region.h"

#define PREFETCH_AHEAD 6

int64_t shard_floor_ns(const struct shard *s)
{
	int64_t floor;

	if (s->decided.watermark_ns == WATERMARK_NONE ||
	    __builtin_sub_overflow(s->decided.watermark_ns, s->dedup.span_ns, &floor))
		return INT64_MIN;
	return floor;
}

/* How all readings of an envelope are judged. */
struct bounds {
	int64_t floor_ns, watermark_ns, max_ahead_ns;
	bool ahead; /* whether there is such a thing */
};

static int64_t plus_saturated(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

static uint8_t judge(const struct bounds *b, int64_t timestamp_ns, int64_t arrival_ns)
{
	if (timestamp_ns < b->floor_ns)
		return REGION_OLD;
	if (b->ahead && timestamp_ns > plus_saturated(arrival_ns, b->max_ahead_ns))
		return REGION_AHEAD;
	return timestamp_ns < b->watermark_ns ? REGION_LATE : 0;
}

/* Of a reading that the device's own state does not decide. */
static int ask(struct shard *s, uint32_t device, int64_t timestamp_ns, uint64_t hash, uint8_t *flags)
{
	int r = page_ask(s, device, timestamp_ns, hash);

	if (r == -ENODATA) { /* it may be one or the other: it has no effect, and is not accepted */
		*flags = REGION_OLD | REGION_UNKNOWN;
		return 0;
	}
	if (r < 0)
		return r;
	if (r == 1)
		*flags = REGION_DUPLICATE;
	else
		dedup_accept(&s->dedup, device, timestamp_ns, hash);
	return r == 0 ? page_note(s, device, timestamp_ns, hash) : 0;
}

static int decide_reading(struct shard *s, struct flight *f, uint32_t i, const struct bounds *bounds)
{
	const struct block *b = &f->block;
	uint32_t device = f->device[b->device[i]];
	uint8_t flags = judge(bounds, b->timestamp_ns[i], b->arrival_ns[i]);
	int r = 0;

	switch (dedup_offer(&s->dedup, device, b->timestamp_ns[i], b->hash[i])) {
	case DEDUP_DUPLICATE:
		flags = REGION_DUPLICATE;
		break;
	case DEDUP_ASK:
		r = ask(s, device, b->timestamp_ns[i], b->hash[i], &flags);
		break;
	case DEDUP_NEW:
		r = page_note(s, device, b->timestamp_ns[i], b->hash[i]);
		break;
	}
	f->flags[i] = flags;
	return r;
}

/* The first half of the shard takes an envelope's ordinals and clock. */
static int take_envelope(struct shard *s, const struct flight *f)
{
	const struct envelope *e = &f->envelope;
	int r = 0;

	if (e->ordinal_first < e->ordinal_end)
		r = ordinals_cover(&s->ordinals, e->spool_id, e->ordinal_first, e->ordinal_end, clock_mono_ns());
	gateways_hear(&s->decided, f->gateway, e->spool_id, e->lane == ENVELOPE_LIVE, e->clock_ns, e->idle);
	return r;
}

int decide(struct shard *s, struct flight *f)
{
	const struct settings *set = s->region->settings;
	const struct bounds bounds = {
		.floor_ns = shard_floor_ns(s),
		.watermark_ns = s->decided.watermark_ns,
		.max_ahead_ns = set->regional_max_ahead_ms * NS_PER_MS,
		.ahead = set->streams_clock == CLOCK_ARRIVAL,
	};
	const struct block *b = &f->block;
	int r = 0;

	f->watermark_ns = bounds.watermark_ns;
	f->replay = f->envelope.ordinal_first < f->envelope.ordinal_end &&
		    ordinals_covered(&s->ordinals, f->envelope.spool_id, f->envelope.ordinal_first, f->envelope.ordinal_end);
	if (f->replay)
		memset(f->flags, REGION_DUPLICATE, b->count);
	for (uint32_t i = 0; !f->replay && i < b->count && r == 0; i++) {
		if (i + PREFETCH_AHEAD < b->count)
			dedup_prefetch(&s->dedup, f->device[b->device[i + PREFETCH_AHEAD]]);
		r = decide_reading(s, f, i, &bounds);
	}
	return r < 0 ? r : take_envelope(s, f);
}

int decide_history(struct shard *s, struct flight *f)
{
	const struct block *b = &f->block;

	for (uint32_t i = 0; !f->replay && i < b->count; i++) {
		uint32_t device = f->device[b->device[i]];

		if (!(f->flags[i] & (REGION_DUPLICATE | REGION_UNKNOWN)))
			dedup_accept(&s->dedup, device, b->timestamp_ns[i], b->hash[i]);
	}
	return take_envelope(s, f);
}

/* ------------------------------------------------------------------ enrichment */

static int look_up(struct shard *s, struct device *v)
{
	const struct registry_entry *e = registry_find(s->region->registry, device_id(v));
	int r = words_intern(&s->words, e ? e->type : SLICE_STR(REGISTRY_UNKNOWN), &v->type);

	if (r == 0)
		r = words_intern(&s->words, e ? e->place : SLICE_STR(""), &v->place);
	if (r == 0)
		r = words_intern(&s->words, e ? e->owner : SLICE_STR(""), &v->owner);
	v->enriched = r == 0;
	return r;
}

int enrich(struct shard *s, struct flight *f)
{
	for (uint32_t i = 0; i < f->block.n_devices; i++) {
		struct device *v = &s->devices.list[f->device[i]];
		int r = v->enriched ? 0 : look_up(s, v);

		if (r < 0)
			return r;
		f->type[i] = v->type;
		f->place[i] = v->place;
		f->owner[i] = v->owner;
	}
	return 0;
}

/* ------------------------------------------------------------------ the record */

/* The words of one record, each once; local_of[word] is its place in it + 1, and is cleared afterwards. */
struct record_words {
	struct slice list[3 * BLOCK_READINGS_MAX];
	uint32_t words[3 * BLOCK_READINGS_MAX];
	uint32_t type[BLOCK_READINGS_MAX], place[BLOCK_READINGS_MAX], owner[BLOCK_READINGS_MAX];
	uint32_t n;
};

static uint32_t place_of(struct shard *s, struct record_words *rw, uint32_t word)
{
	if (s->local_of[word] == 0) {
		rw->words[rw->n] = word;
		rw->list[rw->n++] = words_get(&s->words, word);
		s->local_of[word] = rw->n;
	}
	return s->local_of[word] - 1;
}

static int reserve_local(struct shard *s)
{
	if (s->words.n <= s->cap_local)
		return 0;

	uint32_t cap = MAX(s->words.n, s->cap_local * 2);
	uint32_t *local_of = realloc(s->local_of, cap * sizeof(*local_of));

	if (!local_of)
		return -ENOMEM;
	memset(local_of + s->cap_local, 0, (cap - s->cap_local) * sizeof(*local_of));
	s->local_of = local_of;
	s->cap_local = cap;
	return 0;
}

static bool all_zero(const uint8_t *flags, uint32_t n)
{
	uint8_t any = 0;

	for (uint32_t i = 0; i < n; i++)
		any |= flags[i];
	return any == 0;
}

int decide_append(struct shard *s, const struct flight *f, struct slice envelope, int64_t now_ns, struct buf *out)
{
	struct record_words rw;
	struct region_data d = {
		.envelope = envelope,
		.words = rw.list,
		.type = rw.type,
		.place = rw.place,
		.owner = rw.owner,
		.n_devices = f->block.n_devices,
		.appended_ns = now_ns,
		.watermark_ns = f->watermark_ns,
		.replay = f->replay,
	};
	int r = reserve_local(s);

	if (r < 0)
		return r;
	rw.n = 0;
	for (uint32_t i = 0; i < d.n_devices; i++) {
		rw.type[i] = place_of(s, &rw, f->type[i]);
		rw.place[i] = place_of(s, &rw, f->place[i]);
		rw.owner[i] = place_of(s, &rw, f->owner[i]);
	}
	for (uint32_t i = 0; i < rw.n; i++)
		s->local_of[rw.words[i]] = 0;
	d.n_words = rw.n;
	if (!f->replay && !all_zero(f->flags, f->block.count))
		d.flags = SLICE(f->flags, f->block.count);
	buf_reset(out);
	region_data_append(out, &d);
	return buf_error(out);
}
