/* Load, attach, detach.
 *
 *   1  lock SLUICE_PIN_ROOT/<interface>: one gateway an interface
 *   2  load; libbpf takes the maps that are pinned under this layout, and pins the ones that it makes
 *   3  config, keys; services and sources are emptied (they are rebuilt)
 *   4  our own link is pinned from a run before and still holds the interface: the program in it is exchanged,
 *      atomically, no packet in between meets none
 *      else the interface is free: a new link, native before generic, is made and pinned
 *      else it is somebody else's: -EEXIST
 *   5  folders of other layouts go
 *
 * A link is exclusive: the kernel refuses anybody else's program while it is there, ours included; and what is on
 * the interface through netlink cannot be exchanged by a link.  (libxdp's dispatcher would share the hook.  It needs
 * freplace programs, so that ours would be loaded as one; it is not used.)
 */
#include "net/loader.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/shared/siphash.h"
#include "net/loaded.h"

#define DURABLE_BUCKETS_MIN 2
#define DURABLE_BUCKETS_MAX (1u << 26) /* 4 GiB */

__attribute__((format(printf, 3, 4))) static int fail(struct xdp_error *e, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	return error;
}

static const char *permission_hint(int error)
{
	return error == -EPERM || error == -EACCES
		       ? "; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW"
		       : "";
}

/* ------------------------------------------------------------------ what libbpf says */

/* The first complaint since `complaint` was emptied: the cause; what follows are consequences. */
static _Thread_local char complaint[160];

static int note_complaint(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN || complaint[0])
		return 0;
	vsnprintf(complaint, sizeof(complaint), format, args);
	if (!strncmp(complaint, "libbpf: ", 8))
		memmove(complaint, complaint + 8, strlen(complaint + 8) + 1);
	complaint[strcspn(complaint, "\n")] = '\0';
	return 0;
}

/* ------------------------------------------------------------------ load */

/* Scratch is no state, and key material never lies in the file system. */
static bool is_pinned(const struct gateway_bpf *bpf, const struct bpf_map *map)
{
	return map != bpf->maps.keys && map != bpf->maps.scratch;
}

/* Over the layout of every pinned map: another layout gets another folder. */
static void compute_layout(const struct gateway_bpf *bpf, char ret[XDP_LAYOUT_LEN + 1])
{
	char text[2048];
	size_t len = 0;
	struct bpf_map *map;

	bpf_object__for_each_map(map, bpf->obj) {
		if (!is_pinned(bpf, map))
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %u %u %u %u %u\n", bpf_map__name(map),
					(unsigned)bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
					bpf_map__max_entries(map), bpf_map__map_flags(map));
		must(len < sizeof(text));
	}

	__u64 hash = siphash_64(&siphash_open_key, text, (__u32)len);

	snprintf(ret, XDP_LAYOUT_LEN + 1, "%016llx", (unsigned long long)hash);
}

static int set_pins(struct xdp *xdp)
{
	char path[sizeof(xdp->pins) + BPF_OBJ_NAME_LEN + 1];
	struct bpf_map *map;
	int error;

	bpf_object__for_each_map(map, xdp->bpf->obj) {
		if (!is_pinned(xdp->bpf, map))
			continue;
		snprintf(path, sizeof(path), "%s/%s", xdp->pins, bpf_map__name(map));
		if ((error = bpf_map__set_pin_path(map, path)) < 0)
			return error;
	}
	return 0;
}

static int load_program(struct xdp *xdp, const struct xdp_options *options, struct xdp_error *e)
{
	int error;

	xdp->bpf = gateway_bpf__open();
	if (!xdp->bpf)
		return fail(e, -errno, "cannot read the built-in XDP program: %s", complaint);
	if ((error = bpf_map__set_max_entries(xdp->bpf->maps.durable, options->durable_buckets)) < 0)
		return fail(e, error, "cannot size the durable table: %s", strerror(-error));
	compute_layout(xdp->bpf, xdp->layout);
	snprintf(xdp->pins, sizeof(xdp->pins), "%s/%s", xdp->folder, xdp->layout);
	if ((error = set_pins(xdp)) < 0)
		return fail(e, error, "cannot name the pins in %s: %s", xdp->pins, strerror(-error));
	if ((error = gateway_bpf__load(xdp->bpf)) < 0)
		return fail(e, error, "the kernel refuses the XDP program: %s (%s)%s", strerror(-error), complaint,
			    permission_hint(error));
	return 0;
}

/* ------------------------------------------------------------------ attach */

/* Whose program is on the interface; 0 = nobody's. */
static int ask_attached(const struct xdp *xdp, uint32_t *ret_id, const char **ret_mode, struct xdp_error *e)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int error = bpf_xdp_query(xdp->ifindex, 0, &query);

	if (error < 0)
		return fail(e, error, "cannot ask for the XDP program of %s: %s", xdp->interface, strerror(-error));
	*ret_id = query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id ? query.skb_prog_id : query.prog_id;
	*ret_mode = query.attach_mode == XDP_ATTACHED_SKB ? "generic" : "native";
	return 0;
}

