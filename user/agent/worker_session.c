// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "aead.h"
#include "app_answers.h"
#include "cleanup.h"
#include "worker_internal.h"

#define REMOVE_RETRY_MS 100

#define SEND_BLOCK 4096 /* packIds of one reservation at most, PROTOCOL section 2 */

static struct pg_worker *worker_of(struct pg_engine *engine)
{
	return engine->env->owner;
}

static struct pg_entry *entry_of(struct pg_engine *engine)
{
	return engine->owner;
}

struct pg_entry *pg_worker_entry(struct pg_worker *worker, uint32_t slot)
{
	struct pg_session_table *table = worker->table;
	struct pg_entry *entry;

	/* the entries of others may be freed under our hands */
	if (atomic_load_explicit(&table->owners[slot], memory_order_acquire) != worker->index)
		return NULL;
	entry = atomic_load_explicit(&table->entries[slot], memory_order_acquire);
	return entry && entry->engine.env == &worker->env ? entry : NULL;
}

/* --- records for applications ------------------------------------------------------------------
 */

int pg_worker_put(struct pg_worker *worker, struct pg_entry *entry, uint32_t place,
		  const struct pg_engine_event *event)
{
	struct pg_app_record record = {
		.kind = event->kind,
		.transport = PG_APP_UDP,
		.session = pg_be64(entry->engine.handle),
		.stream = pg_be32(event->stream),
		.message = pg_be32(event->message),
	};

	return pg_delivery_put(&worker->delivery, entry->endpoint, place, &record, event->bytes,
			       event->length);
}

/* The peer, and whom its token named on a line of its own. */
static void describe(const struct pg_entry *entry, char *text, size_t bytes)
{
	struct pg_peer peer;
	char address[PG_PEER_TEXT];

	pg_peer_from_line(entry->engine.line, &peer);
	snprintf(text, bytes, "%s%s%s", pg_address_print_peer(&peer, address),
		 *entry->user ? "\n" : "", entry->user);
}

/* An application hears of a session before the first record of it. */
void pg_worker_announce(struct pg_worker *worker, struct pg_entry *entry)
{
	struct pg_engine_event event = { .kind = PG_APP_SESSION_OPEN };
	char text[PG_PEER_TEXT + 1 + PG_USER_MAX];

	if (entry->half_open)
		return;
	for (uint32_t place = 0; place <= worker->view->route_count; place++) {
		struct pg_app_out *out = pg_delivery_out(&worker->delivery, entry->endpoint, place);

		if (!out || entry->announced[place] == (uint32_t)out->connection->id)
			continue;
		describe(entry, text, sizeof(text));
		event.bytes = (const uint8_t *)text;
		event.length = strlen(text);
		if (!pg_worker_put(worker, entry, place, &event))
			entry->announced[place] = out->connection->id;
	}
}

/* Which application hears of it: that of the message's route, or all. */
static void put_event(struct pg_worker *worker, struct pg_entry *entry,
		      const struct pg_engine_event *event)
{
	uint32_t first = 0, last = worker->view->route_count;

	if (event->kind == PG_APP_SENT || event->kind == PG_APP_FAILED)
		first = last =
			pg_delivery_place(&worker->delivery, entry->endpoint, event->message);
	for (uint32_t place = first; place <= last; place++)
		if (pg_worker_put(worker, entry, place, event) &&
		    (!place || pg_delivery_out(&worker->delivery, entry->endpoint, place)))
			worker->counts.app_events_lost++;
}

void pg_worker_put_message(struct pg_worker *worker, struct pg_entry *entry,
			   const struct pg_engine_event *event)
{
	uint32_t place = pg_delivery_place(&worker->delivery, entry->endpoint, event->message);

	if (pg_worker_put(worker, entry, place, event)) {
		worker->counts.app_events_lost++;
		return;
	}
	worker->counts.messages_delivered++;
	worker->counts.bytes_delivered += event->length;
	worker->delivered++;
}

/* --- what the engine asks ----------------------------------------------------------------------
 */

