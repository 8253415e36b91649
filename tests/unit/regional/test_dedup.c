/* Every answer is compared with a plain set of all readings accepted so far. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "regional/dedup.h"
#include "tests/unit/harness.h"

#define SPAN_NS (120 * NS_PER_MIN)

/* ------------------------------------------------------------------ the plain set */

struct key {
	uint32_t device, used;
	int64_t timestamp_ns;
	uint64_t hash;
};

struct oracle {
	struct key *slots;
	uint64_t mask, n;
};

static void oracle_init(struct oracle *o, uint64_t slots)
{
	*o = (struct oracle){ .slots = calloc(slots, sizeof(*o->slots)), .mask = slots - 1 };
	CU_ASSERT_PTR_NOT_NULL_FATAL(o->slots);
}

/* False when it was there. */
static bool oracle_add(struct oracle *o, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	uint64_t at = ((uint64_t)timestamp_ns * 0x9E3779B97F4A7C15 + hash * 0xC2B2AE3D27D4EB4F + device) * 0xFF51AFD7ED558CCD >> 20;

	for (;; at++) {
		struct key *k = &o->slots[at & o->mask];

		if (!k->used) {
			*k = (struct key){ device, 1, timestamp_ns, hash };
			CU_ASSERT_FATAL(++o->n <= o->mask / 2);
			return true;
		}
		if (k->device == device && k->timestamp_ns == timestamp_ns && k->hash == hash)
			return false;
	}
}

/* ------------------------------------------------------------------ one comparison a reading */

struct trial {
	struct dedup dedup;
	struct oracle oracle;
	uint64_t asked, fresh, repeated, wrong;
};

static void trial_init(struct trial *t, uint32_t devices, uint64_t slots)
{
	*t = (struct trial){ 0 };
	dedup_init(&t->dedup, SPAN_NS);
	ASSERT_OK(dedup_reserve(&t->dedup, devices));
	oracle_init(&t->oracle, slots);
}

static void trial_done(struct trial *t)
{
	CU_ASSERT_EQUAL(t->wrong, 0);
	dedup_done(&t->dedup);
	free(t->oracle.slots);
}

/* True when the reading is new. */
static bool offer(struct trial *t, uint32_t device, int64_t timestamp_ns, uint64_t hash)
{
	bool fresh = oracle_add(&t->oracle, device, timestamp_ns, hash);
	enum dedup_answer answer = dedup_offer(&t->dedup, device, timestamp_ns, hash);

	if (answer == DEDUP_ASK) {
		t->asked++;
		if (fresh) /* what the log would say */
			dedup_accept(&t->dedup, device, timestamp_ns, hash);
	} else if ((answer == DEDUP_NEW) != fresh) {
		t->wrong++;
	}
	t->fresh += fresh;
	t->repeated += !fresh;
	return fresh;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545F4914F6CDD1DULL;
}

/* ------------------------------------------------------------------ tests */

static void the_first_reading_is_new_and_its_repeat_is_not(void)
{
	struct trial t;

	trial_init(&t, 2, 64);
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 5, 7), DEDUP_NEW);
	CU_ASSERT_EQUAL(dedup_offer(&t.dedup, 0, 5, 7), DEDUP_NEW);
	CU_ASSERT_EQUAL(dedup_offer(&t.dedup, 0, 5, 7), DEDUP_DUPLICATE);
	CU_ASSERT_EQUAL(dedup_offer(&t.dedup, 1, 5, 7), DEDUP_NEW); /* another device */
	trial_done(&t);
}

static void looking_changes_nothing(void)
{
	struct trial t;

	trial_init(&t, 1, 64);
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 5, 7), DEDUP_NEW);
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 5, 7), DEDUP_NEW);
	trial_done(&t);
}

static void one_time_with_two_hashes_is_two_readings(void)
{
	struct trial t;

	trial_init(&t, 1, 256);
	for (uint64_t hash = 0; hash < 40; hash++)
		CU_ASSERT_TRUE(offer(&t, 0, 1000, hash));
	for (uint64_t hash = 0; hash < 40; hash++)
		CU_ASSERT_FALSE(offer(&t, 0, 1000, hash));
	trial_done(&t);
}

