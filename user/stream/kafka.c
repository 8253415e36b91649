/* The Kafka backend: a topic through librdkafka, whose baseline is 2.0.2.
 *
 * Writing is an idempotent producer with acks=all and no message timeout: librdkafka retries for as long as it takes,
 * without reordering and without second copies, so an append ends as confirmed, or the handle is broken.  Nagle is
 * off and linger.ms is the caller's, because each batch of ours is a record already.  Values are compressed blocks,
 * so librdkafka's own compression stays off.  The queue is bounded by 64 MB.
 *
 * Reading is the simple consumer: partitions are started at an offset and stopped one by one into one queue.  No
 * group, no committed offsets (positions are the application's, in its own log), no rebalance, and a seek costs the
 * other partitions nothing.  auto.offset.reset=error: a position that is no longer kept is reported, never moved.
 * What decides latency and memory:
 *   - A broker answers a fetch as soon as it has one byte (fetch.min.bytes is 1), so fetch.wait.max.ms costs a live
 *     record nothing.  But librdkafka has one fetch a broker under way, and a partition that was just sought waits for
 *     it: 100 ms bounds that, for 10 idle requests a second and broker.
 *   - While the queue is full, a partition whose turn it is to be fetched is left out for a whole second (fixed in
 *     2.0.2; the limits look at the one queue that all partitions flow into), so it must hold what is worked off in a
 *     second: 64 MB and 200,000 records.
 *   - A fetch is at most 16 MB, 1 MB of each partition; brokers send a single larger record whole.
 *
 * rd_kafka_consume_batch_queue() waits until the batch is full, so a read waits for one message alone and then takes
 * what else is there.
 *
 * Not used, because of their faults in 2.0.2: transactions, cooperative-sticky, pause and resume. */
#include "stream/kafka.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define QUEUE_KB "65536"    /* of a producer, and of a consumer */
#define SLICE_MS 1000       /* the longest single wait, so that errors and the identity's renewal are seen to */
#define READ_BATCH_MAX 4096

/* An append on its way. */
struct pending {
	struct pending *next;
	void *cookie;
	uint32_t partition;
	int error;
	uint64_t offset;
	bool done;
};

struct pending_list {
	struct pending *head, **tail;
};

struct position {
	bool reading;
	bool lost;
	uint64_t next;
};

struct kafka {
	struct stream stream;
	struct kafka_address address;
	struct kafka_fault fault; /* the callbacks' opaque */

	/* Writing.  Of each partition the appends in their order; what is confirmed moves from the head to ready, so
	 * that the order of delivery reports does not matter. */
	rd_kafka_t *producer;
	rd_kafka_topic_t *to;
	struct pending_list *on_way;
	struct pending_list ready;
	size_t n_pending; /* on_way and ready */
	int64_t renew_every_ns; /* the identity in an idle partition 0; 0 = never */
	int64_t renew_ns;

	/* Reading. */
	rd_kafka_t *consumer;
	rd_kafka_topic_t *from;
	rd_kafka_queue_t *queue;
	struct position *positions;
	uint32_t n_lost;
	rd_kafka_message_t *held[READ_BATCH_MAX]; /* what the last read handed out points into */
	size_t n_held;
};

static struct kafka *kafka_of(const struct stream *s)
{
	return container_of(s, struct kafka, stream);
}

/* ------------------------------------------------------------------ errors */

int kafka_errno(rd_kafka_resp_err_t error)
{
	switch (error) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		return 0;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
		return -ENOTCONN;
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		return -ENOENT;
	case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
		return -EEXIST;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return -EMSGSIZE;
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
		return -EAGAIN;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		return -ERANGE;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		return -EACCES;
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
		return -EBADMSG;
	case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
	case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
	case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case RD_KAFKA_RESP_ERR__INVALID_ARG:
		return -EINVAL;
	default:
		return -EIO;
	}
}