static enum pg_drop op_ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	struct pg_worker *worker = worker_of(engine);
	struct pg_entry *entry = entry_of(engine);

	switch (worker->view->endpoints[entry->endpoint].deliver) {
	case PG_DELIVER_ECHO:
		return pg_engine_sendable(engine, stream, bytes) ? PG_DROP_SEND_BLOCKED
								 : PG_DROP_NONE;
	case PG_DELIVER_APP:
		return pg_delivery_ready(&worker->delivery, entry->endpoint, bytes);
	default:
		return PG_DROP_NONE;
	}
}

static void op_event(struct pg_engine *engine, const struct pg_engine_event *event)
{
	struct pg_worker *worker = worker_of(engine);
	struct pg_entry *entry = entry_of(engine);
	const struct pg_view_endpoint *view = &worker->view->endpoints[entry->endpoint];

	if (event->kind == PG_APP_GAP)
		entry->gaps++;
	if (view->deliver == PG_DELIVER_APP)
		pg_worker_announce(worker, entry);
	if (event->kind == PG_APP_MESSAGE && view->format == PG_FORMAT_MESSAGE)
		pg_worker_take_messages(worker, entry, event);
	else if (event->kind == PG_APP_MESSAGE && view->deliver == PG_DELIVER_APP)
		pg_worker_put_message(worker, entry, event);
	else if (view->deliver == PG_DELIVER_APP)
		put_event(worker, entry, event);
	else if (event->kind == PG_APP_MESSAGE && view->deliver == PG_DELIVER_ECHO &&
		 pg_engine_send(engine, event->stream, event->bytes, event->length, 0))
		pg_worker_reject(worker, entry, PG_DROP_SEND_BLOCKED);
}

/* Whether this session's frames can leave through the worker's own AF_XDP socket. */
static bool leaves_by_xsk(const struct pg_worker *worker, const struct pg_entry *entry)
{
	return worker->xsk && entry->route.ifindex && entry->route.ifindex == worker->ifindex;
}

static uint8_t *op_frame_alloc(struct pg_engine *engine)
{
	struct pg_worker *worker = worker_of(engine);
	struct pg_entry *entry = entry_of(engine);

	/* room that was asked for and never sent */
	if (worker->frame_room && worker->frame_from_xsk)
		pg_xsk_cancel(worker->xsk, worker->frame_room);
	worker->frame_from_xsk = leaves_by_xsk(worker, entry);
	worker->frame_room =
		worker->frame_from_xsk ? pg_xsk_alloc(worker->xsk) : worker->kernel_frame;
	if (!worker->frame_room) {
		worker->counts.transmit_full++;
		return NULL;
	}
	return worker->frame_room + PAYLOAD_ROOM;
}

static void fill_sockaddr(const uint64_t peer[2], uint16_t port_be, int family,
			  struct sockaddr_storage *to, socklen_t *ret_bytes)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = port_be;
		v4->sin_addr.s_addr = peer[1] >> 32;
		*ret_bytes = sizeof(*v4);
		return;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = port_be;
	memcpy(&v6->sin6_addr, peer, sizeof(v6->sin6_addr));
	*ret_bytes = sizeof(*v6);
}

/* The source address of an answer that leaves through a wildcard socket. */
static void fill_pktinfo(struct msghdr *message, const struct pg_route *route)
{
	struct cmsghdr *c = message->msg_control;

	if (route->family == 4) {
		struct in_pktinfo info = { .ipi_spec_dst.s_addr = route->local[1] >> 32 };

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		message->msg_controllen = CMSG_SPACE(sizeof(info));
	} else if (route->family == 6) {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, route->local, sizeof(info.ipi6_addr));
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		message->msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		message->msg_control = NULL;
		message->msg_controllen = 0;
	}
}

