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
	PG_CLOSING_ANSWERING, /* CLOSE: every further closestream is answered for a while */
	PG_CLOSING_SILENT,    /* CLOSE: nothing is answered, the stream is forgotten */
};

enum pg_closing_input {
	PG_CLOSE_LOCAL,	   /* this end closes */
	PG_CLOSE_RECEIVED, /* a closestream came */
	PG_CLOSE_RETRY,	   /* the retry timer ran out, tries are left */
	PG_CLOSE_GAVE_UP,  /* the last retry timer ran out, or R1's time */
};

/*
 * How a stream opens (PROTOCOL section 1, "Opening a stream"). The client asks (INIT) until
 * streamopen comes; the server answers (OPEN) until anything of the stream comes.
 */
enum pg_opening {
	PG_OPENING_ASKED, /* client: openstream sent, resent on the retry timer */
	PG_OPENING_GIVEN, /* server: streamopen sent, not confirmed yet */
	PG_OPENING_READY,
	PG_OPENING_FAILED, /* client: refused, or never answered; the stream is forgotten */
};

enum pg_opening_input {
	PG_OPEN_ASK,	 /* openstream came */
	PG_OPEN_ANSWER,	 /* streamopen came */
	PG_OPEN_OTHER,	 /* another authenticated frame of the stream came */
	PG_OPEN_REFUSED, /* closestream came */
	PG_OPEN_RETRY,	 /* the retry timer ran out, tries are left */
	PG_OPEN_GAVE_UP, /* the last retry timer ran out */
};

enum pg_opening_send {
	PG_OPEN_SEND_NOTHING,
	PG_OPEN_SEND_OPENSTREAM,
	PG_OPEN_SEND_STREAMOPEN,
};

/* Moves *state and returns what is to be sent now. client: of this end. */
enum pg_opening_send pg_opening_step(enum pg_opening *state, bool client,
				     enum pg_opening_input input);

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
