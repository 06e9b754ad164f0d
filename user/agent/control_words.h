/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONTROL_WORDS_H
#define PG_CONTROL_WORDS_H

#include "packgate/drop.h"
#include "packgate/session.h"
#include "packgate/shield.h"

/* Numbers of the contract as the words that the API and the metrics use; "unknown" otherwise. */
const char *pg_session_state_word(unsigned int state);
const char *pg_stream_state_word(unsigned int state);
const char *pg_policy_word(unsigned int policy);
const char *pg_aead_word(unsigned int aead);
const char *pg_drop_word(unsigned int drop);
const char *pg_shield_way_word(unsigned int way);

#endif
