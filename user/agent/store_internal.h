/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_STORE_INTERNAL_H
#define PG_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <sqlite3.h>

#include "machine_key.h"
#include "store.h"

/* What the parts of the store share; nothing else includes it. */

#define PG_STORE_PEER_INDEX 256
#define PG_STORE_FILE	    "store.db"

#define RAISE(column)                                                             \
	"UPDATE sessions SET " column " = max(" column ", ?2) WHERE handle = ?1 " \
	"RETURNING " column

/* X(NAME, SQL) */
#define PG_SQL_STATEMENTS(X)                                                                      \
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
	  "rx_bound, stream_bound, user, guard) "                                                 \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, "  \
	  "?18)")                                                                                 \
	X(SESSION_PAGE,                                                                           \
	  "SELECT s.handle, endpoint_id, client_id, server_id, peer, peer_port, aead, policy, "   \
	  "flags, provisioned, secret_sealed, created_ms, expires_ms, tx_bound, rx_bound, "       \
	  "stream_bound, window, user, guard "                                                    \
	  "FROM sessions s LEFT JOIN windows w ON w.handle = s.handle "                           \
	  "WHERE s.handle > ?1 ORDER BY s.handle LIMIT ?2")                                       \
	X(SESSION_REMOVE, "DELETE FROM sessions WHERE handle = ?1 RETURNING handle")              \
	X(RAISE_TX, RAISE("tx_bound"))                                                            \
	X(RAISE_RX, RAISE("rx_bound"))                                                            \
	X(RAISE_STREAM, RAISE("stream_bound"))                                                    \
	X(PEER_SET, "UPDATE sessions SET peer = ?2, peer_port = ?3 WHERE handle = ?1")            \
	X(WINDOW_SET, "INSERT INTO windows (handle, window) VALUES (?1, ?2) "                     \
		      "ON CONFLICT (handle) DO UPDATE SET window = excluded.window")              \
	X(WINDOWS_CLEAR, "DELETE FROM windows")

enum pg_sql_statement {
#define PG_X(name, sql) PG_SQL_##name,
	PG_SQL_STATEMENTS(PG_X)
#undef PG_X
		PG_SQL_STATEMENT_COUNT
};

/* A parameter of a statement. */
struct pg_sql_value {
	enum { VALUE_INTEGER, VALUE_TEXT, VALUE_BLOB } type;
	int64_t integer;
	const void *bytes;
	size_t count;
};

#define PG_SQL_INTEGER(x) ((struct pg_sql_value){ .type = VALUE_INTEGER, .integer = (int64_t)(x) })
#define PG_SQL_TEXT(text) ((struct pg_sql_value){ .type = VALUE_TEXT, .bytes = (text) })
#define PG_SQL_BLOB(p, n) ((struct pg_sql_value){ .type = VALUE_BLOB, .bytes = (p), .count = (n) })

/* An asynchronous request. */
struct pg_store_operation {
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
struct pg_store_request {
	const char *attempt; /* what it does, for a sentence: "add sessions to" */
	int (*run)(struct pg_store *store, void *arguments, struct pg_error *error);
	void *arguments;
	bool durable; /* wait for the disk, not only for the log */
	bool finished;
	int result;
	struct pg_error error;
	struct pg_store_request *next;
};

struct pg_store {
	/* Of the thread that opens, then of the store thread alone. */
	sqlite3 *db;
	sqlite3_stmt *statements[PG_SQL_STATEMENT_COUNT];
	struct pg_store_operation *taken; /* the queue that is being committed */
	int windows_result;		  /* first failure of a save since the last mark */

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
	struct pg_store_operation *queue;
	size_t queued;
	uint16_t peer_index[PG_STORE_PEER_INDEX]; /* 1 + where in the queue a peer of this hash
						     waits */
	struct timespec due;			  /* when what is queued is committed; monotonic */
	struct pg_store_request *requests, **requests_end;
	bool stopping;
	struct pg_store_stats stats;
};

/* --- store_sql.c: statements, and what went wrong with them --------------------------------------
 */

/* Prepares every statement of the list. */
int pg_sql_prepare(struct pg_store *store);

/* The errno of the last failure of db. */
int pg_sql_errno(sqlite3 *db);

/* Binds values to the parameters from 1 on; a result of SQLite. */
int pg_sql_bind(sqlite3_stmt *statement, const struct pg_sql_value *values, int count);

/*
 * Runs a statement to its end: 1 with the first column of its only row, 0 without a row, or a
 * negative errno.
 */
int pg_sql_run(struct pg_store *store, enum pg_sql_statement id, int64_t *ret_integer,
	       const struct pg_sql_value *values, int count);

#define PG_SQL_RUN(store, name, ret_integer, ...)                                                 \
	pg_sql_run((store), PG_SQL_##name, (ret_integer), (struct pg_sql_value[]){ __VA_ARGS__ }, \
		   sizeof((struct pg_sql_value[]){ __VA_ARGS__ }) / sizeof(struct pg_sql_value))

/* The first value of a statement that is run once, as an integer. 0 or a negative errno. */
int pg_sql_query(struct pg_store *store, const char *sql, int64_t *ret_integer);

/* Statements without parameters and results. 0 or a negative errno, as the next four. */
int pg_sql_execute(struct pg_store *store, const char *sql);
int pg_sql_begin(struct pg_store *store);
void pg_sql_rollback(struct pg_store *store);
int pg_sql_commit(struct pg_store *store, bool *ret_wrote);
int pg_sql_meta_set(struct pg_store *store, const char *key, struct pg_sql_value value);

/* Sets the sentence of a failure that is SQLite's or the file system's, and returns rc. */
int pg_store_cannot(const struct pg_store *store, const char *attempt, int rc,
		    struct pg_error *error);

/* What to do about a negative errno, for the end of a sentence. */
const char *pg_store_remedy(int rc);

/* --- store_queue.c: the thread and what waits for it ---------------------------------------------
 */

int pg_store_start_thread(struct pg_store *store, struct pg_error *error);

/* Has the store thread run a request and waits for its result. */
int pg_store_submit(struct pg_store *store, struct pg_store_request *request,
		    struct pg_error *error);
/* The same in two steps; what was begun without an error is awaited. */
int pg_store_begin(struct pg_store *store, struct pg_store_request *request,
		   struct pg_error *error);
int pg_store_await(struct pg_store *store, struct pg_store_request *request,
		   struct pg_error *error);

/*
 * Takes the lock and a place in the queue, for the caller to fill in: 0, and the lock is held on
 * return; else -EAGAIN or -ESHUTDOWN.
 */
int pg_store_post_begin(struct pg_store *store, uint64_t handle,
			struct pg_store_operation **ret_operation);

/* --- store_sessions.c ----------------------------------------------------------------------------
 */

/* In the store thread. 0, -EEXIST, -ENOENT, -EINVAL for a constraint, or another errno. */
int pg_store_insert_row(struct pg_store *store, const struct pg_store_session *row, uint64_t handle,
			const uint8_t *sealed);

/* --- store_database.c: the files --------------------------------------------------------------
 */

/*
 * Makes the directory if it is missing, refuses it where others may use it, locks it against a
 * second agent, and makes the database's file. The lock stays in store->lock_fd.
 */
int pg_store_take_directory(struct pg_store *store, const char *directory, struct pg_error *error);

/* Opens the database, refuses another program's or a damaged one, and brings its schema up. */
int pg_store_open_database(struct pg_store *store, struct pg_error *error);

/* The end of a long path: the reason must find room behind it. */
const char *pg_store_path_tail(const char *path);

#endif
