#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rand.h"

static const char *program_name = "sluice";
static enum log_level least_level = LOG_INFO;
static enum log_format line_format = LOG_LOGFMT;
static _Thread_local struct trace_context trace_of_thread;
static _Thread_local bool trace_is_set;

static const char *const level_name[] = { "debug", "info", "warn", "error" };

void log_setup(const char *program, enum log_level least, enum log_format format)
{
	program_name = program;
	least_level = least;
	line_format = format;
}

void log_trace_set(const struct trace_context *trace_or_null)
{
	trace_is_set = trace_or_null != NULL;
	if (trace_or_null)
		trace_of_thread = *trace_or_null;
}

struct trace_context trace_new(void)
{
	struct trace_context t;

	rand_bytes(&t, sizeof(t));
	return t;
}

static void append_quoted(struct buf *b, const char *s)
{
	buf_append_u8(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(b, "\\u%04x", c);
		else
			buf_append_u8(b, c);
	}
	buf_append_u8(b, '"');
}

static bool plain_word(const char *s)
{
	return *s && !s[strcspn(s, " \"\\=\t\n\r\x7f")];
}

static void append_string(struct buf *b, const char *s)
{
	if (line_format == LOG_LOGFMT && plain_word(s))
		buf_append_str(b, s);
	else
		append_quoted(b, s);
}

static void append_name(struct buf *b, const char *name)
{
	if (line_format == LOG_JSON)
		buf_printf(b, ",\"%s\":", name);
	else
		buf_printf(b, " %s=", name);
}

static void append_field(struct buf *b, const struct log_field *f)
{
	char text[17];

	append_name(b, f->name);
	switch (f->kind) {
	case LOG_STR:
		append_string(b, f->s ? f->s : "");
		break;
	case LOG_I64:
		buf_printf(b, "%" PRId64, f->i);
		break;
	case LOG_U64:
		buf_printf(b, "%" PRIu64, f->u);
		break;
	case LOG_DOUBLE:
		buf_printf(b, "%.6g", f->d);
		break;
	case LOG_HEX64:
		snprintf(text, sizeof(text), "%016" PRIx64, f->u);
		append_string(b, text);
		break;
	case LOG_ERRNO:
		append_string(b, strerror((int)-f->i));
		break;
	case LOG_END:
		break;
	}
}

static void append_hex(struct buf *b, const char *name, const uint8_t *bytes, size_t n)
{
	append_name(b, name);
	if (line_format == LOG_JSON)
		buf_append_u8(b, '"');
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%02x", bytes[i]);
	if (line_format == LOG_JSON)
		buf_append_u8(b, '"');
}

void log_emit(enum log_level level, const char *message, const struct log_field *fields)
{
	if (level < least_level)
		return;

	int saved_errno = errno;
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	char now[CLOCK_ISO_LEN];

	clock_format_iso(clock_wall_ns(), now);
	if (line_format == LOG_JSON)
		buf_printf(&b, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"message\":", now, level_name[level],
			   program_name);
	else
		buf_printf(&b, "%s %-5s %s: ", now, level_name[level], program_name);
	if (line_format == LOG_JSON)
		append_quoted(&b, message);
	else
		buf_append_str(&b, message);
	for (; fields->kind != LOG_END; fields++)
		append_field(&b, fields);
	if (trace_is_set) {
		append_hex(&b, "trace_id", trace_of_thread.trace_id, sizeof(trace_of_thread.trace_id));
		append_hex(&b, "span_id", trace_of_thread.span_id, sizeof(trace_of_thread.span_id));
	}
	buf_append_str(&b, line_format == LOG_JSON ? "}\n" : "\n");
	if (write(STDERR_FILENO, b.data, b.len) < 0)
		(void)0; /* nobody is left to tell */
	errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed)
{
	int64_t now_ns = clock_mono_ns();

	if (now_ns < __atomic_load_n(&limit->next_ns, __ATOMIC_RELAXED)) {
		__atomic_fetch_add(&limit->suppressed, 1, __ATOMIC_RELAXED);
		return false;
	}
	__atomic_store_n(&limit->next_ns, now_ns + NS_PER_S, __ATOMIC_RELAXED);
	*ret_suppressed = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
	return true;
}
