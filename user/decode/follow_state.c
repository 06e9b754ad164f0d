// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "follow_internal.h"

static bool is_final(enum pg_tcp_state state)
{
	return state == PG_TCP_CLOSED || state == PG_TCP_LISTEN || state == PG_TCP_TIME_WAIT;
}

static bool is_opening(enum pg_tcp_state state)
{
	return state == PG_TCP_SYN_SENT || state == PG_TCP_SYN_RECEIVED;
}

/* Past the handshake the two FINs decide, and which of them was there first. */
static enum pg_tcp_state closing_state(const struct pg_flow *own, const struct pg_flow *peer)
{
	bool got = peer->fin && (peer->fin_acked || !peer->hole_count);

	if (!own->fin)
		return got ? PG_TCP_CLOSE_WAIT : PG_TCP_ESTABLISHED;
	if (own->passive)
		return own->fin_acked ? PG_TCP_CLOSED : PG_TCP_LAST_ACK;
	if (got)
		return own->fin_acked ? PG_TCP_TIME_WAIT : PG_TCP_CLOSING;
	return own->fin_acked ? PG_TCP_FIN_WAIT_2 : PG_TCP_FIN_WAIT_1;
}

enum pg_tcp_state pg_connection_state(const struct pg_connection *connection, int end)
{
	const struct pg_flow *own = &connection->flows[end], *peer = &connection->flows[!end];

	if (own->forced)
		return own->forced_state;
	if (!own->syn)
		return PG_TCP_SYN_RECEIVED;
	if (!peer->syn)
		return PG_TCP_SYN_SENT;
	if (!own->syn_acked && !own->fin)
		return PG_TCP_SYN_RECEIVED;
	return closing_state(own, peer);
}

bool pg_connection_reopens(const struct pg_connection *connection, int from,
			   const struct pg_segment *segment)
{
	const struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	if (pg_segment_has(segment, PG_TCP_ACK))
		return connection->ended && segment->ack != peer->isn + 1;
	if (connection->ended)
		return true;
	return own->syn && segment->seq != own->isn;
}

/* The end sent a SYN once, with the number before seq, and the other end has answered it. */
static void assume_syn(struct pg_flow *flow, uint32_t seq)
{
	flow->syn = flow->syn_acked = true;
	flow->isn = seq - 1;
}

uint32_t pg_connection_begin(struct pg_connection *connection, int from,
			     const struct pg_segment *segment)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	connection->syn_us = connection->last_syn_us = connection->answer_us = PG_NEVER;
	connection->handshake_us = connection->server_us = connection->client_us = -1;
	own->way.window_shift = peer->way.window_shift = -1;
	if (pg_segment_has(segment, PG_TCP_SYN)) {
		connection->whole = !pg_segment_has(segment, PG_TCP_ACK);
		if (!connection->whole)
			assume_syn(peer, segment->ack);
		return connection->whole ? 0 : PG_FOLLOW_BIT(PG_FOLLOW_MID_STREAM);
	}
	assume_syn(own, segment->seq);
	assume_syn(peer, segment->ack);
	connection->established = true;
	return PG_FOLLOW_BIT(PG_FOLLOW_MID_STREAM);
}

/* --- resets --- */

/* RFC 9293, section 3.10.7: in the window; what was captured of both ends is all that is known. */
static bool reset_fits(const struct pg_flow *own, const struct pg_flow *peer,
		       const struct pg_segment *segment)
{
	uint32_t low = peer->has_ack ? peer->ack : own->base;
	uint32_t high = own->known ? pg_seq_later(own->next, low) : low;

	if (!own->known && !peer->has_ack)
		return true;
	return !pg_seq_before(segment->seq, low) && !pg_seq_before(high, segment->seq);
}

static void force(struct pg_flow *flow, enum pg_tcp_state state)
{
	flow->forced = true;
	flow->forced_state = state;
}