int kafka_say_response(struct stream_error *ret_error, const struct kafka_address *address, rd_kafka_t *client,
		       const struct kafka_fault *fault, const char *what, rd_kafka_resp_err_t error)
{
	int r = kafka_errno(error);

	rd_kafka_poll(client, 0); /* brings fault->text up to date */
	if (r == -ENOENT)
		return stream_say(ret_error, r, "there is no topic %s at %s: `sluice streams init` creates it", address->topic,
				 address->brokers);
	if (r == -ENOTCONN)
		return stream_say(ret_error, r, "no Kafka broker answers at %s within %d s (%s): is it running, is the address "
				 "right?", address->brokers, KAFKA_ANSWER_MS / 1000,
				 fault->text[0] ? fault->text : rd_kafka_err2str(error));
	return stream_say(ret_error, r, "topic %s at %s %s: %s", address->topic, address->brokers, what,
			 rd_kafka_err2str(error));
}

/* ------------------------------------------------------------------ clients */

int kafka_address_parse(const char *rest, struct kafka_address *ret, struct stream_error *ret_error)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *slash = strchr(rest, '/'), *topic = slash ? slash + 1 : "";
	size_t brokers_len = slash ? (size_t)(slash - rest) : 0, topic_len = strlen(topic);

	if (brokers_len == 0 || brokers_len >= sizeof(ret->brokers) || topic_len == 0)
		return stream_say(ret_error, -EINVAL, "kafka:%s is not a stream: write kafka:host:port[,host:port]/NAME", rest);
	if (topic_len > KAFKA_TOPIC_MAX || topic[strspn(topic, allowed)] || !strcmp(topic, ".") || !strcmp(topic, ".."))
		return stream_say(ret_error, -EINVAL, "%s is not the name of a topic: at most %d letters, digits, '.', '_', '-'",
				 topic, KAFKA_TOPIC_MAX);
	memcpy(ret->brokers, rest, brokers_len);
	ret->brokers[brokers_len] = 0;
	memcpy(ret->topic, topic, topic_len + 1);
	return 0;
}

static void drop_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
}

static void take_error(rd_kafka_t *client, int error, const char *reason, void *opaque)
{
	struct kafka_fault *fault = opaque;

	snprintf(fault->text, sizeof(fault->text), "%s", reason);
	if (error == RD_KAFKA_RESP_ERR__FATAL) {
		rd_kafka_fatal_error(client, fault->text, sizeof(fault->text));
		fault->broken = -EIO;
	}
}

int kafka_client_new(rd_kafka_t **ret, rd_kafka_type_t type, const struct kafka_address *address,
		     struct kafka_fault *fault, const char *const (*settings)[2], size_t n,
		     void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *), struct stream_error *ret_error)
{
	const char *const shared[][2] = {
		{ "bootstrap.servers", address->brokers },
		{ "client.id", "sluice" },
		{ "socket.nagle.disable", "true" },
		{ "socket.keepalive.enable", "true" },
		{ "reconnect.backoff.max.ms", "1000" },
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(shared) + n; i++) {
		const char *const *pair = i < ARRAY_SIZE(shared) ? shared[i] : settings[i - ARRAY_SIZE(shared)];

		if (rd_kafka_conf_set(conf, pair[0], pair[1], text, sizeof(text)) == RD_KAFKA_CONF_OK)
			continue;
		rd_kafka_conf_destroy(conf);
		return stream_say(ret_error, -EINVAL, "librdkafka does not take %s=%s: %s", pair[0], pair[1], text);
	}
	rd_kafka_conf_set_opaque(conf, fault);
	rd_kafka_conf_set_log_cb(conf, drop_log);
	rd_kafka_conf_set_error_cb(conf, take_error);
	if (delivered)
		rd_kafka_conf_set_dr_msg_cb(conf, delivered);

	rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof(text));

	if (!client) {
		rd_kafka_conf_destroy(conf);
		return stream_say(ret_error, -EINVAL, "no Kafka client for %s: %s", address->brokers, text);
	}
	*ret = client;
	return 0;
}

void kafka_client_free(rd_kafka_t **client)
{
	if (*client)
		rd_kafka_destroy(*client);
	*client = NULL;
}

/* ------------------------------------------------------------------ opening and closing */

static void list_put(struct pending_list *list, struct pending *p)
{
	p->next = NULL;
	*list->tail = p;
	list->tail = &p->next;
}

