/* The loader and the AF_XDP source with the real program on a veth pair in namespaces of the test's own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/stat.h>

#include "bpf/shared/durable.h"
#include "net/loader.h"
#include "net/source.h"
#include "tests/bpf/message.h"
#include "tests/unit/net/veth.h"

#define FRAMES 256

static struct xdp_error error;
static struct xdp *loaded; /* so that a test that failed in the middle leaves no pins */

__attribute__((destructor)) static void unload(void)
{
	xdp_free(loaded);
	loaded = NULL;
}

static struct xdp_options options_for(const struct veth *v)
{
	return (struct xdp_options){
		.interface = v->gateway,
		.mode = XDP_MODE_NATIVE,
		.durable_buckets = 1024,
		.config = {
			.heartbeat_max_ns = 600ULL * NS_PER_S,
			.content_format = SLUICE_CONTENT_FORMAT,
			.pass_rate = 1000,
			.limit_seed = { 1, 2 },
		},
		.keys = { .content_format = SLUICE_CONTENT_FORMAT },
	};
}

/* Skips the test that calls it where the machine does not let us. */
#define BEGIN(v)                                               \
	struct veth v;                                         \
	unload();                                              \
	if (xdp_probe(&error) < 0)                             \
		SKIP(error.text);                              \
	if (!veth_init(&v))                                    \
		SKIP("network namespaces cannot be made here")

static struct xdp *load(const struct xdp_options *options)
{
	int result = xdp_load(&loaded, options, &error);

	if (result < 0)
		printf("  xdp_load: %s\n", error.text);
	CU_ASSERT_FATAL(result == 0);
	CU_ASSERT_EQUAL(xdp_serve_port(loaded, SLUICE_COAP_PORT), 3); /* IPv4, IPv6, link-local */
	xdp_heartbeat(loaded);
	return loaded;
}

static struct source *open_queue(struct xdp *xdp)
{
	struct source *s;

	ASSERT_OK(source_xsk_new(&s, xdp, 0, FRAMES));
	return s;
}

static void send_reading(int device, int64_t timestamp_ns, struct message_built *ret)
{
	struct message m = MESSAGE_DEFAULT;

	m.timestamp_ns = timestamp_ns;
	message_build(ret, &m);
	CU_ASSERT_EQUAL_FATAL(send(device, ret->bytes, ret->len, 0), (ssize_t)ret->len);
}

