/* sluice-gateway: takes readings from the NIC or a UDP socket, commits them to the spool, acknowledges, publishes.
 *
 *     sources ─▶ workers ─▶ commit (fsync) ─▶ answers          spool ─▶ publisher ─▶ edge.telemetry
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "config/daemon.h"
#include "gateway/gateway.h"
#include "gateway/publisher.h"
#include "gateway/worker.h"
#include "observe/admin.h"

#define WORKERS_MAX 65           /* 64 receive queues and the UDP socket */
#define HEARTBEAT_EVERY_MS 200   /* the XDP program passes everything after HEARTBEAT_MAX_NS without one */
#define HEARTBEAT_MAX_NS NS_PER_S
#define STOP_GRACE_NS (1500 * NS_PER_MS) /* for publishing what is in the spool; the rest stays there */
#define LISTEN_FD_FIRST 3        /* systemd's first descriptor */

struct program {
	struct gateway gateway;
	struct journal *spool;
	struct publisher *publisher;
	struct worker *workers[WORKERS_MAX];
	uint32_t n_workers;
	struct admin *admin;
	pthread_t heartbeat;
	bool heartbeat_started;
};

/* ------------------------------------------------------------------ wiring */

static int open_spool(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	struct journal_options options = {
		.mode = JOURNAL_EXCLUSIVE,
		.create = true,
		.partitions = (uint32_t)set->streams_partitions,
		.segment_bytes = (uint64_t)set->spool_segment_bytes,
	};
	struct journal_recovery recovery = { 0 };
	int r = journal_open(&p->spool, set->spool_dir, &options, &recovery);

	if (r < 0) {
		log_error(r == -EBUSY ? "the spool belongs to another gateway that runs" : "the spool cannot be opened",
			  F_STR("dir", set->spool_dir), F_ERR(r));
		return r;
	}
	if (recovery.damaged_records > 0)
		log_warn("damaged records in the spool were set aside", F_STR("dir", set->spool_dir),
			 F_U64("records", recovery.damaged_records));
	metric_add(p->gateway.metrics, GW_SPOOL_DAMAGED, recovery.damaged_records);
	log_info("spool opened", F_STR("dir", set->spool_dir), F_U64("bytes", journal_bytes(p->spool)),
		 F_U64("torn_bytes_cut", recovery.torn_bytes));
	return 0;
}

static int load_xdp(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	static const enum xdp_mode modes[] = { [XDP_AUTO] = XDP_MODE_AUTO, [XDP_NATIVE] = XDP_MODE_NATIVE, [XDP_GENERIC] = XDP_MODE_GENERIC };
	struct xdp_error error = { "" };
	struct xdp_options options = {
		.interface = set->xdp_interface,
		.mode = modes[set->xdp_mode],
		.durable_buckets = (uint32_t)set->xdp_durable_buckets,
		.keep_on_stop = set->xdp_on_stop == ON_STOP_KEEP,
		.keys = p->gateway.keys,
		.config = {
			.heartbeat_max_ns = HEARTBEAT_MAX_NS,
			.limit_rate = (uint64_t)set->limit_rate,
			.limit_burst = (uint64_t)set->limit_burst,
			.pass_rate = (uint64_t)set->limit_pass_rate,
			.content_format = (uint16_t)set->gateway_content_format,
			.auth_keyed = p->gateway.keys.keyed,
			.shadow = set->xdp_shadow,
			.region_len = p->gateway.keys.region_len,
		},
	};

	struct journal_id spool = journal_identity(p->spool);

	memcpy(&options.config.durable_owner, spool.uuid, sizeof(options.config.durable_owner));
	memcpy(options.config.region, p->gateway.keys.region, sizeof(options.config.region));

	int r = xdp_load(&p->gateway.xdp, &options, &error);

	if (r < 0) {
		log_error("the XDP program cannot be loaded", F_STR("interface", set->xdp_interface), F_STR("reason", error.text));
		return r;
	}
	for (size_t i = 0; i < set->limit_deny.n; i++) {
		r = xdp_source_rule(p->gateway.xdp, set->limit_deny.items[i], false);
		if (r < 0) {
			log_error("limit.deny has an entry that is not a prefix", F_STR("entry", set->limit_deny.items[i]));
			return r;
		}
	}
	r = xdp_serve_port(p->gateway.xdp, (uint16_t)set->gateway_port);
	if (r <= 0) {
		log_error("the interface has no address to serve", F_STR("interface", set->xdp_interface), F_ERR(r));
		return r < 0 ? r : -EADDRNOTAVAIL;
	}
	log_info("XDP program loaded", F_STR("interface", set->xdp_interface), F_STR("mode", xdp_mode_name(p->gateway.xdp)),
		 F_STR("pins", xdp_pin_folder(p->gateway.xdp)), F_I64("addresses", r));
	return 0;
}

