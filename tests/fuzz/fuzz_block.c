/* Three ways into the block, chosen by the first byte: as it comes from a stream; as columns behind zstd, which random
 * bytes seldom get through; and as payloads that are written, read and compared. */
#include <string.h>

#include "codec/block_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct block block;

/* Touches everything that a reader of the block may. */
static void use(void)
{
	CLEANUP(buf_done) struct buf out = BUF_INIT;
	volatile double sink = 0;

	for (uint32_t i = 0; i < block.count; i++) {
		must(block.device[i] < block.n_devices && block.set[i] < block.n_sets);
		for (uint32_t k = 0; k < block.sets[block.set[i]].n; k++)
			sink = block.values[block.value_at[i] + k];
		buf_reset(&out);
		must(block_payload(&block, i, &out) == 0);
	}
	(void)sink;
}

static void read_columns(struct reader r)
{
	static const uint8_t hashes[BLOCK_READINGS_MAX * 8];
	uint32_t count = reader_u16(&r) % BLOCK_READINGS_MAX + 1;

	if (block_read_columns(&block, count, hashes, SLICE(r.at, reader_left(&r))) == 0)
		use();
}

/* Each payload behind its length in a byte; of what is taken, everything comes back. */
static void round_trip(struct reader r)
{
	CLEANUP(buf_done) struct buf taken = BUF_INIT, bytes = BUF_INIT, out = BUF_INIT;
	static struct block_writer *w;
	struct telemetry t;

	must(w || block_writer_new(&w, 1) == 0);
	while (!r.failed && reader_left(&r) > 0) {
		uint32_t len = reader_u8(&r);
		struct slice payload = SLICE(reader_bytes(&r, len), len);

		if (!payload.data || telemetry_parse(&t, payload.data, len) < 0 ||
		    block_writer_add(w, payload, t.timestamp_ns, t.timestamp_ns, t.has_timestamp ? 0 : BLOCK_STAMPED) < 0)
			continue;
		buf_append(&taken, payload.data, payload.len);
	}
	must(block_writer_finish(w, &bytes) == 0 && block_read(&block, buf_slice(&bytes)) == 0);
	use();
	for (uint32_t i = 0; i < block.count; i++)
		must(block_payload(&block, i, &out) == 0);
	must(out.len == taken.len && (out.len == 0 || memcmp(out.data, taken.data, out.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(SLICE(data, size));

	switch (reader_u8(&r) % 3) {
	case 0:
		if (block_read(&block, SLICE(r.at, reader_left(&r))) == 0)
			use();
		break;
	case 1:
		read_columns(r);
		break;
	default:
		round_trip(r);
	}
	return 0;
}