static uint32_t take_reset(struct pg_connection *connection, int from,
			   const struct pg_segment *segment)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	enum pg_tcp_state state = pg_connection_state(connection, !from);
	bool refused = state == PG_TCP_SYN_SENT;

	if (peer->forced && state == PG_TCP_ESTABLISHED && segment->seq == connection->challenge) {
		/* the older connection of the other end goes; this one's SYN will come again */
		force(peer, PG_TCP_CLOSED);
		return PG_FOLLOW_BIT(PG_FOLLOW_RESET);
	}
	if (refused ? !pg_segment_has(segment, PG_TCP_ACK) || segment->ack != peer->isn + 1
		    : !reset_fits(own, peer, segment))
		return PG_FOLLOW_BIT(PG_FOLLOW_RESET_IGNORED);
	/* who only listened goes on listening */
	force(peer,
	      state == PG_TCP_SYN_RECEIVED && from == PG_FOLLOW_CLIENT && !connection->crossed_open
		      ? PG_TCP_LISTEN
		      : PG_TCP_CLOSED);
	force(own, PG_TCP_CLOSED);
	connection->close = refused ? PG_FOLLOW_END_REFUSED : PG_FOLLOW_END_RESET;
	return PG_FOLLOW_BIT(refused ? PG_FOLLOW_REFUSED : PG_FOLLOW_RESET);
}

/* --- opening --- */

static void note_options(struct pg_follow_way *way, const struct pg_segment *segment)
{
	if (segment->options & PG_TCP_HAS_MSS)
		way->mss = segment->mss;
	/* RFC 7323: more than 14 counts as 14 */
	if (segment->options & PG_TCP_HAS_SCALE)
		way->window_shift = segment->window_shift < 14 ? segment->window_shift : 14;
	way->sack_permitted = segment->options & PG_TCP_HAS_PERMITTED;
	way->timestamps = segment->options & PG_TCP_HAS_TIMESTAMPS;
}

static uint32_t take_syn(struct pg_connection *connection, int from,
			 const struct pg_segment *segment, uint64_t now_us)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	bool answer = pg_segment_has(segment, PG_TCP_ACK);
	uint32_t events = segment->data_bytes ? PG_FOLLOW_BIT(PG_FOLLOW_SYN_DATA) : 0;

	if (!answer && peer->syn && !own->syn) {
		connection->crossed_open = true;
		events |= PG_FOLLOW_BIT(PG_FOLLOW_SIMULTANEOUS_OPEN);
	}
	if (!answer) {
		connection->last_syn_us = now_us;
		if (connection->syn_us == PG_NEVER)
			connection->syn_us = now_us;
	} else if (!connection->crossed_open) {
		if (connection->answer_us == PG_NEVER && connection->last_syn_us != PG_NEVER)
			connection->server_us = now_us - connection->last_syn_us;
		connection->answer_us = now_us;
	}
	own->syn = own->syn_seen = true;
	own->isn = segment->seq;
	if (!connection->ended)
		own->forced = peer->forced = false;
	note_options(&own->way, segment);
	return events;
}

/* An acknowledgment without SYN while the other end's SYN was not captured. */
static void assume_opening(struct pg_connection *connection, int from,
			   const struct pg_segment *segment)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	if (own->syn && !peer->syn) {
		own->syn_acked = true;
		assume_syn(peer, segment->ack);
	} else if (!own->syn) {
		assume_syn(own, segment->seq);
	}
}

/* The answer of an end that still is in an older connection (RFC 9293, section 3.5.1). */
static bool is_challenge(const struct pg_connection *connection, int from,
			 const struct pg_segment *segment)
{
	const struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	return !connection->ended && !own->syn && peer->syn_seen &&
	       !pg_segment_has(segment, PG_TCP_SYN) && pg_segment_has(segment, PG_TCP_ACK) &&
	       segment->ack != peer->isn + 1;
}

/* A SYN-ACK that is neither the answer nor a repeat of it: nobody takes it. */
static bool is_bad_syn(const struct pg_flow *own, const struct pg_segment *segment)
{
	return pg_segment_has(segment, PG_TCP_SYN) && own->syn && segment->seq != own->isn;
}

