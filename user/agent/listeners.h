/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LISTENERS_H
#define PG_LISTENERS_H

#include "config.h"
#include "listener_totals.h"
#include "netns.h"
#include "netstat.h"
#include "tcpq.h"

/*
 * The TCP listeners and counters of the network namespaces that the configuration watches. Every
 * function may be called from any thread.
 */
struct pg_listeners;

/* Rows of one namespace, so that none keeps the others out. */
#define PG_LISTENERS_PER_NETNS 8192

/* A namespace with more sockets is not walked to count their states. */
#define PG_LISTENERS_WALK_MAX 50000

/* Where rows come from, the best first. X(NAME, word, help) */
#define PG_LISTENERS_SOURCES(X)                                                                 \
	X(TRACKED, "tracked", "BPF marks sockets as they begin to listen and reads the marked") \
	X(ITERATOR, "iterator", "BPF walks each namespace; no high-water marks")                \
	X(DIAG, "inet_diag", "netlink, each namespace; no high-water marks, SYN queues counted")

enum pg_listeners_source {
#define PG_X(name, word, help) PG_LISTENERS_##name,
	PG_LISTENERS_SOURCES(PG_X)
#undef PG_X
		PG_LISTENERS_SOURCE_COUNT
};

const char *pg_listeners_source_word(enum pg_listeners_source source);

struct pg_netns_sample {
	struct pg_netns netns;
	char why[96];	       /* it could not be entered or read; "" = it was */
	size_t first, count;   /* its rows */
	uint64_t cut;	       /* rows left away, beyond PG_LISTENERS_PER_NETNS or in all */
	uint64_t syn_received; /* requests in its SYN queues */
	struct pg_netstat netstat;
	struct pg_netstat_sockets sockets;
	struct pg_netstat_sysctls sysctls;
	bool counted; /* states was filled: not in a scrape, and not where there are too many */
	uint64_t states[PG_TCP_STATE_SLOTS]; /* sockets by the kernel's number of their state */
};

/* TCP sockets by state, as far as the kernel counts them without a walk. X(state, help) */
#define PG_LISTENERS_SOCKETS(X)                                        \
	X(listen, "LISTEN")                                            \
	X(syn_received, "requests in SYN queues (SYN_RECV)")           \
	X(established, "ESTABLISHED and CLOSE_WAIT")                   \
	X(time_wait, "TIME_WAIT, and FIN_WAIT2 that no process holds") \
	X(other,                                                       \
	  "SYN_SENT, FIN_WAIT1, the other FIN_WAIT2, LAST_ACK and CLOSING, with those bound only")

enum pg_listeners_sockets {
#define PG_X(state, help) PG_SOCKETS_##state,
	PG_LISTENERS_SOCKETS(PG_X)
#undef PG_X
		PG_SOCKETS_STATES
};

const char *pg_listeners_sockets_word(enum pg_listeners_sockets state);
uint64_t pg_listeners_sockets(const struct pg_netns_sample *namespace,
			      enum pg_listeners_sockets state);

/* One reading. Namespaces are ordered by name (those that only
 * their listeners tell of stand last), rows by namespace, address, port and cookie. */
struct pg_listeners_sample {
	enum pg_listeners_source source;
	char source_why[320]; /* why no better source is used, or "" */
	struct pg_netns_sample *namespaces;
	size_t namespace_count;
	size_t namespaces_cut; /* beyond PG_NETNS_MAX */
	struct pg_tcpq_listener *rows;
	size_t row_count;
	uint64_t rows_cut;     /* in this reading, over all namespaces */
	uint64_t requests_cut; /* likewise, of SYN queues; through inet_diag alone */
	uint64_t unmarked;     /* since the start: listeners that found no memory for their mark */
	struct pg_listener_series *series; /* only of a scrape; in the order of the rows */
	size_t series_count;
};

void pg_listeners_sample_done(struct pg_listeners_sample *sample);

/*
 * Loads what the kernel offers and begins to track; says in the log what is used if it is not the
 * best. A reading has rows_max rows at most, itself at most PG_TCPQ_ROWS_MAX; what is left away is
 * counted, and said in the log when that begins. Only -ENOMEM and a refused thread fail.
 */
int pg_listeners_open(size_t rows_max, struct pg_listeners **ret_listeners, struct pg_error *error);
void pg_listeners_close(struct pg_listeners *listeners);

/*
 * Reads for a person: everything is looked up anew, states are counted. which is NULL for all that
 * the configuration watches, "all", "own", or a word for one namespace (pg_netns_is). Returns
 * -EINVAL if the configuration does not watch that, -ENOENT if there is none such.
 */
int pg_listeners_read(struct pg_listeners *listeners, const struct pg_tcp_config *config,
		      const char *which, struct pg_listeners_sample *ret_sample,
		      struct pg_error *error);

/*
 * Reads for metrics: series are made, and the list of namespaces may be some seconds old; a
 * listener in an unknown one has it made anew. With reset the high-water marks begin anew.
 */
int pg_listeners_scrape(struct pg_listeners *listeners, const struct pg_tcp_config *config,
			bool reset, struct pg_listeners_sample *ret_sample, struct pg_error *error);

#endif
