#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "observe/admin.h"
#include "tests/unit/harness.h"

static const struct metric_desc descs[] = {
	{ .name = "readings", .kind = METRIC_COUNTER, .sentence = "Readings." },
};

static int serve_region(void *context, const char *path, struct buf *body)
{
	buf_printf(body, "{\"path\":\"%s\",\"region\":\"%s\"}", path, (const char *)context);
	return 200;
}

static int serve_failure(void *context, const char *path, struct buf *body)
{
	buf_append_str(body, "The disk is gone.\n");
	return 500;
}

static int take_post(void *context, const char *path, struct slice request, struct buf *body)
{
	buf_printf(body, "%s took %zu bytes: ", path, request.len);
	buf_append(body, request.data, MIN(request.len, (size_t)10));
	return 200;
}

static const struct admin_page pages[] = {
	{ "/", "text/html; charset=utf-8", serve_region, (char[]){ "start" } },
	{ "/region.json", "application/json", serve_region, (char[]){ "south" } },
	{ "/broken.json", "application/json", serve_failure, NULL },
	{ "/take", "text/plain", NULL, NULL, take_post },
};

static struct metrics *metrics;

static struct admin *start(const char *listen, const char *port_file)
{
	struct admin *a = NULL;

	if (!metrics)
		ASSERT_OK(metrics_new(&metrics, "test", descs, 1));

	const struct admin_options options = { .listen = listen, .port_file = port_file, .metrics = metrics, .pages = pages,
					       .n_pages = ARRAY_SIZE(pages) };

	ASSERT_OK(admin_start(&a, &options));
	return a;
}

static void stop(struct admin **a)
{
	admin_free(*a);
	metrics_free(metrics);
	metrics = NULL;
}

/* ------------------------------------------------------------------ a client of few words */

static int open_client(int family, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct timeval patience = { .tv_sec = 20 };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CU_ASSERT_FATAL(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));

	const void *where = family == AF_INET ? (const void *)&v4 : &v6;

	CU_ASSERT_EQUAL_FATAL(connect(fd, where, family == AF_INET ? sizeof(v4) : sizeof(v6)), 0);
	return fd;
}

static void send_all(int fd, const char *text, size_t len)
{
	CU_ASSERT_EQUAL(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Until the server closes. */
static const char *receive_all(int fd, struct buf *ret)
{
	for (;;) {
		char bytes[4096];
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n <= 0) {
			CU_ASSERT_TRUE(n == 0 || errno == ECONNRESET);
			return buf_cstr(ret);
		}
		buf_append(ret, bytes, (size_t)n);
	}
}

/* One request on a connection of its own; the whole answer. */
static const char *ask(struct admin *a, const char *method, const char *path, struct buf *ret)
{
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));
	char request[512];
	int n = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);

	buf_reset(ret);
	send_all(fd, request, (size_t)n);
	return receive_all(fd, ret);
}

static bool starts(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

static const char *body_of(const char *response)
{
	const char *end = strstr(response, "\r\n\r\n");

	return end ? end + 4 : "";
}

static void expect(struct admin *a, const char *path, int status, const char *type, const char *body)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	char line[64], header[128];
	const char *response = ask(a, "GET", path, &b);

	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	snprintf(header, sizeof(header), "\r\nContent-Type: %s\r\n", type);
	if (!starts(response, line) || !strstr(response, header) || strcmp(body_of(response), body) != 0)
		printf("  %s\n", response);
	CU_ASSERT_TRUE(starts(response, line));
	CU_ASSERT_PTR_NOT_NULL(strstr(response, header));
	CU_ASSERT_STRING_EQUAL(body_of(response), body);
}

#define TEXT "text/plain; charset=utf-8"

/* ------------------------------------------------------------------ tests */

static void the_pages_that_every_program_has_are_served(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	metric_add(metrics, 0, 42);

	const char *response = ask(a, "GET", "/metrics", &b);

	CU_ASSERT_PTR_NOT_NULL(strstr(response, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(response, "\nsluice_test_readings_total 42\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(response, "\r\nCache-Control: no-store\r\n"));
	response = ask(a, "GET", "/stats.json?now=1", &b);
	CU_ASSERT_TRUE(starts(body_of(response), "{\"readings\":42,"));
}

static void ready_and_healthy_follow_what_the_program_says(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);

	expect(a, "/healthz", 200, TEXT, "ok\n");
	expect(a, "/readyz", 503, TEXT, "starting\n");
	admin_set_ready(a, NULL);
	expect(a, "/readyz", 200, TEXT, "ok\n");
	admin_set_ready(a, "the stream does not answer");
	admin_set_healthy(a, "the spool is full");
	expect(a, "/readyz", 503, TEXT, "the stream does not answer\n");
	expect(a, "/healthz", 503, TEXT, "the spool is full\n");
	admin_set_healthy(a, NULL);
	expect(a, "/healthz", 200, TEXT, "ok\n");
}

static void a_program_adds_its_own_pages(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);

	expect(a, "/", 200, "text/html; charset=utf-8", "{\"path\":\"/\",\"region\":\"start\"}");
	expect(a, "/region.json", 200, "application/json", "{\"path\":\"/region.json\",\"region\":\"south\"}");
	expect(a, "/broken.json", 500, TEXT, "The disk is gone.\n");
}

static void an_unknown_page_is_404_and_says_what_there_is(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);

	expect(a, "/nothing", 404, TEXT,
	       "There is no page /nothing here; there are:\n/metrics\n/stats.json\n/healthz\n/readyz\n/\n/region.json\n"
	       "/broken.json\n/take\n");
}

