// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "output.h"
#include "request.h"

static void add_drops(struct table *table, const json_t *interface)
{
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(interface, "drops"), i, row) {
		int64_t packets = json_int(row, "packets"), would = json_int(row, "would_packets");

		if (!packets && !would)
			continue;
		table_cell(table, "%s", json_text(interface, "interface"));
		table_cell(table, "%s", json_text(row, "reason"));
		table_cell(table, "%lld", (long long)packets);
		table_cell(table, "%lld", (long long)json_int(row, "bytes"));
		table_cell(table, "%lld", (long long)would);
	}
}

static void show_drops(const json_t *root)
{
	struct table *table = table_new("INTERFACE|REASON|>FRAMES|>BYTES|>ONLY COUNTED");
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(root, "interfaces"), i, row)
		add_drops(table, row);
	table_print(table, "the gate dropped nothing");
	table = table_new("BY|REASON|>FRAMES");
	json_array_foreach (json_object_get(root, "rejected"), i, row) {
		if (!json_int(row, "frames"))
			continue;
		table_cell(table, "agent");
		table_cell(table, "%s", json_text(row, "reason"));
		table_cell(table, "%lld", (long long)json_int(row, "frames"));
	}
	puts("");
	table_print(table, "the agent refused nothing");
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static void show_event(const json_t *event)
{
	int64_t ms = json_int(event, "time_ms");
	time_t seconds = (time_t)(ms / 1000);
	struct tm local;
	char clock[16];

	if (json_object_get(event, "lost")) {
		printf("(%lld drops were not shown: too many at once)\n",
		       (long long)json_int(event, "lost"));
		return;
	}
	localtime_r(&seconds, &local);
	strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	printf("%s.%03d %s/%lld %-20s %s > %s %lld bytes%s\n", clock, (int)(ms % 1000),
	       json_text(event, "interface"), (long long)json_int(event, "queue"),
	       json_text(event, "reason"), or_dash(json_text(event, "source")),
	       or_dash(json_text(event, "destination")), (long long)json_int(event, "bytes"),
	       json_flag(event, "would") ? " (only counted)" : "");
}

static bool take_line(const char *line, void *context)
{
	json_t *event = cli.json ? NULL : json_loads(line, 0, NULL);

	if (cli.json)
		puts(line);
	else
		show_event(event);
	json_decref(event);
	return fflush(stdout) == 0;
}

/* Every line is out by then. */
static void interrupt(int signal)
{
	_exit(CLI_DONE);
}

static int follow(void)
{
	struct request request = { .path = "/v1/drops/follow", .line = take_line };
	struct sigaction on_interrupt = { .sa_handler = interrupt };
	ANSWER answer = { 0 };
	int rc;

	sigaction(SIGINT, &on_interrupt, NULL);
	rc = request_send("drops", &request, &answer);

	if (rc || ferror(stdout))
		return rc;
	return cli_fail(CLI_UNREACHABLE, "drops: the agent ended the connection");
}

int cmd_drops(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc;

	if (cli_option(args, "follow"))
		return follow();
	rc = request_show("drops", "/v1/drops", &answer);
	if (!rc && !cli.json)
		show_drops(answer.root);
	return rc;
}