static int refuse_foreign(const struct xdp *xdp, uint32_t id, struct xdp_error *e)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &len);
		close(fd);
	}
	return fail(e, -EEXIST,
		    "%s has an XDP program of somebody else's: id %u, name \"%s\"; it is left alone: detach it "
		    "(`bpftool net show dev %s`), or set xdp.mode: off",
		    xdp->interface, id, info.name[0] ? info.name : "?", xdp->interface);
}

static bool mode_fits(enum xdp_mode asked, const char *mode)
{
	return asked == XDP_MODE_AUTO || !strcmp(mode, asked == XDP_MODE_NATIVE ? "native" : "generic");
}

static bool link_holds(int link_fd, uint32_t program_id)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(link_fd, &info, &len) == 0 && info.type == BPF_LINK_TYPE_XDP &&
	       info.prog_id == program_id && info.xdp.ifindex != 0;
}

/* The link of a run before: takes the new program into it.  1 = done, 0 = there is none, or none that can stay. */
static int update_link(struct xdp *xdp, enum xdp_mode mode, struct xdp_error *e)
{
	CLEANUP_CLOSE int fd = bpf_obj_get(xdp->link);
	const char *attached_mode;
	uint32_t id;
	int error;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(e, -errno, "cannot open %s: %s", xdp->link, strerror(errno));
	if ((error = ask_attached(xdp, &id, &attached_mode, e)) < 0)
		return error;
	/* Of an interface that is gone or in another mode; with the last descriptor its program goes. */
	if (!link_holds(fd, id) || !mode_fits(mode, attached_mode)) {
		unlink(xdp->link);
		return 0;
	}
	if (bpf_link_update(fd, bpf_program__fd(xdp->bpf->progs.sluice_gateway), NULL) < 0)
		return fail(e, -errno, "cannot exchange the XDP program of %s: %s", xdp->interface, strerror(errno));
	xdp->link_fd = fd;
	fd = -1;
	return 1;
}

static int create_link(const struct xdp *xdp, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	int fd = bpf_link_create(bpf_program__fd(xdp->bpf->progs.sluice_gateway), xdp->ifindex, BPF_XDP, &options);

	return fd < 0 ? -errno : fd;
}

static int new_link(struct xdp *xdp, enum xdp_mode mode, struct xdp_error *e)
{
	int fd = -EOPNOTSUPP;

	if (mode != XDP_MODE_GENERIC)
		fd = create_link(xdp, XDP_FLAGS_DRV_MODE);
	if (fd < 0 && mode == XDP_MODE_NATIVE)
		return fail(e, fd,
			    "the driver of %s does not take the XDP program: %s; an MTU of at most 1500 may help, and "
			    "xdp.mode: generic works on any driver%s",
			    xdp->interface, strerror(-fd), permission_hint(fd));
	if (fd < 0 && fd != -EBUSY && fd != -EPERM)
		fd = create_link(xdp, XDP_FLAGS_SKB_MODE);
	if (fd < 0)
		return fail(e, fd, "cannot attach the XDP program to %s: %s%s", xdp->interface, strerror(-fd),
			    permission_hint(fd));
	if (bpf_obj_pin(fd, xdp->link) < 0) {
		int error = -errno;

		close(fd);
		return fail(e, error, "cannot pin the XDP link at %s: %s", xdp->link, strerror(-error));
	}
	xdp->link_fd = fd;
	return 0;
}

static int attach(struct xdp *xdp, enum xdp_mode mode, struct xdp_error *e)
{
	int error = update_link(xdp, mode, e);
	uint32_t id;

	if (error < 0)
		return error;
	if (error == 0) {
		if ((error = ask_attached(xdp, &id, &xdp->mode, e)) < 0)
			return error;
		if (id != 0)
			return refuse_foreign(xdp, id, e);
		if ((error = new_link(xdp, mode, e)) < 0)
			return error;
	}
	return ask_attached(xdp, &id, &xdp->mode, e);
}

/* ------------------------------------------------------------------ open, close */

/* Receive queues, 1 where the driver does not say. */
static uint32_t count_queues(const char *interface)
{
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request = { .ifr_data = (void *)&channels };

	strcpy(request.ifr_name, interface);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) < 0)
		return 1;
	return CLAMP(channels.rx_count + channels.combined_count, 1u, (uint32_t)SLUICE_QUEUES_MAX);
}

