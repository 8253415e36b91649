/* Over loopback: what is really sent is really received. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/source.h"
#include "tests/unit/harness.h"

#define DEADLINE_NS (5 * NS_PER_S)

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 where;
	socklen_t len = sizeof(where);

	CU_ASSERT_FATAL(getsockname(fd, (struct sockaddr *)&where, &len) == 0);
	return where.sin6_family == AF_INET ? ((struct sockaddr_in *)&where)->sin_port : where.sin6_port;
}

static int client_to(const char *ip, const struct source *source)
{
	uint16_t port_be = port_of(source->ops->fd(source));
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = port_be };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = port_be };
	bool is_v6 = inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1;
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CU_ASSERT_FATAL(fd >= 0 && (is_v6 || inet_pton(AF_INET, ip, &v4.sin_addr) == 1));
	/* A connected socket takes answers from the address that was asked only. */
	CU_ASSERT_FATAL(connect(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
				is_v6 ? sizeof(v6) : sizeof(v4)) == 0);
	return fd;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, clock_poll_ms(clock_mono_ns() + DEADLINE_NS)) == 1;
}

/* One datagram within the deadline. */
static void receive_one(struct source *s, struct datagram *ret)
{
	int n = 0;

	for (int64_t end = clock_mono_ns() + DEADLINE_NS; n == 0 && clock_mono_ns() < end && readable(s->ops->fd(s));)
		ASSERT_OK(n = s->ops->receive(s, ret, 1));
	CU_ASSERT_EQUAL_FATAL(n, 1);
}

static void exchange(struct source *s, const char *ip, const char *expected_peer)
{
	int client = client_to(ip, s);
	uint64_t before_ns = (uint64_t)clock_mono_ns();
	char peer[INET6_ADDRSTRLEN], back[16];
	struct datagram d;

	CU_ASSERT_EQUAL_FATAL(send(client, "question", 8, 0), 8);
	receive_one(s, &d);
	CU_ASSERT_EQUAL(d.len, 8);
	CU_ASSERT_EQUAL(memcmp(d.message, "question", 8), 0);
	CU_ASSERT_FALSE(d.admitted);
	CU_ASSERT_EQUAL(d.stub.service, UINT16_MAX);
	CU_ASSERT_EQUAL(d.stub.request_len, 8);
	CU_ASSERT_EQUAL(d.stub.peer_port_be, port_of(client));
	/* The wall clock may be slewed between the two stamps. */
	CU_ASSERT_TRUE(d.stub.arrival_ns + NS_PER_MS >= before_ns && d.stub.arrival_ns <= (uint64_t)clock_mono_ns());
	inet_ntop(AF_INET6, d.stub.peer_ip, peer, sizeof(peer));
	CU_ASSERT_STRING_EQUAL(peer, expected_peer);

	ASSERT_OK(s->ops->reply(s, &d.stub, "answer", 6));
	ASSERT_OK(s->ops->flush(s));
	CU_ASSERT_TRUE_FATAL(readable(client));
	CU_ASSERT_EQUAL(recv(client, back, sizeof(back), MSG_DONTWAIT), 6);
	CU_ASSERT_EQUAL(memcmp(back, "answer", 6), 0);
	close(client);
}

static void an_answer_leaves_from_the_address_that_was_asked(void)
{
	struct source *s;

	ASSERT_OK(source_udp_new(&s, "0.0.0.0", 0, false, -1));
	exchange(s, "127.0.0.1", "::ffff:127.0.0.1");
	exchange(s, "127.0.0.77", "::ffff:127.0.0.1"); /* the route alone would answer from 127.0.0.1 */
	s->ops->free(s);
}

static void any_of_both_families_is_one_socket(void)
{
	struct source *s;
	int error = source_udp_new(&s, "::", 0, false, -1);

	if (error == -EAFNOSUPPORT)
		SKIP("no IPv6 on this machine");
	ASSERT_OK(error);
	exchange(s, "127.0.0.1", "::ffff:127.0.0.1");
	exchange(s, "127.0.0.78", "::ffff:127.0.0.1");
	exchange(s, "::1", "::1");
	exchange(s, "127.0.0.79", "::ffff:127.0.0.1");
	s->ops->free(s);
}

