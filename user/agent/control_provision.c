// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "aead.h"
#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"

#define SECRET_BYTES 32

/* The sessions of one request; the texts of the rows belong to the trees. */
struct batch {
	struct pg_session_request *rows;
	json_t **trees;
	size_t *positions; /* of each row in the request: line, or place in the array; from 1 */
	size_t count, room;
	bool lines;
};

static void batch_done(struct batch *batch)
{
	size_t i;

	for (i = 0; i < batch->count; i++)
		json_decref(batch->trees[i]);
	if (batch->rows)
		OPENSSL_cleanse(batch->rows, batch->room * sizeof(*batch->rows));
	free(batch->rows);
	free(batch->trees);
	free(batch->positions);
}

/* Every row but a refused last one holds the digits of a secret, so the body bounds the rows. */
static int batch_init(struct batch *batch, size_t room, struct pg_error *error)
{
	batch->rows = calloc(room, sizeof(*batch->rows));
	batch->trees = calloc(room, sizeof(*batch->trees));
	batch->positions = calloc(room, sizeof(*batch->positions));
	batch->room = room;
	if (batch->rows && batch->trees && batch->positions)
		return 0;
	return pg_error_set(error, -ENOMEM, "add sessions: out of memory");
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The text of a secret is never repeated in a sentence. */
static int read_secret(const json_t *root, uint8_t secret[SECRET_BYTES], struct pg_error *error)
{
	const char *text;
	int rc, i;

	rc = pg_json_text(root, "secret", &text, error);
	if (rc)
		return rc;
	if (strlen(text) != 2 * SECRET_BYTES)
		return pg_error_set(error, -EINVAL, "\"secret\" must be 64 hex digits");
	for (i = 0; i < SECRET_BYTES; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return pg_error_set(error, -EINVAL, "\"secret\" must be 64 hex digits");
		secret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int read_aead(const json_t *root, uint8_t *ret_aead, struct pg_error *error)
{
	enum pg_aead_algorithm algorithm = PG_AEAD_CHACHA20_POLY1305;
	const char *text;
	int rc;

	if (json_object_get(root, "aead")) {
		rc = pg_json_text(root, "aead", &text, error);
		if (rc)
			return rc;
		if (pg_aead_algorithm_parse(text, &algorithm))
			return pg_error_set(error, -EINVAL,
					    "\"aead\" must be chacha20-poly1305 or aes-256-gcm");
	}
	*ret_aead = (uint8_t)algorithm;
	return 0;
}

static int read_ids(const json_t *root, struct pg_session_request *row, struct pg_error *error)
{
	uint64_t client, server, expires = 0;
	int rc;

	rc = pg_json_number(root, "client_id", 1, UINT16_MAX, &client, error);
	if (!rc)
		rc = pg_json_number(root, "server_id", 1, UINT16_MAX, &server, error);
	if (!rc && json_object_get(root, "expires"))
		rc = pg_json_number(root, "expires", 0, UINT32_MAX, &expires, error);
	if (rc)
		return rc;
	row->client_id = (uint16_t)client;
	row->server_id = (uint16_t)server;
	row->expires_seconds = (uint32_t)expires;
	return 0;
}

static int read_row(const json_t *root, struct pg_session_request *row, struct pg_error *error)
{
	static const char *const names[] = { "endpoint", "client_id", "server_id", "peer",
					     "secret",	 "aead",      "expires",   NULL };
	const char *peer;
	int rc;

	rc = pg_json_check_keys(root, names, error);
	if (!rc)
		rc = pg_json_text(root, "endpoint", &row->endpoint, error);
	if (!rc)
		rc = read_ids(root, row, error);
	if (!rc)
		rc = pg_json_text(root, "peer", &peer, error);
	if (!rc)
		rc = pg_address_parse_peer(peer, &row->peer, error);
	if (!rc)
		rc = read_secret(root, row->secret, error);
	return rc ? rc : read_aead(root, &row->aead, error);
}

static int batch_add(struct batch *batch, json_t *tree, size_t position, struct pg_error *error)
{
	struct pg_session_request *row = &batch->rows[batch->count];

	batch->trees[batch->count] = json_incref(tree);
	batch->positions[batch->count++] = position;
	return read_row(tree, row, error);
}

static int read_lines(struct batch *batch, const char *text, size_t bytes, size_t *ret_position,
		      struct pg_error *error)
{
	const char *end = text + bytes;

	for (*ret_position = 1; text < end; ++*ret_position) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((newline ? newline : end) - text);
		PG_JSON json_t *tree = NULL;
		int rc;

		if (length && strspn(text, " \t\r") < length) {
			rc = pg_json_parse(text, length, &tree, error);
			if (!rc)
				rc = batch_add(batch, tree, *ret_position, error);
			if (rc)
				return rc;
		}
		text += length + 1;
	}
	return 0;
}

static int read_document(struct batch *batch, const char *text, size_t bytes, size_t *ret_position,
			 struct pg_error *error)
{
	PG_JSON json_t *tree = NULL;
	json_t *row;
	size_t i;
	int rc;

	*ret_position = 0;
	rc = pg_json_parse(text, bytes, &tree, error);
	if (rc)
		return rc;
	if (!json_is_array(tree))
		return batch_add(batch, tree, 1, error);
	json_array_foreach (tree, i, row) {
		*ret_position = i + 1;
		rc = batch_add(batch, row, i + 1, error);
		if (rc)
			return rc;
	}
	return 0;
}

/* A refusal that says which row it is about. */
static int refuse_row(const struct batch *batch, size_t position, int rc,
		      struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_error whole = *error;

	if (!position)
		return rc;
	pg_error_prefix(&whole, rc, "%s %zu", batch->lines ? "line" : "session", position);
	answer->status = pg_http_status(rc);
	return pg_json_answer(
		answer, json_pack("{s:s, s:I}", "error", whole.text, "row", (json_int_t)position),
		error);
}

static int answer_added(const struct batch *batch, const uint64_t *handles,
			struct pg_http_answer *answer, struct pg_error *error)
{
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < batch->count; i++) {
		const struct pg_session_request *row = &batch->rows[i];
		char id[9];

		snprintf(id, sizeof(id), "%04x%04x", row->client_id, row->server_id);
		json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:s, s:I}", "session", id,
						      "client_id", row->client_id, "server_id",
						      row->server_id, "endpoint", row->endpoint,
						      "handle", (json_int_t)handles[i]));
	}
	return pg_json_answer(answer, json_pack("{s:o}", "sessions", rows), error);
}

