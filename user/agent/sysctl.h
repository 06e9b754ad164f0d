/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SYSCTL_H
#define PG_SYSCTL_H

#include "error.h"

/*
 * The two sysctls of the network namespace that SYN cookies hang on, and what they were before the
 * agent changed them at an operator's word: kept in a file of the state directory, so that they are
 * put back by a later process too.
 */

/* X(NAME, file under net/ipv4) */
#define PG_SYSCTLS(X)                   \
	X(SYNCOOKIES, "tcp_syncookies") \
	X(TIMESTAMPS, "tcp_timestamps")

enum pg_sysctl {
#define PG_X(name, file) PG_SYSCTL_##name,
	PG_SYSCTLS(PG_X)
#undef PG_X
		PG_SYSCTL_COUNT
};

const char *pg_sysctl_name(enum pg_sysctl sysctl); /* "net.ipv4.tcp_syncookies" */

/* Of the calling thread's namespace, a number from 0 to 9; negative errno. */
int pg_sysctl_read(enum pg_sysctl sysctl);

struct pg_sysctl_memory {
	struct {
		int before; /* -1 = not changed by us */
		int set;
	} values[PG_SYSCTL_COUNT];
};

/* A file that is missing or damaged remembers nothing. */
void pg_sysctl_memory_load(const char *directory, struct pg_sysctl_memory *ret_memory);

/* Remembers first, durably, then sets. */
int pg_sysctl_set(const char *directory, struct pg_sysctl_memory *memory, enum pg_sysctl sysctl,
		  int value, struct pg_error *error);

/*
 * Puts back what was remembered, and forgets it. A value that somebody has changed since is left
 * alone. Returns how many were put back, or a negative errno.
 */
int pg_sysctl_restore(const char *directory, struct pg_sysctl_memory *memory,
		      struct pg_error *error);

#endif
