// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "client_internal.h"
#include "handshake_server.h"

#define CLIENT_ID 0x1234
#define SERVER_ID 0x55
#define PATIENCE  5000 /* turns of at most 1 ms that an event may take */
#define KEPT	  4096

/* --- a server of one session, on a socket of the loopback device -------------------------------
 */

struct server {
	int fd;
	struct sockaddr_in at, peer;
	struct pg_handshake_server *handshakes;
	struct pg_handshake_rules rules;
	struct pg_cookie_secrets secrets;
	struct pg_noise_key *key;
	bool guard, deaf; /* deaf: what comes is thrown away */
	struct pg_session line;
	struct pg_window window;
	struct pg_opened opened;
	struct pg_engine_env env;
	struct pg_engine engine;
	bool runs, full;
	uint32_t messages, sessions;
	uint8_t last[KEPT];
	uint32_t last_bytes, last_stream;
	uint8_t closed_code;
	bool closed;
	uint8_t room[PG_FRAME_MAX];
};

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_clocks(struct server *s)
{
	s->env.now_ms = clock_ms(CLOCK_MONOTONIC);
	s->env.unix_ms = clock_ms(CLOCK_REALTIME);
	pg_key_cache_begin(s->env.keys);
}

static void to_client(struct server *s, const uint8_t *bytes, uint32_t count)
{
	assert_int_equal(
		sendto(s->fd, bytes, count, 0, (const struct sockaddr *)&s->peer, sizeof(s->peer)),
		count);
}

static enum pg_drop op_ready(struct pg_engine *engine, uint32_t stream, uint32_t bytes)
{
	const struct server *s = engine->owner;

	return s->full ? PG_DROP_APP_FULL : PG_DROP_NONE;
}

static void op_event(struct pg_engine *engine, const struct pg_engine_event *event)
{
	struct server *s = engine->owner;

	if (event->kind != PG_APP_MESSAGE)
		return;
	s->messages++;
	s->last_stream = event->stream;
	s->last_bytes = event->length < KEPT ? event->length : KEPT;
	memcpy(s->last, event->bytes, s->last_bytes);
}

static uint8_t *op_frame_alloc(struct pg_engine *engine)
{
	return ((struct server *)engine->owner)->room;
}

static void op_frame_send(struct pg_engine *engine, uint8_t *frame, uint32_t bytes)
{
	to_client(engine->owner, frame, bytes);
}

static void op_closed(struct pg_engine *engine, uint8_t code)
{
	struct server *s = engine->owner;

	s->closed = true;
	s->closed_code = code;
}

static void op_random(uint8_t *bytes, uint32_t count)
{
	memset(bytes, 7, count);
}

static const struct pg_engine_ops engine_ops = {
	.ready = op_ready,
	.event = op_event,
	.frame_alloc = op_frame_alloc,
	.frame_send = op_frame_send,
	.closed = op_closed,
	.random = op_random,
};

static void start_engine(struct server *s, uint32_t session, const uint8_t *ikm, size_t bytes,
			 uint8_t aead)
{
	struct pg_keys keys;
	struct pg_engine_start start = {
		.line = &s->line,
		.window = &s->window,
		.opened = &s->opened,
		.keys = &keys,
		.handle = ++s->sessions,
		.aead = aead,
		.guard = s->guard,
		.owner = s,
	};

	assert_int_equal(pg_keys_derive(ikm, bytes, &keys), 0);
	s->line.id = session;
	s->line.state = PG_SESSION_READY;
	pg_keys_guard_words(&keys, PG_C2S, (uint64_t *)s->line.guard_c2s);
	pg_keys_guard_words(&keys, PG_S2C, (uint64_t *)s->line.guard_s2c);
	set_clocks(s);
	pg_engine_init(&s->engine, &s->env, &start);
	s->runs = true;
}

static int op_authorize(void *owner, const struct pg_shakehand *question, const uint8_t *token,
			uint32_t bytes, char ret_user[PG_USER_MAX])
{
	*ret_user = 0;
	return bytes == 4 && !memcmp(token, "good", 4) ? 0 : -EACCES;
}

