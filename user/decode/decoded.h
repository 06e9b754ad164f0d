/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DECODED_H
#define PG_DECODED_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/frame.h"

#include "faults.h"
#include "span.h"

struct pg_follow_note;

/*
 * One packet as the decoder understood it. Integers are in host order, addresses in network order.
 * Pointers lead into the packet's bytes or into the dissector's buffers, and are valid until the
 * next pg_dissect. A part is meaningful only where the member that announces it says so.
 */

/* Link types: X(NAME, number as libpcap's pcap_datalink gives it, label, what a person calls it) */
#define PG_LINKS(X)                                         \
	X(NULL, 0, "null", "BSD loopback")                  \
	X(ETHERNET, 1, "ethernet", "Ethernet")              \
	X(RAW, 12, "raw", "raw IP")                         \
	X(LOOP, 108, "loop", "OpenBSD loopback")            \
	X(COOKED, 113, "cooked", "Linux cooked capture v1") \
	X(IPV4, 228, "ipv4", "raw IPv4")                    \
	X(IPV6, 229, "ipv6", "raw IPv6")                    \
	X(COOKED2, 276, "cooked2", "Linux cooked capture v2")

enum pg_link {
#define PG_X(name, number, ...) PG_LINK_##name = number,
	PG_LINKS(PG_X)
#undef PG_X
};

/* What a checksum says: X(NAME, label, help) */
#define PG_CHECKSUMS(X)                                                                         \
	X(UNCHECKED, "unchecked", "bytes it covers are not here: a fragment, or a cut capture") \
	X(GOOD, "good", "right")                                                                \
	X(BAD, "bad", "wrong")                                                                  \
	X(NONE, "none", "the sender made none (UDP over IPv4)")                                 \
	X(UNFINISHED, "unfinished", "only the pseudo header's sum: the card was to finish it")

enum pg_checksum_verdict {
#define PG_X(name, ...) PG_CHECKSUM_##name,
	PG_CHECKSUMS(PG_X)
#undef PG_X
};

struct pg_checksum {
	enum pg_checksum_verdict verdict;
	uint16_t found;
	uint16_t expected; /* where the verdict is BAD or UNFINISHED */
};

#define PG_TAGS_MAX	  2
#define PG_EXTENSIONS_MAX 16
#define PG_OPTIONS_MAX	  40 /* as many one-byte options as a header has room for */

enum pg_network {
	PG_NETWORK_NONE, /* a fault stopped the decoder before */
	PG_NETWORK_IPV4,
	PG_NETWORK_IPV6,
	PG_NETWORK_ARP,
	PG_NETWORK_OTHER, /* link.protocol says which */
};

enum pg_transport {
	PG_TRANSPORT_NONE, /* a fault or the capture's end stopped the decoder before */
	PG_TRANSPORT_TCP,
	PG_TRANSPORT_UDP,
	PG_TRANSPORT_ICMP,     /* of either IP version */
	PG_TRANSPORT_OTHER,    /* ip.protocol says which */
	PG_TRANSPORT_FRAGMENT, /* a fragment that is not the first, or completes nothing */
};

struct pg_tag {
	uint16_t id;
	uint8_t priority;
	bool drop_eligible;
};

struct pg_decoded_link {
	enum pg_link type;
	bool complete; /* the header was there */
	bool has_addresses;
	uint8_t source[6], target[6];
	uint8_t tag_count;
	struct pg_tag tags[PG_TAGS_MAX];
	uint16_t protocol; /* EtherType; below 1536 an IEEE 802.3 length */
};

struct pg_decoded_arp {
	bool present;
	uint16_t operation;
	bool ipv4; /* Ethernet and IPv4: the addresses are there */
	uint8_t sender[6], sender_ip[4], target_ip[4];
};

struct pg_option {
	uint8_t kind;
	uint8_t value_bytes; /* without kind and length */
	bool well_sized;     /* as its kind demands; a kind the decoder does not know always is */
	const uint8_t *value;
};

struct pg_extension {
	uint8_t type; /* its number as a next header */
	uint16_t bytes;
};

struct pg_decoded_ip {
	uint8_t version;
	uint8_t header_bytes; /* 20 to 60; IPv6: 40 */
	uint8_t traffic_class;
	uint8_t ttl;	      /* hop limit */
	uint8_t next_header;  /* of the fixed header */
	uint8_t protocol;     /* what follows all IP headers that could be read */
	uint16_t total_bytes; /* IPv4 total length; IPv6 payload length */
	uint32_t flow_label;
	uint8_t source[16], target[16]; /* 4 or 16 bytes */
	struct pg_checksum checksum;	/* IPv4 */
	uint8_t option_count;		/* IPv4 */
	uint8_t extension_count;	/* IPv6 */
	bool fragment;			/* offset or more_fragments is set, or a fragment header */
	bool dont_fragment, more_fragments, reserved_flag;
	uint32_t id;
	uint32_t fragment_offset; /* bytes */
	uint32_t fragment_bytes;  /* of a fragment, behind its IP headers */
	uint32_t payload_bytes;	  /* behind all IP headers, of the datagram if reassembled */
	struct pg_option options[PG_OPTIONS_MAX];
	struct pg_extension extensions[PG_EXTENSIONS_MAX];
};

