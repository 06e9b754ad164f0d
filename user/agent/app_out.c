// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "app_out.h"
#include "packgate/bytes.h"

#define RECORD_MOST (PG_APP_DATAGRAM_MAX - PG_APP_HEADER_BYTES)

struct pg_app_datagram {
	struct pg_app_datagram *next;
	uint32_t bytes;
	uint8_t data[PG_APP_DATAGRAM_MAX];
};

void pg_app_out_init(struct pg_app_out *out, const struct pg_app_connection *connection)
{
	memset(out, 0, sizeof(*out));
	out->connection = connection;
	out->room = PG_APP_DATAGRAM_MAX;
}

static void forget_queue(struct pg_app_out *out)
{
	struct pg_app_datagram *next;

	for (; out->first; out->first = next) {
		next = out->first->next;
		free(out->first);
	}
	out->last = NULL;
	out->queued = 0;
}

void pg_app_out_done(struct pg_app_out *out)
{
	forget_queue(out);
	free(out->spare);
	out->spare = NULL;
}

bool pg_app_out_ready(struct pg_app_out *out, uint32_t bytes)
{
	if (out->queued + (uint64_t)bytes + PG_APP_EVENT_ROOM > PG_APP_DATAGRAM_MAX &&
	    !out->blocked)
		pg_app_out_flush(out);
	if (out->dead)
		return false;
	if (out->queued && out->queued + (uint64_t)bytes + PG_APP_EVENT_ROOM > PG_APP_DATAGRAM_MAX)
		return false;
	out->room = PG_APP_DATAGRAM_MAX;
	if (out->queued + bytes + PG_APP_EVENT_ROOM > out->room)
		out->room = out->queued + bytes + PG_APP_EVENT_ROOM;
	return true;
}

/* A fresh last datagram. */
static int append(struct pg_app_out *out)
{
	struct pg_app_datagram *datagram = out->spare;

	if (!datagram)
		datagram = malloc(sizeof(*datagram));
	if (!datagram)
		return -ENOMEM;
	out->spare = NULL;
	datagram->next = NULL;
	datagram->bytes = 0;
	if (out->last)
		out->last->next = datagram;
	else
		out->first = datagram;
	out->last = datagram;
	return 0;
}

static void write_record(struct pg_app_out *out, struct pg_app_record record, const void *bytes,
			 uint32_t length, bool more)
{
	struct pg_app_datagram *datagram = out->last;

	record.length = pg_be32(length);
	if (more)
		record.flags |= pg_be16(PG_APP_MORE);
	memcpy(datagram->data + datagram->bytes, &record, sizeof(record));
	if (length)
		memcpy(datagram->data + datagram->bytes + sizeof(record), bytes, length);
	datagram->bytes += sizeof(record) + length;
	out->queued += sizeof(record) + length;
}

/* Makes sure that the last datagram has room for a record of so many bytes. */
static int open_datagram(struct pg_app_out *out, uint32_t length)
{
	if (out->last &&
	    out->last->bytes + sizeof(struct pg_app_record) + length <= PG_APP_DATAGRAM_MAX)
		return 0;
	return append(out);
}

int pg_app_out_put(struct pg_app_out *out, const struct pg_app_record *record, const void *bytes,
		   uint32_t length)
{
	uint64_t size = (uint64_t)length + sizeof(*record) * (1 + length / RECORD_MOST);
	const uint8_t *at = bytes;
	uint32_t part;

	if (out->queued + size > PG_APP_DATAGRAM_MAX && !out->blocked)
		pg_app_out_flush(out);
	if (out->dead)
		return -EPIPE;
	if (out->queued + size > out->room)
		return -ENOBUFS;
	for (;; at += part, length -= part) {
		part = length < RECORD_MOST ? length : RECORD_MOST;
		if (open_datagram(out, part)) {
			/* half a message is of no use to anybody: the application must know */
			out->dead = true;
			shutdown(out->connection->fd, SHUT_RDWR);
			forget_queue(out);
			return -ENOMEM;
		}
		write_record(out, *record, at, part, length > part);
		if (length == part)
			return 0;
	}
}

static void take_first(struct pg_app_out *out)
{
	struct pg_app_datagram *datagram = out->first;

	out->queued -= datagram->bytes;
	out->first = datagram->next;
	if (!out->first)
		out->last = NULL;
	if (out->spare)
		free(datagram);
	else
		out->spare = datagram;
}

void pg_app_out_flush(struct pg_app_out *out)
{
	/* what was gathered meanwhile follows the answer to hello */
	if (out->first && !atomic_load(&out->connection->welcomed)) {
		out->blocked = true;
		return;
	}
	while (out->first && !out->dead) {
		if (send(out->connection->fd, out->first->data, out->first->bytes,
			 MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno == EAGAIN || errno == ENOBUFS) {
				out->blocked = true;
				return;
			}
			out->dead = true;
			forget_queue(out);
			return;
		}
		take_first(out);
	}
	out->blocked = false;
}
