/* A region that is cut off anywhere, again and again, and starts anew: what it decides and what it tells must be what a
 * plain set and plain sums give for the same input.
 */
#include <math.h>

#include "base/rand.h"
#include "tests/unit/regional/rig.h"

#define FAST "regional:\n  delta_interval: 100ms\n"
#define SLOW "regional:\n  delta_interval: 60s\n"
#define DEVICES 24
#define PARCELS 400
#define PARCEL_READINGS 6

/* ------------------------------------------------------------------ what is sent */

struct sent {
	struct reading r;
	uint64_t hash;
	uint32_t shard;
	bool again; /* the first half of its identity was sent before, in this shard's order */
};

struct story {
	uint64_t seed;
	int64_t base_ns;
	struct sent *sent; /* in the order of publication */
	size_t n;
	uint64_t ordinals[2][RIG_SHARDS];
	struct parcel last[2]; /* for replays */
	struct reading last_readings[2][PARCEL_READINGS];
};

static uint64_t roll(struct story *s)
{
	s->seed = s->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return s->seed >> 24;
}

static struct reading invent(struct story *s, uint32_t shard, size_t step)
{
	struct reading r = { .arrival_ns = clock_wall_ns() };
	uint64_t kind = roll(s) % 10;

	/* Again: something that was sent before, of late or long ago. */
	for (int tries = 0; kind < 3 && s->n > 0 && tries < 20; tries++) {
		const struct sent *old = &s->sent[s->n - 1 - roll(s) % MIN(s->n, kind == 0 ? s->n : 200)];

		if (old->shard == shard) {
			r = old->r;
			r.arrival_ns = clock_wall_ns();
			return r;
		}
	}
	do
		snprintf(r.device, sizeof(r.device), "d%u", (unsigned)(roll(s) % DEVICES));
	while (device_shard(r.device) != shard);
	r.timestamp_ns = s->base_ns + (int64_t)step * 5 * NS_PER_S;
	if (kind == 3)
		r.timestamp_ns -= (int64_t)(roll(s) % 1800) * NS_PER_S;
	r.value = (double)(roll(s) % 4000) / 100 - 10;
	r.has_second = roll(s) % 3 == 0;
	r.second = (double)(roll(s) % 100);
	r.salt = roll(s) % 2;
	return r;
}

static uint64_t hash_of(const struct reading *r)
{
	CLEANUP(buf_done) struct buf payload = BUF_INIT;
	struct telemetry t;

	reading_payload(r, &payload);
	ASSERT_OK(telemetry_parse(&t, payload.data, payload.len));
	return t.integrity_hash;
}

static void note(struct story *s, const struct reading *r, uint32_t shard)
{
	struct sent *to = &s->sent[s->n];

	*to = (struct sent){ .r = *r, .shard = shard, .hash = hash_of(r) };
	for (size_t i = 0; i < s->n && !to->again; i++)
		to->again = s->sent[i].hash == to->hash && s->sent[i].r.timestamp_ns == r->timestamp_ns &&
			    !strcmp(s->sent[i].r.device, r->device);
	s->n++;
}

/* One envelope of one of two spools, sometimes the last one once more, sometimes rubbish. */
static void go_on(struct rig *g, struct story *s, size_t step)
{
	static const char *const gateways[] = { "gw-a", "gw-b" };
	uint32_t spool = (uint32_t)(roll(s) % 2), shard = (uint32_t)(roll(s) % RIG_SHARDS);
	struct parcel *p = &s->last[spool];
	struct reading *readings = s->last_readings[spool];

	if (roll(s) % 23 == 0)
		rig_publish_bytes(g, shard, SLICE_STR("rubbish"));
	if (p->n == 0 || roll(s) % 9 != 0) {
		*p = (struct parcel){ .gateway = gateways[spool], .spool = (uint8_t)(1 + spool), .shard = shard, .readings = readings };
		p->first = s->ordinals[spool][shard];
		p->n = 1 + (uint32_t)(roll(s) % PARCEL_READINGS);
		s->ordinals[spool][shard] += p->n;
		for (uint32_t i = 0; i < p->n; i++)
			readings[i] = invent(s, shard, step);
	}
	p->clock_ns = clock_wall_ns();
	for (uint32_t i = 0; i < p->n; i++)
		note(s, &readings[i], p->shard);
	rig_publish(g, p);
}

