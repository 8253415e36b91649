#include "ctl/inject.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/rand.h"
#include "codec/csv.h"

#define NO_TARGET UINT32_MAX
#define SECONDS_MAX 1e9
#define SIZE_MAX_ABS 1e15
#define DECIMALS_MAX 6

/* A device that an injection is meant for. */
struct target {
	uint32_t device, injection;
	uint32_t next;             /* of the same device */
	int64_t begun_ns, last_ns; /* of the readings that were hit; valid when hit */
	bool hit, over;
	unsigned decimals;         /* that the metric has at most */
	double held;               /* flatline */
};

struct injector {
	struct injection *list;
	size_t n;
	uint64_t random;
	bool begun;
	int64_t start_ns; /* of the first reading */
	struct target *targets;
	uint32_t n_targets, cap_targets;
	uint32_t *first; /* of each device, or NO_TARGET */
	uint32_t n_devices, cap_devices;
};

/* ------------------------------------------------------------------ what is asked for */

__attribute__((format(printf, 3, 4))) static int refuse(char ret_error[INJECT_ERROR], const char *text, const char *format, ...)
{
	int n = snprintf(ret_error, INJECT_ERROR, "%.100s: ", text);
	va_list list;

	va_start(list, format);
	vsnprintf(ret_error + n, INJECT_ERROR - (size_t)n, format, list);
	va_end(list);
	return -EINVAL;
}

/* Plain decimal digits, so that + and x stay what they are here. */
static bool take_number(const char **at, double max, double *ret)
{
	size_t n = strspn(*at, "0123456789.");
	char text[32], *end;

	if (n == 0 || n >= sizeof(text))
		return false;
	memcpy(text, *at, n);
	text[n] = 0;
	*ret = strtod(text, &end);
	*at += n;
	return !*end && *ret <= max;
}

static bool has_size(enum detector_kind kind)
{
	return kind == DETECTOR_SPIKE || kind == DETECTOR_LEVEL_SHIFT || kind == DETECTOR_DRIFT || kind == DETECTOR_VARIANCE;
}

static int take_kind(struct injection *to, const char *text, const char **at, char ret_error[INJECT_ERROR])
{
	size_t n = strcspn(text, ":@"), metric;
	char name[32] = "";

	memcpy(name, text, MIN(n, sizeof(name) - 1));
	to->kind = detector_kind_named(name);
	if (!has_size(to->kind) && to->kind != DETECTOR_FLATLINE && to->kind != DETECTOR_SILENCE)
		return refuse(ret_error, text, "%s is none of the kinds spike, level-shift, drift, variance, flatline, silence", name);
	*at = text + n;
	if (**at != ':')
		return 0;
	metric = strcspn(*at + 1, "@");
	if (to->kind == DETECTOR_SILENCE)
		return refuse(ret_error, text, "silence is a device's, not a metric's: leave :%.*s out", (int)metric, *at + 1);
	if (metric == 0 || metric > TELEMETRY_NAME_MAX)
		return refuse(ret_error, text, "a metric's name has 1 to %d bytes", TELEMETRY_NAME_MAX);
	memcpy(to->metric, *at + 1, metric);
	*at += 1 + metric;
	return 0;
}

static int take_time(struct injection *to, const char *text, const char **at, char ret_error[INJECT_ERROR])
{
	bool fine = *(*at)++ == '@' && take_number(at, SECONDS_MAX, &to->start_s) && *(*at)++ == '+' &&
		    take_number(at, SECONDS_MAX, &to->length_s);

	if (!fine)
		return refuse(ret_error, text, "expected KIND[:METRIC]@START+LENGTH in seconds, as in spike:temperature@60+3");
	if (to->kind == DETECTOR_DRIFT && to->length_s == 0)
		return refuse(ret_error, text, "a drift needs a LENGTH");
	if (**at != 'x')
		return 0;

	double sign = (*at)[1] == '-' ? -1 : 1;

	*at += sign < 0 ? 2 : 1;
	if (!has_size(to->kind))
		return refuse(ret_error, text, "%s has no SIZE", detector_kind_name(to->kind));
	if (!take_number(at, SIZE_MAX_ABS, &to->size))
		return refuse(ret_error, text, "expected a number as SIZE, as in spike:temperature@60+3x35");
	to->size *= sign;
	return 0;
}

