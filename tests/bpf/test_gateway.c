#include "tests/bpf/fixture.h"

#define OPEN(f)          \
	struct fixture f; \
	if (fixture_open(&f)) \
	SKIP("the kernel refuses BPF here: needs root (CAP_BPF, CAP_NET_ADMIN) and bpf(2)")

/* All frames of interest: both families, up to two tags. */
static struct frame frame_of(unsigned i)
{
	struct frame f = FRAME_DEFAULT;

	f.v6 = i % 2;
	f.n_vlans = i / 2 % 3;
	return f;
}
#define FRAMES 6

static struct message message_of(uint8_t type)
{
	struct message m = MESSAGE_DEFAULT;

	m.type = type;
	return m;
}

static void expect(struct fixture *f, const struct message *m, enum sluice_verdict verdict)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		CU_ASSERT_EQUAL(fixture_send(f, &frame, m).verdict, verdict);
	}
}

/* The frame that came out is, byte for byte, the answer that a careful person would write. */
static void expect_answer(struct fixture *f, const struct frame *frame, const struct message *m,
			  enum sluice_verdict verdict, const void *answer, size_t len)
{
	struct outcome o = fixture_send(f, frame, m);
	struct frame_built b;

	frame_build_answer(&b, frame, answer, len);
	CU_ASSERT_EQUAL(o.verdict, verdict);
	CU_ASSERT_EQUAL(o.len, b.len);
	CU_ASSERT_EQUAL(memcmp(o.bytes, b.bytes, b.len), 0);
}

/* An acknowledgement: head, token as message_build() counts it, rest. */
static size_t acknowledge(uint8_t *ret, uint8_t code, const struct message *m, const void *rest, size_t rest_len)
{
	uint8_t token_len = code == 0 ? 0 : m->token_len;

	ret[0] = (uint8_t)(0x60 | token_len);
	ret[1] = code;
	ret[2] = (uint8_t)(m->mid >> 8);
	ret[3] = (uint8_t)m->mid;
	for (uint8_t i = 0; i < token_len; i++)
		ret[4 + i] = (uint8_t)(0xa0 + i);
	memcpy(ret + 4 + token_len, rest, rest_len);
	return 4U + token_len + rest_len;
}

/* ------------------------------------------------------------------ forwarded */

static void expect_forwarded(struct fixture *f, const struct frame *frame, const struct message *m, uint32_t *seq)
{
	struct message_built message;
	struct frame_built b;
	struct sluice_meta meta;
	struct outcome o;
	uint64_t before = (uint64_t)clock_mono_ns();

	message_build(&message, m);
	frame_build(&b, frame, message.bytes, message.len);
	o = fixture_run(f, b.bytes, b.len);
	CU_ASSERT_EQUAL(o.verdict, SLUICE_FORWARDED);
	CU_ASSERT_EQUAL_FATAL(o.len, b.len + sizeof(meta));
	CU_ASSERT_EQUAL(memcmp(o.bytes + sizeof(meta), b.bytes, b.len), 0);
	memcpy(&meta, o.bytes, sizeof(meta));
	CU_ASSERT_EQUAL(meta.magic, SLUICE_META_MAGIC);
	CU_ASSERT_EQUAL(meta.word2, message.tag[1]);
	CU_ASSERT_EQUAL(meta.seq, (*seq)++);
	CU_ASSERT_TRUE(meta.arrival_ns >= before && meta.arrival_ns <= (uint64_t)clock_mono_ns());
	CU_ASSERT_EQUAL(meta.service, frame->v6 ? FIXTURE_SERVICE_IP6 : FIXTURE_SERVICE_IP4);
	CU_ASSERT_EQUAL(meta.ip_off, b.ip_off);
	CU_ASSERT_EQUAL(meta.coap_off, b.coap_off);
	CU_ASSERT_EQUAL(meta.coap_len, message.len);
	CU_ASSERT_EQUAL(meta.payload_off, message.payload_off);
}

