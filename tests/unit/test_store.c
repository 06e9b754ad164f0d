// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "store.h"

#define ROOT_ROOM 200
#define PATH_ROOM 300
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

static char root[ROOT_ROOM];
static char directory[PATH_ROOM]; /* of the store; missing at first */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	const char *folder = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/pg-store-XXXXXX", folder ? folder : "/tmp");
	if (!mkdtemp(root))
		return -1;
	snprintf(directory, sizeof(directory), "%s/state", root);
	return 0;
}

static int teardown(void **state)
{
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_store(const char *name)
{
	static char path[PATH_ROOM + 32];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int try_open(struct pg_store **ret_store, struct pg_error *error)
{
	const struct pg_store_options options = { .directory = directory, .instance = "default" };

	*error->text = '\0';
	return pg_store_open(&options, ret_store, error);
}

static struct pg_store *open_store(void)
{
	struct pg_store *store = NULL;
	struct pg_error error;

	if (try_open(&store, &error))
		fail_msg("%s", error.text);
	return store;
}

static void expect_refusal(int expected, const char *phrase, const char *what)
{
	struct pg_store *const untouched = (void *)1;
	struct pg_store *store = untouched;
	struct pg_error error;
	int rc = try_open(&store, &error);

	if (rc != expected || !strstr(error.text, phrase) || store != untouched)
		fail_msg("%s: %d \"%s\", expected %d \"%s\"", what, rc, error.text, expected,
			 phrase);
}

/* Changes a closed store's database behind its back. */
static void change(const char *sql)
{
	sqlite3 *db = NULL;
	char *why = NULL;

	assert_int_equal(sqlite3_open(in_store("store.db"), &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why))
		fail_msg("%s: %s", sql, why);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t ask(const char *sql)
{
	sqlite3_stmt *statement = NULL;
	sqlite3 *db = NULL;
	int64_t answer;

	assert_int_equal(sqlite3_open(in_store("store.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	answer = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return answer;
}

static uint32_t endpoint(struct pg_store *store, const char *name)
{
	struct pg_error error;
	uint32_t id = 0;

	if (pg_store_endpoint_id(store, name, &id, &error))
		fail_msg("%s: %s", name, error.text);
	return id;
}

/* The session number n: other numbers have other ids and another secret. */
static struct pg_store_session session(uint32_t n)
{
	struct pg_store_session row = {
		.endpoint_id = 1,
		.client_id = (uint16_t)(n / 60000 + 1),
		.server_id = (uint16_t)(n % 60000 + 1),
		.peer = { .address.bytes = { [10] = 0xff, 0xff, 192, 0, 2, 7 }, .port = 5555 },
		.aead = 1,
		.provisioned = true,
		.ikm_bytes = PG_SECRET_BYTES,
		.created_ms = 1700000000000,
	};

	memcpy(row.ikm, &n, sizeof(n));
	row.ikm[31] = 0x77;
	return row;
}

static uint64_t add_row(struct pg_store *store, struct pg_store_session row)
{
	struct pg_error error;

	if (pg_store_add(store, &row, 1, NULL, &error))
		fail_msg("%s", error.text);
	return row.handle;
}

static uint64_t add(struct pg_store *store, uint32_t n)
{
	return add_row(store, session(n));
}

/* A store with the endpoint 1. */
static struct pg_store *open_with_endpoint(void)
{
	struct pg_store *store = open_store();

	assert_int_equal(endpoint(store, "game"), 1);
	return store;
}

struct listing {
	size_t count;
	size_t stop_at; /* 0 = never */
	struct pg_store_session rows[8];
	uint8_t windows[8][PG_STORE_WINDOW_BYTES];
};

static int list_row(void *context, const struct pg_store_session *row)
{
	struct listing *listing = context;

	if (listing->count < COUNT(listing->rows)) {
		listing->rows[listing->count] = *row;
		if (row->window)
			memcpy(listing->windows[listing->count], row->window, row->window_bytes);
	}
	listing->count++;
	return listing->count == listing->stop_at ? 77 : 0;
}

static struct listing list(struct pg_store *store)
{
	struct listing listing = { 0 };
	struct pg_error error;

	if (pg_store_sessions(store, list_row, &listing, &error))
		fail_msg("%s", error.text);
	return listing;
}

/* What a callback of the store thread was told. */
struct answer {
	sem_t given;
	int calls;
	uint64_t handle;
	enum pg_reserve_kind kind;
	uint64_t bound;
	int result;
	pthread_t thread;
};

static void reserved(void *context, uint64_t handle, enum pg_reserve_kind kind, uint64_t bound,
		     int result)
{
	struct answer *answer = context;

	answer->calls++;
	answer->handle = handle;
	answer->kind = kind;
	answer->bound = bound;
	answer->result = result;
	answer->thread = pthread_self();
	sem_post(&answer->given);
}

static void removed(void *context, uint64_t handle, int result)
{
	reserved(context, handle, PG_RESERVE_TX, 0, result);
}

static void await(sem_t *semaphore)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 20;
	if (sem_timedwait(semaphore, &limit))
		fail_msg("no answer within 20 s");
}

/* Reserves and waits for the answer. */
static int reserve(struct pg_store *store, uint64_t handle, enum pg_reserve_kind kind,
		   uint64_t bound, uint64_t *ret_bound)
{
	struct answer answer = { .calls = 0 };

	sem_init(&answer.given, 0, 0);
	assert_int_equal(pg_store_reserve(store, handle, kind, bound, reserved, &answer), 0);
	await(&answer.given);
	assert_int_equal(answer.handle, handle);
	assert_int_equal(answer.kind, kind);
	assert_false(pthread_equal(answer.thread, pthread_self()));
	*ret_bound = answer.bound;
	sem_destroy(&answer.given);
	return answer.result;
}

/* Holds the store thread inside a callback, so that what is queued stays queued. */
struct hold {
	sem_t entered, leave;
};

static void hold_thread(void *context, uint64_t handle, int result)
{
	struct hold *hold = context;

	sem_post(&hold->entered);
	sem_wait(&hold->leave);
}

static void hold_begin(struct pg_store *store, struct hold *hold)
{
	sem_init(&hold->entered, 0, 0);
	sem_init(&hold->leave, 0, 0);
	assert_int_equal(pg_store_remove_async(store, 999999, hold_thread, hold), 0);
	await(&hold->entered);
}

static void hold_end(struct hold *hold)
{
	sem_post(&hold->leave);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_first_open(void **state)
{
	static const char *const files[] = { "store.db", "store.db-wal", "lock", "machine.key" };
	struct pg_store *store = open_with_endpoint();
	struct stat status;
	size_t i;

	assert_int_equal(pg_store_generation(store), 1);
	assert_int_equal(pg_store_past(store), PG_STORE_NEW);
	assert_int_equal(stat(directory, &status), 0);
	assert_int_equal(status.st_mode, S_IFDIR | 0700);
	for (i = 0; i < COUNT(files); i++) {
		if (stat(in_store(files[i]), &status) || status.st_mode != (S_IFREG | 0600))
			fail_msg("%s has mode %o", files[i], status.st_mode);
	}
	pg_store_close(store);
	assert_int_equal(chmod(in_store("store.db"), 0644), 0);
	store = open_store();
	assert_int_equal(pg_store_generation(store), 2);
	assert_int_equal(pg_store_past(store), PG_STORE_DIED);
	assert_int_equal(stat(in_store("store.db"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	pg_store_close(store);
	pg_store_close(NULL);
}

static void test_directory_modes(void **state)
{
	static const struct {
		mode_t mode;
		const char *phrase; /* NULL = accepted */
	} rows[] = {
		{ 0700, NULL },	  { 0750, "0750" }, { 0720, "0720" }, { 0710, "0710" },
		{ 0704, "0704" }, { 0702, "0702" }, { 0701, "0701" }, { 0777, "0777" },
	};
	size_t i;

	assert_int_equal(mkdir(directory, 0700), 0);
	for (i = 0; i < COUNT(rows); i++) {
		assert_int_equal(chmod(directory, rows[i].mode), 0);
		if (rows[i].phrase)
			expect_refusal(-EPERM, rows[i].phrase, "mode");
		else
			pg_store_close(open_store());
	}
	assert_int_equal(chmod(directory, 0700), 0);
}

static void test_directory_kinds(void **state)
{
	int fd = open(directory, O_WRONLY | O_CREAT, 0600);

	assert_int_not_equal(fd, -1);
	close(fd);
	expect_refusal(-ENOTDIR, "cannot open the state directory", "a file");
	assert_int_equal(unlink(directory), 0);
	snprintf(directory, sizeof(directory), "%s/missing/state", root);
	expect_refusal(-ENOENT, "cannot make the state directory", "missing parent");
	snprintf(directory, sizeof(directory), "%s/state", root);
	if (geteuid())
		return;
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(chown(directory, 12345, 12345), 0);
	expect_refusal(-EPERM, "12345", "foreign owner");
}

static void test_second_agent(void **state)
{
	struct pg_store *store = open_store();
	char pid[32];

	snprintf(pid, sizeof(pid), "pid %ld:", (long)getpid());
	expect_refusal(-EBUSY, pid, "the same process");
	assert_int_equal(truncate(in_store("lock"), 0), 0);
	expect_refusal(-EBUSY, "another agent", "no pid yet");
	pg_store_close(store);
	pg_store_close(open_store());
}

/* A child that dies with the test, whatever becomes of it. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void test_second_process(void **state)
{
	struct pg_error error;
	struct pg_store *store;
	int ready[2], status;
	char pid_text[32], byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork_child();
	if (!pid) {
		if (try_open(&store, &error) || write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(2);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(pid_text, sizeof(pid_text), "pid %ld:", (long)pid);
	expect_refusal(-EBUSY, pid_text, "another process");
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	pg_store_close(open_store());
	close(ready[0]);
	close(ready[1]);
}

static void test_foreign_reader(void **state)
{
	sqlite3 *db = NULL;

	pg_store_close(open_store());
	assert_int_equal(sqlite3_open(in_store("store.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT * FROM meta", NULL, NULL, NULL), 0);
	expect_refusal(-EBUSY, "another program has it open", "reader");
	sqlite3_close(db);
	pg_store_close(open_store());
}

static void test_endpoints(void **state)
{
	static const char *const bad[] = { "", "a-name-of-thirty-two-bytes-is-xx" };
	struct pg_store *store = open_store();
	struct pg_error error;
	uint32_t id = 55;
	size_t i;

	assert_int_equal(endpoint(store, "game"), 1);
	assert_int_equal(endpoint(store, "chat"), 2);
	assert_int_equal(endpoint(store, "game"), 1);
	assert_int_equal(endpoint(store, "a-name-of-thirty-one-bytes-is-x"), 3);
	for (i = 0; i < COUNT(bad); i++) {
		assert_int_equal(pg_store_endpoint_id(store, bad[i], &id, &error), -EINVAL);
		assert_int_equal(id, 55);
	}
	pg_store_close(store);

	change("DELETE FROM endpoints WHERE id = 3");
	store = open_store();
	assert_int_equal(endpoint(store, "new"), 4);
	assert_int_equal(endpoint(store, "chat"), 2);
	pg_store_close(store);
	change("UPDATE sqlite_sequence SET seq = 4294967295 WHERE name = 'endpoints'");
	store = open_store();
	assert_int_equal(pg_store_endpoint_id(store, "last", &id, &error), -ENOSPC);
	assert_non_null(strstr(error.text, "no endpoint id left"));
	pg_store_close(store);
	assert_int_equal(ask("SELECT count(*) FROM endpoints"), 3);
}

static void assert_row(const struct pg_store_session *a, const struct pg_store_session *b)
{
	assert_int_equal(a->handle, b->handle);
	assert_int_equal(a->endpoint_id, b->endpoint_id);
	assert_int_equal(a->client_id, b->client_id);
	assert_int_equal(a->server_id, b->server_id);
	assert_true(pg_address_equal(&a->peer.address, &b->peer.address));
	assert_int_equal(a->peer.port, b->peer.port);
	assert_int_equal(a->aead, b->aead);
	assert_int_equal(a->policy, b->policy);
	assert_int_equal(a->guard, b->guard);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->provisioned, b->provisioned);
	assert_int_equal(a->ikm_bytes, b->ikm_bytes);
	assert_memory_equal(a->ikm, b->ikm, a->ikm_bytes);
	assert_int_equal(a->created_ms, b->created_ms);
	assert_int_equal(a->expires_ms, b->expires_ms);
	assert_int_equal(a->tx_bound, b->tx_bound);
	assert_int_equal(a->rx_bound, b->rx_bound);
	assert_int_equal(a->stream_bound, b->stream_bound);
	assert_string_equal(a->user, b->user);
	assert_null(b->window);
	assert_int_equal(b->window_bytes, 0);
}

static void test_every_field(void **state)
{
	struct pg_store_session rows[2] = {
		{ .endpoint_id = 1,
		  .client_id = 65535,
		  .server_id = 1,
		  .peer = { .address.bytes = { 0x20, 1, 0xd, 0xb8, [15] = 9 }, .port = 65535 },
		  .aead = 2,
		  .policy = 1,
		  .guard = 1,
		  .flags = UINT32_MAX,
		  .provisioned = true,
		  .ikm_bytes = PG_SECRET_BYTES,
		  .created_ms = 1,
		  .expires_ms = INT64_MAX,
		  .tx_bound = INT64_MAX,
		  .rx_bound = 4097,
		  .stream_bound = 1u << 31 },
		{ .endpoint_id = 1, .client_id = 1, .server_id = 65535, .ikm_bytes = 64 },
	};
	struct pg_store *store = open_with_endpoint();
	struct listing listing;
	int round;

	memset(rows[0].ikm, 0x11, 32);
	memset(rows[1].ikm, 0x22, 64);
	assert_int_equal(pg_store_add(store, rows, 2, NULL, NULL), 0);
	for (round = 0; round < 2; round++) {
		listing = list(store);
		assert_int_equal(listing.count, 2);
		assert_row(&rows[0], &listing.rows[0]);
		assert_row(&rows[1], &listing.rows[1]);
		pg_store_close(store);
		store = open_store();
	}
	pg_store_close(store);
}

static bool file_holds(const char *name, const void *bytes, size_t count)
{
	static char content[1 << 20];
	FILE *file = fopen(in_store(name), "r");
	size_t length;

	assert_non_null(file);
	length = fread(content, 1, sizeof(content), file);
	fclose(file);
	return memmem(content, length, bytes, count);
}

/* Neither a secret nor its public name lies in any file. */
static void test_nothing_in_the_open(void **state)
{
	static const char *const files[] = { "store.db", "store.db-wal" };
	struct pg_store *store = open_with_endpoint();
	struct pg_store_session row = session(0);
	uint8_t id[PG_SECRET_ID_BYTES];
	size_t i, found = 0;

	memcpy(row.ikm, "a secret that is easy to find ..", 32);
	assert_int_equal(pg_keys_secret_id(row.ikm, 32, id), 0);
	add_row(store, row);
	for (i = 0; i < COUNT(files); i++) {
		assert_false(file_holds(files[i], row.ikm, 16));
		assert_false(file_holds(files[i], id, sizeof(id)));
		found += file_holds(files[i], row.peer.address.bytes, 16);
	}
	assert_int_not_equal(found, 0);
	pg_store_close(store);
}

static void read_nonce(uint8_t ret_nonce[12])
{
	sqlite3_stmt *statement = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(in_store("store.db"), &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(db, "SELECT secret_sealed FROM sessions", -1, &statement, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	memcpy(ret_nonce, sqlite3_column_blob(statement, 0), 12);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

/* Not even sealed: the machine key may be stolen later. */
static void test_closed_session_is_erased(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1);
	uint8_t start[12];

	pg_store_close(store);
	read_nonce(start);
	assert_true(file_holds("store.db", start, sizeof(start)));
	store = open_store();
	assert_int_equal(pg_store_remove(store, handle, NULL), 0);
	pg_store_close(store);
	assert_false(file_holds("store.db", start, sizeof(start)));
}

static void test_handles(void **state)
{
	struct pg_store *store = open_with_endpoint();
	struct pg_error error;
	uint64_t second;

	assert_int_equal(add(store, 1), 1);
	second = add(store, 2);
	assert_int_equal(second, 2);
	assert_int_equal(pg_store_remove(store, second, &error), 0);
	assert_int_equal(pg_store_remove(store, second, &error), -ENOENT);
	assert_non_null(strstr(error.text, "session 2"));
	assert_int_equal(add(store, 3), 3);
	assert_int_equal(pg_store_remove(store, 3, NULL), 0);
	pg_store_close(store);
	store = open_store();
	assert_int_equal(add(store, 4), 4);
	assert_int_equal(list(store).count, 2);
	pg_store_close(store);
}

struct add_row {
	const char *name;
	void (*spoil)(struct pg_store_session *rows); /* of three good ones */
	int rc;
	size_t failed;
	const char *phrase;
};

static void spoil_client(struct pg_store_session *rows)
{
	rows[0].client_id = 0;
}

static void spoil_server(struct pg_store_session *rows)
{
	rows[2].server_id = 0;
}

static void spoil_short(struct pg_store_session *rows)
{
	rows[1].ikm_bytes = 31;
}

static void spoil_split(struct pg_store_session *rows)
{
	rows[1].ikm_bytes = PG_SPLIT_BYTES;
}

static void spoil_handshake(struct pg_store_session *rows)
{
	rows[1].provisioned = false;
}

static void spoil_tx(struct pg_store_session *rows)
{
	rows[1].tx_bound = 1ull << 63;
}

static void spoil_rx(struct pg_store_session *rows)
{
	rows[1].rx_bound = UINT64_MAX;
}

static void spoil_stream(struct pg_store_session *rows)
{
	rows[1].stream_bound = 1ull << 63;
}

static void spoil_time(struct pg_store_session *rows)
{
	rows[1].expires_ms = UINT64_MAX;
}

static void spoil_endpoint(struct pg_store_session *rows)
{
	rows[2].endpoint_id = 2;
}

static void spoil_endpoint_zero(struct pg_store_session *rows)
{
	rows[0].endpoint_id = 0;
}

static void spoil_pair(struct pg_store_session *rows)
{
	rows[1].client_id = session(100).client_id;
	rows[1].server_id = session(100).server_id;
}

static void spoil_pair_inside(struct pg_store_session *rows)
{
	rows[2].client_id = rows[0].client_id;
	rows[2].server_id = rows[0].server_id;
}

static void spoil_secret(struct pg_store_session *rows)
{
	memcpy(rows[2].ikm, session(100).ikm, 32);
}

static void spoil_secret_closed(struct pg_store_session *rows)
{
	memcpy(rows[0].ikm, session(101).ikm, 32);
}

static void spoil_secret_inside(struct pg_store_session *rows)
{
	memcpy(rows[1].ikm, rows[0].ikm, 32);
}

static const struct add_row add_rows[] = {
	{ "client id 0", spoil_client, -EINVAL, 0, "id is 0" },
	{ "server id 0", spoil_server, -EINVAL, 2, "(row 3)" },
	{ "secret of 31 bytes", spoil_short, -EINVAL, 1, "32 bytes" },
	{ "provisioned with 64 bytes", spoil_split, -EINVAL, 1, "32 bytes" },
	{ "handshake with 32 bytes", spoil_handshake, -EINVAL, 1, "64 bytes" },
	{ "tx bound", spoil_tx, -EINVAL, 1, "bound" },
	{ "rx bound", spoil_rx, -EINVAL, 1, "bound" },
	{ "stream bound", spoil_stream, -EINVAL, 1, "bound" },
	{ "time", spoil_time, -EINVAL, 1, "time" },
	{ "unknown endpoint", spoil_endpoint, -ENOENT, 2, "no such endpoint" },
	{ "endpoint 0", spoil_endpoint_zero, -ENOENT, 0, "no such endpoint" },
	{ "pair of a living session", spoil_pair, -EEXIST, 1, "another session" },
	{ "pair twice in the batch", spoil_pair_inside, -EEXIST, 2, "another session" },
	{ "secret of a living session", spoil_secret, -EEXIST, 2, "provisioned before" },
	{ "secret of a closed session", spoil_secret_closed, -EEXIST, 0, "provisioned before" },
	{ "secret twice in the batch", spoil_secret_inside, -EEXIST, 1, "provisioned before" },
};

static void expect_add_refused(struct pg_store *store, const struct add_row *expected)
{
	struct pg_store_session rows[3] = { session(0), session(1), session(2) };
	struct pg_error error = { "" };
	size_t failed = 99, i;
	int rc;

	expected->spoil(rows);
	rc = pg_store_add(store, rows, 3, &failed, &error);
	if (rc != expected->rc || failed != expected->failed ||
	    !strstr(error.text, expected->phrase))
		fail_msg("%s: %d, row %zu, \"%s\"", expected->name, rc, failed, error.text);
	for (i = 0; i < 3; i++)
		assert_int_equal(rows[i].handle, 0);
	if (list(store).count != 1)
		fail_msg("%s: a row stayed", expected->name);
}

static void test_refused_adds(void **state)
{
	struct pg_store *store = open_with_endpoint();
	struct pg_store_session rows[3] = { session(0), session(1), session(2) };
	struct pg_store_stats stats;
	struct pg_error error;
	size_t failed = 99, i;

	add(store, 100);
	assert_int_equal(pg_store_remove(store, add(store, 101), NULL), 0);
	for (i = 0; i < COUNT(add_rows); i++)
		expect_add_refused(store, &add_rows[i]);
	assert_int_equal(pg_store_add(store, rows, 0, &failed, &error), -EINVAL);
	assert_int_equal(pg_store_add(store, rows, PG_STORE_ADD_MAX + 1, &failed, &error), -E2BIG);
	assert_non_null(strstr(error.text, "100000"));
	pg_store_stats(store, &stats);
	assert_int_equal(stats.failures, 0);
	pg_store_close(store);

	store = open_store();
	for (i = 0; i < COUNT(add_rows); i++)
		expect_add_refused(store, &add_rows[i]);
	/* What was refused left nothing behind: the same secrets and ids are still good. */
	assert_int_equal(pg_store_add(store, rows, 3, &failed, NULL), 0);
	assert_int_equal(rows[2].handle, rows[0].handle + 2);
	assert_int_equal(failed, 99);
	pg_store_close(store);
}

static void move_key(const char *from, const char *to)
{
	char source[PATH_ROOM + 32];

	snprintf(source, sizeof(source), "%s", in_store(from));
	assert_int_equal(rename(source, in_store(to)), 0);
}

static void test_machine_key(void **state)
{
	struct pg_store *store = open_with_endpoint();
	struct stat status;

	/* Nothing is sealed yet, so nothing is lost with the key. */
	pg_store_close(store);
	move_key("machine.key", "first.key");
	store = open_store();
	assert_int_equal(pg_store_remove(store, add(store, 1), NULL), 0);
	pg_store_close(store);

	/* From now on a used secret is known only under this key. */
	move_key("machine.key", "second.key");
	expect_refusal(-ENOKEY, "put the key back", "missing key");
	assert_int_equal(stat(in_store("machine.key"), &status), -1);
	move_key("first.key", "machine.key");
	expect_refusal(-EKEYREJECTED, "not the one that sealed", "wrong key");
	move_key("second.key", "machine.key");
	store = open_store();
	add(store, 2);
	pg_store_close(store);
	assert_int_equal(chmod(in_store("machine.key"), 0644), 0);
	expect_refusal(-EPERM, "chmod it to 0600", "open key");
}

static void test_key_elsewhere(void **state)
{
	char path[PATH_ROOM];
	struct pg_store_options options = { directory, path, "default" };
	struct pg_store *store = NULL;
	struct stat status;

	snprintf(path, sizeof(path), "%s/elsewhere.key", root);
	assert_int_equal(pg_store_open(&options, &store, NULL), 0);
	endpoint(store, "game");
	add(store, 1);
	pg_store_close(store);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(stat(in_store("machine.key"), &status), -1);
	expect_refusal(-ENOKEY, "machine.key", "standard path");
	assert_int_equal(pg_store_open(&options, &store, NULL), 0);
	assert_int_equal(list(store).count, 1);
	pg_store_close(store);
}

/* Rows 1, 2 and 3 exist; the reader gets as far as the row before the wrong one. */
static void test_changed_rows(void **state)
{
	static const struct {
		const char *name, *sql;
		size_t good;
		const char *phrase;
	} rows[] = {
		{ "moved to another handle", "UPDATE sessions SET handle = 9 WHERE handle = 3", 2,
		  "session 9" },
		{ "secret of another row",
		  "UPDATE sessions SET secret_sealed = "
		  "(SELECT secret_sealed FROM sessions WHERE handle = 1) WHERE handle = 2",
		  1, "session 2" },
		{ "changed bytes",
		  "UPDATE sessions SET secret_sealed = zeroblob(60) WHERE handle = 1", 0,
		  "session 1" },
		{ "other length", "UPDATE sessions SET provisioned = 0 WHERE handle = 2", 1,
		  "session 2" },
	};
	struct listing listing;
	struct pg_store *store;
	struct pg_error error;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		store = open_with_endpoint();
		add(store, 1);
		add(store, 2);
		add(store, 3);
		pg_store_close(store);
		change(rows[i].sql);
		store = open_store();
		memset(&listing, 0, sizeof(listing));
		if (pg_store_sessions(store, list_row, &listing, &error) != -EBADMSG ||
		    listing.count != rows[i].good || !strstr(error.text, rows[i].phrase))
			fail_msg("%s: %zu rows, \"%s\"", rows[i].name, listing.count, error.text);
		pg_store_close(store);
		nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	}
}

/* Looks back at the row before, which is still the store's memory. */
static int find_secret_left(void *context, const struct pg_store_session *row)
{
	static const uint8_t zeros[PG_SPLIT_BYTES];
	const struct pg_store_session **before = context;
	int left = *before && memcmp((*before)->ikm, zeros, sizeof(zeros));

	*before = row;
	return left;
}

static int remove_while_listing(void *context, const struct pg_store_session *row)
{
	return row->handle % 2 ? pg_store_remove(context, row->handle, NULL) : 0;
}

static void test_listing(void **state)
{
	enum { ROWS = 1024 }; /* whole pages */
	static struct pg_store_session rows[ROWS];
	const struct pg_store_session *before = NULL;
	struct pg_store *store = open_with_endpoint();
	struct listing listing = { .stop_at = 300 };
	uint32_t i;

	assert_int_equal(list(store).count, 0);
	for (i = 0; i < ROWS; i++)
		rows[i] = session(i);
	assert_int_equal(pg_store_add(store, rows, ROWS, NULL, NULL), 0);
	assert_int_equal(list(store).count, ROWS);
	assert_int_equal(pg_store_sessions(store, list_row, &listing, NULL), 77);
	assert_int_equal(listing.count, 300);
	assert_int_equal(pg_store_sessions(store, find_secret_left, &before, NULL), 0);
	assert_int_equal(pg_store_sessions(store, remove_while_listing, store, NULL), 0);
	listing = list(store);
	assert_int_equal(listing.count, ROWS / 2);
	assert_int_equal(listing.rows[0].handle, 2);
	assert_memory_equal(listing.rows[0].ikm, rows[1].ikm, 32);
	pg_store_close(store);
}

static void test_reserve(void **state)
{
	static const struct {
		enum pg_reserve_kind kind;
		uint64_t ask, bound;
	} rows[] = {
		{ PG_RESERVE_TX, 4097, 4097 },
		{ PG_RESERVE_TX, 4096, 4097 },
		{ PG_RESERVE_TX, 0, 4097 },
		{ PG_RESERVE_TX, 8193, 8193 },
		{ PG_RESERVE_RX, 5, 5 },
		{ PG_RESERVE_STREAM, 6, 6 },
		{ PG_RESERVE_RX, INT64_MAX, INT64_MAX },
		{ PG_RESERVE_STREAM, 6, 6 },
	};
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1), other = add(store, 2), bound;
	struct listing listing;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		assert_int_equal(reserve(store, handle, rows[i].kind, rows[i].ask, &bound), 0);
		if (bound != rows[i].bound)
			fail_msg("row %zu: bound %llu", i, (unsigned long long)bound);
	}
	assert_int_equal(reserve(store, 12345, PG_RESERVE_TX, 1, &bound), -ENOENT);
	assert_int_equal(reserve(store, UINT64_MAX, PG_RESERVE_TX, 1, &bound), -ENOENT);
	assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_TX, 1ull << 63, NULL, NULL),
			 -EINVAL);
	assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_KIND_COUNT, 1, NULL, NULL),
			 -EINVAL);
	assert_int_equal(pg_store_reserve(store, other, PG_RESERVE_TX, 3, NULL, NULL), 0);
	pg_store_close(store);
	store = open_store();
	listing = list(store);
	assert_int_equal(listing.rows[0].tx_bound, 8193);
	assert_int_equal(listing.rows[0].rx_bound, INT64_MAX);
	assert_int_equal(listing.rows[0].stream_bound, 6);
	assert_int_equal(listing.rows[1].tx_bound, 3);
	assert_int_equal(listing.rows[1].rx_bound, 0);
	pg_store_close(store);
}

struct crowd {
	struct pg_store *store;
	uint64_t first_handle;
	uint32_t number;
	_Atomic uint32_t *good;
};

static void count_good(void *context, uint64_t handle, enum pg_reserve_kind kind, uint64_t bound,
		       int result)
{
	if (!result && bound == handle * 1000)
		atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

static void *reserve_many(void *context)
{
	const struct crowd *crowd = context;
	uint32_t i;

	for (i = 0; i < 250; i++) {
		uint64_t handle = crowd->first_handle + crowd->number * 250 + i;

		if (pg_store_reserve(crowd->store, handle, PG_RESERVE_TX, handle * 1000, count_good,
				     crowd->good))
			return context;
	}
	return NULL;
}

static void test_group_commit(void **state)
{
	static struct pg_store_session rows[1000];
	struct pg_store *store = open_with_endpoint();
	struct pg_store_stats before, after;
	_Atomic uint32_t good = 0;
	struct crowd crowds[4];
	pthread_t threads[4];
	void *failed;
	uint32_t i;

	for (i = 0; i < COUNT(rows); i++)
		rows[i] = session(i);
	assert_int_equal(pg_store_add(store, rows, COUNT(rows), NULL, NULL), 0);
	pg_store_stats(store, &before);
	for (i = 0; i < 4; i++) {
		crowds[i] = (struct crowd){ store, rows[0].handle, i, &good };
		assert_int_equal(pthread_create(&threads[i], NULL, reserve_many, &crowds[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	/* A synchronous call comes after everything that was queued. */
	assert_int_equal(list(store).rows[7].tx_bound, rows[7].handle * 1000);
	assert_int_equal(good, 1000);
	pg_store_stats(store, &after);
	print_message("1000 reservations of 4 threads: %llu commits, the last took %llu us\n",
		      (unsigned long long)(after.commits - before.commits),
		      (unsigned long long)after.last_commit_ns / 1000);
	assert_in_range(after.commits - before.commits, 1, 100);
	assert_int_equal(after.failures, 0);
	assert_int_not_equal(after.last_commit_ns, 0);
	pg_store_close(store);
}

/* Reservations that trickle in are not committed one by one either. */
static void test_commit_interval(void **state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct pg_store *store = open_with_endpoint();
	struct pg_store_stats before, after;
	uint64_t handle = add(store, 1), elapsed_ms, i;
	double started = seconds_now();

	pg_store_stats(store, &before);
	for (i = 1; i <= 60; i++) {
		assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_TX, i, NULL, NULL), 0);
		nanosleep(&pause, NULL);
	}
	assert_int_equal(list(store).rows[0].tx_bound, 60);
	elapsed_ms = (uint64_t)((seconds_now() - started) * 1e3);
	pg_store_stats(store, &after);
	assert_in_range(after.commits - before.commits, 1, elapsed_ms / 10 + 1);
	pg_store_close(store);
}

static void test_full_queue(void **state)
{
	struct pg_store *store = open_with_endpoint();
	struct pg_peer peer = { .port = 1 };
	_Atomic uint32_t good = 0;
	uint64_t handle = add(store, 1);
	struct pg_store_stats stats;
	struct hold hold;
	uint32_t i;

	hold_begin(store, &hold);
	for (i = 0; i < PG_STORE_QUEUE_MAX; i++)
		assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_TX, handle * 1000,
						  count_good, &good),
				 0);
	assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_TX, 1, count_good, &good),
			 -EAGAIN);
	assert_int_equal(pg_store_remove_async(store, handle, NULL, NULL), -EAGAIN);
	assert_int_equal(pg_store_update_peer(store, handle, &peer), -EAGAIN);
	pg_store_stats(store, &stats);
	assert_int_equal(stats.queued, PG_STORE_QUEUE_MAX);
	assert_int_equal(stats.refused, 3);
	hold_end(&hold);
	assert_int_equal(list(store).count, 1);
	assert_int_equal(good, PG_STORE_QUEUE_MAX);
	pg_store_stats(store, &stats);
	assert_int_equal(stats.queued, 0);
	assert_int_equal(pg_store_reserve(store, handle, PG_RESERVE_TX, 1, NULL, NULL), 0);
	pg_store_close(store);
}

static void test_peers(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t first = add(store, 1), second;
	struct pg_peer peer = { .address.bytes = { 0x20, 1 } };
	struct pg_store_stats stats;
	struct listing listing;
	struct hold hold;
	uint32_t i;

	/* Two handles that share a place in the index of those that wait. */
	for (i = 2; (second = add(store, i)) != first + 256; i++)
		assert_int_equal(pg_store_remove(store, second, NULL), 0);
	hold_begin(store, &hold);
	for (i = 1; i <= 10; i++) {
		peer.port = (uint16_t)i;
		assert_int_equal(pg_store_update_peer(store, first, &peer), 0);
	}
	pg_store_stats(store, &stats);
	assert_int_equal(stats.queued, 1);
	peer.port = 100;
	assert_int_equal(pg_store_update_peer(store, second, &peer), 0);
	peer.port = 11;
	assert_int_equal(pg_store_update_peer(store, first, &peer), 0);
	assert_int_equal(pg_store_update_peer(store, 777777, &peer), 0);
	pg_store_stats(store, &stats);
	assert_in_range(stats.queued, 2, 4);
	hold_end(&hold);
	listing = list(store);
	assert_int_equal(listing.rows[0].peer.port, 11);
	assert_memory_equal(listing.rows[0].peer.address.bytes, peer.address.bytes, 16);
	assert_int_equal(listing.rows[1].peer.port, 100);

	/* The index belongs to what waits, not to what is gone. */
	for (i = 12; i < 20; i++) {
		peer.port = (uint16_t)i;
		assert_int_equal(pg_store_update_peer(store, first, &peer), 0);
		assert_int_equal(list(store).rows[0].peer.port, i);
	}
	pg_store_close(store);
}

/* A session of a handshake: its keys are not a secret that is refused later. */
static struct pg_store_session opened(struct pg_store *store, uint32_t n)
{
	struct pg_store_session row = session(n);

	row.handle = pg_store_new_handle(store);
	row.provisioned = false;
	row.ikm_bytes = PG_SPLIT_BYTES;
	memset(row.ikm + 32, (int)n, 32);
	row.flags = 1172 | 9 << 16;
	row.tx_bound = 4097;
	snprintf(row.user, sizeof(row.user), "user %u", n);
	return row;
}

static int keep_row(void *context, const struct pg_store_session *row)
{
	*(struct pg_store_session *)context = *row;
	return 0;
}

/* In the order in which they came, before a synchronous call; a row in the way is left out. */
static void test_add_async(void **state)
{
	struct pg_store *store = open_with_endpoint();
	struct pg_store_session first = opened(store, 1), same = opened(store, 1), kept;
	struct pg_store_session second = opened(store, 2), bad = opened(store, 3);

	assert_int_equal(first.handle + 1, same.handle);
	assert_int_equal(pg_store_add_async(store, &first), 0);
	assert_int_equal(list(store).count, 1);
	assert_int_equal(pg_store_sessions(store, keep_row, &kept, NULL), 0);
	assert_row(&first, &kept);
	assert_int_equal(pg_store_add_async(store, &same), 0);
	assert_int_equal(pg_store_add_async(store, &second), 0);
	assert_int_equal(list(store).count, 2);
	/* the pair is free once its session went, in one commit */
	assert_int_equal(pg_store_remove_async(store, first.handle, NULL, NULL), 0);
	assert_int_equal(pg_store_add_async(store, &same), 0);
	assert_int_equal(list(store).count, 2);
	bad.server_id = 0;
	assert_int_equal(pg_store_add_async(store, &bad), -EINVAL);
	bad = opened(store, 3);
	bad.ikm_bytes = PG_SECRET_BYTES;
	assert_int_equal(pg_store_add_async(store, &bad), -EINVAL);
	bad.provisioned = true;
	assert_int_equal(pg_store_add_async(store, &bad), -EINVAL);
	bad = opened(store, 3);
	memset(bad.user, 'x', sizeof(bad.user));
	assert_int_equal(pg_store_add_async(store, &bad), -EINVAL);
	bad = opened(store, 3);
	bad.endpoint_id = 99;
	assert_int_equal(pg_store_add_async(store, &bad), 0);
	assert_int_equal(list(store).count, 2);
	assert_true(add(store, 4) > bad.handle);
	pg_store_close(store);
}

static void test_remove_async(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1);
	struct pg_store_session row = session(2);
	struct answer answer = { .calls = 0 };

	sem_init(&answer.given, 0, 0);
	row.client_id = session(1).client_id;
	row.server_id = session(1).server_id;
	assert_int_equal(pg_store_remove_async(store, handle, removed, &answer), 0);
	/* The pair is free for who comes after. */
	add_row(store, row);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.handle, handle);
	assert_int_equal(answer.result, 0);
	assert_int_equal(pg_store_remove_async(store, handle, removed, &answer), 0);
	await(&answer.given);
	await(&answer.given);
	assert_int_equal(answer.result, -ENOENT);
	assert_int_equal(pg_store_remove_async(store, handle, NULL, NULL), 0);
	assert_int_equal(list(store).count, 1);
	pg_store_close(store);
	sem_destroy(&answer.given);
}

struct nested {
	struct pg_store *store;
	int sync, window, async;
	struct answer answer;
};

static void call_store(void *context, uint64_t handle, int result)
{
	struct nested *nested = context;

	nested->sync = pg_store_clear_windows(nested->store, NULL);
	nested->window = pg_store_save_window(nested->store, 1, "w", 1);
	nested->async = pg_store_remove_async(nested->store, handle, removed, &nested->answer);
}

/* Calls until the store refuses, which it does once it is closing. */
static void call_until_closing(void *context, uint64_t handle, int result)
{
	struct nested *nested = context;
	const struct pg_peer peer = { .port = 1 };
	double started = seconds_now();

	do
		nested->async = pg_store_update_peer(nested->store, handle, &peer);
	while (!nested->async && seconds_now() - started < 20);
	nested->sync = pg_store_remove_async(nested->store, handle, NULL, NULL);
}

static void test_calls_from_callbacks(void **state)
{
	struct nested nested = { .store = open_store() };

	sem_init(&nested.answer.given, 0, 0);
	assert_int_equal(pg_store_remove_async(nested.store, 5, call_store, &nested), 0);
	await(&nested.answer.given);
	assert_int_equal(nested.sync, -EDEADLK);
	assert_int_equal(nested.window, -EDEADLK);
	assert_int_equal(nested.async, 0);

	/* While the store closes, callbacks are still answered, but nothing new is taken. */
	assert_int_equal(pg_store_remove_async(nested.store, 5, call_until_closing, &nested), 0);
	pg_store_close(nested.store);
	assert_int_equal(nested.async, -ESHUTDOWN);
	assert_int_equal(nested.sync, -ESHUTDOWN);
	sem_destroy(&nested.answer.given);
}

static void test_close_flushes(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1);
	_Atomic uint32_t good = 0;

	assert_int_equal(
		pg_store_reserve(store, handle, PG_RESERVE_TX, handle * 1000, count_good, &good),
		0);
	pg_store_close(store);
	assert_int_equal(good, 1);
	assert_int_equal(ask("SELECT tx_bound FROM sessions"), handle * 1000);
}

