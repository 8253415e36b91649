/* A message of protobuf-c at the end of a buffer. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

/* message: the `base` of any. 0 or -ENOMEM. */
int message_append(struct buf *ret, const ProtobufCMessage *message);
