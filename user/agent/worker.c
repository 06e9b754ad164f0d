// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker_internal.h"

#define SOCKET_TURNS 32
#define SLEEP_MAX_MS 500 /* so that a turn of the loop shows life */

static void read_clocks(struct pg_worker *worker)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	worker->env.now_ms = now.tv_sec * 1000ull + now.tv_nsec / 1000000;
	worker->env.past_us = now.tv_nsec / 1000 % 1000;
	clock_gettime(CLOCK_REALTIME, &now);
	worker->env.unix_ms = now.tv_sec * 1000ull + now.tv_nsec / 1000000;
	atomic_store_explicit(&worker->last_turn_ms, worker->env.now_ms, memory_order_relaxed);
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void take_view(struct pg_worker *worker, const struct pg_view *view)
{
	pg_delivery_set_view(&worker->delivery, view);
	worker->view = view;
	pg_worker_set_handshake(worker, view->handshake);
}

static void take_xsk(struct pg_worker *worker, struct pg_xsk *xsk, uint32_t ifindex)
{
	struct pg_xsk *old;

	pthread_mutex_lock(&worker->xsk_lock);
	old = worker->xsk;
	worker->xsk = xsk;
	worker->ifindex = ifindex;
	worker->frame_room = NULL;
	pthread_mutex_unlock(&worker->xsk_lock);
	pg_xsk_close(old);
}

static void take_frame(struct pg_worker *worker, struct pg_message *message)
{
	struct datagram *datagram = &worker->datagrams[0];

	datagram->payload = message->data;
	datagram->bytes = message->bytes;
	datagram->source.address[0] = message->frame.source[0];
	datagram->source.address[1] = message->frame.source[1];
	datagram->source.port_be = message->frame.source_port_be;
	datagram->route = message->frame.route;
	datagram->endpoint = message->frame.endpoint;
	datagram->from = message->frame.from;
	datagram->hops = message->frame.hops;
	pg_key_cache_begin(worker->env.keys);
	pg_worker_take(worker, datagram);
	pg_worker_run(worker);
}

static int take_add(struct pg_worker *worker, struct pg_message *message)
{
	struct pg_session_add *add = (struct pg_session_add *)message->data;
	int err = pg_worker_add(worker, add);

	if (err)
		free(add->entry);
	OPENSSL_cleanse(add, sizeof(*add));
	return err;
}

/* Does one message and says whether it is still ours to free. */
static bool handle(struct pg_worker *worker, struct pg_message *message, int *ret_result)
{
	*ret_result = 0;
	switch (message->kind) {
	case PG_MESSAGE_FRAME:
		take_frame(worker, message);
		break;
	case PG_MESSAGE_ADOPT:
		*ret_result = pg_worker_adopt(worker, message->entry);
		break;
	case PG_MESSAGE_CLAIM:
		*ret_result = pg_worker_claim(worker, message->slot);
		break;
	case PG_MESSAGE_ADD:
		*ret_result = take_add(worker, message);
		break;
	case PG_MESSAGE_CLOSE:
		*ret_result = pg_worker_close(worker, message->close.session, message->close.handle,
					      message->close.code);
		break;
	case PG_MESSAGE_END:
		pg_worker_end_all(worker, message->end);
		break;
	case PG_MESSAGE_VIEW:
		take_view(worker, message->view);
		break;
	case PG_MESSAGE_XSK:
		take_xsk(worker, message->xsk.socket, message->xsk.ifindex);
		break;
	case PG_MESSAGE_LIST:
		pg_worker_fill_rows(worker, message->list.first, message->list.last,
				    message->list.rows);
		break;
	case PG_MESSAGE_APP:
		pg_worker_app_record(worker, message);
		break;
	case PG_MESSAGE_RESERVED:
		return !pg_worker_reserved(worker, message);
	case PG_MESSAGE_REFUSED:
	case PG_MESSAGE_ENTRANCES:
		break;
	case PG_MESSAGE_STOP:
		worker->stopping = true;
		break;
	}
	return true;
}

