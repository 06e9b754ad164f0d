// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "cleanup.h"
#include "client_internal.h"

#define SOCKET_BYTES (4 << 20)
#define ICMP_RETRIES 8

/* --- opening -----------------------------------------------------------------------------------
 */

/* "HOST:PORT" taken apart; an IPv6 address stands in brackets. Port 0 of a source is any. */
static int split(const char *text, bool source, char host[256], char port[8],
		 struct pg_error *error)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	bool brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';

	if (!colon || !length || length >= 256 || strlen(colon + 1) >= 8 || !colon[1] ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    (!brackets && memchr(text, ':', length)))
		return pg_error_set(error, -EINVAL, "\"%s\" is no HOST:PORT or [v6]:PORT", text);
	if (strtoul(colon + 1, NULL, 10) > 65535 || (!source && !strtoul(colon + 1, NULL, 10)))
		return pg_error_set(error, -EINVAL, "%s: no such port", text);
	if (brackets) {
		text++;
		length -= 2;
	}
	memcpy(host, text, length);
	host[length] = 0;
	strcpy(port, colon + 1);
	return 0;
}

static void free_addresses(struct addrinfo **addresses)
{
	if (*addresses)
		freeaddrinfo(*addresses);
}

static int resolve(const char *text, int flags, int family, struct addrinfo **ret_addresses,
		   struct pg_error *error)
{
	struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_DGRAM,
		.ai_flags = flags | AI_NUMERICSERV,
	};
	char host[256], port[8];
	int err = split(text, flags & AI_PASSIVE, host, port, error);

	if (err)
		return err;
	err = getaddrinfo(host, port, &hints, ret_addresses);
	if (err)
		return pg_error_set(error, -ENOENT, "resolving %s: %s", text, gai_strerror(err));
	return 0;
}

static void set_options(int fd, int family)
{
	int bytes = SOCKET_BYTES, discover;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	/* frames leave with DF, and are never cut to what the kernel believes of the path */
	discover = family == AF_INET ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
	setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		   family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &discover,
		   sizeof(discover));
}

static void keep_peer(struct pg_client *client, const struct sockaddr *address)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };

	if (address->sa_family == AF_INET)
		memcpy(bytes + 12, &v4->sin_addr, 4);
	else
		memcpy(bytes, &v6->sin6_addr, 16);
	memcpy(client->peer, bytes, sizeof(bytes));
	client->peer_port_be = address->sa_family == AF_INET ? v4->sin_port : v6->sin6_port;
}

static int open_at(struct pg_client *client, const struct addrinfo *server, const char *source,
		   struct pg_error *error)
{
	PG_CLEANUP(free_addresses) struct addrinfo *local = NULL;
	PG_CLOSE int fd = -1;
	int err = 0;

	if (source)
		err = resolve(source, AI_NUMERICHOST | AI_PASSIVE, server->ai_family, &local,
			      error);
	if (err)
		return err;
	fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return pg_error_set(error, -errno, "making a UDP socket: %s", strerror(errno));
	set_options(fd, server->ai_family);
	if (local && bind(fd, local->ai_addr, local->ai_addrlen))
		return pg_error_set(error, -errno, "binding to %s: %s", source, strerror(errno));
	if (connect(fd, server->ai_addr, server->ai_addrlen))
		return pg_error_set(error, -errno, "no route to the server: %s", strerror(errno));
	keep_peer(client, server->ai_addr);
	client->fd = TAKE_FD(fd);
	return 0;
}

/* The first of the server's addresses that there is a route to. */
int pg_client_open_socket(struct pg_client *client, const struct pg_client_options *options,
			  struct pg_error *error)
{
	PG_CLEANUP(free_addresses) struct addrinfo *servers = NULL;
	int err = resolve(options->server, 0, AF_UNSPEC, &servers, error);

	if (err)
		return err;
	for (const struct addrinfo *server = servers; server; server = server->ai_next) {
		err = open_at(client, server, options->source, error);
		if (!err)
			return 0;
	}
	return err;
}

uint32_t pg_client_datagram_max(const struct pg_client *client)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = !memcmp(client->peer, mapped, sizeof(mapped));
	int mtu = 0, headers = v4 ? 28 : 48;
	socklen_t bytes = sizeof(mtu);

	if (getsockopt(client->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu,
		       &bytes) ||
	    mtu <= headers)
		return 0;
	return (uint32_t)(mtu - headers);
}

/* --- sending -----------------------------------------------------------------------------------
 */

uint8_t *pg_outbox_alloc(struct pg_client *client)
{
	struct outbox *out = &client->out;

	if (out->count == BATCH)
		pg_outbox_flush(client);
	return out->count < BATCH ? out->frames[out->count] : NULL;
}

void pg_outbox_add(struct pg_client *client, uint32_t bytes)
{
	struct outbox *out = &client->out;

	out->vectors[out->count].iov_base = out->frames[out->count];
	out->vectors[out->count].iov_len = bytes;
	out->messages[out->count].msg_hdr = (struct msghdr){
		.msg_iov = &out->vectors[out->count],
		.msg_iovlen = 1,
	};
	out->count++;
}

/* The first frames are gone; those behind them move up. */
static void drop_first(struct outbox *out, uint32_t count)
{
	for (uint32_t i = count; i < out->count; i++) {
		memcpy(out->frames[i - count], out->frames[i], out->vectors[i].iov_len);
		out->vectors[i - count].iov_len = out->vectors[i].iov_len;
	}
	out->count -= count;
}

/*
 * What an ICMP message left at the socket: one datagram's, and anybody can forge it, so it is noted
 * and no more. EMSGSIZE is also said of a frame that the interface cannot take.
 */
static bool is_icmp(struct pg_client *client, int error)
{
	if (error == EMSGSIZE)
		client->too_long = true;
	else if (error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH ||
		 error == EPROTO || error == ENOPROTOOPT)
		client->icmp = error;
	else
		return false;
	return true;
}

void pg_outbox_flush(struct pg_client *client)
{
	struct outbox *out = &client->out;
	uint32_t done = 0, retries = 0;

	while (done < out->count) {
		int sent = sendmmsg(client->fd, out->messages + done, out->count - done, 0);

		if (sent > 0)
			done += (uint32_t)sent;
		else if (is_icmp(client, errno) && retries++ < ICMP_RETRIES)
			continue; /* the error is gone now, the frame was not sent */
		else if (errno == EAGAIN || errno == ENOBUFS)
			break;
		else if (errno != EINTR)
			done++; /* lost like any other: it is sent again if that matters */
	}
	if (done)
		drop_first(out, done);
}

/* --- receiving ---------------------------------------------------------------------------------
 */

int pg_client_read(struct pg_client *client,
		   void (*take)(struct pg_client *client, uint8_t *datagram, uint32_t bytes))
{
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	int count;

	for (uint32_t i = 0; i < BATCH; i++) {
		vectors[i].iov_base = client->received[i];
		vectors[i].iov_len = sizeof(client->received[i]);
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}
	count = recvmmsg(client->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (count < 0) {
		if (is_icmp(client, errno) || errno == EINTR)
			return 1;
		return errno == EAGAIN ? 0 : -errno;
	}
	/* what came is not older than this, or a round trip would seem shorter than it was */
	pg_client_update_clocks(client);
	for (int i = 0; i < count; i++)
		if (messages[i].msg_len <= PG_FRAME_MAX)
			take(client, client->received[i], messages[i].msg_len);
	return count;
}
