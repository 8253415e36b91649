/* One owner's log on a stream that anybody may append to.
 *
 * The rule (owned_log.h) is applied in one function, rule_apply(), by the claimant's fold, by the owner to its own
 * confirmed records, and by every reader; so all of them compute the same state from the same log.
 *
 * Why it holds.  Let a partition's log be given.  The epoch at an offset is the last CLAIM before it, the same for
 * everyone.  A record counts only under that epoch, and each span only if it continues exactly what is covered: so
 * every source position is covered once, whatever was written twice, late, or by an owner who does not know that he
 * was followed.  An owner knows that his record counts when it is acknowledged and directly follows his own previous
 * one, or when the records in between, which he then reads, hold no CLAIM: with none in between, the epoch is his.
 *
 * Second copies.  A client that retries may leave a record twice.  With spans, the second copy's `from` no longer
 * fits: void.  If the acknowledged copy is the second, the first is met when the gap before it is read: it is folded
 * there, with its cookie, and the acknowledged one is void.  A record without spans is valid by its epoch alone, so
 * both of its copies are, for the owner as for every reader: their folds agree, but the fold sees it twice.  The
 * embedded backend never retries and the Kafka producer is idempotent, so that it does not happen; what consumes
 * nothing (DARK, DECIDE) should still be harmless when repeated.
 *
 * Headers of a record, little-endian:
 *     u8 version = 1, u64 epoch (0 in a CLAIM), varint n,
 *     n x {u32 generation, uuid[16], u32 partition, u64 from, u64 to}
 * A CLAIM's value is the owner's name.
 *
 * An offset that is missing from the log (Kafka: identity records; embedded: damage) is missing for everyone.
 *
 * Cost: one copy of a record, an index look-up a span; no re-reading unless there is a gap.
 */
#include "stream/owned_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/index.h"

#define HEADERS_VERSION 1
#define SPAN_BYTES 40
#define ANSWER_NS (30 * NS_PER_S) /* how long a stream may take to give what it is known to have */
#define BATCH 64

/* ------------------------------------------------------------------ what is covered */

struct cover {
	struct log_id source;
	uint32_t partition;
	uint64_t to;
};

struct covers {
	struct index index;
	struct cover *list;
	uint32_t n, cap;
};

struct cover_key {
	const struct covers *covers;
	const struct log_id *source;
	uint32_t partition;
};

static void covers_done(struct covers *c)
{
	index_done(&c->index);
	free(c->list);
}

static bool cover_same(const void *context, uint32_t position)
{
	const struct cover_key *key = context;
	const struct cover *cover = &key->covers->list[position];

	return cover->partition == key->partition && log_id_equal(&cover->source, key->source);
}

static uint64_t cover_hash(const struct log_id *source, uint32_t partition)
{
	uint32_t words[6] = { source->generation, partition };

	memcpy(&words[2], source->uuid, sizeof(source->uuid));
	return hash_device(words, sizeof(words));
}

/* NULL for a source never met. */
static struct cover *covers_find(const struct covers *c, const struct log_id *source, uint32_t partition)
{
	const struct cover_key key = { .covers = c, .source = source, .partition = partition };
	uint32_t at = c->n ? index_find(&c->index, cover_hash(source, partition), cover_same, &key) : INDEX_NONE;

	return at == INDEX_NONE ? NULL : &c->list[at];
}

static uint64_t covers_get(const struct covers *c, const struct log_id *source, uint32_t partition)
{
	const struct cover *cover = covers_find(c, source, partition);

	return cover ? cover->to : 0;
}

/* Makes room for a source, covered up to 0. */
static int covers_meet(struct covers *c, const struct log_id *source, uint32_t partition)
{
	if (covers_find(c, source, partition))
		return 0;
	if (array_reserve(&c->list, &c->cap, c->n + 1, 16, sizeof(*c->list)) < 0)
		return -ENOMEM;
	if (index_add(&c->index, cover_hash(source, partition), c->n) < 0)
		return -ENOMEM;
	c->list[c->n++] = (struct cover){ .source = *source, .partition = partition };
	return 0;
}

static int covers_meet_all(struct covers *c, const struct owned_span *spans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (covers_meet(c, &spans[i].source, spans[i].partition) < 0)
			return -ENOMEM;
	return 0;
}

static bool covers_continue(const struct covers *c, const struct owned_span *spans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (spans[i].from != covers_get(c, &spans[i].source, spans[i].partition))
			return false;
	return true;
}

