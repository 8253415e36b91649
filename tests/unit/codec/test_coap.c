/* Vectors: RFC 7252 appendix A (figures 16 to 19), RFC 7959 section 3, and a capture of Leshan and Wakaama talking
 * LWM2M.  What the options must do is section 5.4 and 5.10. */
#include <stdio.h>

#include "bpf/shared/admit.h"
#include "codec/coap.h"
#include "tests/unit/harness.h"

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })
#define CON_POST 0x40, 0x02, 0x12, 0x34 /* no token, MID 0x1234 */
#define PATH_T 0xb1, 't'
#define FORMAT_OURS 0x12, 0xfd, 0xe9 /* 65001 after Uri-Path */

static struct coap_request request;

static int parse(const uint8_t *message, size_t len)
{
	memset(&request, 0xaa, sizeof(request));
	return coap_parse_request(&request, message, len, SLUICE_CONTENT_FORMAT);
}

static void the_examples_of_the_rfc_are_read(void)
{
	static const uint8_t get[] = "\x40\x01\x7d\x34\xbbtemperature";
	static const uint8_t with_token[] = "\x41\x01\x7d\x35\x20\xbbtemperature";
	static const uint8_t content[] = "\x60\x45\x7d\x34\xff" "22.3 C";
	static const uint8_t answered[] = "\x61\x45\x7d\x35\x20\xff" "22.3 C";
	struct coap_response r;

	CU_ASSERT_EQUAL(parse(get, sizeof(get) - 1), COAP_NOT_FOUND); /* another path than ours */
	CU_ASSERT_EQUAL(request.mid, 0x7d34);
	CU_ASSERT_EQUAL(request.token_len, 0);
	CU_ASSERT_EQUAL(parse(with_token, sizeof(with_token) - 1), COAP_NOT_FOUND);
	CU_ASSERT_EQUAL(request.token_len, 1);
	CU_ASSERT_EQUAL(request.token[0], 0x20);

	ASSERT_OK(coap_parse_response(&r, content, sizeof(content) - 1));
	CU_ASSERT_EQUAL(r.type, COAP_ACK);
	CU_ASSERT_EQUAL(r.code, 0x45);
	CU_ASSERT_EQUAL(r.mid, 0x7d34);
	CU_ASSERT_EQUAL(r.max_age_s, 60);
	CU_ASSERT_EQUAL(r.payload.len, 6);
	CU_ASSERT_EQUAL(memcmp(r.payload.data, "22.3 C", 6), 0);
	ASSERT_OK(coap_parse_response(&r, answered, sizeof(answered) - 1));
	CU_ASSERT_EQUAL(r.token_len, 1);
	CU_ASSERT_EQUAL(r.token[0], 0x20);
}

static void a_post_to_t_is_read_whatever_else_it_says(void)
{
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, FORMAT_OURS, 0xff, 'x')));
	CU_ASSERT_EQUAL(request.payload.len, 1);
	CU_ASSERT_EQUAL(request.format, 65001);
	CU_ASSERT_EQUAL(request.no_response, 0);
	/* Uri-Host, Observe (elective, not ours), Uri-Port, path, no format, Max-Age (elective). */
	ASSERT_OK(parse(BYTES(CON_POST, 0x31, 'h', 0x30, 0x12, 0x16, 0x33, 0x41, 't', 0x31, 9, 0xff, 'x')));
	CU_ASSERT_FALSE(request.has_format);
	/* No-Response (258) behind the format. */
	ASSERT_OK(parse(BYTES(0x50, 2, 0, 1, PATH_T, FORMAT_OURS, 0xd1, 233, 2, 0xff, 'x')));
	CU_ASSERT_EQUAL(request.no_response, 2);
	CU_ASSERT_EQUAL(request.type, COAP_NON);
}

static void what_must_be_understood_and_is_not_gets_4_02(void)
{
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x43, 'a', '=', '1', 0xff, 'x')), COAP_BAD_OPTION); /* Query */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0x10, 0xa1, 't', 0xff, 'x')), COAP_BAD_OPTION);  /* If-Match */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0x90, 0x21, 't', 0xff, 'x')), COAP_BAD_OPTION);  /* OSCORE */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x61, 50, 0xff, 'x')), COAP_BAD_OPTION); /* Accept: JSON */
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, 0x62, 0xfd, 0xe9, 0xff, 'x')));                /* Accept: ours */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0x30, 0x81, 't', 0xff, 'x')), COAP_BAD_OPTION);  /* no host */
	/* Uri-Host twice. */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0x31, 'h', 0x01, 'h', 0x81, 't', 0xff, 'x')), COAP_BAD_OPTION);
	/* Elective ones may be wrong. */
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, FORMAT_OURS, 0x01, 50, 0xff, 'x'))); /* twice: the first counts */
	CU_ASSERT_EQUAL(request.format, 65001);
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, 0x13, 1, 2, 3, 0xff, 'x')));
	CU_ASSERT_FALSE(request.has_format);
	/* 65000 (elective) and 65001 (critical), by the two-byte delta: 11 + 269 + 0xfcd0 = 65000. */
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, 0xe0, 0xfc, 0xd0, 0xff, 'x')));
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xe0, 0xfc, 0xd1, 0xff, 'x')), COAP_BAD_OPTION);
}

