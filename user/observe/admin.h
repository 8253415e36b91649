/* The admin port: a small HTTP server (libmicrohttpd, its own thread) for operators and scrapers.
 *
 * Always: /metrics, /stats.json, /healthz (200 while the process can serve), /readyz (200 when it does, else 503 with the
 * reason).  A program adds its own paths, for GET and HEAD, for POST, or for both; another method is 405, an unknown path
 * 404.
 *
 * A POST must say Content-Type: application/json (else 415), which no form of a foreign page can, and has at most
 * ADMIN_POST_MAX bytes (else 413).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "observe/metrics.h"

struct admin;

/* Answers a GET: append the body; return an HTTP status. Runs on the admin thread. */
typedef int admin_handler(void *context, const char *path, struct buf *body);

/* Answers a POST in the same way; request is its whole body.  While it runs nobody else is served. */
typedef int admin_post(void *context, const char *path, struct slice request, struct buf *body);

#define ADMIN_POST_MAX (16u << 10)

struct admin_page {
	const char *path; /* exact, "/dashboard"; "/" is the start page */
	const char *content_type;
	admin_handler *handler; /* NULL: no GET */
	void *context;
	admin_post *post; /* NULL: no POST */
};

struct admin_options {
	const char *listen;     /* "127.0.0.1:9464", "[::1]:0" */
	const char *port_file;  /* NULL or "": none; written atomically once open, removed by admin_free() */
	struct metrics *metrics;
	const struct admin_page *pages;
	uint32_t n_pages;
};

/* 0; -EINVAL for the address; -EADDRINUSE; other errno. */
int admin_start(struct admin **ret, const struct admin_options *options);
void admin_free(struct admin *a);
uint16_t admin_port(const struct admin *a);

/* reason: why not (255 bytes are kept as a copy); NULL = ready. Any thread. Not ready ("starting") at first. */
void admin_set_ready(struct admin *a, const char *reason_or_null);
void admin_set_healthy(struct admin *a, const char *reason_or_null);
