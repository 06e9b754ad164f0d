// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "line.h"
#include "link.h"
#include "packgate/message.h"
#include "names.h"
#include "packgate/bytes.h"
#include "session_frame.h"

/* --- what stands in front ----------------------------------------------------------------------
 */

static void write_tags(const struct pg_decoded_link *link, FILE *out)
{
	for (uint8_t i = 0; i < link->tag_count; i++)
		fprintf(out, "vlan %u, p %u%s, ", link->tags[i].id, link->tags[i].priority,
			link->tags[i].drop_eligible ? ", DEI" : "");
}

/* Addresses, with ports where has_ports. */
static void write_ends(const struct pg_decoded_ip *ip, bool has_ports, uint16_t source_port,
		       uint16_t target_port, FILE *out)
{
	char source[PG_IP_TEXT], target[PG_IP_TEXT];

	pg_ip_text(ip, ip->source, source);
	pg_ip_text(ip, ip->target, target);
	fputs(ip->version == 4 ? "IP " : "IP6 ", out);
	if (has_ports)
		fprintf(out, "%s.%u > %s.%u: ", source, source_port, target, target_port);
	else
		fprintf(out, "%s > %s: ", source, target);
}

static void write_checksum(const struct pg_checksum *checksum, FILE *out)
{
	if (checksum->verdict == PG_CHECKSUM_BAD)
		fprintf(out, " [cksum 0x%04x bad, 0x%04x is right]", checksum->found,
			checksum->expected);
}

static void write_extensions(const struct pg_decoded_ip *ip, FILE *out)
{
	if (!ip->extension_count)
		return;
	fputs(" [", out);
	for (uint8_t i = 0; i < ip->extension_count; i++)
		fprintf(out, "%s%s", i ? "," : "", pg_extension_name(ip->extensions[i].type));
	fputc(']', out);
}

static void write_fragment(const struct pg_decoded *decoded, FILE *out)
{
	const struct pg_decoded_ip *ip = &decoded->ip;

	if (!ip->fragment)
		return;
	fprintf(out, " [frag id %u, offset %u, length %u%s]", ip->id, ip->fragment_offset,
		ip->fragment_bytes, ip->more_fragments ? ", more" : "");
	if (decoded->reassembled_fragments)
		fprintf(out, " [%u fragments, %u bytes in all]", decoded->reassembled_fragments,
			decoded->reassembled_bytes);
}

/* --- TCP ---------------------------------------------------------------------------------------
 */

/* start: what the edges are counted from. */
static void write_sack(const struct pg_option *option, uint32_t start, FILE *out)
{
	fprintf(out, "sack %u ", option->value_bytes / 8);
	for (uint8_t i = 0; i < option->value_bytes; i += 8)
		fprintf(out, "{%u:%u}", pg_load_be32(option->value + i) - start,
			pg_load_be32(option->value + i + 4) - start);
}

static void write_option(const struct pg_option *option, uint32_t start, FILE *out)
{
	const char *name = pg_option_name(option->kind);

	if (!option->well_sized) {
		fprintf(out, "%s of %u bytes", name, option->value_bytes + 2);
		return;
	}
	switch (option->kind) {
	case PG_TCP_OPTION_MSS:
		fprintf(out, "mss %u", pg_load_be16(option->value));
		break;
	case PG_TCP_OPTION_SCALE:
		fprintf(out, "wscale %u", option->value[0]);
		break;
	case PG_TCP_OPTION_SACK:
		write_sack(option, start, out);
		break;
	case PG_TCP_OPTION_TIMESTAMP:
		fprintf(out, "TS val %u ecr %u", pg_load_be32(option->value),
			pg_load_be32(option->value + 4));
		break;
	default:
		if (name)
			fputs(name, out);
		else
			fprintf(out, "unknown-%u", option->kind);
	}
}

static void write_options(const struct pg_decoded_tcp *tcp, bool absolute, FILE *out)
{
	bool relative = tcp->has_relative && !absolute && tcp->flags & PG_TCP_ACK;
	uint32_t start = relative ? tcp->ack - tcp->ack_relative : 0;

	if (!tcp->option_count)
		return;
	fputs(", options [", out);
	for (uint8_t i = 0; i < tcp->option_count; i++) {
		if (i)
			fputc(',', out);
		write_option(&tcp->options[i], start, out);
	}
	fputc(']', out);
}

/*
 * As tcpdump: a SYN shows what is on the wire; a number with no bytes behind it is left away unless
 * flags take one up.
 */
