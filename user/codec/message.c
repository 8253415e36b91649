#include "codec/message.h"

#include <errno.h>

int message_append(struct buf *ret, const ProtobufCMessage *message)
{
	uint8_t *at = buf_extend(ret, protobuf_c_message_get_packed_size(message));

	if (!at)
		return -ENOMEM;
	protobuf_c_message_pack(message, at);
	return 0;
}
