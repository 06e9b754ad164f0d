/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_PACKGATE_H
#define PACKGATE_PACKGATE_H

#include <stddef.h>
#include <stdint.h>

#include "public.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * libpackgate: a client of the session protocol (docs/protocol.md) over UDP. It needs no privilege,
 * no thread and no XDP.
 *
 * In an event loop: watch pg_client_fd for reading, wait at most pg_client_timeout_ms, call
 * pg_client_process, then take events with pg_client_next until there is none. Or let
 * pg_client_wait do all of that and block.
 *
 * A client belongs to one thread at a time; different clients are independent. Functions return 0
 * (or what they say) or a negative errno. Integers are in host order.
 */

/* The library's version, "MAJOR.MINOR.PATCH". */
PG_PUBLIC const char *pg_client_version(void);

struct pg_client;

/* Why something failed, as a sentence. */
struct pg_client_error {
	char text[256];
};

enum pg_client_aead {
	PG_CLIENT_AEAD_ANY = 0, /* the server chooses; provisioned: ChaCha20-Poly1305 */
	PG_CLIENT_CHACHA20_POLY1305 = 1,
	PG_CLIENT_AES_256_GCM = 2,
};

/* What a stream, or the session's own series, does with its packets. */
enum pg_client_policy {
	PG_CLIENT_RELIABLE = 0,	 /* acked, sent again, in order */
	PG_CLIENT_NEWEST = 1,	 /* only the newest, neither acked nor sent again, one frame */
	PG_CLIENT_UNORDERED = 2, /* as they come, neither acked nor sent again */
};

/*
 * How to reach a server. Either server_key (the session is opened in band) or secret, client_id and
 * server_id (the session was provisioned there) is set. Pointers are read during pg_client_new
 * alone. Begin with PG_CLIENT_OPTIONS: what is 0 has its default.
 */
struct pg_client_options {
	size_t size;	    /* of this struct: a later library knows what an older caller has */
	const char *server; /* "HOST:PORT", "A.B.C.D:PORT" or "[v6]:PORT"; names are resolved */
	const char *source; /* "A.B.C.D:PORT" or "[v6]:PORT" to send from; NULL = any */

	/* In band. */
	const uint8_t *server_key; /* the server's static X25519 public key, 32 bytes */
	const void *token;	   /* what the server asks for, at most 900 bytes */
	size_t token_bytes;
	uint16_t idle_seconds; /* asked for; the session ends after so much silence */
	uint16_t streams;      /* streams at once that are asked for */

	/*
	 * Provisioned. A secret serves one session and, without `state`, one run of the client:
	 * packIds start at 1, so starting a second time with it would use a nonce twice. The server
	 * must have pinned the address that the client sends from (`source`).
	 */
	const uint8_t *secret; /* 32 bytes */
	uint16_t client_id, server_id;
	int newest; /* the endpoint's policy is monotonic */

	/* Both. */
	int aead;      /* enum pg_client_aead */
	int unguarded; /* in band: take a session without the guard; provisioned: it has none */
	uint16_t max_payload; /* of a frame, tag and guard included; default 1172, or what fits */
	uint32_t send_buffer_bytes;    /* default 4 MiB */
	uint32_t receive_buffer_bytes; /* default 4 MiB, and as much again of untaken events */
	/*
	 * Default 10000, from a frame's first transmission until its packet has failed. A packet
	 * fails earlier when 8 retries of a frame brought no ack, after 12.6 s at the soonest.
	 */
	uint32_t send_timeout_ms;
	uint32_t receive_timeout_ms; /* default 12000 */

	/*
	 * Provisioned: the path of a file that remembers between runs what was used and received,
	 * so that the session goes on with the next run, whichever way this one ended. It is made
	 * where it is missing, and then the secret must never have been used; it is never copied
	 * or restored from a copy. End a run with pg_client_free: pg_client_close ends the session
	 * for good. NULL = one run.
	 */
	const char *state;
};

#define PG_CLIENT_OPTIONS                                \
	{                                                \
		.size = sizeof(struct pg_client_options) \
	}

