/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HTTP_LISTEN_H
#define PG_HTTP_LISTEN_H

#include <sys/stat.h>

#include "address.h"
#include "error.h"

/*
 * Listens on a Unix socket of a type (SOCK_STREAM, SOCK_SEQPACKET). The file never exists with
 * wider rights than asked for. A socket that nobody answers on is replaced; -EADDRINUSE if
 * somebody does, -EEXIST if the file is no socket. A group that does not exist is left out and
 * told in warning ("" otherwise). The caller owns *ret_fd.
 */
int pg_listen_unix(const char *path, int type, const char *group, mode_t mode, int *ret_fd,
		   struct pg_error *warning, struct pg_error *error);

/* Removes the socket file if it still is the one made (lstat after listening). */
void pg_listen_unlink(const char *path, const struct stat *made);

/* Listens on a TCP address; non-blocking like the above. */
int pg_listen_tcp(const struct pg_peer *address, int *ret_fd, struct pg_error *error);

#endif