/* The sources have been met. */
static void covers_move(struct covers *c, const struct owned_span *spans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		covers_find(c, &spans[i].source, spans[i].partition)->to = spans[i].to;
}

/* ------------------------------------------------------------------ headers */

static int headers_write(struct buf *b, uint64_t epoch, const struct owned_span *spans, size_t n)
{
	buf_reset(b);
	buf_append_u8(b, HEADERS_VERSION);
	buf_append_u64(b, epoch);
	buf_append_varint(b, n);
	for (size_t i = 0; i < n; i++) {
		buf_append_u32(b, spans[i].source.generation);
		buf_append(b, spans[i].source.uuid, sizeof(spans[i].source.uuid));
		buf_append_u32(b, spans[i].partition);
		buf_append_u64(b, spans[i].from);
		buf_append_u64(b, spans[i].to);
	}
	return buf_error(b);
}

struct span_list {
	struct owned_span *list;
	size_t n, cap;
};

/* 0; -EBADMSG; -ENOMEM. */
static int headers_read(struct slice headers, uint64_t *ret_epoch, struct span_list *ret)
{
	struct reader r = reader_of(headers);
	uint8_t version = reader_u8(&r);
	uint64_t epoch = reader_u64(&r), n = reader_varint(&r);

	if (r.failed || version != HEADERS_VERSION || n > reader_left(&r) / SPAN_BYTES ||
	    n * SPAN_BYTES != reader_left(&r))
		return -EBADMSG;
	if (ret->cap < n) {
		struct owned_span *list = reallocarray(ret->list, n, sizeof(*list));

		if (!list)
			return -ENOMEM;
		ret->list = list;
		ret->cap = n;
	}
	for (ret->n = 0; ret->n < n; ret->n++) {
		struct owned_span *span = &ret->list[ret->n];

		span->source.generation = reader_u32(&r);
		memcpy(span->source.uuid, reader_bytes(&r, sizeof(span->source.uuid)), sizeof(span->source.uuid));
		span->partition = reader_u32(&r);
		span->from = reader_u64(&r);
		span->to = reader_u64(&r);
		if (span->to < span->from)
			return -EBADMSG;
	}
	*ret_epoch = epoch;
	return 0;
}

/* ------------------------------------------------------------------ the rule */

struct rule {
	bool claimed; /* a CLAIM was met */
	uint64_t epoch;
	struct covers covered;
};

enum verdict { VALID, VOID_EPOCH, VOID_FROM };

/* enum verdict or -ENOMEM. */
static int rule_apply(struct rule *rule, const struct owned_record *r)
{
	if (r->kind == OWNED_CLAIM) {
		must(!rule->claimed || r->offset > rule->epoch);
		rule->claimed = true;
		rule->epoch = r->offset;
		return VALID;
	}
	if (!rule->claimed || r->epoch != rule->epoch)
		return VOID_EPOCH;
	if (!covers_continue(&rule->covered, r->spans, r->n_spans))
		return VOID_FROM;
	if (covers_meet_all(&rule->covered, r->spans, r->n_spans) < 0)
		return -ENOMEM;
	covers_move(&rule->covered, r->spans, r->n_spans);
	return VALID;
}

/* What a stream's record says; slices and spans stay where they are. */
static int record_parse(const struct stream_record *record, struct span_list *spans, struct owned_record *ret)
{
	uint64_t epoch;
	int r = headers_read(record->headers, &epoch, spans);

	if (r < 0)
		return r;
	*ret = (struct owned_record){
		.partition = record->partition,
		.kind = record->kind,
		.offset = record->offset,
		.epoch = record->kind == OWNED_CLAIM ? record->offset : epoch,
		.spans = spans->list,
		.n_spans = spans->n,
		.value = record->value,
	};
	return 0;
}

/* Offset 0 of a Kafka topic is its identity, which no reader is given. */
static bool is_whole(const char *url, uint64_t first)
{
	return first <= (stream_embedded_dir(url) ? 0 : 1);
}

static int say_trimmed(struct stream_error *ret_error, const char *url, uint32_t partition, uint64_t first)
{
	return stream_say(ret_error, -ERANGE,
			  "partition %" PRIu32 " of %s begins at offset %" PRIu64 ": without its beginning its "
			  "state cannot be known; give the stream unlimited retention",
			  partition, url, first);
}

/* ------------------------------------------------------------------ the owner */