static void receive_one(struct source *s, struct datagram *ret)
{
	int n = 0;

	CU_ASSERT_TRUE_FATAL(veth_readable(s->ops->fd(s)));
	ASSERT_OK(n = s->ops->receive(s, ret, 1));
	CU_ASSERT_EQUAL_FATAL(n, 1);
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static uint32_t attached(const char *interface)
{
	uint32_t id = 0;

	CU_ASSERT_EQUAL(bpf_xdp_query_id((int)if_nametoindex(interface), 0, &id), 0);
	return id;
}

static void exchange(const struct veth *v, struct source *s, const char *ip, const char *peer_ip)
{
	int device = veth_device(v, ip, SLUICE_COAP_PORT);
	uint64_t before_ns = (uint64_t)clock_mono_ns();
	char peer[INET6_ADDRSTRLEN];
	uint8_t answer[64], back[100];
	struct message_built sent;
	struct datagram d;

	send_reading(device, (int64_t)before_ns, &sent);
	receive_one(s, &d);
	CU_ASSERT_TRUE(d.admitted);
	CU_ASSERT_EQUAL(d.len, sent.len);
	CU_ASSERT_EQUAL(memcmp(d.message, sent.bytes, sent.len), 0);
	CU_ASSERT_EQUAL(d.meta.word2, sent.tag[1]);
	CU_ASSERT_EQUAL(d.meta.payload_off, sent.payload_off);
	CU_ASSERT_EQUAL(d.stub.request_len, sent.len);
	CU_ASSERT_TRUE(d.stub.arrival_ns >= before_ns && d.stub.arrival_ns <= (uint64_t)clock_mono_ns());
	inet_ntop(AF_INET6, d.stub.peer_ip, peer, sizeof(peer));
	CU_ASSERT_STRING_EQUAL(peer, peer_ip);

	/* Of every length: the peer's kernel checks our checksums. */
	for (size_t len = 0; len <= sizeof(answer); len++) {
		memset(answer, (int)(0xff - len), sizeof(answer));
		ASSERT_OK(s->ops->reply(s, &d.stub, answer, len));
		if (len % 3 == 0)
			ASSERT_OK(s->ops->flush(s));
	}
	ASSERT_OK(s->ops->flush(s));
	for (size_t len = 0; len <= sizeof(answer); len++) {
		memset(answer, (int)(0xff - len), sizeof(answer));
		CU_ASSERT_TRUE_FATAL(veth_readable(device));
		CU_ASSERT_EQUAL(recv(device, back, sizeof(back), MSG_DONTWAIT), (ssize_t)len);
		CU_ASSERT_EQUAL(memcmp(back, answer, len), 0);
	}
	CU_ASSERT_EQUAL(s->ops->reply(s, &d.stub, back, 65), -EMSGSIZE);
	d.stub.service = 200;
	CU_ASSERT_EQUAL(s->ops->reply(s, &d.stub, answer, 1), -ENOENT);
	close(device);
}

static void a_reading_comes_up_with_its_tag_and_the_answer_goes_back(void)
{
	struct source_stats stats;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);

	CU_ASSERT_STRING_EQUAL(xdp_mode_name(xdp), "native");
	exchange(&v, s, "10.77.0.1", "::ffff:10.77.0.2");
	exchange(&v, s, "fd77::1", "fd77::2");
	exchange(&v, s, "fe80::1", "fe80::2");
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.received, 3);
	CU_ASSERT_EQUAL(stats.sent, 3 * 65);
	CU_ASSERT_EQUAL(stats.lost, 0);
	CU_ASSERT_EQUAL(stats.send_failed, 0);
	CU_ASSERT_EQUAL(stats.ring_used, 0);
	CU_ASSERT_EQUAL(stats.ring_size, FRAMES / 2);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

static void the_generic_mode_does_the_same(void)
{
	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.mode = XDP_MODE_GENERIC;

	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);

	CU_ASSERT_STRING_EQUAL(xdp_mode_name(xdp), "generic");
	exchange(&v, s, "10.77.0.1", "::ffff:10.77.0.2");
	exchange(&v, s, "fd77::1", "fd77::2");
	s->ops->free(s);
	unload();
	veth_done(&v);
}

static void frames_are_recycled_for_ever(void)
{
	enum { COUNT = 20 * FRAMES, BURST = 50 };
	static struct datagram in[64];
	struct source_stats stats;
	struct message_built sent;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT), got = 0;
	char back[64];

	for (int i = 0; i < COUNT; i += BURST) {
		for (int j = 0; j < BURST; j++)
			send_reading(device, i + j, &sent);
		for (int end = got + BURST; got < end && veth_readable(s->ops->fd(s));) {
			int n = s->ops->receive(s, in, 64);

			CU_ASSERT_TRUE_FATAL(n > 0);
			for (int k = 0; k < n; k++, got++)
				ASSERT_OK(s->ops->reply(s, &in[k].stub, &got, sizeof(got)));
			ASSERT_OK(s->ops->flush(s));
		}
		for (int j = 0; j < BURST && veth_readable(device); j++) {
			int expected = i + j, seen = -1;

			CU_ASSERT_EQUAL(recv(device, &seen, sizeof(seen), MSG_DONTWAIT), sizeof(seen));
			CU_ASSERT_EQUAL(seen, expected);
		}
	}
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.received, (COUNT + BURST - 1) / BURST * BURST);
	CU_ASSERT_EQUAL(stats.sent, stats.received);
	CU_ASSERT_EQUAL(stats.lost, 0);
	CU_ASSERT_EQUAL(recv(device, back, sizeof(back), MSG_DONTWAIT), -1);
	close(device);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

