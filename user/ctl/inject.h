/* Anomalies put into readings on purpose, so that what is found can be compared with the truth.
 *
 * An injection begins with its device's first reading at START or later and goes on for LENGTH, by the readings' own
 * time, counted from the first reading of all; so it hits at least one reading if there is one.  What was changed, and
 * from when to when, is the truth, which injector_truth() writes.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analytics/detector.h"
#include "base/buf.h"
#include "codec/telemetry.h"

#define INJECTIONS_MAX 64
#define INJECT_ERROR 256

struct injection {
	enum detector_kind kind;
	char metric[TELEMETRY_NAME_MAX + 1]; /* "": silence, or not said */
	double start_s, length_s;
	double size; /* in the metric's own unit; NAN: not said */
	char device[SLUICE_DEVICE_MAX + 1]; /* "": chosen by the seed */
	uint32_t devices;                   /* so many */
};

/* KIND[:METRIC]@START+LENGTH[xSIZE][,device=ID | ,devices=N].  0, or -EINVAL with a sentence. */
int injection_parse(struct injection *ret, const char *text, char ret_error[INJECT_ERROR]);

struct injector;

/* The list is copied. 0 or -ENOMEM. */
int injector_new(struct injector **ret, const struct injection *list, size_t n, uint64_t seed);
void injector_free(struct injector *j);

/* Devices 0..n-1, all met, are all that there are: chooses among them.  0; -ENOMEM; -EINVAL with a sentence. */
int injector_choose(struct injector *j, uint32_t n, char ret_error[INJECT_ERROR]);
/* A device that was not known before. 0 or -ENOMEM. */
int injector_meet(struct injector *j, uint32_t device, const char *device_id);

enum inject {
	INJECT_NOTHING,
	INJECT_CHANGED,  /* a value of t */
	INJECT_WITHHELD, /* not to be sent */
};
/* A reading that is about to be sent, in the order of the device's time. */
enum inject injector_apply(struct injector *j, uint32_t device, struct telemetry *t, int64_t time_ns);

/* Lines device_id,metric,kind,start_ns,end_ns under such a header: time of the first and of the last reading that was
 * changed or withheld.  id_of: of the devices met or chosen. */
void injector_truth(const struct injector *j, const char *(*id_of)(const void *context, uint32_t device), const void *context,
		    struct buf *out);
/* How many of its devices the injection of this number has hit. */
uint32_t injector_hits(const struct injector *j, size_t injection);
