/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_WORKER_H
#define PG_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent.h"
#include "delivery.h"
#include "engine.h"
#include "inbox.h"
#include "session_fit.h"
#include "session_table.h"
#include "store.h"
#include "view.h"
#include "xsk.h"

/*
 * One thread per RX queue: its AF_XDP socket, the sessions it owns, their timers. Other threads
 * reach it through its inbox alone.
 */
struct pg_worker_options {
	uint32_t index;
	bool spin;
	bool serves_sockets; /* reads the kernel UDP sockets of the endpoints */
	struct pg_session_table *table;
	struct pg_store *store;
	struct pg_inbox *refusals; /* of the application sockets: pg_app_refuse */
	const struct pg_engine_options *engine;
};

struct pg_worker;

int pg_worker_new(const struct pg_worker_options *options, struct pg_worker **ret_worker,
		  struct pg_error *error);
/* All workers know one another before the first starts. */
void pg_worker_set_peers(struct pg_worker *worker, struct pg_worker **workers, uint32_t count);
int pg_worker_start(struct pg_worker *worker, struct pg_error *error);
/* Ends the thread; sessions stay in the maps. */
void pg_worker_stop(struct pg_worker *worker);
void pg_worker_free(struct pg_worker *worker);

struct pg_inbox *pg_worker_inbox(struct pg_worker *worker);
/* Of a worker that does not run. */
struct pg_engine_env *pg_worker_env(struct pg_worker *worker);

/* Each blocks until the worker has done it; call from the control thread only. */
void pg_worker_set_view(struct pg_worker *worker, const struct pg_view *view);
/* xsk NULL: the interface is detached; the old socket is closed by the worker. */
void pg_worker_set_xsk(struct pg_worker *worker, struct pg_xsk *xsk, uint32_t ifindex);

/* Copies of the entries that this worker owns within slots [first, last). */
struct pg_session_rows {
	struct pg_session_status *rows;
	size_t count, capacity;
	struct pg_stream_status *streams;
	size_t stream_count, stream_capacity;
	bool want_streams;
	/* by slot from listed_from on: was listed, and is not again; NULL = nothing was */
	bool *listed;
	uint32_t listed_from;
};

void pg_worker_list(struct pg_worker *worker, uint32_t first, uint32_t last,
		    struct pg_session_rows *rows);

/* Which sessions of slots [first, last) a worker ends, with goaway. */
struct pg_end_request {
	uint32_t first, last;
	uint32_t endpoint;	    /* all of this index; 0 = of any, that do not fit the view */
	enum pg_misfit why;	    /* of an endpoint's */
	struct pg_endings *endings; /* what was ended is added */
};

void pg_worker_end(struct pg_worker *worker, const struct pg_end_request *request);

/* Read without a lock while the worker counts. */
const struct pg_worker_counts *pg_worker_counts(const struct pg_worker *worker);
/* Monotonic ms of the last turn of the loop. */
uint64_t pg_worker_last_turn_ms(const struct pg_worker *worker);
const char *pg_worker_aead(const struct pg_worker *worker);
/* The statistics of its AF_XDP socket; -ENODEV without one. */
int pg_worker_xsk_statistics(struct pg_worker *worker, struct xdp_statistics *ret_statistics);

#endif
