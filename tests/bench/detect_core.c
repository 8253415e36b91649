/* The detector on many series in one process, for bench_detect.py, which is one of two ways to the same scores: it holds
 * some of them against those of `sluice detect --csv`, which reads one file a process.
 *
 *   detect_core scores            each value's score and kind
 *   detect_core alerts RATE...    what would be raised at so many false alarms a week, silence (by time) included
 *   detect_core time              CPU ns an update
 *   detect_core size              bytes of a series' state, and of its event
 *
 * Series come on stdin in the machine's own byte order: {int64 n, n times in ns, n values (double)}.  Answers on stdout,
 * for each series in turn:
 *
 *   scores   n doubles, then n bytes (enum detector_kind)
 *   alerts   for each rate {int64 count, count times {int64 time in ns, int64 kind that it had in the end}}
 *
 * Time.  An update's cost is that of a loop over the values less that of the same loop without it, in CPU time of this
 * process; the loop without adds what it reads, so that it reads it.  Two figures: each series from beginning to end,
 * where its state stays in the nearest cache, and SERIES_IN_TURN series that get one value each in turn, where it has
 * left that: a region's and an aggregator's case.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analytics/anomaly.h"
#include "analytics/detector.h"
#include "base/clock.h"
#include "base/macros.h"

#define VALUES_MAX (1 << 24) /* of one series */
#define SERIES_MAX 4096
#define RATES_MAX 8
#define SERIES_IN_TURN 10000
#define ROUNDS_BEFORE 1000
#define ROUNDS 200
#define UPDATES_LEAST 3000000 /* of series from beginning to end */

struct series {
	int64_t n, *time_ns;
	double *value;
};

static void die(const char *what)
{
	fprintf(stderr, "detect_core: %s\n", what);
	exit(1);
}

static void *allocate(size_t n, size_t size)
{
	void *p = calloc(MAX(n, (size_t)1), size);

	if (!p)
		die("out of memory");
	return p;
}

static void read_exactly(void *to, size_t size, int64_t n)
{
	if (fread(to, size, (size_t)n, stdin) != (size_t)n)
		die("a series is cut short");
}

static bool read_series(struct series *ret)
{
	if (fread(&ret->n, sizeof(ret->n), 1, stdin) != 1)
		return false;
	if (ret->n < 0 || ret->n > VALUES_MAX)
		die("a series is too long");
	ret->time_ns = allocate((size_t)ret->n, sizeof(*ret->time_ns));
	ret->value = allocate((size_t)ret->n, sizeof(*ret->value));
	read_exactly(ret->time_ns, sizeof(*ret->time_ns), ret->n);
	read_exactly(ret->value, sizeof(*ret->value), ret->n);
	return true;
}

static void free_series(struct series *s)
{
	free(s->time_ns);
	free(s->value);
}

static void answer(const void *from, size_t size, int64_t n)
{
	if (fwrite(from, size, (size_t)n, stdout) != (size_t)n)
		die("cannot write");
}

/* ------------------------------------------------------------------ scores */

static void scores_of(const struct series *s)
{
	double *score = allocate((size_t)s->n, sizeof(*score));
	uint8_t *kind = allocate((size_t)s->n, sizeof(*kind));
	struct detector d;
	struct detection found;
	int64_t last_ns = INT64_MIN;

	detector_init(&d);
	for (int64_t i = 0; i < s->n; i++) {
		/* A time that is repeated or goes back is left out, as codec/series.h does; both stay 0. */
		if (s->time_ns[i] <= last_ns)
			continue;
		last_ns = s->time_ns[i];
		detector_update(&d, last_ns, s->value[i], &found);
		score[i] = found.score;
		kind[i] = (uint8_t)found.kind;
	}
	answer(score, sizeof(*score), s->n);
	answer(kind, sizeof(*kind), s->n);
	free(score);
	free(kind);
}

/* ------------------------------------------------------------------ alerts */

struct raised {
	int64_t time_ns, kind;
};

struct rate {
	double per_week;
	struct anomaly anomaly;
	struct raised *raised;
	int64_t n;
};

static void note(struct rate *r, enum anomaly_step step, int64_t time_ns)
{
	if (step == ANOMALY_RAISED)
		r->raised[r->n++] = (struct raised){ time_ns, r->anomaly.kind };
	if (step == ANOMALY_RENAMED)
		r->raised[r->n - 1].kind = r->anomaly.kind;
}

/* A silence is raised at its time, before the value that ends it. */
static void alerts_of(const struct series *s, struct rate *rates, int n_rates)
{
	struct detector d;
	struct detection found;

	detector_init(&d);
	for (int r = 0; r < n_rates; r++) {
		rates[r].anomaly = (struct anomaly){ 0 };
		rates[r].raised = allocate((size_t)s->n * 2, sizeof(*rates[r].raised));
		rates[r].n = 0;
	}
	for (int64_t i = 0; i < s->n; i++) {
		for (int r = 0; i > 0 && r < n_rates; r++) {
			int64_t silent_ns = detector_silent_at_ns(&d, rates[r].per_week);

			if (s->time_ns[i] > silent_ns)
				note(&rates[r], anomaly_silent(&rates[r].anomaly, s->time_ns[i - 1]), silent_ns);
			anomaly_heard(&rates[r].anomaly);
		}
		detector_update(&d, s->time_ns[i], s->value[i], &found);
		for (int r = 0; r < n_rates; r++)
			note(&rates[r], anomaly_update(&rates[r].anomaly, detector_threshold(rates[r].per_week),
						       s->time_ns[i], &found), s->time_ns[i]);
	}
	for (int r = 0; r < n_rates; r++) {
		answer(&rates[r].n, sizeof(rates[r].n), 1);
		answer(rates[r].raised, sizeof(*rates[r].raised), rates[r].n);
		free(rates[r].raised);
	}
}

