/* What is done to a topic as a whole: create, verify, identify, trim.
 *
 * Everything here is a question to the brokers with an answer within KAFKA_ANSWER_MS, and everything but stream_trim()
 * happens before a handle exists, so nothing is cached. */
#include "stream/kafka.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"

static void cleanup_queue(rd_kafka_queue_t **queue)
{
	if (*queue)
		rd_kafka_queue_destroy(*queue);
}

static void cleanup_event(rd_kafka_event_t **event)
{
	if (*event)
		rd_kafka_event_destroy(*event);
}

static void cleanup_options(rd_kafka_AdminOptions_t **options)
{
	if (*options)
		rd_kafka_AdminOptions_destroy(*options);
}

static void cleanup_topic(rd_kafka_topic_t **topic)
{
	if (*topic)
		rd_kafka_topic_destroy(*topic);
}

/* Options of an admin request that is answered, or given up, within KAFKA_ANSWER_MS. */
static rd_kafka_AdminOptions_t *admin_options(rd_kafka_t *client, rd_kafka_admin_op_t operation)
{
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, operation);
	char text[128];

	rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_ANSWER_MS, text, sizeof(text));
	if (operation != RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS)
		rd_kafka_AdminOptions_set_operation_timeout(options, KAFKA_ANSWER_MS, text, sizeof(text));
	return options;
}

/* ------------------------------------------------------------------ describe */

/* Partitions and replicas of one topic. UNKNOWN_TOPIC_OR_PART when there is none. */
static rd_kafka_resp_err_t ask_layout(rd_kafka_t *consumer, const char *name, struct kafka_facts *ret)
{
	CLEANUP(cleanup_topic) rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
	const struct rd_kafka_metadata *metadata;

	if (!topic)
		return rd_kafka_last_error();

	rd_kafka_resp_err_t error = rd_kafka_metadata(consumer, 0, topic, &metadata, KAFKA_ANSWER_MS);

	if (error)
		return error;

	error = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (metadata->topic_cnt == 1) {
		const struct rd_kafka_metadata_topic *t = &metadata->topics[0];

		error = t->err;
		*ret = (struct kafka_facts){ .partitions = (uint32_t)t->partition_cnt, .replicas = UINT32_MAX };
		for (int i = 0; i < t->partition_cnt; i++) {
			ret->replicas = MIN(ret->replicas, (uint32_t)t->partitions[i].replica_cnt);
			if (t->partitions[i].leader < 0)
				error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
		}
		if (!error && t->partition_cnt == 0)
			error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	}
	rd_kafka_metadata_destroy(metadata);
	return error;
}

static void take_setting(const rd_kafka_ConfigEntry_t *entry, struct kafka_facts *facts)
{
	const char *name = rd_kafka_ConfigEntry_name(entry), *value = rd_kafka_ConfigEntry_value(entry);

	if (!value)
		return;
	if (!strcmp(name, "min.insync.replicas"))
		facts->min_insync = strtoll(value, NULL, 10);
	else if (!strcmp(name, "retention.ms"))
		facts->retention_ms = strtoll(value, NULL, 10);
	else if (!strcmp(name, "cleanup.policy"))
		facts->compacted = strstr(value, "compact");
}

static rd_kafka_resp_err_t ask_settings(rd_kafka_t *consumer, const char *name, struct kafka_facts *facts)
{
	CLEANUP(cleanup_queue) rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
	CLEANUP(cleanup_options) rd_kafka_AdminOptions_t *options =
		admin_options(consumer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);

	rd_kafka_DescribeConfigs(consumer, &resource, 1, options, queue);
	rd_kafka_ConfigResource_destroy(resource);

	CLEANUP(cleanup_event) rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_ANSWER_MS + 1000);

	if (!event)
		return RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (rd_kafka_event_error(event))
		return rd_kafka_event_error(event);

	size_t n, n_entries;
	const rd_kafka_ConfigResource_t **resources =
		rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);

	if (n != 1)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	if (rd_kafka_ConfigResource_error(resources[0]))
		return rd_kafka_ConfigResource_error(resources[0]);

	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resources[0], &n_entries);

	for (size_t i = 0; i < n_entries; i++)
		take_setting(entries[i], facts);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int kafka_topic_describe(rd_kafka_t *consumer, const struct kafka_address *address, const struct kafka_fault *fault,
			 struct kafka_facts *ret, struct stream_error *ret_error)
{
	int64_t deadline_ns = clock_mono_ns() + KAFKA_ANSWER_MS * NS_PER_MS;
	struct kafka_facts facts;
	rd_kafka_resp_err_t error;

