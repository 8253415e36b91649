/* Shared by the two files of the Kafka backend: kafka.c (a handle: writing and reading) and kafka_topic.c (what is
 * done to a topic: create, verify, identity, trim).  Nobody else includes it.
 *
 * A topic keeps its identity in itself, so that a topic deleted and made anew is never taken for the old one:
 *   - stream_create() writes a record of kind STREAM_KIND_IDENTITY into every partition; it gets offset 0 and is
 *     never handed to readers.  Value: generation (u32) and uuid (16 bytes).
 *   - those records are trimmed or expire like any other, so every record carries the same 20 bytes in the header
 *     "log"; whatever is the first kept record names the log.
 *   - trimming leaves the last record of partition 0, and a writer that is idle writes the identity again before
 *     retention could take the last record.  A topic that was abandoned until it was empty is refused (-ENODATA);
 *     stream_create() with may_exist gives it a new identity.
 *
 * Headers of a record: "log" as above; "kind", u16, absent when 0; "sluice", the stream's opaque headers, absent when
 * empty.
 *
 * Threads: as a stream, one thread a handle.  librdkafka's own threads never call back into this code: every callback
 * runs inside a poll of the handle's thread.
 */
#pragma once

#include <librdkafka/rdkafka.h>

#include "stream/stream.h"

#define KAFKA_ANSWER_MS 10000 /* how long a broker may take before it counts as not there */
#define KAFKA_TOPIC_MAX 249
#define KAFKA_IDENTITY_LEN 20
/* Headers and value together, as in the journal; the rest is for Kafka's own framing and the header names. */
#define KAFKA_RECORD_MAX (16u << 20)
#define KAFKA_MESSAGE_MAX (KAFKA_RECORD_MAX + (64u << 10))

struct kafka_address {
	char brokers[STREAM_URL_MAX];
	char topic[KAFKA_TOPIC_MAX + 1];
};

/* What went wrong last in a client, for sentences; and what cannot be mended. */
struct kafka_fault {
	char text[160];
	int broken; /* 0 or negative errno */
};

struct kafka_facts {
	uint32_t partitions;
	uint32_t replicas; /* of the partition that has fewest */
	int64_t min_insync;
	int64_t retention_ms; /* -1 = for ever */
	bool compacted;
};

/* "host:port[,host:port]/NAME". 0 or -EINVAL with a sentence. */
int kafka_address_parse(const char *rest, struct kafka_address *ret, struct stream_error *ret_error);

/* A client with the settings that all of ours share and n further ones, as pairs.  fault outlives it and is the
 * opaque argument of delivered(), which a producer has. */
int kafka_client_new(rd_kafka_t **ret, rd_kafka_type_t type, const struct kafka_address *address,
		     struct kafka_fault *fault, const char *const (*settings)[2], size_t n,
		     void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *),
		     struct stream_error *ret_error);
/* Takes a pointer to NULL, too: for CLEANUP(). */
void kafka_client_free(rd_kafka_t **client);

int kafka_errno(rd_kafka_resp_err_t error);
/* The sentence for what librdkafka said about a topic. */
int kafka_say_response(struct stream_error *ret_error, const struct kafka_address *address, rd_kafka_t *client,
		       const struct kafka_fault *fault, const char *what, rd_kafka_resp_err_t error);

void kafka_identity_pack(const struct log_id *id, uint8_t ret[static KAFKA_IDENTITY_LEN]);
/* Adds "log", and "kind" when it is not 0.  0 or -ENOMEM. */
int kafka_headers_add(rd_kafka_headers_t *headers, const struct log_id *id, uint16_t kind);

/* What a message's headers say; has_id is false for a record that Sluice did not write. */
struct kafka_envelope {
	uint16_t kind;
	bool has_id;
	struct log_id id;
	struct slice headers;
};
struct kafka_envelope kafka_envelope_of(rd_kafka_message_t *message);

/* ------------------------------------------------------------------ kafka_topic.c */

/* All of these take a client made with RD_KAFKA_CONSUMER: only that kind never lets a broker create a topic because
 * somebody asked for it. */

/* 0; -ENOENT; -ENOTCONN; with a sentence. */
int kafka_topic_describe(rd_kafka_t *consumer, const struct kafka_address *address, const struct kafka_fault *fault,
			 struct kafka_facts *ret, struct stream_error *ret_error);
/* Refuses what would lose records: too few replicas (unless development), compaction. 0 or -EINVAL. */
int kafka_topic_check(const struct kafka_address *address, const struct kafka_facts *facts, bool development,
		      struct stream_error *ret_error);
/* 0; -ENOENT when no identity was ever written; -ENODATA when it is gone; -EINVAL when others wrote the topic. */
int kafka_topic_identity(rd_kafka_t *consumer, const struct kafka_address *address, const struct kafka_fault *fault,
			 uint32_t partitions, struct log_id *ret, struct stream_error *ret_error);
int kafka_topic_create(const char *rest, const struct stream_create_options *options, struct stream_error *ret_error);
/* First kept and next offset as the broker counts them. */
int kafka_topic_range(rd_kafka_t *client, const char *topic, uint32_t partition, int64_t *ret_first, int64_t *ret_end);
int kafka_topic_trim(rd_kafka_t *client, const char *topic, uint32_t partitions, const uint64_t *keep_from);