static uint32_t op_choose(void *owner, uint16_t client_id)
{
	return (uint32_t)client_id << 16 | SERVER_ID;
}

static int op_opened(void *owner, const struct pg_shakehand *question,
		     const struct pg_handshake_session *session)
{
	start_engine(owner, session->session, session->ikm, PG_SPLIT_BYTES, session->terms.aead);
	return 0;
}

static void op_expired(void *owner, uint32_t session)
{
}

static const struct pg_handshake_ops handshake_ops = { op_authorize, op_choose, op_opened,
						       op_expired };

static void take_shakehand(struct server *s, const uint8_t *bytes, const struct pg_frame *frame)
{
	struct pg_shakehand question = {
		.bytes = bytes,
		.frame = frame,
		.from.source_port_be = s->peer.sin_port,
		.endpoint = "game",
		.guard = s->guard,
		.now_ms = s->env.now_ms,
		.unix_ms = s->env.unix_ms,
	};
	uint8_t answer[PG_ANSWER_MAX];
	uint32_t count;

	pg_handshake_server_take(s->handshakes, &question, answer, &count);
	if (count)
		to_client(s, answer, count);
}

static void take_datagram(struct server *s, uint8_t *bytes, uint32_t count)
{
	struct pg_engine_source source = { .pinned = true };
	struct pg_frame frame;

	if (pg_frame_check(bytes, bytes + count, count, PG_C2S, s->guard, &frame))
		return;
	if (frame.opcode == PG_OP_SHAKEHAND)
		take_shakehand(s, bytes, &frame);
	else if (s->runs)
		pg_engine_receive(&s->engine, bytes, count, &source);
}

static void serve(struct server *s)
{
	uint8_t bytes[PG_FRAME_MAX];
	socklen_t length = sizeof(s->peer);
	ssize_t count;

	set_clocks(s);
	while ((count = recvfrom(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT,
				 (struct sockaddr *)&s->peer, &length)) >= 0) {
		if (!s->deaf)
			take_datagram(s, bytes, (uint32_t)count);
		set_clocks(s);
	}
	if (!s->runs || s->closed)
		return;
	if (!s->full && s->engine.stalled)
		pg_engine_resume(&s->engine);
	if (s->engine.deadline_ms <= s->env.now_ms)
		pg_engine_timer(&s->engine);
}

static int setup(void **state)
{
	struct server *s = aligned_alloc(64, (sizeof(*s) + 63) & ~63ul);
	socklen_t length = sizeof(s->at);

	memset(s, 0, sizeof(*s));
	s->fd = socket(AF_INET, SOCK_DGRAM, 0);
	s->at = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(s->fd, (struct sockaddr *)&s->at, sizeof(s->at)), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&s->at, &length), 0);
	s->guard = true;
	s->env.ops = &engine_ops;
	pg_engine_options_default(&s->env.options);
	assert_int_equal(pg_aead_new("openssl", &s->env.aead, NULL), 0);
	assert_int_equal(pg_key_cache_new(s->env.aead, 64, &s->env.keys), 0);
	assert_int_equal(pg_noise_key_new(NULL, &s->key), 0);
	assert_int_equal(pg_cookie_start(&s->secrets), 0);
	s->rules = (struct pg_handshake_rules){
		.half_open = 8,
		.per_second = 100,
		.cookie = PG_COOKIE_DEMAND_NEVER,
		.aeads = 1 << PG_AEAD_CHACHA20_POLY1305 | 1 << PG_AEAD_AES_256_GCM,
		.keys = { s->key },
		.secrets = &s->secrets,
		.parameters = { 1172, 60, 1024 },
	};
	assert_int_equal(pg_handshake_server_new(&s->rules, &handshake_ops, s, &s->handshakes), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	if (s->runs)
		pg_engine_retire(&s->engine);
	pg_handshake_server_free(s->handshakes);
	pg_noise_key_free(s->key);
	pg_key_cache_free(s->env.keys);
	pg_aead_free(s->env.aead);
	close(s->fd);
	free(s);
	return 0;
}

