#include "ctl/readings.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/index.h"
#include "base/rand.h"
#include "codec/telemetry.h"

#define SPIKE_READINGS 3
#define SPIKE_JUMP 35.0 /* degrees */
#define WITHHELD 2      /* beside 1 and 0 of readings_next(): the one after it is wanted */
#define PLAY_AFTER_MAX 1e18

struct device {
	char id[SLUICE_DEVICE_MAX + 1];
	struct siphash_key key;
	double temperature, humidity, light; /* random walks */
};

struct reading_source {
	struct siphash_key master;
	bool keyed;
	struct device *devices;
	uint32_t n_devices, cap_devices;
	struct buf payload;
	struct injector *injector; /* the caller's, or NULL */
	int64_t start_ns;          /* monotonic, of the first reading; 0: none yet */

	/* A file. */
	FILE *file;
	char *line;
	size_t line_cap;
	uint64_t line_number;
	struct index by_id;
	double speed;
	struct fleet_reading next; /* read, and not due yet */
	bool has_next;
	int64_t first_ns;          /* event time of the first one */

	/* Made up. */
	struct synthetic_options synthetic;
	uint64_t random, made;
	int64_t spike_ns;
	unsigned spike_left;
};

static int add_device(struct reading_source *s, struct slice id, uint32_t *ret)
{
	if (array_reserve(&s->devices, &s->cap_devices, s->n_devices + 1, 64, sizeof(*s->devices)) < 0)
		return -ENOMEM;

	struct device *d = &s->devices[s->n_devices];

	must(id.len <= SLUICE_DEVICE_MAX);
	memset(d, 0, sizeof(*d));
	memcpy(d->id, id.data, id.len);
	d->key = s->keyed ? telemetry_device_key(&s->master, id) : siphash_open_key;
	*ret = s->n_devices++;
	return 0;
}

static int source_new(struct reading_source **ret, const struct siphash_key *master)
{
	struct reading_source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->keyed = master != NULL;
	if (master)
		s->master = *master;
	*ret = s;
	return 0;
}

void readings_free(struct reading_source *s)
{
	if (!s)
		return;
	if (s->file)
		fclose(s->file);
	index_done(&s->by_id);
	buf_done(&s->payload);
	free(s->line);
	free(s->devices);
	free(s);
}

/* Tags the message, in which field 1 stands first, with its device's own key. */
static void sign(struct reading_source *s, struct fleet_reading *ret)
{
	telemetry_tag(s->payload.data, s->payload.len, &s->devices[ret->device].key, ret->tag);
	memcpy(s->payload.data + 1, &ret->tag[0], sizeof(ret->tag[0]));
	ret->payload = buf_slice(&s->payload);
}

/* ------------------------------------------------------------------ a file */

int readings_from_file(struct reading_source **ret, const char *path, double speed, const struct siphash_key *master,
		       struct reading_error *ret_error)
{
	struct reading_source *s;
	int r = source_new(&s, master);

