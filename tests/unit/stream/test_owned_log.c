/* The owned log: by hand, under a simulated stream with every fault that the rule is made for, and with owners killed
 * on the real embedded backend.
 *
 * The simulation has one seed, printed when it fails: SLUICE_TEST_SEED=n repeats it. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "stream/owned_log.h"
#include "tests/unit/harness.h"

static const struct log_id source_ids[2] = { { .generation = 1, .uuid = "source a" },
					     { .generation = 2, .uuid = "source b" } };

/* ------------------------------------------------------------------ places on disk */

struct place {
	char dir[64];
	char url[96];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void place_done(struct place *p)
{
	nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct place place_new(uint32_t partitions)
{
	const struct stream_create_options o = { .partitions = partitions };
	struct place p;

	snprintf(p.dir, sizeof(p.dir), "/tmp/sluice-owned-XXXXXX");
	must(mkdtemp(p.dir) != NULL);
	snprintf(p.url, sizeof(p.url), "embedded:%s", p.dir);
	must(stream_create(p.url, &o, NULL) == 0);
	return p;
}
#define PLACE(name, partitions) CLEANUP(place_done) struct place name = place_new(partitions)

static void close_log(struct owned_log **ol)
{
	owned_log_free(*ol);
}
static void close_reader(struct owned_reader **r)
{
	owned_reader_free(*r);
}
static void close_stream(struct stream **s)
{
	stream_close(*s);
}
#define OWNED CLEANUP(close_log) struct owned_log *
#define READER CLEANUP(close_reader) struct owned_reader *
#define STREAM CLEANUP(close_stream) struct stream *

/* ------------------------------------------------------------------ by hand */

struct folded {
	struct {
		uint32_t partition;
		uint16_t kind;
		uint64_t offset;
		char text[16];
		void *cookie;
	} list[64];
	size_t n;
	int result;
};

static int fold_into_list(void *context, const struct owned_record *record)
{
	struct folded *f = context;

	must(f->n < ARRAY_SIZE(f->list));
	f->list[f->n].partition = record->partition;
	f->list[f->n].kind = record->kind;
	f->list[f->n].offset = record->offset;
	f->list[f->n].cookie = record->cookie;
	snprintf(f->list[f->n].text, sizeof(f->list[f->n].text), "%.*s", (int)record->value.len,
		 (const char *)record->value.data);
	f->n++;
	return f->result;
}

static int claim(struct owned_log **ret, const char *url, const char *owner, struct folded *f, uint32_t partition,
		 bool force, struct stream_error *ret_error)
{
	const struct owned_options o = {
		.url = url, .partitions = &partition, .n_partitions = 1, .owner = owner, .force = force,
		.fold = fold_into_list, .context = f,
	};

	*f = (struct folded){ 0 };
	return owned_log_claim(ret, &o, ret_error);
}

static int consume(struct owned_log *ol, uint32_t partition, const char *text, uint64_t to, void *cookie)
{
	const struct owned_span span = { .source = source_ids[0],
					 .partition = 3,
					 .from = owned_log_covered(ol, partition, &source_ids[0], 3),
					 .to = to };

	return owned_log_append(ol, partition, OWNED_DATA, SLICE_STR(text), &span, 1, cookie);
}

static void what_is_confirmed_is_folded_and_found_again(void)
{
	PLACE(p, 2);
	OWNED a = NULL;
	OWNED b = NULL;
	struct folded f, g;
	int cookie;

	ASSERT_OK(claim(&a, p.url, "first", &f, 1, false, NULL));
	CU_ASSERT_EQUAL(f.n, 1);
	CU_ASSERT_EQUAL(f.list[0].kind, OWNED_CLAIM);
	CU_ASSERT_STRING_EQUAL(f.list[0].text, "first");
	CU_ASSERT_EQUAL(owned_log_epoch(a, 1), 0);
	CU_ASSERT_EQUAL(owned_log_folded(a, 1), 1);
	ASSERT_OK(consume(a, 1, "one", 10, &cookie));
	CU_ASSERT_EQUAL(owned_log_covered(a, 1, &source_ids[0], 3), 10); /* as appended */
	CU_ASSERT_EQUAL(owned_log_covered(a, 1, &source_ids[0], 4), 0);
	CU_ASSERT_EQUAL(owned_log_covered(a, 1, &source_ids[1], 3), 0);
	ASSERT_OK(consume(a, 1, "two", 25, NULL));
	CU_ASSERT_EQUAL(owned_log_pending(a), 2);
	CU_ASSERT_EQUAL(owned_log_folded(a, 1), 1);
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), 2);
	CU_ASSERT_EQUAL(owned_log_pending(a), 0);
	CU_ASSERT_EQUAL(owned_log_folded(a, 1), 3);
	CU_ASSERT_EQUAL_FATAL(f.n, 3);
	CU_ASSERT_STRING_EQUAL(f.list[1].text, "one");
	CU_ASSERT_PTR_EQUAL(f.list[1].cookie, &cookie);
	owned_log_free(STEAL(a));
	ASSERT_OK(claim(&b, p.url, "second", &g, 1, false, NULL));
	CU_ASSERT_EQUAL_FATAL(g.n, 4);
	CU_ASSERT_STRING_EQUAL(g.list[2].text, "two");
	CU_ASSERT_PTR_NULL(g.list[1].cookie);
	CU_ASSERT_EQUAL(g.list[3].kind, OWNED_CLAIM);
	CU_ASSERT_EQUAL(owned_log_epoch(b, 1), 3);
	CU_ASSERT_EQUAL(owned_log_covered(b, 1, &source_ids[0], 3), 25);
}