/* received + lost = what the device has sent, once quiet, however often one looks. */
static void check_balance(struct source *s, uint64_t sent, uint64_t lost_min)
{
	static struct datagram in[64];
	struct source_stats stats;

	while (s->ops->receive(s, in, 64) > 0)
		continue;
	CU_ASSERT_TRUE(VETH_UNTIL(({
		s->ops->stats(s, &stats);
		stats.received + stats.lost >= sent;
	})));
	CU_ASSERT_EQUAL(stats.received + stats.lost, sent);
	CU_ASSERT_TRUE(stats.lost >= lost_min);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(s->ops->receive(s, in, 64), 0);
		s->ops->stats(s, &stats);
		CU_ASSERT_EQUAL(stats.received + stats.lost, sent);
	}
}

static void what_a_full_ring_drops_is_counted_exactly(void)
{
	enum { COUNT = 1000 };
	struct message_built sent;
	struct datagram d;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT);
	struct sluice_queue queue;

	for (int i = 0; i < COUNT; i++)
		send_reading(device, i, &sent);
	CU_ASSERT_TRUE(VETH_UNTIL(xdp_queue(xdp, 0, &queue) == 0 && queue.steered == COUNT));
	check_balance(s, COUNT, COUNT - FRAMES / 2); /* all of it at the tail */
	for (int i = 0; i < COUNT; i++)
		send_reading(device, i, &sent);
	CU_ASSERT_TRUE(VETH_UNTIL(xdp_queue(xdp, 0, &queue) == 0 && queue.steered == 2 * COUNT));
	receive_one(s, &d);
	receive_one(s, &d);
	send_reading(device, 0, &sent); /* behind the gap */
	check_balance(s, 2 * COUNT + 1, 2 * (COUNT - FRAMES / 2) - 2);
	close(device);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

static void what_waited_when_a_process_ended_is_counted_by_the_next(void)
{
	struct message_built sent;
	struct source_stats stats;
	struct sluice_queue queue;
	struct datagram d;

	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.keep_on_stop = true;

	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT);

	for (int i = 0; i < 10; i++)
		send_reading(device, i, &sent);
	CU_ASSERT_TRUE(VETH_UNTIL(xdp_queue(xdp, 0, &queue) == 0 && queue.steered == 10));
	for (int i = 0; i < 4; i++)
		receive_one(s, &d);
	s->ops->free(s);
	unload();

	options.keep_on_stop = false;
	xdp = load(&options);
	s = open_queue(xdp);
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.lost, 6);
	send_reading(device, 11, &sent);
	receive_one(s, &d);
	CU_ASSERT_EQUAL(d.meta.seq, 10);
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.lost, 6);
	close(device);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

static void a_durable_reading_is_answered_in_the_kernel(void)
{
	uint64_t verdicts[SLUICE_VERDICT_COUNT], seed, received;
	struct message_built sent;
	uint32_t shift;
	uint8_t back[64];

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int device = veth_device(&v, "fd77::1", SLUICE_COAP_PORT);
	struct sluice_durable_bucket *durable = xdp_durable(xdp, &seed, &shift);
	struct datagram d;

	CU_ASSERT_EQUAL(shift, 54); /* 1024 buckets */
	/* What the program sends by XDP_TX reaches a veth peer only if that has a program too. */
	veth_enter(v.peer_ns);
	ASSERT_OK(xdp_let_pass(v.peer));
	ASSERT_OK(xdp_let_pass(v.peer));
	CU_ASSERT_EQUAL(xdp_let_pass("nosuchif0"), -ENODEV);
	veth_enter(v.gateway_ns);

	send_reading(device, 7, &sent);
	receive_one(s, &d);
	durable_put(&durable[durable_bucket_of(sent.tag[0], seed, shift)], sent.tag[0], sent.tag[1], 1);
	send_reading(device, 7, &sent);
	CU_ASSERT_TRUE_FATAL(veth_readable(device));
	CU_ASSERT_EQUAL(recv(device, back, sizeof(back), 0), 4 + 4 + 9);
	CU_ASSERT_EQUAL(back[1], COAP_CHANGED);
	CU_ASSERT_EQUAL(memcmp(back + 9, &sent.tag[1], 8), 0);
	ASSERT_OK(xdp_verdicts(xdp, verdicts));
	CU_ASSERT_EQUAL(verdicts[SLUICE_ANSWERED_DURABLE], 1);
	CU_ASSERT_EQUAL(verdicts[SLUICE_FORWARDED], 1);

	/* Whatever else went over the cable: each packet has its verdict. */
	CU_ASSERT_TRUE(VETH_UNTIL(({
		uint64_t sum = 0;

		ASSERT_OK(xdp_received(xdp, &received));
		ASSERT_OK(xdp_verdicts(xdp, verdicts));
		for (int i = 0; i < SLUICE_VERDICT_COUNT; i++)
			sum += verdicts[i];
		sum == received;
	})));
	close(device);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

static uint32_t link_id(const char *path)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_obj_get(path);

	CU_ASSERT_FATAL(fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0);
	close(fd);
	return info.id;
}

