/* What one setting alone does not show.  Each check is a function that refuses with a sentence; the first speaks. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/endpoint.h"
#include "base/macros.h"
#include "config/schema.h"

#define URL_MAX 511
#define REGION_MAX 32 /* CONTRACTS: the field `region` of Telemetry */
#define TOPIC_MAX 249 /* Kafka's own limit for a topic's name */

__attribute__((format(printf, 2, 3))) static int refuse(struct config_error *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* ------------------------------------------------------------------ one value at a time */

static int check_region(const char *setting, const char *name, struct config_error *e)
{
	char q[QUOTED_MAX];

	if (!*name)
		return refuse(e, "%s is empty: write the region's name, 1 to %d bytes", setting, REGION_MAX);
	if (strlen(name) > REGION_MAX)
		return refuse(e, "%s is \"%s\", longer than %d bytes: shorten the region's name", setting,
			      quoted(q, name), REGION_MAX);
	return 0;
}

/* "host:port[,host:port]" of n bytes. */
static bool brokers_fit(const char *text, size_t n)
{
	char *end;

	while (n > 0) {
		size_t len = strcspn(text, ",/");
		const char *colon = memrchr(text, ':', len);

		if (!colon || colon == text || colon[1] < '0' || colon[1] > '9')
			return false;

		unsigned long port = strtoul(colon + 1, &end, 10);

		if (end != text + len || port == 0 || port > UINT16_MAX)
			return false;
		if (len == n)
			return true;
		text += len + 1;
		n -= len + 1;
	}
	return false;
}

/* A stream's name is a topic's and a directory's alike. */
static bool stream_name_fits(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= TOPIC_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static bool url_fits(const char *url)
{
	const char *slash;

	if (strlen(url) > URL_MAX)
		return false;
	if (!strncmp(url, "embedded:/", 10))
		return stream_name_fits(strrchr(url, '/') + 1);
	if (strncmp(url, "kafka:", 6) != 0)
		return false;
	url += 6;
	slash = strchr(url, '/');
	return slash && brokers_fit(url, (size_t)(slash - url)) && stream_name_fits(slash + 1);
}

static int check_url(const char *setting, const char *url, struct config_error *e)
{
	char q[QUOTED_MAX];

	if (url_fits(url))
		return 0;
	return refuse(e, "%s is \"%s\": write embedded:/dir/NAME or kafka:host:port/NAME, NAME of letters, digits, '.', '_' "
			 "and '-', %d bytes at most", setting, quoted(q, url), URL_MAX);
}

static int check_power_of_two(const char *setting, int64_t v, struct config_error *e)
{
	int64_t below = 1;

	while (below * 2 <= v)
		below *= 2;
	if (below == v)
		return 0;
	return refuse(e, "%s is %lld, which is no power of two: write %lld or %lld", setting, (long long)v,
		      (long long)below, (long long)below * 2);
}

/* Reads at most n bytes; returns their number or negative errno. */
static ssize_t read_start(const char *path, char *ret, size_t n, struct stat *ret_stat)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, ret_stat) < 0)
		return -errno;
	if (!S_ISREG(ret_stat->st_mode))
		return S_ISDIR(ret_stat->st_mode) ? -EISDIR : -EINVAL;

	ssize_t got = read(fd, ret, n);

	return got < 0 ? -errno : got;
}

static int check_key_file(const char *setting, const char *path, struct config_error *e)
{
	char text[64], q[QUOTED_MAX];
	struct stat st;
	ssize_t n = read_start(path, text, sizeof(text) - 1, &st);
	size_t digits = 0, end;

	if (n < 0)
		return refuse(e, "%s: %s cannot be read: %s", setting, quoted(q, path), strerror((int)-n));
	text[n] = '\0';
	digits = strspn(text, "0123456789abcdefABCDEF");
	end = digits + strspn(text + digits, " \r\n\t");
	explicit_bzero(text, sizeof(text));
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return refuse(e, "%s: %s is open to others (mode %03o): chmod 600 it", setting, quoted(q, path),
			      st.st_mode & 0777);
	if (digits != 32 || end != (size_t)n)
		return refuse(e, "%s: %s does not hold a key: it must be 32 hex digits on one line", setting,
			      quoted(q, path));
	return 0;
}

static int check_prefix(const char *text, struct config_error *e)
{
	char address[INET6_ADDRSTRLEN], q[QUOTED_MAX], *end;
	struct sockaddr_storage where;
	socklen_t where_len;
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	if (len < sizeof(address)) {
		memcpy(address, text, len);
		address[len] = '\0';
		if (endpoint_of(address, 0, &where, &where_len) == 0) {
			unsigned long bits = 0, bits_max = where.ss_family == AF_INET ? 32 : 128;

			if (!slash)
				return 0;
			bits = strtoul(slash + 1, &end, 10);
			if (slash[1] >= '0' && slash[1] <= '9' && !*end && bits <= bits_max)
				return 0;
		}
	}
	return refuse(e, "limit.deny holds \"%s\": write a prefix such as 203.0.113.0/24 or 2001:db8::/32", quoted(q, text));
}

