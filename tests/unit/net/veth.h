/* A cable between two network namespaces of the test's own: `gateway` with the NIC under test, `peer` with a device.
 * They live as long as the process: nothing stays behind, whatever happens.
 *
 *     peer: 10.77.0.2, fd77::2, fe80::2  ── veth ──  gateway: 10.77.0.1, fd77::1, fe80::1
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/harness.h"

#define VETH_DEADLINE_NS (5 * NS_PER_S)

/* Until the condition holds, or the deadline has passed: false. */
#define VETH_UNTIL(condition)                                                        \
	({                                                                           \
		int64_t end_ns_ = clock_mono_ns() + VETH_DEADLINE_NS;                \
		bool holds_;                                                         \
		while (!(holds_ = (condition)) && clock_mono_ns() < end_ns_)         \
			poll(NULL, 0, 1);                                            \
		holds_;                                                              \
	})

struct veth {
	int home_ns, gateway_ns, peer_ns;
	char gateway[IF_NAMESIZE], peer[IF_NAMESIZE]; /* interfaces */
};

__attribute__((format(printf, 1, 2))) static inline bool veth_run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

static inline void veth_enter(int ns)
{
	CU_ASSERT_FATAL(setns(ns, CLONE_NEWNET) == 0);
}

static inline int veth_new_namespace(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	/* Addresses of IPv6 are usable at once; link-local ones are ours to give, the kernel's come a second late. */
	veth_run("ip link set lo up; cd /proc/sys/net/ipv6/conf/default && echo 0 > accept_dad && echo 1 > addr_gen_mode");
	return fd;
}

static inline void veth_done(struct veth *v)
{
	if (v->home_ns >= 0)
		veth_enter(v->home_ns);
	close(v->home_ns);
	close(v->gateway_ns);
	close(v->peer_ns);
}

/* Enters the gateway's namespace, both ends up; false when this machine does not let us. */
static inline bool veth_init(struct veth *v)
{
	static unsigned count; /* pins of a test that failed do not disturb the next */
	bool made;

	snprintf(v->gateway, sizeof(v->gateway), "sg%dx%u", getpid() % 100000, count % 1000);
	snprintf(v->peer, sizeof(v->peer), "sp%dx%u", getpid() % 100000, count++ % 1000);
	v->gateway_ns = v->peer_ns = -1;
	v->home_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	v->peer_ns = veth_new_namespace();
	v->gateway_ns = v->peer_ns < 0 ? -1 : veth_new_namespace();
	made = v->gateway_ns >= 0 &&
	       veth_run("ip link add %s type veth peer name %s netns /proc/%d/fd/%d && "
			"ip addr add 10.77.0.1/24 dev %s && ip addr add fd77::1/64 dev %s && "
			"ip addr add fe80::1/64 dev %s && ip link set %s up",
			v->gateway, v->peer, getpid(), v->peer_ns, v->gateway, v->gateway, v->gateway, v->gateway);
	if (made) {
		veth_enter(v->peer_ns);
		made = veth_run("ip addr add 10.77.0.2/24 dev %s && ip addr add fd77::2/64 dev %s && "
				"ip addr add fe80::2/64 dev %s && ip link set %s up",
				v->peer, v->peer, v->peer, v->peer);
		veth_enter(v->gateway_ns);
	}
	if (!made)
		veth_done(v);
	return made;
}

/* A device's socket, connected: it takes answers from the address that was asked only. */
static inline int veth_device(const struct veth *v, const char *ip, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool is_v6 = inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1;
	int fd;

	veth_enter(v->peer_ns);
	v6.sin6_scope_id = if_nametoindex(v->peer);
	fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(fd >= 0 && (is_v6 || inet_pton(AF_INET, ip, &v4.sin_addr) == 1));
	ASSERT_OK(connect(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, is_v6 ? sizeof(v6) : sizeof(v4))
			  ? -errno : 0);
	veth_enter(v->gateway_ns);
	return fd;
}

static inline bool veth_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, clock_poll_ms(clock_mono_ns() + VETH_DEADLINE_NS)) == 1;
}
