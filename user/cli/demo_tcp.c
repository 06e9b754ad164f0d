// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/tcp.h>

#include "demo.h"
#include "demo_tcp.h"
#include "output.h"
#include "request.h"

#define WAIT_MS 2000
#define STEP_MS 5

static const struct {
	const char *address, *from; /* of the listener, of its clients */
	uint16_t port;
	uint32_t clients;
	uint32_t fitting; /* the kernel takes one connection more than the backlog */
} plan[DEMO_QUEUES_COUNT] = {
	[DEMO_QUEUE_SERVER] = { DEMO_SERVER, DEMO_CLIENT, DEMO_TCP_PORT, DEMO_TCP_CLIENTS,
				DEMO_TCP_BACKLOG + 1 },
	[DEMO_QUEUE_CLIENT] = { DEMO_CLIENT, DEMO_SERVER, DEMO_TCP_FAR_PORT, DEMO_TCP_FAR_CLIENTS,
				DEMO_TCP_FAR_CLIENTS },
};

static const char *namespace_of(const struct demo_net *net, int i)
{
	return i == DEMO_QUEUE_SERVER ? net->server : net->client;
}

void demo_tcp_init(struct demo_tcp *tcp)
{
	int i, n;

	for (i = 0; i < DEMO_QUEUES_COUNT; i++) {
		tcp->queues[i].listener = -1;
		for (n = 0; n < DEMO_TCP_CLIENTS; n++)
			tcp->queues[i].clients[n] = -1;
	}
}

void demo_tcp_close(struct demo_tcp *tcp)
{
	int i, n;

	for (i = 0; i < DEMO_QUEUES_COUNT; i++) {
		for (n = 0; n < DEMO_TCP_CLIENTS; n++)
			if (tcp->queues[i].clients[n] >= 0)
				close(tcp->queues[i].clients[n]);
		if (tcp->queues[i].listener >= 0)
			close(tcp->queues[i].listener);
	}
	demo_tcp_init(tcp);
}

/* Of a listening socket: connections that wait for accept, and the backlog. */
static int read_queue(int listener, uint32_t *ret_length, uint32_t *ret_limit)
{
	struct tcp_info info = { 0 };
	socklen_t bytes = sizeof(info);

	if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &bytes))
		return -errno;
	*ret_length = info.tcpi_unacked;
	*ret_limit = info.tcpi_sacked;
	return 0;
}

/* Waits for the queue to reach a length; a shorter one is for the report to tell. */
static void wait_for_queue(int listener, uint32_t length)
{
	uint32_t now = 0, limit;
	int waited;

	for (waited = 0; waited < WAIT_MS && !demo_stopped(); waited += STEP_MS) {
		if (read_queue(listener, &now, &limit) || now >= length)
			return;
		poll(NULL, 0, STEP_MS);
	}
}

static int connect_client(struct demo_queue *queue, const struct demo_net *net, int i, uint32_t n,
			  struct pg_error *error)
{
	struct sockaddr_in to = demo_net_address(plan[i].address, plan[i].port);
	int rc;