static void write_sequence(const struct pg_decoded_tcp *tcp, bool absolute, FILE *out)
{
	bool relative = tcp->has_relative && !absolute && !(tcp->flags & PG_TCP_SYN);
	uint32_t seq = relative ? tcp->seq_relative : tcp->seq;
	uint32_t bytes = tcp->whole ? tcp->data.length : 0;

	if (bytes)
		fprintf(out, ", seq %u:%u", seq, seq + bytes);
	else if (tcp->flags & (PG_TCP_SYN | PG_TCP_FIN | PG_TCP_RST) || !tcp->whole)
		fprintf(out, ", seq %u", seq);
	if (tcp->flags & PG_TCP_ACK)
		fprintf(out, ", ack %u", relative ? tcp->ack_relative : tcp->ack);
}

static void write_tcp(const struct pg_decoded_tcp *tcp, bool absolute, FILE *out)
{
	char text[PG_FLAGS_TEXT];

	fprintf(out, "Flags [%s]", pg_tcp_flags_text(tcp->flags, text));
	write_sequence(tcp, absolute, out);
	fprintf(out, ", win %u", tcp->window);
	if (tcp->window_shift > 0)
		fprintf(out, "*%u", 1u << tcp->window_shift);
	if (tcp->flags & PG_TCP_URG)
		fprintf(out, ", urg %u", tcp->urgent);
	write_options(tcp, absolute, out);
	if (tcp->whole)
		fprintf(out, ", length %u", tcp->data.length);
	write_checksum(&tcp->checksum, out);
}

/* --- session frames ----------------------------------------------------------------------------
 */

static void write_frame_head(const struct pg_frame *header, FILE *out)
{
	fprintf(out, "%04x:%04x %s", header->session >> 16, header->session & 0xffff,
		pg_opcode_label(header->opcode));
	if (header->flags & PG_FLAG_STRE)
		fprintf(out, " stream %u", header->stream);
	if (header->flags & PG_FLAG_PACK)
		fprintf(out, " pack %u", header->pack);
	if (header->flags & PG_FLAG_FRAG)
		fprintf(out, " frag %u%s", header->fragment,
			header->flags & PG_FLAG_FIN ? " fin" : "");
	if (header->flags & PG_FLAG_SLOW)
		fputs(" slow", out);
}

static void write_opening(const struct pg_decoded_frame *frame, FILE *out)
{
	if (frame->guard == PG_GUARD_WRONG)
		fputs(", guard WRONG", out);
	switch (frame->opening) {
	case PG_OPENING_NOT_SEALED:
		if (frame->payload_bytes)
			fprintf(out, ", %u bytes", frame->payload_bytes);
		break;
	case PG_OPENING_NO_SECRET:
		fprintf(out, ", %u bytes sealed", frame->payload_bytes - PG_TAG_BYTES);
		break;
	case PG_OPENING_OPENED:
		fprintf(out, ", %u bytes opened", frame->plain_bytes);
		break;
	case PG_OPENING_TAG_WRONG:
		fprintf(out, ", %u bytes, tag WRONG", frame->payload_bytes - PG_TAG_BYTES);
		break;
	}
}

