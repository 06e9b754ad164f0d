/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CHECKSUM_H
#define PG_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "decoded.h"

/* The Internet checksum (RFC 1071) over what a packet holds. */

/* Adds bytes, the first of which lies at an even place, to an unfolded sum. */
uint64_t pg_sum(uint64_t sum, const uint8_t *bytes, size_t n);

/* The 16-bit ones' complement sum, not inverted. */
uint16_t pg_sum_fold(uint64_t sum);

/* The sum of the pseudo header of IPv4 (RFC 9293) or IPv6 (RFC 8200); length: of the upper layer */
uint64_t pg_sum_pseudo(const struct pg_decoded_ip *ip, uint8_t protocol, uint32_t length);

/*
 * Judges the checksum at offset `at` of text, which is covered whole; pseudo is the sum of the
 * pseudo header, 0 for none. Sets found, expected and a verdict: UNCHECKED if bytes are missing,
 * BAD, GOOD or UNFINISHED. The caller has made sure that the checksum itself is there.
 */
void pg_checksum_judge(const struct pg_span *text, uint32_t at, uint64_t pseudo,
		       struct pg_checksum *ret_checksum);

#endif
