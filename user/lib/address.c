// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

#define IPV4_AT 12 /* offset of the IPv4 address in a mapped one */

/* A cut text in an error sentence is still recognised. */
#define SHOWN 64

static const uint8_t mapped_prefix[IPV4_AT] = { [10] = 0xff, [11] = 0xff };

bool pg_address_is_ipv4(const struct pg_address *address)
{
	return !memcmp(address->bytes, mapped_prefix, IPV4_AT);
}

bool pg_address_is_any(const struct pg_address *address)
{
	static const uint8_t zero[16];

	if (pg_address_is_ipv4(address))
		return !memcmp(address->bytes + IPV4_AT, zero, 4);
	return !memcmp(address->bytes, zero, 16);
}

bool pg_address_is_group(const struct pg_address *address)
{
	static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

	if (!pg_address_is_ipv4(address))
		return address->bytes[0] == 0xff;
	return (address->bytes[IPV4_AT] & 0xf0) == 0xe0 ||
	       !memcmp(address->bytes + IPV4_AT, broadcast, 4);
}

bool pg_address_equal(const struct pg_address *a, const struct pg_address *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

const char *pg_address_print(const struct pg_address *address, char text[PG_ADDRESS_TEXT])
{
	if (pg_address_is_ipv4(address))
		inet_ntop(AF_INET, address->bytes + IPV4_AT, text, PG_ADDRESS_TEXT);
	else
		inet_ntop(AF_INET6, address->bytes, text, PG_ADDRESS_TEXT);
	return text;
}

const char *pg_address_print_peer(const struct pg_peer *peer, char text[PG_PEER_TEXT])
{
	const char *format = pg_address_is_ipv4(&peer->address) ? "%s:%u" : "[%s]:%u";
	char address[PG_ADDRESS_TEXT];

	snprintf(text, PG_PEER_TEXT, format, pg_address_print(&peer->address, address), peer->port);
	return text;
}

static int parse_ipv6(const char *text, struct pg_address *ret_address, struct pg_error *error)
{
	char ipv4[PG_ADDRESS_TEXT];
	struct pg_address parsed;

	if (inet_pton(AF_INET6, text, parsed.bytes) != 1)
		return pg_error_set(error, -EINVAL, "\"%.*s\" is not an IPv4 or IPv6 address%s",
				    SHOWN, text,
				    strchr(text, '%') ? ", zones are not supported"
						      : ", names are not resolved");
	if (pg_address_is_ipv4(&parsed))
		return pg_error_set(error, -EINVAL,
				    "\"%.*s\" is an IPv4-mapped IPv6 address, write it as %s",
				    SHOWN, text, pg_address_print(&parsed, ipv4));
	*ret_address = parsed;
	return 0;
}

int pg_address_parse(const char *text, struct pg_address *ret_address, struct pg_error *error)
{
	struct pg_address parsed;

	memcpy(parsed.bytes, mapped_prefix, IPV4_AT);
	if (inet_pton(AF_INET, text, parsed.bytes + IPV4_AT) != 1)
		return parse_ipv6(text, ret_address, error);
	*ret_address = parsed;
	return 0;
}

static int parse_port(const char *text, uint16_t *ret_port)
{
	size_t digits = strspn(text, "0123456789");
	unsigned int port = 0;

	if (!digits || digits > 5 || text[digits] || text[0] == '0')
		return -EINVAL;
	for (; *text; text++)
		port = port * 10 + (unsigned int)(*text - '0');
	if (port > UINT16_MAX)
		return -ERANGE;
	*ret_port = (uint16_t)port;
	return 0;
}

/* Splits [v6]:PORT and A.B.C.D:PORT; an unbracketed IPv6 text has no certain last colon. */
static int split_peer(const char *text, const char **ret_start, const char **ret_end,
		      const char **ret_port)
{
	const char *start = text, *end;

	if (*text == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (!end || end[1] != ':')
			return -EINVAL;
		*ret_port = end + 2;
	} else {
		end = strchr(start, ':');
		if (!end || strchr(end + 1, ':'))
			return -EINVAL;
		*ret_port = end + 1;
	}
	*ret_start = start;
	*ret_end = end;
	return 0;
}

int pg_address_parse_peer(const char *text, struct pg_peer *ret_peer, struct pg_error *error)
{
	const char *start, *end, *port;
	char address[PG_ADDRESS_TEXT];
	struct pg_peer parsed;
	int rc;

	if (split_peer(text, &start, &end, &port))
		return pg_error_set(error, -EINVAL,
				    "\"%.*s\" is not an address with a port, write A.B.C.D:PORT or "
				    "[v6]:PORT",
				    SHOWN, text);
	if ((size_t)(end - start) >= sizeof(address))
		return pg_error_set(error, -EINVAL,
				    "\"%.*s\" is not an IPv4 or IPv6 address, it is too long",
				    SHOWN, start);
	memcpy(address, start, (size_t)(end - start));
	address[end - start] = '\0';
	rc = pg_address_parse(address, &parsed.address, error);
	if (rc)
		return rc;
	if (pg_address_is_ipv4(&parsed.address) == (*text == '['))
		return pg_error_set(error, -EINVAL, "\"%.*s\": only IPv6 stands in brackets", SHOWN,
				    text);
	if (parse_port(port, &parsed.port))
		return pg_error_set(error, -EINVAL, "\"%.*s\" is not a port, allowed is 1 to 65535",
				    SHOWN, port);
	*ret_peer = parsed;
	return 0;
}
