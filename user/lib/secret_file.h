/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SECRET_FILE_H
#define PG_SECRET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "noise.h"

/*
 * Reads a whole regular file of at most max bytes. secret: refuses one that its group may write or
 * others may use at all (-EPERM). *ret_bytes is allocated with a terminator that is not counted;
 * free it with pg_secret_file_free, which wipes. what names the file in the sentence ("the static
 * key"). -EFBIG, -EINVAL if it is no regular file, or another errno.
 */
int pg_secret_file_read(const char *what, const char *path, bool secret, size_t max,
			uint8_t **ret_text, size_t *ret_bytes, struct pg_error *error);
void pg_secret_file_free(uint8_t *text, size_t bytes); /* NULL is ignored */

/* A server's static key, as `packgate keygen` writes it: 64 hexadecimal digits. -EINVAL. */
int pg_static_key_load(const char *path, struct pg_noise_key **ret_key, struct pg_error *error);

#endif