static void what_the_state_cannot_prove_is_asked_for(void)
{
	struct trial t;

	trial_init(&t, 1, 256);
	for (int64_t i = 1; i <= 17; i++)
		offer(&t, 0, i * 10, 0);
	CU_ASSERT_EQUAL(t.asked, 0);
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 10, 0), DEDUP_ASK); /* the one that fell out of the ring */
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 9, 0), DEDUP_NEW);  /* before the first */
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 10, 1), DEDUP_ASK);
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 15, 0), DEDUP_NEW); /* younger than all that fell out */
	CU_ASSERT_EQUAL(dedup_look(&t.dedup, 0, 20, 0), DEDUP_DUPLICATE);
	trial_done(&t);
}

static void the_ends_of_time_are_answered_exactly(void)
{
	static const int64_t times[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX };
	struct trial t;

	trial_init(&t, ARRAY_SIZE(times), 4096);
	for (uint32_t d = 0; d < ARRAY_SIZE(times); d++) /* each device begins with another of them */
		for (uint32_t i = 0; i < 5 * ARRAY_SIZE(times); i++)
			for (uint64_t hash = 0; hash < 3; hash++)
				offer(&t, d, times[(d + i * 3) % ARRAY_SIZE(times)], hash);
	CU_ASSERT_EQUAL(t.fresh, ARRAY_SIZE(times) * ARRAY_SIZE(times) * 3);
	trial_done(&t);
}

static void live_readings_within_five_seconds_never_ask(void)
{
	struct trial t;
	uint64_t seed = 3;

	trial_init(&t, 100, 1 << 18);
	for (int64_t second = 0; second < 1000; second++) {
		for (uint32_t d = 0; d < 100; d++) {
			int64_t late_s = (int64_t)(next_random(&seed) % 5);

			offer(&t, d, (second - late_s) * NS_PER_S, next_random(&seed) % 2);
			offer(&t, d, (second - late_s) * NS_PER_S, 0);
		}
	}
	CU_ASSERT_EQUAL(t.asked, 0);
	CU_ASSERT(t.repeated > 0);
	trial_done(&t);
}

static void a_draining_backlog_beside_live_readings_never_asks(void)
{
	const int64_t period_ns = 10 * NS_PER_S, outage = 360, before = 360;
	struct trial t;
	uint64_t seed = 5;
	int64_t backlog = before, live = before + outage;

	trial_init(&t, 50, 1 << 18);
	for (int64_t i = 0; i < before; i++)
		for (uint32_t d = 0; d < 50; d++)
			offer(&t, d, i * period_ns + d, next_random(&seed));
	/* Live ones first, then four of the backlog for each. */
	for (; backlog < before + outage; live++) {
		for (uint32_t d = 0; d < 50; d++)
			offer(&t, d, live * period_ns + d, next_random(&seed));
		for (int k = 0; k < 4; k++, backlog++)
			for (uint32_t d = 0; d < 50; d++)
				CU_ASSERT_TRUE(offer(&t, d, backlog * period_ns + d, next_random(&seed)));
	}
	CU_ASSERT_EQUAL(t.asked, 0);
	CU_ASSERT_EQUAL(t.fresh, (uint64_t)live * 50);
	trial_done(&t);
}

static void a_region_that_begins_within_an_outage_never_asks(void)
{
	struct trial t;

	trial_init(&t, 1, 1 << 14);
	offer(&t, 0, 3600 * NS_PER_S, 0);
	for (int64_t i = 600; i < 3600; i++) {
		CU_ASSERT_TRUE(offer(&t, 0, i * NS_PER_S, 0));
		if (i % 4 == 0)
			CU_ASSERT_TRUE(offer(&t, 0, (3601 + i / 4) * NS_PER_S, 0));
	}
	CU_ASSERT_EQUAL(t.asked, 0);
	trial_done(&t);
}