static void every_kind_of_reading_is_forwarded_with_its_metadata(void)
{
	static const char *const hosts[] = { NULL, "gw", "gateway.eu-west.telemetry.example.org" };
	struct sluice_queue queue;
	uint32_t seq = 0;

	OPEN(f);
	for (unsigned i = 0; i < FRAMES * 9 * 3 * 2 * 2; i++) {
		struct frame frame = frame_of(i);
		struct message m = message_of(i % 5 == 0 ? COAP_NON : COAP_CON);
		unsigned n = i / FRAMES;

		m.token_len = (uint8_t)(n % 9), n /= 9;
		m.uri_host = hosts[n % 3], n /= 3;
		m.uri_port = n % 2 ? 5683 : -1, n /= 2;
		m.no_response = n % 2 ? 26 : -1;
		m.filler_len = i % 3 == 0 ? 0 : i;
		frame.padding = i % 7;
		frame.no_checksum = i % 2;
		expect_forwarded(&f, &frame, &m, &seq);
	}
	CU_ASSERT_EQUAL(bpf_map__lookup_elem(f.skel->maps.queues, &(uint32_t){ 0 }, 4, &queue, sizeof(queue), 0), 0);
	CU_ASSERT_EQUAL(queue.next_seq, seq);
	CU_ASSERT_EQUAL(queue.steered, seq);
	fixture_close(&f);
}

static void without_socket_or_heartbeat_a_reading_passes_and_costs_no_number(void)
{
	struct message m = message_of(COAP_CON);
	struct frame frame = FRAME_DEFAULT;
	struct sluice_queue queue;
	uint32_t seq = 0;

	OPEN(f);
	f.config.heartbeat_ns = 0;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_PASSED_NO_SOCKET);
	f.config.heartbeat_ns = (uint64_t)clock_mono_ns() - 2000;
	f.config.heartbeat_max_ns = 1000;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_PASSED_NO_SOCKET);
	f.config.heartbeat_ns = (uint64_t)clock_mono_ns();
	f.config.heartbeat_max_ns = 3600ULL * 1000000000;
	fixture_configure(&f);
	expect_forwarded(&f, &frame, &m, &seq);
	CU_ASSERT_EQUAL(bpf_map__delete_elem(f.skel->maps.xsks, &(uint32_t){ 0 }, 4, 0), 0);
	expect(&f, &m, SLUICE_PASSED_NO_SOCKET);
	CU_ASSERT_EQUAL(bpf_map__lookup_elem(f.skel->maps.queues, &(uint32_t){ 0 }, 4, &queue, sizeof(queue), 0), 0);
	CU_ASSERT_EQUAL(queue.next_seq, 1);
	fixture_close(&f);
}

/* ------------------------------------------------------------------ not ours */

static void all_other_ports_are_passed_untouched(void)
{
	struct message_built m;
	struct outcome o;

	OPEN(f);
	message_build(&m, &MESSAGE_DEFAULT);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame frame = frame_of(v6);

		for (unsigned port = 0; port <= 0xffff; port++) {
			struct frame_built b;

			frame.dst_port = (uint16_t)port;
			frame_build(&b, &frame, m.bytes, m.len);
			CU_ASSERT_EQUAL(fixture_run_once(&f, b.bytes, b.len, &o),
					port == 5683 ? XDP_REDIRECT : XDP_PASS);
		}
	}
	CU_ASSERT_EQUAL(fixture_sum(f.skel->maps.verdicts, SLUICE_PASSED_FOREIGN), 2 * 0xffff);
	fixture_close(&f);
}

static void other_addresses_are_passed_untouched(void)
{
	struct message m = message_of(COAP_CON);

	OPEN(f);
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		for (unsigned byte = 0; byte < 6; byte++) {
			frame.dst_mac[byte] ^= 1;
			CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
			frame.dst_mac[byte] ^= 1;
		}
		memset(frame.dst_mac, 0xff, 6);
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
		frame = frame_of(i);
		frame.dst_ip = frame.v6 ? "2001:db8::81" : "203.0.113.81";
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
		frame.dst_ip = frame.v6 ? "ff02::fd" : "224.0.1.187";
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
		frame = frame_of(i);
		frame.src_mac[0] |= 1;
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
		frame = frame_of(i);
		frame.src_port = 0;
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
		frame = frame_of(i);
		frame.src_ip = frame.v6 ? "ff02::1" : "255.255.255.255";
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_PASSED_FOREIGN);
	}
	fixture_close(&f);
}