/* An append that is not confirmed yet, with what its fold will need. */
struct pending {
	struct pending *next;
	struct owned_record record; /* spans and value point behind this struct */
	bool folded;                /* as its first copy, met in a gap */
};

struct owned_partition {
	uint32_t partition;
	int lock_fd;
	struct rule rule;     /* as of what was folded */
	struct covers ahead;  /* as of what was appended */
	uint64_t claim;       /* offset of our CLAIM = our epoch */
	uint64_t last;        /* offset of our last confirmed record */
	bool caught_up;       /* the fold has met our CLAIM */
	uint64_t folded;      /* atomic: next offset after the last folded */
	struct pending *head, **tail;
};

struct owned_log {
	struct stream *writer, *reader;
	owned_fold *fold;
	void *context;
	char owner[128];
	struct owned_partition *parts;
	uint32_t n_parts;
	uint32_t *place; /* partition -> index of parts, UINT32_MAX */
	size_t n_pending;
	int broken;
	struct buf headers;
	struct span_list spans;
};

static struct owned_partition *part_of(const struct owned_log *ol, uint32_t partition)
{
	must(partition < stream_partitions(ol->writer) && ol->place[partition] != UINT32_MAX);
	return &ol->parts[ol->place[partition]];
}

/* Applies the rule and hands a valid record to the fold. 1 = folded, 0 = void, negative errno. */
static int take(struct owned_log *ol, struct owned_partition *p, const struct owned_record *record)
{
	must(record->offset >= p->folded);

	int verdict = rule_apply(&p->rule, record);

	if (verdict != VALID)
		return MIN(verdict, 0);

	int r = ol->fold(ol->context, record);

	if (r < 0)
		return r;
	__atomic_store_n(&p->folded, record->offset + 1, __ATOMIC_RELEASE);
	return 1;
}

/* ------------------------------------------------------------------ claim */

static int lock_file(struct owned_partition *p, const char *dir, const char *owner, bool force,
		     struct stream_error *ret_error)
{
	char path[STREAM_URL_MAX + 32], holder[128] = "";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	snprintf(path, sizeof(path), "%s/owner.%" PRIu32 ".lock", dir, p->partition);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (p->lock_fd < 0)
		return stream_say(ret_error, -errno, "%s cannot be opened: %s", path, strerror(errno));
	if (fcntl(p->lock_fd, F_OFD_SETLK, &lock) < 0) {
		if (force)
			return 0;
		if (pread(p->lock_fd, holder, sizeof(holder) - 1, 0) < 0)
			holder[0] = '\0';
		return stream_say(ret_error, -EBUSY, "%s is held by %s: another process owns partition %" PRIu32, path,
				  holder[0] ? holder : "another owner", p->partition);
	}
	/* For whoever is refused; nothing depends on it. */
	if (ftruncate(p->lock_fd, 0) == 0 && pwrite(p->lock_fd, owner, strlen(owner), 0) < 0)
		return 0;
	return 0;
}

static int lock_all(struct owned_log *ol, const struct owned_options *options, struct stream_error *ret_error)
{
	const char *dir = stream_embedded_dir(options->url);
	int r = 0;

	for (uint32_t i = 0; dir && r == 0 && i < ol->n_parts; i++)
		r = lock_file(&ol->parts[i], dir, ol->owner, options->force, ret_error);
	return r;
}

/* Appends a CLAIM to each partition and waits until all are confirmed. */
static int append_claims(struct owned_log *ol, struct stream_error *ret_error)
{
	const int64_t deadline_ns = clock_mono_ns() + ANSWER_NS;
	const char *url = stream_url(ol->writer);
	uint32_t appended = 0, confirmed = 0;
	struct stream_confirmation c[BATCH];

	if (headers_write(&ol->headers, 0, NULL, 0) < 0)
		return -ENOMEM;
	while (confirmed < ol->n_parts) {
		int r = 0;

		for (; appended < ol->n_parts; appended++) {
			struct owned_partition *p = &ol->parts[appended];

			r = stream_append(ol->writer, &(struct stream_record){
				.partition = p->partition,
				.kind = OWNED_CLAIM,
				.headers = buf_slice(&ol->headers),
				.value = SLICE_STR(ol->owner),
				.cookie = p,
			});
			if (r < 0)
				break;
		}
		if (r == 0 || r == -EAGAIN)
			r = stream_poll(ol->writer, c, ARRAY_SIZE(c), deadline_ns);
		for (int i = 0; i < r; i++, confirmed++) {
			struct owned_partition *p = c[i].cookie;

			if (c[i].error)
				return stream_say(ret_error, c[i].error,
						  "a claim on partition %" PRIu32 " of %s was not taken: %s",
						  p->partition, url, strerror(-c[i].error));
			p->claim = p->last = c[i].offset;
		}
		if (r < 0)
			return stream_say(ret_error, r, "a claim on %s was not taken: %s", url, strerror(-r));
		if (confirmed < ol->n_parts && clock_mono_ns() >= deadline_ns)
			return stream_say(ret_error, -ETIMEDOUT, "claims on %s were not confirmed within %d s", url,
					  (int)(ANSWER_NS / NS_PER_S));
	}
	return 0;
}

