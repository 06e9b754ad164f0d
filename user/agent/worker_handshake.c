// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "worker_internal.h"

/* Opening sessions: the handshake server of one worker, and what it asks of the agent. */

#define SERVER_IDS_TRIED 4096 /* slots looked at for one that is free */

/* A shakehand on its way through the server, for ops->opened. */
struct arrival {
	struct pg_shakehand question;
	const struct datagram *datagram;
};

/* --- what the server asks ----------------------------------------------------------------------
 */

static int op_authorize(void *owner, const struct pg_shakehand *question, const uint8_t *token,
			uint32_t bytes, char ret_user[PG_USER_MAX])
{
	struct pg_worker *worker = owner;

	return pg_tokens_check(worker->view->handshake->tokens, token, bytes, question->endpoint,
			       question->unix_ms / 1000, ret_user, NULL);
}

/* Server ids from a random one on: each is another slot, until the slots repeat. */
static uint32_t op_choose(void *owner, uint16_t client_id)
{
	struct pg_session_table *table = ((struct pg_worker *)owner)->table;
	uint32_t tries = table->slots / 16 ? table->slots / 16 : 1;
	uint16_t server_id;

	if (tries > SERVER_IDS_TRIED)
		tries = SERVER_IDS_TRIED;
	if (RAND_bytes((uint8_t *)&server_id, sizeof(server_id)) != 1)
		return 0;
	for (uint32_t i = 0; i <= tries; i++, server_id++) {
		uint32_t session = (uint32_t)client_id << 16 | server_id;

		if (server_id &&
		    atomic_load(&table->owners[pg_table_slot(table, session)]) == PG_OWNER_NONE)
			return session;
	}
	return 0;
}

static struct pg_entry *new_entry(const struct pg_worker *worker, const struct arrival *arrival,
				  const struct pg_handshake_session *session)
{
	struct pg_entry *entry = pg_entry_new(session->user);
	uint32_t idle_seconds = session->terms.parameters.idle_seconds;
	uint16_t wished = session->parameters.idle_seconds;

	if (!entry)
		return NULL;
	if (wished && wished < idle_seconds)
		idle_seconds = wished;
	entry->id = session->session;
	entry->slot = pg_table_slot(worker->table, entry->id);
	entry->endpoint = arrival->question.endpoint_index;
	entry->created_ms = arrival->question.unix_ms;
	entry->idle_ms = idle_seconds * 1000ull;
	entry->half_open = true;
	entry->place = session->place;
	entry->row_flags =
		PG_ROW_FLAGS(session->parameters.max_payload, session->parameters.streams);
	entry->route = arrival->datagram->route;
	return entry;
}

static int op_opened(void *owner, const struct pg_shakehand *question,
		     const struct pg_handshake_session *session)
{
	const struct arrival *arrival = (const struct arrival *)question;
	const struct pg_view_endpoint *endpoint;
	struct pg_worker *worker = owner;
	struct pg_session_add add = {
		.entry = new_entry(worker, arrival, session),
		.aead = session->terms.aead,
		.policy = session->terms.policy,
		.guard = session->terms.guard,
		.half_open = true,
		.max_payload = session->parameters.max_payload,
		.streams = session->parameters.streams,
		.send_bound = PG_FIRST_BLOCK + 1,
		.sent_time_ms = question->unix_ms,
	};
	int err;

	if (!add.entry)
		return -ENOMEM;
	endpoint = &worker->view->endpoints[add.entry->endpoint];
	add.roams = endpoint->roaming;
	memcpy(add.peer.address.bytes, question->from.source, sizeof(add.peer.address.bytes));
	add.peer.port = pg_be16(question->from.source_port_be);
	add.handle = PG_HANDLE(pg_store_new_handle(worker->store), add.entry->slot);
	err = pg_keys_derive(session->ikm, PG_SPLIT_BYTES, &add.keys);
	if (!err)
		err = pg_worker_add(worker, &add);
	if (err)
		free(add.entry);
	OPENSSL_cleanse(&add, sizeof(add));
	return err;
}

static void op_expired(void *owner, uint32_t session)
{
	struct pg_worker *worker = owner;
	struct pg_entry *entry = pg_worker_entry(worker, pg_table_slot(worker->table, session));

	if (entry && entry->id == session && entry->half_open)
		pg_worker_forget_half_open(worker, entry);
}

static const struct pg_handshake_ops ops = { op_authorize, op_choose, op_opened, op_expired };

/* --- shakehands --------------------------------------------------------------------------------
 */

