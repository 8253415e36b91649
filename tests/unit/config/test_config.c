#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "config/config.h"
#include "tests/unit/harness.h"

static int parse(struct settings *ret, const char *text, struct config_error *ret_error)
{
	ret_error->text[0] = '\0';
	return config_parse(ret, "f.yaml", text, strlen(text), ret_error);
}

static void expect_error(const char *text, const char *error)
{
	struct settings s;
	struct config_error e;

	CU_ASSERT_EQUAL(parse(&s, text, &e), -EINVAL);
	if (strcmp(e.text, error) != 0)
		printf("  expected: %s\n  found:    %s\n", error, e.text);
	CU_ASSERT_STRING_EQUAL(e.text, error);
	CU_ASSERT_PTR_NULL(s.node_region);
}

static void an_empty_file_gives_the_defaults(void)
{
	static const char *const texts[] = { "", "# nothing\n", "---\n", "node:\ngateway:\n", "{}", "\xef\xbb\xbf" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(config_done) struct settings s;
		struct config_error e;

		ASSERT_OK(parse(&s, texts[i], &e));
		CU_ASSERT_STRING_EQUAL(s.admin_listen, "127.0.0.1:0");
		CU_ASSERT_EQUAL(s.gateway_port, 5683);
		CU_ASSERT_EQUAL(s.batch_linger_ms, 30);
		CU_ASSERT_EQUAL(s.regional_correction_horizon_ms, 2 * 3600 * 1000);
		CU_ASSERT_EQUAL(s.spool_segment_bytes, 64 << 20);
		CU_ASSERT_EQUAL(s.spool_size_bytes, 8LL << 30);
		CU_ASSERT_EQUAL(s.regional_false_alarms_per_week, 0.01);
		CU_ASSERT_EQUAL(s.xdp_on_stop, ON_STOP_KEEP);
		CU_ASSERT_EQUAL(s.aggregator_regions.n, 0);
	}
}

static void every_kind_of_value_is_read(void)
{
	CLEANUP(config_done) struct settings s;
	struct config_error e;

	ASSERT_OK(parse(&s,
			"node: {id: gw-1, region: \"南\"}\n"
			"streams: {development: true, clock: event, partitions: 4}\n"
			"xdp: {mode: native, on_stop: detach}\n"
			"limit:\n  deny:\n    - 203.0.113.0/24\n    - '2001:db8::/32'\n"
			"spool: {segment: 1MiB, size: \"17 MiB\"}\n"
			"batch: {linger: 0}\n"
			"regional: {false_alarms_per_week: 0.75, correction_horizon: 7d, allowed_lateness: 1500ms, max_ahead: 1min}\n"
			"aggregator:\n  regions:\n    south: embedded:/a/b\n    north: kafka:h:1/t\n",
			&e));
	CU_ASSERT_STRING_EQUAL(s.node_id, "gw-1");
	CU_ASSERT_STRING_EQUAL(s.node_region, "南");
	CU_ASSERT_TRUE(s.streams_development);
	CU_ASSERT_EQUAL(s.streams_clock, CLOCK_EVENT);
	CU_ASSERT_EQUAL(s.streams_partitions, 4);
	CU_ASSERT_EQUAL(s.xdp_mode, XDP_NATIVE);
	CU_ASSERT_EQUAL(s.xdp_on_stop, ON_STOP_DETACH);
	CU_ASSERT_EQUAL_FATAL(s.limit_deny.n, 2);
	CU_ASSERT_STRING_EQUAL(s.limit_deny.items[0], "203.0.113.0/24");
	CU_ASSERT_STRING_EQUAL(s.limit_deny.items[1], "2001:db8::/32");
	CU_ASSERT_EQUAL(s.spool_segment_bytes, 1048576);
	CU_ASSERT_EQUAL(s.spool_size_bytes, 17825792);
	CU_ASSERT_EQUAL(s.batch_linger_ms, 0);
	CU_ASSERT_EQUAL(s.regional_false_alarms_per_week, 0.75);
	CU_ASSERT_EQUAL(s.regional_correction_horizon_ms, 604800000);
	CU_ASSERT_EQUAL(s.regional_allowed_lateness_ms, 1500);
	CU_ASSERT_EQUAL(s.regional_max_ahead_ms, 60000);
	CU_ASSERT_EQUAL_FATAL(s.aggregator_regions.n, 2);
	CU_ASSERT_STRING_EQUAL(s.aggregator_regions.keys[0], "south");
	CU_ASSERT_STRING_EQUAL(s.aggregator_regions.values[0], "embedded:/a/b");
	CU_ASSERT_STRING_EQUAL(s.aggregator_regions.keys[1], "north");
}

