// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "request.h"

#define ITEM "  %-14s"

static long long number(const json_t *object, const char *key)
{
	return (long long)json_int(object, key);
}

/* A process chooses its own name: what is no printable character is shown as '?'. */
static void show_name(const json_t *row)
{
	const char *address = json_text(row, "address"), *c;
	bool ipv6 = strchr(address, ':');

	printf("%s%s%s:%lld in %s", ipv6 ? "[" : "", address, ipv6 ? "]" : "", number(row, "port"),
	       json_text(row, "netns"));
	if (json_int(row, "owner_pid")) {
		fputs(", ", stdout);
		for (c = json_text(row, "owner_command"); *c; c++)
			putchar(isprint((unsigned char)*c) ? *c : '?');
		printf("[%lld]", number(row, "owner_pid"));
	}
	putchar('\n');
}

static void show_accept_queue(const json_t *row)
{
	const char *limiter = json_text(row, "accept_queue_limiter");
	bool backlog = !strcmp(limiter, "backlog");

	printf(ITEM "%lld of %lld%s; %s is the limit: %s%lld, and one more\n", "accept queue",
	       number(row, "accept_queue_length"), number(row, "accept_queue_room"),
	       json_flag(row, "accept_queue_full") ? ", full" : "", limiter,
	       backlog ? "listen() got " : "at listen() it was ",
	       number(row, "accept_queue_limit"));
}

static void show_syn_queue(const json_t *row)
{
	const char *limiter = json_text(row, "syn_queue_limiter");

	if (!strcmp(limiter, "unused")) {
		printf(ITEM "unused: tcp_syncookies is 2; %lld from before\n", "SYN queue",
		       number(row, "syn_queue_length"));
		return;
	}
	printf(ITEM "%lld of %lld%s, %lld young; %s is the limit", "SYN queue",
	       number(row, "syn_queue_length"), number(row, "syn_queue_room"),
	       json_flag(row, "syn_queue_full") ? ", full" : "", number(row, "syn_queue_young"),
	       limiter);
	if (json_int(row, "syn_queue_room") != json_int(row, "syn_queue_room_known"))
		printf("; %lld for known clients", number(row, "syn_queue_room_known"));
	printf("; a SYN-ACK is sent again %lld times\n", number(row, "synack_retries"));
}

static void show_sysctls(const json_t *row)
{
	static const char *const names[] = { "somaxconn", "tcp_max_syn_backlog", "tcp_syncookies",
					     "tcp_abort_on_overflow", "tcp_synack_retries" };
	size_t i;

	printf(ITEM, "sysctls");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf("%s%s %lld", i ? ", " : "", names[i], number(row, names[i]));
	putchar('\n');
}

static void show_decision(const char *item, const json_t *decision)
{
	const json_t *counters = json_object_get(decision, "counters"), *counter;
	size_t i;

	printf(ITEM "%s: %s", item, json_text(decision, "decision"), json_text(decision, "why"));
	json_array_foreach (counters, i, counter)
		printf("%s%s", i ? ", " : " (counted by ", json_string_value(counter));
	puts(json_array_size(counters) ? ")" : "");
}

static void show_decisions(const json_t *decisions)
{
	static const char *const items[][2] = {
		{ "syn", "next SYN" },
		{ "syn_known", "known client" },
		{ "final_ack", "final ACK" },
		{ "cookie_ack", "cookie's ACK" },
	};
	const json_t *decision;
	const char *outcome = "";
	size_t i, j;

	json_array_foreach (decisions, i, decision) {
		bool same = !strcmp(outcome, json_text(decision, "outcome"));

		outcome = json_text(decision, "outcome");
		for (j = 0; j < sizeof(items) / sizeof(items[0]) && !same; j++)
			if (!strcmp(items[j][0], json_text(decision, "packet")))
				show_decision(items[j][1], decision);
	}
}

static void show_change(const json_t *change)
{
	const char *kubelet = json_text(change, "kubelet");

	if (*json_text(change, "listen"))
		printf(ITEM "  %s: a limit is fixed at listen(), so start the application again\n",
		       "", json_text(change, "listen"));
	if (*json_text(change, "sysctl"))
		printf(ITEM "  %s\n", "", json_text(change, "sysctl"));
	if (*json_text(change, "pod"))
		printf(ITEM "  or in a pod: %s%s%s\n", "", json_text(change, "pod"),
		       *kubelet ? ", its kubelet with " : "", kubelet);
}

static void show_advice(const json_t *rows)
{
	const json_t *row, *changes, *change;
	size_t i, j;

	json_array_foreach (rows, i, row) {
		printf(ITEM "%s\n", json_flag(row, "needed") ? "advice" : "optional",
		       json_text(row, "why"));
		changes = json_object_get(row, "changes");
		json_array_foreach (changes, j, change)
			show_change(change);
	}
}

static void show(const json_t *root)
{
	const json_t *rows = json_object_get(root, "listeners"), *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		if (i)
			putchar('\n');
		show_name(row);
		show_accept_queue(row);
		show_syn_queue(row);
		if (json_flag(row, "defer_accept"))
			printf(ITEM
			       "on: a final ACK counts once data come, or after some SYN-ACKs\n",
			       "defer accept");
		show_sysctls(row);
		show_decisions(json_object_get(row, "decisions"));
		show_advice(json_object_get(row, "advice"));
	}
	if (!i)
		puts("no TCP listeners");
	if (json_int(root, "listeners_cut"))
		printf("\n%lld listeners more are not shown: choose with --netns or --port\n",
		       number(root, "listeners_cut"));
}

int cmd_listeners_explain(const char *netns, const char *port)
{
	PG_FREE char *name = request_escape(netns ? netns : "");
	PG_FREE char *digits = request_escape(port ? port : "");
	ANSWER answer = { 0 };
	char path[512];
	int rc;

	if (!name || !digits)
		return cli_fail(CLI_FAILED, "listeners: out of memory");
	snprintf(path, sizeof(path), "/v1/listeners/explain%s%s%s%s%s", netns || port ? "?" : "",
		 netns ? "netns=" : "", name, port ? (netns ? "&port=" : "port=") : "", digits);
	rc = request_show("listeners", path, &answer);
	if (!rc && !cli.json)
		show(answer.root);
	return rc;
}
