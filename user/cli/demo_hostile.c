// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "demo.h"
#include "packgate/session.h"

#define WAIT_MS		2000
#define STEP_MS		5
#define FORGED_BYTES	64  /* of a forged data frame's payload */
#define FAR		500 /* packIds ahead of the honest ones: forgers like to burn windows */
#define UNKNOWN_STREAM	4711
#define SHAKEHAND_BYTES 300

enum source {
	PINNED,	    /* the session's own socket */
	OTHER_PORT, /* the same host, another port */
	STRANGER,   /* another host */
};

/* One kind of frame that must not get through. */
struct attack {
	const char *kind, *what;
	enum pg_drop reason; /* PG_DROP_NONE: a duplicate, acked again and not delivered */
	uint32_t frames;
	int session;
	enum source source;
	void (*make)(struct demo_session *session, uint32_t i, struct peer_frame *frame);
	int (*before)(struct demo *demo, struct pg_error *error); /* what leads up to it */
};

/* --- replayed ------------------------------------------------------------------------------- */

static void copy_of(struct demo_session *session, int which, uint32_t i, struct peer_frame *frame)
{
	const struct demo_series *series = &session->series[which];

	*frame = series->kept[i % series->kept_count];
}

static void copy_own(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_of(session, DEMO_OWN, i, frame);
}

static void copy_reliable(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_of(session, DEMO_RELIABLE, i, frame);
}

static void copy_newest(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_of(session, DEMO_NEWEST, i, frame);
}

static void copy_unordered(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_of(session, DEMO_UNORDERED, i, frame);
}

/* --- malformed: an honest frame, delivered before, with one thing wrong --------------------- */

static void cut_short(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	static const uint32_t bytes[] = { 0, 1, 8, PG_HEADER_MIN - 1 };

	copy_own(session, i, frame);
	frame->bytes = bytes[i % 4];
}

static void cut_ids(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_own(session, i, frame);
	frame->bytes = PG_HEADER_MIN + i % 4;
}

static void set_reserved(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_own(session, i, frame);
	if (i & 1)
		frame->data[PG_AT_FLAGS] |= 0x04 << (i / 2 % 3);
	else
		frame->data[PG_AT_OPCODE] |= 0x10 << (i / 2 % 4);
}

static void set_opcode(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	static const uint8_t unknown[] = { 1, 2, 3, 13, 14, 15 };

	copy_own(session, i, frame);
	frame->data[PG_AT_OPCODE] = unknown[i % sizeof(unknown)];
}

static void set_flags(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	static const uint8_t wrong[] = { 0x00, 0x20, 0x41, 0x42, 0x80, 0xc3 };

	copy_own(session, i, frame);
	frame->data[PG_AT_FLAGS] = wrong[i % sizeof(wrong)];
}

static void lie_about_length(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	uint16_t claimed;

	copy_own(session, i, frame);
	claimed = pg_load_be16(frame->data + PG_AT_PAYLOAD_LENGTH);
	pg_store_be16(frame->data + PG_AT_PAYLOAD_LENGTH, i & 1 ? claimed + 1 : claimed - 1);
}

static void zero_id(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	copy_own(session, i, frame);
	if (i % 3 == 2)
		pg_store_be32(frame->data + PG_AT_IDS, 0);
	else
		pg_store_be16(frame->data + (i % 3 ? PG_AT_SERVER_ID : PG_AT_CLIENT_ID), 0);
}

/* --- forged: a true header, the rest invented ----------------------------------------------- */

/* Random bytes never show up in the report: their quality does not matter. */
static void forge(struct demo_session *session, struct pg_frame shape, uint32_t payload_bytes,
		  bool guard_right, struct peer_frame *frame)
{
	uint64_t key[2];

	shape.session = shape.session ? shape.session : session->peer.session;
	shape.payload_bytes = (uint16_t)payload_bytes;
	pg_frame_write_header(frame->data, &shape, session->peer.sent_ms);
	RAND_bytes(frame->data + shape.header_bytes, (int)payload_bytes);
	frame->bytes = shape.bytes;
	if (!guard_right)
		return;
	pg_keys_guard_words(&session->peer.keys, PG_C2S, key);
	pg_frame_write_guard(frame->data, &shape, key);
}

static struct pg_frame own_data(const struct demo_session *session, uint32_t ahead)
{
	return (struct pg_frame){
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK,
		.pack = session->series[DEMO_OWN].ids.next + ahead,
	};
}

static void forge_data(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	forge(session, own_data(session, FAR + i), FORGED_BYTES, false, frame);
}

static void forge_control(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = { .opcode = i & 1 ? PG_OP_GOAWAY : PG_OP_CLOSESTREAM };

	if (shape.opcode == PG_OP_CLOSESTREAM) {
		shape.flags = PG_FLAG_STRE;
		shape.stream = session->series[DEMO_RELIABLE].ids.stream;
	}
	forge(session, shape, PG_GUARD_BYTES + (i & 1), false, frame);
}

