/* From bytes to a flight.
 *
 * The identity of a reading is (device, timestamp_ns, hash).  A reading that came without integrity_hash (through a
 * front door that does not ask for one) gets here the hash that its bytes would have under the published key, so that
 * two different ones of the same time stay two.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "codec/telemetry.h"
#include "regional/region.h"

static int refuse(char ret_reason[REASON_MAX], const char *reason)
{
	snprintf(ret_reason, REASON_MAX, "%s", reason);
	return -EBADMSG;
}

static int identify(struct region *r, struct block *b)
{
	uint64_t tag[2];

	for (uint32_t i = 0; i < b->count; i++) {
		if (!(b->flags[i] & BLOCK_UNHASHED))
			continue;
		buf_reset(&r->payload);

		int e = block_payload(b, i, &r->payload);

		if (e < 0)
			return e;
		telemetry_tag(r->payload.data, r->payload.len, &siphash_open_key, tag);
		b->hash[i] = tag[0];
	}
	return 0;
}

/* The heard list grows with the gateways of the first half. */
static int hear_new(struct shard *s)
{
	if (s->n_heard == s->decided.n)
		return 0;

	struct heard *heard = realloc(s->heard, s->decided.n * sizeof(*heard));

	if (!heard)
		return -ENOMEM;
	s->heard = heard;
	for (; s->n_heard < s->decided.n; s->n_heard++)
		heard[s->n_heard] = (struct heard){ .at_ns = clock_mono_ns() };
	return 0;
}

static int find_gateway(struct shard *s, struct flight *f)
{
	uint32_t gateway = 0;
	int r = gateways_add(&s->decided, f->envelope.gateway_id, &f->gateway);

	/* Both halves meet gateways in the same order. */
	if (r == 0)
		r = gateways_add(&s->folded, f->envelope.gateway_id, &gateway);
	if (r == 0) {
		must(gateway == f->gateway);
		r = hear_new(s);
	}
	return r;
}

static int find_devices(struct shard *s, struct flight *f, char ret_reason[REASON_MAX])
{
	int r = devices_add(&s->devices, f->block.devices, f->block.n_devices, f->device);

	if (r == -EXDEV)
		return refuse(ret_reason, "it has a device that belongs to another shard");
	if (r == -ENOSPC)
		return refuse(ret_reason, "there are too many devices in this shard");
	return r < 0 ? r : dedup_reserve(&s->dedup, s->devices.n);
}

static int read_block(struct shard *s, struct flight *f, char ret_reason[REASON_MAX])
{
	int r = block_read(&f->block, f->envelope.block);

	if (r == -EBADMSG)
		return refuse(ret_reason, "its block cannot be read");
	if (r < 0)
		return r;
	if (f->block.count != f->envelope.count)
		return refuse(ret_reason, "its block has another number of readings than it says");
	r = identify(s->region, &f->block);
	if (r == 0)
		r = find_gateway(s, f);
	if (r == -ENOSPC)
		return refuse(ret_reason, "there are too many gateways");
	return r < 0 ? r : find_devices(s, f, ret_reason);
}

int decode_envelope(struct shard *s, struct flight *f, struct slice value, char ret_reason[REASON_MAX])
{
	const char *region = s->region->settings->node_region;
	int r = envelope_read(&f->envelope, value);

	f->replay = false;
	f->dark = false;
	if (r == -EPROTONOSUPPORT)
		return refuse(ret_reason, "it is of a version that this program does not know");
	if (r < 0)
		return refuse(ret_reason, "it is no TelemetryEnvelope");
	if (memchr(f->envelope.gateway_id.data, 0, f->envelope.gateway_id.len))
		return refuse(ret_reason, "its gateway's name has a zero byte");
	if (f->envelope.shard != s->number)
		return refuse(ret_reason, "it says that it belongs to another shard");
	if (f->envelope.home_region.len != strlen(region) ||
	    memcmp(f->envelope.home_region.data, region, f->envelope.home_region.len) != 0)
		return refuse(ret_reason, "it belongs to another region");
	return read_block(s, f, ret_reason);
}

static int take_words(struct shard *s, struct flight *f, const struct region_data *d)
{
	int r = 0;

	for (uint32_t i = 0; i < d->n_devices && r == 0; i++) {
		r = words_intern(&s->words, d->words[d->type[i]], &f->type[i]);
		if (r == 0)
			r = words_intern(&s->words, d->words[d->place[i]], &f->place[i]);
		if (r == 0)
			r = words_intern(&s->words, d->words[d->owner[i]], &f->owner[i]);
	}
	return r;
}

int decode_data(struct shard *s, struct flight *f, struct slice value, struct buf *memory)
{
	char reason[REASON_MAX];
	struct region_data d;
	int r = region_data_read(&d, value, memory);

	if (r < 0)
		return r;
	r = envelope_read(&f->envelope, d.envelope);
	if (r < 0)
		return -EBADMSG;
	r = read_block(s, f, reason);
	if (r < 0)
		return r;
	if (d.n_devices != f->block.n_devices || (d.flags.len != 0 && d.flags.len != f->block.count))
		return -EBADMSG;
	f->replay = d.replay;
	f->dark = false;
	memset(f->flags, 0, f->block.count);
	if (d.flags.len > 0)
		memcpy(f->flags, d.flags.data, d.flags.len);
	return take_words(s, f, &d);
}
