// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "request.h"

int cmd_session_list(const struct cli_args *args)
{
	const char *endpoint = cli_option(args, "endpoint");
	PG_FREE char *value = request_escape(endpoint ? endpoint : "");
	char path[512], active[32];
	ANSWER answer = { 0 };
	struct table *table;
	const json_t *row;
	size_t i;
	int rc;

	snprintf(path, sizeof(path), "/v1/sessions%s%s", endpoint ? "?endpoint=" : "", value);
	rc = request_show("session list", path, &answer);
	if (rc || cli.json)
		return rc;
	table = table_new("SESSION|ENDPOINT|PEER|STATE|>STREAMS|>FRAMES IN|>FRAMES OUT|>REJECTED|"
			  ">GAPS|ACTIVE");
	json_array_foreach (json_object_get(answer.root, "sessions"), i, row) {
		table_cell(table, "%s", json_text(row, "session"));
		table_cell(table, "%s", json_text(row, "endpoint"));
		table_cell(table, "%s", json_text(row, "peer"));
		table_cell(table, "%s", json_text(row, "state"));
		table_cell(table, "%lld", (long long)json_int(row, "streams"));
		table_cell(table, "%lld", (long long)json_int(row, "frames_in"));
		table_cell(table, "%lld", (long long)json_int(row, "frames_out"));
		table_cell(table, "%lld", (long long)json_int(row, "rejected"));
		table_cell(table, "%lld", (long long)json_int(row, "gaps"));
		table_cell(table, "%s", time_text(json_int(row, "last_active_ms"), active));
	}
	table_print(table, "no sessions");
	return CLI_DONE;
}

static char *session_path(const char *id, const char *query)
{
	PG_FREE char *segment = request_escape(id);
	char *path = NULL;

	if (!segment || asprintf(&path, "/v1/sessions/%s%s", segment, query) < 0)
		return NULL;
	return path;
}

/* One member a line: a session is too wide for a table. */
static void show_session(json_t *root)
{
	const char *key;
	json_t *value;

	json_object_foreach (root, key, value) {
		size_t length = strlen(key);
		char text[32];

		if (length > 3 && !strcmp(key + length - 3, "_ms"))
			printf("%-18.*s%s\n", (int)length - 3, key,
			       time_text(json_integer_value(value), text));
		else if (json_is_string(value))
			printf("%-18s%s\n", key, json_string_value(value));
		else if (json_is_boolean(value))
			printf("%-18s%s\n", key, json_is_true(value) ? "on" : "off");
		else
			printf("%-18s%lld\n", key, (long long)json_integer_value(value));
	}
}

int cmd_session_show(const struct cli_args *args)
{
	PG_FREE char *path = session_path(args->operands[0], "");
	ANSWER answer = { 0 };
	int rc;

	if (!path)
		return cli_fail(CLI_FAILED, "session show: out of memory");
	rc = request_show("session show", path, &answer);
	if (!rc && !cli.json)
		show_session(answer.root);
	return rc;
}

int cmd_session_close(const struct cli_args *args)
{
	const char *code = cli_option(args, "code");
	PG_FREE char *word = request_escape(code ? code : "normal");
	struct request request = { .method = "DELETE" };
	PG_FREE char *path = NULL;
	ANSWER answer = { 0 };
	char query[512];
	int rc;

	snprintf(query, sizeof(query), "?code=%s", word ? word : "");
	path = session_path(args->operands[0], query);
	if (!path)
		return cli_fail(CLI_FAILED, "session close: out of memory");
	request.path = path;
	rc = request_send("session close", &request, &answer);
	if (!rc)
		printf(cli.json ? "%s\n" : "closed %s\n",
		       cli.json ? answer.text : json_text(answer.root, "closed"));
	return rc;
}
