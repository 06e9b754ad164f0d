// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "store_internal.h"

#define COMMIT_INTERVAL_NS 10000000

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

static int apply_reserve(struct pg_store *store, struct pg_store_operation *operation)
{
	static const enum pg_sql_statement raise[PG_RESERVE_KIND_COUNT] = {
		[PG_RESERVE_TX] = PG_SQL_RAISE_TX,
		[PG_RESERVE_RX] = PG_SQL_RAISE_RX,
		[PG_RESERVE_STREAM] = PG_SQL_RAISE_STREAM,
	};
	const struct pg_sql_value values[] = { PG_SQL_INTEGER(operation->handle),
					       PG_SQL_INTEGER(operation->reserve.bound) };
	int64_t bound;
	int rc;

	rc = pg_sql_run(store, raise[operation->reserve.kind], &bound, values, 2);
	if (rc > 0)
		operation->reserve.bound = (uint64_t)bound;
	return rc;
}

/* A row that breaks a constraint is left out, the others of the commit are not its victims. */
static int apply_add(struct pg_store *store, const struct pg_store_operation *operation)
{
	int rc = pg_store_insert_row(store, &operation->add.row, operation->handle,
				     operation->add.sealed);

	if (rc == -EEXIST || rc == -ENOENT || rc == -EINVAL)
		return 0;
	return rc ? rc : 1;
}

/* 1 if the session was there, 0 if not, or a negative errno: then the transaction has failed. */
static int apply(struct pg_store *store, struct pg_store_operation *operation)
{
	int rc;

	switch (operation->type) {
	case OPERATION_RESERVE:
		return apply_reserve(store, operation);
	case OPERATION_REMOVE:
		return PG_SQL_RUN(store, SESSION_REMOVE, NULL, PG_SQL_INTEGER(operation->handle));
	case OPERATION_PEER:
		rc = PG_SQL_RUN(store, PEER_SET, NULL, PG_SQL_INTEGER(operation->handle),
				PG_SQL_BLOB(operation->peer.address.bytes, 16),
				PG_SQL_INTEGER(operation->peer.port));
		return rc < 0 ? rc : 1;
	case OPERATION_WINDOW:
		rc = PG_SQL_RUN(store, WINDOW_SET, NULL, PG_SQL_INTEGER(operation->handle),
				PG_SQL_BLOB(operation->window.blob, operation->window.bytes));
		return rc < 0 ? rc : 1;
	case OPERATION_ADD:
		return apply_add(store, operation);
	}
	return -EINVAL;
}

static void answer(struct pg_store *store, const struct pg_store_operation *operation, int result)
{
	if (operation->type == OPERATION_WINDOW && result && !store->windows_result)
		store->windows_result = result;
	if (operation->type == OPERATION_REMOVE && operation->remove.done)
		operation->remove.done(operation->remove.context, operation->handle, result);
	if (operation->type == OPERATION_RESERVE && operation->reserve.done)
		operation->reserve.done(operation->reserve.context, operation->handle,
					operation->reserve.kind, operation->reserve.bound, result);
}

static void commit_operations(struct pg_store *store, struct pg_store_operation *operations,
			      size_t count)
{
	uint64_t started_ns = now_ns();
	bool wrote = false;
	size_t i;
	int rc, found;

	rc = pg_sql_begin(store);
	for (i = 0; i < count && !rc; i++) {
		found = apply(store, &operations[i]);
		operations[i].result = found ? 0 : -ENOENT;
		rc = found < 0 ? found : 0;
	}
	if (!rc)
		rc = pg_sql_commit(store, &wrote);
	if (rc)
		pg_sql_rollback(store);
	count_transaction(store, rc, wrote, started_ns);
	for (i = 0; i < count; i++)
		answer(store, &operations[i], rc ? rc : operations[i].result);
}

