/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_METRICS_H
#define PG_METRICS_H

#include <stddef.h>
#include <stdio.h>

#include "agent.h"
#include "error.h"

/* GET /metrics (OpenMetrics 1.0) and GET /healthz over HTTP on a TCP address. */
struct pg_metrics;

/* Serves until pg_metrics_close. Failures as pg_http_open. */
int pg_metrics_open(struct pg_agent *agent, const struct pg_peer *listen,
		    struct pg_metrics **ret_metrics, struct pg_error *error);

/* The agent must still answer. NULL is allowed. */
void pg_metrics_close(struct pg_metrics *metrics);

/*
 * The exposition at this moment, in *ret_text, which the caller frees. What cannot be read now
 * (listeners without the capability, say) is left away: a scrape never fails half. With reset
 * high-water marks begin anew.
 */
int pg_metrics_write(struct pg_agent *agent, bool reset, char **ret_text, size_t *ret_bytes,
		     struct pg_error *error);

/* docs/metrics.md, from the same list as the exposition. */
void pg_metrics_write_doc(FILE *file);

#define PG_METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

#endif
