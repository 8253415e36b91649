#include <errno.h>

#include "alerts/rules.h"
#include "analytics/detector.h"
#include "tests/unit/alerts/rules_of.h"

static struct alert_signal spike(void)
{
	return (struct alert_signal){ .origin = SIGNAL_DEVICE, .region = "eu", .device_id = "mote-17", .type = "thermometer",
				      .place = "hall-3/a", .metric = "temperature", .kind = "spike", .score = 0.995,
				      .devices = 1 };
}

static void every_key_is_read(void)
{
	struct alert_rules *rules = rules_of(
		"rules:\n"
		"  - name: cold-room\n    from: [device]\n    type: thermo*\n    metric: temp\n    place: \"hall-*\"\n"
		"    region: e?\n    device: \"[a-m]*\"\n    kinds: [spike, silence]\n    severity: warning\n"
		"    min_duration: 30s\n    min_score: 0.99\n    window: {devices: 10, count: 100, completeness: 0.9}\n"
		"    group_by: type\n    group_window: 45s\n    escalate: {after: 10min, devices: 11, to: critical}\n"
		"    clear_after: 2min\n"
		"maintenance:\n  - {name: week, from: 2026-11-24T08:00:00Z, to: 2026-11-24T10:00:00+01:30, type: x}\n");
	const struct alert_rule *r = &rules->rules[0];
	const struct alert_maintenance *m = &rules->maintenance[0];

	CU_ASSERT(rules->n_rules == 1 && rules->n_maintenance == 1);
	CU_ASSERT(!strcmp(r->name, "cold-room") && !strcmp(r->globs.type, "thermo*") && !strcmp(r->globs.metric, "temp"));
	CU_ASSERT(!strcmp(r->globs.place, "hall-*") && !strcmp(r->globs.region, "e?") && !strcmp(r->globs.device, "[a-m]*"));
	CU_ASSERT(r->from == 1u << SIGNAL_DEVICE && r->kinds == (1u << DETECTOR_SPIKE | 1u << DETECTOR_SILENCE));
	CU_ASSERT(r->severity == SEVERITY_WARNING && r->min_score == 0.99 && r->min_duration_ns == 30 * NS_PER_S);
	CU_ASSERT(r->window_devices == 10 && r->window_count == 100 && r->window_completeness == 0.9);
	CU_ASSERT(r->group_by == GROUP_BY_TYPE && r->group_window_ns == 45 * NS_PER_S);
	CU_ASSERT(r->escalate_after_ns == 600 * NS_PER_S && r->escalate_devices == 11 && r->escalate_to == SEVERITY_CRITICAL);
	CU_ASSERT_EQUAL(r->clear_after_ns, 120 * NS_PER_S);
	/* date -u -d 2026-11-24T08:00:00Z +%s */
	CU_ASSERT_EQUAL(m->from_ns, 1795507200 * NS_PER_S);
	CU_ASSERT_EQUAL(m->to_ns, (1795507200 + 1800) * NS_PER_S);
	rules_free(rules);
}

static void what_is_left_out_has_its_default(void)
{
	struct alert_rules *rules = rules_of("rules: [{name: r, severity: info}]");
	const struct alert_rule *r = &rules->rules[0];

	CU_ASSERT(r->from == 3 && r->kinds == RULES_ALL_KINDS && !r->globs.type && r->min_score == 0);
	CU_ASSERT(r->min_duration_ns == 0 && r->group_by == GROUP_BY_PLACE && r->group_window_ns == 30 * NS_PER_S);
	CU_ASSERT(r->clear_after_ns == 60 * NS_PER_S && r->escalate_to == SEVERITY_IGNORE);
	rules_free(rules);
}

static bool matches(const char *rule, struct alert_signal s)
{
	char text[512];

	snprintf(text, sizeof(text), "rules: [{name: r, severity: info, %s}]", rule);

	struct alert_rules *rules = rules_of(text);
	bool yes = rules_match(rules, &s) != NULL;

	rules_free(rules);
	return yes;
}

static void globs_stand_for_whole_names(void)
{
	CU_ASSERT(matches("type: thermometer", spike()) && !matches("type: thermo", spike()));
	CU_ASSERT(matches("type: thermo*", spike()) && matches("device: mote-??", spike()));
	CU_ASSERT(matches("place: hall-*", spike()) && !matches("place: lab", spike()));
	CU_ASSERT(matches("region: \"[de]u\"", spike()) && !matches("region: us", spike()));
	CU_ASSERT(matches("metric: temperature", spike()) && !matches("metric: humidity", spike()));
}

