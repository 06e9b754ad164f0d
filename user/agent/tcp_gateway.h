/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_GATEWAY_H
#define PG_TCP_GATEWAY_H

#include "agent.h"
#include "inbox.h"
#include "view.h"

/*
 * The TCP entrances of endpoints with format: message (PROTOCOL section 6): one thread that
 * accepts, reads messages in any segmentation, answers heartbeats and hands the rest to the
 * applications of the endpoint, in the same records as sessions (transport PG_APP_TCP).
 */
struct pg_tcp_gateway;

/* Starts the thread, without any entrance. refusals: as pg_app_server_open has them. */
int pg_tcp_gateway_open(struct pg_inbox *refusals, struct pg_tcp_gateway **ret_gateway,
			struct pg_error *error);
/* Closes every connection and listener. NULL is allowed. */
void pg_tcp_gateway_close(struct pg_tcp_gateway *gateway);

/*
 * What a configuration needs that may fail: listening sockets, certificates. Nothing is changed.
 * Hand the plan to pg_tcp_gateway_apply, or to pg_tcp_plan_free.
 */
struct pg_tcp_plan;

int pg_tcp_gateway_plan(struct pg_tcp_gateway *gateway, const struct pg_config *config,
			struct pg_tcp_plan **ret_plan, struct pg_error *error);
void pg_tcp_plan_free(struct pg_tcp_plan *plan);

/* The name of the plan's entrance number index, and its endpoint's; NULL past the last. */
const struct pg_entrance_config *pg_tcp_plan_entrance(const struct pg_tcp_plan *plan,
						      uint32_t index);
/* Index of its endpoint in the view; before the plan is applied. */
void pg_tcp_plan_set_endpoint(struct pg_tcp_plan *plan, uint32_t index, uint16_t endpoint);

/*
 * Makes the entrances those of the plan, which is freed. Connections stay where an entrance keeps
 * its name, its endpoint and its TLS. Blocks; so does the next.
 */
void pg_tcp_gateway_apply(struct pg_tcp_gateway *gateway, struct pg_tcp_plan *plan);
void pg_tcp_gateway_set_view(struct pg_tcp_gateway *gateway, const struct pg_view *view);

/* For records of applications (PG_MESSAGE_APP, handle = that of the connection). */
struct pg_inbox *pg_tcp_gateway_inbox(struct pg_tcp_gateway *gateway);

/* What it counts beside its entrances; read without a lock while it counts. */
const struct pg_worker_counts *pg_tcp_gateway_counts(const struct pg_tcp_gateway *gateway);

/* Copies up to PG_CONFIG_ENTRANCES_MAX rows; not at the same time as an apply. */
size_t pg_tcp_gateway_status(const struct pg_tcp_gateway *gateway, struct pg_tcp_entrance *rows);

#endif