void pg_worker_send_by_kernel(struct pg_worker *worker, uint16_t endpoint,
			      const struct pg_route *route, const uint64_t peer[2],
			      uint16_t peer_port_be, uint8_t *frame, uint32_t bytes)
{
	const struct pg_view_endpoint *view = &worker->view->endpoints[endpoint];
	uint8_t control[64] __attribute__((aligned(8))) = { 0 };
	struct iovec vector = { .iov_base = frame, .iov_len = bytes };
	struct sockaddr_storage to;
	struct msghdr message = {
		.msg_name = &to,
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	if (view->socket < 0) {
		worker->counts.transmit_full++;
		return;
	}
	fill_sockaddr(peer, peer_port_be, view->family == 4 ? AF_INET : AF_INET6, &to,
		      &message.msg_namelen);
	fill_pktinfo(&message, route);
	if (sendmsg(view->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		worker->counts.transmit_full++;
}

static void op_frame_send(struct pg_engine *engine, uint8_t *frame, uint32_t bytes)
{
	struct pg_worker *worker = worker_of(engine);
	struct pg_entry *entry = entry_of(engine);
	const struct pg_session *line = engine->line;
	uint64_t peer[2] = { line->peer[0], line->peer[1] };
	uint8_t *start;

	worker->frame_room = NULL;
	worker->counts.frames_sent++;
	if (frame[PG_AT_OPCODE] == PG_OP_DATA) {
		entry->frames_out++;
		entry->bytes_out += bytes;
	}
	if (!worker->frame_from_xsk) {
		pg_worker_send_by_kernel(worker, entry->endpoint, &entry->route, peer,
					 line->peer_port_be, frame, bytes);
		return;
	}
	start = pg_packet_finish(frame, bytes, &entry->route, peer, line->peer_port_be);
	pg_xsk_send(worker->xsk, start, frame + bytes - start);
}

static int op_stream_attach(struct pg_engine *engine, uint32_t stream,
			    struct pg_stream_memory *ret_memory)
{
	struct pg_session_table *table = worker_of(engine)->table;
	struct pg_maps *maps = table->maps;
	uint32_t slot;
	int err;

	err = pg_table_take_stream(table, &slot);
	if (err)
		return err;
	maps->stream_lines[slot].session_slot = entry_of(engine)->slot;
	maps->stream_lines[slot].stream = stream;
	maps->stream_windows[slot].handle = engine->handle;
	ret_memory->line = &maps->stream_lines[slot];
	ret_memory->window = &maps->stream_windows[slot];
	ret_memory->slot = slot;
	return 0;
}

static int op_stream_publish(struct pg_engine *engine, const struct pg_stream *stream)
{
	struct pg_stream_key key = {
		.session_slot = entry_of(engine)->slot,
		.stream = stream->series.stream,
	};
	struct pg_stream_ref ref = { .slot = stream->slot };

	if (bpf_map_update_elem(worker_of(engine)->table->maps->streams, &key, &ref, BPF_ANY))
		return -errno;
	return 0;
}

static void op_stream_detach(struct pg_engine *engine, const struct pg_stream *stream)
{
	struct pg_session_table *table = worker_of(engine)->table;
	struct pg_stream_key key = {
		.session_slot = entry_of(engine)->slot,
		.stream = stream->series.stream,
	};

	bpf_map_delete_elem(table->maps->streams, &key);
	pg_table_give_stream(table, stream->slot);
}

/* Where the answer to a reservation goes: to whoever owns the slot then. */
struct reservation {
	struct pg_worker *worker;
	uint32_t slot;
};

/* In the store's thread. */
static void answer_reservation(void *context, uint64_t handle, enum pg_reserve_kind kind,
			       uint64_t bound, int result)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_RESERVED, NULL, 0);
	PG_FREE struct reservation *reservation = context;

	if (!message)
		return;
	message->reserved.handle = handle;
	message->reserved.slot = reservation->slot;
	message->reserved.bound = bound > UINT32_MAX ? UINT32_MAX : bound;
	message->reserved.kind =
		kind == PG_RESERVE_TX ? PG_ENGINE_RESERVE_SEND : PG_ENGINE_RESERVE_STREAM;
	message->reserved.result = result;
	pg_inbox_post(&reservation->worker->inbox, message);
}

static void op_reserve(struct pg_engine *engine, enum pg_reserve kind, uint32_t bound)
{
	enum pg_reserve_kind what =
		kind == PG_ENGINE_RESERVE_SEND ? PG_RESERVE_TX : PG_RESERVE_STREAM;
	struct reservation *reservation = malloc(sizeof(*reservation));
	struct pg_worker *worker = worker_of(engine);

	if (reservation)
		*reservation = (struct reservation){ worker, entry_of(engine)->slot };
	if (!reservation || pg_store_reserve(worker->store, PG_HANDLE_STORED(engine->handle), what,
					     bound, answer_reservation, reservation)) {
		free(reservation);
		pg_engine_reserve_failed(engine, kind);
	}
}

static void op_peer_moved(struct pg_engine *engine)
{
	/* a restored peer has no link address yet */
	if (!engine->roaming)
		entry_of(engine)->route.ifindex = 0;
}

static void op_peer_proven(struct pg_engine *engine)
{
	struct pg_worker *worker = worker_of(engine);
	struct pg_peer peer;

	pg_peer_from_line(engine->line, &peer);
	pg_store_update_peer(worker->store, PG_HANDLE_STORED(engine->handle), &peer);
}

static void op_closed(struct pg_engine *engine, uint8_t code)
{
	struct pg_entry *entry = entry_of(engine);

	entry->closed = true;
	entry->close_code = code;
	pg_worker_touch(worker_of(engine), entry);
}

static void op_random(uint8_t *bytes, uint32_t count)
{
	if (getrandom(bytes, count, 0) != (ssize_t)count)
		memset(bytes, 0x5a, count); /* cannot fail for so few bytes */
}

const struct pg_engine_ops pg_worker_engine_ops = {
	.ready = op_ready,
	.event = op_event,
	.frame_alloc = op_frame_alloc,
	.frame_send = op_frame_send,
	.stream_attach = op_stream_attach,
	.stream_publish = op_stream_publish,
	.stream_detach = op_stream_detach,
	.reserve = op_reserve,
	.peer_moved = op_peer_moved,
	.peer_proven = op_peer_proven,
	.closed = op_closed,
	.random = op_random,
};

/* --- life of a session -------------------------------------------------------------------------
 */

static uint64_t left_of(uint64_t end, uint64_t now)
{
	return end > now ? end - now : 0;
}

/*
 * How long the session may still last: until its Unix time, and until the end of its silence, which
 * no step of the wall clock makes longer or shorter, and a restart begins anew. UINT64_MAX = for
 * ever.
 */
static uint64_t left_ms(const struct pg_worker *worker, const struct pg_entry *entry)
{
	uint64_t left = UINT64_MAX, idle;

	if (entry->half_open)
		return left; /* the handshake server has its time */
	if (entry->expires_ms)
		left = left_of(entry->expires_ms, worker->env.unix_ms);
	if (!entry->idle_ms)
		return left;
	idle = left_of(entry->engine.alive_ms + entry->idle_ms, worker->env.now_ms);
	return idle < left ? idle : left;
}

void pg_worker_rearm(struct pg_worker *worker, struct pg_entry *entry)
{
	uint64_t deadline = entry->engine.deadline_ms;
	uint64_t left = left_ms(worker, entry);

	if (entry->linger_until_ms) {
		pg_timer_set(&worker->wheel, &entry->timer, entry->linger_until_ms);
		return;
	}
	if (left < UINT64_MAX - worker->env.now_ms && worker->env.now_ms + left < deadline)
		deadline = worker->env.now_ms + left;
	pg_timer_set(&worker->wheel, &entry->timer, deadline);
}

void pg_worker_note_stalled(struct pg_worker *worker, struct pg_entry *entry)
{
	if (entry->stalled || !entry->engine.stalled)
		return;
	entry->stalled = true;
	entry->stalled_next = worker->stalled;
	worker->stalled = entry;
}

static void leave_stalled(struct pg_worker *worker, struct pg_entry *entry)
{
	struct pg_entry **at = &worker->stalled;

	if (!entry->stalled)
		return;
	while (*at != entry)
		at = &(*at)->stalled_next;
	*at = entry->stalled_next;
	entry->stalled = false;
}

void pg_worker_resume_stalled(struct pg_worker *worker)
{
	struct pg_entry *entry = worker->stalled, *next;

	worker->stalled = NULL;
	for (; entry; entry = next) {
		next = entry->stalled_next;
		entry->stalled = false;
		if (entry->linger_until_ms)
			continue;
		pg_key_cache_begin(worker->env.keys);
		pg_worker_touch(worker, entry);
		pg_engine_resume(&entry->engine);
		pg_worker_after(worker, entry);
	}
}

/* Whether the store has been told of a session's end. */
static bool row_removed(struct pg_worker *worker, struct pg_entry *entry)
{
	if (entry->unremoved)
		entry->unremoved =
			pg_store_remove_async(worker->store, PG_HANDLE_STORED(entry->engine.handle),
					      NULL, NULL) == -EAGAIN;
	return !entry->unremoved;
}

/* Empties the slot of a closed session, which is owner's then. */
static void forget(struct pg_worker *worker, struct pg_entry *entry, uint8_t owner)
{
	struct pg_session_table *table = worker->table;

	pg_timer_cancel(&worker->wheel, &entry->timer);
	pg_table_retract(table, entry->slot);
	atomic_store(&table->entries[entry->slot], NULL);
	atomic_store(&table->owners[entry->slot], owner);
	entry->engine.env = NULL;
	leave_stalled(worker, entry);
	if (entry->touched) {
		struct pg_entry **at = &worker->touched;

		while (*at != entry)
			at = &(*at)->touched_next;
		*at = entry->touched_next;
	}
	entry->touched_next = worker->unowned;
	worker->unowned = entry;
}

void pg_worker_forget_half_open(struct pg_worker *worker, struct pg_entry *entry)
{
	if (worker->handshakes)
		pg_handshake_server_drop(worker->handshakes, entry->place, entry->id);
	pg_engine_done(&entry->engine);
	atomic_fetch_sub(&worker->table->sessions, 1);
	forget(worker, entry, PG_OWNER_NONE);
}

void pg_worker_after(struct pg_worker *worker, struct pg_entry *entry)
{
	struct pg_engine_event event = { .kind = PG_APP_SESSION_CLOSED, .length = 1 };
	struct pg_engine *engine = &entry->engine;

	if (!entry->closed || entry->linger_until_ms)
		return;
	if (entry->half_open) {
		pg_worker_forget_half_open(worker, entry);
		return;
	}
	event.bytes = &entry->close_code;
	op_event(engine, &event);
	__atomic_store_n(&engine->line->state, PG_SESSION_CLOSE, __ATOMIC_RELEASE);
	pg_engine_retire(engine);
	entry->unremoved = true;
	row_removed(worker, entry);
	atomic_fetch_sub(&worker->table->sessions, 1);
	entry->linger_until_ms = worker->env.now_ms + CLOSE_LINGER_MS;
	pg_worker_rearm(worker, entry);
}

void pg_worker_fire(struct pg_worker *worker, struct pg_entry *entry)
{
	if (entry->linger_until_ms) {
		if (row_removed(worker, entry)) {
			forget(worker, entry, PG_OWNER_NONE);
			return;
		}
		entry->linger_until_ms = worker->env.now_ms + REMOVE_RETRY_MS;
		pg_worker_rearm(worker, entry);
		return;
	}
	pg_worker_touch(worker, entry);
	if (!left_ms(worker, entry))
		pg_engine_close(&entry->engine, PG_GOAWAY_EXPIRED);
	else if (entry->engine.deadline_ms <= worker->env.now_ms)
		pg_engine_timer(&entry->engine);
	pg_worker_after(worker, entry);
}

int pg_worker_adopt(struct pg_worker *worker, struct pg_entry *entry)
{
	entry->engine.env = &worker->env;
	pg_worker_touch(worker, entry);
	pg_worker_end_misfit(worker, entry);
	return 0;
}

bool pg_worker_arriving(struct pg_worker *worker, uint32_t slot)
{
	struct pg_entry *entry = atomic_load(&worker->table->entries[slot]);

	return entry && entry->engine.env != &worker->env;
}

/* Streams that an earlier process left in the pinned maps. */
static void adopt_streams(struct pg_worker *worker, struct pg_entry *entry)
{
	struct pg_session_table *table = worker->table;
	uint32_t next = table->adopt_first[entry->slot];

	for (; next; next = table->adopt_next[next - 1]) {
		struct pg_stream_memory memory = {
			.line = &table->maps->stream_lines[next - 1],
			.window = &table->maps->stream_windows[next - 1],
			.slot = next - 1,
		};

		pg_engine_adopt_stream(&entry->engine, memory.line->stream, &memory);
	}
}

static void start_engine(struct pg_worker *worker, const struct pg_session_add *add)
{
	struct pg_maps *maps = worker->table->maps;
	struct pg_entry *entry = add->entry;
	struct pg_engine_start start = {
		.line = &maps->sessions[entry->slot],
		.window = &maps->windows[entry->slot],
		.opened = &maps->opened[entry->slot],
		.others_time_ms = &maps->acks[entry->slot].sent_time_ms,
		.keys = &add->keys,
		.handle = add->handle,
		.aead = add->aead,
		.guard = add->guard,
		.roams = add->roams,
		.max_payload = add->max_payload,
		.streams_at_once = add->streams,
		.owner = entry,
	};

	/* what is pinned may be an address that did not prove itself in the old process' time */
	if (add->adopt) {
		pg_peer_to_line(&add->peer, start.line);
		start.line->endpoint = entry->endpoint;
	} else {
		pg_table_publish(worker->table, entry->slot, add);
	}
	pg_engine_init(&entry->engine, &worker->env, &start);
}

int pg_worker_claim(struct pg_worker *worker, uint32_t slot)
{
	struct pg_entry *entry = pg_worker_entry(worker, slot);

	if (atomic_load(&worker->table->owners[slot]) != worker->index)
		return -ESTALE;
	if (!entry || !entry->linger_until_ms)
		return -EEXIST;
	if (!row_removed(worker, entry))
		return -EAGAIN;
	forget(worker, entry, worker->index);
	return 0;
}

int pg_worker_add(struct pg_worker *worker, const struct pg_session_add *add)
{
	struct pg_session_table *table = worker->table;
	struct pg_entry *entry = add->entry;
	uint8_t none = PG_OWNER_NONE;

	/* another worker's handshake may have taken the slot meanwhile */
	if (!add->claimed &&
	    !atomic_compare_exchange_strong(&table->owners[entry->slot], &none, worker->index))
		return -EEXIST;
	start_engine(worker, add);
	atomic_store(&table->entries[entry->slot], entry);
	atomic_fetch_add(&table->sessions, 1);
	if (add->adopt && table->adopt_first)
		adopt_streams(worker, entry);
	pg_worker_announce(worker, entry);
	pg_engine_adopted(&entry->engine);
	if (add->saved) {
		/* its counter stands beyond what was reserved: have a block before it sends */
		uint32_t next = entry->engine.series.window->next_send;

		entry->engine.reserving = next > PG_PACK_ID_LAST + 1 - SEND_BLOCK
						  ? PG_PACK_ID_LAST + 1
						  : next + SEND_BLOCK;
		op_reserve(&entry->engine, PG_ENGINE_RESERVE_SEND, entry->engine.reserving);
	}
	pg_worker_touch(worker, entry);
	return 0;
}

int pg_worker_close(struct pg_worker *worker, uint32_t session, uint64_t handle, uint8_t code)
{
	uint32_t slot = pg_table_slot(worker->table, session);
	struct pg_entry *entry = pg_worker_entry(worker, slot);

	if (!entry || entry->id != session || entry->linger_until_ms ||
	    (handle && entry->engine.handle != handle))
		return -ENOENT;
	pg_engine_close(&entry->engine, code);
	pg_worker_after(worker, entry);
	return 0;
}

void pg_worker_hand_over(struct pg_worker *worker, struct pg_entry *entry, uint8_t to)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_ADOPT, NULL, 0);

	entry->forwarded = false;
	if (!message || to >= worker->peer_count || to == worker->index) {
		free(message);
		return;
	}
	pg_timer_cancel(&worker->wheel, &entry->timer);
	leave_stalled(worker, entry);
	pg_key_cache_forget(worker->env.keys, entry->engine.handle);
	entry->engine.env = NULL;
	message->entry = entry;
	pg_inbox_hand_over(&worker->inbox, &worker->peers[to]->inbox, message, entry->slot,
			   &worker->table->owners[entry->slot], to);
	worker->counts.handed_over++;
}