static uint32_t take_established(struct pg_connection *connection, uint64_t now_us)
{
	enum pg_tcp_state client = pg_connection_state(connection, PG_FOLLOW_CLIENT);
	enum pg_tcp_state server = pg_connection_state(connection, PG_FOLLOW_SERVER);

	if (connection->established || is_opening(client) || is_opening(server) ||
	    connection->flows[0].forced || connection->flows[1].forced)
		return 0;
	connection->established = true;
	if (connection->syn_us != PG_NEVER) {
		connection->handshake_us = now_us - connection->syn_us;
		connection->round_trip_us = now_us - connection->last_syn_us;
	}
	if (connection->answer_us != PG_NEVER && !connection->crossed_open)
		connection->client_us = now_us - connection->answer_us;
	return PG_FOLLOW_BIT(PG_FOLLOW_ESTABLISHED);
}

/* --- closing --- */

static uint32_t take_fin(struct pg_connection *connection, int from,
			 const struct pg_segment *segment, bool acked_before)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	if (own->fin)
		return 0;
	own->fin = true;
	own->fin_seq = segment->seq + pg_segment_length(segment) - 1;
	own->fin_acked = peer->has_ack && pg_seq_before(own->fin_seq, peer->ack);
	own->passive = peer->fin && peer->fin_acked;
	if (!peer->fin)
		return 0;
	if (own->passive) {
		connection->close = acked_before ? PG_FOLLOW_END_FOUR : PG_FOLLOW_END_THREE;
		return 0;
	}
	connection->close = PG_FOLLOW_END_SIMULTANEOUS;
	return PG_FOLLOW_BIT(PG_FOLLOW_SIMULTANEOUS_CLOSE);
}

static void take_segment(struct pg_connection *connection, int from,
			 const struct pg_segment *segment, uint64_t now_us,
			 struct pg_follow_note *note)
{
	bool acked_before = connection->flows[!from].fin_acked;

	note->events |= pg_flow_judge(connection, from, segment, now_us, note);
	if (pg_segment_has(segment, PG_TCP_SYN))
		note->events |= take_syn(connection, from, segment, now_us);
	else if (pg_segment_has(segment, PG_TCP_ACK))
		assume_opening(connection, from, segment);
	pg_flow_take(connection, from, segment, now_us, note);
	if (pg_segment_has(segment, PG_TCP_FIN))
		note->events |= take_fin(connection, from, segment, acked_before);
	note->events |= take_established(connection, now_us);
}

static void note_states(struct pg_connection *connection, struct pg_follow_note *note)
{
	bool done = true;

	for (int end = 0; end < 2; end++) {
		note->states[end] = pg_connection_state(connection, end);
		done = done && is_final(note->states[end]);
	}
	note->ended = done && !connection->ended;
	if (note->ended) {
		connection->ended = true;
		connection->end = connection->close;
	}
}

static void count_events(struct pg_follow_way *way, uint32_t events)
{
	for (int event = 0; event < PG_FOLLOW_EVENT_COUNT; event++)
		way->events[event] += events >> event & 1;
}

void pg_connection_take(struct pg_connection *connection, int from,
			const struct pg_segment *segment, uint64_t now_us,
			struct pg_follow_note *note)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	pg_flow_base(connection, from, segment);
	note->seq = segment->seq - own->base;
	note->next = note->seq + pg_segment_length(segment);
	note->has_ack = pg_segment_has(segment, PG_TCP_ACK);
	note->ack = note->has_ack ? segment->ack - peer->base : 0;
	note->window = segment->window;
	if (connection->ended)
		note->events |= PG_FOLLOW_BIT(PG_FOLLOW_AFTER_CLOSE);
	if (pg_segment_has(segment, PG_TCP_RST)) {
		note->events |= take_reset(connection, from, segment);
	} else if (is_challenge(connection, from, segment)) {
		note->events |= PG_FOLLOW_BIT(PG_FOLLOW_CHALLENGE_ACK);
		connection->challenge = segment->ack;
		force(own, PG_TCP_ESTABLISHED);
	} else if (is_bad_syn(own, segment)) {
		note->events |= PG_FOLLOW_BIT(PG_FOLLOW_BAD_SYN);
	} else {
		take_segment(connection, from, segment, now_us, note);
	}
	own->way.segments++;
	count_events(&own->way, note->events);
	note_states(connection, note);
}