static int add_batch(struct pg_agent *agent, const struct batch *batch,
		     struct pg_http_answer *answer, struct pg_error *error)
{
	PG_FREE uint64_t *handles = calloc(batch->count, sizeof(*handles));
	size_t failed = 0;
	int rc;

	if (!handles)
		return pg_error_set(error, -ENOMEM, "add sessions: out of memory");
	rc = pg_agent_session_add(agent, batch->rows, batch->count, handles, &failed, error);
	if (!rc)
		return answer_added(batch, handles, answer, error);
	if (batch->count == 1 || failed >= batch->count)
		return rc;
	return refuse_row(batch, batch->positions[failed], rc, answer, error);
}

int pg_control_session_add(void *agent, const struct pg_http_request *request,
			   struct pg_http_answer *answer, struct pg_error *error)
{
	PG_CLEANUP(batch_done) struct batch batch = { 0 };
	size_t position = 0;
	int rc;

	batch.lines = !strncmp(request->content_type, "application/x-ndjson", 20);
	rc = batch_init(&batch, request->body_bytes / (2 * SECRET_BYTES) + 1, error);
	if (rc)
		return rc;
	rc = batch.lines
		     ? read_lines(&batch, request->body, request->body_bytes, &position, error)
		     : read_document(&batch, request->body, request->body_bytes, &position, error);
	if (rc)
		return refuse_row(&batch, position, rc, answer, error);
	if (!batch.count)
		return pg_error_set(error, -EINVAL, "the request holds no session");
	return add_batch(agent, &batch, answer, error);
}
