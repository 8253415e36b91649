#include "alerts/rules.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/detector.h"
#include "base/clock.h"

const char rules_builtin[] =
	"rules:\n"
	"  - name: device-silent\n"
	"    from: [device]\n"
	"    kinds: [silence]\n"
	"    severity: warning\n"
	"    group_window: 2min\n"
	"    escalate: {devices: 100, to: critical}\n"
	"  - name: device-anomaly\n"
	"    from: [device]\n"
	"    severity: warning\n"
	"    escalate: {after: 30min, devices: 50, to: critical}\n"
	"  - name: window-silent\n"
	"    from: [window]\n"
	"    kinds: [silence]\n"
	"    severity: critical\n"
	"  - name: window-anomaly\n"
	"    from: [window]\n"
	"    severity: warning\n"
	"    escalate: {after: 1h, to: critical}\n";

static const char *const severity_names[SEVERITIES] = { "ignore", "info", "warning", "critical" };
const char *const group_names[GROUPS] = { "device", "place", "type" };

const char *severity_name(int severity)
{
	return severity_names[severity];
}

int severity_named(const char *name)
{
	int severity = 0;

	while (severity < SEVERITIES && strcmp(name, severity_names[severity]) != 0)
		severity++;
	return severity;
}

static void globs_done(struct alert_globs *g)
{
	free(g->type);
	free(g->metric);
	free(g->place);
	free(g->region);
	free(g->device);
}

void rules_free(struct alert_rules *rules)
{
	if (!rules)
		return;
	for (uint32_t i = 0; i < rules->n_rules; i++) {
		free(rules->rules[i].name);
		globs_done(&rules->rules[i].globs);
	}
	for (uint32_t i = 0; i < rules->n_maintenance; i++) {
		free(rules->maintenance[i].name);
		globs_done(&rules->maintenance[i].globs);
	}
	free(rules->rules);
	free(rules->maintenance);
	free(rules);
}

/* ------------------------------------------------------------------ matching */

static bool glob_matches(const char *glob, const char *text)
{
	return !glob || fnmatch(glob, text, 0) == 0;
}

static bool globs_match(const struct alert_globs *g, const struct alert_signal *s)
{
	return glob_matches(g->type, s->type) && glob_matches(g->metric, s->metric) && glob_matches(g->place, s->place) &&
	       glob_matches(g->region, s->region) && glob_matches(g->device, s->device_id);
}

static bool kinds_match(uint32_t kinds, const char *kind)
{
	enum detector_kind k = detector_kind_named(kind);

	return kinds == RULES_ALL_KINDS || (k < DETECTOR_KINDS && kinds & 1u << k);
}

static bool window_suffices(const struct alert_rule *r, const struct alert_signal *s)
{
	return s->origin != SIGNAL_WINDOW ||
	       (s->devices >= (uint64_t)r->window_devices && s->count >= (uint64_t)r->window_count &&
		s->completeness >= r->window_completeness);
}

static bool rule_matches(const struct alert_rule *r, const struct alert_signal *s)
{
	return r->from & 1u << s->origin && s->score >= r->min_score && kinds_match(r->kinds, s->kind) &&
	       window_suffices(r, s) && globs_match(&r->globs, s);
}

const struct alert_rule *rules_match(const struct alert_rules *rules, const struct alert_signal *s)
{
	for (uint32_t i = 0; i < rules->n_rules; i++)
		if (rule_matches(&rules->rules[i], s))
			return &rules->rules[i];
	return NULL;
}

const struct alert_rule *rules_named(const struct alert_rules *rules, const char *name)
{
	for (uint32_t i = 0; i < rules->n_rules; i++)
		if (!strcmp(rules->rules[i].name, name))
			return &rules->rules[i];
	return NULL;
}

const struct alert_maintenance *rules_maintenance(const struct alert_rules *rules, const struct alert_signal *s,
						  int64_t at_ns)
{
	for (uint32_t i = 0; i < rules->n_maintenance; i++) {
		const struct alert_maintenance *m = &rules->maintenance[i];

		if (at_ns >= m->from_ns && at_ns < m->to_ns && globs_match(&m->globs, s))
			return m;
	}
	return NULL;
}

/* ------------------------------------------------------------------ for people */

static void print_globs(const struct alert_globs *g, FILE *out)
{
	const struct {
		const char *key, *glob;
	} globs[] = { { "type", g->type }, { "metric", g->metric }, { "place", g->place }, { "region", g->region },
		      { "device", g->device } };

	for (size_t i = 0; i < ARRAY_SIZE(globs); i++)
		if (globs[i].glob)
			fprintf(out, " %s %s", globs[i].key, globs[i].glob);
}

static void print_kinds(uint32_t kinds, FILE *out)
{
	const char *comma = " ";

	if (kinds == RULES_ALL_KINDS)
		return;
	for (int k = 0; k < DETECTOR_KINDS; k++)
		if (kinds & 1u << k) {
			fprintf(out, "%s%s", comma, detector_kind_name((enum detector_kind)k));
			comma = ",";
		}
}

static void print_seconds(const char *what, int64_t ns, FILE *out)
{
	if (ns != 0)
		fprintf(out, "%s%gs", what, (double)ns / NS_PER_S);
}

static void print_rule(const struct alert_rule *r, FILE *out)
{
	fprintf(out, "%s: %s", r->name, severity_name(r->severity));
	if (r->from == 1u << SIGNAL_DEVICE || r->from == 1u << SIGNAL_WINDOW)
		fprintf(out, " for %ss", r->from == 1u << SIGNAL_DEVICE ? "device" : "window");
	print_kinds(r->kinds, out);
	print_globs(&r->globs, out);
	if (r->min_score > 0)
		fprintf(out, " of score %g", r->min_score);
	if (r->severity == SEVERITY_IGNORE) {
		fputc('\n', out);
		return;
	}
	print_seconds(" after ", r->min_duration_ns, out);
	fprintf(out, "; grouped by %s", group_names[r->group_by]);
	print_seconds(" within ", r->group_window_ns, out);
	if (r->escalate_to != SEVERITY_IGNORE) {
		fprintf(out, "; %s", severity_name(r->escalate_to));
		print_seconds(" after ", r->escalate_after_ns, out);
		if (r->escalate_devices > 0)
			fprintf(out, "%s from %" PRId64 " devices", r->escalate_after_ns > 0 ? " or" : "",
				r->escalate_devices);
	}
	print_seconds("; cleared after ", r->clear_after_ns, out);
	fputc('\n', out);
}

void rules_print(const struct alert_rules *rules, FILE *out)
{
	char from[CLOCK_ISO_LEN], to[CLOCK_ISO_LEN];

	for (uint32_t i = 0; i < rules->n_rules; i++)
		print_rule(&rules->rules[i], out);
	for (uint32_t i = 0; i < rules->n_maintenance; i++) {
		const struct alert_maintenance *m = &rules->maintenance[i];

		clock_format_iso(m->from_ns, from);
		clock_format_iso(m->to_ns, to);
		fprintf(out, "maintenance %s: %s to %s,", m->name, from, to);
		print_globs(&m->globs, out);
		fputc('\n', out);
	}
}