struct acknowledged {
	uint64_t handle, bound;
};

enum { CRASH_BATCH = 20 };

/* Adds batches and reserves until it is killed; tells what was acknowledged. */
static int write_until_killed(int fd)
{
	struct pg_store_session rows[CRASH_BATCH];
	struct acknowledged told;
	struct pg_store *store = open_with_endpoint();
	uint32_t n, i;

	for (n = 0;; n++) {
		for (i = 0; i < CRASH_BATCH; i++)
			rows[i] = session(n * CRASH_BATCH + i);
		if (pg_store_add(store, rows, CRASH_BATCH, NULL, NULL))
			return 1;
		told.handle = rows[0].handle;
		if (reserve(store, told.handle, PG_RESERVE_RX, 1000 + n, &told.bound))
			return 2;
		if (write(fd, &told, sizeof(told)) != sizeof(told))
			return 3;
		if (n == 0 && pg_store_save_window(store, told.handle, "old", 3))
			return 4;
	}
}

struct crash_check {
	const struct acknowledged *told;
	size_t count, matched, rows;
};

static int check_acknowledged(void *context, const struct pg_store_session *row)
{
	struct crash_check *check = context;

	check->rows++;
	if (check->matched < check->count && row->handle == check->told[check->matched].handle &&
	    row->rx_bound >= check->told[check->matched].bound)
		check->matched++;
	return row->window ? 1 : 0;
}