static void send_answer(struct pg_worker *worker, const struct datagram *datagram,
			uint16_t endpoint, const uint8_t *answer, uint32_t bytes)
{
	const struct pg_engine_source *to = &datagram->source;
	uint8_t *room, *start;

	worker->counts.frames_sent++;
	if (!worker->xsk || !datagram->route.ifindex ||
	    datagram->route.ifindex != worker->ifindex) {
		memcpy(worker->kernel_frame + PAYLOAD_ROOM, answer, bytes);
		pg_worker_send_by_kernel(worker, endpoint, &datagram->route, to->address,
					 to->port_be, worker->kernel_frame + PAYLOAD_ROOM, bytes);
		return;
	}
	room = pg_xsk_alloc(worker->xsk);
	if (!room) {
		worker->counts.transmit_full++;
		return;
	}
	memcpy(room + PAYLOAD_ROOM, answer, bytes);
	start = pg_packet_finish(room + PAYLOAD_ROOM, bytes, &datagram->route, to->address,
				 to->port_be);
	pg_xsk_send(worker->xsk, start, room + PAYLOAD_ROOM + bytes - start);
}

/* The endpoint that an AF_XDP frame was steered for: exact addresses before wildcards. */
static uint16_t find_endpoint(const struct pg_worker *worker, const struct pg_route *route)
{
	uint16_t wildcard = 0;

	for (uint32_t i = 1; i < worker->view->count; i++) {
		const struct pg_view_endpoint *endpoint = &worker->view->endpoints[i];

		if (!endpoint->used || endpoint->port != pg_be16(route->local_port_be) ||
		    endpoint->family != route->family)
			continue;
		if (!memcmp(endpoint->address.bytes, route->local, 16))
			return i;
		if (pg_address_is_any(&endpoint->address))
			wildcard = i;
	}
	return wildcard;
}

/* A worker's reason for cookies is the gate's from the next shakehand on. */
static void want_cookies(struct pg_worker *worker)
{
	if (worker->view->handshake->rules.cookie != PG_COOKIE_DEMAND_AUTO ||
	    !pg_handshake_server_demands(worker->handshakes, worker->env.now_ms))
		return;
	atomic_store(&worker->table->cookie_wanted_ms, worker->env.now_ms);
	worker->table->maps->shared->cookie_due = 1;
}

/*
 * The gate's rule for what came to a socket: its source's bucket decides, and one that is asked for
 * a cookie takes nothing from it, so that a flood does not shut out its alleged source.
 */
static bool beyond_rate(struct pg_worker *worker, const struct pg_shakehand *question,
			const struct datagram *datagram)
{
	return datagram->endpoint && !datagram->hops &&
	       !pg_handshake_server_asks_cookie(worker->handshakes, question) &&
	       pg_worker_unmatched(worker, datagram) == PG_DROP_RATE_LIMITED;
}

static void serve(struct pg_worker *worker, struct datagram *datagram, uint16_t index)
{
	const struct pg_view_endpoint *endpoint = &worker->view->endpoints[index];
	struct arrival arrival = {
		.datagram = datagram,
		.question = {
			.bytes = datagram->payload,
			.frame = &datagram->frame,
			.from = {
				.source = { datagram->source.address[0],
					    datagram->source.address[1] },
				.target = { datagram->route.local[0], datagram->route.local[1] },
				.source_port_be = datagram->source.port_be,
				.target_port_be = pg_be16(endpoint->port),
			},
			.endpoint = endpoint->name,
			.endpoint_index = index,
			.policy = endpoint->policy,
			.guard = endpoint->guard,
			.cookie_due = worker->table->maps->shared->cookie_due,
			.now_ms = worker->env.now_ms,
			.unix_ms = worker->env.unix_ms,
		},
	};
	uint8_t answer[PG_ANSWER_MAX];
	enum pg_drop drop;
	uint32_t bytes, to;

	if (beyond_rate(worker, &arrival.question, datagram)) {
		pg_worker_reject(worker, NULL, PG_DROP_RATE_LIMITED);
		return;
	}
	to = pg_handshake_digest(worker->view->handshake->seed, &arrival.question) %
	     worker->peer_count;
	if (to != worker->index && !datagram->hops) {
		datagram->endpoint = index;
		pg_worker_forward(worker, datagram, to);
		return;
	}
	want_cookies(worker);
	/* what waits for the AEAD refers to sessions that may end their time now */
	pg_worker_run(worker);
	drop = pg_handshake_server_take(worker->handshakes, &arrival.question, answer, &bytes);
	if (drop)
		pg_worker_reject(worker, NULL, drop);
	if (bytes)
		send_answer(worker, datagram, index, answer, bytes);
}

