// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <sqlite3.h>

#include "cleanup.h"
#include "config.h"
#include "keys.h"
#include "machine_key.h"
#include "store.h"

#define DATABASE_FILE	   "store.db"
#define LOCK_FILE	   "lock"
#define APPLICATION_ID	   0x70676174 /* "pgat" */
#define COMMIT_INTERVAL_NS 10000000
#define BUSY_MS		   200
#define PAGE_ROWS	   128
#define PEER_INDEX	   256
#define PATH_TAIL	   96
#define SECRET_LABEL	   "packgate session secret"
#define SEALED_MAX	   (PG_SPLIT_BYTES + PG_MACHINE_KEY_SEAL_BYTES)

/* migrations[v] leads from schema version v to v + 1; PRAGMA user_version counts them. */
static const char *const migrations[] = {
	"CREATE TABLE meta ("
	"  key TEXT PRIMARY KEY,"
	"  value ANY NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE endpoints ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE"
	") STRICT;"
	"CREATE TABLE sessions ("
	"  handle INTEGER PRIMARY KEY AUTOINCREMENT CHECK (handle > 0),"
	"  endpoint_id INTEGER NOT NULL REFERENCES endpoints (id),"
	"  client_id INTEGER NOT NULL CHECK (client_id BETWEEN 1 AND 65535),"
	"  server_id INTEGER NOT NULL CHECK (server_id BETWEEN 1 AND 65535),"
	"  peer BLOB NOT NULL CHECK (length(peer) = 16),"
	"  peer_port INTEGER NOT NULL CHECK (peer_port BETWEEN 0 AND 65535),"
	"  aead INTEGER NOT NULL CHECK (aead BETWEEN 0 AND 255),"
	"  policy INTEGER NOT NULL CHECK (policy BETWEEN 0 AND 255),"
	"  flags INTEGER NOT NULL CHECK (flags BETWEEN 0 AND 4294967295),"
	"  provisioned INTEGER NOT NULL CHECK (provisioned IN (0, 1)),"
	"  secret_sealed BLOB NOT NULL CHECK (length(secret_sealed) IN (60, 92)),"
	"  created_ms INTEGER NOT NULL,"
	"  expires_ms INTEGER NOT NULL,"
	"  tx_bound INTEGER NOT NULL CHECK (tx_bound >= 0),"
	"  rx_bound INTEGER NOT NULL CHECK (rx_bound >= 0),"
	"  stream_bound INTEGER NOT NULL CHECK (stream_bound >= 0),"
	"  window BLOB CHECK (length(window) BETWEEN 1 AND 512),"
	"  UNIQUE (client_id, server_id)"
	") STRICT;"
	"CREATE TABLE secrets ("
	"  id BLOB PRIMARY KEY CHECK (length(id) = 32)"
	") STRICT, WITHOUT ROWID;",
};

#define SCHEMA_VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

#define RAISE(column)                                                             \
	"UPDATE sessions SET " column " = max(" column ", ?2) WHERE handle = ?1 " \
	"RETURNING " column

