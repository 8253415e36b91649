/* Structured logs of the programs; libraries stay silent and return errors.
 *
 * A line is a fixed message and fields, as logfmt for people or JSON for collectors, on stderr:
 *
 *     log_info("spool opened", F_STR("dir", dir), F_U64("next_ordinal", next));
 *
 * The calling thread's trace context, when set, is written as trace_id and span_id (W3C Trace Context).
 * Any thread may log; one line is one write(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
	const char *name;
	enum { LOG_END, LOG_STR, LOG_I64, LOG_U64, LOG_DOUBLE, LOG_ERRNO, LOG_HEX64 } kind;
	union {
		const char *s;
		int64_t i;
		uint64_t u;
		double d;
	};
};
#define F_STR(n, v) ((struct log_field){ .name = (n), .kind = LOG_STR, .s = (v) })
#define F_I64(n, v) ((struct log_field){ .name = (n), .kind = LOG_I64, .i = (v) })
#define F_U64(n, v) ((struct log_field){ .name = (n), .kind = LOG_U64, .u = (v) })
#define F_DBL(n, v) ((struct log_field){ .name = (n), .kind = LOG_DOUBLE, .d = (v) })
#define F_HEX(n, v) ((struct log_field){ .name = (n), .kind = LOG_HEX64, .u = (v) })
/* error: negative errno, printed as its message. */
#define F_ERR(v) ((struct log_field){ .name = "error", .kind = LOG_ERRNO, .i = (v) })

struct trace_context {
	uint8_t trace_id[16];
	uint8_t span_id[8];
};

/* Before any thread starts.  program must live as long as the process. */
void log_setup(const char *program, enum log_level least, enum log_format format);
void log_trace_set(const struct trace_context *trace_or_null);
/* A fresh random root. */
struct trace_context trace_new(void);

void log_emit(enum log_level level, const char *message, const struct log_field *fields);
#define LOG_FIELDS_(...) ((const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { .kind = LOG_END } })
#define log_debug(message, ...) log_emit(LOG_DEBUG, message, LOG_FIELDS_(__VA_ARGS__))
#define log_info(message, ...) log_emit(LOG_INFO, message, LOG_FIELDS_(__VA_ARGS__))
#define log_warn(message, ...) log_emit(LOG_WARN, message, LOG_FIELDS_(__VA_ARGS__))
#define log_error(message, ...) log_emit(LOG_ERROR, message, LOG_FIELDS_(__VA_ARGS__))

/* At most one line in a second from this place, with the number of those left out: for faults that a
 * stranger's packets can cause. */
struct log_limit {
	int64_t next_ns;
	uint64_t suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed);
