// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "control_words.h"

#define AGENT_REASONS_FROM 40 /* drop.h: below it the gate decides, from it the agent alone */

static json_t *count_json(const char *key, const char *name, const struct pg_count *count)
{
	return json_pack("{s:s, s:I, s:I}", key, name, "packets", (json_int_t)count->packets,
			 "bytes", (json_int_t)count->bytes);
}

static json_t *drops_json(const struct pg_gate_counts *counts, uint32_t slot)
{
	static const unsigned int reasons[] = {
#define PG_X(name, number, ...) number,
		PG_DROPS(PG_X)
#undef PG_X
	};
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		unsigned int reason = reasons[i];
		json_t *row;

		if (reason >= AGENT_REASONS_FROM)
			continue;
		row = count_json("reason", pg_drop_word(reason), &counts->drops[slot][reason]);
		json_object_set_new(
			row, "would_packets",
			json_integer((json_int_t)counts->would_drop[slot][reason].packets));
		json_object_set_new(
			row, "would_bytes",
			json_integer((json_int_t)counts->would_drop[slot][reason].bytes));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *counters_json(const struct pg_gate_counts *counts, uint32_t slot)
{
	json_t *rows = json_array();

#define PG_X(name, number, label, help) \
	json_array_append_new(rows, count_json("counter", label, &counts->counters[slot][number]));
	PG_COUNTERS(PG_X)
#undef PG_X
	return rows;
}

static json_t *steered_json(const struct pg_gate_counts *counts, uint32_t slot, uint32_t queues)
{
	json_t *rows = json_array();
	uint32_t i;

	for (i = 0; i < queues && i < PG_QUEUES_MAX; i++) {
		const struct pg_count *count = &counts->steered[slot][i];

		json_array_append_new(rows, json_pack("{s:i, s:I, s:I}", "queue", (int)i, "packets",
						      (json_int_t)count->packets, "bytes",
						      (json_int_t)count->bytes));
	}
	return rows;
}

static json_t *interfaces_json(const struct pg_agent_status *status,
			       const struct pg_gate_counts *counts)
{
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < status->interface_count; i++) {
		const struct pg_interface_status *row = &status->interfaces[i];

		json_array_append_new(rows,
				      json_pack("{s:s, s:o, s:o, s:o}", "interface", row->name,
						"drops", drops_json(counts, row->slot), "counters",
						counters_json(counts, row->slot), "steered",
						steered_json(counts, row->slot, row->queues)));
	}
	return rows;
}

/* What the agent refused: every reason, as it may decide those of the gate too. */
static json_t *rejected_json(struct pg_agent *agent)
{
	struct pg_worker_counts counts;
	json_t *rows = json_array();

	pg_agent_worker_counts(agent, &counts);
#define PG_X(name, number, label, help)                                                \
	json_array_append_new(rows, json_pack("{s:s, s:I}", "reason", label, "frames", \
					      (json_int_t)counts.rejected[number]));
	PG_DROPS(PG_X)
#undef PG_X
	return rows;
}

int pg_control_drops(void *agent, const struct pg_http_request *request,
		     struct pg_http_answer *answer, struct pg_error *error)
{
	PG_FREE struct pg_gate_counts *counts = calloc(1, sizeof(*counts));
	struct pg_agent_status status;
	int rc;

	/* first whose the rows are: one that is given to another interface is emptied */
	pg_agent_status(agent, &status);
	rc = counts ? pg_agent_gate_counts(agent, counts) : -ENOMEM;
	if (rc)
		return pg_error_set(error, rc, "read the gate's counters: %s", strerror(-rc));
	return pg_json_answer(answer,
			      json_pack("{s:o, s:o}", "interfaces",
					interfaces_json(&status, counts), "rejected",
					rejected_json(agent)),
			      error);
}
