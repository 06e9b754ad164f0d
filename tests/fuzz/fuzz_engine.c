// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/*
 * A client's and a server's engine, driven by the input: calls of the application, clock steps, and
 * a network that delivers, loses, doubles, swaps, damages and invents datagrams. The first byte
 * chooses guard (bit 0), AEAD (bit 1) and policy (bit 2); then a step a byte, its operand behind
 * it. Whatever happens: bounds hold, series are delivered in order, timers make progress, and
 * frames that leave are valid.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define QUEUE	    64
#define BUFFER_MAX  20000
#define PACKET_MAX  6000
#define STEPS_MAX   400
#define CLOCK_START 5000

static void require(int condition)
{
	if (!condition)
		abort();
}

struct fuzz_end {
	struct pg_engine engine;
	struct pg_engine_env env;
	struct pg_session line;
	struct pg_window window;
	struct pg_opened opened;
	uint8_t room[PG_FRAME_MAX];
	uint32_t expected, closed; /* of the session's own series */
	uint64_t unsettled;	   /* messages given and not heard of */
	int app_full, blocked;
};

struct fuzz_datagram {
	int to;
	uint32_t bytes;
	uint8_t data[PG_FRAME_MAX];
};

struct fuzz {
	struct fuzz_end end[2];
	struct fuzz_datagram queue[QUEUE];
	uint32_t queued;
	uint64_t now_ms;
	const uint8_t *at, *stop;
};

static struct fuzz *fuzz;

static struct fuzz_end *fuzz_end_of(struct pg_engine *engine)
{
	return engine->owner;
}

static enum pg_drop fuzz_ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	return fuzz_end_of(engine)->app_full ? PG_DROP_APP_FULL : PG_DROP_NONE;
}

static void fuzz_event(struct pg_engine *engine, const struct pg_engine_event *event)
{
	struct fuzz_end *end = fuzz_end_of(engine);
	uint32_t sum = 0;

	for (uint32_t i = 0; i < event->length; i++)
		sum += event->bytes[i];
	require(sum < UINT32_MAX);
	if (event->kind == PG_APP_SENT || event->kind == PG_APP_FAILED)
		require(end->unsettled-- > 0);
	if (event->stream || engine->series.policy != PG_POLICY_RELIABLE)
		return;
	if (event->kind == PG_APP_MESSAGE)
		require(event->message == end->expected++);
	if (event->kind == PG_APP_GAP) {
		require(event->message == end->expected);
		end->expected += pg_load_be32(event->bytes);
	}
}

static uint8_t *fuzz_frame_alloc(struct pg_engine *engine)
{
	return fuzz_end_of(engine)->blocked ? NULL : fuzz_end_of(engine)->room;
}

static void fuzz_frame_send(struct pg_engine *engine, uint8_t *bytes, uint32_t count)
{
	struct pg_frame frame;

	require(!pg_frame_check(bytes, bytes + count, count, engine->out, engine->guard, &frame));
	if (fuzz->queued == QUEUE)
		return;
	fuzz->queue[fuzz->queued].to = engine == &fuzz->end[0].engine;
	fuzz->queue[fuzz->queued].bytes = count;
	memcpy(fuzz->queue[fuzz->queued++].data, bytes, count);
}

static void fuzz_closed(struct pg_engine *engine, uint8_t code)
{
	require(!fuzz_end_of(engine)->closed++);
}

static void fuzz_random(uint8_t *bytes, uint32_t count)
{
	memset(bytes, 0x35, count);
}

static const struct pg_engine_ops fuzz_ops = {
	.ready = fuzz_ready,
	.event = fuzz_event,
	.frame_alloc = fuzz_frame_alloc,
	.frame_send = fuzz_frame_send,
	.closed = fuzz_closed,
	.random = fuzz_random,
};

/* --- the network ---------------------------------------------------------------------------------
 */

static uint8_t operand(void)
{
	return fuzz->at < fuzz->stop ? *fuzz->at++ : 0;
}

static void receive(int to, uint8_t *bytes, uint32_t count, int pinned)
{
	struct pg_engine_source source = { .address = { 7, 7 }, .port_be = 7, .pinned = pinned };
	uint8_t *copy = malloc(count ? count : 1);

	require(copy != NULL);
	memcpy(copy, bytes, count);
	pg_engine_receive(&fuzz->end[to].engine, copy, count, &source);
	free(copy);
}

