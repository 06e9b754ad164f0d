// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <string.h>

#include "follow_internal.h"

#define SFR (PG_TCP_SYN | PG_TCP_FIN | PG_TCP_RST)

/* What fills a gap sooner than this was only overtaken, where no handshake told the round trip. */
#define REORDER_US 3000

/* A retransmission this soon after duplicate acknowledgments answers them. */
#define FAST_US		20000
#define FAST_DUPLICATES 2 /* others may be missing from the capture */

/* What lies farther back is not compared any more: numbers wrap at twice of it. */
#define REACH (1u << 30)

/* --- what was captured --- */

static uint32_t overlap(uint32_t start, uint32_t end, uint32_t low, uint32_t high)
{
	uint32_t from = pg_seq_later(start, low), to = pg_seq_earlier(end, high);

	return pg_seq_before(from, to) ? to - from : 0;
}

/* How many of the numbers start to end - 1 were not captured before. */
static uint32_t count_fresh(const struct pg_flow *flow, uint32_t start, uint32_t end)
{
	uint32_t fresh;

	if (!flow->known)
		return end - start;
	fresh = pg_seq_before(flow->next, end) ? end - pg_seq_later(start, flow->next) : 0;
	for (int i = 0; i < flow->hole_count; i++)
		fresh += overlap(start, end, flow->holes[i].start, flow->holes[i].end);
	return flow->has_low ? fresh + overlap(start, end, start, flow->low) : fresh;
}

static void remove_hole(struct pg_flow *flow, int i)
{
	flow->hole_count--;
	memmove(&flow->holes[i], &flow->holes[i + 1],
		(flow->hole_count - i) * sizeof(flow->holes[0]));
}

/* Above all others; the lowest goes, as missing for good, when there are too many. */
static void add_hole(struct pg_flow *flow, uint32_t start, uint32_t end, uint64_t now_us)
{
	if (flow->hole_count == PG_HOLES_MAX) {
		flow->way.bytes_missing += flow->holes[0].end - flow->holes[0].start;
		remove_hole(flow, 0);
	}
	flow->holes[flow->hole_count++] =
		(struct pg_hole){ .start = start, .end = end, .since_us = now_us };
}

/* Splits hole i around start to end - 1, which lies inside; without room its lower part goes. */
static void split_hole(struct pg_flow *flow, int i, uint32_t start, uint32_t end)
{
	struct pg_hole *hole = &flow->holes[i];

	if (flow->hole_count == PG_HOLES_MAX) {
		flow->way.bytes_missing += start - hole->start;
		hole->start = end;
		return;
	}
	memmove(hole + 1, hole, (flow->hole_count - i) * sizeof(*hole));
	flow->hole_count++;
	hole[0].end = start;
	hole[1].start = end;
}

static void fill_holes(struct pg_flow *flow, uint32_t start, uint32_t end)
{
	for (int i = flow->hole_count - 1; i >= 0; i--) {
		struct pg_hole *hole = &flow->holes[i];
		bool low = !pg_seq_before(hole->start, start);
		bool high = !pg_seq_before(end, hole->end);

		if (!overlap(start, end, hole->start, hole->end))
			continue;
		if (low && high)
			remove_hole(flow, i);
		else if (low)
			hole->start = end;
		else if (high)
			hole->end = start;
		else
			split_hole(flow, i, start, end);
	}
}

/* The other end has everything below ack: what was not captured of it never will be. */
static void close_holes(struct pg_flow *flow, uint32_t ack)
{
	while (flow->hole_count && pg_seq_before(flow->holes[0].start, ack)) {
		struct pg_hole *hole = &flow->holes[0];
		uint32_t end = pg_seq_earlier(hole->end, ack);

		flow->way.bytes_missing += end - hole->start;
		hole->start = end;
		if (hole->start == hole->end)
			remove_hole(flow, 0);
	}
}

uint64_t pg_flow_missing(const struct pg_flow *flow)
{
	uint64_t bytes = 0;

	for (int i = 0; i < flow->hole_count; i++)
		bytes += flow->holes[i].end - flow->holes[i].start;
	return bytes;
}

/* --- judging --- */

static bool is_probe(const struct pg_flow *own, const struct pg_flow *peer,
		     const struct pg_segment *segment)
{
	if (!own->known || !peer->has_ack || peer->window || segment->flags & SFR)
		return false;
	if (segment->data_bytes == 1)
		return segment->seq == own->next;
	return !segment->data_bytes && segment->seq == own->next - 1;
}

