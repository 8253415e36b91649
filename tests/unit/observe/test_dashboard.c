#include <stdlib.h>

#include "base/buf.h"
#include "observe/dashboard.h"
#include "tests/unit/harness.h"

static void the_page_is_the_file_of_the_tree(void)
{
	CLEANUP(buf_done) struct buf file = BUF_INIT;
	FILE *f = fopen("user/observe/dashboard.html", "r");

	if (!f)
		SKIP("not started from the top of the tree");
	for (int c; (c = getc(f)) != EOF;)
		buf_append_u8(&file, (uint8_t)c);
	fclose(f);
	CU_ASSERT_EQUAL_FATAL(dashboard_page.len, file.len);
	CU_ASSERT_EQUAL(memcmp(dashboard_page.data, file.data, file.len), 0);
}

/* Operators' networks need not reach anything but the daemon; the namespace of SVG is a name, not an address. */
static void the_page_needs_nothing_from_elsewhere(void)
{
	CLEANUP(buf_done) struct buf page = BUF_INIT;
	const char *namespace = "http://www.w3.org/2000/svg";

	buf_append(&page, dashboard_page.data, dashboard_page.len);

	const char *text = buf_cstr(&page);

	CU_ASSERT_EQUAL(strncmp(text, "<!doctype html>\n", 16), 0);
	for (const char *at = text; (at = strstr(at, "//")); at += 2)
		CU_ASSERT_TRUE(at[-1] != ':' || !strncmp(at - 5, namespace, strlen(namespace)));
	CU_ASSERT_PTR_NULL(strstr(text, " src="));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "default-src 'none'"));
}

TESTS("dashboard", T(the_page_is_the_file_of_the_tree), T(the_page_needs_nothing_from_elsewhere))