static void a_million_readings_in_any_order_are_answered_like_a_set(void)
{
	enum { DEVICES = 200, N = 1000000 };
	struct trial t;
	uint64_t seed = 0x5eed;
	struct key *sent = calloc(N, sizeof(*sent));

	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	trial_init(&t, DEVICES, 1 << 22);
	for (uint32_t i = 0; i < N; i++) {
		uint64_t r = next_random(&seed);
		uint32_t device = (uint32_t)(r % DEVICES);
		int64_t now_ns = (int64_t)i * NS_PER_MS - 300 * NS_PER_S; /* through zero */
		struct key k = { .device = device, .timestamp_ns = now_ns, .hash = r >> 62 };

		switch (r >> 40 & 15) {
		case 0 ... 3: /* out of order, on a coarse grid so that times meet */
			k.timestamp_ns = (now_ns - (int64_t)(r >> 20 & 0xffff) * 76000) / NS_PER_MS * NS_PER_MS;
			break;
		case 4 ... 5: /* any time before */
			k.timestamp_ns = now_ns - (int64_t)(next_random(&seed) % (2 * (uint64_t)SPAN_NS)) / NS_PER_S * NS_PER_S;
			break;
		case 6 ... 8: /* again, of late or of long ago */
			if (i > 0)
				k = sent[i - 1 - next_random(&seed) % MIN(i, r >> 20 & 1 ? 64u * DEVICES : N)];
			break;
		case 9: /* ahead */
			k.timestamp_ns = now_ns + (int64_t)(r >> 20 & 0xff) * NS_PER_S;
			break;
		}
		sent[i] = k;
		offer(&t, k.device, k.timestamp_ns, k.hash);
	}
	CU_ASSERT(t.asked > 1000 && t.repeated > 100000);
	CU_ASSERT_EQUAL(t.oracle.n, t.fresh);
	free(sent);
	trial_done(&t);
}

static void the_accepted_readings_rebuild_the_state(void)
{
	enum { DEVICES = 20, N = 50000 };
	struct trial t;
	struct dedup again;
	struct key *accepted = calloc(N, sizeof(*accepted));
	uint64_t seed = 11, n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(accepted);
	trial_init(&t, DEVICES, 1 << 18);
	for (uint32_t i = 0; i < N; i++) {
		uint64_t r = next_random(&seed);
		struct key k = { .device = (uint32_t)(r % DEVICES), .timestamp_ns = (int64_t)i + (int64_t)(r >> 40 & 0x3fff), .hash = 0 };

		if (offer(&t, k.device, k.timestamp_ns, k.hash))
			accepted[n++] = k;
	}
	dedup_init(&again, SPAN_NS);
	ASSERT_OK(dedup_reserve(&again, DEVICES));
	for (uint64_t i = 0; i < n; i++)
		dedup_accept(&again, accepted[i].device, accepted[i].timestamp_ns, accepted[i].hash);
	for (uint32_t i = 0; i < N; i++) {
		uint64_t r = next_random(&seed);
		uint32_t device = (uint32_t)(r % DEVICES);
		int64_t time = (int64_t)(r >> 40) % N;

		CU_ASSERT_EQUAL(dedup_look(&again, device, time, 0), dedup_look(&t.dedup, device, time, 0));
	}
	dedup_done(&again);
	free(accepted);
	trial_done(&t);
}

TESTS("regional-dedup", T(the_first_reading_is_new_and_its_repeat_is_not), T(looking_changes_nothing),
      T(one_time_with_two_hashes_is_two_readings), T(what_the_state_cannot_prove_is_asked_for),
      T(the_ends_of_time_are_answered_exactly), T(live_readings_within_five_seconds_never_ask),
      T(a_draining_backlog_beside_live_readings_never_asks), T(a_region_that_begins_within_an_outage_never_asks),
      T(a_million_readings_in_any_order_are_answered_like_a_set), T(the_accepted_readings_rebuild_the_state))