/* Takes datagram number n of those on the way, as far as there are so many. */
static int take(uint8_t n, struct fuzz_datagram *ret_datagram)
{
	uint32_t at = fuzz->queued ? n % fuzz->queued : 0;

	if (!fuzz->queued)
		return 0;
	*ret_datagram = fuzz->queue[at];
	memmove(&fuzz->queue[at], &fuzz->queue[at + 1],
		(--fuzz->queued - at) * sizeof(fuzz->queue[0]));
	return 1;
}

static void deliver(uint8_t which, int copies, uint8_t damage, int pinned)
{
	struct fuzz_datagram datagram;

	if (!take(which, &datagram))
		return;
	if (damage)
		datagram.data[damage % datagram.bytes] ^= 1 << damage % 8;
	while (copies--)
		receive(datagram.to, datagram.data, datagram.bytes, pinned);
}

static void invent(int to)
{
	uint8_t bytes[256];
	uint32_t count = operand(), i;

	for (i = 0; i < count && fuzz->at < fuzz->stop; i++)
		bytes[i] = *fuzz->at++;
	/* for this session, or it would be refused at once */
	if (i >= 4)
		pg_store_be32(bytes, fuzz->end[0].line.id);
	receive(to, bytes, i, 1);
}

/* --- steps ---------------------------------------------------------------------------------------
 */

static void tick(uint32_t ms)
{
	fuzz->now_ms += ms;
	for (int i = 0; i < 2; i++) {
		struct fuzz_end *end = &fuzz->end[i];

		end->env.now_ms = fuzz->now_ms;
		end->env.unix_ms = 1700000000000ull + fuzz->now_ms;
		if (end->engine.deadline_ms > fuzz->now_ms)
			continue;
		pg_engine_timer(&end->engine);
		require(end->engine.deadline_ms > fuzz->now_ms);
	}
}

static uint32_t some_stream(struct pg_engine *engine, uint8_t n)
{
	uint32_t id = 0;

	for (struct pg_stream *s = engine->streams; s && n; s = s->next, n--)
		id = s->series.stream;
	return id;
}

static void send_something(struct fuzz_end *end, uint8_t what)
{
	static const uint8_t text[PACKET_MAX];
	uint32_t stream = some_stream(&end->engine, what & 3);
	uint32_t bytes = (what >> 2) * (what >> 2) * 3 / 2;
	const struct pg_stream *s;
	uint8_t policy = end->engine.series.policy;

	for (s = end->engine.streams; s && stream; s = s->next)
		if (s->series.stream == stream)
			policy = s->series.policy;
	end->unsettled++;
	if (pg_engine_send(&end->engine, stream, text, bytes, 1) || policy != PG_POLICY_RELIABLE)
		end->unsettled--;
}

static void step(uint8_t code)
{
	struct fuzz_end *end = &fuzz->end[code & 1];
	uint32_t stream;

	for (int i = 0; i < 2; i++)
		pg_key_cache_begin(fuzz->end[i].env.keys);
	switch (code >> 1 & 15) {
	case 0:
		send_something(end, operand());
		break;
	case 1:
		deliver(operand(), 1, 0, 1);
		break;
	case 2:
		deliver(operand(), 2, 0, 1);
		break;
	case 3:
		deliver(operand(), 0, 0, 1);
		break;
	case 4:
		deliver(operand(), 1, operand(), 1);
		break;
	case 5:
		deliver(operand(), 1, 0, 0);
		break;
	case 6:
		invent(code & 1);
		break;
	case 7:
		tick(operand() + 1);
		break;
	case 8:
		tick(operand() * 100 + 1);
		break;
	case 9:
		pg_engine_open_stream(&end->engine, operand() % 4, &stream);
		break;
	case 10:
		pg_engine_close_stream(&end->engine, some_stream(&end->engine, operand() % 8));
		break;
	case 11:
		end->app_full = operand() & 1;
		pg_engine_resume(&end->engine);
		break;
	case 12:
		end->blocked = operand() & 1;
		break;
	case 13:
		while (fuzz->queued)
			deliver(0, 1, 0, 1);
		break;
	case 14:
		if (operand() == 0xc1)
			pg_engine_close(&end->engine, PG_GOAWAY_NORMAL);
		break;
	default:
		pg_engine_reserved(&end->engine, operand() & 1, operand());
		break;
	}
	for (int i = 0; i < 2; i++) {
		require(fuzz->end[i].engine.waiting_bytes <= BUFFER_MAX);
		require(fuzz->end[i].engine.tx.bytes <= BUFFER_MAX);
		require(fuzz->end[i].engine.tx.congestion.in_flight <= 2 * BUFFER_MAX);
	}
}

