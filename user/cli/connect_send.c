// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connect_internal.h"

#define TAG	    1  /* of every packet: what fails is told */
#define FILE_FRAMES 32 /* of a packet of a file: one ack says what came of all of them */

/* --- what is sent ------------------------------------------------------------------------------
 */

int connect_open_file(struct connection *connection, const char *path)
{
	struct stat st;

	connection->in = open(path, O_RDONLY | O_CLOEXEC);
	if (connection->in < 0 || fstat(connection->in, &st))
		return cli_fail(CLI_FAILED, "connect: open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cli_fail(CLI_FAILED, "connect: %s is no regular file", path);
	connection->bytes_total = (uint64_t)st.st_size;
	connection->file = !connection->messages;
	return CLI_DONE;
}

static int open_stream(struct connection *connection, int policy, uint32_t *ret_stream)
{
	int err = pg_client_open_stream(connection->client, policy, ret_stream);

	return err ? cli_fail(CLI_FAILED, "connect: opening a stream: %s", strerror(-err))
		   : CLI_DONE;
}

/* The file in consecutive parts; where nothing said how many streams, it is one. */
static int open_parts(struct connection *connection)
{
	off_t size = (off_t)connection->bytes_total;
	uint32_t count = connection->count ? connection->count : 1;
	int rc = CLI_DONE;

	connection->part_count = count;
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct part *part = &connection->parts[i];

		part->at = size / count * i;
		part->end = i + 1 == count ? size : size / count * (i + 1);
		part->stream = connection->stream;
		if (connection->count)
			rc = open_stream(connection, PG_CLIENT_RELIABLE, &part->stream);
	}
	return rc;
}

static int choose_packet(struct connection *connection, size_t packet)
{
	int policy = connection->policy < 0 ? PG_CLIENT_RELIABLE : connection->policy;
	size_t most = pg_client_send_max(connection->client, policy);
	size_t frame = pg_client_frame_max(connection->client);

	if (packet > most)
		return cli_fail(CLI_USAGE, "connect: --packet: a packet has at most %zu bytes here",
				most);
	connection->packet = packet ? packet : connection->file ? frame * FILE_FRAMES : frame;
	if (connection->packet > CONNECT_CHUNK_MAX)
		connection->packet = CONNECT_CHUNK_MAX;
	if (!connection->messages)
		return CLI_DONE;
	most -= PG_MESSAGE_HEADER_MAX;
	return line_reader_init(&connection->lines, connection->in, connection->id,
				most < PG_MESSAGE_BODY ? most : PG_MESSAGE_BODY);
}

int connect_prepare_sending(struct connection *connection, size_t packet)
{
	int rc = choose_packet(connection, packet);

	if (!rc && connection->policy >= 0 && !connection->count) {
		rc = open_stream(connection, connection->policy, &connection->stream);
		connection->stream_opening = !rc;
	}
	if (!rc && connection->file)
		rc = open_parts(connection);
	return rc;
}

void connect_input_ended(struct connection *connection)
{
	connection->in = -1;
	connection->quiet_since = connect_now_ms();
	if (connection->stream)
		pg_client_close_stream(connection->client, connection->stream);
}

/* --- giving ------------------------------------------------------------------------------------
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
	else if (err == -EAGAIN)
		connection->later = true;
	else if (!connection->rc)
		connection->rc = cli_fail(CLI_FAILED, "connect: sending: %s",
					  pg_client_why(connection->client));
	return false;
}

static void send_bytes(struct connection *connection, bool readable)
{
	ssize_t n;

	if (!connection->chunk_bytes) {
		if (!readable)
			return;
		n = read(connection->in, connection->chunk, connection->packet);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && !connection->rc)
			connection->rc =
				cli_fail(CLI_FAILED, "connect: reading stdin: %s", strerror(errno));
		if (n <= 0) {
			connect_input_ended(connection);
			return;
		}
		connection->chunk_bytes = (size_t)n;
	}
	if (give(connection, connection->stream, connection->chunk, connection->chunk_bytes))
		connection->chunk_bytes = 0;
}

/* One line's message; false when there is none, or it is not taken now. */
static bool send_line(struct connection *connection)
{
	struct line_reader *lines = &connection->lines;

	if (!connection->message_bytes) {
		connection->rc = line_reader_next(lines, &connection->message_bytes);
		if (connection->rc || !connection->message_bytes)
			return false;
	}
	if (!give(connection, connection->stream, lines->message, connection->message_bytes))
		return false;
	connection->message_bytes = 0;
	return true;
}

static void send_lines(struct connection *connection, bool readable)
{
	struct line_reader *lines = &connection->lines;

	if (readable && !connection->message_bytes && !line_reader_ready(lines))
		connection->rc = line_reader_fill(lines);
	while (!connection->rc && send_line(connection))
		;
	if (lines->ended && lines->at == lines->used && !connection->message_bytes)
		connect_input_ended(connection);
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
		if (part->at == part->end && connection->count)
			pg_client_close_stream(connection->client, part->stream);
		return true;
	}
	connect_input_ended(connection);
	return false;
}

bool connect_sends_now(const struct connection *connection)
{
	if (connection->in < 0 || connection->full || connection->later ||
	    connection->stream_opening || connection->rc)
		return false;
	return connection->file || connection->chunk_bytes || connection->message_bytes ||
	       (connection->messages && line_reader_ready(&connection->lines));
}

bool connect_wants_input(const struct connection *connection)
{
	return connection->in >= 0 && !connection->file && !connection->full &&
	       !connection->later && !connection->stream_opening && !connection->chunk_bytes &&
	       !connection->message_bytes;
}

void connect_pump(struct connection *connection, bool readable)
{
	connection->later = false;
	if (connection->in < 0 || connection->full || connection->stream_opening || connection->rc)
		return;
	if (connection->messages)
		send_lines(connection, readable);
	else if (!connection->file)
		send_bytes(connection, readable);
	else
		while (!connection->full && !connection->later && !connection->rc &&
		       send_part(connection))
			;
}
