/* Any bytes are read as request and response without a fault; what admit() takes as a reading the general reader
 * takes too, at the same place; an answer written for a request is a response that reads back. */
#include <string.h>

#include "base/macros.h"
#include "bpf/shared/admit.h"
#include "codec/coap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const struct coap_request *r, uint8_t code)
{
	uint8_t bytes[SLUICE_ANSWER_MAX];
	struct answer answer = {
		.code = code,
		.type = r->type == COAP_CON ? COAP_ACK : COAP_NON,
		.token_len = r->token_len,
		.mid = r->mid,
	};
	struct coap_response back;

	must(coap_parse_response(&back, bytes, answer_write(bytes, &answer, r->token)) == 0);
	must(back.code == code && back.mid == r->mid && back.token_len == r->token_len);
	must(!memcmp(back.token, r->token, r->token_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t flat[SLUICE_MESSAGE_BUF] = { 0 };
	struct coap_response response;
	struct coap_request r;
	struct admission a;

	coap_parse_response(&response, data, size);

	int result = coap_parse_request(&r, data, size, SLUICE_CONTENT_FORMAT);

	must(result <= COAP_PING);
	if (result >= 0)
		must(r.token_len <= SLUICE_TOKEN_MAX && (r.type == COAP_CON || r.type == COAP_NON));
	if (result > 0 && result != COAP_PING)
		check_answer(&r, (uint8_t)result);
	if (result == 0)
		must((const uint8_t *)r.payload.data + r.payload.len == data + size && r.payload.len > 0);
	if (size > SLUICE_MESSAGE_MAX)
		return 0;
	memcpy(flat, data, size);
	switch (admit_shape(flat, (uint32_t)size, SLUICE_CONTENT_FORMAT, &a)) {
	case ADMIT_READING:
		must(result == 0 && (const uint8_t *)r.payload.data == data + a.payload_off);
		must(r.payload.len == a.payload_len && r.no_response == a.no_response && r.mid == a.mid);
		break;
	case ADMIT_MALFORMED:
		must(result < 0);
		break;
	default:
		break;
	}
	return 0;
}
