/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FAULTS_H
#define PG_FAULTS_H

/*
 * What is wrong with a packet, in the eyes of the decoder: X(NAME, bit, label, help). The label is
 * printed in `faults` of `packgate decode --json`; a published bit or label is never reused. A
 * header that the capture cut (snap length) is no fault: struct pg_decoded has `cut` for it.
 */
#define PG_FAULTS(X)                                                                               \
	X(LINK_SHORT, 0, "link_short", "the frame ends inside its link header")                    \
	X(LINK_FAMILY, 1, "link_family", "the loopback header names no known address family")      \
	X(LINK_TAGS, 2, "link_tags", "more than two VLAN tags")                                    \
	X(ARP_SHORT, 3, "arp_short", "the ARP message ends early")                                 \
	X(IP_VERSION, 4, "ip_version", "the IP version is not the one announced")                  \
	X(IP_SHORT, 5, "ip_short", "the packet ends inside its IP header")                         \
	X(IP_HEADER_LENGTH, 6, "ip_header_length", "the IPv4 header length is below 20")           \
	X(IP_TOTAL_SHORT, 7, "ip_total_short", "the IP total length is shorter than the header")   \
	X(IP_TOTAL_BEYOND, 8, "ip_total_beyond", "the IP length claims more than the frame has")   \
	X(IP_OPTION, 9, "ip_option", "an IPv4 option's length is below 2 or past the header")      \
	X(EXTENSION_SHORT, 10, "extension_short", "an IPv6 extension header passes the packet")    \
	X(EXTENSION_COUNT, 11, "extension_count", "more than 16 IPv6 extension headers")           \
	X(FRAGMENT_SIZE, 12, "fragment_size",                                                      \
	  "a fragment that is not the last is empty or no multiple of 8 bytes")                    \
	X(FRAGMENT_END, 13, "fragment_end", "a fragment ends past 65535 bytes")                    \
	X(FRAGMENT_OVERLAP, 14, "fragment_overlap",                                                \
	  "fragments overlap or contradict each other; the datagram is given up")                  \
	X(TCP_SHORT, 15, "tcp_short", "the packet ends inside its TCP header")                     \
	X(TCP_HEADER_LENGTH, 16, "tcp_header_length", "the TCP header length is below 20")         \
	X(TCP_HEADER_BEYOND, 17, "tcp_header_beyond", "the TCP header length passes the packet")   \
	X(TCP_OPTION_LENGTH, 18, "tcp_option_length", "a TCP option's length is 0 or 1")           \
	X(TCP_OPTION_BEYOND, 19, "tcp_option_beyond", "a TCP option passes the header")            \
	X(TCP_OPTION_SIZE, 20, "tcp_option_size", "a TCP option has not the length of its kind")   \
	X(UDP_SHORT, 21, "udp_short", "the packet ends inside its UDP header")                     \
	X(UDP_LENGTH, 22, "udp_length", "the UDP length is below 8")                               \
	X(UDP_LENGTH_BEYOND, 23, "udp_length_beyond", "the UDP length passes the IP packet")       \
	X(UDP_LENGTH_LESS, 24, "udp_length_less", "bytes of the IP packet lie behind the UDP one") \
	X(ICMP_SHORT, 25, "icmp_short", "the packet ends inside its ICMP header")                  \
	X(EXTENSION_FRAGMENT, 26, "extension_fragment", "a second IPv6 fragment header")

enum pg_fault {
#define PG_X(name, bit, ...) PG_FAULT_##name = bit,
	PG_FAULTS(PG_X)
#undef PG_X
		PG_FAULT_COUNT
};

#endif