static int open_interface(struct xdp *xdp, const struct xdp_options *options, struct xdp_error *e)
{
	size_t len = strlen(options->interface);
	uint32_t buckets = options->durable_buckets;

	if (buckets < DURABLE_BUCKETS_MIN || buckets > DURABLE_BUCKETS_MAX || (buckets & (buckets - 1)) != 0)
		return fail(e, -EINVAL, "the durable table has a power of two from %d to %u buckets, not %u",
			    DURABLE_BUCKETS_MIN, DURABLE_BUCKETS_MAX, buckets);
	if (len == 0 || len >= sizeof(xdp->interface) || !(xdp->ifindex = (int)if_nametoindex(options->interface)))
		return fail(e, -ENODEV, "there is no interface \"%s\"; `ip link` lists them", options->interface);
	memcpy(xdp->interface, options->interface, len + 1);
	xdp->queues = count_queues(xdp->interface);
	xdp->folder_fd = pins_open(xdp->interface, xdp->folder);
	if (xdp->folder_fd == -EBUSY)
		return fail(e, -EBUSY, "another sluice-gateway serves %s", xdp->interface);
	if (xdp->folder_fd < 0)
		return fail(e, xdp->folder_fd,
			    "cannot pin under " SLUICE_PIN_ROOT ": %s; mount -t bpf bpf /sys/fs/bpf%s",
			    strerror(-xdp->folder_fd), permission_hint(xdp->folder_fd));
	snprintf(xdp->link, sizeof(xdp->link), "%s/link", xdp->folder);
	return 0;
}

static int load_and_attach(struct xdp *xdp, const struct xdp_options *options, struct xdp_error *e)
{
	const char *what;
	int error;

	if ((error = open_interface(xdp, options, e)) < 0 || (error = load_program(xdp, options, e)) < 0)
		return error;
	if ((error = xdp_prepare_maps(xdp, options, &what)) < 0)
		return fail(e, error, "cannot %s: %s", what, strerror(-error));
	if ((error = attach(xdp, options->mode, e)) < 0)
		return error;
	if ((error = pins_remove_others(xdp->folder, xdp->layout)) < 0)
		return fail(e, error, "cannot remove old pins under %s: %s", xdp->folder, strerror(-error));
	return 0;
}

int xdp_load(struct xdp **ret, const struct xdp_options *options, struct xdp_error *ret_error)
{
	struct xdp *xdp = calloc(1, sizeof(*xdp));
	libbpf_print_fn_t print = libbpf_set_print(note_complaint);
	int error;

	complaint[0] = '\0';
	if (xdp) {
		xdp->folder_fd = xdp->link_fd = -1;
		error = load_and_attach(xdp, options, ret_error);
	} else {
		error = fail(ret_error, -ENOMEM, "no memory for the XDP loader");
	}
	if (error < 0)
		xdp_free(xdp);
	else
		xdp->keep_on_stop = options->keep_on_stop;
	libbpf_set_print(print);
	if (error == 0)
		*ret = xdp;
	return error;
}

/* Nothing of ours stays: the program with its link, then the maps. */
static void remove_all(struct xdp *xdp)
{
	if (xdp->link_fd >= 0) {
		unlink(xdp->link);
		bpf_link_detach(xdp->link_fd);
	}
	/* Without a link of ours the pins may be those that a program of a run before works with. */
	if (access(xdp->link, F_OK) < 0) {
		pins_remove_others(xdp->folder, NULL);
		rmdir(xdp->folder);
		rmdir(SLUICE_PIN_ROOT);
	}
}

void xdp_free(struct xdp *xdp)
{
	if (!xdp)
		return;
	if (xdp->folder_fd >= 0 && !xdp->keep_on_stop)
		remove_all(xdp);
	xdp_unmap(xdp);
	gateway_bpf__destroy(xdp->bpf);
	if (xdp->link_fd >= 0)
		close(xdp->link_fd);
	if (xdp->folder_fd >= 0)
		close(xdp->folder_fd);
	free(xdp);
}

/* ------------------------------------------------------------------ probe */

static int load_pass(void)
{
	/* r0 = XDP_PASS; exit */
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "sluice_pass", "GPL", pass, ARRAY_SIZE(pass), NULL);
	int result = fd < 0 ? -errno : fd;

	libbpf_set_print(print);
	return result;
}

int xdp_probe(struct xdp_error *ret_error)
{
	int program = load_pass();

	if (program < 0)
		return fail(ret_error, program, "this kernel does not let us load an XDP program: %s%s",
			    strerror(-program), permission_hint(program));
	close(program);

	int xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (xsk < 0)
		return fail(ret_error, -errno, "this kernel gives us no AF_XDP socket: %s%s", strerror(errno),
			    permission_hint(-errno));
	close(xsk);
	return 0;
}

int xdp_let_pass(const char *interface)
{
	int ifindex = (int)if_nametoindex(interface);

	if (ifindex == 0)
		return -ENODEV;

	CLEANUP_CLOSE int program = load_pass();

	if (program < 0) {
		int error = program;

		program = -1;
		return error;
	}

	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int error = bpf_xdp_attach(ifindex, program, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);

	libbpf_set_print(print);
	return error == -EBUSY || error == -EEXIST ? 0 : error;
}
