/* A loaded XDP program, looked at: what it serves, where its pins are, what it has counted.  loader.h makes one.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

#include "bpf/shared/contract.h"
#include "bpf/shared/verdict.h"

struct xdp;

/* The service behind an index, for building answers: -ENOENT when there is none. */
int xdp_service(const struct xdp *xdp, uint16_t index, struct sluice_service_key *ret_key,
		struct sluice_service *ret_service);

uint32_t xdp_queues(const struct xdp *xdp);
const char *xdp_mode_name(const struct xdp *xdp);      /* "native", "generic" */
const char *xdp_pin_folder(const struct xdp *xdp);
int xdp_program_id(const struct xdp *xdp);
int xdp_socket_map_fd(const struct xdp *xdp);
int xdp_ifindex(const struct xdp *xdp);
const char *xdp_interface(const struct xdp *xdp);

/* Sums over CPUs, indexed by enum sluice_verdict. */
int xdp_verdicts(const struct xdp *xdp, uint64_t ret[SLUICE_VERDICT_COUNT]);
/* What the verdicts would have been in shadow mode of what xdp_verdicts() has under PASSED_SHADOW. */
int xdp_shadowed(const struct xdp *xdp, uint64_t ret[SLUICE_VERDICT_COUNT]);
/* Packets seen by the program, whatever became of them: the left side of the kernel's ledger. */
int xdp_received(const struct xdp *xdp, uint64_t *ret);
int xdp_queue(const struct xdp *xdp, uint32_t queue, struct sluice_queue *ret);
/* CPU time of the program, where kernel.bpf_stats_enabled is on (0 otherwise), and its runs. */
int xdp_run_time(const struct xdp *xdp, uint64_t *ret_ns, uint64_t *ret_runs);

/* The queue's counters themselves, mapped: seen_seq is written by the queue's source alone.  NULL when there is no
 * such queue. */
struct sluice_queue *xdp_queue_counters(struct xdp *xdp, uint32_t queue);