	/* A leader may be missing for a moment, in a new topic or while a broker restarts. */
	while ((error = ask_layout(consumer, address->topic, &facts)) == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE &&
	       clock_mono_ns() < deadline_ns)
		rd_kafka_poll(consumer, 50);
	if (!error)
		error = ask_settings(consumer, address->topic, &facts);
	if (error)
		return kafka_say_response(ret_error, address, consumer, fault, "cannot be described", error);
	*ret = facts;
	return 0;
}

int kafka_topic_check(const struct kafka_address *address, const struct kafka_facts *facts, bool development,
		      struct stream_error *ret_error)
{
	if (facts->compacted)
		return stream_say(ret_error, -EINVAL, "topic %s is compacted, which would drop records: set cleanup.policy=delete",
				 address->topic);
	if (development)
		return 0;
	if (facts->replicas < 3)
		return stream_say(ret_error, -EINVAL, "topic %s has %" PRIu32 " replica(s), an acknowledgement needs at least 3: "
				 "reassign its partitions, or set streams.development", address->topic, facts->replicas);
	if (facts->min_insync < 2)
		return stream_say(ret_error, -EINVAL, "topic %s has min.insync.replicas=%" PRId64 ", an acknowledgement needs at "
				 "least 2: change it with kafka-configs, or set streams.development", address->topic,
				 facts->min_insync);
	return 0;
}

/* What a broker answers for a moment after a topic was made or its leader has moved; librdkafka 2.0.2 asks anew for
 * what it fetches and produces, but not for offsets. */
static bool passes_by_itself(rd_kafka_resp_err_t error)
{
	switch (error) {
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
	case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
		return true;
	default:
		return false;
	}
}

int kafka_topic_range(rd_kafka_t *client, const char *topic, uint32_t partition, int64_t *ret_first, int64_t *ret_end)
{
	int64_t deadline_ns = clock_mono_ns() + KAFKA_ANSWER_MS * NS_PER_MS, first, end;
	rd_kafka_resp_err_t error;

	for (;;) {
		error = rd_kafka_query_watermark_offsets(client, topic, (int32_t)partition, &first, &end,
							 MAX(clock_poll_ms(deadline_ns), 1));
		if (!passes_by_itself(error) || clock_mono_ns() >= deadline_ns)
			break;
		usleep(20000);
	}
	if (error)
		return kafka_errno(error);
	*ret_first = first;
	*ret_end = end;
	return 0;
}

/* ------------------------------------------------------------------ identity */

void kafka_identity_pack(const struct log_id *id, uint8_t ret[static KAFKA_IDENTITY_LEN])
{
	memcpy(ret, &id->generation, sizeof(id->generation));
	memcpy(ret + sizeof(id->generation), id->uuid, sizeof(id->uuid));
}

int kafka_headers_add(rd_kafka_headers_t *headers, const struct log_id *id, uint16_t kind)
{
	uint8_t packed[KAFKA_IDENTITY_LEN];

	kafka_identity_pack(id, packed);
	if (rd_kafka_header_add(headers, "log", 3, packed, sizeof(packed)) ||
	    (kind && rd_kafka_header_add(headers, "kind", 4, &kind, sizeof(kind))))
		return -ENOMEM;
	return 0;
}

struct kafka_envelope kafka_envelope_of(rd_kafka_message_t *message)
{
	struct kafka_envelope e = { 0 };
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len;

	if (rd_kafka_message_headers(message, &headers))
		return e;
	for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &len); i++) {
		if (!strcmp(name, "sluice")) {
			e.headers = SLICE(value, len);
		} else if (!strcmp(name, "kind") && len == sizeof(e.kind)) {
			memcpy(&e.kind, value, sizeof(e.kind));
		} else if (!strcmp(name, "log") && len == KAFKA_IDENTITY_LEN) {
			memcpy(&e.id.generation, value, sizeof(e.id.generation));
			memcpy(e.id.uuid, (const uint8_t *)value + sizeof(e.id.generation), sizeof(e.id.uuid));
			e.has_id = true;
		}
	}
	return e;
}

