#include "ctl/testbed.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/spawn.h"
#include "net/loader.h"

static const struct {
	const char *ns, *nic, *fleet_end, *root_end, *gateway_ip, *admin_ip, *fleet_net, *gateway_net, *root_net, *admin_net;
} regions[TESTBED_REGIONS] = {
	{ "sluice-eu", "nic-eu", "to-eu", "sluice-m0", "198.18.0.2", "198.19.0.2", "198.18.0.1/24", "198.18.0.2/24", "198.19.0.1/30", "198.19.0.2/30" },
	{ "sluice-us", "nic-us", "to-us", "sluice-m1", "198.18.1.2", "198.19.1.2", "198.18.1.1/24", "198.18.1.2/24", "198.19.1.1/30", "198.19.1.2/30" },
	{ "sluice-ap", "nic-ap", "to-ap", "sluice-m2", "198.18.2.2", "198.19.2.2", "198.18.2.1/24", "198.18.2.2/24", "198.19.2.1/30", "198.19.2.2/30" },
};
static const char fleet_ns[] = "sluice-fleet";

const char *testbed_namespace(int region)
{
	return regions[region].ns;
}

const char *testbed_nic(int region)
{
	return regions[region].nic;
}

const char *testbed_fleet_namespace(void)
{
	return fleet_ns;
}

const char *testbed_gateway_ip(int region)
{
	return regions[region].gateway_ip;
}

const char *testbed_admin_ip(int region)
{
	return regions[region].admin_ip;
}

/* Words of one command line, split at blanks. */
static int run(struct testbed_error *error, const char *line)
{
	char words[256], output[256];
	const char *argv[24];
	size_t n = 0;

	snprintf(words, sizeof(words), "%s", line);
	for (char *save, *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		must(n + 1 < ARRAY_SIZE(argv));
		argv[n++] = word;
	}
	argv[n] = NULL;

	int status = command_run(argv, output, sizeof(output));

	if (status == 0 || !error)
		return status;
	output[strcspn(output, "\n")] = 0;
	snprintf(error->text, sizeof(error->text), "`%s` failed: %s", line, status == 127 ? "not installed" : output);
	return status < 0 ? status : -EIO;
}

/* Ends the programs that still run in a namespace, by pid. */
static void end_programs(const char *ns)
{
	const char *const argv[] = { "ip", "netns", "pids", ns, NULL };
	char output[4096];

	if (command_run(argv, output, sizeof(output)) != 0)
		return;
	for (char *save, *word = strtok_r(output, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		pid_t pid = atoi(word);

		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	}
}

static void remove_namespace(const char *ns)
{
	char path[128], line[128];

	snprintf(path, sizeof(path), "/run/netns/%s", ns);
	if (access(path, F_OK) < 0)
		return;
	end_programs(ns);
	snprintf(line, sizeof(line), "ip netns del %s", ns);
	run(NULL, line);
}

void testbed_clean(void)
{
	for (int i = 0; i < TESTBED_REGIONS; i++) {
		char path[128], line[128];

		remove_namespace(regions[i].ns);
		snprintf(path, sizeof(path), "/sys/class/net/%s", regions[i].root_end);
		snprintf(line, sizeof(line), "ip link del %s", regions[i].root_end);
		if (access(path, F_OK) == 0)
			run(NULL, line);
	}
	remove_namespace(fleet_ns);
}

void testbed_down(void)
{
	testbed_clean();
}

/* What the gateway's program answers by itself is seen at the other end only with an XDP program there. */
static int let_pass(const char *interface, struct testbed_error *error)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/%s", fleet_ns);

	CLEANUP_CLOSE int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fleets = open(path, O_RDONLY | O_CLOEXEC);
	int r = ours < 0 || fleets < 0 || setns(fleets, CLONE_NEWNET) < 0 ? -errno : 0;

	if (r == 0) {
		r = xdp_let_pass(interface);
		must(setns(ours, CLONE_NEWNET) == 0); /* everything after it would be in the wrong place */
	}
	if (r < 0)
		snprintf(error->text, sizeof(error->text), "no XDP program can be put on %s in %s: %s", interface, fleet_ns, strerror(-r));
	return r;
}

static int build_region(int i, struct testbed_error *error)
{
	const char *ns = regions[i].ns, *nic = regions[i].nic, *far = regions[i].fleet_end, *root = regions[i].root_end;
	char lines[14][160];
	size_t n = 0;
	int r = 0;

#define LINE(...) snprintf(lines[n++], sizeof(lines[0]), __VA_ARGS__)
	LINE("ip netns add %s", ns);
	LINE("ip link add %s netns %s type veth peer name %s netns %s", far, fleet_ns, nic, ns);
	LINE("ip link add %s type veth peer name mgmt0 netns %s", root, ns);
	LINE("ip -n %s addr add %s dev %s", fleet_ns, regions[i].fleet_net, far);
	LINE("ip -n %s addr add %s dev %s", ns, regions[i].gateway_net, nic);
	LINE("ip addr add %s dev %s", regions[i].root_net, root);
	LINE("ip -n %s addr add %s dev mgmt0", ns, regions[i].admin_net);
	LINE("ip -n %s link set %s up", fleet_ns, far);
	LINE("ip -n %s link set %s up", ns, nic);
	LINE("ip -n %s link set lo up", ns);
	LINE("ip link set %s up", root);
	LINE("ip -n %s link set mgmt0 up", ns);
#undef LINE
	must(n <= ARRAY_SIZE(lines));
	for (size_t k = 0; k < n && r == 0; k++)
		r = run(error, lines[k]);
	return r == 0 ? let_pass(far, error) : r;
}

int testbed_up(struct testbed_error *ret_error)
{
	char line[64];

	snprintf(line, sizeof(line), "ip netns add %s", fleet_ns);

	int r = run(ret_error, line);

	for (int i = 0; i < TESTBED_REGIONS && r == 0; i++)
		r = build_region(i, ret_error);
	if (r != 0)
		testbed_down();
	return r;
}
