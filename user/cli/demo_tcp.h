/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_TCP_H
#define PG_CLI_DEMO_TCP_H

#include "demo_net.h"
#include "demo_report.h"

/*
 * TCP listeners that never accept, one in each namespace: more clients than fit into the accept
 * queue of the first, and a few in the second.
 */
#define DEMO_TCP_PORT	     7000
#define DEMO_TCP_BACKLOG     8
#define DEMO_TCP_CLIENTS     14
#define DEMO_TCP_FAR_PORT    7001
#define DEMO_TCP_FAR_CLIENTS 3

struct demo_queue {
	int listener; /* -1 = none */
	int clients[DEMO_TCP_CLIENTS];
};

enum {
	DEMO_QUEUE_SERVER,
	DEMO_QUEUE_CLIENT, /* in the client's namespace */
	DEMO_QUEUES_COUNT,
};

struct demo_tcp {
	struct demo_queue queues[DEMO_QUEUES_COUNT];
};

void demo_tcp_init(struct demo_tcp *tcp);
int demo_tcp_open(struct demo_tcp *tcp, const struct demo_net *net, struct pg_error *error);
void demo_tcp_close(struct demo_tcp *tcp);

/* Prints the listeners as the control API gives them and checks them against the kernel's word. */
int demo_tcp_report(const struct demo_tcp *tcp, const struct demo_net *net,
		    struct demo_report *report, struct pg_error *error);

#endif
