// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_read.h"

#define FIELDS_MAX 32
#define NEAR_MAX   40 /* bytes of a key that is worth a suggestion */

#define MIN(a, b) ((a) < (b) ? (a) : (b))

static const struct pg_word switch_words[] = { { "on", true }, { "off", false }, { NULL, 0 } };

int pg_reader_fail(struct pg_reader *reader, unsigned int line, const char *format, ...)
{
	const char *colon = *reader->path ? ": " : "";
	char sentence[sizeof(reader->error->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return pg_error_set(reader->error, -EINVAL, "%s:%u: %s%s%s", reader->name, line,
			    reader->path, colon, sentence);
}

static bool printable(char byte)
{
	return byte >= 0x20 && byte < 0x7f;
}

/* A plain empty scalar, or what YAML calls null. */
static bool no_value(const struct pg_yaml_node *node)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	size_t i;

	if (node->kind != PG_YAML_SCALAR || node->quoted)
		return false;
	for (i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++) {
		if (!strcmp(node->text, nulls[i]))
			return true;
	}
	return false;
}

const char *pg_reader_show(struct pg_reader *reader, const struct pg_yaml_node *node)
{
	const char *text = node->text;
	char *to = reader->shown;
	size_t i;

	if (node->kind == PG_YAML_LIST)
		return "a list";
	if (node->kind == PG_YAML_MAP)
		return "a mapping";
	if (no_value(node))
		return "no value";
	*to++ = '"';
	for (i = 0; text[i] && i < sizeof(reader->shown) - 6; i++)
		*to++ = printable(text[i]) ? text[i] : '?';
	strcpy(to, text[i] ? "...\"" : "\"");
	return reader->shown;
}

static size_t path_push(struct pg_reader *reader, const char *key)
{
	size_t mark = strlen(reader->path);

	snprintf(reader->path + mark, sizeof(reader->path) - mark, "%s%s", mark ? "." : "", key);
	return mark;
}

static size_t path_push_index(struct pg_reader *reader, size_t index)
{
	size_t mark = strlen(reader->path);

	snprintf(reader->path + mark, sizeof(reader->path) - mark, "[%zu]", index);
	return mark;
}

static void path_pop(struct pg_reader *reader, size_t mark)
{
	reader->path[mark] = '\0';
}

/*
 * Insertions, deletions, replacements and swaps of neighbours that turn a into b. Both are at most
 * NEAR_MAX long.
 */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int d[NEAR_MAX + 1][NEAR_MAX + 1], cost, best;
	size_t m = strlen(a), n = strlen(b), i, j;

	for (i = 0; i <= m; i++)
		d[i][0] = (unsigned int)i;
	for (j = 0; j <= n; j++)
		d[0][j] = (unsigned int)j;
	for (i = 1; i <= m; i++) {
		for (j = 1; j <= n; j++) {
			cost = a[i - 1] != b[j - 1];
			best = MIN(d[i - 1][j] + 1, d[i][j - 1] + 1);
			best = MIN(best, d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, d[i - 2][j - 2] + 1);
			d[i][j] = best;
		}
	}
	return d[m][n];
}

/* The known key that is plausibly meant, or NULL. */
static const char *nearest_key(const struct pg_field *fields, const char *key)
{
	unsigned int best = 2 + (unsigned int)strlen(key) / 4, distance;
	const char *nearest = NULL;

	if (strlen(key) > NEAR_MAX)
		return NULL;
	for (; fields->name; fields++) {
		distance = edit_distance(key, fields->name);
		if (distance < best) {
			best = distance;
			nearest = fields->name;
		}
	}
	return nearest;
}

/* Writes "a, b, c" into text, cut at its end. */
static void list_append(char *text, size_t size, const char *separator, const char *word)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s", used ? separator : "", word);
}

static int unknown_key(struct pg_reader *reader, const struct pg_field *fields,
		       const struct pg_yaml_node *key)
{
	const char *nearest = nearest_key(fields, key->text);
	const char *shown = *key->text ? pg_reader_show(reader, key) : "\"\"";
	char known[256] = "";

	if (nearest)
		return pg_reader_fail(reader, key->line, "unknown key %s, did you mean \"%s\"?",
				      shown, nearest);
	for (; fields->name; fields++)
		list_append(known, sizeof(known), ", ", fields->name);
	return pg_reader_fail(reader, key->line, "unknown key %s, known are %s", shown, known);
}

static int read_key(struct pg_reader *reader, const struct pg_field *fields,
		    const struct pg_yaml_node *node, unsigned int *lines, char *base)
{
	const struct pg_field *field = fields;
	size_t mark, index;
	int rc;

	while (field->name && strcmp(field->name, node->key->text))
		field++;
	if (!field->name)
		return unknown_key(reader, fields, node->key);
	index = (size_t)(field - fields);
	mark = path_push(reader, field->name);
	if (lines[index])
		return pg_reader_fail(reader, node->key->line,
				      "given a second time, the first is on line %u", lines[index]);
	lines[index] = node->key->line;
	rc = field->read(reader, field, node, base + field->offset);
	if (!rc)
		path_pop(reader, mark);
	return rc;
}

int pg_read_section(struct pg_reader *reader, const struct pg_field *field,
		    const struct pg_yaml_node *node, void *ret_value)
{
	unsigned int lines[FIELDS_MAX] = { 0 };
	const struct pg_yaml_node *child;
	size_t i;
	int rc;

	if (node->kind != PG_YAML_MAP)
		return pg_reader_fail(reader, node->line, "must be a mapping of keys, found %s",
				      pg_reader_show(reader, node));
	for (child = node->first; child; child = child->next) {
		rc = read_key(reader, field->fields, child, lines, ret_value);
		if (rc)
			return rc;
	}
	for (i = 0; field->fields[i].name; i++) {
		if (field->fields[i].required && !lines[i])
			return pg_reader_fail(reader, node->line, "the key \"%s\" is missing",
					      field->fields[i].name);
	}
	return 0;
}

