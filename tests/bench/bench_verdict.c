/* BENCH=verdict: what the XDP program costs a packet, by BPF_PROG_TEST_RUN.
 *
 *   verdict_new_ns      a new reading: parse, limit, verify, a miss in the durable table, metadata, redirect
 *   verdict_durable_ns  a repeated request for a reading on disk: the same, the hit, and its 2.04 written in place
 *
 * 131,072 packets of 1,000 or 1,000,000 devices (case) in random order, back to back (see verdict.bpf.c), each with
 * a payload of 157 bytes under the device's derived key, from one of 4,096 source prefixes; the durable table (2^19
 * buckets, or 2^10) holds a reading of every device.  So its lines, and those of the limits, are as cold as they
 * would be on a gateway.  What feeding costs is measured with a program that only returns, and taken off.  The value
 * is the least of several passes: what the program costs, not what else the machine does.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "bpf/gateway.skel.h"
#include "bpf/shared/durable.h"
#include "bpf/shared/verdict.h"
#include "tests/bench/verdict.h"
#include "tests/bench/verdict.skel.h"
#include "tests/bpf/frame.h"
#include "tests/bpf/message.h"

#define PAYLOAD_LEN 157
#define PASSES 15
#define PREFIXES 4096
#define SEED 0x5eed5eed5eed5eedULL

static const struct sluice_master_key master = { 0x1122334455667788, 0x99aabbccddeeff00, 1, 1 };

struct bench {
	struct gateway_bpf *skel;
	struct verdict_bpf *feed;
	struct verdict_packet *packets;
	int program_fd, empty_fd;
	struct sluice_durable_bucket *durable;
	uint32_t buckets, shift;
};

static void check(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "bench_verdict: %s: %s\n", what, strerror(-r));
		exit(1);
	}
}

static uint64_t mix(uint64_t z)
{
	z = (z + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* generation 0 is what the table holds. */
static void build(struct frame_built *ret, struct message_built *ret_message, uint32_t device, uint32_t generation)
{
	const struct siphash_key key = { master.k0, master.k1 };
	struct message m = MESSAGE_DEFAULT;
	struct frame frame = FRAME_DEFAULT;
	char id[32], ip[32];
	uint32_t prefix = (uint32_t)mix(device) % PREFIXES;

	snprintf(id, sizeof(id), "mote-%07u", device);
	snprintf(ip, sizeof(ip), "100.%u.%u.%u", prefix >> 8, prefix & 0xff, device % 254 + 1);
	frame.src_ip = ip;
	m.device_id = id;
	m.mid = (uint16_t)mix(device + generation);
	m.timestamp_ns += (int64_t)generation * 1000000000;
	m.filler_len = PAYLOAD_LEN - 9 - 9 - 2 - strlen(id) - 3;
	m.key = siphash_128(&key, id, (uint32_t)strlen(id));
	message_build(ret_message, &m);
	frame_build(ret, &frame, ret_message->bytes, ret_message->len);
	if (ret_message->payload_len != PAYLOAD_LEN || ret->len != VERDICT_FRAME_LEN)
		check(-EINVAL, "length of the packet");
}

static void fill_maps(struct bench *b)
{
	struct sluice_service_key service_key = { .ip = { [10] = 0xff, [11] = 0xff }, .port_be = htons(5683) };
	struct sluice_service service = { .mac = FRAME_GATEWAY_MAC };
	struct sluice_config config = {
		.heartbeat_ns = (uint64_t)clock_mono_ns(),
		.heartbeat_max_ns = 3600 * 1000000000ULL,
		.limit_rate = 100000000,
		.limit_burst = 100000000,
		.limit_seed = { 1, 2 },
		.durable_seed = SEED,
		.durable_shift = b->shift,
		.content_format = SLUICE_CONTENT_FORMAT,
		.auth_keyed = 1,
	};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), ring = 64;
	const uint32_t zero = 0;

	inet_pton(AF_INET, FRAME_GATEWAY_IP4, service_key.ip + 12);
	check(fd < 0 || setsockopt(fd, SOL_XDP, XDP_RX_RING, &ring, sizeof(ring)) ? -errno : 0, "AF_XDP socket");
	check(bpf_map__update_elem(b->skel->maps.xsks, &zero, 4, &fd, 4, 0), "xsks");
	check(bpf_map__update_elem(b->skel->maps.config, &zero, 4, &config, sizeof(config), 0), "config");
	check(bpf_map__update_elem(b->skel->maps.keys, &zero, 4, &master, sizeof(master), 0), "keys");
	check(bpf_map__update_elem(b->skel->maps.services, &service_key, sizeof(service_key), &service, sizeof(service), 0),
	      "services");
}

static void *map_memory(const struct bpf_map *map, size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	check(at == MAP_FAILED ? -errno : 0, "map a map");
	return at;
}

