// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "pins.h"
#include "request.h"

/* POST /v1/interfaces/NAME/VERB. */
static int change(const char *verb, const char *interface, const char *body,
		  struct answer *ret_answer)
{
	PG_FREE char *segment = request_escape(interface);
	struct request request = { .method = "POST",
				   .body = body,
				   .body_bytes = body ? strlen(body) : 0 };
	char doing[64], path[256];

	if (!segment)
		return cli_fail(CLI_FAILED, "%s: out of memory", verb);
	if (!pg_pins_name_valid(interface))
		return cli_fail(CLI_USAGE, "%s: \"%s\" is no interface's name", verb, interface);
	snprintf(doing, sizeof(doing), "%s %.32s", verb, interface);
	snprintf(path, sizeof(path), "/v1/interfaces/%.200s/%s", segment, verb);
	request.path = path;
	return request_send(doing, &request, ret_answer);
}

static int tell(const struct answer *answer, const char *done)
{
	int64_t left = json_int(answer->root, "confirm_seconds");

	if (cli.json)
		return puts(answer->text) < 0 ? CLI_FAILED : CLI_DONE;
	if (json_flag(answer->root, "attached"))
		printf("%s %s, mode %s\n", json_text(answer->root, "name"), done,
		       json_text(answer->root, "mode"));
	else
		printf("%s %s\n", json_text(answer->root, "name"), done);
	if (left)
		printf("It detaches in %lld s unless you run: packgate confirm %s\n",
		       (long long)left, json_text(answer->root, "name"));
	return CLI_DONE;
}

int cmd_attach(const struct cli_args *args)
{
	const char *confirm = cli_option(args, "confirm");
	unsigned long long seconds;
	ANSWER answer = { 0 };
	char body[64];
	int rc;

	if (confirm && !cli_number(confirm, 1, 86400, &seconds))
		return cli_fail(CLI_USAGE, "attach: --confirm must be 1 to 86400 seconds, not %s",
				confirm);
	if (confirm)
		snprintf(body, sizeof(body), "{\"confirm\":%llu}", seconds);
	rc = change("attach", args->operands[0], confirm ? body : NULL, &answer);
	return rc ? rc : tell(&answer, "attached");
}

int cmd_confirm(const struct cli_args *args)
{
	ANSWER answer = { 0 };
	int rc = change("confirm", args->operands[0], NULL, &answer);

	return rc ? rc : tell(&answer, "confirmed");
}

/* --- detach ------------------------------------------------------------------------------------
 */

static void tell_detached(const char *interface)
{
	if (cli.json)
		printf("{\"name\":\"%s\",\"attached\":false}\n", interface);
	else
		printf("%s detached\n", interface);
}

/* The maps serve nobody once no gate and no agent is left; -EBUSY only says that one is left. */
static int remove_maps(const char *instance)
{
	struct pg_error error = { "" };
	int rc = pg_pins_remove_instance(instance, &error);

	return rc && rc != -EBUSY ? cli_fail(CLI_FAILED, "detach: %s", error.text) : CLI_DONE;
}

static int detach_pins(const char *instance, const char *interface)
{
	struct pg_error error = { "" };

	if (pg_pins_remove_interface(instance, interface, &error))
		return cli_fail(CLI_FAILED, "detach %s: %s", interface, error.text);
	tell_detached(interface);
	return CLI_DONE;
}

static int remove_maps_only(const char *instance)
{
	int rc = remove_maps(instance);

	if (!rc && !cli.json)
		printf("no gate was left; removed the maps of instance %s\n", instance);
	return rc;
}

static int detach_one_pin(const char *instance, const char *interface)
{
	char names[PG_PINS_NAMES_MAX][PG_PINS_NAME_MAX];
	struct pg_error error = { "" };
	size_t count = 0;
	int rc;

	if (pg_pins_list(instance, names, &count, &error))
		return cli_fail(CLI_FAILED, "detach %s: %s", interface, error.text);
	if (count) {
		rc = detach_pins(instance, interface);
		return rc ? rc : remove_maps(instance);
	}
	rc = remove_maps(instance);
	if (!rc && !cli.json)
		printf("%s had no gate; removed the maps that instance %s had left\n", interface,
		       instance);
	else if (!rc)
		tell_detached(interface);
	return rc;
}

static int detach_all_pins(const char *instance)
{
	char names[PG_PINS_NAMES_MAX][PG_PINS_NAME_MAX];
	struct pg_error error = { "" };
	size_t count = 0, i;
	int rc;

	if (pg_pins_list(instance, names, &count, &error))
		return cli_fail(CLI_FAILED, "detach: %s", error.text);
	if (!count)
		return remove_maps_only(instance);
	for (i = 0; i < count; i++) {
		rc = detach_pins(instance, names[i]);
		if (rc)
			return rc;
	}
	return remove_maps(instance);
}

static int detach_without_agent(const char *instance, const char *interface)
{
	if (!pg_pins_name_valid(instance))
		return cli_fail(CLI_USAGE, "detach: \"%s\" is no instance's name", instance);
	if (interface && !pg_pins_name_valid(interface))
		return cli_fail(CLI_USAGE, "detach: \"%s\" is no interface's name", interface);
	return interface ? detach_one_pin(instance, interface) : detach_all_pins(instance);
}

static int detach_all(const json_t *status)
{
	int rc = CLI_DONE, one;
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "interfaces"), i, row) {
		ANSWER answer = { 0 };

		if (!json_flag(row, "attached"))
			continue;
		one = change("detach", json_text(row, "name"), NULL, &answer);
		rc = one ? one : tell(&answer, "detached") ? CLI_FAILED : rc;
	}
	return rc;
}

int cmd_detach(const struct cli_args *args)
{
	struct request ask_status = { .path = "/v1/status" };
	const char *interface = args->operand_count ? args->operands[0] : NULL;
	const char *instance = cli_option(args, "instance");
	ANSWER status = { 0 };
	ANSWER answer = { 0 };
	int rc;

	if (!interface == !cli_option(args, "all"))
		return cli_fail(CLI_USAGE, "detach: name one INTERFACE, or give --all");
	rc = request_quietly(&ask_status, &status);
	if (rc == CLI_FAILED || rc == CLI_USAGE)
		return cli_fail(rc, "detach: %s", status.why);
	/* An agent of another instance does not know these pins. */
	if (rc || (instance && strcmp(instance, json_text(status.root, "instance"))))
		return detach_without_agent(instance ? instance : "default", interface);
	if (!interface)
		return detach_all(status.root);
	rc = change("detach", interface, NULL, &answer);
	return rc ? rc : tell(&answer, "detached");
}