/* The record at an offset: 0, -ERANGE when it has gone meanwhile, -EINVAL when it is not Sluice's. */
static int identity_at(rd_kafka_t *consumer, const char *name, uint32_t partition, int64_t offset, struct log_id *ret)
{
	CLEANUP(cleanup_topic) rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
	int64_t deadline_ns = clock_mono_ns() + KAFKA_ANSWER_MS * NS_PER_MS;
	rd_kafka_message_t *message = NULL;

	if (!topic || rd_kafka_consume_start(topic, (int32_t)partition, offset))
		return kafka_errno(rd_kafka_last_error());
	while (!message && clock_mono_ns() < deadline_ns)
		message = rd_kafka_consume(topic, (int32_t)partition, clock_poll_ms(deadline_ns));

	int r = message ? kafka_errno(message->err) : -ENOTCONN;

	if (r == 0) {
		struct kafka_envelope e = kafka_envelope_of(message);

		r = e.has_id ? 0 : -EINVAL;
		if (r == 0)
			*ret = e.id;
	}
	if (message)
		rd_kafka_message_destroy(message);
	rd_kafka_consume_stop(topic, (int32_t)partition);
	return r;
}

int kafka_topic_identity(rd_kafka_t *consumer, const struct kafka_address *address, const struct kafka_fault *fault,
			 uint32_t partitions, struct log_id *ret, struct stream_error *ret_error)
{
	bool used = false;
	int r = -ENOENT;

	for (uint32_t p = 0; p < partitions; p++) {
		int64_t first = 0, end = 0;

		do {
			r = kafka_topic_range(consumer, address->topic, p, &first, &end);
			if (r == 0 && first < end)
				r = identity_at(consumer, address->topic, p, first, ret);
			else if (r == 0)
				r = -ENOENT;
		} while (r == -ERANGE);
		if (r == -EINVAL)
			return stream_say(ret_error, r, "topic %s holds records that Sluice did not write: choose another name",
					 address->topic);
		if (r != -ENOENT)
			break;
		used |= end > 0;
	}
	if (r == -ENOENT && used)
		return stream_say(ret_error, -ENODATA, "topic %s has lost its last record to retention, and with it its "
				 "identity: `sluice streams init` gives it a new one", address->topic);
	if (r == -ENOENT)
		return stream_say(ret_error, r, "topic %s was not made by Sluice: `sluice streams init` makes it ready",
				 address->topic);
	if (r < 0)
		return stream_say(ret_error, r, "topic %s at %s: its first record cannot be read: %s", address->topic,
				 address->brokers, r == -ENOTCONN && fault->text[0] ? fault->text : strerror(-r));
	return 0;
}

static void identity_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
	rd_kafka_resp_err_t *first = message->_private;

	if (message->err && !*first)
		*first = message->err;
}

static rd_kafka_resp_err_t identity_send(rd_kafka_t *producer, const char *topic, uint32_t partition,
					 const struct log_id *id, rd_kafka_resp_err_t *outcome)
{
	uint8_t value[KAFKA_IDENTITY_LEN];
	rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
	rd_kafka_resp_err_t error;

	kafka_identity_pack(id, value);
	kafka_headers_add(headers, id, STREAM_KIND_IDENTITY);
	error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION((int32_t)partition),
				  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, sizeof(value)),
				  RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(outcome), RD_KAFKA_V_END);
	if (error)
		rd_kafka_headers_destroy(headers);
	return error;
}

/* Writes the identity into every partition that has no record. */
static int identity_write(const struct kafka_address *address, rd_kafka_t *consumer, uint32_t partitions,
			  const struct log_id *id, struct stream_error *ret_error)
{
	static const char *const settings[][2] = {
		{ "acks", "all" }, { "enable.idempotence", "true" }, { "linger.ms", "0" }, { "message.timeout.ms", "10000" },
	};
	struct kafka_fault fault = { 0 };
	CLEANUP(kafka_client_free) rd_kafka_t *producer = NULL;
	rd_kafka_resp_err_t outcome = 0, error = 0;
	int r = kafka_client_new(&producer, RD_KAFKA_PRODUCER, address, &fault, settings, ARRAY_SIZE(settings),
				 identity_delivered, ret_error);

	for (uint32_t p = 0; r == 0 && p < partitions && !error; p++) {
		int64_t first = 0, end = 0;

		r = kafka_topic_range(consumer, address->topic, p, &first, &end);
		if (r == 0 && first == end)
			error = identity_send(producer, address->topic, p, id, &outcome);
	}
	if (r < 0)
		return r;
	if (!error)
		error = rd_kafka_flush(producer, KAFKA_ANSWER_MS + 1000);
	if (!error)
		error = outcome;
	if (error)
		return kafka_say_response(ret_error, address, producer, &fault, "does not take its identity", error);
	return 0;
}

