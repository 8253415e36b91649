/* sluice tap: what a stream holds, as JSON lines. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "config/config.h"
#include "ctl/commands.h"
#include "ctl/render.h"

#define READ_MAX 256
#define SILENCE_NS (2 * NS_PER_S) /* --until-end: also ends when nothing more comes for so long */
#define STEP_NS (200 * NS_PER_MS)

struct tap {
	const char *url, *config, *as;
	bool follow;
	struct render render;
	const struct render_stream *how;
	struct buf out;
	uint64_t *ends, *at; /* one a partition */
	uint32_t partitions;
	uint64_t undecodable;
};

/* ------------------------------------------------------------------ reading */

static int print_record(struct tap *t, const struct owned_record *record)
{
	buf_reset(&t->out);

	int r = t->how->record(&t->render, record, &t->out);

	if (r < 0) {
		t->undecodable++;
		fprintf(stderr, "sluice tap: partition %u offset %llu cannot be decoded\n", record->partition,
			(unsigned long long)record->offset);
		return 0;
	}
	if (t->out.len > 0 && fwrite(t->out.data, 1, t->out.len, stdout) != t->out.len)
		return -EPIPE;
	return 0;
}

static int remember_ends(struct tap *t, uint32_t partitions)
{
	t->partitions = partitions;
	t->ends = calloc(partitions, sizeof(*t->ends));
	t->at = calloc(partitions, sizeof(*t->at));
	return t->ends && t->at ? 0 : -ENOMEM;
}

static bool at_end(const struct tap *t)
{
	for (uint32_t p = 0; p < t->partitions; p++)
		if (t->at[p] < t->ends[p])
			return false;
	return true;
}

/* Whether to go on after a read that gave n records. */
static bool go_on(const struct tap *t, int n, int64_t *quiet_since_ns)
{
	int64_t now_ns = clock_mono_ns();

	if (stop_requested())
		return false;
	if (n > 0)
		*quiet_since_ns = now_ns;
	return t->follow || (!at_end(t) && now_ns - *quiet_since_ns < SILENCE_NS);
}

static int tap_plain(struct tap *t, struct stream *s)
{
	struct stream_record records[READ_MAX];
	int64_t quiet_since_ns = clock_mono_ns();
	uint32_t lost;
	int n = remember_ends(t, stream_partitions(s));

	for (uint32_t p = 0; n == 0 && p < t->partitions; p++) {
		n = stream_range(s, p, &t->at[p], &t->ends[p]);
		if (n == 0)
			n = stream_seek(s, p, t->at[p]);
	}
	if (n < 0)
		return n;
	while (go_on(t, n, &quiet_since_ns)) {
		n = stream_read(s, records, READ_MAX, clock_mono_ns() + STEP_NS, &lost);
		for (int i = 0; i < n; i++) {
			struct owned_record record = {
				.partition = records[i].partition,
				.kind = records[i].kind,
				.offset = records[i].offset,
				.value = records[i].value,
			};
			int r = print_record(t, &record);

			if (r < 0)
				return r;
			t->at[record.partition] = record.offset + 1;
		}
		if (n == -ERANGE) { /* retention went past us: go on with what is kept */
			n = stream_range(s, lost, &t->at[lost], &t->ends[lost]);
			if (n == 0)
				n = stream_seek(s, lost, t->at[lost]);
		}
		if (n < 0)
			return n;
		if (t->follow)
			fflush(stdout);
	}
	return 0;
}

static int tap_owned(struct tap *t, struct owned_reader *reader, uint32_t partitions)
{
	struct owned_record record;
	int64_t quiet_since_ns = clock_mono_ns();
	int n = remember_ends(t, partitions);
	uint64_t first;

	for (uint32_t p = 0; n == 0 && p < partitions; p++)
		n = owned_reader_range(reader, p, &first, &t->ends[p]);
	if (n < 0)
		return n;
	while (go_on(t, n, &quiet_since_ns)) {
		n = owned_reader_next(reader, &record, clock_mono_ns() + STEP_NS);
		if (n < 0)
			return n;
		if (n > 0) {
			int r = print_record(t, &record);

			if (r < 0)
				return r;
		}
		for (uint32_t p = 0; p < partitions && n == 0; p++)
			t->at[p] = owned_reader_position(reader, p);
		if (n > 0)
			t->at[record.partition] = owned_reader_position(reader, record.partition);
		if (t->follow && n == 0)
			fflush(stdout);
	}
	return 0;
}

