/* sluice demo: three regions on this one machine, and what its parts share.
 *
 *     demo.c         the story: arguments, start, watch, end, clean up
 *     demo_tiers.c   streams, configurations, daemons, fleets
 *     demo_watch.c   figures from the admin ports and the fleets' files
 *     demo_view.c    the terminal
 *     demo_report.c  the summary in words, the JSON, the ledger
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "bpf/shared/contract.h"
#include "bpf/shared/verdict.h"
#include "ctl/spawn.h"
#include "ctl/testbed.h"

#define DEMO_REGIONS TESTBED_REGIONS
#define DEMO_SHARDS 16
#define DEMO_PATH 256

extern const char *const demo_region_names[DEMO_REGIONS];

struct demo_options {
	double seconds;
	uint32_t devices; /* a region */
	double rate;      /* readings a second and region */
	const char *json, *from, *registry, *keep;
	bool no_xdp;
	bool quiet;
};

/* An admin port. */
struct demo_port {
	const char *host;
	uint16_t port;
	char file[DEMO_PATH]; /* that the daemon writes it to */
};

struct demo_latency {
	double p50, p95, p99; /* ms */
};

struct demo_region {
	uint64_t kernel_received, kernel[SLUICE_VERDICT_COUNT];
	uint64_t received, user[SLUICE_VERDICT_COUNT];
	uint64_t lost_xsk, lost_socket;
	uint64_t stored, stored_bytes, joined, known, published, published_bytes, batches;
	double backlog;
	uint64_t in_time, late, ahead, old; /* new readings, by what became of them */
	uint64_t unique;                    /* their sum */
	uint64_t duplicates, aside;
	bool gateway_idle, region_idle;
	double cpu_kernel_s, cpu_gateway_s, cpu_regional_s;
	struct demo_latency ack, edge_to_region;
};

struct demo_figures {
	/* The fleets. */
	uint64_t readings, sent, acked, retransmitted, repeated, given_up, refused, bad_receipts;
	uint32_t in_flight;
	bool fleets_done;
	struct demo_latency fleet_ack;
	char spike_device[64];
	int64_t spike_ns; /* wall; 0: not yet */
	struct demo_region regions[DEMO_REGIONS];
	/* The aggregator. */
	uint64_t windows_early, windows_partial, windows_final, windows_corrected, alerts;
	struct demo_latency region_to_global, notice;
	double delta_dwell_ms, cpu_aggregator_s;
	int64_t alert_raised_ns; /* of the spike */
	char alert_text[160];
	json_t *windows; /* the newest ones; owned */
};

struct demo {
	struct demo_options options;
	bool xdp;                  /* namespaces and XDP; else UDP sockets on loopback */
	char why_not[256];         /* why no XDP */
	bool bpf_stats_were_on;
	char dir[DEMO_PATH];       /* everything of this run */
	char bin[DEMO_PATH];       /* the daemons */
	bool own_dir;              /* remove it at the end */
	struct child gateways[DEMO_REGIONS], regionals[DEMO_REGIONS], aggregator, fleets[DEMO_REGIONS];
	struct demo_port gateway_ports[DEMO_REGIONS], regional_ports[DEMO_REGIONS], aggregator_port;
	uint16_t coap_ports[DEMO_REGIONS];
	int64_t start_ns;          /* monotonic: the fleets' start */
	struct demo_figures now, before; /* this look and the one before it */
	int64_t now_ns, before_ns;
	int event_clock;
};

/* demo_tiers.c: 0 or negative errno, having said on stderr what failed. */
int demo_tiers_start(struct demo *d);
int demo_fleets_start(struct demo *d);
/* A daemon or fleet that should run and does not: its name, else NULL. */
const char *demo_dead(struct demo *d);
void demo_tiers_stop(struct demo *d);

/* demo_watch.c */
void demo_watch(struct demo *d);
void demo_figures_done(struct demo_figures *f);
/* Everything sent is acknowledged, published, folded. */
bool demo_quiet(const struct demo *d);

/* demo_view.c */
void demo_view(struct demo *d, const char *phase);
void demo_view_end(struct demo *d);

/* demo_report.c */
struct demo_ledger {
	int64_t kernel, gateway, spool, region; /* residuals: 0 once quiet */
};
struct demo_ledger demo_ledger(const struct demo *d);
void demo_summary(const struct demo *d);
int demo_write_json(const struct demo *d);
/* Whether the run shows what it promises. */
bool demo_succeeded(const struct demo *d);
