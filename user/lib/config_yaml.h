/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONFIG_YAML_H
#define PG_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/*
 * The small part of YAML that a configuration needs, as a tree that knows its lines: one document
 * of mappings, lists and scalars. Anchors, aliases, tags and directives are refused, so a value
 * stands where it is read and is the text that was written; no scalar is ever taken for a boolean
 * or a null.
 */

#define PG_YAML_DEPTH_MAX 8
#define PG_YAML_NODES_MAX 16384

enum pg_yaml_kind {
	PG_YAML_SCALAR,
	PG_YAML_LIST,
	PG_YAML_MAP,
};

struct pg_yaml_node {
	enum pg_yaml_kind kind;
	unsigned int line;		  /* from 1 */
	bool quoted;			  /* scalar: not a plain one */
	char *text;			  /* scalar: valid UTF-8 without NUL; NULL otherwise */
	const struct pg_yaml_node *first; /* list, map: first child */
	const struct pg_yaml_node *next;  /* next child of the same parent */
	const struct pg_yaml_node *key;	  /* child of a map: its key, a scalar */
	struct pg_yaml_node *allocated;	  /* next node to free */
};

struct pg_yaml {
	const struct pg_yaml_node *root;
	struct pg_yaml_node *allocated;
	size_t nodes;
};

/*
 * Parses a text; name stands in front of "LINE: reason" in every sentence. Returns 0, -EINVAL for
 * a text that is not acceptable, an empty one included, or -ENOMEM. Free with pg_yaml_free.
 */
int pg_yaml_parse(const char *name, const char *text, size_t bytes, struct pg_yaml **ret_yaml,
		  struct pg_error *error);

void pg_yaml_free(struct pg_yaml *yaml);

/* The value of the first such key of a map; NULL if there is none or map is NULL or not a map. */
const struct pg_yaml_node *pg_yaml_find(const struct pg_yaml_node *map, const char *key);

#endif
