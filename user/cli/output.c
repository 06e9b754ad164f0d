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
#define GAP	    2 /* 1 where the terminal is too narrow */
#define HEAD_LINES  2
#define WRAP_MIN    8 /* the last column is left away where it gets less than it needs of this */

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

/* How a table stands on this terminal. */
struct layout {
	size_t widths[COLUMNS_MAX];
	size_t gap, terminal;
	size_t shown; /* columns; the others are left away */
	bool stacked; /* names of two words on two lines */
};

/* Blanks are owed until something follows them, so that no line ends in one. */
static void print_padded(const char *text, size_t width, bool right, size_t *owed)
{
	size_t length = strlen(text), blanks = width > length ? width - length : 0;

	if (!length) {
		*owed += width;
		return;
	}
	printf("%*s%s", pad(*owed + (right ? blanks : 0)), "", text);
	*owed = right ? 0 : blanks;
}

/* What the last column cannot do without; text wraps. */
static size_t last_width(const struct table *table, const struct layout *layout)
{
	size_t last = table->columns - 1, width = layout->widths[last];

	return table->right[last] || width < WRAP_MIN ? width : WRAP_MIN;
}

static void print_row(const struct table *table, char *const *cells, const struct layout *layout)
{
	size_t last = table->columns - 1, used = 0, owed = 0, i;
	bool wraps;

	for (i = 0; i < layout->shown; i++) {
		wraps = i == last && !table->right[last] && *cells[last];
		if (wraps)
			break;
		print_padded(cells[i], layout->widths[i], table->right[i], &owed);
		used += layout->widths[i] + layout->gap;
		owed += layout->gap;
	}
	if (i == layout->shown) {
		puts("");
		return;
	}
	printf("%*s", pad(owed), "");
	print_wrapped(cells[last], used, layout->terminal - used);
}

/* The part of a name that stands on a line: a name of one word, or the last, is at the bottom. */
static const char *head_part(const char *name, size_t line, char text[64])
{
	const char *space = strchr(name, ' ');

	snprintf(text, 64, "%s", line ? (space ? space + 1 : name) : (space ? name : ""));
	if (!line && space)
		text[strcspn(text, " ")] = 0;
	return text;
}

static void print_head(const struct table *table, const struct layout *layout)
{
	char parts[COLUMNS_MAX][64], *cells[COLUMNS_MAX];
	size_t line, i;

	for (line = layout->stacked ? 0 : HEAD_LINES; line < HEAD_LINES; line++) {
		for (i = 0; i < table->columns; i++) {
			head_part(table->names[i], line, parts[i]);
			cells[i] = parts[i];
		}
		print_row(table, cells, layout);
	}
	if (!layout->stacked)
		print_row(table, table->names, layout);
}

static size_t name_width(const char *name, bool stacked)
{
	const char *space = stacked ? strchr(name, ' ') : NULL;
	size_t first = space ? (size_t)(space - name) : 0, rest = strlen(space ? space + 1 : name);

	return first > rest ? first : rest;
}

/* Sets the widths, and how many columns find room; whether all do. */
static bool measure(const struct table *table, struct layout *layout)
{
	size_t i, used = 0, width;

	for (i = 0; i < table->columns; i++)
		layout->widths[i] = name_width(table->names[i], layout->stacked);
	for (i = 0; i < table->cell_count; i++)
		if (strlen(table->cells[i]) > layout->widths[i % table->columns])
			layout->widths[i % table->columns] = strlen(table->cells[i]);
	for (i = 0; i < table->columns; i++) {
		width = i + 1 < table->columns ? layout->widths[i] : last_width(table, layout);
		if (used + width > layout->terminal)
			break;
		used += layout->widths[i] + layout->gap;
	}
	layout->shown = i;
	return i == table->columns;
}

/* Narrower step by step; what does not fit even then is left away from the right. */
static void lay_out(const struct table *table, struct layout *layout)
{
	*layout = (struct layout){ .gap = GAP, .terminal = terminal_width() };
	if (measure(table, layout))
		return;
	layout->stacked = true;
	if (measure(table, layout))
		return;
	layout->gap = 1;
	measure(table, layout);
}

static bool is_empty(const struct table *table, size_t column)
{
	size_t i;

	for (i = column; i < table->cell_count; i += table->columns)
		if (*table->cells[i])
			return false;
	return true;
}

static void name_missing(const struct table *table, const struct layout *layout)
{
	char text[COLUMNS_MAX * 64] = "for want of room, not shown:";
	size_t i, length, missing = 0;

	for (i = layout->shown; i < table->columns; i++) {
		if (is_empty(table, i))
			continue;
		length = strlen(text);
		snprintf(text + length, sizeof(text) - length, "%s %s", missing++ ? "," : "",
			 table->names[i]);
	}
	if (missing)
		print_wrapped(text, 0, layout->terminal);
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
	struct layout layout;
	size_t i;

	lay_out(table, &layout);
	if (!table->cell_count)
		puts(empty);
	else
		print_head(table, &layout);
	for (i = 0; i + table->columns <= table->cell_count; i += table->columns)
		print_row(table, table->cells + i, &layout);
	if (table->cell_count)
		name_missing(table, &layout);
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
