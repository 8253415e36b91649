/* The file of alert rules while the aggregator runs: read again when it has changed.  A new one that is broken is said in
 * the log, and the old rules stay.
 *
 * Threads: one.
 */
#pragma once

#include <sys/stat.h>

#include "alerts/rules.h"

struct rules_file {
	const char *path; /* "": the built-in rules */
	struct alert_rules *rules;
	struct stat seen;
	int64_t looked_ns;
};

/* 0; negative errno with a sentence. path must outlive it. */
int rules_file_open(struct rules_file *f, const char *path, struct rules_error *ret_error);
void rules_file_close(struct rules_file *f);
/* Looks at the file, at most every few seconds; now_ns: monotonic. */
void rules_file_look(struct rules_file *f, int64_t now_ns);
