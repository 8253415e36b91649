/* A real HTTP server in the test's process: it keeps what it was sent, and answers as the test wants. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/unit/harness.h"

#define SERVER_REQUESTS_MAX 4096
#define PATIENCE_NS (30 * NS_PER_S)

struct server_request {
	char *path, *body, *key, *type, *authorization;
	int status; /* what it was answered */
	int64_t at_ns;
};

struct server {
	struct MHD_Daemon *daemon;
	uint16_t port;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct server_request requests[SERVER_REQUESTS_MAX];
	uint32_t n;
	/* Set by the test, under the lock when requests may come. */
	bool hanging;            /* no answer before it is false again */
	uint32_t failures;       /* so many requests are answered with fail_status, then 200 */
	unsigned fail_status;
	const char *retry_after; /* of failures */
	const char *poison;      /* a body that contains this is answered with poison_status, always */
	unsigned poison_status;
	int64_t delay_ms;        /* before each answer */
};

static void server_text(char **ret, struct MHD_Connection *connection, const char *header)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, header);

	*ret = strdup(value ? value : "");
}

static unsigned server_status(struct server *s, const char *body)
{
	if (s->poison && strstr(body, s->poison))
		return s->poison_status;
	if (s->failures > 0) {
		s->failures--;
		return s->fail_status;
	}
	return 200;
}

static enum MHD_Result server_answer(struct server *s, struct MHD_Connection *connection, const char *path,
				     struct buf *body)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(4, (char[]){ "well" }, MHD_RESPMEM_MUST_COPY);

	pthread_mutex_lock(&s->lock);
	CU_ASSERT_FATAL(s->n < SERVER_REQUESTS_MAX);

	struct server_request *q = &s->requests[s->n];
	unsigned status = server_status(s, buf_cstr(body));

	q->path = strdup(path);
	q->body = strdup(buf_cstr(body));
	server_text(&q->key, connection, "Idempotency-Key");
	server_text(&q->type, connection, "Content-Type");
	server_text(&q->authorization, connection, "Authorization");
	q->status = (int)status;
	q->at_ns = clock_mono_ns();
	s->n++;
	if (status != 200 && s->retry_after)
		MHD_add_response_header(response, "Retry-After", s->retry_after);
	pthread_cond_broadcast(&s->changed);
	while (s->hanging)
		pthread_cond_wait(&s->changed, &s->lock);

	struct timespec pause = { .tv_nsec = s->delay_ms * NS_PER_MS };

	pthread_mutex_unlock(&s->lock);
	nanosleep(&pause, NULL); /* a slow server, not a wait for anything */

	enum MHD_Result r = MHD_queue_response(connection, status, response);

	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result server_on_request(void *context, struct MHD_Connection *connection, const char *path,
					 const char *method, const char *version, const char *upload, size_t *upload_size,
					 void **state)
{
	struct buf *body = *state;

	if (!body) {
		*state = calloc(1, sizeof(struct buf));
		return *state ? MHD_YES : MHD_NO;
	}
	if (*upload_size > 0) {
		buf_append(body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	return server_answer(context, connection, path, body);
}

static void server_on_end(void *context, struct MHD_Connection *connection, void **state,
			  enum MHD_RequestTerminationCode why)
{
	if (*state)
		buf_done(*state);
	free(*state);
	*state = NULL;
}

/* port 0: any. */
static void server_listen(struct server *s, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
				     server_on_request, s, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
				     MHD_OPTION_NOTIFY_COMPLETED, server_on_end, NULL, MHD_OPTION_END);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->daemon);
	s->port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

static struct server *server_start(void)
{
	struct server *s = calloc(1, sizeof(*s));
	pthread_condattr_t monotonic;

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	server_listen(s, 0);
	return s;
}

static inline void server_hang(struct server *s, bool hanging)
{
	pthread_mutex_lock(&s->lock);
	s->hanging = hanging;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Nobody listens any more; the port is kept for server_listen(). */
static inline void server_close(struct server *s)
{
	server_hang(s, false);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
}

static void server_free(struct server *s)
{
	if (s->daemon)
		server_close(s);
	for (uint32_t i = 0; i < s->n; i++) {
		free(s->requests[i].path);
		free(s->requests[i].body);
		free(s->requests[i].key);
		free(s->requests[i].type);
		free(s->requests[i].authorization);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Until it was sent so many requests, that of them whose body contains text (NULL: any). */
static inline void server_wait(struct server *s, uint32_t n, const char *text)
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	struct timespec until = { .tv_sec = deadline_ns / NS_PER_S, .tv_nsec = deadline_ns % NS_PER_S };
	uint32_t count = 0;
	int late = 0;

	pthread_mutex_lock(&s->lock);
	while (late == 0) {
		count = 0;
		for (uint32_t i = 0; i < s->n; i++)
			count += !text || strstr(s->requests[i].body, text) != NULL;
		if (count >= n)
			break;
		late = pthread_cond_timedwait(&s->changed, &s->lock, &until);
	}
	pthread_mutex_unlock(&s->lock);
	CU_ASSERT_FATAL(count >= n);
}

static inline uint32_t server_count(struct server *s)
{
	pthread_mutex_lock(&s->lock);

	uint32_t n = s->n;

	pthread_mutex_unlock(&s->lock);
	return n;
}
