/* Any bytes as a TelemetryEnvelope and as RegionData: what is read is within its bounds and survives being written. */
#include <string.h>

#include "codec/envelope.h"
#include "codec/region_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_envelope(struct slice bytes)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT, again = BUF_INIT;
	struct envelope e;

	if (envelope_read(&e, bytes) < 0)
		return;
	must(e.ordinal_first <= e.ordinal_end && e.count <= e.ordinal_end - e.ordinal_first && e.shard < ENVELOPE_SHARDS_MAX);
	envelope_append(&b, &e);
	must(envelope_read(&e, buf_slice(&b)) == 0);
	envelope_append(&again, &e);
	must(b.len == again.len && memcmp(b.data, again.data, b.len) == 0);
}

static void check_region_data(struct slice bytes)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT, memory = BUF_INIT, again = BUF_INIT;
	struct region_data d;

	if (region_data_read(&d, bytes, &memory) < 0)
		return;
	for (uint32_t i = 0; i < d.n_devices; i++)
		must(d.type[i] < d.n_words && d.place[i] < d.n_words && d.owner[i] < d.n_words);
	region_data_append(&b, &d);
	must(region_data_read(&d, buf_slice(&b), &memory) == 0);
	region_data_append(&again, &d);
	must(b.len == again.len && memcmp(b.data, again.data, b.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_envelope(SLICE(data, size));
	check_region_data(SLICE(data, size));
	return 0;
}