/* One byte that was not acknowledged is not a keep-alive but sent again. */
static bool is_keep_alive(const struct pg_flow *own, const struct pg_flow *peer,
			  const struct pg_segment *segment)
{
	if (!own->known || segment->flags & SFR || segment->seq != own->next - 1)
		return false;
	return !segment->data_bytes ||
	       (segment->data_bytes == 1 && peer->has_ack && peer->ack == own->next);
}

static bool is_fast(const struct pg_flow *peer, const struct pg_segment *segment, uint64_t now_us)
{
	return peer->has_ack && peer->duplicates >= FAST_DUPLICATES && peer->ack == segment->seq &&
	       now_us - peer->ack_us < FAST_US;
}

/* A segment fills holes only: has it been overtaken? */
static bool is_overtaken(const struct pg_connection *connection, const struct pg_flow *own,
			 uint32_t start, uint32_t end, uint64_t now_us)
{
	uint64_t limit = connection->round_trip_us ? connection->round_trip_us : REORDER_US;

	for (int i = 0; i < own->hole_count; i++)
		if (overlap(start, end, own->holes[i].start, own->holes[i].end))
			return now_us - own->holes[i].since_us < limit;
	return own->has_low && now_us - own->low_us < limit;
}

/* A segment that begins below what was captured, and takes up numbers. */
static uint32_t judge_repeat(const struct pg_connection *connection, int from,
			     const struct pg_segment *segment, uint64_t now_us)
{
	const struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	uint32_t length = pg_segment_length(segment), end = segment->seq + length;
	uint32_t fresh = count_fresh(own, segment->seq, end);
	uint32_t events = fresh && fresh < length ? PG_FOLLOW_BIT(PG_FOLLOW_OVERLAP) : 0;

	if (fresh == length && is_overtaken(connection, own, segment->seq, end, now_us))
		return PG_FOLLOW_BIT(PG_FOLLOW_OUT_OF_ORDER);
	if (!fresh && peer->has_ack && !pg_seq_before(peer->ack, end))
		return PG_FOLLOW_BIT(PG_FOLLOW_SPURIOUS_RETRANSMISSION);
	if (is_fast(peer, segment, now_us))
		return events | PG_FOLLOW_BIT(PG_FOLLOW_FAST_RETRANSMISSION);
	return events | PG_FOLLOW_BIT(PG_FOLLOW_RETRANSMISSION);
}

static bool passes_fin(const struct pg_flow *own, const struct pg_segment *segment)
{
	uint32_t end = segment->seq + segment->data_bytes;

	return own->fin && segment->data_bytes && pg_seq_before(own->fin_seq, end);
}

/* In a simultaneous open the SYN goes out again with an ACK: that is no repeat. */
static bool crosses(const struct pg_connection *connection, const struct pg_flow *own,
		    const struct pg_segment *segment)
{
	return connection->crossed_open && !own->has_ack &&
	       pg_segment_has(segment, PG_TCP_SYN | PG_TCP_ACK);
}

static uint32_t judge_numbers(const struct pg_connection *connection, int from,
			      const struct pg_segment *segment, uint64_t now_us,
			      struct pg_follow_note *note)
{
	const struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];

	if (!own->known)
		return 0;
	if (is_probe(own, peer, segment))
		return PG_FOLLOW_BIT(PG_FOLLOW_ZERO_WINDOW_PROBE);
	if (is_keep_alive(own, peer, segment))
		return PG_FOLLOW_BIT(PG_FOLLOW_KEEP_ALIVE);
	if (passes_fin(own, segment))
		return PG_FOLLOW_BIT(PG_FOLLOW_AFTER_FIN);
	if (pg_seq_before(own->next, segment->seq)) {
		note->missing = segment->seq - own->next;
		return PG_FOLLOW_BIT(PG_FOLLOW_GAP);
	}
	if (crosses(connection, own, segment))
		return 0;
	if (pg_segment_length(segment) && pg_seq_before(segment->seq, own->next))
		return judge_repeat(connection, from, segment, now_us);
	return 0;
}