static void a_block_is_taken_when_it_is_the_whole(void)
{
	/* Block1 = 27: 16 beyond the path, nibble 13 + 3.  Value: number << 4 | more << 3 | size. */
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, 0xd1, 3, 0x06, 0xff, 'x')));
	ASSERT_OK(parse(BYTES(CON_POST, PATH_T, 0xd0, 3, 0xff, 'x')));
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xd1, 3, 0x0e, 0xff, 'x')), COAP_BAD_OPTION);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xd1, 3, 0x16, 0xff, 'x')), COAP_BAD_OPTION);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xd1, 3, 0x07, 0xff, 'x')), COAP_BAD_REQUEST);
}

static void a_request_for_something_else_gets_its_code(void)
{
	static uint8_t large[4 + 2 + 1 + SLUICE_PAYLOAD_MAX + 1] = { CON_POST, PATH_T, 0xff };
	static uint8_t cut[SLUICE_MESSAGE_MAX + 1] = { CON_POST };

	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0xff, 'x')), COAP_NOT_FOUND);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, 0xb1, 'u', 0xff, 'x')), COAP_NOT_FOUND);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x01, 't', 0xff, 'x')), COAP_NOT_FOUND);
	CU_ASSERT_EQUAL(parse(BYTES(0x40, 1, 0, 1, PATH_T)), COAP_METHOD_NOT_ALLOWED);
	CU_ASSERT_EQUAL(parse(BYTES(0x40, 31, 0, 1, PATH_T, 0xff, 'x')), COAP_METHOD_NOT_ALLOWED);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x11, 50, 0xff, 'x')), COAP_BAD_FORMAT);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x10, 0xff, 'x')), COAP_BAD_FORMAT); /* text/plain: 0 */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, FORMAT_OURS)), COAP_BAD_REQUEST);
	CU_ASSERT_EQUAL(parse(large, sizeof(large)), COAP_TOO_LARGE);
	ASSERT_OK(parse(large, sizeof(large) - 1));
	CU_ASSERT_EQUAL(parse(cut, sizeof(cut)), COAP_TOO_LARGE);
	CU_ASSERT_EQUAL(request.mid, 0x1234);
}

static void what_is_no_request_is_never_answered(void)
{
	static const uint8_t whole[] = { CON_POST, 0x31, 'h', 0xd1, 0, 1, PATH_T, 0xff, 'x' };

	CU_ASSERT_EQUAL(parse(BYTES(0x40, 0, 0, 7)), COAP_PING);
	CU_ASSERT_EQUAL(request.mid, 7);
	CU_ASSERT_EQUAL(parse(BYTES(0x40, 0, 0, 7, 0)), -EBADMSG); /* an empty message has nothing behind the MID */
	CU_ASSERT_EQUAL(parse(BYTES(0x50, 0, 0, 7)), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(0x60, 0, 0, 7)), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(0x70, 0, 0, 7)), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(0x40, 0x45, 0, 7)), -EBADMSG); /* a response */
	CU_ASSERT_EQUAL(parse(BYTES(0x40, 0x22, 0, 7)), -EBADMSG); /* a reserved class */
	CU_ASSERT_EQUAL(parse(BYTES(0x80, 2, 0, 7, PATH_T)), -EBADMSG); /* version 2 */
	CU_ASSERT_EQUAL(parse(BYTES(0x49, 2, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, PATH_T)), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xff)), -EBADMSG);    /* a marker and no payload */
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xf0, 'x')), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0x0f, 'x')), -EBADMSG);
	CU_ASSERT_EQUAL(parse(BYTES(CON_POST, PATH_T, 0xe0, 0xff, 0xff)), -EBADMSG); /* number above 65535 */
	for (size_t len = 0; len < 4; len++)
		CU_ASSERT_EQUAL(parse(whole, len), -EBADMSG);
	CU_ASSERT_EQUAL(parse(whole, 5), -EBADMSG);
	CU_ASSERT_EQUAL(parse(whole, 8), -EBADMSG);
	CU_ASSERT_EQUAL(parse(whole, sizeof(whole) - 1), -EBADMSG);
}

