#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/harness.h"

struct folder {
	char path[64], file[80];
};

static void folder_open(struct folder *f)
{
	strcpy(f->path, "/tmp/sluice-file-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->path));
	snprintf(f->file, sizeof(f->file), "%s/one", f->path);
}

static int entries(const struct folder *f)
{
	DIR *d = opendir(f->path);
	int n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void folder_close(struct folder *f)
{
	unlink(f->file);
	CU_ASSERT_EQUAL(rmdir(f->path), 0);
}

static void what_was_written_is_read(void)
{
	CLEANUP(buf_done) struct buf written = BUF_INIT, b = BUF_INIT;
	struct folder f;

	folder_open(&f);
	for (int i = 0; i < 200000; i++)
		buf_append_u8(&written, (uint8_t)(i * 7));
	ASSERT_OK(file_replace(f.file, SLICE("old", 3)));
	ASSERT_OK(file_replace(f.file, buf_slice(&written)));
	buf_append_str(&b, "before");
	ASSERT_OK(file_read(f.file, 1 << 20, &b));
	CU_ASSERT(b.len == 6 + written.len && !memcmp(b.data + 6, written.data, written.len));
	CU_ASSERT_EQUAL(entries(&f), 1);
	folder_close(&f);
}

static void of_a_file_that_is_too_large_enough_is_read_to_see_it(void)
{
	CLEANUP(buf_done) struct buf written = BUF_INIT, b = BUF_INIT;
	struct folder f;

	folder_open(&f);
	memset(buf_extend(&written, 1 << 20), 'x', 1 << 20);
	ASSERT_OK(file_replace(f.file, buf_slice(&written)));
	ASSERT_OK(file_read(f.file, 1000, &b));
	CU_ASSERT(b.len > 1000 && b.len < 1 << 18);
	folder_close(&f);
}

static void what_fails_leaves_nothing_behind(void)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct folder f;

	folder_open(&f);
	CU_ASSERT_EQUAL(file_read(f.file, 1000, &b), -ENOENT);
	CU_ASSERT_EQUAL(file_read(f.path, 1000, &b), -EISDIR);
	CU_ASSERT_EQUAL(mkdir(f.file, 0700), 0);
	CU_ASSERT_EQUAL(file_replace(f.file, SLICE("x", 1)), -EISDIR);
	CU_ASSERT_EQUAL(entries(&f), 1);
	CU_ASSERT_EQUAL(rmdir(f.file), 0);
	folder_close(&f);
}

TESTS("file", T(what_was_written_is_read), T(of_a_file_that_is_too_large_enough_is_read_to_see_it),
      T(what_fails_leaves_nothing_behind))
