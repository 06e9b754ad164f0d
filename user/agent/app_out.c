// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "app_out.h"

static uint32_t room(const struct pg_app_out *out)
{
	return PG_APP_DATAGRAM_MAX - out->bytes;
}

bool pg_app_out_ready(struct pg_app_out *out, uint32_t bytes)
{
	uint32_t needed = sizeof(struct pg_app_record) + bytes + PG_APP_EVENT_ROOM;

	if (room(out) < needed && !out->blocked)
		pg_app_out_flush(out);
	return !out->dead && room(out) >= needed;
}

int pg_app_out_put(struct pg_app_out *out, const struct pg_app_record *record, const void *bytes,
		   uint32_t length)
{
	if (room(out) < sizeof(*record) + length && !out->blocked)
		pg_app_out_flush(out);
	if (out->dead)
		return -EPIPE;
	if (room(out) < sizeof(*record) + length)
		return -ENOBUFS;
	memcpy(out->datagram + out->bytes, record, sizeof(*record));
	if (length)
		memcpy(out->datagram + out->bytes + sizeof(*record), bytes, length);
	out->bytes += sizeof(*record) + length;
	return 0;
}

void pg_app_out_flush(struct pg_app_out *out)
{
	if (!out->bytes || out->dead)
		return;
	if (send(out->connection->fd, out->datagram, out->bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >=
	    0) {
		out->bytes = 0;
		out->blocked = false;
		return;
	}
	if (errno == EAGAIN || errno == ENOBUFS) {
		out->blocked = true;
		return;
	}
	out->dead = true;
	out->bytes = 0;
}
