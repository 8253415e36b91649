#include "codec/telemetry.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "codec/decimal.h"
#include "codec/wire.h"

enum { HASH = 1, TIMESTAMP = 2, DEVICE = 3, REGION = 4, METRICS = 5 };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

/* Lengths of at most 127 take one byte, and all of ours do: an entry is 2A <n + 11> 0A <n> name 11 <double>. */
#define ENTRY_REST 11
_Static_assert(TELEMETRY_NAME_MAX + ENTRY_REST < 128, "a metric's lengths take one byte each");

/* ------------------------------------------------------------------ reading bytes */

static double double_of(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint64_t bits_of(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static int parse_entry(struct telemetry_metric *ret, struct slice entry)
{
	struct reader r = reader_of(entry);
	struct wire_field f;
	bool has_key = false, has_value = false;

	*ret = (struct telemetry_metric){ .name = SLICE(entry.data, 0) };
	while (wire_next(&r, &f)) {
		if (f.number == ENTRY_KEY && f.type == WIRE_BYTES && !has_key) {
			ret->name = f.bytes;
			has_key = true;
		} else if (f.number == ENTRY_VALUE && f.type == WIRE_FIXED64 && !has_value) {
			ret->value = double_of(f.value);
			has_value = true;
		} else {
			return -EBADMSG;
		}
	}
	return r.failed ? -EBADMSG : 0;
}

static inline int take_metric(struct telemetry *t, const struct telemetry_metric *m)
{
	if (t->n_metrics == TELEMETRY_METRICS_MAX || m->name.len > TELEMETRY_NAME_MAX || !utf8_valid(m->name))
		return -EBADMSG;

	struct telemetry_metric *at = &t->metrics[t->n_metrics++];

	*at = *m;
	if (at->value == 0 && signbit(at->value)) {
		at->value = 0;
		t->canonical = false;
	}
	return 0;
}

/* The entry as everybody writes it, without going through wire_next() three times. */
static inline bool plain_entry(struct reader *r, struct telemetry_metric *ret)
{
	const uint8_t *at = r->at;

	if (reader_left(r) < 2 + ENTRY_REST || at[0] != WIRE_TAG(METRICS, WIRE_BYTES))
		return false;

	size_t name_len = at[3];

	if (at[1] != name_len + ENTRY_REST || at[2] != WIRE_TAG(ENTRY_KEY, WIRE_BYTES) ||
	    name_len > TELEMETRY_NAME_MAX || reader_left(r) < 2 + ENTRY_REST + name_len ||
	    at[4 + name_len] != WIRE_TAG(ENTRY_VALUE, WIRE_FIXED64))
		return false;
	ret->name = SLICE(at + 4, name_len);
	memcpy(&ret->value, at + 5 + name_len, sizeof(ret->value));
	r->at += 2 + ENTRY_REST + name_len;
	return true;
}

static int take_id(struct slice *ret, struct telemetry *t, const struct wire_field *f, size_t least, size_t most)
{
	if (f->type != WIRE_BYTES || f->bytes.len < least || f->bytes.len > most || !utf8_valid(f->bytes))
		return -EBADMSG;
	*ret = f->bytes;
	t->canonical &= f->bytes.len > 0 && f->whole.len == 2 + f->bytes.len;
	return 0;
}

/* A field of 1 to 5 that plain_entry() has not taken. */
static int take_known(struct telemetry *t, const struct wire_field *f)
{
	struct telemetry_metric m;

	switch (f->number) {
	case HASH:
		t->integrity_hash = f->value;
		t->has_hash = true;
		return f->type == WIRE_FIXED64 ? 0 : -EBADMSG;
	case TIMESTAMP:
		t->timestamp_ns = (int64_t)f->value;
		t->has_timestamp = true;
		return f->type == WIRE_FIXED64 ? 0 : -EBADMSG;
	case DEVICE:
		return take_id(&t->device_id, t, f, 1, SLUICE_DEVICE_MAX);
	case REGION:
		return take_id(&t->region, t, f, 0, SLUICE_REGION_MAX);
	default:
		t->canonical = false;
		if (f->type != WIRE_BYTES || parse_entry(&m, f->bytes) < 0)
			return -EBADMSG;
		return take_metric(t, &m);
	}
}

/* The fixed shape's beginning: integrity_hash, timestamp_ns, device_id.  Gives the bits of the fields it has taken. */
static uint32_t take_plain_start(struct telemetry *t, struct reader *r)
{
	const uint8_t *at = r->at;

	if (reader_left(r) < 20 || at[0] != WIRE_TAG(HASH, WIRE_FIXED64) || at[9] != WIRE_TAG(TIMESTAMP, WIRE_FIXED64) ||
	    at[18] != WIRE_TAG(DEVICE, WIRE_BYTES) || at[19] == 0 || at[19] > SLUICE_DEVICE_MAX ||
	    reader_left(r) < 20 + (size_t)at[19])
		return 0;

	struct slice device_id = SLICE(at + 20, at[19]);

	if (!utf8_valid(device_id))
		return 0;
	memcpy(&t->integrity_hash, at + 1, sizeof(t->integrity_hash));
	memcpy(&t->timestamp_ns, at + 10, sizeof(t->timestamp_ns));
	t->has_hash = t->has_timestamp = true;
	t->device_id = device_id;
	r->at += 20 + device_id.len;
	return 1u << HASH | 1u << TIMESTAMP | 1u << DEVICE;
}

int telemetry_parse(struct telemetry *ret, const void *payload, size_t len)
{
	struct reader r = reader_of(SLICE(payload, len));
	struct telemetry_metric m;
	struct wire_field f;
	uint32_t seen = 0, last = 0;
	int error;

	if (len > SLUICE_PAYLOAD_MAX)
		return -EBADMSG;

	/* All but the metrics, which are many and counted. */
	memset(ret, 0, offsetof(struct telemetry, metrics));
	ret->region = SLICE(payload, 0);
	ret->unknown = SLICE(NULL, 0);
	ret->canonical = true;
	seen = take_plain_start(ret, &r);
	last = seen ? DEVICE : 0;
	for (;;) {
		if (last <= METRICS && plain_entry(&r, &m)) {
			last = METRICS;
			if (take_metric(ret, &m) < 0)
				return -EBADMSG;
			continue;
		}
		if (!wire_next(&r, &f))
			break;
		if (f.number > METRICS) {
			if (!ret->unknown.data)
				ret->unknown = SLICE(f.whole.data, (size_t)(r.end - (const uint8_t *)f.whole.data));
			last = f.number;
			continue;
		}
		if (f.number < METRICS && (seen & 1u << f.number))
			return -EBADMSG;
		if (ret->unknown.data)
			return -EOPNOTSUPP;
		seen |= 1u << f.number;
		ret->canonical &= f.number >= last;
		last = f.number;
		error = take_known(ret, &f);
		if (error < 0)
			return error;
	}
	return r.failed || ret->device_id.len == 0 ? -EBADMSG : 0;
}

/* ------------------------------------------------------------------ writing bytes */

static void append_metric(struct buf *b, const struct telemetry_metric *m)
{
	uint8_t *at = buf_extend(b, 2 + ENTRY_REST + m->name.len);
	uint64_t bits = bits_of(m->value);

	must(m->name.len <= TELEMETRY_NAME_MAX);
	if (!at)
		return;
	*at++ = WIRE_TAG(METRICS, WIRE_BYTES);
	*at++ = (uint8_t)(m->name.len + ENTRY_REST);
	*at++ = WIRE_TAG(ENTRY_KEY, WIRE_BYTES);
	*at++ = (uint8_t)m->name.len;
	if (m->name.len > 0)
		memcpy(at, m->name.data, m->name.len);
	at += m->name.len;
	*at++ = WIRE_TAG(ENTRY_VALUE, WIRE_FIXED64);
	memcpy(at, &bits, sizeof(bits));
}

void telemetry_append(struct buf *b, const struct telemetry *t)
{
	/* `optional` fields are written also when they are 0. */
	if (t->has_hash) {
		buf_append_u8(b, WIRE_TAG(HASH, WIRE_FIXED64));
		buf_append_u64(b, t->integrity_hash);
	}
	if (t->has_timestamp) {
		buf_append_u8(b, WIRE_TAG(TIMESTAMP, WIRE_FIXED64));
		buf_append_u64(b, (uint64_t)t->timestamp_ns);
	}
	wire_append_bytes(b, DEVICE, t->device_id);
	wire_append_bytes(b, REGION, t->region);
	for (uint32_t i = 0; i < t->n_metrics; i++)
		append_metric(b, &t->metrics[i]);
	buf_append(b, t->unknown.data, t->unknown.len);
}

/* ------------------------------------------------------------------ tags */

struct tag_stream {
	struct siphash_state state;
	uint64_t block;
	uint32_t len;
};

static void tag_bytes(struct tag_stream *s, struct slice bytes)
{
	const uint8_t *at = bytes.data;

	for (size_t i = 0; i < bytes.len; i++) {
		s->block |= (uint64_t)at[i] << (8 * (s->len & 7));
		if ((++s->len & 7) == 0) {
			siphash_block(&s->state, s->block);
			s->block = 0;
		}
	}
}

void telemetry_tag(const void *payload, size_t len, const struct siphash_key *key, uint64_t ret[2])
{
	struct reader r = reader_of(SLICE(payload, len));
	struct slice hash = { 0 };
	struct wire_field f;
	__u64 words[2];

	while (!hash.data && wire_next(&r, &f))
		if (f.number == HASH && f.type == WIRE_FIXED64)
			hash = f.whole;
	if (!hash.data || hash.data == payload) {
		siphash_tag(key, (const uint8_t *)payload + hash.len, (uint32_t)(len - hash.len), words);
	} else {
		size_t before = (size_t)((const uint8_t *)hash.data - (const uint8_t *)payload);
		struct tag_stream s = { .state = siphash_begin(key) };

		tag_bytes(&s, SLICE(payload, before));
		tag_bytes(&s, SLICE((const uint8_t *)hash.data + hash.len, len - before - hash.len));
		siphash_block(&s.state, siphash_last_block(s.block, s.len));
		words[0] = siphash_finish(&s.state);
		words[1] = siphash_continue(&s.state);
	}
	ret[0] = words[0];
	ret[1] = words[1];
}

struct siphash_key telemetry_device_key(const struct siphash_key *master, struct slice device_id)
{
	return siphash_128(master, device_id.data, (uint32_t)device_id.len);
}

/* ------------------------------------------------------------------ reading JSON */

#define ERROR_LEN 128

struct json_reading {
	struct telemetry t;
	uint32_t seen; /* bits of field numbers */
	char *error;   /* ERROR_LEN bytes */
};

__attribute__((format(printf, 2, 3))) static int json_refuse(struct json_reading *j, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(j->error, ERROR_LEN, format, args);
	va_end(args);
	return -EBADMSG;
}

static struct slice slice_of_string(const json_t *string)
{
	return SLICE(json_string_value(string), json_string_length(string));
}

static int json_hash(struct json_reading *j, const char *name, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdefABCDEF") != 16)
		return json_refuse(j, "%s: a string of 16 hex digits is wanted", name);
	j->t.integrity_hash = strtoull(text, NULL, 16);
	j->t.has_hash = true;
	return 0;
}

static int json_timestamp(struct json_reading *j, const char *name, const json_t *value)
{
	const char *text = json_string_value(value);

	j->t.has_timestamp = true;
	if (json_is_integer(value)) {
		j->t.timestamp_ns = json_integer_value(value);
		return 0;
	}
	if (text) {
		const char *digits = text + (*text == '-');
		char *end;

		errno = 0;
		j->t.timestamp_ns = strtoll(text, &end, 10);
		if (*digits >= '0' && *digits <= '9' && *end == 0 && errno == 0)
			return 0;
	}
	return json_refuse(j, "%s: nanoseconds since 1970 are wanted, as a 64-bit integer or a string of one", name);
}

static int json_id(struct json_reading *j, const char *name, const json_t *value, struct slice *ret, size_t most)
{
	if (!json_is_string(value) || json_string_length(value) > most)
		return json_refuse(j, "%s: a string of at most %zu bytes is wanted", name, most);
	*ret = slice_of_string(value);
	return 0;
}

static bool json_number(const json_t *value, double *ret)
{
	const char *text = json_string_value(value);
	char *end;

	if (json_is_number(value)) {
		*ret = json_number_value(value);
		return true;
	}
	if (!text)
		return false;
	if (strcmp(text, "NaN") == 0)
		*ret = NAN;
	else if (strcmp(text, "Infinity") == 0)
		*ret = INFINITY;
	else if (strcmp(text, "-Infinity") == 0)
		*ret = -INFINITY;
	else if (*text && strspn(text, "0123456789+-.eE") == strlen(text))
		return *ret = strtod(text, &end), *end == 0 && isfinite(*ret);
	else
		return false;
	return true;
}

static int compare_metrics(const void *a, const void *b)
{
	const struct slice x = ((const struct telemetry_metric *)a)->name, y = ((const struct telemetry_metric *)b)->name;
	int order = memcmp(x.data, y.data, MIN(x.len, y.len));

	return order ? order : (x.len > y.len) - (x.len < y.len);
}

static int json_metrics(struct json_reading *j, const char *name, const json_t *value)
{
	const char *key;
	json_t *member;

	if (!json_is_object(value))
		return json_refuse(j, "%s: an object of numbers is wanted", name);
	if (json_object_size(value) > TELEMETRY_METRICS_MAX)
		return json_refuse(j, "%s: more than %d", name, TELEMETRY_METRICS_MAX);
	json_object_foreach((json_t *)value, key, member) {
		struct telemetry_metric *m = &j->t.metrics[j->t.n_metrics++];

		m->name = SLICE_STR(key);
		if (m->name.len > TELEMETRY_NAME_MAX)
			return json_refuse(j, "%s.%.40s...: a name has at most %d bytes", name, key, TELEMETRY_NAME_MAX);
		if (!json_number(member, &m->value))
			return json_refuse(j, "%s.%s: a number is wanted, or \"NaN\", \"Infinity\", \"-Infinity\"", name, key);
		if (m->value == 0)
			m->value = 0; /* -0 */
	}
	qsort(j->t.metrics, j->t.n_metrics, sizeof(j->t.metrics[0]), compare_metrics);
	return 0;
}

static const struct {
	const char *name, *camel;
	uint32_t field;
} json_members[] = {
	{ "integrity_hash", "integrityHash", HASH }, { "timestamp_ns", "timestampNs", TIMESTAMP },
	{ "device_id", "deviceId", DEVICE },	     { "region", "region", REGION },
	{ "metrics", "metrics", METRICS },
};

static int json_member(struct json_reading *j, const char *name, const json_t *value)
{
	uint32_t field = 0;

	for (size_t i = 0; i < ARRAY_SIZE(json_members); i++)
		if (strcmp(name, json_members[i].name) == 0 || strcmp(name, json_members[i].camel) == 0)
			field = json_members[i].field;
	if (field && (j->seen & 1u << field))
		return json_refuse(j, "%s: given twice", name);
	j->seen |= 1u << field;
	if (field && json_is_null(value))
		return 0; /* protobuf: as if absent */
	switch (field) {
	case HASH:
		return json_hash(j, name, value);
	case TIMESTAMP:
		return json_timestamp(j, name, value);
	case DEVICE:
		return json_id(j, name, value, &j->t.device_id, SLUICE_DEVICE_MAX);
	case REGION:
		return json_id(j, name, value, &j->t.region, SLUICE_REGION_MAX);
	case METRICS:
		return json_metrics(j, name, value);
	default:
		return json_refuse(j, "%.80s: no such member", name);
	}
}

/* The hash that is given or computed, and the bytes. */
static int json_finish(struct buf *ret, struct json_reading *j, const struct siphash_key *key)
{
	CLEANUP(buf_done) struct buf bytes = BUF_INIT;
	bool given = j->t.has_hash;
	uint64_t tag[2];

	telemetry_append(&bytes, &j->t);
	if (buf_error(&bytes) < 0)
		return -ENOMEM;
	if (key) {
		telemetry_tag(bytes.data, bytes.len, key, tag);
		if (given && tag[0] != j->t.integrity_hash)
			return json_refuse(j, "integrity_hash: does not fit, %016" PRIx64 " would", tag[0]);
		j->t.integrity_hash = tag[0];
		j->t.has_hash = true;
		buf_reset(&bytes);
		telemetry_append(&bytes, &j->t);
	}
	if (bytes.len > SLUICE_PAYLOAD_MAX)
		return json_refuse(j, "metrics: the message has %zu bytes, at most %d are sent", bytes.len, SLUICE_PAYLOAD_MAX);
	buf_append(ret, bytes.data, bytes.len);
	return buf_error(ret);
}

int telemetry_from_json(struct buf *ret, const char *json, size_t len, const struct siphash_key *key,
			char ret_error[128])
{
	char unheard[ERROR_LEN];
	struct json_reading j = { .error = ret_error ? ret_error : unheard };
	json_error_t where;
	const size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
	json_auto_t *root = json_loadb(json, len, flags, &where);
	const char *name;
	json_t *value;
	int error;

	/* An integer beyond 64 bits, which a metric may be; a timestamp must be a string then. */
	if (!root && json_error_code(&where) == json_error_numeric_overflow)
		root = json_loadb(json, len, flags | JSON_DECODE_INT_AS_REAL, &where);
	if (!root)
		return json_refuse(&j, "line %d, column %d: %.80s", where.line, where.column, where.text);
	if (!json_is_object(root))
		return json_refuse(&j, "an object {...} is wanted");
	json_object_foreach(root, name, value) {
		error = json_member(&j, name, value);
		if (error < 0)
			return error;
	}
	if (j.t.device_id.len == 0)
		return json_refuse(&j, "device_id: is missing");
	return json_finish(ret, &j, key);
}

/* ------------------------------------------------------------------ writing JSON */

static void append_escaped(struct buf *b, uint8_t c)
{
	switch (c) {
	case '"':
		buf_append_str(b, "\\\"");
		break;
	case '\\':
		buf_append_str(b, "\\\\");
		break;
	case '\n':
		buf_append_str(b, "\\n");
		break;
	case '\r':
		buf_append_str(b, "\\r");
		break;
	case '\t':
		buf_append_str(b, "\\t");
		break;
	default:
		buf_printf(b, "\\u%04x", c);
	}
}

void json_append_string(struct buf *b, struct slice s)
{
	const uint8_t *at = s.len > 0 ? s.data : (const uint8_t *)"", *end = at + s.len, *plain = at;

	buf_append_u8(b, '"');
	while (at < end) {
		size_t n = utf8_char_len(SLICE(at, (size_t)(end - at)));

		if (n > 0 && *at >= 0x20 && *at != '"' && *at != '\\') {
			at += n;
			continue;
		}
		buf_append(b, plain, (size_t)(at - plain));
		if (n > 0)
			append_escaped(b, *at);
		else
			buf_append_str(b, "\xef\xbf\xbd"); /* U+FFFD */
		plain = ++at;
	}
	buf_append(b, plain, (size_t)(at - plain));
	buf_append_u8(b, '"');
}

static void append_json_number(struct buf *b, double value)
{
	char text[DECIMAL_TEXT_MAX];
	int n = decimal_format(value, text);

	if (isfinite(value))
		buf_append(b, text, (size_t)n);
	else
		json_append_string(b, SLICE(text, (size_t)n));
}

static bool repeated_later(const struct telemetry *t, uint32_t i)
{
	for (uint32_t k = i + 1; k < t->n_metrics; k++)
		if (compare_metrics(&t->metrics[i], &t->metrics[k]) == 0)
			return true;
	return false;
}

void telemetry_append_json(struct buf *b, const struct telemetry *t, bool open_ended)
{
	const char *comma = "";

	buf_append_u8(b, '{');
	if (t->has_hash)
		buf_printf(b, "\"integrity_hash\":\"%016" PRIx64 "\",", t->integrity_hash);
	if (t->has_timestamp)
		buf_printf(b, "\"timestamp_ns\":\"%" PRId64 "\",", t->timestamp_ns);
	buf_append_str(b, "\"device_id\":");
	json_append_string(b, t->device_id);
	if (t->region.len > 0) {
		buf_append_str(b, ",\"region\":");
		json_append_string(b, t->region);
	}
	buf_append_str(b, ",\"metrics\":{");
	for (uint32_t i = 0; i < t->n_metrics; i++) {
		if (repeated_later(t, i))
			continue;
		buf_append_str(b, comma);
		json_append_string(b, t->metrics[i].name);
		buf_append_u8(b, ':');
		append_json_number(b, t->metrics[i].value);
		comma = ",";
	}
	buf_append_str(b, open_ended ? "}" : "}}");
}
