/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_METRICS_TEXT_H
#define PG_METRICS_TEXT_H

#include <stdio.h>

#include "agent.h"
#include "listeners.h"

/* Series of listeners in one exposition; more are left away and counted. */
#define PG_METRICS_LISTENERS_MAX 4096

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
	struct pg_tcp_entrance entrances[PG_CONFIG_ENTRANCES_MAX];
	size_t entrance_count;
	struct pg_listeners_sample tcp;	 /* with its series */
	struct pg_shield_report *shield; /* NULL = not read */
};

enum pg_metrics_format {
	PG_METRICS_OPENMETRICS, /* 1.0, "# EOF" included */
	PG_METRICS_TEXT,	/* Prometheus' text format 0.0.4 */
};

/* What a client with this Accept header ("" for none) gets: text only if it does not take both. */
enum pg_metrics_format pg_metrics_format(const char *accept);

/* Writes the whole exposition. */
void pg_metrics_expose(const struct pg_metrics_snapshot *snapshot, enum pg_metrics_format format,
		       FILE *file);

#endif
