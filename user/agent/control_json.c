// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "control_json.h"

static int out_of_memory(struct pg_error *error)
{
	return pg_error_set(error, -ENOMEM, "answer the request: out of memory");
}

int pg_json_answer(struct pg_http_answer *answer, json_t *root, struct pg_error *error)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	if (!text)
		return out_of_memory(error);
	answer->body = text;
	answer->body_bytes = strlen(text);
	return 0;
}

static bool write_rows(FILE *file, size_t count,
		       json_t *(*row)(const void *rows, size_t index, void *context),
		       const void *rows, void *context)
{
	bool first = true;
	size_t i;

	for (i = 0; i < count; i++) {
		PG_JSON json_t *value = row(rows, i, context);

		if (!value)
			continue;
		if (!first)
			fputc(',', file);
		first = false;
		if (json_dumpf(value, file, JSON_COMPACT))
			return false;
	}
	return true;
}

int pg_json_answer_rows(struct pg_http_answer *answer, const char *name, size_t count,
			json_t *(*row)(const void *rows, size_t index, void *context),
			const void *rows, void *context, struct pg_error *error)
{
	PG_FREE char *text = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&text, &bytes);
	bool good;

	if (!file)
		return out_of_memory(error);
	fprintf(file, "{\"%s\":[", name);
	good = write_rows(file, count, row, rows, context);
	fputs("]}", file);
	if (fclose(file) || !good)
		return out_of_memory(error);
	answer->body = TAKE_PTR(text);
	answer->body_bytes = bytes;
	return 0;
}

int pg_json_parse(const char *text, size_t bytes, json_t **ret_root, struct pg_error *error)
{
	json_error_t why;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);

	if (!root)
		return pg_error_set(error, -EINVAL, "malformed JSON at line %d, column %d: %s",
				    why.line, why.column, why.text);
	*ret_root = root;
	return 0;
}

int pg_json_check_keys(const json_t *root, const char *const *names, struct pg_error *error)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!json_is_object(root))
		return pg_error_set(error, -EINVAL, "expected a JSON object");
	json_object_foreach ((json_t *)root, key, value) {
		for (i = 0; names[i] && strcmp(names[i], key); i++)
			continue;
		if (!names[i])
			return pg_error_set(error, -EINVAL, "unknown key \"%.40s\"", key);
	}
	return 0;
}

int pg_json_text(const json_t *object, const char *key, const char **ret_text,
		 struct pg_error *error)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		return pg_error_set(error, -EINVAL, "the key \"%s\" is missing", key);
	if (!json_is_string(value))
		return pg_error_set(error, -EINVAL, "\"%s\" must be a text", key);
	*ret_text = json_string_value(value);
	return 0;
}

static bool read_number(const json_t *value, uint64_t *ret_number)
{
	const char *text = json_string_value(value);
	bool hex = text && text[0] == '0' && text[1] == 'x';
	const char *digits = hex ? text + 2 : text;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*ret_number = (uint64_t)json_integer_value(value);
		return true;
	}
	if (!text || !*digits || strlen(digits) > 18 ||
	    digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")])
		return false;
	*ret_number = strtoull(digits, NULL, hex ? 16 : 10);
	return true;
}

int pg_json_number(const json_t *object, const char *key, uint64_t min, uint64_t max,
		   uint64_t *ret_number, struct pg_error *error)
{
	const json_t *value = json_object_get(object, key);
	uint64_t number;

	if (!value)
		return pg_error_set(error, -EINVAL, "the key \"%s\" is missing", key);
	if (!read_number(value, &number) || number < min || number > max)
		return pg_error_set(error, -EINVAL,
				    "\"%s\" must be a whole number from %llu to %llu", key,
				    (unsigned long long)min, (unsigned long long)max);
	*ret_number = number;
	return 0;
}

json_t *pg_json_time(uint64_t unix_ms)
{
	return unix_ms ? json_integer((json_int_t)unix_ms) : json_null();
}

json_t *pg_json_peer(const struct pg_peer *peer)
{
	char text[PG_PEER_TEXT];

	return json_string(pg_address_print_peer(peer, text));
}
