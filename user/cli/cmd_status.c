// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>

#include "commands.h"
#include "output.h"
#include "request.h"

static void show_interfaces(const json_t *rows)
{
	struct table *table = table_new("INTERFACE|MODE|>QUEUES|>PROGRAM|NOTE");
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		int64_t left = json_int(row, "confirm_seconds");

		table_cell(table, "%s", json_text(row, "name"));
		table_cell(table, "%s", json_text(row, "mode"));
		table_cell(table, "%lld", (long long)json_int(row, "queues"));
		table_cell(table, "%lld", (long long)json_int(row, "program_id"));
		if (left)
			table_cell(table, "detaches in %lld s unless confirmed", (long long)left);
		else
			table_cell(table, "%s", json_text(row, "why"));
	}
	table_print(table, "no interfaces");
}

static void show_status(const json_t *root)
{
	char started[32];

	printf("packgated %s, instance %s, started %s, AEAD by %s\n", json_text(root, "version"),
	       json_text(root, "instance"), time_text(json_int(root, "started_ms"), started),
	       json_text(root, "aead_backend"));
	printf("sessions %lld of %lld, streams %lld of %lld\n"
	       "at start %lld adopted, %lld restored, %lld removed\n\n",
	       (long long)json_int(root, "sessions"), (long long)json_int(root, "sessions_limit"),
	       (long long)json_int(root, "streams"), (long long)json_int(root, "streams_limit"),
	       (long long)json_int(root, "adopted"), (long long)json_int(root, "restored"),
	       (long long)json_int(root, "removed"));
	if (*json_text(root, "restart_needed"))
		printf("not in force until the next start: %s\n\n",
		       json_text(root, "restart_needed"));
	show_interfaces(json_object_get(root, "interfaces"));
}

int cmd_status(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc = request_show("status", "/v1/status", &answer);

	if (rc)
		return rc;
	if (!cli.json)
		show_status(answer.root);
	if (!json_flag(answer.root, "workers_alive"))
		rc = cli_fail(CLI_FAILED, "a worker of the agent stalls");
	if (!json_flag(answer.root, "all_attached"))
		rc = cli_fail(CLI_FAILED, "not every configured interface has its gate");
	return rc;
}

int cmd_reload(const struct cli_args *args)
{
	struct request request = { .method = "POST", .path = "/v1/reload" };
	ANSWER answer = { 0 };
	int rc = request_send("reload", &request, &answer);
	const char *restart;

	if (rc)
		return rc;
	if (cli.json)
		return puts(answer.text) < 0 ? CLI_FAILED : CLI_DONE;
	restart = json_text(answer.root, "restart_needed");
	printf("reloaded; endpoints: %lld added, %lld changed, %lld removed\n",
	       (long long)json_int(answer.root, "added"),
	       (long long)json_int(answer.root, "changed"),
	       (long long)json_int(answer.root, "removed"));
	if (*restart)
		printf("not in force until the next start: %s\n", restart);
	return CLI_DONE;
}

int cmd_endpoint_list(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc = request_show("endpoint list", "/v1/endpoints", &answer);
	struct table *table;
	const json_t *row;
	size_t i;

	if (rc || cli.json)
		return rc;
	table = table_new(
		"NAME|>ID|ADDRESS|>PORT|GUARD|POLICY|ROAMING|ENFORCE|DELIVER|FORMAT|>SESSIONS|APP");
	json_array_foreach (json_object_get(answer.root, "endpoints"), i, row) {
		table_cell(table, "%s", json_text(row, "name"));
		table_cell(table, "%lld", (long long)json_int(row, "id"));
		table_cell(table, "%s", json_text(row, "address"));
		table_cell(table, "%lld", (long long)json_int(row, "port"));
		table_cell(table, "%s", json_flag(row, "guard") ? "on" : "off");
		table_cell(table, "%s", json_text(row, "policy"));
		table_cell(table, "%s", json_flag(row, "roaming") ? "on" : "off");
		table_cell(table, "%s", json_text(row, "enforce"));
		table_cell(table, "%s", json_text(row, "deliver"));
		table_cell(table, "%s", json_text(row, "format"));
		table_cell(table, "%lld", (long long)json_int(row, "sessions"));
		table_cell(table, "%s", json_flag(row, "application") ? "yes" : "-");
	}
	table_print(table, "no endpoints");
	return CLI_DONE;
}

int cmd_stream_list(const struct cli_args *args)
{
	const char *session = cli_option(args, "session");
	PG_FREE char *value = request_escape(session ? session : "");
	char path[256];
	ANSWER answer = { 0 };
	struct table *table;
	const json_t *row;
	size_t i;
	int rc;

	if (session && !session_is_id(session))
		return session_refuse_id("stream list", session);
	snprintf(path, sizeof(path), "/v1/streams%s%s", session ? "?session=" : "", value);
	rc = request_show("stream list", path, &answer);
	if (rc || cli.json)
		return rc;
	table = table_new("SESSION|>STREAM|STATE|POLICY|>RECEIVED|>NEXT DELIVERY|>NEXT SEND");
	json_array_foreach (json_object_get(answer.root, "streams"), i, row) {
		table_cell(table, "%s", json_text(row, "session"));
		table_cell(table, "%lld", (long long)json_int(row, "stream"));
		table_cell(table, "%s", json_text(row, "state"));
		table_cell(table, "%s", json_text(row, "policy"));
		table_cell(table, "%lld", (long long)json_int(row, "highest_received"));
		table_cell(table, "%lld", (long long)json_int(row, "next_deliver"));
		table_cell(table, "%lld", (long long)json_int(row, "next_send"));
	}
	table_print(table, "no streams");
	return CLI_DONE;
}

int cmd_metrics(const struct cli_args *args)
{
	struct request request = { .path = "/v1/metrics" };
	ANSWER answer = { 0 };
	int rc;

	if (cli.json)
		return cli_fail(CLI_USAGE, "metrics: the metrics are text, there is no --json");
	rc = request_send("metrics", &request, &answer);
	if (!rc && answer.text)
		fputs(answer.text, stdout);
	return rc;
}
