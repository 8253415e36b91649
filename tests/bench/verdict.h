/* What verdict.bpf.c and bench_verdict.c share. */
#pragma once

#include "bpf/shared/platform.h"

#define VERDICT_PACKETS 131072 /* power of two */
#define VERDICT_FRAME_LEN 213  /* of every packet: Ethernet 14, IPv4 20, UDP 8, CoAP 14, payload 157 */

struct verdict_packet {
	__u8 bytes[256];
};
