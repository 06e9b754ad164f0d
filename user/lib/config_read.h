/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONFIG_READ_H
#define PG_CONFIG_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config_yaml.h"
#include "error.h"

/*
 * Readers of single values and of sections described by tables. A reader returns 0, or -EINVAL
 * with a sentence; what it wrote before is then of no use, so read into a copy.
 */

struct pg_reader {
	const char *name; /* of the file */
	struct pg_error *error;
	char path[96]; /* of the value being read, such as endpoints[2].port */
	char shown[48];
};

struct pg_word {
	const char *word;
	unsigned int value;
};

struct pg_field;

/* Reads node into ret_value, an object of field->size bytes. */
typedef int pg_field_reader(struct pg_reader *reader, const struct pg_field *field,
			    const struct pg_yaml_node *node, void *ret_value);

/* A key of a section. Tables of fields and of words end with an entry without a name. */
struct pg_field {
	const char *name;
	pg_field_reader *read;
	size_t offset; /* in the section's struct */
	size_t size;
	bool required;
	uint32_t min, max;	       /* of a number */
	const char *unit;	       /* of a number, or NULL */
	const struct pg_word *words;   /* of an enum */
	const struct pg_field *fields; /* of a section */
};

#define PG_FIELD(type, member, reader, ...)                                          \
	{                                                                            \
		.name = #member, .read = (reader), .offset = offsetof(type, member), \
		.size = sizeof(((type *)0)->member), __VA_ARGS__                     \
	}

/* Writes NAME:LINE: path: and the sentence; returns -EINVAL. */
int pg_reader_fail(struct pg_reader *reader, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What a sentence says of a node: its text, cut and harmless to print, or its kind. */
const char *pg_reader_show(struct pg_reader *reader, const struct pg_yaml_node *node);

/*
 * The text of a scalar that has a value: 1 to max bytes of printable ASCII. what names it in
 * the sentence ("an absolute path").
 */
int pg_read_text(struct pg_reader *reader, const struct pg_yaml_node *node, size_t max,
		 const char *what, const char **ret_text);

/* Calls item for each entry of a list of at most max, with its index in the path. */
typedef int pg_item_reader(struct pg_reader *reader, const struct pg_yaml_node *node, size_t index,
			   void *context);
int pg_read_list(struct pg_reader *reader, const struct pg_yaml_node *node, size_t max,
		 const char *what, pg_item_reader *item, void *context);

pg_field_reader pg_read_section; /* field->fields, relative to ret_value */
pg_field_reader pg_read_number;	 /* plain decimal, into 2 or 4 bytes */
pg_field_reader pg_read_word;	 /* one of field->words, into an enum */
pg_field_reader pg_read_switch;	 /* on or off, into a bool */
pg_field_reader pg_read_name;	 /* a-z 0-9 _ -, into an array */
pg_field_reader pg_read_path;	 /* absolute, into an array */

#endif