/* The program is exchanged inside its link: the hook is never empty; what is known stays known. */
static void a_restart_exchanges_the_program_and_keeps_the_tables(void)
{
	uint64_t seed, seed_after, verdicts[SLUICE_VERDICT_COUNT], before[SLUICE_VERDICT_COUNT];
	struct message_built sent;
	struct datagram d;
	uint32_t shift, first, id;

	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.keep_on_stop = true;

	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT);
	struct sluice_durable_bucket *durable = xdp_durable(xdp, &seed, &shift);
	char pins[256], link[300];

	snprintf(pins, sizeof(pins), "%s", xdp_pin_folder(xdp));
	snprintf(link, sizeof(link), "%s/../link", pins);
	CU_ASSERT_TRUE(exists(link));
	send_reading(device, 7, &sent);
	receive_one(s, &d);
	durable_put(&durable[durable_bucket_of(sent.tag[0], seed, shift)], sent.tag[0], sent.tag[1], 1);
	ASSERT_OK(xdp_verdicts(xdp, before));
	first = (uint32_t)xdp_program_id(xdp);
	CU_ASSERT_EQUAL(attached(v.gateway), first);
	s->ops->free(s);
	unload();
	CU_ASSERT_EQUAL(attached(v.gateway), first); /* kept */
	id = link_id(link);

	options.keep_on_stop = false;
	xdp = load(&options);
	CU_ASSERT_STRING_EQUAL(xdp_pin_folder(xdp), pins);
	CU_ASSERT_EQUAL(link_id(link), id);
	CU_ASSERT_NOT_EQUAL(attached(v.gateway), first);
	CU_ASSERT_EQUAL(attached(v.gateway), (uint32_t)xdp_program_id(xdp));
	durable = xdp_durable(xdp, &seed_after, &shift);
	CU_ASSERT_EQUAL(seed_after, seed);
	CU_ASSERT_TRUE(durable_find(&durable[durable_bucket_of(sent.tag[0], seed, shift)], sent.tag[0], sent.tag[1]));
	ASSERT_OK(xdp_verdicts(xdp, verdicts));
	CU_ASSERT_EQUAL(verdicts[SLUICE_FORWARDED], before[SLUICE_FORWARDED]);
	close(device);
	unload();
	CU_ASSERT_EQUAL(attached(v.gateway), 0);
	CU_ASSERT_FALSE(exists(pins));
	CU_ASSERT_FALSE(exists(link));
	snprintf(pins, sizeof(pins), SLUICE_PIN_ROOT "/%s", v.gateway);
	CU_ASSERT_FALSE(exists(pins));
	veth_done(&v);
}

