/* libcurl's side of the notifier.
 *
 * A request keeps its easy handle for the notifier's life, connections are kept by the multi handle.  NOSIGNAL: no
 * SIGALRM in a program with threads.  QUICK_EXIT: giving a request up while its name is being looked up would otherwise
 * wait for getaddrinfo(), and with it every other receiver.  No `Expect: 100-continue`: a server that does not know it
 * costs a second.
 */
#include "alerts/notify_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"

#define API_PATH "/api/v2/alerts"

/* ------------------------------------------------------------------ URLs */

static void curl_string_free(char **s)
{
	curl_free(*s);
}
static void url_free(CURLU **u)
{
	curl_url_cleanup(*u);
}

/* "scheme://host[:port]" */
static int name_of(CURLU *u, char **ret)
{
	CLEANUP(curl_string_free) char *scheme = NULL, *host = NULL, *port = NULL;

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return -ENOMEM;

	CURLUcode has_port = curl_url_get(u, CURLUPART_PORT, &port, 0);

	if (has_port != CURLUE_OK && has_port != CURLUE_NO_PORT)
		return -ENOMEM;
	if (asprintf(ret, "%s://%s%s%s", scheme, host, port ? ":" : "", port ? port : "") < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

int notify_name(const char *url, char **ret)
{
	CLEANUP(url_free) CURLU *u = curl_url();
	CURLUcode wrong = u ? curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) : CURLUE_OUT_OF_MEMORY;

	if (wrong != CURLUE_OK)
		return wrong == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
	return name_of(u, ret);
}

/* The base's path may be one of a reverse proxy. */
static int add_api_path(const struct receiver *r, CURLU *u, char *ret_error, size_t size)
{
	CLEANUP(curl_string_free) char *path = NULL, *query = NULL;
	CLEANUP_FREE char *whole = NULL;

	if (curl_url_get(u, CURLUPART_QUERY, &query, 0) == CURLUE_OK) {
		snprintf(ret_error, size, "%s: the base URL of an Alertmanager has no ?query", r->name);
		return -EINVAL;
	}
	if (curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return -ENOMEM;

	size_t len = strlen(path);

	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len >= strlen(API_PATH) && !memcmp(path + len - strlen(API_PATH), API_PATH, strlen(API_PATH))) {
		snprintf(ret_error, size, "%s: give the base URL of the Alertmanager, without " API_PATH, r->name);
		return -EINVAL;
	}
	if (asprintf(&whole, "%.*s" API_PATH, (int)len, path) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	return curl_url_set(u, CURLUPART_PATH, whole, 0) == CURLUE_OK ? 0 : -ENOMEM;
}

int receiver_set_url(struct receiver *r, const char *url, char *ret_error, size_t size)
{
	CLEANUP(url_free) CURLU *u = curl_url();
	CLEANUP(curl_string_free) char *scheme = NULL, *whole = NULL;

	if (!u)
		return -ENOMEM;

	/* The URL itself is not told: it may have a password, and what is no URL cannot be taken apart. */
	CURLUcode wrong = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);

	if (wrong == CURLUE_OUT_OF_MEMORY)
		return -ENOMEM;
	if (wrong == CURLUE_OK && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		return -ENOMEM;
	if (wrong != CURLUE_OK || (strcmp(scheme, "http") && strcmp(scheme, "https"))) {
		snprintf(ret_error, size, "receiver %u: not an http:// or https:// URL%s%s", r->number + 1,
			 wrong == CURLUE_OK ? "" : ": ", wrong == CURLUE_OK ? "" : curl_url_strerror(wrong));
		return -EINVAL;
	}

	int e = name_of(u, &r->name);

	if (e == 0 && r->kind == NOTIFY_ALERTMANAGER)
		e = add_api_path(r, u, ret_error, size);
	if (e < 0)
		return e;
	if (curl_url_get(u, CURLUPART_URL, &whole, 0) != CURLUE_OK)
		return -ENOMEM;
	r->url = strdup(whole);
	return r->url ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------ requests */

/* The beginning is for the log, the rest is read and forgotten, so that the connection can be used again. */
static size_t take_answer(char *data, size_t size, size_t n, void *context)
{
	struct notify_request *q = context;
	size_t room = MIN(NOTIFY_ANSWER_MAX - q->answer_len, size * n);

	memcpy(q->answer + q->answer_len, data, room);
	q->answer_len += room;
	q->answer[q->answer_len] = 0;
	return size * n;
}

static int request_init(struct notify_request *q, struct receiver *r)
{
	long timeout_ms = (long)r->notifier->timeout_ms;
	int e = CURLE_OK;

	q->receiver = r;
	q->easy = curl_easy_init();
	if (!q->easy)
		return -ENOMEM;
	e |= curl_easy_setopt(q->easy, CURLOPT_URL, r->url);
	e |= curl_easy_setopt(q->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	e |= curl_easy_setopt(q->easy, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
	e |= curl_easy_setopt(q->easy, CURLOPT_NOSIGNAL, 1L);
	e |= curl_easy_setopt(q->easy, CURLOPT_QUICK_EXIT, 1L);
	e |= curl_easy_setopt(q->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
	e |= curl_easy_setopt(q->easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
	e |= curl_easy_setopt(q->easy, CURLOPT_WRITEFUNCTION, take_answer);
	e |= curl_easy_setopt(q->easy, CURLOPT_WRITEDATA, q);
	e |= curl_easy_setopt(q->easy, CURLOPT_ERRORBUFFER, q->error);
	e |= curl_easy_setopt(q->easy, CURLOPT_PRIVATE, q);
	return e == CURLE_OK ? 0 : -ENOMEM;
}

int receiver_init_requests(struct receiver *r)
{
	int e = 0;

	r->n_requests = r->kind == NOTIFY_WEBHOOK ? NOTIFY_PARALLEL : 1;
	for (uint32_t i = 0; i < r->n_requests && e == 0; i++)
		e = request_init(&r->requests[i], r);
	return e;
}

void receiver_done_requests(struct receiver *r)
{
	for (uint32_t i = 0; i < r->n_requests; i++) {
		struct notify_request *q = &r->requests[i];

		if (q->easy && q->busy)
			curl_multi_remove_handle(r->notifier->multi, q->easy);
		curl_easy_cleanup(q->easy);
		curl_slist_free_all(q->headers);
		buf_done(&q->body);
	}
}

static int add_header(struct notify_request *q, const char *header)
{
	struct curl_slist *longer = curl_slist_append(q->headers, header);

	if (!longer)
		return -ENOMEM;
	q->headers = longer;
	return 0;
}

int request_start(struct notify_request *q)
{
	char key[64] = "";
	int e;

	if (q->receiver->kind == NOTIFY_WEBHOOK) {
		const struct notify_receipt *receipt = &q->carries[0].item->receipt;

		snprintf(key, sizeof(key), "Idempotency-Key: %016" PRIx64 "-%" PRIu64, receipt->alert_id, receipt->version);
	}
	curl_slist_free_all(STEAL(q->headers));
	e = add_header(q, "Content-Type: application/json");
	if (e == 0)
		e = add_header(q, "Expect:");
	if (e == 0 && *key)
		e = add_header(q, key);
	if (e < 0)
		return e;
	q->answer_len = 0;
	q->answer[0] = q->error[0] = 0;
	if (curl_easy_setopt(q->easy, CURLOPT_HTTPHEADER, q->headers) != CURLE_OK ||
	    curl_easy_setopt(q->easy, CURLOPT_POSTFIELDS, q->body.data) != CURLE_OK ||
	    curl_easy_setopt(q->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len) != CURLE_OK)
		return -ENOMEM;
	return curl_multi_add_handle(q->receiver->notifier->multi, q->easy) == CURLM_OK ? 0 : -ENOMEM;
}

/* What becomes of an answer's body does not change what its status said. */
static enum notify_verdict verdict_of(enum notify_kind kind, long status)
{
	if (status >= 200 && status < 300)
		return NOTIFY_TAKEN;
	switch (status) {
	case 408:
	case 429:
	case 502:
	case 503:
	case 504:
		return NOTIFY_RETRY_RECEIVER;
	}
	if (status >= 400 && status < 500)
		return NOTIFY_REFUSED;
	return kind == NOTIFY_WEBHOOK && status != 0 ? NOTIFY_RETRY_ALERT : NOTIFY_RETRY_RECEIVER;
}

enum notify_verdict request_finish(struct notify_request *q, CURLcode result, long *ret_status,
				   int64_t *ret_retry_after_ms)
{
	curl_off_t retry_after_s = 0;
	long status = 0;

	if (curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
		status = 0;
	if (curl_easy_getinfo(q->easy, CURLINFO_RETRY_AFTER, &retry_after_s) != CURLE_OK)
		retry_after_s = 0;
	if (result != CURLE_OK && !q->error[0])
		snprintf(q->error, sizeof(q->error), "%s", curl_easy_strerror(result));
	must(curl_multi_remove_handle(q->receiver->notifier->multi, q->easy) == CURLM_OK);
	*ret_status = status;
	*ret_retry_after_ms = CLAMP(retry_after_s, (curl_off_t)0, (curl_off_t)(INT64_MAX / 1000000)) * 1000;
	return verdict_of(q->receiver->kind, status);
}