/* X(NAME, SQL) */
#define STATEMENTS(X)                                                                             \
	X(BEGIN, "BEGIN")                                                                         \
	X(COMMIT, "COMMIT")                                                                       \
	X(ROLLBACK, "ROLLBACK")                                                                   \
	X(META_GET, "SELECT value FROM meta WHERE key = ?1")                                      \
	X(META_IS, "SELECT value = ?2 FROM meta WHERE key = ?1")                                  \
	X(META_SET, "INSERT INTO meta (key, value) VALUES (?1, ?2) "                              \
		    "ON CONFLICT (key) DO UPDATE SET value = excluded.value")                     \
	X(ANY_SEALED, "SELECT EXISTS (SELECT 1 FROM sessions) OR EXISTS (SELECT 1 FROM secrets)") \
	X(LAST_HANDLE, "SELECT seq FROM sqlite_sequence WHERE name = 'sessions'")                 \
	X(ENDPOINT_FIND, "SELECT id FROM endpoints WHERE name = ?1")                              \
	X(ENDPOINT_ADD, "INSERT INTO endpoints (name) VALUES (?1) RETURNING id")                  \
	X(SECRET_ADD, "INSERT INTO secrets (id) VALUES (?1)")                                     \
	X(SESSION_ADD,                                                                            \
	  "INSERT INTO sessions (handle, endpoint_id, client_id, server_id, peer, peer_port, "    \
	  "aead, policy, flags, provisioned, secret_sealed, created_ms, expires_ms, tx_bound, "   \
	  "rx_bound, stream_bound) "                                                              \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")       \
	X(SESSION_PAGE,                                                                           \
	  "SELECT handle, endpoint_id, client_id, server_id, peer, peer_port, aead, policy, "     \
	  "flags, provisioned, secret_sealed, created_ms, expires_ms, tx_bound, rx_bound, "       \
	  "stream_bound, window FROM sessions WHERE handle > ?1 ORDER BY handle LIMIT ?2")        \
	X(SESSION_REMOVE, "DELETE FROM sessions WHERE handle = ?1 RETURNING handle")              \
	X(RAISE_TX, RAISE("tx_bound"))                                                            \
	X(RAISE_RX, RAISE("rx_bound"))                                                            \
	X(RAISE_STREAM, RAISE("stream_bound"))                                                    \
	X(PEER_SET, "UPDATE sessions SET peer = ?2, peer_port = ?3 WHERE handle = ?1")            \
	X(WINDOW_SET, "UPDATE sessions SET window = ?2 WHERE handle = ?1")                        \
	X(WINDOWS_CLEAR, "UPDATE sessions SET window = NULL WHERE window IS NOT NULL")

enum statement {
#define PG_X(name, sql) STATEMENT_##name,
	STATEMENTS(PG_X)
#undef PG_X
		STATEMENT_COUNT
};

static const char *const statement_sql[] = {
#define PG_X(name, sql) sql,
	STATEMENTS(PG_X)
#undef PG_X
};

/* A parameter of a statement. */
struct value {
	enum { VALUE_INTEGER, VALUE_TEXT, VALUE_BLOB } type;
	int64_t integer;
	const void *bytes;
	size_t count;
};

#define INTEGER(x) ((struct value){ .type = VALUE_INTEGER, .integer = (int64_t)(x) })
#define TEXT(text) ((struct value){ .type = VALUE_TEXT, .bytes = (text) })
#define BLOB(p, n) ((struct value){ .type = VALUE_BLOB, .bytes = (p), .count = (n) })

/* An asynchronous request. */
struct operation {
	enum {
		OPERATION_RESERVE,
		OPERATION_REMOVE,
		OPERATION_PEER,
		OPERATION_WINDOW,
		OPERATION_ADD,
	} type;
	uint64_t handle;
	int result;
	union {
		struct {
			enum pg_reserve_kind kind;
			uint64_t bound;
			pg_store_reserved_fn *done;
			void *context;
		} reserve;
		struct {
			pg_store_removed_fn *done;
			void *context;
		} remove;
		struct pg_peer peer;
		struct {
			size_t bytes;
			uint8_t blob[PG_STORE_WINDOW_BYTES];
		} window;
		struct {
			struct pg_store_session row; /* without its secret */
			uint8_t sealed[PG_SPLIT_BYTES + PG_MACHINE_KEY_SEAL_BYTES];
		} add;
	};
};

/* A synchronous request; it lives in the caller's frame until it is finished. */
struct request {
	const char *attempt; /* what it does, for a sentence: "add sessions to" */
	int (*run)(struct pg_store *store, void *arguments, struct pg_error *error);
	void *arguments;
	bool durable; /* wait for the disk, not only for the log */
	bool finished;
	int result;
	struct pg_error error;
	struct request *next;
};

struct pg_store {
	/* Of the thread that opens, then of the store thread alone. */
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	struct operation *taken; /* the queue that is being committed */
	int windows_result;	 /* first failure of a save since the last mark */

	/* Constant once the store is open. */
	struct pg_machine_key *key;
	char *path;
	const char *shown_path;
	int lock_fd;
	uint64_t generation;
	enum pg_store_past past;
	pthread_t thread;

	_Atomic uint64_t next_handle;

	/* Under the lock, which is held for the time of copying one operation at most. */
	pthread_mutex_t lock;
	pthread_cond_t wake;	 /* the store thread has work */
	pthread_cond_t progress; /* a request is finished, or the queue is empty again */
	struct operation *queue;
	size_t queued;
	uint16_t peer_index[PEER_INDEX]; /* 1 + where in the queue a peer of this hash waits */
	struct timespec due;		 /* when what is queued is committed; monotonic */
	struct request *requests, **requests_end;
	bool stopping;
	struct pg_store_stats stats;
};

static int constraint_errno(int extended)
{
	switch (extended) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
		return -EEXIST;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return -ENOENT;
	default:
		return -EINVAL;
	}
}

static int sql_errno(sqlite3 *db)
{
	int extended = sqlite3_extended_errcode(db), system = sqlite3_system_errno(db);

	switch (extended & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CONSTRAINT:
		return constraint_errno(extended);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return system > 0 ? -system : -EIO;
	default:
		return -EIO;
	}
}

static const char *remedy(int rc)
{
	switch (rc) {
	case -ENOSPC:
		return "free space on its file system and try again";
	case -EUCLEAN:
		return "it is damaged: move it away and provision the sessions again, with new "
		       "secrets (an old copy must not be used: ids would be used twice)";
	case -EBUSY:
		return "another program has it open: end that and try again";
	default:
		return "see to its file system and try again";
	}
}

/* The sentence of a failure that is SQLite's or the file system's. */
static int cannot(const struct pg_store *store, const char *attempt, int rc, struct pg_error *error)
{
	return pg_error_set(error, rc, "cannot %s the store %s: %s; %s", attempt, store->shown_path,
			    rc == -EUCLEAN || !store->db ? strerror(-rc)
							 : sqlite3_errmsg(store->db),
			    remedy(rc));
}

static int bind(sqlite3_stmt *statement, const struct value *values, int count)
{
	int i, rc = SQLITE_OK;

	for (i = 0; i < count && rc == SQLITE_OK; i++) {
		const struct value *value = &values[i];

		if (value->type == VALUE_INTEGER)
			rc = sqlite3_bind_int64(statement, i + 1, value->integer);
		else if (value->type == VALUE_TEXT)
			rc = sqlite3_bind_text(statement, i + 1, value->bytes, -1, SQLITE_STATIC);
		else
			rc = sqlite3_bind_blob64(statement, i + 1, value->bytes, value->count,
						 SQLITE_STATIC);
	}
	return rc;
}

/* Runs a statement to its end: 1 with the first column of its only row, 0 without a row. */
static int run_values(struct pg_store *store, enum statement id, int64_t *ret_integer,
		      const struct value *values, int count)
{
	sqlite3_stmt *statement = store->statements[id];
	int64_t integer = 0;
	int rows = 0, rc;

	rc = bind(statement, values, count);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(statement);
	for (; rc == SQLITE_ROW; rc = sqlite3_step(statement)) {
		integer = sqlite3_column_int64(statement, 0);
		rows = 1;
	}
	rc = rc == SQLITE_DONE ? 0 : sql_errno(store->db);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	if (rc)
		return rc;
	if (rows && ret_integer)
		*ret_integer = integer;
	return rows;
}

