// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "worker_internal.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* --- finding the session -----------------------------------------------------------------------
 */

/* Copies a datagram to the worker that owns its session. */
void pg_worker_forward(struct pg_worker *worker, const struct datagram *datagram, uint8_t owner)
{
	struct pg_message *message;

	if (owner >= worker->peer_count || datagram->hops > 2) {
		pg_worker_reject(worker, NULL, PG_DROP_NO_SESSION);
		return;
	}
	message = pg_message_new(PG_MESSAGE_FRAME, datagram->payload, datagram->bytes);
	if (message) {
		message->frame.source[0] = datagram->source.address[0];
		message->frame.source[1] = datagram->source.address[1];
		message->frame.source_port_be = datagram->source.port_be;
		message->frame.route = datagram->route;
		message->frame.endpoint = datagram->endpoint;
		message->frame.from = datagram->from;
		message->frame.hops = datagram->hops + 1;
	}
	if (!message || pg_inbox_post(&worker->peers[owner]->inbox, message)) {
		free(message);
		pg_worker_reject(worker, NULL, PG_DROP_HANDOFF_FULL);
		return;
	}
	worker->counts.handed_frames++;
}

/* Whether the guard is due: as the endpoint says, wherever the frame came from. */
enum pg_drop pg_worker_validate(struct pg_worker *worker, struct datagram *datagram,
				uint16_t endpoint)
{
	const struct pg_view_endpoint *view = &worker->view->endpoints[endpoint];
	uint32_t bytes = datagram->bytes < PG_FRAME_MAX ? datagram->bytes : PG_FRAME_MAX;

	/* of a longer datagram a socket gives the beginning, and its length */
	return pg_frame_check(datagram->payload, datagram->payload + bytes, datagram->bytes, PG_C2S,
			      view->guard, &datagram->frame);
}

enum pg_drop pg_worker_unmatched(struct pg_worker *worker, const struct datagram *datagram)
{
	uint32_t rate = worker->table->maps->shared->unmatched_rate;

	if (!worker->sources || pg_source_rate_take(worker->sources, datagram->source.address, rate,
						    worker->env.now_ms))
		return PG_DROP_NO_SESSION;
	return PG_DROP_RATE_LIMITED;
}

/*
 * The gate's step_session for what came to a socket, over the same line: what belongs to no living
 * session goes to no other worker.
 */
static enum pg_drop session_lives(struct pg_worker *worker, const struct datagram *datagram)
{
	const struct pg_session_table *table = worker->table;
	uint32_t slot = pg_table_slot(table, datagram->frame.session);
	const struct pg_session *line = &table->maps->sessions[slot];
	uint8_t state;

	if (__atomic_load_n(&line->id, __ATOMIC_ACQUIRE) != datagram->frame.session ||
	    __atomic_load_n(&line->endpoint, __ATOMIC_RELAXED) != datagram->endpoint)
		return pg_worker_unmatched(worker, datagram);
	state = __atomic_load_n(&line->state, __ATOMIC_RELAXED);
	return state == PG_SESSION_READY || state == PG_SESSION_OPEN ? PG_DROP_NONE
								     : PG_DROP_SESSION_STATE;
}

static bool same_peer(const struct pg_session *line, const struct pg_engine_source *source)
{
	return line->peer[0] == source->address[0] && line->peer[1] == source->address[1] &&
	       line->peer_port_be == source->port_be;
}

/*
 * The session of a datagram, when this worker owns it. NULL when the datagram was refused
 * (counted) or went to its owner.
 */
static struct pg_entry *find_entry(struct pg_worker *worker, struct datagram *datagram)
{
	struct pg_session_table *table = worker->table;
	uint32_t session, slot;
	struct pg_entry *entry;
	uint8_t owner;

	if (datagram->bytes < PG_HEADER_MIN) {
		pg_worker_reject(worker, NULL, PG_DROP_FRAME_SHORT);
		return NULL;
	}
	session = pg_load_be32(datagram->payload + PG_AT_CLIENT_ID);
	slot = pg_table_slot(table, session);
	owner = atomic_load_explicit(&table->owners[slot], memory_order_acquire);
	/* one that is being handed over waits behind the session, in our own inbox */
	if (owner != PG_OWNER_NONE &&
	    (owner != worker->index || pg_worker_arriving(worker, slot))) {
		pg_worker_forward(worker, datagram, owner);
		return NULL;
	}
	entry = owner == PG_OWNER_NONE ? NULL : pg_worker_entry(worker, slot);
	if (!entry || entry->id != session ||
	    (datagram->endpoint && datagram->endpoint != entry->endpoint)) {
		pg_worker_reject(worker, NULL, PG_DROP_NO_SESSION);
		return NULL;
	}
	if (entry->linger_until_ms || entry->closed) {
		pg_worker_reject(worker, entry, PG_DROP_SESSION_STATE);
		return NULL;
	}
	return entry;
}

