#include "regional/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/index.h"
#include "bpf/shared/contract.h"
#include "codec/wire.h"

enum { DEVICE_ID, TYPE, PLACE, OWNER, LATITUDE, LONGITUDE, COLUMNS };
static const char *const column_names[COLUMNS] = { "device_id", "type", "place", "owner", "latitude", "longitude" };

#define NUMBER_MAX 32

struct registry {
	char *text; /* the file; fields are unquoted in place, entries point into it */
	size_t len;
	struct registry_entry *entries;
	uint32_t n, cap;
	struct index by_id;
};

/* A file on its way in. */
struct parsing {
	struct registry *registry;
	const char *name;
	char *at, *end;
	uint32_t line, row_line; /* here; where the record began */
	struct slice fields[COLUMNS];
	uint32_t n_fields;
	struct registry_error *error;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parsing *p, const char *format, ...)
{
	size_t n = (size_t)snprintf(p->error->text, sizeof(p->error->text), "%.100s:%u: ", p->name, p->row_line);
	va_list args;

	va_start(args, format);
	vsnprintf(p->error->text + n, sizeof(p->error->text) - n, format, args);
	va_end(args);
	return -EINVAL;
}

/* ------------------------------------------------------------------ RFC 4180 */

static bool at_break(const struct parsing *p)
{
	return *p->at == '\n' || (*p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n');
}

/* A quoted field, its doubled quotes made single in place. */
static int read_quoted(struct parsing *p, struct slice *ret)
{
	char *start = ++p->at, *to = start;

	for (;; *to++ = *p->at++) {
		if (p->at == p->end)
			return refuse(p, "a quoted field does not end: the closing quote is missing");
		if (*p->at == '\n')
			p->line++;
		if (*p->at != '"')
			continue;
		if (++p->at == p->end || *p->at != '"')
			break;
	}
	if (p->at < p->end && *p->at != ',' && !at_break(p))
		return refuse(p, "text stands behind a closing quote: write a quote within a quoted field twice");
	*ret = SLICE(start, (size_t)(to - start));
	return 0;
}

static int read_bare(struct parsing *p, struct slice *ret)
{
	char *start = p->at;

	for (; p->at < p->end && *p->at != ',' && !at_break(p); p->at++)
		if (*p->at == '"')
			return refuse(p, "a quote stands within a field that is not quoted: put the whole field in quotes");
	*ret = SLICE(start, (size_t)(p->at - start));
	return 0;
}

static int read_row(struct parsing *p)
{
	p->row_line = p->line;
	for (p->n_fields = 0;; p->at++) {
		struct slice field;
		int r = p->at < p->end && *p->at == '"' ? read_quoted(p, &field) : read_bare(p, &field);

		if (r < 0)
			return r;
		if (p->n_fields < COLUMNS)
			p->fields[p->n_fields] = field;
		p->n_fields++;
		if (p->at == p->end || *p->at != ',')
			break;
	}
	if (p->at < p->end)
		p->at += *p->at == '\r' ? 2 : 1;
	p->line++;
	return 0;
}

/* ------------------------------------------------------------------ records */

static int check_header(struct parsing *p)
{
	bool fits = p->n_fields == COLUMNS;

	for (uint32_t i = 0; fits && i < COLUMNS; i++)
		fits = p->fields[i].len == strlen(column_names[i]) && !memcmp(p->fields[i].data, column_names[i], p->fields[i].len);
	return fits ? 0 : refuse(p, "the first line must be device_id,type,place,owner,latitude,longitude");
}

static int check_text(struct parsing *p, uint32_t column, size_t most)
{
	struct slice f = p->fields[column];

	if (f.len > most)
		return refuse(p, "%s has %zu bytes, more than %zu", column_names[column], f.len, most);
	if (!utf8_valid(f) || memchr(f.data, 0, f.len))
		return refuse(p, "%s is not UTF-8 text", column_names[column]);
	return 0;
}

static int read_degrees(struct parsing *p, uint32_t column, double most, double *ret)
{
	struct slice f = p->fields[column];
	char text[NUMBER_MAX + 1], *end;

	*ret = NAN;
	if (f.len == 0)
		return 0;
	if (f.len <= NUMBER_MAX) {
		memcpy(text, f.data, f.len);
		text[f.len] = 0;
		*ret = strtod(text, &end);
		if (end == text + f.len && strspn(text, "+-.0123456789eE") == f.len && fabs(*ret) <= most)
			return 0;
	}
	return refuse(p, "%s is \"%.*s\": write degrees from -%g to %g, or nothing", column_names[column],
		      (int)MIN(f.len, (size_t)NUMBER_MAX), (const char *)f.data, most, most);
}

struct wanted {
	const struct registry *registry;
	struct slice id;
};

static bool same_id(const void *context, uint32_t position)
{
	const struct wanted *w = context;
	struct slice id = w->registry->entries[position].device_id;

	return id.len == w->id.len && memcmp(id.data, w->id.data, id.len) == 0;
}

static int add(struct registry *r, const struct registry_entry *e)
{
	if (array_reserve(&r->entries, &r->cap, r->n + 1, 256, sizeof(*r->entries)) < 0)
		return -ENOMEM;
	r->entries[r->n] = *e;
	return index_add(&r->by_id, hash_device(e->device_id.data, e->device_id.len), r->n++);
}

static int read_entry(struct parsing *p)
{
	struct registry_entry e;
	int r = 0;

	if (p->n_fields != COLUMNS)
		return refuse(p, "it has %u fields, the header has %d: put a field with a comma in quotes", p->n_fields, COLUMNS);
	if (p->fields[DEVICE_ID].len == 0)
		return refuse(p, "device_id is empty");
	r = check_text(p, DEVICE_ID, SLUICE_DEVICE_MAX);
	for (uint32_t i = TYPE; r == 0 && i <= OWNER; i++)
		r = check_text(p, i, REGISTRY_WORD_MAX);
	if (r == 0)
		r = read_degrees(p, LATITUDE, 90, &e.latitude);
	if (r == 0)
		r = read_degrees(p, LONGITUDE, 180, &e.longitude);
	if (r < 0)
		return r;
	e.device_id = p->fields[DEVICE_ID];
	e.type = p->fields[TYPE].len > 0 ? p->fields[TYPE] : SLICE_STR(REGISTRY_UNKNOWN);
	e.place = p->fields[PLACE];
	e.owner = p->fields[OWNER];
	if (registry_find(p->registry, e.device_id))
		return refuse(p, "device_id \"%.*s\" stands there a second time", (int)e.device_id.len,
			      (const char *)e.device_id.data);
	return add(p->registry, &e);
}

static int read_all(struct parsing *p)
{
	static const char mark[] = "\xef\xbb\xbf"; /* that some editors begin a file with */
	int r;

	if (p->end - p->at >= 3 && memcmp(p->at, mark, 3) == 0)
		p->at += 3;
	r = read_row(p);
	if (r == 0)
		r = check_header(p);
	while (r == 0 && p->at < p->end) {
		r = read_row(p);
		if (r == 0 && p->n_fields == 1 && p->fields[0].len == 0)
			continue; /* an empty line */
		if (r == 0)
			r = read_entry(p);
	}
	return r;
}

/* ------------------------------------------------------------------ life */

/* Takes text over, also when it fails. */
static int parse_own(struct registry **ret, const char *name, char *text, size_t len, struct registry_error *ret_error)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	ret_error->text[0] = 0;
	if (!registry) {
		free(text);
		return -ENOMEM;
	}
	registry->text = text;
	registry->len = len;

	struct parsing p = {
		.registry = registry, .name = name, .at = text, .end = text + len, .line = 1, .error = ret_error
	};
	int r = read_all(&p);

	if (r < 0) {
		if (!ret_error->text[0])
			snprintf(ret_error->text, sizeof(ret_error->text), "%.100s: %s", name, strerror(-r));
		registry_free(registry);
		return r;
	}
	*ret = registry;
	return 0;
}

