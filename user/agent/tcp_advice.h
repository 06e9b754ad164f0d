/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_ADVICE_H
#define PG_TCP_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcp_decision.h"

/* What an operator may change so that a listener takes more, down to the exact words. Pure. */

/*
 * X(NAME, word, sysctl, where Kubernetes counts it among its safe sysctls). The backlog is no
 * sysctl but the second argument of listen().
 */
#define PG_TCP_SETTINGS(X)                                                               \
	X(BACKLOG, "backlog", NULL, false)                                               \
	X(SOMAXCONN, "somaxconn", "net.core.somaxconn", false)                           \
	X(MAX_SYN_BACKLOG, "tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog", false) \
	X(SYNCOOKIES, "tcp_syncookies", "net.ipv4.tcp_syncookies", true)                 \
	X(ABORT_ON_OVERFLOW, "tcp_abort_on_overflow", "net.ipv4.tcp_abort_on_overflow", false)

enum pg_tcp_setting {
#define PG_X(name, word, sysctl, safe) PG_TCP_SET_##name,
	PG_TCP_SETTINGS(PG_X)
#undef PG_X
		PG_TCP_SETTING_COUNT
};

/* X(NAME, word, whether something suffers without it, why). The order is the order of printing. */
#define PG_TCP_REASONS(X)                                                                        \
	X(ACCEPT_FULL, "accept_queue_full", true,                                                \
	  "the accept queue is full: the application calls accept() too rarely; a longer queue " \
	  "carries longer bursts, not a lasting lag")                                            \
	X(COOKIES_OFF, "syncookies_off", true,                                                   \
	  "without cookies a full SYN queue drops the SYNs of honest clients too")               \
	X(COOKIES_ALWAYS, "syncookies_always", true,                                             \
	  "tcp_syncookies 2 is for tests: every connection comes through a cookie, and without " \
	  "TCP timestamps it loses window scaling and SACK")                                     \
	X(SYN_FULL, "syn_queue_full", true,                                                      \
	  "the SYN queue is full: a flood, or more clients at once than it was made for")        \
	X(ABORT, "abort_on_overflow", true,                                                      \
	  "with tcp_abort_on_overflow a short burst resets clients that would have been let in " \
	  "a second later")                                                                      \
	X(LOWERED, "somaxconn_lowered", true,                                                    \
	  "somaxconn is below the limit this listener began with: its next listen() gets less")  \
	X(RAISE, "raise_accept_queue", false, "to carry longer bursts of connections than now")  \
	X(RAISE_SYN, "raise_syn_queue", false,                                                   \
	  "tcp_max_syn_backlog lets the SYN queue grow less than the backlog would")

enum pg_tcp_reason {
#define PG_X(name, word, needed, why) PG_TCP_FOR_##name,
	PG_TCP_REASONS(PG_X)
#undef PG_X
		PG_TCP_REASON_COUNT
};

struct pg_tcp_reason_info {
	const char *word;
	bool needed;
	const char *why;
};

extern const struct pg_tcp_reason_info pg_tcp_reason_info[PG_TCP_REASON_COUNT];

struct pg_tcp_change {
	enum pg_tcp_setting setting;
	uint32_t value;
};

#define PG_TCP_CHANGES_MAX 2

/* Changes in the order they must be made: listen() reads somaxconn once, so it comes last. */
struct pg_tcp_advice {
	enum pg_tcp_reason reason;
	size_t change_count;
	struct pg_tcp_change changes[PG_TCP_CHANGES_MAX];
};

/*
 * Writes the advice for a listener, at most one for each reason, and returns how many there are
 * (1 to PG_TCP_REASON_COUNT). The new limit of an accept queue is twice the old one as a power of
 * two, 4096 (the kernel's own somaxconn) at least and 2^30 at most.
 */
size_t pg_tcp_advise(const struct pg_tcp_queues *queues, const struct pg_tcp_decision *decision,
		     struct pg_tcp_advice ret_advice[PG_TCP_REASON_COUNT]);

const char *pg_tcp_setting_word(enum pg_tcp_setting setting);

/* Room for the longest of the lines below with its terminator. */
#define PG_TCP_LINE 192

/*
 * The change as one line each, "" where there is none: a command for a shell, what the
 * application's source must say, what a pod's specification must say (under spec), and the flag the
 * kubelet of its node must be started with. netns_path, or NULL, is the file of the namespace the
 * command must enter.
 */
void pg_tcp_print_sysctl(const struct pg_tcp_change *change, const char *netns_path,
			 char ret_line[PG_TCP_LINE]);
void pg_tcp_print_listen(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE]);
void pg_tcp_print_pod(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE]);
void pg_tcp_print_kubelet(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE]);

#endif