/* Bytes at an offset behind the IP header's start, and that what they make is left to the kernel's stack. */
static void what_the_program_does_not_parse_is_passed_untouched(void)
{
	static const struct {
		bool v6;
		size_t at;
		uint8_t value;
	} changes[] = {
		{ false, 0, 0x46 }, /* options */
		{ false, 0, 0x55 }, /* version */
		{ false, 6, 0x20 }, /* more fragments */
		{ false, 7, 1 },    /* a later fragment */
		{ false, 9, 6 },    /* TCP */
		{ false, 2, 0x7f }, /* longer than the frame */
		{ false, 3, 27 },   /* shorter than its headers */
		{ false, 24, 0x7f }, /* UDP longer than IP */
		{ false, 25, 7 },   /* UDP shorter than its header */
		{ true, 0, 0x50 },
		{ true, 6, 0 },     /* hop-by-hop options */
		{ true, 6, 44 },    /* fragment */
		{ true, 6, 6 },
		{ true, 4, 0x7f },
		{ true, 5, 7 },
		{ true, 44, 0x7f },
		{ true, 45, 7 },
	};
	struct message_built m;
	struct frame_built b;

	OPEN(f);
	message_build(&m, &MESSAGE_DEFAULT);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		for (unsigned vlans = 0; vlans < 3; vlans++) {
			struct frame frame = frame_of(2 * vlans + changes[i].v6);

			frame_build(&b, &frame, m.bytes, m.len);
			b.bytes[b.ip_off + changes[i].at] = changes[i].value;
			if (changes[i].value == 27 || changes[i].value == 7)
				b.bytes[b.ip_off + changes[i].at - 1] = 0;
			CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_PASSED_FOREIGN);
		}
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		frame_build(&b, &frame, m.bytes, m.len);
		frame_put16(b.bytes + b.ip_off - 2, 0x0806);
		CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_PASSED_FOREIGN);
		frame_put16(b.bytes + b.ip_off - 2, i % 2 ? 0x0800 : 0x86dd); /* the other family's */
		CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_PASSED_FOREIGN);
	}
	fixture_close(&f);
}

static void three_tags_are_one_too_many(void)
{
	struct frame frame = frame_of(4);
	struct message_built m;
	struct frame_built b;

	OPEN(f);
	message_build(&m, &MESSAGE_DEFAULT);
	frame_build(&b, &frame, m.bytes, m.len);
	memmove(b.bytes + 16, b.bytes + 12, b.len - 12);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len + 4).verdict, SLUICE_PASSED_FOREIGN);
	fixture_close(&f);
}

/* ------------------------------------------------------------------ truncation */

static void a_frame_cut_anywhere_is_passed(void)
{
	struct message_built m;
	struct frame_built b;

	OPEN(f);
	message_build(&m, &MESSAGE_DEFAULT);
	fixture_put_durable(&f, m.tag);
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		frame_build(&b, &frame, m.bytes, m.len);
		for (size_t len = 14; len < b.len; len++)
			CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, len).verdict, SLUICE_PASSED_FOREIGN);
	}
	fixture_close(&f);
}

static void a_message_cut_anywhere_is_never_taken_for_a_reading(void)
{
	struct message message = message_of(COAP_CON);
	struct message_built m;
	struct frame_built b;

	OPEN(f);
	message.uri_host = "gateway.example.org";
	message.region = "eu-west";
	message.no_response = 2;
	message_build(&m, &message);
	fixture_put_durable(&f, m.tag);
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		for (size_t len = 0; len < m.len; len++) {
			enum sluice_verdict verdict;

			frame_build(&b, &frame, m.bytes, len);
			verdict = fixture_run(&f, b.bytes, b.len).verdict;
			CU_ASSERT_TRUE(verdict == SLUICE_DROPPED_MALFORMED || verdict == SLUICE_PASSED_SHAPE ||
				       verdict == SLUICE_ANSWERED_AUTH);
			CU_ASSERT_TRUE(len >= 4U + message.token_len || verdict == SLUICE_DROPPED_MALFORMED);
		}
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &message).verdict, SLUICE_ANSWERED_DURABLE);
	}
	fixture_close(&f);
}

