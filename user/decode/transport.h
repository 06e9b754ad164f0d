/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TRANSPORT_H
#define PG_TRANSPORT_H

#include "decoded.h"

/*
 * Read a TCP, UDP or ICMP header at the start of text, the IP payload, into decoded. With whole =
 * false text is the first of several IP fragments: nothing that needs the datagram's length is
 * judged.
 */
void pg_tcp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);
void pg_udp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);
void pg_icmp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);

#endif
