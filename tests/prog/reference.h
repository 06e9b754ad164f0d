/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_REFERENCE_H
#define PG_TEST_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/drop.h"

/*
 * PROTOCOL section 1, "Validity", read a second time and written without a look at frame.h: slow,
 * plain, and without its tables. What both agree on is more likely what was meant.
 */

static inline uint32_t reference_be(const uint8_t *at, int n)
{
	uint32_t value = 0;

	while (n--)
		value = value << 8 | *at++;
	return value;
}

static inline bool reference_travels(uint8_t opcode, bool to_server)
{
	switch (opcode) {
	case 0x0: /* data */
	case 0x4: /* ack */
	case 0x5: /* ping */
	case 0x6: /* pong */
	case 0x8: /* streamopen */
	case 0x9: /* closestream */
	case 0xb: /* handshake */
	case 0xc: /* goaway */
		return true;
	case 0x7: /* openstream */
	case 0xa: /* shakehand */
		return to_server;
	}
	return false;
}

static inline bool reference_flags(uint8_t opcode, uint8_t flags)
{
	uint8_t plain = flags & ~0x80;

	switch (opcode) {
	case 0x0:
		return plain == 0x40 || plain == 0x60 || plain == 0x61;
	case 0x4:
		return plain == 0x40 || plain == 0x42 || (plain >= 0x60 && plain <= 0x63);
	case 0x7:
	case 0x8:
	case 0x9:
		return flags == 0x80;
	}
	return flags == 0x00;
}

static inline bool reference_size(uint8_t opcode, uint8_t flags, int payload)
{
	switch (opcode) {
	case 0x0:
		return payload >= (flags & 0x20 ? 17 : 16);
	case 0x4:
		return flags & 0x20 ? payload >= 1 && payload <= 64 : payload == 0;
	case 0x5:
	case 0x6:
		return payload >= 0 && payload <= 64;
	case 0x7:
		return payload == 0 || payload == 1;
	case 0x8:
	case 0x9:
		return payload == 0;
	case 0xa:
		return payload >= 256 && payload <= 1172;
	case 0xb:
		return payload >= 1 && payload <= 256;
	}
	return payload == 1; /* goaway */
}

static inline bool reference_has_guard(uint8_t opcode, bool to_server, bool guard)
{
	return guard && opcode != 0xa && !(opcode == 0xb && !to_server);
}

/* Whether an id of the header is zero that must not be, or the reverse. */
static inline bool reference_id_wrong(const uint8_t *frame, bool to_server, uint32_t header)
{
	uint32_t client = reference_be(frame, 2), server = reference_be(frame + 2, 2);
	uint8_t opcode = frame[13];

	if (!client)
		return true;
	if (opcode == 0xa && server)
		return true;
	if (opcode != 0xa && !server) {
		bool refusal = opcode == 0xb && !to_server && reference_be(frame + 14, 2) > 0 &&
			       frame[16] != 0;

		if (!refusal)
			return true;
	}
	for (uint32_t at = 16; at < header; at += 4)
		if (!reference_be(frame + at, 4))
			return true;
	return false;
}

static inline enum pg_drop reference_check(const uint8_t *frame, uint32_t n, bool to_server,
					   bool guard)
{
	uint32_t header = 16, payload;
	uint8_t flags, opcode;

	if (n < 16)
		return PG_DROP_FRAME_SHORT;
	flags = frame[12];
	opcode = frame[13];
	if (flags & 0x1c || opcode & 0xf0)
		return PG_DROP_RESERVED_BITS;
	if (!reference_travels(opcode, to_server))
		return PG_DROP_OPCODE;
	if (!reference_flags(opcode, flags))
		return PG_DROP_FLAGS;
	for (uint8_t bit = 0x80; bit >= 0x20; bit >>= 1)
		if (flags & bit)
			header += 4;
	if (n < header)
		return PG_DROP_FRAME_SHORT;
	payload = reference_be(frame + 14, 2);
	if (header + payload != n)
		return PG_DROP_LENGTH_MISMATCH;
	if (reference_id_wrong(frame, to_server, header))
		return PG_DROP_ID_ZERO;
	if (flags & 0x20 && reference_be(frame + header - 4, 4) > 512)
		return PG_DROP_ID_RANGE;
	if (n > 2048 ||
	    !reference_size(opcode, flags,
			    (int)payload - (reference_has_guard(opcode, to_server, guard) ? 8 : 0)))
		return PG_DROP_PAYLOAD_SIZE;
	return PG_DROP_NONE;
}

#endif
