// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "connect_messages.h"

#define ID_DIGITS 16 /* in front of a line: digits and a space */

int line_reader_init(struct line_reader *reader, int fd, uint32_t id, size_t body_max)
{
	*reader = (struct line_reader){ .fd = fd, .id = id, .body_max = body_max };
	reader->room = body_max + ID_DIGITS + 2;
	reader->buffer = malloc(reader->room);
	reader->message = malloc(body_max + PG_MESSAGE_HEADER_MAX);
	if (reader->buffer && reader->message)
		return CLI_DONE;
	return cli_fail(CLI_FAILED, "connect: out of memory");
}

void line_reader_done(struct line_reader *reader)
{
	free(reader->buffer);
	free(reader->message);
	reader->buffer = reader->message = NULL;
}

int line_reader_fill(struct line_reader *reader)
{
	ssize_t n;

	if (reader->at) {
		memmove(reader->buffer, reader->buffer + reader->at, reader->used - reader->at);
		reader->used -= reader->at;
		reader->at = 0;
	}
	if (reader->used == reader->room)
		return CLI_DONE; /* line_reader_next says that it is too long */
	n = read(reader->fd, reader->buffer + reader->used, reader->room - reader->used);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CLI_DONE;
	if (n < 0)
		return cli_fail(CLI_FAILED, "connect: reading lines: %s", strerror(errno));
	reader->used += (size_t)n;
	reader->ended = !n;
	return CLI_DONE;
}

/* The line's end, or NULL while it is not there. */
static uint8_t *line_end(const struct line_reader *reader)
{
	size_t left = reader->used - reader->at;
	uint8_t *end = left ? memchr(reader->buffer + reader->at, '\n', left) : NULL;

	return !end && left && reader->ended ? reader->buffer + reader->used : end;
}

bool line_reader_ready(const struct line_reader *reader)
{
	return line_end(reader) || reader->used - reader->at == reader->room;
}

/* Takes the Id off the front of a line. */
static int take_id(const struct line_reader *reader, const uint8_t **line, size_t *bytes,
		   uint32_t *ret_id)
{
	char digits[ID_DIGITS] = "";
	unsigned long long id;
	size_t length = 0;

	while (length < *bytes && length < sizeof(digits) - 1 && (*line)[length] != ' ') {
		digits[length] = (char)(*line)[length];
		length++;
	}
	if (!cli_number(digits, 1, PG_MESSAGE_VALUE_MAX, &id) ||
	    (length < *bytes && (*line)[length] != ' '))
		return cli_fail(CLI_FAILED,
				"connect: line %" PRIu64 " does not begin with an Id (1 to %d) and "
				"a space; --id N sends every line with Id N",
				reader->line, PG_MESSAGE_VALUE_MAX);
	length += length < *bytes;
	*line += length;
	*bytes -= length;
	*ret_id = (uint32_t)id;
	return CLI_DONE;
}

int line_reader_next(struct line_reader *reader, size_t *ret_bytes)
{
	const uint8_t *line = reader->buffer + reader->at, *end = line_end(reader);
	size_t bytes = (end ? end : reader->buffer + reader->used) - line;
	uint32_t id = reader->id;
	int rc, written;

	*ret_bytes = 0;
	if (!end && reader->used - reader->at < reader->room)
		return CLI_DONE;
	reader->line++;
	rc = id ? CLI_DONE : take_id(reader, &line, &bytes, &id);
	if (!rc && (!end || bytes > reader->body_max))
		rc = cli_fail(CLI_FAILED,
			      "connect: line %" PRIu64 " is too long: a message has at most %zu "
			      "bytes here",
			      reader->line, reader->body_max);
	if (rc)
		return rc;
	written = pg_message_write(reader->message,
				   (uint32_t)(reader->body_max + PG_MESSAGE_HEADER_MAX), id, line,
				   (uint32_t)bytes);
	if (written < 0)
		return cli_fail(CLI_FAILED, "connect: line %" PRIu64 ": %s", reader->line,
				strerror(-written));
	reader->at = (size_t)(end - reader->buffer) + (end < reader->buffer + reader->used);
	*ret_bytes = (size_t)written;
	return CLI_DONE;
}

/* --- printing ----------------------------------------------------------------------------------
 */

static void print_byte(FILE *out, uint8_t byte, bool utf8)
{
	static const char *const names[256] = {
		['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t", ['\\'] = "\\\\"
	};

	if (names[byte])
		fputs(names[byte], out);
	else if (byte < 0x20 || byte == 0x7f || (byte > 0x7f && !utf8))
		fprintf(out, "\\x%02x", byte);
	else
		fputc(byte, out);
}

static json_t *hex(const uint8_t *bytes, uint32_t count)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc((size_t)count * 2 + 1);
	json_t *value;

	if (!text)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	value = json_stringn(text, (size_t)count * 2);
	free(text);
	return value;
}

static void print_json(FILE *out, const struct pg_message_view *message, uint32_t stream,
		       json_t *text)
{
	json_t *root = json_pack("{s:I, s:I}", "id", (json_int_t)message->id, "stream",
				 (json_int_t)stream);

	if (text)
		json_object_set(root, "text", text);
	else
		json_object_set_new(root, "hex", hex(message->body, message->bytes));
	json_dumpf(root, out, JSON_COMPACT);
	fputc('\n', out);
	json_decref(root);
}

void message_print(FILE *out, const struct pg_message_view *message, uint32_t stream, bool json)
{
	/* NULL for what is no UTF-8 */
	json_t *text = json_stringn((const char *)message->body, message->bytes);

	if (json) {
		print_json(out, message, stream, text);
	} else {
		fprintf(out, "%" PRIu32 " ", message->id);
		for (uint32_t i = 0; i < message->bytes; i++)
			print_byte(out, message->body[i], text);
		fputc('\n', out);
	}
	json_decref(text);
}
