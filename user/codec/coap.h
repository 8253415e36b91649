/* CoAP (RFC 7252) in user space: the general reader for what the kernel does not serve, and the writer of requests
 * for the fleet.  The fixed shape and all answers stand in bpf/shared/admit.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "bpf/shared/admission.h"

struct coap_request {
	uint8_t type, code, token_len;
	uint16_t mid;
	uint8_t token[SLUICE_TOKEN_MAX];
	struct slice payload;
	bool path_is_t;
	bool has_format;
	uint32_t format;
	uint8_t no_response;
};

/* What to do with a datagram that admit() called odd. 0: a request for /t whose payload is worth reading;
 * a positive enum coap_code: answer with that; COAP_PING: answer with Reset; -EBADMSG: never answer.
 * ret is set unless the result is negative: what an answer needs (type, mid, token, no_response as far as read) also
 * beside a code.  len above SLUICE_MESSAGE_MAX means that the source cut the datagram off: 4.13.
 * A request without Content-Format is taken as ours.  Accept for another format gets 4.02, as do Block1 and Block2
 * unless they say "block 0, the last". */
#define COAP_PING 0x100
int coap_parse_request(struct coap_request *ret, const void *message, size_t len, uint16_t content_format);

/* POST /t with the given type, mid, token, Content-Format. */
void coap_append_post(struct buf *b, uint8_t type, uint16_t mid, const void *token, uint8_t token_len,
		      uint16_t content_format, uint8_t no_response, struct slice payload);

/* A client's view of what comes back. 0 or -EBADMSG, also for a critical option: a client rejects those. */
struct coap_response {
	uint8_t type, code, token_len; /* code 0 with type ACK: empty; RST: reset */
	uint16_t mid;
	uint8_t token[SLUICE_TOKEN_MAX];
	uint32_t max_age_s; /* 60 when the response does not say (RFC 7252 section 5.10.5) */
	struct slice payload;
};
int coap_parse_response(struct coap_response *ret, const void *message, size_t len);
