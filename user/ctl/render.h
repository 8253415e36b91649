/* Records of every stream as JSON lines, for people and scripts.  One function a stream, found by the name's end. */
#pragma once

#include "base/buf.h"
#include "codec/block.h"
#include "stream/owned_log.h"

struct render {
	struct block block;
	struct buf words, payload; /* scratch */
	bool all;                  /* duplicates, and records without readings, too */
};

void render_init(struct render *r);
void render_done(struct render *r);

struct render_stream {
	const char *name; /* "region.log" */
	bool owned;       /* read by owned_log's rule */
	/* Appends the record's lines. 0 or negative errno (-EBADMSG: undecodable). */
	int (*record)(struct render *r, const struct owned_record *record, struct buf *out);
};

/* By what the URL's name ends in; NULL when it is none of ours. */
const struct render_stream *render_find(const char *name);
/* "edge.telemetry, region.log, …" for messages. */
const char *render_names(void);
