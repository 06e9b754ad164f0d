/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DIAG_H
#define PG_DIAG_H

#include "tcpq.h"

/*
 * The TCP listeners of the network namespace the calling thread is in, through inet_diag: what is
 * left where BPF cannot be used. netns is that namespace's inode, for the rows; order and ownership
 * are those of pg_tcpq_read.
 *
 * What it knows less: the SYN queue is counted from the requests of the whole namespace, which
 * costs a walk over all its connections; those of a reuseport group, or of two listeners that a
 * request cannot be told apart by, are counted at the first of them, as are those that a closed
 * listener of that port has left; syn_young are requests whose SYN-ACK was not yet sent again;
 * there are no high-water marks (the highs are what the queues hold now), no Fast Open queue and no
 * size of a reuseport group.
 *
 * At most `most` listeners, and as many requests, are looked at; *ret_cut says how many were not.
 *
 * Returns 0, -EPERM and the like from netlink, -ENOMEM, or -EAGAIN when the kernel's table changed
 * under every try.
 */
struct pg_diag_cut {
	uint64_t listeners; /* left away */
	uint64_t requests;  /* of SYN queues, not counted in syn_length */
};

int pg_diag_read(uint64_t netns, size_t most, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_diag_cut *ret_cut, struct pg_error *error);

/*
 * The listener that a request to this local address and port belongs to: the one with that very
 * address, else with the wildcard of its family, else an IPv6 wildcard that takes IPv4 too. rows
 * are ordered by address and port. NULL if there is none.
 */
struct pg_tcpq_listener *pg_diag_listener(struct pg_tcpq_listener *rows, size_t n,
					  const struct pg_address *address, uint16_t port);

#endif
