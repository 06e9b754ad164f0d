/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_FRAGMENTS_H
#define PG_FRAGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "packgate/wire.h"

/*
 * Packets that travel in several frames (PROTOCOL section 1, "Receiving"): putting the fragments
 * together, and the bits of a fragment ack in both directions. Fragment ids count from 1.
 */

#define PG_FRAGMENT_ACK_MAX 64 /* bytes */

/* A set of fragment ids; id k is bit k - 1. */
struct pg_fragment_set {
	uint64_t words[PG_FRAGMENTS_MAX / 64];
};

static inline bool pg_fragment_set_has(const struct pg_fragment_set *set, uint32_t id)
{
	return set->words[(id - 1) / 64] >> ((id - 1) % 64) & 1;
}

static inline void pg_fragment_set_add(struct pg_fragment_set *set, uint32_t id)
{
	set->words[(id - 1) / 64] |= 1ull << ((id - 1) % 64);
}

/* One packet on its way in. */
struct pg_assembly;

int pg_assembly_new(struct pg_assembly **ret_assembly); /* 0 or -ENOMEM */
void pg_assembly_free(struct pg_assembly *assembly);	/* NULL is ignored */

/*
 * Takes a copy of a fragment, 1 to PG_FRAGMENTS_MAX; last: it is marked as the last one. 0;
 * -EEXIST when it is there already; -EINVAL when it contradicts the known last one, or what is
 * there contradicts it; -ENOMEM.
 */
int pg_assembly_put(struct pg_assembly *assembly, uint32_t id, bool last, const uint8_t *data,
		    uint32_t bytes);

/* What pg_assembly_put would say, without taking it. */
int pg_assembly_check(const struct pg_assembly *assembly, uint32_t id, bool last);

/* Memory that pg_assembly_put would add, at most; NULL: to make the assembly too. */
uint64_t pg_assembly_cost(const struct pg_assembly *assembly, uint32_t id, uint32_t bytes);

/* Whether it is complete, or would be with this fragment added. */
bool pg_assembly_complete(const struct pg_assembly *assembly);
bool pg_assembly_completed_by(const struct pg_assembly *assembly, uint32_t id, bool last);

uint32_t pg_assembly_bytes(const struct pg_assembly *assembly);	 /* of the fragments held */
uint64_t pg_assembly_memory(const struct pg_assembly *assembly); /* all that it holds */

/* The whole packet, pg_assembly_bytes long; only when complete. Frees fragments as it goes. */
void pg_assembly_drain(struct pg_assembly *assembly, uint8_t *out);

/*
 * The payload of the ack that tells what is held, at least one fragment: returns its length,
 * *ret_id is the id it names, *ret_last whether it carries FIN.
 */
uint32_t pg_assembly_ack(const struct pg_assembly *assembly, uint8_t ret_bits[PG_FRAGMENT_ACK_MAX],
			 uint32_t *ret_id, bool *ret_last);

/*
 * Reads a fragment ack of a packet of total fragments, of which the first sent were sent. 0, or
 * -EINVAL for one that contradicts itself or the packet.
 */
int pg_fragment_ack_read(uint32_t id, bool last, const uint8_t *bits, uint32_t bytes,
			 uint32_t total, uint32_t sent, struct pg_fragment_set *ret_set);

#endif
