// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "app_answers.h"
#include "packgate/bytes.h"

struct pg_app_answer {
	struct pg_app_answer *next;
	uint32_t bytes;
	uint8_t datagram[];
};

void pg_app_answers_init(struct pg_app_answers *answers, int fd)
{
	*answers = (struct pg_app_answers){ .fd = fd };
}

void pg_app_answers_done(struct pg_app_answers *answers)
{
	struct pg_app_answer *next;

	for (; answers->first; answers->first = next) {
		next = answers->first->next;
		free(answers->first);
	}
	answers->last = NULL;
}

static void give_up(struct pg_app_answers *answers)
{
	answers->gone = true;
	pg_app_answers_done(answers);
}

/* False when the socket is full. */
static bool sent(struct pg_app_answers *answers, const void *bytes, uint32_t count)
{
	if (send(answers->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return false;
	give_up(answers);
	return true;
}

static struct pg_app_answer *make(const struct pg_app_record *record, const char *text)
{
	uint32_t length = strlen(text);
	struct pg_app_answer *answer = malloc(sizeof(*answer) + sizeof(*record) + length);
	struct pg_app_record header = *record;

	if (!answer)
		return NULL;
	header.length = pg_be32(length);
	answer->next = NULL;
	answer->bytes = sizeof(header) + length;
	memcpy(answer->datagram, &header, sizeof(header));
	memcpy(answer->datagram + sizeof(header), text, length);
	return answer;
}

void pg_app_answers_put(struct pg_app_answers *answers, const struct pg_app_record *record,
			const char *text)
{
	struct pg_app_answer *answer;

	if (answers->gone)
		return;
	answer = make(record, text);
	if (!answer) {
		shutdown(answers->fd, SHUT_RDWR);
		give_up(answers);
		return;
	}
	if (answers->last)
		answers->last->next = answer;
	else
		answers->first = answer;
	answers->last = answer;
	if (answers->first == answer)
		pg_app_answers_flush(answers);
}

void pg_app_answers_flush(struct pg_app_answers *answers)
{
	while (answers->first) {
		struct pg_app_answer *answer = answers->first;

		if (!sent(answers, answer->datagram, answer->bytes) || answers->gone)
			return;
		answers->first = answer->next;
		if (!answers->first)
			answers->last = NULL;
		free(answer);
	}
}

int pg_app_refuse(struct pg_inbox *sockets, const struct pg_message *record, uint32_t endpoint,
		  const char *why)
{
	struct pg_message *answer = pg_message_new(PG_MESSAGE_REFUSED, why, strlen(why) + 1);

	if (!answer)
		return -ENOMEM;
	answer->app = record->app;
	answer->app.endpoint = endpoint;
	return pg_inbox_post(sockets, answer);
}