static void kinds_scores_and_origins_are_asked_for(void)
{
	struct alert_signal s = spike(), newer = spike(), window = spike();

	newer.kind = "of tomorrow";
	window.origin = SIGNAL_WINDOW;
	window.devices = 10;
	window.count = 100;
	window.completeness = 0.75;
	CU_ASSERT(matches("kinds: [drift, spike]", s) && matches("kinds: spike", s) && !matches("kinds: [drift]", s));
	CU_ASSERT(matches("min_score: 0.995", s) && !matches("min_score: 0.996", s));
	CU_ASSERT(matches("min_score: 0", newer) && !matches("kinds: [spike]", newer));
	CU_ASSERT(matches("from: device", s) && !matches("from: [window]", s));
	CU_ASSERT(matches("from: [window]", window) && !matches("from: [device]", window));
	CU_ASSERT(matches("window: {devices: 10, count: 100, completeness: 0.75}", window));
	CU_ASSERT(!matches("window: {devices: 11}", window) && !matches("window: {count: 101}", window) &&
		  !matches("window: {completeness: 0.8}", window));
	CU_ASSERT(matches("window: {devices: 11}", s)); /* of a device nothing of the kind is asked */
}

static void the_first_that_matches_decides(void)
{
	struct alert_rules *rules = rules_of("rules: [{name: a, type: valve, severity: info}, {name: b, severity: ignore}, "
					     "{name: c, severity: critical}]");
	struct alert_signal s = spike();

	CU_ASSERT_STRING_EQUAL(rules_match(rules, &s)->name, "b");
	CU_ASSERT_PTR_EQUAL(rules_named(rules, "c"), &rules->rules[2]);
	CU_ASSERT_PTR_NULL(rules_named(rules, "d"));
	rules_free(rules);
}

static void maintenance_has_a_beginning_and_an_end(void)
{
	struct alert_rules *rules = rules_of("rules: [{name: r, severity: info}]\nmaintenance:\n"
					     " - {name: m, from: 1970-01-01T00:00:10Z, to: 1970-01-01T00:00:20Z, place: hall*}");
	struct alert_signal s = spike();

	CU_ASSERT_PTR_NULL(rules_maintenance(rules, &s, 10 * NS_PER_S - 1));
	CU_ASSERT_PTR_NOT_NULL(rules_maintenance(rules, &s, 10 * NS_PER_S));
	CU_ASSERT_PTR_NOT_NULL(rules_maintenance(rules, &s, 20 * NS_PER_S - 1));
	CU_ASSERT_PTR_NULL(rules_maintenance(rules, &s, 20 * NS_PER_S));
	s.place = "lab";
	CU_ASSERT_PTR_NULL(rules_maintenance(rules, &s, 15 * NS_PER_S));
	rules_free(rules);
}

static void the_built_in_rules_and_the_sample_hold(void)
{
	struct alert_rules *rules = NULL;
	struct rules_error e = { "" };
	struct alert_signal s = spike();

	ASSERT_OK(rules_load(&rules, "", &e));
	CU_ASSERT_STRING_EQUAL(rules_match(rules, &s)->name, "device-anomaly");
	s.kind = "silence";
	CU_ASSERT_STRING_EQUAL(rules_match(rules, &s)->name, "device-silent");
	s.origin = SIGNAL_WINDOW;
	CU_ASSERT_STRING_EQUAL(rules_match(rules, &s)->name, "window-silent");
	rules_free(rules);
	ASSERT_OK(rules_load(&rules, "deploy/samples/alert-rules.yaml", &e));
	CU_ASSERT_EQUAL(rules->n_rules, 5);
	rules_free(rules);
}