/* --- the batch ---------------------------------------------------------------------------------
 */

/* A guarded frame that nobody can have seen and play again: its timestamp is above all before. */
static bool fresh(const struct pg_entry *entry, const struct datagram *datagram)
{
	return datagram->frame.has_guard && pg_frame_timestamp_ms(datagram->payload) >
						    entry->engine.series.window->control_time_ms;
}

static void take_control(struct pg_worker *worker, struct datagram *datagram)
{
	struct pg_entry *entry = datagram->entry;
	enum pg_drop drop;

	/* data in front of it belongs to the state in front of it */
	if (datagram->frame.opcode >= PG_OP_OPENSTREAM) {
		pg_worker_run(worker);
		datagram->source.pinned = same_peer(entry->engine.line, &datagram->source);
	}
	if (entry->closed) {
		pg_worker_reject(worker, entry, PG_DROP_SESSION_STATE);
		return;
	}
	if (datagram->frame.opcode == PG_OP_HANDSHAKE) {
		drop = pg_worker_take_final(worker, datagram);
		if (drop)
			pg_worker_reject(worker, entry, drop);
		return;
	}
	drop = pg_engine_admit(&entry->engine, &datagram->frame, datagram->payload,
			       datagram->source.pinned);
	if (drop) {
		pg_worker_reject(worker, entry, drop);
		return;
	}
	if (fresh(entry, datagram))
		entry->route = datagram->route;
	if (datagram->frame.has_guard)
		pg_worker_confirm(worker, entry);
	if (entry->half_open) {
		pg_worker_reject(worker, entry, PG_DROP_SESSION_STATE);
		return;
	}
	drop = pg_engine_control(&entry->engine, &datagram->frame, datagram->payload,
				 &datagram->source);
	if (drop)
		pg_worker_reject(worker, entry, drop);
	pg_worker_after(worker, entry);
}

static void take_data(struct pg_worker *worker, struct datagram *datagram)
{
	struct pg_entry *entry = datagram->entry;
	struct pg_aead_job *job = &worker->jobs[worker->pending_count];
	enum pg_drop drop;

	drop = pg_engine_classify(&entry->engine, &datagram->frame, datagram->payload,
				  datagram->source.pinned, job);
	if (drop == PG_DROP_BUFFER_FULL && worker->pending_count) {
		/* every place for its key is pinned by the batch: run that first */
		pg_worker_run(worker);
		job = &worker->jobs[0];
		drop = pg_engine_classify(&entry->engine, &datagram->frame, datagram->payload,
					  datagram->source.pinned, job);
	}
	if (drop) {
		pg_worker_reject(worker, entry, drop);
		return;
	}
	worker->pending[worker->pending_count++] = datagram;
	if (worker->pending_count == BATCH)
		pg_worker_run(worker);
}

void pg_worker_take(struct pg_worker *worker, struct datagram *datagram)
{
	enum pg_drop drop = PG_DROP_NONE;
	struct pg_entry *entry;

	worker->counts.frames_received++;
	if (datagram->bytes > PG_AT_OPCODE && datagram->payload[PG_AT_OPCODE] == PG_OP_SHAKEHAND) {
		pg_worker_take_shakehand(worker, datagram);
		return;
	}
	if (datagram->endpoint) {
		/* from a socket: no gate judged it, and its rules come in the gate's order */
		drop = pg_worker_validate(worker, datagram, datagram->endpoint);
		if (!drop && !datagram->hops)
			drop = session_lives(worker, datagram);
		if (drop) {
			pg_worker_reject(worker, NULL, drop);
			return;
		}
	}
	entry = find_entry(worker, datagram);
	if (!entry)
		return;
	datagram->entry = entry;
	datagram->source.pinned = same_peer(entry->engine.line, &datagram->source);
	/* a reload may have changed it */
	if (!datagram->source.pinned)
		entry->engine.roams = worker->view->endpoints[entry->endpoint].roaming;
	if (!datagram->endpoint)
		drop = pg_worker_validate(worker, datagram, entry->endpoint);
	else if (datagram->frame.opcode == PG_OP_DATA)
		drop = pg_engine_admit(&entry->engine, &datagram->frame, datagram->payload,
				       datagram->source.pinned);
	if (!drop && entry->half_open && !datagram->source.pinned)
		drop = PG_DROP_PEER_MISMATCH;
	if (drop) {
		pg_worker_reject(worker, entry, drop);
		return;
	}
	pg_worker_touch(worker, entry);
	if (datagram->frame.opcode == PG_OP_DATA)
		take_data(worker, datagram);
	else
		take_control(worker, datagram);
}