#define RUN(store, name, ret_integer, ...)                                                    \
	run_values((store), STATEMENT_##name, (ret_integer), (struct value[]){ __VA_ARGS__ }, \
		   sizeof((struct value[]){ __VA_ARGS__ }) / sizeof(struct value))

/* The first value of a statement that is run once, as an integer. */
static int query_once(struct pg_store *store, const char *sql, int64_t *ret_integer)
{
	sqlite3_stmt *statement = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) ||
	    sqlite3_step(statement) != SQLITE_ROW)
		rc = sql_errno(store->db);
	else
		*ret_integer = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return rc;
}

static int execute(struct pg_store *store, const char *sql)
{
	return sqlite3_exec(store->db, sql, NULL, NULL, NULL) ? sql_errno(store->db) : 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void count_transaction(struct pg_store *store, int rc, bool wrote, uint64_t started_ns)
{
	pthread_mutex_lock(&store->lock);
	if (rc)
		store->stats.failures++;
	else if (wrote) {
		store->stats.commits++;
		store->stats.last_commit_ns = now_ns() - started_ns;
	}
	pthread_mutex_unlock(&store->lock);
}

static int begin(struct pg_store *store)
{
	int rc = RUN(store, BEGIN, NULL);

	return rc < 0 ? rc : 0;
}

/* SQLite ends a transaction by itself on some failures. */
static void rollback(struct pg_store *store)
{
	if (!sqlite3_get_autocommit(store->db))
		RUN(store, ROLLBACK, NULL);
}

static int commit(struct pg_store *store, bool *ret_wrote)
{
	int rc;

	*ret_wrote = sqlite3_txn_state(store->db, NULL) == SQLITE_TXN_WRITE;
	rc = RUN(store, COMMIT, NULL);
	return rc < 0 ? rc : 0;
}

static int apply_reserve(struct pg_store *store, struct operation *operation)
{
	static const enum statement raise[PG_RESERVE_KIND_COUNT] = {
		[PG_RESERVE_TX] = STATEMENT_RAISE_TX,
		[PG_RESERVE_RX] = STATEMENT_RAISE_RX,
		[PG_RESERVE_STREAM] = STATEMENT_RAISE_STREAM,
	};
	const struct value values[] = { INTEGER(operation->handle),
					INTEGER(operation->reserve.bound) };
	int64_t bound;
	int rc;

	rc = run_values(store, raise[operation->reserve.kind], &bound, values, 2);
	if (rc > 0)
		operation->reserve.bound = (uint64_t)bound;
	return rc;
}

static int insert_row(struct pg_store *store, const struct pg_store_session *row, uint64_t handle,
		      const uint8_t *sealed)
{
	int rc;

	rc = RUN(store, SESSION_ADD, NULL, INTEGER(handle), INTEGER(row->endpoint_id),
		 INTEGER(row->client_id), INTEGER(row->server_id),
		 BLOB(row->peer.address.bytes, 16), INTEGER(row->peer.port), INTEGER(row->aead),
		 INTEGER(row->policy), INTEGER(row->flags), INTEGER(row->provisioned),
		 BLOB(sealed, row->ikm_bytes + PG_MACHINE_KEY_SEAL_BYTES), INTEGER(row->created_ms),
		 INTEGER(row->expires_ms), INTEGER(row->tx_bound), INTEGER(row->rx_bound),
		 INTEGER(row->stream_bound));
	return rc < 0 ? rc : 0;
}

/* A row that breaks a constraint is left out, the others of the commit are not its victims. */
static int apply_add(struct pg_store *store, const struct operation *operation)
{
	int rc = insert_row(store, &operation->add.row, operation->handle, operation->add.sealed);

	if (rc == -EEXIST || rc == -ENOENT || rc == -EINVAL)
		return 0;
	return rc ? rc : 1;
}

/* 1 if the session was there, 0 if not, or a negative errno: then the transaction has failed. */
static int apply(struct pg_store *store, struct operation *operation)
{
	int rc;

	switch (operation->type) {
	case OPERATION_RESERVE:
		return apply_reserve(store, operation);
	case OPERATION_REMOVE:
		return RUN(store, SESSION_REMOVE, NULL, INTEGER(operation->handle));
	case OPERATION_PEER:
		rc = RUN(store, PEER_SET, NULL, INTEGER(operation->handle),
			 BLOB(operation->peer.address.bytes, 16), INTEGER(operation->peer.port));
		return rc < 0 ? rc : 1;
	case OPERATION_WINDOW:
		rc = RUN(store, WINDOW_SET, NULL, INTEGER(operation->handle),
			 BLOB(operation->window.blob, operation->window.bytes));
		return rc < 0 ? rc : 1;
	case OPERATION_ADD:
		return apply_add(store, operation);
	}
	return -EINVAL;
}

static void answer(struct pg_store *store, const struct operation *operation, int result)
{
	if (operation->type == OPERATION_WINDOW && result && !store->windows_result)
		store->windows_result = result;
	if (operation->type == OPERATION_REMOVE && operation->remove.done)
		operation->remove.done(operation->remove.context, operation->handle, result);
	if (operation->type == OPERATION_RESERVE && operation->reserve.done)
		operation->reserve.done(operation->reserve.context, operation->handle,
					operation->reserve.kind, operation->reserve.bound, result);
}

static void commit_operations(struct pg_store *store, struct operation *operations, size_t count)
{
	uint64_t started_ns = now_ns();
	bool wrote = false;
	size_t i;
	int rc, found;

	rc = begin(store);
	for (i = 0; i < count && !rc; i++) {
		found = apply(store, &operations[i]);
		operations[i].result = found ? 0 : -ENOENT;
		rc = found < 0 ? found : 0;
	}
	if (!rc)
		rc = commit(store, &wrote);
	if (rc)
		rollback(store);
	count_transaction(store, rc, wrote, started_ns);
	for (i = 0; i < count; i++)
		answer(store, &operations[i], rc ? rc : operations[i].result);
}

/* A run that refuses for a reason of its own has written its sentence. */
static void serve_request(struct pg_store *store, struct request *request)
{
	uint64_t started_ns = now_ns();
	bool wrote = false, refused;
	int rc;

	rc = begin(store);
	if (!rc)
		rc = request->run(store, request->arguments, &request->error);
	refused = *request->error.text;
	if (!rc)
		rc = commit(store, &wrote);
	if (!rc && request->durable &&
	    sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL))
		rc = sql_errno(store->db);
	if (rc && !refused)
		cannot(store, request->attempt, rc, &request->error);
	if (rc)
		rollback(store);
	count_transaction(store, refused ? 0 : rc, wrote, started_ns);
	request->result = rc;
}

