/* What is Kafka's alone: identity, what a topic must be, what a broker's absence looks like.  What streams have in
 * common is in test_conformance.c.
 *
 * SLUICE_TEST_KAFKA=host:port names a broker, SLUICE_TEST_KAFKA_DIR its folder (`deploy/kafka/kafka-dev run DIR --
 * COMMAND` sets both); without them these skip. */
#include "stream/kafka.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tests/unit/harness.h"

#define NEED_BROKER()                                                                 \
	const char *broker = getenv("SLUICE_TEST_KAFKA");                             \
	if (!broker)                                                                  \
		SKIP("SLUICE_TEST_KAFKA names no broker; deploy/kafka/kafka-dev runs one")

static const struct stream_ops *const kafka = &stream_kafka_ops;
static struct stream_error error;

static void name_of(const char *broker, char ret[static STREAM_URL_MAX])
{
	snprintf(ret, STREAM_URL_MAX, "%s/test.%016llx", broker, (unsigned long long)rand_u64());
}

static struct stream_create_options creation(uint32_t partitions)
{
	return (struct stream_create_options){ .partitions = partitions, .retention_ms = -1, .development = true };
}

static void create_or_fail(const char *rest, const struct stream_create_options *options)
{
	int r = kafka->create(rest, options, &error);

	if (r < 0)
		printf("  create: %s (%s)\n", error.text, strerror(-r));
	CU_ASSERT_EQUAL_FATAL(r, 0);
}

static struct stream *open_or_fail(const char *rest, bool writer, bool reader)
{
	struct stream *s = NULL;
	int r = kafka->open(&s, rest, &(struct stream_options){ .writer = writer, .reader = reader, .development = true },
			    &error);

	if (r < 0)
		printf("  open: %s\n", error.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	return s;
}

static void append_one(struct stream *s, uint32_t partition, const char *value, uint64_t *ret_offset)
{
	struct stream_confirmation c;

	ASSERT_OK(kafka->append(s, &(struct stream_record){ .partition = partition, .value = SLICE_STR(value) }));
	CU_ASSERT_EQUAL_FATAL(kafka->poll(s, &c, 1, clock_mono_ns() + 20 * NS_PER_S), 1);
	CU_ASSERT_EQUAL_FATAL(c.error, 0);
	*ret_offset = c.offset;
}

/* A client of the test's own, to do what Sluice would not. */
static rd_kafka_t *plain_client(const char *rest, rd_kafka_type_t type, const char **ret_topic)
{
	static char brokers[STREAM_URL_MAX];
	char text[200];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	snprintf(brokers, sizeof(brokers), "%.*s", (int)(strchr(rest, '/') - rest), rest);
	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text));
	rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
	*ret_topic = strchr(rest, '/') + 1;
	return rd_kafka_new(type, conf, text, sizeof(text));
}

static void a_url_without_a_topic_is_refused_with_a_sentence(void)
{
	struct stream *s;
	const struct stream_options options = { .reader = true };

	CU_ASSERT_EQUAL(kafka->open(&s, "127.0.0.1:9092", &options, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "host:port[,host:port]/NAME"));
	CU_ASSERT_EQUAL(kafka->open(&s, "/name", &options, &error), -EINVAL);
	CU_ASSERT_EQUAL(kafka->open(&s, "127.0.0.1:9092/", &options, &error), -EINVAL);
	CU_ASSERT_EQUAL(kafka->open(&s, "127.0.0.1:9092/a b", &options, &error), -EINVAL);
	CU_ASSERT_EQUAL(kafka->open(&s, "127.0.0.1:9092/..", &options, &error), -EINVAL);
}

static void no_broker_is_enotconn_within_ten_seconds(void)
{
	struct stream *s;
	int64_t start_ns = clock_mono_ns();

	/* Port 1 of the loopback: refused at once, for as long as one tries. */
	CU_ASSERT_EQUAL(kafka->open(&s, "127.0.0.1:1/name", &(struct stream_options){ .reader = true }, &error), -ENOTCONN);
	CU_ASSERT(clock_mono_ns() - start_ns < 15 * NS_PER_S);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "127.0.0.1:1"));
}

static void opening_what_was_never_created_is_enoent_and_creates_nothing(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream *s;
	struct stream_create_options options = creation(1);

	name_of(broker, rest);
	CU_ASSERT_EQUAL(kafka->open(&s, rest, &(struct stream_options){ .reader = true, .writer = true }, &error), -ENOENT);
	CU_ASSERT_EQUAL(kafka->open(&s, rest, &(struct stream_options){ .reader = true, .writer = true }, &error), -ENOENT);
	/* Had the broker made the topic on being asked, this would be -EEXIST. */
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), 0);
}