static void batches_come_and_go_in_order(void)
{
	enum { COUNT = 200 };
	static struct datagram in[64];
	static struct reply_stub stubs[COUNT];
	struct source_stats stats;
	struct source *s;
	uint32_t got = 0, back;
	int client;

	ASSERT_OK(source_udp_new(&s, "127.0.0.1", 0, false, -1));
	client = client_to("127.0.0.1", s);
	for (uint32_t i = 0; i < COUNT; i++)
		CU_ASSERT_EQUAL_FATAL(send(client, &i, sizeof(i), 0), sizeof(i));
	while (got < COUNT && readable(s->ops->fd(s))) {
		int n = s->ops->receive(s, in, 1000);

		CU_ASSERT_TRUE_FATAL(n > 0 && n <= 64);
		for (int i = 0; i < n; i++, got++) {
			CU_ASSERT_EQUAL(memcmp(in[i].message, &got, sizeof(got)), 0);
			stubs[got] = in[i].stub;
		}
	}
	CU_ASSERT_EQUAL_FATAL(got, COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		ASSERT_OK(s->ops->reply(s, &stubs[i], &i, sizeof(i)));
	ASSERT_OK(s->ops->flush(s));
	for (uint32_t i = 0; i < COUNT && readable(client); i++) {
		CU_ASSERT_EQUAL(recv(client, &back, sizeof(back), 0), sizeof(back));
		CU_ASSERT_EQUAL(back, i);
	}
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.received, COUNT);
	CU_ASSERT_EQUAL(stats.bytes, COUNT * sizeof(uint32_t));
	CU_ASSERT_EQUAL(stats.sent, COUNT);
	CU_ASSERT_EQUAL(stats.send_failed, 0);
	CU_ASSERT_EQUAL(stats.lost, 0);
	close(client);
	s->ops->free(s);
}

static void the_queue_of_answers_is_bounded(void)
{
	static const uint8_t large[65];
	struct source_stats stats;
	struct datagram d;
	struct source *s;
	int client, error = 0;
	unsigned queued = 0;

	ASSERT_OK(source_udp_new(&s, "127.0.0.1", 0, false, -1));
	client = client_to("127.0.0.1", s);
	CU_ASSERT_EQUAL(send(client, "x", 1, 0), 1);
	receive_one(s, &d);
	while (queued < 100000 && (error = s->ops->reply(s, &d.stub, "x", 1)) == 0)
		queued++;
	CU_ASSERT_EQUAL(error, -ENOBUFS);
	ASSERT_OK(s->ops->flush(s));
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.sent, queued);
	CU_ASSERT_EQUAL(s->ops->reply(s, &d.stub, large, sizeof(large)), -EMSGSIZE);
	ASSERT_OK(s->ops->reply(s, &d.stub, large, sizeof(large) - 1));

	/* One that cannot be sent does not stop the others. */
	struct reply_stub nowhere = d.stub;

	nowhere.peer_port_be = 0;
	ASSERT_OK(s->ops->reply(s, &nowhere, "x", 1));
	ASSERT_OK(s->ops->reply(s, &d.stub, "x", 1));
	ASSERT_OK(s->ops->flush(s));
	s->ops->stats(s, &stats);
	CU_ASSERT_EQUAL(stats.sent, queued + 2);
	CU_ASSERT_EQUAL(stats.send_failed, 1);
	close(client);
	s->ops->free(s);
}