/* What is durable in one spool is not in another: acknowledging it would lose the reading. */
static void the_durable_table_of_another_spool_is_emptied(void)
{
	uint64_t seed;
	uint32_t shift;

	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.keep_on_stop = true;
	options.config.durable_owner = 1;

	struct xdp *xdp = load(&options);
	struct sluice_durable_bucket *durable = xdp_durable(xdp, &seed, &shift);

	for (uint64_t word1 = 0; word1 < 500; word1++)
		durable_put(&durable[durable_bucket_of(word1, seed, shift)], word1, word1 << 20, 1);
	unload();
	options.keep_on_stop = false;
	options.config.durable_owner = 2;
	xdp = load(&options);
	durable = xdp_durable(xdp, &seed, &shift);
	for (size_t b = 0; b < options.durable_buckets; b++)
		for (size_t i = 0; i < SLUICE_DURABLE_WAYS; i++)
			CU_ASSERT_FATAL(durable[b].slots[i].w0 == 0 && durable[b].slots[i].w1 == 0);
	unload();
	veth_done(&v);
}

static void another_layout_gets_another_folder_and_the_old_one_goes(void)
{
	char pins[256];
	uint64_t seed;
	uint32_t shift;

	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.keep_on_stop = true;

	struct xdp *xdp = load(&options);

	snprintf(pins, sizeof(pins), "%s", xdp_pin_folder(xdp));
	unload();
	CU_ASSERT_TRUE(exists(pins));
	options.keep_on_stop = false;
	options.durable_buckets *= 2;
	xdp = load(&options);
	CU_ASSERT_STRING_NOT_EQUAL(xdp_pin_folder(xdp), pins);
	CU_ASSERT_FALSE(exists(pins));
	CU_ASSERT_TRUE(exists(xdp_pin_folder(xdp)));
	xdp_durable(xdp, &seed, &shift);
	CU_ASSERT_EQUAL(shift, 53);
	unload();
	veth_done(&v);
}

/* r0 = XDP_PASS; exit */
static int foreign_program(void)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebodys", "GPL", pass, ARRAY_SIZE(pass), NULL);

	CU_ASSERT_FATAL(fd >= 0);
	return fd;
}

static void a_program_of_somebody_elses_is_named_and_left_alone(void)
{
	struct xdp *xdp = NULL;
	char id[32], folder[128];

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	int fd = foreign_program();

	libbpf_set_print(NULL); /* refusals are expected */
	options.mode = XDP_MODE_AUTO;
	CU_ASSERT_FATAL(bpf_xdp_attach((int)if_nametoindex(v.gateway), fd, XDP_FLAGS_DRV_MODE, NULL) == 0);
	CU_ASSERT_EQUAL(xdp_load(&xdp, &options, &error), -EEXIST);
	CU_ASSERT_PTR_NULL(xdp);
	snprintf(id, sizeof(id), "id %u", attached(v.gateway));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "somebodys"));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, id));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, v.gateway));
	CU_ASSERT_NOT_EQUAL(attached(v.gateway), 0);
	snprintf(folder, sizeof(folder), SLUICE_PIN_ROOT "/%s", v.gateway);
	CU_ASSERT_FALSE(exists(folder));

	/* And ours is not to be replaced by another's. */
	CU_ASSERT_EQUAL(bpf_xdp_detach((int)if_nametoindex(v.gateway), XDP_FLAGS_DRV_MODE, NULL), 0);
	xdp = load(&options);
	CU_ASSERT_TRUE(bpf_xdp_attach((int)if_nametoindex(v.gateway), fd, XDP_FLAGS_DRV_MODE, NULL) < 0);
	close(fd);
	unload();
	veth_done(&v);
}

static void a_second_gateway_on_the_interface_is_refused(void)
{
	struct xdp *second = NULL;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);

	CU_ASSERT_EQUAL(xdp_load(&second, &options, &error), -EBUSY);
	CU_ASSERT_PTR_NULL(second);
	CU_ASSERT_EQUAL(attached(v.gateway), (uint32_t)xdp_program_id(xdp));
	CU_ASSERT_TRUE(exists(xdp_pin_folder(xdp)));
	unload();
	veth_done(&v);
}

static void wrong_options_are_refused_with_a_sentence(void)
{
	struct xdp *xdp = NULL;

	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.interface = "nosuchif0";
	CU_ASSERT_EQUAL(xdp_load(&xdp, &options, &error), -ENODEV);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "nosuchif0"));
	options = options_for(&v);
	options.durable_buckets = 1000;
	CU_ASSERT_EQUAL(xdp_load(&xdp, &options, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "1000"));
	CU_ASSERT_PTR_NULL(xdp);
	xdp_free(NULL);
	veth_done(&v);
}

