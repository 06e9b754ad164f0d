// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "cleanup.h"
#include "config.h"
#include "keys.h"
#include "store_internal.h"

#define PAGE_ROWS    256
#define SECRET_LABEL "packgate session secret"
#define SEALED_MAX   (PG_SPLIT_BYTES + PG_MACHINE_KEY_SEAL_BYTES)

int pg_store_insert_row(struct pg_store *store, const struct pg_store_session *row, uint64_t handle,
			const uint8_t *sealed)
{
	int rc;

	rc = PG_SQL_RUN(store, SESSION_ADD, NULL, PG_SQL_INTEGER(handle),
			PG_SQL_INTEGER(row->endpoint_id), PG_SQL_INTEGER(row->client_id),
			PG_SQL_INTEGER(row->server_id), PG_SQL_BLOB(row->peer.address.bytes, 16),
			PG_SQL_INTEGER(row->peer.port), PG_SQL_INTEGER(row->aead),
			PG_SQL_INTEGER(row->policy), PG_SQL_INTEGER(row->flags),
			PG_SQL_INTEGER(row->provisioned),
			PG_SQL_BLOB(sealed, row->ikm_bytes + PG_MACHINE_KEY_SEAL_BYTES),
			PG_SQL_INTEGER(row->created_ms), PG_SQL_INTEGER(row->expires_ms),
			PG_SQL_INTEGER(row->tx_bound), PG_SQL_INTEGER(row->rx_bound),
			PG_SQL_INTEGER(row->stream_bound), PG_SQL_TEXT(row->user),
			PG_SQL_INTEGER(row->guard));
	return rc < 0 ? rc : 0;
}

struct endpoint_arguments {
	const char *name;
	uint32_t id;
};

static int run_endpoint(struct pg_store *store, void *arguments, struct pg_error *error)
{
	struct endpoint_arguments *endpoint = arguments;
	int64_t id = 0;
	int rc;

	rc = PG_SQL_RUN(store, ENDPOINT_FIND, &id, PG_SQL_TEXT(endpoint->name));
	if (!rc)
		rc = PG_SQL_RUN(store, ENDPOINT_ADD, &id, PG_SQL_TEXT(endpoint->name));
	if (rc < 0)
		return rc;
	if (id < 1 || id > UINT32_MAX)
		return pg_error_set(error, -ENOSPC, "the store %s has no endpoint id left for %s",
				    store->shown_path, endpoint->name);
	endpoint->id = (uint32_t)id;
	return 0;
}

int pg_store_endpoint_id(struct pg_store *store, const char *name, uint32_t *ret_id,
			 struct pg_error *error)
{
	struct endpoint_arguments arguments = { .name = name };
	struct pg_store_request request = {
		.attempt = "find or add an endpoint in",
		.run = run_endpoint,
		.arguments = &arguments,
	};
	int rc;

	if (!*name || strlen(name) >= PG_CONFIG_NAME_MAX)
		return pg_error_set(error, -EINVAL, "the name of an endpoint has 1 to %d bytes",
				    PG_CONFIG_NAME_MAX - 1);
	rc = pg_store_submit(store, &request, error);
	if (!rc)
		*ret_id = arguments.id;
	return rc;
}

/* What the calling thread computes of a row before it asks the store thread. */
struct prepared {
	uint8_t hash[PG_MACHINE_KEY_HASH_BYTES];
	uint8_t sealed[SEALED_MAX];
};

struct add_arguments {
	const struct pg_store_session *rows;
	const struct prepared *prepared;
	size_t count;
	uint64_t first_handle;
	size_t failed; /* the row that was refused */
};

static int refuse_row(const struct pg_store_session *row, size_t index, int rc, const char *why,
		      struct pg_error *error)
{
	return pg_error_set(error, rc,
			    "cannot add the session of client id 0x%04x and server id 0x%04x (row "
			    "%zu): %s",
			    row->client_id, row->server_id, index + 1, why);
}

