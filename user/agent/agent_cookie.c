// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdlib.h>

#include "agent_internal.h"
#include "cookie.h"
#include "log.h"

/*
 * The gate's part of the cookie: secrets and the demand lie in pg_shared. Workers raise the demand
 * the moment they see a reason; it falls here, when the gate has seen none for a while.
 */

#define QUIET_MS 10000 /* the demand stays for so long after its last reason */
#define LOOK_MS	 500   /* a rate over less is chance */

/* Shakehands that every gate has counted. */
static uint64_t count_shakehands(struct pg_agent *agent, uint64_t otherwise)
{
	struct pg_count *counts = calloc(PG_COUNT_ENTRIES, sizeof(*counts));
	uint64_t sum = 0;

	if (!counts || pg_maps_read_counts(agent->maps->counts, PG_COUNT_ENTRIES, counts)) {
		free(counts);
		return otherwise;
	}
	for (int i = 0; i < PG_INTERFACES_MAX; i++)
		sum += counts[PG_COUNT_INDEX(i, PG_COUNT_SHAKEHANDS)].packets;
	free(counts);
	return sum;
}

int pg_cookies_start(struct pg_agent *agent)
{
	struct pg_shared *shared = agent->maps->shared;

	agent->cookies.renewed_ms = agent->cookies.looked_ms = pg_agent_now_ms();
	agent->cookies.shakehands = count_shakehands(agent, 0); /* of earlier agents */
	return agent->maps->adopted ? pg_cookie_renew(&shared->cookies)
				    : pg_cookie_start(&shared->cookies);
}

/* More shakehands since the last look than half of what may cost a key agreement. */
static bool flooded(struct pg_agent *agent, uint64_t now_ms)
{
	struct pg_cookie_watch *watch = &agent->cookies;
	uint64_t shakehands = count_shakehands(agent, watch->shakehands);
	uint64_t elapsed = now_ms - watch->looked_ms, came = 0;

	if (elapsed < LOOK_MS)
		return false;
	/* counters of an interface that is gone begin anew */
	if (shakehands > watch->shakehands)
		came = shakehands - watch->shakehands;
	watch->shakehands = shakehands;
	watch->looked_ms = now_ms;
	return came * 1000 / elapsed > agent->config->limits.handshakes_per_second / 2;
}

static bool demanded(struct pg_agent *agent, uint64_t now_ms)
{
	struct pg_cookie_watch *watch = &agent->cookies;
	uint64_t wanted_ms = atomic_load(&agent->table->cookie_wanted_ms);

	if (flooded(agent, now_ms))
		watch->quiet_ms = now_ms;
	if (wanted_ms > watch->quiet_ms)
		watch->quiet_ms = wanted_ms;
	switch (agent->config->handshake.cookie) {
	case PG_COOKIE_ALWAYS:
		return true;
	case PG_COOKIE_NEVER:
		return false;
	default:
		return watch->quiet_ms && now_ms - watch->quiet_ms < QUIET_MS;
	}
}

void pg_cookies_tick(struct pg_agent *agent)
{
	struct pg_shared *shared = agent->maps->shared;
	uint64_t now_ms = pg_agent_now_ms();
	bool due = agent->handshake && demanded(agent, now_ms);

	if (due != agent->cookies.due && agent->config->handshake.cookie == PG_COOKIE_AUTO)
		pg_info_log("cookies are %s of shakehands%s",
			    due ? "demanded" : "no longer demanded",
			    due ? ": more come than half the limits allow" : "");
	shared->cookie_due = agent->cookies.due = due;
	if (now_ms - agent->cookies.renewed_ms >= PG_COOKIE_EPOCH_MS &&
	    !pg_cookie_renew(&shared->cookies))
		agent->cookies.renewed_ms = now_ms;
}