/* ------------------------------------------------------------------ what must have come of it */

static void check_log(const struct rig *g, const struct story *s)
{
	LOGGED log;

	logged_read(g, &log);
	CU_ASSERT_EQUAL(log.n, s->n);
	CU_ASSERT_EQUAL(log.stats.malformed, 0);
	for (uint32_t shard = 0; shard < RIG_SHARDS; shard++) {
		size_t at = 0;

		for (size_t i = 0; i < log.n; i++) {
			if (log.list[i].shard != shard)
				continue;
			while (at < s->n && s->sent[at].shard != shard)
				at++;
			CU_ASSERT_FATAL(at < s->n);
			CU_ASSERT_FATAL(log.list[i].hash == s->sent[at].hash && log.list[i].timestamp_ns == s->sent[at].r.timestamp_ns);

			bool duplicate = log.list[i].replay || (log.list[i].flags & REGION_DUPLICATE);

			if (duplicate != s->sent[at].again) {
				printf("  seed %" PRIu64 ": reading %zu of shard %u: %s\n", s->seed, at, shard,
				       duplicate ? "lost" : "counted twice");
				CU_FAIL_FATAL("once");
			}
			at++;
		}
	}
}

struct sums {
	uint64_t count;
	__int128 sum;
	double min, max;
	bool devices[DEVICES];
};

static void add_up(struct sums *to, const struct sent *s, double value, __int128 fixed)
{
	to->min = to->count ? fmin(to->min, value) : value;
	to->max = to->count ? fmax(to->max, value) : value;
	to->count++;
	to->sum += fixed;
	to->devices[atoi(s->r.device + 1)] = true;
}

static const char *type_of(const struct reading *r)
{
	return !strcmp(r->device, "d0") || !strcmp(r->device, "d1") ? "greenhouse" : !strcmp(r->device, "d2") ? "outdoor" : "unknown";
}

/* Every window that was told, from the readings as they were sent; and none is missing. */
static void check_windows(const struct rig *g, const struct story *s)
{
	TOLD told;
	uint64_t values = 0, counted = 0;

	told_read(g, &told);
	for (size_t k = 0; k < told.n; k++) {
		const Sluice__V1__Window *w = told.windows[k];
		struct sums sums = { 0 };
		uint64_t devices = 0;

		for (size_t i = 0; i < s->n; i++) {
			const struct sent *one = &s->sent[i];
			bool second = w->metric[0] == 'u';

			if (one->again || one->shard != told.shard[k] || window_start_ns(one->r.timestamp_ns) != w->start_ns ||
			    strcmp(type_of(&one->r), w->type) || (second && !one->r.has_second))
				continue;
			/* Two decimals at most: the integer is exact. */
			add_up(&sums, one, second ? one->r.second : one->r.value,
			       (__int128)llround((second ? one->r.second : one->r.value) * 100) * 10000000);
		}
		for (int d = 0; d < DEVICES; d++)
			devices += sums.devices[d];
		counted += w->count;
		if (w->count != sums.count || w->devices != devices || window_sum(w) != sums.sum || w->min != sums.min || w->max != sums.max) {
			printf("  seed %" PRIu64 ": window %" PRId64 " %s %s: count %" PRIu64 ", not %" PRIu64 "\n", s->seed, w->start_ns,
			       w->type, w->metric, w->count, sums.count);
			CU_FAIL_FATAL("window");
		}
	}
	for (size_t i = 0; i < s->n; i++)
		values += s->sent[i].again ? 0 : s->sent[i].r.has_second ? 2 : 1;
	CU_ASSERT_EQUAL(counted, values);
}

/* ------------------------------------------------------------------ tests */

