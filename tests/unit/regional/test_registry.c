#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/buf.h"
#include "regional/registry.h"
#include "tests/unit/harness.h"

#define HEADER "device_id,type,place,owner,latitude,longitude\n"

static struct registry *parsed(const char *text)
{
	struct registry_error error;
	struct registry *r = NULL;
	int e = registry_parse(&r, "devices.csv", SLICE_STR(text), &error);

	if (e < 0)
		printf("  %s\n", error.text);
	CU_ASSERT_EQUAL_FATAL(e, 0);
	return r;
}

static bool slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static void a_device_is_found_with_what_the_file_says(void)
{
	struct registry *r = parsed(HEADER "gh-7,greenhouse,hall 3,acme,52.5,13.25\nb,,,,,\n");
	const struct registry_entry *e = registry_find(r, SLICE_STR("gh-7"));

	CU_ASSERT_EQUAL(registry_count(r), 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	CU_ASSERT(slice_is(e->type, "greenhouse") && slice_is(e->place, "hall 3") && slice_is(e->owner, "acme"));
	CU_ASSERT_EQUAL(e->latitude, 52.5);
	CU_ASSERT_EQUAL(e->longitude, 13.25);
	e = registry_find(r, SLICE_STR("b"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	CU_ASSERT(slice_is(e->type, REGISTRY_UNKNOWN) && slice_is(e->place, "") && isnan(e->latitude));
	CU_ASSERT_PTR_NULL(registry_find(r, SLICE_STR("gh-8")));
	CU_ASSERT_PTR_NULL(registry_find(r, SLICE_STR("gh-")));
	registry_free(r);
}

/* The examples of RFC 4180, section 2: 1 and 2 (last line with and without its end), 5, 6 and 7. */
static void quoting_is_that_of_rfc_4180(void)
{
	struct registry *r = parsed("device_id,type,place,owner,latitude,longitude\r\n"
				    "\"aaa\",\"b \r\nbb\",\"c,c\",\"b\"\"bb\",\"1\",\r\n"
				    "zzz,yyy,\"\",\"\"\"\",,");
	const struct registry_entry *e = registry_find(r, SLICE_STR("aaa"));

	CU_ASSERT_EQUAL(registry_count(r), 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	CU_ASSERT(slice_is(e->type, "b \r\nbb") && slice_is(e->place, "c,c") && slice_is(e->owner, "b\"bb"));
	CU_ASSERT_EQUAL(e->latitude, 1);
	e = registry_find(r, SLICE_STR("zzz"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	CU_ASSERT(slice_is(e->place, "") && slice_is(e->owner, "\""));
	registry_free(r);
}

static void empty_lines_and_a_byte_order_mark_are_skipped(void)
{
	struct registry *r = parsed("\xef\xbb\xbf" HEADER "\na,t,,,,\n\r\n");

	CU_ASSERT_EQUAL(registry_count(r), 1);
	registry_free(r);
}

static void a_header_alone_is_a_registry(void)
{
	struct registry *r = parsed(HEADER);

	CU_ASSERT_EQUAL(registry_count(r), 0);
	CU_ASSERT_PTR_NULL(registry_find(r, SLICE_STR("a")));
	registry_free(r);
}

static void many_devices_are_all_found(void)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	char id[16];

	buf_append_str(&text, HEADER);
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "dev-%d,type-%d,,,,\n", i, i % 7);

	struct registry *r = parsed(buf_cstr(&text));

	CU_ASSERT_EQUAL(registry_count(r), 20000);
	for (int i = 0; i < 20000; i++) {
		char type[16];

		snprintf(id, sizeof(id), "dev-%d", i);
		snprintf(type, sizeof(type), "type-%d", i % 7);
		CU_ASSERT_FATAL(registry_find(r, SLICE_STR(id)) && slice_is(registry_find(r, SLICE_STR(id))->type, type));
	}
	registry_free(r);
}

static void each_fault_is_named_with_its_line(void)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{ "", ":1: the first line must be device_id,type" },
		{ "id,type\n", ":1: the first line" },
		{ HEADER "a,b\n", ":2: it has 2 fields" },
		{ HEADER "a,t,p,o,1,2,3\n", ":2: it has 7 fields" },
		{ HEADER ",t,p,o,1,2\n", ":2: device_id is empty" },
		{ HEADER "a,t,,,,\nb,t,,,,\na,t,,,,\n", ":4: device_id \"a\" stands there a second time" },
		{ HEADER "a,t,,,91,0\n", ":2: latitude is \"91\"" },
		{ HEADER "a,t,,,0,-180.5\n", ":2: longitude is \"-180.5\"" },
		{ HEADER "a,t,,,nan,0\n", ":2: latitude is \"nan\"" },
		{ HEADER "a,t,,,0x10,0\n", ":2: latitude" },
		{ HEADER "a,t,,,1 ,0\n", ":2: latitude" },
		{ HEADER "a,\"t,,,,\n", ":2: a quoted field does not end" },
		{ HEADER "a,\"x\ny\",,,,\nb,\"t\"x,,,,\n", ":4: text stands behind a closing quote" },
		{ HEADER "a,t\"x\",,,,\n", ":2: a quote stands within" },
		{ HEADER "a,\xff,,,,\n", ":2: type is not UTF-8" },
		{ HEADER "123456789012345678901234567890123,t,,,,\n", ":2: device_id has 33 bytes, more than 32" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct registry_error error;
		struct registry *r = NULL;

		CU_ASSERT_EQUAL(registry_parse(&r, "devices.csv", SLICE_STR(cases[i].text), &error), -EINVAL);
		CU_ASSERT_PTR_NULL(r);
		CU_ASSERT(strncmp(error.text, "devices.csv", 11) == 0);
		if (!strstr(error.text, cases[i].sentence)) {
			printf("  wanted \"%s\", got \"%s\"\n", cases[i].sentence, error.text);
			CU_FAIL("sentence");
		}
	}
}

static void a_file_is_read_and_a_missing_one_named(void)
{
	char path[] = "/tmp/registry-XXXXXX";
	int fd = mkstemp(path);
	struct registry_error error;
	struct registry *r = NULL;

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, HEADER "a,t,,,,\n", strlen(HEADER "a,t,,,,\n")), (ssize_t)strlen(HEADER "a,t,,,,\n"));
	close(fd);
	ASSERT_OK(registry_load(&r, path, &error));
	CU_ASSERT_EQUAL(registry_count(r), 1);
	registry_free(r);
	unlink(path);
	CU_ASSERT_EQUAL(registry_load(&r, path, &error), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, path));
}

TESTS("regional-registry", T(a_device_is_found_with_what_the_file_says), T(quoting_is_that_of_rfc_4180),
      T(empty_lines_and_a_byte_order_mark_are_skipped), T(a_header_alone_is_a_registry), T(many_devices_are_all_found),
      T(each_fault_is_named_with_its_line), T(a_file_is_read_and_a_missing_one_named))