static void production_refuses_a_topic_with_one_replica(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream *s;
	struct stream_create_options options = creation(1);

	name_of(broker, rest);
	create_or_fail(rest, &options);
	CU_ASSERT_EQUAL(kafka->open(&s, rest, &(struct stream_options){ .writer = true }, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "streams.development"));

	options.may_exist = true;
	options.development = false;
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), -EINVAL);

	name_of(broker, rest);
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), -EINVAL); /* three replicas on one broker */
}

static void another_number_of_partitions_or_generation_does_not_fit(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(2);

	name_of(broker, rest);
	options.generation = 3;
	create_or_fail(rest, &options);
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), -EEXIST);
	options.may_exist = true;
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), 0);
	options.generation = 4;
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), -EINVAL);
	options.generation = 0;
	options.partitions = 3;
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), -EINVAL);
}

static void identity_stands_at_offset_0_and_is_not_handed_out(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(3);
	struct stream_record record;
	uint64_t offset, first, end;
	uint32_t lost;

	name_of(broker, rest);
	options.generation = 7;
	create_or_fail(rest, &options);

	struct stream *s = open_or_fail(rest, true, true);

	CU_ASSERT_EQUAL(s->id.generation, 7);
	for (uint32_t p = 0; p < 3; p++) {
		ASSERT_OK(kafka->range(s, p, &first, &end));
		CU_ASSERT_EQUAL(first, 1);
		CU_ASSERT_EQUAL(end, 1);
		append_one(s, p, "value", &offset);
		CU_ASSERT_EQUAL(offset, 1);
		ASSERT_OK(kafka->seek(s, p, 0));
	}
	for (uint32_t got = 0; got < 3; got++) {
		CU_ASSERT_EQUAL_FATAL(kafka->read(s, &record, 1, clock_mono_ns() + 20 * NS_PER_S, &lost), 1);
		CU_ASSERT_EQUAL(record.offset, 1);
		CU_ASSERT_EQUAL(record.kind, 0);
	}
	kafka->close(s);
}

static void identity_survives_trimming_to_the_end(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(2);
	uint64_t offset, first, end;

	name_of(broker, rest);
	create_or_fail(rest, &options);

	struct stream *s = open_or_fail(rest, true, false);
	struct log_id id = s->id;

	for (int i = 0; i < 5; i++) {
		append_one(s, 0, "a", &offset);
		append_one(s, 1, "b", &offset);
	}
	ASSERT_OK(kafka->trim(s, (const uint64_t[]){ offset + 1, offset + 1 }));
	ASSERT_OK(kafka->range(s, 0, &first, &end));
	CU_ASSERT_EQUAL(end, offset + 1);
	CU_ASSERT_EQUAL(first, offset); /* one record stays, to name the log */
	ASSERT_OK(kafka->range(s, 1, &first, &end));
	CU_ASSERT_EQUAL(first, offset + 1);
	kafka->close(s);

	s = open_or_fail(rest, false, true);
	CU_ASSERT(log_id_equal(&s->id, &id));
	kafka->close(s);
}

/* What retention does to a topic that nobody has written to for long, done by DeleteRecords here. */
static void a_topic_that_lost_every_record_is_refused_until_it_is_made_anew(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(2);
	struct stream *s;
	const char *topic;
	uint64_t offset, end;

	name_of(broker, rest);
	create_or_fail(rest, &options);
	s = open_or_fail(rest, true, false);

	struct log_id id = s->id;

	append_one(s, 0, "a", &offset);
	kafka->close(s);

	rd_kafka_t *client = plain_client(rest, RD_KAFKA_PRODUCER, &topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);

	for (int p = 0; p < 2; p++)
		rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_END;

	rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);

	rd_kafka_DeleteRecords(client, &request, 1, NULL, queue);

	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);

	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	CU_ASSERT_EQUAL(rd_kafka_event_error(event), 0);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(client);

	CU_ASSERT_EQUAL(kafka->open(&s, rest, &(struct stream_options){ .reader = true }, &error), -ENODATA);
	options.may_exist = true;
	CU_ASSERT_EQUAL(kafka->create(rest, &options, &error), 0);
	s = open_or_fail(rest, true, true);
	CU_ASSERT(!log_id_equal(&s->id, &id));
	append_one(s, 0, "b", &end);
	CU_ASSERT_EQUAL(end, offset + 2); /* the new identity stands between */
	kafka->close(s);
}

