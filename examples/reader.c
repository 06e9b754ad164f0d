// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Reads an endpoint of packgate: reader SOCKET ENDPOINT [--echo] */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "packgate/app.h"

static const char *const kinds[] = {
#define PG_X(name, number, label, ...) [number] = label,
	PG_APP_KINDS(PG_X)
#undef PG_X
};

/* One record: a header and the bytes behind it, as they may be sent back. */
static void take(int agent, struct pg_app_record *record, size_t bytes, int echo)
{
	unsigned char *data = (unsigned char *)(record + 1);
	__be32 missing = 0;

	printf("%s session %llu stream %u id %u ",
	       record->kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[record->kind] : "unknown",
	       (unsigned long long)be64toh(record->session), ntohl(record->stream),
	       ntohl(record->message));
	memcpy(&missing, data, record->kind == PG_APP_GAP ? sizeof(missing) : 0);
	for (size_t i = 0; record->kind != PG_APP_GAP && i < bytes - sizeof(*record); i++)
		putchar(data[i] >= ' ' && data[i] <= '~' ? data[i] : '.');
	printf(record->kind == PG_APP_GAP ? "%u missing\n" : "\n", ntohl(missing));
	if (record->kind == PG_APP_MESSAGE && echo)
		send(agent, record, bytes, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	static unsigned char datagram[PG_APP_DATAGRAM_MAX];
	struct pg_app_record *record = (struct pg_app_record *)datagram;
	int agent = socket(AF_UNIX, SOCK_SEQPACKET, 0), echo = argc == 4;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	ssize_t bytes;

	if (argc < 3 || argc > 4 || (echo && strcmp(argv[3], "--echo")) ||
	    strlen(argv[1]) >= sizeof(to.sun_path) || strlen(argv[2]) > 255)
		return fputs("usage: reader SOCKET ENDPOINT [--echo]\n", stderr), 2;
	strcpy(to.sun_path, argv[1]);
	record->length = htonl(strlen(argv[2])); /* the rest of a hello is zero */
	memcpy(record + 1, argv[2], strlen(argv[2]));
	if (connect(agent, (struct sockaddr *)&to, sizeof(to)) ||
	    send(agent, datagram, sizeof(*record) + strlen(argv[2]), 0) < 0)
		return perror(argv[1]), 1;
	while ((bytes = recv(agent, datagram, sizeof(datagram), 0)) > 0) {
		for (ssize_t at = 0; at < bytes; at += sizeof(*record) + ntohl(record->length)) {
			record = (struct pg_app_record *)(datagram + at);
			take(agent, record, sizeof(*record) + ntohl(record->length), echo);
			if (record->kind == PG_APP_ERROR && !record->session)
				return 1;
		}
		fflush(stdout);
	}
	return 0;
}
