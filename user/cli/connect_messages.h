/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_CONNECT_MESSAGES_H
#define PG_CLI_CONNECT_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "packgate/message.h"

/* `connect --messages`: a line that is read is a message (PROTOCOL section 6), and the reverse. */

/* Lines of a file descriptor, each made a whole message. */
struct line_reader {
	int fd;
	uint32_t id;	 /* of every message; 0 = a line begins with its Id and a space */
	size_t body_max; /* bytes of a message's body */
	uint8_t *buffer; /* read and not taken: at .. used; owned */
	size_t room, at, used;
	uint8_t *message; /* owned */
	uint64_t line;	  /* number of the last one taken, from 1 */
	bool ended;	  /* the fd has no more; what is in the buffer is the last line */
};

/* Memory for lines of so many bytes; 0 or a code that was said. */
int line_reader_init(struct line_reader *reader, int fd, uint32_t id, size_t body_max);
void line_reader_done(struct line_reader *reader);

/* Reads once from fd, which poll said is readable. 0, or a code that was said. */
int line_reader_fill(struct line_reader *reader);

/* Whether the next line is there already, without reading. */
bool line_reader_ready(const struct line_reader *reader);

/*
 * The next message: *ret_bytes at reader->message, valid until the next call; 0 when no line is
 * complete. Returns CLI_DONE, or a code that was said: a line that is no message.
 */
int line_reader_next(struct line_reader *reader, size_t *ret_bytes);

/*
 * One message as a line: its Id, a space, the body with control characters (and, where it is no
 * UTF-8, every byte above 0x7e) as \n, \r, \t, \\ or \xHH; or a JSON object.
 */
void message_print(FILE *out, const struct pg_message_view *message, uint32_t stream, bool json);

#endif
