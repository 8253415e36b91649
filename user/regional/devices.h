/* The devices of a shard, numbered in the order in which its log brings them.  Dedup, windows and detectors keep what
 * they know under these numbers.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/index.h"
#include "base/macros.h"

#define DEVICES_MAX (1u << 22) /* of a shard */

struct device {
	char id[32];
	uint8_t id_len;
	bool enriched;               /* the three words below are the registry's */
	uint32_t type, place, owner; /* words of the shard */
	uint32_t watch;              /* regional/detect.h: what is watched of it, or WATCHED_NONE */
};

struct devices {
	struct device *list;
	uint32_t n, cap;
	uint32_t shard, shards;
	struct index index;
};

void devices_init(struct devices *d, uint32_t shard, uint32_t shards);
void devices_done(struct devices *d);
/* The numbers of a batch of devices; those that are new get one.  ids: 1..32 bytes each; n <= BLOCK_READINGS_MAX.  0;
 * -ENOMEM; -ENOSPC when DEVICES_MAX is reached; -EXDEV when one belongs to another shard. */
int devices_add(struct devices *d, const struct slice *ids, uint32_t n, uint32_t *ret);
static inline struct slice device_id(const struct device *v)
{
	return SLICE(v->id, v->id_len);
}
