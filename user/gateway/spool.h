/* The spool: the journal in which an acknowledged reading is (CONTRACTS, Journal).
 *
 * partition = shard, kind = 0, a reading's ordinal = its offset.  A record's value is
 *
 *     { i64 arrival_ns (wall), i64 timestamp_ns, u8 flags (enum block_flag), payload }
 *
 * Beside the journal, DIR/delivered holds one u64 a shard: the next ordinal that edge.telemetry has not confirmed, and
 * the id of the journal that it speaks of.  It is a hint that may be old: what is published again is recognised by its
 * ordinals.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"

#define SPOOL_HEAD 17 /* bytes in front of the payload */

struct spool_reading {
	int64_t arrival_ns;
	int64_t timestamp_ns;
	uint8_t flags;
	struct slice payload;
};

void spool_reading_append(struct buf *b, const struct spool_reading *reading);
/* 0 or -EBADMSG. */
int spool_reading_read(struct spool_reading *ret, struct slice value);

/* ret_delivered: one entry a shard, 0 where nothing is known, also when the file speaks of another journal. 0 or
 * negative errno. */
int spool_delivered_load(const char *dir, const uint8_t spool_id[16], uint64_t *ret_delivered, uint32_t shards);
int spool_delivered_save(const char *dir, const uint8_t spool_id[16], const uint64_t *delivered, uint32_t shards);