static void apply(struct pg_worker *worker, struct datagram *datagram, int result)
{
	struct pg_entry *entry = datagram->entry;
	struct pg_route before = entry->route;
	bool acked = false;
	enum pg_drop drop;

	if (entry->closed) {
		pg_worker_reject(worker, entry, PG_DROP_SESSION_STATE);
		return;
	}
	/* an earlier frame of the batch may have moved the pin */
	datagram->source.pinned = same_peer(entry->engine.line, &datagram->source);
	if (!result)
		entry->route = datagram->route;
	if (!result && datagram->source.pinned)
		pg_worker_confirm(worker, entry);
	drop = pg_engine_data(&entry->engine, &datagram->frame, datagram->payload,
			      &datagram->source, result, &acked);
	/* the answer has gone back where this came from; only a new frame of the peer moves more */
	if (drop || !same_peer(entry->engine.line, &datagram->source))
		entry->route = before;
	if (drop) {
		if (!acked)
			pg_worker_reject(worker, entry, drop);
	} else {
		entry->frames_in++;
		entry->bytes_in += datagram->frame.payload_bytes;
		if (datagram->from != worker->index && (!entry->seen || !datagram->source.pinned)) {
			entry->forwarded = true;
			entry->forwarder = datagram->from;
		}
		entry->seen = true;
	}
	pg_worker_after(worker, entry);
}

void pg_worker_run(struct pg_worker *worker)
{
	uint32_t count = worker->pending_count;

	if (!count)
		return;
	pg_aead_open(worker->env.aead, worker->jobs, count);
	pg_key_cache_begin(worker->env.keys);
	worker->pending_count = 0;
	for (uint32_t i = 0; i < count; i++)
		apply(worker, worker->pending[i], worker->jobs[i].result);
}

void pg_worker_touch(struct pg_worker *worker, struct pg_entry *entry)
{
	if (entry->touched)
		return;
	entry->touched = true;
	entry->touched_next = worker->touched;
	worker->touched = entry;
}

static void note_latency(struct pg_worker *worker)
{
	uint64_t ns, bucket = 0;

	if (!worker->delivered)
		return;
	ns = now_ns() - worker->received_ns;
	while (bucket < PG_LATENCY_BUCKETS - 1 && ns > (1000ull << bucket))
		bucket++;
	worker->counts.latency_buckets[bucket] += worker->delivered;
	worker->counts.latency_sum_ns += ns * worker->delivered;
	worker->delivered = 0;
}

/* Ends a session's part of the batch; whether it moves to another worker now. */
static bool finish_entry(struct pg_worker *worker, struct pg_entry *entry)
{
	entry->touched = false;
	if (!entry->linger_until_ms) {
		pg_engine_publish(&entry->engine);
		pg_worker_after(worker, entry);
	}
	if (!entry->linger_until_ms)
		pg_worker_note_stalled(worker, entry);
	pg_worker_rearm(worker, entry);
	return entry->forwarded && !entry->linger_until_ms;
}

/*
 * What a session has sent and handed on from here leaves before it moves: its next owner has
 * another queue and other datagrams for the application, and would overtake what still waits in
 * these.
 */
static void hand_over_all(struct pg_worker *worker, struct pg_entry *moving)
{
	bool flushed = !worker->xsk || pg_xsk_flushed(worker->xsk);
	struct pg_entry *next;

	if (moving)
		pg_delivery_flush(&worker->delivery);
	for (; moving; moving = next) {
		next = moving->touched_next;
		if (flushed && pg_delivery_flushed(&worker->delivery, moving->endpoint))
			pg_worker_hand_over(worker, moving, moving->forwarder);
		else
			pg_worker_touch(worker, moving); /* with a later batch */
	}
}

