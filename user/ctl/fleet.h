/* A fleet of CoAP clients over one UDP socket: RFC 7252's message layer for many devices at once.
 *
 * Each device has at most one outstanding exchange (NSTART 1, section 4.7).  A CON is retransmitted after
 * ACK_TIMEOUT (2 s x 1..1.5), doubling, at most MAX_RETRANSMIT (4) times, then given up and counted.  4.29 and 5.03
 * are waited out (Max-Age) and asked again; every other error code is final and counted.  A reading that comes due
 * while its device is busy waits: nothing is dropped silently.
 *
 * With an event-time spread, a reading is held back while an unacknowledged one is older than it by more.
 *
 * One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ctl/readings.h"

struct fleet_options {
	struct sockaddr_storage to;
	socklen_t to_len;
	uint16_t content_format;
	bool non;              /* NON instead of CON */
	double repeat;         /* share of acknowledged messages that are sent once more, 0..1 */
	int64_t spread_ns;     /* of event time among the unacknowledged; 0 = no limit */
	uint32_t in_flight_max;
	uint64_t seed;
};

struct fleet_stats {
	uint64_t readings;      /* taken from the source */
	uint64_t sent;          /* datagrams, retransmissions and repeats included */
	uint64_t acked;         /* readings acknowledged with 2.04 */
	uint64_t unanswered;    /* NON readings, for which no answer is owed */
	uint64_t retransmitted;
	uint64_t repeated;      /* messages sent once more on purpose */
	uint64_t extra_acks;    /* answers to what was answered already: repeats and crossed retransmissions */
	uint64_t given_up;
	uint64_t bad_receipts;  /* a 2.04 whose receipt is not the tag's second word */
	uint64_t refused[256];  /* final ones and those that were asked again, by code */
	uint64_t refused_final;
	uint64_t send_failed;
	uint32_t in_flight;
};

struct fleet;

/* 0 or negative errno. The source stays the caller's. */
int fleet_new(struct fleet **ret, const struct fleet_options *options, struct reading_source *source);
void fleet_free(struct fleet *f);

/* Sends, receives and retransmits for at most until the deadline.  1: goes on; 0: the source has ended and nothing is
 * in flight; negative errno with a sentence: source or socket is broken.  taking: whether new readings are taken. */
int fleet_step(struct fleet *f, bool taking, int64_t deadline_ns, struct reading_error *ret_error);

void fleet_stats(const struct fleet *f, struct fleet_stats *ret);
/* From first transmission to acknowledgement, nanoseconds. */
int64_t fleet_ack_quantile(const struct fleet *f, double q);