/*
 * Makes a client and starts to open the session: PG_CLIENT_OPEN follows, or PG_CLIENT_CLOSED. A
 * provisioned session is open at once. *ret_client is the caller's to free. -EINVAL bad options,
 * -EPROTONOSUPPORT options of a newer library, -EMSGSIZE max_payload does not fit the interface,
 * -ENOENT the name does not resolve, -ENOMEM, or what the socket said. Of the state: -EBUSY another
 * process has it, -ESTALE it may have missed something (the machine went down, or it is a copy),
 * -EKEYREJECTED it is of another session or secret, -EKEYEXPIRED the session ended, -EUCLEAN it is
 * no state file, -EPERM others may read it, -EOPNOTSUPP it is not on a disk. error (may be NULL)
 * has the sentence.
 */
PG_PUBLIC int pg_client_new(const struct pg_client_options *options, struct pg_client **ret_client,
			    struct pg_client_error *error);

/* Frees without a word to the server (see pg_client_close) and wipes the keys. NULL is ignored. */
PG_PUBLIC void pg_client_free(struct pg_client *client);

/* --- in an event loop --------------------------------------------------------------------------
 */

/* The UDP socket, non-blocking, the client's own; the same for its whole life. */
PG_PUBLIC int pg_client_fd(const struct pg_client *client);

/* Milliseconds until pg_client_process is due: 0 = now, -1 = only when the fd is readable. */
PG_PUBLIC int pg_client_timeout_ms(const struct pg_client *client);

/* Reads what came, does what is due, sends what may be sent. 0, or what the socket said. */
PG_PUBLIC int pg_client_process(struct pg_client *client);

/* X(NAME, number, label, help) */
#define PG_CLIENT_EVENTS(X)                                                                    \
	X(OPEN, 1, "open", "the session is there; code: policy of its own series")             \
	X(MESSAGE, 2, "message", "a packet; stream, id = packId, bytes")                       \
	X(STREAM_OPEN, 3, "stream open", "the server opened the stream that was asked for")    \
	X(STREAM_CLOSED, 4, "stream closed", "the stream ended, or was refused")               \
	X(GAP, 5, "gap", "packets id .. id + code - 1 of the stream never came")               \
	X(SENT, 6, "sent", "the server acked the packet with this tag (id)")                   \
	X(FAILED, 7, "failed",                                                                 \
	  "the packet with this tag (id) was not acked; code: -ETIMEDOUT, -ECONNREFUSED "      \
	  "(ICMP), -EMSGSIZE (frames too long for the path), -ESHUTDOWN; bytes: why, as text") \
	X(WRITABLE, 8, "writable", "after -ENOBUFS: there is room in the send buffer again")   \
	X(CLOSED, 9, "closed",                                                                 \
	  "the session ended or could not be opened; code: 0 normal, 1 error, 2 expired, "     \
	  "or a negative errno; bytes: why, as text")

enum pg_client_event_kind {
#define PG_X(name, number, ...) PG_CLIENT_##name = number,
	PG_CLIENT_EVENTS(PG_X)
#undef PG_X
};

struct pg_client_event {
	int kind;	 /* enum pg_client_event_kind */
	uint32_t stream; /* 0 = the session's own series */
	uint32_t id;
	int code;
	const uint8_t *bytes; /* valid until the next call of pg_client_next, _wait or _free */
	size_t length;
};

/* Takes the next event. 1 with *ret_event, 0 there is none. */
PG_PUBLIC int pg_client_next(struct pg_client *client, struct pg_client_event *ret_event);

/* The label of an event's kind; "unknown" for a number that is none. */
PG_PUBLIC const char *pg_client_event_name(int kind);

/* --- sending -----------------------------------------------------------------------------------
 */

/*
 * Sends one packet on a stream (0 = the session's own series). A reliable one is copied into the
 * send buffer and tag comes back in PG_CLIENT_SENT or PG_CLIENT_FAILED, unless it is 0. Errors:
 * -EMSGSIZE longer than pg_client_send_max, -ENOBUFS the send buffer is full (PG_CLIENT_WRITABLE
 * follows), -EAGAIN an unreliable packet cannot leave now and is not kept, -ENOENT no such stream,
 * -EPIPE the stream is being closed, -ENOTCONN the session is not open yet, -ESHUTDOWN it ended or
 * its packIds are used up, -ENOMEM.
 */
