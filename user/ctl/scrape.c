#include "ctl/scrape.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define TIMEOUT_MS 1000L
#define POST_TIMEOUT_MS 10000L /* what is posted is answered when it is durable */
#define PAGE_MAX (4u << 20)

static size_t take_bytes(char *data, size_t size, size_t n, void *context)
{
	struct buf *b = context;

	if (b->len + size * n > PAGE_MAX)
		return 0;
	buf_append(b, data, size * n);
	return buf_error(b) < 0 ? 0 : size * n;
}

/* The HTTP status, 0 when nobody answers in time.  json: what is posted; NULL: a GET. */
static long ask(const char *host, uint16_t port, const char *path, const char *json, struct buf *ret_body)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = json ? curl_slist_append(NULL, "Content-Type: application/json") : NULL;
	char url[256];
	long status = 0;

	if (!curl)
		return 0;
	if (json) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	}
	snprintf(url, sizeof(url), "http://%s:%u%s", host, port, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* admin ports are never behind the environment's proxy */
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, json ? POST_TIMEOUT_MS : TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret_body);
	if (curl_easy_perform(curl) != CURLE_OK || curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
		status = 0;
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return status;
}

long scrape_post(const char *host, uint16_t port, const char *path, const char *json, struct buf *body)
{
	return ask(host, port, path, json, body);
}

json_t *scrape_json(const char *host, uint16_t port, const char *path)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;

	return ask(host, port, path, NULL, &body) == 200 ? json_loadb((const char *)body.data, body.len, 0, NULL) : NULL;
}

bool scrape_ready(const char *host, uint16_t port)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;

	return ask(host, port, "/readyz", NULL, &body) == 200;
}

double json_number_at(const json_t *root, const char *path)
{
	char name[64];

	for (; root && *path; path += *path == '/') {
		size_t n = strcspn(path, "/");

		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		root = json_object_get(root, name);
		path += n;
	}
	if (json_is_string(root))
		return strtod(json_string_value(root), NULL);
	return json_number_value(root);
}

static uint16_t port_in_file(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned port = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%5u", &port) != 1)
		port = 0;
	fclose(f);
	return (uint16_t)port;
}

bool scrape_admin_of(const struct settings *s, char ret_host[64], uint16_t *ret_port)
{
	const char *colon = strrchr(s->admin_listen, ':');

	if (!colon)
		return false;
	snprintf(ret_host, 64, "%.*s", (int)MIN(colon - s->admin_listen, (ptrdiff_t)63), s->admin_listen);
	*ret_port = (uint16_t)atoi(colon + 1);
	if (*ret_port == 0 && *s->admin_port_file)
		*ret_port = port_in_file(s->admin_port_file);
	return *ret_port != 0;
}
