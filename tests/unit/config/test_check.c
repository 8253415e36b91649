#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "config/config.h"
#include "tests/unit/harness.h"

#define GATEWAY "node: {region: south}\nspool: {dir: /s}\nstreams: {edge_telemetry: \"embedded:/e/edge.telemetry\"}\n"
#define REGIONAL \
	"node: {region: south}\nregional: {registry: /dev/null}\nstreams: {edge_telemetry: \"kafka:a:1,[::1]:2/e\", " \
	"region_log: \"embedded:/l\", region_deltas: \"embedded:/d\"}\n"
#define AGGREGATOR \
	"streams: {global_log: \"embedded:/l\", global_windows: \"embedded:/w\", global_alerts: \"embedded:/a\"}\n"

/* "" stands for: nothing wrong. */
static void expect(const char *program, const char *text, const char *error)
{
	CLEANUP(config_done) struct settings s;
	struct config_error e = { "" };
	int r = config_parse(&s, "f.yaml", text, strlen(text), &e);

	if (r < 0)
		printf("  %s\n", e.text);
	ASSERT_OK(r);
	CU_ASSERT_EQUAL(config_check(&s, program, &e), *error ? -EINVAL : 0);
	if (strcmp(e.text, error) != 0)
		printf("  expected: %s\n  found:    %s\n", error, e.text);
	CU_ASSERT_STRING_EQUAL(e.text, error);
}

static void each_program_starts_with_what_it_needs(void)
{
	expect(NULL, "", "");
	expect("gateway", GATEWAY, "");
	expect("regional", REGIONAL, "");
	expect("aggregator", AGGREGATOR "aggregator: {regions: {south: \"embedded:/d\"}}", "");
	expect("archive", "", "there is no program \"archive\": gateway, regional or aggregator");
}

static void a_gateway_misses_what_it_needs(void)
{
	expect("gateway", "", "node.region is empty: write the region's name, 1 to 32 bytes");
	expect("gateway", "node: {region: south}",
	       "spool.dir is empty: the gateway needs a directory on a disk whose fsync can be trusted");
	expect("gateway", "node: {region: south}\nspool: {dir: /s}",
	       "streams.edge_telemetry is empty: the gateway needs the stream that it publishes to");
	expect("gateway", GATEWAY "gateway: {listen: localhost}",
	       "gateway.listen is \"localhost\": write an IPv4 or IPv6 address, or 0.0.0.0 or :: for all");
	expect("gateway", "node: {region: south}\nspool: {dir: /s, segment: 1GiB, size: 1GiB}\n"
			  "streams: {edge_telemetry: \"embedded:/e\"}",
	       "spool.size must hold two segments at least: raise it, or lower spool.segment");
}

static void a_regional_misses_what_it_needs(void)
{
	expect("regional", "node: {region: south}",
	       "streams.edge_telemetry is empty: the regional needs what gateways publish");
	expect("regional", "node: {region: south}\nstreams: {edge_telemetry: \"embedded:/e\"}",
	       "streams.region_log is empty: the regional needs a stream for the region's log");
	expect("regional", "node: {region: south}\nstreams: {edge_telemetry: \"embedded:/e\", region_log: \"embedded:/l\"}",
	       "streams.region_deltas is empty: the regional needs what the aggregator reads");
	expect("regional", "node: {region: south}\nstreams: {edge_telemetry: \"embedded:/e\", region_log: \"embedded:/l\", "
			   "region_deltas: \"embedded:/d\"}",
	       "regional.registry is empty: the regional needs the file of devices (CSV)");
	expect("regional", "node: {region: south}\nstreams: {edge_telemetry: \"embedded:/e\", region_log: \"embedded:/l\", "
			   "region_deltas: \"embedded:/d\"}\nregional: {registry: /nonexistent/devices.csv}",
	       "regional.registry: /nonexistent/devices.csv cannot be read: No such file or directory");
}

