#include "ctl/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "ctl/commands.h"
#include "net/loader.h"

#define SECONDS_DEFAULT 80.0           /* a whole minute and what makes it final lie within, whenever it starts; and a spike */
#define RATE_DEFAULT 3.0                /* readings a second of a sensor: some hundred before the spike */
#define LOOK_NS (NS_PER_S / 2)
#define QUIET_NS (60 * NS_PER_S)       /* how long the tiers may take to come to rest */
#define FINAL_NS (75 * NS_PER_S)       /* and how long to wait for a final window after that */
#define LOCK_FILE "/run/sluice-demo.lock"
#define FOLDER "/tmp/sluice-demo-"
#define BPF_STATS "/proc/sys/kernel/bpf_stats_enabled"

/* ------------------------------------------------------------------ arguments */

static bool number(const char *name, const char *text, double min, double max, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	if (end != text && !*end && *ret >= min && *ret <= max)
		return true;
	fprintf(stderr, "sluice demo: --%s %s: expected a number from %g to %g\n", name, text, min, max);
	return false;
}

static int read_arguments(struct demo_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", 1, NULL, 's' }, { "devices", 1, NULL, 'd' }, { "rate", 1, NULL, 'r' }, { "from", 1, NULL, 'f' },
		{ "registry", 1, NULL, 'g' }, { "json", 1, NULL, 'j' }, { "keep", 1, NULL, 'k' }, { "no-xdp", 0, NULL, 'n' },
		{ "quiet", 0, NULL, 'q' }, { 0 },
	};
	double v;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		bool fine = true;

		switch (c) {
		case 's': fine = number("seconds", optarg, 1, 86400, &o->seconds); break;
		case 'r': fine = number("rate", optarg, 1, 1e6, &o->rate); break;
		case 'd':
			fine = number("devices", optarg, 1, 1e6, &v);
			o->devices = fine ? (uint32_t)v : 0;
			break;
		case 'f': o->from = optarg; break;
		case 'g': o->registry = optarg; break;
		case 'j': o->json = optarg; break;
		case 'k': o->keep = optarg; break;
		case 'n': o->no_xdp = true; break;
		case 'q': o->quiet = true; break;
		default: return CTL_USAGE;
		}
		if (!fine)
			return CTL_USAGE;
	}
	if (optind < argc)
		return usage_error("demo", "unexpected argument %s", argv[optind]);
	if (!o->from != !o->registry)
		return usage_error("demo", "--from and --registry go together");
	if (o->rate == 0)
		o->rate = RATE_DEFAULT * o->devices;
	return -1;
}

/* ------------------------------------------------------------------ the folder of a run */

/* --keep: a folder of the user's, new or without the streams of another run. */
static int keep_folder(struct demo *d, const char *keep)
{
	char full[PATH_MAX], streams[PATH_MAX + 16];

	if (mkdir(keep, 0750) < 0 && errno != EEXIST)
		return fprintf(stderr, "sluice demo: --keep %s: %s\n", keep, strerror(errno)), -errno;
	if (!realpath(keep, full) || strlen(full) >= DEMO_PATH / 2)
		return fprintf(stderr, "sluice demo: --keep %s: the path is too long\n", keep), -ENAMETOOLONG;
	strcpy(d->dir, full);
	snprintf(streams, sizeof(streams), "%s/streams", full);
	if (access(streams, F_OK) == 0)
		return fprintf(stderr, "sluice demo: --keep %s holds the streams of another run; name a new folder\n", keep), -EEXIST;
	return 0;
}

static int make_folder(struct demo *d)
{
	if (d->options.keep)
		return keep_folder(d, d->options.keep);
	snprintf(d->dir, sizeof(d->dir), FOLDER "XXXXXX");
	if (!mkdtemp(d->dir))
		return fprintf(stderr, "sluice demo: %s: %s\n", d->dir, strerror(errno)), -errno;
	d->own_dir = true;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

static void remove_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The lock's file names the folder of the run that holds it: a run that finds one there removes what a crash has left. */
static void remove_leftover(int lock)
{
	char path[DEMO_PATH];
	ssize_t n = pread(lock, path, sizeof(path) - 1, 0);

	path[MAX(n, 0)] = 0;
	if (strncmp(path, FOLDER, strlen(FOLDER)) == 0 && !strchr(path + strlen(FOLDER), '/'))
		remove_folder(path);
}

static void note_folder(int lock, const char *path)
{
	if (lock >= 0 && (ftruncate(lock, 0) < 0 || pwrite(lock, path, strlen(path), 0) < 0))
		fprintf(stderr, "sluice demo: " LOCK_FILE ": %s\n", strerror(errno));
}

/* One demo at a time: its namespaces and addresses are fixed. */
static int take_lock(void)
{
	int fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return -EBUSY;
	}
	return fd;
}

