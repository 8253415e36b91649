/* Asks admin ports: GET over HTTP (libcurl), JSON out (jansson). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "config/config.h"

/* The page as JSON, or NULL when nobody answers in time or it is none.  The caller's to json_decref(). */
json_t *scrape_json(const char *host, uint16_t port, const char *path);

/* A number at a path such as "readings_total/unique"; 0 when it is not there.  Text of digits counts as a number. */
double json_number_at(const json_t *root, const char *path);

/* Whether /readyz answers 200. */
bool scrape_ready(const char *host, uint16_t port);

/* Posts JSON to a page: the HTTP status, 0 when nobody answers within a few seconds; what it says is appended. */
long scrape_post(const char *host, uint16_t port, const char *path, const char *json, struct buf *body);

/* Where a daemon with these settings has its admin port; false: it has none, or has not opened it. */
bool scrape_admin_of(const struct settings *s, char ret_host[64], uint16_t *ret_port);
