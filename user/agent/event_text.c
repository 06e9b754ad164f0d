// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "event_text.h"

#define VLANS_MAX 2

struct reader {
	const uint8_t *bytes;
	size_t count;
};

static unsigned int be16(const struct reader *r, size_t at)
{
	return at + 2 <= r->count ? (unsigned int)r->bytes[at] << 8 | r->bytes[at + 1] : 0;
}

static void take_address(const struct reader *r, size_t at, bool ipv4, struct pg_peer *ret_peer)
{
	memset(ret_peer, 0, sizeof(*ret_peer));
	if (ipv4) {
		memset(ret_peer->address.bytes + 10, 0xff, 2);
		memcpy(ret_peer->address.bytes + 12, r->bytes + at, 4);
	} else {
		memcpy(ret_peer->address.bytes, r->bytes + at, 16);
	}
}

/* IPv6 extension headers end the look: the ports are then unknown. */
static bool find_peers(const struct reader *r, size_t ip, unsigned int type,
		       struct pg_peer *ret_source, struct pg_peer *ret_destination)
{
	bool ipv4 = type == ETH_P_IP;
	size_t width = ipv4 ? 4 : 16, at = ip + (ipv4 ? 12 : 8), udp;
	unsigned int protocol;

	if ((!ipv4 && type != ETH_P_IPV6) || at + 2 * width > r->count)
		return false;
	take_address(r, at, ipv4, ret_source);
	take_address(r, at + width, ipv4, ret_destination);
	udp = ipv4 ? ip + (r->bytes[ip] & 15u) * 4 : at + 2 * width;
	protocol = r->bytes[ipv4 ? ip + 9 : ip + 6];
	if (protocol == IPPROTO_UDP) {
		ret_source->port = (uint16_t)be16(r, udp);
		ret_destination->port = (uint16_t)be16(r, udp + 2);
	}
	return true;
}

void pg_event_peers(const struct pg_event *event, char source[PG_PEER_TEXT],
		    char destination[PG_PEER_TEXT])
{
	struct reader r = { event->data,
			    event->sampled < PG_EVENT_SAMPLE ? event->sampled : PG_EVENT_SAMPLE };
	unsigned int type = be16(&r, 12), vlans;
	struct pg_peer from, to;
	size_t ip = ETH_HLEN;

	source[0] = destination[0] = 0;
	for (vlans = 0; vlans < VLANS_MAX && (type == ETH_P_8021Q || type == ETH_P_8021AD);
	     vlans++) {
		type = be16(&r, ip + 2);
		ip += 4;
	}
	if (!find_peers(&r, ip, type, &from, &to))
		return;
	pg_address_print_peer(&from, source);
	pg_address_print_peer(&to, destination);
}

void pg_event_hex(const struct pg_event *event, char text[2 * PG_EVENT_SAMPLE + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t i, count = event->sampled < PG_EVENT_SAMPLE ? event->sampled : PG_EVENT_SAMPLE;

	for (i = 0; i < count; i++) {
		text[2 * i] = digits[event->data[i] >> 4];
		text[2 * i + 1] = digits[event->data[i] & 15];
	}
	text[2 * count] = 0;
}