/* ------------------------------------------------------------------ XDP or not */

/* CPU time of BPF programs is kept only while this is on. Returns whether it was. */
static bool set_bpf_stats(bool on)
{
	char was = '0';
	int fd = open(BPF_STATS, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return true;
	if (read(fd, &was, 1) == 1 && pwrite(fd, on ? "1" : "0", 1, 0) < 0)
		was = '1';
	close(fd);
	return was == '1';
}

static void choose_path(struct demo *d)
{
	struct xdp_error error = { "" };

	if (d->options.no_xdp)
		snprintf(d->why_not, sizeof(d->why_not), "as asked");
	else if (geteuid() != 0)
		snprintf(d->why_not, sizeof(d->why_not), "loading it needs root");
	else if (xdp_probe(&error) < 0)
		snprintf(d->why_not, sizeof(d->why_not), "%.200s", error.text);
	else
		d->xdp = true;
	if (!d->xdp)
		fprintf(stderr, "sluice demo: no XDP here (%s): running over UDP sockets on loopback\n", d->why_not);
}

/* ------------------------------------------------------------------ the story */

static void look(struct demo *d, const char *phase)
{
	const struct timespec step = { .tv_nsec = LOOK_NS };

	demo_watch(d);
	demo_view(d, phase);
	nanosleep(&step, NULL);
}

/* 0, or -ECHILD when a part has died. */
static int watch_run(struct demo *d)
{
	int64_t quiet_by_ns = 0;

	for (;;) {
		const char *dead = demo_dead(d);

		if (dead) {
			fprintf(stderr, "\nsluice demo: %s has ended; its last words are in %s/%s.log\n", dead, d->dir, dead);
			d->own_dir = false;
			return -ECHILD;
		}
		if (stop_requested())
			return 0;
		look(d, d->now.fleets_done ? "coming to rest" : d->options.from ? "playing" : "sending");
		if (!d->now.fleets_done)
			continue;
		if (quiet_by_ns == 0)
			quiet_by_ns = d->now_ns + QUIET_NS;
		if (demo_quiet(d) || d->now_ns > quiet_by_ns)
			return 0;
	}
}

static void wait_for_final_window(struct demo *d)
{
	int64_t until_ns = clock_mono_ns() + FINAL_NS;

	while (!d->options.from && d->options.seconds >= SECONDS_DEFAULT && d->now.windows_final == 0 && !stop_requested() &&
	       clock_mono_ns() < until_ns && !demo_dead(d))
		look(d, "waiting for the minute's final windows");
}

static int run(struct demo *d)
{
	struct testbed_error error = { "" };
	int r = 0;

	if (d->xdp) {
		testbed_clean();
		r = testbed_up(&error);
		if (r < 0)
			fprintf(stderr, "sluice demo: %s\n", error.text);
		d->bpf_stats_were_on = set_bpf_stats(true);
	}
	if (r == 0)
		r = demo_tiers_start(d);
	if (r == 0)
		r = demo_fleets_start(d);
	if (r == 0)
		r = watch_run(d);
	if (r == 0)
		wait_for_final_window(d);
	demo_view_end(d);
	if (r == 0) {
		demo_summary(d);
		r = demo_write_json(d);
	}
	demo_tiers_stop(d);
	if (d->xdp) {
		if (!d->bpf_stats_were_on)
			set_bpf_stats(false);
		testbed_down();
	}
	return r;
}

int cmd_demo(int argc, char **argv)
{
	struct demo d = { .options = { .seconds = SECONDS_DEFAULT, .devices = 400 } };
	int status = read_arguments(&d.options, argc, argv);

	if (status >= 0)
		return status;
	d.event_clock = d.options.from != NULL;
	if (program_folder(d.bin, sizeof(d.bin)) < 0 || stop_setup() < 0)
		return CTL_FAILED;
	choose_path(&d);

	int lock = d.xdp ? take_lock() : -1;

	if (d.xdp && lock < 0)
		return fprintf(stderr, "sluice demo: %s\n", lock == -EBUSY ? "another demo runs on this machine" : strerror(-lock)), CTL_FAILED;
	if (lock >= 0)
		remove_leftover(lock);

	int r = make_folder(&d);

	note_folder(lock, d.own_dir ? d.dir : "");
	if (r == 0)
		r = run(&d);

	bool fine = r == 0 && (stop_requested() || demo_succeeded(&d));

	demo_figures_done(&d.now);
	demo_figures_done(&d.before);
	if (d.own_dir)
		remove_folder(d.dir);
	note_folder(lock, "");
	if (lock >= 0)
		close(lock);
	return fine ? CTL_FINE : CTL_FAILED;
}
