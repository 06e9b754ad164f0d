// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "config_yaml.h"

#define BYTE_ORDER_MARK 0xfeff

struct loader {
	yaml_parser_t parser;
	const char *name;
	struct pg_error *error;
	struct pg_yaml *yaml;
	unsigned int lines; /* in the text */
	unsigned int tab;   /* the first line that begins with blanks and a tab, 0 = none */
};

static void free_yaml(struct pg_yaml **yaml)
{
	pg_yaml_free(*yaml);
}

void pg_yaml_free(struct pg_yaml *yaml)
{
	struct pg_yaml_node *node, *next;

	if (!yaml)
		return;
	for (node = yaml->allocated; node; node = next) {
		next = node->allocated;
		free(node->text);
		free(node);
	}
	free(yaml);
}

const struct pg_yaml_node *pg_yaml_find(const struct pg_yaml_node *map, const char *key)
{
	const struct pg_yaml_node *node;

	if (!map || map->kind != PG_YAML_MAP)
		return NULL;
	for (node = map->first; node; node = node->next) {
		if (!strcmp(node->key->text, key))
			return node;
	}
	return NULL;
}

/* Decodes one character; returns its length in bytes, 0 if it is not well-formed UTF-8. */
static size_t decode_utf8(const uint8_t *at, size_t bytes, uint32_t *ret_character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t character;
	size_t length, i;

	if (at[0] < 0x80) {
		*ret_character = at[0];
		return 1;
	}
	length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	if (at[0] < 0xc0 || at[0] > 0xf7 || length > bytes)
		return 0;
	character = at[0] & (0x7fu >> length);
	for (i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (at[i] & 0x3f);
	}
	if (character < least[length] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0;
	*ret_character = character;
	return length;
}

/*
 * NEL, LS and PS are printable in YAML but break lines there and in no editor: with them the line
 * of an error would not be the line a person sees.
 */
static bool character_allowed(uint32_t character)
{
	if (character < 0x20)
		return character == '\t' || character == '\n' || character == '\r';
	if (character < 0xa0)
		return character < 0x7f;
	return character != 0x2028 && character != 0x2029 && character != 0xfffe &&
	       character != 0xffff;
}

/*
 * What libyaml would report without a line, or, of directives, read in quadratic time. Lines are
 * counted as libyaml does: they end with LF, CR LF or CR.
 */
static int check_characters(struct loader *loader, const char *text, size_t bytes)
{
	bool line_start = true, indent = true;
	unsigned int line = 1;
	uint32_t character;
	size_t at, length;

	for (at = 0; at < bytes; at += length) {
		length = decode_utf8((const uint8_t *)text + at, bytes - at, &character);
		if (!length)
			return pg_error_set(loader->error, -EINVAL,
					    "%s:%u: the byte 0x%02x is not valid UTF-8",
					    loader->name, line, (uint8_t)text[at]);
		if (!character_allowed(character))
			return pg_error_set(loader->error, -EINVAL,
					    "%s:%u: the character U+%04X is not allowed here",
					    loader->name, line, character);
		if (line_start && character == '%')
			return pg_error_set(loader->error, -EINVAL,
					    "%s:%u: directives (%%) are not supported",
					    loader->name, line);
		if (indent && character == '\t' && !loader->tab)
			loader->tab = line;
		indent = character == '\n' || character == '\r' || (indent && character == ' ');
		if (character == '\n' ||
		    (character == '\r' && (at + 1 == bytes || text[at + 1] != '\n'))) {
			line_start = true;
			line++;
		} else if (character != BYTE_ORDER_MARK) {
			line_start = false;
		}
	}
	loader->lines = line_start && line > 1 ? line - 1 : line;
	return 0;
}

/* What is missed at the end of a text, libyaml misses on the line behind its last one. */
static unsigned int line_of(const struct loader *loader, yaml_mark_t mark)
{
	return mark.line < loader->lines ? (unsigned int)mark.line + 1 : loader->lines;
}

static int refuse(const struct loader *loader, yaml_mark_t mark, const char *reason)
{
	return pg_error_set(loader->error, -EINVAL, "%s:%u: %s", loader->name,
			    line_of(loader, mark), reason);
}

static int syntax_error(const struct loader *loader)
{
	const yaml_parser_t *parser = &loader->parser;

	if (parser->error == YAML_MEMORY_ERROR)
		return pg_error_set(loader->error, -ENOMEM, "%s: out of memory", loader->name);
	if (loader->tab && loader->tab == line_of(loader, parser->problem_mark))
		return refuse(loader, parser->problem_mark,
			      "the line is indented with a tab, YAML takes blanks only");
	if (!parser->context)
		return pg_error_set(loader->error, -EINVAL, "%s:%u: not valid YAML: %s",
				    loader->name, line_of(loader, parser->problem_mark),
				    parser->problem);
	return pg_error_set(loader->error, -EINVAL, "%s:%u: not valid YAML: %s %s from line %u on",
			    loader->name, line_of(loader, parser->problem_mark), parser->problem,
			    parser->context, line_of(loader, parser->context_mark));
}

static int next_event(struct loader *loader, yaml_event_t *ret_event)
{
	return yaml_parser_parse(&loader->parser, ret_event) ? 0 : syntax_error(loader);
}

static int add_node(struct loader *loader, const yaml_event_t *event, enum pg_yaml_kind kind,
		    struct pg_yaml_node **ret_node)
{
	struct pg_yaml *yaml = loader->yaml;
	struct pg_yaml_node *node;

	if (yaml->nodes == PG_YAML_NODES_MAX)
		return refuse(loader, event->start_mark, "too many values in the file");
	node = calloc(1, sizeof(*node));
	if (!node)
		return pg_error_set(loader->error, -ENOMEM, "%s: out of memory", loader->name);
	node->kind = kind;
	node->line = line_of(loader, event->start_mark);
	node->allocated = yaml->allocated;
	yaml->allocated = node;
	yaml->nodes++;
	*ret_node = node;
	return 0;
}

static int read_scalar(struct loader *loader, const yaml_event_t *event,
		       struct pg_yaml_node **ret_node)
{
	const char *text = (const char *)event->data.scalar.value;
	struct pg_yaml_node *node;
	int rc;

	if (strlen(text) != event->data.scalar.length)
		return refuse(loader, event->start_mark, "a text holds the character U+0000");
	rc = add_node(loader, event, PG_YAML_SCALAR, &node);
	if (rc)
		return rc;
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->text = strdup(text);
	if (!node->text)
		return pg_error_set(loader->error, -ENOMEM, "%s: out of memory", loader->name);
	*ret_node = node;
	return 0;
}

static int read_node(struct loader *loader, const yaml_event_t *event, unsigned int depth,
		     struct pg_yaml_node **ret_node);

static int read_list(struct loader *loader, const yaml_event_t *start, unsigned int depth,
		     struct pg_yaml_node **ret_node)
{
	const struct pg_yaml_node **tail;
	struct pg_yaml_node *list, *item;
	int rc;

	rc = add_node(loader, start, PG_YAML_LIST, &list);
	if (rc)
		return rc;
	for (tail = &list->first;; tail = &item->next) {
		PG_CLEANUP(yaml_event_delete) yaml_event_t event = { 0 };

		rc = next_event(loader, &event);
		if (rc)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		rc = read_node(loader, &event, depth, &item);
		if (rc)
			return rc;
		*tail = item;
	}
	*ret_node = list;
	return 0;
}

static int read_value(struct loader *loader, unsigned int depth, struct pg_yaml_node **ret_node)
{
	PG_CLEANUP(yaml_event_delete) yaml_event_t event = { 0 };
	int rc = next_event(loader, &event);

	return rc ? rc : read_node(loader, &event, depth, ret_node);
}

static int read_map(struct loader *loader, const yaml_event_t *start, unsigned int depth,
		    struct pg_yaml_node **ret_node)
{
	struct pg_yaml_node *map, *key, *value;
	const struct pg_yaml_node **tail;
	int rc;

	rc = add_node(loader, start, PG_YAML_MAP, &map);
	if (rc)
		return rc;
	for (tail = &map->first;; tail = &value->next) {
		PG_CLEANUP(yaml_event_delete) yaml_event_t event = { 0 };

		rc = next_event(loader, &event);
		if (rc)
			return rc;
		if (event.type == YAML_MAPPING_END_EVENT)
			break;
		rc = read_node(loader, &event, depth, &key);
		if (rc)
			return rc;
		if (key->kind != PG_YAML_SCALAR)
			return refuse(loader, event.start_mark, "a key must be one word");
		rc = read_value(loader, depth, &value);
		if (rc)
			return rc;
		value->key = key;
		*tail = value;
	}
	*ret_node = map;
	return 0;
}

static bool has_anchor(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor;
	default:
		return event->type == YAML_ALIAS_EVENT;
	}
}

