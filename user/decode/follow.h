/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FOLLOW_H
#define PG_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/types.h>

#include "segment.h"

/*
 * Follows TCP connections through a capture: segments go in, in the order they were captured, and
 * each gives a note: the states of both ends, numbers counted from the start of the connection,
 * and what was unusual. Ended connections wait as reports.
 *
 * An end's state is the one it has when every segment captured so far has arrived, as in the
 * figures of RFC 9293; a FIN has arrived when nothing before it is missing. No clock and no input
 * but the segments: time is the capture's.
 */
struct pg_follow;

/* The states of RFC 9293, section 3.3.2: X(NAME, number, label) */
#define PG_TCP_STATES(X)                   \
	X(CLOSED, 0, "CLOSED")             \
	X(LISTEN, 1, "LISTEN")             \
	X(SYN_SENT, 2, "SYN-SENT")         \
	X(SYN_RECEIVED, 3, "SYN-RECEIVED") \
	X(ESTABLISHED, 4, "ESTABLISHED")   \
	X(FIN_WAIT_1, 5, "FIN-WAIT-1")     \
	X(FIN_WAIT_2, 6, "FIN-WAIT-2")     \
	X(CLOSE_WAIT, 7, "CLOSE-WAIT")     \
	X(CLOSING, 8, "CLOSING")           \
	X(LAST_ACK, 9, "LAST-ACK")         \
	X(TIME_WAIT, 10, "TIME-WAIT")

enum pg_tcp_state {
#define PG_X(name, number, label) PG_TCP_##name = number,
	PG_TCP_STATES(PG_X)
#undef PG_X
};

/*
 * What a segment was beside plain: X(NAME, bit, label, unusual, help). The label stands in the
 * output of `packgate decode --follow` and in its JSON: a published bit or label is never reused.
 * unusual: 1 if a report counts it among what was unusual.
 */
#define PG_FOLLOW_EVENTS(X)                                                                      \
	X(ESTABLISHED, 0, "established", 0, "the handshake is complete")                         \
	X(KEEP_ALIVE, 1, "keep_alive", 0, "asks whether the other end is still there")           \
	X(KEEP_ALIVE_ACK, 2, "keep_alive_ack", 0, "answers a keep-alive")                        \
	X(WINDOW_UPDATE, 3, "window_update", 0, "changes the window and nothing else")           \
	X(MID_STREAM, 4, "mid_stream", 1, "the first of a connection whose start is missing")    \
	X(PORT_REUSE, 5, "port_reuse", 1, "opens a connection on ports used before")             \
	X(SIMULTANEOUS_OPEN, 6, "simultaneous_open", 1, "a SYN that crosses the other's SYN")    \
	X(SYN_DATA, 7, "syn_data", 1, "a SYN that carries data")                                 \
	X(BAD_SYN, 8, "bad_syn", 1, "a SYN with numbers of another connection")                  \
	X(CHALLENGE_ACK, 9, "challenge_ack", 1,                                                  \
	  "answers a SYN from within an older connection of these ports")                        \
	X(GAP, 10, "gap", 1, "bytes before it were not captured so far")                         \
	X(OUT_OF_ORDER, 11, "out_of_order", 1, "fills a gap too soon to be a retransmission")    \
	X(RETRANSMISSION, 12, "retransmission", 1, "carries what was sent before")               \
	X(FAST_RETRANSMISSION, 13, "fast_retransmission", 1,                                     \
	  "a retransmission after duplicate acknowledgments")                                    \
	X(SPURIOUS_RETRANSMISSION, 14, "spurious_retransmission", 1,                             \
	  "a retransmission of what was acknowledged")                                           \
	X(OVERLAP, 15, "overlap", 1, "carries bytes sent before and new ones")                   \
	X(DUPLICATE_ACK, 16, "duplicate_ack", 1, "acknowledges the same again")                  \
	X(ACK_UNSEEN, 17, "ack_unseen", 1, "acknowledges what was not captured")                 \
	X(DUPLICATE_SACK, 18, "duplicate_sack", 1, "reports bytes that arrived twice")           \
	X(ZERO_WINDOW, 19, "zero_window", 1, "tells the other end to stop")                      \
	X(ZERO_WINDOW_PROBE, 20, "zero_window_probe", 1, "asks whether a zero window opened")    \
	X(ZERO_WINDOW_PROBE_ACK, 21, "zero_window_probe_ack", 1, "it did not")                   \
	X(WINDOW_FULL, 22, "window_full", 1, "fills the other end's window to its last byte")    \
	X(SIMULTANEOUS_CLOSE, 23, "simultaneous_close", 1, "a FIN that crosses the other's FIN") \
	X(AFTER_FIN, 24, "after_fin", 1, "carries data past the end its own FIN set")            \
	X(RESET, 25, "reset", 1, "ends the connection at once")                                  \
	X(REFUSED, 26, "refused", 1, "refuses a SYN")                                            \
	X(RESET_IGNORED, 27, "reset_ignored", 1, "a reset whose numbers are not acceptable")     \
	X(AFTER_CLOSE, 28, "after_close", 1, "comes after the connection ended")                 \
	X(CONGESTION, 29, "congestion", 1, "echoes a congestion mark of the network (ECE)")

