// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

#define COLUMNS_MAX 16
#define GAP	    2
#define WRAP_MIN    8 /* a column narrower than this is left away */

struct table {
	char *names[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t columns;
	char **cells;
	size_t cell_count, room;
};

/* A program for people: without memory there is nothing left to say. */
static void *must(void *pointer)
{
	if (pointer)
		return pointer;
	fputs("packgate: out of memory\n", stderr);
	exit(1);
}

struct table *table_new(const char *columns)
{
	struct table *table = must(calloc(1, sizeof(*table)));

	while (*columns && table->columns < COLUMNS_MAX) {
		size_t length = strcspn(columns, "|");
		bool right = *columns == '>';

		table->right[table->columns] = right;
		table->names[table->columns++] = must(strndup(columns + right, length - right));
		columns += length + (columns[length] == '|');
	}
	return table;
}

void table_cell(struct table *table, const char *format, ...)
{
	char *text = NULL, *c;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	must(text);
	for (c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (table->cell_count == table->room) {
		table->room = table->room ? table->room * 2 : 64;
		table->cells = must(realloc(table->cells, table->room * sizeof(char *)));
	}
	table->cells[table->cell_count++] = text;
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		return SIZE_MAX;
	return size.ws_col;
}

static int pad(size_t width)
{
	return width > INT_MAX ? INT_MAX : (int)width;
}

/* How much of the text fits into room: whole words, unless the first alone is too long. */
static size_t line_length(const char *text, size_t room)
{
	size_t length = strlen(text), cut = room;

	if (length <= room)
		return length;
	while (cut && text[cut] != ' ')
		cut--;
	return cut ? cut : room;
}

/* The text goes on below itself where the terminal ends. */
static void print_wrapped(const char *text, size_t indent, size_t room)
{
	size_t n = line_length(text, room);

	printf("%.*s\n", pad(n), text);
	for (text += n; *text; text += n) {
		text += *text == ' ';
		n = line_length(text, room);
		printf("%*s%.*s\n", pad(indent), "", pad(n), text);
	}
}

static void print_row(const struct table *table, char *const *cells, const size_t *widths,
		      size_t terminal)
{
	bool wraps = !table->right[table->columns - 1];
	size_t plain = table->columns - wraps, used = 0, i;

	for (i = 0; i < plain && used + widths[i] <= terminal; i++) {
		printf(table->right[i] ? "%*s" : "%-*s", pad(widths[i]), cells[i]);
		used += widths[i] + GAP;
		if (i + 1 < table->columns)
			printf("%*s", GAP, "");
	}
	if (wraps && i == plain && used + WRAP_MIN <= terminal)
		print_wrapped(cells[i], used, terminal - used);
	else
		puts("");
}

static void table_free(struct table *table)
{
	size_t i;

	for (i = 0; i < table->columns; i++)
		free(table->names[i]);
	for (i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void table_print(struct table *table, const char *empty)
{
	size_t widths[COLUMNS_MAX], terminal = terminal_width(), i;

	for (i = 0; i < table->columns; i++)
		widths[i] = strlen(table->names[i]);
	for (i = 0; i < table->cell_count; i++)
		if (strlen(table->cells[i]) > widths[i % table->columns])
			widths[i % table->columns] = strlen(table->cells[i]);
	if (!table->cell_count)
		puts(empty);
	else
		print_row(table, table->names, widths, terminal);
	for (i = 0; i + table->columns <= table->cell_count; i += table->columns)
		print_row(table, table->cells + i, widths, terminal);
	table_free(table);
}

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t json_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool json_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *time_text(int64_t unix_ms, char text[32])
{
	int64_t seconds = (int64_t)time(NULL) - unix_ms / 1000;
	int64_t far = seconds < 0 ? -seconds : seconds;
	const char *unit = far < 120 ? "s" : far < 7200 ? "min" : far < 172800 ? "h" : "d";
	int64_t count = far < 120      ? far
			: far < 7200   ? far / 60
			: far < 172800 ? far / 3600
				       : far / 86400;

	if (!unix_ms)
		snprintf(text, 32, "never");
	else
		snprintf(text, 32, seconds < 0 ? "in %lld %s" : "%lld %s ago", (long long)count,
			 unit);
	return text;
}