static void an_unknown_name_is_refused_with_the_nearest(void)
{
	expect_error("node:\n  id: a\nbatsh:\n  linger: 1s\n",
		     "f.yaml:3:1: there is no section \"batsh\"; did you mean \"batch\"?");
	expect_error("batch:\n  lingr: 1s\n", "f.yaml:2:3: batch has no setting \"lingr\"; did you mean \"linger\"?");
	expect_error("batch:\n  linger_ms: 30\n",
		     "f.yaml:2:3: batch has no setting \"linger_ms\"; did you mean \"linger\"?");
	expect_error("gateway:\n  linger: 1s\n",
		     "f.yaml:2:3: gateway has no setting \"linger\"; that one belongs to batch");
	expect_error("linger: 1s\n", "f.yaml:1:1: there is no section \"linger\"; it is a setting of batch");
	expect_error("kubernetes: {}\n",
		     "f.yaml:1:1: there is no section \"kubernetes\"; `sluice config reference` lists them");
	expect_error("node: {xyzzy\x01: 1}\n",
		     "f.yaml:1:13: this is not UTF-8 text: control characters are not allowed");
	expect_error("node: {\"xyzzy\\x01\": 1}\n",
		     "f.yaml:1:8: node has no setting \"xyzzy?\"; `sluice config reference` lists them");
}

static void a_value_of_the_wrong_type_is_refused(void)
{
	expect_error("gateway:\n  port: coap\n",
		     "f.yaml:2:9: gateway.port must be a whole number from 1 to 65535, not \"coap\"");
	expect_error("gateway:\n  port: 0x10\n",
		     "f.yaml:2:9: gateway.port must be a whole number from 1 to 65535, not \"0x10\"");
	expect_error("gateway:\n  port: [1, 2]\n",
		     "f.yaml:2:9: gateway.port must be a whole number from 1 to 65535, not a list");
	expect_error("gateway:\n  port:\n",
		     "f.yaml:2:8: gateway.port has no value: it must be a whole number from 1 to 65535; leave the line out "
		     "for its default, 5683");
	expect_error("streams: {development: yes}\n",
		     "f.yaml:1:24: streams.development must be true or false, not \"yes\"");
	expect_error("xdp: {mode: fast}\n",
		     "f.yaml:1:13: xdp.mode must be off, auto, native or generic, not \"fast\"");
	expect_error("log: {format: lo}\n", "f.yaml:1:15: log.format must be logfmt or json, not \"lo\"");
	expect_error("regional: {false_alarms_per_week: high}\n",
		     "f.yaml:1:35: regional.false_alarms_per_week must be a number from 1e-9 to 1000, not \"high\"");
	expect_error("regional: {false_alarms_per_week: nan}\n",
		     "f.yaml:1:35: regional.false_alarms_per_week must be a number from 1e-9 to 1000, not \"nan\"");
	expect_error("limit: {deny: 203.0.113.0/24}\n",
		     "f.yaml:1:15: limit.deny must be a list, not a single value: write [a, b] or one \"- a\" a line");
	expect_error("limit: {deny: [[a]]}\n",
		     "f.yaml:1:16: an item of limit.deny must be a single value, not a list");
	expect_error("aggregator: {regions: [a]}\n",
		     "f.yaml:1:23: aggregator.regions must be a mapping, not a list: write \"name: value\" lines");
	expect_error("node: gw-1\n",
		     "f.yaml:1:7: section node must hold settings (\"name: value\" lines), not a single value");
	expect_error("- node\n", "f.yaml:1:1: sections must stand here (\"node:\", \"gateway:\", …), not a list");
	expect_error("? [a]\n: b\n", "f.yaml:1:3: the name of a section must stand here, not a list");
	expect_error("node: {? {} : b}\n",
		     "f.yaml:1:10: the name of a setting of node must stand here, not a mapping");
}