enum pg_follow_event {
#define PG_X(name, bit, ...) PG_FOLLOW_##name = bit,
	PG_FOLLOW_EVENTS(PG_X)
#undef PG_X
		PG_FOLLOW_EVENT_COUNT
};

#define PG_FOLLOW_BIT(event) (1u << (event))

/* How a connection ended: X(NAME, number, label, text); label and number as above */
#define PG_FOLLOW_ENDS(X)                                               \
	X(OPEN, 0, "open", "still open")                                \
	X(FOUR, 1, "four_packets", "closed in four packets")            \
	X(THREE, 2, "three_packets", "closed in three packets")         \
	X(SIMULTANEOUS, 3, "simultaneous", "closed by both at once")    \
	X(RESET, 4, "reset", "reset")                                   \
	X(REFUSED, 5, "refused", "refused")                             \
	X(REPLACED, 6, "replaced", "replaced by one on the same ports") \
	X(IDLE, 7, "idle", "silent for too long, given up")

enum pg_follow_end {
#define PG_X(name, number, ...) PG_FOLLOW_END_##name = number,
	PG_FOLLOW_ENDS(PG_X)
#undef PG_X
};

/* The two ends of a connection: the one that opened it, as far as can be told, comes first. */
#define PG_FOLLOW_CLIENT 0
#define PG_FOLLOW_SERVER 1

#define PG_FOLLOW_CONNECTIONS_MAX (1u << 20)

struct pg_follow_settings {
	uint32_t connections; /* followed at once, 1 to PG_FOLLOW_CONNECTIONS_MAX */
	uint32_t opening_s;   /* a handshake that stands still longer is given up */
	uint32_t idle_s;      /* any other connection */
	uint32_t time_wait_s; /* an ended connection is forgotten after that; TIME-WAIT ends */
	__u64 key[2];	      /* random: keeps strangers from choosing what hashes alike */
};

/* Linux: a SYN is given up after 127 s, a silent peer by keep-alives after 2 h 11 min 15 s. */
#define PG_FOLLOW_SETTINGS_DEFAULT                                                        \
	(struct pg_follow_settings)                                                       \
	{                                                                                 \
		.connections = 65536, .opening_s = 130, .idle_s = 7875, .time_wait_s = 60 \
	}

