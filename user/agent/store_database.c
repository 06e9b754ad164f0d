// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "store_internal.h"

#define LOCK_FILE      "lock"
#define APPLICATION_ID 0x70676174 /* "pgat" */
#define BUSY_MS	       200
#define PATH_TAIL      96

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
	"ALTER TABLE sessions ADD COLUMN user TEXT NOT NULL DEFAULT '' CHECK (length(user) < 128);",
	/*
	 * guard NULL = not known. Windows lie apart: a stop writes them and a start deletes them,
	 * all of them, and the rows of sessions need not be written for that.
	 */
	"ALTER TABLE sessions ADD COLUMN guard INTEGER CHECK (guard IN (0, 1));"
	"CREATE TABLE windows ("
	"  handle INTEGER PRIMARY KEY,"
	"  window BLOB NOT NULL CHECK (length(window) BETWEEN 1 AND 512)"
	") STRICT;"
	"INSERT INTO windows SELECT handle, window FROM sessions WHERE window IS NOT NULL;"
	"ALTER TABLE sessions DROP COLUMN window;",
};

#define SCHEMA_VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

const char *pg_store_path_tail(const char *path)
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
	const char *shown = pg_store_path_tail(directory);
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
	PG_CLOSE int fd = openat(directory_fd, PG_STORE_FILE,
				 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600))
		return pg_error_set(error, -errno, "cannot open the store %s: %s",
				    store->shown_path, strerror(errno));
	return 0;
}

int pg_store_take_directory(struct pg_store *store, const char *directory, struct pg_error *error)
{
	PG_CLOSE int fd = -1;
	int rc;

	rc = open_directory(directory, &fd, error);
	if (!rc)
		rc = take_lock(fd, pg_store_path_tail(directory), &store->lock_fd, error);
	return rc ? rc : make_database_file(store, fd, error);
}

/* Whose file is it? Nothing is written before that is known. */
static int check_identity(struct pg_store *store, int *ret_version, struct pg_error *error)
{
	int64_t version = 0, application = 0, tables = 0;
	int rc;

	rc = pg_sql_query(store, "PRAGMA user_version", &version);
	if (!rc)
		rc = pg_sql_query(store, "PRAGMA application_id", &application);
	if (!rc)
		rc = pg_sql_query(store, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc)
		return pg_store_cannot(store, "open", rc, error);
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
		rc = pg_sql_errno(store->db);
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
	rc = pg_sql_execute(store, "BEGIN");
	for (; !rc && version < SCHEMA_VERSION; version++)
		rc = pg_sql_execute(store, migrations[version]);
	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		 APPLICATION_ID, SCHEMA_VERSION);
	return rc ? rc : pg_sql_execute(store, mark);
}

/* Exclusive: the flock keeps agents out, this keeps everything else out. */
int pg_store_open_database(struct pg_store *store, struct pg_error *error)
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
		return pg_store_cannot(store, "open", store->db ? pg_sql_errno(store->db) : -ENOMEM,
				       error);
	sqlite3_busy_timeout(store->db, BUSY_MS);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	rc = pg_sql_execute(store, "PRAGMA locking_mode = EXCLUSIVE");
	if (rc)
		return pg_store_cannot(store, "open", rc, error);
	rc = check_identity(store, &version, error);
	if (rc)
		return rc;
	rc = pg_sql_execute(store, settings);
	if (!rc)
		rc = check_integrity(store);
	if (!rc)
		rc = migrate(store, version);
	if (!rc)
		rc = pg_sql_prepare(store);
	return rc ? pg_store_cannot(store, "open", rc, error) : 0;
}