static void a_partition_has_one_owner_unless_forced(void)
{
	PLACE(p, 2);
	OWNED a = NULL;
	OWNED b = NULL;
	OWNED other = NULL;
	READER r = NULL;
	struct folded f, g, h;
	struct stream_error error = { "" };
	struct owned_record record;
	const struct stream_options reading = { .reader = true };
	int valid = 0;

	ASSERT_OK(claim(&a, p.url, "the first one", &f, 0, false, NULL));
	CU_ASSERT_EQUAL(claim(&b, p.url, "second", &g, 0, false, &error), -EBUSY);
	CU_ASSERT_TRUE(strstr(error.text, "the first one") != NULL);
	ASSERT_OK(claim(&other, p.url, "of another partition", &h, 1, false, NULL));
	ASSERT_OK(consume(a, 0, "mine", 5, NULL));
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), 1);
	ASSERT_OK(consume(a, 0, "late", 7, NULL)); /* on its way when the other one claims */
	ASSERT_OK(claim(&b, p.url, "second", &g, 0, true, NULL));
	ASSERT_OK(consume(b, 0, "new", 8, NULL));
	CU_ASSERT_EQUAL(owned_log_poll(b, CLOCK_FOREVER), 1);
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), -ESTALE);
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), -ESTALE);
	CU_ASSERT_EQUAL(consume(a, 0, "too late", 9, NULL), -ESTALE);
	CU_ASSERT_EQUAL(f.n, 2); /* the CLAIM and "mine" */
	ASSERT_OK(consume(b, 0, "newer", 9, NULL)); /* behind the zombie's record */
	CU_ASSERT_EQUAL(owned_log_poll(b, CLOCK_FOREVER), 1);
	ASSERT_OK(owned_reader_open(&r, p.url, &reading, NULL));
	while (owned_reader_next(r, &record, 0) == 1)
		valid += record.partition == 0;
	CU_ASSERT_EQUAL(valid, 5);
	CU_ASSERT_EQUAL(owned_reader_stats(r).valid, 6);
	CU_ASSERT_EQUAL(owned_reader_stats(r).void_epoch, 1);
	CU_ASSERT_EQUAL(owned_reader_position(r, 0), 6);
}

/* Whoever writes into the stream beside the owner changes nothing. */
static void strangers_records_are_void(void)
{
	PLACE(p, 1);
	OWNED a = NULL;
	STREAM s = NULL;
	READER r = NULL;
	struct folded f;
	struct owned_record record;
	struct stream_confirmation c[8];
	const struct stream_options writing = { .writer = true }, reading = { .reader = true };
	/* version 1, epoch 0, no span; the same with half a span; of a version that is not known */
	static const uint8_t headers[][12] = { { 1, 9 }, { 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 }, { 2 } };
	static const size_t lengths[] = { 10, 12, 10 };

	ASSERT_OK(claim(&a, p.url, "owner", &f, 0, false, NULL));
	ASSERT_OK(stream_open(&s, p.url, &writing, NULL));
	ASSERT_OK(stream_append(s, &(struct stream_record){ .kind = OWNED_DATA }));
	ASSERT_OK(stream_append(s, &(struct stream_record){ .kind = OWNED_CLAIM, .value = SLICE_STR("no headers") }));
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		ASSERT_OK(stream_append(
			s, &(struct stream_record){ .kind = OWNED_DATA, .headers = SLICE(headers[i], lengths[i]) }));
	CU_ASSERT_EQUAL(stream_poll(s, c, ARRAY_SIZE(c), CLOCK_FOREVER), 5);
	ASSERT_OK(consume(a, 0, "mine", 5, NULL));
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), 1);
	CU_ASSERT_EQUAL(f.n, 2);
	ASSERT_OK(owned_reader_open(&r, p.url, &reading, NULL));
	while (owned_reader_next(r, &record, 0) == 1)
		;
	CU_ASSERT_EQUAL(owned_reader_stats(r).valid, 2);
	CU_ASSERT_EQUAL(owned_reader_stats(r).malformed, 4);
	CU_ASSERT_EQUAL(owned_reader_stats(r).void_epoch, 1);
	owned_log_free(STEAL(a));
	ASSERT_OK(claim(&a, p.url, "owner", &f, 0, false, NULL));
	CU_ASSERT_EQUAL(f.n, 3);
}

