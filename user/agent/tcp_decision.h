/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TCP_DECISION_H
#define PG_TCP_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#include "netstat.h"

/*
 * What the kernel will do with the next packets of a TCP listener. Pure: numbers in, decisions out.
 * docs/tcp-queues.md has the rules in words and the experiments behind them; the network test
 * explain sends the packets and compares.
 *
 * Left aside: TCP Fast Open, a SYN that takes over a connection in TIME_WAIT (no limit of the SYN
 * queue holds for it), memory that runs out, and what a firewall or a BPF program decides before.
 */

struct pg_tcp_queues {
	uint32_t accept_length;
	uint32_t accept_limit; /* min(backlog, somaxconn) at the last listen() */
	uint32_t syn_length;
	uint32_t syn_young;
	bool defer_accept; /* TCP_DEFER_ACCEPT: the first bare ACK of a request is not taken */

	/* of the listener's namespace, now */
	uint32_t somaxconn;
	int32_t max_syn_backlog;
	uint8_t syncookies; /* 0, 2, or anything else, which is as 1 */
	bool abort_on_overflow;
	uint8_t synack_retries;
};

/* X(NAME, word) */
#define PG_TCP_VERDICTS(X)      \
	X(QUEUED, "queued")     \
	X(COOKIE, "cookie")     \
	X(ACCEPTED, "accepted") \
	X(DROPPED, "dropped")   \
	X(IGNORED, "ignored")   \
	X(RESET, "reset")

enum pg_tcp_verdict {
#define PG_X(name, word) PG_TCP_##name,
	PG_TCP_VERDICTS(PG_X)
#undef PG_X
		PG_TCP_VERDICT_COUNT
};

#define PG_TCP_BIT(field) (1U << PG_NETSTAT_##field)
#define PG_TCP_OVERFLOW	  (PG_TCP_BIT(listen_overflows) | PG_TCP_BIT(listen_drops))

/*
 * Everything that can happen, with the counters each packet moves by one (bits of enum
 * pg_netstat_field). X(NAME, word, verdict, counters, why). A word is never reused.
 */
#define PG_TCP_OUTCOMES(X)                                                                      \
	X(SYN_QUEUED, "queued", QUEUED, 0, "the SYN queue has room")                            \
	X(SYN_COOKIE_ALWAYS, "cookie_always", COOKIE,                                           \
	  PG_TCP_BIT(reqq_full_do_cookies) | PG_TCP_BIT(syncookies_sent),                       \
	  "tcp_syncookies is 2, so nothing is ever queued")                                     \
	X(SYN_COOKIE_FULL, "cookie_syn_queue_full", COOKIE,                                     \
	  PG_TCP_BIT(reqq_full_do_cookies) | PG_TCP_BIT(syncookies_sent),                       \
	  "the SYN queue is full and tcp_syncookies is on")                                     \
	X(SYN_DROP_ACCEPT, "dropped_accept_queue_full", DROPPED, PG_TCP_OVERFLOW,               \
	  "the accept queue is full")                                                           \
	X(SYN_DROP_ACCEPT_COOKIE, "dropped_no_cookie", DROPPED,                                 \
	  PG_TCP_OVERFLOW | PG_TCP_BIT(reqq_full_do_cookies),                                   \
	  "the accept queue is full, and then no cookie is sent either")                        \
	X(SYN_DROP_FULL, "dropped_syn_queue_full", DROPPED,                                     \
	  PG_TCP_BIT(reqq_full_drop) | PG_TCP_BIT(listen_drops),                                \
	  "the SYN queue is full and tcp_syncookies is 0")                                      \
	X(SYN_DROP_RESERVED, "dropped_reserved", DROPPED, PG_TCP_BIT(listen_drops),             \
	  "without cookies the last quarter of tcp_max_syn_backlog is kept for known clients")  \
	X(ACK_ACCEPTED, "accepted", ACCEPTED, PG_TCP_BIT(passive_opens),                        \
	  "the accept queue has room")                                                          \
	X(ACK_DEFERRED, "ignored_deferred", IGNORED, PG_TCP_BIT(defer_accept_drops),            \
	  "TCP_DEFER_ACCEPT waits for data")                                                    \
	X(ACK_IGNORED, "ignored_accept_queue_full", IGNORED, PG_TCP_OVERFLOW,                   \
	  "the accept queue is full: the request stays and its SYN-ACK is sent again")          \
	X(ACK_RESET, "reset_accept_queue_full", RESET,                                          \
	  PG_TCP_OVERFLOW | PG_TCP_BIT(embryonic_rsts),                                         \
	  "the accept queue is full and tcp_abort_on_overflow is 1")                            \
	X(COOKIE_ACCEPTED, "cookie_accepted", ACCEPTED,                                         \
	  PG_TCP_BIT(syncookies_received) | PG_TCP_BIT(passive_opens),                          \
	  "the cookie is right and the accept queue has room")                                  \
	X(COOKIE_DROPPED, "cookie_dropped", DROPPED,                                            \
	  PG_TCP_BIT(syncookies_received) | PG_TCP_OVERFLOW,                                    \
	  "the accept queue is full: no SYN-ACK comes again, and tcp_abort_on_overflow is not " \
	  "asked")                                                                              \
	X(COOKIE_RESET, "cookie_reset", RESET, 0, "tcp_syncookies is 0: no cookie is looked at")

