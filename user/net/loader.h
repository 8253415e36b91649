/* Loads the XDP program, attaches it to an interface, keeps its maps.
 *
 * Pins: SLUICE_PIN_ROOT/<interface>/<layout-hash>/<map>, the layout hash being one over all key and value sizes and
 * max_entries, so that another layout never meets old pins; SLUICE_PIN_ROOT/<interface>/link holds the program.
 * `keys` and `scratch` are never pinned.  Counters, limits and the durable table survive a restart; services and
 * sources are empty after it.  Where /sys/fs/bpf is not mounted the loader mounts it.  The pins are locked: one
 * gateway an interface.
 * Attach: alone, by a pinned link, native before generic; a restart exchanges the program in the link, and no packet
 * meets none.  A program of somebody else's on the interface is never replaced: -EEXIST, and the error's text names
 * it.
 * The program passes everything until the first xdp_heartbeat().
 *
 * Replies that the program sends by XDP_TX on a veth reach the peer only when the peer has an XDP program of its own:
 * xdp_let_pass().  (`ethtool -K PEER gro on` lets it take them, but nothing wakes it: they lie in its ring until some
 * other packet comes.  Linux 6.18, veth_xdp_flush().)  VLAN tags must be in the frame: `ethtool -K NIC rxvlan off`.
 *
 * Namespaces: the interface is looked up in the network namespace of the calling thread, the pins in its mount
 * namespace (`ip netns exec` makes a new one, in which /sys/fs/bpf is empty: use nsenter --net=).
 * Threads: load, attach, detach and xdp_serve_port() from one thread; the accessors from any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/shared/admission.h"
#include "bpf/shared/contract.h"
#include "net/xdp.h"

enum xdp_mode { XDP_MODE_AUTO, XDP_MODE_NATIVE, XDP_MODE_GENERIC };

struct xdp_options {
	const char *interface;
	enum xdp_mode mode;
	uint32_t durable_buckets; /* power of two; 4 readings each, 64 bytes each */
	bool keep_on_stop;        /* xdp_free() leaves program and pins; without heartbeats it passes everything */
	struct sluice_config config; /* heartbeat, durable_seed, durable_shift, acl_active: the loader's.
				      * durable_owner: the durable table of another spool is emptied.  A kill switch
				      * that is on in the pinned map stays on. */
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

/* Puts a program that passes everything on an interface that has none, until the interface or that program goes: the
 * other end of a veth that a gateway answers on.  0, also when there is a program already. */
int xdp_let_pass(const char *interface);

/* Adds what is addressed to us: one entry an address of the interface, as it is now (an address that has one keeps
 * its index; call it again when addresses came).  Returns their number, -EADDRNOTAVAIL when the interface is no
 * Ethernet, -ENOSPC beyond 256.  Port in host order. */
int xdp_serve_port(struct xdp *xdp, uint16_t port);
/* Deny or allow a prefix: text such as "203.0.113.0/24"; the longest decides.  -EINVAL when it is none. */
int xdp_source_rule(struct xdp *xdp, const char *prefix, bool allow);

/* Call at least twice a second while all is well; an old heartbeat makes the program pass everything. */
void xdp_heartbeat(struct xdp *xdp);

/* The durable table, mapped into this process (one writer), with the seed and shift that the program uses. */
struct sluice_durable_bucket *xdp_durable(struct xdp *xdp, uint64_t *ret_seed, uint32_t *ret_shift);