/* A segment without data that acknowledges the same number as the one before. */
static uint32_t judge_same_ack(const struct pg_flow *own, const struct pg_flow *peer,
			       const struct pg_segment *segment)
{
	bool same_window = segment->window == own->window;

	if (peer->probed && !segment->window && same_window)
		return PG_FOLLOW_BIT(PG_FOLLOW_ZERO_WINDOW_PROBE_ACK);
	if (!segment->window)
		return 0;
	if (!same_window)
		return PG_FOLLOW_BIT(PG_FOLLOW_WINDOW_UPDATE);
	return PG_FOLLOW_BIT(peer->kept_alive ? PG_FOLLOW_KEEP_ALIVE_ACK : PG_FOLLOW_DUPLICATE_ACK);
}

/* RFC 2883: the first block lies below the acknowledgment, or inside the second. */
static bool reports_duplicate(const struct pg_segment *segment)
{
	const struct pg_sack_block *block = segment->sack;

	if (!(segment->options & PG_TCP_HAS_SACK) || !segment->sack_count)
		return false;
	if (!pg_seq_before(segment->ack, block[0].right))
		return true;
	return segment->sack_count > 1 && !pg_seq_before(block[0].left, block[1].left) &&
	       !pg_seq_before(block[1].right, block[0].right);
}

static uint32_t judge_ack(const struct pg_flow *own, const struct pg_flow *peer,
			  const struct pg_segment *segment)
{
	bool advances = !own->has_ack || pg_seq_before(own->ack, segment->ack);
	uint32_t events = 0;

	if (peer->known && advances && pg_seq_before(peer->next, segment->ack) &&
	    !(peer->probe_open && segment->ack == peer->next + 1))
		events |= PG_FOLLOW_BIT(PG_FOLLOW_ACK_UNSEEN);
	if (reports_duplicate(segment))
		events |= PG_FOLLOW_BIT(PG_FOLLOW_DUPLICATE_SACK);
	if (own->has_ack && own->known && segment->ack == own->ack && segment->seq == own->next &&
	    !segment->data_bytes && !(segment->flags & SFR))
		events |= judge_same_ack(own, peer, segment);
	return events;
}

/* -1 if the scale of an end's window is not known. */
static int window_shift(const struct pg_connection *connection, int end)
{
	const struct pg_flow *own = &connection->flows[end], *peer = &connection->flows[!end];

	if (!own->syn_seen || !peer->syn_seen)
		return -1;
	if (own->way.window_shift < 0 || peer->way.window_shift < 0)
		return 0;
	return own->way.window_shift;
}

/* The window of a SYN is never scaled (RFC 7323, section 2.2). */
static bool fills_window(const struct pg_connection *connection, int from,
			 const struct pg_segment *segment)
{
	const struct pg_flow *peer = &connection->flows[!from];
	int shift = peer->syn_window ? 0 : window_shift(connection, !from);

	if (!segment->data_bytes || segment->flags & SFR || !peer->has_ack || shift < 0)
		return false;
	return segment->seq + segment->data_bytes == peer->ack + ((uint32_t)peer->window << shift);
}

uint32_t pg_flow_judge(const struct pg_connection *connection, int from,
		       const struct pg_segment *segment, uint64_t now_us,
		       struct pg_follow_note *note)
{
	const struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	uint32_t events = judge_numbers(connection, from, segment, now_us, note);
	bool probe = events & PG_FOLLOW_BIT(PG_FOLLOW_ZERO_WINDOW_PROBE);

	if (pg_segment_has(segment, PG_TCP_ACK))
		events |= judge_ack(own, peer, segment);
	if (!segment->window && !(segment->flags & SFR))
		events |= PG_FOLLOW_BIT(PG_FOLLOW_ZERO_WINDOW);
	if (!probe && fills_window(connection, from, segment))
		events |= PG_FOLLOW_BIT(PG_FOLLOW_WINDOW_FULL);
	if (pg_segment_has(segment, PG_TCP_ECE) && !(segment->flags & PG_TCP_SYN))
		events |= PG_FOLLOW_BIT(PG_FOLLOW_CONGESTION);
	return events;
}

/* --- taking --- */

void pg_flow_base(struct pg_connection *connection, int from, const struct pg_segment *segment)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	bool syn = pg_segment_has(segment, PG_TCP_SYN);

	if (!own->based || (syn && !own->syn)) {
		own->base = syn ? segment->seq : segment->seq - 1;
		own->based = true;
	}
	if (!peer->based && pg_segment_has(segment, PG_TCP_ACK)) {
		peer->base = segment->ack - 1;
		peer->based = true;
	}
}

