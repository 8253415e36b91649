/* The same messages, right, wrong and mutated at random, through admit() natively and through the program in the
 * kernel: both must say the same, and the metadata must be what admit() has read. */
#include "tests/bpf/fixture.h"

#define ROUNDS 6000
#define SEED 20240611

static const struct sluice_master_key masters[2] = { { 0x1111, 0x2222, 1, 9 }, { 0x3333, 0x4444, 1, 8 } };

/* splitmix64: the same draws on every machine. */
struct draws {
	uint64_t state;
};

static uint64_t draw_below(struct draws *r, uint64_t n)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

static enum sluice_verdict verdict_of(enum admit_result result, const struct admission *a)
{
	switch (result) {
	case ADMIT_READING:
		return SLUICE_FORWARDED;
	case ADMIT_ODD:
		return SLUICE_PASSED_SHAPE;
	case ADMIT_FOREIGN:
		return SLUICE_PASSED_REGION;
	case ADMIT_BAD_HASH:
		return a->type == COAP_CON ? SLUICE_ANSWERED_AUTH : SLUICE_DROPPED_AUTH;
	default:
		return SLUICE_DROPPED_MALFORMED;
	}
}

/* Something that devices send, or nearly. */
static void draw_message(struct draws *r, struct message_built *ret)
{
	static const char *const devices[] = { "a", "mote-17", "01234567", "0123456789abcdef0123456789abcdef" };
	static const char *const regions[] = { NULL, "", "eu-west", "ap-south", "eu-west-2" };
	static const char *const hosts[] = { NULL, NULL, "gw", "gateway.eu-west.example.org" };
	const struct siphash_key master[2] = { { 0x1111, 0x2222 }, { 0x3333, 0x4444 } };
	struct message m = MESSAGE_DEFAULT;
	unsigned key = (unsigned)draw_below(r, 3);

	m.type = (uint8_t)draw_below(r, 2);
	m.token_len = (uint8_t)draw_below(r, 9);
	m.device_id = devices[draw_below(r, 4)];
	m.region = regions[draw_below(r, 5)];
	m.uri_host = hosts[draw_below(r, 4)];
	m.uri_port = draw_below(r, 3) == 0 ? 5683 : -1;
	m.no_response = draw_below(r, 3) == 0 ? 26 : -1;
	m.has_timestamp = draw_below(r, 4) != 0;
	m.filler_len = draw_below(r, 5) == 0 ? draw_below(r, 1300) : draw_below(r, 150);
	m.extra_option = draw_below(r, 20) == 0 ? 14 : 0;
	if (key < 2)
		m.key = siphash_128(&master[key], m.device_id, (__u32)strlen(m.device_id));
	message_build(ret, &m);
}

static void mutate(struct draws *r, struct message_built *b)
{
	size_t head = b->payload_off + 40 < b->len ? b->payload_off + 40 : b->len;

	for (uint64_t n = draw_below(r, 4); n > 0; n--) {
		size_t at = draw_below(r, draw_below(r, 4) == 0 ? b->len : head);

		b->bytes[at] = draw_below(r, 2) ? (uint8_t)draw_below(r, 256)
						: (uint8_t)(b->bytes[at] ^ 1 << draw_below(r, 8));
	}
	if (draw_below(r, 8) == 0)
		b->len = draw_below(r, b->len) + 1;
}

static void compare(struct fixture *f, const struct admit_keys *keys, bool keyed)
{
	unsigned seen[SLUICE_VERDICT_COUNT] = { 0 };
	struct draws r = { SEED + keyed };

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct frame frame = FRAME_DEFAULT;
		struct sluice_meta meta;
		struct message_built m;
		struct frame_built b;
		struct admission a;
		struct outcome o;
		enum sluice_verdict expected;

		draw_message(&r, &m);
		mutate(&r, &m);
		frame.v6 = draw_below(&r, 2);
		frame.n_vlans = (unsigned)draw_below(&r, 3);
		frame_build(&b, &frame, m.bytes, m.len);
		expected = verdict_of(admit(m.bytes, (__u32)m.len, keys, &a), &a);
		o = fixture_run(f, b.bytes, b.len);
		if (o.verdict != expected)
			printf("  round %u of seed %d: verdict %d, expected %d\n", i, SEED + keyed, o.verdict, expected);
		CU_ASSERT_EQUAL_FATAL(o.verdict, expected);
		seen[expected]++;
		if (expected != SLUICE_FORWARDED)
			continue;
		memcpy(&meta, o.bytes, sizeof(meta));
		CU_ASSERT_EQUAL(meta.word2, a.word2);
		CU_ASSERT_EQUAL(meta.payload_off, a.payload_off);
		CU_ASSERT_EQUAL(meta.key_slot, a.key_slot);
	}
	CU_ASSERT_TRUE(seen[SLUICE_FORWARDED] > ROUNDS / 20);
	CU_ASSERT_TRUE(seen[SLUICE_PASSED_SHAPE] > ROUNDS / 20);
	CU_ASSERT_TRUE(seen[SLUICE_DROPPED_MALFORMED] > ROUNDS / 20);
	CU_ASSERT_TRUE(seen[SLUICE_ANSWERED_AUTH] > ROUNDS / 20);
	CU_ASSERT_TRUE(!keyed || seen[SLUICE_PASSED_REGION] > ROUNDS / 20);
}

static void kernel_and_user_space_say_the_same_of_every_message(void)
{
	struct admit_keys keys = { .content_format = SLUICE_CONTENT_FORMAT };
	struct fixture f;

	if (fixture_open(&f))
		SKIP("the kernel refuses BPF here: needs root (CAP_BPF, CAP_NET_ADMIN) and bpf(2)");
	compare(&f, &keys, false);

	keys = (struct admit_keys){
		.own = { masters[0], masters[1] },
		.keyed = 1,
		.content_format = SLUICE_CONTENT_FORMAT,
		.region = "eu-west",
		.region_len = 7,
	};
	for (uint32_t i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(bpf_map__update_elem(f.skel->maps.keys, &i, 4, &masters[i], sizeof(masters[i]), 0), 0);
	f.config.auth_keyed = 1;
	f.config.region_len = 7;
	memcpy(f.config.region, "eu-west", 7);
	fixture_configure(&f);
	compare(&f, &keys, true);
	fixture_close(&f);
}

TESTS("differential", T(kernel_and_user_space_say_the_same_of_every_message))