static void a_fold_that_fails_ends_the_owner(void)
{
	PLACE(p, 1);
	OWNED a = NULL;
	struct folded f;

	ASSERT_OK(claim(&a, p.url, "owner", &f, 0, false, NULL));
	f.result = -ENOSPC;
	ASSERT_OK(consume(a, 0, "x", 5, NULL));
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), -ENOSPC);
	CU_ASSERT_EQUAL(owned_log_poll(a, CLOCK_FOREVER), -ENOSPC);
}

static void a_log_without_its_beginning_is_refused(void)
{
	PLACE(p, 1);
	OWNED a = NULL;
	READER r = NULL;
	STREAM s = NULL;
	struct folded f;
	struct stream_error error = { "" };
	struct stream_confirmation c[64];
	const struct stream_options o = { .writer = true, .segment_bytes = 300 }, reading = { .reader = true };

	ASSERT_OK(stream_open(&s, p.url, &o, NULL));
	for (int i = 0; i < 64; i++) {
		ASSERT_OK(stream_append(s, &(struct stream_record){ .value = SLICE_STR("something") }));
		CU_ASSERT_EQUAL(stream_poll(s, c, ARRAY_SIZE(c), 0), 1);
	}
	ASSERT_OK(stream_trim(s, (uint64_t[]){ 50 }));
	CU_ASSERT_EQUAL(claim(&a, p.url, "owner", &f, 0, false, &error), -ERANGE);
	CU_ASSERT_TRUE(strstr(error.text, "retention") != NULL);
	CU_ASSERT_EQUAL(owned_reader_open(&r, p.url, &reading, NULL), -ERANGE);
	CU_ASSERT_EQUAL(claim(&a, p.url, "owner", &f, 7, false, &error), -EINVAL);
}

/* ------------------------------------------------------------------ the simulated stream */

enum { PARTITIONS = 2, SOURCES = 2, OWNERS = 3, STEPS = 1500, SOURCE_END = 4000 };

/* What an owner appends says itself what the headers should: the specification below reads only this. */
struct payload {
	uint64_t id, epoch;
	uint64_t n_spans;
	struct {
		uint64_t source, from, to;
	} spans[SOURCES];
};

struct raw {
	struct raw *next; /* all that were ever made, to be freed */
	uint16_t kind;
	size_t headers_len, value_len;
	uint8_t bytes[];
};

struct flight {
	struct raw *raw;
	uint32_t partition;
	void *cookie;
	bool landed; /* once already, without an acknowledgement */
};

struct sim_stream {
	struct stream stream;
	struct flight *flights;
	size_t first_flight, n_flights;
	struct stream_confirmation *confirmed;
	size_t first_confirmed, n_confirmed;
	uint64_t want[PARTITIONS];
};

struct app {
	struct owned_log *ol;
	bool busy; /* on the call stack */
	/* Folded by the present incarnation. */
	uint64_t *folded[PARTITIONS];
	size_t n_folded[PARTITIONS];
};

static struct {
	uint64_t random;
	bool faults;
	bool repeat_next; /* the next append will be in the log twice, the second copy acknowledged */
	int depth;
	struct raw *all;
	struct raw *log[PARTITIONS][1 << 16];
	size_t n[PARTITIONS];
	struct flight limbo[1 << 12];
	size_t n_limbo;
	struct app apps[OWNERS];
	uint64_t next_id;
	unsigned claims, stales, gaps_with_copies, unknown;
	const char *failure;
} sim;

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
static uint64_t sim_random(uint64_t below)
{
	sim.random ^= sim.random >> 12;
	sim.random ^= sim.random << 25;
	sim.random ^= sim.random >> 27;
	return (sim.random * 0x2545f4914f6cdd1dULL >> 33) % below;
}

static bool sim_chance(uint64_t percent)
{
	return sim.faults && sim_random(100) < percent;
}

static void sim_expect(bool condition, const char *what)
{
	if (!condition && !sim.failure)
		sim.failure = what;
}

