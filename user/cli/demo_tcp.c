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

/* The kernel takes one connection more than the backlog. */
#define FITTING (DEMO_TCP_BACKLOG + 1)
#define WAIT_MS 2000
#define STEP_MS 5

void demo_tcp_init(struct demo_tcp *tcp)
{
	int i;

	tcp->listener = -1;
	for (i = 0; i < DEMO_TCP_CLIENTS; i++)
		tcp->clients[i] = -1;
}

void demo_tcp_close(struct demo_tcp *tcp)
{
	int i;

	for (i = 0; i < DEMO_TCP_CLIENTS; i++)
		if (tcp->clients[i] >= 0)
			close(tcp->clients[i]);
	if (tcp->listener >= 0)
		close(tcp->listener);
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

static int connect_client(struct demo_tcp *tcp, const struct demo_net *net, uint32_t i,
			  struct pg_error *error)
{
	struct sockaddr_in to = demo_net_address(DEMO_SERVER, DEMO_TCP_PORT);
	int rc;

	rc = demo_net_socket(net->client, SOCK_STREAM, DEMO_CLIENT, 0, &tcp->clients[i], error);
	if (rc)
		return rc;
	if (connect(tcp->clients[i], (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return pg_error_set(error, -errno, "connect to %s:%d: %s", DEMO_SERVER,
				    DEMO_TCP_PORT, strerror(errno));
	/* one after the other: what is under way at once would fill the SYN queue instead */
	if (i < FITTING)
		wait_for_queue(tcp->listener, i + 1);
	return 0;
}

int demo_tcp_open(struct demo_tcp *tcp, const struct demo_net *net, struct pg_error *error)
{
	uint32_t i;
	int rc;

	rc = demo_net_socket(net->server, SOCK_STREAM, DEMO_SERVER, DEMO_TCP_PORT, &tcp->listener,
			     error);
	if (!rc && listen(tcp->listener, DEMO_TCP_BACKLOG))
		rc = pg_error_set(error, -errno, "listen on %s:%d: %s", DEMO_SERVER, DEMO_TCP_PORT,
				  strerror(errno));
	for (i = 0; !rc && i < DEMO_TCP_CLIENTS; i++)
		rc = connect_client(tcp, net, i, error);
	return rc;
}

/* --- the report ----------------------------------------------------------------------------- */

static const json_t *print_listeners(const json_t *rows)
{
	struct table *table = table_new("LISTENER|>PORT|>ACCEPT QUEUE|>LIMIT|>SYN QUEUE|>YOUNG|"
					">LIMIT|NOTE");
	const json_t *row, *ours = NULL;
	size_t i;

	json_array_foreach (rows, i, row) {
		int64_t length = json_int(row, "accept_queue_length");

		if (json_int(row, "port") == DEMO_TCP_PORT)
			ours = row;
		table_cell(table, "%s", json_text(row, "address"));
		table_cell(table, "%lld", (long long)json_int(row, "port"));
		table_cell(table, "%lld", (long long)length);
		table_cell(table, "%lld", (long long)json_int(row, "accept_queue_limit"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_length"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_young"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_limit"));
		table_cell(table, length > json_int(row, "accept_queue_limit")
					  ? "full: nobody accepts"
					  : "has room");
	}
	table_print(table, "the agent sees no TCP listener");
	return ours;
}

static void check_listener(const struct demo_tcp *tcp, const json_t *row,
			   struct demo_report *report)
{
	uint32_t length = 0, limit = 0;

	if (!row || read_queue(tcp->listener, &length, &limit)) {
		demo_report_problem(report, "the listener on port %d is not in the list",
				    DEMO_TCP_PORT);
		return;
	}
	demo_report_equal(report, "connections in the accept queue, by the kernel", length,
			  FITTING);
	demo_report_equal(report, "connections in the accept queue, by packgate",
			  (uint64_t)json_int(row, "accept_queue_length"), length);
	demo_report_equal(report, "limit of the accept queue, by packgate",
			  (uint64_t)json_int(row, "accept_queue_limit"), limit);
}

int demo_tcp_report(const struct demo_tcp *tcp, struct demo_report *report, struct pg_error *error)
{
	struct request request = { .path = "/v1/listeners" };
	const json_t *counters;
	ANSWER answer = { 0 };
	long long drops;

	if (request_quietly(&request, &answer))
		return pg_error_set(error, -EIO, "ask the agent for the listeners: %s", answer.why);
	check_listener(tcp, print_listeners(json_object_get(answer.root, "listeners")), report);
	counters = json_array_get(json_object_get(answer.root, "counters"), 0);
	drops = (long long)json_int(counters, "listen_drops");
	printf("%d clients connected, %d fit (backlog %d and one more), %d wait in vain; the "
	       "kernel dropped %lld requests.\n",
	       DEMO_TCP_CLIENTS, FITTING, DEMO_TCP_BACKLOG, DEMO_TCP_CLIENTS - FITTING, drops);
	if (drops < DEMO_TCP_CLIENTS - FITTING)
		demo_report_problem(report,
				    "dropped TCP connection requests: %lld, expected %d or "
				    "more",
				    drops, DEMO_TCP_CLIENTS - FITTING);
	return 0;
}