static void durations_and_sizes_need_a_known_unit(void)
{
	const char *duration = "must be a duration (ms, s, min, h, d) from 0ms to 10s, not";
	char error[256];
	static const char *const wrong[] = { "30", "30 sec", "1.5s", "-1s", "s", "30MS", "30mss" };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char text[64];

		snprintf(text, sizeof(text), "batch: {linger: %s}", wrong[i]);
		snprintf(error, sizeof(error), "f.yaml:1:17: batch.linger %s \"%s\"", duration, wrong[i]);
		expect_error(text, error);
	}
	expect_error("spool: {size: 8GB}",
		     "f.yaml:1:15: spool.size must be a size (B, KiB, MiB, GiB, TiB) from 16MiB to 1TiB, not \"8GB\"");
}

static void a_value_out_of_range_is_refused_with_the_range(void)
{
	expect_error("gateway: {port: 65536}",
		     "f.yaml:1:17: gateway.port is out of range: 65536; it must be a whole number from 1 to 65535");
	expect_error("gateway: {port: -9223372036854775809}",
		     "f.yaml:1:17: gateway.port is out of range: -9223372036854775809; it must be a whole number from 1 to "
		     "65535");
	expect_error("batch: {linger: 10001ms}",
		     "f.yaml:1:17: batch.linger is out of range: 10001ms; it must be a duration (ms, s, min, h, d) from 0ms "
		     "to 10s");
	expect_error("batch: {linger: 99999999999999999d}",
		     "f.yaml:1:17: batch.linger is out of range: 99999999999999999d; it must be a duration (ms, s, min, h, "
		     "d) from 0ms to 10s");
	expect_error("spool: {size: 16777215B}",
		     "f.yaml:1:15: spool.size is out of range: 16777215B; it must be a size (B, KiB, MiB, GiB, TiB) from "
		     "16MiB to 1TiB");
	expect_error("regional: {false_alarms_per_week: 1000.1}",
		     "f.yaml:1:35: regional.false_alarms_per_week is out of range: 1000.1; it must be a number from 1e-9 to 1000");

	CLEANUP(config_done) struct settings s;
	struct config_error e;

	ASSERT_OK(parse(&s, "gateway: {port: 65535}\nbatch: {linger: 10000ms}\nspool: {size: 16777216B}\n", &e));
	CU_ASSERT_EQUAL(s.gateway_port, 65535);
}

static void a_name_must_not_stand_twice(void)
{
	expect_error("node: {id: a}\nlog: {}\nnode: {region: b}\n",
		     "f.yaml:3:1: section node is there already, in line 1");
	expect_error("batch:\n  linger: 1s\n  readings: 10\n  linger: 2s\n",
		     "f.yaml:4:3: batch.linger is set already in line 2");
	expect_error("aggregator:\n  regions:\n    a: x\n    a: y\n",
		     "f.yaml:4:5: \"a\" is in aggregator.regions already");
}

static void what_is_not_plain_yaml_is_refused(void)
{
	expect_error("node: {id: a}\n---\nnode: {}\n",
		     "f.yaml:2:1: a second document begins here: one file holds one configuration");
	expect_error("node: &n {id: a}\n",
		     "f.yaml:1:7: anchors and aliases are not used here: write the value out");
	expect_error("node: *n\n", "f.yaml:1:7: anchors and aliases are not used here: write the value out");
	expect_error("node: {id: !!int 5}\n", "f.yaml:1:12: tags are not used here: leave \"!…\" out");
	expect_error("node: {id: \"a\\0b\"}\n", "f.yaml:1:12: a text must not contain a NUL byte");
	expect_error("node: {id: a\n",
		     "f.yaml:2:1: this is not YAML: did not find expected ',' or '}', while parsing a flow mapping that began "
		     "in line 1");
	expect_error("node:\n\tid: a\n",
		     "f.yaml:2:1: this is not YAML: found character that cannot start any token, while scanning for the next "
		     "token that began in line 2");
	expect_error("node:\n  id: a\xff\n",
		     "f.yaml:2:8: this is not UTF-8 text: invalid leading UTF-8 octet");
}