static uint64_t sim_land(uint32_t partition, struct raw *raw)
{
	must(sim.n[partition] < ARRAY_SIZE(sim.log[0]));
	sim.log[partition][sim.n[partition]] = raw;
	return sim.n[partition]++;
}

static void sim_to_limbo(const struct flight *f)
{
	if (sim.n_limbo < ARRAY_SIZE(sim.limbo))
		sim.limbo[sim.n_limbo++] = *f;
}

static void app_step(struct app *app);

/* Between any two calls of a backend: something late arrives, or another owner goes on. */
static void sim_meanwhile(void)
{
	if (sim.n_limbo > 0 && sim_chance(10)) {
		size_t i = sim_random(sim.n_limbo);

		sim_land(sim.limbo[i].partition, sim.limbo[i].raw);
		sim.limbo[i] = sim.limbo[--sim.n_limbo];
	}
	if (sim.depth < 2 && sim_chance(15)) {
		struct app *app = &sim.apps[sim_random(OWNERS)];

		sim.depth++;
		if (!app->busy)
			app_step(app);
		sim.depth--;
	}
}

static void sim_confirm(struct sim_stream *s, const struct flight *f, uint64_t offset, int error)
{
	s->confirmed = reallocarray(s->confirmed, s->n_confirmed + 1, sizeof(*s->confirmed));
	s->confirmed[s->n_confirmed++] = (struct stream_confirmation){
		.cookie = f->cookie, .partition = f->partition, .offset = offset, .error = error
	};
}

/* The oldest append of a handle meets its fate; false when it must be tried again. */
static bool sim_fate(struct sim_stream *s, struct flight *f)
{
	if (sim_chance(3)) { /* nobody will ever know */
		sim.unknown++;
		if (sim_chance(40))
			sim_land(f->partition, f->raw);
		else if (sim_chance(60))
			sim_to_limbo(f);
		sim_confirm(s, f, 0, -EIO);
		return true;
	}
	/* It is in the log, the acknowledgement is lost, the client tries again. */
	if (!f->landed && (sim.repeat_next || sim_chance(8))) {
		sim_land(f->partition, f->raw);
		f->landed = true;
		sim.repeat_next = false;
		sim.gaps_with_copies++;
		return false;
	}
	sim_confirm(s, f, sim_land(f->partition, f->raw), 0);
	if (sim_chance(8))
		sim_to_limbo(f); /* a second copy comes later */
	return true;
}

static int sim_open(struct stream **ret, const char *rest, const struct stream_options *options,
		    struct stream_error *ret_error)
{
	struct sim_stream *s = calloc(1, sizeof(*s));

	for (uint32_t p = 0; p < PARTITIONS; p++)
		s->want[p] = UINT64_MAX;
	s->stream.partitions = PARTITIONS;
	*ret = &s->stream;
	return 0;
}

static void sim_close(struct stream *stream)
{
	struct sim_stream *s = container_of(stream, struct sim_stream, stream);

	for (size_t i = s->first_flight; i < s->n_flights; i++)
		if (sim_chance(50))
			sim_to_limbo(&s->flights[i]);
	free(s->flights);
	free(s->confirmed);
	free(s);
}

static int sim_append(struct stream *stream, const struct stream_record *record)
{
	struct sim_stream *s = container_of(stream, struct sim_stream, stream);
	struct raw *raw = malloc(sizeof(*raw) + record->headers.len + record->value.len);

	if (sim_chance(1))
		return free(raw), -EAGAIN;
	*raw = (struct raw){ .next = sim.all,
			     .kind = record->kind,
			     .headers_len = record->headers.len,
			     .value_len = record->value.len };
	sim.all = raw;
	memcpy(raw->bytes, record->headers.data, record->headers.len);
	memcpy(raw->bytes + record->headers.len, record->value.data, record->value.len);
	s->flights = reallocarray(s->flights, s->n_flights + 1, sizeof(*s->flights));
	s->flights[s->n_flights++] =
		(struct flight){ .raw = raw, .partition = record->partition, .cookie = record->cookie };
	return 0;
}

static int sim_poll(struct stream *stream, struct stream_confirmation *ret, size_t n, int64_t deadline_ns)
{
	struct sim_stream *s = container_of(stream, struct sim_stream, stream);
	size_t got = 0;

	sim_meanwhile();
	if (sim_chance(1))
		return -EIO;
	while (s->first_flight < s->n_flights && !sim_chance(30)) {
		if (sim_fate(s, &s->flights[s->first_flight]))
			s->first_flight++;
		sim_meanwhile();
	}
	while (got < n && s->first_confirmed < s->n_confirmed && !sim_chance(10))
		ret[got++] = s->confirmed[s->first_confirmed++];
	return (int)got;
}

