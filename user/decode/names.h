/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_NAMES_H
#define PG_NAMES_H

#include "decoded.h"

/* Words for numbers; a function without a number's word returns NULL. */

const char *pg_fault_label(enum pg_fault fault);
const char *pg_fault_help(enum pg_fault fault);
const char *pg_checksum_label(enum pg_checksum_verdict verdict);
const char *pg_opening_label(enum pg_frame_opening opening);
const char *pg_guard_label(enum pg_guard_verdict verdict);
const char *pg_goaway_word(uint8_t code);
const char *pg_option_name(uint8_t kind);    /* of TCP */
const char *pg_extension_name(uint8_t type); /* of IPv6 */
const char *pg_icmp_word(uint8_t version, uint8_t type);

#define PG_FLAGS_TEXT 12

/* The flags as tcpdump writes them: "S.", "FP.", "none"; U, W (CWR), E (ECE), e (NS) behind. */
const char *pg_tcp_flags_text(uint16_t flags, char text[PG_FLAGS_TEXT]);

#define PG_IP_TEXT 46

/* An address of ip in its canonical text; an IPv4-mapped IPv6 address stays one. */
const char *pg_ip_text(const struct pg_decoded_ip *ip, const uint8_t *address,
		       char text[PG_IP_TEXT]);

#define PG_MAC_TEXT 18

const char *pg_mac_text(const uint8_t mac[6], char text[PG_MAC_TEXT]);

#endif
