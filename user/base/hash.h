/* The checksums and hashes that Sluice uses, in one place.
 *
 * CRC32C (Castagnoli, RFC 3720 B.4) guards what is on disk, computed by ISA-L.
 * SipHash (bpf/shared/siphash.h) makes tags and places devices: shard_of() is the one definition of a shard.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* crc = 0 to begin, or the result of the piece before. */
uint32_t hash_crc32c(uint32_t crc, const void *data, size_t n);

/* Shard of a device: SipHash-2-4-64 under the published key 00..0f, modulo the number of shards. */
uint32_t hash_shard(const void *device_id, size_t len, uint32_t shards);

/* The same hash before the modulo, for tables keyed by device. */
uint64_t hash_device(const void *device_id, size_t len);
