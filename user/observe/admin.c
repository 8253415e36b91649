#include "observe/admin.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endpoint.h"
#include "base/file.h"
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

/* A program's page comes after ours; NULL: none. */
static const struct admin_page *find_page(const struct admin *a, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(built_in); i++)
		if (!strcmp(path, built_in[i].path))
			return &built_in[i];
	for (uint32_t i = 0; i < a->n_pages; i++)
		if (!strcmp(path, a->pages[i].path))
			return &a->pages[i];
	return NULL;
}

static bool is_built_in(const struct admin_page *page)
{
	return page >= built_in && page < built_in + ARRAY_SIZE(built_in);
}

/* ------------------------------------------------------------------ HTTP */

#define TOO_LARGE "The body of a POST has 16 KiB at most.\n"
_Static_assert(ADMIN_POST_MAX == 16 << 10, "TOO_LARGE says so");

/* One that is being received. */
struct request {
	const struct admin_page *page; /* NULL: there is none */
	bool is_post, too_large;
	struct buf body;
};

static enum MHD_Result answer(struct MHD_Connection *connection, int status, const char *type, const char *allow,
			      struct buf *body)
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
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);

	enum MHD_Result r = MHD_queue_response(connection, (unsigned int)status, response);

	MHD_destroy_response(response);
	return r;
}

static bool is_json(struct MHD_Connection *connection)
{
	const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
	static const char json[] = "application/json";

	return type && !strncasecmp(type, json, sizeof(json) - 1) && strchr("; \t", type[sizeof(json) - 1]);
}

/* 0 when it is not told, as with chunks. */
static unsigned long long length_of(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length ? strtoull(length, NULL, 10) : 0;
}

/* Looks at the head.  Answering here ends the connection: right for what is refused, whose body nobody wants to read. */
static enum MHD_Result on_head(struct admin *a, struct MHD_Connection *connection, const char *path, const char *method,
			       void **state)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;
	const struct admin_page *page = find_page(a, path);
	bool is_post = !strcmp(method, MHD_HTTP_METHOD_POST);
	bool is_get = !strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD);
	bool gets = !page || page->handler, posts = page && page->post;

	if (!(is_get && gets) && !(is_post && posts)) {
		const char *allow = gets && posts ? "GET, HEAD, POST" : posts ? "POST" : "GET, HEAD";

		buf_printf(&body, "Only %s served here.\n",
			   gets && posts ? "GET, HEAD and POST are" : posts ? "POST is" : "GET and HEAD are");
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TEXT, allow, &body);
	}
	if (is_post && !is_json(connection)) {
		buf_append_str(&body, "A POST needs Content-Type: application/json.\n");
		return answer(connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, TEXT, "", &body);
	}

	if (is_post && length_of(connection) > ADMIN_POST_MAX) {
		buf_append_str(&body, TOO_LARGE);
		return answer(connection, MHD_HTTP_CONTENT_TOO_LARGE, TEXT, "", &body);
	}

	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return MHD_NO;
	request->page = page;
	request->is_post = is_post;
	*state = request;
	return MHD_YES;
}

/* A GET's body has no meaning here. */
static void take_body(struct request *request, const char *upload, size_t size)
{
	if (request->body.len + size > ADMIN_POST_MAX)
		request->too_large = request->is_post;
	else if (request->is_post)
		buf_append(&request->body, upload, size);
}

static int serve(struct admin *a, const struct request *request, const char *path, struct buf *body, const char **ret_type)
{
	const struct admin_page *page = request->page;

	if (!page)
		return serve_list(a, path, body);
	if (request->too_large) {
		buf_append_str(body, TOO_LARGE);
		return MHD_HTTP_CONTENT_TOO_LARGE;
	}
	*ret_type = page->content_type;
	if (request->is_post)
		return buf_error(&request->body) < 0 ? MHD_HTTP_INTERNAL_SERVER_ERROR :
						       page->post(page->context, path, buf_slice(&request->body), body);
	return page->handler(is_built_in(page) ? a : page->context, path, body);
}

/* Called with the head, with each piece of the body, and when the request is complete. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *upload, size_t *upload_size,
				  void **state)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;
	const char *type = TEXT;

	if (!*state)
		return on_head(context, connection, path, method, state);
	if (*upload_size) {
		take_body(*state, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}

	int status = serve(context, *state, path, &body, &type);

	return answer(connection, status, type, "", &body);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct request *request = *state;

	if (request)
		buf_done(&request->body);
	free(request);
	*state = NULL;
}

/* ------------------------------------------------------------------ life */

/* Whole or not at all: a script that waits for the file never reads half a number. */
static int write_port_file(const char *path, uint16_t port)
{
	char text[8];
	int n = snprintf(text, sizeof(text), "%u\n", port);

	return file_replace(path, SLICE(text, (size_t)n));
}

static int start_server(struct admin *a, const struct sockaddr_storage *where)
{
	unsigned int flags = MHD_USE_AUTO_INTERNAL_THREAD | (where->ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0);

	errno = 0;
	a->server = MHD_start_daemon(flags, 0, NULL, NULL, on_request, a, MHD_OPTION_SOCK_ADDR,
				     (const struct sockaddr *)where, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				     MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)REQUEST_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				     MHD_OPTION_END);
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
