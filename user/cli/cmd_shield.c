// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "commands.h"
#include "output.h"
#include "request.h"

/* "443", "192.0.2.1:443" or "[2001:db8::1]:443". */
static int parse_listener(const char *verb, const char *text, json_t *body)
{
	struct pg_error error = { "" };
	char address[PG_ADDRESS_TEXT];
	unsigned long long port;
	struct pg_peer peer;

	if (!strchr(text, ':')) {
		if (!cli_number(text, 1, 65535, &port))
			return cli_fail(CLI_USAGE,
					"%s: \"%s\" is no listener: PORT, ADDRESS:PORT or "
					"[v6]:PORT",
					verb, text);
		json_object_set_new(body, "port", json_integer((json_int_t)port));
		return CLI_DONE;
	}
	if (pg_address_parse_peer(text, &peer, &error))
		return cli_fail(CLI_USAGE, "%s: %s", verb, error.text);
	json_object_set_new(body, "address", json_string(pg_address_print(&peer.address, address)));
	json_object_set_new(body, "port", json_integer(peer.port));
	return CLI_DONE;
}

static const char *place(const json_t *row, char text[PG_PEER_TEXT + 8])
{
	const char *address = json_text(row, "address");
	bool v6 = strchr(address, ':') != NULL;

	snprintf(text, PG_PEER_TEXT + 8, "%s%s%s:%lld", v6 ? "[" : "", *address ? address : "*",
		 v6 ? "]" : "", (long long)json_int(row, "port"));
	return text;
}

/* What stands in the way; on stderr, so that it is not taken for the answer. */
static void warn(const json_t *root)
{
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(root, "sysctls"), i, row)
		if (*json_text(row, "advice"))
			fprintf(stderr, "packgate: %s is %lld: %s\n", json_text(row, "name"),
				(long long)json_int(row, "value"), json_text(row, "advice"));
	json_array_foreach (json_object_get(root, "interfaces"), i, row)
		if (!strcmp(json_text(row, "way"), "none") && *json_text(row, "why"))
			fprintf(stderr, "packgate: %s: no cookies: %s\n", json_text(row, "name"),
				json_text(row, "why"));
}

static void show_shields(const json_t *rows)
{
	struct table *table = table_new("LISTENER|MODE|STATE|>SYN QUEUE|>LIMIT|>COOKIES|>ACCEPTED|"
					">REFUSED|>ACCEPT FULL|>UNFIT|LAST SWITCH");
	char text[PG_PEER_TEXT + 8], when[32];
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		table_cell(table, "%s", place(row, text));
		table_cell(table, "%s", json_text(row, "mode"));
		table_cell(table, "%s", json_flag(row, "active") ? "cookies" : "idle");
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_length"));
		table_cell(table, "%lld", (long long)json_int(row, "syn_queue_limit"));
		table_cell(table, "%lld", (long long)json_int(row, "cookies"));
		table_cell(table, "%lld", (long long)json_int(row, "accepted"));
		table_cell(table, "%lld", (long long)json_int(row, "refused"));
		table_cell(table, "%lld", (long long)json_int(row, "full"));
		table_cell(table, "%lld", (long long)json_int(row, "unfit"));
		table_cell(table, "%s", time_text(json_int(row, "last_switch_ms"), when));
	}
	table_print(table, "no shields");
}

static void show_interfaces(const json_t *rows)
{
	struct table *table = table_new("INTERFACE|COOKIES|WHY");
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		table_cell(table, "%s", json_text(row, "name"));
		table_cell(table, "%s", json_text(row, "way"));
		table_cell(table, "%s", json_text(row, "why"));
	}
	puts("");
	table_print(table, "no interfaces");
}

static void show_sysctls(const json_t *rows)
{
	struct table *table = table_new("SYSCTL|>VALUE|>WANTED|>BEFORE|NOTE");
	static const char *const keys[] = { "value", "wanted", "before" };
	const json_t *row;
	size_t i, k;

	json_array_foreach (rows, i, row) {
		table_cell(table, "%s", json_text(row, "name"));
		for (k = 0; k < 3; k++)
			if (json_int(row, keys[k]) >= 0)
				table_cell(table, "%lld", (long long)json_int(row, keys[k]));
			else
				table_cell(table, "%s", "-");
		table_cell(table, "%s", json_text(row, "advice"));
	}
	puts("");
	table_print(table, "no sysctls");
}

static void show_events(const json_t *rows)
{
	char text[PG_PEER_TEXT + 8], when[32];
	const json_t *row;
	size_t i;

	if (json_array_size(rows))
		puts("");
	json_array_foreach (rows, i, row)
		printf("%s: %s %s, the SYN queue held %lld of %lld\n",
		       time_text(json_int(row, "time_ms"), when), place(row, text),
		       json_flag(row, "active") ? "on" : "off",
		       (long long)json_int(row, "syn_queue_length"),
		       (long long)json_int(row, "syn_queue_limit"));
}

int cmd_shield_status(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc = request_show("shield status", "/v1/shield", &answer);

	if (rc || cli.json)
		return rc;
	show_shields(json_object_get(answer.root, "shields"));
	show_interfaces(json_object_get(answer.root, "interfaces"));
	show_sysctls(json_object_get(answer.root, "sysctls"));
	show_events(json_object_get(answer.root, "events"));
	return CLI_DONE;
}

static int add_threshold(const char *verb, const char *text, json_t *body)
{
	unsigned long long percent;

	if (!cli_number(text, 1, 100, &percent))
		return cli_fail(CLI_USAGE, "%s: --threshold must be 1 to 100 percent, not %s", verb,
				text);
	json_object_set_new(body, "threshold", json_integer((json_int_t)percent));
	return CLI_DONE;
}

static int send(const char *verb, const char *mode, json_t *body, const char *listener)
{
	PG_FREE char *text = json_dumps(body, JSON_COMPACT);
	struct request request = { .method = "POST", .path = "/v1/shield", .body = text };
	ANSWER answer = { 0 };
	int rc;

	if (!text)
		return cli_fail(CLI_FAILED, "%s: out of memory", verb);
	request.body_bytes = strlen(text);
	rc = request_send(verb, &request, &answer);
	if (rc)
		return rc;
	if (cli.json)
		return puts(answer.text) < 0 ? CLI_FAILED : CLI_DONE;
	printf("%s: shield %s\n", listener, mode);
	if (strcmp(mode, "off"))
		warn(answer.root);
	return CLI_DONE;
}

static int set_mode(const char *mode, const struct cli_args *args)
{
	const char *threshold = cli_option(args, "threshold");
	char verb[32];
	json_t *body;
	int rc;

	snprintf(verb, sizeof(verb), "shield %s", mode);
	body = json_pack("{s:s}", "mode", mode);
	rc = parse_listener(verb, args->operands[0], body);
	if (!rc && threshold)
		rc = add_threshold(verb, threshold, body);
	if (!rc && cli_option(args, "set-sysctl"))
		json_object_set_new(body, "set_sysctl", json_true());
	if (!rc)
		rc = send(verb, mode, body, args->operands[0]);
	json_decref(body);
	return rc;
}

int cmd_shield_on(const struct cli_args *args)
{
	return set_mode("on", args);
}

int cmd_shield_off(const struct cli_args *args)
{
	return set_mode("off", args);
}

int cmd_shield_auto(const struct cli_args *args)
{
	return set_mode("auto", args);
}
