/* BENCH=block: what the columnar block costs and saves, a reading.
 *
 * Real readings of a sensor network (ULB: 20 motes, six values each with two decimals at most, about one report a
 * minute) where ../shared/data or SLUICE_DATA has them, else made-up ones of that shape; the note says which.  Cases:
 *
 *   motes   as they were recorded: the same few devices again and again (a backlog, or a small shard)
 *   fleet   the same values, but each reading from another of 100,000 devices, sent some 20 to 60 ms before it
 *           arrives (one shard of a large live fleet)
 *
 * Sizes are of the block alone, with its 8-byte hashes.  Times are CPU time of the thread; encoding includes parsing the
 * payload.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/block.h"

#define READINGS_MAX 40000
#define ROUNDS_NS (300 * NS_PER_MS)
#define VALUES 6

struct row {
	int64_t event_ms;
	int mote;
	double values[VALUES];
};

struct readings {
	struct buf payloads;
	uint32_t n, end[READINGS_MAX];
	int64_t timestamp_ns[READINGS_MAX], arrival_ns[READINGS_MAX];
};

static const char *const names[VALUES] = { "humidity", "internal_temperature", "par", "temperature", "tsr", "voltage" };

static uint64_t random_u64(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void check(int error, const char *what)
{
	if (error < 0) {
		fprintf(stderr, "bench_block: %s: %s\n", what, strerror(-error));
		exit(1);
	}
}

/* Rows of the recorded files, decimal commas and all; what is damaged in them is left out. */
static uint32_t recorded(struct row *rows)
{
	const char *folder = getenv("SLUICE_DATA");
	char command[512], line[256];
	uint32_t n = 0;

	snprintf(command, sizeof(command), "tar --zstd -xOf %s/ulb-wsn.tar.zst 2>/dev/null", folder ? folder : "../shared/data");

	FILE *f = popen(command, "r");

	while (f && n < READINGS_MAX && fgets(line, sizeof(line), f)) {
		struct row *r = &rows[n];
		double *v = r->values;

		for (char *comma = line; (comma = strchr(comma, ',')) != NULL;)
			*comma = '.';
		n += sscanf(line, "%" SCNd64 " %d %*d %lf %lf %lf %lf %lf %lf", &r->event_ms, &r->mote, &v[1], &v[5], &v[0],
			    &v[3], &v[2], &v[4]) == 8;
	}
	if (f)
		pclose(f);
	return n;
}

static uint32_t made_up(struct row *rows)
{
	double state[20][VALUES] = { 0 };

	for (uint32_t i = 0; i < READINGS_MAX; i++) {
		rows[i].mote = (int)(i % 20);
		rows[i].event_ms = 1163438041250 + i * 3000LL + (int64_t)(random_u64() % 500);
		for (int k = 0; k < VALUES; k++) {
			double *v = &state[i % 20][k];

			if (i < 20)
				*v = (double)(random_u64() % 5000) / 100;
			*v = (double)(int64_t)(*v * 100 + (double)(random_u64() % 21) - 9.5) / 100;
			rows[i].values[k] = *v;
		}
	}
	return READINGS_MAX;
}

static void make_readings(struct readings *ret, const struct row *rows, uint32_t n, bool fleet)
{
	ret->n = n;
	buf_reset(&ret->payloads);
	for (uint32_t i = 0; i < n; i++) {
		struct telemetry t = { .has_hash = true, .has_timestamp = true, .n_metrics = VALUES };
		char id[32];
		uint64_t mote = fleet ? random_u64() % 100000 : (uint64_t)rows[i].mote;

		ret->arrival_ns[i] = 1700000000000000000 + i * 300000LL;
		ret->timestamp_ns[i] = fleet ? (ret->arrival_ns[i] / NS_PER_MS - 20 - (int64_t)(random_u64() % 40)) * NS_PER_MS :
					       rows[i].event_ms * NS_PER_MS;
		snprintf(id, sizeof(id), fleet ? "mote-%05" PRIu64 : "mote-%" PRIu64, mote);
		t.integrity_hash = random_u64() * 0x9E3779B97F4A7C15ULL;
		t.timestamp_ns = ret->timestamp_ns[i];
		t.device_id = SLICE_STR(id);
		for (uint32_t k = 0; k < VALUES; k++)
			t.metrics[k] = (struct telemetry_metric){ SLICE_STR(names[k]), rows[i].values[k] };
		telemetry_append(&ret->payloads, &t);
		ret->end[i] = (uint32_t)ret->payloads.len;
	}
	check(buf_error(&ret->payloads), "payloads");
}

static int64_t encode(struct block_writer *w, const struct readings *r, uint32_t first, uint32_t n, struct buf *out)
{
	int64_t start = cpu_ns();

	for (uint32_t i = first; i < first + n; i++) {
		uint32_t at = i ? r->end[i - 1] : 0;

		check(block_writer_add(w, SLICE(r->payloads.data + at, r->end[i] - at), r->timestamp_ns[i], r->arrival_ns[i], 0),
		      "add");
	}
	buf_reset(out);
	check(block_writer_finish(w, out), "finish");
	return cpu_ns() - start;
}

static void measure(const struct readings *r, const char *name, uint32_t batch, int level, const char *source)
{
	CLEANUP(buf_done) struct buf out = BUF_INIT;
	CLEANUP(block_done) struct block b;
	struct block_writer *w;
	int64_t encode_ns = 0, decode_ns = 0, bytes = 0, n = 0;

	block_init(&b);
	check(block_writer_new(&w, level), "writer");
	for (uint32_t first = 0; encode_ns < ROUNDS_NS || first > 0; first = first + 2 * batch <= r->n ? first + batch : 0) {
		encode_ns += encode(w, r, first, batch, &out);

		int64_t start = cpu_ns();

		check(block_read(&b, buf_slice(&out)), "read");
		decode_ns += cpu_ns() - start;
		bytes += (int64_t)out.len;
		n += batch;
	}
	block_writer_free(w);

	const struct {
		const char *name, *unit;
		int64_t value;
	} figures[] = { { "block_bytes_per_reading", "B", bytes }, { "block_encode_ns", "ns/reading", encode_ns },
			{ "block_decode_ns", "ns/reading", decode_ns } };

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		printf("{\"name\":\"%s\",\"case\":\"%s,batch=%u,level=%d\",\"value\":%.2f,\"unit\":\"%s\","
		       "\"note\":\"%s; %.1f B as protobuf\"}\n",
		       figures[i].name, name, batch, level, (double)figures[i].value / (double)n, figures[i].unit, source,
		       (double)r->payloads.len / r->n);
}

int main(void)
{
	static struct row rows[READINGS_MAX];
	static struct readings readings;
	static const uint32_t batches[] = { 100, 1000 };
	const char *source = "ULB sensor network";
	uint32_t n = recorded(rows);

	if (n < 2000) {
		source = "made up";
		n = made_up(rows);
	}
	for (int fleet = 0; fleet < 2; fleet++) {
		make_readings(&readings, rows, n, fleet);
		for (size_t i = 0; i < ARRAY_SIZE(batches); i++)
			for (int level = 1; level <= 3; level += 2)
				measure(&readings, fleet ? "fleet" : "motes", batches[i], level, source);
	}
	buf_done(&readings.payloads);
	return 0;
}
