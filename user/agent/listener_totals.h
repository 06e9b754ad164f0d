/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LISTENER_TOTALS_H
#define PG_LISTENER_TOTALS_H

#include "tcpq.h"

/*
 * Makes counters for metrics of what the kernel counts per socket in 32 bits: one series for each
 * namespace, address and port, which never falls while it is there, although sockets of a reuseport
 * group come and go and a number wraps. A socket that is closed takes with it what it counted
 * after the last update.
 */
struct pg_listener_totals;

/* One series: the sockets that share namespace, address and port. */
struct pg_listener_series {
	uint64_t netns; /* inode */
	struct pg_address address;
	uint16_t port;
	uint32_t sockets;

	/* sums over the sockets, at most UINT32_MAX */
	uint32_t accept_length, accept_limit, accept_high;
	uint32_t syn_length, syn_young, syn_limit, syn_high;
	uint32_t fastopen_length, fastopen_limit;
	uint64_t drops, synack_retransmits; /* counters */
};

int pg_listener_totals_new(struct pg_listener_totals **ret_totals);
void pg_listener_totals_free(struct pg_listener_totals *totals);

/*
 * Takes in a reading and gives its series in the order of the rows, in which those of one
 * namespace, address and port are neighbours. The caller frees the series. A namespace, address and
 * port without a socket in a reading is forgotten. -ENOMEM leaves everything as it was.
 */
int pg_listener_totals_update(struct pg_listener_totals *totals,
			      const struct pg_tcpq_listener *rows, size_t n,
			      struct pg_listener_series **ret_series, size_t *ret_n);

#endif