static void a_topic_that_others_wrote_is_refused(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream *s;
	const char *topic;

	name_of(broker, rest);

	/* The broker makes the topic on the first write, as brokers do by default. */
	rd_kafka_t *client = plain_client(rest, RD_KAFKA_PRODUCER, &topic);

	CU_ASSERT_EQUAL(rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE((void *)(uintptr_t)"x", 1),
					  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), 0);
	CU_ASSERT_EQUAL(rd_kafka_flush(client, 30000), 0);
	rd_kafka_destroy(client);
	CU_ASSERT_EQUAL(kafka->open(&s, rest, &(struct stream_options){ .reader = true }, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "did not write"));
}

static void a_topic_deleted_and_made_anew_has_another_identity(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(1);
	const char *topic;

	name_of(broker, rest);
	create_or_fail(rest, &options);

	struct stream *s = open_or_fail(rest, false, true);
	struct log_id id = s->id;

	kafka->close(s);

	rd_kafka_t *client = plain_client(rest, RD_KAFKA_PRODUCER, &topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);

	rd_kafka_DeleteTopics(client, &request, 1, NULL, queue);

	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);

	CU_ASSERT_PTR_NOT_NULL_FATAL(event);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(request);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(client);

	int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_S;
	int r;

	while ((r = kafka->create(rest, &options, &error)) == -EEXIST && clock_mono_ns() < deadline_ns)
		usleep(50000);
	if (r < 0)
		printf("  create: %s\n", error.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	s = open_or_fail(rest, false, true);
	CU_ASSERT(!log_id_equal(&s->id, &id));
	kafka->close(s);
}

/* Two seconds of retention make the writer renew its identity every half second. */
static void an_idle_writer_renews_the_identity(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(1);
	struct stream_confirmation none;
	uint64_t first, end = 0;

	name_of(broker, rest);
	options.retention_ms = 2000;
	create_or_fail(rest, &options);

	struct stream *s = open_or_fail(rest, true, false);
	int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_S;

	while (end < 4 && clock_mono_ns() < deadline_ns) {
		CU_ASSERT_EQUAL(kafka->poll(s, &none, 1, clock_mono_ns() + 20 * NS_PER_MS), 0);
		ASSERT_OK(kafka->range(s, 0, &first, &end));
	}
	CU_ASSERT(end >= 4);
	CU_ASSERT_EQUAL(kafka->pending(s), 0);

	/* Readers pass over what was renewed. */
	struct stream *r = open_or_fail(rest, false, true);
	struct stream_record record;
	uint32_t lost;

	ASSERT_OK(kafka->range(s, 0, &first, &end));
	ASSERT_OK(kafka->seek(r, 0, end - 1));
	append_one(s, 0, "value", &end);
	CU_ASSERT_EQUAL_FATAL(kafka->read(r, &record, 1, clock_mono_ns() + 20 * NS_PER_S, &lost), 1);
	CU_ASSERT_EQUAL(record.offset, end);
	CU_ASSERT_EQUAL(record.kind, 0);
	CU_ASSERT_EQUAL(record.value.len, 5);
	kafka->close(r);
	kafka->close(s);
}

static void a_record_of_16_mb_goes_through_and_a_larger_one_is_refused(void)
{
	NEED_BROKER();
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(1);
	struct stream_record record;
	struct stream_confirmation c;
	uint32_t lost;
	uint8_t *value = malloc(KAFKA_RECORD_MAX + 1);

	name_of(broker, rest);
	create_or_fail(rest, &options);
	rand_bytes(value, KAFKA_RECORD_MAX + 1);

	struct stream *s = open_or_fail(rest, true, true);

	record = (struct stream_record){ .value = SLICE(value, KAFKA_RECORD_MAX + 1) };
	CU_ASSERT_EQUAL(kafka->append(s, &record), -EMSGSIZE);
	record.value.len--;
	ASSERT_OK(kafka->append(s, &record));
	CU_ASSERT_EQUAL_FATAL(kafka->poll(s, &c, 1, clock_mono_ns() + 30 * NS_PER_S), 1);
	CU_ASSERT_EQUAL_FATAL(c.error, 0);
	ASSERT_OK(kafka->seek(s, 0, c.offset));
	CU_ASSERT_EQUAL_FATAL(kafka->read(s, &record, 1, clock_mono_ns() + 30 * NS_PER_S, &lost), 1);
	CU_ASSERT_EQUAL_FATAL(record.value.len, KAFKA_RECORD_MAX);
	CU_ASSERT_EQUAL(memcmp(record.value.data, value, KAFKA_RECORD_MAX), 0);
	kafka->close(s);
	free(value);
}

/* ------------------------------------------------------------------ outage */