void pg_worker_take_shakehand(struct pg_worker *worker, struct datagram *datagram)
{
	uint16_t index = datagram->endpoint;
	enum pg_drop drop;

	if (!index)
		index = find_endpoint(worker, &datagram->route);
	if (!index || !worker->view->endpoints[index].used) {
		pg_worker_reject(worker, NULL, PG_DROP_NO_SESSION);
		return;
	}
	drop = pg_worker_validate(worker, datagram, index);
	if (!drop && (!worker->view->handshake || !worker->handshakes))
		drop = PG_DROP_HANDSHAKE_OFF;
	if (drop)
		pg_worker_reject(worker, NULL, drop);
	else
		serve(worker, datagram, index);
}

/* --- READY -------------------------------------------------------------------------------------
 */

/* Stored with the next group commit; what a crash before it loses, the client opens anew. */
static void store_session(struct pg_worker *worker, const struct pg_entry *entry,
			  const uint8_t ikm[PG_SPLIT_BYTES])
{
	struct pg_store_session row = {
		.handle = PG_HANDLE_STORED(entry->engine.handle),
		.endpoint_id = worker->view->endpoints[entry->endpoint].id,
		.client_id = entry->id >> 16,
		.server_id = entry->id & 0xffff,
		.aead = entry->engine.aead,
		.policy = entry->engine.line->policy,
		.guard = entry->engine.guard,
		.flags = entry->row_flags,
		.ikm_bytes = PG_SPLIT_BYTES,
		.created_ms = entry->created_ms,
		.expires_ms = entry->expires_ms,
		.tx_bound = entry->engine.series.window->send_bound,
	};

	pg_peer_from_line(entry->engine.line, &row.peer);
	memcpy(row.ikm, ikm, PG_SPLIT_BYTES);
	snprintf(row.user, sizeof(row.user), "%s", entry->user);
	if (pg_store_add_async(worker->store, &row))
		worker->counts.not_stored++;
	OPENSSL_cleanse(&row, sizeof(row));
}

void pg_worker_confirm(struct pg_worker *worker, struct pg_entry *entry)
{
	uint8_t ikm[PG_SPLIT_BYTES];

	if (!entry->half_open || !worker->handshakes ||
	    pg_handshake_server_ready(worker->handshakes, entry->place, entry->id,
				      worker->env.now_ms, ikm))
		return;
	entry->half_open = false;
	store_session(worker, entry, ikm);
	OPENSSL_cleanse(ikm, sizeof(ikm));
	__atomic_store_n(&entry->engine.line->state, PG_SESSION_READY, __ATOMIC_RELEASE);
	pg_worker_announce(worker, entry);
}

enum pg_drop pg_worker_take_final(struct pg_worker *worker, struct datagram *datagram)
{
	struct pg_entry *entry = datagram->entry;
	const __u64 *words = entry->engine.line->guard_c2s;
	__u64 key[2] = { words[0], words[1] };

	if (!datagram->source.pinned)
		return PG_DROP_PEER_MISMATCH;
	/* 9 bytes with the guard off, too, where the validator took it for payload */
	if (datagram->frame.payload_bytes != 1 + PG_GUARD_BYTES ||
	    !pg_guard_check(key, datagram->payload, &datagram->frame))
		return PG_DROP_GUARD;
	if (datagram->payload[datagram->frame.header_bytes] != PG_HANDSHAKE_ACCEPTED)
		return PG_DROP_UNEXPECTED;
	pg_worker_confirm(worker, entry);
	return PG_DROP_NONE;
}

/* --- rules and timers --------------------------------------------------------------------------
 */

int pg_worker_set_handshake(struct pg_worker *worker, const struct pg_handshake_view *view)
{
	if (!view)
		return 0;
	if (worker->handshakes) {
		pg_handshake_server_set_rules(worker->handshakes, &view->rules);
		return 0;
	}
	return pg_handshake_server_new(&view->rules, &ops, worker, &worker->handshakes);
}

uint64_t pg_worker_handshake_timer(struct pg_worker *worker)
{
	if (!worker->handshakes)
		return UINT64_MAX;
	return pg_handshake_server_timer(worker->handshakes, worker->env.now_ms);
}

void pg_worker_count_handshakes(struct pg_worker *worker)
{
	const struct pg_handshake_counters *from;

	if (!worker->handshakes)
		return;
	from = pg_handshake_server_counters(worker->handshakes);
#define PG_X(name, ...) worker->counts.hs_##name = from->name;
	PG_HANDSHAKE_COUNTERS(PG_X)
#undef PG_X
}
