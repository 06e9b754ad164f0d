/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_EVENT_TEXT_H
#define PG_EVENT_TEXT_H

#include "address.h"
#include "packgate/abi.h"

/*
 * Who sent a sampled frame to whom, as far as its first bytes show it: "" where there is no IP
 * header, port 0 where there is no whole UDP port. Never reads beyond event->sampled.
 */
void pg_event_peers(const struct pg_event *event, char source[PG_PEER_TEXT],
		    char destination[PG_PEER_TEXT]);

void pg_event_hex(const struct pg_event *event, char text[2 * PG_EVENT_SAMPLE + 1]);

#endif
