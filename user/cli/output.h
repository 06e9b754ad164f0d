/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_OUTPUT_H
#define PG_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/*
 * Tables for eyes: columns as wide as their widest cell, numbers to the right. On a terminal a text
 * in the last column goes on below itself, and columns that have no room are left away.
 */
struct table;

/* Columns separated by '|'; a name that begins with '>' is aligned to the right. */
struct table *table_new(const char *columns);

/* One cell after the other, left to right, row by row. Control characters are shown as '?'. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints on stdout and frees; a table without rows prints `empty` instead. */
void table_print(struct table *table, const char *empty);

/* Members of a JSON object; "" and 0 where there is none or it is null. */
const char *json_text(const json_t *object, const char *key);
int64_t json_int(const json_t *object, const char *key);
bool json_flag(const json_t *object, const char *key);

/* "4 s ago", "in 3 min", "never" for 0: a Unix time in ms against now. */
const char *time_text(int64_t unix_ms, char text[32]);

#endif