void pg_worker_finish_batch(struct pg_worker *worker)
{
	struct pg_entry *entry, *next, *moving = NULL;

	pg_delivery_flush(&worker->delivery);
	note_latency(worker);
	for (entry = worker->touched; entry; entry = next) {
		next = entry->touched_next;
		if (!finish_entry(worker, entry))
			continue;
		entry->touched_next = moving;
		moving = entry;
	}
	worker->touched = NULL;
	while ((entry = worker->unowned)) {
		worker->unowned = entry->touched_next;
		free(entry);
	}
	if (worker->xsk)
		pg_xsk_flush(worker->xsk);
	hand_over_all(worker, moving);
}

/* --- AF_XDP ------------------------------------------------------------------------------------
 */

void pg_worker_receive_xsk(struct pg_worker *worker, const struct pg_xsk_frame *frames,
			   uint32_t count)
{
	struct pg_packet packet;

	worker->received_ns = now_ns();
	pg_key_cache_begin(worker->env.keys);
	for (uint32_t i = 0; i < count; i++) {
		struct datagram *datagram = &worker->datagrams[i];

		if (!pg_packet_parse(frames[i].data, frames[i].bytes, &packet)) {
			pg_worker_reject(worker, NULL, PG_DROP_IP_HEADER);
			continue;
		}
		datagram->payload = packet.payload;
		datagram->bytes = packet.payload_bytes;
		datagram->source.address[0] = packet.source[0];
		datagram->source.address[1] = packet.source[1];
		datagram->source.port_be = packet.source_port_be;
		datagram->endpoint = 0;
		datagram->from = worker->index;
		datagram->hops = 0;
		pg_route_from_packet(&packet, frames[i].data, worker->ifindex, &datagram->route);
		pg_worker_take(worker, datagram);
	}
	pg_worker_run(worker);
	pg_worker_finish_batch(worker);
}

/* --- the kernel's socket -----------------------------------------------------------------------
 */

static void source_from_sockaddr(const struct sockaddr_storage *from, struct pg_engine_source *to)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;

	if (from->ss_family == AF_INET) {
		to->address[0] = 0;
		to->address[1] = (uint64_t)v4->sin_addr.s_addr << 32 | 0xffff0000;
		to->port_be = v4->sin_port;
		return;
	}
	memcpy(to->address, &v6->sin6_addr, sizeof(to->address));
	to->port_be = v6->sin6_port;
}

/* Our own address, so that the answer leaves from where the question went. */
static void local_from_control(struct msghdr *message, struct pg_route *route)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			route->local[0] = 0;
			route->local[1] = (uint64_t)info.ipi_addr.s_addr << 32 | 0xffff0000;
			route->family = 4;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(route->local, &info.ipi6_addr, sizeof(route->local));
			route->family = 6;
		}
	}
}

#define CONTROL_BYTES 64

static int receive_batch(struct pg_worker *worker, int fd, struct mmsghdr *messages,
			 struct sockaddr_storage *from, struct iovec *vectors,
			 uint8_t (*control)[CONTROL_BYTES])
{
	for (uint32_t i = 0; i < BATCH; i++) {
		vectors[i].iov_base = worker->receive_buffers[i];
		vectors[i].iov_len = sizeof(worker->receive_buffers[i]);
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &vectors[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = CONTROL_BYTES,
		};
	}
	return recvmmsg(fd, messages, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
}

uint32_t pg_worker_receive_socket(struct pg_worker *worker, uint16_t endpoint)
{
	int fd = worker->view->endpoints[endpoint].socket;
	struct sockaddr_storage from[BATCH];
	uint8_t control[BATCH][CONTROL_BYTES];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	int count;

	if (fd < 0)
		return 0;
	count = receive_batch(worker, fd, messages, from, vectors, control);
	if (count <= 0)
		return 0;
	worker->received_ns = now_ns();
	pg_key_cache_begin(worker->env.keys);
	for (int i = 0; i < count; i++) {
		struct datagram *datagram = &worker->datagrams[i];

		memset(&datagram->route, 0, sizeof(datagram->route));
		local_from_control(&messages[i].msg_hdr, &datagram->route);
		source_from_sockaddr(&from[i], &datagram->source);
		datagram->payload = worker->receive_buffers[i];
		datagram->bytes = messages[i].msg_len;
		datagram->endpoint = endpoint;
		datagram->from = worker->index;
		datagram->hops = 0;
		pg_worker_take(worker, datagram);
	}
	pg_worker_run(worker);
	pg_worker_finish_batch(worker);
	return count;
}
