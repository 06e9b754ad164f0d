// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <inttypes.h>

#include "fields.h"
#include "follow_fields.h"
#include "link.h"
#include "packgate/message.h"
#include "names.h"
#include "packgate/bytes.h"
#include "session_frame.h"

static void write_checksum(struct pg_fields *fields, const struct pg_checksum *checksum)
{
	pg_field_open(fields, "checksum", '{');
	pg_field_number(fields, "found", checksum->found);
	pg_field_text(fields, "verdict", pg_checksum_label(checksum->verdict));
	if (checksum->verdict == PG_CHECKSUM_BAD || checksum->verdict == PG_CHECKSUM_UNFINISHED)
		pg_field_number(fields, "expected", checksum->expected);
	pg_field_close(fields, '}');
}

static void write_link(struct pg_fields *fields, const struct pg_decoded_link *link)
{
	char text[PG_MAC_TEXT];

	pg_field_open(fields, "link", '{');
	pg_field_text(fields, "type", pg_link_label(link->type));
	if (link->has_addresses) {
		pg_field_text(fields, "source", pg_mac_text(link->source, text));
		pg_field_text(fields, "target", pg_mac_text(link->target, text));
	}
	if (link->tag_count)
		pg_field_open(fields, "vlans", '[');
	for (uint8_t i = 0; i < link->tag_count; i++) {
		pg_field_open(fields, NULL, '{');
		pg_field_number(fields, "id", link->tags[i].id);
		pg_field_number(fields, "priority", link->tags[i].priority);
		pg_field_flag(fields, "drop_eligible", link->tags[i].drop_eligible);
		pg_field_close(fields, '}');
	}
	if (link->tag_count)
		pg_field_close(fields, ']');
	if (link->complete)
		pg_field_number(fields, "protocol", link->protocol);
	pg_field_close(fields, '}');
}

static void write_arp(struct pg_fields *fields, const struct pg_decoded_arp *arp)
{
	const struct pg_decoded_ip ip = { .version = 4 };
	char mac[PG_MAC_TEXT], text[PG_IP_TEXT];

	pg_field_open(fields, "arp", '{');
	pg_field_number(fields, "operation", arp->operation);
	if (arp->ipv4) {
		pg_field_text(fields, "sender", pg_mac_text(arp->sender, mac));
		pg_field_text(fields, "sender_ip", pg_ip_text(&ip, arp->sender_ip, text));
		pg_field_text(fields, "target_ip", pg_ip_text(&ip, arp->target_ip, text));
	}
	pg_field_close(fields, '}');
}

/* --- IP ----------------------------------------------------------------------------------------
 */

static void write_addresses(struct pg_fields *fields, const struct pg_decoded_ip *ip)
{
	char text[PG_IP_TEXT];

	pg_field_text(fields, "source", pg_ip_text(ip, ip->source, text));
	pg_field_text(fields, "target", pg_ip_text(ip, ip->target, text));
}

static void write_fragment(struct pg_fields *fields, const struct pg_decoded_ip *ip)
{
	pg_field_flag(fields, "more_fragments", ip->more_fragments);
	pg_field_number(fields, "fragment_offset", ip->fragment_offset);
	if (ip->fragment)
		pg_field_number(fields, "fragment_bytes", ip->fragment_bytes);
}

static void write_ipv4(struct pg_fields *fields, const struct pg_decoded_ip *ip)
{
	pg_field_open(fields, "ipv4", '{');
	write_addresses(fields, ip);
	pg_field_number(fields, "header_bytes", ip->header_bytes);
	pg_field_number(fields, "traffic_class", ip->traffic_class);
	pg_field_number(fields, "total_bytes", ip->total_bytes);
	pg_field_number(fields, "id", ip->id);
	pg_field_flag(fields, "reserved_flag", ip->reserved_flag);
	pg_field_flag(fields, "dont_fragment", ip->dont_fragment);
	write_fragment(fields, ip);
	pg_field_number(fields, "ttl", ip->ttl);
	pg_field_number(fields, "protocol", ip->protocol);
	write_checksum(fields, &ip->checksum);
	if (ip->option_count)
		pg_field_open(fields, "options", '[');
	for (uint8_t i = 0; i < ip->option_count; i++) {
		pg_field_open(fields, NULL, '{');
		pg_field_number(fields, "kind", ip->options[i].kind);
		pg_field_hex(fields, "value", ip->options[i].value, ip->options[i].value_bytes);
		pg_field_close(fields, '}');
	}
	if (ip->option_count)
		pg_field_close(fields, ']');
	pg_field_close(fields, '}');
}

