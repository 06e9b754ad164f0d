// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "demo_app.h"
#include "packgate/bytes.h"

#define TEXT_HEAD 12 /* session, stream and packId */

uint32_t demo_text(uint32_t session, uint32_t stream, uint32_t pack, uint8_t text[DEMO_TEXT_MAX])
{
	uint32_t count = TEXT_HEAD + pack * 37 % (DEMO_TEXT_MAX - TEXT_HEAD), i;

	pg_store_be32(text, session);
	pg_store_be32(text + 4, stream);
	pg_store_be32(text + 8, pack);
	for (i = TEXT_HEAD; i < count; i++)
		text[i] = (uint8_t)(pack + i);
	return count;
}

static int send_record(struct demo_app *app, struct pg_app_record record, const void *bytes,
		       uint32_t count)
{
	uint8_t datagram[sizeof(record) + DEMO_TEXT_MAX];

	if (count > DEMO_TEXT_MAX)
		return -EMSGSIZE;
	record.length = pg_be32(count);
	memcpy(datagram, &record, sizeof(record));
	memcpy(datagram + sizeof(record), bytes, count);
	return send(app->fd, datagram, sizeof(record) + count, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int demo_app_open(struct demo_app *app, const char *path, const char *endpoints,
		  struct pg_error *error)
{
	struct pg_app_record hello = { .kind = PG_APP_HELLO };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int rc;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	app->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (app->fd < 0 || connect(app->fd, (struct sockaddr *)&to, sizeof(to)))
		return pg_error_set(error, -errno, "connect to the application socket %s: %s", path,
				    strerror(errno));
	rc = send_record(app, hello, endpoints, (uint32_t)strlen(endpoints));
	return rc ? pg_error_set(error, rc, "say hello on %s: %s", path, strerror(-rc)) : 0;
}

void demo_app_close(struct demo_app *app)
{
	if (app->fd >= 0)
		close(app->fd);
	app->fd = -1;
}

int demo_app_send(struct demo_app *app, const struct demo_delivered *delivered, uint32_t message,
		  const void *bytes, uint32_t count)
{
	struct pg_app_record record = {
		.kind = PG_APP_MESSAGE,
		.transport = delivered->transport,
		.endpoint = pg_be32(delivered->endpoint),
		.session = pg_be64(delivered->session),
		.stream = pg_be32(delivered->stream),
		.message = pg_be32(message),
	};

	return send_record(app, record, bytes, count);
}

/* --- receiving ------------------------------------------------------------------------------ */

static struct demo_delivered *find_series(struct demo_app *app, uint8_t transport, uint64_t session,
					  uint32_t stream)
{
	struct demo_delivered *series = app->delivered;

	for (; series < app->delivered + app->delivered_count; series++)
		if (series->transport == transport && series->session == session &&
		    series->stream == stream)
			return series;
	if (app->delivered_count == DEMO_SERIES_MAX)
		return NULL;
	app->delivered_count++;
	series->transport = transport;
	series->session = session;
	series->stream = stream;
	return series;
}

const struct demo_delivered *demo_app_find(const struct demo_app *app, uint32_t id)
{
	size_t i;

	for (i = 0; i < app->delivered_count; i++)
		if (app->delivered[i].id == id)
			return &app->delivered[i];
	return NULL;
}

static void take_message(struct demo_app *app, const struct pg_app_record *record,
			 const uint8_t *bytes, uint32_t count)
{
	uint32_t stream = pg_be32(record->stream), message = pg_be32(record->message);
	struct demo_delivered *series =
		find_series(app, record->transport, pg_be64(record->session), stream);
	uint8_t text[DEMO_TEXT_MAX];
	uint32_t id = count >= TEXT_HEAD ? pg_load_be32(bytes) : 0;

	if (!series || message <= series->last || (series->id && series->id != id) ||
	    demo_text(id, stream, message, text) != count || memcmp(text, bytes, count)) {
		app->wrong++;
		return;
	}
	series->id = id;
	series->endpoint = pg_be32(record->endpoint);
	series->last = message;
}

static void take_record(struct demo_app *app, const struct pg_app_record *record,
			const uint8_t *bytes, uint32_t count)
{
	if (record->kind < sizeof(app->records) / sizeof(app->records[0]))
		app->records[record->kind]++;
	if (record->kind == PG_APP_MESSAGE)
		take_message(app, record, bytes, count);
	else if (record->kind == PG_APP_ERROR)
		snprintf(app->error, sizeof(app->error), "%.*s", (int)count, (const char *)bytes);
}

void demo_app_receive(struct demo_app *app)
{
	static uint8_t datagram[PG_APP_DATAGRAM_MAX];
	struct pg_app_record record;
	ssize_t bytes;
	uint32_t at, count;

	while ((bytes = recv(app->fd, datagram, sizeof(datagram), MSG_DONTWAIT)) > 0) {
		for (at = 0; at + sizeof(record) <= (size_t)bytes; at += sizeof(record) + count) {
			memcpy(&record, datagram + at, sizeof(record));
			count = pg_be32(record.length);
			if (count > (size_t)bytes - at - sizeof(record)) {
				app->wrong++;
				break;
			}
			take_record(app, &record, datagram + at + sizeof(record), count);
		}
	}
	if (!bytes)
		demo_app_close(app);
}
