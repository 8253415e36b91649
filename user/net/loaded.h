/* The inside of struct xdp, shared by loader.c (load, attach, detach) and loader_maps.c (everything after). */
#pragma once

#include <net/if.h>
#include <stdatomic.h>

#include "base/macros.h"
#include "bpf/gateway.skel.h"
#include "net/loader.h"
#include "net/pins.h"

#define XDP_SERVICES_MAX 256 /* max_entries of `services` */
#define XDP_LAYOUT_LEN 16    /* hex digits */

struct xdp_served {
	struct sluice_service_key key;
	struct sluice_service service;
};

struct xdp {
	char interface[IF_NAMESIZE];
	int ifindex;
	bool keep_on_stop;
	uint32_t queues;
	int folder_fd; /* holds the lock */
	int link_fd;
	char folder[PINS_FOLDER_MAX]; /* of the interface */
	char layout[XDP_LAYOUT_LEN + 1];
	char pins[PINS_FOLDER_MAX + XDP_LAYOUT_LEN + 2];
	char link[PINS_FOLDER_MAX + 8];
	const char *mode;
	struct gateway_bpf *bpf;

	/* Mapped. */
	struct sluice_config *config;
	struct sluice_queue *queue_counters;
	struct sluice_durable_bucket *durable;
	size_t durable_size;

	/* Entries are written before the count is raised and then stay, so that any thread may read below it. */
	struct xdp_served served[XDP_SERVICES_MAX];
	_Atomic uint32_t served_count;
};

/* loader_maps.c: maps the three that are mapped, empties what is rebuilt, writes config and keys. */
int xdp_prepare_maps(struct xdp *xdp, const struct xdp_options *options, const char **ret_what);
void xdp_unmap(struct xdp *xdp);
