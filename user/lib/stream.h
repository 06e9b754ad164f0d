/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_STREAM_H
#define PG_STREAM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How a stream closes, at either end (PROTOCOL section 1, "Closing a stream"): a pure state
 * machine, so that it can be checked exhaustively. The caller sends, keeps the timers and drops
 * the stream.
 */
enum pg_closing {
	PG_CLOSING_NO,	      /* open: no closestream seen or sent */
	PG_CLOSING_C1,	      /* closed here: closestream sent, resent on the retry timer */
	PG_CLOSING_C2,	      /* the peer's closestream answered, resent on the retry timer */
	PG_CLOSING_R1,	      /* the peer closed: answered once, waits for its confirmation */
	PG_CLOSING_ANSWERING, /* CLOSE: every further closestream is answered for 30 s */
	PG_CLOSING_SILENT,    /* CLOSE: nothing is answered, the stream is forgotten */
};

enum pg_closing_input {
	PG_CLOSE_LOCAL,	   /* this end closes */
	PG_CLOSE_RECEIVED, /* a closestream came */
	PG_CLOSE_RETRY,	   /* the retry timer ran out, tries are left */
	PG_CLOSE_GAVE_UP,  /* the last retry timer ran out, or R1's 30 s */
};

#define PG_CLOSE_TRIES	   5
#define PG_CLOSE_ANSWER_MS 30000

/* Moves *state and returns whether one closestream is to be sent now. */
bool pg_closing_step(enum pg_closing *state, enum pg_closing_input input);

static inline bool pg_closing_done(enum pg_closing state)
{
	return state == PG_CLOSING_ANSWERING || state == PG_CLOSING_SILENT;
}

static inline bool pg_closing_retries(enum pg_closing state)
{
	return state == PG_CLOSING_C1 || state == PG_CLOSING_C2;
}

#endif
