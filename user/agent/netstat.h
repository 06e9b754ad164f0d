/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_NETSTAT_H
#define PG_NETSTAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/*
 * What the kernel counts and is told about TCP in one network namespace: everything here is about
 * the one the calling thread is in.
 */

/* X(field, table, the kernel's name, metric, help), a counter each. A metric is never reused. */
#define PG_NETSTAT(X)                                                                              \
	X(listen_overflows, "TcpExt", "ListenOverflows", "packgate_tcp_listen_overflows_total",    \
	  "connections that found an accept queue full")                                           \
	X(listen_drops, "TcpExt", "ListenDrops", "packgate_tcp_listen_drops_total",                \
	  "SYNs and final ACKs that listeners dropped, whatever the reason")                       \
	X(reqq_full_do_cookies, "TcpExt", "TCPReqQFullDoCookies",                                  \
	  "packgate_tcp_reqq_full_do_cookies_total",                                               \
	  "SYNs that found the SYN queue full and were to get a cookie")                           \
	X(reqq_full_drop, "TcpExt", "TCPReqQFullDrop", "packgate_tcp_reqq_full_drop_total",        \
	  "SYNs dropped because the SYN queue was full")                                           \
	X(syncookies_sent, "TcpExt", "SyncookiesSent", "packgate_tcp_syncookies_sent_total",       \
	  "SYN cookies sent")                                                                      \
	X(syncookies_received, "TcpExt", "SyncookiesRecv",                                         \
	  "packgate_tcp_syncookies_received_total", "SYN cookies that came back right")            \
	X(syncookies_failed, "TcpExt", "SyncookiesFailed", "packgate_tcp_syncookies_failed_total", \
	  "SYN cookies that came back wrong or late")                                              \
	X(embryonic_rsts, "TcpExt", "EmbryonicRsts", "packgate_tcp_embryonic_rsts_total",          \
	  "requests in a SYN queue that ended with a reset, received or sent")                     \
	X(defer_accept_drops, "TcpExt", "TCPDeferAcceptDrop",                                      \
	  "packgate_tcp_defer_accept_drops_total",                                                 \
	  "final ACKs put off because TCP_DEFER_ACCEPT waits for data")                            \
	X(tw, "TcpExt", "TW", "packgate_tcp_tw_total",                                             \
	  "connections that ended their TIME_WAIT by its timer")                                   \
	X(passive_opens, "Tcp", "PassiveOpens", "packgate_tcp_passive_opens_total",                \
	  "connections made through listeners")                                                    \
	X(syn_retransmits, "TcpExt", "TCPSynRetrans", "packgate_tcp_syn_retransmits_total",        \
	  "SYNs and SYN-ACKs sent again")

enum pg_netstat_field {
#define PG_X(field, table, kernel, metric, help) PG_NETSTAT_##field,
	PG_NETSTAT(PG_X)
#undef PG_X
		PG_NETSTAT_FIELDS,
};

struct pg_netstat_info {
	const char *name; /* the field's, as in the enum */
	const char *table;
	const char *kernel;
	const char *metric;
	const char *help;
};

extern const struct pg_netstat_info pg_netstat_info[PG_NETSTAT_FIELDS];

struct pg_netstat {
	uint64_t values[PG_NETSTAT_FIELDS];
	uint32_t present;     /* bit = field: what this kernel does not count is absent, not zero */
	uint64_t established; /* Tcp CurrEstab: a number of sockets, not a counter */
};

static inline bool pg_netstat_has(const struct pg_netstat *netstat, enum pg_netstat_field field)
{
	return netstat->present >> field & 1;
}

/* TCP sockets by what the kernel keeps count of, so that nothing is walked. */
struct pg_netstat_sockets {
	uint64_t in_use;      /* of both families, TIME_WAIT and requests apart */
	uint64_t established; /* ESTABLISHED and CLOSE_WAIT */
	uint64_t time_wait;
};

/*
 * Takes in text as /proc/net/netstat and /proc/net/snmp have it: pairs of lines "Table: names" and
 * "Table: values". Other tables and names are skipped over. Both files go into one struct, one call
 * each.
 * Returns 0, or -EBADMSG and leaves netstat as it was: a line without its partner or without its
 * end, another number of values than names, a field twice or not a number.
 */
int pg_netstat_parse(const char *text, size_t bytes, struct pg_netstat *netstat);

/* Takes in a text as /proc/net/sockstat and sockstat6 have it: "TCP: inuse 4 orphan 0 tw 1". */
int pg_netstat_parse_sockets(const char *text, size_t bytes, struct pg_netstat_sockets *sockets);

/* Reads and parses the four files. */
int pg_netstat_read(struct pg_netstat *ret_netstat, struct pg_netstat_sockets *ret_sockets,
		    struct pg_error *error);

/* X(field, file under /proc/sys/net) */
#define PG_NETSTAT_SYSCTLS(X)                                  \
	X(tcp_syncookies, "ipv4/tcp_syncookies")               \
	X(tcp_max_syn_backlog, "ipv4/tcp_max_syn_backlog")     \
	X(somaxconn, "core/somaxconn")                         \
	X(tcp_abort_on_overflow, "ipv4/tcp_abort_on_overflow") \
	X(tcp_synack_retries, "ipv4/tcp_synack_retries")

#define PG_NETSTAT_NO_SYSCTL INT64_MIN

struct pg_netstat_sysctls {
#define PG_X(field, path) int64_t field; /* PG_NETSTAT_NO_SYSCTL: this kernel has none */
	PG_NETSTAT_SYSCTLS(PG_X)
#undef PG_X
};

int pg_netstat_sysctls(struct pg_netstat_sysctls *ret_sysctls, struct pg_error *error);

#endif
