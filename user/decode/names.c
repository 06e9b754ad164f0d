// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>

#include "ip.h"
#include "names.h"

const char *pg_fault_label(enum pg_fault fault)
{
	static const char *const labels[] = {
#define PG_X(name, bit, label, help) [bit] = label,
		PG_FAULTS(PG_X)
#undef PG_X
	};

	return (unsigned int)fault < PG_FAULT_COUNT ? labels[fault] : NULL;
}

const char *pg_fault_help(enum pg_fault fault)
{
	static const char *const texts[] = {
#define PG_X(name, bit, label, help) [bit] = help,
		PG_FAULTS(PG_X)
#undef PG_X
	};

	return (unsigned int)fault < PG_FAULT_COUNT ? texts[fault] : NULL;
}

const char *pg_checksum_label(enum pg_checksum_verdict verdict)
{
	static const char *const labels[] = {
#define PG_X(name, label, help) [PG_CHECKSUM_##name] = label,
		PG_CHECKSUMS(PG_X)
#undef PG_X
	};

	return labels[verdict];
}

const char *pg_opening_label(enum pg_frame_opening opening)
{
	static const char *const labels[] = {
#define PG_X(name, label) [PG_OPENING_##name] = label,
		PG_OPENINGS(PG_X)
#undef PG_X
	};

	return labels[opening];
}

const char *pg_guard_label(enum pg_guard_verdict verdict)
{
	static const char *const labels[] = {
#define PG_X(name, label) [PG_GUARD_##name] = label,
		PG_GUARDS(PG_X)
#undef PG_X
	};

	return labels[verdict];
}

const char *pg_goaway_word(uint8_t code)
{
	if (code == PG_GOAWAY_NORMAL)
		return "normal";
	return code == PG_GOAWAY_EXPIRED ? "expired" : "error";
}

const char *pg_option_name(uint8_t kind)
{
	switch (kind) {
	case PG_TCP_OPTION_END:
		return "eol";
	case PG_TCP_OPTION_NOP:
		return "nop";
	case PG_TCP_OPTION_MSS:
		return "mss";
	case PG_TCP_OPTION_SCALE:
		return "wscale";
	case PG_TCP_OPTION_SACK_OK:
		return "sackOK";
	case PG_TCP_OPTION_SACK:
		return "sack";
	case PG_TCP_OPTION_TIMESTAMP:
		return "TS";
	default:
		return NULL;
	}
}

const char *pg_extension_name(uint8_t type)
{
	switch (type) {
	case PG_PROTOCOL_HOPOPTS:
		return "hop_by_hop";
	case PG_PROTOCOL_ROUTING:
		return "routing";
	case PG_PROTOCOL_FRAGMENT:
		return "fragment";
	case PG_PROTOCOL_AH:
		return "authentication";
	case PG_PROTOCOL_DESTINATION:
		return "destination";
	case PG_PROTOCOL_MOBILITY:
		return "mobility";
	case PG_PROTOCOL_HIP:
		return "hip";
	case PG_PROTOCOL_SHIM6:
		return "shim6";
	default:
		return NULL;
	}
}

static const char *icmp4_word(uint8_t type)
{
	switch (type) {
	case 0:
		return "echo reply";
	case 3:
		return "unreachable";
	case 5:
		return "redirect";
	case 8:
		return "echo request";
	case 11:
		return "time exceeded";
	case 12:
		return "parameter problem";
	default:
		return NULL;
	}
}

const char *pg_icmp_word(uint8_t version, uint8_t type)
{
	if (version == 4)
		return icmp4_word(type);
	switch (type) {
	case 1:
		return "unreachable";
	case 2:
		return "packet too big";
	case 3:
		return "time exceeded";
	case 4:
		return "parameter problem";
	case 128:
		return "echo request";
	case 129:
		return "echo reply";
	case 133:
		return "router solicitation";
	case 134:
		return "router advertisement";
	case 135:
		return "neighbor solicitation";
	case 136:
		return "neighbor advertisement";
	case 137:
		return "redirect";
	default:
		return NULL;
	}
}

const char *pg_tcp_flags_text(uint16_t flags, char text[PG_FLAGS_TEXT])
{
	static const struct {
		uint16_t flag;
		char letter;
	} letters[] = {
		{ PG_TCP_FIN, 'F' }, { PG_TCP_SYN, 'S' }, { PG_TCP_RST, 'R' },
		{ PG_TCP_PSH, 'P' }, { PG_TCP_ACK, '.' }, { PG_TCP_URG, 'U' },
		{ PG_TCP_ECE, 'E' }, { PG_TCP_CWR, 'W' }, { PG_TCP_NS, 'e' },
	};
	size_t used = 0;

	if (!flags)
		return strcpy(text, "none");
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (flags & letters[i].flag)
			text[used++] = letters[i].letter;
	text[used] = 0;
	return text;
}

const char *pg_ip_text(const struct pg_decoded_ip *ip, const uint8_t *address,
		       char text[PG_IP_TEXT])
{
	return inet_ntop(ip->version == 4 ? AF_INET : AF_INET6, address, text, PG_IP_TEXT);
}

const char *pg_mac_text(const uint8_t mac[6], char text[PG_MAC_TEXT])
{
	snprintf(text, PG_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	return text;
}