static void head_gives_the_length_without_the_body(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const char *response = ask(a, "HEAD", "/healthz", &b);

	CU_ASSERT_TRUE(starts(response, "HTTP/1.1 200 "));
	CU_ASSERT_PTR_NOT_NULL(strstr(response, "\r\nContent-Length: 3\r\n"));
	CU_ASSERT_STRING_EQUAL(body_of(response), "");
}

static void any_other_method_is_405(void)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "BREW" };
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;
		const char *response = ask(a, methods[i], "/healthz", &b);

		CU_ASSERT_TRUE(starts(response, "HTTP/1.1 405 "));
		CU_ASSERT_PTR_NOT_NULL(strstr(response, "\r\nAllow: GET, HEAD\r\n"));
		CU_ASSERT_STRING_EQUAL(body_of(response), "Only GET and HEAD are served here.\n");
	}
}

static void a_body_that_nobody_asked_for_is_not_read(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	const char *request = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\nabc";
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));

	send_all(fd, request, strlen(request));
	CU_ASSERT_TRUE(starts(receive_all(fd, &b), "HTTP/1.1 405 "));
}

/* A POST with these headers; the whole answer. */
static const char *post(struct admin *a, const char *path, const char *headers, const char *request, struct buf *ret)
{
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	buf_printf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n%s", path, headers, request);
	buf_reset(ret);
	send_all(fd, (const char *)b.data, b.len);
	return receive_all(fd, ret);
}
#define JSON "Content-Type: application/json\r\n"

static void a_page_that_takes_posts_gets_the_whole_body(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	CU_ASSERT_STRING_EQUAL(body_of(post(a, "/take", JSON "Content-Length: 5\r\n", "{\"a\"}", &b)),
			       "/take took 5 bytes: {\"a\"}");
	CU_ASSERT_STRING_EQUAL(body_of(post(a, "/take", "content-type: Application/JSON; charset=utf-8\r\n"
					    "Transfer-Encoding: chunked\r\n", "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", &b)),
			       "/take took 5 bytes: abcde");
	CU_ASSERT_STRING_EQUAL(body_of(post(a, "/take", JSON "Content-Length: 0\r\n", "", &b)), "/take took 0 bytes: ");
}

static void a_post_of_a_form_or_a_large_one_is_refused(void)
{
	static const char *const forms[] = { "", "Content-Type: text/plain\r\n",
					     "Content-Type: application/x-www-form-urlencoded\r\n",
					     "Content-Type: application/jsonp\r\n" };
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT, large = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		CU_ASSERT_TRUE(starts(post(a, "/take", forms[i], "", &b), "HTTP/1.1 415 "));
	CU_ASSERT_TRUE(starts(post(a, "/take", JSON "Content-Length: 1000000000000\r\n", "abc", &b), "HTTP/1.1 413 "));
	/* Its length is not told before it is there. */
	buf_printf(&large, "%x\r\n%*s\r\n%x\r\n%*s\r\n0\r\n\r\n", ADMIN_POST_MAX, ADMIN_POST_MAX, "x", 1, 1, "x");
	CU_ASSERT_TRUE(starts(post(a, "/take", JSON "Transfer-Encoding: chunked\r\n", buf_cstr(&large), &b),
			      "HTTP/1.1 413 "));
	CU_ASSERT_TRUE(starts(post(a, "/region.json", JSON, "", &b), "HTTP/1.1 405 "));
	CU_ASSERT_TRUE(starts(ask(a, "GET", "/take", &b), "HTTP/1.1 405 "));
	CU_ASSERT_PTR_NOT_NULL(strstr((const char *)b.data, "\r\nAllow: POST\r\n"));
}

static void what_is_not_http_is_refused(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));

	static const char hello[] = "\x16\x03\x01\x02\x00 x y\r\n\r\n";

	send_all(fd, hello, sizeof(hello) - 1);
	shutdown(fd, SHUT_WR);

	const char *response = receive_all(fd, &b);

	CU_ASSERT_TRUE(b.len == 0 || starts(response, "HTTP/1.1 4") || starts(response, "HTTP/1.1 5") ||
		       starts(response, "HTTP/1.0 4"));
	expect(a, "/healthz", 200, TEXT, "ok\n");
}

