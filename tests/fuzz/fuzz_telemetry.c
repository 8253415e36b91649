/* Any bytes as a Telemetry payload: what is read can be written, as bytes and as JSON, and says of itself truly whether
 * it was canonical. */
#include <string.h>

#include "codec/telemetry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const struct telemetry *t)
{
	CLEANUP(buf_done) struct buf json = BUF_INIT, back = BUF_INIT;
	struct telemetry again;
	char error[128];

	telemetry_append_json(&json, t, false);
	if (memmem(json.data, json.len, "\\u0000", 6))
		return; /* our reader of JSON takes no NUL in a string */
	must(telemetry_from_json(&back, (const char *)json.data, json.len, NULL, error) == 0);
	must(telemetry_parse(&again, back.data, back.len) == 0);
	must(again.canonical && again.n_metrics <= t->n_metrics && again.timestamp_ns == t->timestamp_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	struct telemetry t;
	uint64_t tag[2], again[2];

	telemetry_tag(data, size, &siphash_open_key, tag);
	if (telemetry_parse(&t, data, size) < 0)
		return 0;
	telemetry_append(&bytes, &t);
	must(t.canonical == (bytes.len == size && memcmp(bytes.data, data, size) == 0));
	if (t.canonical) {
		telemetry_tag(bytes.data, bytes.len, &siphash_open_key, again);
		must(tag[0] == again[0] && tag[1] == again[1]);
	}
	check_json(&t);
	return 0;
}
