/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_TCP_H
#define PG_CLI_DEMO_TCP_H

#include "demo_net.h"
#include "demo_report.h"

/*
 * A TCP listener in the server's namespace that never accepts, and more clients than fit into its
 * accept queue.
 */
#define DEMO_TCP_PORT	 7000
#define DEMO_TCP_BACKLOG 8
#define DEMO_TCP_CLIENTS 14

struct demo_tcp {
	int listener; /* -1 = none */
	int clients[DEMO_TCP_CLIENTS];
};

void demo_tcp_init(struct demo_tcp *tcp);
int demo_tcp_open(struct demo_tcp *tcp, const struct demo_net *net, struct pg_error *error);
void demo_tcp_close(struct demo_tcp *tcp);

/* Prints the listeners as the control API gives them and checks them against the kernel's word. */
int demo_tcp_report(const struct demo_tcp *tcp, struct demo_report *report, struct pg_error *error);

#endif
