// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "connections.h"
#include "dissect.h"
#include "ip.h"
#include "link.h"
#include "message_streams.h"
#include "reassembly.h"
#include "session_frame.h"
#include "transport.h"

struct pg_dissector {
	struct pg_dissect_options options;
	struct pg_reassembly *reassembly;
	struct pg_connections *connections;
	struct pg_opener *opener;
	struct pg_message_streams *streams;
	uint64_t packets;
};

static void free_dissector(struct pg_dissector **dissector)
{
	pg_dissector_free(*dissector);
}

int pg_dissector_new(const struct pg_dissect_options *options, struct pg_dissector **ret_dissector,
		     struct pg_error *error)
{
	PG_CLEANUP(free_dissector) struct pg_dissector *dissector = calloc(1, sizeof(*dissector));
	int rc;

	if (!dissector)
		return pg_error_set(error, -ENOMEM, "out of memory");
	dissector->options = *options;
	if (pg_reassembly_new(&dissector->reassembly) ||
	    pg_message_streams_new(&dissector->streams) ||
	    pg_connections_new(options->hash_key, &dissector->connections))
		return pg_error_set(error, -ENOMEM, "out of memory");
	rc = pg_opener_new(options->secrets, &dissector->opener, error);
	if (rc)
		return rc;
	*ret_dissector = TAKE_PTR(dissector);
	return 0;
}

void pg_dissector_free(struct pg_dissector *dissector)
{
	if (!dissector)
		return;
	pg_reassembly_free(dissector->reassembly);
	pg_connections_free(dissector->connections);
	pg_opener_free(dissector->opener);
	pg_message_streams_free(dissector->streams);
	free(dissector);
}

uint64_t pg_dissector_datagrams_given_up(const struct pg_dissector *dissector)
{
	return pg_reassembly_given_up(dissector->reassembly);
}

uint64_t pg_dissector_connections_forgotten(const struct pg_dissector *dissector)
{
	return pg_connections_forgotten(dissector->connections);
}

bool pg_ports_has(const struct pg_ports *ports, uint16_t port)
{
	for (size_t i = 0; i < ports->count; i++)
		if (ports->port[i] == port)
			return true;
	return false;
}

/* Whether either end is a message port. */
static bool has_messages(const struct pg_dissector *dissector, uint16_t source, uint16_t target)
{
	const struct pg_ports *ports = &dissector->options.message_ports;

	return pg_ports_has(ports, source) || pg_ports_has(ports, target);
}

static void dissect_tcp(struct pg_dissector *dissector, struct pg_decoded *decoded)
{
	const struct pg_decoded_tcp *tcp = &decoded->tcp;

	if (!tcp->whole)
		return;
	pg_connections_segment(dissector->connections, decoded);
	if (has_messages(dissector, tcp->source_port, tcp->target_port))
		pg_message_streams_segment(dissector->streams, decoded);
}

static void dissect_udp(struct pg_dissector *dissector, struct pg_decoded *decoded)
{
	const struct pg_ports *ports = &dissector->options.session_ports;
	bool to_server = pg_ports_has(ports, decoded->udp.target_port);
	bool from_server = pg_ports_has(ports, decoded->udp.source_port);

	if (decoded->udp.whole && (to_server || from_server))
		pg_session_frame_decode(dissector->opener, to_server, from_server,
					dissector->options.guard, decoded);
	/* what was cut into fragments is a message only in one piece */
	if (decoded->frame.opening == PG_OPENING_OPENED &&
	    !(decoded->frame.header.flags & PG_FLAG_FRAG) &&
	    has_messages(dissector, decoded->udp.source_port, decoded->udp.target_port))
		pg_messages_of_packet(decoded);
}

static void dissect_transport(struct pg_dissector *dissector, struct pg_decoded *decoded,
			      const struct pg_span *text, bool whole)
{
	uint8_t icmp = decoded->ip.version == 4 ? PG_PROTOCOL_ICMP : PG_PROTOCOL_ICMP6;
	uint8_t protocol = decoded->ip.protocol;

	if (protocol == PG_PROTOCOL_TCP) {
		pg_tcp_decode(decoded, text, whole);
		dissect_tcp(dissector, decoded);
	} else if (protocol == PG_PROTOCOL_UDP) {
		pg_udp_decode(decoded, text, whole);
		dissect_udp(dissector, decoded);
	} else if (protocol == icmp) {
		pg_icmp_decode(decoded, text, whole);
	} else {
		decoded->transport = PG_TRANSPORT_OTHER;
	}
}

/* A fragment: alone it shows at most the first bytes of its datagram. */
static void dissect_fragment(struct pg_dissector *dissector, struct pg_decoded *decoded,
			     struct pg_span *text)
{
	bool complete;

	decoded->transport = PG_TRANSPORT_FRAGMENT;
	complete = pg_reassembly_add(dissector->reassembly, decoded, text);
	if (!complete && decoded->ip.fragment_offset)
		return;
	decoded->ip.payload_bytes = text->length;
	if (decoded->ip.version == 4 || pg_ipv6_extensions(decoded, text))
		dissect_transport(dissector, decoded, text, complete);
}

static void dissect_ip(struct pg_dissector *dissector, struct pg_decoded *decoded,
		       struct pg_span *span)
{
	bool readable = decoded->network == PG_NETWORK_IPV4 ? pg_ipv4_decode(decoded, span)
							    : pg_ipv6_decode(decoded, span);
	bool lies = decoded->faults >> PG_FAULT_IP_TOTAL_BEYOND & 1;

	if (!readable)
		return;
	if (decoded->ip.fragment)
		decoded->ip.fragment_bytes = span->length;
	/* an atomic fragment is a whole datagram (RFC 6946) */
	if (decoded->ip.fragment && (decoded->ip.fragment_offset || decoded->ip.more_fragments)) {
		if (lies)
			decoded->transport = PG_TRANSPORT_FRAGMENT;
		else
			dissect_fragment(dissector, decoded, span);
		return;
	}
	if (decoded->ip.fragment && !pg_ipv6_extensions(decoded, span))
		return;
	dissect_transport(dissector, decoded, span, !lies);
}

void pg_dissect(struct pg_dissector *dissector, const struct pg_capture *capture,
		struct pg_decoded *ret_decoded)
{
	struct pg_span span = { capture->bytes, capture->captured, capture->length };

	if (span.there > span.length)
		span.there = span.length;
	pg_opener_wipe(dissector->opener);
	memset(ret_decoded, 0, sizeof(*ret_decoded));
	ret_decoded->number = ++dissector->packets;
	ret_decoded->time_ns = capture->time_ns;
	ret_decoded->captured = span.there;
	ret_decoded->length = span.length;
	ret_decoded->link.type = capture->link;
	pg_link_decode(ret_decoded, &span);
	if (ret_decoded->network == PG_NETWORK_IPV4 || ret_decoded->network == PG_NETWORK_IPV6)
		dissect_ip(dissector, ret_decoded, &span);
	else if (ret_decoded->network == PG_NETWORK_ARP)
		pg_arp_decode(ret_decoded, &span);
}