static void write_extensions(struct pg_fields *fields, const struct pg_decoded_ip *ip)
{
	pg_field_open(fields, "extensions", '[');
	for (uint8_t i = 0; i < ip->extension_count; i++) {
		pg_field_open(fields, NULL, '{');
		pg_field_text(fields, "name", pg_extension_name(ip->extensions[i].type));
		pg_field_number(fields, "type", ip->extensions[i].type);
		pg_field_number(fields, "bytes", ip->extensions[i].bytes);
		pg_field_close(fields, '}');
	}
	pg_field_close(fields, ']');
}

static void write_ipv6(struct pg_fields *fields, const struct pg_decoded_ip *ip)
{
	pg_field_open(fields, "ipv6", '{');
	write_addresses(fields, ip);
	pg_field_number(fields, "traffic_class", ip->traffic_class);
	pg_field_number(fields, "flow_label", ip->flow_label);
	pg_field_number(fields, "payload_bytes", ip->total_bytes);
	pg_field_number(fields, "next_header", ip->next_header);
	pg_field_number(fields, "hop_limit", ip->ttl);
	pg_field_number(fields, "protocol", ip->protocol);
	if (ip->extension_count)
		write_extensions(fields, ip);
	if (ip->fragment) {
		pg_field_number(fields, "id", ip->id);
		write_fragment(fields, ip);
	}
	pg_field_close(fields, '}');
}

static void write_reassembled(struct pg_fields *fields, const struct pg_decoded *decoded)
{
	pg_field_open(fields, "reassembled", '{');
	pg_field_number(fields, "fragments", decoded->reassembled_fragments);
	pg_field_number(fields, "bytes", decoded->reassembled_bytes);
	pg_field_close(fields, '}');
}

/* --- TCP, UDP, ICMP ----------------------------------------------------------------------------
 */

static void write_sack(struct pg_fields *fields, const struct pg_option *option)
{
	pg_field_open(fields, "blocks", '[');
	for (uint8_t i = 0; i < option->value_bytes; i += 8) {
		pg_field_open(fields, NULL, '{');
		pg_field_number(fields, "left", pg_load_be32(option->value + i));
		pg_field_number(fields, "right", pg_load_be32(option->value + i + 4));
		pg_field_close(fields, '}');
	}
	pg_field_close(fields, ']');
}

static void write_option_value(struct pg_fields *fields, const struct pg_option *option)
{
	switch (option->kind) {
	case PG_TCP_OPTION_MSS:
		pg_field_number(fields, "mss", pg_load_be16(option->value));
		break;
	case PG_TCP_OPTION_SCALE:
		pg_field_number(fields, "shift", option->value[0]);
		break;
	case PG_TCP_OPTION_SACK:
		write_sack(fields, option);
		break;
	case PG_TCP_OPTION_TIMESTAMP:
		pg_field_number(fields, "value", pg_load_be32(option->value));
		pg_field_number(fields, "echo", pg_load_be32(option->value + 4));
		break;
	default:
		if (option->value_bytes)
			pg_field_hex(fields, "bytes", option->value, option->value_bytes);
	}
}

static void write_option(struct pg_fields *fields, const struct pg_option *option)
{
	const char *name = pg_option_name(option->kind);

	pg_field_open(fields, NULL, '{');
	pg_field_number(fields, "kind", option->kind);
	if (name)
		pg_field_text(fields, "name", name);
	if (option->well_sized)
		write_option_value(fields, option);
	else
		pg_field_hex(fields, "bytes", option->value, option->value_bytes);
	pg_field_close(fields, '}');
}

static void write_sequence(struct pg_fields *fields, const struct pg_decoded_tcp *tcp)
{
	pg_field_number(fields, "seq", tcp->seq);
	pg_field_number(fields, "ack", tcp->ack);
	if (tcp->has_relative)
		pg_field_number(fields, "seq_relative", tcp->seq_relative);
	if (tcp->has_relative && tcp->flags & PG_TCP_ACK)
		pg_field_number(fields, "ack_relative", tcp->ack_relative);
}

