/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DEMO_AGENT_H
#define PG_CLI_DEMO_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "demo_net.h"
#include "packgate/drop.h"

/* The agent of the demo: its process, its folder, and what it says through the control API. */
#define DEMO_METRICS_PORT 9747
#define DEMO_GAME_PORT	  4000 /* endpoint "game", guard on */
#define DEMO_LAN_PORT	  4001 /* endpoint "lan", guard off */
#define DEMO_CHAT_PORT	  4002 /* endpoint "chat", guard on, messages; its TCP entrance */
#define DEMO_UNMATCHED	  100  /* frames a second and source that match no session */

struct demo_agent {
	pid_t pid;	    /* 0 = none */
	char directory[48]; /* "" = none */
	char instance[32];
	char control[96], app[96], config[96], log[96];
	char mode[32], why[160]; /* of the gate */
	uint32_t program_id;
	uint32_t queues;
	int exit_status; /* as waitpid gives it, once the process has ended */
};

/* Everything that was refused, gate and agent apart, by number of the reason. */
struct demo_counts {
	uint64_t gate[PG_DROP_SLOTS];
	uint64_t agent[PG_DROP_SLOTS];
	uint64_t total;	     /* of both */
	uint64_t duplicates; /* recognised by the gate, acked again */
};

/*
 * Starts packgated, found next to this program, in the server's namespace and waits until its gate
 * is attached. On failure demo_agent_stop ends and removes what was made.
 */
int demo_agent_start(struct demo_agent *agent, const struct demo_net *net, struct pg_error *error);

/* The last line that the agent logged, "nothing" if there is none. */
#define DEMO_WORDS_MAX 240
const char *demo_agent_last_words(const struct demo_agent *agent, char text[DEMO_WORDS_MAX]);

/*
 * Detaches the gate, ends the process, removes pins and folder. Goes on in any case; says what did
 * not work, and returns whether all did.
 */
bool demo_agent_stop(struct demo_agent *agent);

/* Names in error what an agent that was stopped has left behind; 0 if nothing. */
int demo_agent_left(const struct demo_agent *agent, struct pg_error *error);

int demo_agent_counts(struct demo_counts *ret_counts, struct pg_error *error);

/* The label of a reason, and what it means. */
const char *demo_reason_label(enum pg_drop reason);
const char *demo_reason_help(enum pg_drop reason);

#endif
