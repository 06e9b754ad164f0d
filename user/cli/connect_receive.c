// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "connect_internal.h"

#define PROGRESS_MS 500

/* --- what came ---------------------------------------------------------------------------------
 */

static void output_failed(struct connection *connection)
{
	if (!connection->rc)
		connection->rc =
			cli_fail(CLI_FAILED, "connect: writing what came: %s", strerror(errno));
}

void connect_flush_output(struct connection *connection)
{
	if (fflush(connection->out))
		output_failed(connection);
}

void connect_take_message(struct connection *connection, const struct pg_message_view *message,
			  uint32_t stream)
{
	message_print(connection->out, message, stream, cli.json);
	if (ferror(connection->out))
		output_failed(connection);
}

/* A packet holds zero or more whole messages, or none of it is taken. */
static void take_packet(struct connection *connection, const struct pg_client_event *event)
{
	struct pg_message_view message;
	size_t at = 0, consumed;
	uint32_t count;
	int err;

	err = pg_message_check(event->bytes, event->length, PG_MESSAGE_BODY_MAX, &count);
	if (err && !connection->rc)
		connection->rc = cli_fail(
			CLI_FAILED,
			"connect: a packet of the server does not consist of messages (%s): is the "
			"endpoint's format \"message\"?",
			pg_message_malformed_help(-err));
	while (!err && at < event->length &&
	       !pg_message_read(event->bytes + at, event->length - at, PG_MESSAGE_BODY_MAX,
				&consumed, &message)) {
		connect_take_message(connection, &message, event->stream);
		at += consumed;
	}
}

static void take_bytes(struct connection *connection, const struct pg_client_event *event)
{
	connection->bytes_received += event->length;
	connection->quiet_since = connect_now_ms();
	if (connection->messages)
		take_packet(connection, event);
	else if (event->length &&
		 fwrite(event->bytes, 1, event->length, connection->out) != event->length)
		output_failed(connection);
}

static void take_stream_closed(struct connection *connection, const struct pg_client_event *event)
{
	bool refused = event->stream == connection->stream && connection->stream_opening;

	/* of our own closing, or a refusal that a send tells */
	if (refused && !connection->rc)
		connection->rc =
			cli_fail(CLI_FAILED, "connect: the server refused a stream of this policy");
}

static void take_event(struct connection *connection, const struct pg_client_event *event)
{
	switch (event->kind) {
	case PG_CLIENT_MESSAGE:
		take_bytes(connection, event);
		break;
	case PG_CLIENT_WRITABLE:
		connection->full = false;
		break;
	case PG_CLIENT_STREAM_OPEN:
		if (event->stream == connection->stream)
			connection->stream_opening = false;
		break;
	case PG_CLIENT_STREAM_CLOSED:
		take_stream_closed(connection, event);
		break;
	case PG_CLIENT_FAILED:
		if (!connection->packets_failed++)
			connection->rc = cli_fail(
				CLI_FAILED, "connect: a packet is lost: %s%s",
				(const char *)event->bytes,
				event->code == -ETIMEDOUT
					? "; does an application read there? 'packgate drops' on "
					  "the server says why"
					: "");
		break;
	case PG_CLIENT_GAP:
		fprintf(stderr, "packgate: connect: %d packets from the server never came\n",
			event->code);
		break;
	case PG_CLIENT_CLOSED:
		connection->closed = true;
		if (event->code && !connection->rc)
			connection->rc =
				cli_fail(CLI_FAILED, "connect: %s", (const char *)event->bytes);
		break;
	}
}

void connect_take_events(struct connection *connection)
{
	struct pg_client_event event;
	bool any = false;

	while (pg_client_next(connection->client, &event)) {
		any |= event.kind == PG_CLIENT_MESSAGE;
		take_event(connection, &event);
	}
	if (any)
		connect_flush_output(connection);
}

/* --- progress ----------------------------------------------------------------------------------
 */

static const char *bytes_text(double bytes, char text[16])
{
	static const char units[] = " kMGT";
	size_t unit = 0;

	while (bytes >= 999.5 && unit < sizeof(units) - 2) {
		bytes /= 1000;
		unit++;
	}
	snprintf(text, 16, unit ? "%.1f %cB" : "%.0f %cB", bytes, units[unit]);
	return text;
}

/* What the server acked so far, as near as the send buffer tells. */
static uint64_t settled(const struct connection *connection)
{
	struct pg_client_statistics now = { .size = sizeof(now) };

	pg_client_get_statistics(connection->client, &now);
	return connection->bytes_given > now.unsettled_bytes
		       ? connection->bytes_given - now.unsettled_bytes
		       : 0;
}

void connect_show_progress(struct connection *connection, bool last)
{
	int64_t now = connect_now_ms(), spent = now - connection->started;
	uint64_t done;
	double rate;
	char one[16], other[16];

	if (!connection->file || !isatty(STDERR_FILENO) ||
	    (!last && now < connection->progress_at + PROGRESS_MS))
		return;
	done = settled(connection);
	rate = spent > 0 ? (double)done * 1000 / (double)spent : 0;
	connection->progress_at = now;
	fprintf(stderr, "\r%3.0f %%  %s, %s/s",
		connection->bytes_total ? 100.0 * (double)done / (double)connection->bytes_total
					: 100.0,
		bytes_text((double)done, one), bytes_text(rate, other));
	if (!last && rate > 0)
		fprintf(stderr, ", %.0f s left  ", (double)(connection->bytes_total - done) / rate);
	else
		fprintf(stderr, "              %s", last ? "\n" : "");
}

void connect_report(const struct connection *connection)
{
	double seconds = (double)(connect_now_ms() - connection->started) / 1000;
	struct pg_client_statistics now = { .size = sizeof(now) };
	char one[16], other[16];

	pg_client_get_statistics(connection->client, &now);
	fprintf(stderr,
		"sent %s in %.1f s (%s/s), received %" PRIu64 " bytes, %" PRIu64 " of %" PRIu64
		" frames sent again\n",
		bytes_text((double)connection->bytes_given, one), seconds,
		bytes_text(seconds > 0 ? (double)connection->bytes_given / seconds : 0, other),
		connection->bytes_received, now.frames_resent, now.frames_sent + now.frames_resent);
}
