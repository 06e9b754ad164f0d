// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "demo.h"
#include "output.h"

#define ANSWER_MAX (1 << 20)
#define ANSWER_MS  3000

static int wait_for(int fd, short events)
{
	struct pollfd polled = { .fd = fd, .events = events };

	return poll(&polled, 1, ANSWER_MS) == 1 ? 0 : -ETIMEDOUT;
}

static int ask(int fd)
{
	static const char request[] = "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
	struct sockaddr_in to = demo_net_address("127.0.0.1", DEMO_METRICS_PORT);
	int failed = 0;
	socklen_t bytes = sizeof(failed);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return -errno;
	if (wait_for(fd, POLLOUT))
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &bytes) || failed)
		return failed ? -failed : -errno;
	return send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int read_answer(int fd, char *text)
{
	size_t used = 0;
	ssize_t n;

	do {
		if (wait_for(fd, POLLIN))
			return -ETIMEDOUT;
		n = recv(fd, text + used, ANSWER_MAX - used, 0);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		used += n > 0 ? (size_t)n : 0;
	} while (n && used < ANSWER_MAX);
	text[used] = 0;
	return strstr(text, " 200 ") ? 0 : -EPROTO;
}

/* Over TCP, inside the server's namespace, as a Prometheus would. */
static int scrape(const struct demo_net *net, char **ret_text, struct pg_error *error)
{
	PG_FREE char *text = malloc(ANSWER_MAX + 1);
	PG_CLOSE int fd = -1;
	int rc;

	if (!text)
		return pg_error_set(error, -ENOMEM, "scrape the metrics: out of memory");
	rc = demo_net_socket(net->server, SOCK_STREAM, "127.0.0.1", 0, &fd, error);
	if (rc)
		return rc;
	rc = ask(fd);
	if (!rc)
		rc = read_answer(fd, text);
	if (rc)
		return pg_error_set(error, rc, "scrape http://127.0.0.1:%d/metrics: %s",
				    DEMO_METRICS_PORT, strerror(-rc));
	*ret_text = TAKE_PTR(text);
	return 0;
}

/* The sum of a metric's series that carry a label text ("" = all). */
static uint64_t sum(const char *text, const char *name, const char *label)
{
	size_t length = strlen(name);
	const char *line, *end;
	double total = 0;

	for (line = text; line; line = *end ? end + 1 : NULL) {
		const char *space, *found;

		end = strchrnul(line, '\n');
		if (strncmp(line, name, length) || (line[length] != '{' && line[length] != ' '))
			continue;
		found = strstr(line, label);
		space = memrchr(line, ' ', (size_t)(end - line));
		if (space && found && found < end)
			total += strtod(space, NULL);
	}
	return (uint64_t)total;
}

struct shown {
	const char *name, *label, *meaning;
	bool known; /* what it should be */
	uint64_t expected;
};

static void show(const struct shown *rows, size_t count, const char *text,
		 struct demo_report *report)
{
	struct table *table = table_new("METRIC|>VALUE|OK|MEANING");
	const struct shown *row;

	for (row = rows; row < rows + count; row++) {
		uint64_t value = sum(text, row->name, row->label);
		bool right = value == row->expected;

		table_cell(table, "%s", row->name);
		table_cell(table, "%llu", (unsigned long long)value);
		table_cell(table, "%s", !row->known ? "-" : right ? "ok" : "WRONG");
		table_cell(table, "%s", row->meaning);
		if (row->known)
			demo_report_equal(report, row->name, value, row->expected);
	}
	table_print(table, "");
}

static uint64_t total(const uint64_t counts[PG_DROP_SLOTS])
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < PG_DROP_SLOTS; i++)
		n += counts[i];
	return n;
}

int demo_metrics(struct demo *demo, const struct demo_counts *counts, struct pg_error *error)
{
	const struct shown rows[] = {
		{ "packgate_gate_steered_total", "", "frames the gate let through to the agent",
		  false, 0 },
		{ "packgate_gate_drops_total", "", "frames the gate dropped, all reasons", true,
		  total(counts->gate) },
		{ "packgate_frames_rejected_total", "", "frames the agent refused, all reasons",
		  true, total(counts->agent) },
		{ "packgate_gate_duplicates_total", "", "copies of acked packets the gate knew",
		  true, counts->duplicates },
		{ "packgate_frames_opened_total", "", "data frames authenticated, first time", true,
		  demo->report.opened },
		{ "packgate_messages_delivered_total", "", "messages handed to the application",
		  true, demo->app.records[PG_APP_MESSAGE] },
		{ "packgate_sessions", "state=\"ready\"", "sessions in use", true,
		  DEMO_HONEST + 1 },
		{ "packgate_heartbeats_answered_total", "", "heartbeats the agent answered itself",
		  true, demo->report.heartbeats },
		{ "packgate_tcp_entrance_connections", "", "clients on the TCP entrance", true, 1 },
		{ "packgate_tcp_accept_queue_length", "port=\"7000\"",
		  "accept queue of the listener", true, DEMO_TCP_BACKLOG + 1 },
		{ "packgate_tcp_accept_queue_length", "port=\"7001\"",
		  "accept queue in the other namespace", true, DEMO_TCP_FAR_CLIENTS },
	};
	PG_FREE char *text = NULL;
	int rc = scrape(&demo->net, &text, error);

	if (!rc)
		show(rows, sizeof(rows) / sizeof(rows[0]), text, &demo->report);
	return rc;
}