/* ------------------------------------------------------------------ time */

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static volatile double sink;

/* Of all values once. */
static int64_t pass_ns(const struct series *series, int n_series, bool update)
{
	struct detector d;
	struct detection found = { 0 };
	double sum = 0;
	int64_t start_ns = cpu_ns();

	for (int k = 0; k < n_series; k++) {
		const struct series *s = &series[k];

		detector_init(&d);
		for (int64_t i = 0; i < s->n; i++) {
			if (update)
				detector_update(&d, s->time_ns[i], s->value[i], &found);
			sum += s->value[i] + (double)s->time_ns[i] + found.score;
		}
	}
	sink = sum;
	return cpu_ns() - start_ns;
}

struct input {
	int64_t time_ns;
	double value;
};

/* What each state gets in a round, laid side by side: in a daemon it has just arrived.  Each has a series and a place in
 * it where it begins, its own, so that seasons and odd values don't coincide. */
static void prepare_round(struct input *inputs, const struct series *series, int n_series, int round)
{
	for (int k = 0; k < SERIES_IN_TURN; k++) {
		const struct series *s = &series[k % n_series];
		int64_t i = k * 37LL % (s->n - ROUNDS_BEFORE - ROUNDS) + round;

		inputs[k] = (struct input){ s->time_ns[i], s->value[i] };
	}
}

static int64_t round_ns(struct detector *states, const struct input *inputs, bool update)
{
	struct detection found = { 0 };
	double sum = 0;
	int64_t start_ns = cpu_ns();

	for (int k = 0; k < SERIES_IN_TURN; k++) {
		if (update)
			detector_update(&states[k], inputs[k].time_ns, inputs[k].value, &found);
		sum += inputs[k].value + (double)inputs[k].time_ns + found.score;
	}
	sink = sum;
	return cpu_ns() - start_ns;
}

static double in_turn_ns(const struct series *series, int n_series)
{
	struct detector *states = allocate(SERIES_IN_TURN, sizeof(*states));
	struct input *inputs = allocate(SERIES_IN_TURN, sizeof(*inputs));
	int64_t sum_ns = 0;

	for (int k = 0; k < SERIES_IN_TURN; k++)
		detector_init(&states[k]);
	for (int round = 0; round < ROUNDS_BEFORE + ROUNDS; round++) {
		prepare_round(inputs, series, n_series, round);

		int64_t without_ns = round_ns(states, inputs, false), with_ns = round_ns(states, inputs, true);

		if (round >= ROUNDS_BEFORE)
			sum_ns += with_ns - without_ns;
	}
	free(states);
	free(inputs);
	return (double)sum_ns / ROUNDS / SERIES_IN_TURN;
}

static void measure(void)
{
	static struct series series[SERIES_MAX];
	int64_t values = 0, updates = 0, with_ns = 0, without_ns = 0;
	int n = 0, n_long = 0;

	while (n < SERIES_MAX && read_series(&series[n]))
		values += series[n++].n;
	if (values == 0)
		die("no values");
	/* Side by side, pass by pass, so that what else the machine does meets both. */
	do {
		with_ns += pass_ns(series, n, true);
		without_ns += pass_ns(series, n, false);
		updates += values;
	} while (updates < UPDATES_LEAST);
	printf("%.2f", (double)(with_ns - without_ns) / (double)updates);

	for (int k = 0; k < n; k++) {
		if (series[k].n > ROUNDS_BEFORE + ROUNDS)
			series[n_long++] = series[k];
		else
			free_series(&series[k]);
	}
	if (n_long == 0)
		die("no series is long enough");
	printf(" %.2f %d\n", in_turn_ns(series, n_long), SERIES_IN_TURN);
	for (int k = 0; k < n_long; k++)
		free_series(&series[k]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct rate rates[RATES_MAX] = { 0 };
	struct series s;
	int n_rates = argc - 2;

	if (!strcmp(what, "size")) {
		printf("%zu %zu\n", sizeof(struct detector), sizeof(struct anomaly));
	} else if (!strcmp(what, "time")) {
		measure();
	} else if (!strcmp(what, "scores")) {
		for (; read_series(&s); free_series(&s))
			scores_of(&s);
	} else if (!strcmp(what, "alerts") && n_rates > 0 && n_rates <= RATES_MAX) {
		for (int r = 0; r < n_rates; r++)
			rates[r].per_week = atof(argv[2 + r]);
		for (; read_series(&s); free_series(&s))
			alerts_of(&s, rates, n_rates);
	} else {
		die("one of: scores, alerts RATE..., time, size");
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
