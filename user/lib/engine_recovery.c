// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>

#include "engine_internal.h"

/*
 * What was sent and what became of it: acks, losses, probes, failures. Frames sent again are the
 * same to the byte, so an ack does not say which copy arrived. It is taken for the last one when at
 * least the shortest round trip has passed since, and then gives no sample (Karn); an earlier ack
 * is of an earlier copy, and if the frame had been taken for lost, it was only late.
 */

#define REORDERING_MAX 128
#define RATIO_WEIGHT   8 /* of the packets before, in AvgRetryRatio */
#define PERSISTENT     3 /* timeouts that a run of losses spans */
#define DELAY_PARTS    24
#define GRAIN_US       1000 /* of the timers */
#define FAST_RETRIES   3    /* of a frame: as soon as it is found lost */
#define PROBE_LOOK     64   /* frames, for one that may be sent again */

static struct pg_series *series_of(const struct pg_sent_packet *packet)
{
	return packet->series;
}

static uint64_t min(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

/* --- when a frame may go again -----------------------------------------------------------------
 *
 * The first retries go as soon as a loss is found, which on a fast path is every round trip: a peer
 * whose application is full for a moment would use up all of them. From then on a frame waits since
 * it last left, two timeouts, four, eight, so that its retries last about as long as the send
 * timeout. The wait after the last one ends with its failure.
 */

static uint64_t wait_us(const struct pg_engine *engine, const struct pg_sent_frame *frame)
{
	uint32_t doublings = frame->sent > FAST_RETRIES ? frame->sent - FAST_RETRIES : 0;

	if (!doublings && frame->sent <= engine->env->options.send_retries)
		return 0;
	return 1000ull * pg_engine_retry_ms(engine, doublings);
}

static bool has_waited(const struct pg_engine *engine, const struct pg_sent_frame *frame)
{
	return pg_engine_since_us(engine, frame->last_us) >= wait_us(engine, frame);
}

static bool may_go_again(const struct pg_engine *engine, const struct pg_sent_frame *frame)
{
	return frame->sent <= engine->env->options.send_retries && has_waited(engine, frame);
}

static uint64_t wait_end_ms(const struct pg_engine *engine, const struct pg_sent_frame *frame)
{
	return frame ? pg_engine_ms_from(frame->last_us + wait_us(engine, frame)) : UINT64_MAX;
}

static bool begun_before(struct pg_sent_frame *one, struct pg_sent_frame *other)
{
	const struct pg_sent_packet *packet = pg_sent_packet_of(one);
	const struct pg_sent_packet *than = pg_sent_packet_of(other);

	if (one->first_ms != other->first_ms)
		return one->first_ms < other->first_ms;
	if (packet->series == than->series && packet->id != than->id)
		return packet->id < than->id;
	return one->index < other->index;
}

/*
 * Those begun first in front: the peer waits for the lowest packet, and may have no room for the
 * others until it has that. Of those sent equally often the one that left first has waited longest,
 * and was begun first but for what probes changed; so no list is ever walked.
 */
struct pg_sent_frame *pg_recovery_next(const struct pg_engine *engine)
{
	struct pg_sent_frame *next = NULL, *frame;

	for (uint32_t i = 0; i < engine->env->options.send_retries; i++) {
		frame = TAILQ_FIRST(&engine->tx.lost[i]);
		if (frame && has_waited(engine, frame) && (!next || begun_before(frame, next)))
			next = frame;
	}
	return next;
}

/* --- acks --------------------------------------------------------------------------------------
 */

static void was_only_late(struct pg_engine *engine)
{
	engine->env->counters.spurious++;
	if (engine->tx.reordering < REORDERING_MAX)
		engine->tx.reordering *= 2;
}

static void take_off(struct pg_engine *engine, struct pg_sent_frame *frame)
{
	struct pg_transmission *tx = &engine->tx;

	TAILQ_REMOVE(pg_recovery_list(engine, frame), frame, turn);
	TAILQ_REMOVE(&tx->age, frame, age);
}

void pg_recovery_take(struct pg_engine *engine, struct pg_sent_packet *packet, uint32_t index)
{
	struct pg_sent_frame *frame = &packet->frame[index];
	struct pg_transmission *tx = &engine->tx;
	uint64_t passed = pg_engine_since_us(engine, frame->last_us);
	bool once = frame->sent == 1;
	bool last_copy = once || (pg_rtt_known(&tx->rtt) && passed >= tx->rtt.least_us);

	if (frame->state != PG_FRAGMENT_SENT && frame->state != PG_FRAGMENT_LOST)
		return;
	take_off(engine, frame);
	if (frame->state == PG_FRAGMENT_SENT)
		pg_congestion_acked(&tx->congestion, pg_tx_frame_bytes(engine, packet, index),
				    frame->order, frame->last_us);
	if (frame->state == PG_FRAGMENT_LOST || (frame->was_lost && !last_copy))
		was_only_late(engine);
	if (last_copy && frame->order > tx->acked_order)
		tx->acked_order = frame->order;
	/* nor does the ack of a packet of which anything was sent again: it may answer that */
	if (once && !packet->resent && frame->order > tx->sample_order) {
		tx->sample_order = frame->order;
		tx->sample_us = passed;
	}
	frame->state = PG_FRAGMENT_ACK;
	packet->acked++;
}

static void note_retries(struct pg_engine *engine, const struct pg_sent_packet *packet)
{
	int32_t ratio = packet->resent * 1000 / packet->frames;
	int32_t average = engine->tx.retry_ratio;

	engine->tx.retry_ratio = average + (ratio - average) / RATIO_WEIGHT;
}

/* Takes a settled packet out of its buffer and tells the application. */
static void settle(struct pg_engine *engine, struct pg_sent_packet *packet, enum pg_app_kind kind)
{
	struct pg_series *series = series_of(packet);
	uint32_t message = packet->message;

	note_retries(engine, packet);
	engine->tx.bytes -= pg_send_buffer_cost(packet->bytes, packet->cut);
	engine->freed = true;
	pg_send_buffer_remove(series->sent, packet);
	if (pg_send_buffer_empty(series->sent))
		pg_recovery_forget(engine, series);
	/* it may send: the buffer is another one then, or the session is over */
	if (message)
		pg_engine_event(engine, kind, series->stream, message, NULL, 0);
	if (!series->sent)
		pg_engine_settled(engine, series);
}

static uint64_t loss_delay_us(const struct pg_engine *engine)
{
	const struct pg_transmission *tx = &engine->tx;
	uint64_t trip = pg_engine_trip_us(engine), delay;
	uint32_t parts = tx->reordering < DELAY_PARTS ? tx->reordering : DELAY_PARTS;

	if (tx->rtt.latest_us > trip)
		trip = tx->rtt.latest_us;
	/* RFC 9002: 9/8 of a round trip; up to two where frames were seen to overtake each other */
	delay = trip + trip * parts / DELAY_PARTS;
	return delay > GRAIN_US ? delay : GRAIN_US;
}

static void lose(struct pg_engine *engine, struct pg_sent_frame *frame)
{
	struct pg_sent_packet *packet = pg_sent_packet_of(frame);
	struct pg_transmission *tx = &engine->tx;
	uint64_t persistent = 0;

	if (pg_rtt_known(&tx->rtt))
		persistent = PERSISTENT * 1000ull * pg_engine_retry_ms(engine, 0);
	engine->env->counters.lost++;
	TAILQ_REMOVE(pg_recovery_list(engine, frame), frame, turn);
	pg_congestion_lost(&tx->congestion, pg_tx_frame_bytes(engine, packet, frame->index),
			   frame->order, frame->last_us, tx->next_order, persistent);
	frame->state = PG_FRAGMENT_LOST;
	TAILQ_INSERT_TAIL(pg_recovery_list(engine, frame), frame, turn);
}

/* Whatever was sent so far before something that arrived, or so long before, is lost. */
static void find_losses_in(struct pg_engine *engine, const struct pg_frames *sent)
{
	struct pg_transmission *tx = &engine->tx;
	uint64_t delay = loss_delay_us(engine);
	struct pg_sent_frame *frame;

	while ((frame = TAILQ_FIRST(sent)) && frame->order < tx->acked_order) {
		if (tx->acked_order - frame->order < tx->reordering &&
		    pg_engine_since_us(engine, frame->last_us) < delay) {
			tx->loss_us = min(tx->loss_us, frame->last_us + delay);
			return;
		}
		lose(engine, frame);
	}
}

static void find_losses(struct pg_engine *engine)
{
	engine->tx.loss_us = UINT64_MAX;
	find_losses_in(engine, &engine->tx.flight);
	find_losses_in(engine, &engine->tx.final);
}

void pg_recovery_acked(struct pg_engine *engine, struct pg_sent_packet *packet)
{
	struct pg_transmission *tx = &engine->tx;

	if (tx->sample_order) {
		pg_rtt_sample(&tx->rtt, tx->sample_us);
		tx->sample_order = 0;
	}
	tx->backoff = 0;
	tx->base_ms = engine->env->now_ms;
	if (packet->acked == packet->frames) {
		packet->state = PG_PACKET_ACK;
		engine->env->counters.succeeded++;
		settle(engine, packet, PG_APP_SENT);
	}
	find_losses(engine);
}

/* --- giving up ---------------------------------------------------------------------------------
 */

/* Takes the frames of a packet off all lists. */
static void abandon(struct pg_engine *engine, struct pg_sent_packet *packet)
{
	for (uint32_t i = 0; i < packet->begun; i++) {
		struct pg_sent_frame *frame = &packet->frame[i];

		if (frame->state != PG_FRAGMENT_SENT && frame->state != PG_FRAGMENT_LOST)
			continue;
		take_off(engine, frame);
		if (frame->state == PG_FRAGMENT_SENT)
			pg_congestion_forget(&engine->tx.congestion,
					     pg_tx_frame_bytes(engine, packet, i));
		frame->state = PG_FRAGMENT_FAIL;
	}
	packet->state = PG_PACKET_FAIL;
}

void pg_recovery_fail(struct pg_engine *engine, struct pg_sent_packet *packet)
{
	abandon(engine, packet);
	engine->env->counters.failed++;
	settle(engine, packet, PG_APP_FAILED);
}

void pg_recovery_fail_all(struct pg_engine *engine, struct pg_series *series)
{
	while (series->sent)
		pg_recovery_fail(engine, pg_send_buffer_first(series->sent));
}

void pg_recovery_forget(struct pg_engine *engine, struct pg_series *series)
{
	struct pg_sent_packet *packet;

	if (series->sending)
		TAILQ_REMOVE(&engine->tx.sending, series, sending_turn);
	series->sending = false;
	while (series->sent && (packet = pg_send_buffer_first(series->sent))) {
		abandon(engine, packet);
		engine->tx.bytes -= pg_send_buffer_cost(packet->bytes, packet->cut);
		pg_send_buffer_remove(series->sent, packet);
	}
	pg_send_buffer_free(series->sent);
	series->sent = NULL;
}

/* --- timers ------------------------------------------------------------------------------------
 */

static uint64_t probe_ms(const struct pg_engine *engine)
{
	const struct pg_transmission *tx = &engine->tx;

	if (TAILQ_EMPTY(&tx->flight) && TAILQ_EMPTY(&tx->final))
		return UINT64_MAX;
	return tx->base_ms + pg_engine_retry_ms(engine, tx->backoff);
}

/* The frame begun first of those that may go again, or NULL: there is none among the oldest. */
static struct pg_sent_frame *first_begun(const struct pg_engine *engine)
{
	struct pg_sent_frame *frame = TAILQ_FIRST(&engine->tx.age);

	for (int i = 0; frame && i < PROBE_LOOK; i++, frame = TAILQ_NEXT(frame, age))
		if (may_go_again(engine, frame))
			return frame;
	return NULL;
}

static struct pg_sent_frame *longest_away(const struct pg_engine *engine)
{
	struct pg_sent_frame *frame = TAILQ_FIRST(&engine->tx.flight);
	bool left_now = frame && frame->last_us == pg_engine_now_us(engine);

	return frame && !left_now && may_go_again(engine, frame) ? frame : NULL;
}

static bool probe_frame(struct pg_engine *engine, struct pg_sent_frame *frame)
{
	if (frame)
		pg_tx_frame(engine, pg_sent_packet_of(frame), frame);
	return frame;
}

/*
 * No ack came for a whole timeout: the frame that was begun first goes again, whatever the window
 * says, because a peer whose receive buffer is full takes nothing but the packet whose turn it is.
 * If that brought no ack either, so does the one whose last transmission is longest ago: of two
 * series the peer may take only the other. Those that wait are passed over; where all do, the next
 * look is a timeout later, not two.
 */
static void probe(struct pg_engine *engine)
{
	struct pg_transmission *tx = &engine->tx;
	bool sent = probe_frame(engine, first_begun(engine));

	if (!sent || tx->backoff)
		sent |= probe_frame(engine, longest_away(engine));
	tx->base_ms = engine->env->now_ms;
	if (!sent)
		return;
	engine->env->counters.timeouts++;
	tx->backoff++;
}

/* A frame whose packet has failed, or NULL: begun too long ago, or its last wait is over. */
static struct pg_sent_frame *failed(const struct pg_engine *engine)
{
	const struct pg_transmission *tx = &engine->tx;
	const struct pg_frames *spent[] = { &tx->final,
					    &tx->lost[engine->env->options.send_retries] };
	struct pg_sent_frame *frame = TAILQ_FIRST(&tx->age);

	if (frame &&
	    pg_engine_since(engine, frame->first_ms) >= engine->env->options.send_timeout_ms)
		return frame;
	for (int i = 0; i < 2; i++) {
		frame = TAILQ_FIRST(spent[i]);
		if (frame && has_waited(engine, frame))
			return frame;
	}
	return NULL;
}

void pg_recovery_timer(struct pg_engine *engine)
{
	struct pg_sent_frame *frame;

	while ((frame = failed(engine)))
		pg_recovery_fail(engine, pg_sent_packet_of(frame));
	if (engine->tx.loss_us <= pg_engine_now_us(engine))
		find_losses(engine);
	if (probe_ms(engine) <= engine->env->now_ms)
		probe(engine);
}

/* When a lost frame may go again, or has failed; those that may now wait for the window. */
static uint64_t held_ms(const struct pg_engine *engine)
{
	const struct pg_transmission *tx = &engine->tx;
	uint64_t deadline = UINT64_MAX;
	struct pg_sent_frame *frame;

	for (uint32_t i = 0; i <= engine->env->options.send_retries; i++) {
		frame = TAILQ_FIRST(&tx->lost[i]);
		if (frame && !may_go_again(engine, frame))
			deadline = min(deadline, wait_end_ms(engine, frame));
	}
	return deadline;
}

uint64_t pg_recovery_deadline(const struct pg_engine *engine)
{
	const struct pg_transmission *tx = &engine->tx;
	struct pg_sent_frame *oldest = TAILQ_FIRST(&tx->age);
	uint64_t deadline = min(probe_ms(engine), pg_engine_ms_from(tx->loss_us));

	if (!oldest)
		return deadline;
	deadline = min(deadline, oldest->first_ms + engine->env->options.send_timeout_ms);
	deadline = min(deadline, wait_end_ms(engine, TAILQ_FIRST(&tx->final)));
	return min(deadline, held_ms(engine));
}