static int seek_beginnings(struct owned_log *ol, struct stream_error *ret_error)
{
	const char *url = stream_url(ol->reader);

	for (uint32_t i = 0; i < ol->n_parts; i++) {
		struct owned_partition *p = &ol->parts[i];
		uint64_t first, end;
		int r = stream_range(ol->reader, p->partition, &first, &end);

		if (r == 0 && !is_whole(url, first))
			return say_trimmed(ret_error, url, p->partition, first);
		if (r == 0)
			r = stream_seek(ol->reader, p->partition, first);
		if (r < 0)
			return stream_say(ret_error, r, "partition %" PRIu32 " of %s cannot be read: %s", p->partition,
					  url, strerror(-r));
	}
	return 0;
}

/* One record of the past, or our own CLAIM. */
static int fold_past(struct owned_log *ol, struct owned_partition *p, const struct stream_record *record)
{
	struct owned_record parsed;

	if (p->caught_up)
		return 0; /* read ahead */
	if (record->offset > p->claim)
		return -EIO; /* what was confirmed is not there */

	int r = record_parse(record, &ol->spans, &parsed);

	if (r == -EBADMSG)
		return 0;
	if (r == 0)
		r = take(ol, p, &parsed);
	if (r < 0)
		return r;
	if (record->offset == p->claim) {
		must(p->rule.epoch == p->claim);
		p->caught_up = true;
		return stream_leave(ol->reader, p->partition);
	}
	return 0;
}

static int copy_covered(struct owned_partition *p)
{
	for (uint32_t i = 0; i < p->rule.covered.n; i++) {
		const struct cover *c = &p->rule.covered.list[i];

		if (covers_meet(&p->ahead, &c->source, c->partition) < 0)
			return -ENOMEM;
		covers_find(&p->ahead, &c->source, c->partition)->to = c->to;
	}
	return 0;
}

/* From each partition's beginning up to and including our CLAIM. */
static int fold_all(struct owned_log *ol, struct stream_error *ret_error)
{
	const char *url = stream_url(ol->reader);
	struct stream_record records[BATCH];
	uint32_t done = 0;
	int r = seek_beginnings(ol, ret_error);

	while (r == 0 && done < ol->n_parts) {
		int n = stream_read(ol->reader, records, ARRAY_SIZE(records), clock_mono_ns() + ANSWER_NS, NULL);

		if (n <= 0)
			return stream_say(ret_error, n < 0 ? n : -ETIMEDOUT, "%s cannot be read up to our claim: %s",
					  url, n < 0 ? strerror(-n) : "nothing came");
		for (int i = 0; r == 0 && i < n; i++) {
			struct owned_partition *p = part_of(ol, records[i].partition);
			bool before = p->caught_up;

			r = fold_past(ol, p, &records[i]);
			done += p->caught_up && !before;
		}
		if (r < 0)
			stream_say(ret_error, r, "%s cannot be folded: %s", url, strerror(-r));
	}
	for (uint32_t i = 0; r == 0 && i < ol->n_parts; i++)
		r = copy_covered(&ol->parts[i]);
	return r;
}

static int open_streams(struct owned_log *ol, const struct owned_options *options, struct stream_error *ret_error)
{
	struct stream_options o = options->stream;

	o.writer = true;
	o.reader = false;

	int r = stream_open(&ol->writer, options->url, &o, ret_error);

	o.writer = false;
	o.reader = true;
	return r < 0 ? r : stream_open(&ol->reader, options->url, &o, ret_error);
}