/* --- posted work -------------------------------------------------------------------------------
 */

/* Whether the connection serves the session's endpoint. */
static bool serves(struct pg_worker *worker, const struct pg_entry *entry, uint64_t connection)
{
	for (uint32_t place = 0; place <= worker->view->route_count; place++) {
		struct pg_app_out *out = pg_delivery_out(&worker->delivery, entry->endpoint, place);

		if (out && out->connection->id == connection)
			return true;
	}
	return false;
}

const char *pg_worker_send_refusal(int err)
{
	switch (-err) {
	case EMSGSIZE:
		return "message refused: longer than a packet of this series, or than the send "
		       "buffer";
	case ENOENT:
		return "message refused: no such stream";
	case EPIPE:
		return "message refused: the stream is closing";
	case ENOBUFS:
		return "message refused: the send buffer is full; wait for SENT or FAILED";
	case EAGAIN:
		return "message refused: no room to send now, try again";
	case ESHUTDOWN:
		return "message refused: the packIds of this session are used up";
	default:
		return "message refused: out of memory";
	}
}

static const char *app_do(struct pg_worker *worker, struct pg_entry *entry,
			  const struct pg_message *message)
{
	struct pg_engine *engine = &entry->engine;
	int err;

	switch (message->app.kind) {
	case PG_APP_MESSAGE:
		if (worker->view->endpoints[entry->endpoint].format == PG_FORMAT_MESSAGE)
			return pg_worker_send_message(worker, entry, message);
		err = pg_engine_send(engine, message->app.stream, message->data, message->bytes,
				     message->app.message);
		return err ? pg_worker_send_refusal(err) : NULL;
	case PG_APP_SESSION_CLOSED:
		pg_engine_close(engine, message->bytes ? message->data[0] : PG_GOAWAY_NORMAL);
		return NULL;
	case PG_APP_STREAM_CLOSED:
		err = pg_engine_close_stream(engine, message->app.stream);
		return err ? "stream close refused: no such stream, or it is closing already"
			   : NULL;
	default:
		return "record refused: only the client opens streams";
	}
}

