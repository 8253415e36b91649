/* The real program, loaded, its maps filled for two services (IPv4 and IPv6), and run packet by packet through
 * BPF_PROG_TEST_RUN on queue 0.
 *
 * Every run checks what must hold for every packet: exactly one verdict, whose fate is what happened; what is passed
 * or dropped is unchanged; an answer is not larger than the request.
 */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_xdp.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "bpf/shared/durable.h"
#include "bpf/gateway.skel.h"
#include "bpf/shared/verdict.h"
#include "tests/bpf/frame.h"
#include "tests/bpf/message.h"
#include "tests/unit/harness.h"

#define FIXTURE_BUCKETS 4096
#define FIXTURE_SERVICE_IP4 5
#define FIXTURE_SERVICE_IP6 6

struct fixture {
	struct gateway_bpf *skel;
	int program_fd, socket_fd;
	struct sluice_config config;
	struct sluice_durable_bucket *durable;
	size_t durable_size;
	uint64_t verdicts[SLUICE_VERDICT_COUNT];
};

struct outcome {
	uint32_t action;
	enum sluice_verdict verdict;
	size_t len; /* of what came out, metadata in front included */
	uint8_t bytes[FRAME_MAX + 256];
};

static int fixture_silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static inline uint64_t fixture_sum(const struct bpf_map *map, uint32_t key)
{
	uint64_t values[256], sum = 0;
	int n = libbpf_num_possible_cpus();

	if (n > (int)ARRAY_SIZE(values) || bpf_map__lookup_elem(map, &key, 4, values, 8 * (size_t)n, 0))
		return UINT64_MAX;
	for (int i = 0; i < n; i++)
		sum += values[i];
	return sum;
}

static inline void fixture_configure(struct fixture *f)
{
	CU_ASSERT_EQUAL(bpf_map__update_elem(f->skel->maps.config, &(uint32_t){ 0 }, 4, &f->config,
					     sizeof(f->config), 0), 0);
}

static inline void fixture_serve(struct fixture *f, const char *ip, uint16_t index)
{
	struct sluice_service service = { .mac = FRAME_GATEWAY_MAC, .index = index };
	struct sluice_service_key key = { .ip = { [10] = 0xff, [11] = 0xff }, .port_be = htons(5683) };

	if (inet_pton(AF_INET, ip, key.ip + 12) != 1)
		inet_pton(AF_INET6, ip, key.ip);
	CU_ASSERT_EQUAL(bpf_map__update_elem(f->skel->maps.services, &key, sizeof(key), &service, sizeof(service), 0), 0);
}

/* An AF_XDP socket that is never bound: there for the map, and nothing more. */
static inline int fixture_open_socket(struct fixture *f)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), size = 64;

	if (fd < 0)
		return -errno;
	f->socket_fd = fd;
	if (setsockopt(fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)))
		return -errno;
	return bpf_map__update_elem(f->skel->maps.xsks, &(uint32_t){ 0 }, 4, &fd, 4, 0);
}

/* 0; 1 when this machine does not let us; fails the test otherwise. */
static inline int fixture_open(struct fixture *f)
{
	int r;

	*f = (struct fixture){ .socket_fd = -1 };
	libbpf_set_print(fixture_silent);
	f->skel = gateway_bpf__open();
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->skel);
	bpf_map__set_max_entries(f->skel->maps.durable, FIXTURE_BUCKETS);
	r = gateway_bpf__load(f->skel);
	if (r == -EPERM || r == -ENOSYS) {
		gateway_bpf__destroy(f->skel);
		return 1;
	}
	ASSERT_OK(r);
	f->program_fd = bpf_program__fd(f->skel->progs.sluice_gateway);
	f->config = (struct sluice_config){
		.heartbeat_ns = (uint64_t)clock_mono_ns(),
		.heartbeat_max_ns = 3600 * 1000000000ULL,
		.durable_seed = 0x5eed5eed5eed5eed,
		.durable_shift = 64 - 12,
		.limit_seed = { 1, 2 },
		.content_format = SLUICE_CONTENT_FORMAT,
	};
	fixture_configure(f);
	fixture_serve(f, FRAME_GATEWAY_IP4, FIXTURE_SERVICE_IP4);
	fixture_serve(f, FRAME_GATEWAY_IP6, FIXTURE_SERVICE_IP6);
	ASSERT_OK(fixture_open_socket(f));
	f->durable_size = FIXTURE_BUCKETS * sizeof(struct sluice_durable_bucket);
	f->durable = mmap(NULL, f->durable_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(f->skel->maps.durable), 0);
	CU_ASSERT_TRUE_FATAL(f->durable != MAP_FAILED);
	return 0;
}

