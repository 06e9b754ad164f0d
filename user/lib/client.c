// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client_internal.h"

#define OPTIONS_BYTES_MAX 4096 /* no version's options are as long */

const char *pg_client_version(void)
{
	return PG_VERSION;
}

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pg_client_update_clocks(struct pg_client *client)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	client->env.now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	client->env.past_us = (uint32_t)(now.tv_nsec / 1000 % 1000);
	client->env.unix_ms = clock_ms(CLOCK_REALTIME);
	pg_key_cache_begin(client->env.keys);
}

/* --- the session -------------------------------------------------------------------------------
 */

static void push(struct pg_client *client, int kind, int code, const char *text)
{
	struct pg_client_event event = {
		.kind = kind,
		.code = code,
		.bytes = (const uint8_t *)text,
		.length = text ? strlen(text) : 0,
	};

	pg_events_push(&client->events, &event);
}

static void free_handshake(struct pg_client *client)
{
	if (!client->handshake)
		return;
	pg_handshake_client_done(client->handshake);
	free(client->handshake);
	client->handshake = NULL;
}

void pg_client_ended(struct pg_client *client, int code, const char *why)
{
	if (client->state == CLIENT_CLOSED)
		return;
	client->state = CLIENT_CLOSED;
	if (client->durable.memory)
		client->durable.memory->ended = 1;
	push(client, PG_CLIENT_CLOSED, code, why);
}

/* What both kinds of session agree on. */
struct agreement {
	uint32_t session; /* client id << 16 | server id */
	const struct pg_keys *keys;
	uint8_t aead, policy;
	bool guard, expires;
	uint16_t max_payload, idle_seconds, streams; /* the server's word, 0 = none */
};

/* The stream ids below are used up before a frame with one can leave. */
static void keep_next_stream(struct pg_client *client, uint64_t next)
{
	if (client->durable.memory)
		__atomic_store_n(&client->durable.memory->next_stream, next, __ATOMIC_RELEASE);
}

/* What an earlier run acked and did not hand on is told as a gap. */
static void go_on(struct pg_client *client)
{
	struct pg_client_memory *memory = client->durable.memory;

	client->engine.series.highest_shared = &memory->highest;
	if (memory->next_stream > UINT32_MAX)
		client->engine.next_stream = 0;
	else
		keep_next_stream(client, client->engine.next_stream);
	pg_engine_adopted(&client->engine);
	pg_engine_publish(&client->engine);
}

static void start_session(struct pg_client *client, const struct agreement *terms)
{
	struct pg_client_memory *memory = client->durable.memory;
	struct pg_engine_start start = {
		.line = &client->line,
		.window = memory ? &memory->window : &client->window,
		.opened = &client->opened,
		.keys = terms->keys,
		.handle = 1,
		.aead = terms->aead,
		.guard = terms->guard,
		.client = true,
		.expires = terms->expires,
		.max_payload = terms->max_payload,
		.streams_at_once = terms->streams,
		.owner = client,
	};
	struct pg_engine_options *options = &client->env.options;

	if (terms->idle_seconds &&
	    (!client->idle_asked || terms->idle_seconds * 1000u < options->idle_ms))
		options->idle_ms = terms->idle_seconds * 1000u;
	if (options->ping_ms > options->idle_ms / 4)
		options->ping_ms = options->idle_ms / 4;
	client->line.id = terms->session;
	client->line.state = PG_SESSION_READY;
	client->line.policy = terms->policy;
	memcpy(client->line.peer, client->peer, sizeof(client->line.peer));
	client->line.peer_port_be = client->peer_port_be;
	pg_keys_guard_words(terms->keys, PG_C2S, (uint64_t *)client->line.guard_c2s);
	pg_keys_guard_words(terms->keys, PG_S2C, (uint64_t *)client->line.guard_s2c);
	if (memory) {
		client->line.highest = memory->highest;
		start.first_stream = (uint32_t)memory->next_stream;
	}
	pg_engine_init(&client->engine, &client->env, &start);
	client->engine_runs = true;
	client->state = CLIENT_READY;
	push(client, PG_CLIENT_OPEN, terms->policy, NULL);
	if (memory)
		go_on(client);
}