static int make_parts(struct owned_log *ol, const struct owned_options *options, struct stream_error *ret_error)
{
	const uint32_t partitions = stream_partitions(ol->writer);

	ol->parts = calloc(options->n_partitions, sizeof(*ol->parts));
	ol->place = malloc(partitions * sizeof(*ol->place));
	if (!ol->parts || !ol->place)
		return -ENOMEM;
	memset(ol->place, 0xff, partitions * sizeof(*ol->place));
	for (uint32_t i = 0; i < options->n_partitions; i++) {
		struct owned_partition *p = &ol->parts[i];

		p->partition = options->partitions[i];
		p->lock_fd = -1;
		p->tail = &p->head;
		ol->n_parts = i + 1;
		if (p->partition >= partitions || ol->place[p->partition] != UINT32_MAX)
			return stream_say(ret_error, -EINVAL,
					  "%s has partitions 0 to %" PRIu32 ", each owned once: not %" PRIu32,
					  options->url, partitions - 1, p->partition);
		ol->place[p->partition] = i;
	}
	return 0;
}

int owned_log_claim(struct owned_log **ret, const struct owned_options *options, struct stream_error *ret_error)
{
	must(options->n_partitions > 0 && options->fold);

	struct owned_log *ol = calloc(1, sizeof(*ol));

	if (!ol)
		return -ENOMEM;
	ol->fold = options->fold;
	ol->context = options->context;
	snprintf(ol->owner, sizeof(ol->owner), "%s", options->owner ? options->owner : "");

	int r = open_streams(ol, options, ret_error);

	if (r == 0)
		r = make_parts(ol, options, ret_error);
	if (r == 0)
		r = lock_all(ol, options, ret_error);
	if (r == 0)
		r = append_claims(ol, ret_error);
	if (r == 0)
		r = fold_all(ol, ret_error);
	if (r < 0) {
		owned_log_free(ol);
		return r;
	}
	*ret = ol;
	return 0;
}

void owned_log_free(struct owned_log *ol)
{
	if (!ol)
		return;
	stream_close(ol->writer);
	stream_close(ol->reader);
	for (uint32_t i = 0; i < ol->n_parts; i++) {
		struct owned_partition *p = &ol->parts[i];

		cleanup_close(&p->lock_fd);
		covers_done(&p->rule.covered);
		covers_done(&p->ahead);
		for (struct pending *next; p->head; p->head = next) {
			next = p->head->next;
			free(p->head);
		}
	}
	buf_done(&ol->headers);
	free(ol->spans.list);
	free(ol->parts);
	free(ol->place);
	free(ol);
}

/* ------------------------------------------------------------------ looking */

struct log_id owned_log_identity(const struct owned_log *ol)
{
	return stream_identity(ol->writer);
}

uint64_t owned_log_epoch(const struct owned_log *ol, uint32_t partition)
{
	return part_of(ol, partition)->claim;
}

uint64_t owned_log_covered(const struct owned_log *ol, uint32_t partition, const struct log_id *source,
			   uint32_t source_partition)
{
	return covers_get(&part_of(ol, partition)->ahead, source, source_partition);
}

size_t owned_log_pending(const struct owned_log *ol)
{
	return ol->n_pending;
}

uint64_t owned_log_folded(const struct owned_log *ol, uint32_t partition)
{
	return __atomic_load_n(&part_of(ol, partition)->folded, __ATOMIC_ACQUIRE);
}

/* ------------------------------------------------------------------ append */

static struct pending *pending_new(const struct owned_record *record)
{
	const size_t spans = record->n_spans * sizeof(*record->spans);
	struct pending *pending = malloc(sizeof(*pending) + spans + record->value.len);

	if (!pending)
		return NULL;

	uint8_t *at = (uint8_t *)(pending + 1);

	*pending = (struct pending){ .record = *record };
	if (spans)
		memcpy(at, record->spans, spans);
	if (record->value.len)
		memcpy(at + spans, record->value.data, record->value.len);
	pending->record.spans = (const struct owned_span *)at;
	pending->record.value.data = at + spans;
	return pending;
}

