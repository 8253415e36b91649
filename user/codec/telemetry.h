/* The message Telemetry: bytes, fields, JSON.
 *
 * Bytes on the wire are the identity of a reading: (device_id, timestamp_ns, integrity_hash).  Everything that
 * makes them makes the same ones: fields in order of number, metrics sorted bytewise by name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "bpf/shared/contract.h"
#include "bpf/shared/siphash.h"

#define TELEMETRY_METRICS_MAX 64
#define TELEMETRY_NAME_MAX 64 /* bytes of a metric's name */

struct telemetry_metric {
	struct slice name;
	double value; /* never -0 */
};

/* Slices point into the message that was read. */
struct telemetry {
	uint64_t integrity_hash;
	int64_t timestamp_ns;
	bool has_hash, has_timestamp;
	struct slice device_id; /* 1..32 bytes */
	struct slice region;    /* 0..32 bytes */
	uint32_t n_metrics;
	struct telemetry_metric metrics[TELEMETRY_METRICS_MAX]; /* as on the wire: order and repeats kept */
	struct slice unknown;   /* fields >= 6, concatenated as they stand in the message, when they stand together
				 * at its end; see telemetry_parse() */
	bool canonical;         /* set by telemetry_parse(): the bytes are those that telemetry_append() would write */
};

/* Any field order.  0; -EBADMSG when it is not such a message (longer than SLUICE_PAYLOAD_MAX, truncated, wrong type, a
 * name or id that is too long or not UTF-8, more metrics than the maximum, any of fields 1 to 4 twice: protobuf lets
 * the last one win, but then one identity would have several readings).  A map entry without its name or value has ""
 * or 0, as in protobuf; -0 becomes 0. Fields >= 6 that do not stand at the end are -EOPNOTSUPP: such a reading is
 * refused with 4.00 rather than changed. */
int telemetry_parse(struct telemetry *ret, const void *payload, size_t len);

/* Appends the bytes of t, hash included as t->integrity_hash when has_hash; metrics in the order given. */
void telemetry_append(struct buf *b, const struct telemetry *t);

/* Tag of a payload in any field order: the hash runs over all bytes except the nine of field 1 (over all of them when
 * there is no field 1 or the payload is malformed). */
void telemetry_tag(const void *payload, size_t len, const struct siphash_key *key, uint64_t ret[2]);
/* K(device). */
struct siphash_key telemetry_device_key(const struct siphash_key *master, struct slice device_id);

/* One JSON object (protobuf's JSON form, original or lowerCamelCase names) -> the bytes of the message, sorted
 * and with its hash under key (the derived device key, or the open key).  A hash that is given must fit unless
 * key is NULL, and then it is taken as it is, or left out when absent.  0; -ENOMEM; -EBADMSG with a sentence that
 * names the member in ret_error (may be NULL). */
int telemetry_from_json(struct buf *ret, const char *json, size_t len, const struct siphash_key *key,
			char ret_error[128]);
/* The opposite, what is absent left out, metrics as they stand, of a name's repeats the last:
 * {"integrity_hash":"…16 hex…","timestamp_ns":"…","device_id":…,"region":…,"metrics":{…}} without a newline and without
 * the closing brace when open_ended (the caller adds members). */
void telemetry_append_json(struct buf *b, const struct telemetry *t, bool open_ended);
/* A JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. */
void json_append_string(struct buf *b, struct slice s);