enum pg_tcp_outcome {
#define PG_X(name, word, verdict, counters, why) PG_TCP_##name,
	PG_TCP_OUTCOMES(PG_X)
#undef PG_X
		PG_TCP_OUTCOME_COUNT
};

struct pg_tcp_outcome_info {
	const char *word;
	enum pg_tcp_verdict verdict;
	uint32_t counters;
	const char *why;
};

extern const struct pg_tcp_outcome_info pg_tcp_outcome_info[PG_TCP_OUTCOME_COUNT];

const char *pg_tcp_verdict_word(enum pg_tcp_verdict verdict);

/* What a limit comes from. X(NAME, word) */
#define PG_TCP_LIMITERS(X)        \
	X(UNUSED, "unused")       \
	X(BACKLOG, "backlog")     \
	X(SOMAXCONN, "somaxconn") \
	X(MAX_SYN_BACKLOG, "tcp_max_syn_backlog")

enum pg_tcp_limiter {
#define PG_X(name, word) PG_TCP_BY_##name,
	PG_TCP_LIMITERS(PG_X)
#undef PG_X
		PG_TCP_LIMITER_COUNT
};

const char *pg_tcp_limiter_word(enum pg_tcp_limiter limiter);

struct pg_tcp_decision {
	uint64_t accept_room;	  /* connections the accept queue holds: its limit and one */
	uint32_t syn_room;	  /* requests it takes from clients nobody knows; 0 = unused */
	uint32_t syn_room_proven; /* from clients whose round trip tcp_metrics knows */
	bool accept_full;
	bool syn_full; /* for clients nobody knows; false while the queue is unused */
	/*
	 * The kernel keeps only the smaller of backlog and somaxconn: a limit below somaxconn was
	 * the backlog's, unless somaxconn was raised since; one at somaxconn or above, somaxconn's.
	 */
	enum pg_tcp_limiter accept_limiter;
	enum pg_tcp_limiter syn_limiter;
	/*
	 * Times the SYN-ACK of a request is sent again before the request is given up, after 1, 2,
	 * 4... seconds. While the SYN queue is more than half full, requests get fewer the fewer
	 * are young. An application's TCP_SYNCNT, which is not known here, replaces
	 * tcp_synack_retries.
	 */
	uint8_t synack_retries;
	enum pg_tcp_outcome syn;
	enum pg_tcp_outcome syn_proven;
	enum pg_tcp_outcome ack;	/* the final ACK of a request in the SYN queue */
	enum pg_tcp_outcome cookie_ack; /* the final ACK of a cookie, if it is right */
};

void pg_tcp_decide(const struct pg_tcp_queues *queues, struct pg_tcp_decision *ret_decision);

#endif