static void an_aggregator_misses_what_it_needs(void)
{
	expect("aggregator", "", "streams.global_log is empty: the aggregator needs a stream for its own log");
	expect("aggregator", AGGREGATOR,
	       "aggregator.regions is empty: write a line \"REGION: URL of its region.deltas\" for each region");
	expect("aggregator", AGGREGATOR "aggregator: {regions: {south: \"/d\"}}",
	       "aggregator.regions.south is \"/d\": write embedded:/dir/NAME or kafka:host:port/NAME, NAME of letters, digits, "
	       "'.', '_' and '-', 511 bytes at most");
	expect("aggregator", AGGREGATOR "aggregator: {regions: {\"\": \"embedded:/d\"}}",
	       "a name in aggregator.regions is empty: write the region's name, 1 to 32 bytes");
	expect("aggregator", AGGREGATOR "aggregator: {regions: {a: \"embedded:/d\", b: \"embedded:/d\"}}",
	       "aggregator.regions: a and b are both \"embedded:/d\": each region has its own stream");
}

static void shards_are_those_that_the_region_has(void)
{
	static const struct {
		const char *shards, *error;
	} cases[] = {
		{ "[0, 15]", "" },
		{ "[16]", "regional.shards holds \"16\": write whole numbers from 0 to 15 (streams.partitions - 1)" },
		{ "[1-3]", "regional.shards holds \"1-3\": write whole numbers from 0 to 15 (streams.partitions - 1)" },
		{ "[3, 03]", "regional.shards holds 3 twice: leave one out" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];

		snprintf(text, sizeof(text),
			 "node: {region: south}\nregional: {registry: /dev/null, shards: %s}\n"
			 "streams: {edge_telemetry: \"embedded:/e\", region_log: \"embedded:/l\", region_deltas: \"embedded:/d\"}",
			 cases[i].shards);
		expect("regional", text, cases[i].error);
	}
}

static void a_region_has_1_to_32_bytes(void)
{
	expect(NULL, "node: {region: 12345678901234567890123456789012}", "");
	expect(NULL, "node: {region: 123456789012345678901234567890123}",
	       "node.region is \"123456789012345678901234567890123\", longer than 32 bytes: shorten the region's name");
}

static void a_url_names_a_backend_and_a_stream(void)
{
	static const char *const good[] = { "embedded:/a", "embedded:/a/b.c_d-e", "kafka:broker:9092/edge",
					    "kafka:a:1,b:2,[2001:db8::1]:65535/s.edge" };
	static const char *const bad[] = { "embedded:a",       "embedded:/",        "embedded:/a/",    "embedded:/a b",
					   "embedded:/..",     "kafka:/t",          "kafka:a/t",       "kafka:a:0/t",
					   "kafka:a:65536/t",  "kafka:a:1/",        "kafka:a:1/t/u",   "kafka:a:1,/t",
					   "kafka::1/t",       "kafka:a:+1/t",      "kafka:a:1",       "file:/a",
					   "kafka:a:1x/t",     "Embedded:/a" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		char text[128];

		snprintf(text, sizeof(text), "streams: {region_alerts: \"%s\"}", good[i]);
		expect(NULL, text, "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[128], error[256];

		snprintf(text, sizeof(text), "streams: {region_alerts: \"%s\"}", bad[i]);
		snprintf(error, sizeof(error),
			 "streams.region_alerts is \"%s\": write embedded:/dir/NAME or kafka:host:port/NAME, NAME of letters, "
			 "digits, '.', '_' and '-', 511 bytes at most", bad[i]);
		expect(NULL, text, error);
	}
	expect(NULL, "streams: {region_log: \"embedded:/a\", global_log: \"embedded:/a\"}",
	       "streams.region_log and streams.global_log are both \"embedded:/a\": give each its own stream");
}

static void the_admin_address_is_numeric(void)
{
	expect(NULL, "admin: {listen: \"\"}", "");
	expect(NULL, "admin: {listen: \"[::1]:9464\"}", "");
	static const char *const bad[] = { "localhost:1", "127.0.0.1", "::1:9464", "[127.0.0.1]:1", "127.0.0.1:65536", ":1",
					   "127.0.0.1:", "[]:1" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[128], error[256];

		snprintf(text, sizeof(text), "admin: {listen: \"%s\"}", bad[i]);
		snprintf(error, sizeof(error),
			 "admin.listen is \"%s\": write address:port, such as 127.0.0.1:9464 or [::1]:0", bad[i]);
		expect(NULL, text, error);
	}
}

static void xdp_needs_an_interface_and_powers_of_two(void)
{
	expect("gateway", GATEWAY "xdp: {mode: off, frames: 100}", "");
	expect("gateway", GATEWAY "xdp: {mode: auto, interface: eth0}", "");
	expect("gateway", GATEWAY "xdp: {mode: auto}",
	       "xdp.interface is empty: name the network interface (`ip link` lists them), or set xdp.mode to off");
	expect("gateway", GATEWAY "xdp: {mode: native, interface: abcdefghijklmnop}",
	       "xdp.interface is \"abcdefghijklmnop\", which cannot be an interface's name: `ip link` lists them");
	expect("gateway", GATEWAY "xdp: {mode: native, interface: eth0, frames: 100}",
	       "xdp.frames is 100, which is no power of two: write 64 or 128");
	expect("gateway", GATEWAY "xdp: {mode: native, interface: eth0, durable_buckets: 1025}",
	       "xdp.durable_buckets is 1025, which is no power of two: write 1024 or 2048");
}

static void denied_prefixes_are_prefixes(void)
{
	static const char *const bad[] = { "203.0.113.0/33", "2001:db8::/129", "10.0.0/8", "any", "10.0.0.0/", "10.0.0.0/8x",
					   "" };

	expect("gateway", GATEWAY "limit: {deny: [203.0.113.0/24, \"2001:db8::/32\", 10.0.0.1, 0.0.0.0/0]}", "");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[512], error[256];

		snprintf(text, sizeof(text), GATEWAY "limit: {deny: [\"%s\"]}", bad[i]);
		snprintf(error, sizeof(error),
			 "limit.deny holds \"%s\": write a prefix such as 203.0.113.0/24 or 2001:db8::/32", bad[i]);
		expect("gateway", text, error);
	}
}