static void open_programs(struct bench *b)
{
	const struct bpf_insn empty[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_XDP);

	b->skel = gateway_bpf__open();
	check(b->skel ? 0 : -errno, "open the program");
	bpf_map__set_max_entries(b->skel->maps.durable, b->buckets);
	check(gateway_bpf__load(b->skel), "load the program (needs root)");
	b->program_fd = bpf_program__fd(b->skel->progs.sluice_gateway);
	b->empty_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", empty, ARRAY_SIZE(empty), &options);
	check(b->empty_fd, "load the empty program");
	b->feed = verdict_bpf__open_and_load();
	check(b->feed ? 0 : -errno, "load the feeding program");
	b->packets = map_memory(b->feed->maps.packets, VERDICT_PACKETS * sizeof(*b->packets));
	b->durable = map_memory(b->skel->maps.durable, b->buckets * sizeof(*b->durable));
}

static void fill_durable(struct bench *b, uint32_t devices)
{
	struct frame_built frame;
	struct message_built m;

	for (uint32_t i = 0; i < devices; i++) {
		build(&frame, &m, i, 0);
		durable_put(&b->durable[durable_bucket_of(m.tag[0], SEED, b->shift)], m.tag[0], m.tag[1], 1);
	}
}

static void fill_packets(struct bench *b, uint32_t devices, uint32_t generation)
{
	struct frame_built frame;
	struct message_built m;

	for (uint32_t i = 0; i < VERDICT_PACKETS; i++) {
		build(&frame, &m, (uint32_t)(mix(i * 2 + generation) % devices), generation);
		memcpy(b->packets[i].bytes, frame.bytes, frame.len);
	}
}

static uint64_t verdict_sum(struct bench *b, uint32_t verdict)
{
	uint64_t values[256], sum = 0;
	int n = libbpf_num_possible_cpus();

	check(bpf_map__lookup_elem(b->skel->maps.verdicts, &verdict, 4, values, 8 * (size_t)n, 0), "verdicts");
	for (int i = 0; i < n; i++)
		sum += values[i];
	return sum;
}

/* Mean ns of all packets through the program. */
static uint32_t run(struct bench *b, int program_fd)
{
	static uint8_t in[VERDICT_FRAME_LEN], out[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in, .data_size_in = sizeof(in), .data_out = out,
		    .data_size_out = sizeof(out), .repeat = VERDICT_PACKETS);

	check(bpf_map__update_elem(b->feed->maps.program, &(uint32_t){ 0 }, 4, &program_fd, 4, 0), "program");
	check(bpf_prog_test_run_opts(bpf_program__fd(b->feed->progs.verdict_feed), &o), "BPF_PROG_TEST_RUN");
	return o.duration;
}

static void measure(struct bench *b, const char *name, uint32_t devices, uint32_t generation,
		    enum sluice_verdict expected)
{
	uint64_t before = verdict_sum(b, expected), seen;
	uint32_t least = UINT32_MAX, empty = UINT32_MAX, most = 0;

	fill_packets(b, devices, generation);
	for (int i = 0; i < PASSES; i++) {
		uint32_t fed = run(b, b->empty_fd), took = run(b, b->program_fd);

		empty = fed < empty ? fed : empty;
		least = took < least ? took : least;
		most = took > most ? took : most;
	}
	/* A few buckets have had more than their four readings. */
	seen = verdict_sum(b, expected) - before;
	if (seen < (uint64_t)PASSES * VERDICT_PACKETS / 10 * 9)
		check(-EINVAL, "the packets did not get the verdict that is measured");
	printf("{\"name\":\"%s\",\"case\":\"devices=%u\",\"value\":%u,\"unit\":\"ns\",\"note\":\"payload %d B, derived "
	       "keys, %u durable buckets; least of %d passes, greatest %u; %u ns for feeding are taken off; %.1f %% got "
	       "the verdict\"}\n",
	       name, devices, least - empty, PAYLOAD_LEN, b->buckets, PASSES, most - empty, empty,
	       100.0 * (double)seen / PASSES / VERDICT_PACKETS);
	fflush(stdout);
}

static void run_case(uint32_t devices)
{
	struct bench b = { .shift = 54 };

	while ((1ULL << (64 - b.shift)) * 2 < devices)
		b.shift--;
	b.buckets = 1U << (64 - b.shift);
	open_programs(&b);
	fill_maps(&b);
	fill_durable(&b, devices);
	measure(&b, "verdict_new_ns", devices, 1, SLUICE_FORWARDED);
	measure(&b, "verdict_durable_ns", devices, 0, SLUICE_ANSWERED_DURABLE);
	munmap(b.durable, b.buckets * sizeof(*b.durable));
	munmap(b.packets, VERDICT_PACKETS * sizeof(*b.packets));
	close(b.empty_fd);
	verdict_bpf__destroy(b.feed);
	gateway_bpf__destroy(b.skel);
}

int main(void)
{
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	run_case(1000);
	run_case(1000000);
	return 0;
}