static int open_and_tap(struct tap *t, struct stream_error *error)
{
	struct stream_options options = { .reader = true, .development = true };
	struct stream *s = NULL;
	int r = stream_open(&s, t->url, &options, error);

	if (r < 0)
		return r;
	if (!t->how->owned) {
		r = tap_plain(t, s);
		stream_close(s);
		return r;
	}

	uint32_t partitions = stream_partitions(s);
	struct owned_reader *reader;

	stream_close(s);
	r = owned_reader_open(&reader, t->url, &options, error);
	if (r < 0)
		return r;
	r = tap_owned(t, reader, partitions);
	owned_reader_free(reader);
	return r;
}

/* ------------------------------------------------------------------ arguments */

/* streams.region_log for "region.log". */
static const char *url_of(const struct settings *s, const char *name)
{
	const struct {
		const char *name, *url;
	} all[] = {
		{ "edge.telemetry", s->streams_edge_telemetry }, { "region.log", s->streams_region_log },
		{ "region.deltas", s->streams_region_deltas },   { "region.alerts", s->streams_region_alerts },
		{ "global.windows", s->streams_global_windows }, { "global.alerts", s->streams_global_alerts },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (strcmp(name, all[i].name) == 0 && all[i].url[0])
			return all[i].url;
	return NULL;
}

static int read_arguments(struct tap *t, int argc, char **argv)
{
	static const struct option options[] = {
		{ "follow", 0, NULL, 'f' }, { "until-end", 0, NULL, 'u' }, { "config", 1, NULL, 'c' }, { "all", 0, NULL, 'a' },
		{ "as", 1, NULL, 'n' },          { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'f': t->follow = true; break;
		case 'u': t->follow = false; break;
		case 'c': t->config = optarg; break;
		case 'a': t->render.all = true; break;
		case 'n': t->as = optarg; break;
		default: return CTL_USAGE;
		}
	}
	if (optind + 1 != argc)
		return usage_error("tap", "wrong arguments");
	t->url = argv[optind];
	return -1;
}

static int resolve(struct tap *t, struct settings *settings)
{
	struct config_error error;

	if (t->config) {
		if (config_load(settings, t->config, &error) < 0)
			return fprintf(stderr, "sluice tap: %s\n", error.text), -EINVAL;

		const char *url = url_of(settings, t->url);

		if (!url)
			return fprintf(stderr, "sluice tap: %s names no stream %s\n", t->config, t->url), -ENOENT;
		t->url = url;
	}
	t->how = render_find(t->as ? t->as : t->url);
	if (!t->how)
		return fprintf(stderr, "sluice tap: %s: the name must end in one of %s (or say --as NAME)\n", t->url, render_names()), -EINVAL;
	return 0;
}

int cmd_tap(int argc, char **argv)
{
	struct tap t = { 0 };
	struct settings settings = { 0 };
	struct stream_error error = { "" };

	render_init(&t.render);

	int status = read_arguments(&t, argc, argv);
	int r = status >= 0 ? 0 : resolve(&t, &settings);

	if (status < 0 && r == 0)
		r = stop_setup();
	if (status < 0 && r == 0) {
		r = open_and_tap(&t, &error);
		if (r < 0 && r != -EPIPE)
			fprintf(stderr, "sluice tap: %s\n", error.text[0] ? error.text : strerror(-r));
	}
	if (status < 0)
		status = r < 0 || t.undecodable > 0 ? CTL_FAILED : CTL_FINE;
	config_done(&settings);
	render_done(&t.render);
	buf_done(&t.out);
	free(t.ends);
	free(t.at);
	return status;
}