static void serve_requests(struct pg_store *store, struct request *request)
{
	struct request *next;

	for (; request; request = next) {
		next = request->next;
		serve_request(store, request);
		pthread_mutex_lock(&store->lock);
		request->finished = true;
		pthread_cond_broadcast(&store->progress);
		pthread_mutex_unlock(&store->lock);
	}
}

/* Waits, under the lock, until something has to be committed now. */
static void await_work(struct pg_store *store)
{
	while (!store->stopping && !store->requests && store->queued < PG_STORE_QUEUE_MAX / 2) {
		if (!store->queued)
			pthread_cond_wait(&store->wake, &store->lock);
		else if (pthread_cond_timedwait(&store->wake, &store->lock, &store->due))
			return;
	}
}

/*
 * Takes all that waits, so that a request comes after every operation queued before it. False when
 * the store stops and nothing is left.
 */
static bool take_work(struct pg_store *store, size_t *ret_count, struct request **ret_requests)
{
	struct operation *queue;
	bool any;

	pthread_mutex_lock(&store->lock);
	await_work(store);
	any = store->queued || store->requests;
	queue = store->queue;
	store->queue = store->taken;
	store->taken = queue;
	*ret_count = store->queued;
	store->queued = 0;
	memset(store->peer_index, 0, sizeof(store->peer_index));
	*ret_requests = store->requests;
	store->requests = NULL;
	store->requests_end = &store->requests;
	pthread_cond_broadcast(&store->progress);
	pthread_mutex_unlock(&store->lock);
	return any;
}

static void *serve(void *argument)
{
	struct pg_store *store = argument;
	struct request *requests;
	size_t count;

	while (take_work(store, &count, &requests)) {
		if (count)
			commit_operations(store, store->taken, count);
		serve_requests(store, requests);
	}
	return NULL;
}

static bool in_store_thread(const struct pg_store *store)
{
	return pthread_equal(pthread_self(), store->thread);
}

static int submit(struct pg_store *store, struct request *request, struct pg_error *error)
{
	if (in_store_thread(store))
		return pg_error_set(error, -EDEADLK, "cannot %s the store %s from its own thread",
				    request->attempt, store->shown_path);
	pthread_mutex_lock(&store->lock);
	*store->requests_end = request;
	store->requests_end = &request->next;
	pthread_cond_signal(&store->wake);
	while (!request->finished)
		pthread_cond_wait(&store->progress, &store->lock);
	pthread_mutex_unlock(&store->lock);
	if (request->result && error)
		*error = request->error;
	return request->result;
}

static void set_due(struct pg_store *store)
{
	clock_gettime(CLOCK_MONOTONIC, &store->due);
	store->due.tv_nsec += COMMIT_INTERVAL_NS;
	if (store->due.tv_nsec >= 1000000000) {
		store->due.tv_nsec -= 1000000000;
		store->due.tv_sec++;
	}
}

/* The place of an operation that the caller fills in, under the lock; NULL if there is none. */
static struct operation *append(struct pg_store *store, uint64_t handle)
{
	struct operation *operation;

	if (store->queued == PG_STORE_QUEUE_MAX) {
		store->stats.refused++;
		return NULL;
	}
	if (!store->queued)
		set_due(store);
	operation = &store->queue[store->queued++];
	operation->handle = handle;
	if (store->queued == 1 || store->queued == PG_STORE_QUEUE_MAX / 2)
		pthread_cond_signal(&store->wake);
	return operation;
}

/* Takes the lock and a place in the queue; only with 0 the lock is held on return. */
static int post_begin(struct pg_store *store, uint64_t handle, struct operation **ret_operation)
{
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	if (store->stopping)
		rc = -ESHUTDOWN;
	else if (!(*ret_operation = append(store, handle)))
		rc = -EAGAIN;
	if (rc)
		pthread_mutex_unlock(&store->lock);
	return rc;
}

