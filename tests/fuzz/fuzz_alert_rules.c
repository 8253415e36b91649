/* Any text is rules, or is refused with a place and a sentence; what was read matches without a fault. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = { "spike", "silence", "", "of tomorrow" };
	struct alert_signal s = { .region = "eu", .device_id = "mote-1", .type = "mote", .place = "lab", .metric = "a",
				  .score = 0.5, .devices = 3, .count = 7, .completeness = 0.5 };
	struct alert_rules *rules;
	struct rules_error e;

	if (rules_parse(&rules, "fuzz.yaml", (const char *)data, size, &e) < 0) {
		must(!strncmp(e.text, "fuzz.yaml:", 10) && strlen(e.text) > 20);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		s.kind = kinds[i];
		s.origin = i % 2 ? SIGNAL_WINDOW : SIGNAL_DEVICE;

		const struct alert_rule *r = rules_match(rules, &s);

		must(!r || (rules_named(rules, r->name) == r && r->severity >= 0 && r->severity < SEVERITIES));
		rules_maintenance(rules, &s, (int64_t)size * NS_PER_S);
	}

	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	rules_print(rules, out);
	fclose(out);
	must(len > 0 || rules->n_rules + rules->n_maintenance == 0);
	free(text);
	rules_free(rules);
	return 0;
}
