// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>

#include "aead.h"
#include "control_words.h"
#include "packgate/wire.h"

static const char *word(const char *const *words, size_t count, unsigned int number)
{
	return number < count && words[number] ? words[number] : "unknown";
}

#define WORD(words, number) word(words, sizeof(words) / sizeof((words)[0]), number)

const char *pg_session_state_word(unsigned int state)
{
	static const char *const words[] = {
		[PG_SESSION_FREE] = "free",   [PG_SESSION_INIT] = "init",
		[PG_SESSION_OPEN] = "open",   [PG_SESSION_READY] = "ready",
		[PG_SESSION_CLOSE] = "close",
	};

	return WORD(words, state);
}

const char *pg_stream_state_word(unsigned int state)
{
	static const char *const words[] = {
		[PG_STREAM_FREE] = "free",	 [PG_STREAM_INIT] = "init",
		[PG_STREAM_OPEN] = "open",	 [PG_STREAM_READY] = "ready",
		[PG_STREAM_CLOSING] = "closing", [PG_STREAM_CLOSE] = "close",
	};

	return WORD(words, state);
}

const char *pg_policy_word(unsigned int policy)
{
	static const char *const words[] = {
#define PG_X(name, number, label, help) [number] = label,
		PG_POLICIES(PG_X)
#undef PG_X
	};

	return WORD(words, policy);
}

const char *pg_aead_word(unsigned int aead)
{
	const char *name = pg_aead_algorithm_name(aead);

	return name ? name : "unknown";
}

const char *pg_drop_word(unsigned int drop)
{
	static const char *const words[PG_DROP_SLOTS] = {
#define PG_X(name, number, label, help) [number] = label,
		PG_DROPS(PG_X)
#undef PG_X
	};

	return WORD(words, drop);
}

const char *pg_shield_way_word(unsigned int way)
{
	static const char *const words[] = {
#define PG_X(name, number, label, help) [number] = label,
		PG_SHIELD_WAYS(PG_X)
#undef PG_X
	};

	return WORD(words, way);
}
