/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_LINK_H
#define PG_LINK_H

#include "decoded.h"

#define PG_ETHERTYPE_IPV4  0x0800
#define PG_ETHERTYPE_ARP   0x0806
#define PG_ETHERTYPE_VLAN  0x8100
#define PG_ETHERTYPE_IPV6  0x86dd
#define PG_ETHERTYPE_QINQ  0x88a8
#define PG_ETHERTYPE_QINQ1 0x9100
#define PG_ETHERTYPE_LEAST 0x0600 /* below it the field is a length */

/* Whether the number, as libpcap's pcap_datalink gives it, is a link type of PG_LINKS. */
bool pg_link_known(int number);

/* "ethernet", ... */
const char *pg_link_label(enum pg_link link);

/*
 * Reads the link header of type decoded->link.type and up to two VLAN tags, moves span behind them
 * and sets decoded->link and decoded->network. Raw and loopback frames give decoded->link.protocol
 * by what they carry.
 */
void pg_link_decode(struct pg_decoded *decoded, struct pg_span *span);

/* Reads an ARP message. */
void pg_arp_decode(struct pg_decoded *decoded, struct pg_span *span);

#endif
