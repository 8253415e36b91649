/* Loads the XDP program, attaches it to an interface, keeps its maps.
 *
 * Pins: SLUICE_PIN_ROOT/<ifname>/<layout-hash>/<map>, the layout hash being one over all key and value sizes and
 * max_entries, so that another layout never meets old pins.  `keys` is never pinned.
 * Attach order: libxdp's dispatcher where the kernel allows it, else alone; native before generic.  A program of
 * somebody else's on the interface is never replaced: -EEXIST, and xdp_foreign_program() names it.
 * Threads: load, attach and detach from one thread; the accessors from any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/shared/admission.h"
#include "bpf/shared/contract.h"
#include "bpf/shared/verdict.h"

struct xdp;

enum xdp_mode { XDP_MODE_AUTO, XDP_MODE_NATIVE, XDP_MODE_GENERIC };

struct xdp_options {
	const char *interface;
	enum xdp_mode mode;
	uint32_t durable_buckets; /* power of two; 4 readings each, 64 bytes each */
	bool keep_on_stop;        /* leave program and pins attached */
	struct sluice_config config; /* heartbeat, durable_seed and durable_shift are set by the loader */
	struct admit_keys keys;
};

struct xdp_error {
	char text[256]; /* what failed and what to do, one sentence */
};

/* 0 or negative errno, with a sentence in ret_error.  Needs CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW. */
int xdp_load(struct xdp **ret, const struct xdp_options *options, struct xdp_error *ret_error);
/* Detaches and unpins unless keep_on_stop; takes NULL. */
void xdp_free(struct xdp *xdp);

/* Whether this machine lets us: 0, or negative errno with the reason. */
int xdp_probe(struct xdp_error *ret_error);

/* Adds what is addressed to us: one entry an address of the interface (keeps MAC and index).  Returns the number
 * of services. Port in host order. */
int xdp_serve_port(struct xdp *xdp, uint16_t port);
/* The service behind an index, for building answers: -ENOENT when there is none. */
int xdp_service(const struct xdp *xdp, uint16_t index, struct sluice_service_key *ret_key,
		struct sluice_service *ret_service);

/* Deny or allow a prefix: text such as "203.0.113.0/24". */
int xdp_source_rule(struct xdp *xdp, const char *prefix, bool allow);

/* Call at least twice a second while all is well; an old heartbeat makes the program pass everything. */
void xdp_heartbeat(struct xdp *xdp);

/* The durable table, mapped into this process (one writer), with the seed and shift that the program uses. */
struct sluice_durable_bucket *xdp_durable(struct xdp *xdp, uint64_t *ret_seed, uint32_t *ret_shift);

uint32_t xdp_queues(const struct xdp *xdp);
const char *xdp_mode_name(const struct xdp *xdp);      /* "native", "generic" */
const char *xdp_pin_folder(const struct xdp *xdp);
int xdp_program_id(const struct xdp *xdp);
int xdp_socket_map_fd(const struct xdp *xdp);
int xdp_ifindex(const struct xdp *xdp);
const char *xdp_interface(const struct xdp *xdp);

/* Sums over CPUs, indexed by enum sluice_verdict. */
int xdp_verdicts(const struct xdp *xdp, uint64_t ret[SLUICE_VERDICT_COUNT]);
/* Packets seen by the program, whatever became of them: the left side of the kernel's ledger. */
int xdp_received(const struct xdp *xdp, uint64_t *ret);
int xdp_queue(const struct xdp *xdp, uint32_t queue, struct sluice_queue *ret);
/* CPU time of the program, where kernel.bpf_stats_enabled is on (0 otherwise), and its runs. */
int xdp_run_time(const struct xdp *xdp, uint64_t *ret_ns, uint64_t *ret_runs);
