/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_AGENT_H
#define PG_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "config.h"
#include "error.h"
#include "packgate/message.h"
#include "packgate/abi.h"
#include "packgate/drop.h"

/*
 * The agent as the control API and the metrics see it. Every function may be called from any
 * thread but a worker's; the agent serialises what changes something. Results are copies that the
 * caller owns; functions that return an array allocate it with malloc. 0 or a negative errno, and
 * a sentence in error where one is taken:
 *   -EINVAL the request is wrong, -ENOENT no such thing, -EEXIST taken, -EBUSY not now,
 *   -ENOSPC a bound is reached, anything else an operation failed.
 */
struct pg_agent;

/* How frames reach the agent from an interface; words of `status` and of packgate_gate_mode. */
#define PG_GATE_MODES(X)                                                           \
	X(DETACHED, "detached", "no gate")                                         \
	X(ZEROCOPY, "native-zerocopy", "XDP in the driver, AF_XDP without a copy") \
	X(COPY, "native-copy", "XDP in the driver, AF_XDP with one copy")          \
	X(GENERIC, "generic", "XDP behind the driver, AF_XDP with one copy")       \
	X(SOCKET, "socket", "no XDP: a UDP socket, the same rules in the agent")

enum pg_gate_mode {
#define PG_X(name, label, help) PG_GATE_##name,
	PG_GATE_MODES(PG_X)
#undef PG_X
		PG_GATE_MODE_COUNT
};

const char *pg_gate_mode_name(enum pg_gate_mode mode);

#define PG_INTERFACE_WHY sizeof(((struct pg_error *)NULL)->text)

/* Of an interface that never had a gate: the last row of the counters, all zero. */
#define PG_SLOT_NONE PG_INTERFACES_MAX

struct pg_interface_status {
	char name[PG_NAME_MAX];
	enum pg_gate_mode mode;
	uint32_t slot;		  /* into the counter arrays, or PG_SLOT_NONE */
	uint32_t queues;	  /* RX queues with a worker */
	uint32_t program_id;	  /* of the attached program, 0 = none */
	uint32_t confirm_seconds; /* left until an unconfirmed attach is undone, 0 = confirmed */
	/* why no better mode was taken, or why there is no gate; may be "" */
	char why[PG_INTERFACE_WHY];
};

#define PG_KEYS_TEXT 512 /* names of configuration keys, ", " between them */

struct pg_agent_status {
	char instance[32];
	char version[32];
	uint64_t started_ms; /* Unix time */
	uint64_t sessions;   /* living */
	uint64_t streams;
	uint64_t sessions_limit, streams_limit;
	uint64_t adopted, restored, removed; /* sessions at the last start, by their fate */
	char restart_needed[PG_KEYS_TEXT];   /* of the file as it was last read */
	const char *aead_backend;
	bool all_attached;  /* every configured interface has its gate (or socket mode) */
	bool workers_alive; /* every worker turned its loop within the last 2 s */
	size_t interface_count;
	struct pg_interface_status interfaces[PG_INTERFACES_MAX];
};

void pg_agent_status(struct pg_agent *agent, struct pg_agent_status *ret_status);

int pg_agent_attach(struct pg_agent *agent, const char *interface, uint32_t confirm_seconds,
		    struct pg_error *error);
int pg_agent_confirm(struct pg_agent *agent, const char *interface, struct pg_error *error);
int pg_agent_detach(struct pg_agent *agent, const char *interface, struct pg_error *error);

/* Reads the configuration file again; a bad file changes nothing. */
struct pg_reload_result {
	uint32_t added, changed, removed; /* endpoints */
	/* keys of the file that are not in force until the next start, by this reload or before */
	char restart_needed[PG_KEYS_TEXT];
};

int pg_agent_reload(struct pg_agent *agent, struct pg_reload_result *ret_result,
		    struct pg_error *error);

struct pg_endpoint_status {
	char name[32];
	uint32_t id;
	uint64_t sessions;
	bool application;		  /* one is connected */
	struct pg_endpoint_config config; /* a copy; see config.h */
};

int pg_agent_endpoints(struct pg_agent *agent, struct pg_endpoint_status **ret_rows,
		       size_t *ret_count);

/* The configuration in force, for limits and labels; valid until pg_agent_config_put. */
const struct pg_config *pg_agent_config_get(struct pg_agent *agent);
void pg_agent_config_put(struct pg_agent *agent);

/* --- sessions ----------------------------------------------------------------------------------
 */

struct pg_session_request {
	const char *endpoint;	       /* name */
	uint16_t client_id, server_id; /* not 0 */
	struct pg_peer peer;
	uint8_t secret[32];
	uint8_t aead;		  /* enum pg_aead_algorithm */
	uint32_t expires_seconds; /* 0 = never */
};

