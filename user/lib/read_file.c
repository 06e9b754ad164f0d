// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "read_file.h"

int pg_read_file(int fd, void *bytes, size_t room, size_t *ret_count)
{
	size_t count = 0;
	ssize_t n;

	while (count < room) {
		n = read(fd, (uint8_t *)bytes + count, room - count);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		count += (size_t)n;
	}
	*ret_count = count;
	return 0;
}