/* --- a client of it ----------------------------------------------------------------------------
 */

static const uint8_t secret[PG_SECRET_BYTES] = { 1, 2, 3 };
static char address[32];

static struct pg_client_options in_band(const struct server *s)
{
	struct pg_client_options options = PG_CLIENT_OPTIONS;

	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(s->at.sin_port));
	options.server = address;
	options.server_key = pg_noise_key_public(s->key);
	options.token = "good";
	options.token_bytes = 4;
	return options;
}

static struct pg_client_options provisioned(const struct server *s)
{
	struct pg_client_options options = in_band(s);

	options.server_key = NULL;
	options.token = NULL;
	options.token_bytes = 0;
	options.secret = secret;
	options.client_id = CLIENT_ID;
	options.server_id = SERVER_ID;
	return options;
}

static struct pg_client *start(const struct pg_client_options *options)
{
	struct pg_client *client = NULL;
	struct pg_client_error error = { "" };

	if (pg_client_new(options, &client, &error))
		fail_msg("%s", error.text);
	return client;
}

static void turn(struct server *s, struct pg_client *client)
{
	struct pollfd polled[] = { { .fd = s->fd, .events = POLLIN },
				   { .fd = pg_client_fd(client), .events = POLLIN } };

	poll(polled, 2, 1);
	serve(s);
	assert_int_equal(pg_client_process(client), 0);
}

/* The next event; fails when there is none in time, or one of another kind. */
static struct pg_client_event expect(struct server *s, struct pg_client *client, int kind)
{
	struct pg_client_event event = { 0 };

	for (int i = 0; i < PATIENCE; i++) {
		if (pg_client_next(client, &event)) {
			if (event.kind != kind)
				fail_msg("wanted %s, got %s: %.*s", pg_client_event_name(kind),
					 pg_client_event_name(event.kind), (int)event.length,
					 (const char *)event.bytes);
			return event;
		}
		turn(s, client);
	}
	fail_msg("no event %s", pg_client_event_name(kind));
	return event;
}

static struct pg_client *start_ready(struct server *s, const struct pg_client_options *options)
{
	struct pg_client *client = start(options);

	if (options->secret)
		start_engine(s, CLIENT_ID << 16 | SERVER_ID, secret, sizeof(secret),
			     options->aead ? (uint8_t)options->aead : PG_AEAD_CHACHA20_POLY1305);
	expect(s, client, PG_CLIENT_OPEN);
	return client;
}

static void wait_messages(struct server *s, struct pg_client *client, uint32_t count)
{
	for (int i = 0; i < PATIENCE && s->messages < count; i++)
		turn(s, client);
	assert_int_equal(s->messages, count);
}

/* --- options -----------------------------------------------------------------------------------
 */

#define REFUSED(label, words, change)                                              \
	{                                                                          \
		struct pg_client_options options = in_band(s);                     \
		struct pg_client_error error = { "" };                             \
		struct pg_client *client = (void *)1;                              \
		int err;                                                           \
                                                                                   \
		change;                                                            \
		err = pg_client_new(&options, &client, &error);                    \
		if (err >= 0 || !strstr(error.text, words) || client != (void *)1) \
			fail_msg("%s: %d %s", label, err, error.text);             \
		assert_true(pg_client_new(&options, &client, NULL) < 0);           \
	}