static void count_data(struct pg_flow *flow, const struct pg_segment *segment)
{
	uint32_t start = segment->seq + pg_segment_has(segment, PG_TCP_SYN);
	uint32_t fresh = count_fresh(flow, start, start + segment->data_bytes);

	flow->way.bytes += fresh;
	flow->way.bytes_again += segment->data_bytes - fresh;
}

static void begin_numbers(struct pg_flow *flow, uint32_t start, uint32_t end, uint64_t now_us)
{
	flow->known = true;
	flow->next = end;
	flow->has_low = !flow->syn_seen;
	flow->low = start;
	flow->low_us = now_us;
}

static void forget_far(struct pg_flow *flow)
{
	while (flow->hole_count && flow->next - flow->holes[0].start > REACH) {
		flow->way.bytes_missing += flow->holes[0].end - flow->holes[0].start;
		remove_hole(flow, 0);
	}
	flow->has_low = flow->has_low && flow->next - flow->low <= REACH;
}

static void take_numbers(struct pg_flow *own, const struct pg_flow *peer,
			 const struct pg_segment *segment, uint64_t now_us, uint32_t events)
{
	uint32_t end = segment->seq + pg_segment_length(segment), start;

	own->probed = events & PG_FOLLOW_BIT(PG_FOLLOW_ZERO_WINDOW_PROBE);
	own->kept_alive = events & PG_FOLLOW_BIT(PG_FOLLOW_KEEP_ALIVE);
	if (own->probed && segment->data_bytes)
		own->probe_open = true;
	if (own->probed || own->kept_alive || events & PG_FOLLOW_BIT(PG_FOLLOW_AFTER_FIN))
		return;
	count_data(own, segment);
	if (!own->known) {
		begin_numbers(own, segment->seq, end, now_us);
		return;
	}
	if (own->has_low)
		own->low = pg_seq_earlier(own->low, segment->seq);
	if (pg_seq_before(own->next, segment->seq)) {
		start = peer->has_ack ? pg_seq_later(own->next, peer->ack) : own->next;
		start = pg_seq_earlier(start, segment->seq);
		own->way.bytes_missing += start - own->next;
		if (start != segment->seq)
			add_hole(own, start, segment->seq, now_us);
	} else {
		fill_holes(own, segment->seq, end);
	}
	if (pg_seq_before(own->next, end)) {
		own->next = end;
		own->probe_open = false;
	}
	forget_far(own);
}

static void take_ack(struct pg_flow *own, struct pg_flow *peer, const struct pg_segment *segment,
		     uint64_t now_us, struct pg_follow_note *note)
{
	if (own->has_ack && pg_seq_before(segment->ack, own->ack))
		return;
	if (own->has_ack)
		note->acked = segment->ack - own->ack;
	else if (peer->syn_seen)
		note->acked = segment->ack - peer->isn;
	if (!own->has_ack || segment->ack != own->ack)
		own->duplicates = 0;
	if (note->events & PG_FOLLOW_BIT(PG_FOLLOW_DUPLICATE_ACK))
		note->duplicates = ++own->duplicates;
	own->has_ack = true;
	own->ack = segment->ack;
	own->ack_us = now_us;
	own->window = segment->window;
	own->syn_window = pg_segment_has(segment, PG_TCP_SYN);
	if (peer->probe_open && segment->ack == peer->next + 1) {
		peer->probe_open = false;
		peer->next++;
		peer->way.bytes++;
	}
	close_holes(peer, segment->ack);
	peer->syn_acked |= peer->syn && pg_seq_before(peer->isn, segment->ack);
	peer->fin_acked |= peer->fin && pg_seq_before(peer->fin_seq, segment->ack);
}

void pg_flow_take(struct pg_connection *connection, int from, const struct pg_segment *segment,
		  uint64_t now_us, struct pg_follow_note *note)
{
	struct pg_flow *own = &connection->flows[from], *peer = &connection->flows[!from];
	int shift = window_shift(connection, from);
	bool syn = pg_segment_has(segment, PG_TCP_SYN);

	take_numbers(own, peer, segment, now_us, note->events);
	if (pg_segment_has(segment, PG_TCP_ACK))
		take_ack(own, peer, segment, now_us, note);
	note->window_known = syn || shift >= 0;
	note->window = segment->window;
	if (!syn && shift > 0)
		note->window <<= shift;
	if (own->known && peer->has_ack && !pg_seq_before(own->next, peer->ack))
		note->in_flight = own->next - peer->ack;
	else if (own->known && own->syn_seen && !peer->has_ack)
		note->in_flight = own->next - own->isn;
}