static struct pending *list_take(struct pending_list *list)
{
	struct pending *p = list->head;

	if (p) {
		list->head = p->next;
		if (!list->head)
			list->tail = &list->head;
	}
	return p;
}

static void list_init(struct pending_list *list)
{
	*list = (struct pending_list){ .tail = &list->head };
}

static void list_done(struct pending_list *list)
{
	for (struct pending *p; (p = list_take(list));)
		free(p);
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
	struct kafka *k = container_of((struct kafka_fault *)opaque, struct kafka, fault);
	struct pending *p = message->_private;

	if (!p)
		return; /* an identity that was written again */
	p->done = true;
	p->error = kafka_errno(message->err);
	p->offset = (uint64_t)message->offset;

	struct pending_list *list = &k->on_way[p->partition];

	while (list->head && list->head->done)
		list_put(&k->ready, list_take(list));
}

static int open_writer(struct kafka *k, const struct stream_options *options, const struct kafka_facts *facts,
		       struct stream_error *ret_error)
{
	char linger[16], size[16];
	const char *const settings[][2] = {
		{ "acks", "all" },
		{ "enable.idempotence", "true" },
		{ "message.timeout.ms", "0" }, /* for ever */
		{ "compression.type", "none" },
		{ "linger.ms", linger },
		{ "message.max.bytes", size },
		{ "queue.buffering.max.kbytes", QUEUE_KB },
	};

	snprintf(linger, sizeof(linger), "%" PRIu32, options->linger_ms);
	snprintf(size, sizeof(size), "%u", KAFKA_MESSAGE_MAX);

	int r = kafka_client_new(&k->producer, RD_KAFKA_PRODUCER, &k->address, &k->fault, settings, ARRAY_SIZE(settings),
				 delivered, ret_error);

	if (r < 0)
		return r;
	k->to = rd_kafka_topic_new(k->producer, k->address.topic, NULL);
	k->on_way = calloc(k->stream.partitions, sizeof(*k->on_way));
	if (!k->to || !k->on_way)
		return stream_say(ret_error, -ENOMEM, "no memory for topic %s", k->address.topic);
	for (uint32_t p = 0; p < k->stream.partitions; p++)
		list_init(&k->on_way[p]);
	if (facts->retention_ms > 0)
		k->renew_every_ns = MIN(facts->retention_ms, INT64_MAX / NS_PER_MS) / 4 * NS_PER_MS;
	return 0;
}

static int open_consumer(struct kafka *k, struct stream_error *ret_error)
{
	static const char *const settings[][2] = {
		{ "auto.offset.reset", "error" },
		{ "enable.auto.commit", "false" },
		{ "enable.auto.offset.store", "false" },
		{ "allow.auto.create.topics", "false" },
		{ "check.crcs", "true" },
		{ "fetch.wait.max.ms", "100" },
		{ "fetch.error.backoff.ms", "100" },
		{ "fetch.message.max.bytes", "1048576" },
		{ "fetch.max.bytes", "16777216" },
		{ "queued.min.messages", "200000" },
		{ "queued.max.messages.kbytes", QUEUE_KB },
	};

	return kafka_client_new(&k->consumer, RD_KAFKA_CONSUMER, &k->address, &k->fault, settings, ARRAY_SIZE(settings),
				NULL, ret_error);
}

static int open_reader(struct kafka *k, struct stream_error *ret_error)
{
	int r = open_consumer(k, ret_error);

	if (r < 0)
		return r;
	k->from = rd_kafka_topic_new(k->consumer, k->address.topic, NULL);
	k->queue = rd_kafka_queue_new(k->consumer);
	k->positions = calloc(k->stream.partitions, sizeof(*k->positions));
	if (!k->from || !k->queue || !k->positions)
		return stream_say(ret_error, -ENOMEM, "no memory for topic %s", k->address.topic);
	return 0;
}

/* What is to be known before the handle exists, asked through a client of its own. */
static int inspect(struct kafka *k, const struct stream_options *options, struct kafka_facts *ret,
		   struct stream_error *ret_error)
{
	CLEANUP(kafka_client_free) rd_kafka_t *consumer = NULL;
	int r = open_consumer(k, ret_error);