static int take_devices(struct injection *to, const char *text, const char *at, char ret_error[INJECT_ERROR])
{
	double n;

	if (!*at)
		return 0;
	if (strncmp(at, ",device=", 8) == 0) {
		size_t len = strlen(at + 8);

		if (len == 0 || len > SLUICE_DEVICE_MAX)
			return refuse(ret_error, text, "a device's id has 1 to %d bytes", SLUICE_DEVICE_MAX);
		memcpy(to->device, at + 8, len);
		return 0;
	}
	if (strncmp(at, ",devices=", 9) != 0)
		return refuse(ret_error, text, "%s is not understood: after SIZE comes ,device=ID or ,devices=N", at);
	at += 9;
	if (!take_number(&at, 1e7, &n) || *at || n < 1 || n != floor(n))
		return refuse(ret_error, text, "expected a number of devices from 1 on");
	to->devices = (uint32_t)n;
	return 0;
}

int injection_parse(struct injection *ret, const char *text, char ret_error[INJECT_ERROR])
{
	struct injection to = { .size = NAN, .devices = 1 };
	const char *at = text;
	int r = take_kind(&to, text, &at, ret_error);

	if (r == 0)
		r = take_time(&to, text, &at, ret_error);
	if (r == 0)
		r = take_devices(&to, text, at, ret_error);
	if (r == 0)
		*ret = to;
	return r;
}

/* ------------------------------------------------------------------ whom it is for */

int injector_new(struct injector **ret, const struct injection *list, size_t n, uint64_t seed)
{
	struct injector *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->list = calloc(n + 1, sizeof(*j->list));
	if (!j->list) {
		free(j);
		return -ENOMEM;
	}
	memcpy(j->list, list, n * sizeof(*list));
	j->n = n;
	j->random = seed | 1;
	*ret = j;
	return 0;
}

void injector_free(struct injector *j)
{
	if (!j)
		return;
	free(j->list);
	free(j->targets);
	free(j->first);
	free(j);
}

static int know(struct injector *j, uint32_t device)
{
	if (array_reserve(&j->first, &j->cap_devices, device + 1, 16, sizeof(*j->first)) < 0)
		return -ENOMEM;
	while (j->n_devices <= device)
		j->first[j->n_devices++] = NO_TARGET;
	return 0;
}

static int add_target(struct injector *j, uint32_t device, uint32_t injection)
{
	if (know(j, device) < 0)
		return -ENOMEM;
	if (array_reserve(&j->targets, &j->cap_targets, j->n_targets + 1, 16, sizeof(*j->targets)) < 0)
		return -ENOMEM;
	j->targets[j->n_targets] = (struct target){ .device = device, .injection = injection, .next = j->first[device] };
	j->first[device] = j->n_targets++;
	return 0;
}

/* Each of the n with the same probability: D. Knuth, The Art of Computer Programming, 3.4.2, algorithm S. */
static int choose(struct injector *j, uint32_t injection, uint32_t n)
{
	uint32_t wanted = j->list[injection].devices;
	int r = 0;

	for (uint32_t i = 0; i < n && wanted > 0 && r == 0; i++) {
		if (rand_uniform(&j->random) * (n - i) >= wanted)
			continue;
		wanted--;
		r = add_target(j, i, injection);
	}
	return r;
}

static bool is_met(const struct injector *j, uint32_t injection)
{
	for (uint32_t i = 0; i < j->n_targets; i++)
		if (j->targets[i].injection == injection)
			return true;
	return false;
}

int injector_choose(struct injector *j, uint32_t n, char ret_error[INJECT_ERROR])
{
	int r = 0;

	for (uint32_t i = 0; i < j->n && r == 0; i++) {
		if (j->list[i].device[0] && is_met(j, i))
			continue;
		if (j->list[i].device[0]) {
			snprintf(ret_error, INJECT_ERROR, "an injection is meant for device %s, and there is none of that name",
				 j->list[i].device);
			return -EINVAL;
		}
		if (j->list[i].devices > n) {
			snprintf(ret_error, INJECT_ERROR, "an injection is meant for %" PRIu32 " devices, and there are %" PRIu32,
				 j->list[i].devices, n);
			return -EINVAL;
		}
		r = choose(j, i, n);
	}
	return r;
}

int injector_meet(struct injector *j, uint32_t device, const char *device_id)
{
	int r = 0;

	for (uint32_t i = 0; i < j->n && r == 0; i++)
		if (strcmp(j->list[i].device, device_id) == 0)
			r = add_target(j, device, i);
	return r;
}

