/* The UDP socket as a packet source: works everywhere, and takes what the XDP program passes up.
 *
 *            recvmmsg, <= 64 a call                            sendmmsg, once a flush
 *   socket ─────────────────────────> slots[64] ─> worker ─> answers[256] ─────────> socket
 *            PKTINFO: the address that was asked ──> own[256] ──> PKTINFO: the address that answers
 *
 * A socket bound to "any" would answer from whatever address the route prefers, and a device drops an answer from
 * an address that it did not ask.  So the own address of each datagram is remembered: it stands in the small table
 * `own`, and the stub carries its place there (RECORDED below).  The table only grows; a host that is asked at more
 * than 256 addresses lets the route choose for the rest.
 *
 * Loss: the kernel counts what it drops at a full socket (sk_drops).  SO_MEMINFO reads that counter at any time, so
 * that the loss behind the last datagram is seen too; it is 32 bits wide and extended here, which SO_RXQ_OVFL (the
 * same counter, with each datagram) makes safe between two looks.
 *
 * Cost: about 0.6 us a datagram in the kernel, next to nothing here.  1.5 KiB a slot.
 */
#include "net/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endpoint.h"

#define SLOTS 64
#define ANSWERS 256
#define ANSWER_MAX 64 /* twice what any answer of ours needs */
#define OWN_MAX 256
#define RECEIVE_BUFFER (4 << 20)
#define SEND_BUFFER (1 << 20) /* a whole flush, with the kernel's overhead */
#define ROUNDS_MAX 4 /* system calls of one receive() that may give nothing but multicast */
#define QUEUED_MAX_NS (10 * NS_PER_S) /* a stamp older than this comes from a clock that was set */

/* In stub.flags: stub.peer_mac begins with the place in `own` (uint16). */
#define RECORDED 1

struct slot {
	uint8_t message[SLUICE_MESSAGE_BUF];
	struct sockaddr_in6 peer; /* or sockaddr_in */
	/* SO_TIMESTAMPNS, SO_RXQ_OVFL, and IP_PKTINFO beside IPV6_PKTINFO on a dual-stack socket. */
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t)) +
						 CMSG_SPACE(sizeof(struct in_pktinfo)) +
						 CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct answer_out {
	uint8_t bytes[ANSWER_MAX];
	struct sockaddr_in6 peer;
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct own_address {
	uint8_t ip[16]; /* IPv6, or IPv4 mapped */
	uint32_t ifindex; /* of link-local ones, else 0: the route decides */
};

struct source_udp {
	struct source source;
	int fd;
	bool is_v6;
	struct own_address own[OWN_MAX];
	unsigned own_count;
	unsigned own_last; /* where the last one was found */
	unsigned pending;
	uint32_t drops; /* the kernel's counter when last seen */
	struct source_stats stats;
	struct mmsghdr in[SLOTS];
	struct iovec in_iov[SLOTS];
	struct slot slots[SLOTS];
	struct mmsghdr out[ANSWERS];
	struct iovec out_iov[ANSWERS];
	struct answer_out answers[ANSWERS];
};

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static bool ip_is_mapped(const uint8_t ip[16])
{
	return memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static void ip_map(uint8_t ret[16], const struct in_addr *v4)
{
	memcpy(ret, mapped_prefix, sizeof(mapped_prefix));
	memcpy(ret + 12, v4, 4);
}

/* ------------------------------------------------------------------ receive */

/* What the control messages of one datagram say. */
struct control {
	struct own_address own;
	bool has_own;
	bool to_group; /* multicast or broadcast */
	int64_t wall_ns;
};

static void read_pktinfo_v4(struct control *c, const struct cmsghdr *m)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(m), sizeof(info));
	c->has_own = true;
	c->own.ifindex = 0;
	ip_map(c->own.ip, &info.ipi_addr);
	/* The kernel would answer a unicast datagram from the very address that it was sent to, others not.  It does
	 * not say for those that were queued before IP_PKTINFO was asked for (on a socket that was taken over). */
	c->to_group = IN_MULTICAST(ntohl(info.ipi_addr.s_addr)) || info.ipi_addr.s_addr == INADDR_BROADCAST ||
		      (info.ipi_spec_dst.s_addr != 0 && info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr);
}

