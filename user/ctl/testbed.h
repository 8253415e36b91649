/* The demo's network: a namespace a region with a "NIC" (one end of a veth pair), one namespace for the fleet at the
 * other ends, and a management veth from each region to the root namespace for the admin ports.
 *
 *     fleet namespace                          region namespace                root namespace
 *     198.18.R.1  to-R ════════ veth ═══════ nic-R  198.18.R.2
 *                                             mgmt0 198.19.R.2 ═════ veth ═════ sluice-R 198.19.R.1
 *
 * The addresses are of RFC 2544's range for benchmarks, which no network routes.  Everything made here has names that
 * begin with "sluice-", so that what a crashed run left is found and removed by the next.
 */
#pragma once

#include <stdbool.h>

#define TESTBED_REGIONS 3

struct testbed_error {
	char text[512];
};

/* Removes what an earlier run left: namespaces, and the programs that still run in them. */
void testbed_clean(void);
/* 0 or negative errno with what failed. */
int testbed_up(struct testbed_error *ret_error);
void testbed_down(void);

const char *testbed_namespace(int region);
const char *testbed_nic(int region); /* pins are by name: no two regions share one */
const char *testbed_fleet_namespace(void);
const char *testbed_gateway_ip(int region); /* where the fleet sends */
const char *testbed_admin_ip(int region);   /* as seen from the root namespace */