static bool take_messages(struct pg_worker *worker)
{
	struct pg_message *message;
	struct pg_waiter *waiter;
	bool any = false;
	int result;

	for (int i = 0; i < 4 * BATCH && (message = pg_inbox_take(&worker->inbox)); i++) {
		any = true;
		pg_key_cache_begin(worker->env.keys); /* no job refers to a key now */
		waiter = message->waiter;
		if (handle(worker, message, &result))
			free(message);
		/* what the waiter sees done is published */
		if (waiter) {
			pg_worker_finish_batch(worker);
			pg_waiter_done(waiter, result);
		}
	}
	if (any)
		pg_worker_finish_batch(worker);
	return any;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

/*
 * While frames pour in through AF_XDP the kernel's sockets are looked at now and then; else when
 * poll found something in them, so that a wake-up for AF_XDP makes no call for nothing, and where
 * there were messages: while they pour in, nothing polls.
 */
static bool sockets_due(struct pg_worker *worker, bool frames, bool messages)
{
	if (frames)
		return !(++worker->turn % SOCKET_TURNS);
	return worker->sockets_ready || messages || worker->spin;
}

static bool receive_sockets(struct pg_worker *worker)
{
	bool any = false;

	for (uint32_t i = 1; i < worker->view->count; i++)
		if (worker->view->endpoints[i].used && pg_worker_receive_socket(worker, i))
			any = true;
	return any;
}

static bool receive(struct pg_worker *worker, bool messages)
{
	struct pg_xsk_frame frames[BATCH];
	bool any = false;
	uint32_t count;

	if (worker->xsk) {
		count = pg_xsk_receive(worker->xsk, frames);
		if (count) {
			pg_worker_receive_xsk(worker, frames, count);
			pg_xsk_release(worker->xsk, frames, count);
			any = true;
		}
	}
	if (!worker->serves_sockets || !sockets_due(worker, any, messages))
		return any;
	worker->sockets_ready = receive_sockets(worker);
	return any || worker->sockets_ready;
}

static void fire_timers(struct pg_worker *worker)
{
	struct pg_timer *timer;
	bool any = false;

	while ((timer = pg_wheel_due(&worker->wheel, worker->env.now_ms))) {
		struct pg_entry *entry =
			(struct pg_entry *)((uint8_t *)timer - offsetof(struct pg_entry, timer));

		pg_key_cache_begin(worker->env.keys);
		pg_worker_fire(worker, entry);
		any = true;
	}
	worker->handshake_due_ms = pg_worker_handshake_timer(worker);
	if (any || worker->unowned)
		pg_worker_finish_batch(worker);
}

#define POLLED_MAX (2 + PG_CONFIG_ENDPOINTS_MAX + PG_APPS_MAX)

/* The inbox first, the kernel's sockets behind it, in front of *ret_sockets_end. */
static uint32_t fill_polled(const struct pg_worker *worker, struct pollfd *polled,
			    uint32_t *ret_sockets_end)
{
	uint32_t n = 0;

	polled[n++] = (struct pollfd){ .fd = worker->inbox.wake_fd, .events = POLLIN };
	for (uint32_t i = 1; worker->serves_sockets && i < worker->view->count; i++)
		if (worker->view->endpoints[i].socket >= 0 && n <= PG_CONFIG_ENDPOINTS_MAX)
			polled[n++] = (struct pollfd){ .fd = worker->view->endpoints[i].socket,
						       .events = POLLIN };
	*ret_sockets_end = n;
	if (worker->xsk)
		polled[n++] = (struct pollfd){ .fd = pg_xsk_fd(worker->xsk), .events = POLLIN };
	n += pg_delivery_fill_polled(&worker->delivery, polled + n);
	return n;
}

static void note_ready(struct pg_worker *worker, const struct pollfd *polled, uint32_t sockets_end)
{
	uint64_t count;

	for (uint32_t i = 1; i < sockets_end; i++)
		worker->sockets_ready |= polled[i].revents != 0;
	if (polled[0].revents && read(worker->inbox.wake_fd, &count, sizeof(count)) < 0)
		return;
}

static void wait(struct pg_worker *worker)
{
	struct pollfd polled[POLLED_MAX];
	uint32_t count, sockets_end;
	int timeout = pg_wheel_wait_ms(&worker->wheel, worker->env.now_ms);

	if (timeout < 0 || timeout > SLEEP_MAX_MS)
		timeout = SLEEP_MAX_MS;
	if (worker->handshake_due_ms < worker->env.now_ms + timeout)
		timeout = worker->handshake_due_ms > worker->env.now_ms
				  ? worker->handshake_due_ms - worker->env.now_ms
				  : 0;
	count = fill_polled(worker, polled, &sockets_end);
	if (poll(polled, count, timeout) > 0)
		note_ready(worker, polled, sockets_end);
}

static void *loop(void *context)
{
	struct pg_worker *worker = context;
	bool busy;

	while (!worker->stopping) {
		read_clocks(worker);
		busy = take_messages(worker);
		busy |= receive(worker, busy);
		fire_timers(worker);
		if (pg_delivery_unblock(&worker->delivery) && worker->stalled) {
			pg_worker_resume_stalled(worker);
			pg_worker_finish_batch(worker);
		}
		if (!busy && !worker->spin)
			wait(worker);
	}
	if (worker->xsk)
		pg_xsk_flush(worker->xsk);
	return NULL;
}

/* --- life of a worker --------------------------------------------------------------------------
 */

int pg_worker_new(const struct pg_worker_options *options, struct pg_worker **ret_worker,
		  struct pg_error *error)
{
	struct pg_worker *worker = NULL;
	int err;

	if (posix_memalign((void **)&worker, 64, sizeof(*worker)))
		return pg_error_set(error, -ENOMEM, "out of memory for a worker");
	memset(worker, 0, sizeof(*worker));
	worker->index = options->index;
	worker->spin = options->spin;
	worker->serves_sockets = options->serves_sockets;
	worker->table = options->table;
	worker->store = options->store;
	worker->refusals = options->refusals;
	worker->env.ops = &pg_worker_engine_ops;
	worker->env.options = *options->engine;
	worker->env.owner = worker;
	pthread_mutex_init(&worker->xsk_lock, NULL);
	read_clocks(worker);
	pg_wheel_init(&worker->wheel, worker->env.now_ms);
	err = pg_inbox_init(&worker->inbox);
	if (!err)
		err = pg_aead_new(NULL, &worker->env.aead, error);
	if (!err && worker->serves_sockets)
		err = pg_source_rate_new(&worker->sources);
	if (!err)
		err = pg_key_cache_new(worker->env.aead, KEY_CACHE_ENTRIES, &worker->env.keys);
	if (err) {
		pg_worker_free(worker);
		return err;
	}
	*ret_worker = worker;
	return 0;
}

void pg_worker_set_peers(struct pg_worker *worker, struct pg_worker **workers, uint32_t count)
{
	worker->peers = workers;
	worker->peer_count = count;
}

int pg_worker_start(struct pg_worker *worker, struct pg_error *error)
{
	sigset_t all, before;
	int err;

	/* signals belong to the main thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&worker->thread, NULL, loop, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return pg_error_set(error, -err, "starting worker %u: %s", worker->index,
				    strerror(err));
	worker->started = true;
	return 0;
}

void pg_worker_stop(struct pg_worker *worker)
{
	struct pg_message *message;

	if (!worker || !worker->started)
		return;
	message = pg_message_new(PG_MESSAGE_STOP, NULL, 0);
	if (!message)
		abort();
	pg_inbox_post(&worker->inbox, message);
	pthread_join(worker->thread, NULL);
	worker->started = false;
}

void pg_worker_free(struct pg_worker *worker)
{
	if (!worker)
		return;
	pg_xsk_close(worker->xsk);
	pg_handshake_server_free(worker->handshakes);
	pg_delivery_done(&worker->delivery);
	pg_source_rate_free(worker->sources);
	pg_key_cache_free(worker->env.keys);
	pg_aead_free(worker->env.aead);
	pg_inbox_done(&worker->inbox);
	pthread_mutex_destroy(&worker->xsk_lock);
	free(worker);
}

struct pg_inbox *pg_worker_inbox(struct pg_worker *worker)
{
	return &worker->inbox;
}

struct pg_engine_env *pg_worker_env(struct pg_worker *worker)
{
	return &worker->env;
}

/* Posts and waits; a worker that does not run does it at once. */
static void do_and_wait(struct pg_worker *worker, struct pg_message *message)
{
	struct pg_waiter waiter;
	int result;

	if (!message)
		abort();
	if (!worker->started) {
		if (handle(worker, message, &result))
			free(message);
		return;
	}
	pg_waiter_init(&waiter);
	pg_waiter_add(&waiter);
	message->waiter = &waiter;
	pg_inbox_post(&worker->inbox, message);
	pg_waiter_wait(&waiter);
}

void pg_worker_set_view(struct pg_worker *worker, const struct pg_view *view)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_VIEW, NULL, 0);

	if (message)
		message->view = view;
	do_and_wait(worker, message);
}