static void cut_off_anywhere(const char *more, int steps_max)
{
	struct story s = { .seed = rand_u64(), .base_ns = clock_wall_ns() - 90 * NS_PER_MIN };
	uint64_t first_seed = s.seed;
	int restarts = 0;
	struct rig g;

	s.sent = calloc(2 * PARCELS * PARCEL_READINGS, sizeof(*s.sent));
	CU_ASSERT_PTR_NOT_NULL_FATAL(s.sent);
	rig_init(&g, more);
	for (size_t step = 0; step < PARCELS; step++) {
		go_on(&g, &s, step * 2);
		if (g.region && roll(&s) % 3 == 0)
			rig_step(&g);
		if (roll(&s) % 29 != 0)
			continue;
		rig_close(&g); /* as if killed: nothing is settled */
		rig_open(&g);
		restarts++;
		for (uint64_t k = roll(&s) % (uint64_t)steps_max; k > 0; k--)
			rig_step(&g);
	}
	if (!g.region)
		rig_open(&g);
	rig_run(&g);
	rig_close(&g);
	check_log(&g, &s);
	check_windows(&g, &s);
	if (CU_get_number_of_failures() > 0)
		printf("  began with seed %" PRIu64 ", %d restarts\n", first_seed, restarts);
	CU_ASSERT(restarts > 2);
	free(s.sent);
	rig_done(&g);
}

static void a_region_that_is_cut_off_anywhere_counts_everything_once(void)
{
	for (int i = 0; i < 3; i++)
		cut_off_anywhere(FAST, 12);
}

/* No delta is due between the cuts: all that was told is told after a restart. */
static void what_was_folded_and_never_told_is_told_after_the_restart(void)
{
	struct rig g;
	TOLD told;
	uint32_t shard = device_shard("d0");

	rig_init(&g, "  clock: event\n" SLOW);
	for (int i = 0; i < 50; i++) {
		struct reading r = { .device = "d0", .timestamp_ns = (int64_t)i * 180 * NS_PER_MIN, .arrival_ns = 1, .value = i };
		struct parcel p = {
			.gateway = "gw", .spool = 1, .shard = shard, .first = (uint64_t)i, .clock_ns = r.timestamp_ns, .readings = &r, .n = 1,
		};

		rig_publish(&g, &p);
	}
	rig_open(&g);
	while (g.region->shard_of[shard]->covered < 50)
		rig_step(&g);
	rig_close(&g);
	config_done(&g.settings);
	rig_settings(&g, "  clock: event\n" FAST);
	rig_open(&g);
	rig_run(&g);
	rig_close(&g);
	told_read(&g, &told);
	CU_ASSERT_EQUAL(told.n, 50); /* 49 of them lie behind the horizon */
	rig_done(&g);
}

static void what_was_told_and_lies_behind_the_horizon_is_not_told_again(void)
{
	struct rig g;
	TOLD told;
	uint32_t shard = device_shard("d0");
	size_t before;

	rig_init(&g, "  clock: event\n" FAST);
	for (int i = 0; i < 50; i++) {
		struct reading r = { .device = "d0", .timestamp_ns = (int64_t)i * 180 * NS_PER_MIN, .arrival_ns = 1, .value = i };
		struct parcel p = {
			.gateway = "gw", .spool = 1, .shard = shard, .first = (uint64_t)i, .clock_ns = r.timestamp_ns, .readings = &r, .n = 1,
		};

		rig_publish(&g, &p);
	}
	rig_open(&g);
	rig_run(&g);
	for (uint64_t sent = g.region->deltas_sent; g.region->deltas_sent < sent + 3 * RIG_SHARDS;)
		rig_step(&g);
	rig_run(&g);
	CU_ASSERT_EQUAL(g.region->shard_of[shard]->windows.n, 1);
	told_read(&g, &told);
	before = told.deltas;
	rig_close(&g);
	rig_open(&g);
	rig_run(&g);
	for (uint64_t sent = g.region->deltas_sent; g.region->deltas_sent < sent + 2 * RIG_SHARDS;)
		rig_step(&g);
	rig_run(&g);

	TOLD after;
	size_t windows = 0;

	told_read(&g, &after);
	for (size_t i = before; i < after.deltas; i++)
		windows += after.messages[i]->cut_ns > told.messages[before - 1]->cut_ns ? after.messages[i]->n_windows : 0;
	CU_ASSERT_EQUAL(windows, 1);
	rig_done(&g);
}

TESTS("regional-restart", T(a_region_that_is_cut_off_anywhere_counts_everything_once),
      T(what_was_folded_and_never_told_is_told_after_the_restart), T(what_was_told_and_lies_behind_the_horizon_is_not_told_again))