/* The kernel's ledger: every packet that came in has a verdict. */
static inline void fixture_close(struct fixture *f)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < SLUICE_VERDICT_COUNT; i++)
		sum += fixture_sum(f->skel->maps.verdicts, i);
	CU_ASSERT_EQUAL(sum, fixture_sum(f->skel->maps.received, 0));
	munmap(f->durable, f->durable_size);
	if (f->socket_fd >= 0)
		close(f->socket_fd);
	gateway_bpf__destroy(f->skel);
}

static inline void fixture_put_durable(struct fixture *f, const uint64_t tag[2])
{
	durable_put(&f->durable[durable_bucket_of(tag[0], f->config.durable_seed, f->config.durable_shift)], tag[0],
		    tag[1], 1);
}

static inline uint32_t fixture_run_once(const struct fixture *f, const void *frame, size_t len, struct outcome *ret)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)len, .data_out = ret->bytes,
		    .data_size_out = sizeof(ret->bytes), .repeat = 1);
	int r = bpf_prog_test_run_opts(f->program_fd, &run);

	if (r)
		printf("  BPF_PROG_TEST_RUN of %zu bytes: %s\n", len, strerror(-r));
	CU_ASSERT_EQUAL_FATAL(r, 0);
	ret->action = run.retval;
	ret->len = run.data_size_out;
	return run.retval;
}

static inline enum sluice_fate fixture_fate(enum sluice_verdict verdict)
{
	static const enum sluice_fate fates[] = {
#define X(name, label, fate, sentence) SLUICE_FATE_##fate,
		SLUICE_VERDICTS(X)
#undef X
	};

	return fates[verdict];
}

/* Which verdict the last packet got. */
static inline enum sluice_verdict fixture_verdict(struct fixture *f)
{
	enum sluice_verdict ret = SLUICE_VERDICT_COUNT;
	uint64_t more = 0;

	for (uint32_t i = 0; i < SLUICE_VERDICT_COUNT; i++) {
		uint64_t n = fixture_sum(f->skel->maps.verdicts, i);

		if (n != f->verdicts[i])
			ret = (enum sluice_verdict)i;
		more += n - f->verdicts[i];
		f->verdicts[i] = n;
	}
	CU_ASSERT_EQUAL(more, 1);
	return ret;
}

static inline struct outcome fixture_run(struct fixture *f, const void *frame, size_t len)
{
	static const uint32_t actions[] = {
		[SLUICE_FATE_FORWARD] = XDP_REDIRECT,
		[SLUICE_FATE_ANSWER] = XDP_TX,
		[SLUICE_FATE_PASS] = XDP_PASS,
		[SLUICE_FATE_DROP] = XDP_DROP,
	};
	struct outcome o = { 0 };

	fixture_run_once(f, frame, len, &o);
	o.verdict = fixture_verdict(f);
	CU_ASSERT_TRUE_FATAL(o.verdict < SLUICE_VERDICT_COUNT);

	enum sluice_fate fate = fixture_fate(o.verdict);

	CU_ASSERT_EQUAL(o.action, actions[fate]);
	CU_ASSERT_TRUE(fate == SLUICE_FATE_FORWARD || o.len <= len);
	if (fate == SLUICE_FATE_PASS || fate == SLUICE_FATE_DROP)
		CU_ASSERT_TRUE(o.len == len && memcmp(o.bytes, frame, len) == 0);
	return o;
}

/* A message in a frame, both as described. */
static inline struct outcome fixture_send(struct fixture *f, const struct frame *frame, const struct message *message)
{
	struct message_built m;
	struct frame_built b;

	message_build(&m, message);
	frame_build(&b, frame, m.bytes, m.len);
	return fixture_run(f, b.bytes, b.len);
}