/* NULL, or why it is refused. */
static const char *take_app_record(struct pg_worker *worker, const struct pg_message *message,
				   uint32_t *ret_endpoint)
{
	struct pg_entry *entry = pg_worker_entry(worker, message->app.slot);
	const char *refusal;

	if (!entry || entry->engine.handle != message->app.handle || entry->linger_until_ms ||
	    !serves(worker, entry, message->app.connection))
		return "record refused: there is no such session";
	*ret_endpoint = worker->view->endpoints[entry->endpoint].id;
	pg_worker_touch(worker, entry);
	refusal = app_do(worker, entry, message);
	pg_worker_after(worker, entry);
	return refusal;
}

void pg_worker_app_record(struct pg_worker *worker, const struct pg_message *message)
{
	uint32_t endpoint = 0;
	const char *refusal = take_app_record(worker, message, &endpoint);

	if (refusal && pg_app_refuse(worker->refusals, message, endpoint, refusal))
		worker->counts.app_events_lost++;
}

bool pg_worker_reserved(struct pg_worker *worker, struct pg_message *message)
{
	uint32_t slot = message->reserved.slot;
	uint8_t owner = atomic_load(&worker->table->owners[slot]);
	struct pg_entry *entry;

	if (owner != worker->index && owner < worker->peer_count) {
		pg_inbox_post(&worker->peers[owner]->inbox, message);
		return true;
	}
	entry = pg_worker_entry(worker, slot);
	if (!entry || entry->linger_until_ms ||
	    PG_HANDLE_STORED(entry->engine.handle) != message->reserved.handle)
		return false;
	if (message->reserved.result) {
		pg_engine_reserve_failed(&entry->engine, message->reserved.kind);
		pg_worker_touch(worker, entry);
		return false;
	}
	pg_worker_touch(worker, entry);
	pg_engine_reserved(&entry->engine, message->reserved.kind, message->reserved.bound);
	pg_engine_resume(&entry->engine);
	pg_worker_after(worker, entry);
	return false;
}