static bool has_tag(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.tag;
	default:
		return false;
	}
}

/* Recursion ends at PG_YAML_DEPTH_MAX. */
static int read_node(struct loader *loader, const yaml_event_t *event, unsigned int depth,
		     struct pg_yaml_node **ret_node)
{
	if (has_anchor(event))
		return refuse(loader, event->start_mark,
			      "anchors (&) and aliases (*) are not supported, write the value out "
			      "or quote the text");
	if (has_tag(event))
		return refuse(loader, event->start_mark,
			      "tags (!) are not supported, leave it out or quote the text");
	if (depth == PG_YAML_DEPTH_MAX)
		return refuse(loader, event->start_mark, "nested too deeply");
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(loader, event, ret_node);
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return read_list(loader, event, depth + 1, ret_node);
	return read_map(loader, event, depth + 1, ret_node);
}

/* Reads one event that the grammar leaves no choice about, but for the end of the stream. */
static int skip_event(struct loader *loader, yaml_event_type_t *ret_type, yaml_mark_t *ret_mark)
{
	PG_CLEANUP(yaml_event_delete) yaml_event_t event = { 0 };
	int rc = next_event(loader, &event);

	if (rc)
		return rc;
	*ret_type = event.type;
	*ret_mark = event.start_mark;
	return 0;
}