static void test_options_refused(void **state)
{
	static const uint8_t zero_key[32];
	struct server *s = *state;

	REFUSED("size 0", "PG_CLIENT_OPTIONS", options.size = 0);
	REFUSED("size of a newer library", "newer libpackgate", options.size += 8);
	REFUSED("size of nothing", "PG_CLIENT_OPTIONS", options.size = SIZE_MAX);
	REFUSED("state in band", "provisioned", options.state = "/var/tmp/none");
	REFUSED("no server", "no server", options.server = NULL);
	REFUSED("no port", "HOST:PORT", options.server = "127.0.0.1");
	REFUSED("empty port", "HOST:PORT", options.server = "127.0.0.1:");
	REFUSED("port in words", "HOST:PORT", options.server = "127.0.0.1:http");
	REFUSED("port 0", "port", options.server = "127.0.0.1:0");
	REFUSED("port 65536", "port", options.server = "127.0.0.1:65536");
	REFUSED("bare IPv6", "[v6]:PORT", options.server = "::1:4000");
	REFUSED("no name", "resolving", options.server = "no-such-host.invalid:1");
	REFUSED("source is a name", "resolving", options.source = "localhost:1");
	REFUSED("source of another IP", "resolving", options.source = "[::1]:1");
	REFUSED("foreign source", "binding", options.source = "192.0.2.1:1");
	REFUSED("both ways", "either", options.secret = secret);
	REFUSED("no way", "either", options.server_key = NULL);
	REFUSED("zero key", "key", options.server_key = zero_key);
	REFUSED("AEAD -1", "AEAD", options.aead = -1);
	REFUSED("AEAD 3", "AEAD", options.aead = 3);
	REFUSED("token too long", "900", options.token_bytes = 901);
	REFUSED("token missing", "token", options.token = NULL);
	REFUSED("payload 63", "max_payload", options.max_payload = 63);
	REFUSED("payload 2021", "max_payload", options.max_payload = 2021);
	REFUSED("client id 0", "client_id", options = provisioned(s); options.client_id = 0);
	REFUSED("server id 0", "server_id", options = provisioned(s); options.server_id = 0);
}

static void test_no_options(void **state)
{
	struct pg_client *client = NULL;

	assert_int_equal(pg_client_new(NULL, &client, NULL), -EINVAL);
	assert_null(client);
	pg_client_free(NULL);
}

/* A caller of an older library knows fewer members; what lies behind them is not read. */
static void test_older_caller(void **state)
{
	struct pg_client_options options = provisioned(*state);
	struct pg_client *client;

	options.size = offsetof(struct pg_client_options, max_payload);
	options.max_payload = 63;
	client = start(&options);
	pg_client_free(client);
}

/* --- sessions ----------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	bool in_band, guard;
	int aead;
} session_rows[] = {
	{ "in band", true, true, PG_CLIENT_AEAD_ANY },
	{ "in band, AES", true, true, PG_CLIENT_AES_256_GCM },
	{ "in band, no guard", true, false, PG_CLIENT_CHACHA20_POLY1305 },
	{ "provisioned", false, true, PG_CLIENT_AEAD_ANY },
	{ "provisioned, AES, no guard", false, false, PG_CLIENT_AES_256_GCM },
};

static void exchange(struct server *s, struct pg_client *client)
{
	struct pg_client_event event;

	assert_int_equal(pg_client_send(client, 0, "ping", 4, 9), 0);
	event = expect(s, client, PG_CLIENT_SENT);
	assert_int_equal(event.id, 9);
	assert_int_equal(s->last_bytes, 4);
	assert_memory_equal(s->last, "ping", 4);
	assert_int_equal(pg_engine_send(&s->engine, 0, (const uint8_t *)"pong", 4, 0), 0);
	event = expect(s, client, PG_CLIENT_MESSAGE);
	assert_int_equal(event.length, 4);
	assert_memory_equal(event.bytes, "pong", 5); /* its terminator is not counted */
}

static void test_sessions(void **state)
{
	for (size_t i = 0; i < sizeof(session_rows) / sizeof(session_rows[0]); i++) {
		struct pg_client_options options;
		struct pg_client *client;
		struct server *s;

		setup(state);
		s = *state;
		s->guard = session_rows[i].guard;
		options = session_rows[i].in_band ? in_band(s) : provisioned(s);
		options.aead = session_rows[i].aead;
		options.unguarded = !s->guard;
		client = start_ready(s, &options);
		exchange(s, client);
		pg_client_close(client, 1);
		assert_int_equal(expect(s, client, PG_CLIENT_CLOSED).code, 1);
		for (int turns = 0; turns < PATIENCE && !s->closed; turns++)
			serve(s);
		assert_true(s->closed);
		assert_int_equal(s->closed_code, 1);
		pg_client_free(client);
		teardown(state);
	}
}