	consumer = STEAL(k->consumer);
	if (r == 0)
		r = kafka_topic_describe(consumer, &k->address, &k->fault, ret, ret_error);
	if (r == 0 && options->writer)
		r = kafka_topic_check(&k->address, ret, options->development, ret_error);
	if (r == 0)
		r = kafka_topic_identity(consumer, &k->address, &k->fault, ret->partitions, &k->stream.id, ret_error);
	if (r == 0)
		k->stream.partitions = ret->partitions;
	return r;
}

static void release_held(struct kafka *k)
{
	for (size_t i = 0; i < k->n_held; i++)
		rd_kafka_message_destroy(k->held[i]);
	k->n_held = 0;
}

static void close_writer(struct kafka *k)
{
	if (!k->producer)
		return;
	/* Reports of what is abandoned are taken in before the memory that they point to goes. */
	rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(k->producer, SLICE_MS);
	if (k->to)
		rd_kafka_topic_destroy(k->to);
	kafka_client_free(&k->producer);
}

static void close_reader(struct kafka *k)
{
	release_held(k);
	for (uint32_t p = 0; k->positions && p < k->stream.partitions; p++)
		if (k->positions[p].reading)
			rd_kafka_consume_stop(k->from, (int32_t)p);
	if (k->queue)
		rd_kafka_queue_destroy(k->queue);
	if (k->from)
		rd_kafka_topic_destroy(k->from);
	kafka_client_free(&k->consumer);
}

static void kafka_close(struct stream *s)
{
	if (!s)
		return;

	struct kafka *k = kafka_of(s);

	close_reader(k);
	close_writer(k);
	for (uint32_t p = 0; k->on_way && p < s->partitions; p++)
		list_done(&k->on_way[p]);
	list_done(&k->ready);
	free(k->on_way);
	free(k->positions);
	free(k);
}

static int kafka_open(struct stream **ret, const char *rest, const struct stream_options *options,
		      struct stream_error *ret_error)
{
	struct kafka_facts facts = { 0 };
	struct kafka *k = calloc(1, sizeof(*k));

	if (!k)
		return stream_say(ret_error, -ENOMEM, "no memory for a stream");
	k->stream.ops = &stream_kafka_ops;
	list_init(&k->ready);
	snprintf(k->stream.url, sizeof(k->stream.url), "kafka:%.*s", (int)sizeof(k->stream.url) - 7, rest);

	int r = kafka_address_parse(rest, &k->address, ret_error);

	if (r == 0)
		r = inspect(k, options, &facts, ret_error);
	if (r == 0 && options->writer)
		r = open_writer(k, options, &facts, ret_error);
	if (r == 0 && (options->reader || !options->writer))
		r = open_reader(k, ret_error);
	if (r < 0) {
		kafka_close(&k->stream);
		return r;
	}
	k->renew_ns = clock_mono_ns() + k->renew_every_ns;
	*ret = &k->stream;
	return 0;
}

/* ------------------------------------------------------------------ writing */

static rd_kafka_resp_err_t produce(struct kafka *k, const struct stream_record *record, struct pending *p)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(3);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__QUEUE_FULL;
	bool failed = kafka_headers_add(headers, &k->stream.id, record->kind) ||
		      (record->headers.len && rd_kafka_header_add(headers, "sluice", 6, record->headers.data,
								  (ssize_t)record->headers.len));

	if (!failed)
		error = rd_kafka_producev(k->producer, RD_KAFKA_V_RKT(k->to),
					  RD_KAFKA_V_PARTITION((int32_t)record->partition),
					  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					  RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.len),
					  RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(p), RD_KAFKA_V_END);
	if (error)
		rd_kafka_headers_destroy(headers);
	else if (record->partition == 0 && k->renew_every_ns)
		k->renew_ns = clock_mono_ns() + k->renew_every_ns;
	return error;
}

