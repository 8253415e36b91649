#include "config/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"

#define KEY_BYTES 16

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t ret[KEY_BYTES])
{
	for (int i = 0; i < KEY_BYTES; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

int master_key_read(struct siphash_key *ret, const char *path, struct config_error *ret_error)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[2 * KEY_BYTES + 2];
	uint8_t bytes[KEY_BYTES];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int error = errno;

		snprintf(ret_error->text, sizeof(ret_error->text), "master key %.300s: %s", path, strerror(error));
		return -error;
	}
	if (st.st_mode & 077) {
		snprintf(ret_error->text, sizeof(ret_error->text), "master key %.300s can be read by others: chmod 600 it", path);
		return -EPERM;
	}

	ssize_t n = read(fd, text, sizeof(text));
	bool right = n == 2 * KEY_BYTES || (n == 2 * KEY_BYTES + 1 && text[2 * KEY_BYTES] == '\n');

	right = right && read_hex(text, bytes);
	explicit_bzero(text, sizeof(text));
	if (!right) {
		snprintf(ret_error->text, sizeof(ret_error->text), "master key %.300s is not one line of 32 hex digits", path);
		return -EINVAL;
	}
	memcpy(&ret->k0, bytes, 8);
	memcpy(&ret->k1, bytes + 8, 8);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}