static void write_frame(const struct pg_decoded_frame *frame, FILE *out)
{
	fprintf(out, "session %s ", frame->direction == PG_C2S ? "c>s" : "s>c");
	if (frame->cut) {
		fputs("frame cut by the capture", out);
		return;
	}
	if (frame->reason) {
		fprintf(out, "INVALID: %s", pg_drop_label(frame->reason));
		return;
	}
	write_frame_head(&frame->header, out);
	if (frame->header.opcode == PG_OP_GOAWAY)
		fprintf(out, " %s", pg_goaway_word(frame->payload[0]));
	write_opening(frame, out);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

static void write_udp(const struct pg_decoded *decoded, FILE *out)
{
	fputs("UDP", out);
	if (decoded->udp.whole)
		fprintf(out, ", length %u", decoded->udp.data.length);
	write_checksum(&decoded->udp.checksum, out);
	if (decoded->frame.present) {
		fputs(", ", out);
		write_frame(&decoded->frame, out);
	}
}

static void write_icmp(const struct pg_decoded *decoded, FILE *out)
{
	const struct pg_decoded_icmp *icmp = &decoded->icmp;
	const char *word = pg_icmp_word(decoded->ip.version, icmp->type);

	fputs(decoded->ip.version == 4 ? "ICMP " : "ICMP6 ", out);
	if (word)
		fputs(word, out);
	else
		fprintf(out, "type %u", icmp->type);
	if (icmp->code)
		fprintf(out, ", code %u", icmp->code);
	if (icmp->has_echo)
		fprintf(out, ", id %u, seq %u", icmp->echo_id, icmp->echo_seq);
	fprintf(out, ", length %u", icmp->length);
	write_checksum(&icmp->checksum, out);
}

static void write_arp(const struct pg_decoded_arp *arp, FILE *out)
{
	const struct pg_decoded_ip ip = { .version = 4 };
	char sender[PG_IP_TEXT], target[PG_IP_TEXT], mac[PG_MAC_TEXT];

	if (!arp->present) {
		fputs("ARP, not decoded", out);
		return;
	}
	if (!arp->ipv4) {
		fprintf(out, "ARP, operation %u", arp->operation);
		return;
	}
	pg_ip_text(&ip, arp->sender_ip, sender);
	pg_ip_text(&ip, arp->target_ip, target);
	if (arp->operation == 1)
		fprintf(out, "ARP, Request who-has %s tell %s", target, sender);
	else if (arp->operation == 2)
		fprintf(out, "ARP, Reply %s is-at %s", sender, pg_mac_text(arp->sender, mac));
	else
		fprintf(out, "ARP, operation %u, %s to %s", arp->operation, sender, target);
}

static void write_ip(const struct pg_decoded *decoded, bool absolute, FILE *out)
{
	const struct pg_decoded_ip *ip = &decoded->ip;

	switch (decoded->transport) {
	case PG_TRANSPORT_TCP:
		write_ends(ip, true, decoded->tcp.source_port, decoded->tcp.target_port, out);
		write_tcp(&decoded->tcp, absolute, out);
		break;
	case PG_TRANSPORT_UDP:
		write_ends(ip, true, decoded->udp.source_port, decoded->udp.target_port, out);
		write_udp(decoded, out);
		break;
	case PG_TRANSPORT_ICMP:
		write_ends(ip, false, 0, 0, out);
		write_icmp(decoded, out);
		break;
	case PG_TRANSPORT_OTHER:
	case PG_TRANSPORT_FRAGMENT:
		write_ends(ip, false, 0, 0, out);
		fprintf(out, "proto %u, length %u", ip->protocol, ip->payload_bytes);
		break;
	case PG_TRANSPORT_NONE:
		write_ends(ip, false, 0, 0, out);
		fputs("not decoded", out);
	}
	write_extensions(ip, out);
	write_fragment(decoded, out);
	if (ip->version == 4 && ip->checksum.verdict == PG_CHECKSUM_BAD)
		fprintf(out, " [ip cksum 0x%04x bad, 0x%04x is right]", ip->checksum.found,
			ip->checksum.expected);
}

static void write_other(const struct pg_decoded *decoded, FILE *out)
{
	const struct pg_decoded_link *link = &decoded->link;

	if (!link->complete)
		fputs("not decoded", out);
	else if (link->protocol < PG_ETHERTYPE_LEAST)
		fprintf(out, "IEEE 802.3, length %u", link->protocol);
	else
		fprintf(out, "ethertype 0x%04x", link->protocol);
	fprintf(out, ", frame of %u bytes", decoded->length);
}

static void write_messages(const struct pg_decoded_messages *messages, FILE *out)
{
	for (uint32_t i = 0; i < messages->count && i < PG_MESSAGES_SHOWN; i++)
		fprintf(out, "%s Id %u of %u bytes", i ? "," : " messages:", messages->shown[i].id,
			messages->shown[i].bytes);
	if (messages->count > PG_MESSAGES_SHOWN)
		fprintf(out, ", %u more", messages->count - PG_MESSAGES_SHOWN);
	if (messages->malformed)
		fprintf(out, " [message MALFORMED: %s]",
			pg_message_malformed_help(messages->malformed));
	if (messages->unread)
		fputs(" [messages not read]", out);
}

void pg_line_write(const struct pg_decoded *decoded, bool absolute, FILE *out)
{
	write_tags(&decoded->link, out);
	if (decoded->ip.version)
		write_ip(decoded, absolute, out);
	else if (decoded->network == PG_NETWORK_ARP)
		write_arp(&decoded->arp, out);
	else
		write_other(decoded, out);
	if (decoded->messages.present)
		write_messages(&decoded->messages, out);
	if (decoded->cut)
		fprintf(out, " [cut: %u of %u bytes captured]", decoded->captured, decoded->length);
	for (unsigned int i = 0; i < PG_FAULT_COUNT; i++)
		if (decoded->faults >> i & 1)
			fprintf(out, " [%s]", pg_fault_help(i));
}
