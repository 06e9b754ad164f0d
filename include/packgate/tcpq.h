/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_TCPQ_H
#define PACKGATE_TCPQ_H

#include <linux/types.h>

/*
 * What bpf/tcpq.bpf.c writes: one record for each TCP listener, back to back. Integers are in host
 * order; the address is 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
 */
struct pg_tcpq_record {
	__u8 address[16];
	__u64 cookie;	     /* names the socket for as long as the machine runs */
	__u64 inode;	     /* of the socket; 0 = no process can hold it */
	__u32 netns;	     /* inode of its network namespace */
	__u32 uid;	     /* of its owner, as the first user namespace counts */
	__u32 accept_length; /* connections that wait for accept() */
	__u32 accept_limit;  /* min(backlog, somaxconn) at listen(): one more is taken than this */
	__u32 accept_high;   /* most that were seen waiting since the marks began anew */
	__u32 syn_length;    /* requests that wait for the final ACK */
	__u32 syn_young;     /* of those, the ones whose SYN-ACK was sent only once */
	__u32 syn_limit;     /* pg_tcpq_syn_limit() */
	__u32 syn_high;	     /* as accept_high */
	__u32 fastopen_length;
	__u32 fastopen_limit;	  /* 0 = no TCP Fast Open */
	__u32 drops;		  /* sk_drops: SYNs and final ACKs dropped here; wraps */
	__u32 synack_retransmits; /* seen since it was first marked; wraps */
	__u32 bound_interface;	  /* SO_BINDTODEVICE, an index; 0 = any */
	__u32 reuseport_sockets;  /* in its group, itself included; 0 = no group */
	__u32 somaxconn;	  /* of its namespace at this moment, as the rest below */
	__s32 max_syn_backlog;
	__u16 port;
	__u16 family; /* AF_INET or AF_INET6, whatever the address looks like */
	__u8 v6only;
	__u8 reuseport; /* SO_REUSEPORT is set, group or not */
	__u8 syncookies;
	__u8 abort_on_overflow;
	__u8 marked;	     /* accept_high, syn_high and synack_retransmits are kept for it */
	__u8 defer_accept;   /* TCP_DEFER_ACCEPT, in SYN-ACKs that are sent; 0 = off */
	__u8 synack_retries; /* of its namespace too */
	__u8 pad[1];
};

_Static_assert(sizeof(struct pg_tcpq_record) == 112, "one layout on both sides");

/* X(word, the kernel's number): states of a TCP socket */
#define PG_TCP_STATES(X)  \
	X(established, 1) \
	X(syn_sent, 2)    \
	X(syn_recv, 3)    \
	X(fin_wait1, 4)   \
	X(fin_wait2, 5)   \
	X(time_wait, 6)   \
	X(close, 7)       \
	X(close_wait, 8)  \
	X(last_ack, 9)    \
	X(listen, 10)     \
	X(closing, 11)

#define PG_TCP_STATE_SLOTS 12

/*
 * The length at which the kernel stops queueing a plain SYN for a listener: below it the SYN is
 * queued, from it on the SYN is answered by a cookie (syncookies 1) or dropped (syncookies 0). With
 * syncookies 2 no SYN is ever queued, so the limit is 0. A plain SYN is one without Fast Open, that
 * takes over no TIME_WAIT connection, whose source tcp_metrics does not know as alive, and that
 * finds room in the accept queue: a full accept queue drops it at any length.
 *
 * Two bounds decide in tcp_conn_request(): the queue is full once its length exceeds accept_limit,
 * so it holds one more; and without cookies a length above max_syn_backlog less its quarter is
 * kept for proven sources. Kernels without commit 3479c7549fb1 (6.14, and stable releases since
 * January 2025) call the queue full at accept_limit already: there the first bound is one less.
 */
static inline __u32 pg_tcpq_syn_limit(__u32 accept_limit, __u32 syncookies, __s32 max_syn_backlog)
{
	__s64 limit = (__s64)accept_limit + 1;
	__s64 unproven = (__s64)max_syn_backlog - (max_syn_backlog >> 2) + 1;

	if (syncookies == 2)
		return 0;
	if (syncookies == 0 && unproven < limit)
		limit = unproven;
	if (limit < 0)
		return 0;
	return limit > 0xffffffff ? 0xffffffff : (__u32)limit;
}

#endif