static int check_row(const struct pg_store_session *row, size_t index, struct pg_error *error)
{
	const char *why = NULL;

	if (!row->client_id || !row->server_id)
		why = "an id is 0";
	else if (row->ikm_bytes != (row->provisioned ? PG_SECRET_BYTES : PG_SPLIT_BYTES))
		why = row->provisioned ? "its secret is not of 32 bytes"
				       : "its keys are not of 64 bytes";
	else if (row->guard != 0 && row->guard != 1)
		why = "its guard is neither on nor off";
	else if (row->tx_bound > INT64_MAX || row->rx_bound > INT64_MAX ||
		 row->stream_bound > INT64_MAX)
		why = "a bound is out of range";
	else if (row->created_ms > INT64_MAX || row->expires_ms > INT64_MAX)
		why = "a time is out of range";
	else if (!memchr(row->user, 0, sizeof(row->user)))
		why = "its user's name is too long";
	return why ? refuse_row(row, index, -EINVAL, why, error) : 0;
}

/* The secret's public name is hashed under the machine's key: the table tells a thief nothing. */
static int hash_secret(const struct pg_store *store, const struct pg_store_session *row,
		       uint8_t ret_hash[PG_MACHINE_KEY_HASH_BYTES])
{
	uint8_t id[PG_SECRET_ID_BYTES];
	int rc;

	rc = pg_keys_secret_id(row->ikm, row->ikm_bytes, id);
	return rc ? rc : pg_machine_key_hash(store->key, id, sizeof(id), ret_hash);
}

static int prepare_rows(const struct pg_store *store, const struct add_arguments *add,
			struct prepared *ret_prepared, struct pg_error *error)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < add->count && !rc; i++) {
		const struct pg_store_session *row = &add->rows[i];

		rc = pg_machine_key_seal(store->key, SECRET_LABEL, add->first_handle + i, row->ikm,
					 row->ikm_bytes, ret_prepared[i].sealed);
		if (!rc && row->provisioned)
			rc = hash_secret(store, row, ret_prepared[i].hash);
	}
	if (rc)
		pg_error_set(error, rc, "cannot seal the secret of a session: %s", strerror(-rc));
	return rc;
}

static int run_add(struct pg_store *store, void *arguments, struct pg_error *error)
{
	struct add_arguments *add = arguments;
	const struct pg_store_session *row = add->rows;
	size_t i;
	int rc;

	for (i = 0; i < add->count; i++, row++) {
		add->failed = i;
		rc = 0;
		if (row->provisioned)
			rc = PG_SQL_RUN(
				store, SECRET_ADD, NULL,
				PG_SQL_BLOB(add->prepared[i].hash, sizeof(add->prepared[i].hash)));
		if (rc == -EEXIST)
			return refuse_row(row, i, rc,
					  "its secret was provisioned before, and a secret serves "
					  "one session only: make a new one",
					  error);
		if (rc >= 0)
			rc = pg_store_insert_row(store, row, add->first_handle + i,
						 add->prepared[i].sealed);
		if (rc == -EEXIST)
			return refuse_row(row, i, rc, "these ids belong to another session", error);
		if (rc == -ENOENT)
			return refuse_row(row, i, rc, "there is no such endpoint", error);
		if (rc)
			return rc;
	}
	return 0;
}

static int add_prepared(struct pg_store *store, struct add_arguments *add, struct pg_error *error)
{
	PG_FREE struct prepared *prepared = malloc(add->count * sizeof(*prepared));
	struct pg_store_request request = {
		.attempt = "add sessions to",
		.run = run_add,
		.arguments = add,
	};
	int rc;

	if (!prepared)
		return pg_error_set(error, -ENOMEM, "cannot add %zu sessions: out of memory",
				    add->count);
	rc = prepare_rows(store, add, prepared, error);
	if (rc)
		return rc;
	add->prepared = prepared;
	return pg_store_submit(store, &request, error);
}

int pg_store_add(struct pg_store *store, struct pg_store_session *rows, size_t count,
		 size_t *ret_failed_index, struct pg_error *error)
{
	struct add_arguments add = { .rows = rows, .count = count };
	size_t i;
	int rc = 0;

	if (!count || count > PG_STORE_ADD_MAX)
		return pg_error_set(error, count ? -E2BIG : -EINVAL,
				    "cannot add %zu sessions at once: 1 to %d are allowed", count,
				    PG_STORE_ADD_MAX);
	for (i = 0; i < count && !rc; i++) {
		add.failed = i;
		rc = check_row(&rows[i], i, error);
	}
	if (!rc) {
		add.first_handle = atomic_fetch_add(&store->next_handle, count);
		rc = add_prepared(store, &add, error);
	}
	if (ret_failed_index && (rc == -EINVAL || rc == -EEXIST || rc == -ENOENT))
		*ret_failed_index = add.failed;
	for (i = 0; i < count && !rc; i++)
		rows[i].handle = add.first_handle + i;
	return rc;
}