static void too_much_is_refused(void)
{
	enum { N = (1 << 20) + 1 };
	CLEANUP_FREE char *text = malloc(N);
	struct settings s;
	struct config_error e;

	memset(text, '#', N);
	CU_ASSERT_EQUAL(config_parse(&s, "f.yaml", text, N, &e), -EFBIG);
	CU_ASSERT_STRING_EQUAL(e.text, "f.yaml:1:1: the file is larger than 1024 KiB: this is no configuration");
	ASSERT_OK(config_parse(&s, "f.yaml", text, N - 1, &e));
	config_done(&s);

	int n = snprintf(text, N, "limit: {deny: [");

	for (int i = 0; i <= CONFIG_LIST_MAX; i++)
		n += snprintf(text + n, (size_t)(N - n), "a,");
	snprintf(text + n, (size_t)(N - n), "]}");
	expect_error(text, "f.yaml:1:528: limit.deny has more than 256 items");

	n = snprintf(text, N, "node: {id: ");
	memset(text + n, 'x', 4097);
	memcpy(text + n + 4097, "}", 2);
	expect_error(text, "f.yaml:1:12: node.id is longer than 4096 bytes");

	memset(text, '[', N - 1);
	CU_ASSERT_EQUAL(config_parse(&s, "f.yaml", text, N - 1, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "f.yaml:1:1: sections must stand here (\"node:\", \"gateway:\", …), not a list");
}

static void a_long_value_is_cut_in_the_error_between_characters(void)
{
	struct settings s;
	struct config_error e;

	CU_ASSERT_EQUAL(parse(&s, "log: {level: aééééééééééééééééééééééééééééééééééééééééé}", &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "not \"aééééééééééééééééééééééééééééé…\""));
}

static char *show(const struct settings *s)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	config_show(s, out);
	fclose(out);
	return text;
}

