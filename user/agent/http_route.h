/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HTTP_ROUTE_H
#define PG_HTTP_ROUTE_H

#include "http.h"

/* The segments that stood at the {} of a pattern. */
struct pg_http_args {
	char segments[PG_HTTP_ARGS_MAX][128];
	size_t count;
};

/*
 * Finds the route of a request. 0, or -ENOENT with the routes that look most alike in error, or
 * -EOPNOTSUPP if the path exists under other methods, which allow then lists ("GET, POST").
 */
int pg_http_route(const struct pg_http_route *routes, size_t count, const char *method,
		  const char *path, const struct pg_http_route **ret_route,
		  struct pg_http_args *ret_args, char allow[64], struct pg_error *error);

/* Whether the route knows this query key. */
bool pg_http_query_allowed(const struct pg_http_route *route, const char *key);

#endif
