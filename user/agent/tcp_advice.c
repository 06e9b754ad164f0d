// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tcp_advice.h"

#define LIMIT_MIN 4096U
#define LIMIT_MAX (1U << 30)

const struct pg_tcp_reason_info pg_tcp_reason_info[PG_TCP_REASON_COUNT] = {
#define PG_X(name, word, needed, why) { word, needed, why },
	PG_TCP_REASONS(PG_X)
#undef PG_X
};

static const struct setting {
	const char *word;
	const char *sysctl;
	bool safe;
} settings[PG_TCP_SETTING_COUNT] = {
#define PG_X(name, word, sysctl, safe) { word, sysctl, safe },
	PG_TCP_SETTINGS(PG_X)
#undef PG_X
};

static uint32_t larger_limit(uint32_t limit)
{
	uint32_t larger = LIMIT_MIN;

	while (larger < LIMIT_MAX && larger / 2 < limit)
		larger *= 2;
	return larger;
}

/* The smallest tcp_max_syn_backlog that lets as many requests wait as the backlog does. */
static uint32_t enough_syn_backlog(uint32_t accept_limit)
{
	uint32_t limit = accept_limit < LIMIT_MAX ? accept_limit : LIMIT_MAX;
	uint32_t enough = limit + limit / 3;

	while (enough - (enough >> 2) < limit)
		enough++;
	return enough;
}

static void add_change(struct pg_tcp_advice *advice, enum pg_tcp_setting setting, uint32_t value)
{
	advice->changes[advice->change_count++] = (struct pg_tcp_change){ setting, value };
}

static void add_larger_limit(struct pg_tcp_advice *advice, const struct pg_tcp_queues *queues)
{
	uint32_t limit = larger_limit(queues->accept_limit);

	if (queues->somaxconn < limit)
		add_change(advice, PG_TCP_SET_SOMAXCONN, limit);
	add_change(advice, PG_TCP_SET_BACKLOG, limit);
}

static void add_larger_syn_queue(struct pg_tcp_advice *advice, const struct pg_tcp_queues *queues,
				 const struct pg_tcp_decision *decision)
{
	if (decision->syn_limiter == PG_TCP_BY_MAX_SYN_BACKLOG)
		add_change(advice, PG_TCP_SET_MAX_SYN_BACKLOG,
			   enough_syn_backlog(queues->accept_limit));
	else
		add_larger_limit(advice, queues);
}

/* What asks for a longer accept queue is said once, by the most pressing reason. */
static bool applies(enum pg_tcp_reason reason, const struct pg_tcp_queues *queues,
		    const struct pg_tcp_decision *decision)
{
	bool by_max_syn_backlog = decision->syn_limiter == PG_TCP_BY_MAX_SYN_BACKLOG;
	bool full = decision->accept_full || (decision->syn_full && !by_max_syn_backlog);
	bool lowered = queues->accept_limit > queues->somaxconn;

	switch (reason) {
	case PG_TCP_FOR_ACCEPT_FULL:
		return decision->accept_full;
	case PG_TCP_FOR_COOKIES_OFF:
		return queues->syncookies == 0;
	case PG_TCP_FOR_COOKIES_ALWAYS:
		return queues->syncookies == 2;
	case PG_TCP_FOR_SYN_FULL:
		return decision->syn_full && (!decision->accept_full || by_max_syn_backlog);
	case PG_TCP_FOR_ABORT:
		return queues->abort_on_overflow;
	case PG_TCP_FOR_LOWERED:
		return !full && lowered;
	case PG_TCP_FOR_RAISE:
		return !full && !lowered;
	case PG_TCP_FOR_RAISE_SYN:
		return !decision->syn_full && by_max_syn_backlog;
	default:
		return false;
	}
}

static void add_changes(struct pg_tcp_advice *advice, const struct pg_tcp_queues *queues,
			const struct pg_tcp_decision *decision)
{
	switch (advice->reason) {
	case PG_TCP_FOR_COOKIES_OFF:
	case PG_TCP_FOR_COOKIES_ALWAYS:
		add_change(advice, PG_TCP_SET_SYNCOOKIES, 1);
		break;
	case PG_TCP_FOR_SYN_FULL:
	case PG_TCP_FOR_RAISE_SYN:
		add_larger_syn_queue(advice, queues, decision);
		break;
	case PG_TCP_FOR_ABORT:
		add_change(advice, PG_TCP_SET_ABORT_ON_OVERFLOW, 0);
		break;
	case PG_TCP_FOR_LOWERED:
		add_change(advice, PG_TCP_SET_SOMAXCONN, queues->accept_limit);
		break;
	default:
		add_larger_limit(advice, queues);
	}
}

size_t pg_tcp_advise(const struct pg_tcp_queues *queues, const struct pg_tcp_decision *decision,
		     struct pg_tcp_advice ret_advice[PG_TCP_REASON_COUNT])
{
	size_t count = 0;
	int reason;

	for (reason = 0; reason < PG_TCP_REASON_COUNT; reason++) {
		if (!applies(reason, queues, decision))
			continue;
		ret_advice[count] = (struct pg_tcp_advice){ .reason = reason };
		add_changes(&ret_advice[count++], queues, decision);
	}
	return count;
}

const char *pg_tcp_setting_word(enum pg_tcp_setting setting)
{
	return settings[setting].word;
}

/* Quotes for a path that a shell would take apart; NULL: no line may hold it. */
static const char *quotes_for(const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._:@+-";
	const char *c;

	for (c = path; *c; c++)
		if (!isprint((unsigned char)*c) || *c == '\'')
			return NULL;
	return path[strspn(path, plain)] ? "'" : "";
}

void pg_tcp_print_sysctl(const struct pg_tcp_change *change, const char *netns_path,
			 char ret_line[PG_TCP_LINE])
{
	const char *sysctl = settings[change->setting].sysctl;
	const char *quote = netns_path ? quotes_for(netns_path) : "";

	ret_line[0] = '\0';
	if (!sysctl || !quote)
		return;
	snprintf(ret_line, PG_TCP_LINE, "%s%s%s%s%ssysctl -w %s=%u",
		 netns_path ? "nsenter --net=" : "", quote, netns_path ? netns_path : "", quote,
		 netns_path ? " " : "", sysctl, change->value);
}

void pg_tcp_print_listen(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE])
{
	ret_line[0] = '\0';
	if (!settings[change->setting].sysctl)
		snprintf(ret_line, PG_TCP_LINE, "listen(fd, %u)", change->value);
}

void pg_tcp_print_pod(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE])
{
	const char *sysctl = settings[change->setting].sysctl;

	ret_line[0] = '\0';
	if (sysctl)
		snprintf(ret_line, PG_TCP_LINE,
			 "securityContext: { sysctls: [{ name: %s, value: \"%u\" }] }", sysctl,
			 change->value);
}

void pg_tcp_print_kubelet(const struct pg_tcp_change *change, char ret_line[PG_TCP_LINE])
{
	const struct setting *setting = &settings[change->setting];

	ret_line[0] = '\0';
	if (setting->sysctl && !setting->safe)
		snprintf(ret_line, PG_TCP_LINE, "--allowed-unsafe-sysctls=%s", setting->sysctl);
}