/* --- listing -----------------------------------------------------------------------------------
 */

static int grow(void **rows, size_t *capacity, size_t count, size_t bytes)
{
	size_t wanted = *capacity ? *capacity * 2 : 64;
	void *larger;

	if (count < *capacity)
		return 0;
	larger = realloc(*rows, wanted * bytes);
	if (!larger)
		return -ENOMEM;
	*rows = larger;
	*capacity = wanted;
	return 0;
}

static void fill_session(struct pg_worker *worker, const struct pg_entry *entry,
			 struct pg_session_status *row)
{
	const struct pg_engine *engine = &entry->engine;

	memset(row, 0, sizeof(*row));
	row->handle = engine->handle;
	row->session = entry->id;
	memcpy(row->endpoint, worker->view->endpoints[entry->endpoint].name, sizeof(row->endpoint));
	pg_peer_from_line(engine->line, &row->peer);
	row->state = engine->line->state;
	row->policy = engine->line->policy;
	row->aead = engine->aead;
	row->guard = engine->guard;
	row->worker = worker->index;
	row->streams = engine->stream_count;
	row->highest_received = engine->series.highest;
	row->next_deliver = engine->series.next_deliver;
	row->next_send = engine->series.window->next_send;
	row->frames_in = entry->frames_in;
	row->bytes_in = entry->bytes_in;
	row->frames_out = entry->frames_out;
	row->bytes_out = entry->bytes_out;
	row->rejected = entry->rejected;
	row->gaps = entry->gaps;
	row->avg_retry_ratio = engine->tx.retry_ratio / 1000.0;
	row->round_trip_ms = (engine->tx.rtt.smoothed8 / 8 + 999) / 1000;
	row->last_active_ms = engine->last_active_ms;
	row->created_ms = entry->created_ms;
	row->expires_ms = entry->expires_ms;
	row->user = *entry->user ? strdup(entry->user) : NULL;
}

