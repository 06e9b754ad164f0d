// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "request.h"

static void show_listeners(const json_t *rows)
{
	struct table *table =
		table_new("NETNS|ADDRESS|>PORT|>ACCEPT QUEUE|>LIMIT|>SYN QUEUE|>YOUNG|"
			  ">LIMIT|NOTE");
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		int64_t accept = json_int(row, "accept_queue_length");
		int64_t limit = json_int(row, "accept_queue_limit");

		table_cell(table, "%s", json_text(row, "netns"));
		table_cell(table, "%s", json_text(row, "address"));
		table_cell(table, "%lld", (long long)json_int(row, "port"));
		table_cell(table, "%lld", (long long)accept);
		table_cell(table, "%lld", (long long)limit);
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_length"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_young"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_limit"));
		/* The kernel takes one connection more than the backlog. */
		table_cell(table, "%s", accept > limit ? "accept queue full" : "");
	}
	table_print(table, "no TCP listeners");
}

static void show_counters(const json_t *rows)
{
	struct table *table = table_new("NETNS|COUNTER|>VALUE");
	const json_t *row;
	json_t *value;
	const char *key;
	size_t i;

	json_array_foreach (rows, i, row) {
		json_object_foreach ((json_t *)row, key, value) {
			if (!json_is_integer(value))
				continue;
			table_cell(table, "%s", json_text(row, "netns"));
			table_cell(table, "%s", key);
			table_cell(table, "%lld", (long long)json_integer_value(value));
		}
	}
	puts("");
	table_print(table, "no counters");
}

int cmd_listeners(const struct cli_args *args)
{
	const char *netns = cli_option(args, "netns");
	ANSWER answer = { 0 };
	int rc;

	if (netns && strcmp(netns, "own"))
		return cli_fail(CLI_FAILED,
				"listeners: --netns %s: the agent shows the listeners of its own "
				"network namespace only; leave --netns away or say own",
				netns);
	rc = request_show("listeners", "/v1/listeners", &answer);
	if (rc || cli.json)
		return rc;
	show_listeners(json_object_get(answer.root, "listeners"));
	show_counters(json_object_get(answer.root, "counters"));
	return CLI_DONE;
}
