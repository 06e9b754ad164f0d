/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONFIG_H
#define PG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include <packgate/abi.h>
#include <packgate/shield.h>
#include <packgate/wire.h>

#include "address.h"
#include "aead.h"
#include "error.h"
#include "token.h"

/*
 * The configuration file (DESIGN section 6): one YAML mapping. Every key has a default but an
 * endpoint's name and port. Every value is read by its own rule and nothing is guessed: an unknown
 * or repeated key, a value of another type and a word that is not listed are refused with
 * FILE:LINE: key path: what is wrong, what is allowed.
 */

#define PG_CONFIG_BYTES_MAX	 (1u << 20)
#define PG_CONFIG_ENDPOINTS_MAX	 256
#define PG_CONFIG_NAMESPACES_MAX 64
#define PG_CONFIG_ROUTES_MAX	 7
#define PG_CONFIG_ENTRANCES_MAX	 16
#define PG_CONFIG_SHIELDS_MAX	 64
#define PG_SHIELD_THRESHOLD	 50   /* percent, the default */
#define PG_CONFIG_NAME_MAX	 32   /* of an instance or endpoint, terminator included */
#define PG_CONFIG_NAMESPACE_MAX	 128  /* likewise */
#define PG_CONFIG_GROUP_MAX	 64   /* likewise */
#define PG_CONFIG_PATH_MAX	 4096 /* likewise */
#define PG_CONFIG_SOCKET_MAX	 sizeof(((struct sockaddr_un *)0)->sun_path)
#define PG_CONFIG_KEY_FILE	 "machine.key"

/* Words of the file: X(NAME, number, word, meaning). The first is the default. */
#define PG_SESSION_POLICIES(X)                                             \
	X(WINDOW, PG_POLICY_RELIABLE, "window", "acked, resent, in order") \
	X(MONOTONIC, PG_POLICY_NEWEST, "monotonic", "only the newest, neither acked nor resent")

#define PG_ENFORCES(X)                                 \
	X(DROP, 0, "drop", "what is wrong is dropped") \
	X(COUNT, 1, "count", "what is wrong goes to the kernel, counted as would_drop")

#define PG_DELIVERS(X)                                  \
	X(APP, 0, "app", "to the application's socket") \
	X(ECHO, 1, "echo", "back to its sender")        \
	X(DISCARD, 2, "discard", "nowhere, counted")

#define PG_FORMATS(X)                         \
	X(RAW, 0, "raw", "a packet is bytes") \
	X(MESSAGE, 1, "message", "a packet holds messages of PROTOCOL section 6")

#define PG_MODES(X)                                                             \
	X(AUTO, 0, "auto", "the first of zerocopy, copy and socket that works") \
	X(ZEROCOPY, 1, "zerocopy", "native XDP, AF_XDP without a copy")         \
	X(COPY, 2, "copy", "native XDP, AF_XDP with a copy")                    \
	X(GENERIC, 3, "generic", "generic XDP, only with allow_generic: on")    \
	X(SOCKET, 4, "socket", "a UDP socket, validation in the agent")

#define PG_WITHOUT_AGENTS(X)                                                            \
	X(DROP, PG_WITHOUT_DROP, "drop", "without an agent, frames for it are dropped") \
	X(PASS, PG_WITHOUT_PASS, "pass", "without an agent, frames for it go to the kernel")

#define PG_DUPLICATE_ACKS(X)                                                     \
	X(AUTO, 0, "auto",                                                       \
	  "by the gate; on a veth, whose other end may take no answers, by the " \
	  "agent")                                                               \
	X(GATE, 1, "gate", "by the gate, with XDP_TX")                           \
	X(AGENT, 2, "agent", "by the agent, after it opened them")

#define PG_SHIELD_COOKIES(X)                                                               \
	X(AUTO, 0, "auto", "own where the kernel can take it back, else the kernel's")     \
	X(OWN, 1, "own", "the gate's own; no shield where the kernel cannot take it back") \
	X(KERNEL, 2, "kernel", "the kernel's, made in the gate")

#define PG_COOKIES(X)                                                                     \
	X(AUTO, 0, "auto", "when half-open sessions or shakehands pass half their limit") \
	X(ALWAYS, 1, "always", "of every shakehand")                                      \
	X(NEVER, 2, "never", "of none")

enum pg_session_policy {
#define PG_X(name, number, ...) PG_SESSION_POLICY_##name = number,
	PG_SESSION_POLICIES(PG_X)
#undef PG_X
};

enum pg_enforce {
#define PG_X(name, number, ...) PG_ENFORCE_##name = number,
	PG_ENFORCES(PG_X)
#undef PG_X
};

enum pg_deliver {
#define PG_X(name, number, ...) PG_DELIVER_##name = number,
	PG_DELIVERS(PG_X)
#undef PG_X
};

enum pg_format {
#define PG_X(name, number, ...) PG_FORMAT_##name = number,
	PG_FORMATS(PG_X)
#undef PG_X
};

