/* Frames with every header that the program lets through.  That the checksums are right in the eyes of a kernel is
 * seen in test_xdp.c; here they are summed again, the slow way. */
#include <endian.h>

#include "net/frame.h"
#include "tests/unit/harness.h"

static const uint8_t own_mac[6] = { 2, 0, 0, 0, 0, 1 }, peer_mac[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t own_v4[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
static const uint8_t peer_v4[16] = { [10] = 0xff, 0xff, 192, 0, 2, 2 };
static const uint8_t own_v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
static const uint8_t peer_v6[16] = { 0x20, 1, 0xd, 0xb8, [14] = 0xff, 2 };

struct shape {
	bool is_v6;
	unsigned tags;
	uint8_t tag_bytes[8];
};

static const struct shape shapes[] = {
	{ false, 0, { 0 } },
	{ true, 0, { 0 } },
	{ false, 1, { 0x81, 0, 0x20, 7 } },
	{ true, 1, { 0x81, 0, 0, 0 } }, /* a priority tag of priority 0 is a tag */
	{ false, 2, { 0x88, 0xa8, 0x0f, 0xff, 0x81, 0, 0, 1 } },
	{ true, 2, { 0x81, 0, 0, 2, 0x81, 0, 0, 1 } },
	{ true, 2, { 0x88, 0xa8, 0, 2, 0x88, 0xa8, 0, 1 } },
};

/* Ethernet and tags, and where the IP header begins. */
static uint8_t *put_ethernet(uint8_t *at, const struct shape *s, const uint8_t *dst, const uint8_t *src)
{
	memcpy(at, dst, 6);
	memcpy(at + 6, src, 6);
	memcpy(at + 12, s->tag_bytes, 4 * s->tags);
	at += 12 + 4 * s->tags;
	at[0] = s->is_v6 ? 0x86 : 0x08;
	at[1] = s->is_v6 ? 0xdd : 0x00;
	return at + 2;
}

/* A request of `len` bytes of CoAP from the peer's port 40000; only what a source reads is filled in. */
static size_t put_request(uint8_t *frame, const struct shape *s, size_t len, struct sluice_meta *ret)
{
	uint8_t *ip = put_ethernet(frame, s, own_mac, peer_mac), *udp = ip + (s->is_v6 ? 40 : 20);

	memset(ip, 0, 60 + len);
	memcpy(ip + (s->is_v6 ? 8 : 12), s->is_v6 ? peer_v6 : peer_v4 + 12, s->is_v6 ? 16 : 4);
	udp[0] = 40000 >> 8;
	udp[1] = 40000 & 0xff;
	*ret = (struct sluice_meta){
		.service = 5,
		.arrival_ns = 12345,
		.coap_off = (uint16_t)(udp + 8 - frame),
		.coap_len = (uint16_t)len,
		.ip_off = (uint8_t)(ip - frame),
	};
	return ret->coap_off + len;
}

static uint32_t slow_sum(const uint8_t *at, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

/* A sum that includes its own checksum is all ones. */
static bool all_ones(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static void check_answer(const struct shape *s, const uint8_t *frame, size_t frame_len, size_t len)
{
	uint8_t head[64], *ip_at = put_ethernet(head, s, peer_mac, own_mac);
	size_t ip_off = (size_t)(ip_at - head), ip_len = s->is_v6 ? 40 : 20, udp_len = 8 + len;
	const uint8_t *ip = frame + ip_off, *udp = ip + ip_len;

	CU_ASSERT_EQUAL(memcmp(frame, head, ip_off), 0);
	CU_ASSERT_EQUAL(frame_len, MAX(ip_off + ip_len + udp_len, (size_t)60));
	CU_ASSERT_EQUAL(memcmp(udp, "\x16\x33\x9c\x40", 4), 0); /* 5683 to 40000 */
	CU_ASSERT_EQUAL((size_t)(udp[4] << 8 | udp[5]), udp_len);
	CU_ASSERT_NOT_EQUAL(udp[6] | udp[7], 0);
	if (s->is_v6) {
		CU_ASSERT_EQUAL(ip[0], 0x60);
		CU_ASSERT_EQUAL((size_t)(ip[4] << 8 | ip[5]), udp_len);
		CU_ASSERT_EQUAL(ip[6], 17);
		CU_ASSERT_EQUAL(memcmp(ip + 8, own_v6, 16) | memcmp(ip + 24, peer_v6, 16), 0);
		CU_ASSERT_TRUE(all_ones(slow_sum(ip + 8, 32) + 17 + (uint32_t)udp_len + slow_sum(udp, udp_len)));
		return;
	}
	CU_ASSERT_EQUAL(ip[0], 0x45);
	CU_ASSERT_EQUAL((size_t)(ip[2] << 8 | ip[3]), 20 + udp_len);
	CU_ASSERT_EQUAL(ip[9], 17);
	CU_ASSERT_EQUAL(memcmp(ip + 12, own_v4 + 12, 4) | memcmp(ip + 16, peer_v4 + 12, 4), 0);
	CU_ASSERT_TRUE(all_ones(slow_sum(ip, 20)));
	CU_ASSERT_TRUE(all_ones(slow_sum(ip + 12, 8) + 17 + (uint32_t)udp_len + slow_sum(udp, udp_len)));
}

static void an_answer_goes_back_the_way_that_the_request_came(void)
{
	struct sluice_service_key own = { .port_be = htobe16(5683) };
	uint8_t request[256], frame[FRAME_ANSWER_MAX], answer[64];
	struct sluice_meta meta;
	struct reply_stub stub;

	for (size_t i = 0; i < sizeof(answer); i++)
		answer[i] = (uint8_t)(i * 37 + 11);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		size_t request_len = put_request(request, &shapes[i], 40, &meta);

		CU_ASSERT_TRUE_FATAL(frame_read_request(&stub, request, request_len, &meta));
		CU_ASSERT_EQUAL(stub.service, 5);
		CU_ASSERT_EQUAL(stub.request_len, 40);
		CU_ASSERT_EQUAL(stub.arrival_ns, 12345);
		memcpy(own.ip, shapes[i].is_v6 ? own_v6 : own_v4, 16);
		for (size_t len = 0; len <= sizeof(answer); len++) {
			memset(frame, 0xee, sizeof(frame));
			check_answer(&shapes[i], frame,
				     frame_write_answer(frame, &stub, &own, own_mac, answer, len), len);
		}
	}
}

static void a_checksum_of_zero_is_written_as_all_ones(void)
{
	struct reply_stub stub = { .peer_port_be = htobe16(40000) };
	struct sluice_service_key own = { .port_be = htobe16(5683) };
	uint8_t frame[FRAME_ANSWER_MAX], answer[2] = { 0, 0 };
	uint16_t checksum;

	memcpy(stub.peer_ip, peer_v6, 16);
	memcpy(own.ip, own_v6, 16);
	frame_write_answer(frame, &stub, &own, own_mac, answer, 2);
	/* The word that brings the sum to all ones, so that its complement is 0. */
	memcpy(answer, frame + 14 + 40 + 6, 2);
	frame_write_answer(frame, &stub, &own, own_mac, answer, 2);
	memcpy(&checksum, frame + 14 + 40 + 6, 2);
	CU_ASSERT_EQUAL(checksum, 0xffff);
}

static void metadata_that_does_not_fit_the_frame_is_refused(void)
{
	uint8_t request[256];
	struct sluice_meta meta, wrong;
	struct reply_stub stub;
	size_t len = put_request(request, &shapes[4], 40, &meta);

	CU_ASSERT_TRUE(frame_read_request(&stub, request, len, &meta));
	CU_ASSERT_FALSE(frame_read_request(&stub, request, len - 1, &meta));
	for (unsigned off = 0; off < 256; off++) {
		wrong = meta;
		wrong.ip_off = (uint8_t)off;
		CU_ASSERT_EQUAL(frame_read_request(&stub, request, len, &wrong), off == meta.ip_off);
	}
	wrong = meta;
	wrong.coap_off++;
	CU_ASSERT_FALSE(frame_read_request(&stub, request, len + 1, &wrong));
	wrong = meta;
	wrong.coap_len = UINT16_MAX;
	CU_ASSERT_FALSE(frame_read_request(&stub, request, len, &wrong));
	wrong = meta;
	wrong.payload_off = 41;
	CU_ASSERT_FALSE(frame_read_request(&stub, request, len, &wrong));
}

TESTS("net-frame", T(an_answer_goes_back_the_way_that_the_request_came), T(a_checksum_of_zero_is_written_as_all_ones),
      T(metadata_that_does_not_fit_the_frame_is_refused))
