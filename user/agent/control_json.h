/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONTROL_JSON_H
#define PG_CONTROL_JSON_H

#include <jansson.h>

#include "address.h"
#include "http.h"

static inline void pg_cleanup_json(json_t **root)
{
	json_decref(*root);
}

#define PG_JSON PG_CLEANUP(pg_cleanup_json)

/* Answers with a JSON value, which is taken; root NULL means that memory ran out (-ENOMEM). */
int pg_json_answer(struct pg_http_answer *answer, json_t *root, struct pg_error *error);

/*
 * Answers {name: [...]} with one row after the other, so that only text is held at once. row gives
 * a new value, or NULL to leave the row away.
 */
int pg_json_answer_rows(struct pg_http_answer *answer, const char *name, size_t count,
			json_t *(*row)(const void *rows, size_t index, void *context),
			const void *rows, void *context, struct pg_error *error);

/* Reads a whole text; -EINVAL with the position of the mistake. */
int pg_json_parse(const char *text, size_t bytes, json_t **ret_root, struct pg_error *error);

/* -EINVAL unless root is an object whose keys are all among names (ended by NULL). */
int pg_json_check_keys(const json_t *root, const char *const *names, struct pg_error *error);

/* -EINVAL with a sentence if the key is missing or its value of another kind. */
int pg_json_text(const json_t *object, const char *key, const char **ret_text,
		 struct pg_error *error);

/* A number, or a text of it, decimal or 0x; within min and max. */
int pg_json_number(const json_t *object, const char *key, uint64_t min, uint64_t max,
		   uint64_t *ret_number, struct pg_error *error);

/* New values: null for 0; "A.B.C.D:PORT". */
json_t *pg_json_time(uint64_t unix_ms);
json_t *pg_json_peer(const struct pg_peer *peer);

#endif