/* ------------------------------------------------------------------ create */

static rd_kafka_resp_err_t new_topic(rd_kafka_t *client, const char *name, const struct stream_create_options *options,
				     char *ret_text, size_t text_len)
{
	CLEANUP(cleanup_queue) rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	CLEANUP(cleanup_options) rd_kafka_AdminOptions_t *admin = admin_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	int replication = options->replication ? options->replication : options->development ? 1 : 3;
	char retention[24], size[24];
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(name, (int)options->partitions, replication, ret_text, text_len);

	if (!topic)
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	snprintf(retention, sizeof(retention), "%" PRId64, options->retention_ms);
	snprintf(size, sizeof(size), "%u", KAFKA_MESSAGE_MAX);
	rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
	rd_kafka_NewTopic_set_config(topic, "retention.ms", retention);
	rd_kafka_NewTopic_set_config(topic, "retention.bytes", "-1");
	rd_kafka_NewTopic_set_config(topic, "max.message.bytes", size);
	rd_kafka_NewTopic_set_config(topic, "min.insync.replicas", options->development ? "1" : "2");
	rd_kafka_NewTopic_set_config(topic, "unclean.leader.election.enable", "false");
	rd_kafka_CreateTopics(client, &topic, 1, admin, queue);
	rd_kafka_NewTopic_destroy(topic);

	CLEANUP(cleanup_event) rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_ANSWER_MS + 1000);
	size_t n;

	if (!event)
		return RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (rd_kafka_event_error(event))
		return rd_kafka_event_error(event);

	const rd_kafka_topic_result_t **results =
		rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);

	if (n != 1)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	if (rd_kafka_topic_result_error_string(results[0]))
		snprintf(ret_text, text_len, "%s", rd_kafka_topic_result_error_string(results[0]));
	return rd_kafka_topic_result_error(results[0]);
}

/* An existing topic against what is wanted of it. */
static int check_fit(const struct kafka_address *address, const struct kafka_facts *facts,
		     const struct stream_create_options *options, struct stream_error *ret_error)
{
	bool shorter = facts->retention_ms >= 0 &&
		       (options->retention_ms < 0 || facts->retention_ms < options->retention_ms);

	if (facts->partitions != options->partitions)
		return stream_say(ret_error, -EINVAL, "topic %s has %" PRIu32 " partitions, %" PRIu32 " are wanted: the number is "
				 "fixed for a generation, use another name or prefix", address->topic, facts->partitions,
				 options->partitions);
	if (shorter)
		return stream_say(ret_error, -EINVAL, "topic %s keeps records for %" PRId64 " ms, %" PRId64 " (-1 = for ever) are "
				 "wanted: change retention.ms with kafka-configs", address->topic, facts->retention_ms,
				 options->retention_ms);
	return kafka_topic_check(address, facts, options->development, ret_error);
}

/* Two creators at once, or one that died half-way, end with the identity whose record came first in partition 0. */
static int ensure_identity(rd_kafka_t *consumer, const struct kafka_address *address, const struct kafka_fault *fault,
			   const struct stream_create_options *options, bool made_here, struct stream_error *ret_error)
{
	int64_t deadline_ns = clock_mono_ns() + (made_here ? 0 : 2 * NS_PER_S);
	struct log_id id, found;
	int r;

	while ((r = kafka_topic_identity(consumer, address, fault, options->partitions, &found, ret_error)) == -ENOENT &&
	       clock_mono_ns() < deadline_ns)
		rd_kafka_poll(consumer, 100);
	if (r == -ENOENT || r == -ENODATA) {
		id.generation = options->generation ? options->generation : 1;
		rand_bytes(id.uuid, sizeof(id.uuid));
		r = identity_write(address, consumer, options->partitions, &id, ret_error);
		if (r == 0)
			r = kafka_topic_identity(consumer, address, fault, options->partitions, &found, ret_error);
	}
	if (r == 0 && options->generation && found.generation != options->generation)
		return stream_say(ret_error, -EINVAL, "topic %s is of generation %" PRIu32 ", %" PRIu32 " is wanted: a new "
				 "generation needs a new name or prefix", address->topic, found.generation,
				 options->generation);
	return r;
}