/* ------------------------------------------------------------------ verdicts of verify */

#define EXPECT_WITH(f, field, value, verdict)              \
	do {                                               \
		struct message m_ = message_of(COAP_CON);       \
		m_.field = value;                          \
		expect(f, &m_, verdict);                   \
	} while (0)

static void what_is_off_the_shape_is_passed_up(void)
{
	OPEN(f);
	EXPECT_WITH(&f, path, "other", SLUICE_PASSED_SHAPE);
	EXPECT_WITH(&f, format, 60, SLUICE_PASSED_SHAPE);
	EXPECT_WITH(&f, code, 1, SLUICE_PASSED_SHAPE);
	EXPECT_WITH(&f, extra_option, 27, SLUICE_PASSED_SHAPE);
	EXPECT_WITH(&f, filler_len, SLUICE_PAYLOAD_MAX, SLUICE_PASSED_SHAPE);
	EXPECT_WITH(&f, filler_len, SLUICE_MESSAGE_MAX + 50, SLUICE_PASSED_SHAPE);
	fixture_close(&f);
}

static void a_ping_is_passed_up(void)
{
	struct frame frame = FRAME_DEFAULT;
	struct frame_built b;

	OPEN(f);
	frame_build(&b, &frame, "\x40\0\x12\x34", 4);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_PASSED_SHAPE);
	fixture_close(&f);
}

static void what_is_not_a_coap_request_is_dropped(void)
{
	OPEN(f);
	EXPECT_WITH(&f, version, 0, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, version, 3, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, type, COAP_ACK, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, type, COAP_RST, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, code, COAP_CHANGED, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, token_len, 9, SLUICE_DROPPED_MALFORMED);
	EXPECT_WITH(&f, token_len, 15, SLUICE_DROPPED_MALFORMED);
	fixture_close(&f);
}

static void a_wrong_hash_gets_4_01_where_an_answer_is_due(void)
{
	struct message m = message_of(COAP_CON);
	uint8_t answer[32];

	OPEN(f);
	m.spoil = 1ULL << 40;
	for (unsigned i = 0; i < FRAMES * 9; i++) {
		struct frame frame = frame_of(i);

		m.token_len = (uint8_t)(i / FRAMES);
		m.no_response = -1;
		expect_answer(&f, &frame, &m, SLUICE_ANSWERED_AUTH, answer, acknowledge(answer, 0x81, &m, "", 0));
		m.no_response = 8;
		expect_answer(&f, &frame, &m, SLUICE_ANSWERED_AUTH, answer, acknowledge(answer, 0, &m, "", 0));
	}
	m.type = COAP_NON;
	expect(&f, &m, SLUICE_DROPPED_AUTH);
	fixture_close(&f);
}

