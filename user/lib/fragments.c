// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fragments.h"

#define SLOTS_FIRST 8

struct part {
	uint32_t bytes;
	uint8_t data[];
};

struct pg_assembly {
	uint32_t largest; /* id held */
	uint32_t last;	  /* 0 = not known yet */
	uint32_t count, bytes;
	uint32_t slots;
	uint64_t memory;
	struct part **parts; /* by id - 1 */
};

int pg_assembly_new(struct pg_assembly **ret_assembly)
{
	struct pg_assembly *assembly = calloc(1, sizeof(*assembly));

	if (!assembly)
		return -ENOMEM;
	assembly->memory = sizeof(*assembly);
	*ret_assembly = assembly;
	return 0;
}

void pg_assembly_free(struct pg_assembly *assembly)
{
	if (!assembly)
		return;
	for (uint32_t i = 0; i < assembly->slots; i++)
		free(assembly->parts[i]);
	free(assembly->parts);
	free(assembly);
}

static uint32_t slots_for(const struct pg_assembly *assembly, uint32_t id)
{
	uint32_t slots = assembly->slots ? assembly->slots : SLOTS_FIRST;

	while (slots < id)
		slots *= 2;
	return slots;
}

static int make_room(struct pg_assembly *assembly, uint32_t id)
{
	uint32_t slots = slots_for(assembly, id), added = slots - assembly->slots;
	struct part **parts;

	if (!added)
		return 0;
	parts = realloc(assembly->parts, slots * sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	memset(parts + assembly->slots, 0, added * sizeof(*parts));
	assembly->parts = parts;
	assembly->slots = slots;
	assembly->memory += added * sizeof(*parts);
	return 0;
}

static bool held(const struct pg_assembly *assembly, uint32_t id)
{
	return id <= assembly->slots && assembly->parts[id - 1];
}

int pg_assembly_check(const struct pg_assembly *assembly, uint32_t id, bool last)
{
	if (assembly->last && (id > assembly->last || last != (id == assembly->last)))
		return -EINVAL;
	if (last && id < assembly->largest)
		return -EINVAL;
	if (!held(assembly, id))
		return 0;
	/* the same id came before as one that is not the last */
	return last && !assembly->last ? -EINVAL : -EEXIST;
}

int pg_assembly_put(struct pg_assembly *assembly, uint32_t id, bool last, const uint8_t *data,
		    uint32_t bytes)
{
	int err = pg_assembly_check(assembly, id, last);
	struct part *part;

	if (err)
		return err;
	part = malloc(sizeof(*part) + bytes);
	if (!part || make_room(assembly, id)) {
		free(part);
		return -ENOMEM;
	}
	part->bytes = bytes;
	memcpy(part->data, data, bytes);
	assembly->parts[id - 1] = part;
	assembly->memory += sizeof(*part) + bytes;
	assembly->bytes += bytes;
	assembly->count++;
	if (id > assembly->largest)
		assembly->largest = id;
	if (last)
		assembly->last = id;
	return 0;
}

uint64_t pg_assembly_cost(const struct pg_assembly *assembly, uint32_t id, uint32_t bytes)
{
	static const struct pg_assembly none;
	const struct pg_assembly *from = assembly ? assembly : &none;

	return sizeof(struct part) + bytes + (assembly ? 0 : sizeof(*assembly)) +
	       (slots_for(from, id) - from->slots) * sizeof(struct part *);
}

bool pg_assembly_complete(const struct pg_assembly *assembly)
{
	return assembly->last && assembly->count == assembly->last;
}

bool pg_assembly_completed_by(const struct pg_assembly *assembly, uint32_t id, bool last)
{
	uint32_t end = last ? id : assembly->last;

	return !pg_assembly_check(assembly, id, last) && end && assembly->count + 1 == end;
}

uint32_t pg_assembly_bytes(const struct pg_assembly *assembly)
{
	return assembly->bytes;
}

uint64_t pg_assembly_memory(const struct pg_assembly *assembly)
{
	return assembly->memory;
}

void pg_assembly_drain(struct pg_assembly *assembly, uint8_t *out)
{
	for (uint32_t i = 0; i < assembly->last; i++) {
		struct part *part = assembly->parts[i];

		memcpy(out, part->data, part->bytes);
		out += part->bytes;
		assembly->memory -= sizeof(*part) + part->bytes;
		assembly->parts[i] = NULL;
		free(part);
	}
	assembly->count = assembly->bytes = 0;
}

uint32_t pg_assembly_ack(const struct pg_assembly *assembly, uint8_t ret_bits[PG_FRAGMENT_ACK_MAX],
			 uint32_t *ret_id, bool *ret_last)
{
	uint32_t id = assembly->largest, bytes = (id + 7) / 8;

	memset(ret_bits, 0, bytes);
	for (uint32_t k = 0; k < id; k++)
		if (held(assembly, id - k))
			ret_bits[k / 8] |= 0x80 >> k % 8;
	*ret_id = id;
	*ret_last = assembly->last;
	return bytes;
}

int pg_fragment_ack_read(uint32_t id, bool last, const uint8_t *bits, uint32_t bytes,
			 uint32_t total, uint32_t sent, struct pg_fragment_set *ret_set)
{
	struct pg_fragment_set set = { 0 };

	if (!id || id > total || bytes != (id + 7) / 8 || last != (id == total))
		return -EINVAL;
	/* the id it names is one that it has */
	if (!(bits[0] & 0x80))
		return -EINVAL;
	for (uint32_t k = 0; k < bytes * 8; k++) {
		if (!(bits[k / 8] & 0x80 >> k % 8))
			continue;
		if (k >= id || id - k > sent)
			return -EINVAL;
		pg_fragment_set_add(&set, id - k);
	}
	*ret_set = set;
	return 0;
}
