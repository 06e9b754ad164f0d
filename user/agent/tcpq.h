/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCPQ_H
#define PG_TCPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "error.h"
#include "packgate/tcpq.h"

/*
 * The queues of TCP listeners, read through the BPF programs in bpf/tcpq.bpf.c. Needs CAP_BPF and
 * CAP_PERFMON (or CAP_SYS_ADMIN). One object serves one thread at a time; pg_tcpq_raise alone may
 * run beside the others.
 *
 * Tracking: while the object lives the kernel marks every socket that begins to listen, in any
 * network namespace; pg_tcpq_read marks those of a namespace that listened before. What is marked
 * is read at once, from any thread, at a cost that depends on nothing but the number of listeners.
 */
struct pg_tcpq;

/* Rows one reading returns at most. */
#define PG_TCPQ_ROWS_MAX 131072

/* The kernel's own bound, with its terminator. */
#define PG_TCPQ_COMM_BYTES 16

struct pg_tcpq_listener {
	uint64_t netns; /* inode of its network namespace */
	struct pg_address address;
	uint16_t port;		  /* host order */
	bool ipv6;		  /* an AF_INET6 socket, also when its address is an IPv4 one */
	bool v6only;		  /* false on an IPv6 wildcard: it takes IPv4 too */
	uint32_t bound_interface; /* index; 0 = any */
	uint64_t cookie;	  /* the same listener has the same cookie in every reading */
	uint64_t inode;		  /* of the socket; 0 = no process can hold it */
	uint32_t uid;

	uint32_t accept_length;
	uint32_t accept_limit; /* min(backlog, somaxconn) at listen(); the kernel takes one more */
	uint32_t accept_high;  /* most that were seen since the marks began anew; see marked */
	bool accept_full;      /* SYNs are dropped, final ACKs refused */
	bool capped;	       /* the limit is somaxconn: listen() may have asked for more */

	uint32_t syn_length;
	uint32_t syn_young; /* of those, not yet answered a second time */
	uint32_t syn_limit; /* packgate/tcpq.h, pg_tcpq_syn_limit, says exactly what it means */
	uint32_t syn_high;
	bool syn_full; /* the next plain SYN is not queued */

	uint32_t drops;		     /* SYNs and final ACKs dropped by this listener; wraps */
	uint32_t synack_retransmits; /* since it is marked; wraps */
	bool marked;		     /* otherwise the highs are what the queues hold now */
	bool reuseport;		     /* SO_REUSEPORT is set */
	uint32_t reuseport_sockets;  /* in its group, itself included; 0 = no group */
	uint32_t fastopen_length;
	uint32_t fastopen_limit; /* 0 = no TCP Fast Open */
	bool defer_accept;	 /* TCP_DEFER_ACCEPT; inet_diag does not tell */

	/* of its namespace at that moment */
	uint32_t somaxconn;
	int32_t max_syn_backlog;
	uint8_t syncookies, abort_on_overflow, synack_retries;

	pid_t owner_pid; /* pg_owners_find; 0 = not looked for, or not found */
	char owner_comm[PG_TCPQ_COMM_BYTES];
};

/* Loads and attaches; nothing is pinned. The caller frees with pg_tcpq_free. */
int pg_tcpq_open(struct pg_tcpq **ret_tcpq, struct pg_error *error);
void pg_tcpq_free(struct pg_tcpq *tcpq);

/* Whether listeners are marked; if not, the sentence why, and only pg_tcpq_read may be called. */
bool pg_tcpq_tracks(const struct pg_tcpq *tcpq);
const char *pg_tcpq_untracked_why(const struct pg_tcpq *tcpq);

/*
 * Reads the listeners of the network namespace the calling thread is in now, ordered by address
 * and port (and cookie, where several share both), and marks them if this object tracks. The caller
 * frees the rows with free(); they are NULL when there are none. Listeners beyond PG_TCPQ_ROWS_MAX
 * are left away and counted. Without a listener it costs a walk over the hash of all connections
 * of the machine (about 1 ms for 262,144 buckets).
 */
int pg_tcpq_read(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_error *error);

/* The same for all marked listeners of all namespaces, ordered by namespace first. */
int pg_tcpq_read_all(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		     struct pg_error *error);

/*
 * Counts the TCP sockets of the calling thread's namespace by the kernel's number of their state,
 * as ss does. Walks them all (0.5 us each): never in a scrape.
 */
int pg_tcpq_states(struct pg_tcpq *tcpq, uint64_t ret_counts[PG_TCP_STATE_SLOTS]);

/* Raises the high-water marks to what the queues hold now, where that is more. */
int pg_tcpq_raise(struct pg_tcpq *tcpq);

/* Lets the high-water marks begin anew, at what the queues hold now. */
int pg_tcpq_reset(struct pg_tcpq *tcpq);

/* Listeners left away in all readings so far. */
uint64_t pg_tcpq_cut(const struct pg_tcpq *tcpq);

/* Times a listener could not be marked for want of memory: then pg_tcpq_read_all misses some. */
uint64_t pg_tcpq_unmarked(const struct pg_tcpq *tcpq);

#endif
