/* Admission: from the bytes of a CoAP message to "this is a reading with this tag", or to why not.
 *
 * One pure function over a flat buffer, compiled for the kernel and natively, so that both say the same; a
 * differential fuzz test holds them together.  It serves the fixed shape that devices send (CONTRACTS: POST /t,
 * CON or NON, Content-Format, optional Uri-Host, Uri-Port, No-Response; the payload begins with integrity_hash,
 * timestamp_ns, device_id).  What may be right but is off that shape gets ADMIT_ODD, and user space looks at it
 * with the general reader (user/codec/coap.h, user/codec/telemetry.h).
 */
#pragma once

#include "bpf/shared/contract.h"
#include "bpf/shared/siphash.h"

enum admit_result {
	ADMIT_READING,   /* shape and hash are right; every field of struct admission is set */
	ADMIT_ODD,       /* for the general reader */
	ADMIT_MALFORMED, /* not CoAP, truncated, not a request: never answered */
	ADMIT_BAD_HASH,  /* fixed shape, but the hash fits no key */
	ADMIT_FOREIGN,   /* fixed shape, signed for a region whose master is not here */
};

enum { COAP_CON = 0, COAP_NON = 1, COAP_ACK = 2, COAP_RST = 3 };

/* Bits of No-Response (RFC 7967): of which classes no response is wanted.  A confirmable request is then
 * acknowledged by an empty message. */
enum { NO_RESPONSE_2XX = 0x02, NO_RESPONSE_4XX = 0x08, NO_RESPONSE_5XX = 0x10 };

struct admission {
	__u64 word1, word2;   /* the tag */
	__s64 timestamp_ns;   /* valid when has_timestamp */
	__u16 mid;            /* host order */
	__u16 payload_off;    /* from the start of the message */
	__u16 payload_len;
	__u8 type;            /* COAP_CON or COAP_NON */
	__u8 token_len;       /* the token stands at message + 4 */
	__u8 device_off;      /* from the start of the payload */
	__u8 device_len;
	__u8 has_timestamp;
	__u8 no_response;     /* option value of RFC 7967; 0 = absent */
	__u8 key_slot;        /* which of the keys fitted */
	__u8 region_len;      /* of the signed region that follows device_id; 0 = none */
	__u8 region_off;      /* from the start of the payload */
	__u8 pad;
};

struct admit_keys {
	struct sluice_master_key own[2]; /* current and previous epoch */
	__u8 keyed;                      /* 0: the open key for everyone */
	__u8 region_len;
	__u16 content_format;
	__u32 pad;
	char region[SLUICE_REGION_MAX];
};

/* The answer to a request, of at most SLUICE_ANSWER_MAX bytes, never larger than the request (the caller checks
 * against its length; an answer that would be larger is cut to its bare code, and that to nothing). */
#define SLUICE_ANSWER_MAX 24
enum coap_code {
	COAP_POST = 0x02,
	COAP_CHANGED = 0x44,             /* 2.04 */
	COAP_BAD_REQUEST = 0x80,         /* 4.00 */
	COAP_UNAUTHORIZED = 0x81,        /* 4.01 */
	COAP_BAD_OPTION = 0x82,          /* 4.02 */
	COAP_NOT_FOUND = 0x84,           /* 4.04 */
	COAP_METHOD_NOT_ALLOWED = 0x85,  /* 4.05 */
	COAP_TOO_LARGE = 0x8d,           /* 4.13 */
	COAP_BAD_FORMAT = 0x8f,          /* 4.15 */
	COAP_TOO_MANY_REQUESTS = 0x9d,   /* 4.29 */
	COAP_UNAVAILABLE = 0xa3,         /* 5.03 */
};

struct answer {
	__u8 code;       /* enum coap_code; 0 makes an empty message: Reset with COAP_RST, else an acknowledgement */
	__u8 type;       /* COAP_ACK for a CON request, COAP_NON for a NON request, COAP_RST */
	__u8 token_len;
	__u8 has_receipt;
	__u16 mid;       /* host order; the request's for ACK and RST */
	__u16 max_age_s; /* 0 = no Max-Age option */
	__u64 receipt;   /* tag word 2, the payload of a 2.04 */
};
