/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_METRICS_H
#define PG_METRICS_H

#include <stddef.h>
#include <stdio.h>

#include "agent.h"
#include "error.h"

/* GET /metrics (OpenMetrics 1.0, or Prometheus' text for who accepts only that) and GET /healthz
 * over HTTP on a TCP address. */
struct pg_metrics;

/* Serves until pg_metrics_close. Failures as pg_http_open. */
int pg_metrics_open(struct pg_agent *agent, const struct pg_peer *listen,
		    struct pg_metrics **ret_metrics, struct pg_error *error);

/* The agent must still answer. NULL is allowed. */
void pg_metrics_close(struct pg_metrics *metrics);

/* docs/metrics.md, from the same list as the exposition. */
void pg_metrics_write_doc(FILE *file);

#endif