static void keyed_devices_are_known_by_two_epochs_and_their_region(void)
{
	const struct sluice_master_key masters[2] = { { 0x1111, 0x2222, 1, 9 }, { 0x3333, 0x4444, 1, 8 } };
	struct message m = message_of(COAP_CON);
	struct frame frame = FRAME_DEFAULT;

	OPEN(f);
	f.config.auth_keyed = 1;
	f.config.region_len = 7;
	memcpy(f.config.region, "eu-west", 7);
	fixture_configure(&f);
	expect(&f, &m, SLUICE_ANSWERED_AUTH); /* no key at all */
	for (uint32_t i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(bpf_map__update_elem(f.skel->maps.keys, &i, 4, &masters[i], sizeof(masters[i]), 0), 0);
	expect(&f, &m, SLUICE_ANSWERED_AUTH); /* signed with the open key */
	for (uint32_t i = 0; i < 2; i++) {
		const struct siphash_key master = { masters[i].k0, masters[i].k1 };
		struct sluice_meta meta;
		struct outcome o;

		m.key = siphash_128(&master, m.device_id, (__u32)strlen(m.device_id));
		m.region = NULL;
		o = fixture_send(&f, &frame, &m);
		CU_ASSERT_EQUAL(o.verdict, SLUICE_FORWARDED);
		memcpy(&meta, o.bytes, sizeof(meta));
		CU_ASSERT_EQUAL(meta.key_slot, i);
		m.region = "eu-west";
		expect(&f, &m, SLUICE_FORWARDED);
		m.region = "ap-south";
		expect(&f, &m, SLUICE_PASSED_REGION);
		m.region = "eu-wesT";
		expect(&f, &m, SLUICE_PASSED_REGION);
	}
	fixture_close(&f);
}

/* ------------------------------------------------------------------ recall */

static void a_durable_reading_is_answered_with_its_receipt(void)
{
	struct message m = message_of(COAP_CON);
	struct message_built built;
	uint8_t answer[32], rest[9] = { 0xff };

	OPEN(f);
	for (unsigned i = 0; i < FRAMES * 9 * 2; i++) {
		struct frame frame = frame_of(i);

		m.token_len = (uint8_t)(i / FRAMES % 9);
		m.mid = (uint16_t)(i * 1237);
		m.timestamp_ns = i;
		m.filler_len = i % 4;
		frame.padding = i % 3;
		frame.no_checksum = i % 2;
		message_build(&built, &m);
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_FORWARDED);
		fixture_put_durable(&f, built.tag);
		memcpy(rest + 1, &built.tag[1], 8);
		expect_answer(&f, &frame, &m, SLUICE_ANSWERED_DURABLE, answer,
			      acknowledge(answer, 0x44, &m, rest, sizeof(rest)));
		m.no_response = 2;
		expect_answer(&f, &frame, &m, SLUICE_ANSWERED_DURABLE, answer, acknowledge(answer, 0, &m, "", 0));
		m.no_response = -1;
	}
	m.type = COAP_NON;
	expect(&f, &m, SLUICE_DROPPED_DUPLICATE);
	m.timestamp_ns++;
	expect(&f, &m, SLUICE_FORWARDED);
	fixture_close(&f);
}

static void word_2_is_part_of_what_is_recalled(void)
{
	struct message m = message_of(COAP_CON);
	struct message_built built;

	OPEN(f);
	message_build(&built, &m);
	built.tag[1] ^= 1ULL << 16;
	fixture_put_durable(&f, built.tag);
	expect(&f, &m, SLUICE_FORWARDED);
	built.tag[1] ^= 1ULL << 16 | 1; /* the low 16 bits are the time stamp's */
	fixture_put_durable(&f, built.tag);
	expect(&f, &m, SLUICE_ANSWERED_DURABLE);
	fixture_close(&f);
}

/* ------------------------------------------------------------------ limit */

static void over_its_rate_a_prefix_is_refused_and_others_are_not(void)
{
	struct message con = message_of(COAP_CON), non = message_of(COAP_NON);
	uint8_t answer[32];

	OPEN(f);
	f.config.limit_rate = 1;
	f.config.limit_burst = 5;
	f.config.pass_rate = 3;
	fixture_configure(&f);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame frame = frame_of(v6), same = frame, other = frame;

		same.src_ip = v6 ? "2001:db8:77:ffff::1" : "198.51.100.200";
		other.src_ip = v6 ? "2001:db8:78::9" : "198.51.101.7";
		for (int i = 0; i < 5; i++)
			CU_ASSERT_EQUAL(fixture_send(&f, i % 2 ? &same : &frame, &con).verdict, SLUICE_FORWARDED);
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &non).verdict, SLUICE_DROPPED_RATE);
		CU_ASSERT_EQUAL(fixture_send(&f, &other, &con).verdict, SLUICE_FORWARDED);
		/* Max-Age 1: option delta 13 + 1, one byte. */
		for (int i = 0; i < 3; i++)
			expect_answer(&f, &same, &con, SLUICE_ANSWERED_RATE, answer,
				      acknowledge(answer, 0x9d, &con, "\xd1\x01\x01", 3));
		/* And even of those there are only so many. */
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &con).verdict, SLUICE_DROPPED_RATE);
	}
	fixture_close(&f);
}