int pg_store_reserve(struct pg_store *store, uint64_t handle, enum pg_reserve_kind kind,
		     uint64_t bound, pg_store_reserved_fn *done, void *context)
{
	struct operation *operation;
	int rc;

	if (bound > INT64_MAX || (unsigned int)kind >= PG_RESERVE_KIND_COUNT)
		return -EINVAL;
	rc = post_begin(store, handle, &operation);
	if (rc)
		return rc;
	operation->type = OPERATION_RESERVE;
	operation->reserve.kind = kind;
	operation->reserve.bound = bound;
	operation->reserve.done = done;
	operation->reserve.context = context;
	pthread_mutex_unlock(&store->lock);
	return 0;
}

int pg_store_remove_async(struct pg_store *store, uint64_t handle, pg_store_removed_fn *done,
			  void *context)
{
	struct operation *operation;
	int rc;

	rc = post_begin(store, handle, &operation);
	if (rc)
		return rc;
	operation->type = OPERATION_REMOVE;
	operation->remove.done = done;
	operation->remove.context = context;
	pthread_mutex_unlock(&store->lock);
	return 0;
}

/* An update of the same session that still waits is written over: only the last one counts. */
static struct operation *waiting_peer(struct pg_store *store, uint64_t handle)
{
	size_t at = store->peer_index[handle % PEER_INDEX];

	return at && store->queue[at - 1].handle == handle ? &store->queue[at - 1] : NULL;
}

int pg_store_update_peer(struct pg_store *store, uint64_t handle, const struct pg_peer *peer)
{
	struct operation *operation;
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	operation = waiting_peer(store, handle);
	if (store->stopping)
		rc = -ESHUTDOWN;
	else if (!operation && !(operation = append(store, handle)))
		rc = -EAGAIN;
	if (!rc) {
		operation->type = OPERATION_PEER;
		operation->peer = *peer;
		store->peer_index[handle % PEER_INDEX] = (uint16_t)(operation - store->queue + 1);
	}
	pthread_mutex_unlock(&store->lock);
	return rc;
}

int pg_store_save_window(struct pg_store *store, uint64_t handle, const void *blob, size_t bytes)
{
	struct operation *operation;

	if (!bytes || bytes > PG_STORE_WINDOW_BYTES)
		return -EINVAL;
	if (in_store_thread(store))
		return -EDEADLK;
	pthread_mutex_lock(&store->lock);
	while (store->queued == PG_STORE_QUEUE_MAX)
		pthread_cond_wait(&store->progress, &store->lock);
	operation = append(store, handle);
	operation->type = OPERATION_WINDOW;
	operation->window.bytes = bytes;
	memcpy(operation->window.blob, blob, bytes);
	pthread_mutex_unlock(&store->lock);
	return 0;
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

	rc = RUN(store, ENDPOINT_FIND, &id, TEXT(endpoint->name));
	if (!rc)
		rc = RUN(store, ENDPOINT_ADD, &id, TEXT(endpoint->name));
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
	struct request request = {
		.attempt = "find or add an endpoint in",
		.run = run_endpoint,
		.arguments = &arguments,
	};
	int rc;

	if (!*name || strlen(name) >= PG_CONFIG_NAME_MAX)
		return pg_error_set(error, -EINVAL, "the name of an endpoint has 1 to %d bytes",
				    PG_CONFIG_NAME_MAX - 1);
	rc = submit(store, &request, error);
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
	else if (row->tx_bound > INT64_MAX || row->rx_bound > INT64_MAX ||
		 row->stream_bound > INT64_MAX)
		why = "a bound is out of range";
	else if (row->created_ms > INT64_MAX || row->expires_ms > INT64_MAX)
		why = "a time is out of range";
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
			rc = RUN(store, SECRET_ADD, NULL,
				 BLOB(add->prepared[i].hash, sizeof(add->prepared[i].hash)));
		if (rc == -EEXIST)
			return refuse_row(row, i, rc,
					  "its secret was provisioned before, and a secret serves "
					  "one session only: make a new one",
					  error);
		if (rc >= 0)
			rc = insert_row(store, row, add->first_handle + i, add->prepared[i].sealed);
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
	struct request request = {
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
	return submit(store, &request, error);
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
	struct operation *operation;
	int rc;

	if (row->provisioned || check_row(row, 0, NULL))
		return -EINVAL;
	rc = pg_machine_key_seal(store->key, SECRET_LABEL, row->handle, row->ikm, row->ikm_bytes,
				 sealed);
	if (!rc)
		rc = post_begin(store, row->handle, &operation);
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

	rc = RUN(store, SESSION_REMOVE, NULL, INTEGER(handle));
	if (rc)
		return rc < 0 ? rc : 0;
	return pg_error_set(error, -ENOENT, "cannot remove session %llu: the store %s has none",
			    (unsigned long long)handle, store->shown_path);
}

int pg_store_remove(struct pg_store *store, uint64_t handle, struct pg_error *error)
{
	struct request request = {
		.attempt = "remove a session from",
		.run = run_remove,
		.arguments = &handle,
	};

	return submit(store, &request, error);
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
	size_t peer_bytes;

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
	if (!column_blob(statement, 4, session->peer.address.bytes, 16, &peer_bytes) ||
	    !column_blob(statement, 10, row->sealed, sizeof(row->sealed), &row->sealed_bytes) ||
	    !column_blob(statement, 16, row->window, sizeof(row->window), &session->window_bytes))
		return -EUCLEAN;
	return 0;
}

static int run_page(struct pg_store *store, void *arguments, struct pg_error *error)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_SESSION_PAGE];
	const struct value values[] = { INTEGER(((struct page *)arguments)->after),
					INTEGER(PAGE_ROWS) };
	struct page *page = arguments;
	int step, rc = 0;

	page->count = 0;
	step = bind(statement, values, 2);
	if (step == SQLITE_OK)
		step = sqlite3_step(statement);
	for (; step == SQLITE_ROW && !rc; step = sqlite3_step(statement))
		rc = read_row(statement, &page->rows[page->count++]);
	if (!rc && step != SQLITE_DONE)
		rc = sql_errno(store->db);
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

