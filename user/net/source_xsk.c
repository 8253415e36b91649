/* AF_XDP as a packet source: frames that the XDP program has admitted, without the kernel's network stack.
 *
 * One piece of memory (UMEM), cut into frames of 2 KiB, and four rings of frame numbers, shared with the kernel.
 * Each ring has one producer and one consumer; who holds a frame's number may touch the frame, nobody else.
 *
 *            the first half of UMEM: requests                   the second half: answers
 *
 *      give_back()                                       reply() takes one from tx_free, writes it,
 *          │  numbers of free frames                     flush() makes all of them visible and wakes
 *          v                                                     │
 *      ┌─ FILL ──────┐                                   ┌─ TX ──v─────┐
 *      │ us -> kernel│                                   │ us -> kernel│
 *      └──────┬──────┘                                   └──────┬──────┘
 *             v                                                 v
 *      driver writes the frame, the program runs         driver sends the frame
 *      (meta in front, redirect to this socket)                 │
 *             v                                                 v
 *      ┌─ RX ────────┐                                   ┌─ COMPLETION ┐
 *      │ kernel -> us│                                   │ kernel -> us│
 *      └──────┬──────┘                                   └──────┬──────┘
 *             v                                                 v
 *      receive() hands it out; the next receive()        reclaim() puts it back into tx_free
 *      gives it back
 *
 *   a frame of RX:   | headroom 256, its end is struct sluice_meta (32) | Ethernet, IP, UDP, CoAP ... |
 *                    ^ number * 2048                                    ^ addr in the ring
 *
 * Each ring holds as many numbers as there are frames in its half, so that none of them can overflow; FILL twice as
 * many, because the kernel shows a frame in RX before it says that it took its number from FILL (xsk_flush()).  A ring that is
 * empty on the kernel's side loses packets: FILL when we are slow to give back, RX never before FILL.
 *
 * Loss: the program numbers the frames of a queue; a gap in the numbers is that many frames lost.  What is lost
 * behind the last frame is seen by comparing with the program's counter once it has stood still for a while and
 * nothing waits.  What we expect next is kept in the pinned map `queues`, so that frames that were waiting when
 * a process ended are counted by the next one.
 *
 * Waking: the kernel sends what is in TX only when asked by a system call (in copy mode always, 32 frames a call; in
 * zero-copy mode when its driver says so in the ring's flags).
 *
 * Cost: a receive and an answer are a few dozen ns each here, and no copy; the copy mode of the kernel makes one.
 * Reference: linux/Documentation/networking/af_xdp.rst.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "base/clock.h"
#include "net/frame.h"
#include "net/source.h"
#include "net/xdp.h"

#define FRAME_SIZE 2048
#define BATCH 64
#define FRAMES_MIN (4 * BATCH)
#define FRAMES_MAX (1u << 20) /* 2 GiB */
#define ANSWER_MAX 64
#define KERNEL_BATCH 32 /* frames that one wake-up sends in copy mode */
#define WAKES_SPARE 8   /* for a driver that is busy */
#define STILL_NS (10 * NS_PER_MS)

struct source_xsk {
	struct source source;
	struct xdp *xdp;
	uint32_t queue;
	uint32_t half; /* frames of RX, and of TX */
	uint8_t *area;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons rx, completion;

	uint64_t given[BATCH]; /* frames handed out by the last receive() */
	uint32_t given_count;
	uint64_t *tx_free;
	uint32_t tx_free_count;
	uint32_t tx_written; /* in TX, not visible yet */

	struct sluice_queue *counters; /* in the pinned map */
	uint32_t expected;             /* the next sequence number */
	uint32_t still_at;             /* the program's counter when RX was found empty ... */
	int64_t still_since_ns;        /* ... and since when it has had that value */
	struct source_stats stats;
};

static struct source_xsk *of(struct source *source)
{
	return container_of(source, struct source_xsk, source);
}

static uint32_t steered(const struct source_xsk *x)
{
	return __atomic_load_n(&x->counters->next_seq, __ATOMIC_ACQUIRE);
}

/* ------------------------------------------------------------------ receive */