static void a_refusal_is_never_larger_than_what_it_refuses(void)
{
	struct frame frame = FRAME_DEFAULT;
	struct frame_built b;
	struct message m = message_of(COAP_CON);

	OPEN(f);
	f.config.limit_rate = 1;
	f.config.limit_burst = 1;
	fixture_configure(&f);
	fixture_send(&f, &frame, &m);
	/* A POST of nothing but its header leaves no room for Max-Age. */
	frame_build(&b, &frame, "\x40\x02\x12\x34", 4);

	struct outcome o = fixture_run(&f, b.bytes, b.len);

	CU_ASSERT_EQUAL(o.verdict, SLUICE_ANSWERED_RATE);
	CU_ASSERT_EQUAL(o.len, b.len);
	CU_ASSERT_EQUAL(memcmp(o.bytes + b.coap_off, "\x60\x9d\x12\x34", 4), 0);
	/* A ping, a response and half a header get none. */
	frame_build(&b, &frame, "\x40\0\x12\x34", 4);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_DROPPED_RATE);
	frame_build(&b, &frame, "\x60\x44\x12\x34", 4);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_DROPPED_RATE);
	frame_build(&b, &frame, "\x44\x02\x12\x34\xa0\xa1", 6);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_DROPPED_RATE);
	frame_build(&b, &frame, "", 0);
	CU_ASSERT_EQUAL(fixture_run(&f, b.bytes, b.len).verdict, SLUICE_DROPPED_MALFORMED);
	fixture_close(&f);
}

static void a_bucket_fills_again_with_time(void)
{
	struct message m = message_of(COAP_CON);
	struct frame frame = FRAME_DEFAULT;
	int64_t until_ns;
	int taken = 0;

	OPEN(f);
	f.config.limit_rate = 100; /* one in 10 ms */
	f.config.limit_burst = 1;
	fixture_configure(&f);
	for (until_ns = clock_mono_ns() + 105000000; clock_mono_ns() < until_ns;)
		taken += fixture_send(&f, &frame, &m).verdict == SLUICE_FORWARDED;
	CU_ASSERT_TRUE(taken >= 2 && taken <= 12);
	fixture_close(&f);
}

static void odd_packets_have_a_budget(void)
{
	struct message odd = message_of(COAP_CON), good = message_of(COAP_CON);
	struct frame frame = FRAME_DEFAULT;

	OPEN(f);
	odd.path = "x";
	f.config.pass_rate = 2;
	fixture_configure(&f);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &odd).verdict, SLUICE_PASSED_SHAPE);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &odd).verdict, SLUICE_PASSED_SHAPE);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &odd).verdict, SLUICE_DROPPED_PASS_BUDGET);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &good).verdict, SLUICE_FORWARDED);
	fixture_close(&f);
}

static void forged_requests_do_not_make_us_answer_without_end(void)
{
	struct message m = message_of(COAP_CON);
	struct frame frame = FRAME_DEFAULT;

	OPEN(f);
	m.spoil = 1;
	f.config.pass_rate = 2;
	fixture_configure(&f);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_ANSWERED_AUTH);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_ANSWERED_AUTH);
	CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_DROPPED_AUTH);
	fixture_close(&f);
}

static void source_rule(struct fixture *f, const char *ip, uint32_t prefix_len, uint32_t rule)
{
	struct sluice_source_key key = { .prefix_len = prefix_len, .ip = { [10] = 0xff, [11] = 0xff } };

	if (inet_pton(AF_INET, ip, key.ip + 12) == 1)
		key.prefix_len += 96;
	else
		inet_pton(AF_INET6, ip, key.ip);
	CU_ASSERT_EQUAL(bpf_map__update_elem(f->skel->maps.sources, &key, sizeof(key), &rule, sizeof(rule), 0), 0);
}

