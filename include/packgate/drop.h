/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_DROP_H
#define PACKGATE_DROP_H

#include <linux/types.h>

/*
 * Why a frame is refused: X(NAME, number, label, help). One list for the gate, the agent, the
 * metric label `reason` and docs/metrics.md. A published number or label is never reused.
 * Numbers below 40 belong to what the gate can decide, the others to the agent alone.
 */
#define PG_DROPS(X)                                                                                \
	X(FRAME_SHORT, 1, "frame_short", "shorter than the header, or than its flags announce")    \
	X(RESERVED_BITS, 2, "reserved_bits", "a reserved bit is set")                              \
	X(OPCODE, 3, "opcode", "unknown opcode, or one that never travels to a server")            \
	X(FLAGS, 4, "flags", "not an exact flag byte of its opcode")                               \
	X(LENGTH_MISMATCH, 5, "length_mismatch", "header and payload length are not the datagram") \
	X(ID_ZERO, 6, "id_zero", "an id is 0 that must not be, or the reverse")                    \
	X(ID_RANGE, 7, "id_range", "fragment id above 512")                                        \
	X(PAYLOAD_SIZE, 8, "payload_size", "payload length outside the range of its opcode")       \
	X(FRAGMENT_UNSUPPORTED, 9, "fragment_unsupported",                                         \
	  "a fragment in a series of policy newest")                                               \
	X(HANDSHAKE_OFF, 10, "handshake_off", "shakehand, but in-band handshakes are off")         \
	X(IP_HEADER, 11, "ip_header", "the IP header lies about lengths")                          \
	X(IP_FRAGMENT, 12, "ip_fragment", "first fragment of a fragmented IP datagram")            \
	X(UDP_LENGTH, 13, "udp_length",                                                            \
	  "the UDP length disagrees with the IP length or the bytes")                              \
	X(NO_SESSION, 14, "no_session", "no session has these ids on this endpoint")               \
	X(SESSION_STATE, 15, "session_state", "the session is closed or not yet open")             \
	X(NO_STREAM, 16, "no_stream", "the session has no such stream")                            \
	X(PEER_MISMATCH, 17, "peer_mismatch", "not from the pinned peer, nor a roaming candidate") \
	X(GUARD, 18, "guard", "the guard tag is wrong")                                            \
	X(REPLAY_SEEN, 19, "replay_seen", "packId received before")                                \
	X(REPLAY_OLD, 20, "replay_old", "packId behind the replay window")                         \
	X(REPLAY_AHEAD, 21, "replay_ahead", "packId more than 2^20 ahead")                         \
	X(NOT_MONOTONIC, 22, "not_monotonic", "packId not above the highest, policy newest")       \
	X(RATE_LIMITED, 23, "rate_limited", "matches no session, and its source sends too many")   \
	X(NO_SOCKET, 24, "no_socket", "no AF_XDP socket on this queue")                            \
	X(SHIELD_ACK, 25, "shield_ack",                                                            \
	  "under a shield: of no connection, and without a valid cookie")                          \
	X(SHIELD_FULL, 26, "shield_full", "under a shield: SYN, but the accept queue is full")     \
	X(SHIELD_SYN, 27, "shield_syn", "under a shield: SYN or fragment that cannot be answered") \
	X(COOKIE_UNANSWERED, 30, "cookie_unanswered",                                              \
	  "shakehand without a valid cookie, its headers too rare to be answered")                 \
	X(TAG, 40, "tag", "AEAD authentication failed")                                            \
	X(NO_APPLICATION, 41, "no_application", "no application reads this endpoint")              \
	X(APP_FULL, 42, "app_full", "the application's queue is full")                             \
	X(BUFFER_FULL, 43, "buffer_full", "the session's receive buffer is full")                  \
	X(ACK_UNKNOWN, 44, "ack_unknown", "acks an id that was never sent, or contradicts itself") \
	X(STREAM_ID_USED, 45, "stream_id_used",                                                    \
	  "openstream for an id opened before or behind the window")                               \
	X(STREAM_LIMIT, 46, "stream_limit", "no room for another stream")                          \
	X(RATE_CONTROL, 47, "rate_control", "control frames beyond their rate")                    \
	X(NOT_RESERVED, 48, "not_reserved", "waits for a reservation in the store")                \
	X(HANDOFF_FULL, 49, "handoff_full", "the owning worker's inbox is full")                   \
	X(SEND_BLOCKED, 50, "send_blocked", "the answer cannot be sent yet: window or block full") \
	X(UNEXPECTED, 51, "unexpected", "valid, but nothing in this state asks for it")            \
	X(FRAGMENT_CONFLICT, 52, "fragment_conflict",                                              \
	  "contradicts the fragments of its packet that came before")                              \
	X(MALFORMED, 53, "malformed", "an authentic packet that is not whole messages")            \
	X(HANDSHAKE_VERSION, 55, "handshake_version", "shakehand of an unknown version")           \
	X(HANDSHAKE_KEY, 56, "handshake_key", "shakehand that no static key of ours opens")        \
	X(HANDSHAKE_MALFORMED, 57, "handshake_malformed", "shakehand whose text makes no sense")   \
	X(HANDSHAKE_SOURCE, 58, "handshake_source",                                                \
	  "shakehand known already, from another source")                                          \
	X(TOKEN, 59, "token", "shakehand whose token is refused; answered")                        \
	X(HANDSHAKE_BUSY, 60, "handshake_busy",                                                    \
	  "shakehand beyond a bound or the rate; told to try later")                               \
	X(COOKIE_DUE, 61, "cookie_due", "shakehand without a valid cookie; answered with one")

enum pg_drop {
	PG_DROP_NONE = 0,
#define PG_X(name, number, ...) PG_DROP_##name = number,
	PG_DROPS(PG_X)
#undef PG_X
};

#define PG_DROP_SLOTS 64 /* array stride: every number above is below it */

/*
 * What the gate counts beside drops: X(NAME, number, label, help). Per interface.
 */
#define PG_COUNTERS(X)                                                                            \
	X(PASSED, 0, "passed", "frames passed to the kernel because they are not packgate's")     \
	X(DUPLICATES, 1, "duplicates", "duplicates of acked packets, acked again")                \
	X(CANDIDATES, 2, "roaming_candidates", "frames from a new address, steered to be proven") \
	X(WITHOUT_AGENT, 3, "without_agent", "frames passed to the kernel because no agent runs") \
	X(ABORTED, 4, "aborted", "impossible states")                                             \
	X(EVENTS_LOST, 5, "events_lost", "sampled drops that found the event ring full")          \
	X(ACKS, 6, "acks", "duplicates that the gate acked itself, without the agent")            \
	X(SHIELD_COOKIES, 7, "shield_cookies", "SYNs answered by a cookie")                       \
	X(SHAKEHANDS, 10, "shakehands", "shakehands for endpoints that take them")                \
	X(COOKIES, 11, "cookies", "shakehands that the gate answered with a cookie itself")

enum pg_counter {
#define PG_X(name, number, ...) PG_COUNT_##name = number,
	PG_COUNTERS(PG_X)
#undef PG_X
};

#define PG_COUNTER_SLOTS 16

#endif