/* Somebody who knows the guard's key, but not the AEAD's. */
static void forge_tag(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	forge(session, own_data(session, FAR + i), FORGED_BYTES, session->peer.guard, frame);
}

static void forge_far(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	forge(session, own_data(session, PG_AHEAD_MAX + i), FORGED_BYTES, true, frame);
}

static void forge_fragment(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = own_data(session, FAR + i);

	shape.flags |= PG_FLAG_FRAG | PG_FLAG_STRE;
	shape.stream = session->series[DEMO_NEWEST].ids.stream;
	shape.fragment = 1 + i;
	forge(session, shape, FORGED_BYTES, true, frame);
}

static void fragment_513(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = own_data(session, FAR + i);

	shape.flags |= PG_FLAG_FRAG;
	shape.fragment = PG_FRAGMENTS_MAX + 1 + i;
	forge(session, shape, FORGED_BYTES, true, frame);
}

/* A data frame without room for its tag, a ping longer than one may be. */
static void wrong_size(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame ping = { .opcode = PG_OP_PING };
	uint32_t guard = session->peer.guard ? PG_GUARD_BYTES : 0;

	if (i & 1)
		forge(session, ping, 64 + guard + 1, false, frame);
	else
		forge(session, own_data(session, FAR), PG_TAG_BYTES + guard - 1, false, frame);
}

static void unknown_session(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = own_data(session, i);

	shape.session = session->peer.session ^ (1 + i) << 20;
	forge(session, shape, FORGED_BYTES, false, frame);
}

static void unknown_stream(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = {
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_STRE | PG_FLAG_PACK,
		.stream = UNKNOWN_STREAM,
		.pack = 1 + i,
	};

	forge(session, shape, FORGED_BYTES, true, frame);
}

static void shakehand(struct demo_session *session, uint32_t i, struct peer_frame *frame)
{
	struct pg_frame shape = { .opcode = PG_OP_SHAKEHAND };

	shape.session = session->peer.session & 0xffff0000;
	forge(session, shape, SHAKEHAND_BYTES, false, frame);
}

/* --- the list ------------------------------------------------------------------------------- */

#define GAME DEMO_GAME_CHACHA
#define LAN  DEMO_LAN_CHACHA

static const struct attack attacks[] = {
	{ "malformed", "cut to 0, 1, 8 or 15 bytes", PG_DROP_FRAME_SHORT, 20, GAME, PINNED,
	  cut_short, NULL },
	{ "malformed", "cut within the ids it announces", PG_DROP_FRAME_SHORT, 20, GAME, PINNED,
	  cut_ids, NULL },
	{ "malformed", "a reserved bit set", PG_DROP_RESERVED_BITS, 20, GAME, PINNED, set_reserved,
	  NULL },
	{ "malformed", "unknown opcode", PG_DROP_OPCODE, 20, GAME, PINNED, set_opcode, NULL },
	{ "malformed", "flags its opcode does not have", PG_DROP_FLAGS, 20, GAME, PINNED, set_flags,
	  NULL },
	{ "malformed", "length wrong by one", PG_DROP_LENGTH_MISMATCH, 20, GAME, PINNED,
	  lie_about_length, NULL },
	{ "malformed", "client id, server id or packId 0", PG_DROP_ID_ZERO, 20, GAME, PINNED,
	  zero_id, NULL },
	{ "malformed", "fragment ids above 512", PG_DROP_ID_RANGE, 20, GAME, PINNED, fragment_513,
	  NULL },
	{ "malformed", "no room for a tag, or a long ping", PG_DROP_PAYLOAD_SIZE, 20, GAME, PINNED,
	  wrong_size, NULL },
	{ "malformed", "the same where the guard is off", PG_DROP_PAYLOAD_SIZE, 20, LAN, PINNED,
	  wrong_size, NULL },
	{ "forged", "data far ahead, wrong guard", PG_DROP_GUARD, 50, GAME, PINNED, forge_data,
	  NULL },
	{ "forged", "closestream, goaway, wrong guard", PG_DROP_GUARD, 50, GAME, PINNED,
	  forge_control, NULL },
	{ "forged", "data, right guard, wrong tag", PG_DROP_TAG, 50, DEMO_GAME_AES, PINNED,
	  forge_tag, NULL },
	{ "forged", "data, guard off, wrong tag", PG_DROP_TAG, 50, LAN, PINNED, forge_tag, NULL },
	{ "replayed", "copies of session data", PG_DROP_NONE, 20, GAME, PINNED, copy_own, NULL },
	{ "replayed", "copies of stream data, guard off", PG_DROP_NONE, 20, DEMO_LAN_AES, PINNED,
	  copy_reliable, NULL },
	{ "replayed", "copies on an unordered stream", PG_DROP_REPLAY_SEEN, 20, GAME, PINNED,
	  copy_unordered, NULL },
	{ "replayed", "copies on a newest-only stream", PG_DROP_NOT_MONOTONIC, 20, GAME, PINNED,
	  copy_newest, NULL },
	{ "replayed", "copies from behind the window", PG_DROP_REPLAY_OLD, 20, GAME, PINNED,
	  copy_unordered, demo_honest_jump },
	{ "replayed", "packIds more than 2^20 ahead", PG_DROP_REPLAY_AHEAD, 20, GAME, PINNED,
	  forge_far, NULL },
	{ "foreign", "unknown sessions, another host", PG_DROP_NO_SESSION, 50, GAME, STRANGER,
	  unknown_session, NULL },
	{ "foreign", "a known session from another port", PG_DROP_PEER_MISMATCH, 20, GAME,
	  OTHER_PORT, copy_own, NULL },
	{ "foreign", "a known session from another host", PG_DROP_PEER_MISMATCH, 20, GAME, STRANGER,
	  copy_own, NULL },
	{ "foreign", "a stream that was never opened", PG_DROP_NO_STREAM, 20, GAME, PINNED,
	  unknown_stream, NULL },
	{ "foreign", "a session that has ended", PG_DROP_SESSION_STATE, 20, DEMO_CLOSING, PINNED,
	  copy_own, demo_honest_goaway },
	{ "foreign", "fragments on a newest-only stream", PG_DROP_FRAGMENT_UNSUPPORTED, 20, GAME,
	  PINNED, forge_fragment, NULL },
	{ "not yet", "handshakes on the wire", PG_DROP_HANDSHAKE_OFF, 20, GAME, STRANGER, shakehand,
	  NULL },
};

