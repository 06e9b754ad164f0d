/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_APP_ANSWERS_H
#define PG_APP_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "inbox.h"
#include "packgate/app.h"

/*
 * What one application is told about its own records: the answer to hello, and why a record was
 * refused. Sent at once, or kept in order until its socket has room; none is dropped. Who reads the
 * application's records stops while any waits, so that they are bounded by the records that were
 * on their way: PG_INBOX_FRAMES_MAX a thread.
 */
struct pg_app_answer;

struct pg_app_answers {
	int fd; /* SOCK_SEQPACKET, not owned */
	struct pg_app_answer *first, *last;
	bool gone; /* nobody reads any more: what is put is thrown away */
};

void pg_app_answers_init(struct pg_app_answers *answers, int fd);
void pg_app_answers_done(struct pg_app_answers *answers);

/*
 * record: the answer's header but for its length, which is text's; no flags. Without memory for an
 * answer that has to wait the socket is shut down: an application must not miss one.
 */
void pg_app_answers_put(struct pg_app_answers *answers, const struct pg_app_record *record,
			const char *text);
/* Sends what the socket takes. */
void pg_app_answers_flush(struct pg_app_answers *answers);

static inline bool pg_app_answers_wait(const struct pg_app_answers *answers)
{
	return answers->first != NULL;
}

/*
 * From the thread that has the session: hands the refusal of an application's record
 * (PG_MESSAGE_APP) to the application sockets' thread, whose inbox it is. endpoint: its id, 0 = not
 * known. -ENOMEM: nobody will hear of it.
 */
int pg_app_refuse(struct pg_inbox *sockets, const struct pg_message *record, uint32_t endpoint,
		  const char *why);

#endif
