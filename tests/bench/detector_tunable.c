/* The detector as a shared object whose constants can be changed while it runs: what tune.py searches with, and what
 * bench_detect.py sets to constants other than the shipped ones (tunable.py drives it).  It is detector.c itself, compiled
 * once more with DETECTOR_TUNABLE. */
#include "analytics/detector.c"

/* Weights have no bounds of their own in detector_parameters.def. */
#define WEIGHT_MOST 8

struct constant {
	const char *name;
	double *value; /* or */
	float *weight;
	double least, most;
};

/* PARAMETERs by their names, an aspect's weight as weight_X. */
static const struct constant constants[] = {
#define PARAMETER(name, value, least, most, what) { #name, &detector_p.name, NULL, least, most },
#define ASPECT(name, weight, kind, what) { "weight_" #name, NULL, &detector_weight[ASPECT_##name], 0, WEIGHT_MOST },
#include "analytics/detector_parameters.def"
};

int tunable_count(void);
const struct constant *tunable_constants(void);
void tunable_scores(const int64_t *time_ns, const double *value, int64_t n, double *ret);

int tunable_count(void)
{
	return (int)ARRAY_SIZE(constants);
}

const struct constant *tunable_constants(void)
{
	return constants;
}

/* A time that is repeated or goes back is left out, as codec/series.h does; its score is 0. */
void tunable_scores(const int64_t *time_ns, const double *value, int64_t n, double *ret)
{
	struct detector d;
	struct detection found;

	detector_init(&d);
	for (int64_t i = 0; i < n; i++) {
		detector_update(&d, time_ns[i], value[i], &found);
		ret[i] = found.score;
	}
}