static int new_limiter(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	int r = limiter_new(&p->gateway.limiter, (uint64_t)set->limit_rate, (uint64_t)set->limit_burst);

	for (size_t i = 0; r == 0 && i < set->limit_deny.n; i++) {
		r = limiter_deny(p->gateway.limiter, set->limit_deny.items[i]);
		if (r < 0)
			log_error("limit.deny has an entry that is not a prefix", F_STR("entry", set->limit_deny.items[i]));
	}
	return r;
}

static int start_commit(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	struct commit_options options = {
		.spool = p->spool,
		.shards = (uint32_t)set->streams_partitions,
		.in_flight_max = (uint32_t)set->gateway_in_flight_max,
		.spool_bytes_max = (uint64_t)set->spool_size_bytes,
		.metrics = p->gateway.metrics,
	};
	int r = 0;

	if (p->gateway.xdp)
		options.durable.buckets = xdp_durable(p->gateway.xdp, &options.durable.seed, &options.durable.shift);
	else
		r = durable_table_init(&options.durable, (uint32_t)set->xdp_durable_buckets);
	if (r == 0)
		r = commit_new(&p->gateway.commit, &options);
	if (r < 0) {
		durable_table_done(&options.durable);
		log_error("the commit cannot be started", F_ERR(r));
	}
	return r;
}

/* The UDP socket that systemd has opened for us, or -1. */
static int systemd_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	return pid && fds && atoi(pid) == getpid() && atoi(fds) >= 1 ? LISTEN_FD_FIRST : -1;
}

static int add_worker(struct program *p, struct source *source)
{
	int r = worker_new(&p->workers[p->n_workers], &p->gateway, source);

	if (r == 0)
		p->n_workers++;
	else
		log_error("a worker cannot be started", F_ERR(r));
	return r;
}

static int start_workers(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	struct source *source;
	int r = source_udp_new(&source, set->gateway_listen, (uint16_t)set->gateway_port, false, systemd_socket());

	if (r < 0) {
		log_error("the UDP socket cannot be opened", F_STR("listen", set->gateway_listen), F_I64("port", set->gateway_port),
			  F_ERR(r));
		return r;
	}
	r = add_worker(p, source);
	for (uint32_t q = 0; r == 0 && p->gateway.xdp && q < xdp_queues(p->gateway.xdp) && p->n_workers < WORKERS_MAX; q++) {
		r = source_xsk_new(&source, p->gateway.xdp, q, (uint32_t)set->xdp_frames);
		if (r < 0)
			log_error("an AF_XDP socket cannot be opened", F_U64("queue", q), F_ERR(r));
		else
			r = add_worker(p, source);
	}
	return r;
}

/* ------------------------------------------------------------------ heartbeat */

/* Every thread that a reading passes through has moved since the last look. */
static bool all_move(const struct program *p, uint64_t *seen)
{
	uint64_t commit = commit_progress(p->gateway.commit);
	bool move = commit != seen[0];

	seen[0] = commit;
	for (uint32_t i = 0; i < p->n_workers; i++) {
		uint64_t progress = worker_progress(p->workers[i]);

		move &= progress != seen[i + 1];
		seen[i + 1] = progress;
	}
	return move;
}

/* Idle threads show progress each 200 ms, so two looks apart by twice that always see it. */
static void *heartbeat_thread(void *argument)
{
	struct program *p = argument;
	uint64_t seen[WORKERS_MAX + 1] = { 0 };
	struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };

	while (poll(&stop, 1, 2 * HEARTBEAT_EVERY_MS) == 0)
		if (all_move(p, seen))
			xdp_heartbeat(p->gateway.xdp);
	return NULL;
}