int pg_read_list(struct pg_reader *reader, const struct pg_yaml_node *node, size_t max,
		 const char *what, pg_item_reader *item, void *context)
{
	const struct pg_yaml_node *entry;
	size_t index = 0, mark;
	int rc;

	if (node->kind != PG_YAML_LIST)
		return pg_reader_fail(reader, node->line, "must be a list of %s, found %s", what,
				      pg_reader_show(reader, node));
	for (entry = node->first; entry; entry = entry->next, index++) {
		if (index == max)
			return pg_reader_fail(reader, entry->line, "more than %zu %s", max, what);
		mark = path_push_index(reader, index);
		rc = item(reader, entry, index, context);
		if (rc)
			return rc;
		path_pop(reader, mark);
	}
	return 0;
}

int pg_read_text(struct pg_reader *reader, const struct pg_yaml_node *node, size_t max,
		 const char *what, const char **ret_text)
{
	size_t length, i;

	if (node->kind != PG_YAML_SCALAR || no_value(node))
		return pg_reader_fail(reader, node->line, "must be %s, found %s", what,
				      pg_reader_show(reader, node));
	length = strlen(node->text);
	if (!length)
		return pg_reader_fail(reader, node->line, "must be %s, found an empty text", what);
	for (i = 0; i < length; i++) {
		if (!printable(node->text[i]))
			return pg_reader_fail(reader, node->line,
					      "%s holds a character that is not printable ASCII",
					      pg_reader_show(reader, node));
	}
	if (length > max)
		return pg_reader_fail(reader, node->line,
				      "%s is %zu characters long, at most %zu are allowed",
				      pg_reader_show(reader, node), length, max);
	*ret_text = node->text;
	return 0;
}

/* What is wrong with the text of a number, or NULL. */
static const char *number_fault(const struct pg_yaml_node *node)
{
	const char *text = node->text;
	size_t digits;

	if (node->kind != PG_YAML_SCALAR || no_value(node))
		return "is not a number";
	if (node->quoted)
		return "is a quoted text, not a number";
	digits = strspn(text, "0123456789");
	if (*text == '-' && strspn(text + 1, "0123456789"))
		return "is negative";
	if (!digits)
		return "is not a number";
	if (text[digits])
		return "has something behind the digits";
	if (*text == '0' && digits > 1)
		return "begins with a zero";
	return NULL;
}

/* Reads checked digits; anything above max comes out as more than max. */
static uint64_t parse_digits(const char *text, uint32_t max)
{
	uint64_t value = 0;

	for (; *text && value <= max; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

int pg_read_number(struct pg_reader *reader, const struct pg_field *field,
		   const struct pg_yaml_node *node, void *ret_value)
{
	const char *fault = number_fault(node);
	uint64_t value = 0;

	if (!fault) {
		value = parse_digits(node->text, field->max);
		if (value < field->min || value > field->max)
			fault = "is out of range";
	}
	if (fault)
		return pg_reader_fail(reader, node->line, "%s %s, allowed is %u to %u%s%s",
				      pg_reader_show(reader, node), fault, field->min, field->max,
				      field->unit ? " " : "", field->unit ? field->unit : "");
	if (field->size == sizeof(uint16_t))
		*(uint16_t *)ret_value = (uint16_t)value;
	else
		*(uint32_t *)ret_value = (uint32_t)value;
	return 0;
}

static int find_word(struct pg_reader *reader, const struct pg_word *words,
		     const struct pg_yaml_node *node, unsigned int *ret_value)
{
	const struct pg_word *word;
	char allowed[128] = "";

	for (word = words; word->word; word++) {
		if (node->kind == PG_YAML_SCALAR && !strcmp(node->text, word->word)) {
			*ret_value = word->value;
			return 0;
		}
		list_append(allowed, sizeof(allowed), word[1].word ? ", " : " or ", word->word);
	}
	return pg_reader_fail(reader, node->line, "must be %s, found %s", allowed,
			      pg_reader_show(reader, node));
}

int pg_read_word(struct pg_reader *reader, const struct pg_field *field,
		 const struct pg_yaml_node *node, void *ret_value)
{
	return find_word(reader, field->words, node, ret_value);
}

int pg_read_switch(struct pg_reader *reader, const struct pg_field *field,
		   const struct pg_yaml_node *node, void *ret_value)
{
	unsigned int on;
	int rc = find_word(reader, switch_words, node, &on);

	if (!rc)
		*(bool *)ret_value = on;
	return rc;
}

int pg_read_name(struct pg_reader *reader, const struct pg_field *field,
		 const struct pg_yaml_node *node, void *ret_value)
{
	const char *text;
	int rc;

	rc = pg_read_text(reader, node, field->size - 1, "a name", &text);
	if (rc)
		return rc;
	if (text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
		return pg_reader_fail(reader, node->line,
				      "%s is not a name, allowed are a-z, 0-9, _ and -",
				      pg_reader_show(reader, node));
	strcpy(ret_value, text);
	return 0;
}

int pg_read_path(struct pg_reader *reader, const struct pg_field *field,
		 const struct pg_yaml_node *node, void *ret_value)
{
	const char *text;
	int rc;

	rc = pg_read_text(reader, node, field->size - 1, "an absolute path", &text);
	if (rc)
		return rc;
	if (*text != '/')
		return pg_reader_fail(reader, node->line, "%s is not an absolute path",
				      pg_reader_show(reader, node));
	strcpy(ret_value, text);
	return 0;
}
