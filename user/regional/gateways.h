/* The gateways that a shard hears, and the watermark that their clocks give.
 *
 * The watermark says: what is older has been read.  It is the least clock among the live gateways' live lanes, minus
 * the allowed lateness, and never goes back.  It is a fold of log records alone (DATA with an envelope, DARK), so
 * that a restart finds the same one:
 *   - an envelope of the live lane sets its gateway's clock (never back) and whether it is idle, and ends its
 *     darkness;
 *   - an envelope of the backlog lane ends its darkness only: its clock speaks of the past;
 *   - a DARK record takes the gateway out of the minimum;
 *   - with clock: event an idle gateway is out of the minimum, and when all of the live ones are idle nothing is on
 *     its way: the watermark is the newest clock, without lateness.
 * A gateway of which nothing but backlog was heard has no clock and holds the watermark where it is.
 *
 * Threads: none; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define GATEWAYS_MAX 1024
#define GATEWAY_ID_MAX 64
#define WATERMARK_NONE INT64_MIN

struct gateway {
	char id[GATEWAY_ID_MAX];
	uint8_t id_len;
	uint8_t spool_id[16]; /* the one heard last */
	bool idle, dark;
	int64_t clock_ns; /* INT64_MIN: none yet */
};

struct gateways {
	struct gateway *list;
	uint32_t n;
	bool event;
	int64_t lateness_ns;
	int64_t watermark_ns;
	int64_t newest_clock_ns;
};

void gateways_init(struct gateways *g, bool event, int64_t lateness_ns);
void gateways_done(struct gateways *g);
/* Its number, in the order of first appearance.  0; -ENOMEM; -ENOSPC when GATEWAYS_MAX is reached. */
int gateways_add(struct gateways *g, struct slice id, uint32_t *ret);
void gateways_hear(struct gateways *g, uint32_t gateway, const uint8_t spool_id[16], bool live_lane, int64_t clock_ns,
		   bool idle);
void gateways_set_dark(struct gateways *g, uint32_t gateway, bool dark);
uint32_t gateways_live(const struct gateways *g);