static size_t sim_pending(const struct stream *stream)
{
	const struct sim_stream *s = container_of(stream, struct sim_stream, stream);

	return s->n_flights - s->first_flight + s->n_confirmed - s->first_confirmed;
}

static int sim_seek(struct stream *stream, uint32_t partition, uint64_t offset)
{
	container_of(stream, struct sim_stream, stream)->want[partition] = offset;
	return 0;
}

static int sim_leave(struct stream *stream, uint32_t partition)
{
	return sim_seek(stream, partition, UINT64_MAX);
}

static int sim_read(struct stream *stream, struct stream_record *ret, size_t n, int64_t deadline_ns, uint32_t *ret_lost)
{
	struct sim_stream *s = container_of(stream, struct sim_stream, stream);
	uint32_t first = (uint32_t)sim_random(PARTITIONS);
	size_t got = 0;

	sim_meanwhile();
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		uint32_t p = (first + i) % PARTITIONS;

		while (got < n && s->want[p] < sim.n[p] && (got == 0 || !sim_chance(20))) {
			const struct raw *raw = sim.log[p][s->want[p]];

			ret[got++] = (struct stream_record){
				.partition = p,
				.kind = raw->kind,
				.offset = s->want[p]++,
				.headers = SLICE(raw->bytes, raw->headers_len),
				.value = SLICE(raw->bytes + raw->headers_len, raw->value_len),
			};
		}
	}
	return (int)got;
}

static int sim_range(struct stream *stream, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	*ret_first = 0;
	*ret_end = sim.n[partition];
	return 0;
}

static const struct stream_ops sim_ops = {
	.scheme = "sim",
	.open = sim_open,
	.close = sim_close,
	.append = sim_append,
	.poll = sim_poll,
	.pending = sim_pending,
	.seek = sim_seek,
	.leave = sim_leave,
	.read = sim_read,
	.range = sim_range,
};
#define SIM_URL "sim:/the/only-one"

/* ------------------------------------------------------------------ owners under simulation */

static int app_fold(void *context, const struct owned_record *record)
{
	struct app *app = context;
	uint32_t p = record->partition;
	struct payload payload;

	sim_expect(app->n_folded[p] == 0 || record->offset > app->folded[p][app->n_folded[p] - 1],
		   "folded out of order");
	app->folded[p] = reallocarray(app->folded[p], app->n_folded[p] + 1, sizeof(uint64_t));
	app->folded[p][app->n_folded[p]++] = record->offset;
	if (record->kind == OWNED_CLAIM)
		return 0;
	memcpy(&payload, record->value.data, sizeof(payload));
	sim_expect(!record->cookie || (uintptr_t)record->cookie == payload.id, "a cookie of another record");
	sim_expect(record->n_spans == payload.n_spans, "spans differ");
	for (size_t i = 0; i < record->n_spans; i++)
		sim_expect(record->spans[i].from == payload.spans[i].from && record->spans[i].to == payload.spans[i].to,
			   "spans differ");
	return 0;
}

static void app_reset(struct app *app)
{
	owned_log_free(STEAL(app->ol));
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		free(STEAL(app->folded[p]));
		app->n_folded[p] = 0;
	}
}

static void app_claim(struct app *app)
{
	static const uint32_t partitions[PARTITIONS] = { 1, 0 };
	const struct owned_options o = {
		.url = SIM_URL,
		.partitions = partitions,
		.n_partitions = PARTITIONS,
		.owner = "simulated",
		.fold = app_fold,
		.context = app,
	};

	app_reset(app);
	if (owned_log_claim(&app->ol, &o, NULL) == 0)
		sim.claims++;
	else
		app_reset(app);
}

static int app_append(struct app *app)
{
	uint32_t partition = (uint32_t)sim_random(PARTITIONS);
	struct owned_span spans[SOURCES];
	struct payload payload = { .id = ++sim.next_id, .epoch = owned_log_epoch(app->ol, partition) };

	for (uint64_t s = 0; s < SOURCES; s++) {
		uint64_t from = owned_log_covered(app->ol, partition, &source_ids[s], 5);

		if (from == SOURCE_END || sim_random(3) == 0)
			continue;
		spans[payload.n_spans] = (struct owned_span){ .source = source_ids[s],
							      .partition = 5,
							      .from = from,
							      .to = from + 1 + sim_random(MIN(9u, SOURCE_END - from)) };
		payload.spans[payload.n_spans].source = s;
		payload.spans[payload.n_spans].from = from;
		payload.spans[payload.n_spans].to = spans[payload.n_spans].to;
		payload.n_spans++;
	}
	return owned_log_append(app->ol, partition, payload.n_spans ? OWNED_DATA : OWNED_DARK,
				SLICE(&payload, sizeof(payload)), spans, payload.n_spans,
				(void *)(uintptr_t)payload.id);
}