static void write_tcp(struct pg_fields *fields, const struct pg_decoded_tcp *tcp)
{
	char text[PG_FLAGS_TEXT];

	pg_field_open(fields, "tcp", '{');
	pg_field_number(fields, "source_port", tcp->source_port);
	pg_field_number(fields, "target_port", tcp->target_port);
	write_sequence(fields, tcp);
	pg_field_number(fields, "header_bytes", tcp->header_bytes);
	pg_field_number(fields, "reserved", tcp->reserved);
	pg_field_text(fields, "flags", pg_tcp_flags_text(tcp->flags, text));
	pg_field_number(fields, "flag_bits", tcp->flags);
	pg_field_number(fields, "window", tcp->window);
	if (tcp->window_shift >= 0) {
		pg_field_number(fields, "window_shift", tcp->window_shift);
		pg_field_number(fields, "window_bytes", (uint64_t)tcp->window << tcp->window_shift);
	}
	write_checksum(fields, &tcp->checksum);
	pg_field_number(fields, "urgent", tcp->urgent);
	if (tcp->option_count)
		pg_field_open(fields, "options", '[');
	for (uint8_t i = 0; i < tcp->option_count; i++)
		write_option(fields, &tcp->options[i]);
	if (tcp->option_count)
		pg_field_close(fields, ']');
	if (tcp->whole)
		pg_field_number(fields, "data_bytes", tcp->data.length);
	pg_field_close(fields, '}');
}

static void write_udp(struct pg_fields *fields, const struct pg_decoded_udp *udp)
{
	pg_field_open(fields, "udp", '{');
	pg_field_number(fields, "source_port", udp->source_port);
	pg_field_number(fields, "target_port", udp->target_port);
	pg_field_number(fields, "length", udp->length);
	write_checksum(fields, &udp->checksum);
	if (udp->whole)
		pg_field_number(fields, "data_bytes", udp->data.length);
	pg_field_close(fields, '}');
}

static void write_icmp(struct pg_fields *fields, const struct pg_decoded *decoded)
{
	const struct pg_decoded_icmp *icmp = &decoded->icmp;
	const char *word = pg_icmp_word(decoded->ip.version, icmp->type);

	pg_field_open(fields, decoded->ip.version == 4 ? "icmp" : "icmp6", '{');
	pg_field_number(fields, "type", icmp->type);
	pg_field_number(fields, "code", icmp->code);
	if (word)
		pg_field_text(fields, "name", word);
	write_checksum(fields, &icmp->checksum);
	if (icmp->has_echo) {
		pg_field_number(fields, "id", icmp->echo_id);
		pg_field_number(fields, "seq", icmp->echo_seq);
	}
	pg_field_number(fields, "length", icmp->length);
	pg_field_close(fields, '}');
}

/* --- session frames ----------------------------------------------------------------------------
 */

static void write_frame_ids(struct pg_fields *fields, const struct pg_frame *header)
{
	pg_field_number(fields, "client_id", header->session >> 16);
	pg_field_number(fields, "server_id", header->session & 0xffff);
	if (header->flags & PG_FLAG_STRE)
		pg_field_number(fields, "stream", header->stream);
	if (header->flags & PG_FLAG_PACK)
		pg_field_number(fields, "pack", header->pack);
	if (header->flags & PG_FLAG_FRAG)
		pg_field_number(fields, "fragment", header->fragment);
}

static void write_valid_frame(struct pg_fields *fields, const struct pg_decoded_frame *frame)
{
	pg_field_text(fields, "opcode", pg_opcode_label(frame->header.opcode));
	write_frame_ids(fields, &frame->header);
	pg_field_number(fields, "timestamp_ms", frame->timestamp_ms);
	pg_field_number(fields, "flag_bits", frame->header.flags);
	pg_field_flag(fields, "last_fragment", frame->header.flags & PG_FLAG_FIN);
	pg_field_flag(fields, "slow", frame->header.flags & PG_FLAG_SLOW);
	pg_field_number(fields, "header_bytes", frame->header.header_bytes);
	pg_field_number(fields, "payload_bytes", frame->header.payload_bytes);
	pg_field_text(fields, "guard", pg_guard_label(frame->guard));
	pg_field_text(fields, "sealed", pg_opening_label(frame->opening));
	if (frame->opening == PG_OPENING_OPENED)
		pg_field_hex(fields, "plain", frame->plain, frame->plain_bytes);
	else if (frame->opening == PG_OPENING_NOT_SEALED)
		pg_field_hex(fields, "payload", frame->payload, frame->payload_bytes);
	if (frame->header.opcode == PG_OP_GOAWAY)
		pg_field_text(fields, "goaway", pg_goaway_word(frame->payload[0]));
}