PG_PUBLIC int pg_client_send(struct pg_client *client, uint32_t stream, const void *bytes,
			     size_t length, uint32_t tag);

/* Why the last pg_client_send that failed did, as a sentence with numbers; "" before the first. */
PG_PUBLIC const char *pg_client_why(const struct pg_client *client);

/* The longest packet that a series of this policy carries, bytes; 0 while the session is not open.
 */
PG_PUBLIC size_t pg_client_send_max(const struct pg_client *client, int policy);

/* The longest packet that goes into one frame, bytes; 0 while the session is not open. */
PG_PUBLIC size_t pg_client_frame_max(const struct pg_client *client);

/*
 * Opens a stream of this policy (enum pg_client_policy). A reliable one takes packets at once;
 * PG_CLIENT_STREAM_OPEN follows, or PG_CLIENT_STREAM_CLOSED. -EINVAL no such policy, -ENOSPC too
 * many streams at once, -ENOTCONN, -ESHUTDOWN, -ENOMEM.
 */
PG_PUBLIC int pg_client_open_stream(struct pg_client *client, int policy, uint32_t *ret_stream);

/* Closes a stream once everything given to it is sent or failed. -ENOENT, -EALREADY, -ENOTCONN. */
PG_PUBLIC int pg_client_close_stream(struct pg_client *client, uint32_t stream);

/*
 * Ends the session with a goaway (0 normal, 1 error): what is not acked has failed, and
 * PG_CLIENT_CLOSED is the last event. To wait for what is on its way, see pg_client_flush.
 */
PG_PUBLIC void pg_client_close(struct pg_client *client, int code);

/* --- blocking ----------------------------------------------------------------------------------
 */

/* Waits for the next event. 1 with *ret_event, 0 time is up (timeout_ms; -1 = never), or negative.
 */
PG_PUBLIC int pg_client_wait(struct pg_client *client, int timeout_ms,
			     struct pg_client_event *ret_event);

/*
 * pg_client_new, and waits until the session is open. On failure there is no client; besides the
 * errors of pg_client_new: -EACCES the token was refused, -EPERM the server offers no guard,
 * -EPROTO an answer that makes no sense. Without an answer: -EKEYREJECTED the server asked for a
 * cookie and then said nothing, so it has another key; -EBUSY it said to try later; -ECONNREFUSED,
 * -EHOSTUNREACH, -EMSGSIZE what ICMP or the interface said; -ETIMEDOUT nothing at all: a server
 * whose key is another one, or that speaks another version, is as silent as none.
 */
PG_PUBLIC int pg_client_connect(const struct pg_client_options *options,
				struct pg_client **ret_client, struct pg_client_error *error);

/*
 * Waits until every reliable packet is acked or has failed. Events wait meanwhile, and when they
 * fill receive_buffer_bytes nothing more is received: with a server that answers much, take events
 * by pg_client_wait until statistics say that nothing is unsettled. 0, -ETIMEDOUT, -ESHUTDOWN the
 * session ended before.
 */
PG_PUBLIC int pg_client_flush(struct pg_client *client, int timeout_ms);

/* --- what it is like ---------------------------------------------------------------------------
 */

struct pg_client_statistics {
	size_t size;		 /* of this struct, set by the caller */
	uint64_t frames_sent;	 /* first transmissions of reliable packets' frames */
	uint64_t frames_resent;	 /* and the others */
	uint64_t frames_opened;	 /* received, authenticated, not seen before */
	uint64_t packets_sent;	 /* acked */
	uint64_t packets_failed; /* not acked in time */
	uint64_t gaps;
	uint64_t unsettled_bytes; /* in the send buffer */
	uint64_t window_bytes;	  /* congestion window */
	uint32_t rtt_us;	  /* smoothed round trip, 0 = not known yet */
	uint32_t rtt_least_us;
	uint32_t streams;	  /* open now */
	uint32_t retry_per_mille; /* resends a frame, averaged (AvgRetryRatio) */
};

PG_PUBLIC void pg_client_get_statistics(const struct pg_client *client,
					struct pg_client_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif
