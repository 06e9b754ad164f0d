// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "delivery.h"
#include "packgate/message.h"
#include "packgate/bytes.h"

static void drop_out(struct pg_delivery *delivery, uint32_t index)
{
	if (!delivery->outs[index])
		return;
	pg_app_out_done(delivery->outs[index]);
	free(delivery->outs[index]);
	delivery->outs[index] = NULL;
}

static void keep_out(struct pg_delivery *delivery, const struct pg_app_connection *app)
{
	struct pg_app_out *out = delivery->outs[app->index];

	if (out && out->connection == app)
		return;
	drop_out(delivery, app->index);
	out = calloc(1, sizeof(*out));
	if (out)
		pg_app_out_init(out, app);
	delivery->outs[app->index] = out;
}

void pg_delivery_set_view(struct pg_delivery *delivery, const struct pg_view *view)
{
	bool living[PG_APPS_MAX] = { false };

	delivery->any = false;
	for (uint32_t i = 0; i < view->count; i++)
		for (uint32_t place = 0; place < PG_APP_PLACES; place++) {
			const struct pg_app_connection *app = view->endpoints[i].apps[place];

			if (!app)
				continue;
			keep_out(delivery, app);
			living[app->index] = delivery->any = true;
		}
	for (uint32_t i = 0; i < PG_APPS_MAX; i++)
		if (!living[i])
			drop_out(delivery, i);
	delivery->view = view;
}

void pg_delivery_done(struct pg_delivery *delivery)
{
	for (uint32_t i = 0; i < PG_APPS_MAX; i++)
		drop_out(delivery, i);
}

struct pg_app_out *pg_delivery_out(struct pg_delivery *delivery, uint16_t endpoint, uint32_t place)
{
	const struct pg_app_connection *app = delivery->view->endpoints[endpoint].apps[place];
	struct pg_app_out *out = app ? delivery->outs[app->index] : NULL;

	return out && !out->dead ? out : NULL;
}

uint32_t pg_delivery_place(struct pg_delivery *delivery, uint16_t endpoint, uint32_t message_id)
{
	const struct pg_view *view = delivery->view;

	if (view->endpoints[endpoint].format != PG_FORMAT_MESSAGE)
		return 0;
	for (uint32_t i = 0; i < view->route_count; i++)
		if (message_id >= view->routes[i].first && message_id <= view->routes[i].last)
			return pg_delivery_out(delivery, endpoint, i + 1) ? i + 1 : 0;
	return 0;
}

/* Bytes of all records that a packet can become: the most messages are the empty ones. */
static uint32_t records_bytes(const struct pg_view_endpoint *endpoint, uint32_t bytes)
{
	uint32_t records = 2 + bytes / (PG_APP_DATAGRAM_MAX - PG_APP_HEADER_BYTES);

	if (endpoint->format == PG_FORMAT_MESSAGE)
		records += bytes / PG_MESSAGE_HEADER_MIN;
	return bytes + records * PG_APP_HEADER_BYTES;
}

enum pg_drop pg_delivery_ready(struct pg_delivery *delivery, uint16_t endpoint, uint32_t bytes)
{
	const struct pg_view_endpoint *view = &delivery->view->endpoints[endpoint];
	uint32_t needed = records_bytes(view, bytes);
	struct pg_app_out *out;

	if (!pg_delivery_out(delivery, endpoint, 0))
		return PG_DROP_NO_APPLICATION;
	for (uint32_t place = 0; place <= delivery->view->route_count; place++) {
		out = pg_delivery_out(delivery, endpoint, place);
		if (out && !pg_app_out_ready(out, needed))
			return PG_DROP_APP_FULL;
	}
	return PG_DROP_NONE;
}

int pg_delivery_put(struct pg_delivery *delivery, uint16_t endpoint, uint32_t place,
		    const struct pg_app_record *record, const void *bytes, uint32_t length)
{
	struct pg_app_out *out = pg_delivery_out(delivery, endpoint, place);
	struct pg_app_record copy = *record;

	if (!out)
		return -ENOTCONN;
	copy.endpoint = pg_be32(delivery->view->endpoints[endpoint].id);
	return pg_app_out_put(out, &copy, bytes, length);
}

void pg_delivery_flush(struct pg_delivery *delivery)
{
	if (!delivery->any)
		return;
	for (uint32_t i = 0; i < PG_APPS_MAX; i++)
		if (delivery->outs[i] && !delivery->outs[i]->blocked)
			pg_app_out_flush(delivery->outs[i]);
}

bool pg_delivery_flushed(struct pg_delivery *delivery, uint16_t endpoint)
{
	for (uint32_t place = 0; place <= delivery->view->route_count; place++) {
		const struct pg_app_out *out = pg_delivery_out(delivery, endpoint, place);

		if (out && out->first)
			return false;
	}
	return true;
}

bool pg_delivery_unblock(struct pg_delivery *delivery)
{
	bool any = false;

	for (uint32_t i = 0; delivery->any && i < PG_APPS_MAX; i++)
		if (delivery->outs[i] && delivery->outs[i]->blocked) {
			pg_app_out_flush(delivery->outs[i]);
			any |= !delivery->outs[i]->blocked;
		}
	return any;
}

uint32_t pg_delivery_fill_polled(const struct pg_delivery *delivery, struct pollfd *polled)
{
	uint32_t n = 0;

	for (uint32_t i = 0; delivery->any && i < PG_APPS_MAX; i++)
		if (delivery->outs[i] && delivery->outs[i]->blocked)
			polled[n++] = (struct pollfd){ .fd = delivery->outs[i]->connection->fd,
						       .events = POLLOUT };
	return n;
}