static void a_written_request_is_of_the_fixed_shape(void)
{
	static const uint8_t expected[] = { 0x54, 2, 0xab, 0xcd, 't', 'o', 'k', 'n', PATH_T, FORMAT_OURS,
					    0xd1, 233, 26, 0xff, 'p', 'q' };
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	coap_append_post(&b, COAP_NON, 0xabcd, "tokn", 4, SLUICE_CONTENT_FORMAT, 26, SLICE("pq", 2));
	CU_ASSERT_EQUAL_FATAL(b.len, sizeof(expected));
	CU_ASSERT_EQUAL(memcmp(b.data, expected, b.len), 0);
	for (uint32_t format = 0; format <= UINT16_MAX; format += 51) { /* 0, 255 and 65535 among them */
		buf_reset(&b);
		coap_append_post(&b, COAP_CON, 1, "", 0, (uint16_t)format, 0, SLICE("p", 1));
		ASSERT_OK(coap_parse_request(&request, b.data, b.len, (uint16_t)format));
		CU_ASSERT_EQUAL(request.format, format);
	}
}

static void answers_are_read_with_max_age_and_receipt(void)
{
	static const uint8_t token[SLUICE_TOKEN_MAX] = "12345678";
	struct answer busy = { COAP_TOO_MANY_REQUESTS, COAP_ACK, .token_len = 8, .mid = 9, .max_age_s = 300 };
	struct answer done = { COAP_CHANGED, COAP_NON, .has_receipt = 1, .mid = 9, .receipt = 0x0807060504030201 };
	uint8_t bytes[SLUICE_ANSWER_MAX];
	struct coap_response r;

	ASSERT_OK(coap_parse_response(&r, bytes, answer_write(bytes, &busy, token)));
	CU_ASSERT_EQUAL(r.max_age_s, 300);
	CU_ASSERT_EQUAL(memcmp(r.token, token, 8), 0);
	ASSERT_OK(coap_parse_response(&r, bytes, answer_write(bytes, &done, token)));
	CU_ASSERT_EQUAL(r.payload.len, 8);
	CU_ASSERT_EQUAL(memcmp(r.payload.data, "\1\2\3\4\5\6\7\10", 8), 0);
	ASSERT_OK(coap_parse_response(&r, BYTES(0x70, 0, 0, 9)));
	CU_ASSERT_EQUAL(r.type, COAP_RST);
	ASSERT_OK(coap_parse_response(&r, BYTES(0x60, 0, 0, 9)));
	CU_ASSERT_EQUAL(coap_parse_response(&r, BYTES(0x40, 0, 0, 9)), -EBADMSG);
	CU_ASSERT_EQUAL(coap_parse_response(&r, BYTES(0x40, 2, 0, 9)), -EBADMSG);
	CU_ASSERT_EQUAL(coap_parse_response(&r, BYTES(0x60, 0x44, 0, 9, 0xd1, 2)), -EBADMSG);
	CU_ASSERT_EQUAL(coap_parse_response(&r, BYTES(0x60, 0x44, 0, 9, 0x10)), -EBADMSG); /* critical: If-Match */
}

/* pcap (little-endian, Linux cooked capture, IPv6 without extensions). */
static void a_capture_of_other_implementations_is_read(void)
{
	FILE *f = fopen("../shared/data/pcap/coap.pcap", "rb");
	uint8_t header[24], record[16], frame[512];
	int requests = 0, responses = 0;
	struct coap_response r;

	if (!f)
		SKIP("no capture in ../shared/data/pcap");
	CU_ASSERT_EQUAL_FATAL(fread(header, sizeof(header), 1, f), 1);
	while (fread(record, sizeof(record), 1, f) == 1) {
		size_t len = record[8] | record[9] << 8, coap = 16 + 40 + 8;

		CU_ASSERT_FATAL(len > coap && len <= sizeof(frame) && fread(frame, len, 1, f) == 1);
		if (frame[coap + 1] >> 5 == 0) {
			/* A registration with Uri-Query, then GET, PUT and POST of paths that are not ours. */
			CU_ASSERT_EQUAL(parse(frame + coap, len - coap),
					requests == 0 ? COAP_BAD_OPTION : COAP_NOT_FOUND);
			requests++;
			continue;
		}
		ASSERT_OK(coap_parse_response(&r, frame + coap, len - coap));
		CU_ASSERT_EQUAL(r.type, COAP_ACK);
		CU_ASSERT_EQUAL(r.mid, request.mid);
		CU_ASSERT_EQUAL(r.token_len, request.token_len);
		CU_ASSERT_EQUAL(memcmp(r.token, request.token, r.token_len), 0);
		responses++;
	}
	fclose(f);
	CU_ASSERT_EQUAL(requests, responses);
	CU_ASSERT_TRUE(requests >= 7);
}

TESTS("codec-coap", T(the_examples_of_the_rfc_are_read), T(a_post_to_t_is_read_whatever_else_it_says),
      T(what_must_be_understood_and_is_not_gets_4_02), T(a_block_is_taken_when_it_is_the_whole),
      T(a_request_for_something_else_gets_its_code), T(what_is_no_request_is_never_answered),
      T(a_written_request_is_of_the_fixed_shape), T(answers_are_read_with_max_age_and_receipt),
      T(a_capture_of_other_implementations_is_read))