static void expect_same(const struct settings *a, const struct settings *b)
{
#define SECTION(name, sentence)
#define S_STRING(section, name, ...) CU_ASSERT_STRING_EQUAL(a->section##_##name, b->section##_##name);
#define S_ENUM(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_BOOL(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_INT(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_MS(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_BYTES(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_DOUBLE(section, name, ...) CU_ASSERT_EQUAL(a->section##_##name, b->section##_##name);
#define S_LIST(section, name, ...)                                                                      \
	CU_ASSERT_EQUAL_FATAL(a->section##_##name.n, b->section##_##name.n);                            \
	for (size_t i = 0; i < a->section##_##name.n; i++)                                              \
		CU_ASSERT_STRING_EQUAL(a->section##_##name.items[i], b->section##_##name.items[i]);
#define S_MAP(section, name, ...)                                                                       \
	CU_ASSERT_EQUAL_FATAL(a->section##_##name.n, b->section##_##name.n);                            \
	for (size_t i = 0; i < a->section##_##name.n; i++) {                                            \
		CU_ASSERT_STRING_EQUAL(a->section##_##name.keys[i], b->section##_##name.keys[i]);       \
		CU_ASSERT_STRING_EQUAL(a->section##_##name.values[i], b->section##_##name.values[i]);   \
	}
#include "config/schema.def"
}

static void what_show_writes_reads_back_the_same(void)
{
	static const char *const texts[] = {
		"",
		"node: {id: \"tab\\tquote\\\" back\\\\ nl\\n bell\\a nel\\N ls\\L bom\\ufeff last\\uffff e\\u00e9 \\U0001F600 "
		"del\\x7f\", region: \"\\x01\"}\n"
		"limit: {deny: ['- a', '', 'b: c', '# d', \"ends \\\\\"]}\n"
		"aggregator: {regions: {'null': 'true', 'a: b': '~', ? \"\\n\" : x}}\n"
		"regional: {false_alarms_per_week: 0.99999999999999989, allowed_lateness: 3599999ms, max_ahead: 86400s}\n"
		"spool: {segment: 1048577B, size: 1048576MiB}\n"
		"batch: {linger: 0ms}\n"
		"xdp: {mode: auto, shadow: true}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(config_done) struct settings s;
		CLEANUP(config_done) struct settings again;
		struct config_error e;

		ASSERT_OK(parse(&s, texts[i], &e));

		CLEANUP_FREE char *shown = show(&s);
		int r = parse(&again, shown, &e);

		if (r < 0)
			printf("  %s\n%s\n", e.text, shown);
		ASSERT_OK(r);
		expect_same(&s, &again);
	}
}

static void show_prefers_the_largest_whole_unit(void)
{
	CLEANUP(config_done) struct settings s;
	struct config_error e;

	ASSERT_OK(parse(&s, "spool: {segment: 1025KiB}\nregional: {max_ahead: 90s, correction_horizon: 48h}\n", &e));

	CLEANUP_FREE char *shown = show(&s);

	CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\n  segment: 1025KiB\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\n  size: 8GiB\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\n  max_ahead: 90s\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\n  correction_horizon: 2d\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\n  deny: []\n"));
}

static void the_reference_has_a_row_for_every_setting(void)
{
	char *text = NULL;
	size_t n, rows = 0, settings = 0;
	FILE *out = open_memstream(&text, &n);

	config_reference(out);
	fclose(out);
	for (const char *at = text; (at = strstr(at, "\n| `")); at++)
		rows++;
#undef SECTION
#undef S_STRING
#undef S_ENUM
#undef S_BOOL
#undef S_INT
#undef S_MS
#undef S_BYTES
#undef S_DOUBLE
#undef S_LIST
#undef S_MAP
#define SECTION(name, sentence) CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n## " #name "\n\n" sentence "\n"));
#define S_STRING(...) settings++;
#define S_ENUM(...) settings++;
#define S_BOOL(...) settings++;
#define S_INT(...) settings++;
#define S_MS(...) settings++;
#define S_BYTES(...) settings++;
#define S_DOUBLE(...) settings++;
#define S_LIST(...) settings++;
#define S_MAP(...) settings++;
#include "config/schema.def"
	CU_ASSERT_EQUAL(rows, settings);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n| `linger` | a duration (ms, s, min, h, d) from 0ms to 10s | `30ms` | "));
	free(text);
}

static void a_file_that_cannot_be_read_is_said(void)
{
	struct settings s;
	struct config_error e;

	CU_ASSERT_EQUAL(config_load(&s, "/nonexistent/a.yaml", &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.text, "/nonexistent/a.yaml: the file cannot be read: No such file or directory");
	CU_ASSERT_EQUAL(config_load(&s, "/", &e), -EISDIR);
	CU_ASSERT_EQUAL(config_load(&s, "/dev/zero", &e), -EFBIG);
}

static void a_file_is_loaded(void)
{
	char path[] = "/tmp/sluice-config-XXXXXX";
	const char *text = "node: {region: south}\n";
	int fd = mkstemp(path);
	CLEANUP(config_done) struct settings s;
	struct config_error e;

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	ASSERT_OK(config_load(&s, path, &e));
	CU_ASSERT_STRING_EQUAL(s.node_region, "south");
	unlink(path);
}

TESTS("config", T(an_empty_file_gives_the_defaults), T(every_kind_of_value_is_read),
      T(an_unknown_name_is_refused_with_the_nearest), T(a_value_of_the_wrong_type_is_refused),
      T(durations_and_sizes_need_a_known_unit), T(a_value_out_of_range_is_refused_with_the_range),
      T(a_name_must_not_stand_twice), T(what_is_not_plain_yaml_is_refused), T(too_much_is_refused),
      T(a_long_value_is_cut_in_the_error_between_characters), T(what_show_writes_reads_back_the_same),
      T(show_prefers_the_largest_whole_unit), T(the_reference_has_a_row_for_every_setting),
      T(a_file_that_cannot_be_read_is_said), T(a_file_is_loaded))
