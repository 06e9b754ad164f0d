/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_H
#define PG_CLI_DEMO_H

#include "demo_agent.h"
#include "demo_app.h"
#include "demo_client.h"
#include "demo_messages.h"
#include "demo_net.h"
#include "demo_report.h"
#include "demo_tcp.h"

/* `packgate demo`: everything it made, in the order it was made. */
struct demo {
	struct demo_net net;
	struct demo_agent agent;
	struct demo_app app;
	struct demo_client client;
	struct demo_caller caller;
	struct demo_tcp tcp;
	struct demo_report report;
};

/* Why the demo has to end now, or NULL. Everything that waits asks. */
const char *demo_stopped(void);

/* Waits up to timeout_ms for the client's sockets or the application's and takes what came. */
void demo_pump(struct demo *demo, int timeout_ms);

/*
 * Pumps until *counter, one that pumping moves, is at least target. What does not come in time is
 * not an error here: the numbers tell.
 */
void demo_await(struct demo *demo, const uint32_t *counter, uint32_t target);

/* Each plays its part and adds rows to the report; an error is one of the demo itself. */
int demo_honest(struct demo *demo, struct pg_error *error);
int demo_hostile(struct demo *demo, struct pg_error *error);
int demo_honest_again(struct demo *demo, struct pg_error *error);
int demo_messages(struct demo *demo, struct pg_error *error);

/* One honest packet of a series after a jump of its packId, and the end of a session. */
int demo_honest_jump(struct demo *demo, struct pg_error *error);
int demo_honest_goaway(struct demo *demo, struct pg_error *error);

/* Scrapes the metrics, prints some of them and checks them against the report. */
int demo_metrics(struct demo *demo, const struct demo_counts *counts, struct pg_error *error);

#endif
