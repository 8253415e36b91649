/* Rules that must be fine. */
#pragma once

#include "alerts/rules.h"
#include "tests/unit/harness.h"

static struct alert_rules *rules_of(const char *text)
{
	struct alert_rules *rules = NULL;
	struct rules_error e;

	if (rules_parse(&rules, "test", text, strlen(text), &e) < 0)
		printf("  %s\n", e.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
	return rules;
}