static void app_step(struct app *app)
{
	int r = 0;

	app->busy = true;
	if (!app->ol) {
		if (sim_random(8) == 0)
			app_claim(app);
	} else if (sim_chance(1)) {
		app_reset(app); /* killed */
	} else if (sim_random(3) > 0) {
		r = app_append(app);
		r = r == -EAGAIN ? 0 : r;
	} else {
		r = owned_log_poll(app->ol, 0);
		sim.stales += r == -ESTALE;
	}
	if (r < 0)
		app_reset(app);
	app->busy = false;
}

/* ------------------------------------------------------------------ the specification */

struct expected {
	uint64_t *valid; /* offsets */
	size_t n;
	uint64_t covered[SOURCES];
};

/* The rule, from the payloads alone. */
static struct expected specification(uint32_t partition)
{
	struct expected e = { .valid = calloc(sim.n[partition] + 1, sizeof(uint64_t)) };
	uint64_t epoch = UINT64_MAX;

	for (uint64_t offset = 0; offset < sim.n[partition]; offset++) {
		const struct raw *raw = sim.log[partition][offset];
		struct payload p;
		bool good = true;

		if (raw->kind == OWNED_CLAIM) {
			epoch = offset;
			e.valid[e.n++] = offset;
			continue;
		}
		memcpy(&p, raw->bytes + raw->headers_len, sizeof(p));
		good = p.epoch == epoch;
		for (size_t i = 0; i < p.n_spans; i++)
			good &= e.covered[p.spans[i].source] == p.spans[i].from;
		for (size_t i = 0; good && i < p.n_spans; i++)
			e.covered[p.spans[i].source] = p.spans[i].to;
		if (good)
			e.valid[e.n++] = offset;
	}
	return e;
}

/* Everything that an owner has ever folded is the beginning of what the log says. */
static void check_app(const struct app *app, uint32_t partition, const struct expected *e)
{
	sim_expect(app->n_folded[partition] <= e->n, "an owner folded what is void");
	for (size_t i = 0; i < app->n_folded[partition] && i < e->n; i++)
		sim_expect(app->folded[partition][i] == e->valid[i], "an owner's fold differs from the log's");
}

static void check_owners(void)
{
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct expected e = specification(p);

		for (int i = 0; i < OWNERS; i++)
			if (sim.apps[i].ol)
				check_app(&sim.apps[i], p, &e);
		free(e.valid);
	}
}

static void check_reader(void)
{
	READER r = NULL;
	const struct stream_options o = { .reader = true };
	struct owned_record record;
	struct expected e[PARTITIONS];
	size_t at[PARTITIONS] = { 0 };

	for (uint32_t p = 0; p < PARTITIONS; p++)
		e[p] = specification(p);
	must(owned_reader_open(&r, SIM_URL, &o, NULL) == 0);
	while (owned_reader_next(r, &record, 0) == 1) {
		uint32_t p = record.partition;

		sim_expect(at[p] < e[p].n && e[p].valid[at[p]] == record.offset,
			   "a reader's fold differs from the specification");
		at[p]++;
	}
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		sim_expect(at[p] == e[p].n, "a reader missed something");
		for (int s = 0; s < SOURCES; s++)
			sim_expect(e[p].covered[s] == SOURCE_END, "a source was not consumed to its end");
		free(e[p].valid);
	}
}

/* Without further faults the last owner consumes what is left. */
static void sim_finish(void)
{
	struct app *app = &sim.apps[0];

	sim.faults = false;
	while (sim.n_limbo > 0)
		sim_land(sim.limbo[sim.n_limbo - 1].partition, sim.limbo[sim.n_limbo - 1].raw), sim.n_limbo--;
	app_claim(app);
	sim_expect(app->ol != NULL, "a claim without faults failed");
	for (bool more = true; app->ol && more;) {
		more = false;
		for (int i = 0; i < 50; i++)
			sim_expect(app_append(app) == 0, "an append without faults failed");
		while (owned_log_pending(app->ol) > 0 && !sim.failure)
			sim_expect(owned_log_poll(app->ol, 0) > 0, "a poll without faults failed");
		for (uint32_t p = 0; p < PARTITIONS; p++)
			for (int s = 0; s < SOURCES; s++)
				more |= owned_log_covered(app->ol, p, &source_ids[s], 5) < SOURCE_END;
		more &= !sim.failure;
	}
}

