// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "store_internal.h"

static const char *const statement_sql[] = {
#define PG_X(name, sql) sql,
	PG_SQL_STATEMENTS(PG_X)
#undef PG_X
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

int pg_sql_errno(sqlite3 *db)
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

const char *pg_store_remedy(int rc)
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

int pg_store_cannot(const struct pg_store *store, const char *attempt, int rc,
		    struct pg_error *error)
{
	return pg_error_set(error, rc, "cannot %s the store %s: %s; %s", attempt, store->shown_path,
			    rc == -EUCLEAN || !store->db ? strerror(-rc)
							 : sqlite3_errmsg(store->db),
			    pg_store_remedy(rc));
}

int pg_sql_prepare(struct pg_store *store)
{
	int i;

	for (i = 0; i < PG_SQL_STATEMENT_COUNT; i++) {
		if (sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statements[i], NULL))
			return pg_sql_errno(store->db);
	}
	return 0;
}

int pg_sql_bind(sqlite3_stmt *statement, const struct pg_sql_value *values, int count)
{
	int i, rc = SQLITE_OK;

	for (i = 0; i < count && rc == SQLITE_OK; i++) {
		const struct pg_sql_value *value = &values[i];

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

int pg_sql_run(struct pg_store *store, enum pg_sql_statement id, int64_t *ret_integer,
	       const struct pg_sql_value *values, int count)
{
	sqlite3_stmt *statement = store->statements[id];
	int64_t integer = 0;
	int rows = 0, rc;

	rc = pg_sql_bind(statement, values, count);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(statement);
	for (; rc == SQLITE_ROW; rc = sqlite3_step(statement)) {
		integer = sqlite3_column_int64(statement, 0);
		rows = 1;
	}
	rc = rc == SQLITE_DONE ? 0 : pg_sql_errno(store->db);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	if (rc)
		return rc;
	if (rows && ret_integer)
		*ret_integer = integer;
	return rows;
}

int pg_sql_query(struct pg_store *store, const char *sql, int64_t *ret_integer)
{
	sqlite3_stmt *statement = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) ||
	    sqlite3_step(statement) != SQLITE_ROW)
		rc = pg_sql_errno(store->db);
	else
		*ret_integer = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return rc;
}

int pg_sql_execute(struct pg_store *store, const char *sql)
{
	return sqlite3_exec(store->db, sql, NULL, NULL, NULL) ? pg_sql_errno(store->db) : 0;
}

int pg_sql_begin(struct pg_store *store)
{
	int rc = PG_SQL_RUN(store, BEGIN, NULL);

	return rc < 0 ? rc : 0;
}

/* SQLite ends a transaction by itself on some failures. */
void pg_sql_rollback(struct pg_store *store)
{
	if (!sqlite3_get_autocommit(store->db))
		PG_SQL_RUN(store, ROLLBACK, NULL);
}

int pg_sql_commit(struct pg_store *store, bool *ret_wrote)
{
	int rc;

	*ret_wrote = sqlite3_txn_state(store->db, NULL) == SQLITE_TXN_WRITE;
	rc = PG_SQL_RUN(store, COMMIT, NULL);
	return rc < 0 ? rc : 0;
}

int pg_sql_meta_set(struct pg_store *store, const char *key, struct pg_sql_value value)
{
	int rc = PG_SQL_RUN(store, META_SET, NULL, PG_SQL_TEXT(key), value);

	return rc < 0 ? rc : 0;
}