int pg_store_sessions(struct pg_store *store, pg_store_session_fn *callback, void *context,
		      struct pg_error *error)
{
	PG_FREE struct page *page = calloc(1, sizeof(*page));
	size_t i;
	int rc;

	if (!page)
		return pg_error_set(error, -ENOMEM, "cannot read the sessions: out of memory");
	do {
		struct request request = {
			.attempt = "read the sessions of",
			.run = run_page,
			.arguments = page,
		};

		rc = submit(store, &request, error);
		for (i = 0; !rc && i < page->count; i++) {
			page->after = page->rows[i].session.handle;
			rc = visit_row(store, &page->rows[i], callback, context, error);
		}
	} while (!rc && page->count == PAGE_ROWS);
	return rc;
}

static int meta_set(struct pg_store *store, const char *key, struct value value)
{
	int rc = RUN(store, META_SET, NULL, TEXT(key), value);

	return rc < 0 ? rc : 0;
}

static int run_mark_clean(struct pg_store *store, void *arguments, struct pg_error *error)
{
	int rc = store->windows_result;
	struct timespec now;

	store->windows_result = 0;
	if (rc)
		return pg_error_set(error, rc,
				    "cannot mark the stop clean in the store %s: a window could "
				    "not be saved: %s; %s",
				    store->shown_path, strerror(-rc), remedy(rc));
	clock_gettime(CLOCK_REALTIME, &now);
	rc = meta_set(store, "clean_generation", INTEGER(store->generation));
	if (!rc)
		rc = meta_set(store, "clean_stop_ms",
			      INTEGER(now.tv_sec * 1000LL + now.tv_nsec / 1000000));
	return rc;
}

int pg_store_mark_clean(struct pg_store *store, struct pg_error *error)
{
	struct request request = {
		.attempt = "mark the stop clean in",
		.run = run_mark_clean,
		.durable = true,
	};

	return submit(store, &request, error);
}

static int run_clear_windows(struct pg_store *store, void *arguments, struct pg_error *error)
{
	int rc = RUN(store, WINDOWS_CLEAR, NULL);

	return rc < 0 ? rc : 0;
}

int pg_store_clear_windows(struct pg_store *store, struct pg_error *error)
{
	struct request request = {
		.attempt = "clear the windows in",
		.run = run_clear_windows,
	};

	return submit(store, &request, error);
}

uint64_t pg_store_generation(const struct pg_store *store)
{
	return store->generation;
}

enum pg_store_past pg_store_past(const struct pg_store *store)
{
	return store->past;
}

void pg_store_stats(struct pg_store *store, struct pg_store_stats *ret_stats)
{
	pthread_mutex_lock(&store->lock);
	*ret_stats = store->stats;
	ret_stats->queued = store->queued;
	pthread_mutex_unlock(&store->lock);
}

/* The end of a long path: the reason must find room behind it. */
static const char *path_tail(const char *path)
{
	size_t length = strlen(path);

	return length > PATH_TAIL ? path + length - PATH_TAIL : path;
}

static int check_directory(int fd, const char *directory, struct pg_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return pg_error_set(error, -errno, "cannot look at the state directory %s: %s",
				    directory, strerror(errno));
	if (status.st_uid != geteuid())
		return pg_error_set(error, -EPERM,
				    "the state directory %s belongs to user %u and the agent runs "
				    "as user %u: chown the directory to user %u",
				    directory, status.st_uid, geteuid(), geteuid());
	if (status.st_mode & 077)
		return pg_error_set(error, -EPERM,
				    "the state directory %s is open to others (mode %04o): chmod "
				    "it to 0700",
				    directory, status.st_mode & 07777);
	return 0;
}

static int open_directory(const char *directory, int *ret_fd, struct pg_error *error)
{
	const char *shown = path_tail(directory);
	PG_CLOSE int fd = -1;
	int rc;

	if (mkdir(directory, 0700) && errno != EEXIST)
		return pg_error_set(error, -errno, "cannot make the state directory %s: %s", shown,
				    strerror(errno));
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return pg_error_set(error, -errno, "cannot open the state directory %s: %s", shown,
				    strerror(errno));
	rc = check_directory(fd, shown, error);
	if (!rc)
		*ret_fd = TAKE_FD(fd);
	return rc;
}

static int refuse_second(int lock_fd, const char *directory, struct pg_error *error)
{
	char text[24] = "";
	long pid = 0;

	if (pread(lock_fd, text, sizeof(text) - 1, 0) > 0)
		pid = strtol(text, NULL, 10);
	if (pid <= 0)
		return pg_error_set(error, -EBUSY,
				    "the state directory %s is in use by another agent: stop that "
				    "one, or give this one a directory of its own",
				    directory);
	return pg_error_set(error, -EBUSY,
			    "the state directory %s is in use by the agent with pid %ld: stop that "
			    "one, or give this one a directory of its own",
			    directory, pid);
}

