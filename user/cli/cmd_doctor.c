// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "doctor.h"
#include "output.h"
#include "request.h"

static const char *const verdict_words[] = { "ok", "warn", "fail" };

void finding_add(struct findings *findings, enum verdict verdict, const char *check,
		 const char *advice, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(findings->rows,
			      json_pack("{s:s, s:s, s:s, s:s}", "check", check, "verdict",
					verdict_words[verdict], "finding", text, "advice", advice));
	if (verdict > findings->worst)
		findings->worst = verdict;
}

/* --- what is to be examined: from the agent, or from a configuration ----------------------------
 */

static void examine_agent(struct findings *findings, bool interfaces)
{
	struct request ask = { .path = "/v1/status" };
	ANSWER answer = { 0 };
	const json_t *row;
	size_t i;

	if (request_quietly(&ask, &answer)) {
		finding_add(
			findings, VERDICT_WARN, "agent",
			strstr(answer.why, strerror(EACCES))
				? "run it as root, or join the group of `control: { group: ... }`"
				: "start packgated, or name its socket by --control",
			"%.*s", (int)strcspn(answer.why, ";"), answer.why);
		return;
	}
	if (strcmp(json_text(answer.root, "version"), PG_VERSION))
		finding_add(findings, VERDICT_WARN, "agent",
			    "restart packgated: it adopts sessions and windows",
			    "version %s runs, this packgate is %s",
			    json_text(answer.root, "version"), PG_VERSION);
	else
		finding_add(findings, VERDICT_OK, "agent", "", "version %s runs, instance %s",
			    PG_VERSION, json_text(answer.root, "instance"));
	json_array_foreach (json_object_get(answer.root, "interfaces"), i, row)
		if (interfaces)
			doctor_interface(findings, json_text(row, "name"));
}

static void examine_agent_ports(struct findings *findings)
{
	struct request ask = { .path = "/v1/endpoints" };
	ANSWER answer = { 0 };
	const json_t *row;
	size_t i;

	if (request_quietly(&ask, &answer))
		return;
	json_array_foreach (json_object_get(answer.root, "endpoints"), i, row)
		doctor_port(findings, json_text(row, "name"), (uint16_t)json_int(row, "port"));
}

/* What the shield needs of the namespace; nothing while there is none. */
static void examine_shield(struct findings *findings)
{
	struct request ask = { .path = "/v1/shield" };
	ANSWER answer = { 0 };
	const json_t *row;
	size_t i;

	if (request_quietly(&ask, &answer) ||
	    !json_array_size(json_object_get(answer.root, "shields")))
		return;
	json_array_foreach (json_object_get(answer.root, "sysctls"), i, row) {
		const char *advice = json_text(row, "advice");

		if (json_int(row, "wanted") < 0)
			continue;
		finding_add(findings,
			    !*advice		       ? VERDICT_OK
			    : json_flag(row, "needed") ? VERDICT_FAIL
						       : VERDICT_WARN,
			    "shield", advice, "%s is %lld", json_text(row, "name"),
			    (long long)json_int(row, "value"));
	}
	json_array_foreach (json_object_get(answer.root, "interfaces"), i, row)
		finding_add(findings, VERDICT_OK, "shield", "", "%s: cookies: %s%s%s",
			    json_text(row, "name"), json_text(row, "way"),
			    *json_text(row, "why") ? ", " : "", json_text(row, "why"));
}

static void free_config(struct pg_config **config)
{
	pg_config_free(*config);
}

static void examine_config(struct findings *findings, const char *path, bool interfaces)
{
	PG_CLEANUP(free_config) struct pg_config *config = NULL;
	struct pg_error error = { "" };
	size_t i;

	if (pg_config_load(path, &config, &error)) {
		finding_add(findings, VERDICT_FAIL, "configuration", "correct the file", "%s",
			    error.text);
		return;
	}
	finding_add(findings, VERDICT_OK, "configuration", "", "%s is valid", path);
	for (i = 0; interfaces && i < config->interface_count; i++)
		doctor_interface(findings, config->interfaces[i]);
	for (i = 0; i < config->endpoint_count; i++)
		doctor_port(findings, config->endpoints[i].name, config->endpoints[i].port);
	for (i = 0; i < config->entrance_count; i++)
		doctor_tcp_port(findings, config->entrances[i].name, config->entrances[i].port);
	if (config->metrics.on)
		doctor_tcp_port(findings, "metrics", config->metrics.listen.port);
	doctor_files(findings, config);
}

/* --- the report --------------------------------------------------------------------------------
 */

static void show_findings(const struct findings *findings)
{
	struct table *table = table_new("CHECK|VERDICT|FINDING");
	const json_t *row;
	size_t i;

	json_array_foreach (findings->rows, i, row) {
		table_cell(table, "%s", json_text(row, "check"));
		table_cell(table, "%s", json_text(row, "verdict"));
		table_cell(table, "%s", json_text(row, "finding"));
	}
	table_print(table, "");
	puts(findings->worst == VERDICT_OK ? "\nNothing is to be done." : "\nWhat to do:");
	json_array_foreach (findings->rows, i, row)
		if (*json_text(row, "advice"))
			printf("  %s: %s\n", json_text(row, "check"), json_text(row, "advice"));
}

static void print_json(const struct findings *findings)
{
	json_t *root = json_pack("{s:O, s:s}", "findings", findings->rows, "verdict",
				 verdict_words[findings->worst]);

	json_dumpf(root, stdout, JSON_COMPACT);
	puts("");
	json_decref(root);
}

int cmd_doctor(const struct cli_args *args)
{
	const char *config = cli_option(args, "config");
	struct findings findings = { .rows = json_array() };
	size_t i;

	doctor_host(&findings);
	examine_agent(&findings, !config && !args->operand_count);
	if (config)
		examine_config(&findings, config, !args->operand_count);
	else
		examine_agent_ports(&findings);
	examine_shield(&findings);
	for (i = 0; i < args->operand_count; i++)
		doctor_interface(&findings, args->operands[i]);
	if (cli.json)
		print_json(&findings);
	else
		show_findings(&findings);
	json_decref(findings.rows);
	return findings.worst == VERDICT_FAIL ? CLI_FAILED : CLI_DONE;
}