static int read_stream(struct loader *loader)
{
	struct pg_yaml_node *root;
	yaml_event_type_t type;
	yaml_mark_t mark;
	int rc;

	rc = skip_event(loader, &type, &mark); /* start of the stream */
	if (!rc)
		rc = skip_event(loader, &type, &mark);
	if (rc)
		return rc;
	if (type == YAML_STREAM_END_EVENT)
		return pg_error_set(loader->error, -EINVAL,
				    "%s:1: the file is empty, write at least \"instance: default\"",
				    loader->name);
	rc = read_value(loader, 0, &root);
	if (!rc)
		rc = skip_event(loader, &type, &mark); /* end of the document */
	if (!rc)
		rc = skip_event(loader, &type, &mark);
	if (rc)
		return rc;
	if (type != YAML_STREAM_END_EVENT)
		return refuse(loader, mark, "a second document begins, the file may hold only one");
	loader->yaml->root = root;
	return 0;
}

int pg_yaml_parse(const char *name, const char *text, size_t bytes, struct pg_yaml **ret_yaml,
		  struct pg_error *error)
{
	PG_CLEANUP(free_yaml) struct pg_yaml *yaml = calloc(1, sizeof(*yaml));
	struct loader loader = { .name = name, .error = error, .yaml = yaml };
	int rc;

	if (!yaml || !yaml_parser_initialize(&loader.parser))
		return pg_error_set(error, -ENOMEM, "%s: out of memory", name);
	yaml_parser_set_encoding(&loader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&loader.parser, (const unsigned char *)text, bytes);
	rc = check_characters(&loader, text, bytes);
	if (!rc)
		rc = read_stream(&loader);
	yaml_parser_delete(&loader.parser);
	if (rc)
		return rc;
	*ret_yaml = TAKE_PTR(yaml);
	return 0;
}
