// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "aead.h"
#include "cleanup.h"
#include "control_json.h"
#include "control_routes.h"
#include "control_words.h"

static json_t *session_json(const struct pg_session_status *row)
{
	char id[9];

	snprintf(id, sizeof(id), "%08x", row->session);
	return json_pack(
		"{s:s, s:i, s:i, s:I, s:s, s:o, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:o, s:o, s:o, s:s?}",
		"session", id, "client_id", (int)(row->session >> 16), "server_id",
		(int)(row->session & 0xffff), "handle", (json_int_t)row->handle, "endpoint",
		row->endpoint, "peer", pg_json_peer(&row->peer), "state",
		pg_session_state_word(row->state), "policy", pg_policy_word(row->policy), "aead",
		pg_aead_word(row->aead), "guard", row->guard, "worker", (json_int_t)row->worker,
		"streams", (json_int_t)row->streams, "highest_received",
		(json_int_t)row->highest_received, "next_deliver", (json_int_t)row->next_deliver,
		"next_send", (json_int_t)row->next_send, "frames_in", (json_int_t)row->frames_in,
		"bytes_in", (json_int_t)row->bytes_in, "frames_out", (json_int_t)row->frames_out,
		"bytes_out", (json_int_t)row->bytes_out, "rejected", (json_int_t)row->rejected,
		"gaps", (json_int_t)row->gaps, "avg_retry_ratio", row->avg_retry_ratio,
		"round_trip_ms", (json_int_t)row->round_trip_ms, "last_active_ms",
		pg_json_time(row->last_active_ms), "created_ms", pg_json_time(row->created_ms),
		"expires_ms", pg_json_time(row->expires_ms), "user", row->user);
}

/* context: the name of the only endpoint to show, or NULL. */
static json_t *session_row(const void *rows, size_t index, void *context)
{
	const struct pg_session_status *row = (const struct pg_session_status *)rows + index;

	if (context && strcmp(row->endpoint, context))
		return NULL;
	return session_json(row);
}

static int check_endpoint(struct pg_agent *agent, const char *name, struct pg_error *error)
{
	const struct pg_config *config = pg_agent_config_get(agent);
	bool found = false;
	size_t i;

	for (i = 0; i < config->endpoint_count; i++)
		found |= !strcmp(config->endpoints[i].name, name);
	pg_agent_config_put(agent);
	return found ? 0 : pg_error_set(error, -ENOENT, "no endpoint is named %.40s", name);
}

int pg_control_sessions(void *agent, const struct pg_http_request *request,
			struct pg_http_answer *answer, struct pg_error *error)
{
	const char *endpoint = pg_http_query(request, "endpoint");
	struct pg_session_status *rows = NULL;
	size_t count = 0;
	int rc;

	rc = endpoint ? check_endpoint(agent, endpoint, error) : 0;
	if (rc)
		return rc;
	rc = pg_agent_sessions(agent, &rows, &count);
	if (rc)
		return pg_error_set(error, rc, "list the sessions: %s", strerror(-rc));
	rc = pg_json_answer_rows(answer, "sessions", count, session_row, rows, (void *)endpoint,
				 error);
	pg_agent_sessions_free(rows, count);
	return rc;
}

static int parse_id(const char *text, uint32_t *ret_session, struct pg_error *error)
{
	if (strlen(text) != 8 || text[strspn(text, "0123456789abcdefABCDEF")])
		return pg_error_set(error, -EINVAL,
				    "\"%.40s\" is not a session id: 8 hex digits, client id and "
				    "server id",
				    text);
	*ret_session = (uint32_t)strtoul(text, NULL, 16);
	return 0;
}

static int no_session(uint32_t session, int rc, struct pg_error *error)
{
	if (rc == -ENOENT)
		return pg_error_set(error, rc, "no living session has the id %08x", session);
	return pg_error_set(error, rc, "look up session %08x: %s", session, strerror(-rc));
}

int pg_control_session_show(void *agent, const struct pg_http_request *request,
			    struct pg_http_answer *answer, struct pg_error *error)
{
	struct pg_session_status row;
	uint32_t session;
	int rc;

	rc = parse_id(request->args[0], &session, error);
	if (rc)
		return rc;
	rc = pg_agent_session_show(agent, session, &row);
	if (rc)
		return no_session(session, rc, error);
	rc = pg_json_answer(answer, session_json(&row), error);
	free(row.user);
	return rc;
}

static int parse_code(const char *word, uint8_t *ret_code, struct pg_error *error)
{
	static const char *const words[] = { "normal", "error", "expired" };
	uint8_t i;

	for (i = 0; i < 3; i++) {
		if (strcmp(word, words[i]))
			continue;
		*ret_code = i;
		return 0;
	}
	return pg_error_set(error, -EINVAL, "code must be normal, error or expired, not \"%.40s\"",
			    word);
}

int pg_control_session_close(void *agent, const struct pg_http_request *request,
			     struct pg_http_answer *answer, struct pg_error *error)
{
	const char *word = pg_http_query(request, "code");
	uint8_t code = PG_GOAWAY_NORMAL;
	uint32_t session;
	char id[9];
	int rc;

	rc = parse_id(request->args[0], &session, error);
	if (!rc && word)
		rc = parse_code(word, &code, error);
	if (!rc)
		rc = pg_agent_session_close(agent, session, code, error);
	if (rc)
		return rc;
	snprintf(id, sizeof(id), "%08x", session);
	return pg_json_answer(answer, json_pack("{s:s}", "closed", id), error);
}

/* --- streams -----------------------------------------------------------------------------------
 */

static json_t *stream_row(const void *rows, size_t index, void *context)
{
	const struct pg_stream_status *row = (const struct pg_stream_status *)rows + index;
	char id[9];

	snprintf(id, sizeof(id), "%08x", row->session);
	return json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:I}", "session", id, "stream",
			 (json_int_t)row->stream, "state", pg_stream_state_word(row->state),
			 "policy", pg_policy_word(row->policy), "highest_received",
			 (json_int_t)row->highest_received, "next_deliver",
			 (json_int_t)row->next_deliver, "next_send", (json_int_t)row->next_send);
}

int pg_control_streams(void *agent, const struct pg_http_request *request,
		       struct pg_http_answer *answer, struct pg_error *error)
{
	const char *text = pg_http_query(request, "session");
	PG_FREE struct pg_stream_status *rows = NULL;
	struct pg_session_status owner = { 0 };
	uint32_t session = 0;
	size_t count = 0;
	int rc;

	rc = text ? parse_id(text, &session, error) : 0;
	if (rc)
		return rc;
	rc = text ? pg_agent_session_show(agent, session, &owner) : 0;
	free(owner.user);
	if (!rc)
		rc = pg_agent_streams(agent, session, &rows, &count);
	if (rc)
		return no_session(session, rc, error);
	return pg_json_answer_rows(answer, "streams", count, stream_row, rows, NULL, error);
}