static void test_killed(void **state)
{
	struct acknowledged told[30];
	struct crash_check check = { .told = told };
	struct pg_store *store;
	int channel[2], status;
	pid_t pid;

	assert_int_equal(pipe(channel), 0);
	pid = fork_child();
	if (!pid)
		_exit(write_until_killed(channel[1]));
	close(channel[1]);
	while (check.count < COUNT(told) &&
	       read(channel[0], &told[check.count], sizeof(told[0])) == sizeof(told[0]))
		check.count++;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(check.count, COUNT(told));

	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_DIED);
	assert_int_equal(pg_store_generation(store), 2);
	assert_int_equal(pg_store_sessions(store, check_acknowledged, &check, NULL), 0);
	assert_int_equal(check.matched, check.count);
	assert_int_equal(check.rows % CRASH_BATCH, 0);
	assert_in_range(check.rows, check.count * CRASH_BATCH, (check.count + 3) * CRASH_BATCH);
	add(store, 1000000);
	pg_store_close(store);
	close(channel[0]);
}

static void test_clean_stop(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1);
	uint8_t blob[PG_STORE_WINDOW_BYTES + 1];
	struct listing listing;

	memset(blob, 0xab, sizeof(blob));
	add(store, 2);
	assert_int_equal(pg_store_save_window(store, handle, blob, 0), -EINVAL);
	assert_int_equal(pg_store_save_window(store, handle, blob, sizeof(blob)), -EINVAL);
	assert_int_equal(pg_store_save_window(store, 4711, blob, 1), 0);
	assert_int_equal(pg_store_save_window(store, handle, blob, sizeof(blob) - 1), 0);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	pg_store_close(store);

	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_CLEAN);
	listing = list(store);
	assert_int_equal(listing.rows[0].window_bytes, PG_STORE_WINDOW_BYTES);
	assert_memory_equal(listing.windows[0], blob, PG_STORE_WINDOW_BYTES);
	assert_null(listing.rows[1].window);
	assert_int_equal(pg_store_clear_windows(store, NULL), 0);
	assert_null(list(store).rows[0].window);
	assert_int_equal(pg_store_save_window(store, handle, blob, 1), 0);
	pg_store_close(store);

	/* Saved, but the run did not end clean: the window may be too old. */
	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_DIED);
	assert_null(list(store).rows[0].window);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	pg_store_close(store);
	change("UPDATE meta SET value = 'another' WHERE key = 'boot_id'");
	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_CLEAN);
	pg_store_close(store);
	change("UPDATE meta SET value = 'another' WHERE key = 'boot_id'");
	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_REBOOTED);
	assert_int_equal(pg_store_generation(store), 5);
	pg_store_close(store);
}