/* ------------------------------------------------------------------ what the admin port shows */

static uint64_t sum_of_fate(const struct metrics *m, uint32_t id, enum sluice_fate fate)
{
	static const enum sluice_fate fates[SLUICE_VERDICT_COUNT] = {
#define X(name, label, of, sentence) SLUICE_FATE_##of,
		SLUICE_VERDICTS(X)
#undef X
	};
	uint64_t sum = 0;

	for (uint32_t v = 0; v < SLUICE_VERDICT_COUNT; v++)
		sum += fates[v] == fate ? metric_total(m, id, v) : 0;
	return sum;
}

/* Shares of all requests for us, over kernel and user space.  What the kernel forwards is counted here only. */
static void refresh_shares(struct metrics *m)
{
	const uint32_t both[] = { GW_KERNEL_VERDICTS, GW_VERDICTS };
	uint64_t repeated = metric_total(m, GW_JOINED, 0), failed = metric_total(m, GW_LOST_XSK, 0) + metric_total(m, GW_LOST_SOCKET, 0);
	uint64_t requests = metric_total(m, GW_VERDICTS, SLUICE_FORWARDED) + failed;

	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		uint64_t known = metric_total(m, both[i], SLUICE_ANSWERED_DURABLE) + metric_total(m, both[i], SLUICE_DROPPED_DUPLICATE);
		uint64_t ended = sum_of_fate(m, both[i], SLUICE_FATE_ANSWER) + sum_of_fate(m, both[i], SLUICE_FATE_DROP);

		repeated += known;
		failed += ended - known - metric_total(m, both[i], SLUICE_ANSWERED_RESET);
		requests += ended;
	}
	metric_set(m, GW_DEDUP_SHARE, requests ? (double)repeated / (double)requests : 0);
	metric_set(m, GW_FAILURE_SHARE, requests ? (double)failed / (double)requests : 0);
}

static void refresh_kernel(struct program *p)
{
	struct metrics *m = p->gateway.metrics;
	uint64_t verdicts[SLUICE_VERDICT_COUNT], received, cpu_ns, runs;

	if (xdp_verdicts(p->gateway.xdp, verdicts) == 0)
		for (uint32_t v = 0; v < SLUICE_VERDICT_COUNT; v++)
			metric_set_total(m, GW_KERNEL_VERDICTS, v, verdicts[v]);
	if (xdp_received(p->gateway.xdp, &received) == 0)
		metric_set_total(m, GW_KERNEL_RECEIVED, 0, received);
	if (xdp_run_time(p->gateway.xdp, &cpu_ns, &runs) == 0)
		metric_set(m, GW_KERNEL_CPU, (double)cpu_ns / NS_PER_S);
}

static void refresh(void *context)
{
	struct program *p = context;
	struct metrics *m = p->gateway.metrics;
	uint64_t lost_xsk = 0, lost_socket = 0;

	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct source_stats stats;

		worker_stats(p->workers[i], &stats);
		if (strcmp(worker_source_name(p->workers[i]), "xsk") == 0)
			lost_xsk += stats.lost;
		else
			lost_socket += stats.lost;
	}
	metric_set_total(m, GW_LOST_XSK, 0, lost_xsk);
	metric_set_total(m, GW_LOST_SOCKET, 0, lost_socket);
	metric_set(m, GW_IN_FLIGHT, commit_in_flight(p->gateway.commit));
	metric_set(m, GW_SPOOL_BYTES, (double)journal_bytes(p->spool));
	metric_set(m, GW_SPOOL_BACKLOG, (double)publisher_backlog(p->publisher));
	if (p->gateway.xdp)
		refresh_kernel(p);
	refresh_shares(m);
}

static int gateway_page(void *context, const char *path, struct buf *body)
{
	struct program *p = context;
	struct stream_error reason;
	bool connected = publisher_connected(p->publisher, &reason);

	buf_append_str(body, "{\"xdp\":");
	if (p->gateway.xdp)
		buf_printf(body, "{\"interface\":\"%s\",\"mode\":\"%s\",\"program_id\":%d,\"pins\":\"%s\"}",
			   xdp_interface(p->gateway.xdp), xdp_mode_name(p->gateway.xdp), xdp_program_id(p->gateway.xdp),
			   xdp_pin_folder(p->gateway.xdp));
	else
		buf_append_str(body, "null");
	buf_printf(body, ",\"connected\":%s,\"idle\":%s}\n", connected ? "true" : "false",
		   publisher_idle(p->publisher) ? "true" : "false");
	return 200;
}

