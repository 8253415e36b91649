/* Which anomalies are alerts: rules in YAML.
 *
 *     rules:
 *       - name: cold-room
 *         from: [device]             # device, window; default both
 *         type: thermometer          # globs over type, metric, place, region, device; default "*"
 *         kinds: [spike, drift]      # default all
 *         min_score: 0.99            # default 0: whatever was noticed
 *         window: {devices: 10, count: 100, completeness: 0.9}   # what a window must have; default nothing
 *         severity: warning          # info, warning, critical; ignore: matched, and no alert
 *         min_duration: 30s          # how long the anomaly must last; default 0s
 *         group_by: place            # device, place, type: whose events may be one alert; default place
 *         group_window: 30s          # how far apart their onsets may lie; default 30s
 *         escalate: {after: 10min, devices: 10, to: critical}    # either; once; default never
 *         clear_after: 1min          # how long all must have been quiet; default 1min
 *     maintenance:                   # meanwhile nothing is raised for what matches
 *       - {name: firmware week, from: 2026-11-24T08:00:00Z, to: 2026-11-24T10:00:00Z, place: "hall-*"}
 *
 * The first rule that a signal matches decides.  Down to `window` the keys above say what matches; `window` is asked of
 * windows only.  A silent device has no metric: of the globs over metric only those that match "" match it.
 *
 * Errors are those of a configuration: file:line:column, what is wrong, what to write instead.
 * Immutable once made; any thread may read.
 */
#pragma once

#include <stdio.h>

#include "alerts/signal.h"

#define RULES_MAX 256
#define RULES_MAINTENANCE_MAX 256
#define RULES_NAME_MAX 64
#define RULES_CLEAR_AFTER_NS (60 * NS_PER_S)

enum alert_severity { SEVERITY_IGNORE, SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL, SEVERITIES };
enum alert_group { GROUP_BY_DEVICE, GROUP_BY_PLACE, GROUP_BY_TYPE, GROUPS };

struct alert_globs { /* NULL: anything */
	char *type, *metric, *place, *region, *device;
};

struct alert_rule {
	char *name;
	uint32_t from;  /* bits by enum signal_origin */
	uint32_t kinds; /* bits by enum detector_kind; RULES_ALL_KINDS: also those that we do not know */
	struct alert_globs globs;
	double min_score;
	int64_t window_devices, window_count;
	double window_completeness;
	int severity; /* enum alert_severity */
	int group_by; /* enum alert_group */
	int64_t min_duration_ns, group_window_ns, clear_after_ns;
	int64_t escalate_after_ns, escalate_devices; /* 0: never for that */
	int escalate_to;                             /* SEVERITY_IGNORE: never */
};
#define RULES_ALL_KINDS UINT32_MAX

struct alert_maintenance {
	char *name;
	int64_t from_ns, to_ns;
	struct alert_globs globs;
};

struct alert_rules {
	struct alert_rule *rules;
	uint32_t n_rules;
	struct alert_maintenance *maintenance;
	uint32_t n_maintenance;
	uint64_t serial; /* another one for each that was made: what was matched before need not be again */
};

struct rules_error {
	char text[512];
};

/* What holds without a file. */
extern const char rules_builtin[];

/* name stands for the file in errors.  0; -EINVAL with a sentence; -ENOMEM. */
int rules_parse(struct alert_rules **ret, const char *name, const char *text, size_t len, struct rules_error *ret_error);
/* "": the built-in ones.  Also the errno of reading the file, with a sentence. */
int rules_load(struct alert_rules **ret, const char *path, struct rules_error *ret_error);
void rules_free(struct alert_rules *rules);

/* NULL: none matches. */
const struct alert_rule *rules_match(const struct alert_rules *rules, const struct alert_signal *s);
const struct alert_rule *rules_named(const struct alert_rules *rules, const char *name);
/* The maintenance in which a signal's place lies at that time, or NULL. */
const struct alert_maintenance *rules_maintenance(const struct alert_rules *rules, const struct alert_signal *s,
						  int64_t at_ns);
/* In their order, one a line, for people. */
void rules_print(const struct alert_rules *rules, FILE *out);

/* "info", ...; by name SEVERITIES: there is none. */
const char *severity_name(int severity);
int severity_named(const char *name);
extern const char *const group_names[GROUPS]; /* "device", "place", "type" */
