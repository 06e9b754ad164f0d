/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_VIEW_H
#define PG_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_handshake.h"
#include "config.h"
#include "packgate/abi.h"

/* An application that said hello. Its fd stays open while a view that names it is in use. */
struct pg_app_connection {
	int fd;
	uint64_t id;	       /* never reused */
	uint32_t index;	       /* < PG_APPS_MAX, unique among living connections */
	_Atomic bool welcomed; /* hello was answered: records may follow */
	uint32_t place; /* the socket it came to: 0 = the main one, i + 1 = that of route i */
};

#define PG_APPS_MAX   64
#define PG_APP_PLACES (1 + PG_CONFIG_ROUTES_MAX)

/*
 * What the workers know of the endpoints: made by the control thread, then never changed. A new
 * one replaces the old in every worker before the old is freed.
 */
struct pg_view_endpoint {
	bool used;
	bool guard, roaming;
	uint8_t deliver; /* enum pg_deliver */
	uint8_t format;	 /* enum pg_format */
	uint8_t policy;
	uint8_t family; /* of its address */
	uint16_t port;	/* host order */
	struct pg_address address;
	uint32_t id;
	int socket;					     /* the kernel UDP socket, -1 = none */
	const struct pg_app_connection *apps[PG_APP_PLACES]; /* NULL = none */
	char name[PG_CONFIG_NAME_MAX];
};

struct pg_view {
	uint32_t count; /* indices in use are below it */
	uint32_t route_count;
	uint32_t message_bytes; /* the largest body of a message */
	struct {
		uint32_t first, last; /* message Ids */
	} routes[PG_CONFIG_ROUTES_MAX];
	struct pg_handshake_view *handshake; /* NULL = no session is opened in band */
	struct pg_view_endpoint endpoints[PG_ENDPOINTS_MAX];
};

#endif