static void what_a_full_socket_drops_is_counted_exactly(void)
{
	enum { COUNT = 20000 };
	static struct datagram in[64];
	static uint8_t message[1000];
	struct source_stats stats;
	struct source *s;
	int client, n, small = 64 << 10;

	ASSERT_OK(source_udp_new(&s, "127.0.0.1", 0, false, -1));
	CU_ASSERT_FATAL(setsockopt(s->ops->fd(s), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
	client = client_to("127.0.0.1", s);
	for (int i = 0; i < COUNT; i++) {
		CU_ASSERT_EQUAL_FATAL(send(client, message, sizeof(message), 0), sizeof(message));
		if (i % 7000 == 6999) /* losses in the middle, and at the tail */
			ASSERT_OK(s->ops->receive(s, in, 10));
	}
	/* Loopback delivers within send(): what has not arrived now never will. */
	while ((n = s->ops->receive(s, in, 64)) > 0)
		continue;
	CU_ASSERT_EQUAL(n, 0);
	s->ops->stats(s, &stats);
	CU_ASSERT_TRUE(stats.lost > 0);
	CU_ASSERT_EQUAL(stats.received + stats.lost, COUNT);
	CU_ASSERT_EQUAL(stats.ring_used, 0);
	CU_ASSERT_TRUE(stats.ring_size >= (uint32_t)small);
	close(client);
	s->ops->free(s);
}

static void a_long_datagram_is_marked_as_cut(void)
{
	static const size_t lens[] = { 0, 1, SLUICE_MESSAGE_MAX, SLUICE_MESSAGE_MAX + 1, SLUICE_MESSAGE_BUF, 65507 };
	static uint8_t message[65507];
	struct datagram d;
	struct source *s;
	int client;

	memset(message, 'm', sizeof(message));
	ASSERT_OK(source_udp_new(&s, "127.0.0.1", 0, false, -1));
	client = client_to("127.0.0.1", s);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		CU_ASSERT_EQUAL_FATAL(send(client, message, lens[i], 0), (ssize_t)lens[i]);
		receive_one(s, &d);
		CU_ASSERT_EQUAL(d.len, MIN(lens[i], (size_t)SLUICE_MESSAGE_MAX + 1));
		CU_ASSERT_EQUAL(memcmp(d.message, message, d.len), 0);
	}
	close(client);
	s->ops->free(s);
}

static void what_goes_to_a_group_is_counted_and_left(void)
{
	struct in6_addr all_nodes;
	struct sockaddr_in6 group = { .sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex("lo") };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct ip_mreqn join = { .imr_ifindex = (int)group.sin6_scope_id };
	struct source_stats stats = { 0 };
	struct datagram d;
	struct source *s;
	int fd4 = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0), fd;
	bool has_v6;

	inet_pton(AF_INET6, "ff01::1", &all_nodes);
	inet_pton(AF_INET, "224.0.1.187", &v4.sin_addr); /* all CoAP nodes */
	join.imr_multiaddr = v4.sin_addr;
	group.sin6_addr = all_nodes;
	if (source_udp_new(&s, "::", 0, false, -1) < 0)
		SKIP("no IPv6 on this machine");
	fd = s->ops->fd(s);
	group.sin6_port = v4.sin_port = port_of(fd);
	CU_ASSERT_FATAL(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)) == 0);
	CU_ASSERT_FATAL(setsockopt(fd4, IPPROTO_IP, IP_MULTICAST_IF, &join, sizeof(join)) == 0);
	CU_ASSERT_EQUAL(sendto(fd4, "x", 1, 0, (struct sockaddr *)&v4, sizeof(v4)), 1);
	has_v6 = sendto(fd6, "x", 1, 0, (struct sockaddr *)&group, sizeof(group)) == 1;

	for (int64_t end = clock_mono_ns() + DEADLINE_NS; clock_mono_ns() < end && stats.multicast < 1u + has_v6;) {
		CU_ASSERT_TRUE_FATAL(readable(fd));
		CU_ASSERT_EQUAL(s->ops->receive(s, &d, 1), 0);
		s->ops->stats(s, &stats);
	}
	CU_ASSERT_EQUAL(stats.multicast, 1u + has_v6);
	CU_ASSERT_EQUAL(stats.received, 0);
	exchange(s, "127.0.0.1", "::ffff:127.0.0.1");
	close(fd4);
	close(fd6);
	s->ops->free(s);
}

static void several_share_a_port_and_a_taken_one_is_refused(void)
{
	struct source *a, *b, *c;

	ASSERT_OK(source_udp_new(&a, "127.0.0.1", 0, true, -1));

	uint16_t port = ntohs(port_of(a->ops->fd(a)));

	ASSERT_OK(source_udp_new(&b, "127.0.0.1", port, true, -1));
	CU_ASSERT_EQUAL(source_udp_new(&c, "127.0.0.1", port, false, -1), -EADDRINUSE);
	CU_ASSERT_EQUAL(source_udp_new(&c, "localhost", 0, false, -1), -EINVAL);
	b->ops->free(b);
	a->ops->free(NULL);
	a->ops->free(a);
}

static void a_socket_of_systemd_is_taken_over_with_what_waits_in_it(void)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(where);
	int opened = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0),
	    stream = socket(AF_INET, SOCK_STREAM, 0);
	struct datagram d;
	struct source *s;

	CU_ASSERT_FATAL(bind(opened, (struct sockaddr *)&where, len) == 0);
	CU_ASSERT_FATAL(getsockname(opened, (struct sockaddr *)&where, &len) == 0);
	CU_ASSERT_EQUAL(sendto(client, "early", 5, 0, (struct sockaddr *)&where, len), 5);
	ASSERT_OK(source_udp_new(&s, NULL, 0, false, opened));
	receive_one(s, &d);
	CU_ASSERT_EQUAL(memcmp(d.message, "early", 5), 0);
	exchange(s, "127.0.0.1", "::ffff:127.0.0.1");
	s->ops->free(s);
	CU_ASSERT_EQUAL(source_udp_new(&s, NULL, 0, false, stream), -EPROTOTYPE);
	CU_ASSERT_EQUAL(close(stream), 0);
	close(client);
}

TESTS("net-source-udp", T(an_answer_leaves_from_the_address_that_was_asked), T(any_of_both_families_is_one_socket),
      T(batches_come_and_go_in_order), T(the_queue_of_answers_is_bounded),
      T(what_a_full_socket_drops_is_counted_exactly), T(a_long_datagram_is_marked_as_cut),
      T(what_goes_to_a_group_is_counted_and_left), T(several_share_a_port_and_a_taken_one_is_refused),
      T(a_socket_of_systemd_is_taken_over_with_what_waits_in_it))
