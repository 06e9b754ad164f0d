/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_STORE_H
#define PG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "error.h"
#include "handshake_server.h"
#include "keys.h"

/*
 * What outlives the agent's process (DESIGN section 4, "Store"): endpoint ids, sessions with their
 * sealed secrets, reserved blocks of ids, keyed hashes of used secrets. One thread owns an SQLite
 * database; nothing is written per frame.
 *
 * Asynchronous calls (add_async, reserve, remove_async, update_peer) copy their input into a
 * bounded queue and return at once, without an allocation or a system call but to wake a sleeping
 * store thread; they may be called from any thread, a worker's and the store's own included. What
 * is queued is committed together, 10 ms after the first of it or earlier. Synchronous calls see
 * everything queued before them, are committed at once, and may be called from any thread but the
 * store's own
 * (-EDEADLK) and, because they wait for a disk, a worker's.
 *
 * Committed means: it survives the death of the process. After a loss of power the last commits
 * may be gone; pg_store_past tells.
 *
 * Errors of synchronous calls, besides those named: -ENOSPC, -EIO and the like when the file system
 * refuses (nothing of the call is stored, and the store goes on), -EUCLEAN when the database is
 * damaged. error may always be NULL.
 */
struct pg_store;

#define PG_STORE_ADD_MAX      100000 /* sessions in one call */
#define PG_STORE_QUEUE_MAX    4096   /* asynchronous requests that wait */
#define PG_STORE_WINDOW_BYTES 512    /* largest saved window */

struct pg_store_options {
	const char *directory; /* made with mode 0700 if it is missing, not its parents */
	const char *key_path;  /* NULL = machine.key in the directory; made if missing */
	const char *instance;  /* a directory belongs to the instance that used it first */
};

/* How the run before this one ended. */
enum pg_store_past {
	PG_STORE_NEW,	   /* there was none */
	PG_STORE_CLEAN,	   /* with pg_store_mark_clean: everything is there, windows too */
	PG_STORE_DIED,	   /* the process died: everything acknowledged is there */
	PG_STORE_REBOOTED, /* the machine started anew meanwhile: the last commits may be gone */
};

#define PG_STORE_GUARD_UNKNOWN (-1) /* of a row that is older than schema 3 */

struct pg_store_session {
	uint64_t handle; /* given by the store, from 1, never given again */
	uint32_t endpoint_id;
	uint16_t client_id, server_id; /* not 0; unique together */
	struct pg_peer peer;
	uint8_t aead;
	uint8_t policy;
	int8_t guard;	/* 0, 1, or PG_STORE_GUARD_UNKNOWN */
	uint32_t flags; /* the caller's */
	/* Its secret came from outside, and pg_store_add refuses it for ever after. */
	bool provisioned;
	uint8_t ikm[PG_SPLIT_BYTES];
	size_t ikm_bytes; /* 32 if provisioned, else 64 */
	uint64_t created_ms;
	uint64_t expires_ms;	/* 0 = never */
	char user[PG_USER_MAX]; /* whom its token named, "" = nobody */
	/* Ids below them are reserved (PROTOCOL section 2); they only ever rise. */
	uint64_t tx_bound, rx_bound, stream_bound;
	/* Only from pg_store_sessions: what pg_store_save_window saved, or NULL. */
	const void *window;
	size_t window_bytes;
};

/*
 * Opens or makes the store and starts its thread. Processes that are forked must be forked before,
 * or they keep the lock of the directory.
 * Returns 0; -EBUSY if another agent has the directory (the sentence names its pid); -EPERM if
 * others may use the directory or the key; -ENOKEY or -EKEYREJECTED if the key that sealed the
 * rows is missing or another; -ENOTSUP if the database is of a newer schema; -EUCLEAN if it is
 * damaged; -EINVAL if it is another program's or instance's; or another errno.
 */
int pg_store_open(const struct pg_store_options *options, struct pg_store **ret_store,
		  struct pg_error *error);

/*
 * Commits what is queued, answers it, and frees the store; NULL is allowed. No other thread may be
 * in a call or begin one; the store's own callbacks get -ESHUTDOWN.
 */
void pg_store_close(struct pg_store *store);

/* Counts the openings of this store, this one included. */
uint64_t pg_store_generation(const struct pg_store *store);

enum pg_store_past pg_store_past(const struct pg_store *store);

/* The id of an endpoint's name (1 to 31 bytes), from 1; it belongs to that name for ever. */
int pg_store_endpoint_id(struct pg_store *store, const char *name, uint32_t *ret_id,
			 struct pg_error *error);

