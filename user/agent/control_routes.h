/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONTROL_ROUTES_H
#define PG_CONTROL_ROUTES_H

#include "agent.h"
#include "http.h"

/* X(METHOD, pattern, query keys, handler): the routes of the control API, one list. */
#define PG_CONTROL_ROUTES(X)                                                \
	X("GET", "/v1/status", NULL, pg_control_status)                     \
	X("GET", "/v1/endpoints", NULL, pg_control_endpoints)               \
	X("GET", "/v1/entrances", NULL, pg_control_entrances)               \
	X("GET", "/v1/sessions", "endpoint", pg_control_sessions)           \
	X("POST", "/v1/sessions", NULL, pg_control_session_add)             \
	X("GET", "/v1/sessions/{}", NULL, pg_control_session_show)          \
	X("DELETE", "/v1/sessions/{}", "code", pg_control_session_close)    \
	X("GET", "/v1/streams", "session", pg_control_streams)              \
	X("GET", "/v1/interfaces", NULL, pg_control_interfaces)             \
	X("POST", "/v1/interfaces/{}/attach", NULL, pg_control_attach)      \
	X("POST", "/v1/interfaces/{}/confirm", NULL, pg_control_confirm)    \
	X("POST", "/v1/interfaces/{}/detach", NULL, pg_control_detach)      \
	X("POST", "/v1/reload", NULL, pg_control_reload)                    \
	X("GET", "/v1/listeners", "netns", pg_control_listeners)            \
	X("GET", "/v1/listeners/explain", "netns port", pg_control_explain) \
	X("GET", "/v1/shield", NULL, pg_control_shield)                     \
	X("POST", "/v1/shield", NULL, pg_control_shield_set)                \
	X("GET", "/v1/drops", NULL, pg_control_drops)                       \
	X("GET", "/v1/drops/follow", NULL, pg_control_follow)               \
	X("GET", "/v1/metrics", NULL, pg_control_metrics)

/* The context of each is the agent. */
#define PG_X(method, pattern, query, handler)                           \
	int handler(void *agent, const struct pg_http_request *request, \
		    struct pg_http_answer *answer, struct pg_error *error);
PG_CONTROL_ROUTES(PG_X)
#undef PG_X

#endif