int kafka_topic_create(const char *rest, const struct stream_create_options *options, struct stream_error *ret_error)
{
	struct kafka_address address;
	struct kafka_fault fault = { 0 };
	struct kafka_facts facts;
	CLEANUP(kafka_client_free) rd_kafka_t *consumer = NULL;
	int r = kafka_address_parse(rest, &address, ret_error);

	if (r == 0 && options->partitions == 0)
		r = stream_say(ret_error, -EINVAL, "topic %s: a stream needs at least one partition", address.topic);
	if (r == 0)
		r = kafka_client_new(&consumer, RD_KAFKA_CONSUMER, &address, &fault, NULL, 0, NULL, ret_error);
	if (r < 0)
		return r;

	bool made_here = false;

	r = kafka_topic_describe(consumer, &address, &fault, &facts, ret_error);
	if (r == -ENOENT) {
		char text[200] = "";
		rd_kafka_resp_err_t error = new_topic(consumer, address.topic, options, text, sizeof(text));

		if (error && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS && text[0])
			return stream_say(ret_error, kafka_errno(error), "topic %s at %s cannot be created: %s", address.topic,
					 address.brokers, text);
		if (error && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
			return kafka_say_response(ret_error, &address, consumer, &fault, "cannot be created", error);
		made_here = !error;

		/* The controller's answer is ahead of the brokers' metadata. */
		int64_t deadline_ns = clock_mono_ns() + KAFKA_ANSWER_MS * NS_PER_MS;

		while ((r = kafka_topic_describe(consumer, &address, &fault, &facts, ret_error)) == -ENOENT &&
		       clock_mono_ns() < deadline_ns)
			rd_kafka_poll(consumer, 50);
	}
	if (r < 0)
		return r;
	if (!made_here && !options->may_exist)
		return stream_say(ret_error, -EEXIST, "topic %s at %s exists already", address.topic, address.brokers);
	r = check_fit(&address, &facts, options, ret_error);
	return r < 0 ? r : ensure_identity(consumer, &address, &fault, options, made_here, ret_error);
}

/* ------------------------------------------------------------------ trim */

static int trim_outcome(const rd_kafka_event_t *event)
{
	const rd_kafka_topic_partition_list_t *list =
		rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result((rd_kafka_event_t *)event));

	for (int i = 0; i < list->cnt; i++)
		if (list->elems[i].err)
			return kafka_errno(list->elems[i].err);
	return 0;
}

int kafka_topic_trim(rd_kafka_t *client, const char *topic, uint32_t partitions, const uint64_t *keep_from)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)partitions);
	int r = 0;

	for (uint32_t p = 0; r == 0 && p < partitions; p++) {
		int64_t first = 0, end = 0, until = (int64_t)MIN(keep_from[p], (uint64_t)INT64_MAX);

		if (until <= 1)
			continue;
		r = kafka_topic_range(client, topic, p, &first, &end);
		if (r == 0 && p == 0)
			end--; /* what is left names the log */
		if (r == 0 && MIN(until, end) > first)
			rd_kafka_topic_partition_list_add(list, topic, (int32_t)p)->offset = MIN(until, end);
	}
	if (r < 0 || list->cnt == 0) {
		rd_kafka_topic_partition_list_destroy(list);
		return r;
	}

	CLEANUP(cleanup_queue) rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	CLEANUP(cleanup_options) rd_kafka_AdminOptions_t *options = admin_options(client, RD_KAFKA_ADMIN_OP_DELETERECORDS);
	rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);

	rd_kafka_DeleteRecords(client, &request, 1, options, queue);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);

	CLEANUP(cleanup_event) rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_ANSWER_MS + 1000);

	if (!event)
		return -ENOTCONN;
	return rd_kafka_event_error(event) ? kafka_errno(rd_kafka_event_error(event)) : trim_outcome(event);
}