/* What the disk holds for certain: the database without its log, which is some seconds behind. */
static void lose_power(struct pg_store *store)
{
	static char content[1 << 20];
	FILE *file = fopen(in_store("store.db"), "r");
	size_t length;

	assert_non_null(file);
	length = fread(content, 1, sizeof(content), file);
	assert_true(length && length < sizeof(content));
	fclose(file);
	pg_store_close(store);
	unlink(in_store("store.db-wal"));
	file = fopen(in_store("store.db"), "w");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

/* Once windows are adopted no failure of the machine brings them back: what came since is newer. */
static void test_windows_after_power_loss(void **state)
{
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1);

	assert_int_equal(pg_store_save_window(store, handle, "window", 6), 0);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	lose_power(store);

	store = open_store();
	assert_int_equal(pg_store_past(store), PG_STORE_CLEAN);
	assert_int_equal(list(store).rows[0].window_bytes, 6);
	assert_int_equal(pg_store_clear_windows(store, NULL), 0);
	lose_power(store);

	store = open_store();
	assert_int_not_equal(pg_store_past(store), PG_STORE_CLEAN);
	assert_int_equal(list(store).count, 1);
	assert_null(list(store).rows[0].window);
	pg_store_close(store);
}

/* More windows than the queue holds: the caller waits, nothing is lost. */
static void test_many_windows(void **state)
{
	enum { ROWS = 3 * PG_STORE_QUEUE_MAX };
	static struct pg_store_session rows[ROWS];
	struct pg_store *store = open_with_endpoint();
	uint32_t i;

	for (i = 0; i < ROWS; i++)
		rows[i] = session(i);
	assert_int_equal(pg_store_add(store, rows, ROWS, NULL, NULL), 0);
	for (i = 0; i < ROWS; i++)
		assert_int_equal(pg_store_save_window(store, rows[i].handle, &i, sizeof(i)), 0);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	pg_store_close(store);
	assert_int_equal(ask("SELECT count(DISTINCT window) FROM windows"), ROWS);
}

