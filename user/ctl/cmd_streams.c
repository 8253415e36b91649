/* sluice streams: creates or verifies the streams that a configuration names. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "ctl/commands.h"
#include "stream/stream.h"

/* What each stream is like: shards, or one partition for what the aggregator writes. */
struct wanted {
	const char *setting, *url;
	uint32_t partitions;
};

static int init_one(const struct wanted *w, const struct settings *s, struct stream_error *error)
{
	struct stream_create_options options = {
		.partitions = w->partitions,
		.retention_ms = -1,
		.development = s->streams_development,
		.may_exist = true,
	};

	return stream_create(w->url, &options, error);
}

static int check_one(const struct wanted *w, const struct settings *s, struct stream_error *error)
{
	struct stream_options options = { .reader = true, .development = s->streams_development };
	struct stream *stream;
	int r = stream_open(&stream, w->url, &options, error);

	if (r < 0)
		return r;
	if (stream_partitions(stream) != w->partitions) {
		snprintf(error->text, sizeof(error->text), "it has %u partitions, the configuration wants %u",
			 stream_partitions(stream), w->partitions);
		r = -EINVAL;
	}
	stream_close(stream);
	return r;
}

static int each_stream(const struct settings *s, int (*what)(const struct wanted *, const struct settings *, struct stream_error *),
		       const char *done)
{
	const uint32_t shards = (uint32_t)s->streams_partitions;
	const struct wanted all[] = {
		{ "edge_telemetry", s->streams_edge_telemetry, shards }, { "region_log", s->streams_region_log, shards },
		{ "region_deltas", s->streams_region_deltas, shards },   { "region_alerts", s->streams_region_alerts, shards },
		{ "global_log", s->streams_global_log, 1 },              { "global_windows", s->streams_global_windows, 1 },
		{ "global_alerts", s->streams_global_alerts, 1 },
	};
	unsigned named = 0;
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct stream_error error = { "" };

		if (!all[i].url[0])
			continue;
		named++;

		int r = what(&all[i], s, &error);

		if (r < 0)
			fprintf(stderr, "streams.%s: %s: %s\n", all[i].setting, all[i].url, error.text[0] ? error.text : strerror(-r));
		else
			printf("%s  %s, %u partition%s\n", done, all[i].url, all[i].partitions, all[i].partitions == 1 ? "" : "s");
		result = r < 0 ? r : result;
	}
	if (named == 0) {
		fputs("sluice streams: the configuration names no stream (streams.edge_telemetry, …)\n", stderr);
		return -EINVAL;
	}
	return result;
}

int cmd_streams(int argc, char **argv)
{
	struct settings settings;
	struct config_error error;

	if (argc != 3 || (strcmp(argv[1], "init") != 0 && strcmp(argv[1], "check") != 0))
		return usage_error("streams", "wrong arguments");
	if (config_load(&settings, argv[2], &error) < 0)
		return fprintf(stderr, "sluice streams: %s\n", error.text), CTL_FAILED;

	bool init = strcmp(argv[1], "init") == 0;
	int r = each_stream(&settings, init ? init_one : check_one, init ? "ready" : "fits");

	config_done(&settings);
	return r < 0 ? CTL_FAILED : CTL_FINE;
}