static void sim_free(void)
{
	for (struct raw *next; sim.all; sim.all = next) {
		next = sim.all->next;
		free(sim.all);
	}
}

static void sim_run(uint64_t seed)
{
	memset(&sim, 0, sizeof(sim));
	sim.random = seed | 1;
	sim.faults = true;
	for (int step = 0; step < STEPS && !sim.failure; step++) {
		app_step(&sim.apps[sim_random(OWNERS)]);
		sim_meanwhile();
		if (step % 100 == 0)
			check_owners();
	}
	check_owners();
	if (!sim.failure)
		sim_finish();
	check_owners();
	if (!sim.failure)
		check_reader();
	for (int i = 0; i < OWNERS; i++)
		app_reset(&sim.apps[i]);
	sim_free();
}

/* The acknowledged copy is the second: the first one counts, and its cookie comes back with it, once. */
static void the_first_of_two_copies_counts(void)
{
	OWNED a = NULL;
	struct folded f;
	int cookie;

	memset(&sim, 0, sizeof(sim));
	sim.random = 1;
	stream_register(&sim_ops);
	ASSERT_OK(claim(&a, SIM_URL, "owner", &f, 0, false, NULL));
	sim.repeat_next = true;
	ASSERT_OK(consume(a, 0, "twice", 5, &cookie));
	ASSERT_OK(consume(a, 0, "once", 6, NULL));
	CU_ASSERT_EQUAL(owned_log_poll(a, 0), 2);
	CU_ASSERT_EQUAL_FATAL(f.n, 3);
	CU_ASSERT_EQUAL(f.list[1].offset, 1);
	CU_ASSERT_PTR_EQUAL(f.list[1].cookie, &cookie);
	CU_ASSERT_EQUAL(f.list[2].offset, 3);
	CU_ASSERT_EQUAL(owned_log_pending(a), 0);
	/* Nothing is consumed: both copies are valid, for every reader. */
	sim.repeat_next = true;
	ASSERT_OK(owned_log_append(a, 0, OWNED_DARK, SLICE_STR("dark"), NULL, 0, &cookie));
	CU_ASSERT_EQUAL(owned_log_poll(a, 0), 2);
	CU_ASSERT_EQUAL_FATAL(f.n, 5);
	CU_ASSERT_PTR_EQUAL(f.list[3].cookie, &cookie);
	CU_ASSERT_PTR_NULL(f.list[4].cookie);
	owned_log_free(STEAL(a));
	sim_free();
}

static void every_fold_equals_the_specification_under_every_fault(void)
{
	const char *given = getenv("SLUICE_TEST_SEED");
	const int64_t until_ns = clock_mono_ns() + 2 * NS_PER_S;
	unsigned claims = 0, stales = 0, copies = 0, unknown = 0;
	int runs = 0;

	stream_register(&sim_ops);
	do {
		uint64_t seed = given ? strtoull(given, NULL, 0) : rand_u64();

		sim_run(seed);
		if (sim.failure)
			printf("  SLUICE_TEST_SEED=%" PRIu64 ": %s\n", seed, sim.failure);
		CU_ASSERT_PTR_NULL_FATAL(sim.failure);
		claims += sim.claims;
		stales += sim.stales;
		copies += sim.gaps_with_copies;
		unknown += sim.unknown;
		runs++;
	} while (!given && runs < 300 && (runs < 5 || clock_mono_ns() < until_ns));
	/* The faults did happen. */
	CU_ASSERT_TRUE(claims > 5 && stales > 0 && copies > 5 && unknown > 5);
}

/* ------------------------------------------------------------------ owners killed */

struct told {
	uint64_t covered[2]; /* that an owner has seen confirmed, by partition */
	uint64_t claims, stales;
};

static int tell_fold(void *context, const struct owned_record *record)
{
	struct told *told = context;

	if (record->n_spans == 1 && record->cookie)
		__atomic_store_n(&told->covered[record->partition], record->spans[0].to, __ATOMIC_RELEASE);
	return 0;
}

static int own_for_a_while(struct owned_log *ol)
{
	for (;;) {
		for (uint64_t n = 1 + rand_u64() % 20; n > 0; n--) {
			uint32_t partition = rand_u64() % 2;
			uint64_t from = owned_log_covered(ol, partition, &source_ids[1], 7);
			const struct owned_span span = {
				.source = source_ids[1], .partition = 7, .from = from, .to = from + 1 + rand_u64() % 5
			};
			const uint64_t value[2] = { span.from, span.to };
			int r = owned_log_append(ol, partition, OWNED_DATA, SLICE(value, sizeof(value)), &span, 1, ol);

			if (r < 0)
				return r;
		}

		int r = owned_log_poll(ol, CLOCK_FOREVER);

		if (r < 0)
			return r;
	}
}