/*
 * Provisions count sessions, all or none; returns when they are durable and the gate knows them.
 * On failure *ret_failed is the index of the row that was refused.
 */
int pg_agent_session_add(struct pg_agent *agent, const struct pg_session_request *rows,
			 size_t count, uint64_t *ret_handles, size_t *ret_failed,
			 struct pg_error *error);

/* code: enum pg_goaway, sent to the peer. */
int pg_agent_session_close(struct pg_agent *agent, uint32_t session, uint8_t code,
			   struct pg_error *error);

struct pg_session_status {
	uint64_t handle;
	uint32_t session; /* client id << 16 | server id */
	char endpoint[32];
	struct pg_peer peer;
	uint8_t state, policy, aead;
	bool guard;
	uint32_t worker;
	uint32_t streams;
	uint32_t highest_received, next_deliver, next_send;
	uint64_t frames_in, bytes_in, frames_out, bytes_out; /* application bytes */
	uint64_t rejected;				     /* frames refused after the gate */
	uint64_t gaps;
	double avg_retry_ratio;	 /* resends a frame, averaged over the packets sent */
	uint32_t round_trip_ms;	 /* smoothed; 0 = not known */
	uint64_t last_active_ms; /* Unix time, 0 = never */
	uint64_t created_ms, expires_ms;
	char *user; /* whom the token of its handshake named; NULL = nobody */
};

/* Free the rows with pg_agent_sessions_free. */
int pg_agent_sessions(struct pg_agent *agent, struct pg_session_status **ret_rows,
		      size_t *ret_count);
void pg_agent_sessions_free(struct pg_session_status *rows, size_t count);
/* -ENOENT where no living session has this id. The caller frees ret_row->user. */
int pg_agent_session_show(struct pg_agent *agent, uint32_t session,
			  struct pg_session_status *ret_row);

struct pg_stream_status {
	uint32_t session, stream;
	uint8_t state, policy;
	uint32_t highest_received, next_deliver, next_send;
};

/* session 0 = of every session */
int pg_agent_streams(struct pg_agent *agent, uint32_t session, struct pg_stream_status **ret_rows,
		     size_t *ret_count);

/* --- counters ----------------------------------------------------------------------------------
 */

struct pg_gate_counts {
	struct pg_count drops[PG_SLOT_NONE + 1][PG_DROP_SLOTS];
	struct pg_count would_drop[PG_SLOT_NONE + 1][PG_DROP_SLOTS];
	struct pg_count counters[PG_SLOT_NONE + 1][PG_COUNTER_SLOTS];
	struct pg_count steered[PG_SLOT_NONE + 1][PG_QUEUES_MAX];
};

/* Sums the per-CPU maps now. */
int pg_agent_gate_counts(struct pg_agent *agent, struct pg_gate_counts *ret_counts);

#define PG_LATENCY_BUCKETS 16 /* bucket i counts deliveries within 2^i us; the last is +Inf */

/* What the workers count, summed. X(name, metric suffix, help) */
#define PG_WORKER_COUNTERS(X)                                                                     \
	X(frames_received, "frames_received", "frames taken from AF_XDP and UDP sockets")         \
	X(frames_opened, "frames_opened", "data frames authenticated and committed, first time")  \
	X(frames_sent, "frames_sent", "frames of every opcode sent")                              \
	X(acks_sent, "acks_sent", "acks sent, repeated ones too")                                 \
	X(duplicates_acked, "duplicates_acked", "duplicates acked again by the agent")            \
	X(messages_delivered, "messages_delivered", "packets or messages handed to applications") \
	X(bytes_delivered, "bytes_delivered", "application bytes handed to applications")         \
	X(gaps_reported, "gaps_reported", "runs of packIds reported as never received")           \
	X(packets_succeeded, "packets_succeeded",                                                 \
	  "packets of a reliable series acked by the peer")                                       \
	X(packets_failed, "packets_failed", "packets of a reliable series not acked in time")     \
	X(frames_begun, "frames_begun", "data frames of reliable series sent for the first time") \
	X(frames_resent, "frames_resent",                                                         \
	  "data frames sent again; over frames_begun: resends a frame")                           \
	X(frames_lost, "frames_lost", "data frames taken for lost because later ones were acked") \
	X(losses_spurious, "losses_spurious", "of these, frames that were acked after all")       \
	X(send_timeouts, "send_timeouts", "probes sent because no ack came in time")              \
	X(roamed, "roamed", "sessions that moved to a new peer address")                          \
	X(handed_over, "handed_over", "sessions moved to another worker")                         \
	X(handed_frames, "handed_frames", "frames copied to the worker that owns their session")  \
	X(transmit_full, "transmit_full", "frames not sent because the transmit ring was full")   \
	X(app_events_lost, "app_events_lost", "events that found the application's queue full")   \
	X(heartbeats_answered, "heartbeats_answered", "messages of Id 1 that were answered")      \
	X(heartbeats_unanswered, "heartbeats_unanswered",                                         \
	  "messages of Id 1 whose answer could not be sent")                                      \
	X(answers_dropped, "heartbeat_answers_dropped", "messages of Id 2 received, and dropped") \
	X(hs_shakehands, "shakehands", "shakehands that reached the agent")                       \
	X(hs_opened, "handshakes_opened", "shakehands that opened a session, not yet confirmed")  \
	X(hs_ready, "handshakes_ready", "sessions that their client confirmed")                   \
	X(hs_repeated, "handshakes_repeated",                                                     \
	  "shakehands that came again and got the same answer")                                   \
	X(hs_cookies_sent, "cookies_sent", "shakehands that the agent answered with a cookie")    \
	X(hs_denied, "handshakes_denied", "shakehands whose token was refused")                   \
	X(hs_busy, "handshakes_busy",                                                             \
	  "shakehands told to try later: a bound or the rate is reached")                         \
	X(hs_expired, "handshakes_expired", "sessions that no client confirmed in time")          \
	X(not_stored, "sessions_not_stored",                                                      \
	  "sessions of a handshake that the store had no room for: they end with the process")