static struct agreement provisioned_terms(const struct pg_client_options *options)
{
	return (struct agreement){
		.session = (uint32_t)options->client_id << 16 | options->server_id,
		.aead = options->aead ? (uint8_t)options->aead : PG_AEAD_CHACHA20_POLY1305,
		.policy = options->newest ? PG_POLICY_NEWEST : PG_POLICY_RELIABLE,
		.guard = !options->unguarded,
	};
}

static int open_state(struct pg_client *client, const struct pg_client_options *options,
		      struct pg_error *error)
{
	struct agreement terms = provisioned_terms(options);
	struct pg_client_state_of of = {
		.secret = options->secret,
		.session = terms.session,
		.aead = terms.aead,
		.policy = terms.policy,
		.guard = terms.guard,
	};

	return pg_client_state_open(options->state, &of, &client->durable, error);
}

static int start_provisioned(struct pg_client *client, const struct pg_client_options *options,
			     struct pg_error *error)
{
	struct agreement terms = provisioned_terms(options);
	struct pg_keys keys;
	int err;

	err = pg_keys_derive(options->secret, PG_SECRET_BYTES, &keys);
	if (err)
		return pg_error_set(error, err, "deriving the session's keys: %s", strerror(-err));
	terms.keys = &keys;
	start_session(client, &terms);
	pg_keys_wipe(&keys);
	return 0;
}

/* --- opening in band ---------------------------------------------------------------------------
 */

static int start_handshake(struct pg_client *client, const struct pg_client_options *options,
			   struct pg_error *error)
{
	struct pg_handshake_client_options handshake = {
		.token = options->token,
		.token_bytes = (uint16_t)options->token_bytes,
		.wish = (uint8_t)options->aead,
		.allow_unguarded = options->unguarded,
		.parameters = { .max_payload = (uint16_t)client->env.options.max_payload,
				.idle_seconds = options->idle_seconds,
				.streams = options->streams },
	};
	int err;

	memcpy(handshake.server_public, options->server_key, sizeof(handshake.server_public));
	client->handshake = calloc(1, sizeof(*client->handshake));
	if (!client->handshake)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = pg_handshake_client_init(client->handshake, &handshake, client->env.now_ms);
	if (!err)
		return 0;
	free(TAKE_PTR(client->handshake));
	return pg_error_set(error, err == -EBADMSG ? -EINVAL : err, "starting the handshake: %s",
			    err == -EBADMSG ? "the server's key is no X25519 public key"
					    : strerror(-err));
}

static const char *refusal(int result)
{
	switch (result) {
	case -EACCES:
		return "the server refused the token";
	case -EPERM:
		return "the server offers a session without the guard, which was not allowed";
	case -EKEYREJECTED:
		return "the server is there but cannot read the question: it has another key than "
		       "the one given";
	case -EBUSY:
		return "the server takes no new sessions now: try later";
	case -ECONNREFUSED:
		return "nobody answered, and ICMP says that nobody listens there: is the port "
		       "right, and the server up?";
	case -EHOSTUNREACH:
		return "nobody answered, and ICMP says that the server cannot be reached";
	case -EMSGSIZE:
		return "nobody answered, and the question is longer than the way to the server "
		       "takes: a shorter token needs less";
	case -ETIMEDOUT:
		return "the server did not answer: is the address right, and the server's key?";
	case -EPROTO:
		return "the server's answer makes no sense";
	default:
		return strerror(-result);
	}
}

static void send_raw(struct pg_client *client, const uint8_t *frame, uint32_t bytes)
{
	uint8_t *room = pg_outbox_alloc(client);

	if (!room)
		return;
	memcpy(room, frame, bytes);
	pg_outbox_add(client, bytes);
}

static void send_final(struct pg_client *client)
{
	uint8_t frame[PG_FINAL_BYTES];

	pg_handshake_client_final(client->handshake, client->env.unix_ms, frame);
	send_raw(client, frame, sizeof(frame));
}

static void finish_handshake(struct pg_client *client)
{
	const struct pg_handshake_client *handshake = client->handshake;
	struct agreement terms = {
		.session = handshake->session,
		.keys = &handshake->keys,
		.aead = handshake->terms.aead,
		.policy = handshake->terms.policy,
		.guard = handshake->terms.guard,
		.expires = true,
		.max_payload = handshake->terms.parameters.max_payload,
		.idle_seconds = handshake->terms.parameters.idle_seconds,
		.streams = handshake->terms.parameters.streams,
	};

	client->answers_until_ms = client->env.now_ms + ANSWERS_MS;
	start_session(client, &terms);
	send_final(client);
}

