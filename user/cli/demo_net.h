/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_NET_H
#define PG_CLI_DEMO_NET_H

#include <netinet/in.h>
#include <stdbool.h>

#include "error.h"

/*
 * Two network namespaces of the demo's own, joined by a veth pair of two queues. The calling
 * process never leaves its mount namespace, so that bpffs stays visible.
 */
#define DEMO_SERVER_IF "pgd-server"
#define DEMO_CLIENT_IF "pgd-client"
#define DEMO_SERVER    "10.88.0.1"
#define DEMO_CLIENT    "10.88.0.2"
#define DEMO_STRANGER  "10.88.0.3" /* a second address of the client's side */
#define DEMO_QUEUES    "2"

struct demo_net {
	char server[48], client[48]; /* names below /run/netns */
	bool server_made, client_made;
};

/* On failure demo_net_close removes what was made. */
int demo_net_open(struct demo_net *net, struct pg_error *error);
void demo_net_close(struct demo_net *net);

/* Whether a namespace of this name exists. */
bool demo_net_exists(const char *name);

/* Moves this thread into a namespace; for a child that is about to exec. 0 or negative errno. */
int demo_net_enter(const char *name);

/*
 * An IPv4 socket that lives in the namespace, non-blocking, bound to address:port (port 0 = any).
 * The thread stays where it is.
 */
int demo_net_socket(const char *name, int type, const char *address, uint16_t port, int *ret_fd,
		    struct pg_error *error);

struct sockaddr_in demo_net_address(const char *address, uint16_t port);

#endif
