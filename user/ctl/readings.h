/* Where the fleet's readings come from: a file of JSON lines, or devices that are made up.
 *
 * Both give the exact bytes of Telemetry, hash included.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "bpf/shared/siphash.h"
#include "ctl/inject.h"

struct reading_source;

struct fleet_reading {
	uint32_t device;      /* 0.. in order of first appearance: NSTART is counted by it */
	int64_t timestamp_ns; /* event time */
	struct slice payload; /* valid until the next call */
	uint64_t tag[2];
};

struct reading_error {
	char text[256];
};

/* master: NULL under `auth: open`. A bad line is an error that names its number.
 * speed: a reading is due when so many times its distance from the first one's time has passed; 0: all are, at once. */
int readings_from_file(struct reading_source **ret, const char *path, double speed, const struct siphash_key *master,
		       struct reading_error *ret_error);

struct synthetic_options {
	uint32_t devices;
	double rate;        /* readings a second, all devices together */
	uint64_t seed;      /* the same seed gives the same values */
	const char *prefix; /* of device ids: "eu-" gives eu-000000 */
	const char *region; /* "" = none in the payload */
	double spike_at_s;  /* < 0: none; device 0's temperature jumps for three readings */
};
int readings_synthetic(struct reading_source **ret, const struct synthetic_options *options, const struct siphash_key *master);
void readings_free(struct reading_source *s);

/* Of a made-up metric, a change that its ordinary course does not have, in its own unit; 0: there is no such metric. */
double readings_synthetic_jump(const char *metric);
/* Before the first reading: injects into all of them.  The injector stays the caller's.  0; -ENOMEM; -EINVAL with a
 * sentence. */
int readings_inject(struct reading_source *s, struct injector *injector, struct reading_error *ret_error);

/* The next reading that is due.  1: ret is set. 0: nothing before *ret_due_ns (monotonic).  -ENODATA: the end.
 * Another negative errno with a sentence: the file is wrong. */
int readings_next(struct reading_source *s, int64_t now_ns, struct fleet_reading *ret, int64_t *ret_due_ns,
		  struct reading_error *ret_error);

uint32_t readings_devices(const struct reading_source *s);
/* Wall clock of the first reading of the spike; 0 = none yet. */
int64_t readings_spike_ns(const struct reading_source *s);
const char *readings_device_id(const struct reading_source *s, uint32_t device);
