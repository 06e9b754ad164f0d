// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reassembly.h"

#define DATAGRAM_MAX 65535
#define UNIT_BYTES   8
#define ROOM_BYTES   (DATAGRAM_MAX + 1)
#define HAVE_BYTES   (ROOM_BYTES / UNIT_BYTES / 8)

struct key {
	uint8_t source[16], target[16];
	uint32_t id;
	uint16_t tags[PG_TAGS_MAX];
	uint8_t version;
	uint8_t protocol; /* IPv4 only: IPv6 knows it from the first fragment */
	uint8_t zero[2];
};

struct datagram {
	struct key key;
	bool used;
	uint64_t born_ns, born; /* by capture time, and by order */
	uint32_t total;		/* bytes, 0 = the last fragment is not here */
	uint32_t end;		/* of the farthest fragment */
	uint32_t units;		/* that are here */
	uint32_t fragments;
	uint8_t protocol;
	uint8_t *bytes; /* ROOM_BYTES, made when first needed */
	uint8_t *have;	/* a bit a unit, in the same memory */
};

struct pg_reassembly {
	struct datagram datagrams[PG_REASSEMBLIES_MAX];
	uint64_t order, given_up;
};

int pg_reassembly_new(struct pg_reassembly **ret_reassembly)
{
	struct pg_reassembly *reassembly = calloc(1, sizeof(*reassembly));

	if (!reassembly)
		return -ENOMEM;
	*ret_reassembly = reassembly;
	return 0;
}

void pg_reassembly_free(struct pg_reassembly *reassembly)
{
	if (!reassembly)
		return;
	for (size_t i = 0; i < PG_REASSEMBLIES_MAX; i++)
		free(reassembly->datagrams[i].bytes);
	free(reassembly);
}

uint64_t pg_reassembly_given_up(const struct pg_reassembly *reassembly)
{
	return reassembly->given_up;
}

static struct key key_of(const struct pg_decoded *decoded)
{
	const struct pg_decoded_ip *ip = &decoded->ip;
	struct key key;

	memset(&key, 0, sizeof(key));
	memcpy(key.source, ip->source, sizeof(key.source));
	memcpy(key.target, ip->target, sizeof(key.target));
	key.id = ip->id;
	key.version = ip->version;
	key.protocol = ip->version == 4 ? ip->protocol : 0;
	for (uint8_t i = 0; i < decoded->link.tag_count; i++)
		key.tags[i] = decoded->link.tags[i].id;
	return key;
}

static void give_up(struct pg_reassembly *reassembly, struct datagram *datagram)
{
	datagram->used = false;
	reassembly->given_up++;
}

/* The datagram of a key; else a free place, or the oldest one's. */
static struct datagram *find(struct pg_reassembly *reassembly, const struct key *key,
			     uint64_t now_ns)
{
	struct datagram *oldest = NULL, *vacant = NULL;

	for (size_t i = 0; i < PG_REASSEMBLIES_MAX; i++) {
		struct datagram *datagram = &reassembly->datagrams[i];

		if (datagram->used && now_ns > datagram->born_ns &&
		    now_ns - datagram->born_ns > PG_REASSEMBLY_NS)
			give_up(reassembly, datagram);
		if (!datagram->used)
			vacant = datagram;
		else if (!memcmp(&datagram->key, key, sizeof(*key)))
			return datagram;
		else if (!oldest || datagram->born < oldest->born)
			oldest = datagram;
	}
	if (vacant)
		return vacant;
	give_up(reassembly, oldest);
	return oldest;
}

static bool begin(struct pg_reassembly *reassembly, struct datagram *datagram,
		  const struct key *key, uint64_t now_ns)
{
	uint8_t *bytes = datagram->bytes ? datagram->bytes : malloc(ROOM_BYTES + HAVE_BYTES);

	if (!bytes)
		return false;
	memset(datagram, 0, sizeof(*datagram));
	datagram->bytes = bytes;
	datagram->have = memset(bytes + ROOM_BYTES, 0, HAVE_BYTES);
	datagram->key = *key;
	datagram->used = true;
	datagram->born_ns = now_ns;
	datagram->born = reassembly->order++;
	return true;
}

static bool has_unit(const struct datagram *datagram, uint32_t unit)
{
	return datagram->have[unit / 8] >> unit % 8 & 1;
}

/* How many of the fragment's units are here already. */
static uint32_t count_units(const struct datagram *datagram, uint32_t first, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = first; i < first + n; i++)
		count += has_unit(datagram, i);
	return count;
}

enum outcome { STORED, DUPLICATE, CONTRADICTS };

static enum outcome store(struct datagram *datagram, const struct pg_decoded_ip *ip,
			  const struct pg_span *part)
{
	uint32_t first = ip->fragment_offset / UNIT_BYTES;
	uint32_t n = (part->length + UNIT_BYTES - 1) / UNIT_BYTES;
	uint32_t end = ip->fragment_offset + part->length;
	uint32_t here = count_units(datagram, first, n);

	if (datagram->total &&
	    (end > datagram->total || (!ip->more_fragments && end != datagram->total)))
		return CONTRADICTS;
	if (!ip->more_fragments && end < datagram->end)
		return CONTRADICTS;
	if (here)
		return here == n && !memcmp(datagram->bytes + ip->fragment_offset, part->at,
					    part->length)
			       ? DUPLICATE
			       : CONTRADICTS;
	memcpy(datagram->bytes + ip->fragment_offset, part->at, part->length);
	for (uint32_t i = first; i < first + n; i++)
		datagram->have[i / 8] |= 1 << i % 8;
	datagram->units += n;
	datagram->fragments++;
	datagram->end = end > datagram->end ? end : datagram->end;
	datagram->total = ip->more_fragments ? datagram->total : end;
	if (!ip->fragment_offset)
		datagram->protocol = ip->protocol;
	return STORED;
}

static bool well_formed(struct pg_decoded *decoded, const struct pg_span *part)
{
	if (decoded->ip.more_fragments && (!part->length || part->length % UNIT_BYTES)) {
		pg_fault(decoded, PG_FAULT_FRAGMENT_SIZE);
		return false;
	}
	if (decoded->ip.fragment_offset + part->length > DATAGRAM_MAX) {
		pg_fault(decoded, PG_FAULT_FRAGMENT_END);
		return false;
	}
	if (part->there < part->length) {
		decoded->cut = true;
		return false;
	}
	return part->length > 0;
}

bool pg_reassembly_add(struct pg_reassembly *reassembly, struct pg_decoded *decoded,
		       struct pg_span *part)
{
	struct key key = key_of(decoded);
	struct datagram *datagram;

	if (!well_formed(decoded, part))
		return false;
	datagram = find(reassembly, &key, decoded->time_ns);
	if (!datagram->used && !begin(reassembly, datagram, &key, decoded->time_ns))
		return false;
	if (store(datagram, &decoded->ip, part) == CONTRADICTS) {
		pg_fault(decoded, PG_FAULT_FRAGMENT_OVERLAP);
		give_up(reassembly, datagram);
		return false;
	}
	if (!datagram->total || datagram->units < (datagram->total + UNIT_BYTES - 1) / UNIT_BYTES)
		return false;
	datagram->used = false;
	decoded->ip.protocol = datagram->protocol;
	decoded->reassembled_fragments = datagram->fragments;
	decoded->reassembled_bytes = datagram->total;
	*part = (struct pg_span){ datagram->bytes, datagram->total, datagram->total };
	return true;
}
