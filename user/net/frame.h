/* Ethernet frames of CoAP requests and answers, for sources that see whole frames.  Pure functions.
 *
 * The answer's headers are the same as those that the XDP program writes (bpf/reply.h): hop limit 64, don't fragment,
 * no IP options, full checksums, the request's VLAN tags.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/source.h"

/* Two tags, IPv6, UDP, the largest answer. */
#define FRAME_ANSWER_MAX (14 + 2 * 4 + 40 + 8 + 64)

/* The request behind a frame that the program has described: false when meta does not fit the frame.  Sets what the
 * source knows of the stub. */
bool frame_read_request(struct reply_stub *ret, const uint8_t *frame, size_t len, const struct sluice_meta *meta);

/* The answer as a frame of at least 60 bytes; returns its length.  len <= 64. */
size_t frame_write_answer(uint8_t ret[static FRAME_ANSWER_MAX], const struct reply_stub *stub,
			  const struct sluice_service_key *own, const uint8_t own_mac[6], const void *answer,
			  size_t len);