static void test_cookie(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = in_band(s);
	struct pg_client *client;

	s->rules.cookie = PG_COOKIE_DEMAND_ALWAYS;
	pg_handshake_server_set_rules(s->handshakes, &s->rules);
	client = start_ready(s, &options);
	exchange(s, client);
	pg_client_free(client);
}

static void test_handshake_refused(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = in_band(s);
	struct pg_client *client;
	struct pg_client_event event;

	options.token = "evil";
	client = start(&options);
	event = expect(s, client, PG_CLIENT_CLOSED);
	assert_int_equal(event.code, -EACCES);
	assert_non_null(strstr((const char *)event.bytes, "token"));
	pg_client_free(client);

	options = in_band(s);
	s->guard = false;
	client = start(&options);
	assert_int_equal(expect(s, client, PG_CLIENT_CLOSED).code, -EPERM);
	assert_int_equal(pg_client_send(client, 0, "x", 1, 0), -ESHUTDOWN);
	pg_client_free(client);
}

/* Before the session is open nothing can be sent, and closing says why it ended. */
static void test_states(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = in_band(s);
	struct pg_client *client = start(&options);
	uint32_t stream;

	assert_int_equal(pg_client_send(client, 0, "x", 1, 0), -ENOTCONN);
	assert_int_equal(pg_client_open_stream(client, 0, &stream), -ENOTCONN);
	assert_int_equal(pg_client_close_stream(client, 1), -ENOTCONN);
	assert_int_equal(pg_client_send_max(client, 0), 0);
	assert_int_equal(pg_client_frame_max(client), 0);
	assert_true(pg_client_timeout_ms(client) >= 0);
	pg_client_close(client, 0);
	assert_int_equal(expect(s, client, PG_CLIENT_CLOSED).code, -ECANCELED);
	assert_int_equal(pg_client_timeout_ms(client), -1);
	assert_int_equal(pg_client_flush(client, 0), -ESHUTDOWN);
	pg_client_close(client, 0);
	pg_client_free(client);

	client = start(&options);
	pg_client_free(client); /* while the handshake is under way */
	client = start_ready(s, &options);
	assert_int_equal(pg_client_send(client, 0, "x", 1, 0), 0);
	assert_int_equal(pg_client_open_stream(client, 3, &stream), -EINVAL);
	assert_int_equal(pg_client_send(client, 77, "x", 1, 0), -ENOENT);
	pg_client_free(client); /* with a packet on its way and events untaken */
}

/* --- bounds ------------------------------------------------------------------------------------
 */

static void test_send_buffer(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	uint8_t packet[1000] = { 0 };
	struct pg_client *client;
	uint32_t count = 0;
	int err;

	options.send_buffer_bytes = 32768;
	client = start_ready(s, &options);
	assert_string_equal(pg_client_why(client), "");
	assert_int_equal(pg_client_send(client, 0, packet, SIZE_MAX, 0), -EMSGSIZE);
	assert_non_null(strstr(pg_client_why(client), "is too long: at most"));
	assert_int_equal(pg_client_send(client, 5, packet, 1, 0), -ENOENT);
	assert_string_equal(pg_client_why(client), "there is no stream 5");
	assert_int_equal(pg_client_send(client, 0, packet, pg_client_send_max(client, 0) + 1, 0),
			 -EMSGSIZE);
	s->deaf = true;
	while (!(err = pg_client_send(client, 0, packet, sizeof(packet), 0)))
		assert_true(++count < 33);
	assert_int_equal(err, -ENOBUFS);
	assert_non_null(strstr(pg_client_why(client), "the send buffer is full"));
	assert_true(count > 16);
	assert_int_equal(pg_client_flush(client, 0), -ETIMEDOUT);
	s->deaf = false;
	expect(s, client, PG_CLIENT_WRITABLE);
	assert_int_equal(pg_client_send(client, 0, packet, sizeof(packet), 0), 0);
	wait_messages(s, client, count + 1);
	pg_client_free(client);
}