/* Silence, and what was heard beside it: a forged word can change the sentence, nothing else. */
static int why_silent(const struct pg_client *client)
{
	if (client->handshake->asked_again)
		return -EKEYREJECTED;
	if (client->handshake->was_busy)
		return -EBUSY;
	if (client->too_long)
		return -EMSGSIZE;
	if (client->icmp)
		return client->icmp == ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH;
	return -ETIMEDOUT;
}

static void poll_handshake(struct pg_client *client)
{
	struct pg_handshake_client *handshake = client->handshake;
	uint32_t bytes;
	int result;

	bytes = pg_handshake_client_poll(handshake, client->env.now_ms, client->env.unix_ms);
	if (bytes)
		send_raw(client, handshake->frame, bytes);
	result = handshake->result == -ETIMEDOUT ? why_silent(client) : handshake->result;
	if (result && result != -EINPROGRESS)
		pg_client_ended(client, result, refusal(result));
}

static void take_while_opening(struct pg_client *client, const uint8_t *datagram, uint32_t bytes)
{
	int result =
		pg_handshake_client_receive(client->handshake, datagram, bytes, client->env.now_ms);

	if (!result)
		finish_handshake(client);
	else
		poll_handshake(client);
}

/* --- datagrams and timers ----------------------------------------------------------------------
 */

static bool is_handshake(const uint8_t *datagram, uint32_t bytes)
{
	return bytes >= PG_HEADER_MIN && datagram[PG_AT_OPCODE] == PG_OP_HANDSHAKE;
}

static void take(struct pg_client *client, uint8_t *datagram, uint32_t bytes)
{
	struct pg_engine_source source = {
		.address = { client->peer[0], client->peer[1] },
		.port_be = client->peer_port_be,
		.pinned = true,
	};
	enum pg_drop drop;

	if (client->state == CLIENT_OPENING) {
		take_while_opening(client, datagram, bytes);
		return;
	}
	if (client->state != CLIENT_READY)
		return;
	if (client->handshake && is_handshake(datagram, bytes)) {
		/* the final handshake was lost: the server asks for it by answering again */
		send_final(client);
		return;
	}
	drop = pg_engine_receive(&client->engine, datagram, bytes, &source);
	if (drop && drop < PG_DROP_SLOTS)
		client->env.counters.rejected[drop]++;
}

static void offer_room(struct pg_client *client)
{
	if (!client->refused || client->state != CLIENT_READY)
		return;
	if (pg_engine_sendable(&client->engine, client->refused_stream, client->refused_bytes) ==
	    -ENOBUFS)
		return;
	client->refused = false;
	push(client, PG_CLIENT_WRITABLE, 0, NULL);
}

static void fire(struct pg_client *client)
{
	if (client->state == CLIENT_OPENING)
		poll_handshake(client);
	else if (client->state == CLIENT_READY &&
		 client->engine.deadline_ms <= client->env.now_ms) {
		client->in_timer = true;
		pg_engine_timer(&client->engine);
		client->in_timer = false;
	}
	if (client->handshake && client->state != CLIENT_OPENING &&
	    (client->state == CLIENT_CLOSED || client->env.now_ms >= client->answers_until_ms))
		free_handshake(client);
}

int pg_client_process(struct pg_client *client)
{
	int count = 1;

	pg_client_update_clocks(client);
	for (int i = 0; i < ROUNDS_MAX && count > 0; i++) {
		count = pg_client_read(client, take);
		pg_outbox_flush(client);
	}
	if (client->state == CLIENT_READY && client->engine.stalled)
		pg_engine_resume(&client->engine);
	fire(client);
	offer_room(client);
	pg_outbox_flush(client);
	return count < 0 ? count : 0;
}

static uint64_t deadline(const struct pg_client *client)
{
	if (client->state == CLIENT_CLOSED)
		return UINT64_MAX;
	if (client->state == CLIENT_OPENING)
		return client->handshake->deadline_ms;
	return client->engine.deadline_ms;
}

