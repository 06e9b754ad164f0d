/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONTROL_H
#define PG_CONTROL_H

#include "agent.h"
#include "config.h"
#include "error.h"

/* The control API: HTTP and JSON on a Unix socket; docs/control-api.md lists routes and keys. */
struct pg_control;

/*
 * Serves the agent on the configured socket until pg_control_close. From here on jansson wipes
 * what it frees, in the whole process: requests carry secrets. Failures as pg_http_open.
 */
int pg_control_open(struct pg_agent *agent, const struct pg_socket_config *config,
		    struct pg_control **ret_control, struct pg_error *error);

/* See pg_http_warning. */
const char *pg_control_warning(const struct pg_control *control);

/* Waits for the handlers that run. The agent must still answer. NULL is allowed. */
void pg_control_close(struct pg_control *control);

#endif