/* row and its window are valid during the call, its ikm is wiped afterwards. Not 0 stops. */
typedef int pg_store_session_fn(void *context, const struct pg_store_session *row);

/*
 * Calls back for every session in the order of handles, in the calling thread; the callback may
 * use the store, and rows that it removes or changes may have been read before. Returns what the
 * callback returned if not 0, -EBADMSG if a sealed secret was changed or moved (the sentence names
 * the row; those before it were handed out).
 */
int pg_store_sessions(struct pg_store *store, pg_store_session_fn *callback, void *context,
		      struct pg_error *error);

/*
 * Stores count (1 to PG_STORE_ADD_MAX) sessions, all or none, and fills in their handles. Returns
 * -EEXIST if a secret was ever provisioned before or a pair of ids is taken, -ENOENT if there is no
 * such endpoint, -EINVAL if a row is wrong: *ret_failed_index (may be NULL) is then the row.
 * -E2BIG if there are too many rows.
 */
int pg_store_add(struct pg_store *store, struct pg_store_session *rows, size_t count,
		 size_t *ret_failed_index, struct pg_error *error);

/* A handle for a session that may be stored later. Never given again within this run. */
uint64_t pg_store_new_handle(struct pg_store *store);

/*
 * Stores one session that a handshake opened (provisioned is not set) under row->handle, which
 * pg_store_new_handle gave, with the next group commit. A row that the database refuses is only
 * counted: the session lives until the next start. -EINVAL if the row is wrong, -EAGAIN if the
 * queue is full.
 */
int pg_store_add_async(struct pg_store *store, const struct pg_store_session *row);

/* The session goes, the hash of its secret stays. -ENOENT if there is no such session. */
int pg_store_remove(struct pg_store *store, uint64_t handle, struct pg_error *error);

/* Called in the store thread after the commit; must not block. */
typedef void pg_store_removed_fn(void *context, uint64_t handle, int result);

/* done may be NULL. Returns 0 (done will be called, once), -EAGAIN if the queue is full. */
int pg_store_remove_async(struct pg_store *store, uint64_t handle, pg_store_removed_fn *done,
			  void *context);

enum pg_reserve_kind { PG_RESERVE_TX, PG_RESERVE_RX, PG_RESERVE_STREAM, PG_RESERVE_KIND_COUNT };

/*
 * Called in the store thread after the commit; must not block. With result 0 bound is the stored
 * one: at least what was asked for. Otherwise nothing was reserved and bound means nothing: -ENOENT
 * if the session is gone, or why the commit failed.
 */
typedef void pg_store_reserved_fn(void *context, uint64_t handle, enum pg_reserve_kind kind,
				  uint64_t bound, int result);

/*
 * Raises a bound; done may be NULL. Returns 0 (done will be called, once), -EAGAIN if the queue is
 * full, -EINVAL if bound is above INT64_MAX or kind is none.
 */
int pg_store_reserve(struct pg_store *store, uint64_t handle, enum pg_reserve_kind kind,
		     uint64_t bound, pg_store_reserved_fn *done, void *context);

/*
 * Stores where a session's peer is now. Updates of one session that wait may become one. A commit
 * that fails is only counted: the next update repairs it. -EAGAIN if the queue is full.
 */
int pg_store_update_peer(struct pg_store *store, uint64_t handle, const struct pg_peer *peer);

/*
 * At a clean stop: save the exact receive state of every session, then mark the run clean. A save
 * is queued and waits for room, so it is no worker's call; -EINVAL unless bytes is 1 to 512. Its
 * failure is what pg_store_mark_clean returns. When that returned 0 everything is on the disk,
 * and nothing may be received or reserved any more.
 */
int pg_store_save_window(struct pg_store *store, uint64_t handle, const void *blob, size_t bytes);
int pg_store_mark_clean(struct pg_store *store, struct pg_error *error);

/*
 * At a start, once the saved windows are adopted and before a frame is taken. Windows of a run that
 * did not end clean are forgotten by pg_store_open. When this returned 0 the disk holds that they
 * are gone and that a run began: a machine that fails does not bring them back.
 */
int pg_store_clear_windows(struct pg_store *store, struct pg_error *error);

/* Returns when everything queued before is committed: then there is room again. */
void pg_store_flush(struct pg_store *store);

struct pg_store_stats {
	uint64_t commits;	 /* transactions that wrote */
	uint64_t failures;	 /* transactions that the database or its file system refused */
	uint64_t refused;	 /* -EAGAIN */
	uint64_t queued;	 /* asynchronous requests that wait now */
	uint64_t last_commit_ns; /* how long the last commit took, from its begin */
};

void pg_store_stats(struct pg_store *store, struct pg_store_stats *ret_stats);

#endif
