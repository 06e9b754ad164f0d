// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client_options.h"
#include "commands.h"

#define STREAMS_MAX 64
#define CHUNK_MAX   65536
#define LINGER_DEFAULT_MS \
	500 /* silence after the last byte of stdin before the session is closed */
#define PROGRESS_MS 500
#define TAG	    1 /* of every packet: what fails is told */

/* A part of the file, on a stream of its own (or the whole on the session's series). */
struct part {
	uint32_t stream;
	off_t at, end;
};

struct connection {
	struct pg_client *client;
	FILE *out; /* where messages go */
	int in;	   /* what is sent: stdin or a file; -1 = nothing more */
	bool file;
	size_t packet; /* bytes a packet */
	struct part parts[STREAMS_MAX];
	uint32_t part_count, next_part;
	uint8_t chunk[CHUNK_MAX]; /* of stdin, read and not taken yet */
	size_t chunk_bytes;
	bool full; /* the send buffer; WRITABLE will tell */
	bool keep_receiving;
	bool closed;
	int64_t quiet_since, linger_ms;
	uint64_t bytes_total, bytes_given, bytes_received, packets_failed;
	int64_t started, progress_at;
	int rc;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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

static void show_progress(struct connection *connection, bool last)
{
	int64_t now = now_ms(), spent = now - connection->started;
	uint64_t done = settled(connection);
	double rate = spent > 0 ? (double)done * 1000 / (double)spent : 0;
	char one[16], other[16];

	if (!connection->file || !isatty(STDERR_FILENO) ||
	    (!last && now < connection->progress_at + PROGRESS_MS))
		return;
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

/* --- sending -----------------------------------------------------------------------------------
 */

/* Whether the packet was taken; the send buffer may be full, or all may be over. */
static bool give(struct connection *connection, uint32_t stream, const void *bytes, size_t length)
{
	int err = pg_client_send(connection->client, stream, bytes, length, TAG);

	if (!err) {
		connection->bytes_given += length;
		return true;
	}
	if (err == -ENOBUFS)
		connection->full = true;
	else if (err != -EAGAIN && !connection->rc)
		connection->rc = cli_fail(CLI_FAILED, "connect: sending: %s", strerror(-err));
	return false;
}

static void send_stdin(struct connection *connection)
{
	ssize_t n;

	if (!connection->chunk_bytes) {
		n = read(connection->in, connection->chunk, connection->packet);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && !connection->rc)
			connection->rc =
				cli_fail(CLI_FAILED, "connect: reading stdin: %s", strerror(errno));
		if (n <= 0) {
			connection->in = -1;
			connection->quiet_since = now_ms();
			return;
		}
		connection->chunk_bytes = (size_t)n;
	}
	if (give(connection, 0, connection->chunk, connection->chunk_bytes))
		connection->chunk_bytes = 0;
}

/* One packet of the next part that has some; false when all is given, or no more is taken now. */
static bool send_part(struct connection *connection)
{
	for (uint32_t i = 0; i < connection->part_count; i++) {
		struct part *part =
			&connection->parts[connection->next_part++ % connection->part_count];
		size_t room = connection->packet;
		ssize_t n;

		if (part->at == part->end)
			continue;
		if ((off_t)room > part->end - part->at)
			room = (size_t)(part->end - part->at);
		n = pread(connection->in, connection->chunk, room, part->at);
		if (n <= 0) {
			connection->rc = cli_fail(CLI_FAILED, "connect: reading the file: %s",
						  n ? strerror(errno) : "it became shorter");
			return false;
		}
		if (!give(connection, part->stream, connection->chunk, (size_t)n)) {
			connection->next_part--;
			return false;
		}
		part->at += n;
		if (part->at == part->end && part->stream)
			pg_client_close_stream(connection->client, part->stream);
		return true;
	}
	connection->in = -1;
	connection->quiet_since = now_ms();
	return false;
}

static void pump(struct connection *connection)
{
	if (connection->in < 0 || connection->full || connection->rc)
		return;
	if (connection->file)
		while (!connection->full && !connection->rc && send_part(connection))
			;
	else
		send_stdin(connection);
}

/* --- receiving ---------------------------------------------------------------------------------
 */

static void take_message(struct connection *connection, const struct pg_client_event *event)
{
	connection->bytes_received += event->length;
	connection->quiet_since = now_ms();
	if (event->length &&
	    fwrite(event->bytes, 1, event->length, connection->out) != event->length &&
	    !connection->rc)
		connection->rc =
			cli_fail(CLI_FAILED, "connect: writing what came: %s", strerror(errno));
}

static void take_event(struct connection *connection, const struct pg_client_event *event)
{
	switch (event->kind) {
	case PG_CLIENT_MESSAGE:
		take_message(connection, event);
		break;
	case PG_CLIENT_WRITABLE:
		connection->full = false;
		break;
	case PG_CLIENT_FAILED:
		if (!connection->packets_failed++)
			connection->rc = cli_fail(
				CLI_FAILED, "connect: a packet was not acked in time and is lost: "
					    "does an application read there? 'packgate drops' "
					    "on the server says why");
		break;
	case PG_CLIENT_GAP:
		fprintf(stderr, "packgate: connect: %d packets from the server never came\n",
			event->code);
		break;
	case PG_CLIENT_STREAM_CLOSED:
		/* of our own closing, or a refusal that a send tells */
		break;
	case PG_CLIENT_CLOSED:
		connection->closed = true;
		if (event->code && !connection->rc)
			connection->rc =
				cli_fail(CLI_FAILED, "connect: %s", (const char *)event->bytes);
		break;
	}
}

static void take_events(struct connection *connection)
{
	struct pg_client_event event;
	bool any = false;

	while (pg_client_next(connection->client, &event)) {
		any |= event.kind == PG_CLIENT_MESSAGE;
		take_event(connection, &event);
	}
	if (any && fflush(connection->out) && !connection->rc)
		connection->rc =
			cli_fail(CLI_FAILED, "connect: writing what came: %s", strerror(errno));
}

/* --- the loop ----------------------------------------------------------------------------------
 */

/* Everything is sent and acked, and (unless more is wanted) nothing came for a while. */
static bool finished(const struct connection *connection)
{
	struct pg_client_statistics now = { .size = sizeof(now) };

	if (connection->in >= 0 || connection->keep_receiving)
		return false;
	pg_client_get_statistics(connection->client, &now);
	return !now.unsettled_bytes && now_ms() - connection->quiet_since >= connection->linger_ms;
}

static void wait(const struct connection *connection)
{
	bool want_in = connection->in >= 0 && !connection->file && !connection->full;
	struct pollfd polled[2] = {
		{ .fd = pg_client_fd(connection->client), .events = POLLIN },
		{ .fd = connection->in, .events = POLLIN },
	};
	int timeout = pg_client_timeout_ms(connection->client);

	if (timeout < 0 || timeout > 100)
		timeout = 100; /* progress, silence, an interrupt */
	if (connection->file && connection->in >= 0 && !connection->full)
		timeout = 0; /* a file is always ready */
	poll(polled, want_in ? 2 : 1, timeout);
}

static void loop(struct connection *connection)
{
	while (!connection->closed && !connection->rc && !interrupted && !finished(connection)) {
		wait(connection);
		pump(connection);
		if (pg_client_process(connection->client) < 0 && !connection->rc)
			connection->rc = cli_fail(CLI_FAILED, "connect: the socket failed");
		take_events(connection);
		show_progress(connection, false);
	}
	show_progress(connection, true);
	if (!connection->closed)
		pg_client_close(connection->client, connection->rc ? 1 : 0);
}

/* --- what is sent ------------------------------------------------------------------------------
 */

static int open_parts(struct connection *connection, uint32_t streams)
{
	off_t size = (off_t)connection->bytes_total;

	connection->part_count = streams ? streams : 1;
	for (uint32_t i = 0; i < connection->part_count; i++) {
		struct part *part = &connection->parts[i];
		int err;

		part->at = size / connection->part_count * i;
		part->end = i + 1 == connection->part_count
				    ? size
				    : size / connection->part_count * (i + 1);
		if (!streams)
			break;
		err = pg_client_open_stream(connection->client, PG_CLIENT_RELIABLE, &part->stream);
		if (err)
			return cli_fail(CLI_FAILED, "connect: opening a stream: %s",
					strerror(-err));
	}
	return CLI_DONE;
}

static int open_file(struct connection *connection, const char *path)
{
	struct stat st;

	connection->in = open(path, O_RDONLY | O_CLOEXEC);
	if (connection->in < 0 || fstat(connection->in, &st))
		return cli_fail(CLI_FAILED, "connect: open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cli_fail(CLI_FAILED, "connect: %s is no regular file", path);
	connection->file = true;
	connection->bytes_total = (uint64_t)st.st_size;
	return CLI_DONE;
}

static int read_number(const struct cli_args *args, const char *name, unsigned long long max,
		       unsigned long long *number)
{
	const char *text = cli_option(args, name);

	if (text && !cli_number(text, 1, max, number))
		return cli_fail(CLI_USAGE, "connect: --%s must be 1 to %llu, not \"%s\"", name, max,
				text);
	return CLI_DONE;
}

static int prepare(struct connection *connection, const struct cli_args *args,
		   unsigned long long *ret_streams, unsigned long long *ret_packet)
{
	const char *send = cli_option(args, "send"), *recv = cli_option(args, "recv");
	unsigned long long linger = LINGER_DEFAULT_MS;
	int rc;

	rc = read_number(args, "streams", STREAMS_MAX, ret_streams);
	if (!rc)
		rc = read_number(args, "packet", CHUNK_MAX, ret_packet);
	if (!rc)
		rc = read_number(args, "linger", 3600000, &linger);
	if (!rc && *ret_streams && !send)
		rc = cli_fail(CLI_USAGE, "connect: --streams needs --send");
	if (!rc && send)
		rc = open_file(connection, send);
	if (rc)
		return rc;
	connection->linger_ms = (int64_t)linger;
	connection->keep_receiving = recv != NULL;
	if (recv && strcmp(recv, "-"))
		connection->out = fopen(recv, "we");
	if (!connection->out)
		return cli_fail(CLI_FAILED, "connect: create %s: %s", recv, strerror(errno));
	return CLI_DONE;
}

static int start(struct connection *connection, const struct cli_args *args)
{
	struct client_credentials credentials;
	struct pg_client_error error = { "" };
	int rc = client_options_read("connect", args, &credentials), err;

	if (rc)
		return rc;
	err = pg_client_connect(&credentials.options, &connection->client, &error);
	client_options_wipe(&credentials);
	if (err == -EINVAL)
		return cli_fail(CLI_USAGE, "connect: %s", error.text);
	return err ? cli_fail(CLI_FAILED, "connect: %s: %s", args->operands[0], error.text)
		   : CLI_DONE;
}

static void report(const struct connection *connection)
{
	double seconds = (double)(now_ms() - connection->started) / 1000;
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

static void connection_done(struct connection **connection)
{
	if (!*connection)
		return;
	pg_client_free((*connection)->client);
	if ((*connection)->out && (*connection)->out != stdout)
		fclose((*connection)->out);
	free(*connection);
}

static int run(struct connection *connection, const struct cli_args *args)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	unsigned long long streams = 0, packet = 0;
	int rc;

	rc = prepare(connection, args, &streams, &packet);
	if (!rc)
		rc = start(connection, args);
	if (rc)
		return rc;
	connection->packet = packet ? packet : pg_client_frame_max(connection->client);
	if (connection->packet > pg_client_send_max(connection->client, PG_CLIENT_RELIABLE))
		return cli_fail(CLI_USAGE, "connect: --packet: a packet has at most %zu bytes here",
				pg_client_send_max(connection->client, PG_CLIENT_RELIABLE));
	if (connection->file)
		rc = open_parts(connection, (uint32_t)streams);
	if (rc)
		return rc;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	connection->started = connection->quiet_since = now_ms();
	loop(connection);
	if (connection->file)
		report(connection);
	return connection->rc;
}

int cmd_connect(const struct cli_args *args)
{
	PG_CLEANUP(connection_done) struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return cli_fail(CLI_FAILED, "connect: out of memory");
	connection->out = stdout;
	connection->in = STDIN_FILENO;
	return run(connection, args);
}