uint64_t pg_store_new_handle(struct pg_store *store)
{
	return atomic_fetch_add(&store->next_handle, 1);
}

int pg_store_add_async(struct pg_store *store, const struct pg_store_session *row)
{
	uint8_t sealed[PG_SPLIT_BYTES + PG_MACHINE_KEY_SEAL_BYTES];
	struct pg_store_operation *operation;
	int rc;

	if (row->provisioned || check_row(row, 0, NULL))
		return -EINVAL;
	rc = pg_machine_key_seal(store->key, SECRET_LABEL, row->handle, row->ikm, row->ikm_bytes,
				 sealed);
	if (!rc)
		rc = pg_store_post_begin(store, row->handle, &operation);
	if (rc)
		return rc;
	operation->type = OPERATION_ADD;
	operation->add.row = *row;
	OPENSSL_cleanse(operation->add.row.ikm, sizeof(operation->add.row.ikm));
	memcpy(operation->add.sealed, sealed, sizeof(sealed));
	pthread_mutex_unlock(&store->lock);
	return 0;
}

static int run_remove(struct pg_store *store, void *arguments, struct pg_error *error)
{
	uint64_t handle = *(uint64_t *)arguments;
	int rc;

	rc = PG_SQL_RUN(store, SESSION_REMOVE, NULL, PG_SQL_INTEGER(handle));
	if (rc)
		return rc < 0 ? rc : 0;
	return pg_error_set(error, -ENOENT, "cannot remove session %llu: the store %s has none",
			    (unsigned long long)handle, store->shown_path);
}

int pg_store_remove(struct pg_store *store, uint64_t handle, struct pg_error *error)
{
	struct pg_store_request request = {
		.attempt = "remove a session from",
		.run = run_remove,
		.arguments = &handle,
	};

	return pg_store_submit(store, &request, error);
}

struct stored {
	struct pg_store_session session;
	uint8_t sealed[SEALED_MAX];
	size_t sealed_bytes;
	uint8_t window[PG_STORE_WINDOW_BYTES];
};

struct page {
	uint64_t after; /* handles above it */
	size_t count;
	struct stored rows[PAGE_ROWS];
};

/* Copies a blob of at most room bytes. */
static bool column_blob(sqlite3_stmt *statement, int column, uint8_t *bytes, size_t room,
			size_t *ret_count)
{
	const void *blob = sqlite3_column_blob(statement, column);
	size_t count = (size_t)sqlite3_column_bytes(statement, column);

	if (count > room || (count && !blob))
		return false;
	if (count)
		memcpy(bytes, blob, count);
	*ret_count = count;
	return true;
}

/* The columns in the order of SESSION_PAGE; the schema's checks hold the numbers in range. */
static int read_row(sqlite3_stmt *statement, struct stored *row)
{
	struct pg_store_session *session = &row->session;
	size_t peer_bytes, user_bytes;

	memset(row, 0, sizeof(*row));
	session->handle = (uint64_t)sqlite3_column_int64(statement, 0);
	session->endpoint_id = (uint32_t)sqlite3_column_int64(statement, 1);
	session->client_id = (uint16_t)sqlite3_column_int(statement, 2);
	session->server_id = (uint16_t)sqlite3_column_int(statement, 3);
	session->peer.port = (uint16_t)sqlite3_column_int(statement, 5);
	session->aead = (uint8_t)sqlite3_column_int(statement, 6);
	session->policy = (uint8_t)sqlite3_column_int(statement, 7);
	session->flags = (uint32_t)sqlite3_column_int64(statement, 8);
	session->provisioned = sqlite3_column_int(statement, 9);
	session->created_ms = (uint64_t)sqlite3_column_int64(statement, 11);
	session->expires_ms = (uint64_t)sqlite3_column_int64(statement, 12);
	session->tx_bound = (uint64_t)sqlite3_column_int64(statement, 13);
	session->rx_bound = (uint64_t)sqlite3_column_int64(statement, 14);
	session->stream_bound = (uint64_t)sqlite3_column_int64(statement, 15);
	session->guard = sqlite3_column_type(statement, 18) == SQLITE_NULL
				 ? PG_STORE_GUARD_UNKNOWN
				 : (int8_t)sqlite3_column_int(statement, 18);
	if (!column_blob(statement, 4, session->peer.address.bytes, 16, &peer_bytes) ||
	    !column_blob(statement, 10, row->sealed, sizeof(row->sealed), &row->sealed_bytes) ||
	    !column_blob(statement, 16, row->window, sizeof(row->window), &session->window_bytes) ||
	    !column_blob(statement, 17, (uint8_t *)session->user, sizeof(session->user) - 1,
			 &user_bytes))
		return -EUCLEAN;
	return 0;
}

