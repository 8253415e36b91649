/* BENCH=journal: what the journal costs a record of 170 bytes, and what a flush costs.
 *
 *   append   one pwritev() a batch of `batch` records, no flush: CPU of the process, kernel included
 *   read     sequentially, page cache warm
 *   commit   append a batch and flush it, wall time: the disk's
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/rand.h"
#include "journal/journal.h"

#define VALUE_BYTES 170
#define PARTITIONS 16
#define RECORDS 1000000
#define COMMITS 200
#define BATCH_MAX 4096

static char dir[256];

static void check(int error, const char *what)
{
	if (error < 0) {
		fprintf(stderr, "bench_journal: %s: %s\n", what, strerror(-error));
		exit(1);
	}
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void report(const char *name, const char *variant, double value, const char *unit, const char *note)
{
	printf("{\"name\": \"%s\", \"case\": \"%s\", \"value\": %.1f, \"unit\": \"%s\", \"note\": \"%s\"}\n", name,
	       variant, value, unit, note);
}

static struct journal *open_new(enum journal_mode mode)
{
	const struct journal_options o = { .mode = mode, .create = true, .partitions = PARTITIONS };
	struct journal *j = NULL;
	char inner[sizeof(dir) + 8];

	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mkdir(dir, 0755);
	snprintf(inner, sizeof(inner), "%s/j", dir);
	check(journal_open(&j, inner, &o, NULL), "open");
	return j;
}

static void fill(struct journal_record *batch, uint8_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		batch[i] = (struct journal_record){ .partition = (uint16_t)(i * 7 % PARTITIONS),
						    .value = SLICE(values + i * VALUE_BYTES, VALUE_BYTES) };
}

static void bench_append(enum journal_mode mode, size_t n, struct journal_record *batch)
{
	struct journal *j = open_new(mode);
	char variant[64];
	int64_t cpu_ns = clock_cpu_ns();
	size_t done = 0;

	for (; done < RECORDS; done += n)
		check(journal_append(j, batch, n), "append");
	cpu_ns = clock_cpu_ns() - cpu_ns;
	snprintf(variant, sizeof(variant), "%s,batch=%zu", mode == JOURNAL_SHARED ? "shared" : "exclusive", n);
	report("journal_append_ns", variant, (double)cpu_ns / (double)done, "ns/record",
	       "CPU, kernel included, no flush but at new segments");
	check(journal_sync(j), "sync");
	journal_close(j);
}

static void bench_read(void)
{
	struct journal_reader *r = NULL;
	struct journal_record record;
	char inner[sizeof(dir) + 8];
	uint64_t n = 0, bytes = 0;

	snprintf(inner, sizeof(inner), "%s/j", dir);
	check(journal_reader_open(&r, inner), "reader");

	int64_t cpu_ns = clock_cpu_ns();

	for (; journal_reader_next(r, &record, 0) == 1; n++)
		bytes += record.value.len;
	cpu_ns = clock_cpu_ns() - cpu_ns;
	if (n < RECORDS || bytes != n * VALUE_BYTES)
		check(-EIO, "read");
	report("journal_read_ns", "sequential", (double)cpu_ns / (double)n, "ns/record",
	       "CPU, kernel included, page cache warm");
	journal_reader_close(r);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void bench_commit(size_t n, struct journal_record *batch)
{
	struct journal *j = open_new(JOURNAL_EXCLUSIVE);
	static int64_t took_ns[COMMITS];
	char variant[64];

	for (int i = 0; i < COMMITS; i++) {
		int64_t start_ns = clock_mono_ns();

		check(journal_append(j, batch, n), "append");
		check(journal_sync(j), "sync");
		took_ns[i] = clock_mono_ns() - start_ns;
	}
	qsort(took_ns, COMMITS, sizeof(took_ns[0]), compare);
	snprintf(variant, sizeof(variant), "batch=%zu,p50", n);
	report("journal_commit_us", variant, (double)took_ns[COMMITS / 2] / 1e3, "us", "wall: append and flush");
	snprintf(variant, sizeof(variant), "batch=%zu,p99", n);
	report("journal_commit_us", variant, (double)took_ns[COMMITS * 99 / 100] / 1e3, "us", "wall: append and flush");
	journal_close(j);
}

int main(void)
{
	static struct journal_record batch[BATCH_MAX];
	static uint8_t values[BATCH_MAX * VALUE_BYTES];
	const char *where = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.200s/sluice-bench-journal-XXXXXX", where ? where : "/var/tmp");
	if (!mkdtemp(dir))
		check(-errno, dir);
	rand_bytes(values, sizeof(values));
	fill(batch, values, BATCH_MAX);
	bench_append(JOURNAL_SHARED, 64, batch);
	bench_append(JOURNAL_EXCLUSIVE, 16, batch);
	bench_append(JOURNAL_EXCLUSIVE, 64, batch);
	bench_append(JOURNAL_EXCLUSIVE, 1024, batch);
	bench_read();
	bench_commit(1, batch);
	bench_commit(256, batch);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
