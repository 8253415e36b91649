#include "net/pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/macros.h"
#include "bpf/shared/contract.h"

#define BPF_FS "/sys/fs/bpf"

static bool is_mounted(void)
{
	struct statfs fs;

	return statfs(BPF_FS, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* Under a lock on the bare mount point: two that mount at once would hide each other's pins. */
static int mount_fs(void)
{
	if (is_mounted())
		return 0;

	CLEANUP_CLOSE int fd = open(BPF_FS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return -errno;
	if (is_mounted())
		return 0;

	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;

	return mount("bpf", BPF_FS, "bpf", flags, "mode=0700") < 0 ? -errno : 0;
}

static int make_folder(const char *path)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A folder and its parent may go while somebody else leaves: then again. */
#define OPEN_ATTEMPTS 10

/* -EAGAIN when it has gone meanwhile. */
static int open_locked(const char *folder)
{
	int error = make_folder(SLUICE_PIN_ROOT);
	struct stat held, named;

	if (error < 0 || (error = make_folder(folder)) < 0)
		return error == -ENOENT ? -EAGAIN : error;

	CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &held) < 0 || stat(folder, &named) < 0 || held.st_ino != named.st_ino)
		return -EAGAIN;

	int locked = fd;

	fd = -1;
	return locked;
}

int pins_open(const char *interface, char ret[static PINS_FOLDER_MAX])
{
	char folder[PINS_FOLDER_MAX];
	int fd = mount_fs();

	if (fd < 0)
		return fd;
	must((size_t)snprintf(folder, sizeof(folder), SLUICE_PIN_ROOT "/%s", interface) < sizeof(folder));
	for (char *at = folder + sizeof(SLUICE_PIN_ROOT); *at; at++)
		*at = *at == '.' ? ':' : *at;
	fd = -EAGAIN;
	for (int attempt = 0; fd == -EAGAIN && attempt < OPEN_ATTEMPTS; attempt++)
		fd = open_locked(folder);
	if (fd >= 0)
		strcpy(ret, folder);
	return fd;
}

static int remove_files(int folder_fd, const char *name)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;

	DIR *dir = fdopendir(fd);

	if (!dir) {
		error = -errno;
		close(fd);
		return error;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.' && unlinkat(fd, e->d_name, 0) < 0 && errno != ENOENT)
			error = -errno;
	closedir(dir);
	if (error == 0 && unlinkat(folder_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		error = -errno;
	return error;
}

int pins_remove_folder(const char *folder, const char *name)
{
	CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return remove_files(fd, name);
}

int pins_remove_others(const char *folder, const char *keep)
{
	DIR *dir = opendir(folder);
	int error = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.' || e->d_type != DT_DIR || (keep && !strcmp(e->d_name, keep)))
			continue;

		int one = remove_files(dirfd(dir), e->d_name);

		error = one < 0 ? one : error;
	}
	closedir(dir);
	return error;
}
