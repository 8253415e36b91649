#include "gateway/spool.h"

#include <stdio.h>
#include <unistd.h>

#include "codec/block.h"
#include "tests/unit/harness.h"

static char dir[] = "/tmp/sluice-spool-XXXXXX";

static void a_reading_comes_back_as_it_went_in(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const struct spool_reading in = { -5, INT64_MAX, BLOCK_STAMPED, SLICE_STR("payload") };
	struct spool_reading out;

	spool_reading_append(&b, &in);
	CU_ASSERT_EQUAL(b.len, SPOOL_HEAD + 7);
	ASSERT_OK(spool_reading_read(&out, buf_slice(&b)));
	CU_ASSERT_EQUAL(out.arrival_ns, -5);
	CU_ASSERT_EQUAL(out.timestamp_ns, INT64_MAX);
	CU_ASSERT_EQUAL(out.flags, BLOCK_STAMPED);
	CU_ASSERT(out.payload.len == 7 && memcmp(out.payload.data, "payload", 7) == 0);
	CU_ASSERT(spool_reading_read(&out, SLICE(b.data, SPOOL_HEAD - 1)) < 0);
}

static void what_is_delivered_survives_and_damage_means_nothing_is_known(void)
{
	const uint64_t saved[4] = { 1, UINT64_MAX, 0, 7 };
	uint64_t loaded[4] = { 9, 9, 9, 9 };
	const uint8_t id[16] = { 1 }, other[16] = { 2 };
	char path[64];

	CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
	ASSERT_OK(spool_delivered_load(dir, id, loaded, 4));
	CU_ASSERT_EQUAL(loaded[1], 0);
	ASSERT_OK(spool_delivered_save(dir, id, saved, 4));
	ASSERT_OK(spool_delivered_load(dir, id, loaded, 4));
	CU_ASSERT(memcmp(saved, loaded, sizeof(saved)) == 0);
	ASSERT_OK(spool_delivered_load(dir, other, loaded, 4));
	CU_ASSERT_EQUAL(loaded[1], 0);

	snprintf(path, sizeof(path), "%s/delivered", dir);
	for (long at = 0; at < 28 + 32; at++) {
		FILE *f = fopen(path, "r+");
		int byte;

		CU_ASSERT_FATAL(f != NULL);
		fseek(f, at, SEEK_SET);
		byte = fgetc(f);
		fseek(f, at, SEEK_SET);
		fputc(byte ^ 0x10, f);
		fclose(f);
		ASSERT_OK(spool_delivered_load(dir, id, loaded, 4));
		CU_ASSERT(loaded[0] == 0 && loaded[1] == 0 && loaded[3] == 0);
		ASSERT_OK(spool_delivered_save(dir, id, saved, 4));
	}
	CU_ASSERT_EQUAL(truncate(path, 20), 0);
	ASSERT_OK(spool_delivered_load(dir, id, loaded, 4));
	CU_ASSERT_EQUAL(loaded[3], 0);
	unlink(path);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

TESTS("spool", T(a_reading_comes_back_as_it_went_in), T(what_is_delivered_survives_and_damage_means_nothing_is_known))
