// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "request.h"

struct note {
	char text[256];
	size_t used;
};

static void add_note(struct note *note, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add_note(struct note *note, const char *format, ...)
{
	size_t room = sizeof(note->text) - note->used;
	va_list args;
	int bytes;

	bytes = snprintf(note->text + note->used, room, "%s", note->used ? "; " : "");
	va_start(args, format);
	if (bytes > 0 && (size_t)bytes < room)
		bytes += vsnprintf(note->text + note->used + bytes, room - bytes, format, args);
	va_end(args);
	note->used += bytes > 0 && (size_t)bytes < room ? (size_t)bytes : room - 1;
}

static struct note note_of(const json_t *row)
{
	struct note note = { .text = "" };
	int64_t group = json_int(row, "reuseport_sockets");
	int64_t fastopen = json_int(row, "fastopen_queue_limit");

	if (json_flag(row, "accept_queue_full"))
		add_note(&note, "accept queue full");
	if (json_flag(row, "syn_queue_full"))
		add_note(&note, "SYN queue full");
	if (json_flag(row, "backlog_capped"))
		add_note(&note, "limited by somaxconn");
	if (json_flag(row, "ipv6_only"))
		add_note(&note, "IPv6 only");
	else if (!strcmp(json_text(row, "address"), "::"))
		add_note(&note, "IPv4 too");
	if (group > 1)
		add_note(&note, "one of %lld (reuseport)", (long long)group);
	if (fastopen)
		add_note(&note, "Fast Open %lld of %lld",
			 (long long)json_int(row, "fastopen_queue_length"), (long long)fastopen);
	return note;
}

static void number_cell(struct table *table, const json_t *row, const char *key)
{
	table_cell(table, "%lld", (long long)json_int(row, key));
}

static void show_listeners(const json_t *rows)
{
	struct table *table = table_new("NETNS|ADDRESS|>PORT|OWNER|>ACCEPT QUEUE|>HIGH|>LIMIT|"
					">SYN QUEUE|>YOUNG|>HIGH|>LIMIT|>DROPS|NOTE");
	static const char *const numbers[] = {
		"accept_queue_length", "accept_queue_high",
		"accept_queue_limit",  "syn_queue_length",
		"syn_queue_young",     "syn_queue_high",
		"syn_queue_limit",     "drops",
	};
	const json_t *row;
	size_t i, j;

	json_array_foreach (rows, i, row) {
		int64_t pid = json_int(row, "owner_pid");
		struct note note = note_of(row);

		table_cell(table, "%s", json_text(row, "netns"));
		table_cell(table, "%s", json_text(row, "address"));
		number_cell(table, row, "port");
		if (pid)
			table_cell(table, "%s[%lld]", json_text(row, "owner_command"),
				   (long long)pid);
		else
			table_cell(table, "-");
		for (j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++)
			number_cell(table, row, numbers[j]);
		table_cell(table, "%s", note.text);
	}
	table_print(table, "no TCP listeners");
}

static void number_or_dash(struct table *table, const json_t *row, const char *key)
{
	if (json_is_integer(json_object_get(row, key)))
		number_cell(table, row, key);
	else
		table_cell(table, "-");
}

/* ESTABLISHED holds CLOSE_WAIT as well: the kernel counts them as one. */
static void show_namespaces(const json_t *rows)
{
	struct table *table =
		table_new("NETNS|>LISTEN|>SYN RECV|>ESTABLISHED|>CLOSE WAIT|"
			  ">TIME WAIT|>OTHER|>SOMAXCONN|>MAX SYN BACKLOG|>SYNCOOKIES|NOTE");
	static const char *const numbers[] = {
		"sockets_listen",    "sockets_syn_received", "sockets_established",
		"states_close_wait", "sockets_time_wait",    "sockets_other",
		"somaxconn",	     "tcp_max_syn_backlog",  "tcp_syncookies",
	};
	const json_t *row;
	size_t i, j;

	json_array_foreach (rows, i, row) {
		table_cell(table, "%s", json_text(row, "netns"));
		for (j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++)
			number_or_dash(table, row, numbers[j]);
		table_cell(table, "%s", json_text(row, "why"));
	}
	puts("");
	table_print(table, "no network namespaces");
}

/* One namespace whole; of several what has happened. */
static void show_counters(const json_t *rows)
{
	struct table *table = table_new("NETNS|COUNTER|>VALUE");
	bool all = json_array_size(rows) == 1;
	const json_t *row;
	json_t *value;
	const char *key;
	size_t i;

	json_array_foreach (rows, i, row) {
		json_object_foreach ((json_t *)row, key, value) {
			if (!json_is_integer(value) || (!all && !json_integer_value(value)))
				continue;
			table_cell(table, "%s", json_text(row, "netns"));
			table_cell(table, "%s", key);
			table_cell(table, "%lld", (long long)json_integer_value(value));
		}
	}
	puts("");
	table_print(table, "every counter is 0");
}

static void show_limits(const json_t *root)
{
	int64_t namespaces = json_int(root, "namespaces_cut");
	int64_t listeners = json_int(root, "listeners_cut");
	int64_t requests = json_int(root, "requests_cut");

	if (strcmp(json_text(root, "source"), "tracked"))
		printf("\nread through %s: %s\n", json_text(root, "source"),
		       json_text(root, "source_why"));
	if (namespaces)
		printf("\n%lld network namespaces more are not shown\n", (long long)namespaces);
	if (listeners)
		printf("\n%lld listeners more are not shown\n", (long long)listeners);
	if (requests)
		printf("\n%lld requests more are in the SYN queues than are counted\n",
		       (long long)requests);
}

int cmd_listeners(const struct cli_args *args)
{
	const char *netns = cli_option(args, "netns"), *port = cli_option(args, "port");
	PG_FREE char *escaped = netns ? request_escape(netns) : NULL;
	ANSWER answer = { 0 };
	unsigned long long number;
	char path[512];
	int rc;

	if (netns && (!*netns || !escaped || strlen(escaped) > 400))
		return cli_fail(CLI_USAGE, "listeners: --netns takes all, own or a namespace");
	if (port && (!cli_option(args, "explain") || !cli_number(port, 1, 65535, &number)))
		return cli_fail(CLI_USAGE,
				"listeners: --port goes with --explain and takes 1 to 65535");
	if (cli_option(args, "explain"))
		return cmd_listeners_explain(netns, port);
	snprintf(path, sizeof(path), "/v1/listeners%s%s", netns ? "?netns=" : "",
		 netns ? escaped : "");
	rc = request_show("listeners", path, &answer);
	if (rc || cli.json)
		return rc;
	show_listeners(json_object_get(answer.root, "listeners"));
	show_namespaces(json_object_get(answer.root, "namespaces"));
	show_counters(json_object_get(answer.root, "counters"));
	show_limits(answer.root);
	return CLI_DONE;
}
