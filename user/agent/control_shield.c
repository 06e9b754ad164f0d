// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "control_words.h"

/* An address, or null for every local one of both families. */
static json_t *address_json(bool any, const struct pg_address *address)
{
	char text[PG_ADDRESS_TEXT];

	return any ? json_null() : json_string(pg_address_print(address, text));
}

static json_t *interfaces_json(const struct pg_shield_report *report)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < report->interface_count; i++) {
		const struct pg_shield_interface *row = &report->interfaces[i];

		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:s}", "name", row->name, "way",
						pg_shield_way_word(row->way), "why", row->why));
	}
	return rows;
}

static json_t *sysctls_json(const struct pg_shield_report *report)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < PG_SHIELD_SYSCTLS; i++) {
		const struct pg_shield_sysctl *row = &report->sysctls[i];

		json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:i, s:b, s:s}", "name",
						      row->name, "value", row->value, "wanted",
						      row->wanted, "before", row->before, "needed",
						      row->needed, "advice", row->advice));
	}
	return rows;
}

static json_t *shield_json(const struct pg_shield_status *row)
{
	json_t *root = json_pack(
		"{s:o, s:i, s:s, s:i, s:b, s:b, s:I, s:I, s:o, s:I, s:I}", "address",
		address_json(row->listener.any, &row->listener.address), "port",
		(int)row->listener.port, "mode", pg_shield_mode_name(row->listener.mode),
		"threshold", (int)row->listener.threshold, "configured", row->configured, "active",
		row->active, "syn_queue_length", (json_int_t)row->syn_queue, "syn_queue_limit",
		(json_int_t)row->syn_limit, "last_switch_ms", pg_json_time(row->last_switch_ms),
		"switched_on", (json_int_t)row->switched_on, "switched_off",
		(json_int_t)row->switched_off);

#define PG_X(field, metric, help) \
	json_object_set_new(root, #field, json_integer((json_int_t)row->field));
	PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
	return root;
}

static json_t *event_json(const struct pg_shield_event *row)
{
	return json_pack("{s:o, s:o, s:i, s:b, s:I, s:I}", "time_ms", pg_json_time(row->time_ms),
			 "address", address_json(row->any, &row->address), "port", (int)row->port,
			 "active", row->active, "syn_queue_length", (json_int_t)row->syn_queue,
			 "syn_queue_limit", (json_int_t)row->syn_limit);
}

static int answer_report(struct pg_agent *agent, struct pg_http_answer *answer,
			 struct pg_error *error)
{
	PG_FREE struct pg_shield_report *report = NULL;
	json_t *shields, *events;

	if (pg_agent_shield(agent, &report))
		return pg_error_set(error, -ENOMEM, "report the shield: out of memory");
	shields = json_array();
	events = json_array();
	for (size_t i = 0; i < report->shield_count; i++)
		json_array_append_new(shields, shield_json(&report->shields[i]));
	for (size_t i = 0; i < report->event_count; i++)
		json_array_append_new(events, event_json(&report->events[i]));
	return pg_json_answer(answer,
			      json_pack("{s:o, s:o, s:o, s:o}", "shields", shields, "interfaces",
					interfaces_json(report), "sysctls", sysctls_json(report),
					"events", events),
			      error);
}

int pg_control_shield(void *agent, const struct pg_http_request *request,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	return answer_report(agent, answer, error);
}

static int read_address(const json_t *root, struct pg_shield_listener *listener,
			struct pg_error *error)
{
	const json_t *value = json_object_get(root, "address");
	const char *text;
	int rc;

	listener->any = !value || json_is_null(value);
	if (listener->any)
		return 0;
	rc = pg_json_text(root, "address", &text, error);
	if (!rc)
		rc = pg_address_parse(text, &listener->address, error);
	if (!rc && pg_address_is_group(&listener->address))
		rc = pg_error_set(error, -EINVAL, "%s is not the address of a listener", text);
	return rc;
}

static int read_listener(const json_t *root, struct pg_shield_listener *listener,
			 struct pg_error *error)
{
	uint64_t number;
	const char *mode;
	int rc;

	rc = read_address(root, listener, error);
	if (!rc)
		rc = pg_json_number(root, "port", 1, UINT16_MAX, &number, error);
	if (rc)
		return rc;
	listener->port = (uint16_t)number;
	rc = pg_json_text(root, "mode", &mode, error);
	if (rc)
		return rc;
	rc = pg_shield_mode_parse(mode);
	if (rc < 0)
		return pg_error_set(error, rc, "mode must be off, on or auto, not \"%.40s\"", mode);
	listener->mode = rc;
	listener->threshold = PG_SHIELD_THRESHOLD;
	if (!json_object_get(root, "threshold"))
		return 0;
	rc = pg_json_number(root, "threshold", 1, 100, &number, error);
	if (!rc)
		listener->threshold = (uint32_t)number;
	return rc;
}

int pg_control_shield_set(void *agent, const struct pg_http_request *request,
			  struct pg_http_answer *answer, struct pg_error *error)
{
	static const char *const names[] = { "address",	  "port",	"mode",
					     "threshold", "set_sysctl", NULL };
	struct pg_shield_listener listener = { 0 };
	PG_JSON json_t *root = NULL;
	const json_t *set;
	int rc;

	rc = pg_json_parse(request->body, request->body_bytes, &root, error);
	if (!rc)
		rc = pg_json_check_keys(root, names, error);
	if (!rc)
		rc = read_listener(root, &listener, error);
	if (rc)
		return rc;
	set = json_object_get(root, "set_sysctl");
	if (set && !json_is_boolean(set))
		return pg_error_set(error, -EINVAL, "set_sysctl must be true or false");
	rc = pg_agent_shield_set(agent, &listener, json_is_true(set), error);
	return rc ? rc : answer_report(agent, answer, error);
}