/* --- playing it ----------------------------------------------------------------------------- */

static int send_all(struct demo *demo, const struct attack *attack, struct pg_error *error)
{
	struct demo_session *session = &demo->client.sessions[attack->session];
	int fd = attack->source == PINNED     ? session->fd
		 : attack->source == STRANGER ? demo->client.stranger
					      : demo->client.other_port;
	struct peer_frame frame;
	uint32_t i;
	int rc = 0;

	for (i = 0; !rc && i < attack->frames; i++) {
		attack->make(session, i, &frame);
		rc = demo_client_send(fd, &frame);
	}
	return rc ? pg_error_set(error, rc, "send a frame (%s): %s", attack->what, strerror(-rc))
		  : 0;
}

/* Waits until as many frames are refused in all, for any reason. */
static int await_refusals(struct demo *demo, uint64_t total, struct demo_counts *ret_counts,
			  struct pg_error *error)
{
	int waited, rc;

	for (waited = 0;; waited += STEP_MS) {
		rc = demo_agent_counts(ret_counts, error);
		if (rc || ret_counts->total >= total || waited >= WAIT_MS || demo_stopped())
			return rc;
		demo_pump(demo, STEP_MS);
	}
}

static int play_refused(struct demo *demo, const struct attack *attack, struct pg_error *error)
{
	struct demo_counts before, after;
	int rc;

	rc = demo_agent_counts(&before, error);
	if (!rc)
		rc = send_all(demo, attack, error);
	if (!rc)
		rc = await_refusals(demo, before.total + attack->frames, &after, error);
	if (rc)
		return rc;
	demo_report_row(&demo->report, attack->kind, attack->what,
			demo_reason_label(attack->reason), attack->frames,
			(uint32_t)(after.gate[attack->reason] + after.agent[attack->reason] -
				   before.gate[attack->reason] - before.agent[attack->reason]));
	demo->report.refused[attack->reason] += attack->frames;
	return 0;
}

/* The ack of a packet that arrived may be lost: its copy is acked, and that is all. */
static int play_duplicate(struct demo *demo, const struct attack *attack, struct pg_error *error)
{
	uint32_t *acks = &demo->client.sessions[attack->session].came[PG_OP_ACK], before = *acks;
	int rc = send_all(demo, attack, error);

	if (rc)
		return rc;
	demo_await(demo, acks, before + attack->frames);
	demo_report_row(&demo->report, attack->kind, attack->what, "acked again only",
			attack->frames, *acks - before);
	return 0;
}

int demo_hostile(struct demo *demo, struct pg_error *error)
{
	const struct attack *attack;
	int rc = 0;

	for (attack = attacks; !rc && attack < attacks + sizeof(attacks) / sizeof(attacks[0]);
	     attack++) {
		if (demo_stopped())
			return pg_error_set(error, -EINTR, "%s", demo_stopped());
		if (attack->before)
			rc = attack->before(demo, error);
		if (!rc && attack->reason)
			rc = play_refused(demo, attack, error);
		else if (!rc)
			rc = play_duplicate(demo, attack, error);
	}
	return rc;
}