static void broker_kill(const char *dir)
{
	char path[400];
	int pid = 0;

	snprintf(path, sizeof(path), "%s/pid", dir);

	FILE *f = fopen(path, "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL_FATAL(fscanf(f, "%d", &pid), 1);
	fclose(f);
	CU_ASSERT_EQUAL_FATAL(kill(pid, SIGKILL), 0);
}

static void broker_start(const char *dir, const char *broker)
{
	char command[600];

	/* stop waits for the end of what was killed. */
	snprintf(command, sizeof(command), "d='%s'; k=deploy/kafka/kafka-dev; $k stop \"$d\" && $k start \"$d\" %s >/dev/null",
		 dir, strrchr(broker, ':') + 1);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

struct outage {
	struct stream *s;
	uint64_t appended, confirmed, read;
};

/* Appends up to a number of numbered records, and takes in what there is to confirm and to read, in order. */
static void outage_step(struct outage *o, uint64_t until)
{
	struct stream_confirmation c[64];
	struct stream_record records[64];
	uint32_t lost;

	for (int i = 0; i < 20 && o->appended < until; i++, o->appended++)
		ASSERT_OK(kafka->append(o->s, &(struct stream_record){ .value = SLICE(&o->appended, sizeof(o->appended)),
								       .cookie = (void *)(uintptr_t)o->appended }));

	int n = kafka->poll(o->s, c, 64, clock_mono_ns() + 10 * NS_PER_MS);

	CU_ASSERT_FATAL(n >= 0);
	for (int i = 0; i < n; i++, o->confirmed++) {
		CU_ASSERT_EQUAL_FATAL(c[i].error, 0);
		CU_ASSERT_EQUAL_FATAL((uintptr_t)c[i].cookie, o->confirmed);
		CU_ASSERT_EQUAL_FATAL(c[i].offset, o->confirmed + 1);
	}
	n = kafka->read(o->s, records, 64, clock_mono_ns() + 10 * NS_PER_MS, &lost);
	CU_ASSERT_FATAL(n >= 0);
	for (int i = 0; i < n; i++, o->read++) {
		CU_ASSERT_EQUAL_FATAL(records[i].offset, o->read + 1);
		CU_ASSERT_EQUAL_FATAL(memcmp(records[i].value.data, &o->read, sizeof(o->read)), 0);
	}
}

static void a_broker_killed_and_started_again_loses_and_doubles_nothing(void)
{
	NEED_BROKER();
	const char *dir = getenv("SLUICE_TEST_KAFKA_DIR");

	if (!dir)
		SKIP("SLUICE_TEST_KAFKA_DIR names no folder of a broker that may be killed");

	const uint64_t before = 2000, during = 4000, all = 6000;
	char rest[STREAM_URL_MAX];
	struct stream_create_options options = creation(1);
	struct outage o = { 0 };

	name_of(broker, rest);
	create_or_fail(rest, &options);
	o.s = open_or_fail(rest, true, true);
	ASSERT_OK(kafka->seek(o.s, 0, 0));
	while (o.appended < before)
		outage_step(&o, before);
	broker_kill(dir); /* with appends on their way */
	while (o.appended < during)
		outage_step(&o, during);
	CU_ASSERT(o.confirmed < during);
	broker_start(dir, broker);

	int64_t deadline_ns = clock_mono_ns() + 60 * NS_PER_S;

	while ((o.confirmed < all || o.read < all) && clock_mono_ns() < deadline_ns)
		outage_step(&o, all);
	CU_ASSERT_EQUAL(o.confirmed, all);
	CU_ASSERT_EQUAL(o.read, all);
	CU_ASSERT_EQUAL(kafka->pending(o.s), 0);
	kafka->close(o.s);
}

TESTS("kafka", T(a_url_without_a_topic_is_refused_with_a_sentence), T(no_broker_is_enotconn_within_ten_seconds),
      T(opening_what_was_never_created_is_enoent_and_creates_nothing), T(production_refuses_a_topic_with_one_replica),
      T(another_number_of_partitions_or_generation_does_not_fit), T(identity_stands_at_offset_0_and_is_not_handed_out),
      T(identity_survives_trimming_to_the_end), T(a_topic_that_lost_every_record_is_refused_until_it_is_made_anew),
      T(a_topic_that_others_wrote_is_refused), T(a_topic_deleted_and_made_anew_has_another_identity),
      T(an_idle_writer_renews_the_identity), T(a_record_of_16_mb_goes_through_and_a_larger_one_is_refused),
      T(a_broker_killed_and_started_again_loses_and_doubles_nothing))
