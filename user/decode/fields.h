/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FIELDS_H
#define PG_FIELDS_H

#include <stdio.h>

#include "decoded.h"

/*
 * Every field of a decoded packet, once: what -v and --json print is one walk with two writers, so
 * both have the same names. docs/decode.md explains them.
 */
struct pg_fields {
	FILE *out;
	const struct pg_fields_writer *writer;
	uint32_t depth;
	bool first; /* nothing stands in the present object or list */
};

/* A name is NULL inside a list. */
struct pg_fields_writer {
	void (*open)(struct pg_fields *fields, const char *name, char bracket); /* { or [ */
	void (*close)(struct pg_fields *fields, char bracket);			/* } or ] */
	/* a value as it is to be written: JSON quotes texts, which never hold a control character
	 */
	void (*value)(struct pg_fields *fields, const char *name, const char *text, bool quoted);
};

/* Writes the fields of a packet to out; write errors stay in the stream. */
void pg_fields_write(const struct pg_decoded *decoded, const struct pg_fields_writer *writer,
		     FILE *out);

/* One JSON object without the line's end. */
extern const struct pg_fields_writer pg_fields_json;

/* Indented lines "name: value, value", one a part; each ended. */
extern const struct pg_fields_writer pg_fields_text;

/* What the parts are written with, for those who add some to a packet (see message parts). */
void pg_field_open(struct pg_fields *fields, const char *name, char bracket);
void pg_field_close(struct pg_fields *fields, char bracket);
/* A number above 2^53, which readers of JSON would round or refuse, is written as a text. */
void pg_field_number(struct pg_fields *fields, const char *name, uint64_t number);
void pg_field_flag(struct pg_fields *fields, const char *name, bool flag);
void pg_field_text(struct pg_fields *fields, const char *name, const char *text);
void pg_field_hex(struct pg_fields *fields, const char *name, const uint8_t *bytes, size_t n);

#endif