static void read_pktinfo_v6(struct control *c, const struct cmsghdr *m)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(m), sizeof(info));
	if (IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr))
		return; /* IP_PKTINFO says more */
	c->has_own = true;
	c->own.ifindex = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? (uint32_t)info.ipi6_ifindex : 0;
	memcpy(c->own.ip, &info.ipi6_addr, 16);
	c->to_group = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}

static void note_drops(struct source_udp *u, uint32_t drops)
{
	u->stats.lost += (uint32_t)(drops - u->drops);
	u->drops = drops;
}

static struct control read_control(struct source_udp *u, struct msghdr *message)
{
	struct control c = { 0 };

	for (struct cmsghdr *m = CMSG_FIRSTHDR(message); m; m = CMSG_NXTHDR(message, m)) {
		if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SO_RXQ_OVFL) {
			uint32_t drops;

			memcpy(&drops, CMSG_DATA(m), sizeof(drops));
			/* Stamped before queueing: two CPUs may have put theirs in the other order. */
			if ((int32_t)(drops - u->drops) > 0)
				note_drops(u, drops);
		} else if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(m), sizeof(t));
			c.wall_ns = t.tv_sec * NS_PER_S + t.tv_nsec;
		} else if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == IP_PKTINFO) {
			read_pktinfo_v4(&c, m);
		} else if (m->cmsg_level == IPPROTO_IPV6 && m->cmsg_type == IPV6_PKTINFO) {
			read_pktinfo_v6(&c, m);
		}
	}
	return c;
}

/* The place of an own address, or OWN_MAX when the table is full. */
static unsigned own_place(struct source_udp *u, const struct own_address *own)
{
	if (u->own_last < u->own_count && !memcmp(&u->own[u->own_last], own, sizeof(*own)))
		return u->own_last;
	for (unsigned i = 0; i < u->own_count; i++)
		if (!memcmp(&u->own[i], own, sizeof(*own)))
			return u->own_last = i;
	if (u->own_count == OWN_MAX)
		return OWN_MAX;
	u->own[u->own_count] = *own;
	return u->own_last = u->own_count++;
}

static void fill_stub(struct source_udp *u, struct reply_stub *stub, const struct slot *slot, const struct control *c)
{
	*stub = (struct reply_stub){ .service = UINT16_MAX };
	if (slot->peer.sin6_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&slot->peer;

		ip_map(stub->peer_ip, &v4->sin_addr);
		stub->peer_port_be = v4->sin_port;
	} else {
		memcpy(stub->peer_ip, &slot->peer.sin6_addr, 16);
		stub->peer_port_be = slot->peer.sin6_port;
		stub->scope_id = slot->peer.sin6_scope_id;
	}

	unsigned place = c->has_own ? own_place(u, &c->own) : OWN_MAX;
	uint16_t narrow = (uint16_t)place;

	if (place < OWN_MAX) {
		memcpy(stub->peer_mac, &narrow, sizeof(narrow));
		stub->flags = RECORDED;
	}
}

/* How long ago the kernel took it, by the wall clock, put on the monotonic one. */
static uint64_t arrival_of(int64_t stamp_wall_ns, int64_t now_wall_ns, int64_t now_mono_ns)
{
	int64_t queued_ns = now_wall_ns - stamp_wall_ns;

	if (stamp_wall_ns == 0 || queued_ns < 0 || queued_ns > QUEUED_MAX_NS)
		queued_ns = 0;
	return (uint64_t)(now_mono_ns - queued_ns);
}

static bool is_transient(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case ENOMEM:
	case ENOBUFS:
	case ECONNREFUSED: /* what ICMP said about an earlier answer */
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case EMSGSIZE:
	case EPROTO:
		return true;
	}
	return false;
}

static unsigned hand_out(struct source_udp *u, struct datagram *ret, unsigned n)
{
	int64_t wall_ns = clock_wall_ns(), mono_ns = clock_mono_ns();
	unsigned given = 0;

	for (unsigned i = 0; i < n; i++) {
		struct control c = read_control(u, &u->in[i].msg_hdr);
		struct datagram *d = &ret[given];

		if (c.to_group) {
			u->stats.multicast++;
			continue;
		}
		*d = (struct datagram){ .message = u->slots[i].message, .len = (uint16_t)u->in[i].msg_len };
		fill_stub(u, &d->stub, &u->slots[i], &c);
		d->stub.request_len = d->len;
		d->stub.arrival_ns = arrival_of(c.wall_ns, wall_ns, mono_ns);
		u->stats.received++;
		u->stats.bytes += d->len;
		given++;
	}
	return given;
}