static void write_frame(struct pg_fields *fields, const struct pg_decoded_frame *frame)
{
	pg_field_open(fields, "session", '{');
	pg_field_text(fields, "direction",
		      frame->direction == PG_C2S ? "client_to_server" : "server_to_client");
	if (frame->cut)
		pg_field_flag(fields, "cut", true);
	else
		pg_field_flag(fields, "valid", !frame->reason);
	if (frame->reason)
		pg_field_text(fields, "reason", pg_drop_label(frame->reason));
	else if (!frame->cut)
		write_valid_frame(fields, frame);
	pg_field_close(fields, '}');
}

static void write_messages(struct pg_fields *fields, const struct pg_decoded_messages *messages)
{
	pg_field_open(fields, "messages", '{');
	pg_field_number(fields, "count", messages->count);
	pg_field_flag(fields, "unread", messages->unread);
	if (messages->malformed)
		pg_field_text(fields, "malformed", pg_message_malformed_label(messages->malformed));
	pg_field_open(fields, "first", '[');
	for (uint32_t i = 0; i < messages->count && i < PG_MESSAGES_SHOWN; i++) {
		pg_field_open(fields, NULL, '{');
		pg_field_number(fields, "id", messages->shown[i].id);
		pg_field_number(fields, "bytes", messages->shown[i].bytes);
		pg_field_close(fields, '}');
	}
	pg_field_close(fields, ']');
	pg_field_close(fields, '}');
}

/* --- the packet --------------------------------------------------------------------------------
 */

static void write_head(struct pg_fields *fields, const struct pg_decoded *decoded)
{
	char text[40];

	snprintf(text, sizeof(text), "%" PRIu64 ".%09" PRIu64, decoded->time_ns / 1000000000,
		 decoded->time_ns % 1000000000);
	pg_field_open(fields, "packet", '{');
	pg_field_number(fields, "number", decoded->number);
	fields->writer->value(fields, "time", text, false);
	pg_field_number(fields, "captured", decoded->captured);
	pg_field_number(fields, "length", decoded->length);
	pg_field_flag(fields, "cut", decoded->cut);
	pg_field_close(fields, '}');
}

static void write_faults(struct pg_fields *fields, uint32_t faults)
{
	pg_field_open(fields, "faults", '[');
	for (unsigned int i = 0; i < PG_FAULT_COUNT; i++)
		if (faults >> i & 1)
			pg_field_text(fields, NULL, pg_fault_label(i));
	pg_field_close(fields, ']');
}

static void write_transport(struct pg_fields *fields, const struct pg_decoded *decoded)
{
	if (decoded->reassembled_fragments)
		write_reassembled(fields, decoded);
	if (decoded->transport == PG_TRANSPORT_TCP)
		write_tcp(fields, &decoded->tcp);
	else if (decoded->transport == PG_TRANSPORT_UDP)
		write_udp(fields, &decoded->udp);
	else if (decoded->transport == PG_TRANSPORT_ICMP)
		write_icmp(fields, decoded);
	if (decoded->frame.present)
		write_frame(fields, &decoded->frame);
	if (decoded->messages.present)
		write_messages(fields, &decoded->messages);
	if (decoded->follow)
		pg_follow_note_fields(fields, decoded->follow);
}

void pg_fields_write(const struct pg_decoded *decoded, const struct pg_fields_writer *writer,
		     FILE *out)
{
	struct pg_fields fields = { .out = out, .writer = writer, .first = true };

	pg_field_open(&fields, NULL, '{');
	write_head(&fields, decoded);
	write_link(&fields, &decoded->link);
	if (decoded->arp.present)
		write_arp(&fields, &decoded->arp);
	else if (decoded->ip.version == 4)
		write_ipv4(&fields, &decoded->ip);
	else if (decoded->ip.version == 6)
		write_ipv6(&fields, &decoded->ip);
	write_transport(&fields, decoded);
	if (decoded->faults)
		write_faults(&fields, decoded->faults);
	pg_field_close(&fields, '}');
}