static int kafka_append(struct stream *s, const struct stream_record *record)
{
	struct kafka *k = kafka_of(s);

	if (!k->producer)
		return -EBADF;
	if (k->fault.broken)
		return k->fault.broken;
	if (record->partition >= s->partitions || record->kind == STREAM_KIND_IDENTITY)
		return -EINVAL;
	if (record->headers.len + record->value.len > KAFKA_RECORD_MAX)
		return -EMSGSIZE;

	struct pending *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = (struct pending){ .cookie = record->cookie, .partition = record->partition };

	rd_kafka_resp_err_t error = produce(k, record, p);

	if (error) {
		free(p);
		if (error == RD_KAFKA_RESP_ERR__FATAL)
			k->fault.broken = -EIO;
		return kafka_errno(error);
	}
	list_put(&k->on_way[record->partition], p);
	k->n_pending++;
	return 0;
}

/* Keeps a record in an idle partition 0, so that retention never takes the last one that names the log. */
static void renew_identity(struct kafka *k)
{
	uint8_t value[KAFKA_IDENTITY_LEN];

	if (!k->renew_every_ns || clock_mono_ns() < k->renew_ns)
		return;
	kafka_identity_pack(&k->stream.id, value);
	/* When the queue is full, partition 0 or another one is not idle: the next poll tries again. */
	produce(k, &(struct stream_record){ .kind = STREAM_KIND_IDENTITY, .value = SLICE(value, sizeof(value)) }, NULL);
}

static int kafka_poll(struct stream *s, struct stream_confirmation *ret, size_t n, int64_t deadline_ns)
{
	struct kafka *k = kafka_of(s);
	size_t got = 0;

	if (!k->producer)
		return -EBADF;
	rd_kafka_poll(k->producer, 0);
	renew_identity(k);
	while (!k->ready.head && !k->fault.broken) {
		int wait_ms = clock_poll_ms(deadline_ns);

		if (wait_ms == 0)
			break;
		rd_kafka_poll(k->producer, wait_ms < 0 ? SLICE_MS : MIN(wait_ms, SLICE_MS));
	}
	while (got < n && k->ready.head) {
		struct pending *p = list_take(&k->ready);

		ret[got++] = (struct stream_confirmation){
			.cookie = p->cookie, .partition = p->partition, .offset = p->offset, .error = p->error
		};
		free(p);
	}
	k->n_pending -= got;
	return got ? (int)got : k->fault.broken;
}

static size_t kafka_pending(const struct stream *s)
{
	return kafka_of(s)->n_pending;
}

/* ------------------------------------------------------------------ reading */

static int kafka_leave(struct stream *s, uint32_t partition)
{
	struct kafka *k = kafka_of(s);

	if (!k->positions)
		return -EBADF;
	if (partition >= s->partitions)
		return -EINVAL;

	struct position *at = &k->positions[partition];

	if (at->reading)
		rd_kafka_consume_stop(k->from, (int32_t)partition);
	k->n_lost -= at->lost;
	*at = (struct position){ 0 };
	return 0;
}

static int kafka_seek(struct stream *s, uint32_t partition, uint64_t offset)
{
	struct kafka *k = kafka_of(s);
	int r = kafka_leave(s, partition);

	if (r < 0)
		return r;
	if (offset > INT64_MAX)
		return -EINVAL;
	offset = MAX(offset, (uint64_t)1); /* at 0 is the identity */
	if (rd_kafka_consume_start_queue(k->from, (int32_t)partition, (int64_t)offset, k->queue))
		return kafka_errno(rd_kafka_last_error());
	k->positions[partition] = (struct position){ .reading = true, .next = offset };
	return 0;
}

/* An error that came in a partition's place. */
static void take_failure(struct kafka *k, const rd_kafka_message_t *m)
{
	int error = kafka_errno(m->err);
	bool known = m->rkt && (uint32_t)m->partition < k->stream.partitions;

	if (error == -ERANGE && known) {
		struct position *at = &k->positions[m->partition];

		k->n_lost += at->reading && !at->lost;
		at->lost = at->reading;
	} else if (error == -ENOENT || error == -EACCES || error == -EBADMSG) {
		snprintf(k->fault.text, sizeof(k->fault.text), "%s", rd_kafka_message_errstr(m));
		k->fault.broken = error;
	}
	/* The rest (a broker that went away) librdkafka mends by itself. */
}