/* Events that nobody takes stop the server; once they are taken everything has come, in order. */
static void test_events_bounded(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client;
	struct pg_client_event event;
	uint32_t number;

	options.receive_buffer_bytes = 4096;
	client = start_ready(s, &options);
	exchange(s, client); /* the server learns where the client is */
	set_clocks(s);
	for (number = 0; number < 100; number++)
		assert_int_equal(pg_engine_send(&s->engine, 0, (uint8_t *)&number, 4, 0), 0);
	for (int i = 0; i < 50; i++)
		turn(s, client);
	assert_true(client->events.bytes <= 4096);
	for (number = 0; number < 100; number++) {
		event = expect(s, client, PG_CLIENT_MESSAGE);
		assert_memory_equal(event.bytes, &number, 4);
	}
	assert_false(pg_client_next(client, &event));
	pg_client_free(client);
}

static void test_server_full(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client = start_ready(s, &options);

	s->full = true;
	assert_int_equal(pg_client_send(client, 0, "wait", 4, 5), 0);
	for (int i = 0; i < 20; i++)
		turn(s, client);
	assert_int_equal(s->messages, 0);
	s->full = false;
	assert_int_equal(expect(s, client, PG_CLIENT_SENT).id, 5);
	pg_client_free(client);
}

/* --- streams -----------------------------------------------------------------------------------
 */

static void test_streams(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = in_band(s);
	struct pg_client *client = start_ready(s, &options);

	for (int policy = 0; policy < 3; policy++) {
		uint32_t stream = 0, before = s->messages;

		assert_int_equal(pg_client_open_stream(client, policy, &stream), 0);
		assert_true(stream > 0);
		assert_int_equal(expect(s, client, PG_CLIENT_STREAM_OPEN).stream, stream);
		assert_int_equal(pg_client_send(client, stream, "on", 2, 0), 0);
		assert_int_equal(pg_client_process(client), 0);
		wait_messages(s, client, before + 1);
		assert_int_equal(s->last_stream, stream);
		assert_int_equal(pg_client_close_stream(client, stream), 0);
		assert_int_equal(expect(s, client, PG_CLIENT_STREAM_CLOSED).stream, stream);
		assert_int_equal(pg_client_send(client, stream, "late", 4, 0), -ENOENT);
	}
	pg_client_free(client);
}

/* --- what the network brings -------------------------------------------------------------------
 */

/* Bytes of any length and content change nothing and end nothing. */
static void test_junk(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = in_band(s);
	struct pg_client *client = start(&options);
	uint8_t junk[PG_FRAME_MAX + 100];
	bool ready = false;

	memset(junk, 0xff, sizeof(junk));
	for (int phase = 0; phase < 2; phase++) {
		serve(s); /* learns the client's address */
		for (uint32_t bytes = 0; bytes <= sizeof(junk); bytes += 37) {
			for (uint32_t i = 0; i < bytes; i++)
				junk[i] = (uint8_t)rand();
			junk[PG_AT_FLAGS] = 0;
			junk[PG_AT_OPCODE] = (uint8_t)(bytes % 16);
			to_client(s, junk, bytes);
			assert_int_equal(pg_client_process(client), 0);
		}
		if (!ready)
			expect(s, client, PG_CLIENT_OPEN);
		ready = true;
	}
	exchange(s, client);
	pg_client_free(client);
}

