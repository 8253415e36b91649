/* The fleet against a scripted server on loopback: what RFC 7252 asks of a client, seen from the other side. */
#include "ctl/fleet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/shared/admit.h"
#include "codec/telemetry.h"
#include "tests/unit/harness.h"

#define LIMIT_NS (30 * NS_PER_S)

struct request {
	struct admission a;
	uint8_t token[SLUICE_TOKEN_MAX];
	struct sockaddr_in from;
	uint32_t len;
};

struct server {
	int fd;
	struct fleet *fleet;
	struct reading_source *source;
	char path[64];
};

static void server_open(struct server *s, const char *lines, struct fleet_options options)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	struct reading_error error;

	s->fd = socket(AF_INET, SOCK_DGRAM, 0);
	CU_ASSERT_FATAL(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	CU_ASSERT_FATAL(getsockname(s->fd, (struct sockaddr *)&at, &len) == 0);
	snprintf(s->path, sizeof(s->path), "/tmp/sluice-fleet-XXXXXX");

	int file = mkstemp(s->path);

	CU_ASSERT_FATAL(file >= 0 && write(file, lines, strlen(lines)) == (ssize_t)strlen(lines));
	close(file);
	memcpy(&options.to, &at, sizeof(at));
	options.to_len = sizeof(at);
	options.content_format = SLUICE_CONTENT_FORMAT;
	options.seed = 1;
	if (options.in_flight_max == 0)
		options.in_flight_max = 16;
	ASSERT_OK(readings_from_file(&s->source, s->path, 0, NULL, &error));
	ASSERT_OK(fleet_new(&s->fleet, &options, s->source));
}

static void server_close(struct server *s)
{
	fleet_free(s->fleet);
	readings_free(s->source);
	close(s->fd);
	unlink(s->path);
}

/* Lets the fleet run until it has sent something, or the time is over. */
static bool next_request(struct server *s, struct request *ret, int64_t within_ns)
{
	int64_t until_ns = clock_mono_ns() + within_ns;
	struct reading_error error;
	uint8_t message[SLUICE_MESSAGE_BUF] = { 0 };
	const struct admit_keys keys = { .content_format = SLUICE_CONTENT_FORMAT };

	while (clock_mono_ns() < until_ns) {
		struct pollfd in = { .fd = s->fd, .events = POLLIN };
		socklen_t len = sizeof(ret->from);

		CU_ASSERT(fleet_step(s->fleet, true, clock_mono_ns() + 5 * NS_PER_MS, &error) >= 0);
		if (poll(&in, 1, 0) == 0)
			continue;

		ssize_t n = recvfrom(s->fd, message, SLUICE_MESSAGE_MAX, 0, (struct sockaddr *)&ret->from, &len);

		CU_ASSERT_FATAL(n > 0);
		ret->len = (uint32_t)n;
		CU_ASSERT_EQUAL(admit(message, ret->len, &keys, &ret->a), ADMIT_READING);
		memcpy(ret->token, message + COAP_HEADER_LEN, sizeof(ret->token));
		return true;
	}
	return false;
}

static void respond(struct server *s, const struct request *r, uint8_t code, uint16_t max_age_s, uint64_t receipt)
{
	const struct answer answer = {
		.code = code,
		.type = COAP_ACK,
		.token_len = r->a.token_len,
		.has_receipt = code == COAP_CHANGED,
		.mid = r->a.mid,
		.max_age_s = max_age_s,
		.receipt = receipt,
	};
	uint8_t bytes[SLUICE_ANSWER_MAX];
	uint32_t len = answer_write(bytes, &answer, r->token);

	CU_ASSERT_EQUAL(sendto(s->fd, bytes, len, 0, (const struct sockaddr *)&r->from, sizeof(r->from)), (ssize_t)len);
}

static struct fleet_stats finish(struct server *s)
{
	struct reading_error error;
	struct fleet_stats stats;
	int64_t until_ns = clock_mono_ns() + LIMIT_NS;
	int r = 1;

	while (r == 1 && clock_mono_ns() < until_ns)
		r = fleet_step(s->fleet, true, clock_mono_ns() + 20 * NS_PER_MS, &error);
	CU_ASSERT_EQUAL(r, 0);
	fleet_stats(s->fleet, &stats);
	return stats;
}

#define LINE(device, time) "{\"device_id\":\"" device "\",\"timestamp_ns\":\"" time "\",\"metrics\":{\"t\":1.5}}\n"

static void an_unanswered_message_is_sent_again_with_the_same_id(void)
{
	struct server s;
	struct request first, second;

	server_open(&s, LINE("a", "1"), (struct fleet_options){ 0 });
	CU_ASSERT_FATAL(next_request(&s, &first, LIMIT_NS));

	int64_t sent_ns = clock_mono_ns();

	CU_ASSERT_FATAL(next_request(&s, &second, LIMIT_NS));

	/* ACK_TIMEOUT is 2 s, times 1 to 1.5; what is late on a busy machine may be later. */
	CU_ASSERT(clock_mono_ns() - sent_ns > 1900 * NS_PER_MS);
	CU_ASSERT_EQUAL(first.a.mid, second.a.mid);
	CU_ASSERT(memcmp(first.token, second.token, first.a.token_len) == 0);
	respond(&s, &second, COAP_CHANGED, 0, second.a.word2);

	struct fleet_stats stats = finish(&s);

	CU_ASSERT(stats.acked == 1 && stats.retransmitted == 1 && stats.sent == 2 && stats.given_up == 0);
	server_close(&s);
}

