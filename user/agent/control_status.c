// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"

static const char *const no_keys[] = { NULL };

static json_t *interface_json(const struct pg_interface_status *row)
{
	return json_pack("{s:s, s:b, s:s, s:i, s:i, s:i, s:s}", "name", row->name, "attached",
			 row->mode != PG_GATE_DETACHED, "mode", pg_gate_mode_name(row->mode),
			 "queues", (int)row->queues, "program_id", (int)row->program_id,
			 "confirm_seconds", (int)row->confirm_seconds, "why", row->why);
}

static json_t *interfaces_json(const struct pg_agent_status *status)
{
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < status->interface_count; i++)
		json_array_append_new(rows, interface_json(&status->interfaces[i]));
	return rows;
}

int pg_control_status(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_agent_status status;
	json_t *root;

	pg_agent_status(agent, &status);
	root = json_pack("{s:s, s:s, s:i, s:I, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:s, s:o}",
			 "instance", status.instance, "version", status.version, "abi", PG_ABI,
			 "started_ms", (json_int_t)status.started_ms, "all_attached",
			 status.all_attached, "workers_alive", status.workers_alive, "aead_backend",
			 status.aead_backend ? status.aead_backend : "", "sessions",
			 (json_int_t)status.sessions, "sessions_limit",
			 (json_int_t)status.sessions_limit, "streams", (json_int_t)status.streams,
			 "streams_limit", (json_int_t)status.streams_limit, "adopted",
			 (json_int_t)status.adopted, "restored", (json_int_t)status.restored,
			 "removed", (json_int_t)status.removed, "restart_needed",
			 status.restart_needed, "interfaces", interfaces_json(&status));
	return pg_json_answer(answer, root, error);
}

int pg_control_interfaces(void *agent, const struct pg_http_request *request,
			  struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_agent_status status;

	pg_agent_status(agent, &status);
	return pg_json_answer(answer, json_pack("{s:o}", "interfaces", interfaces_json(&status)),
			      error);
}

static json_t *endpoint_json(const void *rows, size_t index, void *context)
{
	const struct pg_endpoint_status *row = (const struct pg_endpoint_status *)rows + index;
	const struct pg_endpoint_config *config = &row->config;
	char address[PG_ADDRESS_TEXT];

	pg_address_print(&config->address, address);
	return json_pack("{s:s, s:I, s:s, s:i, s:b, s:b, s:s, s:s, s:s, s:s, s:I, s:b}", "name",
			 row->name, "id", (json_int_t)row->id, "address", address, "port",
			 config->port, "guard", config->guard, "roaming", config->roaming, "policy",
			 pg_session_policy_name(config->policy), "enforce",
			 pg_enforce_name(config->enforce), "deliver",
			 pg_deliver_name(config->deliver), "format", pg_format_name(config->format),
			 "sessions", (json_int_t)row->sessions, "application", row->application);
}

int pg_control_endpoints(void *agent, const struct pg_http_request *request,
			 struct pg_http_answer *answer, struct pg_error *error)
{
	PG_FREE struct pg_endpoint_status *rows = NULL;
	size_t count = 0;
	int rc = pg_agent_endpoints(agent, &rows, &count);

	if (rc)
		return pg_error_set(error, rc, "list the endpoints: %s", strerror(-rc));
	return pg_json_answer_rows(answer, "endpoints", count, endpoint_json, rows, NULL, error);
}

/* The body of a request that needs none: absent, or an object with only the given keys. */
static int optional_body(const struct pg_http_request *request, const char *const *names,
			 json_t **ret_root, struct pg_error *error)
{
	PG_JSON json_t *root = NULL;
	int rc;

	if (!request->body_bytes)
		return 0;
	rc = pg_json_parse(request->body, request->body_bytes, &root, error);
	if (!rc)
		rc = pg_json_check_keys(root, names, error);
	if (!rc)
		*ret_root = TAKE_PTR(root);
	return rc;
}

/* Interfaces are answered as they are after the change. */
static int answer_interface(struct pg_agent *agent, const char *name, struct pg_http_answer *answer,
			    struct pg_error *error)
{
	struct pg_agent_status status;
	size_t i;

	pg_agent_status(agent, &status);
	for (i = 0; i < status.interface_count; i++)
		if (!strcmp(status.interfaces[i].name, name))
			return pg_json_answer(answer, interface_json(&status.interfaces[i]), error);
	return pg_json_answer(answer,
			      json_pack("{s:s, s:b, s:s, s:i, s:i, s:i, s:s}", "name", name,
					"attached", 0, "mode", pg_gate_mode_name(PG_GATE_DETACHED),
					"queues", 0, "program_id", 0, "confirm_seconds", 0, "why",
					""),
			      error);
}

int pg_control_attach(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	static const char *const names[] = { "confirm", NULL };
	PG_JSON json_t *root = NULL;
	uint64_t seconds = 0;
	int rc;

	rc = optional_body(request, names, &root, error);
	if (!rc && root && json_object_get(root, "confirm"))
		rc = pg_json_number(root, "confirm", 1, 86400, &seconds, error);
	if (!rc)
		rc = pg_agent_attach(agent, request->args[0], (uint32_t)seconds, error);
	return rc ? rc : answer_interface(agent, request->args[0], answer, error);
}

static int change_interface(struct pg_agent *agent,
			    int (*change)(struct pg_agent *, const char *, struct pg_error *),
			    const struct pg_http_request *request, struct pg_http_answer *answer,
			    struct pg_error *error)
{
	PG_JSON json_t *root = NULL;
	int rc = optional_body(request, no_keys, &root, error);

	if (!rc)
		rc = change(agent, request->args[0], error);
	return rc ? rc : answer_interface(agent, request->args[0], answer, error);
}

int pg_control_confirm(void *agent, const struct pg_http_request *request,
		       struct pg_http_answer *answer, struct pg_error *error)
{
	return change_interface(agent, pg_agent_confirm, request, answer, error);
}

int pg_control_detach(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	return change_interface(agent, pg_agent_detach, request, answer, error);
}

int pg_control_reload(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_reload_result result = { 0 };
	PG_JSON json_t *root = NULL;
	int rc = optional_body(request, no_keys, &root, error);

	if (!rc)
		rc = pg_agent_reload(agent, &result, error);
	if (rc)
		return rc;
	return pg_json_answer(answer,
			      json_pack("{s:I, s:I, s:I, s:s}", "added", (json_int_t)result.added,
					"changed", (json_int_t)result.changed, "removed",
					(json_int_t)result.removed, "restart_needed",
					result.restart_needed),
			      error);
}
