/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ADDRESS_H
#define PG_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/*
 * IP addresses as the maps hold them: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. So the
 * IPv4 wildcard (::ffff:0.0.0.0) and the IPv6 wildcard (all zero) are different values.
 */
struct pg_address {
	uint8_t bytes[16];
};

struct pg_peer {
	struct pg_address address;
	uint16_t port; /* host order */
};

/* Room for the longest text with its terminator. */
#define PG_ADDRESS_TEXT 46
#define PG_PEER_TEXT	(PG_ADDRESS_TEXT + 8)

/*
 * Reads an address alone, as inet_pton does: four decimal parts without leading zeros, or IPv6
 * without zone and brackets. Names are never resolved. An IPv4-mapped IPv6 text is refused: it
 * would be a second spelling of the IPv4 address.
 * Returns 0, or -EINVAL with a sentence; error may be NULL.
 */
int pg_address_parse(const char *text, struct pg_address *ret_address, struct pg_error *error);

/* Reads A.B.C.D:PORT or [v6]:PORT, the port 1 to 65535 in plain decimal. Returns as above. */
int pg_address_parse_peer(const char *text, struct pg_peer *ret_peer, struct pg_error *error);

/* Write the one canonical text, which the parsers read back to the same value; return it. */
const char *pg_address_print(const struct pg_address *address, char text[PG_ADDRESS_TEXT]);
const char *pg_address_print_peer(const struct pg_peer *peer, char text[PG_PEER_TEXT]);

bool pg_address_equal(const struct pg_address *a, const struct pg_address *b);

bool pg_address_is_ipv4(const struct pg_address *address);

/* 0.0.0.0 or "::"; pg_address_is_ipv4 tells which. */
bool pg_address_is_any(const struct pg_address *address);

/* Multicast of either family, or 255.255.255.255: never the address of one host. */
bool pg_address_is_group(const struct pg_address *address);

#endif