/* A goaway without the right guard, and one of another session. */
static void test_forged_goaway(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client = start_ready(s, &options);
	uint8_t frame[PG_HEADER_MIN + 9] = { CLIENT_ID >> 8, CLIENT_ID & 255, 0, SERVER_ID };
	struct pg_client_event event;

	frame[PG_AT_OPCODE] = PG_OP_GOAWAY;
	frame[15] = 9;
	exchange(s, client);
	to_client(s, frame, sizeof(frame));
	frame[3]++;
	to_client(s, frame, sizeof(frame));
	for (int i = 0; i < 5; i++)
		turn(s, client);
	assert_false(pg_client_next(client, &event));
	exchange(s, client);
	pg_engine_close(&s->engine, PG_GOAWAY_EXPIRED);
	assert_int_equal(expect(s, client, PG_CLIENT_CLOSED).code, PG_GOAWAY_EXPIRED);
	pg_client_free(client);
}

/* Port unreachable is what anybody may claim: the frame behind it still leaves. */
static void test_icmp(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client = start_ready(s, &options);
	struct pollfd polled = { .fd = pg_client_fd(client), .events = POLLERR };

	exchange(s, client);
	s->messages = 0;
	close(s->fd);
	assert_int_equal(pg_client_send(client, 0, "lost", 4, 0), 0);
	pg_outbox_flush(client);
	assert_int_equal(poll(&polled, 1, 1000), 1);
	assert_true(polled.revents & POLLERR);
	s->fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&s->at, sizeof(s->at)), 0);
	assert_int_equal(pg_client_send(client, 0, "kept", 4, 0), 0);
	pg_outbox_flush(client);
	polled = (struct pollfd){ .fd = s->fd, .events = POLLIN };
	assert_int_equal(poll(&polled, 1, 100), 1);
	wait_messages(s, client, 2);
	assert_memory_equal(s->last, "kept", 4);
	pg_client_free(client);
}

/* --- events and statistics ---------------------------------------------------------------------
 */

static void test_event_names(void **state)
{
#define PG_X(name, number, label, help) assert_string_equal(pg_client_event_name(number), label);
	PG_CLIENT_EVENTS(PG_X)
#undef PG_X
	assert_string_equal(pg_client_event_name(0), "unknown");
	assert_string_equal(pg_client_event_name(10), "unknown");
	assert_string_equal(pg_client_version(), PG_VERSION);
}

static void test_statistics(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client = start_ready(s, &options);
	struct pg_client_statistics now = { .size = sizeof(now) };
	struct pg_client_statistics half = { .size = offsetof(struct pg_client_statistics, gaps),
					     .gaps = 77 };

	exchange(s, client);
	pg_client_get_statistics(client, &now);
	assert_int_equal(now.size, sizeof(now));
	assert_int_equal(now.packets_sent, 1);
	assert_int_equal(now.frames_opened, 1);
	assert_int_equal(now.unsettled_bytes, 0);
	assert_true(now.window_bytes > 0);
	pg_client_get_statistics(client, &half);
	assert_int_equal(half.packets_sent, 1);
	assert_int_equal(half.gaps, 77);
	pg_client_free(client);
}

static void test_wait(void **state)
{
	struct server *s = *state;
	struct pg_client_options options = provisioned(s);
	struct pg_client *client = start(&options);
	struct pg_client_event event;

	assert_int_equal(pg_client_wait(client, 0, &event), 1);
	assert_int_equal(event.kind, PG_CLIENT_OPEN);
	assert_int_equal(pg_client_wait(client, 0, &event), 0);
	assert_int_equal(pg_client_wait(client, 10, &event), 0);
	pg_client_close(client, 0);
	assert_int_equal(pg_client_wait(client, -1, &event), 1);
	assert_int_equal(event.kind, PG_CLIENT_CLOSED);
	assert_int_equal(pg_client_wait(client, -1, &event), -ESHUTDOWN);
	pg_client_free(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_options_refused),
		TEST(test_no_options),
		TEST(test_older_caller),
		cmocka_unit_test(test_sessions),
		TEST(test_cookie),
		TEST(test_handshake_refused),
		TEST(test_states),
		TEST(test_send_buffer),
		TEST(test_events_bounded),
		TEST(test_server_full),
		TEST(test_streams),
		TEST(test_junk),
		TEST(test_forged_goaway),
		TEST(test_icmp),
		cmocka_unit_test(test_event_names),
		TEST(test_statistics),
		TEST(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
