#include "base/hash.h"

#include <isa-l/crc.h>

#include "base/macros.h"
#include "bpf/shared/siphash.h"

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t n)
{
	/* ISA-L leaves both inversions to the caller and counts in int. */
	const size_t piece = 1u << 30;
	uint32_t state = ~crc;

	for (const uint8_t *at = data; n > 0;) {
		size_t len = MIN(n, piece);

		state = crc32_iscsi((unsigned char *)at, (int)len, state);
		at += len;
		n -= len;
	}
	return ~state;
}

uint64_t hash_device(const void *device_id, size_t len)
{
	return siphash_64(&siphash_open_key, device_id, (uint32_t)len);
}

uint32_t hash_shard(const void *device_id, size_t len, uint32_t shards)
{
	must(shards > 0);
	return (uint32_t)(hash_device(device_id, len) % shards);
}
