/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_MESSAGES_H
#define PG_CLI_DEMO_MESSAGES_H

#include "demo_client.h"

/* The client that speaks messages on TCP, through the entrance of endpoint "chat". */
struct demo_caller {
	int fd; /* -1 = none */
	struct pg_message_parser parser;
	struct demo_heard heard;
	uint32_t bad; /* messages that are not as they should be; 1 for a stream that is none */
};

void demo_caller_init(struct demo_caller *caller);
void demo_caller_close(struct demo_caller *caller);

/* Takes what waits. */
void demo_caller_receive(struct demo_caller *caller);

#endif