void pg_worker_set_xsk(struct pg_worker *worker, struct pg_xsk *xsk, uint32_t ifindex)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_XSK, NULL, 0);

	if (message) {
		message->xsk.socket = xsk;
		message->xsk.ifindex = ifindex;
	}
	do_and_wait(worker, message);
}

void pg_worker_list(struct pg_worker *worker, uint32_t first, uint32_t last,
		    struct pg_session_rows *rows)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_LIST, NULL, 0);

	if (message) {
		message->list.rows = rows;
		message->list.first = first;
		message->list.last = last;
	}
	do_and_wait(worker, message);
}

void pg_worker_end(struct pg_worker *worker, const struct pg_end_request *request)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_END, NULL, 0);

	if (message)
		message->end = request;
	do_and_wait(worker, message);
}

const struct pg_worker_counts *pg_worker_counts(const struct pg_worker *worker)
{
	struct pg_worker *w = (struct pg_worker *)worker;
	const struct pg_engine_counters *engine = &worker->env.counters;

	/* the engine counts its own part; a torn read costs one scrape's accuracy at most */
	w->counts.frames_opened = engine->opened;
	w->counts.acks_sent = engine->acks;
	w->counts.duplicates_acked = engine->duplicates_acked;
	w->counts.gaps_reported = engine->gaps;
	w->counts.packets_succeeded = engine->succeeded;
	w->counts.packets_failed = engine->failed;
	w->counts.frames_begun = engine->begun;
	w->counts.frames_resent = engine->resent;
	w->counts.frames_lost = engine->lost;
	w->counts.losses_spurious = engine->spurious;
	w->counts.send_timeouts = engine->timeouts;
	w->counts.roamed = engine->roamed;
	pg_worker_count_handshakes(w);
	return &worker->counts;
}

uint64_t pg_worker_last_turn_ms(const struct pg_worker *worker)
{
	return atomic_load(&worker->last_turn_ms);
}

const char *pg_worker_aead(const struct pg_worker *worker)
{
	return pg_aead_backend_name(worker->env.aead);
}

int pg_worker_xsk_statistics(struct pg_worker *worker, struct xdp_statistics *ret_statistics)
{
	int err = -ENODEV;

	pthread_mutex_lock(&worker->xsk_lock);
	if (worker->xsk)
		err = pg_xsk_statistics(worker->xsk, ret_statistics);
	pthread_mutex_unlock(&worker->xsk_lock);
	return err;
}
