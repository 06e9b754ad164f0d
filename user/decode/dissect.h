/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_DISSECT_H
#define PG_DISSECT_H

#include <stddef.h>
#include <stdint.h>

#include "decoded.h"
#include "error.h"
#include "secrets.h"

/*
 * The decoder behind `packgate decode`: bytes of a packet in, struct pg_decoded out. It has no
 * clock, no files and no threads. What it remembers between packets (fragments, connections) is
 * bounded. Its input is hostile: no length is believed before it was compared.
 */
struct pg_dissector;

#define PG_PORTS_MAX 16

struct pg_ports {
	uint16_t port[PG_PORTS_MAX];
	size_t count;
};

bool pg_ports_has(const struct pg_ports *ports, uint16_t port);

struct pg_dissect_options {
	struct pg_ports session_ports;	  /* UDP ports of endpoints */
	struct pg_ports message_ports;	  /* whose TCP streams and packets hold messages */
	bool guard;			  /* their guard is on */
	const struct pg_secrets *secrets; /* may be NULL; outlive the dissector */
	uint64_t hash_key[2];		  /* random */
};

/* A packet as captured; bytes holds `captured` of the `length` there were. */
struct pg_capture {
	const uint8_t *bytes;
	uint32_t captured, length;
	uint64_t time_ns; /* since 1970 */
	enum pg_link link;
};

/* Returns 0, or a negative errno with a sentence. */
int pg_dissector_new(const struct pg_dissect_options *options, struct pg_dissector **ret_dissector,
		     struct pg_error *error);
void pg_dissector_free(struct pg_dissector *dissector); /* wipes plaintexts; NULL is ignored */

/*
 * Decodes one packet. ret_decoded is valid until the next call, as long as the packet's bytes are.
 * captured > length is taken as captured = length.
 */
void pg_dissect(struct pg_dissector *dissector, const struct pg_capture *capture,
		struct pg_decoded *ret_decoded);

/* What the bounds cost so far: see reassembly.h and connections.h. */
uint64_t pg_dissector_datagrams_given_up(const struct pg_dissector *dissector);
uint64_t pg_dissector_connections_forgotten(const struct pg_dissector *dissector);

#endif
