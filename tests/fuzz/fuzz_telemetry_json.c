/* Any text as a line of JSON: refused with a sentence, or the bytes of a canonical message whose hash fits. */
#include <string.h>

#include "codec/telemetry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	char error[128] = "";
	struct telemetry t;
	uint64_t tag[2];

	if (telemetry_from_json(&bytes, (const char *)data, size, &siphash_open_key, error) < 0) {
		must(error[0] != 0 && memchr(error, 0, sizeof(error)) && bytes.len == 0);
		return 0;
	}
	must(telemetry_parse(&t, bytes.data, bytes.len) == 0 && t.canonical && t.has_hash);
	telemetry_tag(bytes.data, bytes.len, &siphash_open_key, tag);
	must(tag[0] == t.integrity_hash);
	return 0;
}
