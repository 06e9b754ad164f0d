// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "cleanup.h"
#include "control.h"
#include "control_routes.h"

static const struct pg_http_route routes[] = {
#define PG_X(method, pattern, query, handler) { method, pattern, query, handler },
	PG_CONTROL_ROUTES(PG_X)
#undef PG_X
};

struct pg_control {
	struct pg_http *http;
};

static void free_wiped(void *pointer)
{
	if (pointer)
		OPENSSL_cleanse(pointer, malloc_usable_size(pointer));
	free(pointer);
}

int pg_control_open(struct pg_agent *agent, const struct pg_socket_config *config,
		    struct pg_control **ret_control, struct pg_error *error)
{
	PG_FREE struct pg_control *control = calloc(1, sizeof(*control));
	struct pg_http_options options = {
		.path = config->socket,
		.group = config->group,
		.mode = config->mode,
		.routes = routes,
		.route_count = sizeof(routes) / sizeof(routes[0]),
		.context = agent,
	};
	int rc;

	if (!control)
		return pg_error_set(error, -ENOMEM, "open the control socket: out of memory");
	json_set_alloc_funcs(malloc, free_wiped);
	rc = pg_http_open(&options, &control->http, error);
	if (rc)
		return pg_error_prefix(error, rc, "open the control socket");
	*ret_control = TAKE_PTR(control);
	return 0;
}

const char *pg_control_warning(const struct pg_control *control)
{
	return pg_http_warning(control->http);
}

void pg_control_close(struct pg_control *control)
{
	if (!control)
		return;
	pg_http_close(control->http);
	free(control);
}