static void give_back(struct source_xsk *x)
{
	uint32_t at;

	if (x->given_count > 0) {
		must(xsk_ring_prod__reserve(&x->fill, x->given_count, &at) == x->given_count);
		for (uint32_t i = 0; i < x->given_count; i++)
			*xsk_ring_prod__fill_addr(&x->fill, at + i) = x->given[i];
		xsk_ring_prod__submit(&x->fill, x->given_count);
		x->given_count = 0;
	}
	if (xsk_ring_prod__needs_wakeup(&x->fill))
		recvfrom(xsk_socket__fd(x->socket), NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void note_sequence(struct source_xsk *x, uint32_t seq)
{
	int32_t gap = (int32_t)(seq - x->expected);

	if (gap >= 0) {
		x->stats.lost += (uint32_t)gap;
		x->expected = seq + 1;
	} else if (x->stats.lost > 0) {
		x->stats.lost--; /* it was late, not lost: another CPU has overtaken it */
	}
}

static bool read_frame(struct source_xsk *x, struct datagram *ret, const uint8_t *frame, uint32_t len)
{
	struct sluice_meta meta;

	memcpy(&meta, frame - sizeof(meta), sizeof(meta));
	if (meta.magic != SLUICE_META_MAGIC || !frame_read_request(&ret->stub, frame, len, &meta))
		return false;
	note_sequence(x, meta.seq);
	ret->message = frame + meta.coap_off;
	ret->len = meta.coap_len;
	ret->admitted = true;
	ret->meta = meta;
	x->stats.received++;
	x->stats.bytes += meta.coap_len;
	return true;
}

/* RX is empty: what the program has counted and we have not seen is on its way, or lost if that stays so. */
static bool tail_is_lost(const struct source_xsk *x, uint32_t now)
{
	return now != x->expected && now == x->still_at && clock_mono_ns() - x->still_since_ns > STILL_NS;
}

static void note_still(struct source_xsk *x)
{
	uint32_t now = steered(x);

	if (tail_is_lost(x, now)) {
		x->stats.lost += (uint32_t)(now - x->expected);
		x->expected = now;
		__atomic_store_n(&x->counters->seen_seq, now, __ATOMIC_RELEASE);
	} else if (now != x->still_at) {
		x->still_at = now;
		x->still_since_ns = clock_mono_ns();
	}
}

static int xsk_receive(struct source *source, struct datagram *ret, unsigned n)
{
	struct source_xsk *x = of(source);
	uint32_t at, got, room = MIN(n, (unsigned)BATCH);
	int count = 0;

	give_back(x);
	got = xsk_ring_cons__peek(&x->rx, room, &at);
	for (uint32_t i = 0; i < got; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&x->rx, at + i);

		x->given[x->given_count++] = desc->addr & ~(uint64_t)(FRAME_SIZE - 1);
		count += read_frame(x, &ret[count], x->area + desc->addr, desc->len);
	}
	if (got > 0) {
		xsk_ring_cons__release(&x->rx, got);
		__atomic_store_n(&x->counters->seen_seq, x->expected, __ATOMIC_RELEASE);
	}
	if (got < room)
		note_still(x);
	return count;
}

/* ------------------------------------------------------------------ reply */

static void reclaim(struct source_xsk *x)
{
	uint32_t at, n = xsk_ring_cons__peek(&x->completion, x->half, &at);

	for (uint32_t i = 0; i < n; i++)
		x->tx_free[x->tx_free_count++] =
			*xsk_ring_cons__comp_addr(&x->completion, at + i) & ~(uint64_t)(FRAME_SIZE - 1);
	if (n > 0)
		xsk_ring_cons__release(&x->completion, n);
	must(x->tx_free_count <= x->half);
}

static int xsk_reply(struct source *source, const struct reply_stub *stub, const void *answer, size_t len)
{
	struct source_xsk *x = of(source);
	struct sluice_service service;
	struct sluice_service_key key;
	uint32_t at;
	int error;

	if (len > ANSWER_MAX)
		return -EMSGSIZE;
	if ((error = xdp_service(x->xdp, stub->service, &key, &service)) < 0)
		return error;
	if (x->tx_free_count == 0)
		reclaim(x);
	if (x->tx_free_count == 0 || xsk_ring_prod__reserve(&x->tx, 1, &at) != 1)
		return -ENOBUFS;

	uint64_t addr = x->tx_free[--x->tx_free_count];
	struct xdp_desc *desc = xsk_ring_prod__tx_desc(&x->tx, at);

	*desc = (struct xdp_desc){ .addr = addr };
	desc->len = (uint32_t)frame_write_answer(x->area + addr, stub, &key, service.mac, answer, len);
	x->tx_written++;
	return 0;
}

static bool tx_is_empty(const struct source_xsk *x)
{
	return __atomic_load_n(x->tx.consumer, __ATOMIC_ACQUIRE) == *x->tx.producer;
}

/* What a busy driver leaves in the ring goes with the next flush. */
static int xsk_flush(struct source *source)
{
	struct source_xsk *x = of(source);
	unsigned wakes = x->tx_written / KERNEL_BATCH + WAKES_SPARE;
	int error = 0;

	if (x->tx_written > 0) {
		xsk_ring_prod__submit(&x->tx, x->tx_written);
		x->stats.sent += x->tx_written;
		x->tx_written = 0;
	}
	while (error == 0 && wakes-- > 0 && !tx_is_empty(x) && xsk_ring_prod__needs_wakeup(&x->tx)) {
		ssize_t woken = sendto(xsk_socket__fd(x->socket), NULL, 0, MSG_DONTWAIT, NULL, 0);

		if (woken < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			error = -errno;
		reclaim(x);
	}
	reclaim(x);
	return error == -ENETDOWN ? 0 : error; /* comes up again */
}

static int xsk_fd(const struct source *source)
{
	return xsk_socket__fd(container_of(source, const struct source_xsk, source)->socket);
}

static void xsk_stats(const struct source *source, struct source_stats *ret)
{
	const struct source_xsk *x = container_of(source, const struct source_xsk, source);
	uint32_t now = steered(x);
	uint32_t waiting = __atomic_load_n(x->rx.producer, __ATOMIC_ACQUIRE) - x->rx.cached_cons;

	*ret = x->stats;
	ret->ring_used = waiting;
	ret->ring_size = x->half;
	if (waiting == 0 && tail_is_lost(x, now))
		ret->lost += (uint32_t)(now - x->expected);
}

static void xsk_free(struct source *source)
{
	if (!source)
		return;

	struct source_xsk *x = of(source);

	if (x->socket) {
		bpf_map_delete_elem(xdp_socket_map_fd(x->xdp), &x->queue);
		xsk_socket__delete(x->socket);
	}
	if (x->umem)
		xsk_umem__delete(x->umem);
	if (x->area)
		munmap(x->area, (size_t)x->half * 2 * FRAME_SIZE);
	free(x->tx_free);
	free(x);
}

static const struct source_ops xsk_ops = {
	.name = "xsk",
	.receive = xsk_receive,
	.reply = xsk_reply,
	.flush = xsk_flush,
	.fd = xsk_fd,
	.stats = xsk_stats,
	.free = xsk_free,
};

/* ------------------------------------------------------------------ set-up */

static int create_umem(struct source_xsk *x)
{
	const struct xsk_umem_config config = { .fill_size = x->half * 2, .comp_size = x->half, .frame_size = FRAME_SIZE };
	size_t size = (size_t)x->half * 2 * FRAME_SIZE;
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (area == MAP_FAILED)
		return -errno;
	x->area = area;
	return xsk_umem__create(&x->umem, area, size, &x->fill, &x->completion, &config);
}

/* Without a wish the kernel takes zero copy where the driver can.  A generic program never runs in front of a
 * zero-copy queue, so there the wish is copy mode. */
static int create_socket(struct source_xsk *x)
{
	struct xsk_socket_config config = {
		.rx_size = x->half,
		.tx_size = x->half,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP,
	};

	if (!strcmp(xdp_mode_name(x->xdp), "generic"))
		config.bind_flags |= XDP_COPY;
	return xsk_socket__create(&x->socket, xdp_interface(x->xdp), x->queue, x->umem, &x->rx, &x->tx, &config);
}

static void share_frames(struct source_xsk *x)
{
	uint32_t at;

	must(xsk_ring_prod__reserve(&x->fill, x->half, &at) == x->half);
	for (uint32_t i = 0; i < x->half; i++) {
		*xsk_ring_prod__fill_addr(&x->fill, at + i) = (uint64_t)i * FRAME_SIZE;
		x->tx_free[x->tx_free_count++] = (uint64_t)(2 * x->half - 1 - i) * FRAME_SIZE;
	}
	xsk_ring_prod__submit(&x->fill, x->half);
}

/* What was steered to the socket before this one and never seen there is lost. */
static void continue_sequence(struct source_xsk *x)
{
	x->counters = xdp_queue_counters(x->xdp, x->queue);
	x->expected = steered(x);
	x->still_at = x->expected;
	x->still_since_ns = clock_mono_ns();
	x->stats.lost = (uint32_t)(x->expected - x->counters->seen_seq);
	__atomic_store_n(&x->counters->seen_seq, x->expected, __ATOMIC_RELEASE);
}

static int open_source(struct source_xsk *x)
{
	int error, fd;

	x->tx_free = calloc(x->half, sizeof(*x->tx_free));
	if (!x->tx_free)
		return -ENOMEM;
	if ((error = create_umem(x)) < 0 || (error = create_socket(x)) < 0)
		return error;
	share_frames(x);
	continue_sequence(x);
	fd = xsk_socket__fd(x->socket);
	return bpf_map_update_elem(xdp_socket_map_fd(x->xdp), &x->queue, &fd, BPF_ANY) < 0 ? -errno : 0;
}

int source_xsk_new(struct source **ret, struct xdp *xdp, uint32_t queue, uint32_t frames)
{
	if (frames < FRAMES_MIN || frames > FRAMES_MAX || (frames & (frames - 1)) != 0 || queue >= SLUICE_QUEUES_MAX)
		return -EINVAL;

	struct source_xsk *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->source.ops = &xsk_ops;
	x->xdp = xdp;
	x->queue = queue;
	x->half = frames / 2;

	int error = open_source(x);

	if (error < 0)
		xsk_free(&x->source);
	else
		*ret = &x->source;
	return error;
}