int owned_log_append(struct owned_log *ol, uint32_t partition, uint16_t kind, struct slice value,
		     const struct owned_span *spans, size_t n_spans, void *cookie)
{
	struct owned_partition *p = part_of(ol, partition);
	const struct owned_record record = {
		.partition = partition,
		.kind = kind,
		.epoch = p->claim,
		.spans = spans,
		.n_spans = n_spans,
		.value = value,
		.cookie = cookie,
	};

	must(kind != OWNED_CLAIM && kind != STREAM_KIND_IDENTITY);
	must(covers_continue(&p->ahead, spans, n_spans));
	for (size_t i = 0; i < n_spans; i++)
		must(spans[i].to >= spans[i].from);
	if (ol->broken)
		return ol->broken;

	int r = headers_write(&ol->headers, p->claim, spans, n_spans);

	if (r == 0)
		r = covers_meet_all(&p->ahead, spans, n_spans);

	struct pending *pending = r == 0 ? pending_new(&record) : NULL;

	if (!pending)
		return -ENOMEM;
	r = stream_append(ol->writer, &(struct stream_record){
		.partition = partition,
		.kind = kind,
		.headers = buf_slice(&ol->headers),
		.value = value,
		.cookie = pending,
	});
	if (r < 0) {
		free(pending);
		return r;
	}
	covers_move(&p->ahead, spans, n_spans);
	*p->tail = pending;
	p->tail = &pending->next;
	ol->n_pending++;
	return 0;
}

/* ------------------------------------------------------------------ confirm */

static bool same_record(const struct owned_record *a, const struct owned_record *b)
{
	if (a->kind != b->kind || a->n_spans != b->n_spans || a->value.len != b->value.len)
		return false;
	if (a->value.len && memcmp(a->value.data, b->value.data, a->value.len) != 0)
		return false;
	for (size_t i = 0; i < a->n_spans; i++) {
		const struct owned_span *x = &a->spans[i], *y = &b->spans[i];

		if (!log_id_equal(&x->source, &y->source) || x->partition != y->partition || x->from != y->from ||
		    x->to != y->to)
			return false;
	}
	return true;
}

/* A record between two of our own: a CLAIM ends the ownership, another epoch's is void by the rule, and one of ours is
 * the first copy of something that is still to be acknowledged. 1 = folded, 0, negative errno. */
static int take_foreign(struct owned_log *ol, struct owned_partition *p, const struct stream_record *record)
{
	struct owned_record parsed;
	struct pending *own = NULL;
	int r = record_parse(record, &ol->spans, &parsed);

	if (r == -EBADMSG)
		return 0;
	if (r < 0)
		return r;
	if (parsed.kind == OWNED_CLAIM)
		return -ESTALE;
	if (parsed.epoch == p->claim) {
		own = p->head;
		while (own && (own->folded || !same_record(&own->record, &parsed)))
			own = own->next;
	}
	parsed.cookie = own ? own->record.cookie : NULL;
	r = take(ol, p, &parsed);
	if (r == 1 && own)
		own->folded = true;
	return r;
}

/* Reads [from, to) of a partition.  The number of records folded. */
static int take_gap(struct owned_log *ol, struct owned_partition *p, uint64_t from, uint64_t to)
{
	struct stream_record records[BATCH];
	int folded = 0;
	int r = stream_seek(ol->reader, p->partition, from);

	for (uint64_t at = from; r >= 0 && at < to;) {
		int n = stream_read(ol->reader, records, ARRAY_SIZE(records), clock_mono_ns() + ANSWER_NS, NULL);

		if (n <= 0)
			r = n < 0 ? n : -ETIMEDOUT;
		for (int i = 0; r >= 0 && i < n && at < to; i++) {
			at = records[i].offset + 1;
			if (records[i].offset < to)
				r = take_foreign(ol, p, &records[i]);
			folded += r == 1;
		}
	}
	if (r >= 0)
		r = stream_leave(ol->reader, p->partition);
	return r < 0 ? r : folded;
}

/* 1 or more = folded, 0 = it had been folded before, negative errno. */
static int confirm(struct owned_log *ol, const struct stream_confirmation *c)
{
	struct owned_partition *p = part_of(ol, c->partition);
	struct pending *pending = p->head;
	int gap = 0;

	must(pending && pending == c->cookie);
	if (c->error)
		return c->error;
	must(c->offset > p->last);
	if (c->offset != p->last + 1) {
		gap = take_gap(ol, p, p->last + 1, c->offset);
		if (gap < 0)
			return gap;
	}
	must(p->rule.epoch == p->claim);
	pending->record.offset = c->offset;
	if (pending->folded)
		pending->record.cookie = NULL;

	int r = take(ol, p, &pending->record);

	if (r == 0 && !pending->folded)
		return -EIO; /* void for every reader, and no copy of it was valid: the log is not as we believe */
	if (r < 0)
		return r;
	p->last = c->offset;
	p->head = pending->next;
	if (!p->head)
		p->tail = &p->head;
	free(pending);
	ol->n_pending--;
	return gap + r;
}

