#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/session_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/message.h"
#include "proto/envelope.pb-c.h"

#define TAKE_MAX 64            /* deltas of one region in a round, so that none waits behind another's backlog */
#define BATCH_BYTES (1u << 20) /* of deltas in one record */
#define ASIDE_BYTES (64u << 10)
#define IN_FLIGHT_MAX 64       /* records: beyond it the regions' queues hold back */

static int begin_member(struct session *s, struct member *m)
{
	struct log_id id;
	uint32_t partitions;

	if (!source_is_open(m->source, &id, &partitions))
		return 0;

	CLEANUP_FREE uint64_t *positions = calloc(partitions, sizeof(*positions));
	int64_t *heard_ns = calloc(partitions, sizeof(*heard_ns));

	if (!positions || !heard_ns) {
		free(heard_ns);
		return -ENOMEM;
	}
	for (uint32_t p = 0; p < partitions; p++) {
		positions[p] = owned_log_covered(s->log, GLOBAL, &id, p);
		/* A handle that broke and came back does not make up for the silence. */
		heard_ns[p] = m->reading && p < m->partitions ? m->heard_ns[p] : m->since_ns;
	}
	free(m->heard_ns);
	m->heard_ns = heard_ns;
	m->reading = true;
	m->id = id;
	m->partitions = partitions;
	source_begin(m->source, positions);
	return 0;
}

/* Like session_append(), but for what has been taken from a queue: waits until there is room. */
static int append_taken(struct session *s, uint16_t kind, struct slice value)
{
	int r;

	while ((r = session_append(s, kind, value)) == -EAGAIN) {
		r = owned_log_poll(s->log, clock_mono_ns() + CONFIRM_WAIT_NS);
		if (r < 0)
			return r;
	}
	s->n_spans = 0;
	return r;
}

static int flush_data(struct session *s)
{
	if (s->data.len == 0)
		return 0;

	int r = buf_error(&s->data);

	if (r == 0)
		r = append_taken(s, OWNED_DATA, buf_slice(&s->data));
	buf_reset(&s->data);
	return r;
}

/* The span of a source in the record being filled, or NULL. */
static struct owned_span *span_of(struct session *s, const struct log_id *id, uint32_t partition)
{
	for (size_t i = 0; i < s->n_spans; i++)
		if (s->spans[i].partition == partition && log_id_equal(&s->spans[i].source, id))
			return &s->spans[i];
	return NULL;
}

/* Counts the item into the record.  1; 0 when it is covered already; -ENOMEM. */
static int cover(struct session *s, const struct member *m, const struct source_item *item)
{
	struct owned_span *span = span_of(s, &m->id, item->partition);
	uint64_t next = span ? span->to : owned_log_covered(s->log, GLOBAL, &m->id, item->partition);

	if (item->offset < next)
		return 0;
	if (!span && s->n_spans == s->cap_spans) {
		size_t cap = MAX(s->cap_spans * 2, (size_t)16);
		struct owned_span *bigger = realloc(s->spans, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		s->spans = bigger;
		s->cap_spans = cap;
	}
	if (!span) {
		span = &s->spans[s->n_spans++];
		*span = (struct owned_span){ .source = m->id, .partition = item->partition, .from = next };
	}
	span->to = item->offset + 1;
	return 1;
}

static int check_item(const struct member *m, const struct source_item *item, struct delta_why *why)
{
	struct delta d;
	int r = delta_read(&d, item->value, why);

	if (r < 0)
		return r;
	if (strcmp(d.message->region_id, m->name) != 0 || d.message->partition_key != item->partition) {
		snprintf(why->text, sizeof(why->text),
			 "it is of region %s, shard %" PRIu32 ", but stands in partition %" PRIu32 " of region %s",
			 d.message->region_id, d.message->partition_key, item->partition, m->name);
		r = -EBADMSG;
	}
	delta_done(&d);
	return r;
}

/* In a record of its own, behind what came before it. */
static int set_aside(struct session *s, const struct member *m, const struct source_item *item, struct delta_why *why)
{
	static struct log_limit limit;
	CLEANUP(buf_done) struct buf packed = BUF_INIT;
	Sluice__V1__Aside aside = SLUICE__V1__ASIDE__INIT;
	uint64_t suppressed;
	int r = flush_data(s);

	if (r == 0)
		r = cover(s, m, item);
	if (r <= 0)
		return r;
	aside.reason = why->text;
	aside.value.data = (uint8_t *)item->value.data;
	aside.value.len = MIN(item->value.len, (size_t)ASIDE_BYTES);
	if (message_append(&packed, &aside.base) < 0)
		return -ENOMEM;
	if (log_limit_pass(&limit, &suppressed))
		log_warn("a delta cannot be used and is set aside", F_STR("region", m->name),
			 F_U64("partition", item->partition), F_U64("offset", item->offset), F_STR("reason", why->text),
			 F_U64("suppressed", suppressed));
	return append_taken(s, OWNED_ASIDE, buf_slice(&packed));
}

static int consume_item(struct session *s, struct member *m, const struct source_item *item)
{
	struct delta_why why;
	int r = check_item(m, item, &why);

	m->heard_ns[item->partition] = clock_mono_ns();
	if (r == -EBADMSG)
		return set_aside(s, m, item, &why);
	if (r == 0)
		r = cover(s, m, item);
	if (r <= 0)
		return r;
	/* GlobalData.delta: field 1, length-delimited. */
	buf_append_u8(&s->data, 1 << 3 | 2);
	buf_append_varint(&s->data, item->value.len);
	buf_append(&s->data, item->value.data, item->value.len);
	return s->data.len >= BATCH_BYTES ? flush_data(s) : 0;
}

int consume(struct session *s)
{
	struct source_item item;
	int r = 0;

	for (uint32_t i = 0; i < s->setup.n_members && r == 0; i++) {
		struct member *m = &s->setup.members[i];

		r = begin_member(s, m);
		if (!m->reading || owned_log_pending(s->log) >= IN_FLIGHT_MAX)
			continue;
		for (int n = 0; n < TAKE_MAX && r == 0 && source_take(m->source, &item); n++) {
			r = consume_item(s, m, &item);
			free(item.memory);
		}
	}
	return r == 0 ? flush_data(s) : r;
}