/* A run that refuses for a reason of its own has written its sentence. */
static void serve_request(struct pg_store *store, struct pg_store_request *request)
{
	uint64_t started_ns = now_ns();
	bool wrote = false, refused;
	int rc;

	rc = pg_sql_begin(store);
	if (!rc)
		rc = request->run(store, request->arguments, &request->error);
	refused = *request->error.text;
	if (!rc)
		rc = pg_sql_commit(store, &wrote);
	if (!rc && request->durable &&
	    sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL))
		rc = pg_sql_errno(store->db);
	if (rc && !refused)
		pg_store_cannot(store, request->attempt, rc, &request->error);
	if (rc)
		pg_sql_rollback(store);
	count_transaction(store, refused ? 0 : rc, wrote, started_ns);
	request->result = rc;
}

static void serve_requests(struct pg_store *store, struct pg_store_request *request)
{
	struct pg_store_request *next;

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
static bool take_work(struct pg_store *store, size_t *ret_count,
		      struct pg_store_request **ret_requests)
{
	struct pg_store_operation *queue;
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
	struct pg_store_request *requests;
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

int pg_store_begin(struct pg_store *store, struct pg_store_request *request, struct pg_error *error)
{
	if (in_store_thread(store))
		return pg_error_set(error, -EDEADLK, "cannot %s the store %s from its own thread",
				    request->attempt, store->shown_path);
	pthread_mutex_lock(&store->lock);
	*store->requests_end = request;
	store->requests_end = &request->next;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	return 0;
}

int pg_store_await(struct pg_store *store, struct pg_store_request *request, struct pg_error *error)
{
	pthread_mutex_lock(&store->lock);
	while (!request->finished)
		pthread_cond_wait(&store->progress, &store->lock);
	pthread_mutex_unlock(&store->lock);
	if (request->result && error)
		*error = request->error;
	return request->result;
}

int pg_store_submit(struct pg_store *store, struct pg_store_request *request,
		    struct pg_error *error)
{
	int rc = pg_store_begin(store, request, error);

	return rc ? rc : pg_store_await(store, request, error);
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
static struct pg_store_operation *append(struct pg_store *store, uint64_t handle)
{
	struct pg_store_operation *operation;

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

int pg_store_post_begin(struct pg_store *store, uint64_t handle,
			struct pg_store_operation **ret_operation)
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
	struct pg_store_operation *operation;
	int rc;

	if (bound > INT64_MAX || (unsigned int)kind >= PG_RESERVE_KIND_COUNT)
		return -EINVAL;
	rc = pg_store_post_begin(store, handle, &operation);
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
	struct pg_store_operation *operation;
	int rc;

	rc = pg_store_post_begin(store, handle, &operation);
	if (rc)
		return rc;
	operation->type = OPERATION_REMOVE;
	operation->remove.done = done;
	operation->remove.context = context;
	pthread_mutex_unlock(&store->lock);
	return 0;
}

/* An update of the same session that still waits is written over: only the last one counts. */
static struct pg_store_operation *waiting_peer(struct pg_store *store, uint64_t handle)
{
	size_t at = store->peer_index[handle % PG_STORE_PEER_INDEX];

	return at && store->queue[at - 1].handle == handle ? &store->queue[at - 1] : NULL;
}

int pg_store_update_peer(struct pg_store *store, uint64_t handle, const struct pg_peer *peer)
{
	struct pg_store_operation *operation;
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
		store->peer_index[handle % PG_STORE_PEER_INDEX] =
			(uint16_t)(operation - store->queue + 1);
	}
	pthread_mutex_unlock(&store->lock);
	return rc;
}

int pg_store_save_window(struct pg_store *store, uint64_t handle, const void *blob, size_t bytes)
{
	struct pg_store_operation *operation;

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

void pg_store_stats(struct pg_store *store, struct pg_store_stats *ret_stats)
{
	pthread_mutex_lock(&store->lock);
	*ret_stats = store->stats;
	ret_stats->queued = store->queued;
	pthread_mutex_unlock(&store->lock);
}

/* Signals are for the threads that expect them. */
int pg_store_start_thread(struct pg_store *store, struct pg_error *error)
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