static int udp_receive(struct source *source, struct datagram *ret, unsigned n)
{
	struct source_udp *u = container_of(source, struct source_udp, source);
	unsigned given = 0, room = MIN(n, (unsigned)SLOTS);

	for (int round = 0; given == 0 && round < ROUNDS_MAX; round++) {
		for (unsigned i = 0; i < room; i++) {
			u->in[i].msg_hdr.msg_namelen = sizeof(u->slots[i].peer);
			u->in[i].msg_hdr.msg_controllen = sizeof(u->slots[i].control);
		}

		int got = recvmmsg(u->fd, u->in, room, MSG_DONTWAIT, NULL);

		if (got < 0)
			return is_transient(errno) ? 0 : -errno;
		if (got == 0)
			return 0;
		given = hand_out(u, ret, (unsigned)got);
	}
	return (int)given;
}

/* ------------------------------------------------------------------ reply */

static void address_peer(const struct source_udp *u, struct msghdr *message, struct answer_out *out,
			 const struct reply_stub *stub)
{
	if (u->is_v6) {
		out->peer = (struct sockaddr_in6){
			.sin6_family = AF_INET6, .sin6_port = stub->peer_port_be, .sin6_scope_id = stub->scope_id,
		};
		memcpy(&out->peer.sin6_addr, stub->peer_ip, 16);
		message->msg_namelen = sizeof(struct sockaddr_in6);
		return;
	}

	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = stub->peer_port_be };

	memcpy(&v4.sin_addr, stub->peer_ip + 12, 4);
	memcpy(&out->peer, &v4, sizeof(v4));
	message->msg_namelen = sizeof(v4);
}

static void put_control(struct msghdr *message, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *m = message->msg_control;

	m->cmsg_level = level;
	m->cmsg_type = type;
	m->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(m), value, len);
	message->msg_controllen = CMSG_SPACE(len);
}

/* Which address to answer from.  To an IPv4 peer IP_PKTINFO is understood on an IPv6 socket too. */
static void address_own(const struct source_udp *u, struct msghdr *message, const struct reply_stub *stub)
{
	uint16_t place;

	message->msg_controllen = 0;
	if (!(stub->flags & RECORDED))
		return;
	memcpy(&place, stub->peer_mac, sizeof(place));
	must(place < u->own_count);

	const struct own_address *own = &u->own[place];

	if (ip_is_mapped(own->ip)) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, own->ip + 12, 4);
		put_control(message, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_ifindex = own->ifindex };

		memcpy(&info.ipi6_addr, own->ip, 16);
		put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

static int udp_reply(struct source *source, const struct reply_stub *stub, const void *answer, size_t len)
{
	struct source_udp *u = container_of(source, struct source_udp, source);

	if (len > ANSWER_MAX)
		return -EMSGSIZE;
	if (u->pending == ANSWERS)
		return -ENOBUFS;

	struct answer_out *out = &u->answers[u->pending];
	struct msghdr *message = &u->out[u->pending].msg_hdr;

	memcpy(out->bytes, answer, len);
	u->out_iov[u->pending].iov_len = len;
	message->msg_control = out->control;
	address_peer(u, message, out, stub);
	address_own(u, message, stub);
	if (message->msg_controllen == 0)
		message->msg_control = NULL;
	u->pending++;
	return 0;
}

/* An answer that cannot be sent now is dropped and counted: the device will ask again. */
static int udp_flush(struct source *source)
{
	struct source_udp *u = container_of(source, struct source_udp, source);
	unsigned done = 0, pending = u->pending;

	u->pending = 0;
	while (done < pending) {
		int sent = sendmmsg(u->fd, u->out + done, pending - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			u->stats.sent += (unsigned)sent;
			done += (unsigned)sent;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno == EBADF || errno == ENOTSOCK) {
			u->stats.send_failed += pending - done;
			return -errno;
		} else if (errno != EINTR) {
			u->stats.send_failed++; /* this one: a peer or own address that is no more */
			done++;
		}
	}
	u->stats.send_failed += pending - done;
	return 0;
}

static int udp_fd(const struct source *source)
{
	return container_of(source, const struct source_udp, source)->fd;
}

