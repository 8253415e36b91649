/* Every packet gets exactly one verdict.  This table is the only list of them: counters, metric labels, the
 * texts of `sluice status` and the ledger come from it.
 *
 * X(NAME, label, fate, sentence)
 * fate is what the ledger adds up:  received = FORWARD + ANSWER + PASS + sum of DROP.
 *   FORWARD  handed to user space as a reading to admit
 *   ANSWER   replied to at this stage
 *   PASS     not ours, or ours but left to the slower path
 *   DROP     ends here
 * In user space the same table is used for what arrives through the UDP socket.
 */
#pragma once

#define SLUICE_VERDICTS(X)                                                                                           \
	X(FORWARDED, "forwarded", FORWARD, "A well-formed reading on its way to the spool.")                         \
	X(ANSWERED_DURABLE, "answered_durable", ANSWER, "A repeated request for a reading that is on disk: 2.04.")   \
	X(ANSWERED_RATE, "answered_rate", ANSWER, "Over the limit of its source prefix: 4.29 with Max-Age.")         \
	X(ANSWERED_OVERLOAD, "answered_overload", ANSWER, "The gateway's queues are full: 5.03 with Max-Age.")       \
	X(ANSWERED_AUTH, "answered_auth", ANSWER, "The integrity hash does not fit the device's key: 4.01.")         \
	X(ANSWERED_BAD, "answered_bad", ANSWER, "A request that CoAP answers with an error code (4.00, 4.02, 4.04, 4.05, 4.13, 4.15).") \
	X(ANSWERED_RESET, "answered_reset", ANSWER, "A CoAP ping or a confirmable message without a request: Reset.") \
	X(PASSED_FOREIGN, "passed_foreign", PASS, "Not addressed to a service of ours; untouched.")                  \
	X(PASSED_SHAPE, "passed_shape", PASS, "For us, but off the shape that the kernel serves; user space does.")  \
	X(PASSED_REGION, "passed_region", PASS, "Signed for a region whose master key the kernel does not hold.")    \
	X(PASSED_NO_SOCKET, "passed_no_socket", PASS, "No AF_XDP socket on this queue, or the gateway's heartbeat is old.") \
	X(PASSED_SHADOW, "passed_shadow", PASS, "Shadow mode or kill switch: counted and passed.")                   \
	X(DROPPED_DUPLICATE, "duplicate", DROP, "A repeated NON request for a reading that is on disk.")             \
	X(DROPPED_RATE, "rate", DROP, "Over the limit of its source prefix, and no answer is due.")                  \
	X(DROPPED_DENIED, "denied", DROP, "From a source prefix that the configuration forbids.")                    \
	X(DROPPED_AUTH, "auth", DROP, "A wrong integrity hash in a NON request.")                                    \
	X(DROPPED_MALFORMED, "malformed", DROP, "Not CoAP version 1, or truncated, or not a request: never answered.") \
	X(DROPPED_BAD, "bad_request", DROP, "A NON request that would have got an error code.")                      \
	X(DROPPED_PASS_BUDGET, "pass_budget", DROP, "More odd packets from a prefix than user space is asked to look at.") \
	X(DROPPED_OVERLOAD, "overload", DROP, "The gateway's queues are full, and no answer is due.")                \
	X(DROPPED_MULTICAST, "multicast", DROP, "CoAP to a group: never answered, never counted as a reading.")

enum sluice_fate { SLUICE_FATE_FORWARD, SLUICE_FATE_ANSWER, SLUICE_FATE_PASS, SLUICE_FATE_DROP };

enum sluice_verdict {
#define X(name, label, fate, sentence) SLUICE_##name,
	SLUICE_VERDICTS(X)
#undef X
	SLUICE_VERDICT_COUNT
};
