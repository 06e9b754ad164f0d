// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "packgate/wire.h"
#include "worker_internal.h"

static enum pg_misfit misfit(const struct pg_worker *worker, const struct pg_entry *entry)
{
	const struct pg_engine *engine = &entry->engine;
	struct pg_peer peer;

	pg_peer_from_line(engine->line, &peer);
	return pg_session_fit(&worker->view->endpoints[entry->endpoint], engine->guard,
			      engine->line->policy, &peer.address);
}

/* A half-open one goes without a word: its client has no session yet. */
static void end(struct pg_worker *worker, struct pg_entry *entry, enum pg_misfit why,
		struct pg_endings *endings)
{
	if (!entry->half_open) {
		worker->counts.misfits[why]++;
		if (endings)
			endings->counts[entry->endpoint][why]++;
	}
	pg_engine_close(&entry->engine, PG_GOAWAY_NORMAL);
	pg_worker_after(worker, entry);
}

void pg_worker_end_misfit(struct pg_worker *worker, struct pg_entry *entry)
{
	enum pg_misfit why = misfit(worker, entry);

	if (why && !entry->linger_until_ms && !entry->closed)
		end(worker, entry, why, NULL);
}

void pg_worker_end_all(struct pg_worker *worker, const struct pg_end_request *request)
{
	for (uint32_t slot = request->first; slot < request->last; slot++) {
		struct pg_entry *entry = pg_worker_entry(worker, slot);
		enum pg_misfit why = PG_FIT;

		if (!entry || entry->linger_until_ms || entry->closed)
			continue;
		if (!request->endpoint)
			why = misfit(worker, entry);
		else if (entry->endpoint == request->endpoint)
			why = request->why;
		if (why)
			end(worker, entry, why, request->endings);
	}
}