/* The daemon that hangs or is gone: its UDP socket gets the datagram as if there were no XDP. */
static void without_a_heartbeat_or_socket_all_is_passed(void)
{
	struct message_built sent;
	uint64_t verdicts[SLUICE_VERDICT_COUNT];
	struct source *udp, *s;
	struct datagram d;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT);

	ASSERT_OK(source_udp_new(&udp, "0.0.0.0", SLUICE_COAP_PORT, false, -1));
	ASSERT_OK(xdp_load(&loaded, &options, &error));
	struct xdp *xdp = loaded;

	CU_ASSERT_EQUAL(xdp_serve_port(xdp, SLUICE_COAP_PORT), 3);
	s = open_queue(xdp);
	send_reading(device, 1, &sent); /* no heartbeat yet */
	receive_one(udp, &d);
	xdp_heartbeat(xdp);
	send_reading(device, 2, &sent);
	receive_one(s, &d);
	s->ops->free(s);
	send_reading(device, 3, &sent); /* no socket */
	receive_one(udp, &d);
	CU_ASSERT_EQUAL(memcmp(d.message, sent.bytes, sent.len), 0);
	ASSERT_OK(xdp_verdicts(xdp, verdicts));
	CU_ASSERT_EQUAL(verdicts[SLUICE_PASSED_NO_SOCKET], 2);
	udp->ops->free(udp);
	unload();
	close(device);
	veth_done(&v);
}

static void another_mode_is_another_link(void)
{
	BEGIN(v);
	struct xdp_options options = options_for(&v);

	options.keep_on_stop = true;
	CU_ASSERT_STRING_EQUAL(xdp_mode_name(load(&options)), "native");
	unload();
	options.mode = XDP_MODE_GENERIC;
	CU_ASSERT_STRING_EQUAL(xdp_mode_name(load(&options)), "generic");
	unload();
	options.mode = XDP_MODE_AUTO; /* whatever is there */
	options.keep_on_stop = false;
	CU_ASSERT_STRING_EQUAL(xdp_mode_name(load(&options)), "generic");
	unload();
	CU_ASSERT_EQUAL(attached(v.gateway), 0);
	veth_done(&v);
}

static void shadow_mode_and_the_kill_switch_leave_all_to_the_stack(void)
{
	uint64_t verdicts[SLUICE_VERDICT_COUNT], shadowed[SLUICE_VERDICT_COUNT], ns, runs;
	struct message_built sent;
	struct source *udp, *s;
	struct datagram d;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	int device = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT);

	ASSERT_OK(source_udp_new(&udp, "0.0.0.0", SLUICE_COAP_PORT, false, -1));
	options.config.shadow = 1;
	options.config.kill = 1;
	options.keep_on_stop = true;
	load(&options);
	send_reading(device, 1, &sent);
	receive_one(udp, &d);
	unload();

	/* Whoever pulled the switch is not overruled by a restart. */
	options.config.kill = 0;
	options.keep_on_stop = false;
	load(&options);
	s = open_queue(loaded);
	send_reading(device, 2, &sent);
	receive_one(udp, &d);
	ASSERT_OK(xdp_shadowed(loaded, shadowed));
	CU_ASSERT_EQUAL(shadowed[SLUICE_FORWARDED], 0);
	s->ops->free(s);
	unload(); /* and with the pins it goes */

	load(&options);
	s = open_queue(loaded);
	send_reading(device, 3, &sent);
	receive_one(udp, &d);
	ASSERT_OK(xdp_shadowed(loaded, shadowed));
	CU_ASSERT_EQUAL(shadowed[SLUICE_FORWARDED], 1);
	ASSERT_OK(xdp_verdicts(loaded, verdicts));
	CU_ASSERT_EQUAL(verdicts[SLUICE_FORWARDED], 0);
	CU_ASSERT_TRUE(verdicts[SLUICE_PASSED_SHADOW] >= 1);
	ASSERT_OK(xdp_run_time(loaded, &ns, &runs));
	s->ops->free(s);
	udp->ops->free(udp);
	unload();
	close(device);
	veth_done(&v);
}

