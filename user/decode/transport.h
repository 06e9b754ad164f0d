/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TRANSPORT_H
#define PG_TRANSPORT_H

#include "decoded.h"

/*
 * Read a TCP, UDP or ICMP header at the start of text, the IP payload, into decoded. With whole =
 * false text is not all of it (a first fragment, or an IP length beyond the frame): nothing that
 * needs the datagram's length is judged, and a header that goes on elsewhere is no fault.
 */
void pg_tcp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);
void pg_udp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);
void pg_icmp_decode(struct pg_decoded *decoded, const struct pg_span *text, bool whole);

/* pg_need for a header in a text that may not be whole. */
static inline bool pg_need_header(struct pg_decoded *decoded, const struct pg_span *text,
				  uint32_t n, enum pg_fault fault, bool whole)
{
	if (!whole && !pg_span_sent(text, n))
		return false;
	return pg_need(decoded, text, n, fault);
}

#endif
