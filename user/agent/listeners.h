/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LISTENERS_H
#define PG_LISTENERS_H

#include <stddef.h>

#include "metrics_text.h"

/*
 * The TCP listeners and the TCP counters of the agent's own network namespace at this moment. What
 * cannot be read comes back as no rows. The caller frees both arrays.
 */
void pg_listeners_sample(struct pg_listener_sample **ret_listeners, size_t *ret_listener_count,
			 struct pg_netstat_sample **ret_netstat, size_t *ret_netstat_count);

/*
 * Makes one row of neighbours that share namespace, address and port (a reuseport group), their
 * lengths and limits added up: metric labels must be unique.
 */
void pg_listeners_merge(struct pg_listener_sample *listeners, size_t *count);

#endif
