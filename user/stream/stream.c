#include "stream/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define BACKENDS_MAX 8
#define NAME_MAX_LEN 200

static const struct stream_ops *backends[BACKENDS_MAX] = { &stream_embedded_ops, &stream_kafka_ops };

int stream_say(struct stream_error *ret_error, int error, const char *format, ...)
{
	va_list args;

	if (ret_error) {
		va_start(args, format);
		vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
		va_end(args);
	}
	return error;
}

void stream_register(const struct stream_ops *ops)
{
	size_t i = 0;

	while (i < BACKENDS_MAX && backends[i] && backends[i] != ops)
		i++;
	must(i < BACKENDS_MAX);
	backends[i] = ops;
}

/* What follows "SCHEME:" in a URL of this scheme, or NULL. */
static const char *rest_of(const char *url, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncmp(url, scheme, n) == 0 && url[n] == ':' ? url + n + 1 : NULL;
}

const char *stream_embedded_dir(const char *url)
{
	return rest_of(url, stream_embedded_ops.scheme);
}

static int check_name(const char *url, const char *rest, struct stream_error *ret_error)
{
	const char *slash = strrchr(rest, '/'), *name = slash ? slash + 1 : rest;
	size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	if (!slash)
		return stream_say(ret_error, -EINVAL, "%s has no /NAME at its end", url);
	if (name[0] == '\0')
		return stream_say(ret_error, -EINVAL, "%s ends with a slash where the stream's name should be", url);
	if (name[good] != '\0')
		return stream_say(ret_error, -EINVAL,
				  "%s: the name may have letters, digits, '.', '_' and '-', not '%c'", url, name[good]);
	if (good > NAME_MAX_LEN || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return stream_say(ret_error, -EINVAL, "%s: the name must be 1 to %d bytes long and not '.' or '..'",
				  url, NAME_MAX_LEN);
	return 0;
}

/* The backend of a URL and what is behind its scheme. */
static int resolve(const char *url, const struct stream_ops **ret, const char **ret_rest,
		   struct stream_error *ret_error)
{
	if (strlen(url) >= STREAM_URL_MAX)
		return stream_say(ret_error, -EINVAL, "a stream's URL is longer than %d bytes: %.60s...",
				  STREAM_URL_MAX - 1, url);
	for (size_t i = 0; i < BACKENDS_MAX && backends[i]; i++) {
		const char *rest = rest_of(url, backends[i]->scheme);

		if (rest) {
			*ret = backends[i];
			*ret_rest = rest;
			return check_name(url, rest, ret_error);
		}
	}
	return stream_say(ret_error, -EINVAL,
			  "%s is not the URL of a stream: write embedded:/dir/NAME or kafka:host:port/NAME", url);
}

int stream_create(const char *url, const struct stream_create_options *options, struct stream_error *ret_error)
{
	const struct stream_ops *ops;
	const char *rest;
	int r = resolve(url, &ops, &rest, ret_error);

	return r < 0 ? r : ops->create(rest, options, ret_error);
}

int stream_open(struct stream **ret, const char *url, const struct stream_options *options,
		struct stream_error *ret_error)
{
	const struct stream_ops *ops;
	const char *rest;
	struct stream *s;
	int r = resolve(url, &ops, &rest, ret_error);

	if (r == 0)
		r = ops->open(&s, rest, options, ret_error);
	if (r < 0)
		return r;
	s->ops = ops;
	snprintf(s->url, sizeof(s->url), "%s", url);
	*ret = s;
	return 0;
}

void stream_close(struct stream *s)
{
	if (s)
		s->ops->close(s);
}

struct log_id stream_identity(const struct stream *s)
{
	return s->id;
}

uint32_t stream_partitions(const struct stream *s)
{
	return s->partitions;
}

const char *stream_url(const struct stream *s)
{
	return s->url;
}

int stream_append(struct stream *s, const struct stream_record *record)
{
	return record->partition < s->partitions ? s->ops->append(s, record) : -EINVAL;
}

int stream_poll(struct stream *s, struct stream_confirmation *ret, size_t n, int64_t deadline_ns)
{
	return s->ops->poll(s, ret, n, deadline_ns);
}

size_t stream_pending(const struct stream *s)
{
	return s->ops->pending(s);
}

int stream_seek(struct stream *s, uint32_t partition, uint64_t offset)
{
	return partition < s->partitions ? s->ops->seek(s, partition, offset) : -EINVAL;
}

int stream_leave(struct stream *s, uint32_t partition)
{
	return partition < s->partitions ? s->ops->leave(s, partition) : -EINVAL;
}

int stream_read(struct stream *s, struct stream_record *ret, size_t n, int64_t deadline_ns,
		uint32_t *ret_lost_partition)
{
	return s->ops->read(s, ret, n, deadline_ns, ret_lost_partition);
}

int stream_range(struct stream *s, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	return partition < s->partitions ? s->ops->range(s, partition, ret_first, ret_end) : -EINVAL;
}

int stream_trim(struct stream *s, const uint64_t *keep_from)
{
	return s->ops->trim(s, keep_from);
}