/* No file of this process may grow beyond what the log holds now. */
static void limit_files(struct rlimit *ret_before)
{
	struct rlimit limit;
	struct stat status;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, ret_before), 0);
	assert_int_equal(stat(in_store("store.db-wal"), &status), 0);
	limit = *ret_before;
	limit.rlim_cur = (rlim_t)status.st_size + 6000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_failed_commits(void **state)
{
	enum { ROWS = 500 };
	static struct pg_store_session rows[ROWS];
	struct pg_store *store = open_with_endpoint();
	uint64_t handle = add(store, 1000), bound;
	struct pg_store_stats stats;
	struct pg_error error = { "" };
	struct rlimit before;
	size_t failed = 99;
	uint32_t i;
	int add_rc, reserve_rc, window_rc, flush_rc;

	signal(SIGXFSZ, SIG_IGN);
	for (i = 0; i < ROWS; i++)
		rows[i] = session(i);
	limit_files(&before);
	add_rc = pg_store_add(store, rows, ROWS, &failed, &error);
	while (!(reserve_rc = reserve(store, handle, PG_RESERVE_TX, ++i, &bound)) && i < 600)
		;
	window_rc = pg_store_save_window(store, handle, "window", 6);
	flush_rc = reserve(store, handle, PG_RESERVE_TX, 700, &bound);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);

	assert_int_equal(add_rc, -EIO);
	assert_non_null(strstr(error.text, "cannot add sessions to the store"));
	assert_int_equal(failed, 99);
	assert_int_equal(rows[0].handle, 0);
	assert_int_equal(reserve_rc, -EIO);
	assert_int_equal(window_rc, 0);
	assert_int_equal(flush_rc, -EIO);
	pg_store_stats(store, &stats);
	assert_in_range(stats.failures, 3, 4);

	assert_int_equal(list(store).count, 1);
	assert_int_equal(list(store).rows[0].tx_bound, i - 1 > ROWS ? i - 1 : 0);
	assert_int_equal(reserve(store, handle, PG_RESERVE_TX, 9999, &bound), 0);
	assert_int_equal(pg_store_add(store, rows, ROWS, NULL, NULL), 0);
	/* The disk has room again, but a window is lost: the stop is not clean until it is saved.
	 */
	assert_int_equal(pg_store_mark_clean(store, &error), -EIO);
	assert_non_null(strstr(error.text, "a window could not be saved"));
	assert_int_equal(pg_store_save_window(store, handle, "window", 6), 0);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	pg_store_close(store);
	store = open_store();
	assert_int_equal(list(store).count, ROWS + 1);
	assert_int_equal(list(store).rows[0].tx_bound, 9999);
	assert_int_equal(list(store).rows[0].window_bytes, 6);
	pg_store_close(store);
}

