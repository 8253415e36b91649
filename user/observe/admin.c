#include "observe/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endpoint.h"
#include "base/macros.h"

#define CONNECTIONS_MAX 64
#define IDLE_S 15
#define REASON_MAX 256
#define REQUEST_BYTES (32 << 10) /* of memory for one connection: a longer head is 431 */

#define TEXT "text/plain; charset=utf-8"

struct admin {
	struct MHD_Daemon *server;
	struct metrics *metrics;
	struct admin_page *pages; /* a copy of the program's, paths and types are the program's own */
	uint32_t n_pages;
	uint16_t port;
	char *port_file;
	pthread_mutex_t lock; /* of the reasons */
	char not_ready[REASON_MAX]; /* empty: it is */
	char not_healthy[REASON_MAX];
};

/* ------------------------------------------------------------------ built-in pages */

static int serve_metrics(void *context, const char *path, struct buf *body)
{
	struct admin *a = context;

	metrics_append_prometheus(a->metrics, body);
	return MHD_HTTP_OK;
}

static int serve_stats(void *context, const char *path, struct buf *body)
{
	struct admin *a = context;

	metrics_append_json(a->metrics, body);
	return MHD_HTTP_OK;
}

static int serve_reason(struct admin *a, const char *reason, struct buf *body)
{
	pthread_mutex_lock(&a->lock);

	int status = *reason ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;

	buf_printf(body, "%s\n", *reason ? reason : "ok");
	pthread_mutex_unlock(&a->lock);
	return status;
}

static int serve_health(void *context, const char *path, struct buf *body)
{
	struct admin *a = context;

	return serve_reason(a, a->not_healthy, body);
}

static int serve_ready(void *context, const char *path, struct buf *body)
{
	struct admin *a = context;

	return serve_reason(a, a->not_ready, body);
}

static const struct admin_page built_in[] = {
	{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", serve_metrics, NULL },
	{ "/stats.json", "application/json", serve_stats, NULL },
	{ "/healthz", TEXT, serve_health, NULL },
	{ "/readyz", TEXT, serve_ready, NULL },
};

static int serve_list(const struct admin *a, const char *path, struct buf *body)
{
	buf_printf(body, "There is no page %s here; there are:\n", path);
	for (size_t i = 0; i < ARRAY_SIZE(built_in); i++)
		buf_printf(body, "%s\n", built_in[i].path);
	for (uint32_t i = 0; i < a->n_pages; i++)
		buf_printf(body, "%s\n", a->pages[i].path);
	return MHD_HTTP_NOT_FOUND;
}

static int serve(struct admin *a, const char *path, struct buf *body, const char **ret_type)
{
	for (size_t i = 0; i < ARRAY_SIZE(built_in); i++) {
		if (!strcmp(path, built_in[i].path)) {
			*ret_type = built_in[i].content_type;
			return built_in[i].handler(a, path, body);
		}
	}
	for (uint32_t i = 0; i < a->n_pages; i++) {
		if (!strcmp(path, a->pages[i].path)) {
			*ret_type = a->pages[i].content_type;
			return a->pages[i].handler(a->pages[i].context, path, body);
		}
	}
	*ret_type = TEXT;
	return serve_list(a, path, body);
}

/* ------------------------------------------------------------------ HTTP */

static enum MHD_Result answer(struct MHD_Connection *connection, int status, const char *type, struct buf *body)
{
	struct MHD_Response *response;
	const char *failure = "out of memory\n";

	if (buf_error(body) < 0) {
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		type = TEXT;
		response = MHD_create_response_from_buffer(strlen(failure), (void *)failure, MHD_RESPMEM_PERSISTENT);
	} else {
		response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
		if (response)
			*body = BUF_INIT;
	}
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, status >= 400 ? TEXT : type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");

	enum MHD_Result r = MHD_queue_response(connection, (unsigned int)status, response);

	MHD_destroy_response(response);
	return r;
}

/* Called with the head, and again when the request is complete.  Answering the first time ends the connection: right
 * for what is refused, whose body nobody wants to read. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *upload, size_t *upload_size,
				  void **state)
{
	static char seen;
	struct admin *a = context;
	CLEANUP(buf_done) struct buf body = BUF_INIT;
	const char *type = TEXT;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		buf_append_str(&body, "Only GET and HEAD are served here.\n");
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TEXT, &body);
	}
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) { /* a body has no meaning here */
		*upload_size = 0;
		return MHD_YES;
	}

	int status = serve(a, path, &body, &type);

	return answer(connection, status, type, &body);
}

/* ------------------------------------------------------------------ life */

/* Whole or not at all: a script that waits for the file never reads half a number. */
static int write_port_file(const char *path, uint16_t port)
{
	CLEANUP_FREE char *unfinished = NULL;
	char text[8];
	int n = snprintf(text, sizeof(text), "%u\n", port);

	if (asprintf(&unfinished, "%s.%d.new", path, (int)getpid()) < 0) {
		unfinished = NULL;
		return -ENOMEM;
	}

	int fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)n) != n)
		r = -EIO;
	close(fd);
	if (r == 0 && rename(unfinished, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(unfinished);
	return r;
}

static int start_server(struct admin *a, const struct sockaddr_storage *where)
{
	unsigned int flags = MHD_USE_AUTO_INTERNAL_THREAD | (where->ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0);

	errno = 0;
	a->server = MHD_start_daemon(flags, 0, NULL, NULL, on_request, a, MHD_OPTION_SOCK_ADDR,
				     (const struct sockaddr *)where, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				     MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)REQUEST_BYTES, MHD_OPTION_END);
	if (!a->server)
		return errno ? -errno : -EIO;

	const union MHD_DaemonInfo *info = MHD_get_daemon_info(a->server, MHD_DAEMON_INFO_BIND_PORT);

	a->port = info->port;
	return 0;
}

int admin_start(struct admin **ret, const struct admin_options *options)
{
	struct sockaddr_storage where;
	socklen_t where_len;
	struct admin *a;
	int r = endpoint_parse(options->listen, &where, &where_len);

	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	pthread_mutex_init(&a->lock, NULL);
	a->metrics = options->metrics;
	a->n_pages = options->n_pages;
	a->pages = calloc(a->n_pages + 1, sizeof(*a->pages));
	admin_set_ready(a, "starting");
	if (!a->pages) {
		admin_free(a);
		return -ENOMEM;
	}
	if (a->n_pages)
		memcpy(a->pages, options->pages, a->n_pages * sizeof(*a->pages));
	r = start_server(a, &where);
	if (r == 0 && options->port_file && *options->port_file) {
		r = write_port_file(options->port_file, a->port);
		if (r == 0 && !(a->port_file = strdup(options->port_file)))
			r = -ENOMEM;
	}
	if (r < 0) {
		admin_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	if (a->port_file)
		unlink(a->port_file);
	if (a->server)
		MHD_stop_daemon(a->server);
	pthread_mutex_destroy(&a->lock);
	free(a->port_file);
	free(a->pages);
	free(a);
}

uint16_t admin_port(const struct admin *a)
{
	return a->port;
}

static void set_reason(struct admin *a, char field[static REASON_MAX], const char *reason)
{
	pthread_mutex_lock(&a->lock);
	snprintf(field, REASON_MAX, "%s", reason ? reason : "");
	pthread_mutex_unlock(&a->lock);
}

void admin_set_ready(struct admin *a, const char *reason_or_null)
{
	set_reason(a, a->not_ready, reason_or_null);
}

void admin_set_healthy(struct admin *a, const char *reason_or_null)
{
	set_reason(a, a->not_healthy, reason_or_null);
}