enum pg_mode {
#define PG_X(name, number, ...) PG_MODE_##name = number,
	PG_MODES(PG_X)
#undef PG_X
};

enum pg_duplicate_acks {
#define PG_X(name, number, ...) PG_DUPLICATE_ACKS_##name = number,
	PG_DUPLICATE_ACKS(PG_X)
#undef PG_X
};

enum pg_shield_cookie {
#define PG_X(name, number, ...) PG_SHIELD_COOKIE_##name = number,
	PG_SHIELD_COOKIES(PG_X)
#undef PG_X
};

enum pg_cookie {
#define PG_X(name, number, ...) PG_COOKIE_##name = number,
	PG_COOKIES(PG_X)
#undef PG_X
};

/* The word of a value; "unknown" for a number that is not in the list. */
const char *pg_session_policy_name(enum pg_session_policy policy);
const char *pg_enforce_name(enum pg_enforce enforce);
const char *pg_deliver_name(enum pg_deliver deliver);
const char *pg_format_name(enum pg_format format);
const char *pg_mode_name(enum pg_mode mode);
const char *pg_without_agent_name(enum pg_without_agent without_agent);
const char *pg_duplicate_acks_name(enum pg_duplicate_acks acks);
const char *pg_cookie_name(enum pg_cookie cookie);
const char *pg_shield_cookie_name(enum pg_shield_cookie cookie);
const char *pg_shield_mode_name(enum pg_shield_mode mode);
/* The number of a mode's word, or -EINVAL. */
int pg_shield_mode_parse(const char *word);

/*
 * Every bound that an operator sets: X(name, default, min, max, unit, help). The upper ends come
 * from PROTOCOL (acks: section 4; idle: a field of 16 bits; payload: section 2), from the map
 * sizes of abi.h, and for the rates from what one core can see. sessions is a power of two.
 */
#define PG_LIMITS(X)                                                                               \
	X(sessions, 65536, 16, PG_SESSIONS_MAX, "sessions", "sessions at once")                    \
	X(streams, 65536, 16, PG_SESSIONS_MAX, "streams", "open streams of all sessions at once")  \
	X(handshakes_per_second, 1000, 1, 1000000, "handshakes/s", "handshakes begun in a second") \
	X(unmatched_per_source_per_second, 100, 1, 1000000, "frames/s",                            \
	  "frames of one source that match no session, in a second")                               \
	X(receive_timeout_ms, 12000, 1000, 600000, "ms",                                           \
	  "wait for a missing packet before it is reported as a gap")                              \
	X(idle_seconds, 60, 1, 65535, "s", "silence that ends a session")                          \
	X(max_payload, PG_PAYLOAD_DEFAULT, 64, PG_PAYLOAD_MAX, "bytes",                            \
	  "payload of a frame, tag and guard included")                                            \
	X(half_open, 4096, 1, PG_SESSIONS_MAX, "sessions",                                         \
	  "sessions in the middle of a handshake")                                                 \
	X(acks_per_session_per_second, 1000, 1, 1000, "acks/s",                                    \
	  "duplicates of one session that are acked again, in a second")                           \
	X(message_bytes, 1048576, 64, 16777216, "bytes", "body of a message, format: message")     \
	X(tcp_buffer_bytes, 268435456, 1048576, 2147483648u, "bytes",                              \
	  "memory for what waits in and out of all TCP connections, beyond 4096 bytes of each")

struct pg_limits {
#define PG_X(name, ...) uint32_t name;
	PG_LIMITS(PG_X)
#undef PG_X
};

struct pg_limit {
	const char *name;
	const char *unit;
	const char *help;
	uint32_t value;
	uint32_t standard; /* the default */
	uint32_t min;
	uint32_t max;
};

/*
 * Describes the limit number index, counted from 0 in the order of PG_LIMITS; false past the last.
 * The texts are static.
 */
bool pg_config_limit(const struct pg_limits *limits, size_t index, struct pg_limit *ret_limit);

/*
 * Names are unique; an address and port occur once, and a port at most PG_ENDPOINTS_PER_PORT
 * times. The address is never a multicast one.
 */
struct pg_endpoint_config {
	char name[PG_CONFIG_NAME_MAX]; /* a-z 0-9 _ - */
	struct pg_address address;     /* default 0.0.0.0 */
	uint16_t port;		       /* host order */
	bool guard;		       /* default on */
	bool roaming;		       /* default on */
	enum pg_session_policy policy;
	enum pg_enforce enforce;
	enum pg_deliver deliver;
	enum pg_format format;
};

/* The group is a name or a number, not looked up here. */
struct pg_socket_config {
	char socket[PG_CONFIG_SOCKET_MAX]; /* absolute, terminated */
	char group[PG_CONFIG_GROUP_MAX];
	mode_t mode;
};