int owned_log_poll(struct owned_log *ol, int64_t deadline_ns)
{
	struct stream_confirmation c[BATCH];
	int folded = 0;
	int n = ol->broken ? ol->broken : stream_poll(ol->writer, c, ARRAY_SIZE(c), deadline_ns);

	for (int i = 0; i < n; i++) {
		int r = confirm(ol, &c[i]);

		if (r < 0)
			return ol->broken = r;
		folded += r;
	}
	if (n < 0)
		return ol->broken = n;
	return folded;
}

/* ------------------------------------------------------------------ reading by the rule */

struct reading {
	struct rule rule;
	uint64_t position;
};

struct owned_reader {
	struct stream *stream;
	struct reading *parts;
	struct stream_record records[BATCH];
	int n, at;
	struct span_list spans;
	struct owned_reader_stats stats;
};

int owned_reader_open(struct owned_reader **ret, const char *url, const struct stream_options *options,
		      struct stream_error *ret_error)
{
	struct stream_options o = *options;
	struct owned_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	o.writer = false;
	o.reader = true;

	int error = stream_open(&r->stream, url, &o, ret_error);

	if (error == 0) {
		r->parts = calloc(stream_partitions(r->stream), sizeof(*r->parts));
		error = r->parts ? 0 : -ENOMEM;
	}
	for (uint32_t p = 0; error == 0 && p < stream_partitions(r->stream); p++) {
		uint64_t end;

		error = stream_range(r->stream, p, &r->parts[p].position, &end);
		if (error == 0 && !is_whole(url, r->parts[p].position))
			error = say_trimmed(ret_error, url, p, r->parts[p].position);
		else if (error == 0)
			error = stream_seek(r->stream, p, r->parts[p].position);
		else
			stream_say(ret_error, error, "partition %" PRIu32 " of %s cannot be read: %s", p, url,
				   strerror(-error));
	}
	if (error < 0) {
		owned_reader_free(r);
		return error;
	}
	*ret = r;
	return 0;
}

void owned_reader_free(struct owned_reader *r)
{
	if (!r)
		return;
	for (uint32_t p = 0; r->parts && p < stream_partitions(r->stream); p++)
		covers_done(&r->parts[p].rule.covered);
	stream_close(r->stream);
	free(r->parts);
	free(r->spans.list);
	free(r);
}

/* 1 = valid, 0 = not, negative errno. */
static int judge(struct owned_reader *r, const struct stream_record *record, struct owned_record *ret)
{
	struct reading *p = &r->parts[record->partition];
	int error = record_parse(record, &r->spans, ret);

	must(record->offset >= p->position);
	if (error < 0 && error != -EBADMSG)
		return error;

	int verdict = error < 0 ? 0 : rule_apply(&p->rule, ret);

	if (verdict < 0)
		return verdict;
	p->position = record->offset + 1;
	if (error < 0)
		r->stats.malformed++;
	else if (verdict == VALID)
		r->stats.valid++;
	else if (verdict == VOID_EPOCH)
		r->stats.void_epoch++;
	else
		r->stats.void_from++;
	return error == 0 && verdict == VALID;
}

int owned_reader_next(struct owned_reader *r, struct owned_record *ret, int64_t deadline_ns)
{
	for (;;) {
		while (r->at < r->n) {
			int valid = judge(r, &r->records[r->at++], ret);

			if (valid != 0)
				return valid;
		}
		r->at = 0;
		r->n = stream_read(r->stream, r->records, ARRAY_SIZE(r->records), deadline_ns, NULL);
		if (r->n <= 0) {
			int result = r->n;

			r->n = 0;
			return result;
		}
	}
}

struct owned_reader_stats owned_reader_stats(const struct owned_reader *r)
{
	return r->stats;
}

uint64_t owned_reader_position(const struct owned_reader *r, uint32_t partition)
{
	must(partition < stream_partitions(r->stream));
	return r->parts[partition].position;
}

struct log_id owned_reader_identity(const struct owned_reader *r)
{
	return stream_identity(r->stream);
}

int owned_reader_range(struct owned_reader *r, uint32_t partition, uint64_t *ret_first, uint64_t *ret_end)
{
	return stream_range(r->stream, partition, ret_first, ret_end);
}
