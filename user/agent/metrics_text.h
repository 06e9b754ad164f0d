/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_METRICS_TEXT_H
#define PG_METRICS_TEXT_H

#include <stdio.h>

#include "agent.h"

/* What stands behind one listener's five gauges. */
struct pg_listener_sample {
	char netns[64];
	struct pg_address address;
	uint16_t port;
	uint32_t accept_length, accept_limit, syn_length, syn_young, syn_limit;
};

/* Counters of /proc/net/netstat: X(field, metric name without packgate_tcp_ and _total, help) */
#define PG_NETSTAT_METRICS(X)                                                                  \
	X(listen_overflows, "listen_overflows", "connections that found an accept queue full") \
	X(listen_drops, "listen_drops", "connection requests a listener dropped")              \
	X(reqq_full_do_cookies, "reqq_full_do_cookies",                                        \
	  "SYNs answered by a cookie because the SYN queue was full")                          \
	X(reqq_full_drop, "reqq_full_drop", "SYNs dropped because the SYN queue was full")     \
	X(syncookies_sent, "syncookies_sent", "SYN cookies sent")                              \
	X(syncookies_received, "syncookies_received", "SYN cookies that came back")            \
	X(syncookies_failed, "syncookies_failed", "SYN cookies that came back wrong or late")

struct pg_netstat_sample {
	char netns[64];
#define PG_X(field, name, help) uint64_t field;
	PG_NETSTAT_METRICS(PG_X)
#undef PG_X
};

/* Everything one exposition is made of. The arrays belong to the snapshot. */
struct pg_metrics_snapshot {
	struct pg_agent_status status;
	struct pg_gate_counts gate;
	struct pg_worker_counts workers;
	struct pg_limits limits;
	struct pg_xsk_status *xsk;
	size_t xsk_count;
	struct pg_session_count *sessions;
	size_t session_count;
	struct pg_listener_sample *listeners;
	size_t listener_count;
	struct pg_netstat_sample *netstat;
	size_t netstat_count;
};

/* Writes the whole exposition, "# EOF" included. */
void pg_metrics_expose(const struct pg_metrics_snapshot *snapshot, FILE *file);

#endif