	if (r < 0)
		return r;
	s->speed = speed;
	s->file = fopen(path, "re");
	if (!s->file) {
		r = -errno;
		snprintf(ret_error->text, sizeof(ret_error->text), "%.180s: %s", path, strerror(errno));
		readings_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct wanted_device {
	const struct reading_source *source;
	struct slice id;
};

static bool same_device(const void *context, uint32_t position)
{
	const struct wanted_device *want = context;
	const char *id = want->source->devices[position].id;

	return strlen(id) == want->id.len && memcmp(id, want->id.data, want->id.len) == 0;
}

static int device_of(struct reading_source *s, struct slice id, uint32_t *ret)
{
	struct wanted_device want = { s, id };
	uint64_t hash = hash_device(id.data, id.len);
	uint32_t found = index_find(&s->by_id, hash, same_device, &want);

	if (found != INDEX_NONE) {
		*ret = found;
		return 0;
	}

	int r = add_device(s, id, ret);

	if (r == 0)
		r = index_add(&s->by_id, hash, *ret);
	return r < 0 || !s->injector ? r : injector_meet(s->injector, *ret, s->devices[*ret].id);
}

/* Writes the message anew as t, whose slices point into it, with a place for its hash.  0 or -ENOMEM. */
static int rewrite(struct reading_source *s, struct telemetry *t)
{
	CLEANUP(buf_done) struct buf changed = BUF_INIT;

	t->has_hash = true;
	telemetry_append(&changed, t);
	buf_reset(&s->payload);
	buf_append(&s->payload, changed.data, changed.len);
	return buf_error(&s->payload) < 0 || buf_error(&changed) < 0 ? -ENOMEM : 0;
}

static int next_line(struct reading_source *s, struct fleet_reading *ret, struct reading_error *ret_error)
{
	enum inject what = INJECT_NOTHING;
	struct telemetry t;
	char why[128] = "";
	ssize_t n;
	int r;

	do {
		n = getline(&s->line, &s->line_cap, s->file);
		s->line_number++;
	} while (n > 0 && strspn(s->line, " \t\r\n") == (size_t)n);
	if (n < 0)
		return ferror(s->file) ? -EIO : -ENODATA;
	buf_reset(&s->payload);
	r = telemetry_from_json(&s->payload, s->line, (size_t)n, s->keyed ? NULL : &siphash_open_key, why);
	if (r == 0)
		r = telemetry_parse(&t, s->payload.data, s->payload.len);
	if (r == 0 && t.device_id.len == 0) {
		snprintf(why, sizeof(why), "device_id is missing");
		r = -EBADMSG;
	}
	if (r == 0)
		r = device_of(s, t.device_id, &ret->device);
	if (r == 0) {
		ret->timestamp_ns = t.has_timestamp ? t.timestamp_ns : clock_wall_ns();
		if (s->injector)
			what = injector_apply(s->injector, ret->device, &t, ret->timestamp_ns);
		if (what == INJECT_WITHHELD)
			return WITHHELD;
		if (what == INJECT_CHANGED || !t.has_hash)
			r = rewrite(s, &t);
	}
	if (r < 0) {
		snprintf(ret_error->text, sizeof(ret_error->text), "line %llu: %s", (unsigned long long)s->line_number,
			 why[0] ? why : strerror(-r));
		return r;
	}
	sign(s, ret);
	return 1;
}

/* The next line in its own time. */
static int play(struct reading_source *s, int64_t now_ns, struct fleet_reading *ret, int64_t *ret_due_ns,
		struct reading_error *ret_error)
{
	int r = s->has_next ? 1 : next_line(s, &s->next, ret_error);

	if (r != 1)
		return r;
	if (s->start_ns == 0) {
		s->start_ns = now_ns;
		s->first_ns = s->next.timestamp_ns;
	}

	double after_ns = s->speed > 0 ? (double)(s->next.timestamp_ns - s->first_ns) / s->speed : 0;

	s->has_next = after_ns > (double)(now_ns - s->start_ns);
	*ret = s->next;
	if (s->has_next)
		*ret_due_ns = s->start_ns + (int64_t)MIN(after_ns, PLAY_AFTER_MAX);
	return !s->has_next;
}

/* ------------------------------------------------------------------ made up */

static double walk(struct reading_source *s, double at, double low, double high, double step)
{
	return CLAMP(at + (rand_uniform(&s->random) - 0.5) * step, low, high);
}

static double hundredths(double v)
{
	return round(v * 100) / 100;
}

int readings_synthetic(struct reading_source **ret, const struct synthetic_options *options, const struct siphash_key *master)
{
	struct reading_source *s;
	int r = source_new(&s, master);

	if (r < 0)
		return r;
	s->synthetic = *options;
	s->random = options->seed | 1;
	for (uint32_t i = 0; i < options->devices; i++) {
		char id[SLUICE_DEVICE_MAX + 1];
		uint32_t device;
		int n = snprintf(id, sizeof(id), "%.20s%06u", options->prefix, i);

		r = add_device(s, SLICE(id, (size_t)n), &device);
		if (r < 0) {
			readings_free(s);
			return r;
		}
		s->devices[device].temperature = 18 + 6 * rand_uniform(&s->random);
		s->devices[device].humidity = 40 + 20 * rand_uniform(&s->random);
		s->devices[device].light = 200 * rand_uniform(&s->random);
	}
	*ret = s;
	return 0;
}

static double temperature_of(struct reading_source *s, uint32_t device, int64_t now_ns)
{
	const struct synthetic_options *o = &s->synthetic;
	struct device *d = &s->devices[device];

	d->temperature = walk(s, d->temperature, 10, 35, 0.1);
	if (device != 0 || o->spike_at_s < 0)
		return d->temperature;
	if (s->spike_ns == 0 && now_ns - s->start_ns >= (int64_t)(o->spike_at_s * NS_PER_S)) {
		s->spike_ns = clock_wall_ns();
		s->spike_left = SPIKE_READINGS;
	}
	if (s->spike_left == 0)
		return d->temperature;
	s->spike_left--;
	return d->temperature + SPIKE_JUMP;
}

static int make_up(struct reading_source *s, int64_t now_ns, struct fleet_reading *ret, int64_t *ret_due_ns)
{
	const struct synthetic_options *o = &s->synthetic;

	if (s->start_ns == 0)
		s->start_ns = now_ns;

	int64_t due_ns = s->start_ns + (int64_t)((double)s->made / o->rate * NS_PER_S);

	if (due_ns > now_ns) {
		*ret_due_ns = due_ns;
		return 0;
	}

	uint32_t device = (uint32_t)(s->made++ % o->devices);
	struct device *d = &s->devices[device];

	d->humidity = walk(s, d->humidity, 20, 90, 0.5);
	d->light = walk(s, d->light, 0, 1000, 5);

	/* Names in bytewise order: part of the identity. */
	struct telemetry t = {
		.has_hash = true,
		.has_timestamp = true,
		.timestamp_ns = clock_wall_ns() / NS_PER_MS * NS_PER_MS,
		.device_id = SLICE_STR(d->id),
		.region = SLICE_STR(o->region),
		.n_metrics = 4,
		.metrics = {
			{ SLICE_STR("humidity"), hundredths(d->humidity) },
			{ SLICE_STR("light"), hundredths(d->light) },
			{ SLICE_STR("temperature"), hundredths(temperature_of(s, device, now_ns)) },
			{ SLICE_STR("voltage"), hundredths(2.7 + 0.3 * rand_uniform(&s->random)) },
		},
	};

	if (s->injector && injector_apply(s->injector, device, &t, t.timestamp_ns) == INJECT_WITHHELD)
		return WITHHELD;
	buf_reset(&s->payload);
	telemetry_append(&s->payload, &t);
	if (buf_error(&s->payload) < 0)
		return -ENOMEM;
	ret->device = device;
	ret->timestamp_ns = t.timestamp_ns;
	sign(s, ret);
	return 1;
}

double readings_synthetic_jump(const char *metric)
{
	static const struct {
		const char *metric;
		double jump;
	} jumps[] = { { "humidity", 60 }, { "light", 800 }, { "temperature", SPIKE_JUMP }, { "voltage", 1.5 } };

	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++)
		if (strcmp(jumps[i].metric, metric) == 0)
			return jumps[i].jump;
	return 0;
}

int readings_inject(struct reading_source *s, struct injector *injector, struct reading_error *ret_error)
{
	int r = 0;

	for (uint32_t i = 0; i < s->n_devices && r == 0; i++)
		r = injector_meet(injector, i, s->devices[i].id);
	if (r == 0 && !s->file)
		r = injector_choose(injector, s->n_devices, ret_error->text);
	if (r == 0)
		s->injector = injector;
	return r;
}

int readings_next(struct reading_source *s, int64_t now_ns, struct fleet_reading *ret, int64_t *ret_due_ns,
		  struct reading_error *ret_error)
{
	int r;

	do
		r = s->file ? play(s, now_ns, ret, ret_due_ns, ret_error) : make_up(s, now_ns, ret, ret_due_ns);
	while (r == WITHHELD);
	return r;
}

uint32_t readings_devices(const struct reading_source *s)
{
	return s->n_devices;
}

int64_t readings_spike_ns(const struct reading_source *s)
{
	return s->spike_ns;
}

const char *readings_device_id(const struct reading_source *s, uint32_t device)
{
	return s->devices[device].id;
}
