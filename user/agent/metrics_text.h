/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_METRICS_TEXT_H
#define PG_METRICS_TEXT_H

#include <stdio.h>

#include "agent.h"
#include "netstat.h"

/* What stands behind one listener's five gauges. */
struct pg_listener_sample {
	char netns[64];
	struct pg_address address;
	uint16_t port;
	uint32_t accept_length, accept_limit, syn_length, syn_young, syn_limit;
};

struct pg_netstat_sample {
	char netns[64];
#define PG_X(field, table, kernel, metric, help) uint64_t field;
	PG_NETSTAT(PG_X)
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
	struct pg_tcp_entrance entrances[PG_CONFIG_ENTRANCES_MAX];
	size_t entrance_count;
	struct pg_netstat_sample *netstat;
	size_t netstat_count;
};

/* Writes the whole exposition, "# EOF" included. */
void pg_metrics_expose(const struct pg_metrics_snapshot *snapshot, FILE *file);

#endif