/*
 * Why sessions do not fit their endpoint as it is configured now, and are ended: X(NAME, number,
 * label, help).
 */
#define PG_MISFITS(X)                                                                  \
	X(ENDPOINT, 1, "endpoint", "the endpoint is not configured any more")          \
	X(FAMILY, 2, "family", "the endpoint's address is of the other family now")    \
	X(GUARD, 3, "guard", "the endpoint's guard is not what they were opened with") \
	X(POLICY, 4, "policy", "the endpoint's policy is not what they were opened with")

enum pg_misfit {
	PG_FIT = 0,
#define PG_X(name, number, ...) PG_MISFIT_##name = number,
	PG_MISFITS(PG_X)
#undef PG_X
};

#define PG_MISFIT_SLOTS 8

struct pg_worker_counts {
#define PG_X(name, suffix, help) uint64_t name;
	PG_WORKER_COUNTERS(PG_X)
#undef PG_X
	uint64_t rejected[PG_DROP_SLOTS];	      /* frames refused by the agent, by reason */
	uint64_t malformed[PG_MALFORMED_SLOTS];	      /* packets, or connections closed for it */
	uint64_t misfits[PG_MISFIT_SLOTS];	      /* sessions ended, by enum pg_misfit */
	uint64_t latency_buckets[PG_LATENCY_BUCKETS]; /* receive to hand-over, not cumulative */
	uint64_t latency_sum_ns;
};

void pg_agent_worker_counts(struct pg_agent *agent, struct pg_worker_counts *ret_counts);

/* Why a TCP connection ended: X(NAME, number, label, help). */
#define PG_TCP_CLOSES(X)                                                             \
	X(CLIENT, 0, "client", "the client ended it")                                \
	X(RESET, 1, "reset", "the connection broke")                                 \
	X(APPLICATION, 2, "application", "the application ended it")                 \
	X(IDLE, 3, "idle", "nothing was sent or taken for idle_seconds")             \
	X(STALLED, 4, "stalled", "no application took its message for idle_seconds") \
	X(MALFORMED, 5, "malformed", "its bytes are not messages")                   \
	X(TLS, 6, "tls", "the TLS handshake failed, or took longer than 10 s")       \
	X(MEMORY, 7, "memory", "tcp_buffer_bytes is reached, or no memory is left")  \
	X(REMOVED, 8, "removed", "the entrance was removed or changed, or the agent stops")

enum pg_tcp_close {
#define PG_X(name, number, ...) PG_TCP_CLOSE_##name = number,
	PG_TCP_CLOSES(PG_X)
#undef PG_X
};

#define PG_TCP_CLOSE_SLOTS 16

/* Why a TCP connection was refused, which resets it: X(NAME, number, label, help). */
#define PG_TCP_REFUSALS(X)                                                               \
	X(FULL, 0, "full", "the entrance has max_connections already")                   \
	X(SOURCE, 1, "source", "its address has max_connections_per_source already")     \
	X(DESCRIPTORS, 2, "descriptors", "the agent has no open file left: LimitNOFILE") \
	X(MEMORY, 3, "memory", "no memory, or 1048576 connections at all entrances")

enum pg_tcp_refusal {
#define PG_X(name, number, ...) PG_TCP_REFUSAL_##name = number,
	PG_TCP_REFUSALS(PG_X)
#undef PG_X
};

#define PG_TCP_REFUSAL_SLOTS 8