static int start_admin(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	const struct admin_page pages[] = {
		{ .path = "/gateway.json", .content_type = "application/json", .handler = gateway_page, .context = p },
	};
	struct admin_options options = {
		.listen = set->admin_listen,
		.port_file = set->admin_port_file,
		.metrics = p->gateway.metrics,
		.pages = pages,
		.n_pages = ARRAY_SIZE(pages),
	};

	metrics_on_export(p->gateway.metrics, refresh, p);
	if (!set->admin_listen[0])
		return 0;

	int r = admin_start(&p->admin, &options);

	if (r < 0)
		log_error("the admin port cannot be opened", F_STR("listen", set->admin_listen), F_ERR(r));
	return r;
}

/* ------------------------------------------------------------------ life */

static int start(struct program *p)
{
	const struct settings *set = &p->gateway.settings;
	int r = open_spool(p);

	if (r == 0)
		r = set->xdp_mode == XDP_OFF ? new_limiter(p) : load_xdp(p);
	if (r == 0)
		r = start_commit(p);
	if (r == 0) {
		r = publisher_new(&p->publisher, &p->gateway);
		if (r < 0)
			log_error("the publisher cannot be started", F_ERR(r));
	}
	if (r == 0)
		r = start_workers(p);
	if (r == 0)
		r = start_admin(p);
	if (r == 0 && p->gateway.xdp) {
		xdp_heartbeat(p->gateway.xdp);
		r = -pthread_create(&p->heartbeat, NULL, heartbeat_thread, p);
		p->heartbeat_started = r == 0;
	}
	return r;
}

/* Backwards: nobody receives, what is in flight is committed and answered, the spool is published. */
static void stop(struct program *p)
{
	admin_free(p->admin);
	if (p->heartbeat_started)
		pthread_join(p->heartbeat, NULL);
	for (uint32_t i = 0; i < p->n_workers; i++)
		worker_close(p->workers[i]);
	if (p->gateway.commit)
		commit_stop(p->gateway.commit);
	publisher_free(p->publisher, STOP_GRACE_NS);
	for (uint32_t i = 0; i < p->n_workers; i++)
		worker_free(p->workers[i]);
	commit_free(p->gateway.commit);
	xdp_free(p->gateway.xdp);
	limiter_free(p->gateway.limiter);
	journal_close(p->spool);
}

static int run(struct program *p)
{
	int r = gateway_metrics_new(&p->gateway.metrics);

	if (r == 0)
		r = start(p);
	if (r == 0) {
		struct pollfd fd = { .fd = stop_fd(), .events = POLLIN };

		if (p->admin)
			admin_set_ready(p->admin, NULL);
		log_info("receiving", F_STR("listen", p->gateway.settings.gateway_listen),
			 F_I64("port", p->gateway.settings.gateway_port), F_I64("admin_port", p->admin ? admin_port(p->admin) : 0));
		poll(&fd, 1, -1);
		log_info("stopping");
	} else {
		stop_request();
	}
	stop(p);
	metrics_free(p->gateway.metrics);
	return r;
}

int main(int argc, char **argv)
{
	static const struct daemon_about about = {
		"gateway",
		"Receives telemetry over CoAP, through XDP and AF_XDP or a UDP socket, commits it to the spool before it\n"
		"acknowledges, and publishes it to the region.",
	};
	static struct program p;
	struct config_error error;
	bool check;
	int status = daemon_begin(&p.gateway.settings, &check, &about, argc, argv);

	if (status != DAEMON_GO_ON)
		return status;

	int r = gateway_keys_load(&p.gateway.keys, &p.gateway.settings, &error);

	if (r < 0)
		fprintf(stderr, "sluice-gateway: %s\n", error.text);
	if (r == 0 && !check)
		r = stop_setup();
	if (r == 0 && !check)
		r = run(&p);
	config_done(&p.gateway.settings);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