/* ------------------------------------------------------------------ what happens */

static unsigned decimals_of(double v)
{
	double power = 1;
	unsigned n = 0;

	while (n < DECIMALS_MAX && round(v * power) / power != v) {
		power *= 10;
		n++;
	}
	return n;
}

/* With the decimals that the metric has by itself: else they alone would give it away. */
static double rounded(double v, unsigned decimals)
{
	double power = pow(10, decimals);

	return round(v * power) / power + 0.0; /* never -0 */
}

static double distorted(struct injector *j, const struct target *g, double v, int64_t time_ns)
{
	const struct injection *in = &j->list[g->injection];
	double at = (double)(time_ns - g->begun_ns) / (in->length_s * NS_PER_S);

	switch (in->kind) {
	case DETECTOR_DRIFT:
		return v + in->size * at;
	case DETECTOR_VARIANCE:
		return v + in->size * (2 * rand_uniform(&j->random) - 1);
	case DETECTOR_FLATLINE:
		return g->held;
	default:
		return v + in->size;
	}
}

/* Whether this reading is one of its. */
static bool is_meant(const struct injector *j, struct target *g, int64_t time_ns)
{
	const struct injection *in = &j->list[g->injection];

	if (g->over || (double)(time_ns - j->start_ns) < in->start_s * NS_PER_S)
		return false;
	if (g->hit && (double)(time_ns - g->begun_ns) >= in->length_s * NS_PER_S) {
		g->over = true;
		return false;
	}
	return true;
}

static void hit(struct target *g, int64_t time_ns)
{
	if (!g->hit)
		g->begun_ns = time_ns;
	g->hit = true;
	g->last_ns = time_ns;
}

static enum inject apply(struct injector *j, struct target *g, struct telemetry *t, int64_t time_ns)
{
	const struct injection *in = &j->list[g->injection];

	if (in->kind == DETECTOR_SILENCE) {
		if (!is_meant(j, g, time_ns))
			return INJECT_NOTHING;
		hit(g, time_ns);
		return INJECT_WITHHELD;
	}
	for (uint32_t m = t->n_metrics; m-- > 0;) { /* of a name that stands there twice the last one counts */
		struct telemetry_metric *metric = &t->metrics[m];

		if (metric->name.len != strlen(in->metric) || memcmp(metric->name.data, in->metric, metric->name.len) != 0 ||
		    !isfinite(metric->value))
			continue;
		g->decimals = MAX(g->decimals, decimals_of(metric->value));
		if (!is_meant(j, g, time_ns))
			return INJECT_NOTHING;
		if (!g->hit)
			g->held = metric->value;
		hit(g, time_ns);
		metric->value = rounded(distorted(j, g, metric->value, time_ns), g->decimals);
		return INJECT_CHANGED;
	}
	return INJECT_NOTHING;
}

enum inject injector_apply(struct injector *j, uint32_t device, struct telemetry *t, int64_t time_ns)
{
	enum inject what = INJECT_NOTHING;

	if (!j->begun)
		j->start_ns = time_ns;
	j->begun = true;
	for (uint32_t i = device < j->n_devices ? j->first[device] : NO_TARGET; i != NO_TARGET; i = j->targets[i].next)
		what = MAX(what, apply(j, &j->targets[i], t, time_ns));
	return what;
}

/* ------------------------------------------------------------------ the truth */

void injector_truth(const struct injector *j, const char *(*id_of)(const void *context, uint32_t device), const void *context,
		    struct buf *out)
{
	buf_append_str(out, "device_id,metric,kind,start_ns,end_ns\n");
	for (uint32_t i = 0; i < j->n_targets; i++) {
		const struct target *g = &j->targets[i];
		const struct injection *in = &j->list[g->injection];

		if (!g->hit)
			continue;
		csv_append_field(out, SLICE_STR(id_of(context, g->device)));
		buf_append_u8(out, ',');
		csv_append_field(out, SLICE_STR(in->metric));
		buf_printf(out, ",%s,%" PRId64 ",%" PRId64 "\n", detector_kind_name(in->kind), g->begun_ns, g->last_ns);
	}
}

uint32_t injector_hits(const struct injector *j, size_t injection)
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < j->n_targets; i++)
		hits += j->targets[i].injection == injection && j->targets[i].hit;
	return hits;
}
