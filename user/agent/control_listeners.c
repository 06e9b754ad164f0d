// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "listeners.h"

static json_t *listener_json(const struct pg_listener_sample *row)
{
	char address[PG_ADDRESS_TEXT];

	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "netns", row->netns, "address",
			 pg_address_print(&row->address, address), "port", row->port,
			 "accept_queue_length", (json_int_t)row->accept_length,
			 "accept_queue_limit", (json_int_t)row->accept_limit, "syn_queue_length",
			 (json_int_t)row->syn_length, "syn_queue_young", (json_int_t)row->syn_young,
			 "syn_queue_limit", (json_int_t)row->syn_limit);
}

static json_t *netstat_json(const struct pg_netstat_sample *row)
{
	json_t *root = json_pack("{s:s}", "netns", row->netns);

#define PG_X(field, table, kernel, metric, help) \
	json_object_set_new(root, #field, json_integer((json_int_t)row->field));
	PG_NETSTAT(PG_X)
#undef PG_X
	return root;
}

int pg_control_listeners(void *agent, const struct pg_http_request *request,
			 struct pg_http_answer *answer, struct pg_error *error)
{
	PG_FREE struct pg_listener_sample *listeners = NULL;
	PG_FREE struct pg_netstat_sample *netstat = NULL;
	json_t *rows = json_array(), *counters = json_array();
	size_t listener_count = 0, netstat_count = 0, i;

	pg_listeners_sample(&listeners, &listener_count, &netstat, &netstat_count);
	for (i = 0; i < listener_count; i++)
		json_array_append_new(rows, listener_json(&listeners[i]));
	for (i = 0; i < netstat_count; i++)
		json_array_append_new(counters, netstat_json(&netstat[i]));
	return pg_json_answer(
		answer, json_pack("{s:o, s:o}", "listeners", rows, "counters", counters), error);
}
