/* The protobuf wire format (protobuf.dev, "Encoding"), for the messages that are read and written by hand: Telemetry,
 * TelemetryEnvelope, RegionData.  Reading neither copies nor allocates; slices point into the message.
 *
 * Stricter than a library in two points: groups (types 3 and 4, gone from proto3) are refused, and so is a tag that is
 * longer than it need be, so that a field's place and size follow from its value.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,
};

struct wire_field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;     /* of the three number types */
	struct slice bytes; /* of WIRE_BYTES */
	struct slice whole; /* tag and all */
};

/* The next field of a message.  False at its end, and with r->failed set when what follows is no field. */
bool wire_next(struct reader *r, struct wire_field *ret);

#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (type))

/* Appends a field; as in proto3, one whose value is zero or empty is left out. */
void wire_append_varint(struct buf *b, uint32_t number, uint64_t value);
void wire_append_fixed64(struct buf *b, uint32_t number, uint64_t value);
void wire_append_bytes(struct buf *b, uint32_t number, struct slice bytes);

/* Length of the UTF-8 character at the start of s (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF); 0 when
 * there is none. */
size_t utf8_char_len(struct slice s);
bool utf8_valid(struct slice s);