static void a_head_without_end_is_refused(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));
	static char many[128 << 10];

	memset(many, 'a', sizeof(many));
	memcpy(many, "GET /", 5);
	while (send(fd, many, sizeof(many), MSG_NOSIGNAL) > 0)
		;
	receive_all(fd, &b);
	CU_ASSERT_TRUE(b.len == 0 || starts(buf_cstr(&b), "HTTP/1.1 4") || starts(buf_cstr(&b), "HTTP/1.0 4"));
	expect(a, "/healthz", 200, TEXT, "ok\n");
}

static void one_connection_serves_many_requests(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	CLEANUP_CLOSE int fd = open_client(AF_INET, admin_port(a));
	const char *again = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	const char *last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	int answers = 0;

	send_all(fd, again, strlen(again));
	send_all(fd, again, strlen(again));
	send_all(fd, last, strlen(last));
	for (const char *at = receive_all(fd, &b); (at = strstr(at, "HTTP/1.1 200 ")); at++)
		answers++;
	CU_ASSERT_EQUAL(answers, 3);
}

/* Connections beyond the limit wait or are closed; those that are there go on, and when they leave there is room. */
static void too_many_connections_do_not_stop_it(void)
{
	enum { MANY = 100 };
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	int fds[MANY];

	for (int i = 0; i < MANY; i++)
		fds[i] = open_client(AF_INET, admin_port(a));
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	expect(a, "/healthz", 200, TEXT, "ok\n");
}

static void the_port_file_holds_the_port_until_the_end(void)
{
	char folder[] = "/tmp/sluice-admin-XXXXXX", path[64], expected[16], text[16] = "";

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/port", folder);
	{
		CLEANUP(stop) struct admin *a = start("127.0.0.1:0", path);
		CLEANUP_CLOSE int fd = open(path, O_RDONLY);

		CU_ASSERT_TRUE(read(fd, text, sizeof(text) - 1) > 0);
		snprintf(expected, sizeof(expected), "%u\n", admin_port(a));
		CU_ASSERT_STRING_EQUAL(text, expected);
	}
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	CU_ASSERT_EQUAL(rmdir(folder), 0); /* nothing else was left behind */
}

static void ipv6_is_served(void)
{
	CLEANUP_CLOSE int probe = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	if (probe < 0 || bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) < 0)
		SKIP("there is no IPv6 loopback here");

	CLEANUP(stop) struct admin *a = start("[::1]:0", NULL);
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	CLEANUP_CLOSE int fd = open_client(AF_INET6, admin_port(a));
	const char *request = "GET /healthz HTTP/1.0\r\n\r\n";

	send_all(fd, request, strlen(request));
	CU_ASSERT_STRING_EQUAL(body_of(receive_all(fd, &b)), "ok\n");
}

static void an_address_that_cannot_be_had_is_an_error(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	char listen[32];
	struct admin *second = NULL;
	struct admin_options options = { .listen = listen, .metrics = metrics };

	snprintf(listen, sizeof(listen), "127.0.0.1:%u", admin_port(a));
	CU_ASSERT_EQUAL(admin_start(&second, &options), -EADDRINUSE);
	options.listen = "localhost:1";
	CU_ASSERT_EQUAL(admin_start(&second, &options), -EINVAL);
	options.listen = "127.0.0.1:0";
	options.port_file = "/nonexistent/port";
	CU_ASSERT_EQUAL(admin_start(&second, &options), -ENOENT);
	CU_ASSERT_PTR_NULL(second);
}

/* ------------------------------------------------------------------ threads */

static void *change_reasons(void *context)
{
	for (int i = 0; i < 2000; i++) {
		admin_set_ready(context, i % 2 ? NULL : "busy");
		metric_add(metrics, 0, 1);
	}
	return NULL;
}

static void reasons_change_while_they_are_read(void)
{
	CLEANUP(stop) struct admin *a = start("127.0.0.1:0", NULL);
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, change_reasons, a), 0);
	for (int i = 0; i < 20; i++) {
		CLEANUP(buf_done) struct buf b = BUF_INIT;
		const char *body = body_of(ask(a, "GET", "/readyz", &b));

		CU_ASSERT_TRUE(starts(body, "ok\n") || starts(body, "busy\n") || starts(body, "starting\n"));
		ask(a, "GET", "/metrics", &b);
	}
	pthread_join(thread, NULL);
	expect(a, "/readyz", 200, TEXT, "ok\n");
}

TESTS("admin", T(the_pages_that_every_program_has_are_served), T(ready_and_healthy_follow_what_the_program_says),
      T(a_program_adds_its_own_pages), T(an_unknown_page_is_404_and_says_what_there_is),
      T(head_gives_the_length_without_the_body), T(any_other_method_is_405), T(a_page_that_takes_posts_gets_the_whole_body),
      T(a_post_of_a_form_or_a_large_one_is_refused), T(a_body_that_nobody_asked_for_is_not_read),
      T(what_is_not_http_is_refused), T(a_head_without_end_is_refused), T(one_connection_serves_many_requests),
      T(too_many_connections_do_not_stop_it), T(the_port_file_holds_the_port_until_the_end), T(ipv6_is_served),
      T(an_address_that_cannot_be_had_is_an_error), T(reasons_change_while_they_are_read))
