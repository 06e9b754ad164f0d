/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DECODE_SOURCE_H
#define PG_DECODE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "dissect.h"
#include "error.h"

/* Where `packgate decode` takes its packets from: a capture file or an interface, by libpcap. */
struct decode_source;

struct decode_source_options {
	const char *file;      /* "-" is standard input; NULL: take interface */
	const char *interface; /* "any" is all of them */
	const char *filter;    /* a pcap filter expression, or NULL */
	bool promiscuous;
	int snap_bytes; /* of a packet that are kept, for an interface */
};

/*
 * Returns 0; -EINVAL for a filter that libpcap does not understand, -EPROTONOSUPPORT for a link
 * type that the decoder does not know, -EIO for what libpcap refuses; all with a sentence.
 */
int decode_source_open(const struct decode_source_options *options,
		       struct decode_source **ret_source, struct pg_error *error);
void decode_source_close(struct decode_source *source); /* NULL is ignored */

/*
 * Takes the next packet; its bytes stay until the next call. Returns 1; 0 if none came for a moment
 * (interfaces only: ask again); -ENODATA at the end of a file or after decode_source_stop; -EIO
 * with a sentence.
 */
int decode_source_next(struct decode_source *source, struct pg_capture *ret_capture,
		       struct pg_error *error);

/* Ends the reading; may be called by a signal handler. */
void decode_source_stop(struct decode_source *source);

/* What an interface counted: packets that passed the filter, and those lost for want of room. */
bool decode_source_counts(struct decode_source *source, uint32_t *ret_received, uint32_t *ret_lost);

#endif
