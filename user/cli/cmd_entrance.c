// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>

#include "commands.h"
#include "output.h"
#include "request.h"

/* "source 12, full 3", only what was counted; "-" where nothing was. */
static const char *refused_text(const json_t *rows, char text[128])
{
	const json_t *row;
	size_t i, at = 0;

	snprintf(text, 128, "-");
	json_array_foreach (rows, i, row) {
		int64_t count = json_int(row, "connections");

		if (count && at < 128)
			at += snprintf(text + at, 128 - at, "%s%s %lld", at ? ", " : "",
				       json_text(row, "reason"), (long long)count);
	}
	return text;
}

int cmd_entrance_list(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc = request_show("entrance list", "/v1/entrances", &answer);
	struct table *table;
	const json_t *row;
	char text[128];
	size_t i;

	if (rc || cli.json)
		return rc;
	table = table_new("NAME|ENDPOINT|ADDRESS|>PORT|TLS|>CONNECTIONS|>MOST|>A SOURCE|>ACCEPTED|"
			  "REFUSED");
	json_array_foreach (json_object_get(answer.root, "entrances"), i, row) {
		table_cell(table, "%s", json_text(row, "name"));
		table_cell(table, "%s", json_text(row, "endpoint"));
		table_cell(table, "%s", json_text(row, "address"));
		table_cell(table, "%lld", (long long)json_int(row, "port"));
		table_cell(table, "%s", json_flag(row, "tls") ? "yes" : "-");
		table_cell(table, "%lld", (long long)json_int(row, "connections"));
		table_cell(table, "%lld", (long long)json_int(row, "max_connections"));
		table_cell(table, "%lld", (long long)json_int(row, "max_connections_per_source"));
		table_cell(table, "%lld", (long long)json_int(row, "accepted"));
		table_cell(table, "%s", refused_text(json_object_get(row, "refused"), text));
	}
	table_print(table, "no TCP entrances");
	return CLI_DONE;
}
