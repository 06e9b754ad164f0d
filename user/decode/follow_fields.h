/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FOLLOW_FIELDS_H
#define PG_FOLLOW_FIELDS_H

#include "fields.h"
#include "follow.h"

/* What `packgate decode --follow` prints; docs/decode.md explains the names. */

/* The part "follow" of a packet. */
void pg_follow_note_fields(struct pg_fields *fields, const struct pg_follow_note *note);

/* One object with the member "connection"; the line is not ended. */
void pg_follow_report_fields(const struct pg_follow_report *report,
			     const struct pg_fields_writer *writer, FILE *out);

/* For eyes: one line below the packet's, and a few lines a connection; each ended. */
void pg_follow_note_line(const struct pg_follow_note *note, FILE *out);
void pg_follow_report_lines(const struct pg_follow_report *report, FILE *out);

#endif