int registry_parse(struct registry **ret, const char *name, struct slice text, struct registry_error *ret_error)
{
	char *copy = malloc(text.len + 1);

	if (!copy)
		return -ENOMEM;
	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	return parse_own(ret, name, copy, text.len, ret_error);
}

static int read_file(const char *path, char **ret, size_t *ret_len)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	struct stat st;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size > REGISTRY_FILE_MAX)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = STEAL(text);
	*ret_len = len;
	return 0;
}

int registry_load(struct registry **ret, const char *path, struct registry_error *ret_error)
{
	char *text = NULL;
	size_t len = 0;
	int r = read_file(path, &text, &len);

	if (r < 0) {
		snprintf(ret_error->text, sizeof(ret_error->text), "%.100s cannot be read: %s", path, strerror(-r));
		return r;
	}
	return parse_own(ret, path, text, len, ret_error);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	index_done(&r->by_id);
	free(r->entries);
	free(r->text);
	free(r);
}

uint32_t registry_count(const struct registry *r)
{
	return r->n;
}

const struct registry_entry *registry_find(const struct registry *r, struct slice device_id)
{
	struct wanted w = { .registry = r, .id = device_id };
	uint32_t at = index_find(&r->by_id, hash_device(device_id.data, device_id.len), same_id, &w);

	return at == INDEX_NONE ? NULL : &r->entries[at];
}
