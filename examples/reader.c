// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Reads an endpoint of packgate: reader SOCKET ENDPOINT [--echo] */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "packgate/app.h"

static const char *const kinds[] = {
#define PG_X(name, number, label, ...) [number] = label,
	PG_APP_KINDS(PG_X)
#undef PG_X
};

/* Messages of which parts came (flag MORE), by whom they belong to. */
struct parts {
	struct parts *next;
	struct pg_app_record of;
	size_t bytes;
	unsigned char *data;
};

static struct parts **find_parts(struct parts **at, const struct pg_app_record *record)
{
	while (*at && ((*at)->of.kind != record->kind || (*at)->of.transport != record->transport ||
		       (*at)->of.endpoint != record->endpoint ||
		       (*at)->of.session != record->session || (*at)->of.stream != record->stream))
		at = &(*at)->next;
	return at;
}

/* What is longer than a datagram goes on in the next record, under the same header. */
static void send_back(int agent, struct pg_app_record head, const unsigned char *data, size_t bytes)
{
	static unsigned char out[PG_APP_DATAGRAM_MAX];
	size_t part;

	do {
		part = bytes < sizeof(out) - sizeof(head) ? bytes : sizeof(out) - sizeof(head);
		head.length = htonl(part);
		head.flags = htons(part < bytes ? PG_APP_MORE : 0);
		memcpy(out, &head, sizeof(head));
		memcpy(out + sizeof(head), data, part);
		send(agent, out, sizeof(head) + part, MSG_NOSIGNAL);
		data += part;
		bytes -= part;
	} while (bytes);
}

/* One whole message or event. */
static void show(int agent, const struct pg_app_record *record, const unsigned char *data,
		 size_t bytes, int echo)
{
	__be32 missing = 0;

	printf("%s session %llu stream %u id %u ",
	       record->kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[record->kind] : "unknown",
	       (unsigned long long)be64toh(record->session), ntohl(record->stream),
	       ntohl(record->message));
	memcpy(&missing, data, record->kind == PG_APP_GAP ? sizeof(missing) : 0);
	for (size_t i = 0; record->kind != PG_APP_GAP && i < bytes; i++)
		putchar(data[i] >= ' ' && data[i] <= '~' ? data[i] : '.');
	printf(record->kind == PG_APP_GAP ? "%u missing\n" : "\n", ntohl(missing));
	if (record->kind == PG_APP_MESSAGE && echo)
		send_back(agent, *record, data, bytes);
}

/* One record: shown at once, or once its last part is there. */
static void take(int agent, const struct pg_app_record *record, int echo)
{
	static struct parts *begun;
	struct parts **at = find_parts(&begun, record), *parts = *at;
	size_t bytes = ntohl(record->length);

	if (!parts && !(ntohs(record->flags) & PG_APP_MORE)) {
		show(agent, record, (const unsigned char *)(record + 1), bytes, echo);
		return;
	}
	if (!parts)
		parts = *at = calloc(1, sizeof(*parts));
	if (parts)
		parts->data = realloc(parts->data, parts->bytes + bytes + 1);
	if (!parts || !parts->data) {
		perror("a long message");
		exit(1);
	}
	parts->of = *record;
	memcpy(parts->data + parts->bytes, record + 1, bytes);
	parts->bytes += bytes;
	if (ntohs(record->flags) & PG_APP_MORE)
		return;
	show(agent, record, parts->data, parts->bytes, echo);
	*at = parts->next;
	free(parts->data);
	free(parts);
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
			take(agent, record, echo);
			if (record->kind == PG_APP_ERROR && !record->session)
				return 1;
		}
		fflush(stdout);
	}
	return 0;
}
