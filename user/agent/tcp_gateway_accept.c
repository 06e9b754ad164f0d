// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "tcp_gateway_internal.h"

#define ACCEPTS 64 /* of one listener before the others have their turn */

static void peer_from(const struct sockaddr_storage *from, struct pg_peer *peer)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;

	memset(peer, 0, sizeof(*peer));
	if (from->ss_family == AF_INET) {
		memset(peer->address.bytes + 10, 0xff, 2);
		memcpy(peer->address.bytes + 12, &v4->sin_addr, 4);
		peer->port = ntohs(v4->sin_port);
		return;
	}
	memcpy(peer->address.bytes, &v6->sin6_addr, 16);
	peer->port = ntohs(v6->sin6_port);
}

static void log_refusal(struct pg_tcp_gateway *gateway, const struct pg_tcp_listener *entrance,
			const struct pg_peer *peer, enum pg_tcp_refusal why)
{
	static const char *const sentences[] = {
#define PG_X(name, number, label, help) [number] = help,
		PG_TCP_REFUSALS(PG_X)
#undef PG_X
	};
	char text[PG_PEER_TEXT], bound[32] = "", others[PG_TCP_OTHERS_TEXT];

	if (!pg_tcp_may_log(gateway, others))
		return;
	if (why == PG_TCP_REFUSAL_FULL || why == PG_TCP_REFUSAL_SOURCE)
		snprintf(bound, sizeof(bound), " (%u)",
			 why == PG_TCP_REFUSAL_FULL ? entrance->config.max_connections
						    : entrance->config.max_connections_per_source);
	pg_warning_log("entrance %s: connection from %s refused: %s%s%s", entrance->config.name,
		       pg_address_print_peer(peer, text), sentences[why], bound, others);
}

/* A refused client learns at once: the connection is reset. */
static void refuse(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance, int fd,
		   const struct pg_peer *peer, enum pg_tcp_refusal why)
{
	struct linger now = { .l_onoff = 1 };

	entrance->status.refused[why]++;
	log_refusal(gateway, entrance, peer, why);
	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static int accept_one(const struct pg_tcp_listener *entrance, struct pg_peer *ret_peer)
{
	struct sockaddr_storage from = { 0 };
	socklen_t bytes = sizeof(from);
	int fd = accept4(entrance->fd, (struct sockaddr *)&from, &bytes,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		peer_from(&from, ret_peer);
	return fd;
}

/* Without a descriptor the client would wait, and the listener stay ready for ever. */
static void refuse_without_descriptor(struct pg_tcp_gateway *gateway,
				      struct pg_tcp_listener *entrance)
{
	struct pg_peer peer;
	int fd;

	if (gateway->spare_fd >= 0)
		close(gateway->spare_fd);
	fd = accept_one(entrance, &peer);
	if (fd >= 0)
		refuse(gateway, entrance, fd, &peer, PG_TCP_REFUSAL_DESCRIPTORS);
	gateway->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void admit(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance, int fd,
		  const struct pg_peer *peer)
{
	uint32_t index = entrance - gateway->entrances;
	int one = 1, err;

	if (entrance->status.connections >= entrance->config.max_connections) {
		refuse(gateway, entrance, fd, peer, PG_TCP_REFUSAL_FULL);
		return;
	}
	err = pg_tcp_sources_take(gateway->sources, index, &peer->address,
				  entrance->config.max_connections_per_source);
	if (err) {
		refuse(gateway, entrance, fd, peer,
		       err == -EUSERS ? PG_TCP_REFUSAL_SOURCE : PG_TCP_REFUSAL_MEMORY);
		return;
	}
	entrance->status.accepted++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (pg_tcp_connection_add(gateway, entrance, fd, peer)) {
		pg_tcp_sources_give(gateway->sources, index, &peer->address);
		refuse(gateway, entrance, -1, peer, PG_TCP_REFUSAL_MEMORY);
	}
}

void pg_tcp_gateway_accept(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance)
{
	struct pg_peer peer;
	int fd;

	for (int i = 0; i < ACCEPTS; i++) {
		fd = accept_one(entrance, &peer);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				refuse_without_descriptor(gateway, entrance);
			return;
		}
		admit(gateway, entrance, fd, &peer);
	}
}