static void a_denied_prefix_is_dropped_and_the_longest_prefix_decides(void)
{
	struct message m = message_of(COAP_CON);

	OPEN(f);
	source_rule(&f, "198.51.0.0", 16, SLUICE_SOURCE_DENY);
	source_rule(&f, "198.51.100.128", 25, SLUICE_SOURCE_ALLOW);
	source_rule(&f, "2001:db8::", 32, SLUICE_SOURCE_DENY);
	source_rule(&f, "2001:db8:77:2::", 64, SLUICE_SOURCE_ALLOW);
	expect(&f, &m, SLUICE_FORWARDED); /* not looked at while acl_active is 0 */
	f.config.acl_active = 1;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_DROPPED_DENIED);
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame frame = frame_of(i);

		frame.src_ip = frame.v6 ? "2001:db8:77:2::1" : "198.51.100.129";
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_FORWARDED);
		frame.src_ip = frame.v6 ? "2001:db9::1" : "198.52.0.1";
		CU_ASSERT_EQUAL(fixture_send(&f, &frame, &m).verdict, SLUICE_FORWARDED);
	}
	fixture_close(&f);
}

/* ------------------------------------------------------------------ shadow, kill */

static void shadow_mode_counts_apart_and_passes_everything_untouched(void)
{
	struct message m = message_of(COAP_CON), other = message_of(COAP_CON);
	struct message_built built;

	OPEN(f);
	message_build(&built, &m);
	fixture_put_durable(&f, built.tag);
	f.config.shadow = 1;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_PASSED_SHADOW);
	other.timestamp_ns++;
	expect(&f, &other, SLUICE_PASSED_SHADOW);
	other.spoil = 1;
	expect(&f, &other, SLUICE_PASSED_SHADOW);
	other.path = "x";
	expect(&f, &other, SLUICE_PASSED_SHAPE);
	CU_ASSERT_EQUAL(fixture_sum(f.skel->maps.shadowed, SLUICE_ANSWERED_DURABLE), FRAMES);
	CU_ASSERT_EQUAL(fixture_sum(f.skel->maps.shadowed, SLUICE_FORWARDED), FRAMES);
	CU_ASSERT_EQUAL(fixture_sum(f.skel->maps.shadowed, SLUICE_ANSWERED_AUTH), FRAMES);
	fixture_close(&f);
}

static void the_kill_switch_passes_everything(void)
{
	struct message m = message_of(COAP_CON);

	OPEN(f);
	f.config.kill = 1;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_PASSED_SHADOW);
	f.config.kill = 0;
	fixture_configure(&f);
	expect(&f, &m, SLUICE_FORWARDED);
	fixture_close(&f);
}

TESTS("gateway_bpf", T(every_kind_of_reading_is_forwarded_with_its_metadata),
      T(without_socket_or_heartbeat_a_reading_passes_and_costs_no_number), T(all_other_ports_are_passed_untouched),
      T(other_addresses_are_passed_untouched), T(what_the_program_does_not_parse_is_passed_untouched),
      T(three_tags_are_one_too_many), T(a_frame_cut_anywhere_is_passed),
      T(a_message_cut_anywhere_is_never_taken_for_a_reading), T(what_is_off_the_shape_is_passed_up),
      T(a_ping_is_passed_up), T(what_is_not_a_coap_request_is_dropped),
      T(a_wrong_hash_gets_4_01_where_an_answer_is_due), T(keyed_devices_are_known_by_two_epochs_and_their_region),
      T(a_durable_reading_is_answered_with_its_receipt), T(word_2_is_part_of_what_is_recalled),
      T(over_its_rate_a_prefix_is_refused_and_others_are_not), T(a_refusal_is_never_larger_than_what_it_refuses),
      T(a_bucket_fills_again_with_time), T(odd_packets_have_a_budget),
      T(forged_requests_do_not_make_us_answer_without_end),
      T(a_denied_prefix_is_dropped_and_the_longest_prefix_decides),
      T(shadow_mode_counts_apart_and_passes_everything_untouched), T(the_kill_switch_passes_everything))