static int run_page(struct pg_store *store, void *arguments, struct pg_error *error)
{
	sqlite3_stmt *statement = store->statements[PG_SQL_SESSION_PAGE];
	const struct pg_sql_value values[] = { PG_SQL_INTEGER(((struct page *)arguments)->after),
					       PG_SQL_INTEGER(PAGE_ROWS) };
	struct page *page = arguments;
	int step, rc = 0;

	page->count = 0;
	step = pg_sql_bind(statement, values, 2);
	if (step == SQLITE_OK)
		step = sqlite3_step(statement);
	for (; step == SQLITE_ROW && !rc; step = sqlite3_step(statement))
		rc = read_row(statement, &page->rows[page->count++]);
	if (!rc && step != SQLITE_DONE)
		rc = pg_sql_errno(store->db);
	sqlite3_reset(statement);
	return rc;
}

/* Hands a row out with its secret open; nothing of the secret stays behind. */
static int visit_row(struct pg_store *store, struct stored *row, pg_store_session_fn *callback,
		     void *context, struct pg_error *error)
{
	struct pg_store_session *session = &row->session;
	int rc;

	session->ikm_bytes = session->provisioned ? PG_SECRET_BYTES : PG_SPLIT_BYTES;
	session->window = session->window_bytes ? row->window : NULL;
	rc = row->sealed_bytes == session->ikm_bytes + PG_MACHINE_KEY_SEAL_BYTES ? 0 : -EBADMSG;
	if (!rc)
		rc = pg_machine_key_unseal(store->key, SECRET_LABEL, session->handle, row->sealed,
					   row->sealed_bytes, session->ikm);
	if (rc)
		pg_error_set(error, rc,
			     "cannot open the secret of session %llu (client id 0x%04x, server id "
			     "0x%04x) in the store %s: the row was changed or moved; delete it "
			     "from the table sessions and provision the session anew",
			     (unsigned long long)session->handle, session->client_id,
			     session->server_id, store->shown_path);
	else
		rc = callback(context, session);
	OPENSSL_cleanse(session->ikm, sizeof(session->ikm));
	return rc;
}

/* A page, and the request that fills it. */
struct reading {
	struct pg_store_request request;
	struct page page;
};

static int begin_page(struct pg_store *store, struct reading *reading, uint64_t after,
		      struct pg_error *error)
{
	reading->page.after = after;
	reading->request = (struct pg_store_request){
		.attempt = "read the sessions of",
		.run = run_page,
		.arguments = &reading->page,
	};
	return pg_store_begin(store, &reading->request, error);
}

static int visit_page(struct pg_store *store, struct page *page, pg_store_session_fn *callback,
		      void *context, struct pg_error *error)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < page->count; i++)
		rc = visit_row(store, &page->rows[i], callback, context, error);
	return rc;
}

/* The store thread reads a page while the caller's opens and takes the rows of the one before. */
int pg_store_sessions(struct pg_store *store, pg_store_session_fn *callback, void *context,
		      struct pg_error *error)
{
	PG_FREE struct reading *two = calloc(2, sizeof(*two));
	struct reading *now = two, *next = two + 1, *filled;
	bool more;
	int rc;

	if (!two)
		return pg_error_set(error, -ENOMEM, "cannot read the sessions: out of memory");
	rc = begin_page(store, now, 0, error);
	more = !rc;
	while (more) {
		rc = pg_store_await(store, &now->request, error);
		more = !rc && now->page.count == PAGE_ROWS;
		if (more) {
			rc = begin_page(store, next, now->page.rows[PAGE_ROWS - 1].session.handle,
					error);
			more = !rc;
		}
		if (!rc)
			rc = visit_page(store, &now->page, callback, context, error);
		if (rc && more) {
			pg_store_await(store, &next->request, NULL);
			more = false;
		}
		filled = now;
		now = next;
		next = filled;
	}
	return rc;
}