enum { NO_MOUNT = 70 };

static void fill_disk(const char *path)
{
	static const char zeros[4096];
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	close(fd);
}

/* On a full tmpfs of its own; the steps are the exit codes. */
static int use_full_disk(void)
{
	static struct pg_store_session rows[2000];
	struct pg_error error = { "" };
	struct pg_store *store;
	uint32_t i, id;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mkdir(directory, 0700) || mount("tmpfs", directory, "tmpfs", 0, "size=2m,mode=0700"))
		return NO_MOUNT;
	for (i = 0; i < COUNT(rows); i++)
		rows[i] = session(i);
	if (try_open(&store, &error) || pg_store_endpoint_id(store, "game", &id, NULL))
		return 1;
	fill_disk(in_store("filler"));
	if (pg_store_add(store, rows, COUNT(rows), NULL, &error) != -ENOSPC)
		return 2;
	if (!strstr(error.text, "free space"))
		return 3;
	if (unlink(in_store("filler")))
		return 4;
	if (pg_store_add(store, rows, 100, NULL, &error))
		return 5;
	pg_store_close(store);
	fill_disk(in_store("filler"));
	if (try_open(&store, &error) != -ENOSPC)
		return 6;
	if (unlink(in_store("filler")) || try_open(&store, &error))
		return 7;
	pg_store_close(store);
	return 0;
}