static int take_lock(int directory_fd, const char *directory, int *ret_fd, struct pg_error *error)
{
	PG_CLOSE int fd =
		openat(directory_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = 0;

	if (fd < 0)
		rc = -errno;
	else if (flock(fd, LOCK_EX | LOCK_NB))
		rc = -errno;
	if (rc == -EWOULDBLOCK)
		return refuse_second(fd, directory, error);
	if (!rc && (ftruncate(fd, 0) || dprintf(fd, "%ld\n", (long)getpid()) < 0))
		rc = -errno;
	if (rc)
		return pg_error_set(error, rc, "cannot lock the state directory %s: %s", directory,
				    strerror(-rc));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* SQLite gives its other files the mode of this one. */
static int make_database_file(struct pg_store *store, int directory_fd, struct pg_error *error)
{
	PG_CLOSE int fd = openat(directory_fd, DATABASE_FILE,
				 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600))
		return pg_error_set(error, -errno, "cannot open the store %s: %s",
				    store->shown_path, strerror(errno));
	return 0;
}

/* Whose file is it? Nothing is written before that is known. */
static int check_identity(struct pg_store *store, int *ret_version, struct pg_error *error)
{
	int64_t version = 0, application = 0, tables = 0;
	int rc;

	rc = query_once(store, "PRAGMA user_version", &version);
	if (!rc)
		rc = query_once(store, "PRAGMA application_id", &application);
	if (!rc)
		rc = query_once(store, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc)
		return cannot(store, "open", rc, error);
	if (application != APPLICATION_ID && (application || version || tables))
		return pg_error_set(error, -EINVAL,
				    "%s is the database of another program: name another state "
				    "directory",
				    store->shown_path);
	if (version < 0 || version > SCHEMA_VERSION)
		return pg_error_set(error, -ENOTSUP,
				    "the store %s has schema %lld and this packgate knows up to "
				    "%d: it was written by a newer packgate, start that one",
				    store->shown_path, (long long)version, SCHEMA_VERSION);
	*ret_version = (int)version;
	return 0;
}

/* A damaged page answers with SQLITE_CORRUPT or with a text other than "ok". */
static int check_integrity(struct pg_store *store)
{
	sqlite3_stmt *statement = NULL;
	const char *text = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL) ||
	    sqlite3_step(statement) != SQLITE_ROW)
		rc = sql_errno(store->db);
	else
		text = (const char *)sqlite3_column_text(statement, 0);
	if (!rc && (!text || strcmp(text, "ok")))
		rc = -EUCLEAN;
	sqlite3_finalize(statement);
	return rc;
}

static int migrate(struct pg_store *store, int version)
{
	char mark[96];
	int rc;

	if (version == SCHEMA_VERSION)
		return 0;
	rc = execute(store, "BEGIN");
	for (; !rc && version < SCHEMA_VERSION; version++)
		rc = execute(store, migrations[version]);
	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		 APPLICATION_ID, SCHEMA_VERSION);
	return rc ? rc : execute(store, mark);
}

static int prepare_statements(struct pg_store *store)
{
	int i;

	for (i = 0; i < STATEMENT_COUNT; i++) {
		if (sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statements[i], NULL))
			return sql_errno(store->db);
	}
	return 0;
}

/* Exclusive: the flock keeps agents out, this keeps everything else out. */
static int open_database(struct pg_store *store, struct pg_error *error)
{
	static const char settings[] = "PRAGMA journal_mode = WAL;"
				       "PRAGMA synchronous = NORMAL;"
				       "PRAGMA journal_size_limit = 16777216;"
				       "PRAGMA secure_delete = ON;"
				       "PRAGMA cell_size_check = ON;"
				       "PRAGMA foreign_keys = ON;";
	int version = 0, rc;

	if (sqlite3_open_v2(store->path, &store->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    NULL))
		return cannot(store, "open", store->db ? sql_errno(store->db) : -ENOMEM, error);
	sqlite3_busy_timeout(store->db, BUSY_MS);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	rc = execute(store, "PRAGMA locking_mode = EXCLUSIVE");
	if (rc)
		return cannot(store, "open", rc, error);
	rc = check_identity(store, &version, error);
	if (rc)
		return rc;
	rc = execute(store, settings);
	if (!rc)
		rc = check_integrity(store);
	if (!rc)
		rc = migrate(store, version);
	if (!rc)
		rc = prepare_statements(store);
	return rc ? cannot(store, "open", rc, error) : 0;
}

/* The stored key check is bound to rows: without any, another key may take the place. */
static int open_key(struct pg_store *store, const char *key_path, struct pg_error *error)
{
	int64_t sealed = 0, same = 0;
	int rc;

	rc = RUN(store, ANY_SEALED, &sealed);
	if (rc < 0)
		return cannot(store, "read", rc, error);
	rc = pg_machine_key_open(key_path, !sealed, &store->key, error);
	if (rc == -ENOKEY)
		return pg_error_set(error, rc,
				    "the machine key %s is missing, but %s was sealed with it: put "
				    "the key back, or move the store away and provision the "
				    "sessions again, with new secrets",
				    path_tail(key_path), store->shown_path);
	if (rc || !sealed)
		return rc;
	rc = RUN(store, META_IS, &same, TEXT("key_check"),
		 BLOB(pg_machine_key_check(store->key), PG_MACHINE_KEY_CHECK_BYTES));
	if (rc < 0)
		return cannot(store, "read", rc, error);
	if (!same)
		return pg_error_set(error, -EKEYREJECTED,
				    "the machine key %s is not the one that sealed %s: put the "
				    "right key back, or move the store away and provision the "
				    "sessions again, with new secrets",
				    path_tail(key_path), store->shown_path);
	return 0;
}

static int check_instance(struct pg_store *store, const char *instance, struct pg_error *error)
{
	int64_t same = 1;
	int rc;

	rc = RUN(store, META_IS, &same, TEXT("instance"), TEXT(instance));
	if (rc < 0)
		return cannot(store, "read", rc, error);
	if (same)
		return 0;
	return pg_error_set(error, -EINVAL,
			    "the store %s does not belong to the instance \"%s\": give each "
			    "instance a state directory of its own",
			    store->shown_path, instance);
}