int pg_client_timeout_ms(const struct pg_client *client)
{
	uint64_t due = deadline(client), now = clock_ms(CLOCK_MONOTONIC);

	if (client->out.count)
		return 1; /* the socket was full */
	if (due == UINT64_MAX)
		return -1;
	if (due <= now)
		return 0;
	return due - now > INT32_MAX ? INT32_MAX : (int)(due - now);
}

int pg_client_fd(const struct pg_client *client)
{
	return client->fd;
}

int pg_client_next(struct pg_client *client, struct pg_client_event *ret_event)
{
	return pg_events_take(&client->events, ret_event);
}

/* --- sending -----------------------------------------------------------------------------------
 */

static int check_state(const struct pg_client *client)
{
	return client->state == CLIENT_OPENING	? -ENOTCONN
	       : client->state == CLIENT_CLOSED ? -ESHUTDOWN
						: 0;
}

static int because(struct pg_client *client, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int because(struct pg_client *client, int err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(client->why, sizeof(client->why), format, arguments);
	va_end(arguments);
	return err;
}

const char *pg_client_why(const struct pg_client *client)
{
	return client->why;
}

int pg_client_lost(struct pg_client *client)
{
	uint32_t most = pg_client_datagram_max(client);

	if (client->engine.ended)
		return because(client, -ESHUTDOWN, "the session ended before it was acked");
	if (client->too_long)
		return because(client, -EMSGSIZE,
			       "frames of %u bytes do not get through, the way to the server takes "
			       "%u: max_payload must be at most %u",
			       PG_HEADER_MAX + client->engine.max_payload, most,
			       most - PG_HEADER_MAX);
	if (client->icmp)
		return because(client, -ECONNREFUSED,
			       "not acked in time, and ICMP says that nobody listens there: the "
			       "server went away");
	return because(
		client, -ETIMEDOUT,
		"not acked in time: the server or the way to it is gone, or it does not know "
		"this session");
}

static int explain_send(struct pg_client *client, int err, uint32_t stream, size_t length)
{
	switch (err) {
	case -ENOTCONN:
		return because(client, err, "the session is not open yet");
	case -ESHUTDOWN:
		return because(client, err, "the session ended");
	case -EMSGSIZE:
		return because(client, err,
			       "a packet of %zu bytes is too long: at most %zu here, %zu where the "
			       "policy is newest",
			       length, pg_client_send_max(client, PG_CLIENT_RELIABLE),
			       pg_client_send_max(client, PG_CLIENT_NEWEST));
	case -ENOBUFS:
		return because(client, err,
			       "the send buffer is full: %llu bytes are not acked yet (at most %u, "
			       "and 1024 packets a series)",
			       (unsigned long long)client->engine.tx.bytes,
			       client->env.options.send_buffer_bytes);
	case -EAGAIN:
		return because(client, err, "an unreliable packet cannot leave now");
	case -ENOENT:
		return because(client, err, "there is no stream %u", stream);
	case -EPIPE:
		return because(client, err, "stream %u is being closed", stream);
	default:
		return because(client, err, "sending: %s", strerror(-err));
	}
}

int pg_client_send(struct pg_client *client, uint32_t stream, const void *bytes, size_t length,
		   uint32_t tag)
{
	int err = check_state(client);

	if (!err && length > UINT32_MAX)
		err = -EMSGSIZE;
	if (err)
		return explain_send(client, err, stream, length);
	pg_client_update_clocks(client);
	err = pg_engine_send(&client->engine, stream, bytes, (uint32_t)length, tag);
	if (err == -ENOBUFS) {
		client->refused = true;
		client->refused_stream = stream;
		client->refused_bytes = (uint32_t)length;
	}
	if (client->out.count == BATCH)
		pg_outbox_flush(client);
	return err ? explain_send(client, err, stream, length) : 0;
}

size_t pg_client_send_max(const struct pg_client *client, int policy)
{
	if (client->state != CLIENT_READY || policy < 0 || policy >= PG_POLICY_COUNT)
		return 0;
	return pg_engine_send_max(&client->engine, (uint8_t)policy);
}

size_t pg_client_frame_max(const struct pg_client *client)
{
	return client->state == CLIENT_READY ? pg_engine_frame_max(&client->engine) : 0;
}

int pg_client_open_stream(struct pg_client *client, int policy, uint32_t *ret_stream)
{
	int err = check_state(client);

	if (err)
		return err;
	if (policy < 0 || policy >= PG_POLICY_COUNT)
		return -EINVAL;
	pg_client_update_clocks(client);
	if (client->engine.next_stream)
		keep_next_stream(client, client->engine.next_stream + 1ull);
	err = pg_engine_open_stream(&client->engine, (uint8_t)policy, ret_stream);
	pg_outbox_flush(client);
	return err;
}

int pg_client_close_stream(struct pg_client *client, uint32_t stream)
{
	int err = check_state(client);

	if (err)
		return err;
	pg_client_update_clocks(client);
	err = pg_engine_close_stream(&client->engine, stream);
	pg_outbox_flush(client);
	return err;
}

void pg_client_close(struct pg_client *client, int code)
{
	if (client->state == CLIENT_OPENING)
		pg_client_ended(client, -ECANCELED, "closed before it was open");
	if (client->state != CLIENT_READY)
		return;
	pg_client_update_clocks(client);
	pg_engine_close(&client->engine, (uint8_t)(code ? PG_GOAWAY_ERROR : PG_GOAWAY_NORMAL));
	pg_outbox_flush(client);
}

void pg_client_get_statistics(const struct pg_client *client,
			      struct pg_client_statistics *statistics)
{
	const struct pg_engine_counters *counters = &client->env.counters;
	const struct pg_engine *engine = &client->engine;
	struct pg_client_statistics now = {
		.size = statistics->size,
		.frames_sent = counters->begun,
		.frames_resent = counters->resent,
		.frames_opened = counters->opened,
		.packets_sent = counters->succeeded,
		.packets_failed = counters->failed,
		.gaps = counters->gaps,
	};

	if (client->engine_runs) {
		now.unsettled_bytes = engine->tx.bytes;
		now.window_bytes = engine->tx.congestion.window;
		now.rtt_us = engine->tx.rtt.smoothed8 / 8;
		now.rtt_least_us = engine->tx.rtt.least_us;
		now.streams = engine->stream_count;
		now.retry_per_mille = engine->tx.retry_ratio;
	}
	memcpy(statistics, &now, now.size < sizeof(now) ? now.size : sizeof(now));
}

/* --- life --------------------------------------------------------------------------------------
 */

/* The caller's options, of its own size, in a struct of ours. */
static int read_options(const struct pg_client_options *given,
			struct pg_client_options *ret_options, struct pg_error *error)
{
	memset(ret_options, 0, sizeof(*ret_options));
	if (given && given->size > sizeof(*ret_options) && given->size < OPTIONS_BYTES_MAX)
		return pg_error_set(error, -EPROTONOSUPPORT,
				    "options: the program was built for a newer libpackgate than "
				    "this one, which is %s",
				    PG_VERSION);
	if (!given || given->size < offsetof(struct pg_client_options, server_key) ||
	    given->size > sizeof(*ret_options))
		return pg_error_set(error, -EINVAL,
				    "options: size is not that of this library's struct; begin "
				    "with PG_CLIENT_OPTIONS");
	memcpy(ret_options, given, given->size);
	if (!ret_options->server)
		return pg_error_set(error, -EINVAL, "options: no server is named");
	if (!ret_options->server_key == !ret_options->secret)
		return pg_error_set(error, -EINVAL,
				    "options: either server_key or secret must be set");
	if (ret_options->aead < 0 || ret_options->aead > PG_CLIENT_AES_256_GCM)
		return pg_error_set(error, -EINVAL, "options: no AEAD has the number %d",
				    ret_options->aead);
	if (ret_options->secret && (!ret_options->client_id || !ret_options->server_id))
		return pg_error_set(error, -EINVAL, "client_id and server_id must not be 0");
	if (ret_options->state && !ret_options->secret)
		return pg_error_set(error, -EINVAL,
				    "options: state belongs to a provisioned session");
	if (ret_options->token_bytes > PG_TOKEN_MAX)
		return pg_error_set(error, -EINVAL, "options: a token has at most %d bytes",
				    PG_TOKEN_MAX);
	if (ret_options->token_bytes && !ret_options->token)
		return pg_error_set(error, -EINVAL, "options: token_bytes without a token");
	if (ret_options->max_payload && (ret_options->max_payload < PG_PARAMETER_PAYLOAD_MIN ||
					 ret_options->max_payload > PG_PAYLOAD_MAX))
		return pg_error_set(error, -EINVAL, "options: max_payload must be %d to %d bytes",
				    PG_PARAMETER_PAYLOAD_MIN, PG_PAYLOAD_MAX);
	return 0;
}

static void set_limits(struct pg_engine_options *limits, const struct pg_client_options *options)
{
	pg_engine_options_default(limits);
	if (options->max_payload)
		limits->max_payload = options->max_payload;
	if (options->send_buffer_bytes)
		limits->send_buffer_bytes = options->send_buffer_bytes;
	if (options->receive_buffer_bytes)
		limits->receive_buffer_bytes = options->receive_buffer_bytes;
	if (options->send_timeout_ms)
		limits->send_timeout_ms = options->send_timeout_ms;
	if (options->receive_timeout_ms)
		limits->receive_timeout_ms = options->receive_timeout_ms;
	if (options->streams)
		limits->streams_at_once = options->streams;
	if (options->idle_seconds)
		limits->idle_ms = options->idle_seconds * 1000u;
}

/* No frame is longer than what the interface takes. */
static int fit_path(struct pg_client *client, const struct pg_client_options *options,
		    struct pg_error *error)
{
	uint32_t most = pg_client_datagram_max(client), *payload = &client->env.options.max_payload;

	if (!most || most >= PG_HEADER_MAX + *payload)
		return 0;
	if (most < PG_HEADER_MAX + PG_PARAMETER_PAYLOAD_MIN)
		return pg_error_set(error, -EMSGSIZE,
				    "the way to the server takes datagrams of %u bytes, and a "
				    "session needs %u",
				    most, PG_HEADER_MAX + PG_PARAMETER_PAYLOAD_MIN);
	if (options->max_payload)
		return pg_error_set(error, -EMSGSIZE,
				    "max_payload %u does not fit the way to the server: at most "
				    "%u",
				    *payload, most - PG_HEADER_MAX);
	*payload = most - PG_HEADER_MAX;
	return 0;
}

static int start(struct pg_client *client, const struct pg_client_options *options,
		 struct pg_error *error)
{
	int err;

	set_limits(&client->env.options, options);
	client->idle_asked = options->idle_seconds;
	pg_events_init(&client->events, client->env.options.receive_buffer_bytes);
	err = options->state ? open_state(client, options, error) : 0;
	if (!err)
		err = pg_client_open_socket(client, options, error);
	if (!err)
		err = fit_path(client, options, error);
	if (!err)
		err = pg_aead_new(NULL, &client->env.aead, error);
	if (err)
		return err;
	err = pg_key_cache_new(client->env.aead, KEYS_CACHED, &client->env.keys);
	if (err)
		return pg_error_set(error, err, "the key cache: %s", strerror(-err));
	pg_client_update_clocks(client);
	if (options->secret)
		return start_provisioned(client, options, error);
	err = start_handshake(client, options, error);
	if (err)
		return err;
	poll_handshake(client);
	pg_outbox_flush(client);
	return 0;
}

int pg_client_new(const struct pg_client_options *options, struct pg_client **ret_client,
		  struct pg_client_error *error)
{
	struct pg_error reason = { 0 };
	struct pg_client_options own;
	struct pg_client *client = NULL;
	int err = read_options(options, &own, &reason);

	if (!err && posix_memalign((void **)&client, sizeof(client->line), sizeof(*client)))
		err = pg_error_set(&reason, -ENOMEM, "out of memory");
	if (!err) {
		memset(client, 0, sizeof(*client));
		client->fd = -1;
		client->env.ops = &pg_client_engine_ops;
		client->env.owner = client;
		err = start(client, &own, &reason);
	}
	if (err) {
		if (error)
			snprintf(error->text, sizeof(error->text), "%.*s",
				 (int)sizeof(error->text) - 1, reason.text);
		pg_client_free(client);
		return err;
	}
	*ret_client = client;
	return 0;
}

void pg_client_free(struct pg_client *client)
{
	if (!client)
		return;
	if (client->engine_runs)
		pg_engine_retire(&client->engine);
	pg_client_state_close(&client->durable);
	free_handshake(client);
	pg_events_done(&client->events);
	pg_key_cache_free(client->env.keys);
	pg_aead_free(client->env.aead);
	if (client->fd >= 0)
		close(client->fd);
	OPENSSL_cleanse(client, sizeof(*client));
	free(client);
}