static void expect_key(const char *path, const char *content, mode_t mode, const char *error)
{
	char text[512], full[512] = "";
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
	close(fd);
	snprintf(text, sizeof(text), GATEWAY "auth: {mode: keyed, master_file: %s}", path);
	if (*error)
		snprintf(full, sizeof(full), "auth.master_file: %s %s", path, error);
	expect("gateway", text, full);
}

static void a_key_file_is_private_and_holds_32_hex_digits(void)
{
	char folder[] = "/tmp/sluice-key-XXXXXX", path[64];
	const char *no_key = "does not hold a key: it must be 32 hex digits on one line";

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/k", folder);
	expect_key(path, "000102030405060708090a0b0c0d0e0F\n", 0600, "");
	expect_key(path, "000102030405060708090a0b0c0d0e0f", 0400, "");
	expect_key(path, "000102030405060708090a0b0c0d0e0f\n", 0640, "is open to others (mode 640): chmod 600 it");
	expect_key(path, "000102030405060708090a0b0c0d0e0f\n", 0604, "is open to others (mode 604): chmod 600 it");
	expect_key(path, "000102030405060708090a0b0c0d0e0\n", 0600, no_key);
	expect_key(path, "000102030405060708090a0b0c0d0e0f0\n", 0600, no_key);
	expect_key(path, "000102030405060708090a0b0c0d0e0f\nmore\n", 0600, no_key);
	expect_key(path, "", 0600, no_key);
	unlink(path);
	rmdir(folder);
	expect("gateway", GATEWAY "auth: {mode: keyed}",
	       "auth.master_file is empty: auth.mode keyed needs the file with the region's master key");
	expect("gateway", GATEWAY "auth: {mode: keyed, master_file: /nonexistent/k}",
	       "auth.master_file: /nonexistent/k cannot be read: No such file or directory");
	expect("gateway", GATEWAY "auth: {mode: keyed, master_file: /tmp}",
	       "auth.master_file: /tmp cannot be read: Is a directory");
}

TESTS("config-check", T(each_program_starts_with_what_it_needs), T(a_gateway_misses_what_it_needs),
      T(a_regional_misses_what_it_needs), T(an_aggregator_misses_what_it_needs), T(shards_are_those_that_the_region_has),
      T(a_region_has_1_to_32_bytes), T(a_url_names_a_backend_and_a_stream), T(the_admin_address_is_numeric),
      T(xdp_needs_an_interface_and_powers_of_two), T(denied_prefixes_are_prefixes),
      T(a_key_file_is_private_and_holds_32_hex_digits))
