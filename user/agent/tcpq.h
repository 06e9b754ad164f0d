/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCPQ_H
#define PG_TCPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "error.h"

/*
 * The queues of the TCP listeners of one network namespace, read through the BPF iterator in
 * bpf/tcpq.bpf.c. Needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN). One object serves one thread at
 * a time.
 */
struct pg_tcpq;

/* Rows one reading returns at most. */
#define PG_TCPQ_ROWS_MAX 65536

/* The kernel's own bound, with its terminator. */
#define PG_TCPQ_COMM_BYTES 16

struct pg_tcpq_listener {
	struct pg_address address;
	uint16_t port;		  /* host order */
	bool ipv6;		  /* an AF_INET6 socket, also when its address is an IPv4 one */
	bool v6only;		  /* false on an IPv6 wildcard: it takes IPv4 too */
	uint32_t bound_interface; /* index; 0 = any */
	uint64_t cookie;	  /* the same listener has the same cookie in every reading */
	uint64_t inode;		  /* of the socket; 0 = no process can hold it */
	uint32_t uid;

	uint32_t accept_length;
	uint32_t accept_limit; /* min(backlog, somaxconn); the kernel takes one more */
	bool accept_full;      /* SYNs are dropped, final ACKs refused */

	uint32_t syn_length;
	uint32_t syn_young; /* of those, not yet answered a second time */
	uint32_t syn_limit; /* packgate/tcpq.h, pg_tcpq_syn_limit, says exactly what it means */
	bool syn_full;	    /* the next plain SYN is not queued */
	uint8_t syncookies; /* net.ipv4.tcp_syncookies at that moment */

	uint32_t drops;		    /* SYNs and final ACKs dropped by this listener; wraps */
	bool reuseport;		    /* SO_REUSEPORT is set */
	uint32_t reuseport_sockets; /* in its group, itself included; 0 = no group */
	uint32_t fastopen_length;
	uint32_t fastopen_limit; /* 0 = no TCP Fast Open */

	pid_t owner_pid; /* pg_tcpq_find_owners; 0 = not looked for, or not found */
	char owner_comm[PG_TCPQ_COMM_BYTES];
};

/* Loads and attaches the iterator; nothing is pinned. The caller frees with pg_tcpq_free. */
int pg_tcpq_open(struct pg_tcpq **ret_tcpq, struct pg_error *error);
void pg_tcpq_free(struct pg_tcpq *tcpq);

/*
 * Reads the listeners of the network namespace the calling thread is in now, ordered by address
 * and port (and cookie, where several share both). The caller frees the rows with free(); they are
 * NULL when there are none. Listeners beyond PG_TCPQ_ROWS_MAX are left away and counted.
 */
int pg_tcpq_read(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_error *error);

/* Listeners left away in all readings so far. */
uint64_t pg_tcpq_cut(const struct pg_tcpq *tcpq);

/*
 * Fills owner_pid and owner_comm from /proc: of several processes that hold a socket, the one with
 * the lowest pid. Slow, it looks at every open file of every process: never in a scrape. A process
 * that is gone or may not be looked at is passed over (others' need CAP_SYS_PTRACE).
 * Returns 0, -ENOMEM, or why /proc cannot be listed.
 */
int pg_tcpq_find_owners(struct pg_tcpq_listener *rows, size_t n);

#endif