/* ------------------------------------------------------------------ what goes for every program */

struct named_url {
	const char *setting;
	const char *url;
};

static int check_streams(const struct settings *s, struct config_error *e)
{
	const struct named_url urls[] = {
		{ "streams.edge_telemetry", s->streams_edge_telemetry }, { "streams.region_log", s->streams_region_log },
		{ "streams.region_deltas", s->streams_region_deltas },   { "streams.region_alerts", s->streams_region_alerts },
		{ "streams.global_log", s->streams_global_log },         { "streams.global_windows", s->streams_global_windows },
		{ "streams.global_alerts", s->streams_global_alerts },
	};
	char q[QUOTED_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		if (!*urls[i].url)
			continue;
		if (check_url(urls[i].setting, urls[i].url, e) < 0)
			return -EINVAL;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(urls[i].url, urls[k].url))
				return refuse(e, "%s and %s are both \"%s\": give each its own stream", urls[k].setting,
					      urls[i].setting, quoted(q, urls[i].url));
	}
	return 0;
}

static int check_common(const struct settings *s, struct config_error *e)
{
	struct sockaddr_storage where;
	socklen_t where_len;
	char q[QUOTED_MAX];

	if (*s->node_region && check_region("node.region", s->node_region, e) < 0)
		return -EINVAL;
	if (*s->admin_listen && endpoint_parse(s->admin_listen, &where, &where_len) < 0)
		return refuse(e, "admin.listen is \"%s\": write address:port, such as 127.0.0.1:9464 or [::1]:0",
			      quoted(q, s->admin_listen));
	return check_streams(s, e);
}

/* ------------------------------------------------------------------ gateway */

static int need(const char *program, const char *setting, const char *value, const char *what, struct config_error *e)
{
	return *value ? 0 : refuse(e, "%s is empty: the %s needs %s", setting, program, what);
}

static int check_auth(const struct settings *s, struct config_error *e)
{
	if (s->auth_mode != AUTH_KEYED)
		return 0;
	if (!*s->auth_master_file)
		return refuse(e, "auth.master_file is empty: auth.mode keyed needs the file with the region's master key");
	if (check_key_file("auth.master_file", s->auth_master_file, e) < 0)
		return -EINVAL;
	return *s->auth_previous_file ? check_key_file("auth.previous_file", s->auth_previous_file, e) : 0;
}

static int check_xdp(const struct settings *s, struct config_error *e)
{
	char q[QUOTED_MAX];

	/* The UDP path has a durable table of its own, of the same size. */
	if (check_power_of_two("xdp.durable_buckets", s->xdp_durable_buckets, e) < 0)
		return -EINVAL;
	if (s->xdp_mode == XDP_OFF)
		return 0;
	if (!*s->xdp_interface)
		return refuse(e, "xdp.interface is empty: name the network interface (`ip link` lists them), or set xdp.mode to "
				 "off");
	if (strlen(s->xdp_interface) >= IFNAMSIZ || s->xdp_interface[strcspn(s->xdp_interface, "/ \t\n")])
		return refuse(e, "xdp.interface is \"%s\", which cannot be an interface's name: `ip link` lists them",
			      quoted(q, s->xdp_interface));
	return check_power_of_two("xdp.frames", s->xdp_frames, e);
}

static int check_gateway(const struct settings *s, struct config_error *e)
{
	struct sockaddr_storage where;
	socklen_t where_len;
	char q[QUOTED_MAX];

	if (strlen(s->node_id) > CONFIG_NODE_ID_MAX)
		return refuse(e, "node.id has %zu bytes: %d are the most that envelopes carry", strlen(s->node_id), CONFIG_NODE_ID_MAX);

	if (check_region("node.region", s->node_region, e) < 0 ||
	    need("gateway", "spool.dir", s->spool_dir, "a directory on a disk whose fsync can be trusted", e) < 0 ||
	    need("gateway", "streams.edge_telemetry", s->streams_edge_telemetry, "the stream that it publishes to", e) < 0 ||
	    check_auth(s, e) < 0 || check_xdp(s, e) < 0)
		return -EINVAL;
	if (endpoint_of(s->gateway_listen, 0, &where, &where_len) < 0)
		return refuse(e, "gateway.listen is \"%s\": write an IPv4 or IPv6 address, or 0.0.0.0 or :: for all",
			      quoted(q, s->gateway_listen));
	if (s->spool_segment_bytes > s->spool_size_bytes / 2)
		return refuse(e, "spool.size must hold two segments at least: raise it, or lower spool.segment");
	for (size_t i = 0; i < s->limit_deny.n; i++)
		if (check_prefix(s->limit_deny.items[i], e) < 0)
			return -EINVAL;
	return 0;
}

/* ------------------------------------------------------------------ regional and aggregator */