/* Another text after every start of the machine; "" where the kernel does not tell. */
static void read_boot_id(char *text, size_t room)
{
	PG_FCLOSE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	*text = '\0';
	if (file && fgets(text, (int)room, file))
		text[strcspn(text, "\n")] = '\0';
}

static int judge_past(struct pg_store *store, const char *boot_id)
{
	int64_t generation = 0, clean = -1, same_boot = 0;
	int rc;

	rc = RUN(store, META_GET, &generation, TEXT("generation"));
	if (rc >= 0)
		rc = RUN(store, META_GET, &clean, TEXT("clean_generation"));
	if (rc >= 0)
		rc = RUN(store, META_IS, &same_boot, TEXT("boot_id"), TEXT(boot_id));
	if (rc < 0)
		return rc;
	store->generation = (uint64_t)generation + 1;
	if (!generation)
		store->past = PG_STORE_NEW;
	else if (clean == generation)
		store->past = PG_STORE_CLEAN;
	else
		store->past = same_boot && *boot_id ? PG_STORE_DIED : PG_STORE_REBOOTED;
	return 0;
}

static int begin_generation(struct pg_store *store, const char *instance)
{
	char boot_id[64];
	int64_t handle = 0;
	int rc;

	read_boot_id(boot_id, sizeof(boot_id));
	rc = judge_past(store, boot_id);
	if (!rc)
		rc = meta_set(store, "instance", TEXT(instance));
	if (!rc)
		rc = meta_set(store, "generation", INTEGER(store->generation));
	if (!rc)
		rc = meta_set(store, "boot_id", TEXT(boot_id));
	if (!rc)
		rc = meta_set(store, "key_check",
			      BLOB(pg_machine_key_check(store->key), PG_MACHINE_KEY_CHECK_BYTES));
	if (!rc && store->past != PG_STORE_CLEAN)
		rc = RUN(store, WINDOWS_CLEAR, NULL);
	if (rc >= 0)
		rc = RUN(store, LAST_HANDLE, &handle);
	store->next_handle = (uint64_t)handle + 1;
	return rc < 0 ? rc : 0;
}

static int adopt(struct pg_store *store, const struct pg_store_options *options,
		 const char *key_path, struct pg_error *error)
{
	bool wrote;
	int rc;

	rc = check_instance(store, options->instance, error);
	if (!rc)
		rc = open_key(store, key_path, error);
	if (rc)
		return rc;
	rc = begin(store);
	if (!rc)
		rc = begin_generation(store, options->instance);
	if (!rc)
		rc = commit(store, &wrote);
	return rc ? cannot(store, "write to", rc, error) : 0;
}

/* Signals are for the threads that expect them. */
static int start_thread(struct pg_store *store, struct pg_error *error)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&store->thread, NULL, serve, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return pg_error_set(error, -rc, "cannot start the thread of the store %s: %s",
				    store->shown_path, strerror(rc));
	pthread_setname_np(store->thread, "pg-store");
	return 0;
}

static void free_store(struct pg_store *store)
{
	int i;

	if (!store)
		return;
	for (i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	pg_machine_key_free(store->key);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	pthread_cond_destroy(&store->progress);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->lock);
	free(store->queue);
	free(store->taken);
	free(store->path);
	free(store);
}

static void cleanup_store(struct pg_store **store)
{
	free_store(*store);
}

static struct pg_store *new_store(const char *directory)
{
	PG_CLEANUP(cleanup_store) struct pg_store *store = calloc(1, sizeof(*store));
	pthread_condattr_t monotonic;

	if (!store)
		return NULL;
	store->lock_fd = -1;
	store->requests_end = &store->requests;
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->progress, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (asprintf(&store->path, "%s/" DATABASE_FILE, directory) < 0)
		store->path = NULL;
	store->queue = calloc(PG_STORE_QUEUE_MAX, sizeof(*store->queue));
	store->taken = calloc(PG_STORE_QUEUE_MAX, sizeof(*store->taken));
	if (!store->path || !store->queue || !store->taken)
		return NULL;
	store->shown_path = path_tail(store->path);
	return TAKE_PTR(store);
}

int pg_store_open(const struct pg_store_options *options, struct pg_store **ret_store,
		  struct pg_error *error)
{
	PG_CLEANUP(cleanup_store) struct pg_store *store = new_store(options->directory);
	PG_FREE char *standard_key = NULL;
	PG_CLOSE int directory_fd = -1;
	int rc;

	if (!store || asprintf(&standard_key, "%s/" PG_CONFIG_KEY_FILE, options->directory) < 0) {
		standard_key = NULL;
		return pg_error_set(error, -ENOMEM, "cannot open the store: out of memory");
	}
	rc = open_directory(options->directory, &directory_fd, error);
	if (!rc)
		rc = take_lock(directory_fd, path_tail(options->directory), &store->lock_fd, error);
	if (!rc)
		rc = make_database_file(store, directory_fd, error);
	if (!rc)
		rc = open_database(store, error);
	if (!rc)
		rc = adopt(store, options, options->key_path ? options->key_path : standard_key,
			   error);
	if (!rc)
		rc = start_thread(store, error);
	if (!rc)
		*ret_store = TAKE_PTR(store);
	return rc;
}

void pg_store_close(struct pg_store *store)
{
	if (!store)
		return;
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	free_store(store);
}