/* Turns what is held into records; leaves out what is not for readers. */
static size_t sift(struct kafka *k, struct stream_record *ret)
{
	size_t got = 0;

	for (size_t i = 0; i < k->n_held; i++) {
		rd_kafka_message_t *m = k->held[i];

		if (m->err) {
			take_failure(k, m);
			continue;
		}

		struct position *at = &k->positions[m->partition];
		struct kafka_envelope e = kafka_envelope_of(m);

		if (!at->reading || (uint64_t)m->offset < at->next)
			continue; /* from before a seek */
		at->next = (uint64_t)m->offset + 1;
		if (e.kind == STREAM_KIND_IDENTITY)
			continue;
		ret[got++] = (struct stream_record){
			.partition = (uint32_t)m->partition,
			.kind = e.kind,
			.offset = (uint64_t)m->offset,
			.headers = e.headers,
			.value = SLICE(m->payload, m->len),
		};
	}
	return got;
}

/* Waits for one message, then takes what else has come. */
static void fetch(struct kafka *k, size_t n, int wait_ms)
{
	rd_kafka_message_t *first = rd_kafka_consume_queue(k->queue, wait_ms);

	release_held(k);
	if (!first)
		return;
	k->held[k->n_held++] = first;
	if (n > 1) {
		ssize_t more = rd_kafka_consume_batch_queue(k->queue, 0, k->held + 1, n - 1);

		k->n_held += more > 0 ? (size_t)more : 0;
	}
}

/* The first partition that is lost, until it is sought anew or left. */
static int report_lost(const struct kafka *k, uint32_t *ret_lost_partition)
{
	uint32_t p = 0;

	while (!k->positions[p].lost)
		p++;
	if (ret_lost_partition)
		*ret_lost_partition = p;
	return -ERANGE;
}

static int kafka_read(struct stream *s, struct stream_record *ret, size_t n, int64_t deadline_ns,
		      uint32_t *ret_lost_partition)
{
	struct kafka *k = kafka_of(s);

	if (!k->positions)
		return -EBADF;
	release_held(k);
	n = MIN(n, (size_t)READ_BATCH_MAX);
	while (n) {
		if (k->n_lost)
			return report_lost(k, ret_lost_partition);
		if (k->fault.broken)
			return k->fault.broken;

		int wait_ms = clock_poll_ms(deadline_ns);

		fetch(k, n, wait_ms < 0 ? SLICE_MS : MIN(wait_ms, SLICE_MS));

		size_t got = sift(k, ret);

		rd_kafka_poll(k->consumer, 0);
		if (got)
			return (int)got;
		if (wait_ms == 0 && k->n_held == 0)
			break;
	}
	return 0;
}

/* ------------------------------------------------------------------ the log as a whole */

static rd_kafka_t *any_client(struct kafka *k)
{
	return k->consumer ? k->consumer : k->producer;
}

static int kafka_range(struct stream *s, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	struct kafka *k = kafka_of(s);
	int64_t first, end;

	if (partition >= s->partitions)
		return -EINVAL;

	int r = kafka_topic_range(any_client(k), k->address.topic, partition, &first, &end);

	if (r < 0)
		return r;
	/* The identity at 0 is nobody's record. */
	*ret_first = (uint64_t)MAX(first, (int64_t)1);
	*ret_end = (uint64_t)MAX(end, (int64_t)1);
	return 0;
}

static int kafka_trim(struct stream *s, const uint64_t *keep_from)
{
	struct kafka *k = kafka_of(s);

	return kafka_topic_trim(any_client(k), k->address.topic, s->partitions, keep_from);
}

const struct stream_ops stream_kafka_ops = {
	.scheme = "kafka",
	.create = kafka_topic_create,
	.open = kafka_open,
	.close = kafka_close,
	.append = kafka_append,
	.poll = kafka_poll,
	.pending = kafka_pending,
	.seek = kafka_seek,
	.leave = kafka_leave,
	.read = kafka_read,
	.range = kafka_range,
	.trim = kafka_trim,
};
