/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_READ_FILE_H
#define PG_READ_FILE_H

#include <stddef.h>

/*
 * Reads up to the end of the file or until room bytes are filled; a caller that asks for one byte
 * more than it allows learns of a file that is too large. 0 with the bytes that were read in
 * *ret_count, or a negative errno.
 */
int pg_read_file(int fd, void *bytes, size_t room, size_t *ret_count);

#endif