/* Messages of these Ids go to a socket of their own; ranges do not overlap, nor hold 1 and 2. */
struct pg_route_config {
	char name[PG_CONFIG_NAME_MAX]; /* a-z 0-9 _ -, unique */
	uint32_t first, last;
	struct pg_socket_config socket; /* a path of its own */
};

struct pg_app_config {
	struct pg_socket_config main; /* what no route takes */
	size_t route_count;
	struct pg_route_config routes[PG_CONFIG_ROUTES_MAX];
};

/* A TCP port that speaks the messages of an endpoint. Names are unique, and so are listeners. */
struct pg_entrance_config {
	char name[PG_CONFIG_NAME_MAX];	     /* a-z 0-9 _ - */
	char endpoint[PG_CONFIG_NAME_MAX];   /* of one with format: message */
	struct pg_address address;	     /* default 0.0.0.0 */
	uint16_t port;			     /* host order */
	uint32_t max_connections;	     /* default 10000 */
	uint32_t max_connections_per_source; /* an IPv4 address or an IPv6 /64; default 256 */
	uint32_t idle_seconds;		     /* default 60 */
	struct {
		char certificate[PG_CONFIG_PATH_MAX]; /* PEM, the chain; "" = no TLS */
		char key[PG_CONFIG_PATH_MAX];	      /* PEM */
	} tls;
};

struct pg_metrics_config {
	bool on;
	struct pg_peer listen; /* only if on */
};

struct pg_state_config {
	char directory[PG_CONFIG_PATH_MAX - sizeof(PG_CONFIG_KEY_FILE)];
	char key[PG_CONFIG_PATH_MAX]; /* default: PG_CONFIG_KEY_FILE in the directory */
};

enum pg_namespaces {
	PG_NAMESPACES_ALL,
	PG_NAMESPACES_OWN,
	PG_NAMESPACES_NAMED,
};

struct pg_tcp_config {
	enum pg_namespaces namespaces;
	size_t name_count; /* only if named */
	char names[PG_CONFIG_NAMESPACES_MAX][PG_CONFIG_NAMESPACE_MAX];
};

/* A TCP listener under the shield; an address and port occur once. */
struct pg_shield_listener {
	bool any;		   /* every local address of both families: no address is given */
	struct pg_address address; /* only if not any */
	uint16_t port;		   /* host order */
	enum pg_shield_mode mode;  /* default auto */
	uint32_t threshold;	   /* percent of the SYN queue's limit, 1 to 100 */
};

struct pg_shield_config {
	enum pg_shield_cookie cookie;
	bool set_sysctl; /* may the agent set what is missing; default off */
	size_t listener_count;
	struct pg_shield_listener listeners[PG_CONFIG_SHIELDS_MAX];
};

struct pg_workers_config {
	bool spin; /* a worker polls its queue without ever sleeping; default off */
};

struct pg_tokens_config {
	enum pg_token_kind kind;
	bool audience;		       /* of a JWT: aud must name the endpoint; default on */
	char path[PG_CONFIG_PATH_MAX]; /* of the list or the key; "" = none */
};

struct pg_handshake_config {
	bool present; /* the file has this section; the rest holds defaults otherwise */
	enum pg_cookie cookie;
	unsigned int aead; /* the only algorithm, 0 = any */
	char key[PG_CONFIG_PATH_MAX];
	char old_key[PG_CONFIG_PATH_MAX]; /* tried after key; "" = none */
	struct pg_tokens_config tokens;
};

/* An agent may start without any interface or endpoint and gain both by a reload. */
struct pg_config {
	char instance[PG_CONFIG_NAME_MAX];
	size_t interface_count;
	char interfaces[PG_INTERFACES_MAX][PG_NAME_MAX];
	size_t endpoint_count;
	struct pg_endpoint_config endpoints[PG_CONFIG_ENDPOINTS_MAX];
	size_t entrance_count;
	struct pg_entrance_config entrances[PG_CONFIG_ENTRANCES_MAX];
	struct pg_app_config app;
	struct pg_socket_config control;
	struct pg_metrics_config metrics;
	struct pg_state_config state;
	struct pg_tcp_config tcp;
	struct pg_shield_config shield;
	struct pg_limits limits;
	struct pg_workers_config workers;
	struct pg_handshake_config handshake;
	enum pg_mode mode;
	bool allow_generic;
	enum pg_without_agent without_agent;
	enum pg_duplicate_acks duplicate_acks;
};

/*
 * Reads the file at path. Returns 0 with a configuration that the caller frees, -EINVAL if its
 * text is refused, -EFBIG above PG_CONFIG_BYTES_MAX, another negative errno if it cannot be read;
 * error (may be NULL) then holds the sentence and *ret_config is untouched.
 */
int pg_config_load(const char *path, struct pg_config **ret_config, struct pg_error *error);

/* The same for a text in memory, which needs no terminator; name stands for the file. */
int pg_config_parse(const char *name, const char *text, size_t bytes, struct pg_config **ret_config,
		    struct pg_error *error);

void pg_config_free(struct pg_config *config);

#endif