static void fill_streams(const struct pg_entry *entry, struct pg_session_rows *rows)
{
	for (const struct pg_stream *s = entry->engine.streams; s; s = s->next) {
		if (grow((void **)&rows->streams, &rows->stream_capacity, rows->stream_count,
			 sizeof(*rows->streams)))
			return;
		rows->streams[rows->stream_count++] = (struct pg_stream_status){
			.session = entry->id,
			.stream = s->series.stream,
			.state = s->line->state,
			.policy = s->series.policy,
			.highest_received = s->series.highest,
			.next_deliver = s->series.next_deliver,
			.next_send = s->series.window->next_send,
		};
	}
}

void pg_worker_fill_rows(struct pg_worker *worker, uint32_t first, uint32_t last,
			 struct pg_session_rows *rows)
{
	for (uint32_t slot = first; slot < last; slot++) {
		struct pg_entry *entry = pg_worker_entry(worker, slot);

		if (!entry || entry->linger_until_ms)
			continue;
		if (rows->listed) {
			if (rows->listed[slot - rows->listed_from])
				continue;
			rows->listed[slot - rows->listed_from] = true;
		}
		if (rows->want_streams) {
			fill_streams(entry, rows);
			continue;
		}
		if (grow((void **)&rows->rows, &rows->capacity, rows->count, sizeof(*rows->rows)))
			return;
		fill_session(worker, entry, &rows->rows[rows->count++]);
	}
}