static _Noreturn void own_until_killed(const char *url, struct told *told)
{
	static const uint32_t partitions[2] = { 0, 1 };
	const struct owned_options o = {
		.url = url,
		.partitions = partitions,
		.n_partitions = 2,
		.stream = { .segment_bytes = 20000, .development = true },
		.owner = "child",
		.force = true,
		.fold = tell_fold,
		.context = told,
	};

	for (;;) {
		struct owned_log *ol;

		if (owned_log_claim(&ol, &o, NULL) < 0)
			_exit(1);
		__atomic_add_fetch(&told->claims, 1, __ATOMIC_RELAXED);
		if (own_for_a_while(ol) != -ESTALE)
			_exit(2);
		__atomic_add_fetch(&told->stales, 1, __ATOMIC_RELAXED);
		owned_log_free(ol);
	}
}

static pid_t owner_start(const char *url, struct told *told)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test itself is killed */
		own_until_killed(url, told);
	}
	return pid;
}

/* Two owners claim from each other and are killed at random moments; each source position counts once. */
static void kill_owners(const char *url, int64_t for_ns, int64_t pause_ns_max)
{
	READER r = NULL;
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[2];
	uint64_t covered[2] = { 0 };
	struct owned_record record;
	const struct stream_options o = { .reader = true, .development = true };
	const int64_t until_ns = clock_mono_ns() + for_ns;

	for (int i = 0; i < 2; i++)
		pids[i] = owner_start(url, told);
	for (int kills = 0; kills < 100 && clock_mono_ns() < until_ns; kills++) {
		const int64_t pause_ns = (int64_t)(rand_u64() % (uint64_t)pause_ns_max); /* the random moment */
		const struct timespec pause = { .tv_sec = pause_ns / NS_PER_S, .tv_nsec = pause_ns % NS_PER_S };
		int i = rand_u64() % 2, status;

		nanosleep(&pause, NULL);
		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
		CU_ASSERT_TRUE_FATAL(WIFSIGNALED(status));
		pids[i] = owner_start(url, told);
	}
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	ASSERT_OK(owned_reader_open(&r, url, &o, NULL));
	while (covered[0] < told->covered[0] || covered[1] < told->covered[1]) {
		uint64_t value[2];

		CU_ASSERT_EQUAL_FATAL(owned_reader_next(r, &record, clock_mono_ns() + 20 * NS_PER_S), 1);
		if (record.kind == OWNED_CLAIM)
			continue;
		CU_ASSERT_EQUAL_FATAL(record.value.len, sizeof(value));
		memcpy(value, record.value.data, sizeof(value));
		CU_ASSERT_EQUAL_FATAL(value[0], covered[record.partition]);
		covered[record.partition] = value[1];
	}
	CU_ASSERT_EQUAL(owned_reader_stats(r).malformed, 0);
	CU_ASSERT_TRUE(told->claims >= 2);
	CU_ASSERT_TRUE(told->covered[0] > 0 && told->covered[1] > 0);
	munmap(told, sizeof(*told));
}

static void sources_are_consumed_once_though_owners_are_killed(void)
{
	PLACE(p, 2);

	kill_owners(p.url, 4 * NS_PER_S, 50 * NS_PER_MS);
}

/* The clients' threads must not be there when this process forks: the topic is made in a child. */
static void sources_are_consumed_once_though_owners_are_killed_kafka(void)
{
	const struct stream_create_options o = { .partitions = 2, .retention_ms = -1, .development = true };
	const char *broker = getenv("SLUICE_TEST_KAFKA");
	char url[256];
	int status;

	if (!broker)
		SKIP("SLUICE_TEST_KAFKA=host:port is not set");
	snprintf(url, sizeof(url), "kafka:%s/owned.%016" PRIx64, broker, rand_u64());

	pid_t pid = fork();

	if (pid == 0)
		_exit(stream_create(url, &o, NULL) < 0);
	waitpid(pid, &status, 0);
	CU_ASSERT_EQUAL_FATAL(status, 0);
	kill_owners(url, 15 * NS_PER_S, 2 * NS_PER_S);
}

TESTS("owned_log", T(what_is_confirmed_is_folded_and_found_again), T(a_partition_has_one_owner_unless_forced),
      T(strangers_records_are_void), T(a_fold_that_fails_ends_the_owner), T(a_log_without_its_beginning_is_refused),
      T(the_first_of_two_copies_counts),
      T(every_fold_equals_the_specification_under_every_fault), T(sources_are_consumed_once_though_owners_are_killed),
      T(sources_are_consumed_once_though_owners_are_killed_kafka))
