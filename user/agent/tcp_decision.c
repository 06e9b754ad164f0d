// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "packgate/tcpq.h"
#include "tcp_decision.h"

#define COOKIES_NEVER  0
#define COOKIES_ALWAYS 2

/* a SYN queue counts as made for at least so many requests; so few retries are never cut */
#define MADE_FOR_MIN 8
#define RETRIES_MIN  2

const struct pg_tcp_outcome_info pg_tcp_outcome_info[PG_TCP_OUTCOME_COUNT] = {
#define PG_X(name, word, verdict, counters, why) { word, PG_TCP_##verdict, counters, why },
	PG_TCP_OUTCOMES(PG_X)
#undef PG_X
};

const char *pg_tcp_verdict_word(enum pg_tcp_verdict verdict)
{
	static const char *const words[] = {
#define PG_X(name, word) word,
		PG_TCP_VERDICTS(PG_X)
#undef PG_X
	};

	return words[verdict];
}

const char *pg_tcp_limiter_word(enum pg_tcp_limiter limiter)
{
	static const char *const words[] = {
#define PG_X(name, word) word,
		PG_TCP_LIMITERS(PG_X)
#undef PG_X
	};

	return words[limiter];
}

static void find_limits(const struct pg_tcp_queues *queues, struct pg_tcp_decision *decision)
{
	uint32_t cookies = queues->syncookies, proven;

	/* known clients are asked about nothing but the backlog, as if cookies were on */
	proven = cookies == COOKIES_NEVER ? 1 : cookies;
	decision->accept_room = (uint64_t)queues->accept_limit + 1;
	decision->accept_full = queues->accept_length > queues->accept_limit;
	decision->syn_room =
		pg_tcpq_syn_limit(queues->accept_limit, cookies, queues->max_syn_backlog);
	decision->syn_room_proven =
		pg_tcpq_syn_limit(queues->accept_limit, proven, queues->max_syn_backlog);
	decision->syn_full = cookies != COOKIES_ALWAYS && queues->syn_length >= decision->syn_room;
}

static void find_limiters(const struct pg_tcp_queues *queues, struct pg_tcp_decision *decision)
{
	decision->accept_limiter =
		queues->accept_limit < queues->somaxconn ? PG_TCP_BY_BACKLOG : PG_TCP_BY_SOMAXCONN;
	if (queues->syncookies == COOKIES_ALWAYS)
		decision->syn_limiter = PG_TCP_BY_UNUSED;
	else if (decision->syn_room < decision->syn_room_proven)
		decision->syn_limiter = PG_TCP_BY_MAX_SYN_BACKLOG;
	else
		decision->syn_limiter = decision->accept_limiter;
}

static uint8_t find_retries(const struct pg_tcp_queues *queues)
{
	uint64_t made_for =
		queues->accept_limit > MADE_FOR_MIN ? queues->accept_limit : MADE_FOR_MIN;
	uint64_t length = queues->syn_length, young = 2ULL * queues->syn_young;
	uint8_t retries = queues->synack_retries;

	if (2 * length <= made_for)
		return retries;
	while (retries > RETRIES_MIN && length >= young) {
		retries--;
		young *= 2;
	}
	return retries;
}

/* In the kernel's order: the SYN queue, the accept queue, the part kept for known clients. */
static enum pg_tcp_outcome decide_syn(const struct pg_tcp_queues *queues, bool proven,
				      const struct pg_tcp_decision *decision)
{
	bool always = queues->syncookies == COOKIES_ALWAYS;
	bool full = !always && queues->syn_length >= decision->syn_room_proven;

	if (full && queues->syncookies == COOKIES_NEVER)
		return PG_TCP_SYN_DROP_FULL;
	if (decision->accept_full)
		return full || always ? PG_TCP_SYN_DROP_ACCEPT_COOKIE : PG_TCP_SYN_DROP_ACCEPT;
	if (always)
		return PG_TCP_SYN_COOKIE_ALWAYS;
	if (full)
		return PG_TCP_SYN_COOKIE_FULL;
	return decision->syn_full && !proven ? PG_TCP_SYN_DROP_RESERVED : PG_TCP_SYN_QUEUED;
}

static enum pg_tcp_outcome decide_ack(const struct pg_tcp_queues *queues, bool accept_full)
{
	if (queues->defer_accept)
		return PG_TCP_ACK_DEFERRED;
	if (!accept_full)
		return PG_TCP_ACK_ACCEPTED;
	return queues->abort_on_overflow ? PG_TCP_ACK_RESET : PG_TCP_ACK_IGNORED;
}

static enum pg_tcp_outcome decide_cookie_ack(const struct pg_tcp_queues *queues, bool accept_full)
{
	if (queues->syncookies == COOKIES_NEVER)
		return PG_TCP_COOKIE_RESET;
	return accept_full ? PG_TCP_COOKIE_DROPPED : PG_TCP_COOKIE_ACCEPTED;
}

void pg_tcp_decide(const struct pg_tcp_queues *queues, struct pg_tcp_decision *ret_decision)
{
	struct pg_tcp_decision decision = { 0 };

	find_limits(queues, &decision);
	find_limiters(queues, &decision);
	decision.synack_retries = find_retries(queues);
	decision.syn = decide_syn(queues, false, &decision);
	decision.syn_proven = decide_syn(queues, true, &decision);
	decision.ack = decide_ack(queues, decision.accept_full);
	decision.cookie_ack = decide_cookie_ack(queues, decision.accept_full);
	*ret_decision = decision;
}