/* --- beginning and end ---------------------------------------------------------------------------
 */

static struct pg_keys fuzz_keys;
static struct pg_aead *fuzz_aead;
static struct pg_key_cache *fuzz_cache[2];

static void set_up(void)
{
	uint8_t secret[PG_SECRET_BYTES] = { 9 };

	if (fuzz_aead)
		return;
	require(!pg_keys_derive(secret, sizeof(secret), &fuzz_keys));
	require(!pg_aead_new("openssl", &fuzz_aead, NULL));
	for (int i = 0; i < 2; i++)
		require(!pg_key_cache_new(fuzz_aead, 64, &fuzz_cache[i]));
}

static void begin(struct fuzz_end *end, int client, uint8_t how)
{
	struct pg_engine_start start = {
		.line = &end->line,
		.window = &end->window,
		.opened = &end->opened,
		.keys = &fuzz_keys,
		.handle = 1 + how,
		.aead = how & 2 ? PG_AEAD_AES_256_GCM : PG_AEAD_CHACHA20_POLY1305,
		.guard = how & 1,
		.roams = !client,
		.client = client,
		.expires = 1,
		.first_stream = 0xfffffffd,
		.owner = end,
	};
	uint64_t words[2];

	end->expected = 1;
	end->line.id = 0x00010001;
	end->line.state = PG_SESSION_READY;
	end->line.policy = how & 4 ? PG_POLICY_NEWEST : PG_POLICY_RELIABLE;
	pg_keys_guard_words(&fuzz_keys, PG_C2S, words);
	memcpy(end->line.guard_c2s, words, sizeof(words));
	pg_keys_guard_words(&fuzz_keys, PG_S2C, words);
	memcpy(end->line.guard_s2c, words, sizeof(words));
	end->env.ops = &fuzz_ops;
	end->env.options.max_payload = 300;
	end->env.options.receive_buffer_bytes = BUFFER_MAX;
	end->env.options.send_buffer_bytes = BUFFER_MAX;
	end->env.options.streams_at_once = 4;
	pg_engine_options_default(&end->env.options);
	end->env.aead = fuzz_aead;
	end->env.keys = fuzz_cache[client];
	end->env.now_ms = CLOCK_START;
	end->env.unix_ms = 1700000000000ull + CLOCK_START;
	pg_engine_init(&end->engine, &end->env, &start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes < 2 || bytes > 4096)
		return 0;
	set_up();
	fuzz = calloc(1, sizeof(*fuzz));
	require(fuzz != NULL);
	fuzz->now_ms = CLOCK_START;
	fuzz->at = data + 1;
	fuzz->stop = data + bytes;
	begin(&fuzz->end[0], 1, data[0] & 7);
	begin(&fuzz->end[1], 0, data[0] & 7);
	for (int i = 0; i < STEPS_MAX && fuzz->at < fuzz->stop; i++)
		step(operand());
	/* the rest of their lives: everything given is settled before long */
	for (int i = 0; i < 2; i++)
		fuzz->end[i].app_full = fuzz->end[i].blocked = 0;
	for (int i = 0; i < 40; i++)
		tick(1000);
	for (int i = 0; i < 2; i++)
		pg_engine_close(&fuzz->end[i].engine, PG_GOAWAY_NORMAL);
	for (int i = 0; i < 2; i++) {
		require(fuzz->end[i].closed == 1);
		require(!fuzz->end[i].unsettled);
		require(!fuzz->end[i].engine.tx.bytes);
		pg_engine_done(&fuzz->end[i].engine);
	}
	free(fuzz);
	return 0;
}
