#include "codec/region_data.h"

#include <errno.h>

#include "codec/wire.h"

enum { ENVELOPE = 1, WORDS, TYPE, PLACE, OWNER, FLAGS, APPENDED_NS, WATERMARK_NS, REPLAY };

/* Three words a device at most. */
#define WORDS_MAX (3 * BLOCK_READINGS_MAX)
#define COLUMNS (OWNER - TYPE + 1)

static void append_packed(struct buf *b, uint32_t number, const uint32_t *values, uint32_t n)
{
	size_t len = 0;

	if (n == 0)
		return;
	for (uint32_t i = 0; i < n; i++)
		len += values[i] < 1u << 7 ? 1 : values[i] < 1u << 14 ? 2 : values[i] < 1u << 21 ? 3 : values[i] < 1u << 28 ? 4 : 5;
	buf_append_varint(b, WIRE_TAG(number, WIRE_BYTES));
	buf_append_varint(b, len);
	for (uint32_t i = 0; i < n; i++)
		buf_append_varint(b, values[i]);
}

void region_data_append(struct buf *b, const struct region_data *d)
{
	wire_append_bytes(b, ENVELOPE, d->envelope);
	for (uint32_t i = 0; i < d->n_words; i++) {
		/* An element of a list is written also when it is empty. */
		buf_append_varint(b, WIRE_TAG(WORDS, WIRE_BYTES));
		buf_append_varint(b, d->words[i].len);
		buf_append(b, d->words[i].data, d->words[i].len);
	}
	append_packed(b, TYPE, d->type, d->n_devices);
	append_packed(b, PLACE, d->place, d->n_devices);
	append_packed(b, OWNER, d->owner, d->n_devices);
	wire_append_bytes(b, FLAGS, d->flags);
	wire_append_fixed64(b, APPENDED_NS, (uint64_t)d->appended_ns);
	wire_append_fixed64(b, WATERMARK_NS, (uint64_t)d->watermark_ns);
	wire_append_varint(b, REPLAY, d->replay);
}

/* What is read grows in three places; each is filled in a pass of its own over the message, so that memory is one array
 * after another. */
struct passes {
	struct slice bytes;
	struct buf *memory;
};

static int read_words(struct region_data *d, struct passes *p)
{
	struct reader r = reader_of(p->bytes);
	struct wire_field f;

	while (wire_next(&r, &f)) {
		if (f.number != WORDS)
			continue;
		if (f.type != WIRE_BYTES || !utf8_valid(f.bytes) || d->n_words == WORDS_MAX)
			return -EBADMSG;
		buf_append(p->memory, &f.bytes, sizeof(f.bytes));
		d->n_words++;
	}
	return r.failed ? -EBADMSG : 0;
}

/* Packed, as it is written, and one by one, as protobuf allows. */
static int read_column(struct passes *p, uint32_t number, uint32_t n_words, uint32_t *ret_n)
{
	struct reader r = reader_of(p->bytes);
	struct wire_field f;
	uint32_t n = 0;

	while (wire_next(&r, &f)) {
		struct reader packed = { 0 };
		uint64_t value = f.value;

		if (f.number != number)
			continue;
		if (f.type != WIRE_BYTES && f.type != WIRE_VARINT)
			return -EBADMSG;
		if (f.type == WIRE_BYTES)
			packed = reader_of(f.bytes);
		while (f.type == WIRE_VARINT || reader_left(&packed) > 0) {
			if (f.type == WIRE_BYTES)
				value = reader_varint(&packed);
			if (packed.failed || value >= n_words || n == BLOCK_READINGS_MAX)
				return -EBADMSG;
			buf_append_u32(p->memory, (uint32_t)value);
			n++;
			if (f.type == WIRE_VARINT)
				break;
		}
	}
	*ret_n = n;
	return r.failed ? -EBADMSG : 0;
}

static int read_rest(struct region_data *d, struct passes *p)
{
	struct reader r = reader_of(p->bytes);
	struct wire_field f;

	while (wire_next(&r, &f)) {
		bool bytes = f.number == ENVELOPE || f.number == FLAGS;
		bool fixed = f.number == APPENDED_NS || f.number == WATERMARK_NS;

		if ((bytes && f.type != WIRE_BYTES) || (fixed && f.type != WIRE_FIXED64) ||
		    (f.number == REPLAY && f.type != WIRE_VARINT))
			return -EBADMSG;
		if (f.number == ENVELOPE)
			d->envelope = f.bytes;
		else if (f.number == FLAGS)
			d->flags = f.bytes;
		else if (f.number == APPENDED_NS)
			d->appended_ns = (int64_t)f.value;
		else if (f.number == WATERMARK_NS)
			d->watermark_ns = (int64_t)f.value;
		else if (f.number == REPLAY)
			d->replay = f.value != 0;
	}
	return r.failed || d->envelope.len == 0 || d->flags.len > BLOCK_READINGS_MAX ? -EBADMSG : 0;
}

int region_data_read(struct region_data *ret, struct slice bytes, struct buf *memory)
{
	struct passes p = { .bytes = bytes, .memory = memory };
	struct region_data d = { 0 };
	uint32_t n[COLUMNS];
	int error;

	buf_reset(memory);
	error = read_rest(&d, &p);
	if (error == 0)
		error = read_words(&d, &p);
	for (uint32_t i = 0; error == 0 && i < COLUMNS; i++)
		error = read_column(&p, TYPE + i, d.n_words, &n[i]);
	if (error < 0)
		return error;
	if (n[0] != n[1] || n[0] != n[2])
		return -EBADMSG;
	if (buf_error(memory) < 0)
		return -ENOMEM;
	d.n_devices = n[0];
	if (memory->len > 0) {
		d.words = (const struct slice *)memory->data;
		d.type = (const uint32_t *)(d.words + d.n_words);
		d.place = d.type + d.n_devices;
		d.owner = d.place + d.n_devices;
	}
	*ret = d;
	return 0;
}
