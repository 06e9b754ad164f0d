/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LOCALS_H
#define PG_LOCALS_H

#include "error.h"

/*
 * Mirrors the namespace's own addresses from rtnetlink into pg_locals: a wildcard endpoint matches
 * those and nothing else. Not thread-safe; poll the fd and call update.
 */
struct pg_locals;

int pg_locals_open(int map_fd, struct pg_locals **ret_locals, struct pg_error *error);
void pg_locals_close(struct pg_locals *locals);
int pg_locals_fd(const struct pg_locals *locals);
/* Takes in what changed; after a lost notice everything is read again. */
int pg_locals_update(struct pg_locals *locals, struct pg_error *error);

#endif