struct pg_tcp_entrance {
	char name[PG_CONFIG_NAME_MAX];
	char endpoint[PG_CONFIG_NAME_MAX];
	struct pg_peer listen;
	bool tls;
	uint32_t connections, max_connections, max_per_source;
	uint64_t accepted;
	uint64_t stalls; /* times a message had to wait for its application */
	uint64_t refused[PG_TCP_REFUSAL_SLOTS];
	uint64_t closed[PG_TCP_CLOSE_SLOTS];
	uint64_t malformed[PG_MALFORMED_SLOTS];
};

/* The TCP entrances; rows has room for PG_CONFIG_ENTRANCES_MAX. Returns how many there are. */
size_t pg_agent_tcp_entrances(struct pg_agent *agent, struct pg_tcp_entrance *rows);

/* AF_XDP ring statistics of one socket (struct xdp_statistics). */
struct pg_xsk_status {
	char interface[PG_NAME_MAX];
	uint32_t queue;
	uint64_t rx_dropped, rx_invalid_descs, tx_invalid_descs, rx_ring_full,
		rx_fill_ring_empty_descs, tx_ring_empty_descs;
};

int pg_agent_xsk_status(struct pg_agent *agent, struct pg_xsk_status **ret_rows, size_t *ret_count);

/* Sessions by endpoint and state, for packgate_sessions{endpoint,state}. */
struct pg_session_count {
	char endpoint[32];
	uint64_t by_state[5]; /* enum pg_session_state */
};

int pg_agent_session_counts(struct pg_agent *agent, struct pg_session_count **ret_rows,
			    size_t *ret_count);

/* What reads the TCP listeners (listeners.h); lives as long as the agent. */
struct pg_listeners *pg_agent_listeners(struct pg_agent *agent);

/* --- the shield --------------------------------------------------------------------------------
 */

struct pg_shield_interface {
	char name[PG_NAME_MAX];
	enum pg_shield_way way;
	char why[160]; /* why not the gate's own cookie, or none; may be "" */
};

/* What the shield needs of a sysctl of the namespace. */
struct pg_shield_sysctl {
	const char *name;
	int value;	  /* now, negative = unknown */
	int wanted;	  /* the least that is enough; -1 = nothing is wanted */
	int before;	  /* the agent's change will be taken back to this; -1 = none */
	bool needed;	  /* without it no cookie is taken back; else options are lost */
	char advice[200]; /* "" where nothing is missing */
};

struct pg_shield_status {
	struct pg_shield_listener listener;
	bool configured; /* by the file, else over the control API */
	bool active;
	uint32_t syn_queue, syn_limit; /* at the last SYN */
	uint64_t last_switch_ms;       /* Unix time, 0 = never */
	uint64_t switched_on, switched_off;
#define PG_X(field, ...) uint64_t field;
	PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
};

struct pg_shield_event {
	uint64_t time_ms; /* Unix time */
	bool any;
	struct pg_address address;
	uint16_t port;
	bool active; /* it went on, or off */
	uint32_t syn_queue, syn_limit;
};

#define PG_SHIELD_EVENTS  64 /* kept */
#define PG_SHIELD_SYSCTLS 2

struct pg_shield_report {
	size_t interface_count, shield_count, event_count;
	struct pg_shield_interface interfaces[PG_INTERFACES_MAX];
	struct pg_shield_sysctl sysctls[PG_SHIELD_SYSCTLS];
	struct pg_shield_status shields[PG_SHIELDS_MAX];
	struct pg_shield_event events[PG_SHIELD_EVENTS]; /* oldest first */
};

/* The caller frees the report. */
int pg_agent_shield(struct pg_agent *agent, struct pg_shield_report **ret_report);

/*
 * Sets the mode of one listener's shield, and makes it where there is none; it stays until it is
 * changed or the pins go. set_sysctl: sets what is missing, and puts it back with the last shield.
 */
int pg_agent_shield_set(struct pg_agent *agent, const struct pg_shield_listener *listener,
			bool set_sysctl, struct pg_error *error);

/* --- sampled drops -----------------------------------------------------------------------------
 */

/*
 * A follower of the drops. While one exists the gate samples every drop that finds room in the
 * ring (bounded); without one nothing is sampled. At most PG_FOLLOWERS_MAX at a time (-EBUSY).
 */
#define PG_FOLLOWERS_MAX 8

struct pg_follower;
int pg_agent_follow(struct pg_agent *agent, struct pg_follower **ret_follower,
		    struct pg_error *error);
/*
 * Waits up to timeout_ms for events; returns how many were copied (0 = time is up), or a negative
 * errno when the agent stops. *ret_lost counts the events this follower was too slow for.
 */
int pg_follower_read(struct pg_follower *follower, struct pg_event *events, size_t max,
		     int timeout_ms, uint64_t *ret_lost);
void pg_follower_free(struct pg_follower *follower);

#endif