static void an_interface_with_a_dot_in_its_name_has_pins_too(void)
{
	BEGIN(v);
	char dotted[IF_NAMESIZE], *dot;

	snprintf(dotted, sizeof(dotted), "%s", v.gateway);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dot = strchr(dotted, 'x'));
	*dot = '.';
	CU_ASSERT_TRUE_FATAL(veth_run("ip link set %s down && ip link set %s name %s && ip link set %s up && "
				      "ip addr replace fd77::1/64 dev %s && ip addr replace fe80::1/64 dev %s",
				      v.gateway, v.gateway, dotted, dotted, dotted, dotted));
	strcpy(v.gateway, dotted);

	struct xdp_options options = options_for(&v);

	load(&options);
	CU_ASSERT_TRUE(exists(xdp_pin_folder(loaded)));
	*dot = ':';
	CU_ASSERT_PTR_NOT_NULL(strstr(xdp_pin_folder(loaded), dotted));
	unload();
	veth_done(&v);
}

static void a_source_rule_decides_by_its_longest_prefix(void)
{
	static const char *const wrong[] = { "", "10.0.0.0/33", "10.0.0/8", "fd77::/129", "10.0.0.0/", "10.0.0.0/8x" };
	uint64_t verdicts[SLUICE_VERDICT_COUNT];
	struct message_built sent;
	struct datagram d;

	BEGIN(v);
	struct xdp_options options = options_for(&v);
	struct xdp *xdp = load(&options);
	struct source *s = open_queue(xdp);
	int v4 = veth_device(&v, "10.77.0.1", SLUICE_COAP_PORT), v6 = veth_device(&v, "fd77::1", SLUICE_COAP_PORT);

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		CU_ASSERT_EQUAL(xdp_source_rule(xdp, wrong[i], true), -EINVAL);
	ASSERT_OK(xdp_source_rule(xdp, "10.77.0.0/24", false));
	send_reading(v4, 1, &sent);
	CU_ASSERT_TRUE(VETH_UNTIL(xdp_verdicts(xdp, verdicts) == 0 && verdicts[SLUICE_DROPPED_DENIED] == 1));
	send_reading(v6, 2, &sent);
	receive_one(s, &d);
	ASSERT_OK(xdp_source_rule(xdp, "10.77.0.2", true));
	ASSERT_OK(xdp_source_rule(xdp, "fd77::/16", false));
	send_reading(v4, 3, &sent);
	receive_one(s, &d);
	send_reading(v6, 4, &sent);
	CU_ASSERT_TRUE(VETH_UNTIL(xdp_verdicts(xdp, verdicts) == 0 && verdicts[SLUICE_DROPPED_DENIED] == 2));
	close(v4);
	close(v6);
	s->ops->free(s);
	unload();
	veth_done(&v);
}

TESTS("net-xdp", T(a_reading_comes_up_with_its_tag_and_the_answer_goes_back), T(the_generic_mode_does_the_same),
      T(frames_are_recycled_for_ever), T(what_a_full_ring_drops_is_counted_exactly),
      T(what_waited_when_a_process_ended_is_counted_by_the_next), T(a_durable_reading_is_answered_in_the_kernel),
      T(the_durable_table_of_another_spool_is_emptied),
      T(a_restart_exchanges_the_program_and_keeps_the_tables),
      T(another_layout_gets_another_folder_and_the_old_one_goes),
      T(a_program_of_somebody_elses_is_named_and_left_alone), T(a_second_gateway_on_the_interface_is_refused),
      T(another_mode_is_another_link), T(shadow_mode_and_the_kill_switch_leave_all_to_the_stack),
      T(an_interface_with_a_dot_in_its_name_has_pins_too), T(wrong_options_are_refused_with_a_sentence),
      T(without_a_heartbeat_or_socket_all_is_passed),
      T(a_source_rule_decides_by_its_longest_prefix))
