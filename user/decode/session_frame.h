/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_SESSION_FRAME_H
#define PG_SESSION_FRAME_H

#include "decoded.h"
#include "secrets.h"

/*
 * Frames of PROTOCOL section 1, judged by pg_frame_check, and with the session's secret their guard
 * (section 3) and their sealed payload (section 2).
 */
struct pg_opener;

/* secrets, which may be NULL, outlive the opener. Returns 0, or a negative errno with a sentence.
 */
int pg_opener_new(const struct pg_secrets *secrets, struct pg_opener **ret_opener,
		  struct pg_error *error);
void pg_opener_free(struct pg_opener *opener); /* wipes; NULL is ignored */

/*
 * Decodes decoded->udp.data, a datagram of a session port, into decoded->frame. to_server and
 * from_server say whether the target and the source port are session ports; where both are, the
 * frame is taken to travel to the server unless it is valid only the other way. guard: whether the
 * endpoint has it on. A plaintext of the call before is wiped.
 */
void pg_session_frame_decode(struct pg_opener *opener, bool to_server, bool from_server, bool guard,
			     struct pg_decoded *decoded);

/* Wipes the plaintext that the last call left. */
void pg_opener_wipe(struct pg_opener *opener);

/* "data", ...; NULL for a number that is no opcode. */
const char *pg_opcode_label(uint8_t opcode);

/* "frame_short", ...; "none" for PG_DROP_NONE. */
const char *pg_drop_label(enum pg_drop drop);

#endif