struct pg_decoded_tcp {
	uint16_t source_port, target_port;
	uint32_t seq, ack;
	uint8_t header_bytes;
	uint8_t reserved; /* three bits */
	uint16_t flags;	  /* nine bits, NS 0x100 */
	uint16_t window, urgent;
	struct pg_checksum checksum;
	uint8_t option_count;
	bool whole; /* header and data length are known: no lone first fragment, no lying IP length
		     */
	struct pg_option options[PG_OPTIONS_MAX];
	struct pg_span data;
	/* from the connection, as far as the capture showed it */
	bool has_relative;
	uint32_t seq_relative, ack_relative; /* ack: 0 without ACK */
	int8_t window_shift;		     /* -1 unknown */
};

#define PG_TCP_FIN 0x001
#define PG_TCP_SYN 0x002
#define PG_TCP_RST 0x004
#define PG_TCP_PSH 0x008
#define PG_TCP_ACK 0x010
#define PG_TCP_URG 0x020
#define PG_TCP_ECE 0x040
#define PG_TCP_CWR 0x080
#define PG_TCP_NS  0x100

#define PG_TCP_OPTION_END	0
#define PG_TCP_OPTION_NOP	1
#define PG_TCP_OPTION_MSS	2
#define PG_TCP_OPTION_SCALE	3
#define PG_TCP_OPTION_SACK_OK	4
#define PG_TCP_OPTION_SACK	5
#define PG_TCP_OPTION_TIMESTAMP 8

struct pg_decoded_udp {
	uint16_t source_port, target_port;
	uint16_t length; /* the header's claim */
	struct pg_checksum checksum;
	bool whole; /* as for TCP */
	struct pg_span data;
};

struct pg_decoded_icmp {
	uint8_t type, code;
	struct pg_checksum checksum;
	bool has_echo;
	uint16_t echo_id, echo_seq;
	uint32_t length; /* header and data on the wire */
};

/* What became of a sealed frame, or a guard: X(NAME, label) */
#define PG_OPENINGS(X)              \
	X(NOT_SEALED, "not_sealed") \
	X(NO_SECRET, "no_secret")   \
	X(OPENED, "opened")         \
	X(TAG_WRONG, "tag_wrong")

enum pg_frame_opening {
#define PG_X(name, label) PG_OPENING_##name,
	PG_OPENINGS(PG_X)
#undef PG_X
};

#define PG_GUARDS(X)          \
	X(NONE, "none")       \
	X(UNKNOWN, "unknown") \
	X(RIGHT, "right")     \
	X(WRONG, "wrong")

enum pg_guard_verdict {
#define PG_X(name, label) PG_GUARD_##name,
	PG_GUARDS(PG_X)
#undef PG_X
};

/* A session frame (PROTOCOL section 1) in a UDP datagram of a session port. */
struct pg_decoded_frame {
	bool present;
	bool cut; /* the capture ends inside it: not judged */
	enum pg_direction direction;
	enum pg_drop reason; /* not PG_DROP_NONE: invalid, and nothing below means anything */
	struct pg_frame header;
	uint64_t timestamp_ms;
	enum pg_guard_verdict guard;
	enum pg_frame_opening opening;
	const uint8_t *payload; /* as sent, without the guard */
	uint32_t payload_bytes;
	const uint8_t *plain; /* where opened; wiped by the next pg_dissect */
	uint32_t plain_bytes;
};

#define PG_MESSAGES_SHOWN 16

struct pg_decoded_message {
	uint32_t id, bytes; /* of the body */
};

/* Messages (PROTOCOL section 6) that this packet completed, on a message port. */
struct pg_decoded_messages {
	bool present;
	bool unread;   /* of a stream that is not read: see message_streams.h */
	int malformed; /* enum pg_message_malformed, 0 = none */
	uint32_t count;
	struct pg_decoded_message shown[PG_MESSAGES_SHOWN]; /* the first ones */
};

struct pg_decoded {
	uint64_t number;  /* of the packet, from 1 */
	uint64_t time_ns; /* since 1970, as captured */
	uint32_t captured, length;
	uint32_t faults; /* bits PG_FAULT_* */
	bool cut;	 /* the capture ends inside what the headers announce */
	enum pg_network network;
	enum pg_transport transport;
	struct pg_decoded_link link;
	struct pg_decoded_arp arp;
	struct pg_decoded_ip ip;
	uint32_t reassembled_fragments; /* this packet completed a datagram of so many; else 0 */
	uint32_t reassembled_bytes;
	struct pg_decoded_tcp tcp;
	struct pg_decoded_udp udp;
	struct pg_decoded_icmp icmp;
	struct pg_decoded_frame frame;
	struct pg_decoded_messages messages;
	const struct pg_follow_note *follow; /* of those who follow connections; else NULL */
};

static inline void pg_fault(struct pg_decoded *decoded, enum pg_fault fault)
{
	decoded->faults |= 1u << fault;
}

/*
 * Whether the first n bytes can be read. If not, notes why: the fault if they never were on the
 * wire, `cut` if the capture lost them.
 */
static inline bool pg_need(struct pg_decoded *decoded, const struct pg_span *span, uint32_t n,
			   enum pg_fault fault)
{
	if (pg_span_has(span, n))
		return true;
	if (pg_span_sent(span, n))
		decoded->cut = true;
	else
		pg_fault(decoded, fault);
	return false;
}

#endif
