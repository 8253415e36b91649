/* What is done with the maps once they are there.
 *
 * config, queues and durable are mapped into the process: a heartbeat, a counter, a durable reading is one store and
 * no system call, and single fields can be written while the program runs.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "net/loaded.h"

/* ------------------------------------------------------------------ once, at load */

static void *map_memory(const struct bpf_map *map, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static size_t mapped_size(const struct bpf_map *map)
{
	return (size_t)bpf_map__max_entries(map) * ((bpf_map__value_size(map) + 7) & ~7u);
}

static int empty_map(const struct bpf_map *map)
{
	int fd = bpf_map__fd(map);
	struct sluice_service_key key; /* the larger of the two that are emptied */
	_Static_assert(sizeof(struct sluice_service_key) >= sizeof(struct sluice_source_key), "holds either");

	for (uint32_t left = bpf_map__max_entries(map); left > 0 && bpf_map_get_next_key(fd, NULL, &key) == 0; left--)
		if (bpf_map_delete_elem(fd, &key) < 0)
			return -errno;
	return 0;
}

static int write_keys(const struct xdp *xdp, const struct admit_keys *keys)
{
	for (uint32_t i = 0; i < (uint32_t)ARRAY_SIZE(keys->own); i++)
		if (bpf_map_update_elem(bpf_map__fd(xdp->bpf->maps.keys), &i, &keys->own[i], BPF_ANY) < 0)
			return -errno;
	return 0;
}

/* The durable table of the run before is still true when it has the same shape and speaks of the same spool: its seed is
 * then kept. */
static void write_config(struct xdp *xdp, const struct xdp_options *options)
{
	struct sluice_config c = options->config;

	c.heartbeat_ns = 0;
	c.durable_shift = 64 - (uint32_t)__builtin_ctz(options->durable_buckets);
	c.durable_seed = xdp->config->durable_seed;
	if (xdp->config->durable_shift != c.durable_shift || xdp->config->durable_owner != c.durable_owner) {
		memset(xdp->durable, 0, xdp->durable_size);
		c.durable_seed = rand_u64();
	}
	c.acl_active = 0;
	c.kill |= xdp->config->kill; /* who has pulled it in an emergency is not overruled by a restart */
	/* A program of the run before may be reading it: it passes everything until all is in place. */
	__atomic_store_n(&xdp->config->heartbeat_ns, 0, __ATOMIC_SEQ_CST);
	memcpy(xdp->config, &c, sizeof(c));
}

int xdp_prepare_maps(struct xdp *xdp, const struct xdp_options *options, const char **ret_what)
{
	int error;

	*ret_what = "map the maps config, queues and durable";
	xdp->durable_size = mapped_size(xdp->bpf->maps.durable);
	xdp->config = map_memory(xdp->bpf->maps.config, mapped_size(xdp->bpf->maps.config));
	xdp->queue_counters = map_memory(xdp->bpf->maps.queues, mapped_size(xdp->bpf->maps.queues));
	xdp->durable = map_memory(xdp->bpf->maps.durable, xdp->durable_size);
	if (!xdp->config || !xdp->queue_counters || !xdp->durable)
		return -errno;
	write_config(xdp, options);
	*ret_what = "write the map keys";
	if ((error = write_keys(xdp, &options->keys)) < 0)
		return error;
	*ret_what = "empty the maps services and sources";
	if ((error = empty_map(xdp->bpf->maps.services)) < 0)
		return error;
	return empty_map(xdp->bpf->maps.sources);
}

void xdp_unmap(struct xdp *xdp)
{
	if (xdp->config)
		munmap(xdp->config, mapped_size(xdp->bpf->maps.config));
	if (xdp->queue_counters)
		munmap(xdp->queue_counters, mapped_size(xdp->bpf->maps.queues));
	if (xdp->durable)
		munmap(xdp->durable, xdp->durable_size);
}

/* ------------------------------------------------------------------ services */

static bool same_key(const struct sluice_service_key *a, const struct sluice_service_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int serve(struct xdp *xdp, const struct sluice_service_key *key, const uint8_t mac[6])
{
	uint32_t count = atomic_load(&xdp->served_count), index = 0;
	struct sluice_service service;

	while (index < count && !same_key(&xdp->served[index].key, key))
		index++;
	if (index == XDP_SERVICES_MAX)
		return -ENOSPC;
	memcpy(service.mac, mac, 6);
	service.index = (uint16_t)index;
	if (index == count) {
		xdp->served[index] = (struct xdp_served){ .key = *key, .service = service };
		atomic_store(&xdp->served_count, count + 1);
	}
	return bpf_map_update_elem(bpf_map__fd(xdp->bpf->maps.services), key, &service, BPF_ANY) < 0 ? -errno : 0;
}

static bool key_of(struct sluice_service_key *ret, const struct sockaddr *address, uint16_t port)
{
	*ret = (struct sluice_service_key){ .port_be = htons(port) };
	if (address->sa_family == AF_INET) {
		ret->ip[10] = ret->ip[11] = 0xff;
		memcpy(ret->ip + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6)
		memcpy(ret->ip, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
	return address->sa_family == AF_INET6;
}

/* The MAC address of the interface; false when it has none of Ethernet's. */
static bool mac_of(const struct xdp *xdp, const struct ifaddrs *all, uint8_t ret[6])
{
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		const struct sockaddr_ll *link = (const struct sockaddr_ll *)a->ifa_addr;

		if (!link || link->sll_family != AF_PACKET || link->sll_ifindex != xdp->ifindex || link->sll_halen != 6)
			continue;
		memcpy(ret, link->sll_addr, 6);
		return true;
	}
	return false;
}

int xdp_serve_port(struct xdp *xdp, uint16_t port)
{
	struct ifaddrs *all;
	uint8_t mac[6];
	int served = 0, error = 0;

	if (getifaddrs(&all) < 0)
		return -errno;
	if (!mac_of(xdp, all, mac))
		error = -EADDRNOTAVAIL;
	for (const struct ifaddrs *a = all; a && error == 0; a = a->ifa_next) {
		struct sluice_service_key key;

		if (!a->ifa_addr || strcmp(a->ifa_name, xdp->interface) != 0 || !key_of(&key, a->ifa_addr, port))
			continue;
		error = serve(xdp, &key, mac);
		served += error == 0;
	}
	freeifaddrs(all);
	return error < 0 ? error : served;
}

int xdp_service(const struct xdp *xdp, uint16_t index, struct sluice_service_key *ret_key,
		struct sluice_service *ret_service)
{
	if (index >= atomic_load(&xdp->served_count))
		return -ENOENT;
	*ret_key = xdp->served[index].key;
	*ret_service = xdp->served[index].service;
	return 0;
}

/* ------------------------------------------------------------------ sources */

/* "203.0.113.0/24", "2001:db8::/32", or an address alone. */
static int parse_prefix(const char *text, struct sluice_source_key *ret)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	unsigned long bits;
	char *end;

	*ret = (struct sluice_source_key){ 0 };
	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';

	bool is_v4 = inet_pton(AF_INET, address, ret->ip + 12) == 1;
	unsigned long whole = is_v4 ? 32 : 128;

	if (!is_v4 && inet_pton(AF_INET6, address, ret->ip) != 1)
		return -EINVAL;
	if (is_v4)
		ret->ip[10] = ret->ip[11] = 0xff;
	bits = slash ? strtoul(slash + 1, &end, 10) : whole;
	if (slash && (slash[1] < '0' || slash[1] > '9' || *end || bits > whole))
		return -EINVAL;
	ret->prefix_len = (uint32_t)(bits + 128 - whole);
	return 0;
}

int xdp_source_rule(struct xdp *xdp, const char *prefix, bool allow)
{
	uint32_t rule = allow ? SLUICE_SOURCE_ALLOW : SLUICE_SOURCE_DENY;
	struct sluice_source_key key;
	int error = parse_prefix(prefix, &key);

	if (error < 0)
		return error;
	if (bpf_map_update_elem(bpf_map__fd(xdp->bpf->maps.sources), &key, &rule, BPF_ANY) < 0)
		return -errno;
	__atomic_store_n(&xdp->config->acl_active, 1, __ATOMIC_RELEASE);
	return 0;
}

/* ------------------------------------------------------------------ while it runs */

void xdp_heartbeat(struct xdp *xdp)
{
	__atomic_store_n(&xdp->config->heartbeat_ns, (uint64_t)clock_mono_ns(), __ATOMIC_RELEASE);
}

struct sluice_durable_bucket *xdp_durable(struct xdp *xdp, uint64_t *ret_seed, uint32_t *ret_shift)
{
	*ret_seed = xdp->config->durable_seed;
	*ret_shift = xdp->config->durable_shift;
	return xdp->durable;
}

struct sluice_queue *xdp_queue_counters(struct xdp *xdp, uint32_t queue)
{
	return queue < SLUICE_QUEUES_MAX ? &xdp->queue_counters[queue] : NULL;
}

/* ret[0..n) of a per-CPU array, summed. */
static int sum_over_cpus(const struct bpf_map *map, uint64_t *ret, uint32_t n)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;

	CLEANUP_FREE uint64_t *values = calloc((size_t)cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (bpf_map_lookup_elem(bpf_map__fd(map), &i, values) < 0)
			return -errno;
		ret[i] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			ret[i] += values[cpu];
	}
	return 0;
}

int xdp_verdicts(const struct xdp *xdp, uint64_t ret[SLUICE_VERDICT_COUNT])
{
	uint64_t sums[SLUICE_VERDICT_COUNT];
	int error = sum_over_cpus(xdp->bpf->maps.verdicts, sums, SLUICE_VERDICT_COUNT);

	if (error == 0)
		memcpy(ret, sums, sizeof(sums));
	return error;
}

int xdp_shadowed(const struct xdp *xdp, uint64_t ret[SLUICE_VERDICT_COUNT])
{
	uint64_t sums[SLUICE_VERDICT_COUNT];
	int error = sum_over_cpus(xdp->bpf->maps.shadowed, sums, SLUICE_VERDICT_COUNT);

	if (error == 0)
		memcpy(ret, sums, sizeof(sums));
	return error;
}

int xdp_received(const struct xdp *xdp, uint64_t *ret)
{
	uint64_t sum;
	int error = sum_over_cpus(xdp->bpf->maps.received, &sum, 1);

	if (error == 0)
		*ret = sum;
	return error;
}

int xdp_queue(const struct xdp *xdp, uint32_t queue, struct sluice_queue *ret)
{
	if (queue >= SLUICE_QUEUES_MAX)
		return -ENOENT;

	const struct sluice_queue *q = &xdp->queue_counters[queue];

	*ret = (struct sluice_queue){
		.next_seq = __atomic_load_n(&q->next_seq, __ATOMIC_ACQUIRE),
		.seen_seq = __atomic_load_n(&q->seen_seq, __ATOMIC_ACQUIRE),
		.steered = __atomic_load_n(&q->steered, __ATOMIC_ACQUIRE),
	};
	return 0;
}

int xdp_run_time(const struct xdp *xdp, uint64_t *ret_ns, uint64_t *ret_runs)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(xdp->bpf->progs.sluice_gateway), &info, &len) < 0)
		return -errno;
	*ret_ns = info.run_time_ns;
	*ret_runs = info.run_cnt;
	return 0;
}

int xdp_program_id(const struct xdp *xdp)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(xdp->bpf->progs.sluice_gateway), &info, &len) < 0)
		return -errno;
	return (int)info.id;
}

uint32_t xdp_queues(const struct xdp *xdp)
{
	return xdp->queues;
}

const char *xdp_mode_name(const struct xdp *xdp)
{
	return xdp->mode;
}

const char *xdp_pin_folder(const struct xdp *xdp)
{
	return xdp->pins;
}

int xdp_socket_map_fd(const struct xdp *xdp)
{
	return bpf_map__fd(xdp->bpf->maps.xsks);
}

int xdp_ifindex(const struct xdp *xdp)
{
	return xdp->ifindex;
}

const char *xdp_interface(const struct xdp *xdp)
{
	return xdp->interface;
}
