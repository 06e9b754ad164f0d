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
	table = table_new("SESSION|ENDPOINT|PEER|STATE|>STREAMS|>IN|>OUT|>REFUSED|"
			  ">GAPS|ACTIVE|USER");
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
		table_cell(table, "%s",
			   json_is_null(json_object_get(row, "user")) ? "-"
								      : json_text(row, "user"));
	}
	table_print(table, "no sessions");
	return CLI_DONE;
}

#define ID_DIGITS 8

bool session_is_id(const char *text)
{
	return strlen(text) == ID_DIGITS && strspn(text, "0123456789abcdefABCDEF") == ID_DIGITS;
}

int session_refuse_id(const char *verb, const char *text)
{
	return cli_fail(CLI_USAGE,
			"%s: \"%s\" is not a session id: 8 hex digits, as `packgate session list` "
			"shows them",
			verb, text);
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
		else if (json_is_null(value))
			printf("%-18s-\n", key);
		else if (json_is_real(value))
			printf("%-18s%.3f\n", key, json_real_value(value));
		else if (json_is_boolean(value))
			printf("%-18s%s\n", key, json_is_true(value) ? "on" : "off");
		else
			printf("%-18s%lld\n", key, (long long)json_integer_value(value));
	}
}

int cmd_session_show(const struct cli_args *args)
{
	const char *id = args->operands[0];
	ANSWER answer = { 0 };
	char path[64];
	int rc;

	if (!session_is_id(id))
		return session_refuse_id("session show", id);
	snprintf(path, sizeof(path), "/v1/sessions/%s", id);
	rc = request_show("session show", path, &answer);
	if (!rc && !cli.json)
		show_session(answer.root);
	return rc;
}

static bool is_code(const char *text)
{
	return !strcmp(text, "normal") || !strcmp(text, "error") || !strcmp(text, "expired");
}

int cmd_session_close(const struct cli_args *args)
{
	const char *code = cli_option(args, "code"), *id = args->operands[0];
	PG_FREE char *word = request_escape(code ? code : "normal");
	struct request request = { .method = "DELETE" };
	ANSWER answer = { 0 };
	char path[256];
	int rc;

	if (!session_is_id(id))
		return session_refuse_id("session close", id);
	if (code && !is_code(code))
		return cli_fail(CLI_USAGE,
				"session close: --code must be normal, error or expired, not "
				"\"%s\"",
				code);
	snprintf(path, sizeof(path), "/v1/sessions/%s?code=%s", id, word ? word : "");
	request.path = path;
	rc = request_send("session close", &request, &answer);
	if (!rc)
		printf(cli.json ? "%s\n" : "closed %s\n",
		       cli.json ? answer.text : json_text(answer.root, "closed"));
	return rc;
}
