/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SESSION_FIT_H
#define PG_SESSION_FIT_H

#include "agent.h"
#include "view.h"

/*
 * Whether a session can go on at its endpoint as that is configured now. Guard and policy are what
 * both ends agreed on when it was opened, and the gate judges its frames by the endpoint: one that
 * does not fit is ended and said, never kept half working.
 */
static inline enum pg_misfit pg_session_fit(const struct pg_view_endpoint *endpoint, bool guard,
					    uint8_t policy, const struct pg_address *peer)
{
	if (!endpoint->used)
		return PG_MISFIT_ENDPOINT;
	if ((endpoint->family == 4) != pg_address_is_ipv4(peer))
		return PG_MISFIT_FAMILY;
	if (endpoint->guard != guard)
		return PG_MISFIT_GUARD;
	return endpoint->policy == policy ? PG_FIT : PG_MISFIT_POLICY;
}

/* Sessions that were ended, by the index of their endpoint and why. */
struct pg_endings {
	uint32_t counts[PG_ENDPOINTS_MAX][PG_MISFIT_SLOTS];
};

#endif
