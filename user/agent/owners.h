/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_OWNERS_H
#define PG_OWNERS_H

#include "tcpq.h"

/*
 * Fills owner_pid and owner_comm from /proc: of several processes that hold a socket, the one with
 * the lowest pid. Slow, it looks at every open file of every process: never in a scrape. A process
 * that is gone or may not be looked at is passed over (others' need CAP_SYS_PTRACE).
 * Returns 0, -ENOMEM, or why /proc cannot be listed.
 */
int pg_owners_find(struct pg_tcpq_listener *rows, size_t n);

#endif
