/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_PEER_H
#define PG_CLI_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "aead.h"
#include "error.h"
#include "frame.h"
#include "keys.h"

/*
 * The client's side of a provisioned session for `ping` and `demo`: builds the frames a client may
 * send and opens what a server sends. No sockets, no retransmission, no replay window: the caller
 * decides what an answer means. One thread.
 */
struct peer {
	uint32_t session; /* client id << 16 | server id */
	bool guard;
	enum pg_aead_algorithm algorithm;
	struct pg_aead *aead;
	struct pg_keys keys;
	uint64_t sent_ms;	    /* newest timestamp written; the next is never lower */
	uint64_t (*clock_ms)(void); /* Unix time in ms */
};

struct peer_options {
	uint16_t client_id, server_id; /* not 0 */
	bool guard;
	enum pg_aead_algorithm aead;
	const uint8_t *secret; /* PG_SECRET_BYTES, the caller's to wipe */
};

/* The packIds of one direction of the session (stream 0) or of a stream. */
struct peer_series {
	uint32_t stream;
	uint32_t next; /* from 1 */
};

struct peer_frame {
	uint32_t bytes;
	uint8_t data[PG_FRAME_MAX];
};

/* What a server's frame says. bytes lie in the datagram it came in. */
struct peer_message {
	struct pg_frame frame;
	const uint8_t *bytes; /* of a data frame the plain text, else the payload without guard */
	uint32_t count;
};

/*
 * Returns 0, -EINVAL for an id of 0, -ENOMEM, -EIO; with a sentence. peer_done wipes the keys; a
 * peer that is all zero is left alone.
 */
int peer_init(struct peer *ret_peer, const struct peer_options *options, struct pg_error *error);
void peer_done(struct peer *peer);

/*
 * Builds any frame a client may send: shape gives opcode, flags and the ids that the flags
 * announce; bytes is the plain text of a data frame, else the payload, without tag and guard.
 * Returns 0, -EINVAL for a frame that PROTOCOL section 1 forbids, -EMSGSIZE, -ENOMEM or -EIO.
 *
 * Never call it twice with the same data ids: the AEAD nonce is made of them.
 */
int peer_build(struct peer *peer, const struct pg_frame *shape, const void *bytes, uint32_t count,
	       struct peer_frame *ret_frame);

/* A whole packet in one data frame with the series' next packId, which is used up. */
int peer_data(struct peer *peer, struct peer_series *series, const void *bytes, uint32_t count,
	      struct peer_frame *ret_frame);

/* A control frame; stream and pack are 0 where the frame has none. */
int peer_control(struct peer *peer, enum pg_opcode opcode, uint32_t stream, uint32_t pack,
		 const void *bytes, uint32_t count, struct peer_frame *ret_frame);

/*
 * Validates, authenticates and, in place, decrypts a datagram from the server. Returns 0, -EPROTO
 * if it is no valid frame, -ENOENT for another session, -EBADMSG if guard or tag are wrong, or
 * -ENOMEM, -EIO. Whether it is new is not judged here.
 */
int peer_open(struct peer *peer, uint8_t *datagram, uint32_t bytes,
	      struct peer_message *ret_message);

/* 64 hex digits, nothing else, to a secret; false if text is anything else. */
bool peer_parse_secret(const char *text, uint8_t ret_secret[PG_SECRET_BYTES]);
#define PEER_KEY_WHY 80

/*
 * What is wrong with a key or secret that peer_parse_secret refuses, without showing it: "has 63
 * characters" and the like, behind "... of 64 hex digits ".
 */
const char *peer_explain_secret(const char *text, char why[PEER_KEY_WHY]);

#endif
