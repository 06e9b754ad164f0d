// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "control_json.h"
#include "control_routes.h"

struct reason {
	int number;
	const char *word;
};

static const struct reason refusals[] = {
#define PG_X(name, number, label, help) { number, label },
	PG_TCP_REFUSALS(PG_X)
#undef PG_X
};

static const struct reason closes[] = {
#define PG_X(name, number, label, help) { number, label },
	PG_TCP_CLOSES(PG_X)
#undef PG_X
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static json_t *by_reason(const struct reason *reasons, size_t count, const uint64_t *numbers)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(rows, json_pack("{s:s, s:I}", "reason", reasons[i].word,
						      "connections",
						      (json_int_t)numbers[reasons[i].number]));
	return rows;
}

static json_t *entrance_json(const void *rows, size_t index, void *context)
{
	const struct pg_tcp_entrance *row = (const struct pg_tcp_entrance *)rows + index;
	char address[PG_ADDRESS_TEXT];

	return json_pack("{s:s, s:s, s:s, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "name",
			 row->name, "endpoint", row->endpoint, "address",
			 pg_address_print(&row->listen.address, address), "port", row->listen.port,
			 "tls", row->tls, "connections", (json_int_t)row->connections,
			 "max_connections", (json_int_t)row->max_connections,
			 "max_connections_per_source", (json_int_t)row->max_per_source, "accepted",
			 (json_int_t)row->accepted, "stalls", (json_int_t)row->stalls, "refused",
			 by_reason(refusals, COUNT(refusals), row->refused), "closed",
			 by_reason(closes, COUNT(closes), row->closed));
}

int pg_control_entrances(void *agent, const struct pg_http_request *request,
			 struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_tcp_entrance rows[PG_CONFIG_ENTRANCES_MAX];
	size_t count = pg_agent_tcp_entrances(agent, rows);

	return pg_json_answer_rows(answer, "entrances", count, entrance_json, rows, NULL, error);
}