static void a_device_has_one_exchange_at_a_time_and_others_go_on(void)
{
	struct server s;
	struct request a1, b1, a2;

	server_open(&s, LINE("a", "1") LINE("a", "2") LINE("b", "3"), (struct fleet_options){ 0 });
	CU_ASSERT_FATAL(next_request(&s, &a1, LIMIT_NS));
	CU_ASSERT_FATAL(next_request(&s, &b1, LIMIT_NS));
	CU_ASSERT_EQUAL(a1.a.timestamp_ns, 1);
	CU_ASSERT_EQUAL(b1.a.timestamp_ns, 3);
	CU_ASSERT_FALSE(next_request(&s, &a2, 200 * NS_PER_MS));
	respond(&s, &a1, COAP_CHANGED, 0, a1.a.word2);
	CU_ASSERT_FATAL(next_request(&s, &a2, LIMIT_NS));
	CU_ASSERT_EQUAL(a2.a.timestamp_ns, 2);
	respond(&s, &a2, COAP_CHANGED, 0, a2.a.word2);
	respond(&s, &b1, COAP_CHANGED, 0, b1.a.word2);
	CU_ASSERT_EQUAL(finish(&s).acked, 3);
	server_close(&s);
}

static void too_many_requests_is_waited_out_and_asked_anew(void)
{
	struct server s;
	struct request first, again;

	server_open(&s, LINE("a", "1"), (struct fleet_options){ 0 });
	CU_ASSERT_FATAL(next_request(&s, &first, LIMIT_NS));
	respond(&s, &first, COAP_TOO_MANY_REQUESTS, 1, 0);

	int64_t told_ns = clock_mono_ns();

	CU_ASSERT_FATAL(next_request(&s, &again, LIMIT_NS));
	CU_ASSERT(clock_mono_ns() - told_ns > 900 * NS_PER_MS);
	CU_ASSERT_NOT_EQUAL(first.a.mid, again.a.mid);
	CU_ASSERT_EQUAL(first.a.word1, again.a.word1);
	respond(&s, &again, COAP_CHANGED, 0, again.a.word2);

	struct fleet_stats stats = finish(&s);

	CU_ASSERT(stats.acked == 1 && stats.refused[COAP_TOO_MANY_REQUESTS] == 1 && stats.refused_final == 0);
	server_close(&s);
}

static void a_forged_acknowledgement_is_not_believed(void)
{
	struct server s;
	struct request r;
	struct fleet_stats stats;

	server_open(&s, LINE("a", "1"), (struct fleet_options){ 0 });
	CU_ASSERT_FATAL(next_request(&s, &r, LIMIT_NS));
	respond(&s, &r, COAP_CHANGED, 0, r.a.word2 ^ 1);
	CU_ASSERT_FATAL(next_request(&s, &r, LIMIT_NS)); /* it asks again */
	fleet_stats(s.fleet, &stats);
	CU_ASSERT(stats.acked == 0 && stats.bad_receipts == 1);
	respond(&s, &r, COAP_CHANGED, 0, r.a.word2);
	CU_ASSERT_EQUAL(finish(&s).acked, 1);
	server_close(&s);
}

static void a_refusal_is_final_and_counted_by_its_code(void)
{
	struct server s;
	struct request r;

	server_open(&s, LINE("a", "1"), (struct fleet_options){ 0 });
	CU_ASSERT_FATAL(next_request(&s, &r, LIMIT_NS));
	respond(&s, &r, COAP_UNAUTHORIZED, 0, 0);

	struct fleet_stats stats = finish(&s);

	CU_ASSERT(stats.refused[COAP_UNAUTHORIZED] == 1 && stats.refused_final == 1 && stats.acked == 0);
	server_close(&s);
}

static void a_reading_too_far_ahead_in_time_is_held_back(void)
{
	struct server s;
	struct request first, second;

	server_open(&s, LINE("a", "1000") LINE("b", "5000"), (struct fleet_options){ .spread_ns = 3000 });
	CU_ASSERT_FATAL(next_request(&s, &first, LIMIT_NS));
	CU_ASSERT_FALSE(next_request(&s, &second, 200 * NS_PER_MS));
	respond(&s, &first, COAP_CHANGED, 0, first.a.word2);
	CU_ASSERT_FATAL(next_request(&s, &second, LIMIT_NS));
	respond(&s, &second, COAP_CHANGED, 0, second.a.word2);
	CU_ASSERT_EQUAL(finish(&s).acked, 2);
	server_close(&s);
}

static void a_wrong_line_is_named(void)
{
	struct server s;
	struct reading_error error = { "" };
	int r = 1;

	server_open(&s, LINE("a", "1") "\n{\"device_id\":7}\n", (struct fleet_options){ 0 });
	for (int64_t until_ns = clock_mono_ns() + LIMIT_NS; r >= 0 && clock_mono_ns() < until_ns;)
		r = fleet_step(s.fleet, true, clock_mono_ns() + NS_PER_MS, &error);
	CU_ASSERT_EQUAL(r, -EBADMSG);
	CU_ASSERT(strstr(error.text, "line 3") != NULL);
	server_close(&s);
}

TESTS("fleet", T(an_unanswered_message_is_sent_again_with_the_same_id), T(a_device_has_one_exchange_at_a_time_and_others_go_on),
      T(too_many_requests_is_waited_out_and_asked_anew), T(a_forged_acknowledgement_is_not_believed),
      T(a_refusal_is_final_and_counted_by_its_code), T(a_reading_too_far_ahead_in_time_is_held_back), T(a_wrong_line_is_named))