static int check_shards(const struct settings *s, struct config_error *e)
{
	const struct config_list *shards = &s->regional_shards;
	char q[QUOTED_MAX], *end;

	for (size_t i = 0; i < shards->n; i++) {
		const char *item = shards->items[i];
		unsigned long shard = strtoul(item, &end, 10);

		if (*item < '0' || *item > '9' || *end || shard >= (unsigned long)s->streams_partitions)
			return refuse(e, "regional.shards holds \"%s\": write whole numbers from 0 to %lld "
					 "(streams.partitions - 1)", quoted(q, item), (long long)s->streams_partitions - 1);
		for (size_t k = 0; k < i; k++)
			if (strtoul(shards->items[k], NULL, 10) == shard)
				return refuse(e, "regional.shards holds %lu twice: leave one out", shard);
	}
	return 0;
}

static int check_regional(const struct settings *s, struct config_error *e)
{
	char q[QUOTED_MAX];

	if (check_region("node.region", s->node_region, e) < 0 ||
	    need("regional", "streams.edge_telemetry", s->streams_edge_telemetry, "what gateways publish", e) < 0 ||
	    need("regional", "streams.region_log", s->streams_region_log, "a stream for the region's log", e) < 0 ||
	    need("regional", "streams.region_deltas", s->streams_region_deltas, "what the aggregator reads", e) < 0 ||
	    need("regional", "regional.registry", s->regional_registry, "the file of devices (CSV)", e) < 0)
		return -EINVAL;
	if (access(s->regional_registry, R_OK) < 0)
		return refuse(e, "regional.registry: %s cannot be read: %s", quoted(q, s->regional_registry), strerror(errno));
	return check_shards(s, e);
}

#define RECEIVERS_MAX 16 /* of a kind */

static int check_receivers(const char *setting, const struct config_list *urls, struct config_error *e)
{
	char q[QUOTED_MAX];

	if (urls->n > RECEIVERS_MAX)
		return refuse(e, "%s has %zu URLs: %d are the most", setting, urls->n, RECEIVERS_MAX);
	for (size_t i = 0; i < urls->n; i++) {
		const char *url = urls->items[i];
		size_t scheme = !strncmp(url, "http://", 7) ? 7 : !strncmp(url, "https://", 8) ? 8 : 0;

		if (scheme == 0 || !url[scheme] || url[scheme] == '/' || strlen(url) > URL_MAX || strpbrk(url, " \t\r\n"))
			return refuse(e, "%s holds \"%s\": write http://host:port/path or https://..., %d bytes at most", setting,
				      quoted(q, url), URL_MAX);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(urls->items[k], url))
				return refuse(e, "%s holds \"%s\" twice: leave one out", setting, quoted(q, url));
	}
	return 0;
}

static int check_alerts(const struct settings *s, struct config_error *e)
{
	char q[QUOTED_MAX];

	if (*s->alerts_rules && access(s->alerts_rules, R_OK) < 0)
		return refuse(e, "alerts.rules: %s cannot be read: %s", quoted(q, s->alerts_rules), strerror(errno));
	if (s->alerts_retry_base_ms > s->alerts_retry_max_ms)
		return refuse(e, "alerts.retry_base is longer than alerts.retry_max: raise the one, or lower the other");
	if (check_receivers("alerts.webhook", &s->alerts_webhook, e) < 0)
		return -EINVAL;
	return check_receivers("alerts.alertmanager", &s->alerts_alertmanager, e);
}

static int check_aggregator(const struct settings *s, struct config_error *e)
{
	const struct config_map *regions = &s->aggregator_regions;
	char setting[128], q[QUOTED_MAX];

	if (need("aggregator", "streams.global_log", s->streams_global_log, "a stream for its own log", e) < 0 ||
	    need("aggregator", "streams.global_windows", s->streams_global_windows, "a stream for windows", e) < 0 ||
	    need("aggregator", "streams.global_alerts", s->streams_global_alerts, "a stream for alerts", e) < 0)
		return -EINVAL;
	if (regions->n == 0)
		return refuse(e, "aggregator.regions is empty: write a line \"REGION: URL of its region.deltas\" for each region");
	for (size_t i = 0; i < regions->n; i++) {
		if (check_region("a name in aggregator.regions", regions->keys[i], e) < 0)
			return -EINVAL;
		snprintf(setting, sizeof(setting), "aggregator.regions.%s", regions->keys[i]);
		if (check_url(setting, regions->values[i], e) < 0)
			return -EINVAL;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(regions->values[k], regions->values[i]))
				return refuse(e, "aggregator.regions: %s and %s are both \"%s\": each region has its own stream",
					      regions->keys[k], regions->keys[i], quoted(q, regions->values[i]));
	}
	return check_alerts(s, e);
}

int config_check(const struct settings *s, const char *program, struct config_error *ret_error)
{
	static const struct {
		const char *program;
		int (*check)(const struct settings *s, struct config_error *e);
	} programs[] = { { "gateway", check_gateway }, { "regional", check_regional }, { "aggregator", check_aggregator } };

	if (check_common(s, ret_error) < 0)
		return -EINVAL;
	if (!program)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strcmp(program, programs[i].program))
			return programs[i].check(s, ret_error);
	return refuse(ret_error, "there is no program \"%s\": gateway, regional or aggregator", program);
}
