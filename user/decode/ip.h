/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_IP_H
#define PG_IP_H

#include "decoded.h"

#define PG_PROTOCOL_HOPOPTS	0
#define PG_PROTOCOL_ICMP	1
#define PG_PROTOCOL_TCP		6
#define PG_PROTOCOL_UDP		17
#define PG_PROTOCOL_ROUTING	43
#define PG_PROTOCOL_FRAGMENT	44
#define PG_PROTOCOL_AH		51
#define PG_PROTOCOL_ICMP6	58
#define PG_PROTOCOL_NONE	59
#define PG_PROTOCOL_DESTINATION 60
#define PG_PROTOCOL_MOBILITY	135
#define PG_PROTOCOL_HIP		139
#define PG_PROTOCOL_SHIM6	140

/*
 * Read the IPv4 or IPv6 header at the start of span into decoded->ip and leave span at what
 * follows, ended where the header says the packet ends (padding of the link is cut off). IPv6
 * extension headers are read up to, and with, a fragment header. Return whether what follows may
 * be read; if not, decoded says why.
 */
bool pg_ipv4_decode(struct pg_decoded *decoded, struct pg_span *span);
bool pg_ipv6_decode(struct pg_decoded *decoded, struct pg_span *span);

/*
 * Goes on with extension headers, decoded->ip.protocol being the type of the next one: behind the
 * fragment header of a first fragment, or in a reassembled datagram. Returns as above.
 */
bool pg_ipv6_extensions(struct pg_decoded *decoded, struct pg_span *span);

/*
 * Reads options of IPv4 and TCP: kind alone (0 ends, 1 pads), or kind, length and value. Fills at
 * most PG_OPTIONS_MAX entries. Returns 0, -EINVAL for a length below 2, or -ENOSPC for an option
 * that passes the end; the entries before it stand.
 */
int pg_options_read(const uint8_t *at, uint32_t bytes, struct pg_option *options,
		    uint8_t *ret_count);

#endif
