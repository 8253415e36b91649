#include <inttypes.h>

#include "analytics/alert.h"
#include "tests/unit/harness.h"

/* By SipHash of tests/vectors/make.py: tag(OPEN_KEY, b"spike\0mote-17\0temperature\0" +
 * (1084000000000000000).to_bytes(8, "little"))[0] */
static void an_id_is_the_published_hash_of_rule_subject_metric_and_onset(void)
{
	uint64_t id;

	ASSERT_OK(alert_id("spike", "mote-17", "temperature", 1084000000000000000, &id));
	CU_ASSERT_EQUAL(id, 0x36f1aef78feb4a50ULL);
	ASSERT_OK(alert_id("window-spike", "", "", -1, &id));
	CU_ASSERT_EQUAL(id, 0xeb79dd692a2b221dULL);
}

static void neighbouring_names_do_not_run_together(void)
{
	uint64_t a, b;

	ASSERT_OK(alert_id("spike", "ab", "c", 1, &a));
	ASSERT_OK(alert_id("spike", "a", "bc", 1, &b));
	CU_ASSERT(a != b);
}

TESTS("alert", T(an_id_is_the_published_hash_of_rule_subject_metric_and_onset),
      T(neighbouring_names_do_not_run_together))