static void an_error_has_its_place_and_says_what_to_write(void)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "", "test:1:1: there is nothing in it" },
		{ "maintenance: []", "test:1:1: there are no rules" },
		{ "[]", "test:1:1: the file is a list: write a mapping" },
		{ "rules: 5", "test:1:8: rules is \"5\": write a list" },
		{ "rules:\n  - 5", "test:2:5: a rule is \"5\": write a mapping" },
		{ "rule: []", "test:1:1: the file has no \"rule\"; did you mean rules?" },
		{ "rules:\n  - nmae: x", "test:2:5: a rule has no \"nmae\"; did you mean name?" },
		{ "rules:\n  - zzzzzz: x", "test:2:5: a rule has no \"zzzzzz\"; it has name, from, type" },
		{ "rules:\n  - severity: info", "test:2:5: a rule has no name" },
		{ "rules:\n  - name: x", "test:2:5: rule x has no severity" },
		{ "rules: [{name: x, severity: bad}]",
		  "test:1:29: severity is \"bad\": write one of ignore, info, warning, critical" },
		{ "rules: [{name: x, severity: info}, {name: x, severity: info}]",
		  "test:1:36: a rule before this one is called x too" },
		{ "rules: [{name: x, name: y}]", "test:1:19: name stands here again; it was in line 1" },
		{ "rules: [{name: x, kinds: [spike, spkie]}]", "test:1:34: kinds is \"spkie\": write one of spike, level-shift" },
		{ "rules: [{name: x, kinds: [none]}]", "test:1:27: kinds is \"none\"" },
		{ "rules: [{name: x, kinds: []}]", "test:1:26: kinds is empty" },
		{ "rules: [{name: x, from: region}]", "test:1:25: from is \"region\": write one of device, window" },
		{ "rules: [{name: x, min_duration: 30}]", "test:1:33: min_duration is \"30\": write a duration such as 30s" },
		{ "rules: [{name: x, clear_after: 9999999d}]", "test:1:32: clear_after is \"9999999d\"" },
		{ "rules: [{name: x, min_score: 1.5}]", "test:1:30: min_score is \"1.5\": write a number from 0 to 1" },
		{ "rules: [{name: x, min_score: nan}]", "test:1:30: min_score is \"nan\"" },
		{ "rules: [{name: x, window: {devices: -1}}]", "test:1:37: devices is \"-1\": write a whole number" },
		{ "rules: [{name: x, window: {device: 1}}]", "test:1:28: window has no \"device\"; did you mean devices?" },
		{ "rules: [{name: x, group_by: room}]", "test:1:29: group_by is \"room\": write one of device, place, type" },
		{ "rules: [{name: x, escalate: {to: critical}}]", "test:1:29: escalate says neither when" },
		{ "rules: [{name: x, escalate: {after: 1s}}]", "test:1:29: escalate does not say to what" },
		{ "rules: [{name: x, severity: critical, escalate: {after: 1s, to: info}}]",
		  "test:1:9: rule x escalates to info, which is no more than its severity critical" },
		{ "rules: [{name: x, escalate: {after: 1s, to: ignore}}]", "test:1:45: to is \"ignore\": write one of info" },
		{ "rules: [{name: x, type: \"*a*b*c*d*\"}]", "test:1:25: type has 5 stars" },
		{ "rules: [{name: \"a\\nb\", severity: info}]", "test:1:16: name holds a control character" },
		{ "rules: [{name: \"a\\0b\", severity: info}]", "test:1:16: name is a text with a NUL" },
		{ "rules: []\nmaintenance: [{name: m, from: 2026-11-24, to: 2026-11-25T00:00:00Z}]",
		  "test:2:31: from is \"2026-11-24\": write a time such as" },
		{ "rules: []\nmaintenance: [{name: m, from: 2026-02-30T00:00:00Z, to: 2026-11-25T00:00:00Z}]",
		  "test:2:31: from is \"2026-02-30T00:00:00Z\": write a time such as" },
		{ "rules: []\nmaintenance: [{name: m, from: 2026-11-24T08:00:00, to: 2026-11-25T00:00:00Z}]",
		  "test:2:31: from is \"2026-11-24T08:00:00\": write a time such as" },
		{ "rules: []\nmaintenance: [{name: m, from: 2026-11-24T08:00:00Z, to: 2026-11-24T08:00:00Z}]",
		  "test:2:15: maintenance m does not last" },
		{ "rules: []\nmaintenance: [{from: 2026-11-24T08:00:00Z}]", "test:2:15: a maintenance has no name" },
		{ "rules: [\n  {name: x", "test:3:1: this is not YAML" },
		{ "rules: []\n---\nrules: []", "test:3:1: a second document begins here" },
		{ "rules: [{name: \xff}]", "test:1:1: byte 15 is not UTF-8 text" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct alert_rules *rules = NULL;
		struct rules_error e = { "" };

		CU_ASSERT_EQUAL(rules_parse(&rules, "test", cases[i].text, strlen(cases[i].text), &e), -EINVAL);
		if (strncmp(e.text, cases[i].error, strlen(cases[i].error)) != 0)
			printf("  %zu: \"%s\", not \"%s\"\n", i, e.text, cases[i].error);
		CU_ASSERT_EQUAL(strncmp(e.text, cases[i].error, strlen(cases[i].error)), 0);
		rules_free(rules);
	}
}

static void there_are_not_more_than_so_many(void)
{
	char text[32 * (RULES_MAX + 2)];
	struct alert_rules *rules = NULL;
	struct rules_error e;
	size_t n = (size_t)sprintf(text, "rules:\n");

	for (int i = 0; i <= RULES_MAX; i++)
		n += (size_t)sprintf(text + n, "- {name: r%d, severity: info}\n", i);
	CU_ASSERT_EQUAL(rules_parse(&rules, "test", text, n, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "256 are the most"));
	CU_ASSERT_EQUAL(rules_load(&rules, "/nowhere/rules.yaml", &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.text, "/nowhere/rules.yaml: the file cannot be read: No such file or directory");
}

TESTS("rules", T(every_key_is_read), T(what_is_left_out_has_its_default), T(globs_stand_for_whole_names),
      T(kinds_scores_and_origins_are_asked_for), T(the_first_that_matches_decides),
      T(maintenance_has_a_beginning_and_an_end), T(the_built_in_rules_and_the_sample_hold),
      T(an_error_has_its_place_and_says_what_to_write), T(there_are_not_more_than_so_many))