	rc = demo_net_socket(i == DEMO_QUEUE_SERVER ? net->client : net->server, SOCK_STREAM,
			     plan[i].from, 0, &queue->clients[n], error);
	if (rc)
		return rc;
	if (connect(queue->clients[n], (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return pg_error_set(error, -errno, "connect to %s:%u: %s", plan[i].address,
				    plan[i].port, strerror(errno));
	/* one after the other: what is under way at once would fill the SYN queue instead */
	if (n < plan[i].fitting)
		wait_for_queue(queue->listener, n + 1);
	return 0;
}

static int fill_queue(struct demo_queue *queue, const struct demo_net *net, int i,
		      struct pg_error *error)
{
	uint32_t n;
	int rc;

	rc = demo_net_socket(namespace_of(net, i), SOCK_STREAM, plan[i].address, plan[i].port,
			     &queue->listener, error);
	if (!rc && listen(queue->listener, DEMO_TCP_BACKLOG))
		rc = pg_error_set(error, -errno, "listen on %s:%u: %s", plan[i].address,
				  plan[i].port, strerror(errno));
	for (n = 0; !rc && n < plan[i].clients; n++)
		rc = connect_client(queue, net, i, n, error);
	return rc;
}

int demo_tcp_open(struct demo_tcp *tcp, const struct demo_net *net, struct pg_error *error)
{
	int i, rc = 0;

	for (i = 0; !rc && i < DEMO_QUEUES_COUNT; i++)
		rc = fill_queue(&tcp->queues[i], net, i, error);
	return rc;
}

/* --- the report ----------------------------------------------------------------------------- */

static const char *short_name(const char *netns)
{
	const char *dash = strrchr(netns, '-');

	return dash ? dash + 1 : netns;
}

static void print_listeners(const json_t *rows)
{
	struct table *table = table_new("NETNS|LISTENER|>PORT|>ACCEPT QUEUE|>LIMIT|>SYN QUEUE|"
					">LIMIT|NOTE");
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		table_cell(table, "%s", short_name(json_text(row, "netns")));
		table_cell(table, "%s", json_text(row, "address"));
		table_cell(table, "%lld", (long long)json_int(row, "port"));
		table_cell(table, "%lld", (long long)json_int(row, "accept_queue_length"));
		table_cell(table, "%lld", (long long)json_int(row, "accept_queue_limit"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_length"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_limit"));
		table_cell(table, json_flag(row, "accept_queue_full") ? "full: nobody accepts"
								      : "has room");
	}
	table_print(table, "the agent sees no TCP listener");
}

/* The row of a namespace, and of a port unless that is 0. */
static const json_t *find_row(const json_t *rows, const char *netns, uint16_t port)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		if (!strcmp(json_text(row, "netns"), netns) &&
		    (!port || json_int(row, "port") == port))
			return row;
	return NULL;
}

static void check_listener(const struct demo_queue *queue, int i, const json_t *row,
			   struct demo_report *report)
{
	uint32_t length = 0, limit = 0;

	if (!row || read_queue(queue->listener, &length, &limit)) {
		demo_report_problem(report, "the listener on port %u is not in the list",
				    plan[i].port);
		return;
	}
	demo_report_equal(report, "connections in the accept queue, by the kernel", length,
			  plan[i].fitting);
	demo_report_equal(report, "connections in the accept queue, by packgate",
			  (uint64_t)json_int(row, "accept_queue_length"), length);
	demo_report_equal(report, "limit of the accept queue, by packgate",
			  (uint64_t)json_int(row, "accept_queue_limit"), limit);
}

static void report_drops(const json_t *counters, const struct demo_net *net,
			 struct demo_report *report)
{
	uint32_t fitting = plan[DEMO_QUEUE_SERVER].fitting, vain = DEMO_TCP_CLIENTS - fitting;
	long long drops = (long long)json_int(find_row(counters, net->server, 0), "listen_drops");

	printf("Port %d: %d clients connected, %u fit (backlog %d and one more), %u wait in vain; "
	       "the\nkernel dropped %lld requests. Port %d, in the other namespace: %d fit.\n",
	       DEMO_TCP_PORT, DEMO_TCP_CLIENTS, fitting, DEMO_TCP_BACKLOG, vain, drops,
	       DEMO_TCP_FAR_PORT, DEMO_TCP_FAR_CLIENTS);
	if (drops < vain)
		demo_report_problem(report,
				    "dropped TCP connection requests: %lld, expected %u or more",
				    drops, vain);
	demo_report_equal(report, "dropped TCP connection requests in the client's namespace",
			  (uint64_t)json_int(find_row(counters, net->client, 0), "listen_drops"),
			  0);
}

int demo_tcp_report(const struct demo_tcp *tcp, const struct demo_net *net,
		    struct demo_report *report, struct pg_error *error)
{
	struct request request = { .path = "/v1/listeners" };
	const json_t *listeners;
	ANSWER answer = { 0 };
	int i;

	if (request_quietly(&request, &answer))
		return pg_error_set(error, -EIO, "ask the agent for the listeners: %s", answer.why);
	listeners = json_object_get(answer.root, "listeners");
	print_listeners(listeners);
	for (i = 0; i < DEMO_QUEUES_COUNT; i++)
		check_listener(&tcp->queues[i], i,
			       find_row(listeners, namespace_of(net, i), plan[i].port), report);
	report_drops(json_object_get(answer.root, "counters"), net, report);
	return 0;
}
