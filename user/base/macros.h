/* The few macros that every file may use.
 *
 * must() is an assertion on an invariant that stays on in production: a process whose own state is wrong stops
 * before it acknowledges anything.  It is never used on input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Each argument is evaluated once; the counter keeps nested uses from shadowing each other. */
#define PICK_NAMED_(a, b, less, x, y) ({ __typeof__(a) x = (a); __typeof__(b) y = (b); x less y ? x : y; })
#define PICK_COUNTED_(a, b, less, n) PICK_NAMED_(a, b, less, x_##n, y_##n)
#define PICK_(a, b, less, n) PICK_COUNTED_(a, b, less, n)
#define MIN(a, b) PICK_(a, b, <, __COUNTER__)
#define MAX(a, b) PICK_(a, b, >, __COUNTER__)
#define CLAMP(v, lo, hi) MIN(MAX(v, lo), hi)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL
#define NS_PER_MIN (60 * NS_PER_S)
#define NS_PER_DAY (24 * 60 * NS_PER_MIN)
#define NS_PER_WEEK (7 * NS_PER_DAY)

__attribute__((noreturn, cold)) void must_failed(const char *condition, const char *file, int line);
#define must(condition) \
	(likely(condition) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))

/* Cleanup at the end of the scope: CLEANUP(buf_done) struct buf b = BUF_INIT; */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Takes the pointer out of a cleaned-up variable: `*ret = STEAL(object);` */
#define STEAL(p) ({ __typeof__(p) p_ = (p); (p) = NULL; p_; })

/* free() for CLEANUP(): works for any pointer type. */
void cleanup_free(void *pointer_to_pointer);
/* close() for CLEANUP(): takes -1. */
void cleanup_close(int *fd);
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)

/* Bytes that somebody else owns. */
struct slice {
	const void *data;
	size_t len;
};
#define SLICE(d, n) ((struct slice){ .data = (d), .len = (n) })
#define SLICE_STR(s) ({ const char *s_ = (s); SLICE(s_, __builtin_strlen(s_)); })