struct pg_follow_note {
	uint64_t connection; /* counted from 1; 0: not followed, the table is full */
	uint8_t sender;	     /* PG_FOLLOW_CLIENT or PG_FOLLOW_SERVER */
	enum pg_tcp_state states[2];
	/*
	 * Relative numbers: 0 is the SYN, 1 the first byte; without a SYN the first byte captured,
	 * or acknowledged, is 1. next: what the other end acknowledges when it has this segment.
	 */
	uint32_t seq, next, ack;
	uint32_t acked;	    /* bytes, SYN and FIN included, this segment acknowledges first */
	uint32_t in_flight; /* sent by its sender and not acknowledged; 0 if that is not known */
	uint32_t window;    /* in bytes if window_known, else as sent */
	bool has_ack;
	bool window_known;   /* the scale is known, or there is none */
	bool ended;	     /* this segment ended the connection: its report waits */
	uint32_t duplicates; /* with DUPLICATE_ACK: how many times so far */
	uint32_t missing;    /* with GAP: bytes between the last captured and this segment */
	uint32_t events;     /* PG_FOLLOW_BIT of each */
};

/* What one end sent. */
struct pg_follow_way {
	uint64_t segments;
	uint64_t bytes;		/* of the stream, each counted once */
	uint64_t bytes_again;	/* sent again */
	uint64_t bytes_missing; /* passed over, or acknowledged, and never captured */
	uint32_t mss;		/* 0: none was announced */
	int window_shift;	/* -1: none was announced */
	bool sack_permitted;
	bool timestamps;
	uint32_t events[PG_FOLLOW_EVENT_COUNT];
};

struct pg_follow_report {
	uint64_t connection;
	struct pg_peer ends[2];
	enum pg_tcp_state states[2];
	enum pg_follow_end end;
	bool final; /* the connection is forgotten; else only ended, and late segments may come */
	bool established; /* both ends were, or the capture began later */
	bool whole; /* a SYN was captured: the report is about the connection from its start */
	uint64_t first_us, last_us;
	int64_t handshake_us; /* first SYN to the ACK that completes it; -1: not seen whole */
	int64_t server_us;    /* last SYN to the first answer to it (the way to the server); -1 */
	int64_t client_us;    /* that answer to the completing ACK (the way to the client); -1 */
	struct pg_follow_way ways[2];
};

struct pg_follow_counts {
	uint64_t segments;
	uint64_t connections; /* that were followed, also those forgotten since */
	uint64_t untracked;   /* segments not followed: the table was full, or memory was */
	uint32_t now;	      /* connections in the table */
};

/* Returns 0, -EINVAL for settings out of range, or -ENOMEM. The caller owns the result. */
int pg_follow_new(const struct pg_follow_settings *settings, struct pg_follow **ret_follow);
void pg_follow_free(struct pg_follow *follow);

/*
 * Takes the next segment of the capture. A segment of a new connection that finds the table full
 * of connections that have not ended is counted, not followed, and its note says so with
 * connection 0; no connection that lives is given up for it.
 */
void pg_follow_segment(struct pg_follow *follow, const struct pg_segment *segment,
		       struct pg_follow_note *ret_note);

/*
 * The next report that waits: a connection that ended, was replaced or given up. Returns whether
 * there was one. Reports that nobody takes are bounded by the table's size; beyond it new
 * connections find the table full.
 * A connection that had segments after its report is reported once more when it is forgotten.
 */
bool pg_follow_take(struct pg_follow *follow, struct pg_follow_report *ret_report);

/* The capture is over: every connection not reported yet becomes a report and is forgotten. */
void pg_follow_finish(struct pg_follow *follow);

void pg_follow_count(const struct pg_follow *follow, struct pg_follow_counts *ret_counts);

/* "SYN-SENT", "retransmission", "three_packets"; NULL for a number that none has. */
const char *pg_tcp_state_label(enum pg_tcp_state state);
const char *pg_follow_event_label(enum pg_follow_event event);
const char *pg_follow_end_label(enum pg_follow_end end);
const char *pg_follow_end_text(enum pg_follow_end end); /* for eyes */

/* Whether a report counts the event among what was unusual. */
bool pg_follow_event_unusual(enum pg_follow_event event);

#endif
