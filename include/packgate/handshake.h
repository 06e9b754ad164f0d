/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_HANDSHAKE_H
#define PACKGATE_HANDSHAKE_H

#include "wire.h"

/* What shakehand and handshake carry in the open (PROTOCOL section 5). */

#define PG_HANDSHAKE_VERSION 1
#define PG_COOKIE_BYTES	     16

/* Offsets into the payload of a shakehand; Noise message 1 goes on to the end. */
#define PG_SHAKEHAND_AT_VERSION 0
#define PG_SHAKEHAND_AT_WISH	1
#define PG_SHAKEHAND_AT_COOKIE	2
#define PG_SHAKEHAND_AT_NOISE	18

/* The first byte of a server's handshake: X(NAME, number, meaning) */
#define PG_HANDSHAKE_CODES(X)                        \
	X(ACCEPTED, 0, "Noise message 2 with terms") \
	X(DENIED, 1, "Noise message 2, empty")       \
	X(COOKIE, 2, "a cookie to ask again with")   \
	X(BUSY, 0xff, "try later")

enum pg_handshake_code {
#define PG_X(name, number, ...) PG_HANDSHAKE_##name = number,
	PG_HANDSHAKE_CODES(PG_X)
#undef PG_X
};

#define PG_HANDSHAKE_COOKIE_BYTES (PG_HEADER_MIN + 1 + PG_COOKIE_BYTES) /* frame of a code 2 */

#endif