static void udp_stats(const struct source *source, struct source_stats *ret)
{
	const struct source_udp *u = container_of(source, const struct source_udp, source);
	uint32_t memory[SK_MEMINFO_VARS];
	socklen_t len = sizeof(memory);

	*ret = u->stats;
	if (getsockopt(u->fd, SOL_SOCKET, SO_MEMINFO, memory, &len) < 0 || len <= SK_MEMINFO_DROPS * sizeof(memory[0]))
		return;
	ret->lost += (uint32_t)(memory[SK_MEMINFO_DROPS] - u->drops);
	ret->ring_used = memory[SK_MEMINFO_RMEM_ALLOC];
	ret->ring_size = memory[SK_MEMINFO_RCVBUF];
}

static void udp_free(struct source *source)
{
	if (!source)
		return;

	struct source_udp *u = container_of(source, struct source_udp, source);

	close(u->fd);
	free(u);
}

static const struct source_ops udp_ops = {
	.name = "udp",
	.receive = udp_receive,
	.reply = udp_reply,
	.flush = udp_flush,
	.fd = udp_fd,
	.stats = udp_stats,
	.free = udp_free,
};

/* ------------------------------------------------------------------ socket */

static int set_on(int fd, int level, int option)
{
	return setsockopt(fd, level, option, &(int){ 1 }, sizeof(int)) < 0 ? -errno : 0;
}

static int open_socket(const char *ip, uint16_t port, bool shared)
{
	struct sockaddr_storage where;
	socklen_t len;
	int error = endpoint_of(ip, port, &where, &len);

	if (error < 0)
		return error;

	CLEANUP_CLOSE int fd = socket(where.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (where.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int)) < 0)
		return -errno;
	if (shared && (error = set_on(fd, SOL_SOCKET, SO_REUSEPORT)) < 0)
		return error;
	if (bind(fd, (struct sockaddr *)&where, len) < 0)
		return -errno;

	int ret = fd;

	fd = -1;
	return ret;
}

/* Beyond net.core.{r,w}mem_max where we may, else as far as they let us. */
static void set_buffer(int fd, int forced, int asked, int size)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, asked, &size, sizeof(size));
}

static int set_options(int fd, bool is_v6)
{
	int error;

	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
	if ((error = set_on(fd, SOL_SOCKET, SO_RXQ_OVFL)) < 0 || (error = set_on(fd, SOL_SOCKET, SO_TIMESTAMPNS)) < 0 ||
	    (error = set_on(fd, IPPROTO_IP, IP_PKTINFO)) < 0)
		return error;
	return is_v6 ? set_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) : 0;
}

/* Is it a UDP socket, and of which family? */
static int check_socket(int fd, bool *ret_is_v6)
{
	int type = 0, family = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
		return -errno;
	if (type != SOCK_DGRAM || (family != AF_INET && family != AF_INET6))
		return -EPROTOTYPE;
	*ret_is_v6 = family == AF_INET6;
	return 0;
}

static void point_messages(struct source_udp *u)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &u->slots[i];

		/* One byte more than a message may have: a datagram that fills it was cut. */
		u->in_iov[i] = (struct iovec){ .iov_base = slot->message, .iov_len = SLUICE_MESSAGE_MAX + 1 };
		u->in[i].msg_hdr = (struct msghdr){
			.msg_name = &slot->peer,
			.msg_iov = &u->in_iov[i],
			.msg_iovlen = 1,
			.msg_control = slot->control,
		};
	}
	for (unsigned i = 0; i < ANSWERS; i++) {
		u->out_iov[i].iov_base = u->answers[i].bytes;
		u->out[i].msg_hdr = (struct msghdr){
			.msg_name = &u->answers[i].peer, .msg_iov = &u->out_iov[i], .msg_iovlen = 1,
		};
	}
}

int source_udp_new(struct source **ret, const char *ip, uint16_t port, bool shared, int fd)
{
	CLEANUP_CLOSE int opened = fd < 0 ? open_socket(ip, port, shared) : -1;
	int taken = fd < 0 ? opened : fd, error;
	bool is_v6 = false;

	if (taken < 0) {
		opened = -1;
		return taken;
	}
	if ((error = check_socket(taken, &is_v6)) < 0 || (error = set_options(taken, is_v6)) < 0)
		return error;

	struct source_udp *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->source.ops = &udp_ops;
	u->fd = taken;
	u->is_v6 = is_v6;
	opened = -1;
	point_messages(u);
	*ret = &u->source;
	return 0;
}