static void test_full_disk(void **state)
{
	int status;
	pid_t pid = fork_child();

	if (!pid)
		_exit(use_full_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_MOUNT) {
		print_message("no tmpfs can be mounted here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void write_at(off_t offset, size_t bytes)
{
	int fd = open(in_store("store.db"), O_WRONLY);
	size_t i;

	assert_int_not_equal(fd, -1);
	for (i = 0; i < bytes; i++)
		assert_int_equal(pwrite(fd, "\xa5", 1, offset + (off_t)i), 1);
	close(fd);
}

static void damage_header(void)
{
	write_at(0, 64);
}

/* Every page but the first: one of them is in use by every table. */
static void damage_pages(void)
{
	struct stat status;
	off_t page;

	assert_int_equal(stat(in_store("store.db"), &status), 0);
	for (page = 4096; page < status.st_size; page += 4096)
		write_at(page, 16);
}

static void damage_length(void)
{
	assert_int_equal(truncate(in_store("store.db"), 4096 * 2), 0);
}

static void damage_value(void)
{
	change("PRAGMA ignore_check_constraints = ON; UPDATE sessions SET client_id = 0");
}

static void make_newer(void)
{
	change("PRAGMA user_version = 4");
}

static void make_negative(void)
{
	change("PRAGMA user_version = -1");
}

static void make_foreign(void)
{
	unlink(in_store("store.db"));
	change("CREATE TABLE songs (title TEXT)");
}

static void make_foreign_marked(void)
{
	unlink(in_store("store.db"));
	change("PRAGMA application_id = 1234");
}

static void make_other_instance(void)
{
	change("UPDATE meta SET value = 'staging' WHERE key = 'instance'");
}

static void make_without_tables(void)
{
	change("DROP TABLE secrets");
}

#define SCHEMA_2                                                                                \
	"ALTER TABLE sessions DROP COLUMN guard; DROP TABLE windows;"                           \
	"ALTER TABLE sessions ADD COLUMN window BLOB CHECK (length(window) BETWEEN 1 AND 512);" \
	"UPDATE sessions SET window = x'0102';"

/*
 * A store of an older schema keeps its sessions and the windows of a clean stop; what was not in
 * them is not known.
 */
static void check_older_schema(const char *change_back)
{
	struct pg_store *store = open_with_endpoint();
	struct pg_store_session first = opened(store, 1), second, kept;

	assert_int_equal(pg_store_add_async(store, &first), 0);
	assert_int_equal(pg_store_mark_clean(store, NULL), 0);
	pg_store_close(store);
	change(change_back);
	store = open_with_endpoint();
	assert_int_equal(list(store).rows[0].window_bytes, 2);
	assert_memory_equal(list(store).windows[0], "\1\2", 2);
	assert_int_equal(pg_store_clear_windows(store, NULL), 0);
	assert_int_equal(pg_store_sessions(store, keep_row, &kept, NULL), 0);
	if (strstr(change_back, "COLUMN user"))
		first.user[0] = '\0';
	first.guard = PG_STORE_GUARD_UNKNOWN;
	assert_row(&first, &kept);
	second = opened(store, 2);
	memset(second.user, 'u', sizeof(second.user) - 1);
	assert_int_equal(pg_store_add_async(store, &second), 0);
	assert_int_equal(list(store).count, 2);
	assert_int_equal(pg_store_remove(store, first.handle, NULL), 0);
	assert_int_equal(pg_store_sessions(store, keep_row, &kept, NULL), 0);
	assert_row(&second, &kept);
	pg_store_close(store);
	assert_int_equal(ask("PRAGMA user_version"), 3);
}

static void test_schema_1(void **state)
{
	check_older_schema(SCHEMA_2 "ALTER TABLE sessions DROP COLUMN user;"
				    "PRAGMA user_version = 1");
}

static void test_schema_2(void **state)
{
	check_older_schema(SCHEMA_2 "PRAGMA user_version = 2");
}

static void test_unusable_databases(void **state)
{
	static const struct {
		const char *name;
		void (*make)(void);
		int rc;
		const char *phrase;
	} rows[] = {
		{ "damaged header", damage_header, -EUCLEAN, "move it away" },
		{ "damaged pages", damage_pages, -EUCLEAN, "with new secrets" },
		{ "truncated", damage_length, -EUCLEAN, "move it away" },
		{ "value out of range", damage_value, -EUCLEAN, "move it away" },
		{ "newer schema", make_newer, -ENOTSUP, "schema 4" },
		{ "negative schema", make_negative, -ENOTSUP, "schema -1" },
		{ "another program's", make_foreign, -EINVAL, "another program" },
		{ "another program's mark", make_foreign_marked, -EINVAL, "another program" },
		{ "another instance's", make_other_instance, -EINVAL, "instance \"default\"" },
		{ "a table is missing", make_without_tables, -EIO, "no such table: secrets" },
	};
	struct pg_store *store;
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		store = open_with_endpoint();
		add(store, 1);
		pg_store_close(store);
		rows[i].make();
		expect_refusal(rows[i].rc, rows[i].phrase, rows[i].name);
		expect_refusal(rows[i].rc, rows[i].phrase, rows[i].name);
		nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	}
}

static void test_long_path(void **state)
{
	char path[1200];
	struct pg_store_options options = { path, NULL, "default" };
	struct pg_store *store = NULL;
	struct pg_error error;
	size_t length = (size_t)snprintf(path, sizeof(path), "%s", root);

	while (length < 1000)
		length += (size_t)snprintf(path + length, sizeof(path) - length, "/missing");
	assert_int_equal(pg_store_open(&options, &store, &error), -ENOENT);
	assert_non_null(strstr(error.text, strerror(ENOENT)));
}

static void test_ten_thousand(void **state)
{
	enum { ROWS = 10000 };
	static struct pg_store_session rows[ROWS];
	struct pg_store *store = open_with_endpoint();
	double started, added, listed, opened;
	uint32_t i;

	for (i = 0; i < ROWS; i++)
		rows[i] = session(i);
	started = seconds_now();
	assert_int_equal(pg_store_add(store, rows, ROWS, NULL, NULL), 0);
	added = seconds_now();
	assert_int_equal(list(store).count, ROWS);
	listed = seconds_now();
	pg_store_close(store);
	opened = seconds_now();
	store = open_store();
	print_message("%d sessions: added in %.0f ms, listed in %.0f ms, store opened in %.0f ms\n",
		      ROWS, (added - started) * 1e3, (listed - added) * 1e3,
		      (seconds_now() - opened) * 1e3);
	assert_int_equal(list(store).count, ROWS);
	assert_int_equal(add(store, ROWS), ROWS + 1);
	pg_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_open),
		TEST(test_directory_modes),
		TEST(test_directory_kinds),
		TEST(test_second_agent),
		TEST(test_second_process),
		TEST(test_foreign_reader),
		TEST(test_endpoints),
		TEST(test_every_field),
		TEST(test_nothing_in_the_open),
		TEST(test_closed_session_is_erased),
		TEST(test_handles),
		TEST(test_refused_adds),
		TEST(test_machine_key),
		TEST(test_key_elsewhere),
		TEST(test_changed_rows),
		TEST(test_listing),
		TEST(test_reserve),
		TEST(test_group_commit),
		TEST(test_commit_interval),
		TEST(test_full_queue),
		TEST(test_peers),
		TEST(test_add_async),
		TEST(test_remove_async),
		TEST(test_calls_from_callbacks),
		TEST(test_close_flushes),
		TEST(test_killed),
		TEST(test_clean_stop),
		TEST(test_windows_after_power_loss),
		TEST(test_many_windows),
		TEST(test_failed_commits),
		TEST(test_full_disk),
		TEST(test_schema_1),
		TEST(test_schema_2),
		TEST(test_unusable_databases),
		TEST(test_long_path),
		TEST(test_ten_thousand),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
