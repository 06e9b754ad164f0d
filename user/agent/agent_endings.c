// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "agent_internal.h"
#include "cleanup.h"
#include "log.h"

/* Slots a worker looks through at a time; their rows find room in the store's queue. */
#define END_SLOTS (PG_STORE_QUEUE_MAX / 2)

static const char *const reasons[PG_MISFIT_SLOTS] = {
#define PG_X(name, number, label, help) [number] = help,
	PG_MISFITS(PG_X)
#undef PG_X
};

static uint64_t sum(const struct pg_endings *endings)
{
	uint64_t sessions = 0;

	for (uint32_t i = 0; i < PG_ENDPOINTS_MAX; i++)
		for (uint32_t why = 0; why < PG_MISFIT_SLOTS; why++)
			sessions += endings->counts[i][why];
	return sessions;
}

static void tell(const struct pg_agent *agent, const struct pg_endings *endings)
{
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		for (uint32_t why = 0; why < PG_MISFIT_SLOTS; why++)
			if (endings->counts[i][why])
				pg_warning_log("endpoint %s: %u session%s ended: %s",
					       agent->endpoints[i].config.name,
					       endings->counts[i][why],
					       endings->counts[i][why] == 1 ? " is" : "s are",
					       reasons[why]);
}

int pg_sessions_end(struct pg_agent *agent, uint32_t endpoint, enum pg_misfit why)
{
	PG_FREE struct pg_endings *endings = calloc(1, sizeof(*endings));
	struct pg_end_request request = {
		.endpoint = endpoint,
		.why = why,
		.endings = endings,
	};
	uint64_t before = 0, after;

	if (!endings)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < agent->table->slots; slot = request.last) {
		request.first = slot;
		request.last = agent->table->slots - slot < END_SLOTS ? agent->table->slots
								      : slot + END_SLOTS;
		for (uint32_t i = 0; i < agent->worker_count; i++)
			pg_worker_end(agent->workers[i], &request);
		after = sum(endings);
		if (after != before)
			pg_store_flush(agent->store);
		before = after;
	}
	tell(agent, endings);
	return 0;
}
