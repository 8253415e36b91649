/* Asks admin ports: GET over HTTP (libcurl), JSON out (jansson). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The page as JSON, or NULL when nobody answers in time or it is none.  The caller's to json_decref(). */
json_t *scrape_json(const char *host, uint16_t port, const char *path);

/* A number at a path such as "readings_total/unique"; 0 when it is not there.  Text of digits counts as a number. */
double json_number_at(const json_t *root, const char *path);

/* Whether /readyz answers 200. */
bool scrape_ready(const char *host, uint16_t port);
